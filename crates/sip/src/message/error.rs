//! What is wrong with one header field.

use std::fmt;

use super::{HeaderName, StatusCode};

/// A header field that is missing, repeated or malformed. The peer's fault; the answer is 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderError {
    name: HeaderName,
    kind: HeaderErrorKind,
}

/// How a header field is wrong.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderErrorKind {
    /// It has to be there and is not (RFC 3261 §8.1.1).
    Missing,
    /// It may be there once and is there more often (RFC 3261 §7.3.1).
    Repeated,
    /// It does not follow its grammar (RFC 3261 §25.1).
    Malformed,
    /// The method in CSeq is not the request's (RFC 3261 §8.1.1.5).
    MethodMismatch,
    /// Not a header field at all: the Request-URI does not follow the grammar.
    RequestUri,
}

impl HeaderError {
    pub(crate) const fn missing(name: HeaderName) -> Self {
        Self { name, kind: HeaderErrorKind::Missing }
    }

    pub(crate) const fn repeated(name: HeaderName) -> Self {
        Self { name, kind: HeaderErrorKind::Repeated }
    }

    pub(crate) const fn malformed(name: HeaderName) -> Self {
        Self { name, kind: HeaderErrorKind::Malformed }
    }

    pub(crate) const fn method_mismatch() -> Self {
        Self { name: HeaderName::CSeq, kind: HeaderErrorKind::MethodMismatch }
    }

    pub(crate) const fn request_uri() -> Self {
        Self { name: HeaderName::Other, kind: HeaderErrorKind::RequestUri }
    }

    /// Which header field; [`HeaderName::Other`] for the Request-URI.
    pub const fn name(&self) -> HeaderName {
        self.name
    }

    /// What is wrong with it.
    pub const fn kind(&self) -> HeaderErrorKind {
        self.kind
    }

    /// The response that says so: 400 (RFC 3261 §16.3, §21.4.1).
    pub const fn status(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }

    /// A reason phrase that names the culprit, as RFC 3261 §21.4.1 wishes: `Missing Call-ID`.
    pub fn reason(&self) -> String {
        match self.kind {
            HeaderErrorKind::Missing => format!("Missing {}", self.name),
            HeaderErrorKind::Repeated => format!("Repeated {}", self.name),
            HeaderErrorKind::Malformed => format!("Malformed {}", self.name),
            HeaderErrorKind::MethodMismatch => "CSeq Method Mismatch".to_owned(),
            HeaderErrorKind::RequestUri => "Malformed Request-URI".to_owned(),
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())
    }
}

impl std::error::Error for HeaderError {}
