//! Content-Type: what a body is (RFC 3261 §20.15, RFC 2045 §5.1).

use std::fmt;

use super::params::{ParamList, unquoted};
use super::{single_header, split_params, token};
use crate::message::lex;

/// `type/subtype;parameters`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MediaType {
    /// As written; compares without case.
    pub top: String,
    /// As written; compares without case.
    pub subtype: String,
    /// As written.
    pub params: ParamList,
}

single_header!(MediaType, ContentType);

impl MediaType {
    /// Without parameters; `None` if `essence` is not `type/subtype`.
    pub fn new(essence: &str) -> Option<Self> {
        let (top, subtype) = lex::split_once(essence, b'/')?;
        Some(Self {
            top: token(lex::trim_end(top))?,
            subtype: token(lex::trim_start(subtype))?,
            params: ParamList::new(),
        })
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let (essence, params) = split_params(text)?;
        Some(Self { params: ParamList::except(params, &[]), ..Self::new(essence)? })
    }

    /// Whether it is that type, written `type/subtype`, whatever the parameters.
    pub fn is(&self, essence: &str) -> bool {
        lex::split_once(essence, b'/').is_some_and(|(top, subtype)| {
            self.top.eq_ignore_ascii_case(top) && self.subtype.eq_ignore_ascii_case(subtype)
        })
    }

    /// Whether both are the same type, whatever the parameters.
    pub fn same_essence(&self, other: &Self) -> bool {
        self.top.eq_ignore_ascii_case(&other.top) && self.subtype.eq_ignore_ascii_case(&other.subtype)
    }

    /// `application/sdp`.
    pub fn is_sdp(&self) -> bool {
        self.is("application/sdp")
    }

    /// Whether it is some `multipart`.
    pub fn is_multipart(&self) -> bool {
        self.top.eq_ignore_ascii_case("multipart")
    }

    /// The value of a parameter without its quotes.
    pub fn param(&self, name: &str) -> Option<String> {
        unquoted(self.params.get_all(), name)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.top, self.subtype, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_compare_without_case_and_parameters() {
        let sdp = MediaType::parse("Application / SDP ;charset=utf-8").unwrap();
        assert!(sdp.is_sdp() && sdp.is("application/sdp") && !sdp.is("application") && !sdp.is_multipart());
        assert_eq!(sdp.to_string(), "Application/SDP;charset=utf-8");
        let mixed = MediaType::parse("multipart/mixed; boundary=\"a b\"").unwrap();
        assert_eq!(mixed.param("Boundary").as_deref(), Some("a b"));
        assert!(mixed.is_multipart() && !mixed.same_essence(&sdp));
        for text in ["", "sdp", "application/", "/sdp", "a/b/c", "a/b c", "a/b, c/d"] {
            assert!(MediaType::parse(text).is_err(), "{text}");
        }
    }
}
