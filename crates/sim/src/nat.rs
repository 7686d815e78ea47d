//! A network address and port translator, RFC 4787 (UDP) and RFC 5382 (TCP): the table, without any packet.
//!
//! [`Network`](crate::Network) asks it on the way out ([`NatTable::outbound`]) and on the way in
//! ([`NatTable::inbound`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::{Instant, Rng, SplitMix64};

/// What a mapping, or a filter, depends on besides the inside endpoint (RFC 4787 §4.1 and §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dependence {
    /// Mapping: one for all destinations. Filtering: anybody may answer.
    EndpointIndependent,
    /// Mapping: one for each destination address. Filtering: any port of an address that was sent to may answer.
    AddressDependent,
    /// Mapping: one for each destination address and port. Filtering: only what was sent to may answer.
    AddressAndPortDependent,
}

/// How the outside port is chosen (RFC 4787 §4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortAssignment {
    /// "Port preservation": the inside port if it is free outside, else a random one.
    Preserve,
    /// "Port overloading": always the inside port. The newest mapping gets what arrives.
    Overload,
    /// A random free port from 1024.
    Random,
}

/// Which outside address a new mapping gets if there are several (RFC 4787 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pooling {
    /// All mappings of an inside address share one outside address (REQ-2).
    Paired,
    /// Any outside address.
    Arbitrary,
}

/// What the translator tracks apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Connections: always address- and port-dependent, since each is tracked.
    Tcp,
}

/// How a translator behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nat {
    /// When an inside endpoint gets a second outside port. REQ-1 demands endpoint-independent.
    pub mapping: Dependence,
    /// Who may answer (REQ-8).
    pub filtering: Dependence,
    /// Whether inside hosts reach each other through their outside addresses (REQ-9). Default true.
    pub hairpin: bool,
    /// How long a UDP mapping lives without traffic (REQ-5). Default 2 min, the shortest that the RFC allows.
    pub udp_timeout: Duration,
    /// How long an idle connection is remembered. Default 2 h 4 min (RFC 5382 REQ-5).
    pub tcp_timeout: Duration,
    /// Whether arriving datagrams refresh a mapping too, and not only leaving ones (REQ-6). Default false.
    pub inbound_refresh: bool,
    /// How the outside port is chosen. Default [`PortAssignment::Preserve`].
    pub ports: PortAssignment,
    /// How the outside address is chosen. Default [`Pooling::Paired`].
    pub pooling: Pooling,
    /// Whether datagrams pass at all. Default true; a firewall may say no.
    pub udp: bool,
    /// The only port outside to which connections pass. Default `None`: all.
    pub tcp_port: Option<u16>,
}

impl Nat {
    /// A translator with this mapping and this filtering, and RFC 4787's choice for everything else.
    pub const fn new(mapping: Dependence, filtering: Dependence) -> Self {
        Self {
            mapping,
            filtering,
            hairpin: true,
            udp_timeout: Duration::from_secs(120),
            tcp_timeout: Duration::from_secs(7440),
            inbound_refresh: false,
            ports: PortAssignment::Preserve,
            pooling: Pooling::Paired,
            udp: true,
            tcp_port: None,
        }
    }

    /// What RFC 4787 asks for where transparency matters most: endpoint-independent mapping and filtering.
    pub const fn transparent() -> Self {
        Self::new(Dependence::EndpointIndependent, Dependence::EndpointIndependent)
    }

    /// The common home router: endpoint-independent mapping, address- and port-dependent filtering.
    pub const fn home_router() -> Self {
        Self::new(Dependence::EndpointIndependent, Dependence::AddressAndPortDependent)
    }

    /// The worst for peers: everything depends on address and port, outside ports are random, no hairpin.
    pub const fn symmetric() -> Self {
        let mut nat = Self::new(Dependence::AddressAndPortDependent, Dependence::AddressAndPortDependent);
        nat.ports = PortAssignment::Random;
        nat.hairpin = false;
        nat
    }

    /// A firewall that lets no datagram through and, if `tcp_port` says so, connections to one port alone.
    pub const fn without_udp(mut self, tcp_port: Option<u16>) -> Self {
        self.udp = false;
        self.tcp_port = tcp_port;
        self
    }

    /// Sets whether inside hosts reach each other through their outside addresses.
    pub const fn hairpin(mut self, hairpin: bool) -> Self {
        self.hairpin = hairpin;
        self
    }

    /// Sets how long a UDP mapping lives without traffic.
    pub const fn udp_timeout(mut self, timeout: Duration) -> Self {
        self.udp_timeout = timeout;
        self
    }

    /// Sets how long an idle connection is remembered.
    pub const fn tcp_timeout(mut self, timeout: Duration) -> Self {
        self.tcp_timeout = timeout;
        self
    }

    /// Sets whether arriving datagrams refresh a mapping too.
    pub const fn inbound_refresh(mut self, refresh: bool) -> Self {
        self.inbound_refresh = refresh;
        self
    }

    /// Sets how the outside port is chosen.
    pub const fn ports(mut self, ports: PortAssignment) -> Self {
        self.ports = ports;
        self
    }

    /// Sets how the outside address is chosen.
    pub const fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }
}

/// The translator's memory.
#[derive(Clone, Debug)]
pub struct NatTable {
    behaviour: Nat,
    outside: Vec<IpAddr>,
    mappings: Vec<Mapping>,
    /// To whom an inside endpoint has sent, and when last: through whichever of its mappings, since RFC 4787 §5 asks no
    /// more. Translators that track each connection, as Linux does, are stricter: it must have been through this one.
    sent_to: BTreeMap<(Protocol, SocketAddr), BTreeMap<SocketAddr, Instant>>,
    rng: SplitMix64,
}

#[derive(Clone, Debug)]
struct Mapping {
    protocol: Protocol,
    inside: SocketAddr,
    scope: Scope,
    outside: SocketAddr,
    refreshed: Instant,
}

/// For which destinations a mapping holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    Any,
    Address(IpAddr),
    Endpoint(SocketAddr),
}

impl Scope {
    const fn of(dependence: Dependence, remote: SocketAddr) -> Self {
        match dependence {
            Dependence::EndpointIndependent => Self::Any,
            Dependence::AddressDependent => Self::Address(remote.ip()),
            Dependence::AddressAndPortDependent => Self::Endpoint(remote),
        }
    }
}

impl NatTable {
    /// An empty table of a translator with these outside addresses. Ports are drawn from `seed`.
    pub fn new(behaviour: Nat, outside: impl IntoIterator<Item = IpAddr>, seed: u64) -> Self {
        let outside = outside.into_iter().collect();
        Self { behaviour, outside, mappings: Vec::new(), sent_to: BTreeMap::new(), rng: SplitMix64::new(seed) }
    }

    /// How it behaves.
    pub const fn behaviour(&self) -> &Nat {
        &self.behaviour
    }

    /// Whether the address is one of its outside addresses.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.outside.contains(&address)
    }

    /// How many mappings live at `now`.
    pub fn mappings(&self, now: Instant) -> usize {
        self.mappings.iter().filter(|mapping| !self.is_stale(mapping, now)).count()
    }

    /// Forgets everything, as a reboot does.
    pub fn reboot(&mut self) {
        self.mappings.clear();
        self.sent_to.clear();
    }

    /// Something leaves: the outside endpoint that it leaves from, or `None` if it does not pass, or no outside address or
    /// port is left.
    pub fn outbound(
        &mut self,
        now: Instant,
        protocol: Protocol,
        inside: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        self.expire(now);
        if !self.passes(protocol, remote) {
            return None;
        }
        let scope = Scope::of(self.mapping_of(protocol), remote);
        let known = self.mappings.iter_mut().find(|m| m.protocol == protocol && m.inside == inside && m.scope == scope);
        let outside = match known {
            Some(mapping) => {
                mapping.refreshed = now;
                mapping.outside
            }
            None => {
                let outside = self.assign(protocol, inside, remote)?;
                self.mappings.push(Mapping { protocol, inside, scope, outside, refreshed: now });
                outside
            }
        };
        // What has not passed opens no filter.
        self.sent_to.entry((protocol, inside)).or_default().insert(remote, now);
        Some(outside)
    }

    /// Something arrives at an outside endpoint: the inside endpoint it goes on to, or `None` if it is filtered.
    pub fn inbound(
        &mut self,
        now: Instant,
        protocol: Protocol,
        outside: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        self.expire(now);
        let filtering = self.filtering_of(protocol);
        let sent_to = &self.sent_to;
        let admitted = |mapping: &&mut Mapping| {
            let peers = sent_to.get(&(protocol, mapping.inside));
            match filtering {
                Dependence::EndpointIndependent => true,
                Dependence::AddressDependent => peers.is_some_and(|p| p.keys().any(|peer| peer.ip() == remote.ip())),
                Dependence::AddressAndPortDependent => peers.is_some_and(|p| p.contains_key(&remote)),
            }
        };
        let here = |mapping: &&mut Mapping| mapping.protocol == protocol && mapping.outside == outside;
        // The newest first: that is who an overloaded port belongs to.
        let mapping = self.mappings.iter_mut().rev().filter(here).find(admitted)?;
        if self.behaviour.inbound_refresh || protocol == Protocol::Tcp {
            mapping.refreshed = now;
            let peers = self.sent_to.get_mut(&(protocol, mapping.inside)).into_iter().flatten();
            for (peer, last) in peers {
                // What admitted it is what it keeps open.
                let by_address = filtering == Dependence::AddressDependent && peer.ip() == remote.ip();
                if by_address || *peer == remote {
                    *last = now;
                }
            }
        }
        Some(mapping.inside)
    }

    /// Whether the connection between the inside endpoint and the remote one is still known; refreshes it if so.
    pub fn touch_connection(&mut self, now: Instant, inside: SocketAddr, remote: SocketAddr) -> bool {
        self.expire(now);
        let scope = Scope::Endpoint(remote);
        let known =
            self.mappings.iter_mut().find(|m| m.protocol == Protocol::Tcp && m.inside == inside && m.scope == scope);
        known.map(|mapping| mapping.refreshed = now).is_some()
    }

    /// Whose mapping an outside endpoint is, whatever the filter says.
    pub fn owner_of(&self, protocol: Protocol, outside: SocketAddr) -> Option<SocketAddr> {
        let mapping = self.mappings.iter().rev().find(|m| m.protocol == protocol && m.outside == outside)?;
        Some(mapping.inside)
    }

    fn passes(&self, protocol: Protocol, remote: SocketAddr) -> bool {
        match protocol {
            Protocol::Udp => self.behaviour.udp,
            Protocol::Tcp => self.behaviour.tcp_port.is_none_or(|port| port == remote.port()),
        }
    }

    fn mapping_of(&self, protocol: Protocol) -> Dependence {
        match protocol {
            Protocol::Udp => self.behaviour.mapping,
            Protocol::Tcp => Dependence::AddressAndPortDependent,
        }
    }

    fn filtering_of(&self, protocol: Protocol) -> Dependence {
        match protocol {
            Protocol::Udp => self.behaviour.filtering,
            Protocol::Tcp => Dependence::AddressAndPortDependent,
        }
    }

    fn timeout_of(&self, protocol: Protocol) -> Duration {
        match protocol {
            Protocol::Udp => self.behaviour.udp_timeout,
            Protocol::Tcp => self.behaviour.tcp_timeout,
        }
    }

    fn is_stale(&self, mapping: &Mapping, now: Instant) -> bool {
        now - mapping.refreshed >= self.timeout_of(mapping.protocol)
    }

    fn expire(&mut self, now: Instant) {
        let mut mappings = std::mem::take(&mut self.mappings);
        mappings.retain(|mapping| !self.is_stale(mapping, now));
        self.mappings = mappings;
        let (udp, tcp) = (self.behaviour.udp_timeout, self.behaviour.tcp_timeout);
        self.sent_to.retain(|(protocol, _), peers| {
            let timeout = if *protocol == Protocol::Udp { udp } else { tcp };
            peers.retain(|_, last| now - *last < timeout);
            !peers.is_empty()
        });
    }

    fn assign(&mut self, protocol: Protocol, inside: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let family: Vec<IpAddr> =
            self.outside.iter().copied().filter(|address| address.is_ipv4() == remote.is_ipv4()).collect();
        if family.is_empty() {
            return None;
        }
        let paired = self.mappings.iter().find(|m| m.inside.ip() == inside.ip() && family.contains(&m.outside.ip()));
        let address = match (self.behaviour.pooling, paired) {
            (Pooling::Paired, Some(mapping)) => mapping.outside.ip(),
            _ => family[self.rng.below(family.len() as u64) as usize],
        };
        let preferred = SocketAddr::new(address, inside.port());
        let taken =
            |table: &Self, outside| table.mappings.iter().any(|m| m.protocol == protocol && m.outside == outside);
        match self.behaviour.ports {
            PortAssignment::Overload => return Some(preferred),
            PortAssignment::Preserve if !taken(self, preferred) => return Some(preferred),
            PortAssignment::Preserve | PortAssignment::Random => {}
        }
        // Bounded: a full translator refuses rather than searches for ever.
        for _ in 0..4096 {
            let port = 1024 + self.rng.below(65_536 - 1024) as u16;
            let outside = SocketAddr::new(address, port);
            if !taken(self, outside) {
                return Some(outside);
            }
        }
        None
    }
}
