//! `message/sipfrag`: parts of a SIP message as a body (RFC 3420), as the NOTIFYs of a REFER carry them (RFC 3515 §2.4.5).

use super::fields::{self, BodyField};
use crate::message::{HeaderName, Message, Method, StatusCode, lex};

/// The media type.
pub const CONTENT_TYPE: &str = "message/sipfrag";

/// A fragment: start line, header fields, body, each of which may be missing. Read in place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SipFrag<'a> {
    /// The request or status line.
    pub start: Option<StartLine<'a>>,
    /// The header fields; as many as [`MAX_FIELDS`](super::MAX_FIELDS).
    pub fields: Vec<BodyField<'a>>,
    /// What follows the blank line.
    pub body: &'a [u8],
}

/// A start line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartLine<'a> {
    /// `METHOD uri SIP/2.0`
    Request {
        /// The method.
        method: Method,
        /// The Request-URI as written.
        uri: &'a str,
    },
    /// `SIP/2.0 status reason`
    Status {
        /// The status.
        status: StatusCode,
        /// The reason phrase, perhaps empty.
        reason: &'a str,
    },
}

impl<'a> SipFrag<'a> {
    /// Reads a fragment. Lines may end with LF alone, and the last one with nothing: such NOTIFYs are sent. `None` if a
    /// line is neither a start line nor a header field.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, body) = split(bytes);
        let head = std::str::from_utf8(head).ok()?;
        let (line, rest) = match lex::find(head, b'\n') {
            Some(end) => head.split_at(end + 1),
            None => (head, ""),
        };
        let start = StartLine::read(line.trim_end_matches(['\r', '\n']));
        let fields = fields::read(if start.is_some() { rest } else { head })?;
        Some(Self { start, fields, body })
    }

    /// The status, if there is a status line: how far the referred request has got.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.start {
            Some(StartLine::Status { status, .. }) => Some(*status),
            _ => None,
        }
    }

    /// The value of the first header field of that name.
    pub fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.value)
    }
}

impl<'a> StartLine<'a> {
    fn read(line: &'a str) -> Option<Self> {
        const VERSION: &str = "SIP/2.0";
        let (first, rest) = lex::split_once(line, b' ')?;
        if first.eq_ignore_ascii_case(VERSION) {
            let (code, reason) = lex::split_before(rest, b' ');
            let code = lex::number(code).filter(|_| code.len() == 3)?;
            let status = StatusCode::new(u16::try_from(code).ok()?)?;
            return Some(Self::Status { status, reason: lex::trim(reason) });
        }
        let (uri, version) = lex::split_once(rest, b' ')?;
        if !version.eq_ignore_ascii_case(VERSION) || uri.is_empty() {
            return None;
        }
        Some(Self::Request { method: Method::parse(first)?, uri })
    }
}

/// Before and after the blank line, which may be the first one.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    for (at, _) in memchr::memchr_iter(b'\n', bytes).map(|at| (at, ())) {
        let rest = &bytes[at + 1..];
        if let Some(body) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            return (&bytes[..=at], body);
        }
    }
    match bytes.strip_prefix(b"\r\n") {
        Some(body) => (&[], body),
        None => (bytes, &[]),
    }
}

/// A fragment of a status line alone: what a REFER's subscriber is told (RFC 3515 §2.4.5).
pub fn of_status(status: StatusCode, reason: &str) -> Vec<u8> {
    let reason = if reason.is_empty() { status.reason() } else { reason };
    format!("SIP/2.0 {status} {}\r\n", crate::header::unfold(reason)).into_bytes()
}

/// A fragment of a message: its start line and its header fields of these names, in the message's order.
pub fn of_message(message: &Message, names: &[HeaderName]) -> Vec<u8> {
    let mut fragment = format!("{}\r\n", message.first_line());
    for (_, written, value) in message.fields().filter(|(name, ..)| names.contains(name)) {
        for piece in [written, ": ", value, "\r\n"] {
            fragment.push_str(piece);
        }
    }
    fragment.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Limits;

    #[test]
    fn the_status_of_a_refer_is_read() {
        // RFC 3515 §2.4.5; some leave out the CR, the line's end, the reason
        for text in [
            "SIP/2.0 503 Service Unavailable\r\n",
            "SIP/2.0 503 Service Unavailable",
            "SIP/2.0 503\n",
            "SIP/2.0 503 \r\n\r\n",
        ] {
            let fragment = SipFrag::parse(text.as_bytes()).unwrap();
            assert_eq!(fragment.status(), Some(StatusCode::SERVICE_UNAVAILABLE), "{text:?}");
        }
        let written = of_status(StatusCode::TRYING, "");
        assert_eq!(written, b"SIP/2.0 100 Trying\r\n");
        assert_eq!(SipFrag::parse(&written).unwrap().status(), Some(StatusCode::TRYING));
        assert_eq!(of_status(StatusCode::OK, "a\r\nb"), b"SIP/2.0 200 a  b\r\n");
    }

    #[test]
    fn the_valid_examples_of_rfc3420_section_2_2_are_read() {
        let parse = |text: &'static str| SipFrag::parse(text.as_bytes());
        let request = parse("INVITE sip:alice@atlanta.com SIP/2.0\r\n").unwrap();
        assert_eq!(request.start, Some(StartLine::Request { method: Method::Invite, uri: "sip:alice@atlanta.com" }));
        let with_body = parse("SIP/2.0 603 Declined\r\nDate: x\r\nContact: <sip:a>\r\n folded\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n").unwrap();
        assert_eq!((with_body.fields.len(), with_body.body), (3, b"v=0\r\n".as_slice()));
        let fields = parse("From: Alice <sip:alice@atlanta.com>\r\nTo: Bob\r\n").unwrap();
        assert_eq!((fields.start.clone(), fields.header(HeaderName::To)), (None, Some("Bob")));
        let body = parse("\r\nbody").unwrap();
        assert_eq!((body.start, body.fields.len(), body.body), (None, 0, b"body".as_slice()));
    }

    #[test]
    fn what_is_no_fragment_is_refused() {
        for text in [
            "INVITE\r\n",
            "SIP/2.0 99 x\r\n",
            "SIP/2.0 abc\r\n",
            "a b\r\n",
            "From: x\r\nSIP/2.0 200 OK\r\n",
            "INVITE sip:a HTTP/1.1",
        ] {
            assert_eq!(SipFrag::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(SipFrag::parse(b"SIP/2.0 200 \xff\r\n"), None);
    }

    #[test]
    fn a_message_gives_the_fields_that_are_asked_for() {
        let text = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nf: <sip:a>\r\nTo: <sip:b>;\r\n tag=1\r\n\r\n";
        let message = Message::parse(text, &Limits::default()).unwrap();
        let fragment = of_message(&message, &[HeaderName::From, HeaderName::To]);
        assert_eq!(fragment, b"SIP/2.0 200 OK\r\nf: <sip:a>\r\nTo: <sip:b>;\r\n tag=1\r\n");
        assert_eq!(SipFrag::parse(&fragment).unwrap().fields.len(), 2);
    }
}
