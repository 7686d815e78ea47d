//! Which protocol a datagram on a shared port belongs to, RFC 7983 §7 as amended by RFC 9443 (QUIC).

/// What the first byte says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// 0–3.
    Stun,
    /// 16–19.
    Zrtp,
    /// 20–63.
    Dtls,
    /// 64–79: TURN's channels. RFC 9443 gives QUIC's short headers 64–127, too; a client tells them apart by the
    /// source: only its TURN server sends ChannelData.
    TurnChannel,
    /// 80–127 and 192–255.
    Quic,
    /// 128–191: RTP and RTCP.
    Rtp,
    /// Nobody's: dropped.
    Unknown,
}

/// Tells whom a datagram is for; an empty one is nobody's.
///
/// A byte is a hint, not a proof: each protocol still checks what it gets, STUN by cookie and FINGERPRINT.
///
/// ```
/// use farspeak_stun::demultiplex::{Protocol, classify};
///
/// assert_eq!(classify(b"\x80\x00..."), Protocol::Rtp);
/// ```
pub const fn classify(datagram: &[u8]) -> Protocol {
    match datagram {
        [0..=3, ..] => Protocol::Stun,
        [16..=19, ..] => Protocol::Zrtp,
        [20..=63, ..] => Protocol::Dtls,
        [64..=79, ..] => Protocol::TurnChannel,
        [80..=127 | 192..=255, ..] => Protocol::Quic,
        [128..=191, ..] => Protocol::Rtp,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_belongs_where_rfc7983_and_rfc9443_say() {
        let count = |protocol| (0..=255).filter(|byte| classify(&[*byte, 0]) == protocol).count();
        assert_eq!(count(Protocol::Stun), 4);
        assert_eq!(count(Protocol::Zrtp), 4);
        assert_eq!(count(Protocol::Dtls), 44);
        assert_eq!(count(Protocol::TurnChannel), 16);
        assert_eq!(count(Protocol::Rtp), 64);
        assert_eq!(count(Protocol::Unknown), 12);
        assert_eq!(classify(&[]), Protocol::Unknown);
    }
}
