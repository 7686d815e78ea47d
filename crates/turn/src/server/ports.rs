//! The ports of one relay address: which are free, and whose the others are.

use std::ops::RangeInclusive;

use farspeak_sansio::Rng;

/// Which relay has which port; only ports of this shard are given out.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    /// For each port from `first`: [`FREE`], [`FOREIGN`], or a relay's slot.
    relays: Box<[u32]>,
    free: usize,
    owned: usize,
}

const FREE: u32 = u32::MAX;
/// Another shard's.
const FOREIGN: u32 = u32::MAX - 1;

/// What a port is wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parity {
    /// Any port will do.
    Any,
    /// An even one (EVEN-PORT, RFC 8656 §7.2).
    Even,
    /// An even one whose successor is free as well (with its R bit).
    Pair,
}

impl Ports {
    pub(super) fn new(range: &RangeInclusive<u16>, owned: impl Fn(u16) -> bool) -> Self {
        let relays: Box<[u32]> =
            range.clone().map(|port| if port > 0 && owned(port) { FREE } else { FOREIGN }).collect();
        let free = relays.iter().filter(|relay| **relay == FREE).count();
        Self { first: *range.start(), relays, free, owned: free }
    }

    /// A free port; the search begins at a random one (RFC 6056 §3.3.1).
    pub(super) fn choose(&self, parity: Parity, rng: &mut dyn Rng) -> Option<u16> {
        if self.free == 0 {
            return None;
        }
        let count = self.relays.len();
        let start = rng.below(count as u64) as usize;
        let fits = |at: &usize| {
            let even = (usize::from(self.first) + at).is_multiple_of(2);
            let next_free = || self.relays.get(at + 1) == Some(&FREE);
            self.relays[*at] == FREE
                && match parity {
                    Parity::Any => true,
                    Parity::Even => even,
                    Parity::Pair => even && next_free(),
                }
        };
        let found = (start..count).chain(0..start).find(fits)?;
        // `first + found` is in the range that this was made of.
        Some(self.first + found as u16)
    }

    /// Gives a free port to a relay.
    pub(super) fn take(&mut self, port: u16, relay: u32) {
        if let Some(owner) = self.at(port)
            && *owner == FREE
        {
            *owner = relay;
            self.free -= 1;
        }
    }

    pub(super) fn release(&mut self, port: u16) {
        if let Some(owner) = self.at(port)
            && *owner < FOREIGN
        {
            *owner = FREE;
            self.free += 1;
        }
    }

    /// The relay that has this port.
    #[inline]
    pub(super) fn relay(&self, port: u16) -> Option<u32> {
        let relay = self.relays.get(usize::from(port.checked_sub(self.first)?))?;
        Some(*relay).filter(|relay| *relay < FOREIGN)
    }

    /// Whether a port is in the range, whoever has it.
    pub(super) fn contains(&self, port: u16) -> bool {
        port.checked_sub(self.first).is_some_and(|at| usize::from(at) < self.relays.len())
    }

    pub(super) const fn free(&self) -> usize {
        self.free
    }

    /// Whether nobody has any.
    pub(super) const fn is_idle(&self) -> bool {
        self.free == self.owned
    }

    fn at(&mut self, port: u16) -> Option<&mut u32> {
        self.relays.get_mut(usize::from(port.checked_sub(self.first)?))
    }
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;

    use super::*;

    #[test]
    fn gives_out_every_port_of_its_own_once() {
        let mut rng = SplitMix64::new(1);
        let mut ports = Ports::new(&(50_000..=50_019), |port| (port / 2) % 2 == 0);
        let mut given = Vec::new();
        while let Some(port) = ports.choose(Parity::Any, &mut rng) {
            ports.take(port, given.len() as u32);
            given.push(port);
        }
        assert_eq!((given.len(), ports.free()), (10, 0));
        assert!(given.iter().all(|port| (port / 2) % 2 == 0));
        assert_eq!(ports.relay(given[3]), Some(3));
        ports.release(given[3]);
        ports.release(given[3]);
        assert_eq!(ports.relay(given[3]), None);
        assert_eq!((ports.choose(Parity::Any, &mut rng), ports.free()), (Some(given[3]), 1));
    }

    #[test]
    fn finds_the_only_pair() {
        let mut rng = SplitMix64::new(1);
        let mut ports = Ports::new(&(50_001..=50_010), |_| true);
        for port in [50_002, 50_005, 50_008, 50_007] {
            ports.take(port, 1);
        }
        assert_eq!(ports.choose(Parity::Pair, &mut rng), None);
        assert!(ports.choose(Parity::Even, &mut rng).is_some_and(|port| port % 2 == 0));
        ports.release(50_007);
        assert_eq!(ports.choose(Parity::Pair, &mut rng), Some(50_006));
    }
}
