//! What the operator decides.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use farspeak_stun::channel_data::{CHANNELS, RFC5766_CHANNELS};
use farspeak_stun::{Alternate, Limits};

use crate::policy::PeerPolicy;

/// Longest realm with which everybody gets an answer: a challenge may not be much longer than the smallest Allocate
/// request ([`farspeak_stun::limit::longest_answer`]).
pub const LONGEST_REALM: usize = 44;

/// How a server, or one shard of it, behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Which shard this is. Default 0.
    pub shard: u8,
    /// How many shards there are, at least 1. Shard `s` owns the ports for which `(port / 2) % shards == s`, so that
    /// an even port and its successor are on one shard. Default 1.
    pub shards: u8,
    /// Whose passwords count; usually the domain. At most [`LONGEST_REALM`] bytes, since it is in every challenge; at most
    /// 32 for SHA-256 to be offered to all.
    pub realm: String,
    /// Where relayed addresses are taken from: at least one for each family that is to be relayed.
    pub relays: Vec<RelayAddress>,
    /// Ports of relayed addresses. Default 49152–65535 (RFC 8656 §7.2).
    pub ports: RangeInclusive<u16>,
    /// Which peers may be reached.
    pub policy: PeerPolicy,
    /// What one client, and all together, may have.
    pub quotas: Quotas,
    /// How long allocations live.
    pub lifetimes: Lifetimes,
    /// What nonces, tickets and tables are keyed with: random, secret, the same for all shards.
    pub nonce_key: SecretKey,
    /// How long a nonce is good. Default one hour, which RFC 8656 §5 recommends at most.
    pub nonce_lifetime: Duration,
    /// How many answers strangers get.
    pub limits: Limits,
    /// Pairs of addresses for NAT behaviour discovery (RFC 5780). Default none.
    pub alternates: Vec<Alternate>,
    /// Where clients shall go instead (300, RFC 8489 §10). Default nowhere. Allocations that exist live on.
    pub alternate_server: Option<AlternateServer>,
    /// Whether TCP connections to peers are relayed (RFC 6062). Default false.
    pub tcp_relaying: bool,
    /// Whether clients may take their allocation along to another address (RFC 8016). Default true.
    pub mobility: bool,
    /// Whether the driver can set the DF bit of a datagram. Default true; if not, DONT-FRAGMENT is an unknown attribute
    /// (RFC 8656 §7.2).
    pub dont_fragment: bool,
    /// Whether channels 0x5000–0x7fff may be bound, which RFC 5766 had and RFC 8656 §12 has taken away. Default false.
    /// coturn's own tools before 4.16 choose any of them; streams then need a framer that lets them pass
    /// ([`farspeak_stun::framing::StreamFramer::with_rfc5766_channels`]).
    pub rfc5766_channels: bool,
    /// Whether an allocation ends when the credential that made it ends. Default false, as with other servers: the
    /// credential is for beginning a call, and the call may outlast it. What was allocated can be refreshed then, but
    /// nothing new allocated.
    pub strict_expiry: bool,
    /// Value of SOFTWARE in answers to Allocate and Refresh requests of those who proved who they are. Default none.
    pub software: Option<String>,
    /// More addresses of this host, which no peer may have (those of [`Self::relays`] and [`Self::alternates`] are
    /// known). Default none.
    pub own_addresses: Vec<IpAddr>,
    /// What a Unix clock showed at [`farspeak_sansio::Instant::ZERO`]: time-limited credentials need it.
    pub unix_at_origin: Duration,
}

impl ServerConfig {
    /// The defaults, for one shard. `nonce_key` is random and secret.
    pub fn new(realm: &str, relays: Vec<RelayAddress>, nonce_key: [u8; 32]) -> Self {
        Self {
            shard: 0,
            shards: 1,
            realm: realm.to_owned(),
            relays,
            ports: 49152..=65535,
            policy: PeerPolicy::default(),
            quotas: Quotas::default(),
            lifetimes: Lifetimes::default(),
            nonce_key: SecretKey(nonce_key),
            nonce_lifetime: Duration::from_secs(3600),
            limits: Limits::default(),
            alternates: Vec::new(),
            alternate_server: None,
            tcp_relaying: false,
            mobility: true,
            dont_fragment: true,
            rfc5766_channels: false,
            strict_expiry: false,
            software: None,
            own_addresses: Vec::new(),
            unix_at_origin: Duration::ZERO,
        }
    }

    /// The channels that may be bound.
    pub(super) const fn channels(&self) -> RangeInclusive<u16> {
        if self.rfc5766_channels { RFC5766_CHANNELS } else { CHANNELS }
    }

    /// Which shard owns a port.
    pub fn shard_of(&self, port: u16) -> u8 {
        ((port / 2) % u16::from(self.shards.max(1))) as u8
    }
}

/// An address that relayed addresses are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayAddress {
    /// What sockets are bound to.
    pub bind: IpAddr,
    /// What clients and peers are told: another one if the host is behind a one-to-one NAT. Of the same family.
    pub advertised: IpAddr,
}

impl RelayAddress {
    /// An address that is what it seems.
    pub const fn plain(address: IpAddr) -> Self {
        Self { bind: address, advertised: address }
    }
}

/// Bounds. What exceeds one is refused with 486 or 508, or dropped if it is data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Allocations of this shard. Default 100,000.
    pub allocations: usize,
    /// Allocations of one user on all shards, unless the [`Credential`](crate::Credential) says otherwise. Default 64:
    /// a browser makes one for each network interface, server URL and media stream of a call.
    pub allocations_per_credential: u32,
    /// Allocations of one source prefix on all shards (IPv4 /32, IPv6 /56). Default 512: many people share a carrier's
    /// NAT.
    pub allocations_per_source: u32,
    /// Permissions of one allocation. Default 128.
    pub permissions: usize,
    /// Channels of one allocation. Default 128.
    pub channels: usize,
    /// Bytes per second that one allocation may relay in both directions together, each payload and 28 bytes of headers
    /// counted. Default 25,000,000 (200 Mbit/s); `None`: as many as come. Datagrams beyond are dropped; streams (RFC 6062)
    /// are made to wait ([`Meter`](super::Meter)).
    pub bandwidth: Option<u64>,
    /// How much of [`Self::bandwidth`] may come at once. Default one second's.
    pub burst: Duration,
    /// Ports of this shard reserved by EVEN-PORT and not used yet; at most an eighth of them for one user. Default 1024.
    pub reservations: usize,
    /// Flows of this shard's sockets whose allocation lives on another. Default 4096.
    pub handed_over: usize,
    /// Connections of one TCP allocation to peers (RFC 6062). Default 16.
    pub connections: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            allocations: 100_000,
            allocations_per_credential: 64,
            allocations_per_source: 512,
            permissions: 128,
            channels: 128,
            bandwidth: Some(25_000_000),
            burst: Duration::from_secs(1),
            reservations: 1024,
            handed_over: 4096,
            connections: 16,
        }
    }
}

/// How long allocations live without refresh (RFC 8656 §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetimes {
    /// What clients get that ask for less, or for nothing. Default 600 s (RFC 8656 §3.2).
    pub default: Duration,
    /// What clients get at most. Default 3600 s.
    pub max: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { default: Duration::from_secs(600), max: Duration::from_secs(3600) }
    }
}

/// Another TURN server (RFC 8489 §10).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlternateServer {
    /// For clients that came by IPv4; without it, they are served here.
    pub v4: Option<SocketAddr>,
    /// For clients that came by IPv6.
    pub v6: Option<SocketAddr>,
    /// The name in its certificate, for clients that came by TLS.
    pub domain: Option<String>,
}

/// 32 random bytes. `Debug` does not show them.
#[derive(Clone, Copy)]
pub struct SecretKey(pub [u8; 32]);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}
