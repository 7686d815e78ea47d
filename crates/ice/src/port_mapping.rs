//! Asking the router for a port that is open to the outside: PCP (RFC 6887), NAT-PMP (RFC 6886), UPnP IGD
//! (WANIPConnection:1 and :2), as one machine.
//!
//! Who wants to be reached ([`PortMapper::map`]) is told by events what the router gave ([`Event::Mapped`]), renewed
//! until it is no longer wanted, that it has gone, or that there is nothing to be had. ICE takes a mapping as a
//! candidate; anybody else with a listening port can use it alone.
//!
//! ```text
//!   map ──▶ mapper.rs   which way? each in turn, the next begins while the one before is still silent
//!              │  ask.rs           what a way can do: ask, delete, hear, wait
//!              ├─ pcp.rs           MAP over UDP 5351, ANNOUNCE           ┐ lease.rs  when to repeat, to renew, to give up
//!              ├─ nat_pmp.rs       the same, older, IPv4 alone           ┘ epoch.rs  has the router restarted?
//!              └─ upnp.rs          SSDP by multicast, then HTTP and SOAP over TCP
//! ```
//!
//! The router is whom the driver names as the gateway, and nobody else is listened to. UPnP has no protection of its
//! own: a description is fetched from the gateway's own private address alone, so that no answer can send us
//! elsewhere, and is read no further than 64 KiB.

mod address;
mod ask;
mod epoch;
mod lease;
mod mapper;
mod nat_pmp;
mod pcp;
mod upnp;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub use address::is_public;
pub use mapper::{Full, PortMapper};

/// What is mapped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

impl Protocol {
    /// Its number at IANA.
    const fn number(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp => 6,
        }
    }

    /// Its name in UPnP.
    const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// How the router is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// Port Control Protocol, RFC 6887: also opens a firewall for IPv6.
    Pcp,
    /// NAT Port Mapping Protocol, RFC 6886: IPv4.
    NatPmp,
    /// UPnP Internet Gateway Device: IPv4, slow, and what most home routers know.
    Upnp,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// How a [`PortMapper`] behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// In which order to ask; the first that grants something is kept. Default PCP, NAT-PMP, UPnP.
    pub ways: Vec<Way>,
    /// How long a way may be silent before the next one is tried beside it. Default 500 ms. A way that refuses is
    /// followed by the next at once.
    pub stagger: Duration,
    /// How long to wait for any way before [`Event::Unavailable`]. Default 30 s, in which PCP sends four times and
    /// NAT-PMP seven times. Deviation: RFC 6887 §8.1.1 would have PCP's requests repeated for ever; here they begin anew
    /// after [`Self::retry`].
    pub patience: Duration,
    /// For how long to ask; the router may give less. Default 2 h, as RFC 6886 §3.3 recommends.
    pub lifetime: Duration,
    /// When to try again after [`Event::Unavailable`]. Default 15 min.
    pub retry: Duration,
    /// What the router shows its owner beside a UPnP mapping. Default `farspeak`.
    pub description: String,
    /// Most mappings at a time. Default 64.
    pub most: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ways: vec![Way::Pcp, Way::NatPmp, Way::Upnp],
            stagger: Duration::from_millis(500),
            patience: Duration::from_secs(30),
            lifetime: Duration::from_secs(7200),
            retry: Duration::from_secs(900),
            description: "farspeak".to_owned(),
            most: 64,
        }
    }
}

/// What the router gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Of what.
    pub protocol: Protocol,
    /// Our end.
    pub internal: SocketAddr,
    /// Where the outside reaches it.
    pub external: SocketAddr,
    /// For how long, unless renewed, which happens by itself; `None`: until it is deleted or the router restarts.
    pub lifetime: Option<Duration>,
    /// By what it was asked for.
    pub by: Way,
}

impl Mapping {
    /// Whether the external address is one of the Internet. If not, another translator is in the way (a carrier's, or
    /// a second router), and only its inside reaches the mapping.
    pub fn is_public(&self) -> bool {
        is_public(self.external.ip())
    }
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The router forwards. Also when it gives another external address or port than before, which then is void; not
    /// for each renewal.
    Mapped(Mapping),
    /// It does not any more, or is silent until the end of the lifetime. It is asked for again.
    Lost {
        /// Of what.
        protocol: Protocol,
        /// Our end.
        internal: SocketAddr,
    },
    /// Nothing is to be had now. It is tried again after [`Config::retry`], or as the router says.
    Unavailable {
        /// Of what.
        protocol: Protocol,
        /// Our end.
        internal: SocketAddr,
        /// Why.
        reason: Reason,
    },
}

/// Why there is no mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Nobody answers: the router knows none of the ways, or they are switched off.
    NoAnswer,
    /// The router says no.
    Refused {
        /// Whose no it is, if several ways were tried: the last one's that gave a reason.
        by: Way,
        /// Its reason.
        why: Refusal,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("the router does not answer"),
            Self::Refused { by, why } => write!(f, "the router refuses by {by}: {why}"),
        }
    }
}

/// Why a router says no, whatever the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// It may not be had: switched off, or not for this host.
    NotAuthorized,
    /// Another version of the protocol, or a part of it that the router lacks.
    Unsupported,
    /// The router has no address of its own outside, or no way out.
    NoExternalAddress,
    /// No ports or no memory are left, or enough are ours.
    NoResources,
    /// The router saw another address than ours: a translator is between us and it (PCP ADDRESS_MISMATCH).
    AddressMismatch,
    /// The ports that were tried belong to others.
    Conflict,
    /// What came is no answer, or too long.
    Malformed,
    /// Another code of the way's own.
    Other(u16),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAuthorized => "not allowed",
            Self::Unsupported => "not supported",
            Self::NoExternalAddress => "it has no address outside",
            Self::NoResources => "nothing is left",
            Self::AddressMismatch => "another translator is between us and it",
            Self::Conflict => "the ports belong to others",
            Self::Malformed => "its answer cannot be read",
            Self::Other(code) => return write!(f, "code {code}"),
        })
    }
}
