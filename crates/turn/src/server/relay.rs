//! Relayed addresses: where they are taken from, who has them, and how they come back.

use std::net::SocketAddr;

use farspeak_sansio::{RelayId, Rng};
use farspeak_stun::attribute::AddressFamily;

use super::action::Action;
use super::config::{RelayAddress, ServerConfig};
use super::ports::{Parity, Ports};
use super::{Server, Verdict};
use crate::policy::{PeerPolicy, Refused};

/// One of the server's relay addresses.
pub(super) struct Address {
    pub(super) relay: RelayAddress,
    pub(super) ports: Ports,
    /// Whether new relayed addresses are taken from it; not if a new configuration no longer names it.
    pub(super) current: bool,
}

impl Address {
    pub(super) fn new(relay: RelayAddress, config: &ServerConfig) -> Self {
        let ports = Ports::new(&config.ports, |port| config.shard_of(port) == config.shard);
        Self { relay, ports, current: true }
    }

    /// Whether relayed addresses are on it, or may come to be.
    #[inline]
    fn is_used(&self) -> bool {
        self.current || !self.ports.is_idle()
    }

    fn is(&self, family: AddressFamily) -> bool {
        let (bind, advertised) = (AddressFamily::from(self.relay.bind), AddressFamily::from(self.relay.advertised));
        self.current && bind == family && advertised == family
    }
}

/// A relayed transport address and who has it.
#[derive(Debug)]
pub(super) struct Relay {
    address: usize,
    /// What peers see.
    pub(super) advertised: SocketAddr,
    pub(super) holder: Holder,
    /// Whether the driver has told that the socket is there.
    pub(super) open: bool,
}

/// Who has a relayed address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// The allocation in this slot.
    Allocation(u32),
    /// Nobody yet: reserved (RFC 8656 §7.2).
    Token([u8; 8]),
}

/// What peers may never be: addresses of this host.
pub(super) fn policy(config: &ServerConfig) -> PeerPolicy {
    let mut policy = config.policy.clone();
    policy.own.extend(&config.own_addresses);
    for relay in &config.relays {
        policy.own.extend([relay.bind, relay.advertised]);
    }
    for pair in &config.alternates {
        policy.own.extend([pair.primary.ip(), pair.other.ip()]);
    }
    policy.own.sort_unstable();
    policy.own.dedup();
    policy
}

/// Where a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Somewhere else: data leaves through a socket.
    Outside,
    /// A relayed address of this server: data is joined inside.
    Inside {
        /// The shard that owns the port.
        shard: u8,
    },
}

impl Server {
    /// Whether relayed addresses of this family can be had at all.
    pub(super) fn relays_family(&self, family: AddressFamily) -> bool {
        self.addresses.iter().any(|address| address.is(family))
    }

    /// Takes a free port of this family for `holder`; with [`Parity::Pair`], the caller takes the next one as well.
    pub(super) fn take_relay(&mut self, family: AddressFamily, parity: Parity, holder: Holder) -> Option<u32> {
        let fits = |address: &&Address| address.is(family) && address.ports.free() > 0;
        let count = self.addresses.iter().filter(fits).count();
        let first = self.rng.below(count as u64) as usize;
        // Where a port of this parity is left; the search begins at a random address.
        let order = (0..self.addresses.len()).filter(|at| fits(&&self.addresses[*at]));
        let order: Vec<usize> = order.clone().skip(first).chain(order.take(first)).collect();
        let rng: &mut dyn Rng = &mut *self.rng;
        let chosen = order.into_iter().find_map(|at| Some((at, self.addresses[at].ports.choose(parity, rng)?)));
        let (address, port) = chosen?;
        Some(self.take_port(address, port, holder))
    }

    /// Takes the port after this relay's, which was free a moment ago.
    pub(super) fn take_next(&mut self, relay: u32, holder: Holder) -> Option<u32> {
        let relay = self.relays.get(relay)?;
        let (address, port) = (relay.address, relay.advertised.port() + 1);
        Some(self.take_port(address, port, holder))
    }

    fn take_port(&mut self, address: usize, port: u16, holder: Holder) -> u32 {
        let advertised = SocketAddr::new(self.addresses[address].relay.advertised, port);
        let (slot, _) = self.relays.insert(Relay { address, advertised, holder, open: false });
        self.addresses[address].ports.take(port, slot);
        slot
    }

    /// Asks the driver for the relay's socket.
    pub(super) fn open_relay(&mut self, slot: u32, tcp: bool) {
        let Some((relay, id)) = self.relays.get(slot).zip(self.relay_id(slot)) else { return };
        let bind = self.addresses[relay.address].relay.bind;
        let address = SocketAddr::new(bind, relay.advertised.port());
        self.actions.push_back(if tcp {
            Action::Listen { relay: id, address }
        } else {
            Action::Open { relay: id, address, dont_fragment_capable: self.config.dont_fragment }
        });
    }

    /// Gives a relayed address back and has its socket closed.
    pub(super) fn release_relay(&mut self, slot: u32) {
        let Some(id) = self.relay_id(slot) else { return };
        let Some(relay) = self.relays.remove(slot) else { return };
        self.addresses[relay.address].ports.release(relay.advertised.port());
        self.actions.push_back(Action::Close { relay: id });
        if !self.addresses[relay.address].is_used() {
            self.judge_again(); // it was reached because it was ours
        }
    }

    pub(super) fn relay_id(&self, slot: u32) -> Option<RelayId> {
        Some(RelayId::new(slot, self.relays.generation(slot)?))
    }

    /// Our end of connections that leave from a relay.
    pub(super) fn bound_address(&self, slot: u32) -> Option<SocketAddr> {
        let relay = self.relays.get(slot)?;
        Some(SocketAddr::new(self.addresses[relay.address].relay.bind, relay.advertised.port()))
    }

    /// The relay that a driver means, unless it has been closed since.
    #[inline]
    pub(super) fn relay_of(&self, id: RelayId) -> Option<&Relay> {
        let slot = id.slot();
        self.relays.get(slot).filter(|_| self.relays.is_current(slot, id.generation()))
    }

    /// The relay of this shard that has this relayed address.
    #[inline]
    pub(super) fn relay_at(&self, address: SocketAddr) -> Option<u32> {
        let mut on = self.addresses.iter().filter(|own| own.relay.advertised == address.ip());
        on.find_map(|own| own.ports.relay(address.port()))
    }

    /// Whether an address is one of those that relayed addresses are on.
    #[inline]
    pub(super) fn is_relay_ip(&self, ip: std::net::IpAddr) -> bool {
        self.addresses.iter().any(|own| own.relay.advertised == ip && own.is_used())
    }

    /// Where a peer in canonical form is. Ports of our own that are none of the relays' are another matter: they fail
    /// the policy.
    #[inline]
    pub(super) fn place(&self, peer: SocketAddr) -> Place {
        let is_on =
            |own: &Address| own.relay.advertised == peer.ip() && own.ports.contains(peer.port()) && own.is_used();
        if self.addresses.iter().any(is_on) {
            Place::Inside { shard: self.config.shard_of(peer.port()) }
        } else {
            Place::Outside
        }
    }

    /// Whether a peer may be reached: a relayed address of this server, or what the policy lets pass.
    pub(super) fn judge(&self, peer: SocketAddr) -> Result<SocketAddr, Refused> {
        let canonical = SocketAddr::new(crate::policy::canonical(peer.ip()), peer.port());
        match self.place(canonical) {
            Place::Inside { .. } => Ok(canonical),
            Place::Outside => self.policy.judge(peer),
        }
    }

    /// The same for a permission, which has no port.
    pub(super) fn judge_ip(&self, peer: std::net::IpAddr) -> Result<std::net::IpAddr, Refused> {
        let canonical = crate::policy::canonical(peer);
        if self.is_relay_ip(canonical) { Ok(canonical) } else { self.policy.judge_ip(peer) }
    }

    /// Takes over the relay addresses of a new configuration.
    pub(super) fn readdress(&mut self) {
        for address in &mut self.addresses {
            address.current = self.config.relays.contains(&address.relay);
        }
        for relay in &self.config.relays {
            if !self.addresses.iter().any(|known| known.relay == *relay) {
                let new = Address::new(*relay, &self.config);
                // One that is gone with the last of its allocations makes room.
                match self.addresses.iter_mut().find(|old| !old.is_used()) {
                    Some(old) => *old = new,
                    None => self.addresses.push(new),
                }
            }
        }
    }

    /// Ends permissions, channels and connections to peers that may no longer be reached.
    pub(super) fn judge_again(&mut self) {
        let slots: Vec<u32> = self.allocations.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(allocation) = self.allocations.get_mut(slot) else { continue };
            let mut peers = std::mem::take(&mut allocation.peers);
            peers.retain(|ip| self.judge_ip(ip).is_ok(), |peer| self.judge(peer).is_ok());
            if let Some(allocation) = self.allocations.get_mut(slot) {
                allocation.peers = peers;
            }
        }
        self.judge_connections();
    }

    /// Drops a packet that may not pass.
    pub(super) fn unpermitted(&mut self) -> Verdict {
        self.counters.unpermitted += 1;
        Verdict::Nothing
    }
}
