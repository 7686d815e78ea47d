//! A user agent: sessions, subscriptions and registrations on top of the transaction layer (RFC 3261 §8, §11–15).
//!
//! ```text
//!            bytes             endpoint::Event           user_agent::Event
//!  driver ─────────> Endpoint ─────────────────> Core ─────────────────────> application
//!     ^                 ^                        │  ^                             │
//!     └── Transmit ─────┴──── requests, answers ─┘  └──────── verbs: Agent ───────┘
//!
//!  Core { sessions: session::Session … } ── each uses ──> dialogs (crate::dialog)
//! ```
//!
//! [`UserAgent`] owns an endpoint and is a [`Machine`]. Whoever shares an endpoint between a proxy and user agents keeps
//! a [`Core`] beside it and hands over the events. Both are told what to do through an [`Agent`], which is the user
//! agent at a moment: `ua.at(now).invite(…)`.

mod authenticate;
mod capabilities;
mod config;
mod context;
mod dispatch;
mod event;
mod merged;
mod message;
mod outside;
pub(crate) mod sips;
mod timer;

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, TimerTable, Transmit};

use crate::dialog::Dialogs;
use crate::endpoint::{self, ClientTx, Endpoint, EndpointConfig, ServerTx};
use crate::event::Subscription;
use crate::registration::Registration;
use crate::session::Session;
use crate::slab::Slab;
pub use authenticate::AccountId;
pub use config::{FlowAlong, NextHop, UserAgentConfig};
pub(crate) use context::{Context, Owner, Pending, Shared};
pub use event::{Event, Failure, HowEnded};
use merged::Ongoing;
pub use message::{Body, Extra};
pub use outside::RequestId;
pub use sips::SipsPolicy;
pub(crate) use timer::{Timer, TimerKind};

/// A user agent with a transaction layer of its own.
///
/// ```no_run
/// # use farspeak_sip::user_agent::{Event, Extra, UserAgent, UserAgentConfig};
/// # use farspeak_sip::endpoint::EndpointConfig;
/// # use farspeak_sip::message::StatusCode;
/// # use farspeak_sansio::{Instant, Machine, Receive, SplitMix64};
/// # fn demo(now: Instant, received: Receive<'_>, send: impl Fn(farspeak_sansio::Transmit)) {
/// let mut ua = UserAgent::new(UserAgentConfig::default(), EndpointConfig::default(), Box::new(SplitMix64::new(1)));
/// ua.handle_receive(now, received);
/// while let Some(event) = ua.poll_event() {
///     if let Event::Incoming { session, .. } = event {
///         ua.at(now).ring(session, StatusCode::RINGING, Extra::new());
///     }
/// }
/// while let Some(transmit) = ua.poll_transmit() {
///     send(transmit);
/// }
/// # }
/// ```
pub struct UserAgent {
    core: Core,
    endpoint: Endpoint,
}

/// A user agent's state without the transactions.
pub struct Core {
    pub(crate) sessions: Slab<Session>,
    pub(crate) subscriptions: Slab<Subscription>,
    pub(crate) registrations: Slab<Registration>,
    pub(crate) shared: Shared,
}

/// A user agent at a moment: all its verbs. They are found where the protocol's words are: `session/bye.rs` ends a session,
/// `session/invite.rs` begins one.
pub struct Agent<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) endpoint: &'a mut Endpoint,
    pub(crate) now: Instant,
}

/// How much a user agent holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Counts {
    /// Sessions, those that are ending included.
    pub sessions: usize,
    /// Subscriptions at either end, those that are ending included.
    pub subscriptions: usize,
    /// Registrations, those that are ending included.
    pub registrations: usize,
    /// Dialogs, half ones included.
    pub dialogs: usize,
    /// Transactions that somebody waits for.
    pub transactions: usize,
    /// Timers armed, outdated ones included.
    pub timers: usize,
}

impl UserAgent {
    /// A user agent with nothing under way. `rng` makes tags, Call-IDs and branches: unpredictable in production.
    pub fn new(config: UserAgentConfig, endpoint: EndpointConfig, mut rng: Box<dyn Rng + Send>) -> Self {
        let core_rng = Box::new(farspeak_sansio::SplitMix64::new(rng.next_u64()));
        let core = Core::new(config, endpoint.timers, core_rng);
        Self { core, endpoint: Endpoint::new(endpoint, rng) }
    }

    /// The user agent at this moment, to be told what to do.
    pub fn at(&mut self, now: Instant) -> Agent<'_> {
        self.core.at(now, &mut self.endpoint)
    }

    /// How much is held.
    pub fn counts(&self) -> Counts {
        self.core.counts()
    }

    /// The transaction layer.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The same, to set its ladder log or bounds.
    pub fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// The sessions and what they use.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The settings, to change what shall hold from now on. What is under way keeps its timers.
    pub fn config_mut(&mut self) -> &mut UserAgentConfig {
        self.core.config_mut()
    }

    fn pump(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            self.core.at(now, &mut self.endpoint).handle_event(event);
        }
        self.at(now).forget_outdated_timers();
    }
}

impl Core {
    /// State with nothing in it. `timers` are those of the endpoint.
    pub fn new(config: UserAgentConfig, timers: crate::timer::Timers, rng: Box<dyn Rng + Send>) -> Self {
        Self {
            sessions: Slab::default(),
            subscriptions: Slab::default(),
            registrations: Slab::default(),
            shared: Shared {
                config,
                about_us: OnceCell::new(),
                sip_timers: timers,
                rng,
                dialogs: Dialogs::default(),
                accounts: Vec::new(),
                clients: HashMap::new(),
                current: HashMap::new(),
                servers: HashMap::new(),
                ongoing: Ongoing::default(),
                replaced: Vec::new(),
                timers: TimerTable::new(&[]),
                timer_serial: 0,
                sweep_at: SWEEP_AT,
                events: VecDeque::new(),
            },
        }
    }

    /// The user agent at this moment, over the endpoint that it shares.
    pub fn at<'a>(&'a mut self, now: Instant, endpoint: &'a mut Endpoint) -> Agent<'a> {
        Agent { core: self, endpoint, now }
    }

    /// The settings. Changes hold for what begins later.
    pub fn config_mut(&mut self) -> &mut UserAgentConfig {
        self.shared.about_us.take();
        &mut self.shared.config
    }

    /// The next thing to tell the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// When [`Agent::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.timers.next()
    }

    /// Whether a transaction is this user agent's.
    pub fn owns_client(&self, tx: ClientTx) -> bool {
        self.shared.clients.contains_key(&tx)
    }

    /// Whether a transaction is this user agent's.
    pub fn owns_server(&self, tx: ServerTx) -> bool {
        self.shared.servers.contains_key(&tx)
    }

    /// How much is held.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.len(),
            registrations: self.registrations.len(),
            dialogs: self.shared.dialogs.len(),
            transactions: self.shared.clients.len() + self.shared.servers.len(),
            timers: self.shared.timers.len(),
        }
    }
}

impl Machine for UserAgent {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        self.endpoint.handle_receive(now, received);
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.pump(now);
        self.at(now).handle_timeout();
        self.pump(now);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        self.endpoint.handle_flow_failed(now, flow);
        self.pump(now);
        self.at(now).flow_failed(flow);
        self.pump(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match (self.endpoint.poll_timeout(), self.core.poll_timeout()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }
}

impl Agent<'_> {
    /// What a machine of the core needs at hand.
    pub(crate) fn split(&mut self) -> (&mut Slab<Session>, Context<'_>) {
        let context = Context { now: self.now, endpoint: self.endpoint, shared: &mut self.core.shared };
        (&mut self.core.sessions, context)
    }

    /// The same for subscriptions.
    pub(crate) fn split_subscriptions(&mut self) -> (&mut Slab<Subscription>, Context<'_>) {
        let context = Context { now: self.now, endpoint: self.endpoint, shared: &mut self.core.shared };
        (&mut self.core.subscriptions, context)
    }

    /// The same for registrations.
    pub(crate) fn split_registrations(&mut self) -> (&mut Slab<Registration>, Context<'_>) {
        let context = Context { now: self.now, endpoint: self.endpoint, shared: &mut self.core.shared };
        (&mut self.core.registrations, context)
    }

    /// Fires the timers that are due.
    pub fn handle_timeout(&mut self) {
        while let Some(timer) = self.core.shared.timers.pop_due(self.now) {
            self.fire(timer);
        }
        self.forget_outdated_timers();
    }

    /// Drops timers at the front whose reason has gone, so that they wake nobody; and all such timers whenever there are
    /// twice as many as were wanted the last time, for a peer's requests arm new ones long before the old ones are due.
    fn forget_outdated_timers(&mut self) {
        let Core { sessions, subscriptions, registrations, shared } = &mut *self.core;
        let outdated = |timer: &Timer| match timer.owner {
            Owner::Session(id) => sessions.get(id.0).is_none_or(|session| !session.wants(timer)),
            Owner::Subscription(id) => subscriptions.get(id.0).is_none_or(|subscription| !subscription.wants(timer)),
            Owner::Registration(id) => registrations.get(id.0).is_none_or(|registration| !registration.wants(timer)),
            Owner::Outside => true,
        };
        shared.timers.prune(outdated);
        if shared.timers.len() > shared.sweep_at {
            shared.timers.sweep(outdated);
            shared.sweep_at = SWEEP_AT.max(2 * shared.timers.len());
        }
    }
}

/// As long as there are fewer timers, outdated ones stay until they come to the front.
const SWEEP_AT: usize = 256;

/// Shows how much there is, not what.
impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Core").field(&self.counts()).finish()
    }
}

impl fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAgent").field("core", &self.core).field("endpoint", &self.endpoint).finish()
    }
}

/// Events of the transaction layer that a [`Core`] did not want: they are for whoever shares the endpoint.
pub type Unwanted = Option<endpoint::Event>;
