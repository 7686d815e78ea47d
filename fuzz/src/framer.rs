//! The framers: how a stream is cut into reads never shows in the frames, and nothing grows without bound.
//!
//! The first byte says how the stream is cut; the rest is the stream.

use farspeak_sip::framer::{self, Frame, FramingError, StreamFramer};
use farspeak_sip::message::{Limits, Message};

/// A frame without its borrow.
#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Message(Vec<u8>),
    Ping,
    Pong,
    Broken(Option<Vec<u8>>, FramingError),
}

impl From<Frame<'_>> for Seen {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Message(bytes) => Self::Message(bytes.to_vec()),
            Frame::Ping => Self::Ping,
            Frame::Pong => Self::Pong,
            Frame::Broken { reply, reason } => Self::Broken(reply, reason),
        }
    }
}

/// Small ones, so that fuzzing reaches them.
fn limits() -> Limits {
    Limits { max_message: 2_048, max_header_bytes: 1_024, max_headers: 24, max_line: 512 }
}

/// Reads `data` as a stream in pieces and at once, and as datagram and WebSocket message.
pub fn fuzz(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(*cut).max(1)), whole, "cut every {cut} bytes");
    assert_eq!(frames(stream, 1), whole, "byte by byte");
    for seen in &whole {
        match seen {
            Seen::Message(bytes) => {
                assert!(bytes.len() <= limits().max_message);
                agrees(bytes, true);
            }
            Seen::Broken(reply, reason) => check_reply(reply.as_deref(), *reason),
            Seen::Ping | Seen::Pong => {}
        }
    }
    for frame in [framer::datagram(stream, &limits()), framer::websocket(stream, &limits())] {
        match frame {
            Frame::Message(bytes) => agrees(bytes, false),
            Frame::Broken { reply, reason } => check_reply(reply.as_deref(), reason),
            Frame::Ping | Frame::Pong => {}
        }
    }
}

fn frames(stream: &[u8], piece: usize) -> Vec<Seen> {
    let mut framer = StreamFramer::new(limits());
    let mut seen = Vec::new();
    for piece in stream.chunks(piece) {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            seen.push(frame.into());
        }
        if framer.is_idle() {
            assert_eq!(framer.heap_bytes(), 0, "idle, and holding memory");
        }
    }
    seen
}

/// The parser sees the boundary where the framer saw it: it may refuse the message, never its length.
fn agrees(bytes: &[u8], on_stream: bool) {
    if let Ok(message) = Message::parse(bytes, &Limits::default()) {
        let declared = message.content_length().expect("a framed message has a readable length");
        assert!(declared.is_some() || !on_stream);
        assert!(declared.is_none_or(|length| length == message.body().len()));
    }
}

fn check_reply(reply: Option<&[u8]>, reason: FramingError) {
    let Some(reply) = reply else { return };
    let response = Message::parse(reply, &Limits::default()).expect("our own reply reads");
    assert_eq!(response.status(), Some(reason.status()));
    response.check_essential().expect("and is well formed");
}
