//! The check list of one component as RFC 8445 §§6–8 and 12 have it, with RFC 8838 (candidates that come later), 8863
//! (patience) and 7675 (consent).
//!
//! ```text
//!   candidates ──▶ pair.rs      pairs, their states, order and number
//!   Ta ──────────▶ check.rs     requests of ours, and what their responses mean
//!   requests ────▶ answer.rs    responses of ours, role conflicts, triggered checks; lite agents do this alone
//!                  nominate.rs  which pair carries data, and when that is settled
//!                  unseen.rs    the same where neither end checks
//!                  consent.rs   whether it still may
//! ```

mod answer;
mod check;
mod consent;
mod nominate;
mod pair;
mod unseen;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Instant, Rng};
use farspeak_stun::{Class, Key, Message};

use super::{Agreed, Foundations, IceSession, LocalCandidate, Path, SessionEvent, Urgency};
use crate::derived::Derived;
use crate::{AgentConfig, Candidate, CandidateType, Credentials, Mode, Nomination, Timing};
use answer::Early;
use consent::Consent;
use pair::{Base, Pair, PairId, PairState, RemoteCandidate};

/// See the module.
pub struct CheckList {
    own_ufrag: String,
    own_key: Key,
    remote: Option<Peer>,
    lite: bool,
    /// The peer is lite as well: nobody checks. When to select then.
    both_lite: bool,
    unseen_at: Instant,
    controlling: bool,
    tie_breaker: u64,
    timing: Timing,
    nomination: Nomination,
    most_pairs: usize,
    most_remotes: usize,
    rng: Derived,
    /// Own bases and reflexive addresses; the peer's addresses.
    bases: Vec<Base>,
    reflexive: Vec<(SocketAddr, SocketAddr, u32)>,
    remotes: Vec<RemoteCandidate>,
    pairs: Vec<Pair>,
    next_pair: u32,
    /// Whether pairs begin frozen, because another component goes first (RFC 8445 §6.1.2.6).
    follows: bool,
    /// Foundations that have succeeded, here or in another component; which of them the others do not know yet.
    good: Vec<Foundations>,
    succeeded: Vec<Foundations>,
    /// RFC 8445 §6.1.4.1.
    triggered: VecDeque<PairId>,
    triggered_in_a_row: u32,
    /// Checks that came before the peer's credentials (RFC 8445 §7.3).
    early: Vec<Early>,
    /// Whether no more candidates will come.
    complete: bool,
    /// When failure may be declared (RFC 8863).
    patience_ends: Option<Instant>,
    impatient: bool,
    first_valid: Option<Instant>,
    selected: Option<PairId>,
    /// The pair whose nomination is under way, and how many there have been.
    nominating: Option<PairId>,
    nominations: u32,
    consent: Option<Consent>,
    /// Consent on the selected pair is lost: nothing is sent any more.
    lost: bool,
    failed: bool,
    packets: VecDeque<(Path, Arc<[u8]>)>,
    events: VecDeque<SessionEvent>,
}

/// How the peer's checks and ours are sealed.
struct Peer {
    ufrag: String,
    username: String,
    key: Key,
    renomination: bool,
}

impl fmt::Debug for CheckList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckList")
            .field("pairs", &self.pairs)
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}

impl CheckList {
    /// A check list without candidates. `rng` seeds transaction IDs.
    pub fn new(
        component: u16,
        config: &AgentConfig,
        own: &Credentials,
        controlling: bool,
        tie_breaker: u64,
        rng: &mut (impl Rng + ?Sized),
    ) -> Self {
        Self {
            own_ufrag: own.ufrag().to_owned(),
            own_key: Key::from_bytes(own.password().as_bytes()),
            remote: None,
            lite: config.mode == Mode::Lite,
            both_lite: false,
            unseen_at: Instant::ZERO,
            controlling,
            tie_breaker,
            timing: config.timing,
            nomination: config.nomination,
            most_pairs: config.limits.pairs,
            most_remotes: config.limits.remote_candidates,
            rng: Derived::new(rng),
            bases: Vec::new(),
            reflexive: Vec::new(),
            remotes: Vec::new(),
            pairs: Vec::new(),
            next_pair: 0,
            follows: component > 1,
            good: Vec::new(),
            succeeded: Vec::new(),
            triggered: VecDeque::new(),
            triggered_in_a_row: 0,
            early: Vec::new(),
            complete: false,
            patience_ends: None,
            impatient: false,
            first_valid: None,
            selected: None,
            nominating: None,
            nominations: 0,
            consent: None,
            lost: false,
            failed: false,
            packets: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    fn pair(&self, id: PairId) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.id == id)
    }

    fn pair_mut(&mut self, id: PairId) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.id == id)
    }

    fn pair_at(&self, path: Path) -> Option<PairId> {
        self.pairs.iter().find(|pair| pair.path == path).map(|pair| pair.id)
    }

    /// Whether new checks are of any use: before anything is selected.
    fn is_running(&self) -> bool {
        self.remote.is_some() && !self.lite && !self.lost && !self.is_done()
    }

    /// A pair is selected for good: without renomination the list ends with it (RFC 8445 §8.1.2).
    fn is_done(&self) -> bool {
        self.selected.is_some() && !self.renomination()
    }

    fn renomination(&self) -> bool {
        self.remote.as_ref().is_some_and(|peer| peer.renomination)
    }

    /// Puts a pair into the triggered-check queue (RFC 8445 §6.1.4.1).
    fn trigger(&mut self, id: PairId) {
        if !self.triggered.contains(&id) {
            self.triggered.push_back(id);
        }
    }

    /// RFC 8445 §8.1.2, §7.2.5.4: no pair is valid, none can become so, and nobody is waited for any longer.
    fn judge(&mut self, now: Instant) {
        if self.patience_ends.is_some_and(|ends| ends <= now) {
            (self.patience_ends, self.impatient) = (None, true);
        }
        let hope = |pair: &Pair| pair.valid.is_some() || pair.state != PairState::Failed;
        if self.impatient && !self.failed && !self.lost && self.selected.is_none() && !self.pairs.iter().any(hope) {
            self.failed = true;
            self.events.push_back(SessionEvent::Failed);
        }
    }
}

impl IceSession for CheckList {
    fn set_role(&mut self, _now: Instant, controlling: bool, tie_breaker: u64) {
        self.tie_breaker = tie_breaker;
        if self.controlling != controlling {
            self.controlling = controlling;
            self.reorder();
        }
    }

    fn set_remote(&mut self, now: Instant, remote: &Credentials, agreed: Agreed) {
        (self.both_lite, self.timing.ta) = (agreed.both_lite, agreed.ta);
        self.unseen_at = now + agreed.ta;
        self.remote = Some(Peer {
            ufrag: remote.ufrag().to_owned(),
            username: format!("{}:{}", remote.ufrag(), self.own_ufrag),
            key: Key::from_bytes(remote.password().as_bytes()),
            renomination: agreed.renomination,
        });
        self.patience_ends = (!self.lite).then(|| now + self.timing.patience);
        for early in std::mem::take(&mut self.early) {
            self.learn(now, early);
        }
    }

    fn add_local(&mut self, _now: Instant, local: &LocalCandidate) {
        self.pair_local(local);
    }

    fn remove_local(&mut self, now: Instant, base: SocketAddr) {
        self.bases.retain(|known| known.address != base);
        self.reflexive.retain(|(_, of, _)| *of != base);
        let selected = self.selected.and_then(|id| self.pair(id)).is_some_and(|pair| pair.path.local == base);
        self.pairs.retain(|pair| pair.path.local != base);
        let pairs = &self.pairs;
        self.triggered.retain(|id| pairs.iter().any(|pair| pair.id == *id));
        self.nominating = self.nominating.filter(|id| pairs.iter().any(|pair| pair.id == *id));
        if selected {
            self.lose_consent();
        }
        self.settle(now);
    }

    fn add_remote(&mut self, now: Instant, remote: &Candidate) {
        self.pair_remote(remote);
        self.settle(now);
    }

    fn set_complete(&mut self, now: Instant, complete: bool) {
        self.complete = complete;
        self.settle(now);
    }

    fn handle_message(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        if self.lost {
            return false;
        }
        let taken = match message.class() {
            Class::Request => {
                self.answer(now, path, message);
                true
            }
            Class::Success | Class::Error => self.handle_response(now, path, message),
            Class::Indication => false,
        };
        self.settle(now);
        taken
    }

    /// Nothing: whoever can forge an ICMP error must not be able to end a check or a call (RFC 8445 §7.2.5.2.2 leaves it
    /// open).
    fn handle_unreachable(&mut self, _now: Instant, _path: Path) {}

    fn handle_timeout(&mut self, now: Instant) {
        if self.lost {
            return;
        }
        self.repeat_checks(now);
        self.settle(now);
        self.keep_consent(now);
        self.judge(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.lost {
            return None;
        }
        let checks = self.pairs.iter().flat_map(Pair::deadlines).min();
        let patience = self.patience_ends.filter(|_| self.selected.is_none());
        let consent = self.consent.as_ref().map(Consent::deadline);
        [checks, patience, consent, self.nomination_due(), self.unseen_due()].into_iter().flatten().min()
    }

    fn next_check(&self) -> Option<(Urgency, u64)> {
        let pair = self.next_pair_to_check().and_then(|id| self.pair(id))?;
        let urgency = match pair.state {
            _ if pair.nominate || pair.nominated_by_peer.is_some() => Urgency::Deciding,
            _ if self.triggered.contains(&pair.id) => Urgency::Triggered,
            PairState::Frozen => Urgency::Frozen,
            _ => Urgency::Waiting,
        };
        Some((urgency, pair.priority))
    }

    fn begin_check(&mut self, now: Instant) {
        let Some(id) = self.next_pair_to_check() else { return };
        let queued = self.triggered.len();
        self.triggered.retain(|queued| *queued != id);
        self.triggered_in_a_row = if self.triggered.len() < queued { self.triggered_in_a_row + 1 } else { 0 };
        self.send_check(now, id);
    }

    fn succeeded(&mut self) -> Vec<Foundations> {
        std::mem::take(&mut self.succeeded)
    }

    fn unfreeze(&mut self, foundations: &Foundations) {
        self.unfreeze_like(foundations);
    }

    fn poll_packet(&mut self) -> Option<(Path, Arc<[u8]>)> {
        self.packets.pop_front()
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    fn selected(&self) -> Option<Path> {
        self.selected.and_then(|id| self.pair(id)).map(|pair| pair.path)
    }

    fn sendable(&self) -> Option<Path> {
        if self.lost {
            return None;
        }
        self.selected().or_else(|| self.best_valid().map(|pair| pair.path))
    }

    fn accepts(&self, path: Path) -> bool {
        let Some(pair) = self.pair_at(path).and_then(|id| self.pair(id)) else { return false };
        // The peer may send as soon as we have answered its check, which is before our own is answered. But a check that
        // somebody has recorded and sends again is as authentic: beyond selection it takes a candidate of the peer's.
        let told = pair.remote_kind != CandidateType::PeerReflexive;
        let heard = pair.heard && pair.state != PairState::Failed && (told || !self.is_done());
        // Of two lite agents each selects for itself.
        pair.valid.is_some() || heard || self.both_lite
    }
}
