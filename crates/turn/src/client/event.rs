//! What a client tells its owner.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::Flow;
use farspeak_stun::attribute::{AddressFamily, ErrorCode, Icmp};
use farspeak_stun::{Class, Message};

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server relays for us.
    Allocated(Allocated),
    /// There is no allocation; [`Client::allocate`](super::Client::allocate) may be called again when
    /// [`Failure::retry_after`] says so.
    Failed(Failure),
    /// There was an allocation and it is gone, with all its permissions and channels.
    Lost(Failure),
    /// The allocation has been given back, as [`Client::release`](super::Client::release) asked.
    Released,
    /// The allocation follows us to the flow that it was moved to (RFC 8016); peers notice nothing.
    Moved,
    /// The server lets this peer send to us, from any port.
    Permitted {
        /// The peer.
        peer: IpAddr,
    },
    /// The server refuses this peer; it is not asked again until [`Client::forget`](super::Client::forget).
    NotPermitted {
        /// The peer.
        peer: IpAddr,
        /// Why. [`Failure::Full`] if we have too many peers ourselves.
        failure: Failure,
    },
    /// Data to and from this peer goes through a channel.
    Bound {
        /// The peer.
        peer: SocketAddr,
        /// Its channel.
        channel: u16,
    },
    /// There is no channel to this peer. Data goes in indications if the peer is permitted.
    NotBound {
        /// The peer.
        peer: SocketAddr,
        /// Why. [`Failure::Full`] if we have too many channels ourselves.
        failure: Failure,
    },
    /// A peer has sent this; only from [`Machine::handle_receive`](farspeak_sansio::Machine::handle_receive).
    Data {
        /// The peer.
        peer: SocketAddr,
        /// What it sent; may be empty.
        bytes: Vec<u8>,
    },
    /// A peer's TCP connection waits to be taken by [`Client::accept`](super::Client::accept), for 30 s (RFC 6062): one
    /// that [`Client::connect`](super::Client::connect) asked for, or one that a permitted peer began.
    Offered {
        /// The peer.
        peer: SocketAddr,
        /// What the server calls it.
        connection: u32,
    },
    /// From now on this stream carries the peer's bytes and nothing else (RFC 6062 §4.5).
    Joined {
        /// The peer.
        peer: SocketAddr,
        /// The stream, as the driver knows it.
        stream: Flow,
    },
    /// There is no TCP connection to this peer. After a 447, wait 10 s before the next try (RFC 6062 §4.3).
    NotConnected {
        /// The peer.
        peer: SocketAddr,
        /// Why. [`Failure::Full`] if too many are under way, or there is no allocation.
        failure: Failure,
    },
    /// The relay got an ICMP error about something that it sent to a peer for us (RFC 8656 §11.6). Anybody could have
    /// sent it: a hint.
    Icmp {
        /// The peer.
        peer: SocketAddr,
        /// What went wrong.
        icmp: Icmp,
    },
}

/// An allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allocated {
    /// The addresses that peers may send to: one, or one of each family.
    pub relayed: Vec<SocketAddr>,
    /// Our address as the server sees it: a server-reflexive candidate for ICE.
    pub mapped: SocketAddr,
    /// How long it lives without refresh, which the client does by itself.
    pub lifetime: Duration,
    /// What an allocation of the next port has to show, if one was reserved.
    pub reservation: Option<[u8; 8]>,
    /// Of [`Families::Both`](super::Families::Both), what the server has no address for, and its error code
    /// (440 if it does not say).
    pub missing: Option<(AddressFamily, u16)>,
    /// Whether the relay sets the DF bit for us.
    pub dont_fragment: bool,
    /// Whether the allocation can follow us to another address.
    pub mobile: bool,
}

/// Why something failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// There was no answer that could be believed, or the server's challenge cannot be answered.
    NoAnswer(farspeak_stun::Failure),
    /// The server said no.
    Refused {
        /// ERROR-CODE: 300–699.
        code: u16,
        /// Its phrase for people; at most 763 bytes.
        reason: String,
    },
    /// Another server is to be asked, by a client of its own, over the same transport and with the same credentials,
    /// unless it was asked within the last five minutes (RFC 8489 §10).
    TryAlternate {
        /// Where, in the family of our server's address.
        server: SocketAddr,
        /// Where, in the other family.
        other: Option<SocketAddr>,
        /// The name that its certificate must have; `None`: the same as before.
        domain: Option<String>,
        /// Whether the answer was sealed. If it was not, whoever is on the way may have sent it.
        authenticated: bool,
    },
    /// The answer lacks what it must have, or offers addresses that were not asked for.
    Unusable,
    /// The stream to the server has ended.
    FlowFailed,
    /// Our address has changed and the allocation could not follow: it has no ticket, or this happened.
    Moved(Option<Box<Failure>>),
    /// It was not refreshed in time.
    Expired,
    /// As many peers or channels as the configuration allows are in use, or too many requests are under way.
    Full,
}

impl Failure {
    /// The server's error code, if it said no.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TryAlternate { .. } => Some(300),
            _ => None,
        }
    }

    /// After which time an allocation at the same server may be tried again (RFC 8656 §7.4); `None`: not before
    /// something else has changed. After a 437 the next try has to come from another address or port, at most three in a
    /// row.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { code: 437, .. } | Self::Moved(_) | Self::Expired | Self::FlowFailed => Some(Duration::ZERO),
            Self::Refused { code: 486 | 500..=599, .. } => Some(Duration::from_secs(60)),
            Self::NoAnswer(farspeak_stun::Failure::TimedOut | farspeak_stun::Failure::FlowFailed) => {
                Some(Duration::from_secs(120))
            }
            _ => None,
        }
    }

    /// What a server would say of a peer whose family it does not relay to.
    pub(super) fn family_mismatch() -> Self {
        let ErrorCode { code, reason } = ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH;
        Self::Refused { code, reason: reason.to_owned() }
    }

    /// Whether asking the same again may end otherwise: nobody answered, or the server had a bad moment.
    pub(super) fn may_pass(&self) -> bool {
        use farspeak_stun::Failure as NoAnswer;
        match self {
            Self::NoAnswer(NoAnswer::Refused(_) | NoAnswer::Unwritable(_)) => false,
            Self::NoAnswer(_) => true,
            Self::Refused { code, .. } => (500..600).contains(code) && *code != 508,
            _ => false,
        }
    }

    /// What an error response says; `None` if it is none. `sealed`: whether it would not be here without a seal.
    pub(super) fn of(response: &Message<'_>, sealed: bool) -> Option<Self> {
        if response.class() != Class::Error {
            return None;
        }
        let Ok(Some(ErrorCode { code, reason })) = response.error_code() else { return Some(Self::Unusable) };
        if let (300, Some(alternate)) = (code, Self::alternate(response, sealed)) {
            return Some(alternate);
        }
        Some(Self::Refused { code, reason: reason.to_owned() })
    }

    fn alternate(response: &Message<'_>, authenticated: bool) -> Option<Self> {
        let server = response.alternate_server().ok().flatten()?;
        let mut others = response.attributes().filter_map(|attribute| match attribute.typed() {
            Some(Ok(farspeak_stun::Attribute::AlternateServer(other))) => Some(other),
            _ => None,
        });
        let other = others.find(|other| other.is_ipv4() != server.is_ipv4());
        let domain = response.alternate_domain().ok().flatten().map(str::to_owned);
        Some(Self::TryAlternate { server, other, domain, authenticated })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(failure) => write!(f, "no answer that counts: {failure:?}"),
            Self::Refused { code, reason } => write!(f, "the server says {code} {reason}"),
            Self::TryAlternate { server, .. } => write!(f, "the server wants us to ask {server}"),
            Self::Unusable => f.write_str("the server's answer cannot be used"),
            Self::FlowFailed => f.write_str("the connection to the server has ended"),
            Self::Moved(None) => f.write_str("our address has changed and the allocation cannot follow"),
            Self::Moved(Some(why)) => write!(f, "our address has changed and the allocation cannot follow: {why}"),
            Self::Expired => f.write_str("the allocation was not refreshed in time"),
            Self::Full => f.write_str("as many peers, channels or requests as are allowed are in use"),
        }
    }
}

impl std::error::Error for Failure {}

/// Why data did not go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// There is no allocation.
    NotAllocated,
    /// [`Client::permit`](super::Client::permit) or [`Client::bind`](super::Client::bind) has not been called for this
    /// peer, or the server refused it.
    NotPermitted,
    /// The permission is not confirmed so far, and as much data as the configuration allows waits already.
    Waiting,
    /// More than 65,535 bytes, or than an indication can hold.
    TooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllocated => "there is no allocation",
            Self::NotPermitted => "the peer has no permission",
            Self::Waiting => "the peer's permission is not confirmed so far",
            Self::TooLong => "the data is too long for one datagram",
        })
    }
}

impl std::error::Error for SendError {}
