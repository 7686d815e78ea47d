//! New messages: responses to a request (RFC 3261 §8.2.6) and requests of our own.

use std::fmt::{Display, Write as _};

use super::edit::{push_clean, push_uri};
use super::{HeaderName, Message, Method, StatusCode};

/// A response in the making. Via (all), From, To, Call-ID and CSeq are the request's, byte for byte and in its order;
/// a 100 takes Timestamp along (RFC 3261 §8.2.6.1).
#[derive(Clone, Debug)]
pub struct ResponseBuilder<'m> {
    request: &'m Message,
    status: StatusCode,
    reason: Option<&'m str>,
    to_tag: Option<&'m str>,
    lines: Lines,
    body: &'m [u8],
}

impl<'m> ResponseBuilder<'m> {
    /// A response to `request` with the status' usual reason phrase and no body.
    pub fn new(request: &'m Message, status: StatusCode) -> Self {
        Self { request, status, reason: None, to_tag: None, lines: Lines::default(), body: &[] }
    }

    /// Another reason phrase.
    pub fn reason(mut self, reason: &'m str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The tag that To gets if the request's has none: a must in every response but 100 (RFC 3261 §8.2.6.2).
    pub fn to_tag(mut self, tag: &'m str) -> Self {
        self.to_tag = Some(tag);
        self
    }

    /// One more header field, below the copied ones, in the order of the calls.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.lines.push(name, value);
        self
    }

    /// One more header field, whose value is written in place.
    pub fn header_of(mut self, name: HeaderName, value: impl Display) -> Self {
        self.lines.push_display(name, value);
        self
    }

    /// One more header field, for names that [`HeaderName`] does not know.
    pub fn header_named(mut self, name: &str, value: &str) -> Self {
        self.lines.push_named(name, value);
        self
    }

    /// A body and its Content-Type. Without one there is `Content-Length: 0`.
    pub fn body(mut self, content_type: &str, body: &'m [u8]) -> Self {
        self.lines.push(HeaderName::ContentType, content_type);
        self.body = body;
        self
    }

    /// Appends the response to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_vec());
    }

    /// The response as [`Self::write`] writes it.
    pub fn to_vec(&self) -> Vec<u8> {
        let room = self.lines.0.len() + self.body.len() + ROOM;
        let mut head = String::with_capacity(room);
        let _infallible = write!(head, "SIP/2.0 {} ", self.status);
        push_clean(&mut head, self.reason.unwrap_or(self.status.reason()));
        head.push_str("\r\n");
        for field in &self.request.fields {
            let line = &self.request.head[field.start as usize..field.end as usize];
            match field.name {
                HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq => head.push_str(line),
                HeaderName::To => self.write_to(&mut head, line),
                HeaderName::Timestamp if self.status == StatusCode::TRYING => head.push_str(line),
                _ => {}
            }
        }
        head.push_str(&self.lines.0);
        finish(head, self.body)
    }

    fn write_to(&self, head: &mut String, line: &str) {
        match self.to_tag {
            Some(tag) if self.request.to_tag().is_none() => {
                let line = super::lex::trim_end(line);
                // Some phones end a value with a semicolon of no use; two would not be well formed.
                head.push_str(super::lex::trim_end(line.strip_suffix(';').unwrap_or(line)));
                head.push_str(";tag=");
                push_clean(head, tag);
                head.push_str("\r\n");
            }
            _ => head.push_str(line),
        }
    }
}

/// A request of our own, line by line.
#[derive(Clone, Debug)]
pub struct RequestBuilder<'b> {
    /// The first line and those below it.
    lines: Lines,
    body: &'b [u8],
}

impl<'b> RequestBuilder<'b> {
    /// `METHOD uri SIP/2.0` and no header field but Content-Length.
    pub fn new(method: Method, uri: &str) -> Self {
        let mut lines = String::with_capacity(ROOM);
        lines.push_str(method.as_str());
        lines.push(' ');
        push_uri(&mut lines, uri);
        lines.push_str(" SIP/2.0\r\n");
        Self { lines: Lines(lines), body: &[] }
    }

    /// One more header field, in the order of the calls.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.lines.push(name, value);
        self
    }

    /// One more header field, whose value is written in place.
    pub fn header_of(mut self, name: HeaderName, value: impl Display) -> Self {
        self.lines.push_display(name, value);
        self
    }

    /// One more header field, for names that [`HeaderName`] does not know.
    pub fn header_named(mut self, name: &str, value: &str) -> Self {
        self.lines.push_named(name, value);
        self
    }

    /// A copy of `message`'s header fields of that name, byte for byte.
    pub fn copy(mut self, message: &Message, name: HeaderName) -> Self {
        for field in message.fields.iter().filter(|field| field.name == name) {
            self.lines.0.push_str(&message.head[field.start as usize..field.end as usize]);
        }
        self
    }

    /// A body and its Content-Type. Without one there is `Content-Length: 0`.
    pub fn body(mut self, content_type: &str, body: &'b [u8]) -> Self {
        self.lines.push(HeaderName::ContentType, content_type);
        self.body = body;
        self
    }

    /// Appends the request to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_vec());
    }

    /// The request as [`Self::write`] writes it.
    pub fn to_vec(&self) -> Vec<u8> {
        self.clone().into_vec()
    }

    /// The same, without another copy.
    pub fn into_vec(self) -> Vec<u8> {
        finish(self.lines.0, self.body)
    }
}

/// Room for the head of most messages, which then is allocated once.
const ROOM: usize = 1024;

/// Header fields one below the other.
#[derive(Clone, Debug, Default)]
struct Lines(String);

impl Lines {
    fn push(&mut self, name: HeaderName, value: &str) {
        self.0.push_str(name.as_str());
        self.0.push_str(": ");
        push_clean(&mut self.0, value);
        self.0.push_str("\r\n");
    }

    fn push_named(&mut self, name: &str, value: &str) {
        push_clean(&mut self.0, name);
        self.0.push_str(": ");
        push_clean(&mut self.0, value);
        self.0.push_str("\r\n");
    }

    fn push_display(&mut self, name: HeaderName, value: impl Display) {
        self.0.push_str(name.as_str());
        self.0.push_str(": ");
        let start = self.0.len();
        let _infallible = write!(self.0, "{value}");
        if memchr::memchr2(b'\r', b'\n', &self.0.as_bytes()[start..]).is_some() {
            let value = self.0.split_off(start);
            push_clean(&mut self.0, &value);
        }
        self.0.push_str("\r\n");
    }
}

/// Ends a head by Content-Length and puts the body below.
fn finish(mut head: String, body: &[u8]) -> Vec<u8> {
    head.reserve(body.len() + 32);
    let _infallible = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

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
    fn no_value_breaks_a_line() {
        let request = RequestBuilder::new(Method::Options, "sip:bob@b")
            .header(HeaderName::Subject, "a\r\nEvil: 1")
            .header_of(HeaderName::Subject, "b\nEvil: 2")
            .header_named("X-Odd\r\nEvil", "c\rEvil: 3")
            .into_vec();
        let expected = "OPTIONS sip:bob@b SIP/2.0\r\n\
            Subject: a  Evil: 1\r\n\
            Subject: b Evil: 2\r\n\
            X-Odd  Evil: c Evil: 3\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8(request).unwrap(), expected);
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
