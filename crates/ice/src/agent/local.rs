//! Sockets and own candidates: made, weeded, and told when it is time (RFC 8445 §5.1, RFC 8838 §9).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use farspeak_sansio::Instant;

use crate::candidate::{hidden, unscoped};
use crate::session::LocalCandidate;
use crate::{Address, Agent, Candidate, CandidateType, Event, Mode, Privacy, State, Trickle, priority};

/// What the driver knows of the interface that a socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Interface {
    /// 0–999, greater is worse: 0 wired, 10 wireless, 900 cellular, as browsers count. Default 0. Written as
    /// `network-cost` if it is not 0.
    pub cost: u16,
    /// Tells interfaces apart. Default 0, which is not written; else `network-id`.
    pub id: u16,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    pub(super) component: u16,
    pub(super) local: SocketAddr,
    pub(super) interface: Interface,
    /// How many of its family and component were there before it.
    pub(super) nth: usize,
}

impl Socket {
    /// The cheap networks first.
    pub(super) const fn class(&self) -> u16 {
        match self.interface.cost {
            0..100 => 0,
            100..900 => 1,
            _ => 2,
        }
    }
}

/// Sockets and candidates of ours.
#[derive(Default)]
pub(super) struct Locals {
    pub(super) sockets: Vec<Socket>,
    pub(super) candidates: Vec<Local>,
    foundations: Vec<Origin>,
    names: Vec<(IpAddr, String)>,
    /// Whether all sockets of now have been added.
    pub(super) sockets_complete: bool,
    /// Whether the end of candidates has been told in this generation.
    pub(super) ended: bool,
}

pub(super) struct Local {
    pub(super) candidate: LocalCandidate,
    /// Whether the peer has been told, or may read it in the description.
    told: bool,
    pub(super) expires: Option<Instant>,
    /// Whether the router was asked for it.
    pub(super) mapped: bool,
}

/// What makes a foundation (RFC 8445 §5.1.1.3).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Origin {
    kind: CandidateType,
    base: IpAddr,
    server: Option<IpAddr>,
    /// 0 UDP, 1 TCP, 2 TLS to the server.
    way: u8,
}

/// A candidate before it has a priority.
pub(super) struct Found {
    pub(super) kind: CandidateType,
    pub(super) socket: Socket,
    pub(super) address: SocketAddr,
    pub(super) base: SocketAddr,
    pub(super) related: Option<SocketAddr>,
    /// Which server gave it: its place in the configuration, its address, and 0–2 for UDP, TCP, TLS.
    pub(super) server: Option<(usize, IpAddr, u8)>,
    pub(super) expires: Option<Instant>,
}

impl Locals {
    pub(super) fn all(&self) -> impl Iterator<Item = &LocalCandidate> {
        self.candidates.iter().map(|local| &local.candidate)
    }

    pub(super) fn told(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|local| local.told).map(|local| &local.candidate.candidate)
    }

    pub(super) fn socket_at(&self, base: SocketAddr) -> Option<SocketAddr> {
        self.sockets.iter().find(|socket| unscoped(socket.local) == base).map(|socket| socket.local)
    }

    pub(super) fn is_socket(&self, base: SocketAddr) -> bool {
        self.socket_at(base).is_some()
    }

    pub(super) fn forget_component(&mut self, component: u16) {
        if component != 1 {
            self.candidates.retain(|local| local.candidate.candidate.component != component);
            self.sockets.retain(|socket| socket.component != component);
        }
    }

    pub(super) fn begin_generation(&mut self) {
        self.ended = false;
        self.candidates.iter_mut().for_each(|local| local.told = false);
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.candidates.iter().filter_map(|local| local.expires).min()
    }

    fn foundation(&mut self, origin: Origin) -> String {
        let at = self.foundations.iter().position(|known| *known == origin).unwrap_or_else(|| {
            self.foundations.push(origin);
            self.foundations.len() - 1
        });
        (at + 1).to_string()
    }

    /// The priority of its kind, made unique by a small step down where two would have the same (RFC 8445 §5.1.2.1).
    fn priority(&self, found: &Found) -> u32 {
        let component = found.socket.component;
        let (server, way) = found.server.map_or((0, 0), |(server, _, way)| (server, way));
        let class = found.socket.class().max(u16::from(way));
        let mut preference = priority::local_preference(found.address.ip(), found.socket.nth, server, class);
        loop {
            let priority = priority::candidate(found.kind, preference, component);
            let taken = self.all().any(|local| local.candidate.priority == priority);
            if !taken || preference == 0 {
                return priority;
            }
            preference -= 1;
        }
    }
}

impl Agent {
    /// A socket that the driver has bound for a component, on one address of one interface. It becomes a host candidate,
    /// and candidates are gathered through it. Addresses that must not be candidates are passed over: unspecified,
    /// loopback (unless the configuration wants it), IPv4-mapped and deprecated IPv6 ones (RFC 8445 §5.1.1.1).
    pub fn add_socket(&mut self, now: Instant, component: u16, local: SocketAddr, interface: Interface) {
        let known = self.locals.sockets.iter().any(|socket| socket.local == local);
        let room = self.locals.sockets.len() < self.config.limits.local_candidates;
        let of_component = self.components.iter().any(|of| of.id == component);
        if known || !room || !of_component || !may_be_candidate(local.ip(), self.config.loopback) {
            return;
        }
        let alike = |socket: &&Socket| socket.component == component && socket.local.is_ipv4() == local.is_ipv4();
        let nth = self.locals.sockets.iter().filter(alike).count();
        let socket = Socket { component, local, interface, nth };
        self.locals.sockets.push(socket);
        let (address, base) = (unscoped(local), unscoped(local));
        self.found(
            now,
            Found { kind: CandidateType::Host, socket, address, base, related: None, server: None, expires: None },
        );
        self.gather_from(now, socket);
        self.after(now);
    }

    /// All sockets of now have been added: when gathering is through, the end of candidates may be told.
    pub fn sockets_complete(&mut self, now: Instant) {
        self.locals.sockets_complete = true;
        self.after(now);
    }

    /// A socket is gone, with all candidates and pairs on it. To gain others for the peer, restart (RFC 8838 §15).
    pub fn remove_socket(&mut self, now: Instant, local: SocketAddr) {
        let base = unscoped(local);
        self.locals.sockets.retain(|socket| socket.local != local);
        self.gatherer.forget_socket(local);
        let relayed: Vec<SocketAddr> = self.relayed_from(local);
        self.relays.forget_socket(now, local);
        for gone in relayed.into_iter().chain([base]) {
            self.drop_base(now, gone);
        }
        self.after(now);
    }

    /// A base is gone: candidates and pairs on it as well.
    pub(super) fn drop_base(&mut self, now: Instant, base: SocketAddr) {
        self.locals.candidates.retain(|known| known.candidate.base != base);
        for component in &mut self.components {
            component.sessions().for_each(|session| session.remove_local(now, base));
        }
    }

    /// Makes a candidate of what was found, unless it is redundant, private or one too many.
    pub(super) fn found(&mut self, now: Instant, found: Found) {
        let component = found.socket.component;
        let is_private = self.config.privacy == Privacy::RelayOnly && found.kind != CandidateType::Relayed;
        let is_lite = self.config.mode == Mode::Lite && found.kind != CandidateType::Host;
        // RFC 8445 §5.1.3. What was there first is better: host before reflexive.
        let same = |local: &LocalCandidate| {
            (local.address, local.base, local.candidate.component) == (found.address, found.base, component)
        };
        // Unless it is behind a name: then the peer is told what the whole Internet sees anyway, or it would know no
        // address of a host without a translator.
        let hidden_host = |local: &LocalCandidate| {
            self.config.names && local.candidate.kind == CandidateType::Host && found.kind != CandidateType::Host
        };
        let seen_outside = crate::port_mapping::is_public(found.address.ip());
        let known = self.locals.all().any(|local| same(local) && !(seen_outside && hidden_host(local)));
        let room = self.locals.candidates.len() < self.config.limits.local_candidates;
        if known || !room || is_private || is_lite || !crate::candidate::is_plausible(found.address) {
            return;
        }
        let (server, way) = found.server.map_or((None, 0), |(_, ip, way)| (Some(ip), way));
        let base_of_foundation =
            if found.kind == CandidateType::Relayed { found.socket.local.ip() } else { found.base.ip() };
        let origin = Origin { kind: found.kind, base: base_of_foundation, server, way };
        let foundation = self.locals.foundation(origin);
        let priority = self.locals.priority(&found);
        let mut candidate = Candidate::new(found.kind, component, found.address, priority, foundation);
        candidate.related = found.related.map(|related| {
            let hide = self.config.names || self.config.privacy == Privacy::RelayOnly;
            if hide { hidden(found.address.ip()) } else { unscoped(related) }
        });
        candidate.network_id = Some(found.socket.interface.id).filter(|id| *id != 0);
        candidate.network_cost = Some(found.socket.interface.cost.min(999)).filter(|cost| *cost != 0);
        if self.config.names && found.kind == CandidateType::Host {
            candidate.address = Address::Name(self.name_of(found.address.ip()));
        }
        let candidate = LocalCandidate { candidate, address: found.address, base: found.base };
        self.locals.candidates.push(Local {
            candidate: candidate.clone(),
            told: false,
            expires: found.expires,
            mapped: false,
        });
        self.introduce(now, candidate);
    }

    /// Hands a candidate to the session, and to the peer if it may still learn any.
    pub(super) fn introduce(&mut self, now: Instant, local: LocalCandidate) {
        let component = local.candidate.component;
        if let Some(of) = self.components.iter_mut().find(|of| of.id == component) {
            of.session.add_local(now, &local);
        }
        if self.config.trickle == Trickle::Full {
            self.tell(local.address, local.base);
        }
    }

    /// Tells the peer of a candidate; not after the end of candidates or after nomination (RFC 8838 §13).
    fn tell(&mut self, address: SocketAddr, base: SocketAddr) {
        if self.locals.ended || matches!(self.state, State::Completed | State::Failed | State::Closed) {
            return;
        }
        let (ufrag, generation) = (self.own.ufrag().to_owned(), self.generation);
        let is_it =
            |local: &&mut Local| !local.told && (local.candidate.address, local.candidate.base) == (address, base);
        let Some(local) = self.locals.candidates.iter_mut().find(is_it) else { return };
        local.told = true;
        local.candidate.candidate.ufrag = Some(ufrag);
        local.candidate.candidate.generation = Some(generation);
        let candidate = local.candidate.candidate.clone();
        self.emit(Event::LocalCandidate(candidate));
    }

    /// Tells the end, and before it whatever was held back.
    pub(super) fn tell_end(&mut self, now: Instant) {
        let expired = |local: &Local| local.expires.is_some_and(|expires| expires <= now);
        self.locals.candidates.retain(|local| !expired(local));
        let busy = !self.locals.sockets_complete || self.is_gathering();
        if busy || self.locals.ended || matches!(self.state, State::Failed | State::Closed) {
            return;
        }
        let mut held: Vec<_> = self.locals.all().map(|l| (l.candidate.priority, l.address, l.base)).collect();
        held.sort_by_key(|(priority, ..)| std::cmp::Reverse(*priority));
        for (_, address, base) in held {
            self.tell(address, base);
        }
        self.locals.ended = true;
        self.emit(Event::EndOfCandidates);
        self.update_completeness(now);
    }

    /// A random name for an address, the same while the agent lives.
    fn name_of(&mut self, ip: IpAddr) -> String {
        if let Some((_, name)) = self.locals.names.iter().find(|(known, _)| *known == ip) {
            return name.clone();
        }
        // RFC 9562 §5.4: version 4, variant 10.
        let mut bytes = [0; 16];
        self.rng.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = |range: std::ops::Range<usize>| bytes[range].iter().map(|b| format!("{b:02x}")).collect::<String>();
        let name = format!("{}-{}-{}-{}-{}.local", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16));
        self.locals.names.push((ip, name.clone()));
        self.emit(Event::Announce { name: name.clone(), address: ip });
        name
    }
}

fn may_be_candidate(ip: IpAddr, loopback: bool) -> bool {
    let deprecated = |ip: Ipv6Addr| {
        let head = ip.segments()[0];
        // Site-local, and IPv4-compatible or -mapped.
        head & 0xffc0 == 0xfec0 || ip.to_ipv4().is_some() && !ip.is_loopback()
    };
    let wrong = match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast() || deprecated(ip),
    };
    !wrong && !ip.is_unspecified() && (loopback || !ip.is_loopback())
}
