//! What both sides agreed on: the outcome that media is set up by.

use std::fmt;

use crate::attribute::{Crypto, Fingerprint};
use crate::{Connection, Direction, MediaKind, Protocol};

use super::capabilities::DtlsRole;
use super::local::IceParameters;

/// One agreed media stream. Streams that are refused or ended are not in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedMedia {
    /// Which `m=` line, the first being 0; for ever, unless the stream ends and the line is used for another.
    pub index: usize,
    /// Identification tag, if there is one.
    pub mid: Option<Box<str>>,
    /// Kind of media.
    pub kind: MediaKind,
    /// Protocol.
    pub protocol: Protocol,
    /// As seen from this side.
    pub direction: Direction,
    /// Where to send; with ICE, only the default candidate.
    pub remote: RemoteAddress,
    /// Where to send RTCP: the same with `rtcp_mux`, else as `a=rtcp` says, else the next port.
    pub remote_rtcp: RemoteAddress,
    /// Codecs in the answer's order: the first is the one to send with (RFC 3264 §7).
    pub codecs: Vec<AgreedCodec>,
    /// Telephone events, one entry for each clock rate; `fmtp_remote` says which events may be sent. RFC 4733 §2.5.1.1.
    pub telephone_events: Vec<AgreedCodec>,
    /// Comfort noise, redundancy, error correction.
    pub auxiliaries: Vec<AgreedCodec>,
    /// Formats in common of media that are not RTP.
    pub formats: Vec<Box<str>>,
    /// How it is protected.
    pub security: Security,
    /// ICE, if both sides do it.
    pub ice: Option<AgreedIce>,
    /// RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// Reduced-size RTCP (RFC 5506).
    pub rtcp_rsize: bool,
    /// The section whose transport this stream uses, if it is bundled; that may be this one. RFC 9143.
    pub bundle: Option<usize>,
    /// RTP header extensions: number and URI. RFC 8285.
    pub extensions: Vec<(u16, Box<str>)>,
    /// Milliseconds of media in a packet that the peer wants to receive.
    pub packet_time: Option<u32>,
    /// Most milliseconds of media in a packet that the peer can take.
    pub max_packet_time: Option<u32>,
}

impl AgreedMedia {
    /// Whether media may be sent: by the direction, and not to an address of 0.0.0.0, by which old phones hold a stream
    /// (RFC 3264 §8.4, RFC 6337 §5.4). With ICE that address means nothing.
    pub fn sends(&self) -> bool {
        self.direction.sends() && !self.is_black_holed()
    }

    /// Whether media will come.
    pub fn receives(&self) -> bool {
        self.direction.receives()
    }

    /// Whether the peer wants to hear nothing: it holds the stream, or only sends.
    pub fn is_held_by_peer(&self) -> bool {
        !self.sends()
    }

    /// Whether the peer has no address for it.
    fn is_black_holed(&self) -> bool {
        self.ice.is_none() && self.remote.connection.is_unspecified()
    }

    /// The telephone events that go with a codec: those at its clock rate.
    pub fn telephone_event(&self, codec: &AgreedCodec) -> Option<&AgreedCodec> {
        self.telephone_events.iter().find(|event| event.clock_rate == codec.clock_rate)
    }
}

/// An address and a port of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    /// The address; perhaps a domain name.
    pub connection: Connection,
    /// The port; 9 if ICE is to find it.
    pub port: u16,
}

/// A codec that both sides can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedCodec {
    /// Payload type in what is received.
    pub local_payload_type: u8,
    /// Payload type to send with: the peer's.
    pub remote_payload_type: u8,
    /// Encoding name, as this side writes it.
    pub encoding: Box<str>,
    /// RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels.
    pub channels: u8,
    /// Format parameters of this side: what it wants to receive.
    pub fmtp_local: Option<Box<str>>,
    /// Format parameters of the peer: what it wants to receive.
    pub fmtp_remote: Option<Box<str>>,
    /// RTCP feedback that both sides know, such as `nack pli`.
    pub feedback: Vec<Box<str>>,
    /// Payload types of its retransmissions (RFC 4588): in what is received, and to send with.
    pub retransmission: Option<(u8, u8)>,
}

/// How a stream is protected.
#[derive(Clone, PartialEq, Eq)]
pub enum Security {
    /// Not at all, or by the protocol itself (TLS).
    None,
    /// By keys in the descriptions.
    Sdes {
        /// To encrypt what is sent.
        send: Crypto,
        /// To decrypt what is received.
        receive: Crypto,
    },
    /// By a DTLS handshake.
    Dtls {
        /// Who starts it.
        role: DtlsRole,
        /// The peer's certificate must match one of these. RFC 8122 §5.
        fingerprints: Vec<Fingerprint>,
        /// The peer's `tls-id`.
        tls_id: Option<Box<str>>,
        /// Counts the associations of this section: a handshake is due if and only if it is another than before.
        /// RFC 8842 §3.
        association: u32,
    },
}

impl fmt::Debug for Security {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Sdes { send, .. } => write!(f, "Sdes({} {})", send.tag, send.suite),
            Self::Dtls { role, association, .. } => write!(f, "Dtls({role:?}, association {association})"),
        }
    }
}

/// ICE for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedIce {
    /// What the peer stated.
    pub remote: IceParameters,
    /// Whether this exchange restarted ICE (always at the first). RFC 8839 §4.4.1.1.1.
    pub restarted: bool,
}
