//! Reason: why a request was sent, or a response came to be (RFC 3326 §2, RFC 6432).

use std::fmt;

use super::params::{ParamList, Quoted, unquoted};
use super::{listed_header, split_params, token};
use crate::message::{StatusCode, lex};

/// One reason. There is one value for each protocol (RFC 3326 §2), and more only where RFC 9366 allows them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reason {
    /// `SIP`, `Q.850`, or another token, as written; compare it by [`Self::is`].
    pub protocol: String,
    /// The status code (SIP) or cause value (Q.850).
    pub cause: Option<u32>,
    /// For people.
    pub text: Option<String>,
    /// All others, such as `location` (RFC 8606).
    pub params: ParamList,
}

listed_header!(Reason, Reason);

impl Reason {
    /// A status, as a CANCEL after `SIP;cause=200;text="Call completed elsewhere"` carries it.
    pub fn sip(status: StatusCode, text: &str) -> Self {
        Self::new("SIP", u32::from(status.code()), text)
    }

    /// A cause value of Q.850, 0–127.
    pub fn q850(cause: u8, text: &str) -> Self {
        Self::new("Q.850", u32::from(cause), text)
    }

    fn new(protocol: &str, cause: u32, text: &str) -> Self {
        Self {
            protocol: protocol.to_owned(),
            cause: Some(cause),
            text: (!text.is_empty()).then(|| text.to_owned()),
            params: ParamList::new(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (protocol, params) = split_params(text)?;
        let cause = match params.get("cause") {
            None => None,
            Some(cause) => Some(lex::number(cause?)?),
        };
        Some(Self {
            protocol: token(protocol)?,
            cause,
            text: unquoted(params, "text"),
            params: ParamList::except(params, &["cause", "text"]),
        })
    }

    /// Whether it is of that protocol, in any case.
    pub fn is(&self, protocol: &str) -> bool {
        self.protocol.eq_ignore_ascii_case(protocol)
    }

    /// The status, if it is a SIP one.
    pub fn status(&self) -> Option<StatusCode> {
        let code = self.cause.filter(|_| self.is("SIP"))?;
        StatusCode::new(u16::try_from(code).ok()?)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol)?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        if let Some(text) = &self.text {
            write!(f, ";text={}", Quoted(text))?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc3326_section_2_are_read() {
        for (text, cause, status) in [
            (r#"SIP;cause=200;text="Call completed elsewhere""#, 200, Some(StatusCode::OK)),
            (r#"Q.850;cause=16;text="Terminated""#, 16, None),
            (r#"SIP;cause=600;text="Busy Everywhere""#, 600, Some(StatusCode::BUSY_EVERYWHERE)),
            (r#"SIP;cause=580;text="Precondition Failure""#, 580, Some(StatusCode::PRECONDITION_FAILURE)),
        ] {
            let reason = Reason::parse(text).unwrap();
            assert_eq!((reason.cause, reason.status(), reason.to_string()), (Some(cause), status, text.to_owned()));
        }
        let located = Reason::parse("q.850 ; location=LN;cause=1").unwrap();
        assert!(located.is("Q.850"));
        assert_eq!(located.to_string(), "q.850;cause=1;location=LN");
        assert_eq!(Reason::sip(StatusCode::OK, "").to_string(), "SIP;cause=200");
        assert_eq!(Reason::parse("SIP;cause=99").unwrap().status(), None);
        for text in ["", "SIP;cause", "SIP;cause=x", "SIP 200", "SIP;cause=1, Q.850"] {
            assert!(Reason::parse(text).is_err(), "{text}");
        }
    }
}
