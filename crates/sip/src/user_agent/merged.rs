//! Requests that come twice, by two ways that a proxy has made of one (RFC 3261 §8.2.2.2).
//!
//! Retransmissions do not get here: they have the branch of the first copy. Deviation: copies for different Request-URIs are
//! different requests, for several forks of a call may be meant for several users behind one back-to-back user agent.

use std::collections::HashMap;

use crate::endpoint::ServerTx;
use crate::message::Message;

/// The requests outside dialogs whose final response has not left.
#[derive(Debug, Default)]
pub(crate) struct Ongoing(HashMap<String, ServerTx>);

impl Ongoing {
    /// Takes note of a request; `false` if another copy of it is being answered.
    pub fn begin(&mut self, tx: ServerTx, request: &Message) -> bool {
        let Some(key) = key(request) else { return true };
        *self.0.entry(key).or_insert(tx) == tx
    }

    /// The request has its final response.
    pub fn end(&mut self, tx: ServerTx, request: &Message) {
        if let Some(key) = key(request)
            && self.0.get(&key) == Some(&tx)
        {
            self.0.remove(&key);
        }
    }

    /// Its transaction has ended without one.
    pub fn forget(&mut self, tx: ServerTx) {
        self.0.retain(|_, other| *other != tx);
    }
}

/// Request-URI, Call-ID, From tag and CSeq, which are the same in every copy; `None` within a dialog, and for peers of RFC 2543.
fn key(request: &Message) -> Option<String> {
    if request.to_tag().is_some() {
        return None;
    }
    let cseq = request.cseq().ok()?;
    let (uri, tag, call_id) = (request.request_uri()?, request.from_tag()?, request.call_id().ok()?);
    Some(format!("{} {} {uri} {tag} {call_id}", cseq.number, cseq.method))
}
