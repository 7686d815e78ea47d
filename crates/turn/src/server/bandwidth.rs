//! What one allocation may relay per second: a token bucket in one number (the generic cell rate algorithm, ITU-T I.371).

use std::time::Duration;

use farspeak_sansio::Instant;

use super::config::Quotas;

/// The rate, as time per byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) picos_per_byte: u64,
    pub(super) burst: Duration,
}

impl Rate {
    pub(super) fn of(quotas: &Quotas) -> Self {
        let picos_per_byte = match quotas.bandwidth {
            Some(bytes) => 1_000_000_000_000 / bytes.max(1),
            None => 0,
        };
        Self { picos_per_byte, burst: quotas.burst }
    }
}

/// One allocation's bucket.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Bucket {
    /// When it will be full again.
    full: Instant,
}

impl Bucket {
    /// Whether so many bytes may pass now; counts them if so.
    #[inline]
    pub(super) fn admit(&mut self, now: Instant, bytes: usize, rate: Rate) -> bool {
        if rate.picos_per_byte == 0 {
            return true;
        }
        // IP and UDP headers cost, too: an empty datagram is not free.
        let nanos = (bytes as u64 + 28) * rate.picos_per_byte / 1000;
        let full = self.full.max(now) + Duration::from_nanos(nanos);
        // A packet longer than the burst passes a full bucket: it could never pass otherwise.
        if full - now > rate.burst && self.full > now {
            return false;
        }
        self.full = full;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_its_burst_and_then_its_rate() {
        let rate = Rate::of(&Quotas { bandwidth: Some(100_000), ..Quotas::default() });
        let mut bucket = Bucket::default();
        let mut admitted = |now| (0..1000).filter(|_| bucket.admit(now, 972, rate)).count();
        assert_eq!(admitted(Instant::ZERO), 100);
        assert_eq!(admitted(Instant::ZERO + Duration::from_millis(500)), 50);
        assert_eq!(admitted(Instant::ZERO + Duration::from_secs(60)), 100);
        let none = Rate::of(&Quotas { bandwidth: None, ..Quotas::default() });
        assert!((0..1000).all(|_| Bucket::default().admit(Instant::ZERO, 65_535, none)));
    }
}
