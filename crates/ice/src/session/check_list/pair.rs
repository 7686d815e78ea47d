//! Pairs: formed, ordered, frozen, limited (RFC 8445 §6.1.2; for candidates that come later RFC 8838 §§10–12).

use std::net::SocketAddr;

use farspeak_sansio::Instant;
use farspeak_stun::Transaction;

use super::CheckList;
use crate::candidate::{is_link_local, unscoped};
use crate::session::{Foundations, LocalCandidate, Path};
use crate::{Candidate, CandidateType, priority};

/// After so many triggered checks, an ordinary one has its turn.
const MOST_TRIGGERED_IN_A_ROW: u32 = 1;

/// Names a pair as long as the session lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PairId(u32);

/// RFC 8445 figure 6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PairState {
    Frozen,
    Waiting,
    InProgress,
    Succeeded,
    Failed,
}

/// From where checks are sent: a host or relayed candidate. Reflexive ones have given way to it (RFC 8445 §6.1.2.4).
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) address: SocketAddr,
    pub(super) priority: u32,
    foundation: String,
    relayed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct RemoteCandidate {
    pub(super) address: SocketAddr,
    priority: u32,
    foundation: String,
    kind: CandidateType,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) id: PairId,
    pub(super) path: Path,
    pub(super) priority: u64,
    pub(super) state: PairState,
    /// Of the local and of the remote candidate.
    local_priority: u32,
    remote_priority: u32,
    pub(super) foundation: Foundations,
    /// Whether either end is at a relay.
    pub(super) relayed: bool,
    pub(super) remote_kind: CandidateType,
    /// The check under way, and those that were overtaken by another and may still be answered.
    pub(super) check: Option<Check>,
    pub(super) overtaken: Vec<Check>,
    /// The next check carries USE-CANDIDATE.
    pub(super) nominate: bool,
    /// How often it has been sent with it.
    pub(super) nominations: u32,
    /// The peer wants it nominated once it is valid; with renomination, how much.
    pub(super) nominated_by_peer: Option<u32>,
    /// The nominated flag (RFC 8445 §7.2.5.3.2), and with renomination its weight.
    pub(super) nominated: Option<u32>,
    /// Since a check succeeded.
    pub(super) valid: Option<Valid>,
    /// An authenticated check of the peer's has come this way.
    pub(super) heard: bool,
}

#[derive(Debug)]
pub(super) struct Check {
    pub(super) transaction: Transaction,
    pub(super) controlling: bool,
    pub(super) nominating: bool,
}

/// A member of the valid list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Valid {
    /// The priority with the local candidate that the peer saw (RFC 8445 §7.2.5.3.2).
    pub(super) priority: u64,
    /// When the last answer came.
    pub(super) confirmed: Instant,
}

impl Pair {
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.check.iter().map(|check| check.transaction.deadline())
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, PairState::Frozen | PairState::Waiting | PairState::InProgress)
    }

    /// Whether it is worth waiting for longer: the peer was heard on it, or it has hardly been tried.
    pub(super) fn is_promising(&self) -> bool {
        let tried = self.check.as_ref().is_some_and(|check| check.transaction.sent() > 2);
        self.is_pending() && !self.relayed && (self.heard || !tried)
    }
}

impl CheckList {
    fn pair_priority(&self, local: u32, remote: u32) -> u64 {
        if self.controlling { priority::pair(local, remote) } else { priority::pair(remote, local) }
    }

    /// The priority of a valid pair whose local candidate is what the peer saw.
    pub(super) fn valid_priority(&self, pair: &Pair, mapped: SocketAddr) -> u64 {
        let reflexive = self.reflexive.iter().find(|(address, base, _)| (*address, *base) == (mapped, pair.path.local));
        let local = match reflexive {
            _ if mapped == pair.path.local => pair.local_priority,
            Some((.., priority)) => *priority,
            None => priority::peer_reflexive(pair.local_priority),
        };
        self.pair_priority(local, pair.remote_priority)
    }

    /// After a change of role (RFC 8445 §7.2.5.1).
    pub(super) fn reorder(&mut self) {
        for at in 0..self.pairs.len() {
            let pair = &self.pairs[at];
            let priority = self.pair_priority(pair.local_priority, pair.remote_priority);
            self.pairs[at].priority = priority;
            self.pairs[at].nominate = false;
        }
        self.nominating = None;
    }

    pub(super) fn pair_local(&mut self, local: &LocalCandidate) {
        let (address, base) = (unscoped(local.address), unscoped(local.base));
        let priority = local.candidate.priority;
        if !matches!(local.candidate.kind, CandidateType::Host | CandidateType::Relayed) {
            self.reflexive.push((address, base, priority));
            return;
        }
        if self.bases.iter().any(|known| known.address == base) {
            return;
        }
        let relayed = local.candidate.kind == CandidateType::Relayed;
        let base = Base { address: base, priority, foundation: local.candidate.foundation.clone(), relayed };
        self.bases.push(base.clone());
        for remote in self.remotes.clone() {
            self.form(&base, &remote);
        }
    }

    pub(super) fn pair_remote(&mut self, remote: &Candidate) {
        let Some(address) = remote.socket_address().map(unscoped) else { return };
        let priority = priority::clamped(remote.priority);
        let foundation = remote.foundation.clone();
        let remote = RemoteCandidate { address, priority, foundation, kind: remote.kind };
        if let Some(known) = self.remotes.iter_mut().find(|known| known.address == address) {
            // A peer-reflexive one gets its real foundation and priority (RFC 8838 §11); any other is a repetition.
            if known.kind != CandidateType::PeerReflexive {
                return;
            }
            *known = remote.clone();
            for at in 0..self.pairs.len() {
                if self.pairs[at].path.remote == address {
                    let priority = self.pair_priority(self.pairs[at].local_priority, remote.priority);
                    let pair = &mut self.pairs[at];
                    (pair.priority, pair.remote_priority) = (priority, remote.priority);
                    pair.foundation.1.clone_from(&remote.foundation);
                    pair.remote_kind = remote.kind;
                    pair.relayed |= remote.kind == CandidateType::Relayed;
                }
            }
        } else if self.remotes.len() < self.most_remotes {
            self.remotes.push(remote.clone());
        } else {
            return;
        }
        for base in self.bases.clone() {
            self.form(&base, &remote);
        }
    }

    /// A peer-reflexive candidate of the peer's (RFC 8445 §7.3.1.3): it is paired with nothing but where it was seen.
    pub(super) fn learn_remote(&mut self, address: SocketAddr, claimed: u32) -> Option<RemoteCandidate> {
        if let Some(known) = self.remotes.iter().find(|known| known.address == address) {
            return Some(known.clone());
        }
        // Half of the room is for those that signalling brings.
        let reflexive = self.remotes.iter().filter(|known| known.kind == CandidateType::PeerReflexive).count();
        if reflexive >= self.most_remotes.div_ceil(2) {
            return None;
        }
        // No candidate that signalling brings has a foundation with this character.
        let foundation = format!("*{}", self.remotes.len());
        let kind = CandidateType::PeerReflexive;
        let remote = RemoteCandidate { address, priority: priority::clamped(claimed), foundation, kind };
        self.remotes.push(remote.clone());
        Some(remote)
    }

    /// The pair of a base and a remote candidate, made if need be (RFC 8445 §6.1.2.2, §6.1.2.4).
    pub(super) fn form(&mut self, base: &Base, remote: &RemoteCandidate) -> Option<PairId> {
        let path = Path { local: base.address, remote: remote.address };
        let fits = base.address.is_ipv4() == remote.address.is_ipv4()
            && (base.relayed || is_link_local(base.address.ip()) == is_link_local(remote.address.ip()))
            && !(base.relayed && is_link_local(remote.address.ip()))
            && base.address != remote.address;
        if let Some(known) = self.pair_at(path) {
            return Some(known);
        }
        if !fits || self.lite && !self.both_lite || self.is_done() {
            return None;
        }
        let foundation = (base.foundation.clone(), remote.foundation.clone());
        let active = |pair: &Pair| matches!(pair.state, PairState::Waiting | PairState::InProgress);
        let blocked = self.pairs.iter().any(|pair| pair.foundation == foundation && active(pair));
        let frozen = (blocked || self.follows) && !self.good.contains(&foundation);
        let state = if frozen { PairState::Frozen } else { PairState::Waiting };
        self.insert(base, remote, state)
    }

    /// Puts a pair in whatever its foundation; drops the least one if there are too many (RFC 8445 §6.1.2.5).
    pub(super) fn insert(&mut self, base: &Base, remote: &RemoteCandidate, state: PairState) -> Option<PairId> {
        let priority = self.pair_priority(base.priority, remote.priority);
        if self.pairs.len() >= self.most_pairs {
            let idle = |pair: &&Pair| pair.valid.is_none() && pair.state != PairState::InProgress;
            let least =
                self.pairs.iter().filter(idle).min_by_key(|pair| (pair.state != PairState::Failed, pair.priority))?;
            if least.priority >= priority && least.state != PairState::Failed {
                return None;
            }
            let gone = least.id;
            self.pairs.retain(|pair| pair.id != gone);
            self.triggered.retain(|id| *id != gone);
        }
        self.next_pair = self.next_pair.wrapping_add(1);
        let id = PairId(self.next_pair);
        self.pairs.push(Pair {
            id,
            path: Path { local: base.address, remote: remote.address },
            priority,
            state,
            local_priority: base.priority,
            remote_priority: remote.priority,
            foundation: (base.foundation.clone(), remote.foundation.clone()),
            relayed: base.relayed || remote.kind == CandidateType::Relayed,
            remote_kind: remote.kind,
            check: None,
            overtaken: Vec::new(),
            nominate: false,
            nominations: 0,
            nominated_by_peer: None,
            nominated: None,
            valid: None,
            heard: false,
        });
        Some(id)
    }

    /// RFC 8445 §7.2.5.3.3: what looks like a pair that works is checked as well, also if it comes later (RFC 8838 §12).
    /// Whether that is news.
    pub(super) fn unfreeze_like(&mut self, foundation: &Foundations) -> bool {
        if self.good.contains(foundation) || self.good.len() >= self.most_pairs {
            return false;
        }
        self.good.push(foundation.clone());
        for pair in &mut self.pairs {
            if pair.state == PairState::Frozen && pair.foundation == *foundation {
                pair.state = PairState::Waiting;
            }
        }
        true
    }

    /// Which check is next: triggered ones, then the best waiting one, then a frozen one whose foundation nobody is busy
    /// with (RFC 8445 §6.1.4.2).
    ///
    /// Deviation: between two translators that take another port for each packet's destination, every check brings up
    /// another peer-reflexive candidate and with it a triggered check, for ever. So after some of them an ordinary check
    /// has its turn. And who is busy with its foundation but has had no answer within one RTO holds the others up no longer.
    /// There are peers that give all their candidates one foundation.
    pub(super) fn next_pair_to_check(&self) -> Option<PairId> {
        if self.remote.is_none() || self.lite || self.lost {
            return None;
        }
        let triggered = self.triggered.front().copied();
        let nominates = |id: PairId| self.pair(id).is_some_and(|pair| pair.nominate);
        if triggered.is_some_and(|id| nominates(id) || self.triggered_in_a_row < MOST_TRIGGERED_IN_A_ROW) {
            return triggered;
        }
        self.next_ordinary().or(triggered)
    }

    fn next_ordinary(&self) -> Option<PairId> {
        if !self.is_running() {
            return None;
        }
        let waits = |pair: &&Pair| pair.state == PairState::Waiting && !self.triggered.contains(&pair.id);
        if let Some(waiting) = self.pairs.iter().filter(waits).max_by_key(|pair| pair.priority) {
            return Some(waiting.id);
        }
        let busy = |frozen: &Pair| {
            let fresh = |pair: &Pair| pair.check.as_ref().is_some_and(|check| check.transaction.sent() < 2);
            self.pairs.iter().any(|pair| pair.foundation == frozen.foundation && fresh(pair))
        };
        let frozen = self.pairs.iter().filter(|pair| pair.state == PairState::Frozen && !busy(pair));
        frozen.max_by_key(|pair| pair.priority).map(|pair| pair.id)
    }
}
