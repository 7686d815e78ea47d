//! The session that the `is` crate runs.
//!
//! `is` wants [`std::time::Instant`]: it is handed one ([`Engine::Is`](crate::Engine::Is)), and ours are added to it as
//! offsets, so that what happens depends on our time alone. `is` draws its transaction IDs itself from a generator seeded by the system:
//! the bytes differ from run to run, what happens does not.
//!
//! Where it differs from [`CheckList`](crate::Engine::CheckList): it paces its own checks; it nominates as soon as a pair
//! is valid and again when a better one is; nothing is frozen; there is no PAC timer; consent is its own idea of missing
//! answers; two lite agents do not connect. A lite agent's nomination is what the peer nominated last.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::Instant;
use farspeak_stun::{Class, Message, hmac_sha1};
use is::stun::{StunMessage, StunPacket};
use is::{CandidateKind, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol, Sha1HmacProvider};

use super::{Agreed, Foundations, IceSession, LocalCandidate, Path, SessionEvent, Urgency};
use crate::candidate::{CandidateType, unscoped};
use crate::{AgentConfig, Candidate, Credentials, Mode};

/// The HMAC of `farspeak-stun`, so that there is one SHA-1 in the binary.
#[derive(Debug)]
struct OurHmac;

impl Sha1HmacProvider for OurHmac {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        hmac_sha1(key, payloads)
    }
}

/// See the module.
pub struct IsSession {
    agent: IceAgent,
    base: std::time::Instant,
    packets: VecDeque<(Path, Arc<[u8]>)>,
    events: VecDeque<SessionEvent>,
    controlling: bool,
    tie_breaker: u64,
    selected: Option<Path>,
    valid: Vec<Path>,
    most_candidates: usize,
    deadline: Option<Instant>,
}

impl fmt::Debug for IsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsSession").field("selected", &self.selected).finish_non_exhaustive()
    }
}

impl IsSession {
    /// A session that knows nothing of its peer yet. `base` is what our instants are added to.
    pub fn new(
        config: &AgentConfig,
        own: &Credentials,
        controlling: bool,
        tie_breaker: u64,
        base: std::time::Instant,
    ) -> Self {
        let own = IceCreds { ufrag: own.ufrag().into(), pass: own.password().into() };
        let mut agent = IceAgent::with_hmac(own, &OurHmac);
        agent.set_controlling(controlling);
        agent.set_control_tie_breaker(tie_breaker);
        agent.set_ice_lite(config.mode == Mode::Lite);
        agent.set_max_candidate_pairs(config.limits.pairs);
        agent.set_timing_advance(config.timing.ta);
        Self {
            agent,
            base,
            packets: VecDeque::new(),
            events: VecDeque::new(),
            controlling,
            tie_breaker,
            selected: None,
            valid: Vec::new(),
            most_candidates: config.limits.remote_candidates,
            deadline: None,
        }
    }

    fn theirs(&self, now: Instant) -> std::time::Instant {
        self.base + now.since_origin()
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.agent.poll_transmit() {
            let path = Path { local: transmit.source, remote: transmit.destination };
            self.packets.push_back((path, Arc::from(&transmit.contents[..])));
        }
        while let Some(event) = self.agent.poll_event() {
            match event {
                IceAgentEvent::NominatedSend { source, destination, .. } => {
                    let path = Path { local: source, remote: destination };
                    if self.selected.is_none() {
                        self.events.push_back(SessionEvent::Valid);
                    }
                    self.remember(path);
                    self.selected = Some(path);
                    self.events.push_back(SessionEvent::Selected(path));
                }
                IceAgentEvent::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                    let event =
                        if self.selected.take().is_some() { SessionEvent::ConsentLost } else { SessionEvent::Failed };
                    self.events.push_back(event);
                }
                _ => {}
            }
        }
        // Asking wants `&mut` for a cache, so the answer is kept.
        let deadline = self.agent.poll_timeout().map(|at| at.saturating_duration_since(self.base));
        self.deadline = deadline.map(|since| Instant::ZERO + since);
        let controlling = self.agent.controlling();
        if controlling != self.controlling {
            self.controlling = controlling;
            self.events.push_back(SessionEvent::RoleChanged { controlling, tie_breaker: self.tie_breaker });
        }
    }

    fn remember(&mut self, path: Path) {
        if !self.valid.contains(&path) && self.valid.len() < self.most_candidates {
            self.valid.push(path);
        }
    }
}

impl IceSession for IsSession {
    fn set_role(&mut self, _now: Instant, controlling: bool, tie_breaker: u64) {
        self.controlling = controlling;
        self.tie_breaker = tie_breaker;
        self.agent.set_controlling(controlling);
        self.agent.set_control_tie_breaker(tie_breaker);
        self.agent.recreate_candidate_pairs();
    }

    fn set_remote(&mut self, now: Instant, remote: &Credentials, agreed: Agreed) {
        self.agent.set_timing_advance(agreed.ta);
        let remote = IceCreds { ufrag: remote.ufrag().into(), pass: remote.password().into() };
        self.agent.set_remote_credentials(remote);
        self.agent.handle_timeout(self.theirs(now));
        self.drain();
    }

    fn add_local(&mut self, _now: Instant, local: &LocalCandidate) {
        let (address, base) = (unscoped(local.address), unscoped(local.base));
        let made = match local.candidate.kind {
            CandidateType::Host => is::Candidate::host(address, Protocol::Udp),
            CandidateType::Relayed => is::Candidate::relayed(address, base, Protocol::Udp),
            _ => is::Candidate::server_reflexive(address, base, Protocol::Udp),
        };
        if let Ok(candidate) = made.as_ref() {
            self.agent.add_local_candidate(candidate.clone());
        }
    }

    fn remove_local(&mut self, now: Instant, base: SocketAddr) {
        let gone: Vec<_> = self.agent.local_candidates().filter(|candidate| candidate.local() == base).collect();
        for candidate in gone {
            self.agent.invalidate_candidate(&candidate);
        }
        self.selected = self.selected.filter(|path| path.local != base);
        self.handle_timeout(now);
    }

    fn add_remote(&mut self, now: Instant, remote: &Candidate) {
        let Some(address) = remote.socket_address().filter(|_| remote.is_udp()) else { return };
        if self.agent.remote_candidates().count() >= self.most_candidates {
            return;
        }
        let kind = match remote.kind {
            CandidateType::Host => CandidateKind::Host,
            CandidateType::ServerReflexive => CandidateKind::ServerReflexive,
            CandidateType::PeerReflexive => CandidateKind::PeerReflexive,
            CandidateType::Relayed => CandidateKind::Relayed,
        };
        let (foundation, priority) = (remote.foundation.clone(), remote.priority);
        // Each component has a session of its own, in which it is the first.
        let candidate =
            is::Candidate::from_parts(foundation, 1, Protocol::Udp, priority, address, kind, None, None, None);
        self.agent.add_remote_candidate(candidate);
        self.handle_timeout(now);
    }

    fn set_complete(&mut self, _now: Instant, _complete: bool) {}

    fn handle_message(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        // `is` sums up foundations and keeps what it learns: strangers must not make it learn.
        let known = self.agent.remote_candidates().count() < self.most_candidates;
        if message.class() == Class::Request && !known {
            return false;
        }
        let Ok(parsed) = StunMessage::parse(message.bytes()) else { return false };
        let packet = StunPacket { proto: Protocol::Udp, source: path.remote, destination: path.local, message: parsed };
        let taken = self.agent.handle_packet(self.theirs(now), packet);
        if taken && message.class() == Class::Success {
            self.remember(path);
        }
        if taken {
            self.agent.handle_timeout(self.theirs(now));
        }
        self.drain();
        taken
    }

    fn handle_unreachable(&mut self, _now: Instant, _path: Path) {}

    fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(self.theirs(now));
        self.drain();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn next_check(&self) -> Option<(Urgency, u64)> {
        None
    }

    fn begin_check(&mut self, _now: Instant) {}

    fn succeeded(&mut self) -> Vec<Foundations> {
        Vec::new()
    }

    fn unfreeze(&mut self, _foundations: &Foundations) {}

    fn poll_packet(&mut self) -> Option<(Path, Arc<[u8]>)> {
        self.packets.pop_front()
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    fn selected(&self) -> Option<Path> {
        self.selected
    }

    fn sendable(&self) -> Option<Path> {
        self.selected
    }

    fn accepts(&self, path: Path) -> bool {
        self.valid.contains(&path)
    }
}
