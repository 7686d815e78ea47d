//! `a=rid`: a name and restrictions for one RTP stream. RFC 8851.

use std::fmt;

use super::{Attribute, first_word};
use crate::error::AttributeError;
use crate::media::Media;

/// One RTP stream by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rid<'a> {
    /// Letters, digits, `-` and `_`.
    pub id: &'a str,
    /// Whether the writer sends or receives it.
    pub direction: RidDirection,
    /// Restrictions as written: `pt=96,97;max-width=1280`; may be empty.
    pub restrictions: &'a str,
}

/// The direction of a stream that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RidDirection {
    /// The writer sends.
    Send,
    /// The writer receives.
    Recv,
}

impl<'a> Rid<'a> {
    /// The restrictions, in order: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let parts = self.restrictions.split(';').map(|part| part.trim_matches(' ')).filter(|part| !part.is_empty());
        parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (part, None),
        })
    }
}

impl<'a> Attribute<'a> for Rid<'a> {
    const NAME: &'static str = "rid";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let (id, rest) = first_word(value);
        if !is_rid(id) {
            return Err(error("a name of letters, digits, - and _"));
        }
        let (direction, restrictions) = first_word(rest);
        let direction = match direction {
            "send" => RidDirection::Send,
            "recv" => RidDirection::Recv,
            _ => return Err(error("send or recv")),
        };
        Ok(Self { id, direction, restrictions })
    }
}

/// RFC 8851 §10 as corrected by RFC 8852 §3.3's alphabet; `_` is in wide use.
pub(super) fn is_rid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl fmt::Display for RidDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send",
            Self::Recv => "recv",
        })
    }
}

impl fmt::Display for Rid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.direction)?;
        if self.restrictions.is_empty() { Ok(()) } else { write!(f, " {}", self.restrictions) }
    }
}

impl Media {
    /// Every `a=rid` that can be read, in order.
    pub fn rids(&self) -> impl Iterator<Item = Rid<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_name_direction_and_restrictions() {
        let rid: Rid = round_trips("hi send pt=97,98;max-width=1280;x");
        assert_eq!((rid.id, rid.direction), ("hi", RidDirection::Send));
        assert_eq!(rid.iter().collect::<Vec<_>>(), [("pt", Some("97,98")), ("max-width", Some("1280")), ("x", None)]);
        assert_eq!(round_trips::<Rid>("l-1_2 recv").restrictions, "");
        refuses::<Rid>(&["", "hi", "hi sendrecv", "h;i send", "~a send"]);
    }
}
