//! What strangers get at most: so many answers per source prefix, and each no longer than 2.5 times its request.
//!
//! Servers (Binding, TURN's challenges) ask before they answer anybody who has not proved to be there. The table is
//! of fixed size.

use std::net::IpAddr;
use std::time::Duration;

use farspeak_sansio::{Instant, Rng, SplitMix64};

/// Answers to strangers per source prefix. Enough for everybody behind a carrier's NAT; for the victim of forged
/// requests, a trickle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Answers per second, in the long run; at least 1. Default 200.
    pub per_second: u32,
    /// Answers at once. Default 400.
    pub burst: u32,
    /// Bits of an IPv4 address that make a prefix, 1–32. Default 24.
    pub v4_prefix: u8,
    /// Bits of an IPv6 address that make a prefix, 1–64. Default 56: what one customer usually has.
    pub v6_prefix: u8,
    /// How many prefixes are remembered, 16 bytes each; rounded up to a power of two. Default 4096. If there are
    /// more, those that have used least of their share are forgotten first, which gives them a new one.
    pub prefixes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_second: 200, burst: 400, v4_prefix: 24, v6_prefix: 56, prefixes: 4096 }
    }
}

/// Counts answers per source prefix by the generic cell rate algorithm (ITU-T I.371): of each prefix, one number.
///
/// A prefix that has used its share gets nothing until time has given it some back. One per shard.
#[derive(Clone, Debug)]
pub struct RateLimit {
    limits: Limits,
    interval: Duration,
    tolerance: Duration,
    secret: u64,
    cells: Box<[Cell]>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Cell {
    prefix: u64,
    /// When the prefix will have its full share again; a cell whose time has passed is as good as empty.
    full: Instant,
}

/// Cells in which a prefix may stand.
const WAYS: usize = 4;

impl RateLimit {
    /// An empty table. `seed` makes it unpredictable which prefixes share a place: random and secret in production.
    pub fn new(limits: Limits, seed: u64) -> Self {
        let interval = Duration::from_secs(1) / limits.per_second.max(1);
        let cells = limits.prefixes.clamp(WAYS, 1 << 24).next_power_of_two();
        Self {
            limits,
            interval,
            tolerance: interval * limits.burst.max(1),
            secret: SplitMix64::new(seed).next_u64(),
            cells: vec![Cell::default(); cells].into(),
        }
    }

    /// Whether one more answer may go to this address; counts it if so.
    pub fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        let prefix = self.prefix(source);
        // Not to be foreseen by whoever would like to push a prefix out of the table.
        let hash = SplitMix64::new(prefix ^ self.secret).next_u64();
        let sets = self.cells.len() / WAYS;
        let first = (hash as usize & (sets - 1)) * WAYS;
        let set = &mut self.cells[first..first + WAYS];
        let at = match set.iter().position(|cell| cell.prefix == prefix && cell.full > now) {
            Some(at) => at,
            None => {
                let emptiest = (0..WAYS).min_by_key(|at| set[*at].full).expect("there are four");
                set[emptiest] = Cell { prefix, full: now };
                emptiest
            }
        };
        let full = set[at].full.max(now) + self.interval;
        if full - now > self.tolerance {
            return false;
        }
        set[at].full = full;
        true
    }

    /// The family and the first bits.
    fn prefix(&self, source: IpAddr) -> u64 {
        match source.to_canonical() {
            IpAddr::V4(ip) => {
                let bits = u32::from(self.limits.v4_prefix.clamp(1, 32));
                1 << 32 | u64::from(ip.to_bits() >> (32 - bits))
            }
            IpAddr::V6(ip) => {
                let bits = u32::from(self.limits.v6_prefix.clamp(1, 64));
                // No global address begins with zeros, so none looks like an IPv4 prefix.
                (ip.to_bits() >> 64) as u64 >> (64 - bits) << (64 - bits)
            }
        }
    }
}

/// How many bytes an answer to a stranger's datagram may have: 2.5 times the request, IP and UDP headers counted on
/// both. A v4-mapped address is a socket's name for what travels as IPv4.
pub fn longest_answer(request: usize, stranger: IpAddr) -> usize {
    let headers = if stranger.to_canonical().is_ipv4() { 28 } else { 48 };
    (request + headers) * 5 / 2 - headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> RateLimit {
        RateLimit::new(Limits { per_second: 10, burst: 20, ..Limits::default() }, 1)
    }

    #[test]
    fn a_prefix_gets_its_burst_and_then_its_rate() {
        let mut limit = limit();
        let admitted =
            |limit: &mut RateLimit, now| (0..100).filter(|n| limit.admit(now, [192, 0, 2, *n].into())).count();
        assert_eq!(admitted(&mut limit, Instant::ZERO), 20);
        assert_eq!(admitted(&mut limit, Instant::ZERO + Duration::from_secs(1)), 10);
        assert_eq!(admitted(&mut limit, Instant::ZERO + Duration::from_secs(60)), 20);
        assert!(limit.admit(Instant::ZERO + Duration::from_secs(60), [192, 0, 3, 1].into()));
    }

    #[test]
    fn the_longest_answer_counts_the_headers_that_travel() {
        for (stranger, request, longest) in [
            ("192.0.2.1", 20, 92),
            ("2001:db8::1", 20, 122),
            ("::ffff:192.0.2.1", 20, 92),
            ("192.0.2.1", 21, 94),
            ("192.0.2.1", 0, 42),
        ] {
            assert_eq!(longest_answer(request, stranger.parse().unwrap()), longest, "{request} from {stranger}");
        }
    }

    #[test]
    fn never_grows_and_a_flood_of_prefixes_does_not_free_a_busy_one() {
        let mut limit = limit();
        let victim = [198, 51, 100, 1].into();
        while limit.admit(Instant::ZERO, victim) {}
        for n in 0..100_000_u32 {
            limit.admit(Instant::ZERO, IpAddr::V4((0x0a00_0000 + n * 256).into()));
        }
        assert_eq!(limit.cells.len(), 4096);
        assert!(!limit.admit(Instant::ZERO, victim));
    }
}
