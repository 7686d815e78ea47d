//! How long to wait before a lost flow is registered again (RFC 5626 §4.5).

use std::time::Duration;

use farspeak_sansio::Rng;

/// Settings of the back-off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// First bound while no flow of the registration stands. Default 30 s.
    pub base_all_failed: Duration,
    /// First bound while another flow stands. Default 90 s.
    pub base_not_failed: Duration,
    /// Longest bound. Default 30 minutes.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base_all_failed: Duration::from_secs(30),
            base_not_failed: Duration::from_secs(90),
            longest: Duration::from_secs(1800),
        }
    }
}

impl Backoff {
    /// The wait after so many failures in a row (1 or more): half to all of the bound, which doubles each time. The
    /// randomness keeps a million phones from coming back at once.
    pub fn wait(&self, failures: u32, any_stands: bool, rng: &mut dyn Rng) -> Duration {
        let base = if any_stands { self.base_not_failed } else { self.base_all_failed };
        let bound = base.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(self.longest);
        let half = bound / 2;
        half + Duration::from_millis(rng.below(half.as_millis() as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;

    use super::*;

    #[test]
    fn the_wait_doubles_up_to_half_an_hour_and_is_spread() {
        // RFC 5626 §4.5: W = min(max-time, base-time × 2 ^ failures), from 50 % to 100 % of it.
        let (backoff, mut rng) = (Backoff::default(), SplitMix64::new(1));
        for (failures, bound) in [(1, 60), (2, 120), (3, 240), (6, 1800), (40, 1800)] {
            let waits: Vec<Duration> = (0..200).map(|_| backoff.wait(failures, false, &mut rng)).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*least >= Duration::from_secs(bound) / 2 && *most <= Duration::from_secs(bound), "{failures}");
            assert!(*most - *least > Duration::from_secs(bound) / 4, "{failures}");
        }
        assert!(backoff.wait(1, true, &mut rng) >= Duration::from_secs(90));
    }
}
