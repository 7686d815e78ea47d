//! `a=fmtp`: parameters of a format. RFC 8866 §6.15.

use std::fmt;

use super::{Attribute, first_word};
use crate::error::AttributeError;
use crate::media::Media;

/// Parameters of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fmtp<'a> {
    /// The format, as in the `m=` line.
    pub format: &'a str,
    /// The parameters, in the syntax that the format's own specification gives them.
    pub parameters: &'a str,
}

impl<'a> Fmtp<'a> {
    /// The parameters of the usual syntax `name=value;name=value`, in order; `None` for a name without a value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let parts = self.parameters.split(';').map(|part| part.trim_matches([' ', '\t']));
        parts.filter(|part| !part.is_empty()).map(|part| match part.split_once('=') {
            Some((name, value)) => (name.trim_matches(' '), Some(value.trim_matches(' '))),
            None => (part, None),
        })
    }

    /// The value of the first parameter of this name, in any case of letters (RFC 4855 §3).
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).and_then(|(_, value)| value)
    }
}

impl<'a> Attribute<'a> for Fmtp<'a> {
    const NAME: &'static str = "fmtp";

    /// Lenient: no parameters behind the format are no parameters.
    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        match first_word(value) {
            ("", _) => Err(AttributeError { attribute: Self::NAME, expected: "a format and its parameters" }),
            (format, parameters) => Ok(Self { format, parameters }),
        }
    }
}

impl fmt::Display for Fmtp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.format, self.parameters)
    }
}

impl Media {
    /// Every `a=fmtp`, in order.
    pub fn fmtps(&self) -> impl Iterator<Item = Fmtp<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }

    /// The parameters of a format: those of the first `a=fmtp` for it.
    pub fn fmtp(&self, format: &str) -> Option<&str> {
        self.fmtps().find(|fmtp| fmtp.format == format).map(|fmtp| fmtp.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_parameters_in_any_case() {
        let fmtp: Fmtp = round_trips("111 minptime=10;useinbandfec=1");
        assert_eq!((fmtp.format, fmtp.parameter("UseInbandFec"), fmtp.parameter("cbr")), ("111", Some("1"), None));
        let events: Fmtp = round_trips("101 0-16");
        assert_eq!(events.iter().collect::<Vec<_>>(), [("0-16", None)]);
        let sloppy = Fmtp::parse(" 97  mode = 30 ;; x; ").unwrap();
        assert_eq!(sloppy.iter().collect::<Vec<_>>(), [("mode", Some("30")), ("x", None)]);
        refuses::<Fmtp>(&["", "  "]);
    }
}
