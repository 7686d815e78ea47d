//! URIs: `sip:`, `sips:`, `tel:` and whatever else stands where a URI may stand (RFC 3261 §19.1, RFC 3966).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lex;

/// A URI, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// As written.
    pub text: &'a str,
    /// What stands before the first colon.
    pub scheme: Scheme<'a>,
    /// The user part as written, escapes and all, without the password. `tel:`: the number. Never empty.
    pub user: Option<&'a str>,
    /// The password as written (RFC 3261 §19.1.1 advises against it).
    pub password: Option<&'a str>,
    /// The host; `Host::Name("")` for schemes other than `sip` and `sips`.
    pub host: Host<'a>,
    /// The port, if written.
    pub port: Option<u16>,
    /// The parameters.
    pub params: UriParams<'a>,
    /// What follows `?`, as written.
    pub headers: Option<&'a str>,
}

/// The scheme of a URI, in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`: every hop to the target domain over TLS (RFC 3261 §26.2.2, RFC 5630).
    Sips,
    /// `tel` (RFC 3966)
    Tel,
    /// Anything else, as written.
    Other(&'a str),
}

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

/// Why a text is not a URI. The peer's fault: 400 (RFC 3261 §21.4.1).
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UriError {
    /// No scheme, or one with characters that no scheme has.
    Scheme,
    /// A user part that is empty, or has characters that must be escaped, or broken escapes.
    User,
    /// Neither a name nor an address.
    Host,
    /// Not a number from 0 to 65,535.
    Port,
    /// A parameter without name or with characters that must be escaped.
    Params,
    /// Headers with characters that must be escaped.
    Headers,
}

impl<'a> Uri<'a> {
    /// Reads a URI without the angle brackets that may surround it.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(UriError::Scheme)?;
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::parse_sip(text, scheme, rest),
            Scheme::Tel => Self::parse_tel(text, rest),
            Scheme::Other(_) => Self::parse_other(text, scheme, rest),
        }
    }

    fn parse_sip(text: &'a str, scheme: Scheme<'a>, rest: &'a str) -> Result<Self, UriError> {
        let (userinfo, rest) = match rest.split_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|userinfo| userinfo.split_once(':')) {
            Some(Some((user, password))) => (Some(user), Some(password)),
            Some(None) => (userinfo, None),
            None => (None, None),
        };
        if user.is_some_and(|user| user.is_empty() || !lex::is_user(user)) || !password.is_none_or(lex::is_user) {
            return Err(UriError::User);
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        if headers.is_some_and(|headers| !lex::is_uri_headers(headers)) {
            return Err(UriError::Headers);
        }
        let (hostport, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = parse_host_port(hostport)?;
        let params = UriParams::parse(params).ok_or(UriError::Params)?;
        Ok(Self { text, scheme, user, password, host, port, params, headers })
    }

    fn parse_tel(text: &'a str, rest: &'a str) -> Result<Self, UriError> {
        let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let allowed = |byte: u8| byte.is_ascii_hexdigit() || b"+-.()*#".contains(&byte);
        if number.is_empty() || !number.bytes().all(allowed) {
            return Err(UriError::User);
        }
        let params = UriParams::parse(params).ok_or(UriError::Params)?;
        let host = Host::Name("");
        Ok(Self {
            text,
            scheme: Scheme::Tel,
            user: Some(number),
            password: None,
            host,
            port: None,
            params,
            headers: None,
        })
    }

    /// RFC 3261 §25.1 `absoluteURI`: visible characters, no brackets and quotes that would end it elsewhere.
    fn parse_other(text: &'a str, scheme: Scheme<'a>, rest: &'a str) -> Result<Self, UriError> {
        if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte)) {
            return Err(UriError::Host);
        }
        let params = UriParams::default();
        Ok(Self { text, scheme, user: None, password: None, host: Host::Name(""), port: None, params, headers: None })
    }

    /// The parameter of that name, in any case: `Some(None)` if it has no value.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params.get(name)
    }

    /// The `transport` parameter as written.
    pub fn transport_param(&self) -> Option<&'a str> {
        self.param("transport").flatten()
    }

    /// Whether it is `sips:`.
    pub fn is_sips(&self) -> bool {
        self.scheme == Scheme::Sips
    }

    /// The user part with its escapes read; `""` without one.
    pub fn user_unescaped(&self) -> Cow<'a, str> {
        lex::unescape(self.user.unwrap_or(""))
    }

    /// Host and port as written, without the rest; `""` for other schemes than `sip` and `sips`.
    pub fn host_port(&self) -> &'a str {
        if !matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
            return "";
        }
        let after_scheme = self.text.split_once(':').map_or("", |(_, rest)| rest);
        let after_user = after_scheme.split_once('@').map_or(after_scheme, |(_, rest)| rest);
        &after_user[..after_user.find([';', '?']).unwrap_or(after_user.len())]
    }

    /// Whether both mean the same by the rules of RFC 3261 §19.1.4 (other schemes: the same text, scheme without case).
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        match (self.scheme, other.scheme) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => {}
            (Scheme::Tel, Scheme::Tel) => return self.equivalent_tel(other),
            (Scheme::Other(one), Scheme::Other(two)) => {
                return one.eq_ignore_ascii_case(two) && self.text[one.len()..] == other.text[two.len()..];
            }
            _ => return false,
        }
        same_optional(self.user, other.user, same_escaped)
            && same_optional(self.password, other.password, same_escaped)
            && self.host == other.host
            && self.port == other.port
            && self.params.equivalent(other.params)
            && same_headers(self.headers, other.headers)
    }

    /// RFC 3966 §4: visual separators do not count, parameters do, in any order.
    fn equivalent_tel(&self, other: &Uri<'_>) -> bool {
        let digits = |text: &str| -> Vec<u8> {
            text.bytes().filter(|byte| !b"-.()".contains(byte)).map(|byte| byte.to_ascii_lowercase()).collect()
        };
        let (one, two) = (self.user.unwrap_or(""), other.user.unwrap_or(""));
        let covers = |one: UriParams<'_>, two: UriParams<'_>| {
            one.iter().all(|(name, value)| {
                two.get(name).is_some_and(|found| same_optional(value, found, str::eq_ignore_ascii_case))
            })
        };
        digits(one) == digits(two) && covers(self.params, other.params) && covers(other.params, self.params)
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl<'a> Scheme<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.eq_ignore_ascii_case("sip") {
            return Some(Self::Sip);
        }
        if text.eq_ignore_ascii_case("sips") {
            return Some(Self::Sips);
        }
        if text.eq_ignore_ascii_case("tel") {
            return Some(Self::Tel);
        }
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let fine = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic()) && text.bytes().all(letters);
        fine.then_some(Self::Other(text))
    }

    /// The scheme; the known ones in lower case.
    pub const fn as_str(self) -> &'a str {
        match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
            Self::Tel => "tel",
            Self::Other(text) => text,
        }
    }
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
            if let Ok(address) = text.parse() {
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

/// Reads `host` or `host:port`, with white space around the colon as a Via allows it.
pub(crate) fn parse_host_port(text: &str) -> Result<(Host<'_>, Option<u16>), UriError> {
    let host_end = match text.strip_prefix('[') {
        Some(inner) => inner.find(']').ok_or(UriError::Host)? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    let host = Host::parse(lex::trim_end(host)).ok_or(UriError::Host)?;
    let rest = lex::trim_start(rest);
    if rest.is_empty() {
        return Ok((host, None));
    }
    let port = lex::trim_start(rest.strip_prefix(':').ok_or(UriError::Host)?);
    let port = lex::number(port).and_then(|port| u16::try_from(port).ok()).ok_or(UriError::Port)?;
    Ok((host, Some(port)))
}

/// `;name=value` of a URI; checked once, then read without errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct UriParams<'a> {
    text: &'a str,
}

impl<'a> UriParams<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let params = Self { text };
        let fine = |(name, value): (&str, Option<&str>)| {
            !name.is_empty()
                && lex::is_uri_param(name)
                && value.is_none_or(|value| !value.is_empty() && lex::is_uri_param(value))
        };
        params.iter().all(fine).then_some(params)
    }

    /// As written, beginning with `;`, or empty.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Each parameter with its value as written.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.text.split(';').skip(1).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// The parameter of that name, in any case, escaped or not (`%6C%72` is `lr`): `Some(None)` if it has no value.
    pub fn get(self, name: &str) -> Option<Option<&'a str>> {
        self.iter().find(|(candidate, _)| same_escaped_without_case(candidate, name)).map(|(_, value)| value)
    }

    /// RFC 3261 §19.1.4: those in both must match; these may not be in one alone.
    fn equivalent(self, other: UriParams<'_>) -> bool {
        let shared = self.iter().all(|(name, value)| match other.get(name) {
            Some(found) => same_optional(value, found, same_escaped_without_case),
            None => true,
        });
        let alone = ["transport", "user", "ttl", "method", "maddr"];
        shared && alone.iter().all(|name| self.get(name).is_some() == other.get(name).is_some())
    }
}

fn same_optional(one: Option<&str>, two: Option<&str>, same: impl Fn(&str, &str) -> bool) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => same(one, two),
        (None, None) => true,
        _ => false,
    }
}

/// Header components are never ignored and match in any order (RFC 3261 §19.1.4).
fn same_headers(one: Option<&str>, two: Option<&str>) -> bool {
    let parts = |text: Option<&str>| -> Vec<String> {
        let mut parts: Vec<String> = text
            .unwrap_or("")
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                format!("{}={}", name.to_ascii_lowercase(), lex::unescape(value))
            })
            .collect();
        parts.sort_unstable();
        parts
    };
    one == two || parts(one) == parts(two)
}

/// A character equals its escape, unless it is reserved (RFC 3261 §19.1.4).
fn same_escaped(one: &str, two: &str) -> bool {
    one == two || canonical(one).eq(canonical(two))
}

fn same_escaped_without_case(one: &str, two: &str) -> bool {
    let lower = |(byte, escaped): (u8, bool)| (byte.to_ascii_lowercase(), escaped);
    one.eq_ignore_ascii_case(two)
        || (one.contains('%') || two.contains('%')) && canonical(one).map(lower).eq(canonical(two).map(lower))
}

/// Each byte, and whether it is a reserved one that was escaped.
fn canonical(text: &str) -> impl Iterator<Item = (u8, bool)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        if let Some(escaped) = lex::escape_at(bytes, at) {
            at += 3;
            return Some((escaped, b";/?:@&=+$,".contains(&escaped)));
        }
        at += 1;
        Some((byte, false))
    })
}
