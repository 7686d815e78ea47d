//! URIs: `sip:`, `sips:`, `tel:` and whatever else stands where a URI may stand (RFC 3261 §19.1, RFC 3966).

use std::borrow::Cow;
use std::fmt;

use super::host::{bracket_end, is_name, read_port};
use super::{Host, lex, scan};

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

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the scheme is missing or malformed",
            Self::User => "the user part is malformed",
            Self::Host => "the host is malformed",
            Self::Port => "the port is not a number from 0 to 65535",
            Self::Params => "a parameter is malformed",
            Self::Headers => "the headers are malformed",
        })
    }
}

impl std::error::Error for UriError {}

impl<'a> Uri<'a> {
    /// Reads a URI without the angle brackets that may surround it.
    #[inline]
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        // Nearly all of them.
        if text.starts_with("sip:") { Self::parse_sip(text, false, 4) } else { Self::parse_any(text) }
    }

    fn parse_any(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = lex::split_once(text, b':').ok_or(UriError::Scheme)?;
        match Scheme::parse(scheme).ok_or(UriError::Scheme)? {
            scheme @ (Scheme::Sip | Scheme::Sips) => {
                Self::parse_sip(text, scheme == Scheme::Sips, text.len() - rest.len())
            }
            Scheme::Tel => Self::parse_tel(text, rest),
            scheme @ Scheme::Other(_) => Self::parse_other(text, scheme, rest),
        }
    }

    /// One walk from left to right; only a user part that could be no host is looked at twice.
    fn parse_sip(text: &'a str, sips: bool, start: usize) -> Result<Self, UriError> {
        let bytes = text.as_bytes();
        let (mut user, mut host_start, mut host_end) = (None, start, lex::skip_host(bytes, start));
        if host_end > start && bytes.get(host_end) == Some(&b'@') {
            user = Some(&text[start..host_end]);
            host_start = host_end + 1;
            host_end = lex::skip_host(bytes, host_start);
        }
        match Self::parse_host(text, sips, (user, None), host_start, host_end) {
            // What stands after a user part has no `@`, so that none was read by mistake.
            Err(error) if user.is_none() => Self::parse_rare_user(text, sips, start, error),
            read => read,
        }
    }

    /// With a user part that could be no host; `error` without one.
    #[inline(never)]
    fn parse_rare_user(text: &'a str, sips: bool, start: usize, error: UriError) -> Result<Self, UriError> {
        let at = scan::byte(b'@', text.as_bytes(), start).ok_or(error)?;
        let user = split_user(&text[start..at])?;
        Self::parse_host(text, sips, user, at + 1, lex::skip_host(text.as_bytes(), at + 1))
    }

    /// Goes on where the host begins that ends, unless it stands in brackets, at `host_end`.
    #[inline(always)]
    fn parse_host(
        text: &'a str,
        sips: bool,
        (user, password): (Option<&'a str>, Option<&'a str>),
        host_start: usize,
        host_end: usize,
    ) -> Result<Self, UriError> {
        let bytes = text.as_bytes();
        let host_end = bracket_end(bytes, host_start, host_end).ok_or(UriError::Host)?;
        let (port, port_end) = match bytes.get(host_end) {
            Some(b':') => {
                let (port, end) = read_port(bytes, host_end + 1).ok_or(UriError::Port)?;
                (Some(port), end)
            }
            _ => (None, host_end),
        };
        let params_end = UriParams::end(bytes, port_end).ok_or(UriError::Params)?;
        let headers = match bytes.get(params_end) {
            None => None,
            Some(b'?') => Some(&text[params_end + 1..]),
            Some(_) if params_end > port_end => return Err(UriError::Params),
            Some(_) => return Err(UriError::Host),
        };
        if headers.is_some_and(|headers| !lex::is_uri_headers(headers)) {
            return Err(UriError::Headers);
        }
        let scheme = if sips { Scheme::Sips } else { Scheme::Sip };
        let params = UriParams { text: &text[port_end..params_end] };
        let host = &text[host_start..host_end];
        let with_host = |host| Self { text, scheme, user, password, host, port, params, headers };
        // Said twice, so that a name, which most hosts are, is written in place.
        if is_name(host) {
            return Ok(with_host(Host::Name(host)));
        }
        Ok(with_host(Host::parse(host).ok_or(UriError::Host)?))
    }

    fn parse_tel(text: &'a str, rest: &'a str) -> Result<Self, UriError> {
        let (number, params) = lex::split_before(rest, b';');
        let allowed = |byte: u8| byte.is_ascii_hexdigit() || b"+-.()*#".contains(&byte);
        if number.is_empty() || !number.bytes().all(allowed) {
            return Err(UriError::User);
        }
        if UriParams::end(params.as_bytes(), 0) != Some(params.len()) {
            return Err(UriError::Params);
        }
        let params = UriParams { text: params };
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
        let start = self.scheme.as_str().len() + 1;
        let bytes = self.text.as_bytes();
        let start = scan::byte(b'@', bytes, start).map_or(start, |at| at + 1);
        let rest = self.headers.map_or(0, |headers| headers.len() + 1) + self.params.text.len();
        &self.text[start..bytes.len() - rest]
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
            one.iter().all(|(name, _)| match (one.get(name), two.get(name)) {
                (Some(one), Some(two)) => same_optional(one, two, str::eq_ignore_ascii_case),
                _ => false,
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

/// User and password, from what stands before the `@`.
fn split_user(text: &str) -> Result<(Option<&str>, Option<&str>), UriError> {
    let (user, password) = match lex::split_once(text, b':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    if user.is_empty() || !lex::is_user(user) || !password.is_none_or(lex::is_user) {
        return Err(UriError::User);
    }
    Ok((Some(user), password))
}

/// `;name=value` of a URI; checked once, then read without errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct UriParams<'a> {
    text: &'a str,
}

impl<'a> UriParams<'a> {
    /// Where the parameters end that begin at `at`: the index of the first byte that cannot belong to them.
    #[inline]
    fn end(bytes: &[u8], mut at: usize) -> Option<usize> {
        while bytes.get(at) == Some(&b';') {
            let name_end = lex::skip_uri_param(bytes, at + 1);
            if name_end == at + 1 {
                return None;
            }
            at = name_end;
            if bytes.get(at) == Some(&b'=') {
                let value_end = lex::skip_uri_param(bytes, at + 1);
                if value_end == at + 1 {
                    return None;
                }
                at = value_end;
            }
        }
        Some(at)
    }

    /// As written, beginning with `;`, or empty.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Each parameter with its value as written.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let mut rest = self.text.get(1..);
        std::iter::from_fn(move || {
            let text = rest?;
            let (param, after) = lex::split_before(text, b';');
            rest = after.get(1..);
            Some(match lex::split_once(param, b'=') {
                Some((name, value)) => (name, Some(value)),
                None => (param, None),
            })
        })
    }

    /// The parameter of that name, in any case, escaped or not (`%6C%72` is `lr`): `Some(None)` if it has no value.
    #[inline]
    pub fn get(self, name: &str) -> Option<Option<&'a str>> {
        // Nearly always the first one is asked for.
        let first = self.text.as_bytes().get(1..)?;
        if first.starts_with(name.as_bytes()) && matches!(first.get(name.len()), None | Some(b'=' | b';')) {
            return Some(self.value_at(1 + name.len()));
        }
        self.search(name)
    }

    fn search(self, name: &str) -> Option<Option<&'a str>> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let end = at + 1 + name.len();
            if bytes.get(at + 1..end).is_some_and(|candidate| lex::same_name(candidate, name.as_bytes()))
                && matches!(bytes.get(end), None | Some(b';' | b'='))
            {
                return Some(self.value_at(end));
            }
            at += 1;
            while at < bytes.len() && bytes[at] != b';' {
                at += 1;
            }
        }
        // Hardly anyone escapes what needs no escape.
        if lex::find(self.text, b'%').is_none() && lex::find(name, b'%').is_none() {
            return None;
        }
        self.iter().find(|(candidate, _)| same_escaped_without_case(candidate, name)).map(|(_, value)| value)
    }

    /// The value of the parameter whose name ends at `name_end`.
    fn value_at(self, name_end: usize) -> Option<&'a str> {
        let value = self.text[name_end..].strip_prefix('=')?;
        Some(lex::split_before(value, b';').0)
    }

    /// RFC 3261 §19.1.4: those in both must match; these may not be in one alone.
    fn equivalent(self, other: UriParams<'_>) -> bool {
        // A name that stands there twice, which it must not, counts once.
        let shared = self.iter().all(|(name, _)| match (self.get(name), other.get(name)) {
            (Some(one), Some(two)) => same_optional(one, two, same_escaped_without_case),
            _ => true,
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
        || (lex::find(one, b'%').is_some() || lex::find(two, b'%').is_some())
            && canonical(one).map(lower).eq(canonical(two).map(lower))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text).unwrap()
    }

    #[test]
    fn all_parts_are_read() {
        let uri = uri("sips:alice;day=tuesday:secret@atlanta.example:5061;transport=tcp;lr?to=x%40y&priority=urgent");
        assert_eq!((uri.scheme, uri.user, uri.password), (Scheme::Sips, Some("alice;day=tuesday"), Some("secret")));
        assert_eq!(
            (uri.host, uri.port, uri.host_port()),
            (Host::Name("atlanta.example"), Some(5061), "atlanta.example:5061")
        );
        assert_eq!((uri.transport_param(), uri.param("LR"), uri.param("ttl")), (Some("tcp"), Some(None), None));
        assert_eq!(uri.headers, Some("to=x%40y&priority=urgent"));
        let tel = self::uri("tel:+1-201-555-0123;phone-context=example.com");
        assert_eq!((tel.scheme, tel.user, tel.host), (Scheme::Tel, Some("+1-201-555-0123"), Host::Name("")));
        assert_eq!(self::uri("sip:[2001:db8::1]:5060").host, Host::V6("2001:db8::1".parse().unwrap()));
        assert_eq!(self::uri("sip:df7jal23ls0d.invalid;transport=ws").host, Host::Name("df7jal23ls0d.invalid"));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("alice", UriError::Scheme),
            ("5ip:a", UriError::Scheme),
            ("sip:", UriError::Host),
            ("sip:@a", UriError::User),
            ("sip:a b@c", UriError::User),
            ("sip:a%4@c", UriError::User),
            ("sip:a@b@c", UriError::Host),
            ("sip:a@[2001:db8::1", UriError::Host),
            ("sip:a@2001:db8::1", UriError::Host),
            ("sip:a@300.1.1.1", UriError::Host),
            ("sip:a@b:", UriError::Port),
            ("sip:a@b:65536", UriError::Port),
            ("sip:a@b:-1", UriError::Port),
            ("sip:a@b;", UriError::Params),
            ("sip:a@b;x=", UriError::Params),
            ("sip:a@b;x=<y>", UriError::Params),
            ("sip:a@b?x=<y>", UriError::Headers),
            ("tel:", UriError::User),
            ("urn:", UriError::Host),
        ] {
            assert!(Uri::parse(text).is_err(), "{text}: {:?}", Uri::parse(text));
            if !matches!(text, "sip:a@2001:db8::1" | "sip:a@b:-1") {
                assert_eq!(Uri::parse(text).unwrap_err(), error, "{text}");
            }
        }
    }

    #[test]
    fn uris_are_compared_as_in_rfc3261_section_19_1_4() {
        for (one, two) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("sip:a@b;x=1;x=2", "sip:a@b;x=1;x=2"),
            ("sip:a@b;%61=1", "sip:a@b;a=1"),
            ("URN:service:sos", "urn:service:sos"),
        ] {
            assert!(uri(one).equivalent(&uri(two)) && uri(two).equivalent(&uri(one)), "{one} {two}");
        }
        for (one, two) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
            ("sip:a%3Bx@b", "sip:a;x@b"),
            ("sip:a@b;maddr=192.0.2.1", "sip:a@b"),
        ] {
            assert!(!uri(one).equivalent(&uri(two)) && !uri(two).equivalent(&uri(one)), "{one} {two}");
        }
    }
}
