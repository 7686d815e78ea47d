//! What a decision of the registrar or the authenticator says on the wire, before it is a message.

use farspeak_sip::message::StatusCode;

/// A response without the parts that are copied from the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, where it helps a person more than the status' own.
    pub reason: Option<&'static str>,
    /// Header fields by name, in order; values hold no line break.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// A response of that status and nothing else.
    pub const fn new(status: StatusCode) -> Self {
        Self { status, reason: None, headers: Vec::new() }
    }

    /// A response of that status with a reason phrase of its own.
    pub const fn because(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason: Some(reason), headers: Vec::new() }
    }

    /// With one header field more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
