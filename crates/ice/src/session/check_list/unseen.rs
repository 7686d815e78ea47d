//! Two lite agents: nobody checks, each selects what is best of the candidates that were exchanged (RFC 8445 §6.1.1, §8.2).
//!
//! Nothing proves that the peer is there or wants what it is sent; who does not trust the signalling to say where the
//! peer is runs a full agent.

use farspeak_sansio::Instant;

use super::CheckList;
use super::pair::{PairState, Valid};
use crate::session::SessionEvent;

impl CheckList {
    /// Selects when all candidates are known: a moment later, since those of one description are told one by one.
    ///
    /// Where there are several pairs RFC 8445 §8.2 recommends the rules of RFC 6724, by which the ends may come to
    /// different pairs. The priorities of pairs (§6.1.2.3), which prefer IPv6 as well, lead both to the same.
    pub(super) fn select_unseen(&mut self, now: Instant) {
        if self.unseen_due().is_none_or(|due| now < due) {
            return;
        }
        let Some(best) = self.pairs.iter_mut().max_by_key(|pair| pair.priority) else {
            self.failed = true;
            return self.events.push_back(SessionEvent::Failed);
        };
        best.state = PairState::Succeeded;
        best.valid = Some(Valid { priority: best.priority, confirmed: now });
        best.nominated = Some(0);
        self.first_valid = Some(now);
        self.events.push_back(SessionEvent::Valid);
    }

    /// When that is. Without a pair it is tried once, and again if one comes.
    pub(super) fn unseen_due(&self) -> Option<Instant> {
        let waits = self.both_lite && self.complete && self.selected.is_none() && !self.lost;
        let hopeless = self.failed && self.pairs.is_empty();
        (waits && !hopeless).then_some(self.unseen_at)
    }
}
