//! Full and partial documents in order: the rule that RFC 3680 §5.2, RFC 4235 §4.3 and RFC 3858 §4 share.

use super::BodyError;
use super::words;
use super::xml::Element;

words! {
    /// Whether a document says everything (the attribute `state` of its root).
    DocumentState {
        /// Everything there is; what it does not name is gone.
        Full = "full",
        /// What changed since the last document; what it does not name stays.
        Partial = "partial",
    }
}

/// What became of a document that was applied to a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a lost document needs a refresh"]
pub enum Applied {
    /// The table now shows everything that the notifier told.
    Complete,
    /// A document before this one was lost, or the table is at its bound: the table may lack rows. Refresh the subscription
    /// to be sent full state.
    NeedsRefresh,
    /// The document is older than the table and was dropped.
    Stale,
}

/// Rows that a table holds by default. A notifier could otherwise grow it without end, a few rows a document.
pub const DEFAULT_ROWS: usize = 1024;

/// The version of a table, and whether a full document stands below it.
#[derive(Clone, Default, Debug)]
pub(super) struct Version {
    number: Option<u32>,
    complete: bool,
}

impl Version {
    /// Whether nothing is known to be missing.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn number(&self) -> Option<u32> {
        self.number
    }

    /// Decides whether to process a document; if so, its version becomes the table's.
    ///
    /// A document with the table's own version is a repetition, which the RFCs leave open. A full one replaces the table all
    /// the same, which harms nobody and helps with notifiers that do not count; a partial one is dropped.
    pub(super) fn accept(&mut self, number: u32, state: DocumentState) -> bool {
        let full = state == DocumentState::Full;
        match self.number {
            Some(known) if number < known || (number == known && !full) => return false,
            Some(known) if !full => self.complete &= number == known + 1,
            _ => self.complete = full,
        }
        self.number = Some(number);
        true
    }

    /// Notes that something of a document was dropped for want of room.
    pub(super) fn overflow(&mut self) {
        self.complete = false;
    }

    pub(super) fn applied(&self) -> Applied {
        if self.complete { Applied::Complete } else { Applied::NeedsRefresh }
    }
}

/// Reads the root's `version`, which fits 32 bits (RFC 3680 §5.1), and `state`.
pub(super) fn read(root: &Element, missing: [&'static str; 2]) -> Result<(u32, DocumentState), BodyError> {
    let [version, state] = missing;
    let number = root.attribute("version").ok_or(BodyError::Missing(version))?;
    let number = number.trim().parse().map_err(|_| BodyError::Invalid(version))?;
    let word = root.attribute("state").ok_or(BodyError::Missing(state))?;
    Ok((number, DocumentState::parse(word.trim()).ok_or(BodyError::Invalid(state))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DocumentState::{Full, Partial};

    #[test]
    fn a_gap_lasts_until_full_state_comes() {
        let mut version = Version::default();
        let mut accept = |number, state| version.accept(number, state).then(|| version.applied());
        assert_eq!(accept(0, Full), Some(Applied::Complete));
        assert_eq!(accept(1, Partial), Some(Applied::Complete));
        assert_eq!(accept(3, Partial), Some(Applied::NeedsRefresh));
        assert_eq!(accept(4, Partial), Some(Applied::NeedsRefresh));
        assert_eq!(accept(2, Full), None);
        assert_eq!(accept(4, Partial), None);
        assert_eq!(accept(9, Full), Some(Applied::Complete));
        assert_eq!(accept(9, Full), Some(Applied::Complete));
        assert_eq!(accept(u32::MAX, Full), Some(Applied::Complete));
        assert_eq!(accept(u32::MAX, Partial), None);
    }

    #[test]
    fn changes_to_nothing_known_are_incomplete() {
        let mut version = Version::default();
        assert!(version.accept(7, Partial));
        assert_eq!(version.applied(), Applied::NeedsRefresh);
    }
}
