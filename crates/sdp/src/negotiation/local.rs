//! What this side wants of each media section: the caller's part of an offer or an answer.

use std::fmt;

use crate::{Connection, Direction, MediaKind, Protocol};

use super::codec::Codec;
use super::security::Keying;

/// What this side wants of one media section. An offer or an answer takes a list of them, one for each `m=` line, in order.
///
/// ```
/// use farspeak_sdp::{Direction, LocalMedia, LocalTransport, MediaKind};
/// let transport = LocalTransport::new("192.0.2.1".parse().unwrap(), 49170);
/// let audio = LocalMedia::new(MediaKind::Audio, transport);
/// let listening = LocalMedia { direction: Direction::RecvOnly, ..audio.clone() };
/// let refused = LocalMedia::rejected(MediaKind::Video);
/// # let _ = (listening, refused);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Kind of media; in an answer, the offer's.
    pub kind: MediaKind,
    /// Whether the section is offered or accepted at all; if not, it has port 0. Default true.
    pub enabled: bool,
    /// What this side wants, whatever the peer wants now (RFC 6337 §5.3). Default both ways. An answer takes what the offer
    /// leaves of it.
    pub direction: Direction,
    /// Whether this side holds the stream: it then wants to receive nothing. Default false. RFC 3264 §8.4.
    pub held: bool,
    /// Where to receive. `None` for a section that uses another's transport: in an initial offer it becomes `bundle-only`
    /// (RFC 9143 §6), in an answer it is accepted only if it is bundled.
    pub transport: Option<LocalTransport>,
    /// Whether it may share a transport with others (RFC 9143). Default true; false moves it out of the bundle, and needs a
    /// transport of its own.
    pub bundled: bool,
    /// Keying to offer. Default: the policy's first one for which the transport has what it needs.
    pub keying: Option<Keying>,
    /// Protocol to offer, if not the one that fits the keying. An answer's protocol is always the offer's.
    pub protocol: Option<Protocol>,
    /// Codecs, in order of preference, instead of the capability's: to use fewer, or to offer those of another leg of the
    /// call. In an answer the capability must have them, too
    /// ([`capabilities_mut`](super::Negotiation::capabilities_mut)), and the order is this one instead of the offer's.
    pub codecs: Option<Vec<Codec>>,
    /// Milliseconds of media in a packet that this side wants to receive (`ptime`); above 0. Default none.
    pub packet_time: Option<u32>,
    /// Most milliseconds of media in a packet (`maxptime`). Default none.
    pub max_packet_time: Option<u32>,
    /// `b=` lines: kind and value. Default none.
    pub bandwidths: Vec<(Box<str>, u64)>,
    /// Further attributes, such as `msid`, `label`, `content`, those of T.38. Those that the negotiation writes itself are
    /// refused by [`NegotiationError::ReservedAttribute`](super::NegotiationError::ReservedAttribute).
    pub attributes: Vec<(Box<str>, Option<Box<str>>)>,
}

impl LocalMedia {
    /// Both ways, with this transport.
    pub fn new(kind: MediaKind, transport: LocalTransport) -> Self {
        Self { transport: Some(transport), ..Self::without_transport(kind) }
    }

    /// Both ways, over the transport of the section that it is bundled with.
    pub fn without_transport(kind: MediaKind) -> Self {
        Self {
            kind,
            enabled: true,
            direction: Direction::SendRecv,
            held: false,
            transport: None,
            bundled: true,
            keying: None,
            protocol: None,
            codecs: None,
            packet_time: None,
            max_packet_time: None,
            bandwidths: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Refused in an answer, ended or left out in an offer: port 0.
    pub fn rejected(kind: MediaKind) -> Self {
        Self { enabled: false, ..Self::without_transport(kind) }
    }

    /// What to offer: the wanted direction, without receiving if held. RFC 3264 §8.4, RFC 6337 §5.3.
    pub fn wanted(&self) -> Direction {
        match self.held {
            true => self.direction.and_with(Direction::SendOnly),
            false => self.direction,
        }
    }
}

/// One transport of this side: an address, and what goes with it. Addresses, ports and keys are the caller's.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalTransport {
    /// Where to receive, or the default candidate.
    pub connection: Connection,
    /// Port of RTP; above 0. With trickle ICE, 9 (RFC 8840 §4.1.1).
    pub port: u16,
    /// Port of RTCP if that is not the next one (RFC 3605).
    pub rtcp_port: Option<u16>,
    /// ICE credentials and candidates (RFC 8839). Default none: no ICE.
    pub ice: Option<IceParameters>,
    /// Fingerprints of the certificates for DTLS, as in `a=fingerprint`: `sha-256 4A:AD:..`. Default none: no DTLS.
    pub fingerprints: Vec<crate::Fingerprint>,
    /// `a=tls-id` (RFC 8842 §4): at least 120 random bits in 20 to 255 characters. A new one asks for a new association.
    pub tls_id: Option<Box<str>>,
    /// Keys for SDES, most wanted suite first, each with a tag of its own. Default none. RFC 4568 §5.
    pub crypto: Vec<crate::Crypto>,
}

impl LocalTransport {
    /// A bare address: no ICE, no keys.
    pub fn new(address: std::net::IpAddr, port: u16) -> Self {
        Self::at(Connection::new(address), port)
    }

    /// The same for any kind of address.
    pub fn at(connection: Connection, port: u16) -> Self {
        Self {
            connection,
            port,
            rtcp_port: None,
            ice: None,
            fingerprints: Vec::new(),
            tls_id: None,
            crypto: Vec::new(),
        }
    }
}

impl fmt::Debug for LocalTransport {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connection, port, rtcp_port, ice, fingerprints, tls_id, crypto } = self;
        write!(f, "LocalTransport({connection} port {port} rtcp {rtcp_port:?} {ice:?} ")?;
        write!(f, "{} fingerprints, tls-id {tls_id:?}, {} keys)", fingerprints.len(), crypto.len())
    }
}

/// ICE parameters of one side for one transport. RFC 8839 §5.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IceParameters {
    /// `ice-ufrag`: 4 to 256 characters.
    pub ufrag: Box<str>,
    /// `ice-pwd`: 22 to 256 characters.
    pub pwd: Box<str>,
    /// Whether this side is ICE lite.
    pub lite: bool,
    /// `ice-pacing` in milliseconds, 50 if `None`; stated once for all media, by the slowest; not by a lite side (RFC 8839
    /// §5.5).
    pub pacing: Option<u32>,
    /// `ice-options`, such as `trickle` (RFC 8840) or `ice2` (RFC 8445). An answer has those that the offer has too.
    pub options: Vec<Box<str>>,
    /// Candidates, each as in `a=candidate:`.
    pub candidates: Vec<Box<str>>,
    /// Whether no more candidates will come (`end-of-candidates`, RFC 8840 §8.2).
    pub end_of_candidates: bool,
}

impl IceParameters {
    /// Whether these credentials differ from `other`'s: an ICE restart. RFC 8839 §4.4.1.1.1.
    pub(crate) fn restarts(&self, other: &Self) -> bool {
        self.ufrag != other.ufrag || self.pwd != other.pwd
    }

    /// Lengths as RFC 8839 §5.4 wants them.
    pub(crate) fn is_valid(&self) -> bool {
        // Deviation: RFC 8839 §5.4 wants letters, digits, `+` and `/` only. Some peers use more, and nothing depends on it.
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        (4..=256).contains(&self.ufrag.len())
            && (22..=256).contains(&self.pwd.len())
            && printable(&self.ufrag)
            && printable(&self.pwd)
    }

    /// Whether candidates may follow later. RFC 8840 §4.
    pub fn is_trickle(&self) -> bool {
        self.options.iter().any(|option| &**option == "trickle")
    }
}

impl fmt::Debug for IceParameters {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ufrag, pwd: _, lite, pacing, options, candidates, end_of_candidates } = self;
        write!(f, "ice({ufrag} lite {lite} pacing {pacing:?} {options:?} {candidates:?} end {end_of_candidates})")
    }
}
