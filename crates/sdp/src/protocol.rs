//! The first and third part of an `m=` line: kind of media, and transport protocol. RFC 8866 §5.14.

use std::fmt;

/// Kind of media: the `audio` of `m=audio 49170 RTP/AVP 0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MediaKind {
    /// `audio`.
    Audio,
    /// `video`.
    Video,
    /// `text`, such as T.140 (RFC 4103).
    Text,
    /// `application`, such as WebRTC's data channels (RFC 8841).
    Application,
    /// `message`, such as MSRP (RFC 4975).
    Message,
    /// `image`, such as T.38 (RFC 3362).
    Image,
    /// Any other, as written.
    Other(Box<str>),
}

/// Transport protocol and profile: the `RTP/AVP` of `m=audio 49170 RTP/AVP 0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// `RTP/AVP`, plain RTP. RFC 3551.
    RtpAvp,
    /// `RTP/AVPF`, with early feedback. RFC 4585.
    RtpAvpf,
    /// `RTP/SAVP`, SRTP with keys in `a=crypto`. RFC 3711, RFC 4568.
    RtpSavp,
    /// `RTP/SAVPF`, both. RFC 5124.
    RtpSavpf,
    /// `UDP/TLS/RTP/SAVP`, SRTP with keys by DTLS. RFC 5764.
    UdpTlsRtpSavp,
    /// `UDP/TLS/RTP/SAVPF`, what browsers speak. RFC 5764.
    UdpTlsRtpSavpf,
    /// `TCP/DTLS/RTP/SAVP`. RFC 7850.
    TcpDtlsRtpSavp,
    /// `TCP/DTLS/RTP/SAVPF`. RFC 7850.
    TcpDtlsRtpSavpf,
    /// `UDP/DTLS/SCTP`, data channels. RFC 8841.
    UdpDtlsSctp,
    /// `TCP/DTLS/SCTP`. RFC 8841.
    TcpDtlsSctp,
    /// `DTLS/SCTP`, as data channels were written before RFC 8841.
    DtlsSctp,
    /// `udptl`, T.38 fax. RFC 3362.
    Udptl,
    /// `TCP/MSRP`. RFC 4975.
    TcpMsrp,
    /// `TCP/TLS/MSRP`. RFC 4975.
    TcpTlsMsrp,
    /// `udp`.
    Udp,
    /// `TCP`. RFC 4145.
    Tcp,
    /// Any other, as written.
    Other(Box<str>),
}

const KINDS: [(&str, MediaKind); 6] = [
    ("audio", MediaKind::Audio),
    ("video", MediaKind::Video),
    ("text", MediaKind::Text),
    ("application", MediaKind::Application),
    ("message", MediaKind::Message),
    ("image", MediaKind::Image),
];

const PROTOCOLS: [(&str, Protocol); 16] = [
    ("RTP/AVP", Protocol::RtpAvp),
    ("UDP/TLS/RTP/SAVPF", Protocol::UdpTlsRtpSavpf),
    ("RTP/SAVP", Protocol::RtpSavp),
    ("RTP/AVPF", Protocol::RtpAvpf),
    ("RTP/SAVPF", Protocol::RtpSavpf),
    ("UDP/TLS/RTP/SAVP", Protocol::UdpTlsRtpSavp),
    ("TCP/DTLS/RTP/SAVP", Protocol::TcpDtlsRtpSavp),
    ("TCP/DTLS/RTP/SAVPF", Protocol::TcpDtlsRtpSavpf),
    ("UDP/DTLS/SCTP", Protocol::UdpDtlsSctp),
    ("TCP/DTLS/SCTP", Protocol::TcpDtlsSctp),
    ("DTLS/SCTP", Protocol::DtlsSctp),
    ("udptl", Protocol::Udptl),
    ("TCP/MSRP", Protocol::TcpMsrp),
    ("TCP/TLS/MSRP", Protocol::TcpTlsMsrp),
    ("udp", Protocol::Udp),
    ("TCP", Protocol::Tcp),
];

impl MediaKind {
    /// Reads a kind, in any case of letters.
    pub fn parse(text: &str) -> Self {
        let known = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map_or_else(|| Self::Other(text.into()), |(_, kind)| kind.clone())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => KINDS.iter().find(|(_, kind)| kind == known).map_or("", |(name, _)| name),
        }
    }
}

impl Protocol {
    /// Reads a protocol, in any case of letters (`UDPTL` and `udptl` are both seen).
    pub fn parse(text: &str) -> Self {
        let known = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map_or_else(|| Self::Other(text.into()), |(_, protocol)| protocol.clone())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => PROTOCOLS.iter().find(|(_, protocol)| protocol == known).map_or("", |(name, _)| name),
        }
    }

    /// Whether the formats are RTP payload types.
    pub fn is_rtp(&self) -> bool {
        use Protocol::*;
        matches!(self, RtpAvp | RtpAvpf) || self.is_srtp()
    }

    /// Whether it is RTP whose packets are encrypted, whoever brings the keys.
    pub fn is_srtp(&self) -> bool {
        use Protocol::*;
        matches!(self, RtpSavp | RtpSavpf) || self.is_rtp_over_dtls()
    }

    /// Whether what is sent is encrypted: SRTP, DTLS or TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::TcpTlsMsrp) || self.is_srtp() || self.is_dtls()
    }

    /// Whether a DTLS handshake brings the keys.
    pub fn is_dtls(&self) -> bool {
        matches!(self, Self::UdpDtlsSctp | Self::TcpDtlsSctp | Self::DtlsSctp) || self.is_rtp_over_dtls()
    }

    fn is_rtp_over_dtls(&self) -> bool {
        use Protocol::*;
        matches!(self, UdpTlsRtpSavp | UdpTlsRtpSavpf | TcpDtlsRtpSavp | TcpDtlsRtpSavpf)
    }

    /// Whether RTCP may answer at once: the profiles that end in `F`. RFC 4585.
    pub fn is_feedback(&self) -> bool {
        use Protocol::*;
        matches!(self, RtpAvpf | RtpSavpf | UdpTlsRtpSavpf | TcpDtlsRtpSavpf)
    }

    /// Whether it is SCTP over DTLS: data channels.
    pub fn is_sctp(&self) -> bool {
        matches!(self, Self::UdpDtlsSctp | Self::TcpDtlsSctp | Self::DtlsSctp)
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
