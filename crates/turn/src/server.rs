//! The server: one shard's allocations, RFC 8656 with its extensions, without I/O.
//!
//! ```text
//!   client ──> handle_client ──┬─ Binding ─────────── farspeak_stun::BindingServer
//!                              ├─ requests ────────── request.rs: who is it? ── allocate, refresh, permit, bind, tcp
//!                              └─ ChannelData, Send ─ forward.rs ──┬──> ToPeer
//!                                                                  ├──> joined inside: deliver.rs
//!   peer ────> handle_peer ──── deliver.rs ───────────> ToClient   └──> ToShard
//! ```
//!
//! Data is changed where it lies and nothing is allocated for it. Requests are answered through
//! [`Server::poll_action`]. Before a request's message integrity has been checked nothing is remembered of it: nonces are
//! stateless, the table of rate limits is of fixed size.

mod action;
mod allocate;
mod allocation;
mod bandwidth;
mod bind;
mod config;
mod counters;
mod deliver;
mod flows;
mod forward;
mod hash;
mod lifetime;
mod meter;
mod mobility;
mod peers;
mod permit;
mod ports;
mod refresh;
mod relay;
mod report;
mod request;
mod reservation;
mod slab;
mod tcp;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{
    Flow, FlowId, HEADROOM, Instant, Packet, Rng, SplitMix64, TAILROOM, TimerTable, Transmit, Verdict,
};
use farspeak_stun::limit::RateLimit;
use farspeak_stun::long_term::{Authority, Nonces};
use farspeak_stun::{BindingServer, Class, Message, Method};

use crate::credential::Accounts;
use crate::ledger::Ledger;
use crate::policy::PeerPolicy;
use allocation::Allocation;
use bandwidth::Rate;
use flows::{Flows, Home};
use lifetime::Timer;
use mobility::Tickets;
use relay::{Address, Relay};
use reservation::Reservations;
use slab::Slab;
use tcp::TcpRelays;

pub use action::{Action, RelayRefused};
pub use config::{AlternateServer, LONGEST_REALM, Lifetimes, Quotas, RelayAddress, SecretKey, ServerConfig};
pub use counters::{Counters, Requests};
pub use meter::Meter;
pub use report::{Census, Residue, SessionId, SessionReport, Which};
pub use tcp::{ConnectionId, RefusedByPeer};

/// One shard of a TURN server: a machine whose packets stay in the driver's buffers.
///
/// ```
/// # use farspeak_sansio::{Flow, Instant, SplitMix64};
/// # use farspeak_turn::{Action, Ledger, Packet, Server, ServerConfig, StaticAccounts, Verdict};
/// # let accounts = StaticAccounts::new("example.org");
/// # let config = ServerConfig::new("example.org", Vec::new(), [7; 32]);
/// # let (ledger, rng) = (Default::default(), Box::new(SplitMix64::new(1)));
/// let mut server = Server::new(config, Box::new(accounts), ledger, rng);
/// # let mut drive = |now: Instant, client: Flow, packet: Packet<'_>| {
/// match server.handle_client(now, client, packet) {
///     Verdict::ToPeer { relay, peer, data, .. } => { /* send `data` from that relay's socket */ }
///     Verdict::ToClient { client, data } => { /* send `data` to that client */ }
///     _ => {}
/// }
/// while let Some(action) = server.poll_action() {
///     match action {
///         Action::Transmit(transmit) => { /* send it */ }
///         Action::Open { relay, address, .. } => { /* bind a socket, then `relay_opened` */ }
///         _ => {}
///     }
/// }
/// server.poll_timeout() // when to call `handle_timeout`
/// # };
/// ```
pub struct Server {
    config: ServerConfig,
    /// The configured one and the addresses of this host.
    policy: PeerPolicy,
    accounts: Box<dyn Accounts + Send>,
    ledger: Arc<Ledger>,
    rng: Box<dyn Rng + Send>,
    /// For what has to be unique, not secret: transaction IDs of indications.
    ids: SplitMix64,
    authority: Authority,
    nonces: Nonces,
    tickets: Tickets,
    binding: BindingServer,
    /// What was counted before the last change of configuration.
    binding_before: farspeak_stun::Counters,
    limit: RateLimit,
    rate: Rate,
    flows: Flows,
    allocations: Slab<Allocation>,
    relays: Slab<Relay>,
    addresses: Vec<Address>,
    reservations: Reservations,
    tcp: TcpRelays,
    timers: TimerTable<Timer>,
    actions: VecDeque<Action>,
    counters: Counters,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allocations = self.allocations.len();
        f.debug_struct("Server")
            .field("shard", &self.config.shard)
            .field("allocations", &allocations)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server without allocations. `rng` chooses ports, tokens and table keys: seeded by the system in production.
    pub fn new(
        config: ServerConfig,
        accounts: Box<dyn Accounts + Send>,
        ledger: Arc<Ledger>,
        mut rng: Box<dyn Rng + Send>,
    ) -> Self {
        let nonces = Nonces::new(&config.nonce_key.0, config.nonce_lifetime);
        let binding = BindingServer::new(binding_config(&config, &mut *rng));
        let addresses = config.relays.iter().map(|relay| Address::new(*relay, &config)).collect();
        let durations = [config.lifetimes.default, reservation::HOLD];
        Self {
            policy: relay::policy(&config),
            accounts,
            ledger,
            ids: SplitMix64::new(rng.next_u64()),
            authority: Authority::new(&config.realm, nonces.clone()),
            nonces,
            tickets: Tickets::new(&config.nonce_key),
            binding,
            binding_before: farspeak_stun::Counters::default(),
            limit: RateLimit::new(config.limits, rng.next_u64()),
            rate: Rate::of(&config.quotas),
            flows: Flows::new(&mut *rng),
            allocations: Slab::new(),
            relays: Slab::new(),
            addresses,
            reservations: Reservations::default(),
            tcp: TcpRelays::default(),
            timers: TimerTable::new(&durations),
            actions: VecDeque::new(),
            counters: Counters::default(),
            rng,
            config,
        }
    }

    /// A datagram or framed message from a client, or from anybody who sends to where clients do.
    ///
    /// `client.local` is the address that it came to, even if the socket is bound to all of them.
    pub fn handle_client(&mut self, now: Instant, client: Flow, packet: Packet<'_>) -> Verdict {
        match packet.buffer.get(packet.data.clone()) {
            // Of RFC 5766's channels, those that cannot be bound lead nowhere.
            Some([0x40..=0x7f, ..]) => self.channel_data(now, client, packet),
            Some([0x00..=0x3f, ..]) => self.message(now, client, packet),
            _ => self.malformed(),
        }
    }

    fn message(&mut self, now: Instant, client: Flow, packet: Packet<'_>) -> Verdict {
        let Ok(message) = Message::parse(&packet.buffer[packet.data.clone()]) else { return self.malformed() };
        if message.is(Class::Indication, Method::SEND) {
            return match self.read_send(now, &client, &message, packet.data.start) {
                Ok(outgoing) => self.forward(now, &client, outgoing, packet),
                Err(verdict) => verdict,
            };
        }
        if message.has_fingerprint() && !message.check_fingerprint() {
            return self.malformed();
        }
        match (message.class(), message.method()) {
            (Class::Request, Method::BINDING) => self.answer_binding(now, client, packet),
            (Class::Request, _) => match self.home(&client) {
                Some(Home::Shard(shard, _)) => self.send_home(now, &client, shard),
                _ => self.request(now, client, &message),
            },
            // A Binding indication keeps a NAT's mapping alive (RFC 8445 §11) and wants nothing.
            (Class::Indication, Method::BINDING) => Verdict::Nothing,
            _ => self.malformed(),
        }
    }

    /// Answers in place if the answer fits where the request and its margins lie.
    fn answer_binding(&mut self, now: Instant, client: Flow, packet: Packet<'_>) -> Verdict {
        let Packet { buffer, data } = packet;
        let mut answer = [0; 1500];
        let written = self.binding.answer(now, &client, &buffer[data.clone()], &mut answer);
        self.counters.binding = sum(self.binding_before, self.binding.counters());
        let Some(written) = written else { return Verdict::Nothing };
        let bytes = &answer[..written.length];
        let room = data.start.saturating_sub(HEADROOM)..(data.end + TAILROOM).min(buffer.len());
        if (written.from, written.to) == (client.local, client.remote) && bytes.len() <= room.len() {
            let data = room.start..room.start + bytes.len();
            buffer[data.clone()].copy_from_slice(bytes);
            return Verdict::ToClient { client, data };
        }
        let mut flow = Flow { local: written.from, remote: written.to, ..client };
        if flow != client {
            // Another socket of ours (RFC 5780 §6.1).
            flow.id = FlowId::UNBOUND;
        }
        self.actions.push_back(Action::Transmit(Transmit { flow, bytes: bytes.into() }));
        Verdict::Nothing
    }

    /// Where a client's allocation is. What another shard has handed over is not handed on: two that point at each other
    /// would never be done with it.
    fn home(&self, client: &Flow) -> Option<Home> {
        self.flows.get(client).filter(|home| matches!(home, Home::Here(_)) || !self.is_guest(client))
    }

    /// Whether a packet came to another shard's socket.
    fn is_guest(&self, client: &Flow) -> bool {
        client.id != FlowId::UNBOUND && client.id.shard() != self.config.shard
    }

    /// A packet from a client whose allocation is on another shard, which is remembered anew now and then.
    fn send_home(&mut self, now: Instant, client: &Flow, shard: u8) -> Verdict {
        let lasts = self.config.lifetimes.max;
        let fresh = |until: Instant| until.saturating_since(now) > lasts / 2;
        if !matches!(self.flows.get(client), Some(Home::Shard(known, until)) if known == shard && fresh(until)) {
            self.flows.hand_over(now, client, shard, now + lasts, self.config.quotas.handed_over);
        }
        Verdict::ToHome { shard, waits: false }
    }

    fn malformed(&mut self) -> Verdict {
        self.counters.malformed += 1;
        Verdict::Nothing
    }

    fn stray(&mut self) -> Verdict {
        self.counters.stray += 1;
        Verdict::Nothing
    }

    /// What to do next, if anything. To be drained after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What has happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn unix_now(&self, now: Instant) -> u64 {
        (self.config.unix_at_origin + now.since_origin()).as_secs()
    }

    /// Takes over another configuration: policy, quotas, lifetimes, limits and relay addresses at once for everybody.
    ///
    /// Permissions, channels and connections that the new policy refuses end now, and allocations for TCP if there is no
    /// more of that. Allocations on a relay address that is gone live on until they end. What cannot change while it runs
    /// stays as it was: shard, ports, realm, nonce key, the origin of time.
    pub fn reconfigure(&mut self, _now: Instant, config: ServerConfig) {
        let old = &self.config;
        let (shard, shards, ports, realm) = (old.shard, old.shards, old.ports.clone(), old.realm.clone());
        let (nonce_key, unix_at_origin) = (old.nonce_key, old.unix_at_origin);
        self.config = ServerConfig { shard, shards, ports, realm, nonce_key, unix_at_origin, ..config };
        self.nonces = Nonces::new(&nonce_key.0, self.config.nonce_lifetime);
        self.authority = Authority::new(&self.config.realm, self.nonces.clone());
        self.binding_before = self.counters.binding;
        self.binding = BindingServer::new(binding_config(&self.config, &mut *self.rng));
        self.limit = RateLimit::new(self.config.limits, self.rng.next_u64());
        self.rate = Rate::of(&self.config.quotas);
        self.policy = relay::policy(&self.config);
        self.readdress();
        if !self.config.tcp_relaying {
            self.end_tcp();
        }
        self.allocations.iter().for_each(|(_, allocation)| allocation.pace(self.rate));
        self.judge_again();
    }

    /// Ends everything: shutdown.
    pub fn close(&mut self, _now: Instant) {
        let all: Vec<u32> = self.allocations.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            self.counters.ended += 1;
            self.end(slot);
        }
        self.release_reservations();
    }

    /// Remembers when to look at an allocation again.
    fn arm(&mut self, now: Instant, at: Instant, timer: Timer) {
        self.timers.arm(now, at.saturating_since(now), timer);
        // Allocations that came and went leave timers behind; there are never many more of those than of the others.
        let live = self.allocations.len() + self.reservations.len() + self.tcp.len();
        if self.timers.len() > 2 * live + 1024 {
            let (allocations, relays, tcp) = (&self.allocations, &self.relays, &self.tcp);
            self.timers.sweep(|timer| timer.is_outdated(allocations, relays, tcp));
        }
    }
}

fn sum(one: farspeak_stun::Counters, other: farspeak_stun::Counters) -> farspeak_stun::Counters {
    farspeak_stun::Counters {
        answered: one.answered + other.answered,
        refused: one.refused + other.refused,
        dropped: one.dropped + other.dropped,
        limited: one.limited + other.limited,
        too_long: one.too_long + other.too_long,
    }
}

fn binding_config(config: &ServerConfig, rng: &mut dyn Rng) -> farspeak_stun::ServerConfig {
    let (limits, alternates) = (config.limits, config.alternates.clone());
    farspeak_stun::ServerConfig { limits, software: None, alternates, seed: rng.next_u64() }
}

/// How long a relay's socket may take to open before the client is told 508.
const OPENING: Duration = Duration::from_secs(10);
