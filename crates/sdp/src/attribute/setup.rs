//! `a=setup`, `a=connection`, `a=tls-id`: who opens a connection, and whether it is a new one. RFC 4145, RFC 8842.

use std::fmt;

use super::Attribute;
use crate::error::AttributeError;
use crate::section::Section;

/// Who opens the TCP connection or starts the DTLS handshake. RFC 4145 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The writer does.
    Active,
    /// The reader does.
    Passive,
    /// The reader chooses; only in offers.
    ActPass,
    /// Nobody for now.
    HoldConn,
}

impl Setup {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }
}

impl<'a> Attribute<'a> for Setup {
    const NAME: &'static str = "setup";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let all = [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn];
        let value = value.trim_matches(' ');
        all.into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(value))
            .ok_or(AttributeError { attribute: Self::NAME, expected: "active, passive, actpass or holdconn" })
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Section {
    /// Who starts, as this level states it.
    pub fn setup(&self) -> Option<Setup> {
        self.first()
    }

    /// Names the DTLS association: another value asks for a new one. RFC 8842 §4.
    pub fn tls_id(&self) -> Option<&str> {
        self.value("tls-id")
    }

    /// Whether `a=connection:new` asks for a new TCP connection (`Some(true)`) or `existing` for the old one. RFC 4145 §5.
    pub fn new_connection(&self) -> Option<bool> {
        self.values("connection").find_map(|value| match value.trim_matches(' ') {
            "new" => Some(true),
            "existing" => Some(false),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_the_four_roles() {
        for role in ["active", "passive", "actpass", "holdconn"] {
            round_trips::<Setup>(role);
        }
        assert_eq!(Setup::parse("ActPass ").unwrap(), Setup::ActPass);
        refuses::<Setup>(&["", "both", "active passive"]);
    }

    #[test]
    fn reads_connection_and_tls_id() {
        let mut section = Section::empty();
        assert_eq!((section.new_connection(), section.tls_id()), (None, None));
        section.push_attribute("connection", Some("existing"));
        section.push_attribute("tls-id", Some("abc3de65cddef001be82"));
        assert_eq!((section.new_connection(), section.tls_id()), (Some(false), Some("abc3de65cddef001be82")));
    }
}
