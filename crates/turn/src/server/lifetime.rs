//! How long things last: lifetimes of allocations (RFC 8656 §7.2, §8.2), the one timer each of them has, and its end.

use std::time::Duration;

use farspeak_sansio::{Flow, Instant};
use farspeak_stun::attribute::{AddressFamily, ErrorCode};

use super::Server;
use super::action::Action;
use super::allocation::{Allocation, Owner, index};
use super::flows::Home;
use super::relay::{Holder, Relay};
use super::slab::Slab;
use super::tcp::{ConnectionId, TcpRelays};

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// An allocation may have expired, or has waited too long for its sockets. Of several, the earliest counts.
    Allocation { slot: u32, generation: u32, at: Instant },
    /// A reserved port was not used (RFC 8656 §7.2).
    Reservation { relay: u32, generation: u32 },
    /// A peer did not answer, or a client did not bind the connection (RFC 6062 §5.2, §5.3).
    Connection(ConnectionId),
}

impl Timer {
    pub(super) fn is_outdated(&self, allocations: &Slab<Allocation>, relays: &Slab<Relay>, tcp: &TcpRelays) -> bool {
        match *self {
            Self::Allocation { slot, generation, at } => {
                !allocations.is_current(slot, generation) || allocations.get(slot).is_none_or(|one| one.armed != at)
            }
            Self::Reservation { relay, generation } => {
                let reserved = relays.get(relay).is_some_and(|relay| matches!(relay.holder, Holder::Token(_)));
                !reserved || !relays.is_current(relay, generation)
            }
            Self::Connection(connection) => !tcp.waits(connection),
        }
    }
}

impl Server {
    /// What a client gets that asks for so many seconds: at least the default, at most the maximum.
    pub(super) fn lifetime(&self, now: Instant, requested: Option<u32>, owner: &Owner) -> Duration {
        let limits = self.config.lifetimes;
        let wanted = requested.map_or(limits.default, |seconds| Duration::from_secs(seconds.into()));
        let granted = wanted.min(limits.max).max(limits.default);
        match owner.expires.filter(|_| self.config.strict_expiry) {
            Some(end) => granted.min(Duration::from_secs(end.saturating_sub(self.unix_now(now)))),
            None => granted,
        }
    }

    /// The deadline of [`Self::poll_timeout`] has come. Early and late calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Allocation { slot, generation, .. } if self.allocations.is_current(slot, generation) => {
                    self.review(now, slot);
                }
                Timer::Reservation { relay, generation } if self.relays.is_current(relay, generation) => {
                    self.reservation_ends(relay);
                }
                Timer::Connection(connection) => self.connection_timed_out(now, connection),
                _ => {}
            }
        }
        let (allocations, relays, tcp) = (&self.allocations, &self.relays, &self.tcp);
        self.timers.prune(|timer| timer.is_outdated(allocations, relays, tcp));
    }

    /// When to call [`Self::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Looks whether an allocation, or one family of it, has expired.
    fn review(&mut self, now: Instant, slot: u32) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        if allocation.armed > now {
            // An older timer, of before a shorter lifetime.
            return;
        }
        allocation.armed = Instant::FAR_FUTURE;
        if let Some(asker) = allocation.opening.as_ref().map(|opening| opening.asker().clone()) {
            self.end(slot);
            return self.fail_with(&asker, ErrorCode::INSUFFICIENT_CAPACITY);
        }
        if allocation.expires() <= now {
            self.counters.expired += 1;
            return self.end(slot);
        }
        let over = |lease: &super::allocation::Lease| lease.expires <= now;
        let expired: Vec<usize> = (0..2).filter(|at| allocation.leases[*at].as_ref().is_some_and(over)).collect();
        for family in expired {
            self.end_family(slot, family);
        }
        if let Some(at) = self.allocations.get(slot).map(Allocation::next_expiry) {
            self.arm_allocation(now, slot, at);
        }
    }

    /// Takes one family from a dual allocation, with its permissions and channels (RFC 8656 §8.1), and connections.
    pub(super) fn end_family(&mut self, slot: u32, family: usize) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let Some(lease) = allocation.leases[family].take() else { return };
        self.end_connections_of(slot, family == index(AddressFamily::V6));
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let keep = move |v6: bool| usize::from(v6) != family;
        allocation.peers.retain(|ip| keep(ip.is_ipv6()), |peer| keep(peer.is_ipv6()));
        self.release_relay(lease.relay);
    }

    /// Ends an allocation: everything of it is gone afterwards.
    pub(super) fn end(&mut self, slot: u32) {
        self.end_connections(slot);
        self.book(slot);
        let Some(mut allocation) = self.allocations.remove(slot) else { return };
        let reserved = allocation.opening.as_ref().and_then(|opening| opening.reserved);
        if let (Some(relay), Some(token)) = (reserved, allocation.token) {
            // Nobody has been told of it.
            self.reservations.forget(token);
            self.release_relay(relay);
        }
        for lease in allocation.leases.iter_mut().filter_map(Option::take) {
            self.release_relay(lease.relay);
        }
        for flow in allocation.flows() {
            if self.flows.get(&flow) == Some(Home::Here(slot)) {
                self.flows.remove(&flow);
            }
        }
        self.ledger.leave(&allocation.owner.user, allocation.source);
        let (allocations, relays, tcp) = (&self.allocations, &self.relays, &self.tcp);
        self.timers.prune(|timer| timer.is_outdated(allocations, relays, tcp));
    }

    /// Tells the ledger what has been relayed since it was told last.
    pub(super) fn book(&mut self, slot: u32) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let (sent, received) = allocation.booked;
        allocation.booked = allocation.traffic();
        let (sent, received) = (allocation.booked.0.since(sent), allocation.booked.1.since(received));
        self.ledger.relayed(&allocation.owner.user, sent, received);
    }

    /// Whether a client has an allocation, here or on another shard: a driver that is short of connections need not keep those of
    /// others.
    pub fn serves(&self, client: &Flow) -> bool {
        self.flows.get(client).is_some()
    }

    /// A client's stream has ended, or its flow failed.
    ///
    /// Its allocation ends, unless it is one that may move (RFC 8016): that one waits for its client until it expires. Of
    /// datagrams nothing is believed: anybody can forge the ICMP error behind such news.
    pub fn handle_client_gone(&mut self, _now: Instant, client: Flow) {
        if !client.transport.is_reliable() {
            return;
        }
        self.data_connection_gone(&client);
        let Some(home) = self.flows.get(&client) else { return };
        let Home::Here(slot) = home else { return self.flows.remove(&client) };
        if self.lose(slot, &client) {
            return;
        }
        self.counters.ended += 1;
        self.end(slot);
    }

    /// Has a client's stream closed.
    pub(super) fn close_client(&mut self, flow: Flow) {
        if flow.transport.is_reliable() {
            self.actions.push_back(Action::CloseClient(flow));
        }
    }
}
