//! Lets a busy shard's messages gather, as a network card moderates its interrupts: the runtime of a shard, and when it
//! rests.
//!
//! Between two messages that come a quarter of a millisecond apart a thread goes to sleep and is woken, which costs more
//! than the message. A shard that has been woken often lately therefore rests before it asks for more, and then finds
//! several. One with little to do waits for each message and answers at once.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// The runtime of one shard, which rests for `rest` when it is busy.
pub(crate) fn runtime(rest: Duration) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if !rest.is_zero() {
        // Called on the shard's own thread when nothing is left to do.
        builder.on_thread_park(move || {
            let busy = PACE.with(|pace| {
                let mut current = pace.get();
                let busy = current.is_busy(Instant::now());
                pace.set(current);
                busy
            });
            if busy {
                std::thread::sleep(rest);
            }
        });
    }
    builder.build()
}

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { last: None, between: LEISURE }) };
}

/// How often the shard has had something to do lately.
#[derive(Clone, Copy, Debug)]
struct Pace {
    last: Option<Instant>,
    /// The time between two bouts of work: an average over the last dozen.
    between: Duration,
}

impl Pace {
    /// A bout of work has ended: whether they follow each other quickly.
    fn is_busy(&mut self, now: Instant) -> bool {
        let since = self.last.map_or(LEISURE, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        self.between = (self.between * 15 + since.min(LEISURE)) / 16;
        self.between < BUSY
    }
}

/// A shard with a bout of work in each of these is busy.
const BUSY: Duration = Duration::from_millis(1);
/// The longest pause that counts as such: after it, the sixty messages of a few calls make no shard busy.
const LEISURE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `bouts` with `gap` between them find the shard busy.
    fn busy(bouts: u32, gap: Duration) -> u32 {
        let mut pace = Pace { last: None, between: LEISURE };
        let origin = Instant::now();
        (0..bouts).map(|bout| u32::from(pace.is_busy(origin + gap * bout))).sum()
    }

    #[test]
    fn a_few_messages_in_a_row_are_answered_at_once() {
        assert_eq!(busy(50, Duration::from_micros(100)), 0);
    }

    #[test]
    fn a_slow_stream_of_messages_is_answered_at_once() {
        assert_eq!(busy(10_000, Duration::from_millis(2)), 0);
    }

    #[test]
    fn a_fast_stream_of_messages_gathers() {
        let bouts = 10_000;
        assert!(busy(bouts, Duration::from_micros(250)) > bouts - 100);
    }

    #[test]
    fn resting_does_not_end_the_gathering() {
        let bouts = 10_000;
        assert!(busy(bouts, Duration::from_micros(800)) > bouts - 200);
    }

    #[test]
    fn a_pause_ends_it() {
        let mut pace = Pace { last: None, between: Duration::from_micros(250) };
        let origin = Instant::now();
        pace.is_busy(origin);
        assert!(!pace.is_busy(origin + Duration::from_millis(50)));
    }
}
