//! Dialogs put together from documents: RFC 4235 §4.3.

use super::{Dialog, DialogInfo, DialogState, DocumentState};
use crate::event::package::version::Version;
use crate::event::package::{Applied, DEFAULT_ROWS};

/// What a subscriber knows of the dialogs it subscribed to.
///
/// A dialog that a document reports as terminated stays visible until the next document, so that whoever reads the table
/// sees how it ended.
#[derive(Clone, Debug)]
pub struct DialogTable {
    dialogs: Vec<Dialog>,
    version: Version,
    rows: usize,
}

impl Default for DialogTable {
    fn default() -> Self {
        Self::new(DEFAULT_ROWS)
    }
}

impl DialogTable {
    /// An empty table that holds at most `rows` dialogs.
    pub fn new(rows: usize) -> Self {
        Self { dialogs: Vec::new(), version: Version::default(), rows }
    }

    /// What is known, in the order in which it became known.
    pub fn dialogs(&self) -> &[Dialog] {
        &self.dialogs
    }

    /// Whether nothing is known to be missing.
    pub fn is_complete(&self) -> bool {
        self.version.is_complete()
    }

    /// The version of the last document that was processed.
    pub fn version(&self) -> Option<u32> {
        self.version.number()
    }

    /// Applies a document. A gap in the versions does not keep it from being processed, but asks for a refresh (§4.3).
    pub fn apply(&mut self, document: DialogInfo) -> Applied {
        if !self.version.accept(document.version, document.state) {
            return Applied::Stale;
        }
        match document.state {
            DocumentState::Full => self.dialogs.clear(),
            DocumentState::Partial => self.dialogs.retain(|it| it.state != DialogState::Terminated),
        }
        for dialog in document.dialogs {
            self.update(dialog);
        }
        self.version.applied()
    }

    fn update(&mut self, mut dialog: Dialog) {
        match self.dialogs.iter().position(|it| it.id == dialog.id) {
            Some(position) => {
                let row = &mut self.dialogs[position];
                fill(&mut dialog.local, row.local.take());
                fill(&mut dialog.remote, row.remote.take());
                *row = dialog;
            }
            None if self.dialogs.len() < self.rows => self.dialogs.push(dialog),
            None => self.version.overflow(),
        }
    }
}

/// Identities, targets and session descriptions that a notification does not repeat are the same as before (§4.1.6).
fn fill(newer: &mut Option<super::Participant>, older: Option<super::Participant>) {
    match (newer.as_mut(), older) {
        (Some(newer), Some(older)) => newer.fill_from(older),
        (None, Some(older)) => *newer = Some(super::Participant { cseq: None, ..older }),
        (_, None) => {}
    }
}
