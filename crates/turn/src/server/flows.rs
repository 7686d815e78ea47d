//! From a client's 5-tuple to its allocation: the one lookup of every packet from a client.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use farspeak_sansio::{Flow, FlowId, Instant, Rng};

use super::hash::Keyed;

/// A 5-tuple (RFC 8656 §6). Datagrams are told apart by their addresses alone, streams by the driver's handle as well, so
/// that the end of an old connection cannot be taken for the end of a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tuple(Flow);

impl Tuple {
    fn of(flow: &Flow) -> Self {
        let id = if flow.transport.is_reliable() { flow.id } else { FlowId::UNBOUND };
        Self(Flow { id, ..*flow })
    }
}

/// Whether two flows are one 5-tuple, though perhaps by two sockets of ours.
pub(super) fn is_same(one: &Flow, other: &Flow) -> bool {
    Tuple::of(one) == Tuple::of(other)
}

impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Clients differ in where they come from; few differ in the rest alone.
        match self.0.remote.ip() {
            std::net::IpAddr::V4(ip) => state.write_u64(ip.to_bits().into()),
            std::net::IpAddr::V6(ip) => state.write_u128(ip.to_bits()),
        }
        let ports = u64::from(self.0.remote.port()) << 16 | u64::from(self.0.local.port());
        state.write_u64(ports ^ self.0.id.to_bits().rotate_left(32));
    }
}

/// Where the client behind a 5-tuple has its allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// In this slot of this shard.
    Here(u32),
    /// On this shard; remembered until then.
    Shard(u8, Instant),
}

/// All 5-tuples that are known.
pub(super) struct Flows {
    homes: HashMap<Tuple, Home, Keyed>,
    /// How many of them are on other shards.
    away: usize,
    /// No one of those is forgotten before.
    earliest: Instant,
}

impl Flows {
    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self { homes: HashMap::with_hasher(Keyed::random(rng)), away: 0, earliest: Instant::FAR_FUTURE }
    }

    #[inline]
    pub(super) fn get(&self, flow: &Flow) -> Option<Home> {
        self.homes.get(&Tuple::of(flow)).copied()
    }

    pub(super) fn insert(&mut self, flow: &Flow, slot: u32) {
        self.put(flow, Home::Here(slot));
    }

    /// Remembers that a flow's packets belong to another shard, unless as many as `most` are remembered.
    pub(super) fn hand_over(&mut self, now: Instant, flow: &Flow, shard: u8, until: Instant, most: usize) -> bool {
        if self.away >= most && self.earliest <= now {
            self.homes.retain(|_, home| !matches!(home, Home::Shard(_, until) if *until <= now));
            let ends = |home: &Home| if let Home::Shard(_, until) = home { Some(*until) } else { None };
            self.away = self.homes.values().filter_map(ends).count();
            self.earliest = self.homes.values().filter_map(ends).min().unwrap_or(Instant::FAR_FUTURE);
        }
        let room = self.away < most || matches!(self.get(flow), Some(Home::Shard(..)));
        if room {
            self.earliest = self.earliest.min(until);
            self.put(flow, Home::Shard(shard, until));
        }
        room
    }

    pub(super) fn remove(&mut self, flow: &Flow) {
        if let Some(Home::Shard(..)) = self.homes.remove(&Tuple::of(flow)) {
            self.away -= 1;
        }
        // A table that was large once does not stay so.
        if self.homes.capacity() > 256 && self.homes.len() < self.homes.capacity() / 8 {
            self.homes.shrink_to(self.homes.len() * 2);
        }
    }

    fn put(&mut self, flow: &Flow, home: Home) {
        let old = self.homes.insert(Tuple::of(flow), home);
        self.away += usize::from(matches!(home, Home::Shard(..)));
        self.away -= usize::from(matches!(old, Some(Home::Shard(..))));
    }

    /// How many flows are known.
    pub(super) fn len(&self) -> usize {
        self.homes.len()
    }
}
