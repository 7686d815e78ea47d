//! What the TCP connections of one allocation carry (RFC 6062): told by whoever moves their bytes, on whichever thread.
//!
//! A stream cannot be dropped from, as datagrams are when the bandwidth is used up: it is made to wait. So the driver asks
//! how much it may move, and tells how much it has moved; both take no lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use farspeak_sansio::Instant;

use super::bandwidth::Rate;
use crate::ledger::Traffic;

/// Counts, and paces, the bytes of all connections of one allocation, both directions together.
#[derive(Debug, Default)]
pub struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    /// When the bucket will be full again ([`super::bandwidth`]), in nanoseconds.
    full: AtomicU64,
    picos_per_byte: AtomicU64,
    burst_nanos: AtomicU64,
}

/// Nobody is woken for less: what one TLS record holds.
const LEAST: u64 = 16 << 10;

impl Meter {
    pub(super) fn new(rate: Rate) -> Self {
        let meter = Self::default();
        meter.set(rate);
        meter
    }

    /// Another rate, from now on.
    pub(super) fn set(&self, rate: Rate) {
        self.picos_per_byte.store(rate.picos_per_byte, Relaxed);
        self.burst_nanos.store(nanos(rate.burst), Relaxed);
    }

    /// How many bytes may be moved now, at least 16 KiB; `Err`: none before then. More that are moved are owed.
    pub fn room(&self, now: Instant) -> Result<usize, Instant> {
        let picos = self.picos_per_byte.load(Relaxed);
        if picos == 0 {
            return Ok(usize::MAX);
        }
        let burst = self.burst_nanos.load(Relaxed);
        let bytes = |nanos: u64| (u128::from(nanos) * 1000 / u128::from(picos)) as u64;
        let full = self.full.load(Relaxed);
        let owed = full.saturating_sub(now.as_nanos());
        let room = bytes(burst.saturating_sub(owed));
        if room >= LEAST || owed == 0 {
            return Ok(usize::try_from(room.max(LEAST)).unwrap_or(usize::MAX));
        }
        // What is longer than the burst waits for a full bucket.
        let lead = burst.saturating_sub(cost(LEAST, picos));
        Err(Instant::from_nanos(full.saturating_sub(lead)))
    }

    /// So many bytes have been moved, from the client to a peer and back.
    pub fn moved(&self, now: Instant, to_peer: usize, to_client: usize) {
        self.sent.fetch_add(to_peer as u64, Relaxed);
        self.received.fetch_add(to_client as u64, Relaxed);
        let cost = cost((to_peer as u64).saturating_add(to_client as u64), self.picos_per_byte.load(Relaxed));
        if cost > 0 {
            let later = |full: u64| Some(full.max(now.as_nanos()).saturating_add(cost));
            let _ = self.full.fetch_update(Relaxed, Relaxed, later); // never refused
        }
    }

    /// From the client, and to it. Streams have no packets.
    pub(super) fn traffic(&self) -> (Traffic, Traffic) {
        let traffic = |bytes: &AtomicU64| Traffic { packets: 0, bytes: bytes.load(Relaxed) };
        (traffic(&self.sent), traffic(&self.received))
    }
}

fn cost(bytes: u64, picos_per_byte: u64) -> u64 {
    bytes.saturating_mul(picos_per_byte).div_ceil(1000)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::config::Quotas;
    use super::*;

    /// What passes in so many seconds if as much is moved as may be, and how often the mover is woken.
    fn passes(meter: &Meter, start: Instant, seconds: u64) -> (usize, usize) {
        let (mut now, mut total, mut waits) = (start, 0, 0);
        while now < start + Duration::from_secs(seconds) {
            match meter.room(now) {
                Ok(room) => {
                    let length = room.min(100_000);
                    meter.moved(now, length / 2, length - length / 2);
                    total += length;
                }
                Err(until) => {
                    assert!(until > now, "it would be asked for ever");
                    (now, waits) = (until, waits + 1);
                }
            }
        }
        (total, waits)
    }

    #[test]
    fn passes_its_burst_and_then_its_rate_in_pieces_that_are_worth_waking_for() {
        for bandwidth in [3_000, 1_000_000, 25_000_000] {
            let meter = Meter::new(Rate::of(&Quotas { bandwidth: Some(bandwidth), ..Quotas::default() }));
            let start = Instant::ZERO + Duration::from_secs(7);
            let (total, waits) = passes(&meter, start, 20);
            let expected = 21 * bandwidth as usize;
            assert!(total.abs_diff(expected) <= expected / 100 + 100_000, "{total} of {expected}");
            assert!(waits <= 1 + 20 * bandwidth as usize / LEAST as usize, "{waits}");
            let (sent, received) = meter.traffic();
            assert_eq!(sent.bytes + received.bytes, total as u64);
        }
    }

    #[test]
    fn a_debt_is_paid_before_anything_passes_again() {
        let meter = Meter::new(Rate::of(&Quotas { bandwidth: Some(1000), ..Quotas::default() }));
        meter.moved(Instant::ZERO, 0, 60_000);
        let until = meter.room(Instant::ZERO).unwrap_err();
        assert_eq!(until, Instant::ZERO + Duration::from_secs(60));
        assert!(meter.room(until).is_ok());
    }

    #[test]
    fn without_a_bound_everything_passes_and_is_counted() {
        let meter = Meter::new(Rate::of(&Quotas { bandwidth: None, ..Quotas::default() }));
        meter.moved(Instant::ZERO, 3, 4);
        assert_eq!(meter.room(Instant::ZERO), Ok(usize::MAX));
        assert_eq!((meter.traffic().0.bytes, meter.traffic().1.bytes), (3, 4));
    }

    #[test]
    fn no_rate_is_too_small_or_too_large() {
        for (bandwidth, burst) in
            [(1, Duration::MAX), (1, Duration::ZERO), (u64::MAX, Duration::ZERO), (0, Duration::MAX)]
        {
            let meter = Meter::new(Rate::of(&Quotas { bandwidth: Some(bandwidth), burst, ..Quotas::default() }));
            meter.moved(Instant::ZERO, usize::MAX / 4, usize::MAX / 4);
            let _ = meter.room(Instant::FAR_FUTURE);
            let _ = meter.room(Instant::ZERO);
        }
    }
}
