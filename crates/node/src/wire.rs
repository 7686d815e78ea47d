//! Hands SIP's framing to the sockets: `net` knows no protocol, `sip` knows no socket.

use std::borrow::Cow;

use farspeak_net::{Framed, Framer, Framing};
use farspeak_sip::framer::{self, Frame, StreamFramer};
use farspeak_sip::message::Limits;

/// SIP on every transport.
#[derive(Clone, Debug)]
pub struct SipFraming {
    limits: Limits,
}

impl SipFraming {
    /// Framing that refuses what exceeds `limits`.
    pub const fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl Framing for SipFraming {
    type Stream = SipStream;

    fn stream(&self) -> SipStream {
        SipStream(StreamFramer::new(self.limits.clone()))
    }

    fn datagram<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        translate(framer::datagram(bytes, &self.limits))
    }

    fn websocket<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        translate(framer::websocket(bytes, &self.limits))
    }
}

/// SIP on one TCP or TLS connection.
#[derive(Debug)]
pub struct SipStream(StreamFramer);

impl Framer for SipStream {
    fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    fn next(&mut self) -> Option<Framed<'_>> {
        self.0.next().map(translate)
    }

    fn is_partial(&self) -> bool {
        !self.0.is_idle()
    }
}

fn translate(frame: Frame<'_>) -> Framed<'_> {
    match frame {
        Frame::Message(bytes) => Framed::Message(Cow::Borrowed(bytes)),
        Frame::Ping => Framed::Ping,
        Frame::Pong => Framed::Pong,
        Frame::Broken { reply, reason } => Framed::Broken { reply, reason: Cow::Borrowed(reason.reason()) },
    }
}
