//! Which transaction a message belongs to (RFC 3261 §17.1.3 for responses, §17.2.3 for requests).
//!
//! All that must be equal goes into one keyed hash. Text is hashed in lower case: branches, hosts and parameters do not
//! tell case apart (RFC 3261 §7.3.1), and a retransmission repeats it anyway.

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::table::MatchKey;
use crate::message::{HeaderName, Message, Method, Via};
use std::hash::Hasher as _;

/// Hashes what transactions are matched by. The buffer is kept between messages.
pub(crate) struct Matcher {
    seed: (u64, u64),
    buffer: Vec<u8>,
}

impl Matcher {
    /// A matcher whose hashes nobody can foresee.
    pub(crate) fn new(seed: (u64, u64)) -> Self {
        Self { seed, buffer: Vec::with_capacity(512) }
    }

    /// The key of the server transaction that the request belongs to or opens: by branch, sent-by and method if the
    /// branch has the cookie, else by the fields of the request. `via` is its top Via as it arrived, not yet stamped.
    ///
    /// `method` is the request's own, except for ACK and CANCEL that look for their INVITE (§17.2.3, §9.2). `to_tag`
    /// stands for the request's own where it is given; it counts only without the cookie.
    pub(crate) fn server(
        &mut self,
        request: &Message,
        via: &Via<'_>,
        method: &Method,
        to_tag: Option<&str>,
    ) -> Option<MatchKey> {
        if let Some(branch) = via.rfc3261_branch() {
            return Some(self.hash(b's', method, &[branch, via.sent_by]));
        }
        let cseq = request.cseq().ok()?.number.to_string();
        let parts = [
            request.request_uri().unwrap_or_default(),
            to_tag.or_else(|| request.to_tag()).unwrap_or_default(),
            request.from_tag().unwrap_or_default(),
            request.call_id().unwrap_or_default(),
            &cseq,
            request.header(HeaderName::Via).unwrap_or_default(),
        ];
        Some(self.hash(b'o', method, &parts))
    }

    /// The key of the client transaction with this branch and method.
    pub(crate) fn client(&mut self, branch: &str, method: &Method) -> MatchKey {
        self.hash(b'c', method, &[branch])
    }

    /// The key of the client transaction that the response belongs to: its top Via's branch and its CSeq's method.
    pub(crate) fn response(&mut self, response: &Message) -> Option<MatchKey> {
        let branch = response.via().ok()?.branch()?;
        let cseq = response.cseq().ok()?;
        Some(self.client(branch, &cseq.method))
    }

    /// A number that belongs to the request: the same for its retransmissions. For the To tags of stateless answers
    /// (RFC 3261 §8.2.7).
    pub(crate) fn tag(&mut self, request: &Message) -> u64 {
        let branch = request.via().ok().and_then(|via| via.branch()).unwrap_or_default();
        let call_id = request.header(HeaderName::CallId).unwrap_or_default();
        self.hash(b't', &Method::Invite, &[branch, call_id]) as u64
    }

    fn hash(&mut self, kind: u8, method: &Method, parts: &[&str]) -> MatchKey {
        self.buffer.clear();
        for part in parts {
            self.buffer.extend_from_slice(part.as_bytes());
            self.buffer.push(0); // stands in no message, so "a"+"bc" and "ab"+"c" differ
        }
        self.buffer.make_ascii_lowercase();
        // Methods do tell case apart (RFC 3261 §7.1).
        self.buffer.push(kind);
        self.buffer.extend_from_slice(method.as_str().as_bytes());
        let mut hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(&self.buffer);
        hasher.finish128().as_u128()
    }
}
