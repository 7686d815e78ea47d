//! Warning: what else is to be said about a response (RFC 3261 §20.43).

use std::fmt;

use super::listed_header;
use super::params::Quoted;
use crate::message::{lex, unquote};

/// One warning.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Warning {
    /// Three digits: 3xx is about the session description.
    pub code: u16,
    /// Who warns: a host, with or without port, or a pseudonym.
    pub agent: String,
    /// For people.
    pub text: String,
}

listed_header!(Warning, Warning);

impl Warning {
    /// Incompatible network protocol.
    pub const NETWORK_PROTOCOL: u16 = 300;
    /// Incompatible media format.
    pub const MEDIA_FORMAT: u16 = 305;
    /// Media type not available.
    pub const MEDIA_TYPE: u16 = 304;
    /// Miscellaneous.
    pub const MISCELLANEOUS: u16 = 399;

    fn read(text: &str) -> Option<Self> {
        let (code, rest) = text.split_at_checked(3)?;
        let code = lex::number(code)?;
        let rest = rest.strip_prefix(' ').map(lex::trim_start)?;
        let (agent, quoted) = lex::split_once(rest, b' ')?;
        let quoted = lex::trim(quoted);
        let is_agent = |byte: u8| byte.is_ascii_graphic() && !b"\",;<>".contains(&byte);
        if agent.is_empty() || !agent.bytes().all(is_agent) {
            return None;
        }
        if !quoted.starts_with('"') || lex::quoted_end(quoted, 0) != Some(quoted.len()) {
            return None;
        }
        // Three digits fit.
        Some(Self { code: code as u16, agent: agent.to_owned(), text: unquote(quoted).into_owned() })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {} {}", self.code, self.agent, Quoted(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc3261_section_20_43_are_read() {
        for text in [
            r#"307 isi.edu "Session parameter 'foo' not understood""#,
            r#"301 isi.edu "Incompatible network address type 'E.164'""#,
            r#"399 [2001:db8::1]:5060 "say \"x\", \\""#,
        ] {
            assert_eq!(Warning::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "307", "307 a", "307 a b", "30 a \"b\"", "307 a \"b", "307 a \"b\" c", "3é7 a \"b\"", "+30 a \"b\""]
        {
            assert!(Warning::parse(text).is_err(), "{text}");
        }
    }
}
