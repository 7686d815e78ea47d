//! The one place where our time, an offset, meets the computer's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farspeak_sansio::Instant;

/// The origin of every [`Instant`] of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
    unix_at_origin_ms: i64,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            origin: std::time::Instant::now(),
            unix_at_origin_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Now, by the monotonic clock. 25 ns: read it once for each wake-up.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    /// Milliseconds since 1970 at the origin, by the wall clock when the process started. Later steps of the wall clock
    /// do not show.
    pub const fn unix_at_origin_ms(&self) -> i64 {
        self.unix_at_origin_ms
    }

    /// The runtime's moment for one of ours; 30 years ahead for what lies further.
    pub(crate) fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
        tokio::time::Instant::from_std(self.origin + at.since_origin().min(FAR))
    }
}
