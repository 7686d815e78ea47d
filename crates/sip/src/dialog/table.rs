//! All dialogs of a user agent, found by what a message says, and who uses each (RFC 5057).

use std::collections::HashMap;
use std::sync::Arc;

use super::{Dialog, DialogId};
use crate::message::Message;
use crate::session::SessionId;
use crate::slab::{Key, Slab};
use crate::user_agent::Owner;

/// A dialog of a [`Dialogs`] table.
pub(crate) type DialogKey = Key;

/// The dialogs of one user agent. A dialog lives as long as somebody uses it.
#[derive(Debug, Default)]
pub(crate) struct Dialogs {
    slab: Slab<Entry>,
    /// By our tag, which is random: only the dialogs of one forked request share it.
    index: HashMap<Arc<str>, Vec<DialogKey>>,
}

#[derive(Debug)]
struct Entry {
    dialog: Dialog,
    users: Vec<Owner>,
}

impl Dialogs {
    /// Puts a dialog in, used by `user`. One of the same name is hidden by it.
    pub(crate) fn insert(&mut self, dialog: Dialog, user: Owner) -> DialogKey {
        let tag = Arc::clone(&dialog.id().local_tag);
        let key = self.slab.insert(Entry { dialog, users: vec![user] });
        self.index.entry(tag).or_default().push(key);
        key
    }

    pub(crate) fn get(&self, key: DialogKey) -> Option<&Dialog> {
        self.slab.get(key).map(|entry| &entry.dialog)
    }

    pub(crate) fn get_mut(&mut self, key: DialogKey) -> Option<&mut Dialog> {
        self.slab.get_mut(key).map(|entry| &mut entry.dialog)
    }

    /// The dialog that a request from the peer names: To has our tag, From theirs.
    pub(crate) fn find(&self, request: &Message) -> Option<DialogKey> {
        self.find_by(request.call_id().ok()?, request.to_tag()?, request.from_tag().unwrap_or_default())
    }

    /// The half dialog of a request of ours that a request from the peer may belong to: a NOTIFY that overtakes the 2xx
    /// to its SUBSCRIBE, or comes from another fork (RFC 6665 §4.4.1).
    pub(crate) fn find_half(&self, request: &Message) -> Option<DialogKey> {
        self.find_by(request.call_id().ok()?, request.to_tag()?, "")
    }

    /// The dialog of that name.
    pub(crate) fn find_by(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> Option<DialogKey> {
        // The latest hides one of the same name.
        self.index.get(local_tag)?.iter().rev().copied().find(|key| {
            let id = self.get(*key).map(Dialog::id);
            id.is_some_and(|id| *id.call_id == *call_id && *id.remote_tag == *remote_tag)
        })
    }

    /// Who uses the dialog.
    pub(crate) fn users(&self, key: DialogKey) -> &[Owner] {
        self.slab.get(key).map_or(&[], |entry| &entry.users)
    }

    /// The session among them: a dialog has one at most.
    pub(crate) fn session(&self, key: DialogKey) -> Option<SessionId> {
        self.users(key).iter().find_map(|user| if let Owner::Session(id) = user { Some(*id) } else { None })
    }

    /// One more usage of the dialog.
    pub(crate) fn share(&mut self, key: DialogKey, user: Owner) {
        if let Some(entry) = self.slab.get_mut(key)
            && !entry.users.contains(&user)
        {
            entry.users.push(user);
        }
    }

    /// The usage has ended; the dialog goes with the last one.
    pub(crate) fn release(&mut self, key: DialogKey, user: Owner) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        entry.users.retain(|other| *other != user);
        if entry.users.is_empty()
            && let Some(entry) = self.slab.remove(key)
            && let Some(keys) = self.index.get_mut(&entry.dialog.id().local_tag)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.index.remove(&entry.dialog.id().local_tag);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }
}

impl DialogId {
    /// The dialog that a message from the peer belongs to, as this end names it: `None` without the tags it takes.
    pub fn of_request(request: &Message) -> Option<Self> {
        let tag = |tag: Option<&str>| tag.map(Arc::from);
        Some(Self {
            call_id: request.call_id().ok()?.into(),
            local_tag: tag(request.to_tag())?,
            remote_tag: tag(request.from_tag()).unwrap_or_default(),
        })
    }
}
