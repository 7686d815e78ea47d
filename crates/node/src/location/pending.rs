//! Changes that count already and wait for the store: made final in order, or taken out again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Change;
use crate::binding::{Binding, BindingRow};
use crate::shared::Clock;

/// What waits for the store: the state that is surely stored, and what was done since.
pub(super) struct Pending {
    base: Vec<Arc<Binding>>,
    changes: VecDeque<PendingChange>,
}

struct PendingChange {
    version: u64,
    changes: Vec<Change>,
    confirmed: bool,
}

impl Pending {
    pub(super) fn new(base: Vec<Arc<Binding>>) -> Self {
        Self { base, changes: VecDeque::with_capacity(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn push(&mut self, version: u64, changes: Vec<Change>) {
        self.changes.push_back(PendingChange { version, changes, confirmed: false });
    }

    /// Folds what is confirmed into the base, in order.
    pub(super) fn confirm(&mut self, version: u64) {
        if let Some(change) = self.changes.iter_mut().find(|change| change.version == version) {
            change.confirmed = true;
        }
        self.fold();
    }

    pub(super) fn remove(&mut self, version: u64) -> bool {
        let before = self.changes.len();
        self.changes.retain(|change| change.version != version);
        let removed = self.changes.len() < before;
        self.fold();
        removed
    }

    fn fold(&mut self) {
        while let Some(change) = self.changes.pop_front_if(|change| change.confirmed) {
            self.base = apply(&self.base, &change.changes);
        }
    }

    pub(super) fn outcome(&self) -> Vec<Arc<Binding>> {
        self.changes.iter().fold(self.base.clone(), |bindings, change| apply(&bindings, &change.changes))
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        let changes = self.changes.iter().flat_map(|change| &change.changes);
        let changed = changes.map(|(Change::Put(binding) | Change::Remove(binding))| binding);
        self.base.iter().chain(changed)
    }

    pub(super) fn for_each(&mut self, mut visit: impl FnMut(&mut Arc<Binding>)) {
        self.base.iter_mut().for_each(&mut visit);
        for change in self.changes.iter_mut().flat_map(|change| &mut change.changes) {
            match change {
                Change::Put(binding) | Change::Remove(binding) => visit(binding),
            }
        }
    }
}

/// What is left of `bindings` after `changes`.
pub(crate) fn apply(bindings: &[Arc<Binding>], changes: &[Change]) -> Vec<Arc<Binding>> {
    let mut new = bindings.to_vec();
    for change in changes {
        let (Change::Put(changed) | Change::Remove(changed)) = change;
        new.retain(|it| !it.is_same_place(changed));
        if let Change::Put(added) = change {
            new.push(Arc::clone(added));
        }
    }
    new
}

/// What the store writes for a change from `old` to `new`: one row for each key that it changes, removals first.
pub(super) fn rows(old: &[Arc<Binding>], new: &[Arc<Binding>], version: u64, clock: Clock) -> Vec<BindingRow> {
    let gone = old.iter().filter(|it| !new.iter().any(|kept| kept.key() == it.key()));
    let put = new.iter().filter(|it| !old.iter().any(|kept| Arc::ptr_eq(kept, it)));
    // Counted first: nearly always it is one.
    let mut rows = Vec::with_capacity(gone.clone().count() + put.clone().count());
    rows.extend(gone.map(|it| it.removal_row(version)).chain(put.map(|it| it.row(clock))));
    rows
}
