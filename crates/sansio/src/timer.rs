//! One table for all timers of a machine.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::Instant;

/// What a timer is for. Copied into the table; two equal keys may both be armed.
pub trait TimerKey: Copy {}
impl<T: Copy> TimerKey for T {}

/// Timers of a machine, cheapest where protocols need it: many timers of a few fixed durations.
///
/// A timer of one of the durations given to [`TimerTable::new`] goes into a queue of its own (arming is a push, 2 ns);
/// any other goes into a heap. Nothing is ever cancelled: a timer whose reason has gone is ignored by its owner when it
/// fires (the key carries a generation, or the owner's state says so). The table therefore holds at most what was armed
/// within its longest duration.
#[derive(Clone, Debug)]
pub struct TimerTable<K> {
    fixed: Vec<(Duration, VecDeque<(Instant, K)>)>,
    rest: BinaryHeap<Reverse<Entry<K>>>,
    sequence: u64,
}

impl<K: TimerKey> TimerTable<K> {
    /// A table with a queue for each of `durations`.
    pub fn new(durations: &[Duration]) -> Self {
        let mut fixed: Vec<(Duration, VecDeque<(Instant, K)>)> = Vec::with_capacity(durations.len());
        for duration in durations {
            if !fixed.iter().any(|(known, _)| known == duration) {
                fixed.push((*duration, VecDeque::new()));
            }
        }
        Self { fixed, rest: BinaryHeap::new(), sequence: 0 }
    }

    /// Arms a timer that fires `after` from `now`.
    pub fn arm(&mut self, now: Instant, after: Duration, key: K) {
        let at = now + after;
        let queue = self.fixed.iter_mut().find(|(duration, _)| *duration == after);
        match queue {
            // A clock that stepped back would break the queue's order: such a timer goes to the heap.
            Some((_, queue)) if queue.back().is_none_or(|(last, _)| *last <= at) => queue.push_back((at, key)),
            _ => {
                self.sequence += 1;
                self.rest.push(Reverse(Entry { at, sequence: self.sequence, key }));
            }
        }
    }

    /// When the earliest timer fires.
    pub fn next(&self) -> Option<Instant> {
        let fixed = self.fixed.iter().filter_map(|(_, queue)| queue.front().map(|(at, _)| *at)).min();
        let rest = self.rest.peek().map(|Reverse(entry)| entry.at);
        match (fixed, rest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes the earliest timer out if it is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let due = self.next()?;
        if due > now {
            return None;
        }
        if self.rest.peek().is_some_and(|Reverse(entry)| entry.at == due) {
            return self.rest.pop().map(|Reverse(entry)| entry.key);
        }
        let queue = self.fixed.iter_mut().find(|(_, queue)| queue.front().is_some_and(|(at, _)| *at == due));
        queue.and_then(|(_, queue)| queue.pop_front()).map(|(_, key)| key)
    }

    /// Takes out the timers at the front that are outdated, so that [`TimerTable::next`] wakes nobody for them.
    ///
    /// Outdated ones behind a live one stay until that has fired.
    pub fn prune(&mut self, outdated: impl Fn(&K) -> bool) {
        for (_, queue) in &mut self.fixed {
            while queue.front().is_some_and(|(_, key)| outdated(key)) {
                queue.pop_front();
            }
        }
        while self.rest.peek().is_some_and(|Reverse(entry)| outdated(&entry.key)) {
            self.rest.pop();
        }
    }

    /// Takes out all outdated timers, wherever they stand: for owners whose timers are armed anew before they fire. Takes
    /// time in proportion to the table's length.
    pub fn sweep(&mut self, outdated: impl Fn(&K) -> bool) {
        for (_, queue) in &mut self.fixed {
            queue.retain(|(_, key)| !outdated(key));
        }
        self.rest.retain(|Reverse(entry)| !outdated(&entry.key));
    }

    /// How many timers are armed, outdated ones included.
    pub fn len(&self) -> usize {
        self.rest.len() + self.fixed.iter().map(|(_, queue)| queue.len()).sum::<usize>()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Clone, Debug)]
struct Entry<K> {
    at: Instant,
    sequence: u64,
    key: K,
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T1: Duration = Duration::from_millis(500);

    #[test]
    fn fires_in_order_of_time_whatever_the_queue() {
        let mut timers = TimerTable::new(&[T1, Duration::from_secs(32)]);
        timers.arm(Instant::ZERO, Duration::from_secs(32), 'b');
        timers.arm(Instant::ZERO, Duration::from_secs(1), 'x');
        timers.arm(Instant::ZERO, T1, 'a');
        let mut fired = Vec::new();
        while let Some(at) = timers.next() {
            fired.extend(timers.pop_due(at));
        }
        assert_eq!(fired, ['a', 'x', 'b']);
    }

    #[test]
    fn nothing_fires_early() {
        let mut timers = TimerTable::new(&[T1]);
        timers.arm(Instant::ZERO, T1, ());
        assert_eq!(timers.pop_due(Instant::from_nanos(499_999_999)), None);
        assert_eq!(timers.pop_due(Instant::ZERO + T1), Some(()));
        assert!(timers.is_empty());
    }

    #[test]
    fn outdated_timers_wake_nobody() {
        let mut timers = TimerTable::new(&[T1]);
        for key in ['a', 'b', 'c'] {
            timers.arm(Instant::ZERO, T1, key);
        }
        timers.arm(Instant::ZERO, Duration::from_millis(3), 'a');
        timers.prune(|key| *key == 'a');
        assert_eq!((timers.len(), timers.next()), (2, Some(Instant::ZERO + T1)));
        timers.sweep(|key| *key == 'c');
        assert_eq!(timers.len(), 1);
        timers.prune(|_| true);
        assert!(timers.is_empty());
    }

    #[test]
    fn survives_a_clock_that_steps_back() {
        let mut timers = TimerTable::new(&[T1]);
        timers.arm(Instant::ZERO + T1, T1, 'b');
        timers.arm(Instant::ZERO, T1, 'a');
        assert_eq!(timers.next(), Some(Instant::ZERO + T1));
        assert_eq!(timers.pop_due(Instant::ZERO + T1), Some('a'));
        assert_eq!(timers.pop_due(Instant::ZERO + T1), None);
    }
}
