//! Times pieces of work and counts what they allocate, for benches that print a line for each.
//!
//! Each line is the best of many batches: other work on the machine can only add to it.

#[path = "counting.rs"]
mod counting;

use std::hint::black_box;
use std::time::{Duration, Instant};

use counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often each piece of work is done.
pub struct Batches {
    /// Times in a batch: short enough to fit between two interruptions, long enough for the clock.
    pub size: u32,
    /// Batches, of which the best counts.
    pub count: u32,
}

impl Batches {
    /// Does the work and prints its line, if the command line names a part of it or nothing at all.
    pub fn report<T>(&self, name: &str, mut work: impl FnMut() -> T) {
        let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
        if !wanted.next().is_none_or(|part| name.contains(&part)) {
            return;
        }
        // Without `--bench` (a test run, or under a profiler that counts instructions) once is enough.
        let batches = if std::env::args().any(|argument| argument == "--bench") { self.count } else { 1 };
        let (count, _) = allocations(&mut work);
        let mut best = Duration::MAX;
        for _ in 0..batches {
            let start = Instant::now();
            for _ in 0..self.size {
                black_box(work());
            }
            best = best.min(start.elapsed());
        }
        println!("{:>8.1} ns  {count:>4} allocations  {name}", best.as_nanos() as f64 / f64::from(self.size));
    }
}
