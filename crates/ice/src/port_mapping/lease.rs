//! When to ask again: for what has not been answered, and for what will end.

use std::time::Duration;

use farspeak_sansio::{Instant, Rng};

use super::ask::{Context, Key, Outcome};

/// A mapping, as NAT-PMP and UPnP keep it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) key: Key,
    /// The external port: what we have, had or would like.
    pub(super) external: u16,
    pub(super) held: Option<Renewal>,
    /// How many external ports turned out to be somebody else's. By UPnP alone: else the router chooses.
    pub(super) conflicts: u32,
}

impl Lease {
    /// One that is to be asked for.
    pub(super) const fn new(key: Key, external: u16) -> Self {
        Self { key, external, held: None, conflicts: 0 }
    }
}

/// Buries what has ended, and tells which of the others are to be renewed now.
pub(super) fn renew(leases: &mut Vec<Lease>, now: Instant, cx: &mut Context<'_>) -> Vec<Key> {
    let mut due = Vec::new();
    leases.retain_mut(|lease| match lease.held.as_mut().map(|held| held.step(now, cx.rng)) {
        Some(Due::Ended) => {
            cx.report(Outcome::Lost { key: lease.key });
            false
        }
        Some(Due::Renew) => {
            due.push(lease.key);
            true
        }
        Some(Due::Nothing) | None => true,
    });
    due
}

/// Repeating a request that nobody has answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    at: Instant,
    wait: Duration,
    longest: Duration,
    jitter: bool,
    left: u32,
}

impl Backoff {
    /// PCP: first after 3 s, then after twice as long each time up to 1024 s, a tenth more or less, for ever (RFC 6887
    /// §8.1.1). The first is due at `first`.
    pub(super) const fn pcp(first: Instant) -> Self {
        let (wait, longest) = (Duration::from_secs(3), Duration::from_secs(1024));
        Self { at: first, wait, longest, jitter: true, left: u32::MAX }
    }

    /// A renewal by PCP: three times, no closer than four seconds (RFC 6887 §11.2.1).
    pub(super) const fn pcp_renewal(first: Instant) -> Self {
        let wait = Duration::from_secs(5);
        Self { wait, left: 3, ..Self::pcp(first) }
    }

    /// NAT-PMP: nine times, 250 ms apart at first and twice as long each time (RFC 6886 §3.1).
    pub(super) const fn nat_pmp(first: Instant) -> Self {
        let (wait, longest) = (Duration::from_millis(250), Duration::from_secs(64));
        Self { at: first, wait, longest, jitter: false, left: 9 }
    }

    /// SSDP, which is by multicast and answered late: one second apart at first, five times.
    pub(super) const fn ssdp(first: Instant) -> Self {
        let (wait, longest) = (Duration::from_secs(1), Duration::from_secs(16));
        Self { at: first, wait, longest, jitter: false, left: 5 }
    }

    /// So many times in all.
    pub(super) const fn times(mut self, times: u32) -> Self {
        self.left = times;
        self
    }

    /// When the next one is due, or when to stop waiting after the last.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    /// Whether it is time to send: counts it. `None` if it is not; `Some(false)` if enough have been sent.
    pub(super) fn is_due(&mut self, now: Instant, rng: &mut dyn Rng) -> Option<bool> {
        if now < self.at {
            return None;
        }
        if self.left == 0 {
            return Some(false);
        }
        self.left -= 1;
        let tenth = self.wait / 10;
        let wait = if self.jitter { self.wait - tenth + up_to(rng, tenth * 2) } else { self.wait };
        self.at = now + wait;
        self.wait = (self.wait * 2).min(self.longest);
        Some(true)
    }
}

/// When to renew something that ends: after half its lifetime, then twice more before the end (RFC 6887 §11.2.1, which
/// does for RFC 6886 §3.3 as well).
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    granted: Instant,
    lifetime: Duration,
    step: u8,
    at: Instant,
}

/// Renewals are no closer than that (RFC 6887 §11.2.1).
const CLOSEST: Duration = Duration::from_secs(4);

impl Renewal {
    /// Of what has been granted now.
    pub(super) fn new(now: Instant, lifetime: Duration, rng: &mut dyn Rng) -> Self {
        let mut renewal = Self { granted: now, lifetime, step: 0, at: now };
        renewal.plan(now, rng);
        renewal
    }

    /// When the next renewal is due, or the end.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    /// For how long it was granted.
    pub(super) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// When it ends.
    pub(super) fn end(&self) -> Instant {
        self.granted + self.lifetime
    }

    /// What is to be done: nothing yet, a renewal (which is counted), or to bury it.
    pub(super) fn step(&mut self, now: Instant, rng: &mut dyn Rng) -> Due {
        if now >= self.end() {
            return Due::Ended;
        }
        if now < self.at {
            return Due::Nothing;
        }
        self.step += 1;
        self.plan(now, rng);
        Due::Renew
    }

    fn plan(&mut self, now: Instant, rng: &mut dyn Rng) {
        // 1/2 to 5/8, 3/4 to 13/16, 7/8 to 29/32.
        let spread = match self.step {
            0 => Some((self.lifetime / 2, self.lifetime / 8)),
            1 => Some((self.lifetime / 4 * 3, self.lifetime / 16)),
            2 => Some((self.lifetime / 8 * 7, self.lifetime / 32)),
            _ => None,
        };
        let planned = spread.map(|(from, width)| self.granted + from + up_to(rng, width));
        self.at = planned.map_or(self.end(), |at| at.max(now + CLOSEST)).min(self.end());
    }
}

/// What [`Renewal::step`] wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Nothing,
    Renew,
    Ended,
}

/// A random part of a duration.
pub(super) fn up_to(rng: &mut dyn Rng, most: Duration) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.below(nanos))
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;

    use super::*;

    #[test]
    fn pcp_waits_three_seconds_then_twice_as_long() {
        let (mut rng, mut backoff, mut now) = (SplitMix64::new(1), Backoff::pcp(Instant::ZERO), Instant::ZERO);
        for expected in [3.0, 6.0, 12.0, 24.0, 48.0, 96.0, 192.0, 384.0, 768.0, 1024.0, 1024.0] {
            assert_eq!(backoff.is_due(now, &mut rng), Some(true));
            let waited = (backoff.at() - now).as_secs_f64();
            assert!((0.9..=1.1).contains(&(waited / expected)), "{waited} s instead of {expected} s");
            now = backoff.at();
        }
    }

    #[test]
    fn nat_pmp_gives_up_after_two_minutes() {
        let (mut rng, mut backoff, mut now) = (SplitMix64::new(1), Backoff::nat_pmp(Instant::ZERO), Instant::ZERO);
        let mut sent = 0;
        while backoff.is_due(now, &mut rng) == Some(true) {
            sent += 1;
            now = backoff.at();
        }
        assert_eq!((sent, now.since_origin()), (9, Duration::from_millis(127_750)));
    }

    #[test]
    fn renews_three_times_before_the_end() {
        let (mut rng, lifetime) = (SplitMix64::new(1), Duration::from_secs(3200));
        let mut renewal = Renewal::new(Instant::ZERO, lifetime, &mut rng);
        for (from, to) in [(1600, 2000), (2400, 2600), (2800, 2900)] {
            assert!((from..=to).contains(&renewal.at().since_origin().as_secs()), "{renewal:?}");
            assert_eq!(renewal.step(renewal.at(), &mut rng), Due::Renew);
        }
        assert_eq!(renewal.at(), renewal.end());
        assert_eq!(renewal.step(renewal.end(), &mut rng), Due::Ended);
    }

    #[test]
    fn a_short_lease_is_not_renewed_more_often_than_every_four_seconds() {
        let mut rng = SplitMix64::new(1);
        let mut renewal = Renewal::new(Instant::ZERO, Duration::from_secs(5), &mut rng);
        assert!(renewal.at() >= Instant::ZERO + CLOSEST);
        assert_eq!(renewal.step(renewal.at(), &mut rng), Due::Renew);
        assert_eq!(renewal.at(), renewal.end());
    }
}
