//! Cutting a stream into STUN messages and ChannelData, RFC 8489 §6.2.2 and RFC 8656 §12.5.
//!
//! The edge hands in the bytes as they come; what the framer measures is what the parsers read.

use std::ops::RangeInclusive;

use crate::{HEADER, MAGIC_COOKIE, channel_data};

/// What the next message on a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A STUN message of so many bytes.
    Stun(usize),
    /// ChannelData: `length` bytes for the parser; the stream goes on behind `total`, which counts the padding.
    ChannelData {
        /// Header and data.
        length: usize,
        /// Header, data and padding.
        total: usize,
    },
    /// Not all of it has come; at least so many bytes are needed.
    NeedMore(usize),
    /// Neither: the stream is out of step and must be closed.
    Lost,
}

/// Measures the message at the beginning of `bytes`; `longest` bounds it, padding excluded.
///
/// Nothing is waited for that could not become a message: a wrong cookie or an impossible length is [`Frame::Lost`]
/// as soon as it can be seen.
pub fn measure(bytes: &[u8], longest: usize) -> Frame {
    measure_among(bytes, longest, &channel_data::CHANNELS)
}

/// The same with other channels: [`channel_data::RFC5766_CHANNELS`].
pub fn measure_among(bytes: &[u8], longest: usize, channels: &RangeInclusive<u16>) -> Frame {
    let highest = (channels.end() >> 8) as u8;
    let Some(head) = bytes.first_chunk::<4>() else {
        let hopeless = bytes.first().is_some_and(|byte| *byte > highest);
        return if hopeless { Frame::Lost } else { Frame::NeedMore(4) };
    };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let frame = match head[0] {
        0x00..=0x3f if length.is_multiple_of(4) => Frame::Stun(HEADER + length),
        0x40..=0x7f if head[0] <= highest => {
            let length = channel_data::HEADER + length;
            Frame::ChannelData { length, total: length + channel_data::padding(length) }
        }
        _ => Frame::Lost,
    };
    let (length, total) = match frame {
        Frame::Stun(length) => (length, length),
        Frame::ChannelData { length, total } => (length, total),
        lost => return lost,
    };
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let seen = &bytes[4..bytes.len().clamp(4, 8)];
    if length > longest || matches!(frame, Frame::Stun(_)) && !cookie.starts_with(seen) {
        return Frame::Lost;
    }
    if bytes.len() < total { Frame::NeedMore(total) } else { frame }
}

/// A buffer with [`measure`] behind it, for who reads from a stream in pieces.
///
/// It holds at most one message of `longest` bytes and what came with it in the same piece; a stream that gets out of
/// step stays so.
///
/// ```
/// use farspeak_stun::framing::{Framed, StreamFramer};
///
/// let mut framer = StreamFramer::new(2048);
/// framer.push(&[0x40, 0x01, 0, 3, b'a', b'b']); // a channel's first bytes
/// assert_eq!(framer.next(), None);
/// framer.push(&[b'c', 0]); // and the rest, padded
/// assert_eq!(framer.next(), Some(Framed::ChannelData(b"\x40\x01\x00\x03abc")));
/// ```
#[derive(Clone, Debug)]
pub struct StreamFramer {
    buffer: Vec<u8>,
    start: usize,
    longest: usize,
    channels: RangeInclusive<u16>,
    lost: bool,
}

/// One message of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framed<'a> {
    /// For [`Message::parse`](crate::Message::parse).
    Stun(&'a [u8]),
    /// For [`ChannelData::parse`](crate::channel_data::ChannelData::parse), without padding.
    ChannelData(&'a [u8]),
}

impl Default for StreamFramer {
    /// Messages of at most 65,539 bytes: what ChannelData can say.
    fn default() -> Self {
        Self::new(channel_data::HEADER + usize::from(u16::MAX))
    }
}

impl StreamFramer {
    /// Messages longer than `longest` bytes end the stream.
    pub fn new(longest: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, longest, channels: channel_data::CHANNELS, lost: false }
    }

    /// Lets the channels of RFC 5766 pass as well ([`channel_data::RFC5766_CHANNELS`]). Default off.
    #[must_use]
    pub fn with_rfc5766_channels(mut self) -> Self {
        self.channels = channel_data::RFC5766_CHANNELS;
        self
    }

    /// Takes bytes as they came. Take out all messages by [`Self::next`] before giving it more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.lost {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend its buffer")]
    pub fn next(&mut self) -> Option<Framed<'_>> {
        if self.lost {
            return None;
        }
        let start = self.start;
        match measure_among(&self.buffer[start..], self.longest, &self.channels) {
            Frame::Stun(length) => {
                self.start += length;
                Some(Framed::Stun(&self.buffer[start..start + length]))
            }
            Frame::ChannelData { length, total } => {
                self.start += total;
                Some(Framed::ChannelData(&self.buffer[start..start + length]))
            }
            Frame::NeedMore(_) => None,
            Frame::Lost => {
                self.lost = true;
                self.buffer = Vec::new();
                self.start = 0;
                None
            }
        }
    }

    /// Whether the stream is out of step: close it.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// How many bytes wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }
}
