//! What a test expects of the ladder, in the words of the RFCs: `alice -> proxy  INVITE`.

use std::time::Duration;

use farspeak_sansio::Instant;

use crate::ladder::{Fate, Sighting};
use crate::{HostId, Network};

/// A network in which nothing is under way; see [`Network::settled_within`].
pub struct Settled<'a>(&'a mut Network);

/// Expectations. A pattern is `from -> to  label`, or `from -x to  label` for a message that did not arrive. The label
/// matches if it begins with the pattern's words; without a label every message matches.
impl Network {
    /// Runs until a message arrives that matches, and returns it. Expectations are met in order: a message counts only
    /// if it arrived after the one that met the expectation before. Others in between (retransmissions, say) are passed
    /// over.
    ///
    /// # Panics
    ///
    /// If none arrives within the [`patience`](Self::patience), or the pattern cannot be read. The ladder is printed.
    #[track_caller]
    pub fn expect(&mut self, pattern: &str) -> Sighting {
        self.expect_within(self.patience, pattern)
    }

    /// Like [`expect`](Self::expect), with its own patience.
    ///
    /// # Panics
    ///
    /// As [`expect`](Self::expect) does.
    #[track_caller]
    pub fn expect_within(&mut self, patience: Duration, pattern: &str) -> Sighting {
        let wanted = self.read(pattern);
        let until = self.now + patience;
        loop {
            let found = self.log.sightings().enumerate().skip(self.log.cursor).find(|(_, seen)| wanted.fits(seen));
            if let Some((at, sighting)) = found {
                let sighting = sighting.clone();
                self.log.cursor = at + 1;
                return sighting;
            }
            self.step_or_fail(until, pattern);
        }
    }

    /// Runs until all of these have arrived, in whatever order. Later expectations count from the last of them.
    ///
    /// # Panics
    ///
    /// As [`expect`](Self::expect) does.
    #[track_caller]
    pub fn expect_all<const N: usize>(&mut self, patterns: [&str; N]) -> [Sighting; N] {
        let start = self.log.cursor;
        let mut furthest = start;
        let found = patterns.map(|pattern| {
            self.log.cursor = start;
            let sighting = self.expect(pattern);
            furthest = furthest.max(self.log.cursor);
            sighting
        });
        self.log.cursor = furthest;
        found
    }

    /// How many messages there have been: a mark for [`seen_since`](Self::seen_since).
    pub fn mark(&self) -> usize {
        self.log.sightings().count()
    }

    /// Makes later expectations count from now: what has arrived so far is passed over.
    pub fn pass_over(&mut self) {
        self.log.cursor = self.mark();
    }

    /// Whether a message that matches has been seen after the mark, in whatever order. For links that lose: there a
    /// repetition may come at any time.
    #[track_caller]
    pub fn seen_since(&self, mark: usize, pattern: &str) -> bool {
        let wanted = self.read(pattern);
        self.log.sightings().skip(mark).any(|seen| wanted.fits(seen))
    }

    /// How many messages so far match.
    #[track_caller]
    pub fn count(&self, pattern: &str) -> usize {
        let wanted = self.read(pattern);
        self.log.sightings().filter(|seen| wanted.fits(seen)).count()
    }

    /// The last message so far that matches.
    #[track_caller]
    pub fn last(&self, pattern: &str) -> Option<&Sighting> {
        let wanted = self.read(pattern);
        self.log.sightings().rev().find(|seen| wanted.fits(seen))
    }

    /// Asserts that no message so far matches.
    ///
    /// # Panics
    ///
    /// If one does. The ladder is printed.
    #[track_caller]
    pub fn never(&self, pattern: &str) {
        let seen = self.count(pattern);
        assert!(seen == 0, "`{pattern}` was to be seen never, but was {seen} times\n{}", self.ladder());
    }

    /// Runs until no message is under way and no machine has anything left to do, as far as it can tell
    /// ([`residue_of`](Self::residue_of); a machine that cannot must have no timer running).
    ///
    /// # Panics
    ///
    /// If that takes longer. The ladder is printed, and who still has what.
    #[track_caller]
    pub fn settled_within(&mut self, duration: Duration) -> Settled<'_> {
        let until = self.now + duration;
        loop {
            if self.is_quiet() && self.residues().is_empty() {
                return Settled(self);
            }
            if !self.step(until) {
                let left =
                    if self.residues().is_empty() { "messages under way".into() } else { self.residues().join("; ") };
                panic!("not settled within {duration:?}: {left}\n{}", self.ladder());
            }
        }
    }

    fn residues(&self) -> Vec<String> {
        let powered = self.hosts.iter().filter(|host| host.powered);
        let left = powered.filter_map(|host| {
            let left = match (host.app.tells_residue(), host.app.deadline()) {
                (true, _) => host.app.residue(),
                (false, deadline) => deadline.map(|at| format!("a timer at {at}")),
            };
            left.map(|left| format!("{} has {left}", host.name))
        });
        left.collect()
    }

    #[track_caller]
    fn step_or_fail(&mut self, until: Instant, wanted: &str) {
        if !self.step(until) {
            panic!("`{wanted}` did not happen by {}\n{}", until, self.ladder());
        }
    }

    #[track_caller]
    fn read(&self, pattern: &str) -> Wanted {
        let mut words = pattern.split_ascii_whitespace();
        let parts = (words.next(), words.next(), words.next());
        let (Some(from), Some(arrow @ ("->" | "-x")), Some(to)) = parts else {
            panic!("`{pattern}` is not `from -> to  label`");
        };
        let host = |name| self.host_named(name).unwrap_or_else(|| panic!("`{pattern}`: there is no host {name}"));
        let label = words.collect::<Vec<_>>().join(" ");
        Wanted { from: host(from), to: host(to), arrives: arrow == "->", label }
    }
}

impl Settled<'_> {
    /// Asserts that no transaction, timer or message is left anywhere.
    ///
    /// # Panics
    ///
    /// If anything is. The ladder is printed.
    #[track_caller]
    pub fn no_state_left(self) {
        let left = self.0.residues();
        assert!(left.is_empty() && self.0.is_quiet(), "state is left: {}\n{}", left.join("; "), self.0.ladder());
    }
}

struct Wanted {
    from: HostId,
    to: HostId,
    arrives: bool,
    label: String,
}

impl Wanted {
    fn fits(&self, seen: &Sighting) -> bool {
        let ends = seen.from == self.from && (seen.to == Some(self.to) || (!self.arrives && seen.to.is_none()));
        ends && (seen.fate == Fate::Delivered) == self.arrives && self.names(&seen.label)
    }

    fn names(&self, label: &str) -> bool {
        let rest = label.strip_prefix(self.label.as_str());
        self.label.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }
}
