//! What a dialog on one side of a joined call is called on the other: for Replaces, wherever it stands (RFC 3891).
//!
//! A phone names a dialog as it knows it. Whoever is to find that dialog by the name may sit beyond the other leg, where
//! it has another Call-ID and other tags. The table is shared by all shards: an attended transfer has two calls, and
//! they need not be on one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use farspeak_sip::dialog::DialogId;
use farspeak_sip::header::{Address, ReferTo, Replaces, escape_header};
use farspeak_sip::message::{Message, StatusCode};

use super::B2bua;

/// The joined dialogs: each as we name it, with the one on the other side. As many entries as calls are up, twice.
#[derive(Default)]
pub(crate) struct Dialogs {
    pairs: Mutex<HashMap<DialogId, DialogId>>,
}

impl Dialogs {
    fn insert(&self, a: &DialogId, b: &DialogId) {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.insert(a.clone(), b.clone());
        pairs.insert(b.clone(), a.clone());
    }

    /// Those dialogs have ended.
    pub(super) fn forget(&self, ids: &[DialogId]) {
        if ids.is_empty() {
            return;
        }
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            pairs.remove(id);
        }
    }

    /// How many dialogs are known.
    pub(super) fn len(&self) -> usize {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The same dialog as the far end of its call knows it. One that is named so already, or is none of ours, stays.
    fn map(&self, replaces: Replaces) -> Replaces {
        // The tags are named from the side of who receives it: here from ours.
        let ours = DialogId {
            call_id: replaces.call_id.as_str().into(),
            local_tag: replaces.to_tag.as_str().into(),
            remote_tag: replaces.from_tag.as_str().into(),
        };
        let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(far) = pairs.get(&ours) else { return replaces };
        Replaces {
            call_id: (*far.call_id).to_owned(),
            to_tag: (*far.remote_tag).to_owned(),
            from_tag: (*far.local_tag).to_owned(),
            ..replaces
        }
    }

    /// The Replaces of an INVITE for the other leg, if it has one; 400 if it cannot be read.
    pub(super) fn replaces_for_the_other_side(&self, invite: &Message) -> Result<Option<Replaces>, StatusCode> {
        let replaces = Replaces::of(invite).map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok(replaces.map(|replaces| self.map(replaces)))
    }

    /// The Refer-To for the other leg; `None` if it names no dialog and stays as it is.
    pub(super) fn refer_to_for_the_other_side(&self, refer_to: &ReferTo) -> Option<ReferTo> {
        let named = refer_to.replaces().ok()??;
        let mapped = self.map(named.clone());
        if mapped == named {
            return None;
        }
        // Only the value of that header changes.
        let value = escape_header(&mapped.to_string());
        let uri = refer_to.address.uri_text();
        let (target, headers) = uri.split_once('?')?;
        let headers: Vec<String> = headers
            .split('&')
            .map(|header| match header.split_once('=') {
                Some((name, _)) if name.eq_ignore_ascii_case(Replaces::NAME.as_str()) => format!("{name}={value}"),
                _ => header.to_owned(),
            })
            .collect();
        let mut address = Address::new(&format!("{target}?{}", headers.join("&")))?;
        if let Some(name) = refer_to.address.display_name() {
            address = address.with_display_name(&name);
        }
        address.params = refer_to.address.params.clone();
        Some(ReferTo { address })
    }
}

impl B2bua {
    /// A response came from the called side: both dialogs have their names. Of several early ones the last counts.
    pub(super) fn remember_dialogs(&mut self, key: u64) {
        let Some(join) = self.joins.get_mut(&key) else { return };
        let id = |leg| self.core.dialog(leg).map(|dialog| dialog.id().clone());
        if let (Some(a), Some(b)) = (id(join.caller.leg()), id(join.called.leg())) {
            if join.dialogs == [a.clone(), b.clone()] {
                return;
            }
            self.dialogs.forget(&join.dialogs);
            self.dialogs.insert(&a, &b);
            join.dialogs = vec![a, b];
        }
    }
}
