//! Checks of ours: the request, its repetitions, its response (RFC 8445 §7.2).

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Transport};
use farspeak_stun::{
    Attribute, AttributeType, Class, Message, Method, Schedule, Step, Transaction, TransactionId, Writer,
};

use super::pair::{Check, PairId, PairState, Valid};
use super::{CheckList, Peer};
use crate::priority;
use crate::session::{Path, SessionEvent};

/// NOMINATION of draft-thatcher-ice-renomination, by the number that browsers use.
pub(super) const NOMINATION: AttributeType = AttributeType(0xc001);

/// Longest check: a user name of two fragments, and then some.
const LONGEST: usize = 720;

/// Overtaken checks of one pair that may still be answered.
const MOST_OVERTAKEN: usize = 8;

/// How often a nomination is sent, one RTO apart, before it has failed.
const MOST_NOMINATIONS: u32 = 16;

/// What a request says besides who sends it.
pub(super) struct Asked {
    pub(super) priority: u32,
    pub(super) use_candidate: bool,
    pub(super) nomination: Option<u32>,
}

impl CheckList {
    /// RFC 8445 §7.2.2, §7.2.4.
    pub(super) fn request(&mut self, asked: &Asked) -> Option<(TransactionId, Arc<[u8]>)> {
        let id = TransactionId::random(&mut self.rng);
        let Peer { username, key, .. } = self.remote.as_ref()?;
        let mut buffer = [0; LONGEST];
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
        writer.push(Attribute::Username(username)).push(Attribute::Priority(asked.priority));
        writer.push(match self.controlling {
            true => Attribute::IceControlling(self.tie_breaker),
            false => Attribute::IceControlled(self.tie_breaker),
        });
        if asked.use_candidate {
            writer.push(Attribute::UseCandidate(()));
        }
        if let Some(nomination) = asked.nomination {
            writer.push_raw(NOMINATION, &nomination.to_be_bytes());
        }
        writer.integrity(key).fingerprint();
        Some((id, writer.finish().ok()?.into()))
    }

    pub(super) fn send_check(&mut self, now: Instant, id: PairId) {
        let Some(pair) = self.pair(id) else { return };
        let (path, nominating) = (pair.path, pair.nominate && self.controlling);
        let deciding = nominating || pair.nominated_by_peer.is_some();
        let Some(base) = self.bases.iter().find(|base| base.address == path.local) else { return };
        let priority = priority::peer_reflexive(base.priority);
        let nomination = (nominating && self.renomination()).then_some(self.nominations);
        let request = self.request(&Asked { priority, use_candidate: nominating, nomination });
        let Some((_, bytes)) = request else { return };
        // RFC 8445 §14.3. What decides is not held up by what is only tried.
        let busy = |state| matches!(state, PairState::Waiting | PairState::InProgress);
        let pending = self.pairs.iter().filter(|pair| busy(pair.state)).count();
        let paced = self.timing.ta.saturating_mul(if deciding { 0 } else { pending as u32 });
        let rto = self.timing.checks.rto.max(paced);
        // A nomination is repeated steadily, each time as a check of its own: the pair is known to work, and the answer to
        // any of them will do.
        let (rc, rm) = if nominating { (1, 1) } else { (self.timing.checks.rc, self.timing.checks.rm) };
        let schedule = Schedule { rto, rc, rm, ..self.timing.checks };
        let flow = Flow::unbound(Transport::Udp, path.local, path.remote);
        let Some((transaction, transmit)) = Transaction::begin(now, flow, bytes, schedule) else { return };
        let controlling = self.controlling;
        let Some(pair) = self.pair_mut(id) else { return };
        pair.overtake();
        pair.nominations += u32::from(nominating);
        pair.check = Some(Check { transaction, controlling, nominating });
        if pair.valid.is_none() {
            pair.state = PairState::InProgress;
        }
        self.packets.push_back((path, transmit.bytes));
    }

    pub(super) fn repeat_checks(&mut self, now: Instant) {
        let (mut failed, mut again) = (Vec::new(), Vec::new());
        for pair in &mut self.pairs {
            // Overtaken checks are not repeated, and their silence means nothing (RFC 8445 §7.3.1.4).
            let Some(check) = &mut pair.check else { continue };
            match check.transaction.handle_timeout(now) {
                Step::Wait => {}
                Step::Send(transmit) => self.packets.push_back((pair.path, transmit.bytes)),
                Step::TimedOut if check.nominating && pair.nominations < MOST_NOMINATIONS => again.push(pair.id),
                Step::TimedOut => failed.push((pair.id, check.nominating)),
            }
        }
        for id in again {
            if let Some(pair) = self.pair_mut(id) {
                pair.overtake();
                self.triggered.push_front(id);
            }
        }
        for (id, nominating) in failed {
            self.check_failed(id, nominating);
        }
    }

    /// RFC 8445 §7.2.5.2, and for a nomination §7.2.5.3.4. Deviation: a failed nomination does not fail the list; another
    /// valid pair, if there is one, is nominated instead.
    fn check_failed(&mut self, id: PairId, nominating: bool) {
        let selected = self.selected == Some(id);
        let Some(pair) = self.pair_mut(id) else { return };
        pair.check = None;
        if selected {
            // Whether a selected pair still works is for consent to say.
            pair.nominate = false;
        } else if nominating || pair.valid.is_none() || pair.nominated_by_peer.is_some() {
            (pair.state, pair.valid, pair.nominate) = (PairState::Failed, None, false);
            pair.nominated_by_peer = None;
        }
        if self.nominating == Some(id) {
            self.nominating = None;
        }
    }

    /// RFC 8445 §7.2.5. Returns whether the response was to a check or consent request of ours.
    pub(super) fn handle_response(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        let Some(peer) = &self.remote else { return false };
        let sealed = message.check_integrity_sha1(&peer.key).is_ok();
        if self.consent_response(now, path, message, sealed) {
            return true;
        }
        let answered = |check: &Check| check.transaction.is_answered_by(message);
        let found = self.pairs.iter().find(|pair| pair.check.iter().chain(&pair.overtaken).any(&answered));
        let Some((id, asked_on)) = found.map(|pair| (pair.id, pair.path)) else { return false };
        let Some(pair) = self.pair_mut(id) else { return false };
        let current = pair.check.as_ref().is_some_and(answered);
        let check = if current { pair.check.as_ref() } else { pair.overtaken.iter().find(|check| answered(check)) };
        let Some(check) = check else { return false };
        let (controlling, nominating) = (check.controlling, check.nominating);
        if !sealed {
            // Somebody else's: the right one may still come (RFC 8489 §9.1.4).
            return true;
        }
        pair.overtaken.retain(|check| !answered(check));
        if current {
            pair.check = None;
        }
        if asked_on != path {
            // RFC 8445 §7.2.5.2.1.
            self.check_failed(id, nominating);
        } else if message.class() == Class::Success {
            self.succeeded(now, id, nominating && controlling, message);
        } else if message.error_code().ok().flatten().is_some_and(|error| error.code == 487) {
            self.role_conflict(id, controlling);
        } else if current {
            self.check_failed(id, nominating);
        }
        true
    }

    fn succeeded(&mut self, now: Instant, id: PairId, nominating: bool, message: &Message<'_>) {
        // RFC 8445 §7.2.5.3.1: what the peer saw. Without it the answer is none.
        let Ok(Some(mapped)) = message.xor_mapped_address() else { return self.check_failed(id, nominating) };
        let Some(pair) = self.pair(id) else { return };
        let priority = self.valid_priority(pair, crate::candidate::unscoped(mapped));
        let weight = self.nominations;
        let Some(pair) = self.pair_mut(id) else { return };
        pair.state = PairState::Succeeded;
        pair.valid = Some(Valid { priority, confirmed: now });
        if let Some(consent) = &mut self.consent {
            consent.confirm(id, now + self.timing.consent);
        }
        let Some(pair) = self.pair_mut(id) else { return };
        if pair.check.as_ref().is_some_and(|check| !check.nominating) {
            pair.overtake();
        }
        if nominating {
            (pair.nominated, pair.nominate) = (Some(weight), false);
        } else if let Some(weight) = pair.nominated_by_peer.take() {
            pair.nominated = Some(weight);
        }
        self.triggered.retain(|queued| *queued != id || self.pairs.iter().any(|p| p.id == id && p.nominate));
        if self.nominating == Some(id) && nominating {
            self.nominating = None;
        }
        let foundation = self.pair(id).map(|pair| pair.foundation.clone());
        // A peer-reflexive candidate's foundation means something in its own list alone.
        if let Some(foundation) = foundation.filter(|(_, remote)| !remote.starts_with('*'))
            && self.unfreeze_like(&foundation)
        {
            self.succeeded.push(foundation);
        }
        self.failed = false;
        if self.first_valid.is_none() {
            self.first_valid = Some(now);
            self.events.push_back(SessionEvent::Valid);
        }
    }

    /// RFC 8445 §7.2.5.1. An answer to a check from before a change of role says nothing.
    fn role_conflict(&mut self, id: PairId, controlling: bool) {
        if controlling == self.controlling {
            self.tie_breaker = farspeak_sansio::Rng::next_u64(&mut self.rng);
            self.controlling = !controlling;
            self.reorder();
            let event = SessionEvent::RoleChanged { controlling: !controlling, tie_breaker: self.tie_breaker };
            self.events.push_back(event);
        }
        let Some(pair) = self.pair_mut(id) else { return };
        if pair.valid.is_none() {
            pair.state = PairState::Waiting;
        }
        self.trigger(id);
    }
}

impl super::Pair {
    /// Another check takes the place of the one under way, which may still be answered.
    pub(super) fn overtake(&mut self) {
        self.overtaken.extend(self.check.take());
        let excess = self.overtaken.len().saturating_sub(MOST_OVERTAKEN);
        self.overtaken.drain(..excess);
    }
}
