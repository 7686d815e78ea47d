//! The agent: one data stream's ICE, from sockets to a selected pair for each component (RFC 8445 with trickle, RFC 8838).
//!
//! ```text
//!  driver ── sockets, packets, time ──┐                ┌── candidates, credentials ── signalling
//!                                     ▼                ▼
//!     agent/local.rs     sockets, own candidates   agent/remote.rs   the peer's candidates and names
//!     agent/gather.rs    STUN servers              agent/component.rs one session each, and the one before a restart
//!     agent/relay.rs     TURN servers
//!                        └────────────── agent/drive.rs: packets to whom they belong, Ta, state ───────────┘
//!                                               │
//!                                         session.rs   checks, nomination, consent of one component
//! ```

mod component;
mod drive;
mod gather;
mod local;
mod mapped;
mod relay;
mod remote;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Rng, Transmit, Transport};

use crate::candidate::{is_link_local, unscoped};
use crate::session::Path;
use crate::{AgentConfig, Candidate, CandidateType, Credentials, Event, Mode, State};
use component::Component;
use gather::Gatherer;
pub use local::Interface;
use local::Locals;
use relay::Relays;
use remote::Remote;
pub use remote::RemoteOptions;

/// One end of a session: the machine.
///
/// The driver binds sockets and tells them ([`Agent::add_socket`], then [`Agent::sockets_complete`]); own candidates come
/// out as events. What signalling brings from the peer goes in ([`Agent::set_remote`],
/// [`Agent::add_remote_candidate`], [`Agent::end_of_remote_candidates`]). Then packets, and data.
///
/// ```
/// # use farspeak_ice::{Agent, AgentConfig, Event, Interface};
/// # use farspeak_sansio::{Instant, Machine, SplitMix64};
/// # let now = Instant::ZERO;
/// let mut agent = Agent::new(AgentConfig::default(), Box::new(SplitMix64::new(1)));
/// agent.add_socket(now, 1, "192.0.2.1:5000".parse().unwrap(), Interface::default());
/// agent.sockets_complete(now);
/// let Some(Event::LocalCandidate(host)) = agent.poll_event() else { panic!() };
/// assert!(host.to_string().contains("192.0.2.1 5000 typ host"));
/// assert_eq!(agent.poll_event(), Some(Event::EndOfCandidates));
/// ```
pub struct Agent {
    config: AgentConfig,
    rng: Box<dyn Rng + Send>,
    own: Credentials,
    generation: u32,
    controlling: bool,
    tie_breaker: u64,
    components: Vec<Component>,
    locals: Locals,
    gatherer: Gatherer,
    relays: Relays,
    remote: Remote,
    /// Between two new transactions: ours, and the peer's if that is longer.
    ta: Duration,
    /// When the next new transaction may begin.
    slot: Instant,
    /// Whether the last slot went to gathering.
    gathered_last: bool,
    /// Whose check the last one was, if it was a triggered one.
    triggered_last: Option<usize>,
    state: State,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("state", &self.state)
            .field("controlling", &self.controlling)
            .finish_non_exhaustive()
    }
}

/// What the peer sent, where it lies in the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Data<'a> {
    /// 1 or 2.
    pub component: u16,
    /// What.
    pub bytes: &'a [u8],
}

/// Why data was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such component.
    NoComponent,
    /// No way is known to be good yet.
    NotConnected,
    /// The peer's consent has expired, or the session has ended: nothing may be sent (RFC 7675 §5.1).
    NoConsent,
    /// Packets wait to be fetched, as many as are kept.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoComponent => "the stream has no such component",
            Self::NotConnected => "no way to the peer is known to be good yet",
            Self::NoConsent => "the peer does not agree to be sent to",
            Self::Full => "packets wait to be fetched",
        })
    }
}

impl std::error::Error for SendError {}

impl Agent {
    /// An agent without sockets. `rng` makes credentials, transaction IDs and names, which have to be unpredictable: a
    /// secure one in production.
    pub fn new(config: AgentConfig, mut rng: Box<dyn Rng + Send>) -> Self {
        let own = Credentials::random(&mut *rng);
        let tie_breaker = config.tie_breaker.unwrap_or_else(|| rng.next_u64());
        let (controlling, ta) = (config.controlling, config.timing.ta.max(LEAST_TA));
        let mut agent = Self {
            own,
            generation: 0,
            controlling,
            tie_breaker,
            components: Vec::new(),
            locals: Locals::default(),
            gatherer: Gatherer::default(),
            relays: Relays::default(),
            remote: Remote::default(),
            ta,
            slot: Instant::ZERO,
            gathered_last: false,
            triggered_last: None,
            state: State::New,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            config,
            rng,
        };
        agent.components = (1..=agent.config.components.clamp(1, 2)).map(|id| agent.new_component(id)).collect();
        agent
    }

    /// User fragment and password, for the peer. Another after each [`restart`](Self::restart).
    pub const fn credentials(&self) -> &Credentials {
        &self.own
    }

    /// Whether it is the controlling one now.
    pub const fn is_controlling(&self) -> bool {
        self.controlling
    }

    /// How far it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The ICE options to tell the peer (RFC 8839 §5.6): `ice2`, `trickle` (RFC 8840 §4.1.1), and `renomination` if
    /// wanted.
    pub fn options(&self) -> Vec<&'static str> {
        let mut options = vec!["ice2"];
        if self.config.trickle != crate::Trickle::None {
            options.push("trickle");
        }
        if self.config.nomination.renomination {
            options.push("renomination");
        }
        options
    }

    /// How fast it wants to check, for `a=ice-pacing` (RFC 8839 §5.5), in milliseconds; the slower of both ends counts.
    /// `None` for a lite agent, which must not say.
    pub fn pacing(&self) -> Option<Duration> {
        (self.config.mode == Mode::Full).then_some(self.config.timing.ta.max(LEAST_TA))
    }

    /// Own candidates that the peer may know, best first. For an offer or answer that carries what is there.
    pub fn local_candidates(&self) -> Vec<Candidate> {
        let mut told: Vec<Candidate> = self.locals.told().cloned().collect();
        told.sort_by_key(|candidate| (candidate.component, std::cmp::Reverse(candidate.priority)));
        told
    }

    /// What to write where a peer without ICE looks (`c=` and `m=`, `a=rtcp`): relayed before reflexive before host, IPv4
    /// before IPv6 within them (RFC 8839 §4.2.1.2 prefers what most likely works). `None` if there is nothing but
    /// names: then 0.0.0.0 and port 9.
    pub fn default_candidate(&self, component: u16) -> Option<SocketAddr> {
        let of_component =
            self.locals.told().filter(|candidate| candidate.component == component && candidate.is_udp());
        let usable = of_component.filter_map(|candidate| Some((candidate, candidate.socket_address()?)));
        let likely = |kind| match kind {
            CandidateType::Relayed => 3,
            CandidateType::ServerReflexive | CandidateType::PeerReflexive => 2,
            CandidateType::Host => 1,
        };
        let best =
            usable.max_by_key(|(candidate, address)| (likely(candidate.kind), address.is_ipv4(), candidate.priority));
        best.map(|(_, address)| address)
    }

    /// Sends data to the peer, over the selected pair or, before there is one, over the best valid one (RFC 8445 §12.1).
    /// During a restart it goes over the pair that was selected before until the new session has one (§9). Nothing is sent
    /// on any component when one has failed, nor by a lite agent before all have their pair (§12.1, §12.1.1).
    pub fn send(&mut self, now: Instant, component: u16, data: &[u8]) -> Result<(), SendError> {
        let of = self.components.iter().find(|of| of.id == component).ok_or(SendError::NoComponent)?;
        if self.state == State::Closed || of.consent_lost {
            return Err(SendError::NoConsent);
        }
        let waits = self.config.mode == Mode::Lite && self.components.iter().any(|of| of.sendable().is_none());
        if self.state == State::Failed || waits {
            return Err(SendError::NotConnected);
        }
        let path = of.sendable().ok_or(SendError::NotConnected)?;
        if self.transmits.len() >= self.config.limits.queue {
            return Err(SendError::Full);
        }
        self.transmit(now, path, data.into());
        self.drain_relays(now);
        Ok(())
    }

    /// Which way data of the component goes now, and whether through a relay of ours.
    pub fn path(&self, component: u16) -> Option<(Path, bool)> {
        let of = self.components.iter().find(|of| of.id == component)?;
        let path = of.sendable()?;
        Some((path, !self.locals.is_socket(path.local)))
    }

    /// Ends it: nothing is sent to the peer or answered any more. Allocations are given back, so the driver goes on until
    /// [`poll_timeout`](farspeak_sansio::Machine::poll_timeout) says `None`.
    pub fn close(&mut self, now: Instant) {
        self.components.iter_mut().for_each(|component| component.previous = None);
        self.gatherer = Gatherer::default();
        self.transmits.clear();
        self.relays.release_all(now);
        self.set_state(State::Closed);
        self.drain_relays(now);
    }

    /// Stops using a component, because the peer multiplexes it with another (rtcp-mux).
    pub fn drop_component(&mut self, now: Instant, component: u16) {
        self.components.retain(|of| of.id != component || of.id == 1);
        self.locals.forget_component(component);
        self.gatherer.forget_component(component);
        self.relays.forget_component(now, component);
        self.after(now);
    }

    /// Begins anew with other credentials, which go to the peer ([`credentials`](Self::credentials)); its new ones are
    /// expected ([`set_remote`](Self::set_remote)). The role stays. Data goes on over the old pairs until new ones are
    /// selected (RFC 8445 §9). What is gathered is told again, and servers that gave nothing are asked again.
    pub fn restart(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        self.own = Credentials::random(&mut *self.rng);
        self.generation += 1;
        self.forget_generation();
        self.remote = Remote::default();
        let mut components = std::mem::take(&mut self.components);
        for component in &mut components {
            let fresh = self.new_component(component.id);
            component.restart(fresh);
        }
        self.components = components;
        self.locals.begin_generation();
        self.set_state(State::New);
        let locals: Vec<_> = self.locals.all().cloned().collect();
        for local in locals {
            self.introduce(now, local);
        }
        self.gather_again(now);
        self.after(now);
    }

    /// Sends a packet of a session or of the user's along a path.
    fn transmit(&mut self, now: Instant, path: Path, bytes: std::sync::Arc<[u8]>) {
        if self.transmits.len() >= self.config.limits.queue || self.relay_out(now, path, &bytes) {
            return;
        }
        let Some(local) = self.locals.socket_at(path.local) else { return };
        let flow = Flow::unbound(Transport::Udp, local, scoped(path.remote, local));
        self.transmits.push_back(Transmit { flow, bytes });
    }

    fn emit(&mut self, event: Event) {
        // Data is dropped first: what is said about the session has twice the room.
        let room = if matches!(event, Event::Data { .. }) { 1 } else { 2 };
        if self.events.len() < self.config.limits.queue * room {
            self.events.push_back(event);
        }
    }

    fn set_state(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.emit(Event::StateChanged(state));
        }
    }
}

/// RFC 8445 §14.2: no transactions closer than that.
const LEAST_TA: Duration = Duration::from_millis(5);

/// A link-local address of the peer's is on the link of the socket.
fn scoped(remote: SocketAddr, local: SocketAddr) -> SocketAddr {
    match (remote, local) {
        (SocketAddr::V6(mut remote), SocketAddr::V6(local)) if is_link_local((*remote.ip()).into()) => {
            remote.set_scope_id(local.scope_id());
            remote.into()
        }
        _ => unscoped(remote),
    }
}
