//! What happens to a message between two hosts.

use std::time::Duration;

use farspeak_sansio::Rng;

/// The way from one host to another: how long it takes and what goes wrong on it.
///
/// Probabilities lie between 0 and 1. A stream over the link loses nothing: loss shows as delay, in the steps of TCP's
/// retransmission timer, and duplication and reordering do not show at all.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// Time from one end to the other. Default 10 ms.
    pub delay: Duration,
    /// Random addition to the delay, evenly spread from zero to this. Default none. Messages may overtake each other.
    pub jitter: Duration,
    /// Probability that a datagram is lost. Default 0.
    pub loss: f64,
    /// Probability that a datagram arrives twice. Default 0.
    pub duplicate: f64,
    /// Probability that a datagram is held back by another three delays, so that later ones overtake it. Default 0.
    pub reorder: f64,
}

impl Default for Link {
    fn default() -> Self {
        Self { delay: Duration::from_millis(10), jitter: Duration::ZERO, loss: 0.0, duplicate: 0.0, reorder: 0.0 }
    }
}

impl Link {
    /// Sets the time from one end to the other.
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets the greatest random addition to the delay.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the probability of loss.
    pub const fn loss(mut self, loss: f64) -> Self {
        self.loss = loss;
        self
    }

    /// Sets the probability of duplication.
    pub const fn duplicate(mut self, duplicate: f64) -> Self {
        self.duplicate = duplicate;
        self
    }

    /// Sets the probability of reordering.
    pub const fn reorder(mut self, reorder: f64) -> Self {
        self.reorder = reorder;
        self
    }

    /// How long each copy of a datagram takes: none if it is lost, two if it is duplicated.
    pub(crate) fn datagram(&self, rng: &mut dyn Rng) -> Vec<Duration> {
        // Every call draws the same number of times, so that changing one probability leaves the other draws as they were.
        let (lost, twice) = (chance(rng, self.loss), chance(rng, self.duplicate));
        let (first, second) = (self.once(rng), self.once(rng));
        match (lost, twice) {
            (true, _) => Vec::new(),
            (false, false) => vec![first],
            (false, true) => vec![first, second],
        }
    }

    /// How long a segment of a stream takes, retransmissions by TCP included (RFC 6298: first 200 ms, then doubling).
    pub(crate) fn segment(&self, rng: &mut dyn Rng) -> Duration {
        let mut delay = self.delay + spread(rng, self.jitter);
        let mut timer = Duration::from_millis(200).max(self.delay * 2);
        for _ in 0..6 {
            if !chance(rng, self.loss) {
                break;
            }
            delay += timer;
            timer *= 2;
        }
        delay
    }

    fn once(&self, rng: &mut dyn Rng) -> Duration {
        let held_back = if chance(rng, self.reorder) { self.delay * 3 } else { Duration::ZERO };
        self.delay + spread(rng, self.jitter) + held_back
    }
}

fn chance(rng: &mut dyn Rng, probability: f64) -> bool {
    // 53 bits: what a double holds exactly.
    let drawn = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    drawn < probability
}

fn spread(rng: &mut dyn Rng, most: Duration) -> Duration {
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.below(nanos.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;

    use super::*;

    #[test]
    fn loses_about_as_much_as_it_says() {
        let mut rng = SplitMix64::new(3);
        for percent in [0_u32, 5, 20, 50, 100] {
            let link = Link::default().loss(f64::from(percent) / 100.0);
            let lost = (0..10_000).filter(|_| link.datagram(&mut rng).is_empty()).count();
            let expected = percent as usize * 100;
            assert!(lost.abs_diff(expected) <= 150, "{percent} %: lost {lost} of 10000");
        }
    }

    #[test]
    fn duplicates_about_as_much_as_it_says() {
        let mut rng = SplitMix64::new(4);
        let link = Link::default().duplicate(0.1);
        let copies: usize = (0..10_000).map(|_| link.datagram(&mut rng).len()).sum();
        assert!(copies.abs_diff(11_000) <= 150, "{copies} copies of 10000");
    }

    #[test]
    fn holds_back_what_it_reorders() {
        let mut rng = SplitMix64::new(5);
        let link = Link::default().reorder(0.25);
        let late = (0..10_000).filter(|_| link.datagram(&mut rng)[0] == link.delay * 4).count();
        assert!(late.abs_diff(2_500) <= 150, "{late} of 10000 held back");
    }

    #[test]
    fn a_stream_pays_for_loss_with_time() {
        let mut rng = SplitMix64::new(6);
        let link = Link::default().loss(0.2);
        let late = (0..10_000).filter(|_| link.segment(&mut rng) >= Duration::from_millis(210)).count();
        assert!(late.abs_diff(2_000) <= 150, "{late} of 10000 late");
    }
}
