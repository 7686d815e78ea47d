//! Via: the way a response goes back (RFC 3261 §18.2.2, §20.42; RFC 3581).

use std::net::IpAddr;

use super::host::{host_end, is_name, read_port};
use super::lex;
use super::params::Params;
use super::{HeaderError, HeaderName, Host};

/// What every branch begins with that was made by the rules of RFC 3261 §8.1.1.7.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One Via value, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS` or any token, as written.
    pub transport: &'a str,
    /// Host and port as written, white space around the colon included.
    pub sent_by: &'a str,
    /// The host of sent-by.
    pub host: Host<'a>,
    /// The port of sent-by, if written.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one Via value (not a comma list).
    pub fn parse(text: &'a str) -> Result<Self, HeaderError> {
        let read = Self::read(text).filter(|(_, end)| *end == text.len());
        read.map(|(via, _)| via).ok_or(HeaderError::malformed(HeaderName::Via))
    }

    /// The value that `text` begins with, and where it ends: at the comma before the next one, or with `text`.
    #[inline(always)]
    pub(super) fn read(text: &'a str) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        // The way in which nearly everyone writes it.
        let at = if bytes.starts_with(b"SIP/2.0/") { lex::skip_space(bytes, 8) } else { skip_protocol(bytes)? };
        let transport_end = lex::skip_token(bytes, at);
        let transport = &text[at..transport_end];
        let start = lex::skip_space(bytes, transport_end);
        if transport.is_empty() || start == transport_end {
            return None;
        }
        let host_end = host_end(bytes, start)?;
        let (mut end, mut port) = (host_end, None);
        let colon = lex::skip_space(bytes, end);
        if bytes.get(colon) == Some(&b':') {
            let (number, after) = read_port(bytes, lex::skip_space(bytes, colon + 1))?;
            (port, end) = (Some(number), after);
        }
        let (params, list_end) = Params::read(text, end)?;
        let (host, sent_by) = (&text[start..host_end], &text[start..end]);
        let with_host = |host| (Self { transport, sent_by, host, port, params }, list_end);
        // Said twice, so that a name is written in place.
        if is_name(host) {
            return Some(with_host(Host::Name(host)));
        }
        Some(with_host(Host::parse(host)?))
    }

    /// The parameter of that name, in any case: `Some(None)` if it has no value.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params.get(name)
    }

    /// The transaction's branch.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.value("branch")
    }

    /// The branch, if it was made by RFC 3261 §8.1.1.7 and is more than the cookie; else match as RFC 2543 did.
    pub fn rfc3261_branch(&self) -> Option<&'a str> {
        self.branch().filter(|branch| {
            branch.len() > MAGIC_COOKIE.len()
                && branch.get(..MAGIC_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
        })
    }

    /// Where the request really came from, IPv6 with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.value("received")?;
        text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text).parse().ok()
    }

    /// `rport` (RFC 3581): `Some(None)` asks for it, `Some(Some(port))` answers.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|value| value.and_then(|port| port.parse().ok()))
    }

    /// The multicast or other address that the sender wants the response sent to, as written.
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.value("maddr")
    }

    /// The time-to-live of multicast, 0–255.
    pub fn ttl(&self) -> Option<u8> {
        self.params.value("ttl")?.parse().ok()
    }
}

/// sent-protocol = protocol-name SLASH protocol-version SLASH transport; SLASH allows white space around it. Any token
/// may name protocol and version: a request of another version is refused by its first line (505).
fn skip_protocol(bytes: &[u8]) -> Option<usize> {
    let mut at = lex::skip_space(bytes, 0);
    for _ in 0..2 {
        let end = lex::skip_token(bytes, at);
        let slash = lex::skip_space(bytes, end);
        if end == at || bytes.get(slash) != Some(&b'/') {
            return None;
        }
        at = lex::skip_space(bytes, slash + 1);
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_read() {
        let via = Via::parse("SIP / 2.0 / TLS [2001:db8::9] : 5061 ; Branch = z9hG4bK87asdks7;rport=4711;received=192.0.2.1;ttl=16;maddr=224.2.0.1").unwrap();
        assert_eq!((via.transport, via.host, via.port), ("TLS", Host::V6("2001:db8::9".parse().unwrap()), Some(5061)));
        assert_eq!((via.branch(), via.rfc3261_branch()), (Some("z9hG4bK87asdks7"), Some("z9hG4bK87asdks7")));
        assert_eq!((via.rport(), via.received()), (Some(Some(4711)), Some("192.0.2.1".parse().unwrap())));
        assert_eq!((via.ttl(), via.maddr()), (Some(16), Some("224.2.0.1")));
        assert_eq!(Via::parse("SIP/2.0/UDP a;rport;branch=1").unwrap().rport(), Some(None));
    }

    #[test]
    fn only_a_branch_that_is_more_than_the_cookie_identifies() {
        for branch in ["z9hG4bK", "390skdjuw", "z9hG4b"] {
            let text = format!("SIP/2.0/UDP a;branch={branch}");
            assert_eq!(Via::parse(&text).unwrap().rfc3261_branch(), None, "{branch}");
        }
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for text in [
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP a;;",
            "SIP/2.0/UDP a:x",
            "SIP/2.0/U@P a",
        ] {
            assert!(Via::parse(text).is_err(), "{text}");
        }
    }
}
