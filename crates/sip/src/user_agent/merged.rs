//! Requests that come twice, by two ways that a proxy has made of one (RFC 3261 §8.2.2.2).
//!
//! Retransmissions do not get here: they have the branch of the first copy. Deviation: copies for different Request-URIs are
//! different requests, for several forks of a call may be meant for several users behind one back-to-back user agent.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::endpoint::ServerTx;
use crate::message::Message;

/// The requests outside dialogs whose final response has not left.
#[derive(Debug, Default)]
pub(crate) struct Ongoing {
    /// By [`Self::key`].
    requests: HashMap<u64, ServerTx>,
    keys: RandomState,
}

impl Ongoing {
    /// Takes note of a request; `false` if another copy of it is being answered.
    pub fn begin(&mut self, tx: ServerTx, request: &Message) -> bool {
        let Some(key) = self.key(request) else { return true };
        *self.requests.entry(key).or_insert(tx) == tx
    }

    /// The request has its final response.
    pub fn end(&mut self, tx: ServerTx, request: &Message) {
        if let Some(key) = self.key(request)
            && self.requests.get(&key) == Some(&tx)
        {
            self.requests.remove(&key);
        }
    }

    /// Its transaction has ended without one.
    pub fn forget(&mut self, tx: ServerTx) {
        self.requests.retain(|_, other| *other != tx);
    }

    /// A keyed hash of Request-URI, Call-ID, From tag and CSeq, which are the same in every copy; `None` within a dialog, and
    /// for peers of RFC 2543.
    fn key(&self, request: &Message) -> Option<u64> {
        if request.to_tag().is_some() {
            return None;
        }
        let cseq = request.cseq().ok()?;
        let (uri, tag, call_id) = (request.request_uri()?, request.from_tag()?, request.call_id().ok()?);
        Some(self.keys.hash_one((cseq.number, cseq.method.as_str(), uri, tag, call_id)))
    }
}
