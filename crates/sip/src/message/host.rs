//! Hosts and ports as they stand in URIs and in Via (RFC 3261 §25.1, RFC 5118).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{lex, scan};

/// A host: a name or an address.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// A name, as written; names compare without case.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a host: an IPv6 address needs its brackets.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']')?;
            return inner.parse().ok().or_else(|| without_third_colon(inner)).map(Self::V6);
        }
        // Four numbers are an address or nothing: `sip:256.0.0.1` is no name (a top label begins with a letter).
        if text.as_bytes().last().is_some_and(u8::is_ascii_digit) {
            if let Some(address) = read_v4(text.as_bytes()) {
                return Some(Self::V4(address));
            }
            if text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return None;
            }
        }
        lex::is_host(text).then_some(Self::Name(text))
    }

    /// The address, if it is one.
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(address)),
            Self::V6(address) => Some(IpAddr::V6(address)),
        }
    }
}

/// Names compare without case and without a final dot; addresses by value (RFC 3261 §19.1.4, RFC 5118 §4.1).
impl PartialEq<Host<'_>> for Host<'_> {
    fn eq(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(one), Host::Name(two)) => {
                one.strip_suffix('.').unwrap_or(one).eq_ignore_ascii_case(two.strip_suffix('.').unwrap_or(two))
            }
            (Self::V4(one), Host::V4(two)) => one == two,
            (Self::V6(one), Host::V6(two)) => one == two,
            _ => false,
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// `2001:db8:::192.0.2.1`, which the grammar of RFC 3261 makes by mistake (RFC 5118 §4.10).
fn without_third_colon(text: &str) -> Option<Ipv6Addr> {
    let (prefix, v4) = text.split_once(":::")?;
    let _: Ipv4Addr = v4.parse().ok()?;
    format!("{prefix}::{v4}").parse().ok()
}

/// Where the host ends that begins at `start`.
#[inline]
pub(super) fn host_end(bytes: &[u8], start: usize) -> Option<usize> {
    bracket_end(bytes, start, lex::skip_host(bytes, start))
}

/// The same if it is known where it ends unless it stands in brackets.
#[inline]
pub(super) fn bracket_end(bytes: &[u8], start: usize, end: usize) -> Option<usize> {
    if end > start {
        return Some(end);
    }
    if bytes.get(start) == Some(&b'[') { Some(scan::byte(b']', bytes, start)? + 1) } else { None }
}

/// Whether a host up to its [`host_end`] is a name: only an address ends in a digit or a bracket, as a rule, since a top
/// label begins with a letter.
#[inline]
pub(super) fn is_name(host: &str) -> bool {
    host.as_bytes().last().is_some_and(|last| !matches!(last, b'0'..=b'9' | b']'))
}

/// Four numbers from 0 to 255 without leading zeros.
fn read_v4(bytes: &[u8]) -> Option<Ipv4Addr> {
    let (mut address, mut at) = (0_u32, 0);
    for index in 0..4 {
        if index > 0 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let (mut number, start) = (0_u32, at);
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            number = number * 10 + u32::from(digit - b'0');
            at += 1;
            if number > 255 {
                return None;
            }
        }
        if at == start || (at > start + 1 && bytes[start] == b'0') {
            return None;
        }
        address = address << 8 | number;
    }
    (at == bytes.len()).then(|| Ipv4Addr::from_bits(address))
}

/// The port at `start`, and where it ends.
#[inline]
pub(super) fn read_port(bytes: &[u8], start: usize) -> Option<(u16, usize)> {
    let (mut port, mut end) = (0_u32, start);
    while let Some(digit @ b'0'..=b'9') = bytes.get(end) {
        port = port * 10 + u32::from(digit - b'0');
        end += 1;
        if port > u32::from(u16::MAX) {
            return None;
        }
    }
    matches!(end - start, 1..=20).then_some((port as u16, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_numbers_are_an_address_if_each_is_one_byte_without_leading_zeros() {
        assert_eq!(Host::parse("192.0.2.255"), Some(Host::V4(Ipv4Addr::new(192, 0, 2, 255))));
        for text in ["1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.1000", "1..3.4", ".1.2.3", "1.2.3."] {
            assert!(!matches!(Host::parse(text), Some(Host::V4(_))), "{text}");
        }
    }
}
