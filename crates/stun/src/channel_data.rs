//! ChannelData: a peer's datagram behind four bytes, RFC 8656 §12.4. The relay's fast path; nothing is copied.

/// Bytes before the data.
pub const HEADER: usize = 4;

/// The channels that may be bound (RFC 8656 §12); 0x5000–0x7fff are reserved and such messages dropped.
pub const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;

/// The channels of RFC 5766 §11, for clients before RFC 8656 that choose any of them: coturn's tools before 4.16, say.
/// Beyond [`CHANNELS`] they cannot be told from QUIC and the like on a shared port.
pub const RFC5766_CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x7fff;

/// A ChannelData message where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelData<'a> {
    /// One of [`CHANNELS`].
    pub channel: u16,
    /// What the peer sent or is to get; may be empty.
    pub data: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Reads a datagram or what a framer cut out. Bytes behind the data are padding and ignored (RFC 8656 §12.5).
    ///
    /// `None` if the channel is none of [`CHANNELS`], or the data shorter than the header says: silently dropped.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::parse_rfc5766(bytes).filter(|message| CHANNELS.contains(&message.channel))
    }

    /// The same for all of [`RFC5766_CHANNELS`].
    #[inline]
    pub fn parse_rfc5766(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEADER>()?;
        let channel = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if !RFC5766_CHANNELS.contains(&channel) {
            return None;
        }
        Some(Self { channel, data: rest.get(..length)? })
    }
}

/// The header of data of this length, to be put before it; behind it, [`padding`] bytes on a stream, none in a
/// datagram.
#[inline]
pub const fn header(channel: u16, length: u16) -> [u8; HEADER] {
    let (channel, length) = (channel.to_be_bytes(), length.to_be_bytes());
    [channel[0], channel[1], length[0], length[1]]
}

/// How many bytes follow data of this length on a stream, so that the next message begins aligned (RFC 8656 §12.5):
/// 0–3.
#[inline]
pub const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}
