//! New messages: responses to a request (RFC 3261 §8.2.6) and requests of our own.

use std::io::Write as _;

use super::edit::{push_clean, push_uri};
use super::{HeaderName, Message, Method, StatusCode};

/// A response in the making. Via (all), From, To, Call-ID and CSeq are the request's, byte for byte and in its order;
/// a 100 takes Timestamp along (RFC 3261 §8.2.6.1).
#[derive(Clone, Debug)]
pub struct ResponseBuilder<'m> {
    request: &'m Message,
    status: StatusCode,
    reason: Option<String>,
    to_tag: Option<String>,
    rest: Rest,
}

impl<'m> ResponseBuilder<'m> {
    /// A response to `request` with the status' usual reason phrase and no body.
    pub fn new(request: &'m Message, status: StatusCode) -> Self {
        Self { request, status, reason: None, to_tag: None, rest: Rest::default() }
    }

    /// Another reason phrase.
    pub fn reason(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }

    /// The tag that To gets if the request's has none: a must in every response but 100 (RFC 3261 §8.2.6.2).
    pub fn to_tag(mut self, tag: &str) -> Self {
        self.to_tag = Some(tag.to_owned());
        self
    }

    /// One more header field, below the copied ones, in the order of the calls.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.rest.line(name.as_str(), value);
        self
    }

    /// One more header field, for names that [`HeaderName`] does not know.
    pub fn header_named(mut self, name: &str, value: &str) -> Self {
        self.rest.line(name, value);
        self
    }

    /// A body and its Content-Type. Without one there is `Content-Length: 0`.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Self {
        self.rest.body(content_type, body);
        self
    }

    /// Appends the response to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "SIP/2.0 {} ", self.status); // a Vec takes everything
        push_clean_bytes(out, self.reason.as_deref().unwrap_or(self.status.reason()));
        out.extend_from_slice(b"\r\n");
        for field in &self.request.fields {
            let line = &self.request.head[field.start as usize..field.end as usize];
            match field.name {
                HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq => {
                    out.extend_from_slice(line.as_bytes());
                }
                HeaderName::To => self.write_to(out, line),
                HeaderName::Timestamp if self.status == StatusCode::TRYING => out.extend_from_slice(line.as_bytes()),
                _ => {}
            }
        }
        self.rest.finish("", out);
    }

    /// The response as [`Self::write`] writes it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write_to(&self, out: &mut Vec<u8>, line: &str) {
        match &self.to_tag {
            Some(tag) if self.request.to_tag().is_none() => {
                let line = super::lex::trim_end(line);
                // Some phones end a value with a semicolon of no use; two would not be well formed.
                out.extend_from_slice(super::lex::trim_end(line.strip_suffix(';').unwrap_or(line)).as_bytes());
                out.extend_from_slice(b";tag=");
                push_clean_bytes(out, tag);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line.as_bytes()),
        }
    }
}

/// A request of our own, line by line.
#[derive(Clone, Debug)]
pub struct RequestBuilder {
    first_line: String,
    rest: Rest,
}

impl RequestBuilder {
    /// `METHOD uri SIP/2.0` and no header field but Content-Length.
    pub fn new(method: Method, uri: &str) -> Self {
        let mut first_line = format!("{method} ");
        push_uri(&mut first_line, uri);
        first_line.push_str(" SIP/2.0\r\n");
        Self { first_line, rest: Rest::default() }
    }

    /// One more header field, in the order of the calls.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.rest.line(name.as_str(), value);
        self
    }

    /// One more header field, for names that [`HeaderName`] does not know.
    pub fn header_named(mut self, name: &str, value: &str) -> Self {
        self.rest.line(name, value);
        self
    }

    /// A copy of `message`'s header fields of that name, byte for byte.
    pub fn copy(mut self, message: &Message, name: HeaderName) -> Self {
        for field in message.fields.iter().filter(|field| field.name == name) {
            self.rest.lines.push_str(&message.head[field.start as usize..field.end as usize]);
        }
        self
    }

    /// A body and its Content-Type. Without one there is `Content-Length: 0`.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Self {
        self.rest.body(content_type, body);
        self
    }

    /// Appends the request to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.rest.finish(&self.first_line, out);
    }

    /// The request as [`Self::write`] writes it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// What follows the lines that make the kind of message.
#[derive(Clone, Debug, Default)]
struct Rest {
    lines: String,
    body: Vec<u8>,
}

impl Rest {
    fn line(&mut self, name: &str, value: &str) {
        if self.lines.is_empty() {
            self.lines.reserve(LINES);
        }
        push_clean(&mut self.lines, name);
        self.lines.push_str(": ");
        push_clean(&mut self.lines, value);
        self.lines.push_str("\r\n");
    }

    fn body(&mut self, content_type: &str, body: &[u8]) {
        self.line(HeaderName::ContentType.as_str(), content_type);
        self.body = body.to_vec();
    }

    fn finish(&self, head: &str, out: &mut Vec<u8>) {
        out.reserve(head.len() + self.lines.len() + self.body.len() + 32);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(self.lines.as_bytes());
        let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len()); // a Vec takes everything
        out.extend_from_slice(&self.body);
    }
}

/// Appends `value` with every CR and LF as a space.
fn push_clean_bytes(out: &mut Vec<u8>, value: &str) {
    let clean = |byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
    match memchr::memchr2(b'\r', b'\n', value.as_bytes()) {
        Some(_) => out.extend(value.bytes().map(clean)),
        None => out.extend_from_slice(value.as_bytes()),
    }
}

/// Room for the lines that a response usually adds.
const LINES: usize = 384;

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    fn request(to: &str) -> Message {
        let request = RequestBuilder::new(Method::Options, "sip:bob@b")
            .header(HeaderName::Via, "SIP/2.0/UDP one;branch=z9hG4bK1, SIP/2.0/UDP two")
            .header(HeaderName::To, to)
            .header(HeaderName::From, "<sip:alice@a>;tag=1")
            .header(HeaderName::Via, "SIP/2.0/UDP three")
            .header(HeaderName::CallId, "c@a")
            .header(HeaderName::CSeq, "1 OPTIONS")
            .header(HeaderName::Timestamp, "54.2")
            .body("text/plain", b"hello");
        Message::parse(&request.to_vec(), &Limits::default()).unwrap()
    }

    #[test]
    fn a_response_takes_the_requests_lines_in_their_order() {
        // RFC 3261 §8.2.6.2
        let response = ResponseBuilder::new(&request("Bob <sip:bob@b>"), StatusCode::BUSY_HERE)
            .to_tag("t1")
            .header(HeaderName::RetryAfter, "5")
            .to_vec();
        let expected = "SIP/2.0 486 Busy Here\r\n\
            Via: SIP/2.0/UDP one;branch=z9hG4bK1, SIP/2.0/UDP two\r\n\
            To: Bob <sip:bob@b>;tag=t1\r\n\
            From: <sip:alice@a>;tag=1\r\n\
            Via: SIP/2.0/UDP three\r\n\
            Call-ID: c@a\r\n\
            CSeq: 1 OPTIONS\r\n\
            Retry-After: 5\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(response).unwrap(), expected);
    }

    #[test]
    fn only_a_100_brings_timestamp_and_a_tag_is_never_doubled() {
        let trying = ResponseBuilder::new(&request("<sip:bob@b>"), StatusCode::TRYING).to_vec();
        assert!(String::from_utf8(trying).unwrap().contains("\r\nTimestamp: 54.2\r\n"));
        let ok = ResponseBuilder::new(&request("<sip:bob@b>;tag=theirs;"), StatusCode::OK).to_tag("ours").to_vec();
        let ok = Message::parse(&ok, &Limits::default()).unwrap();
        assert_eq!(ok.to_tag(), Some("theirs"));
        let lone = ResponseBuilder::new(&request("<sip:bob@b> ; "), StatusCode::OK).to_tag("ours").to_vec();
        assert_eq!(Message::parse(&lone, &Limits::default()).unwrap().to_tag(), Some("ours"));
    }
}
