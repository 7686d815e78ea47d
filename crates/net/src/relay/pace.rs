//! Whether relayed data still leaves a connection in time.
//!
//! What lies unsent in the kernel makes everything behind it late: after two seconds without a path, a voice call would hear
//! them all, and stay as far behind. So nothing is to lie there for longer than two round trips, as TCP has smoothed them,
//! and never less than six packets of voice take; what would come to lie behind it is dropped before it enters the stream.
//!
//! It is the age that counts: a picture that comes at once may be long. `TCP_NOTSENT_LOWAT` bounds bytes, and is no bound for
//! small writes: Linux adds them to the last segment until that has 64 kB, five seconds of voice. The kernel is asked some
//! thirty times a second, however many packets there are.

use std::time::Duration;

use farspeak_sansio::Instant;

/// What the kernel says of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Backlog {
    /// Bytes that it has taken and not sent.
    pub unsent: u64,
    /// The smoothed round trip.
    pub round_trip: Duration,
}

/// When what has been written to a connection was written.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that the kernel has taken.
    written: u64,
    /// How many those were now, and one, two, three, four quarters of the window ago.
    marks: [u64; QUARTERS + 1],
    /// When the kernel was last asked.
    asked: Instant,
    window: Duration,
    behind: bool,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { written: 0, marks: [0; QUARTERS + 1], asked: now, window: SHORTEST, behind: false }
    }

    /// The kernel has taken so many bytes.
    pub(super) const fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Whether something has been lying unsent for too long.
    pub(super) fn is_behind(&mut self, now: Instant, ask: impl FnOnce() -> Option<Backlog>) -> bool {
        let quarter = self.window / QUARTERS as u32;
        let passed = (now - self.asked).as_micros() / quarter.as_micros();
        if passed == 0 {
            return self.behind;
        }
        self.asked = now;
        for _ in 0..passed.min(QUARTERS as u128) {
            self.marks.rotate_right(1);
            self.marks[0] = self.written;
        }
        let backlog = ask();
        self.behind = backlog.is_some_and(|backlog| self.written.saturating_sub(backlog.unsent) < self.marks[QUARTERS]);
        if let Some(backlog) = backlog {
            self.window = (2 * backlog.round_trip).clamp(SHORTEST, LONGEST);
        }
        self.behind
    }
}

const QUARTERS: usize = 4;
/// Six packets of voice.
const SHORTEST: Duration = Duration::from_millis(120);
/// Later than that nobody listens.
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 208;
    const EVERY: Duration = Duration::from_millis(20);

    /// A voice call over a path that takes so many frames each time one comes; gives how many frames wait at most.
    fn call(pace: &mut Pace, now: &mut Instant, unsent: &mut u64, frames: usize, takes: u64, round_trip: u64) -> u64 {
        let mut most = 0;
        for _ in 0..frames {
            *now += EVERY;
            let backlog = Backlog { unsent: *unsent, round_trip: Duration::from_millis(round_trip) };
            if !pace.is_behind(*now, || Some(backlog)) {
                pace.wrote(FRAME);
                *unsent += FRAME as u64;
            }
            *unsent = unsent.saturating_sub(takes * FRAME as u64);
            most = most.max(*unsent / FRAME as u64);
        }
        most
    }

    #[test]
    fn a_path_that_is_dead_gathers_two_round_trips_of_voice_and_no_more() {
        for (round_trip, least, most) in [(1, 6, 9), (60, 6, 9), (200, 20, 26), (5000, 50, 64)] {
            let (mut now, mut unsent) = (Instant::ZERO, 0);
            let mut pace = Pace::new(now);
            assert_eq!(call(&mut pace, &mut now, &mut unsent, 100, 1, round_trip), 0);
            let waited = call(&mut pace, &mut now, &mut unsent, 1000, 0, round_trip);
            assert!((least..=most).contains(&waited), "{waited} at {round_trip} ms");
            // Alive again: what waited goes, then everything passes.
            call(&mut pace, &mut now, &mut unsent, 30, 10, round_trip);
            let before = pace.written;
            call(&mut pace, &mut now, &mut unsent, 100, 1, round_trip);
            assert_eq!(pace.written - before, 100 * FRAME as u64);
        }
    }

    #[test]
    fn a_path_slower_than_the_call_is_never_far_behind() {
        let (mut now, mut unsent) = (Instant::ZERO, 0);
        let mut pace = Pace::new(now);
        for _ in 0..500 {
            // Three of four frames get through.
            call(&mut pace, &mut now, &mut unsent, 3, 1, 60);
            assert!(call(&mut pace, &mut now, &mut unsent, 1, 0, 60) <= 9);
        }
        assert!(pace.written >= 1400 * FRAME as u64, "what the path takes is used");
    }

    #[test]
    fn a_long_picture_at_once_is_not_late() {
        let now = Instant::ZERO + EVERY;
        let mut pace = Pace::new(Instant::ZERO);
        for _ in 0..60 {
            assert!(!pace.is_behind(now, || Some(Backlog { unsent: pace_unsent(60), round_trip: EVERY })));
            pace.wrote(1000);
        }
        let later = |millis| now + Duration::from_millis(millis);
        assert!(!pace.is_behind(later(100), || Some(Backlog { unsent: 40_000, round_trip: EVERY })));
        assert!(pace.is_behind(later(300), || Some(Backlog { unsent: 10_000, round_trip: EVERY })));
        assert!(!pace.is_behind(later(340), || Some(Backlog { unsent: 0, round_trip: EVERY })));
    }

    fn pace_unsent(packets: u64) -> u64 {
        packets * 1000
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_trusted_and_none_is_asked_for_each_packet() {
        let mut pace = Pace::new(Instant::ZERO);
        let mut asked = 0;
        for millis in 0..1000 {
            let now = Instant::ZERO + Duration::from_millis(millis);
            assert!(!pace.is_behind(now, || {
                asked += 1;
                None
            }));
            pace.wrote(FRAME);
        }
        assert!(asked <= 34, "{asked} times in a second");
    }
}
