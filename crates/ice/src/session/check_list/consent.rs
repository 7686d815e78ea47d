//! Consent to send (RFC 7675): asked for every five seconds or so, gone after thirty without an answer. The requests also
//! keep the mappings on the way alive (RFC 8445 §11). A lite agent asks nothing; it takes the peer's checks for consent.

use std::collections::VecDeque;
use std::time::Duration;

use farspeak_sansio::{Instant, Rng};
use farspeak_stun::{Class, Message, Method, TransactionId, Writer};

use super::CheckList;
use super::check::Asked;
use super::pair::PairId;
use crate::priority;
use crate::session::{Path, SessionEvent};

pub(super) struct Consent {
    pair: PairId,
    path: Path,
    expires: Instant,
    next: Instant,
    /// Requests that may still be answered.
    outstanding: VecDeque<TransactionId>,
}

/// As many as are sent until consent expires.
const MOST_OUTSTANDING: usize = 8;

/// Times 0.8 it is the least that RFC 7675 §5.1 allows.
const LEAST_INTERVAL: Duration = Duration::from_secs(5);

impl Consent {
    pub(super) fn deadline(&self) -> Instant {
        self.expires.min(self.next)
    }

    /// A check of the pair has been answered, which is as good as a request for consent (RFC 7675 §5.1).
    pub(super) fn confirm(&mut self, pair: PairId, until: Instant) {
        if self.pair == pair {
            self.expires = self.expires.max(until);
        }
    }
}

impl CheckList {
    /// Consent concerns the pair that carries data: what is selected, else the best valid one.
    pub(super) fn follow_consent(&mut self, now: Instant) {
        let carrying = self.selected.and_then(|id| self.pair(id)).or_else(|| self.best_valid());
        let Some((pair, path, valid)) = carrying.and_then(|pair| Some((pair.id, pair.path, pair.valid?))) else {
            self.consent = None;
            return;
        };
        if self.consent.as_ref().is_some_and(|consent| consent.pair == pair) {
            return;
        }
        let mut expires = valid.confirmed + self.timing.consent;
        if self.both_lite {
            // Nobody asks and nobody answers: signalling says when it ends.
            expires = Instant::FAR_FUTURE;
        }
        let next = now + self.pause();
        self.consent = Some(Consent { pair, path, expires, next, outstanding: VecDeque::new() });
    }

    /// RFC 7675 §5.1: 0.8 to 1.2 times the interval. A lite agent's keep-alives are 15 s apart (RFC 8445 §11).
    fn pause(&mut self) -> Duration {
        if self.lite {
            return self.timing.keepalive;
        }
        let interval = self.timing.consent_interval.max(LEAST_INTERVAL);
        interval.mul_f64(0.8 + 0.4 * (self.rng.below(1 << 20) as f64 / f64::from(1 << 20)))
    }

    pub(super) fn keep_consent(&mut self, now: Instant) {
        let Some(consent) = &self.consent else { return };
        let (pair, path) = (consent.pair, consent.path);
        if consent.expires <= now {
            if self.selected == Some(pair) {
                return self.lose_consent();
            }
            if let Some(pair) = self.pair_mut(pair) {
                (pair.valid, pair.state) = (None, super::PairState::Failed);
            }
            self.consent = None;
            return self.settle(now);
        }
        if consent.next > now {
            return;
        }
        let next = now + self.pause();
        let sent = if self.lite { self.keep_alive(path) } else { self.ask_consent(path) };
        let Some(consent) = &mut self.consent else { return };
        consent.next = next;
        consent.outstanding.extend(sent);
        if consent.outstanding.len() > MOST_OUTSTANDING {
            consent.outstanding.pop_front();
        }
    }

    fn ask_consent(&mut self, path: Path) -> Option<TransactionId> {
        let base = self.bases.iter().find(|base| base.address == path.local)?;
        let asked = Asked { priority: priority::peer_reflexive(base.priority), use_candidate: false, nomination: None };
        let (id, bytes) = self.request(&asked)?;
        self.packets.push_back((path, bytes));
        Some(id)
    }

    fn keep_alive(&mut self, path: Path) -> Option<TransactionId> {
        let mut buffer = [0; 32];
        let id = TransactionId::random(&mut self.rng);
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::BINDING, id);
        writer.fingerprint();
        self.packets.push_back((path, writer.finish().ok()?.into()));
        None
    }

    /// Whether the message answers a request for consent; a sealed 403 revokes it (RFC 7675 §5.2).
    pub(super) fn consent_response(&mut self, now: Instant, path: Path, message: &Message<'_>, sealed: bool) -> bool {
        let Some(consent) = &mut self.consent else { return false };
        let asked = consent.outstanding.contains(&message.transaction_id()) && message.method() == Method::BINDING;
        if !asked || consent.path != path {
            return asked;
        }
        let pair = consent.pair;
        if message.class() == Class::Success && sealed {
            consent.expires = now + self.timing.consent;
            let id = message.transaction_id();
            consent.outstanding.retain(|outstanding| *outstanding != id);
            if let Some(valid) = self.pair_mut(pair).and_then(|pair| pair.valid.as_mut()) {
                valid.confirmed = now;
            }
        } else if sealed && message.error_code().ok().flatten().is_some_and(|error| error.code == 403) {
            self.lose_consent();
        }
        true
    }

    /// A check of the peer's has come on a pair of a lite agent.
    pub(super) fn heard_lite(&mut self, now: Instant, pair: PairId) {
        self.settle(now);
        if let Some(consent) = self.consent.as_mut().filter(|consent| consent.pair == pair && !self.both_lite) {
            consent.expires = now + self.timing.consent;
        }
    }

    /// Nothing is sent any more with these credentials (RFC 7675 §5.1).
    pub(super) fn lose_consent(&mut self) {
        self.lost = true;
        (self.selected, self.consent, self.nominating) = (None, None, None);
        self.pairs.clear();
        self.triggered.clear();
        self.packets.clear();
        self.events.push_back(SessionEvent::ConsentLost);
    }
}
