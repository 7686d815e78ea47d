//! The index of contacts: who has registered a URI, whether the phone can be reached now or not.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use farspeak_sip::message::{Host, Uri};

use crate::binding::Binding;

/// Who has registered one contact: nearly always one.
pub(super) enum Contacts {
    One(Arc<Binding>),
    /// By address in memory, so that thousands who share one (phones that all write the same private address) cost
    /// nobody a long search.
    Many(BTreeMap<usize, Arc<Binding>>),
}

impl Contacts {
    /// Who shares it; nobody if it is too many to mean anything.
    pub(super) fn holders(&self) -> Vec<Arc<Binding>> {
        match self {
            Self::One(binding) => vec![Arc::clone(binding)],
            Self::Many(bindings) if bindings.len() > MAX_SHARED => Vec::new(),
            Self::Many(bindings) => bindings.values().cloned().collect(),
        }
    }

    pub(super) fn push(&mut self, binding: &Arc<Binding>) {
        let entry = |it: &Arc<Binding>| (Arc::as_ptr(it).addr(), Arc::clone(it));
        match self {
            Self::One(first) => *self = Self::Many([entry(first), entry(binding)].into()),
            Self::Many(bindings) => bindings.extend([entry(binding)]),
        }
    }

    /// Whether nothing is left.
    pub(super) fn remove(&mut self, binding: &Arc<Binding>) -> bool {
        match self {
            Self::One(only) => Arc::ptr_eq(only, binding),
            Self::Many(bindings) => {
                bindings.remove(&Arc::as_ptr(binding).addr());
                if bindings.len() == 1
                    && let Some((_, last)) = bindings.pop_first()
                {
                    *self = Self::One(last);
                    return false;
                }
                bindings.is_empty()
            }
        }
    }
}

/// Hashes what URIs must agree in to be equal (RFC 3261 §19.1.4), in canonical form.
pub(super) fn hash(keyed: &RandomState, uri: &Uri<'_>) -> u64 {
    let mut hasher = keyed.build_hasher();
    uri.is_sips().hash(&mut hasher);
    uri.user_unescaped().hash(&mut hasher);
    match uri.host {
        Host::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
        }
        Host::V4(address) => address.hash(&mut hasher),
        Host::V6(address) => address.hash(&mut hasher),
    }
    uri.port.hash(&mut hasher);
    hasher.finish()
}

/// Most bindings that may share a contact for it still to mean somebody.
const MAX_SHARED: usize = 64;
