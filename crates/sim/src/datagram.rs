//! Datagrams: sockets, and the way through translators that streams take too.

use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant, Transport};

use crate::ladder::{Fate, Sighting};
use crate::nat::Protocol;
use crate::network::Happening;
use crate::{HostId, Network};

/// Something that has left its own realm and is on the way to a destination that can be reached from this one.
pub(crate) struct Departed {
    pub(crate) realm: usize,
    pub(crate) from: SocketAddr,
    /// Which translators it passed on the way out: translator, inside endpoint, destination.
    pub(crate) crossed: Vec<(usize, SocketAddr, SocketAddr)>,
}

impl Network {
    pub(crate) fn send_datagram(&mut self, host: HostId, flow: Flow, bytes: Arc<[u8]>) {
        let state = &self.hosts[host.0];
        let of_family = |local: SocketAddr| local.is_ipv4() == flow.remote.is_ipv4();
        // As with the real driver, the local address names the socket; the handle does not matter.
        let mut sockets = state.sockets.iter().filter(|socket| socket.transport == Transport::Udp);
        let unspecified = flow.local.ip().is_unspecified();
        let socket = sockets.find(|socket| socket.local == flow.local || (unspecified && of_family(socket.local)));
        let Some(socket) = socket else {
            self.schedule(self.now, Happening::FlowFailed { host, flow });
            return;
        };
        let (local, to) = (socket.local, flow.remote);
        match self.depart(host, Protocol::Udp, local, to) {
            Err(fate) => {
                self.saw(host, None, flow, self.now, &bytes, fate);
                if self.icmp {
                    self.report(host, flow, self.now);
                }
            }
            Ok(departed) => {
                let receiver = self.who_owns(departed.realm, Protocol::Udp, to);
                let link = self.link_between(host, receiver);
                let copies = link.datagram(&mut self.rng);
                if copies.is_empty() {
                    self.saw(host, receiver, flow, self.now, &bytes, Fate::Lost);
                }
                for delay in copies {
                    let (sent, realm, from) = (self.now, departed.realm, departed.from);
                    let bytes = Arc::clone(&bytes);
                    let datagram = Happening::Datagram { sent, sender: host, flow, realm, from, to, bytes };
                    self.launch(host, receiver, delay, datagram);
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // exactly the fields of `Happening::Datagram`
    pub(crate) fn datagram_arrives(
        &mut self,
        sent: Instant,
        sender: HostId,
        flow: Flow,
        realm: usize,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Arc<[u8]>,
    ) {
        let (host, local) = match self.enter(realm, Protocol::Udp, from, to) {
            Ok(found) => found,
            Err(fate) => return self.saw(sender, None, flow, sent, &bytes, fate),
        };
        let state = &self.hosts[host.0];
        let socket = state.socket_at(Transport::Udp, local).filter(|_| state.powered).map(|socket| socket.id);
        let Some(id) = socket else {
            self.saw(sender, Some(host), flow, sent, &bytes, Fate::Unreachable);
            if self.icmp && self.hosts[host.0].powered {
                let back = self.link_between(host, Some(sender)).delay;
                self.report(sender, flow, self.now + back);
            }
            return;
        };
        self.saw(sender, Some(host), flow, sent, &bytes, Fate::Delivered);
        self.receive(host, Flow { id, transport: Transport::Udp, local, remote: from }, &bytes);
    }

    /// Tells a sender that its datagram could not be delivered.
    fn report(&mut self, host: HostId, flow: Flow, at: Instant) {
        self.schedule(at, Happening::FlowFailed { host, flow });
        if flow.id != FlowId::UNBOUND {
            self.schedule(at, Happening::FlowFailed { host, flow: Flow { id: FlowId::UNBOUND, ..flow } });
        }
    }

    /// Leaves the host's realm, through as many translators as it takes to reach a realm that knows the destination.
    pub(crate) fn depart(
        &mut self,
        host: HostId,
        protocol: Protocol,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<Departed, Fate> {
        let (mut realm, mut from, mut crossed) = (self.hosts[host.0].realm, from, Vec::new());
        loop {
            if self.host_in(realm, to).is_some() || self.nat_facing(realm, to).is_some() {
                return Ok(Departed { realm, from, crossed });
            }
            let Some(inner) = realm.checked_sub(1) else { return Err(Fate::Unreachable) };
            let nat = &mut self.nats[inner];
            if nat.table.owns(to.ip()) && !nat.table.behaviour().hairpin {
                return Err(Fate::Filtered(format!("{}: no hairpin", nat.name)));
            }
            let Some(outside) = nat.table.outbound(self.now, protocol, from, to) else {
                return Err(Fate::Filtered(format!("{}: forbidden, or no address or port left", nat.name)));
            };
            crossed.push((inner, from, to));
            (realm, from) = (nat.outer, outside);
        }
    }

    /// Enters realms through translators until a host is found.
    pub(crate) fn enter(
        &mut self,
        mut realm: usize,
        protocol: Protocol,
        from: SocketAddr,
        mut to: SocketAddr,
    ) -> Result<(HostId, SocketAddr), Fate> {
        loop {
            if let Some(host) = self.host_in(realm, to) {
                return Ok((host, to));
            }
            let Some(nat) = self.nat_facing(realm, to) else { return Err(Fate::Unreachable) };
            let translator = &mut self.nats[nat];
            let Some(inside) = translator.table.inbound(self.now, protocol, to, from) else {
                return Err(Fate::Filtered(translator.name.clone()));
            };
            (realm, to) = (nat + 1, inside);
        }
    }

    /// Which host a message to this endpoint concerns, whatever filters say.
    pub(crate) fn who_owns(&self, mut realm: usize, protocol: Protocol, mut to: SocketAddr) -> Option<HostId> {
        loop {
            if let Some(host) = self.host_in(realm, to) {
                return Some(host);
            }
            let nat = self.nat_facing(realm, to)?;
            (realm, to) = (nat + 1, self.nats[nat].table.owner_of(protocol, to)?);
        }
    }

    /// Writes into the ladder what became of a message.
    pub(crate) fn saw(
        &mut self,
        from: HostId,
        to: Option<HostId>,
        flow: Flow,
        sent: Instant,
        bytes: &[u8],
        fate: Fate,
    ) {
        let label = (self.log.label)(bytes);
        let (at, bytes) = (self.now, bytes.to_vec());
        self.log.saw(Sighting {
            sent,
            at,
            from,
            to,
            remote: flow.remote,
            transport: flow.transport,
            label,
            bytes,
            fate,
        });
    }

    fn host_in(&self, realm: usize, to: SocketAddr) -> Option<HostId> {
        let at = self.hosts.iter().position(|host| host.realm == realm && host.addresses.contains(&to.ip()))?;
        Some(HostId(at))
    }

    fn nat_facing(&self, realm: usize, to: SocketAddr) -> Option<usize> {
        self.nats.iter().position(|nat| nat.outer == realm && nat.table.owns(to.ip()))
    }
}
