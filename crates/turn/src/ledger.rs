//! What all shards count together: allocations per user and per source prefix, traffic per user.
//!
//! A mutex inside, touched only when allocations come, are refreshed and go; never for a packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts that all shards of a server share.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<Arc<str>, Usage>,
    sources: HashMap<u64, u32>,
    /// How many of [`Self::users`] have no allocation.
    idle: usize,
}

/// How many users without an allocation are remembered; beyond that, the half that has relayed least is forgotten.
const MOST_IDLE: usize = 65_536;

/// What one user has, and has had.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Allocations now.
    pub allocations: u32,
    /// Allocations ever.
    pub total_allocations: u64,
    /// From clients to peers.
    pub sent: Traffic,
    /// From peers to clients.
    pub received: Traffic,
}

/// Payload that was relayed. Of streams (RFC 6062) bytes alone are counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Datagrams.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Traffic {
    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self { packets: self.packets - earlier.packets, bytes: self.bytes - earlier.bytes }
    }

    fn add(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

/// A bound that is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// The user has as many allocations as allowed.
    User,
    /// The source prefix has.
    Source,
}

/// The prefix that a source is counted by: an IPv4 address, or the first 56 bits of an IPv6 address.
pub fn source_prefix(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(ip) => 1 << 32 | u64::from(ip.to_bits()),
        // No global address begins with zeros, so none looks like an IPv4 address.
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 & !0xff,
    }
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more allocation, if both have room.
    pub fn enter(&self, user: &Arc<str>, source: u64, per_user: u32, per_source: u32) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.sources.get(&source).copied().unwrap_or(0) >= per_source {
            return Err(Full::Source);
        }
        let known = inner.users.get(user).copied();
        if known.unwrap_or_default().allocations >= per_user {
            return Err(Full::User);
        }
        inner.idle -= usize::from(known.is_some_and(|usage| usage.allocations == 0));
        *inner.sources.entry(source).or_default() += 1;
        let usage = inner.users.entry(user.clone()).or_default();
        usage.allocations += 1;
        usage.total_allocations += 1;
        Ok(())
    }

    /// Counts one allocation less.
    pub fn leave(&self, user: &Arc<str>, source: u64) {
        let mut inner = self.lock();
        if let Some(count) = inner.sources.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inner.sources.remove(&source);
            }
        }
        let Some(usage) = inner.users.get_mut(user) else { return };
        usage.allocations = usage.allocations.saturating_sub(1);
        inner.idle += usize::from(usage.allocations == 0);
        if inner.idle > MOST_IDLE {
            inner.forget_idle();
        }
    }

    /// Adds what has been relayed for a user.
    pub fn relayed(&self, user: &Arc<str>, sent: Traffic, received: Traffic) {
        if let Some(usage) = self.lock().users.get_mut(user) {
            usage.sent.add(sent);
            usage.received.add(received);
        }
    }

    /// What a user has and has had; zeros if unknown.
    pub fn usage(&self, user: &str) -> Usage {
        self.lock().users.get(user).copied().unwrap_or_default()
    }

    /// All users with an allocation, and the last of those who had one.
    pub fn users(&self) -> Vec<(Arc<str>, Usage)> {
        self.lock().users.iter().map(|(user, usage)| (user.clone(), *usage)).collect()
    }

    /// How many source prefixes have an allocation.
    pub fn sources(&self) -> usize {
        self.lock().sources.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held; and if it did, counts are still counts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_idle(&mut self) {
        let relayed = |usage: &Usage| usage.sent.bytes + usage.received.bytes;
        let mut idle: Vec<u64> = self.users.values().filter(|usage| usage.allocations == 0).map(relayed).collect();
        let (_, median, _) = idle.select_nth_unstable(MOST_IDLE / 2);
        let (median, mut surplus) = (*median, MOST_IDLE / 2);
        self.users.retain(|_, usage| {
            let forget = usage.allocations == 0 && relayed(usage) <= median && surplus > 0;
            surplus -= usize::from(forget);
            !forget
        });
        self.idle = self.users.values().filter(|usage| usage.allocations == 0).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_users_and_sources() {
        let ledger = Ledger::new();
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        assert_eq!(ledger.enter(&alice, 1, 2, 3), Ok(()));
        assert_eq!(ledger.enter(&alice, 1, 2, 3), Ok(()));
        assert_eq!(ledger.enter(&alice, 1, 2, 3), Err(Full::User));
        assert_eq!(ledger.enter(&bob, 1, 2, 3), Ok(()));
        assert_eq!(ledger.enter(&bob, 1, 2, 3), Err(Full::Source));
        ledger.leave(&alice, 1);
        assert_eq!(ledger.enter(&alice, 1, 2, 3), Ok(()));
        for user in [&alice, &alice, &bob] {
            ledger.leave(user, 1);
        }
        assert_eq!((ledger.sources(), ledger.usage("alice").allocations), (0, 0));
        assert_eq!(ledger.usage("alice").total_allocations, 3);
    }

    #[test]
    fn never_remembers_more_idle_users_than_it_may() {
        let ledger = Ledger::new();
        for number in 0..MOST_IDLE * 2 {
            let user: Arc<str> = number.to_string().into();
            ledger.enter(&user, 1, 1, 1).unwrap();
            ledger.relayed(&user, Traffic { packets: 1, bytes: number as u64 }, Traffic::default());
            ledger.leave(&user, 1);
        }
        let users = ledger.users();
        assert!(users.len() <= MOST_IDLE, "{}", users.len());
        assert!(users.iter().any(|(user, _)| **user == *(MOST_IDLE * 2 - 1).to_string()));
        let inner = ledger.lock();
        assert_eq!(inner.idle, inner.users.len());
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_what_an_ipv6_customer_has() {
        let prefix = |ip: &str| source_prefix(ip.parse().unwrap());
        assert_eq!(prefix("::ffff:192.0.2.1"), prefix("192.0.2.1"));
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
        assert_eq!(prefix("2001:db8:1:2ff::1"), prefix("2001:db8:1:200:ffff::"));
        assert_ne!(prefix("2001:db8:1:2ff::1"), prefix("2001:db8:1:3ff::1"));
    }
}
