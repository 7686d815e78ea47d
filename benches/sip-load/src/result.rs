//! What a run came to, as one line of JSON.

use std::time::{Duration, Instant};

/// Counts and delays of one load.
pub struct Tally {
    began: Instant,
    offered: u64,
    delays: Vec<u64>,
}

impl Tally {
    /// Announces the load and starts the clock.
    pub fn start(offered: u64) -> Self {
        println!("START");
        Self { began: Instant::now(), offered, delays: Vec::with_capacity(offered as usize) }
    }

    /// One operation has succeeded and took so long.
    pub fn done(&mut self, delay: Duration) {
        self.delays.push(delay.as_nanos() as u64);
    }

    pub fn complete(&self) -> bool {
        self.delays.len() as u64 == self.offered
    }

    /// Prints the result.
    pub fn print(mut self) {
        let wall = self.began.elapsed();
        self.delays.sort_unstable();
        let ok = self.delays.len() as u64;
        let part = |share: f64| {
            let index = ((ok as f64 * share) as usize).min(self.delays.len().saturating_sub(1));
            self.delays.get(index).map_or(0.0, |nanos| *nanos as f64 / 1000.0)
        };
        println!(
            "RESULT {{\"offered\": {}, \"ok\": {ok}, \"failed\": {}, \"seconds\": {:.3}, \"p50_us\": {:.0}, \
             \"p99_us\": {:.0}, \"p999_us\": {:.0}, \"max_us\": {:.0}, \"not_sent\": {}}}",
            self.offered,
            self.offered - ok,
            wall.as_secs_f64(),
            part(0.5),
            part(0.99),
            part(0.999),
            part(1.0),
            crate::endpoint::dropped(),
        );
    }
}

/// Waits until `complete()` or `patience` is over.
pub async fn settle(patience: Duration, complete: impl Fn() -> bool) {
    let end = Instant::now() + patience;
    while !complete() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
