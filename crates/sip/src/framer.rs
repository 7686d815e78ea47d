//! Where one message ends and the next begins (RFC 3261 §18.3, §7.5; RFC 5626 §4.4.1; RFC 7118 §5).
//!
//! The edge hands in what it read; each [`Frame::Message`] goes to [`Message::parse`](crate::message::Message::parse)
//! as it is. This is the only place that decides about boundaries: both read lines and lengths with the same functions.
//!
//! ```text
//!   stream    ──> StreamFramer ─┐
//!   datagram  ──> datagram() ───┼──> Frame::Message ──> Message::parse
//!   WebSocket ──> websocket() ──┘──> Frame::Ping, Pong, Broken ──> answered or closed at the edge
//! ```

use std::fmt;

use crate::message::parse::{content_length, field_end, next_field, salvage};
use crate::message::{HeaderName, Limits, Message, ResponseBuilder, StatusCode, Via};

/// What the bytes of a peer turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// The bytes of one message, body included; parsing them may still fail.
    Message(&'a [u8]),
    /// A keep-alive that wants an answer: the other side sent CRLF CRLF, send CRLF (RFC 5626 §4.4.1).
    Ping,
    /// A lone CRLF: the answer to a keep-alive of ours, or the first half of a [`Frame::Ping`], which then follows. It
    /// wants no answer; the peer is alive.
    Pong,
    /// No boundary can be found any more. On a stream the connection ends, after `reply` was written.
    Broken {
        /// The response, ready to send, if it could be read what to answer and a request is to be answered at all.
        reply: Option<Vec<u8>>,
        /// Why.
        reason: FramingError,
    },
}

/// Why no boundary can be found. The peer's fault.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramingError {
    /// Content-Length is missing on a stream (RFC 3261 §18.3).
    NoContentLength,
    /// Two different Content-Length header fields, or one that is no number: whoever believes the other one reads
    /// another message.
    BadContentLength,
    /// The body is shorter than Content-Length says; only in datagrams and WebSocket messages (RFC 3261 §18.3).
    ShortBody,
    /// The body is longer than Content-Length says; only in WebSocket messages, which carry exactly one message each
    /// (RFC 7118 §5).
    LongBody,
    /// Header and body exceed [`Limits::max_message`].
    MessageTooLarge,
    /// The header exceeds [`Limits::max_header_bytes`], or a field in it [`Limits::max_line`].
    HeaderTooLarge,
    /// More header fields than [`Limits::max_headers`].
    TooManyHeaders,
    /// A line that is no header field, or does not end in CRLF.
    BadHeader,
}

impl FramingError {
    /// The response that says so: 400, 413 or 513.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MessageTooLarge => StatusCode::REQUEST_ENTITY_TOO_LARGE,
            Self::HeaderTooLarge | Self::TooManyHeaders => StatusCode::MESSAGE_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A reason phrase that names the culprit (RFC 3261 §21.4.1).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoContentLength => "Missing Content-Length",
            Self::BadContentLength => "Bad Content-Length",
            Self::ShortBody => "Body Shorter Than Content-Length",
            Self::LongBody => "Body Longer Than Content-Length",
            Self::MessageTooLarge => "Request Entity Too Large",
            Self::HeaderTooLarge => "Message Header Too Large",
            Self::TooManyHeaders => "Too Many Header Fields",
            Self::BadHeader => "Malformed Header Line",
        }
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for FramingError {}

/// Cuts a stream (TCP, TLS) into messages and keep-alives.
///
/// ```
/// use farspeak_sip::framer::{Frame, StreamFramer};
/// use farspeak_sip::message::Limits;
///
/// let mut framer = StreamFramer::new(Limits::default());
/// framer.push(b"\r\nSIP/2.0 200 OK\r\nl: 2\r\n\r\nhiSIP/2.0 180");
/// assert_eq!(framer.next(), Some(Frame::Pong));
/// assert_eq!(framer.next(), Some(Frame::Message(b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nhi")));
/// assert_eq!(framer.next(), None);
/// ```
///
/// Call [`Self::next`] until it says `None` after every [`Self::push`]: between messages it then holds no heap memory,
/// and within one at most [`Limits::max_message`] and what the last push brought beyond it. How the bytes were cut into
/// pushes never shows in the frames.
#[derive(Clone, Debug)]
pub struct StreamFramer {
    limits: Limits,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that were handed out.
    taken: usize,
    progress: Progress,
}

/// How far the message at the front has been looked through; offsets from its first byte.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Whether the bytes before were a CRLF and no message: another makes a ping.
    after_crlf: bool,
    /// Where the line begins that is not complete yet.
    line: usize,
    /// Where the header field begins that this line may continue.
    field: usize,
    /// How many bytes have been searched for the end of the line.
    searched: usize,
    /// Header field lines so far, start line included.
    lines: usize,
    /// Length of the whole message, once its header is complete.
    total: Option<usize>,
    broken: bool,
}

impl StreamFramer {
    /// A framer at the beginning of a stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: Vec::new(), taken: 0, progress: Progress::default() }
    }

    /// What was read from the stream. After [`Frame::Broken`] it is thrown away.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.progress.broken {
            return;
        }
        self.release();
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or `None` until more is pushed. After [`Frame::Broken`] always `None`.
    #[expect(clippy::should_implement_trait, reason = "a frame borrows from the framer, which no Iterator can do")]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        if self.progress.broken {
            return None;
        }
        if self.progress.total.is_none() {
            if let Some(frame) = self.keep_alive() {
                return Some(frame);
            }
            if self.taken == self.buffer.len() {
                self.release();
                return None;
            }
            match self.measure() {
                Ok(total) => self.progress.total = total,
                Err((reason, read)) => return Some(self.give_up(reason, read)),
            }
        }
        let Some(total) = self.progress.total.filter(|total| self.buffer.len() - self.taken >= *total) else {
            self.release();
            return None;
        };
        let start = self.taken;
        self.taken += total;
        self.progress = Progress::default();
        Some(Frame::Message(&self.buffer[start..start + total]))
    }

    /// Whether it is between two messages.
    pub fn is_idle(&self) -> bool {
        self.taken == self.buffer.len()
    }

    /// Bytes of heap memory held; 0 when idle.
    pub fn heap_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// CRLF before a start line (RFC 3261 §7.5, RFC 5626 §4.4.1).
    fn keep_alive(&mut self) -> Option<Frame<'static>> {
        if self.progress.searched > 0 || !self.buffer[self.taken..].starts_with(b"\r\n") {
            return None;
        }
        self.taken += 2;
        self.progress.after_crlf = !self.progress.after_crlf;
        Some(if self.progress.after_crlf { Frame::Pong } else { Frame::Ping })
    }

    /// The length of the message at the front, once its header is complete; on error how many bytes were read to see it.
    fn measure(&mut self) -> Result<Option<usize>, (FramingError, usize)> {
        let bytes = &self.buffer[self.taken..];
        // A keep-alive that has not quite arrived.
        if bytes == b"\r" {
            return Ok(None);
        }
        let (limits, progress) = (&self.limits, &mut self.progress);
        loop {
            let end = memchr::memchr(b'\n', &bytes[progress.searched..]).map(|length| progress.searched + length + 1);
            // Judged at the byte that breaks the bound, so that it does not matter how many came with it.
            let bound = limits.max_header_bytes.min(progress.field.saturating_add(limits.max_line).saturating_add(2));
            if end.unwrap_or(bytes.len()) > bound {
                return Err((FramingError::HeaderTooLarge, bound.min(bytes.len())));
            }
            let Some(end) = end else {
                progress.searched = bytes.len();
                return Ok(None);
            };
            if !bytes[..end].ends_with(b"\r\n") {
                return Err((FramingError::BadHeader, end));
            }
            progress.searched = end;
            if end - progress.line == 2 {
                break;
            }
            if !matches!(bytes.get(progress.line), Some(b' ' | b'\t')) {
                progress.field = progress.line;
                progress.lines += 1;
                if progress.lines > limits.max_headers.saturating_add(1) {
                    return Err((FramingError::TooManyHeaders, end));
                }
            }
            progress.line = end;
        }
        let head = &bytes[..progress.searched];
        let error = |reason| (reason, head.len());
        let length = declared_length(head).map_err(error)?.ok_or(error(FramingError::NoContentLength))?;
        let total = head.len().saturating_add(length);
        if total > limits.max_message {
            return Err(error(FramingError::MessageTooLarge));
        }
        Ok(Some(total))
    }

    fn give_up(&mut self, reason: FramingError, read: usize) -> Frame<'static> {
        let reply = reply(&self.buffer[self.taken..self.taken + read], reason, &self.limits);
        self.buffer = Vec::new();
        self.taken = 0;
        self.progress.broken = true;
        Frame::Broken { reply, reason }
    }

    /// Gives the memory of what was handed out back.
    fn release(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer = Vec::new();
        } else if self.taken > 0 {
            self.buffer.drain(..self.taken);
        }
        self.taken = 0;
    }
}

/// One UDP datagram: one message (RFC 3261 §18.3). What follows the body is dropped; a body that is too short is an
/// error; without Content-Length the body goes to the end. CR and LF alone are keep-alives; so are the one or two zero
/// bytes or spaces that some phones send.
pub fn datagram<'a>(bytes: &'a [u8], limits: &Limits) -> Frame<'a> {
    single(bytes, limits, |body, declared| if body < declared { Err(FramingError::ShortBody) } else { Ok(declared) })
}

/// One WebSocket message: one SIP message (RFC 7118 §5), which may leave Content-Length out but must not lie.
pub fn websocket<'a>(bytes: &'a [u8], limits: &Limits) -> Frame<'a> {
    single(bytes, limits, |body, declared| match body.cmp(&declared) {
        std::cmp::Ordering::Less => Err(FramingError::ShortBody),
        std::cmp::Ordering::Equal => Ok(declared),
        std::cmp::Ordering::Greater => Err(FramingError::LongBody),
    })
}

fn single<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    fit: impl Fn(usize, usize) -> Result<usize, FramingError>,
) -> Frame<'a> {
    if bytes == b"\r\n\r\n" {
        return Frame::Ping;
    }
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | 0)) {
        return Frame::Pong;
    }
    // RFC 3261 §7.5: CRLF before the start line does not count.
    let mut message = bytes;
    while let Some(rest) = message.strip_prefix(b"\r\n") {
        message = rest;
    }
    let measured = head_length(message, limits).and_then(|head| {
        let body = message.len() - head;
        let length = match declared_length(&message[..head])? {
            Some(declared) => fit(body, declared)?,
            None => body,
        };
        if head + length > limits.max_message { Err(FramingError::MessageTooLarge) } else { Ok(head + length) }
    });
    match measured {
        Ok(length) => Frame::Message(&message[..length]),
        Err(reason) => Frame::Broken { reply: reply(message, reason, limits), reason },
    }
}

/// Start line and header fields of a message that is here as a whole, blank line included.
fn head_length(bytes: &[u8], limits: &Limits) -> Result<usize, FramingError> {
    match memchr::memmem::find(&bytes[..bytes.len().min(limits.max_header_bytes)], b"\r\n\r\n") {
        Some(length) => Ok(length + 4),
        None if bytes.len() > limits.max_header_bytes => Err(FramingError::HeaderTooLarge),
        None => Err(FramingError::BadHeader),
    }
}

/// What Content-Length says; all of them, if there are several, must say the same.
fn declared_length(head: &[u8]) -> Result<Option<usize>, FramingError> {
    let mut at = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    let mut declared = None;
    loop {
        let line = at;
        let end = field_end(head, line).map_err(|_| FramingError::BadHeader)?;
        if end == line + 2 {
            return Ok(declared);
        }
        at = end;
        // Only what may be a Content-Length is looked at. A line that is no header field moves no boundary: the parser
        // refuses the message, the stream goes on.
        let may_be_length = match head[line] {
            b'l' | b'L' => true,
            b'c' | b'C' => head.get(line + "Content".len()) == Some(&b'-'),
            _ => false,
        };
        if !may_be_length {
            continue;
        }
        let Ok(Some(field)) = next_field(head, line) else { continue };
        if field.name == HeaderName::ContentLength {
            let length = content_length(&head[field.value()]).map_err(|_| FramingError::BadContentLength)?;
            if declared.is_some_and(|declared| declared != length) {
                return Err(FramingError::BadContentLength);
            }
            declared = Some(length);
        }
    }
}

/// The response to a request that is broken, if enough of it can be read.
fn reply(bytes: &[u8], reason: FramingError, limits: &Limits) -> Option<Vec<u8>> {
    let request = salvage(bytes, limits)?;
    let tag = stateless_tag(&request);
    Some(ResponseBuilder::new(&request, reason.status()).reason(reason.reason()).to_tag(&tag).to_vec())
}

/// A To tag that is the same each time the same request comes (RFC 3261 §8.2.7): FNV-1a over branch and Call-ID.
fn stateless_tag(request: &Message) -> String {
    let branch = request.via().ok().and_then(|via: Via<'_>| via.branch()).unwrap_or("");
    let call_id = request.call_id().unwrap_or("");
    let hash = branch
        .bytes()
        .chain(call_id.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/TCP a;branch=z9hG4bK1\r\nf: <sip:a@a>;tag=1\r\n\
        t: <sip:b@b>\r\ni: c\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n";

    fn framer() -> StreamFramer {
        StreamFramer::new(Limits::default())
    }

    /// The reason and the code of the reply, if there is one.
    fn breaks(bytes: &[u8]) -> (FramingError, Option<u16>) {
        let mut framer = framer();
        framer.push(bytes);
        let Some(Frame::Broken { reply, reason }) = framer.next() else { panic!("it was framed") };
        assert_eq!(framer.next(), None);
        framer.push(OPTIONS.as_bytes());
        assert_eq!(framer.next(), None);
        assert_eq!(framer.heap_bytes(), 0);
        let status = |reply: Vec<u8>| Message::parse(&reply, &Limits::default()).unwrap().status().unwrap().code();
        (reason, reply.map(status))
    }

    #[test]
    fn bad_lengths_are_answered_and_end_the_stream() {
        for (length, reason, code) in [
            ("l: -1", FramingError::BadContentLength, 400),
            ("l: five", FramingError::BadContentLength, 400),
            ("l:", FramingError::BadContentLength, 400),
            ("l: 0, 0", FramingError::BadContentLength, 400),
            ("l: 0\r\nContent-Length: 7", FramingError::BadContentLength, 400),
            ("Subject: none", FramingError::NoContentLength, 400),
            ("l: 65535", FramingError::MessageTooLarge, 413),
            ("l: 18446744073709551616", FramingError::MessageTooLarge, 413),
            ("l: 99999999999999999999999999999999999999", FramingError::MessageTooLarge, 413),
        ] {
            assert_eq!(breaks(OPTIONS.replace("l: 0", length).as_bytes()), (reason, Some(code)), "{length}");
        }
    }

    #[test]
    fn two_equal_lengths_are_one() {
        let mut framer = framer();
        let text = OPTIONS.replace("l: 0", "l: 2\r\nContent-Length: 2") + "hi";
        framer.push(text.as_bytes());
        assert_eq!(framer.next(), Some(Frame::Message(text.as_bytes())));
    }

    #[test]
    fn neither_ack_nor_response_is_answered() {
        let ack = OPTIONS.replace("OPTIONS", "ACK").replace("l: 0", "l: x");
        assert_eq!(breaks(ack.as_bytes()), (FramingError::BadContentLength, None));
        let response = OPTIONS.replace("OPTIONS sip:a SIP/2.0", "SIP/2.0 200 OK").replace("l: 0", "l: x");
        assert_eq!(breaks(response.as_bytes()), (FramingError::BadContentLength, None));
    }

    #[test]
    fn an_endless_header_is_cut_off_at_its_bound() {
        let endless = OPTIONS.replace("l: 0\r\n\r\n", "X: ") + &"x".repeat(40_000);
        assert_eq!(breaks(endless.as_bytes()), (FramingError::HeaderTooLarge, Some(513)));
        let many = OPTIONS.replace("l: 0\r\n\r\n", &"a:b\r\n".repeat(10_000));
        assert_eq!(breaks(many.as_bytes()), (FramingError::TooManyHeaders, Some(513)));
        let folds = OPTIONS.replace("l: 0\r\n\r\n", &format!("a:b\r\n{}", " c\r\n".repeat(10_000)));
        assert_eq!(breaks(folds.as_bytes()), (FramingError::HeaderTooLarge, Some(513)));
        assert_eq!(breaks(&[0x16; 20_000]), (FramingError::HeaderTooLarge, None));
    }

    #[test]
    fn line_feeds_alone_are_refused_at_once() {
        assert_eq!(breaks(OPTIONS.replace("\r\n", "\n").as_bytes()), (FramingError::BadHeader, None));
    }

    #[test]
    fn a_line_that_is_no_header_leaves_the_boundary_alone() {
        let mut framer = framer();
        let text = OPTIONS.replace("l: 0", "no header\r\n at all\r\nl: 0");
        framer.push(text.as_bytes());
        assert_eq!(framer.next(), Some(Frame::Message(text.as_bytes())));
        assert!(Message::parse(text.as_bytes(), &Limits::default()).unwrap_err().reply_to().is_some());
    }

    #[test]
    fn keep_alives_are_told_apart() {
        // RFC 5626 §4.4.1
        let mut framer = framer();
        framer.push(b"\r\n");
        assert_eq!(framer.next(), Some(Frame::Pong));
        assert_eq!(framer.next(), None);
        framer.push(b"\r");
        assert_eq!(framer.next(), None);
        framer.push(b"\n");
        assert_eq!(framer.next(), Some(Frame::Ping));
        assert_eq!(framer.next(), None);
        framer.push(b"\r\n");
        framer.push(OPTIONS.as_bytes());
        assert_eq!(framer.next(), Some(Frame::Pong));
        assert_eq!(framer.next(), Some(Frame::Message(OPTIONS.as_bytes())));
        assert_eq!(framer.next(), None);
        framer.push(b"\r\n");
        assert_eq!(framer.next(), Some(Frame::Pong));
    }

    #[test]
    fn byte_by_byte_is_the_same_as_at_once() {
        let stream = format!("\r\n\r\n{OPTIONS}{}xy\r\n{OPTIONS}", OPTIONS.replace("l: 0", "l: 2"));
        let collect = |piece: usize| {
            let mut framer = framer();
            let mut frames = Vec::new();
            for bytes in stream.as_bytes().chunks(piece) {
                framer.push(bytes);
                while let Some(frame) = framer.next() {
                    frames.push(format!("{frame:?}"));
                }
            }
            assert_eq!(framer.heap_bytes(), 0);
            frames
        };
        assert_eq!(collect(stream.len()).len(), 6);
        for piece in [1, 2, 3, 7, 64] {
            assert_eq!(collect(piece), collect(stream.len()));
        }
    }

    #[test]
    fn a_datagram_is_one_message() {
        // RFC 3261 §18.3
        let limits = Limits::default();
        let frame = |text: &str| format!("{:?}", datagram(text.as_bytes(), &limits));
        let message = |text: &str| format!("{:?}", Frame::Message(text.as_bytes()));
        assert_eq!(frame(&format!("{OPTIONS}trailing")), message(OPTIONS));
        let without = OPTIONS.replace("l: 0\r\n", "") + "body";
        assert_eq!(frame(&without), message(&without));
        assert_eq!(frame(&format!("\r\n\r\n{OPTIONS}")), message(OPTIONS));
        assert!(matches!(
            datagram(OPTIONS.replace("l: 0", "l: 5").as_bytes(), &limits),
            Frame::Broken { reply: Some(_), reason: FramingError::ShortBody }
        ));
        assert_eq!(datagram(b"\r\n\r\n", &limits), Frame::Ping);
        for keep_alive in [&b""[..], b"\r\n", b"\0", b"\0\0\0\0"] {
            assert_eq!(datagram(keep_alive, &limits), Frame::Pong);
        }
        assert!(matches!(datagram(&[0, 1, 0, 0x21], &limits), Frame::Broken { reply: None, .. }));
    }

    #[test]
    fn a_websocket_message_is_exactly_one_message() {
        // RFC 7118 §5
        let limits = Limits::default();
        let without = OPTIONS.replace("l: 0\r\n", "") + "body";
        assert_eq!(websocket(without.as_bytes(), &limits), Frame::Message(without.as_bytes()));
        let two = format!("{OPTIONS}{OPTIONS}");
        assert!(matches!(websocket(two.as_bytes(), &limits), Frame::Broken { reason: FramingError::LongBody, .. }));
        assert_eq!(websocket(b"\r\n\r\n", &limits), Frame::Ping);
    }
}
