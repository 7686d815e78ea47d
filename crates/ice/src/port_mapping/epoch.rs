//! Has the router restarted? Each answer tells how long it has been up; if that does not fit, its mappings are gone.

use farspeak_sansio::Instant;

/// What the router said last, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    seen: Instant,
    seconds: u32,
}

impl Epoch {
    /// Takes the seconds of an answer by PCP; whether they fit what was said before (RFC 6887 §8.5). The first fit.
    pub(super) fn fits_pcp(last: &mut Option<Self>, now: Instant, seconds: u32) -> bool {
        let Some(before) = last.replace(Self { seen: now, seconds }) else { return true };
        let here = (now - before.seen).as_secs();
        let there = u64::from(seconds.saturating_sub(before.seconds));
        // Both clocks may be off by a sixteenth, and by two seconds.
        seconds >= before.seconds.saturating_sub(1) && here + 2 >= there - there / 16 && there + 2 >= here - here / 16
    }

    /// The same for NAT-PMP, which has a clock of its own trust: an eighth slow, two seconds off (RFC 6886 §3.6).
    pub(super) fn fits_nat_pmp(last: &mut Option<Self>, now: Instant, seconds: u32) -> bool {
        let Some(before) = last.replace(Self { seen: now, seconds }) else { return true };
        let expected = u64::from(before.seconds) + (now - before.seen).as_secs() * 7 / 8;
        u64::from(seconds) + 2 >= expected
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judge(fits: fn(&mut Option<Epoch>, Instant, u32) -> bool, later: u64, seconds: u32) -> bool {
        let mut epoch = None;
        assert!(fits(&mut epoch, Instant::ZERO, 1000), "the first is believed");
        fits(&mut epoch, Instant::ZERO + Duration::from_secs(later), seconds)
    }

    #[test]
    fn a_router_that_counts_on_has_not_restarted() {
        for (later, seconds) in [(0, 1000), (0, 999), (3600, 4600), (3600, 4375), (3600, 4840)] {
            assert!(judge(Epoch::fits_pcp, later, seconds), "{later} s later: {seconds}");
            assert!(judge(Epoch::fits_nat_pmp, later, seconds), "{later} s later: {seconds}");
        }
    }

    #[test]
    fn a_router_that_counts_anew_has() {
        for (later, seconds) in [(0, 900), (3600, 5), (3600, 1000), (3600, 4000)] {
            assert!(!judge(Epoch::fits_pcp, later, seconds), "{later} s later: {seconds}");
            assert!(!judge(Epoch::fits_nat_pmp, later, seconds), "{later} s later: {seconds}");
        }
        assert!(!judge(Epoch::fits_pcp, 10, 2000), "PCP also when it has jumped ahead");
        assert!(judge(Epoch::fits_nat_pmp, 10, 2000));
    }
}
