//! Where messages begin and end: handed in, so that this crate knows no protocol.
//!
//! The connection tasks ([`crate::start`]) feed a [`Framer`] with what a stream delivers and hand each message to the
//! machine; datagrams and WebSocket messages go through [`Framing`] directly.

use std::borrow::Cow;

/// What a framer found.
#[derive(Debug)]
pub enum Framed<'a> {
    /// Exactly one message.
    Message(Cow<'a, [u8]>),
    /// A keep-alive that wants an answer (RFC 5626 §4.4.1: CRLF CRLF). The edge answers CRLF.
    Ping,
    /// The answer to a keep-alive, or a stray CRLF. Nothing to do.
    Pong,
    /// What follows cannot be told apart into messages. A stream ends after this; a datagram is dropped.
    Broken {
        /// A ready message that tells the peer so, sent before the connection closes.
        reply: Option<Vec<u8>>,
        /// For the log. Holds no private data.
        reason: Cow<'static, str>,
    },
}

/// The framing of one stream. An idle framer should hold no heap memory: there is one for each connection.
pub trait Framer: Unpin + 'static {
    /// Takes bytes in as the stream delivered them.
    fn push(&mut self, bytes: &[u8]);

    /// The next thing in the bytes taken in; `None` when more bytes are needed. Not called again after `Broken`.
    fn next(&mut self) -> Option<Framed<'_>>;

    /// Whether part of a message waits for its rest: the peer then has
    /// [`StreamConfig::message_timeout`](crate::StreamConfig::message_timeout) to finish it.
    fn is_partial(&self) -> bool;
}

/// The framing of one protocol on all transports. One for each shard.
pub trait Framing: 'static {
    /// The framing of a TCP or TLS stream.
    type Stream: Framer;

    /// For a new TCP or TLS stream.
    fn stream(&self) -> Self::Stream;

    /// One datagram.
    fn datagram<'a>(&self, bytes: &'a [u8]) -> Framed<'a>;

    /// One WebSocket message, text or binary (RFC 7118 §4.2).
    fn websocket<'a>(&self, bytes: &'a [u8]) -> Framed<'a>;
}

/// Bytes as they come: for a machine that knows from each flow what they are, and puts the pieces of a stream together
/// itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

/// What has come on a connection since it was last asked for.
#[derive(Debug, Default)]
pub struct RawStream(Vec<u8>);

impl Framing for Raw {
    type Stream = RawStream;

    fn stream(&self) -> RawStream {
        RawStream::default()
    }

    fn datagram<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }

    fn websocket<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }
}

impl Framer for RawStream {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<Framed<'_>> {
        (!self.0.is_empty()).then(|| Framed::Message(std::mem::take(&mut self.0).into()))
    }

    fn is_partial(&self) -> bool {
        false
    }
}
