//! Which pair carries the data: nominated by whom controls, selected by both (RFC 8445 §8.1).

use farspeak_sansio::Instant;

use super::CheckList;
use super::pair::{Pair, PairId, PairState, Valid};
use crate::CandidateType;
use crate::session::SessionEvent;

impl CheckList {
    /// After anything that may have changed what is valid or nominated.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.lost {
            return;
        }
        self.select_unseen(now);
        self.select(now);
        if self.controlling && !self.lite {
            self.nominate(now);
        }
        self.follow_consent(now);
    }

    /// The best member of the valid list.
    pub(super) fn best_valid(&self) -> Option<&Pair> {
        if self.lite {
            return None;
        }
        let valid = self.pairs.iter().filter(|pair| pair.valid.is_some());
        valid.max_by_key(|pair| pair.valid.map(|valid| valid.priority))
    }

    /// Selects the nominated pair; of several, the best (RFC 8445 §8.1.1, for peers that nominate aggressively) or, where
    /// both ends have agreed on renomination, the last.
    ///
    /// Deviation: what has been silent for half the time that consent lasts gives way to what has not, as there are peers
    /// that nominate another pair without a restart when theirs has died. And a lite agent keeps to the first nominated
    /// pair while that lives: it sends no check that only the peer could answer, and a nomination that somebody has
    /// recorded and sends again from elsewhere is as authentic as ever.
    fn select(&mut self, now: Instant) {
        let renomination = self.renomination();
        let selected = self.selected.and_then(|id| self.pair(id)).and_then(|pair| pair.valid);
        if self.lite && !renomination && selected.is_some_and(|valid| self.is_fresh(&valid, now)) {
            return;
        }
        let nominated = self.pairs.iter().filter(|pair| pair.nominated.is_some());
        let rank = |(pair, valid): &(&Pair, Valid)| {
            let weight = if renomination { pair.nominated } else { None };
            (weight, self.is_fresh(valid, now), valid.priority)
        };
        let nominated = nominated.filter_map(|pair| Some((pair, pair.valid?)));
        let Some((best, _)) = nominated.max_by_key(rank) else { return };
        let (id, path) = (best.id, best.path);
        if self.selected == Some(id) {
            return;
        }
        // Without renomination what is selected stays, unless the peer nominates aggressively.
        self.selected = Some(id);
        self.conclude(id);
        self.events.push_back(SessionEvent::Selected(path));
        self.follow_consent(now);
    }

    /// Whether the peer has been heard on it lately.
    pub(super) fn is_fresh(&self, valid: &Valid, now: Instant) -> bool {
        now < valid.confirmed + self.timing.consent / 2
    }

    /// RFC 8445 §8.1.2: the other pairs are not checked any more; those that are valid still may bring data.
    fn conclude(&mut self, selected: PairId) {
        if self.renomination() || self.both_lite {
            return;
        }
        let keep =
            |pair: &Pair| pair.id == selected || pair.valid.is_some() || pair.heard || pair.nominated_by_peer.is_some();
        self.pairs.retain(keep);
        for pair in &mut self.pairs {
            if pair.id != selected && pair.nominated_by_peer.is_none() {
                pair.overtake();
            }
        }
        let pairs = &self.pairs;
        let wanted = |id: &PairId| {
            pairs.iter().any(|pair| pair.id == *id && (pair.nominated_by_peer.is_some() || pair.nominate))
        };
        self.triggered.retain(wanted);
    }

    /// When the decision about the best valid pair is due.
    pub(super) fn nomination_due(&self) -> Option<Instant> {
        let idle = self.controlling && !self.lite && self.selected.is_none() && self.nominating.is_none();
        let best = self.best_valid().filter(|_| idle)?;
        let patience = if best.relayed { self.nomination.relayed_patience } else { self.nomination.patience };
        let promising = |pair: &Pair| best.relayed && pair.priority > best.priority && pair.is_promising();
        let patience = if self.pairs.iter().any(promising) { patience * 5 / 2 } else { patience };
        Some(self.first_valid? + patience)
    }

    /// RFC 8445 §8.1.1: the controlling agent nominates one pair, once, when no better one is to be expected.
    fn nominate(&mut self, now: Instant) {
        if self.nominating.is_some() {
            return;
        }
        let Some(best) = self.best_valid() else { return };
        let id = best.id;
        match self.selected {
            Some(selected) if !self.renomination() || selected == id => return,
            Some(_) => {}
            None => {
                let better = |pair: &Pair| pair.is_pending() && pair.priority > best.priority;
                let direct = !best.relayed && best.remote_kind == CandidateType::Host;
                let settled = (self.complete || direct) && !self.pairs.iter().any(better);
                if !settled && self.nomination_due().is_some_and(|due| now < due) {
                    return;
                }
            }
        }
        self.nominating = Some(id);
        self.nominations += 1;
        if let Some(pair) = self.pair_mut(id) {
            pair.nominate = true;
            pair.state = PairState::Succeeded;
        }
        self.triggered.retain(|queued| *queued != id);
        self.triggered.push_front(id);
    }
}
