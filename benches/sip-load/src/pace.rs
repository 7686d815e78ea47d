//! Begins operations at an even rate, whatever becomes of them.

use std::time::{Duration, Instant};

/// Calls `begin(number, due)` for each operation at its time.
///
/// Waits by asking again and again, because the runtime's timers step in milliseconds: the load has a core of its own.
pub async fn pace(rate: u64, total: u64, mut begin: impl FnMut(usize, Instant)) {
    let origin = Instant::now();
    let due = |number: u64| origin + Duration::from_nanos(number * 1_000_000_000 / rate);
    let mut next = 0;
    while next < total {
        while next < total && due(next) <= Instant::now() {
            begin(next as usize, due(next));
            next += 1;
        }
        tokio::task::yield_now().await;
    }
}
