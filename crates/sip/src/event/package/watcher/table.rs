//! Watchers put together from documents: RFC 3858 §4.

use super::{DocumentState, Watcher, WatcherInfo, WatcherList, WatcherStatus};
use crate::event::package::version::Version;
use crate::event::package::{Applied, DEFAULT_ROWS};

/// What a subscriber knows of the watchers of its resources.
///
/// A watcher that a document reports as terminated stays visible until the next document, so that whoever reads the table
/// sees how it ended.
#[derive(Clone, Debug)]
pub struct WatcherTable {
    lists: Vec<WatcherList>,
    version: Version,
    rows: usize,
}

impl Default for WatcherTable {
    fn default() -> Self {
        Self::new(DEFAULT_ROWS)
    }
}

impl WatcherTable {
    /// An empty table that holds at most `rows` lists and watchers together.
    pub fn new(rows: usize) -> Self {
        Self { lists: Vec::new(), version: Version::default(), rows }
    }

    /// What is known, in the order in which it became known.
    pub fn lists(&self) -> &[WatcherList] {
        &self.lists
    }

    /// The watchers about whom somebody has to decide.
    pub fn undecided(&self) -> impl Iterator<Item = &Watcher> {
        self.lists.iter().flat_map(|it| &it.watchers).filter(|it| it.is_undecided())
    }

    /// Whether nothing is known to be missing.
    pub fn is_complete(&self) -> bool {
        self.version.is_complete()
    }

    /// The version of the last document that was processed.
    pub fn version(&self) -> Option<u32> {
        self.version.number()
    }

    /// Applies a document. A gap in the versions does not keep it from being processed, but asks for a refresh (§4).
    pub fn apply(&mut self, document: WatcherInfo) -> Applied {
        if !self.version.accept(document.version, document.state) {
            return Applied::Stale;
        }
        match document.state {
            DocumentState::Full => self.lists.clear(),
            DocumentState::Partial => {
                for list in &mut self.lists {
                    list.watchers.retain(|it| it.status != WatcherStatus::Terminated);
                }
            }
        }
        for list in document.lists {
            self.update(list);
        }
        self.version.applied()
    }

    fn update(&mut self, list: WatcherList) {
        let mut free = self.rows.saturating_sub(self.lists.iter().map(|it| 1 + it.watchers.len()).sum());
        let WatcherList { resource, package, watchers } = list;
        // A resource may be watched in several packages, which the RFC's rule, by resource alone, would mix.
        let same = |it: &WatcherList| it.resource == resource && it.package == package;
        let position = match self.lists.iter().position(same) {
            Some(position) => position,
            None if free == 0 => return self.version.overflow(),
            None => {
                free -= 1;
                self.lists.push(WatcherList { resource, package, watchers: Vec::new() });
                self.lists.len() - 1
            }
        };
        let known = &mut self.lists[position].watchers;
        for watcher in watchers {
            match known.iter_mut().find(|it| it.id == watcher.id) {
                Some(row) => *row = watcher,
                None if free == 0 => self.version.overflow(),
                None => {
                    free -= 1;
                    known.push(watcher);
                }
            }
        }
    }
}
