//! What an operator sees of sessions, and does to them.

use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Transport};

use super::Server;
use super::allocation::Allocation;
use crate::ledger::Traffic;

/// An allocation, for those outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId {
    shard: u8,
    slot: u32,
    generation: u32,
}

impl SessionId {
    /// The shard that it lives on.
    pub const fn shard(self) -> u8 {
        self.shard
    }

    /// The number for command lines: unique for weeks.
    pub const fn to_bits(self) -> u64 {
        (self.shard as u64) << 56 | (self.generation as u64 & 0xff_ffff) << 32 | self.slot as u64
    }
}

/// One allocation as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SessionReport {
    /// Its handle.
    pub id: SessionId,
    /// Whose it is.
    pub user: Arc<str>,
    /// Where its client is.
    pub client: Flow,
    /// Its relayed addresses: IPv4, IPv6.
    pub relayed: [Option<SocketAddr>; 2],
    /// Since when.
    pub created: Instant,
    /// When it ends if it is not refreshed.
    pub expires: Instant,
    /// Permissions that last.
    pub permissions: usize,
    /// Channels that last.
    pub channels: usize,
    /// From the client to peers.
    pub sent: Traffic,
    /// From peers to the client.
    pub received: Traffic,
    /// Whether it relays TCP (RFC 6062).
    pub tcp: bool,
}

/// What sessions hold now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Census {
    /// Sessions of clients that came by UDP.
    pub over_udp: usize,
    /// By TCP.
    pub over_tcp: usize,
    /// By TLS.
    pub over_tls: usize,
    /// Permissions that last.
    pub permissions: usize,
    /// Channels that last.
    pub channels: usize,
    /// Where to go on; none at the end.
    pub next: Option<u32>,
}

/// Which sessions to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which<'a> {
    /// One, by [`SessionId::to_bits`].
    Session(u64),
    /// All of a user.
    User(&'a str),
}

impl Server {
    /// All allocations that have been granted.
    pub fn sessions(&self, now: Instant) -> impl Iterator<Item = SessionReport> + '_ {
        let granted = self.allocations.iter().filter(|(_, allocation)| allocation.opening.is_none());
        granted.filter_map(move |(slot, allocation)| {
            let generation = self.allocations.generation(slot)?;
            let (permissions, channels) = allocation.peers.count(now);
            let (sent, received) = allocation.traffic();
            Some(SessionReport {
                id: self.session_id(slot, generation),
                user: allocation.owner.user.clone(),
                client: allocation.client,
                relayed: allocation.leases.map(|lease| Some(self.relays.get(lease?.relay)?.advertised)),
                created: allocation.created,
                expires: allocation.expires(),
                permissions,
                channels,
                sent,
                received,
                tcp: allocation.tcp.is_some(),
            })
        })
    }

    /// What up to `most` of them hold, from slot `from` on. Asked piece by piece, so that no packet waits for long.
    pub fn census(&self, now: Instant, from: u32, most: usize) -> Census {
        let mut census = Census::default();
        let granted = self.allocations.iter().filter(|(slot, it)| *slot >= from && it.opening.is_none());
        for (counted, (slot, allocation)) in granted.enumerate() {
            if counted == most {
                census.next = Some(slot);
                break;
            }
            let (permissions, channels) = allocation.peers.count(now);
            census.permissions += permissions;
            census.channels += channels;
            *match allocation.client.transport {
                Transport::Udp => &mut census.over_udp,
                Transport::Tcp => &mut census.over_tcp,
                _ => &mut census.over_tls,
            } += 1;
        }
        census
    }

    /// How many allocations there are, those included that wait for their sockets.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// How much of everything there is; all zero when everything has ended.
    pub fn residue(&self) -> Residue {
        Residue {
            allocations: self.allocations.len(),
            relays: self.relays.len(),
            reservations: self.reservations.len(),
            connections: self.tcp.len(),
            flows: self.flows.len(),
            timers: self.timers.len(),
        }
    }

    /// Ends sessions; how many. Streams of those clients are closed; clients by UDP learn it from the 437 to their next
    /// request.
    pub fn kick(&mut self, _now: Instant, which: Which<'_>) -> usize {
        let id = |slot: u32| self.allocations.generation(slot).map(|generation| self.session_id(slot, generation));
        let meant = |(slot, allocation): &(u32, &Allocation)| match which {
            Which::Session(bits) => id(*slot).is_some_and(|id| id.to_bits() == bits),
            Which::User(user) => *allocation.owner.user == *user,
        };
        let slots: Vec<u32> = self.allocations.iter().filter(meant).map(|(slot, _)| slot).collect();
        slots.iter().for_each(|slot| self.dismiss(*slot));
        slots.len()
    }

    /// Ends a session and the streams of its client.
    pub(super) fn dismiss(&mut self, slot: u32) {
        let Some(flows) = self.allocations.get(slot).map(|one| one.flows().collect::<Vec<Flow>>()) else { return };
        self.counters.ended += 1;
        self.end(slot);
        flows.into_iter().for_each(|flow| self.close_client(flow));
    }

    fn session_id(&self, slot: u32, generation: u32) -> SessionId {
        SessionId { shard: self.config.shard, slot, generation }
    }
}

/// How much of everything a server holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Residue {
    /// Allocations.
    pub allocations: usize,
    /// Relayed addresses, reserved ones included.
    pub relays: usize,
    /// Reserved ports.
    pub reservations: usize,
    /// Connections to peers (RFC 6062).
    pub connections: usize,
    /// 5-tuples, those of clients on other shards included.
    pub flows: usize,
    /// Timers.
    pub timers: usize,
}
