//! Bytes to [`Message`] (RFC 3261 §7): one pass that finds the lines, no look inside the values.
//!
//! The framer measured the bytes; this reads exactly those. Both find lines with [`next_field`] and lengths with
//! [`content_length`], so that they cannot disagree about where a message ends.

use std::fmt;

use super::build::RequestBuilder;
use super::stamp::STAMP;
use super::{CSeq, Field, FirstFields, HeaderName, Limits, Message, Method, Start, StatusCode, lex, scan};

/// A message that could not be parsed. The peer's fault.
#[derive(Clone, Debug)]
pub struct ParseError {
    kind: ParseErrorKind,
    reply_to: Option<Box<Message>>,
}

/// Why a message could not be parsed.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseErrorKind {
    /// Neither a request line nor a status line.
    StartLine,
    /// A version other than SIP/2.0.
    Version,
    /// A line that is no header field: no colon, or a name with characters that no name has.
    HeaderLine,
    /// CR or LF alone: some servers would see a line end where others see none.
    LineBreak,
    /// The blank line after the header fields is missing.
    Unfinished,
    /// The start line or a header field is not UTF-8.
    NotUtf8,
    /// A Content-Length that is no number, differs from another one, or differs from the body's length.
    ContentLength,
    /// The start line exceeds [`Limits::max_line`].
    StartLineTooLong,
    /// One header field exceeds [`Limits::max_line`].
    LineTooLong,
    /// More header fields than [`Limits::max_headers`].
    TooManyHeaders,
    /// More header bytes than [`Limits::max_header_bytes`].
    HeaderTooLarge,
    /// More bytes than [`Limits::max_message`].
    MessageTooLarge,
}

impl ParseErrorKind {
    /// The response that says so.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::VERSION_NOT_SUPPORTED,
            Self::StartLineTooLong => StatusCode::REQUEST_URI_TOO_LONG,
            Self::LineTooLong | Self::TooManyHeaders | Self::HeaderTooLarge => StatusCode::MESSAGE_TOO_LARGE,
            Self::MessageTooLarge => StatusCode::REQUEST_ENTITY_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A reason phrase that names the culprit (RFC 3261 §21.4.1).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::StartLine => "Malformed Start Line",
            Self::Version => "Version Not Supported",
            Self::HeaderLine => "Malformed Header Line",
            Self::LineBreak => "Bare CR or LF",
            Self::Unfinished => "Missing Blank Line",
            Self::NotUtf8 => "Header Not UTF-8",
            Self::ContentLength => "Bad Content-Length",
            Self::StartLineTooLong => "Request-URI Too Long",
            Self::LineTooLong => "Header Field Too Long",
            Self::TooManyHeaders => "Too Many Header Fields",
            Self::HeaderTooLarge => "Message Header Too Large",
            Self::MessageTooLarge => "Request Entity Too Large",
        }
    }
}

impl ParseError {
    /// Why.
    pub const fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// The response that says so: 400, 413, 414, 505 or 513.
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// What a response needs, if it could be read: a request reduced to Via, From, To, Call-ID and CSeq, each as
    /// received. `None` for responses, for ACK, and where one of them is missing: nothing can be answered then.
    pub fn reply_to(&self) -> Option<&Message> {
        self.reply_to.as_deref()
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.reason())
    }
}

impl std::error::Error for ParseError {}

/// Reads `bytes`, which are exactly one message.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Message, ParseError> {
    read(bytes, limits).map_err(|kind| ParseError { kind, reply_to: salvage(bytes, limits).map(Box::new) })
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Message, ParseErrorKind> {
    if bytes.len() > limits.max_message {
        return Err(ParseErrorKind::MessageTooLarge);
    }
    let start_line = line_end(bytes, 0)?;
    if start_line > limits.max_line {
        return Err(ParseErrorKind::StartLineTooLong);
    }
    let (mut fields, end) = find_fields(bytes, start_line + 2, limits)?;
    let (head, body) = bytes.split_at(end);
    let mut first = FirstFields::default();
    let mut link = fields.len() as u16;
    // From the last one on, so that the next one of the same name is known.
    for field in fields.iter_mut().rev() {
        *field = read_field(bytes, field.start as usize, field.end as usize).ok_or(ParseErrorKind::HeaderLine)?;
        field.next = first.replace(field.name, link);
        link -= 1;
        if field.name == HeaderName::ContentLength && content_length(&bytes[field.value()])? != body.len() {
            return Err(ParseErrorKind::ContentLength);
        }
    }
    let text = std::str::from_utf8(head).map_err(|_| ParseErrorKind::NotUtf8)?;
    let start = read_start_line(&text[..start_line])?;
    // A request will say where it came from.
    let mut head = String::with_capacity(text.len() + if matches!(start, Start::Request { .. }) { STAMP } else { 0 });
    head.push_str(text);
    Ok(Message { head, start, first, fields, body: body.into() })
}

/// The header fields from `at` on, of which only begin and end are known yet, and where the blank line after them ends.
#[inline(never)]
fn find_fields(bytes: &[u8], mut at: usize, limits: &Limits) -> Result<(Vec<Field>, usize), ParseErrorKind> {
    let mut fields = Vec::with_capacity(24);
    let max_headers = limits.max_headers.min(FirstFields::MAX);
    let max_field = limits.max_line.saturating_add(2);
    while !is_blank(bytes, at) {
        let end = value_end(bytes, at)?;
        if fields.len() == max_headers {
            return Err(ParseErrorKind::TooManyHeaders);
        }
        if end - at > max_field {
            return Err(ParseErrorKind::LineTooLong);
        }
        if end + 2 > limits.max_header_bytes {
            return Err(ParseErrorKind::HeaderTooLarge);
        }
        fields.push(Field { start: at as u32, end: end as u32, ..UNREAD });
        at = end;
    }
    Ok((fields, at + 2))
}

/// A field of which nothing is known yet.
const UNREAD: Field =
    Field { name: HeaderName::Other, next: 0, start: 0, name_end: 0, value_start: 0, value_end: 0, end: 0 };

/// `Method SP Request-URI SP SIP-Version` or `SIP-Version SP Status-Code SP Reason-Phrase`; single spaces, RFC 3261 §7.1.
fn read_start_line(line: &str) -> Result<Start, ParseErrorKind> {
    let malformed = ParseErrorKind::StartLine;
    let (first, rest) = lex::split_once(line, b' ').ok_or(malformed)?;
    if is_sip_name(first) {
        if !is_our_version(first) {
            return Err(ParseErrorKind::Version);
        }
        // Without a reason phrase the second space is often forgotten.
        let code = rest.split(' ').next().unwrap_or("");
        let status = lex::number(code).filter(|_| code.len() == 3).and_then(|code| StatusCode::new(code as u16));
        return Ok(Start::Response { status: status.ok_or(malformed)? });
    }
    let method = Method::parse(first).ok_or(malformed)?;
    let (uri, version) = lex::split_once(rest, b' ').ok_or(malformed)?;
    if uri.is_empty() || scan::any_control(uri.as_bytes()) || uri.starts_with('<') {
        return Err(malformed);
    }
    if !is_our_version(version) {
        let foreign = is_sip_name(version) && !version.contains(' ');
        return Err(if foreign { ParseErrorKind::Version } else { malformed });
    }
    let uri_start = first.len() + 1;
    Ok(Start::Request { method, uri_start: uri_start as u32, uri_end: (uri_start + uri.len()) as u32 })
}

fn is_sip_name(text: &str) -> bool {
    text.as_bytes().get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

fn is_our_version(text: &str) -> bool {
    lex::same_name(text.as_bytes(), b"SIP/2.0")
}

/// Where the line at `at` ends: before its CRLF.
#[inline(always)]
fn line_end(bytes: &[u8], mut at: usize) -> Result<usize, ParseErrorKind> {
    loop {
        at = scan::up_to_cr(bytes, at).ok_or(ParseErrorKind::Unfinished)?;
        match bytes[at..] {
            [b'\r', b'\n', ..] => return Ok(at),
            [b'\r'] => return Err(ParseErrorKind::Unfinished),
            [b'\r' | b'\n', ..] => return Err(ParseErrorKind::LineBreak),
            _ => at += 1,
        }
    }
}

/// Where the header field at `start` ends with its folded lines: after their CRLF. The blank line ends after two bytes.
#[inline]
pub(crate) fn field_end(bytes: &[u8], start: usize) -> Result<usize, ParseErrorKind> {
    if is_blank(bytes, start) { Ok(start + 2) } else { value_end(bytes, start) }
}

/// Whether the line at `start` is the blank one.
#[inline]
fn is_blank(bytes: &[u8], start: usize) -> bool {
    matches!(bytes.get(start..), Some([b'\r', b'\n', ..]))
}

/// Where the field ends, folded lines included, in whose first line `at` is.
#[inline(always)]
fn value_end(bytes: &[u8], at: usize) -> Result<usize, ParseErrorKind> {
    let end = line_end(bytes, at)?;
    // RFC 3261 §7.3.1: a line that begins with white space continues the one before it.
    let folded = matches!(bytes.get(end + 2), Some(b' ' | b'\t'));
    Ok(if folded { folded_end(bytes, end)? } else { end } + 2)
}

/// Where the lines end that continue the one that ends at `end`.
#[cold]
fn folded_end(bytes: &[u8], mut end: usize) -> Result<usize, ParseErrorKind> {
    while let Some(b' ' | b'\t') = bytes.get(end + 2) {
        end = line_end(bytes, end + 2)?;
    }
    Ok(end)
}

/// The header field at `start` with its folded lines; `None` if the blank line stands there.
pub(crate) fn next_field(bytes: &[u8], start: usize) -> Result<Option<Field>, ParseErrorKind> {
    if is_blank(bytes, start) {
        return Ok(None);
    }
    let end = value_end(bytes, start)?;
    read_field(bytes, start, end).map(Some).ok_or(ParseErrorKind::HeaderLine)
}

/// The header field that begins at `start` and ends, its CRLF included, at `end`; `None` if it has no name or no colon.
#[inline(always)]
fn read_field(bytes: &[u8], start: usize, end: usize) -> Option<Field> {
    let (name, name_end, colon) = match HeaderName::before_colon(bytes, start) {
        Some((name, end)) => (name, end, end),
        None => read_rare_name(bytes, start)?,
    };
    let line = &bytes[..end - 2];
    // One space is the rule, and counted without a loop.
    let space = line.get(colon + 1) == Some(&b' ');
    let value_start = lex::skip_space(line, colon + 1 + usize::from(space));
    Some(Field {
        name,
        next: 0,
        start: start as u32,
        name_end: name_end as u32,
        value_start: value_start as u32,
        value_end: lex::space_start(line, value_start) as u32,
        end: end as u32,
    })
}

/// A name that is long, has none of ours, or has white space after it; where it ends, and where its colon stands.
#[inline(never)]
fn read_rare_name(bytes: &[u8], start: usize) -> Option<(HeaderName, usize, usize)> {
    let name_end = scan::colon_or_space(bytes, start)?;
    let name = &bytes[start..name_end];
    // HCOLON = *( SP / HTAB ) ":" SWS
    let mut colon = name_end;
    while let Some(b' ' | b'\t') = bytes.get(colon) {
        colon += 1;
    }
    (bytes.get(colon) == Some(&b':') && lex::is_token(name)).then(|| (HeaderName::parse_bytes(name), name_end, colon))
}

/// Reads a Content-Length value. What has more digits than a length can have is the largest length.
pub(crate) fn content_length(value: &[u8]) -> Result<usize, ParseErrorKind> {
    let length = lex::saturating_number(value).ok_or(ParseErrorKind::ContentLength)?;
    Ok(length.try_into().unwrap_or(usize::MAX))
}

/// Finds what a response needs in a message that is broken elsewhere.
pub(crate) fn salvage(bytes: &[u8], limits: &Limits) -> Option<Message> {
    let bytes = &bytes[..bytes.len().min(limits.max_header_bytes)];
    if bytes.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        return None;
    }
    let mut method = None;
    let mut lines: Vec<(HeaderName, &str)> = Vec::new();
    let mut at = memchr::memchr(b'\n', bytes)? + 1;
    while lines.len() < limits.max_headers {
        match next_field(bytes, at) {
            Ok(Some(field)) => {
                at = field.end as usize;
                let Ok(value) = std::str::from_utf8(&bytes[field.value()]) else { continue };
                match field.name {
                    HeaderName::Via | HeaderName::From | HeaderName::To | HeaderName::CallId => {}
                    HeaderName::CSeq => method = Some(CSeq::parse(value).ok()?.method),
                    _ => continue,
                }
                lines.push((field.name, value));
            }
            Ok(None) => break,
            Err(_) => match skip_broken(bytes, at) {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    let method = method.filter(|method| *method != Method::Ack)?;
    let builder = RequestBuilder::new(method, "sip:unreadable.invalid");
    let builder = lines.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value));
    let unbounded = Limits { max_header_bytes: usize::MAX, max_message: usize::MAX, ..limits.clone() };
    let message = read(&builder.to_vec(), &unbounded).ok()?;
    message.check_essential().is_ok().then_some(message)
}

/// The line after the broken one at `at` and after those that continue it.
fn skip_broken(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(b'\n', bytes.get(at..)?)? + 1;
        if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> ParseErrorKind {
        Message::parse(text.as_bytes(), &Limits::default()).unwrap_err().kind()
    }

    #[test]
    fn each_break_has_its_name_and_code() {
        for (text, expected, code) in [
            ("", ParseErrorKind::Unfinished, 400),
            ("OPTIONS sip:a SIP/2.0\r\n", ParseErrorKind::Unfinished, 400),
            ("OPTIONS sip:a SIP/2.0\r\nl: 0\r\n", ParseErrorKind::Unfinished, 400),
            ("OPTIONS sip:a\r\n\r\n", ParseErrorKind::StartLine, 400),
            ("OPT IONS sip:a SIP/2.0\r\n\r\n", ParseErrorKind::StartLine, 400),
            ("OPTIONS sip:a  SIP/2.0\r\n\r\n", ParseErrorKind::StartLine, 400),
            ("OPTIONS sip:a SIP/2.0 \r\n\r\n", ParseErrorKind::StartLine, 400),
            ("GET / HTTP/1.1\r\n\r\n", ParseErrorKind::StartLine, 400),
            ("OPTIONS sip:a SIP/3.0\r\n\r\n", ParseErrorKind::Version, 505),
            ("SIP/2.0 99 Low\r\n\r\n", ParseErrorKind::StartLine, 400),
            ("SIP/2.0 0200 OK\r\n\r\n", ParseErrorKind::StartLine, 400),
            ("OPTIONS sip:a SIP/2.0\r\nno colon\r\n\r\n", ParseErrorKind::HeaderLine, 400),
            ("OPTIONS sip:a SIP/2.0\r\n: no name\r\n\r\n", ParseErrorKind::HeaderLine, 400),
            ("OPTIONS sip:a SIP/2.0\r\n folded: start\r\n\r\n", ParseErrorKind::HeaderLine, 400),
            ("OPTIONS sip:a SIP/2.0\r\na: b\nc: d\r\n\r\n", ParseErrorKind::LineBreak, 400),
            ("OPTIONS sip:a SIP/2.0\r\na: b\rc: d\r\n\r\n", ParseErrorKind::LineBreak, 400),
            ("OPTIONS sip:a SIP/2.0\r\nl: 1\r\n\r\n", ParseErrorKind::ContentLength, 400),
            ("OPTIONS sip:a SIP/2.0\r\nl: 0\r\nContent-Length: 1\r\n\r\nx", ParseErrorKind::ContentLength, 400),
            ("OPTIONS sip:a SIP/2.0\r\nl: -1\r\n\r\n", ParseErrorKind::ContentLength, 400),
            ("OPTIONS sip:a SIP/2.0\r\nl: 18446744073709551616\r\n\r\n", ParseErrorKind::ContentLength, 400),
        ] {
            assert_eq!((kind(text), kind(text).status().code()), (expected, code), "{text:?}");
        }
        let bytes = b"OPTIONS sip:a SIP/2.0\r\nSubject: \xff\r\n\r\n";
        assert_eq!(Message::parse(bytes, &Limits::default()).unwrap_err().kind(), ParseErrorKind::NotUtf8);
    }

    #[test]
    fn bounds_hold_to_the_byte() {
        let limits = Limits { max_message: 200, max_header_bytes: 100, max_headers: 3, max_line: 40 };
        let parse = |text: String| Message::parse(text.as_bytes(), &limits).map_err(|error| error.kind());
        let line = |length: usize| format!("OPTIONS sip:a SIP/2.0\r\nA: {}\r\n\r\n", "x".repeat(length - 3));
        assert!(parse(line(40)).is_ok());
        assert_eq!(parse(line(41)).unwrap_err(), ParseErrorKind::LineTooLong);
        let start = |length: usize| format!("OPTIONS sip:{} SIP/2.0\r\n\r\n", "a".repeat(length - 20));
        assert!(parse(start(40)).is_ok());
        assert_eq!(parse(start(41)).unwrap_err(), ParseErrorKind::StartLineTooLong);
        let count = |lines: usize| format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "a:\r\n".repeat(lines));
        assert!(parse(count(3)).is_ok());
        assert_eq!(parse(count(4)).unwrap_err(), ParseErrorKind::TooManyHeaders);
        let body = |length: usize| format!("OPTIONS sip:a SIP/2.0\r\n\r\n{}", "x".repeat(length - 25));
        assert!(parse(body(200)).is_ok());
        assert_eq!(parse(body(201)).unwrap_err(), ParseErrorKind::MessageTooLarge);
    }

    #[test]
    fn refuses_ten_thousand_headers_before_it_has_read_them() {
        let text = format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "a:b\r\n".repeat(10_000));
        assert_eq!(kind(&text), ParseErrorKind::TooManyHeaders);
        let folded = format!("OPTIONS sip:a SIP/2.0\r\na:{}\r\n\r\n", "\r\n b".repeat(10_000));
        assert_eq!(kind(&folded), ParseErrorKind::LineTooLong);
    }

    #[test]
    fn what_is_broken_elsewhere_can_still_be_answered() {
        let text = "OPTIONS sip:a SIP/2.0\r\nbroken\r\n and folded\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
            f: <sip:a@a>;tag=1\r\nt: <sip:b@b>\r\ni: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let error = Message::parse(text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error.reply_to().unwrap().via().unwrap().branch(), Some("z9hG4bK1"));
        for unanswerable in [
            text.replace("OPTIONS", "ACK"),
            text.replace("i: c", "x: c"),
            text.replace("OPTIONS sip:a SIP/2.0", "SIP/2.0 200 OK"),
        ] {
            assert!(Message::parse(unanswerable.as_bytes(), &Limits::default()).unwrap_err().reply_to().is_none());
        }
    }

    #[test]
    fn folding_reads_as_white_space() {
        let text = "OPTIONS sip:a SIP/2.0\r\nSupported : a,\r\n\tb ,\r\n \r\n c\r\nSubject:\r\n\r\n";
        let message = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(message.supported().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(message.header(HeaderName::Subject), Some(""));
        assert_eq!(message.to_vec(), text.as_bytes());
    }
}
