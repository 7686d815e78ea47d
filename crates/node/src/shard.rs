//! One shard of the node: transactions, proxy, registrar, authentication and policy in one machine without I/O.
//!
//! ```text
//!             bytes                   events                     bytes
//!  driver ─────────────▶ Endpoint ─────────────▶ proxy ─▶ fork ──────────▶ Endpoint ─────▶ driver
//!                        (transactions)          registrar ─▶ Event::Commit ─▶ journal ─▶ committed()
//! ```
//!
//! One shard runs per core. Flows and transactions stay on their shard; the location table, the users, the throttle and
//! the nonces are shared ([`Shared`]). A response that the kernel delivers to the wrong shard is handed over by
//! [`Event::ToShard`]; what watchers of another shard wait for, by [`Event::Tell`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant, Ladder, Machine, Receive, Rng, TimerTable, Transmit};
use farspeak_sip::endpoint::{self, ClientTx, Endpoint, EndpointConfig, ServerTx};
use farspeak_sip::event::SubscriptionId;

use crate::b2bua::{B2bua, hairpin};
use crate::event::{Event, Ticket};
use crate::events::Notifier;
use crate::fork::Context;
use crate::keep_alive::KeepAlive;
use crate::record_route::Names;
use crate::registration::Registration;
use crate::shared::{Counters, Settings, Shared};

/// What one shard is made with.
pub struct ShardConfig {
    /// Its number, 0–255: branches and flows name it.
    pub id: u8,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Randomness: seeded from the system in production, by a printed number in tests.
    pub rng: Box<dyn Rng + Send>,
    /// Timers and bounds of its transactions. `shard` and `limits` are overwritten from the fields above and the settings.
    pub endpoint: EndpointConfig,
}

/// How much a shard holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardCounts {
    /// Requests under way or lately answered: response contexts.
    pub contexts: usize,
    /// Client transactions that a context waits for.
    pub branches: usize,
    /// Registrations that wait for the store.
    pub commits: usize,
    /// Datagram flows that are kept alive.
    pub keep_alives: usize,
    /// Transactions, client and server.
    pub transactions: usize,
    /// Subscriptions that are notified, those that are ending included.
    pub subscriptions: usize,
    /// Calls that the back-to-back user agent joins.
    pub joins: usize,
    /// What it holds for them: sessions, dialogs, transactions, entries of its tables.
    pub joined: usize,
}

/// The machine that one core runs.
///
/// Drive it as every [`Machine`]; do what its [`Event`]s ask, and answer each [`Event::Commit`] with
/// [`Shard::committed`].
pub struct Shard {
    pub(crate) core: Core,
    /// Keyed by the server transaction; removed when it and all its client transactions have ended.
    pub(crate) contexts: HashMap<ServerTx, Box<Context>>,
    /// Behind the proxy, from the first call that it joins; and the randomness that it will begin with.
    b2bua: Option<Box<B2bua>>,
    seed: [u64; 4],
    /// When it was last told the time: what goes over the internal flow takes none.
    now: Instant,
}

/// Everything of a shard but its contexts: what a context needs at hand to get on.
pub(crate) struct Core {
    /// Its number.
    pub(crate) id: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    generation: u64,
    /// Most transactions, and most open ones of a flow: as given at the start.
    bounds: (usize, usize),
    pub(crate) endpoint: Endpoint,
    /// Which context waits for which client transaction, and which of its branches that is.
    pub(crate) clients: HashMap<ClientTx, (ServerTx, usize)>,
    pub(crate) commits: HashMap<Ticket, Registration>,
    next_ticket: u64,
    pub(crate) timers: TimerTable<Timer>,
    pub(crate) names: Names,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) notifier: Notifier,
    pub(crate) scratch: Scratch,
    pub(crate) events: VecDeque<Event>,
}

/// Buffers used again for each message.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) via: String,
    pub(crate) route: String,
    pub(crate) token: String,
}

/// What a timer of the shard is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// Timer C of a branch (RFC 3261 §16.8), valid if the number is the branch's.
    C(ServerTx, usize, u32),
    /// A group of targets has rung long enough; valid if as many branches exist as when it was armed.
    SerialRing(ServerTx, usize),
    /// A datagram flow wants a CRLF.
    KeepAlive(u32),
    /// A contact may have expired whose registration is watched.
    Watched(SubscriptionId),
}

impl Shard {
    /// A shard with nothing under way.
    pub fn new(config: ShardConfig) -> Self {
        let ShardConfig { id, shared, mut rng, mut endpoint } = config;
        let settings = shared.settings();
        endpoint.shard = id;
        endpoint.limits = settings.limits.clone();
        let proxy = &settings.proxy;
        let seed = std::array::from_fn(|_| rng.next_u64());
        let timers = TimerTable::new(&[proxy.timer_c, proxy.serial_ring, proxy.udp_keep_alive]);
        let notifier = Notifier::new(&settings, endpoint.timers, &mut *rng);
        Self {
            core: Core {
                id,
                generation: shared.generation(),
                bounds: (endpoint.max_transactions, endpoint.max_open_per_flow),
                endpoint: Endpoint::new(endpoint, rng),
                clients: HashMap::new(),
                commits: HashMap::new(),
                next_ticket: 1,
                timers,
                names: Names::new(settings.public_name.as_deref()),
                keep_alive: KeepAlive::default(),
                notifier,
                scratch: Scratch::default(),
                events: VecDeque::new(),
                shared,
                settings,
            },
            contexts: HashMap::new(),
            b2bua: None,
            seed,
            now: Instant::ZERO,
        }
    }

    /// The journal has written what [`Event::Commit`] asked for, or could not: the phone gets its 200 or a 500.
    pub fn committed<E>(&mut self, now: Instant, ticket: Ticket, result: Result<(), E>) {
        self.core.finish_registration(now, ticket, result.is_ok());
        self.pump(now);
    }

    /// Keeps the NAT mapping of a phone on UDP open until then, as if it had registered here: for what the store kept.
    /// Nothing happens for other transports.
    pub fn keep_alive(&mut self, now: Instant, flow: Flow, until: Instant) {
        self.core.restore_keep_alive(now, flow, until);
    }

    /// How much is held.
    pub fn counts(&self) -> ShardCounts {
        let (joins, joined) = self.b2bua.as_ref().map_or((0, 0), |b2bua| b2bua.counts());
        ShardCounts {
            joins,
            joined,
            contexts: self.contexts.len(),
            branches: self.core.clients.len(),
            commits: self.core.commits.len(),
            keep_alives: self.core.keep_alive.len(),
            transactions: self.core.endpoint.counts().transactions(),
            subscriptions: self.core.notifier.len(),
        }
    }

    /// Whether nothing is in flight that a stop would cut off: no request waits for its final response, no registration
    /// for the store. Transactions that only absorb retransmissions do not count.
    pub fn is_idle(&self) -> bool {
        self.core.commits.is_empty() && self.contexts.values().all(|context| context.is_finished())
    }

    /// Writes the ladder log from now on, or no longer. It holds real addresses of persons.
    pub fn set_ladder(&mut self, ladder: Option<Box<dyn Ladder + Send>>) {
        self.core.endpoint.set_ladder(ladder);
    }

    /// What the transaction layer counts.
    pub fn endpoint_counts(&self) -> endpoint::Counts {
        self.core.endpoint.counts()
    }

    /// What the shard shares with the others.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.core.shared
    }

    /// Handles what the transaction layer has to say, until it is silent.
    pub(crate) fn pump(&mut self, now: Instant) {
        self.now = now;
        loop {
            match self.core.endpoint.poll_event() {
                Some(event) => self.handle(now, event),
                None if self.core.attend(now) || self.hear_joined(now) => {}
                None => break,
            }
        }
        self.forget_outdated_timers();
    }

    /// Drops timers at the front whose reason has gone, so that they wake nobody.
    fn forget_outdated_timers(&mut self) {
        let (contexts, notifier) = (&self.contexts, &self.core.notifier);
        self.core.timers.prune(|timer| match *timer {
            Timer::C(tx, branch, number) => {
                let branch = contexts.get(&tx).and_then(|context| context.branches.get(branch));
                branch.is_none_or(|branch| !branch.is_pending() || branch.timer_c != number)
            }
            Timer::SerialRing(tx, branches) => {
                contexts.get(&tx).is_none_or(|context| context.finished || context.branches.len() != branches)
            }
            Timer::KeepAlive(_) => false,
            Timer::Watched(id) => !notifier.has(id),
        });
    }

    fn handle(&mut self, now: Instant, event: endpoint::Event) {
        use endpoint::Event as Sip;
        let Some(event) = self.core.for_notifier(now, event) else { return };
        match event {
            Sip::Request { tx, flow, request } => self.request(now, tx, flow, request),
            Sip::Ack { flow, request } => self.core.forward_ack(now, flow, &request),
            Sip::Cancel { tx, request } => self.cancelled(now, tx, &request),
            Sip::UnmatchedCancel { tx, request, .. } => self.core.refuse_cancel(now, tx, &request),
            Sip::Response { tx, response, .. } => self.response(now, tx, response),
            // RFC 6026 §7.2: a stateful proxy does not forward what matches none of its transactions.
            Sip::StrayResponse { .. } => Counters::count(&self.core.shared.counters.dropped),
            Sip::Misrouted { shard, flow, bytes } => {
                self.core.events.push_back(Event::ToShard { shard, flow, bytes });
            }
            Sip::TimedOut { tx } => self.timed_out(now, tx),
            Sip::TransportFailed { tx } => self.transport_failed(now, tx),
            Sip::ServerTransportFailed { tx } => self.caller_lost(now, tx),
            Sip::ServerTimedOut { .. } => {} // its end follows; there is nobody to tell
            Sip::ServerTerminated { tx } => self.server_terminated(tx),
            Sip::ClientTerminated { tx } => self.client_terminated(now, tx),
        }
    }

    /// Takes a message of the back-to-back user agent's to the proxy; `false` if there is none.
    fn hear_joined(&mut self, now: Instant) -> bool {
        let Some(sent) = self.b2bua.as_mut().and_then(|b2bua| b2bua.poll_transmit()) else { return false };
        self.core.endpoint.handle_receive(now, Receive { flow: sent.flow, bytes: &sent.bytes });
        true
    }

    /// Takes what the proxy has sent over an internal flow to the back-to-back user agent behind it, here or in another
    /// shard.
    fn hairpin(&mut self, sent: &Transmit) {
        let shard = sent.flow.id.shard();
        if shard != self.core.id {
            let bytes = sent.bytes.to_vec();
            return self.core.events.push_back(Event::ToShard { shard, flow: sent.flow, bytes });
        }
        self.receive_joined(self.now, &sent.bytes);
    }

    fn receive_joined(&mut self, now: Instant, bytes: &[u8]) {
        let (core, seed) = (&self.core, self.seed);
        let b2bua = self.b2bua.get_or_insert_with(|| {
            Box::new(B2bua::new(core.id, seed, &core.settings, Arc::clone(&core.shared.joined)))
        });
        b2bua.receive(now, &core.settings.domain, bytes);
        self.pump(now);
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::C(tx, branch, number) => self.timer_c(now, tx, branch, number),
            Timer::SerialRing(tx, branches) => self.serial_ring(now, tx, branches),
            Timer::KeepAlive(slot) => self.core.keep_alive_due(now, slot),
            Timer::Watched(id) => self.core.watched_expiry(now, id),
        }
    }
}

impl Core {
    /// Takes over new settings if there are any.
    fn refresh_settings(&mut self) {
        let generation = self.shared.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        self.settings = self.shared.settings();
        let (limits, bounds) = (self.settings.limits.clone(), self.bounds);
        self.endpoint.set_bounds(limits, bounds.0, bounds.1);
        self.names = Names::new(self.settings.public_name.as_deref());
        self.notifier.configure(&self.settings);
    }

    /// A ticket for a registration that waits for the store.
    pub(crate) fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }
}

impl Machine for Shard {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        self.core.refresh_settings();
        if hairpin::is_internal(&received.flow) && received.flow.id.shard() == self.core.id {
            return self.receive_joined(now, received.bytes);
        }
        self.core.endpoint.handle_receive(now, received);
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core.endpoint.handle_timeout(now);
        self.pump(now);
        self.core.notifier_timeout(now);
        self.pump(now);
        while let Some(timer) = self.core.timers.pop_due(now) {
            self.fire(now, timer);
            self.pump(now);
        }
        if let Some(b2bua) = &mut self.b2bua {
            b2bua.handle_timeout(now, &self.core.settings.domain);
            self.pump(now);
        }
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        if flow.transport.is_reliable() && flow.id != FlowId::UNBOUND {
            self.core.shared.flow_failed(flow.id);
            self.core.shared.location.flow_failed(now, &flow);
            self.core.shared.throttle.forget(&flow);
        }
        self.core.endpoint.handle_flow_failed(now, flow);
        self.pump(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        loop {
            let sent = self.core.keep_alive.poll_transmit().or_else(|| self.core.endpoint.poll_transmit())?;
            if !hairpin::is_internal(&sent.flow) {
                return Some(sent);
            }
            self.hairpin(&sent);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let timers = [self.core.endpoint.poll_timeout(), self.core.timers.next(), self.core.notifier.poll_timeout()];
        let joined = self.b2bua.as_ref().and_then(|b2bua| b2bua.poll_timeout());
        timers.into_iter().flatten().chain(joined).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }
}

/// Shows how much there is, not what.
impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shard").field(&self.counts()).finish()
    }
}
