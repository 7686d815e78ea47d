//! `a=rtcp-fb`: which feedback RTCP may give. RFC 4585 §4.2.

use std::fmt;

use super::{Attribute, first_word};
use crate::error::AttributeError;
use crate::field::number;
use crate::media::Media;

/// One kind of feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtcpFb<'a> {
    /// For which payload type; `None` for all (`*`).
    pub payload_type: Option<u8>,
    /// `nack`, `ccm`, `goog-remb`, ..
    pub kind: &'a str,
    /// What follows, such as `pli`.
    pub parameter: Option<&'a str>,
}

impl<'a> Attribute<'a> for RtcpFb<'a> {
    const NAME: &'static str = "rtcp-fb";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let (payload_type, rest) = first_word(value);
        let payload_type = match payload_type {
            "*" => None,
            text => {
                let number: Option<u8> = number(text).filter(|number| *number < 128);
                Some(number.ok_or(error("* or a payload type from 0 to 127"))?)
            }
        };
        match first_word(rest) {
            ("", _) => Err(error("a kind of feedback")),
            (kind, parameter) => {
                Ok(Self { payload_type, kind, parameter: Some(parameter).filter(|text| !text.is_empty()) })
            }
        }
    }
}

impl fmt::Display for RtcpFb<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload_type {
            Some(number) => write!(f, "{number} {}", self.kind)?,
            None => write!(f, "* {}", self.kind)?,
        }
        match self.parameter {
            Some(parameter) => write!(f, " {parameter}"),
            None => Ok(()),
        }
    }
}

impl Media {
    /// Every `a=rtcp-fb` that can be read, in order.
    pub fn rtcp_fbs(&self) -> impl Iterator<Item = RtcpFb<'_>> + '_ {
        self.typed().filter_map(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_kind_and_parameter() {
        let pli: RtcpFb = round_trips("96 nack pli");
        assert_eq!(pli, RtcpFb { payload_type: Some(96), kind: "nack", parameter: Some("pli") });
        assert_eq!(round_trips::<RtcpFb>("* trr-int 100").payload_type, None);
        assert_eq!(round_trips::<RtcpFb>("96 transport-cc").parameter, None);
        refuses::<RtcpFb>(&["", "96", "128 nack", "x nack"]);
    }
}
