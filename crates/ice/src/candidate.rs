//! A candidate: a transport address at which an agent may be reached, RFC 8445 §5.1 and RFC 8839 §5.1.
//!
//! The agent makes them of sockets, mapped and relayed addresses; signalling carries them as text (`candidate/sdp.rs`).

mod sdp;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use sdp::{LONGEST_LINE, MOST_EXTENSIONS, ParseError};

/// The greatest priority (RFC 8445 §5.1.2).
pub const MOST_PRIORITY: u32 = (1 << 31) - 1;

/// A transport address and what is known of it. Written and read as SDP has it, without `a=` ([`Display`](fmt::Display)
/// and [`FromStr`](std::str::FromStr)).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Candidate {
    /// The same for candidates that will probably work or fail together (RFC 8445 §5.1.1.3): 1–32 letters, digits, `+`
    /// or `/`.
    pub foundation: String,
    /// Which component of the stream, 1–256. RTP is 1, RTCP 2.
    pub component: u16,
    /// UDP, or TCP and who connects.
    pub transport: CandidateTransport,
    /// 1 to [`MOST_PRIORITY`]; greater is better (RFC 8445 §5.1.2).
    pub priority: u32,
    /// Where.
    pub address: Address,
    /// Where. 9 for TCP candidates that only connect.
    pub port: u16,
    /// How it was learnt.
    pub kind: CandidateType,
    /// The base of a reflexive candidate, the mapped address of a relayed one; 0.0.0.0 or :: and 9 where that is
    /// nobody's business. `None` for host candidates.
    pub related: Option<SocketAddr>,
    /// `generation`: counts restarts, as browsers write it.
    pub generation: Option<u32>,
    /// `ufrag`: which session it belongs to, by the user fragment in use then (RFC 8838 §12).
    pub ufrag: Option<String>,
    /// `network-id`: candidates of one network interface have the same, as browsers write it.
    pub network_id: Option<u16>,
    /// `network-cost`: 0–999, greater is worse, as browsers write it.
    pub network_cost: Option<u16>,
    /// Extensions that nobody here knows, in order: name and value.
    pub extensions: Vec<(String, String)>,
}

/// The protocol between the two agents.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CandidateTransport {
    /// Datagrams.
    Udp,
    /// A stream (RFC 6544).
    Tcp(TcpType),
}

/// Who opens the connection (RFC 6544 §4.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TcpType {
    /// This one connects.
    Active,
    /// This one listens.
    Passive,
    /// Both connect at once.
    SimultaneousOpen,
}

impl TcpType {
    /// What the other candidate of a pair has to be (RFC 6544 §6.2).
    pub const fn counterpart(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
            Self::SimultaneousOpen => Self::SimultaneousOpen,
        }
    }
}

/// An address, or a name that stands for one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A name for multicast DNS: one label and `.local` (draft-ietf-mmusic-mdns-ice-candidates).
    Name(String),
}

/// How a candidate was learnt (RFC 8445 §5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CandidateType {
    /// From a socket.
    Host,
    /// From a STUN or TURN server, or the router: how that sees the socket.
    ServerReflexive,
    /// From a check: how the peer sees the socket.
    PeerReflexive,
    /// From a TURN server: an address of its own.
    Relayed,
}

impl CandidateType {
    /// As SDP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }

    /// RFC 8445 §5.1.2.2: 126, 110, 100, 0.
    pub const fn preference(self) -> u8 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }
}

impl fmt::Display for CandidateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Candidate {
    /// A candidate for UDP without extensions.
    pub fn new(kind: CandidateType, component: u16, address: SocketAddr, priority: u32, foundation: String) -> Self {
        Self {
            foundation,
            component,
            transport: CandidateTransport::Udp,
            priority,
            address: Address::Ip(address.ip()),
            port: address.port(),
            kind,
            related: None,
            generation: None,
            ufrag: None,
            network_id: None,
            network_cost: None,
            extensions: Vec::new(),
        }
    }

    /// Its transport address; `None` while it is only a name.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Address::Name(_) => None,
        }
    }

    /// Whether it is for datagrams.
    pub fn is_udp(&self) -> bool {
        self.transport == CandidateTransport::Udp
    }
}

/// What stands in a related address that is nobody's business (RFC 8839 §5.1).
pub(crate) fn hidden(like: IpAddr) -> SocketAddr {
    let ip = if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, 9)
}

/// Whether a peer may be sent to at this address at all: never to everybody, to nobody or to port 0.
pub(crate) fn is_plausible(address: SocketAddr) -> bool {
    let wrong = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    !wrong && address.port() != 0
}

/// The address without zone and flow label, which only its own host understands.
pub(crate) fn unscoped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
