//! Checks of the peer's: the response, conflicts of role, and what they trigger (RFC 8445 §7.3).

use std::net::SocketAddr;

use farspeak_sansio::Instant;
use farspeak_stun::long_term::Authenticated;
use farspeak_stun::short_term::{self, Refused};
use farspeak_stun::{Attribute, AttributeType, Class, ErrorCode, Message, Writer};

use super::CheckList;
use super::check::NOMINATION;
use super::pair::{PairId, PairState};
use crate::session::{Path, SessionEvent};

/// What is kept of a check that came before the peer's credentials.
#[derive(Clone, Copy)]
pub(super) struct Early {
    pub(super) path: Path,
    pub(super) priority: u32,
    pub(super) nomination: Option<u32>,
}

/// Most of them; the peer repeats what is lost.
const MOST_EARLY: usize = 16;

/// Longest answer: an address, a code with its phrase, seals.
const LONGEST: usize = 256;

impl CheckList {
    pub(super) fn answer(&mut self, now: Instant, path: Path, message: &Message<'_>) {
        let first = |name: &str| name.split_once(':').is_some_and(|(first, _)| first == self.own_ufrag);
        let checked = short_term::check(message, |name| first(name).then(|| self.own_key.clone()));
        let seal = match checked {
            Ok(seal) => seal,
            Err(refused @ (Refused::BadRequest | Refused::Unauthenticated)) => {
                return self.refuse(path, message, refused.error_code(), None);
            }
        };
        if message.not_understood(AttributeType::is_known).next().is_some() {
            return self.refuse(path, message, ErrorCode::UNKNOWN_ATTRIBUTE, Some(&seal));
        }
        let Ok(Some(priority)) = message.priority() else {
            return self.refuse(path, message, ErrorCode::BAD_REQUEST, Some(&seal));
        };
        // Of another branch of a forked call: answered, and no more.
        let second = message.username().ok().flatten().and_then(|name| name.split_once(':')).map(|(_, second)| second);
        if self.remote.as_ref().is_some_and(|peer| second != Some(&peer.ufrag)) {
            return self.grant(path, message, &seal);
        }
        if self.is_conflict(message) {
            return self.refuse(path, message, ErrorCode::ROLE_CONFLICT, Some(&seal));
        }
        self.grant(path, message, &seal);
        let asks = message.has(AttributeType::USE_CANDIDATE) && !self.controlling;
        let weight =
            message.find(NOMINATION).and_then(|value| value.first_chunk()).map(|value| u32::from_be_bytes(*value));
        let early = Early { path, priority, nomination: asks.then(|| weight.unwrap_or(0)) };
        if self.remote.is_some() {
            self.learn(now, early);
        } else if let Some(known) = self.early.iter_mut().find(|known| known.path == path) {
            known.nomination = known.nomination.or(early.nomination);
        } else if self.early.len() < MOST_EARLY {
            self.early.push(early);
        }
    }

    /// RFC 8445 §7.3.1.1. Changes the role if the peer's tie-breaker says so; `true` if the peer has to.
    fn is_conflict(&mut self, message: &Message<'_>) -> bool {
        // Who checks a lite agent has to control it.
        let theirs = match self.controlling && !self.lite {
            true => message.ice_controlling(),
            false => message.ice_controlled(),
        };
        let Ok(Some(theirs)) = theirs else { return false };
        if self.lite {
            return true;
        }
        if (self.tie_breaker >= theirs) == self.controlling {
            return true;
        }
        self.controlling = !self.controlling;
        self.reorder();
        let event = SessionEvent::RoleChanged { controlling: self.controlling, tie_breaker: self.tie_breaker };
        self.events.push_back(event);
        false
    }

    /// RFC 8445 §7.3.1.3–5: learns where the check came from, checks back, and notes a nomination.
    pub(super) fn learn(&mut self, now: Instant, check: Early) {
        if self.lite {
            return self.learn_lite(now, check);
        }
        let Some(id) = self.pair_of(check.path, check.priority, check.nomination.is_some()) else { return };
        let done = self.is_done();
        let fresh = self.pair(id).and_then(|pair| pair.valid).is_some_and(|valid| self.is_fresh(&valid, now));
        let Some(pair) = self.pair_mut(id) else { return };
        pair.heard = true;
        if pair.state == PairState::Succeeded && pair.valid.is_some() {
            if fresh {
                pair.nominated = check.nomination.or(pair.nominated);
            } else if check.nomination.is_some() {
                // It was valid long ago: whether the peer can still be sent to there is asked first.
                pair.nominated_by_peer = check.nomination;
                if pair.check.is_none() {
                    self.trigger(id);
                }
            }
            return self.settle(now);
        }
        if check.nomination.is_some() {
            pair.nominated_by_peer = check.nomination;
        } else if done {
            return;
        }
        if pair.state == PairState::InProgress {
            // It may have been stopped by a filter, which the peer's check has opened by now.
            pair.overtake();
        }
        pair.state = PairState::Waiting;
        self.trigger(id);
    }

    /// The pair that a check came on. After selection, only a nomination makes a new one.
    fn pair_of(&mut self, path: Path, priority: u32, nominates: bool) -> Option<PairId> {
        if let Some(known) = self.pair_at(path) {
            return Some(known);
        }
        if self.is_done() && !nominates {
            return None;
        }
        let base = self.bases.iter().find(|base| base.address == path.local).cloned()?;
        let remote = self.learn_remote(path.remote, priority)?;
        self.insert(&base, &remote, PairState::Waiting)
    }

    /// RFC 8445 §7.3.2.
    fn learn_lite(&mut self, now: Instant, check: Early) {
        let Some(id) = self.pair_of(check.path, check.priority, true) else { return };
        let Some(pair) = self.pair(id) else { return };
        let priority = pair.priority;
        let Some(pair) = self.pair_mut(id) else { return };
        pair.heard = true;
        let selected = pair.nominated.is_some();
        if check.nomination.is_some() || selected {
            pair.state = PairState::Succeeded;
            pair.nominated = check.nomination.or(pair.nominated);
            pair.valid = Some(super::pair::Valid { priority, confirmed: now });
            if self.first_valid.is_none() {
                self.first_valid = Some(now);
                self.events.push_back(SessionEvent::Valid);
            }
        }
        self.heard_lite(now, id);
    }

    fn grant(&mut self, path: Path, message: &Message<'_>, seal: &Authenticated) {
        let mut buffer = [0; LONGEST];
        let mut writer = Writer::respond(&mut buffer, Class::Success, message);
        let mapped: SocketAddr = path.remote;
        writer.push(Attribute::XorMappedAddress(mapped));
        seal.seal(&mut writer);
        writer.fingerprint();
        if let Ok(bytes) = writer.finish() {
            self.packets.push_back((path, bytes.into()));
        }
    }

    fn refuse(&mut self, path: Path, message: &Message<'_>, error: ErrorCode<'_>, seal: Option<&Authenticated>) {
        let mut buffer = [0; LONGEST];
        let mut writer = Writer::respond(&mut buffer, Class::Error, message);
        writer.push(Attribute::ErrorCode(error));
        if error.code == ErrorCode::UNKNOWN_ATTRIBUTE.code {
            let mut types = [0; 16];
            let mut length = 0;
            for (kind, place) in message.not_understood(AttributeType::is_known).zip(types.chunks_exact_mut(2)) {
                place.copy_from_slice(&kind.0.to_be_bytes());
                length += 2;
            }
            writer.push_raw(AttributeType::UNKNOWN_ATTRIBUTES, &types[..length]);
        }
        if let Some(seal) = seal {
            seal.seal(&mut writer);
        }
        writer.fingerprint();
        if let Ok(bytes) = writer.finish() {
            self.packets.push_back((path, bytes.into()));
        }
    }
}
