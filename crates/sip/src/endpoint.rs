//! The transaction layer of one shard: it finds the transaction of each message, runs it, and routes responses
//! (RFC 3261 §17, §18.1.2, §18.2; RFC 6026; RFC 4320).
//!
//! ```text
//!            bytes                     Event                      respond, request, cancel
//! driver ───────────> Endpoint ───────────────────> TU (proxy, registrar, user agent) ──┐
//!    ^                    │  ^                                                          │
//!    └───── Transmit ─────┘  └──────────────────────────────────────────────────────────┘
//! ```
//!
//! Retransmissions end here; the ACK to a 300–699 response and the answer to a CANCEL are made here; an ACK to a 2xx
//! passes through. The transaction user (TU) owns everything else: it validates, answers and forwards.
//!
//! ```no_run
//! # use farspeak_sip::endpoint::{Endpoint, EndpointConfig, Event};
//! # use farspeak_sansio::{Instant, Machine, Receive, SplitMix64, Flow, Transmit};
//! # fn send(_: Transmit) {}
//! # fn demo(now: Instant, flow: Flow, bytes: &[u8]) {
//! let mut endpoint = Endpoint::new(EndpointConfig::default(), Box::new(SplitMix64::new(1)));
//! endpoint.handle_receive(now, Receive { flow, bytes });
//! while let Some(event) = endpoint.poll_event() {
//!     if let Event::Request { tx, request, .. } = event {
//!         let answer = farspeak_sip::message::StatusCode::NOT_IMPLEMENTED;
//!         let mut bytes = Vec::new();
//!         farspeak_sip::message::ResponseBuilder::new(&request, answer).to_tag("x").write(&mut bytes);
//!         endpoint.respond(now, tx, answer, bytes);
//!     }
//! }
//! while let Some(transmit) = endpoint.poll_transmit() {
//!     send(transmit);
//! }
//! # }
//! ```

mod client;
mod server;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Ladder, Machine, Receive, Record, RecordKind, Rng, TimerTable, Transmit};

use crate::message::{Limits, Message, Method, ResponseBuilder, StatusCode};
use crate::timer::{Timer, Timers};
pub use crate::transaction::branch::{Branch, BranchParts};
use crate::transaction::matching::Matcher;
pub use crate::transaction::routing::{LONGEST_DATAGRAM, needs_stream};
use crate::transaction::table::{FlowKey, Slot, Table};
use crate::transaction::{Action, Wire};
use client::Client;
use server::Server;

/// Settings of an [`Endpoint`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointConfig {
    /// T1, T2 and T4.
    pub timers: Timers,
    /// Bounds of a single message.
    pub limits: Limits,
    /// Most transactions at once, finished ones that still absorb retransmissions included. Default 500,000 (such a one
    /// takes about 600 bytes). Beyond it new requests get a 503 that leaves no state.
    pub max_transactions: usize,
    /// Most requests of one flow that wait for their final response. Default 20,000: a busy trunk's worth. Beyond it
    /// new requests of that flow get a 503 that leaves no state.
    pub max_open_per_flow: usize,
    /// What the Retry-After of those 503 says. Default 5 s; full seconds count.
    pub retry_after: Duration,
    /// Which shard this is; branches carry it. Default 0.
    pub shard: u8,
    /// Whether responses go to the `maddr` of the top Via (RFC 3261 §18.2.2). Default no.
    ///
    /// Deviation: with it anybody could aim our responses at a third party without forging a source address.
    pub follow_maddr: bool,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            limits: Limits::default(),
            max_transactions: 500_000,
            max_open_per_flow: 20_000,
            retry_after: Duration::from_secs(5),
            shard: 0,
            follow_maddr: false,
        }
    }
}

/// A server transaction. Dead once [`Event::ServerTerminated`] has named it; using it then does nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerTx(u64);

/// A client transaction. Dead once [`Event::ClientTerminated`] has named it; using it then does nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTx(u64);

/// What the transaction layer tells its user.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request has opened a server transaction. Never ACK or CANCEL. Its top Via is stamped with `received` and
    /// `rport` (RFC 3261 §18.2.1, RFC 3581 §4). Nothing but that Via has been checked.
    Request {
        /// To answer it.
        tx: ServerTx,
        /// Whence it came.
        flow: Flow,
        /// The request.
        request: Arc<Message>,
    },
    /// An ACK for a 2xx, or one that matches nothing: to be forwarded without a transaction, or dropped.
    Ack {
        /// Whence it came.
        flow: Flow,
        /// The ACK.
        request: Arc<Message>,
    },
    /// The INVITE that waits in `tx` is cancelled. The CANCEL is answered already; the INVITE is not.
    Cancel {
        /// The INVITE's transaction.
        tx: ServerTx,
        /// The CANCEL, for its Reason.
        request: Arc<Message>,
    },
    /// A CANCEL that matches no INVITE here: answer 481 (RFC 3261 §9.2).
    UnmatchedCancel {
        /// The CANCEL's own transaction.
        tx: ServerTx,
        /// Whence it came.
        flow: Flow,
        /// The CANCEL.
        request: Arc<Message>,
    },
    /// A response to the request of `tx`: every provisional one, the final one, and each further 2xx to an INVITE
    /// (RFC 6026 §7.2).
    Response {
        /// The transaction.
        tx: ClientTx,
        /// Whence it came.
        flow: Flow,
        /// The response.
        response: Arc<Message>,
    },
    /// A response that matches nothing. Never forward it (RFC 6026 §7.3).
    StrayResponse {
        /// Whence it came.
        flow: Flow,
        /// The response.
        response: Arc<Message>,
    },
    /// A response to a request of another shard. Hand it over, once.
    Misrouted {
        /// The shard that waits for it.
        shard: u8,
        /// Whence it came.
        flow: Flow,
        /// The response, as it arrived.
        bytes: Vec<u8>,
    },
    /// Nobody answered (Timers B and F), or not after a CANCEL. `ClientTerminated` follows.
    TimedOut {
        /// The transaction.
        tx: ClientTx,
    },
    /// The transport failed before the final response. `ClientTerminated` follows.
    TransportFailed {
        /// The transaction.
        tx: ClientTx,
    },
    /// The response has no way back. The transaction stays, to absorb retransmissions (RFC 6026 §7.1).
    ServerTransportFailed {
        /// The transaction.
        tx: ServerTx,
    },
    /// The ACK to a 300–699 response never came (Timer H). `ServerTerminated` follows.
    ServerTimedOut {
        /// The transaction.
        tx: ServerTx,
    },
    /// The transaction is gone: the last event that names it.
    ServerTerminated {
        /// The transaction.
        tx: ServerTx,
    },
    /// The transaction is gone: the last event that names it.
    ClientTerminated {
        /// The transaction.
        tx: ClientTx,
    },
}

/// What there is, and what has happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Counts {
    /// INVITE server transactions alive.
    pub server_invite: usize,
    /// Other server transactions alive.
    pub server_non_invite: usize,
    /// INVITE client transactions alive.
    pub client_invite: usize,
    /// Other client transactions alive, CANCELs included.
    pub client_non_invite: usize,
    /// Requests whose final response is still to come: what a shutdown waits for.
    pub unanswered: usize,
    /// Flows that transactions run over.
    pub flows: usize,
    /// Timers armed, outdated ones included.
    pub timers: usize,
    /// Requests that parsed.
    pub requests_received: u64,
    /// Responses that parsed.
    pub responses_received: u64,
    /// Messages that did not parse, or had no usable Via.
    pub malformed: u64,
    /// Messages sent, retransmissions included.
    pub sent: u64,
    /// Requests and ACKs that were retransmissions.
    pub retransmissions_absorbed: u64,
    /// Messages sent again by a timer or for a retransmitted request.
    pub retransmissions_sent: u64,
    /// Responses that matched nothing.
    pub stray_responses: u64,
    /// Requests answered 503 because a table was full.
    pub refused: u64,
    /// Transactions that ended by Timer B, F or H.
    pub timed_out: u64,
    /// Transactions told of a transport failure.
    pub transport_failed: u64,
}

impl Counts {
    /// Transactions alive.
    pub const fn transactions(&self) -> usize {
        self.server_invite + self.server_non_invite + self.client_invite + self.client_non_invite
    }
}

/// The transaction layer of one shard.
pub struct Endpoint {
    config: EndpointConfig,
    rng: Box<dyn Rng + Send>,
    matcher: Matcher,
    table: Table<Transaction>,
    timers: TimerTable<TimerKey>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Emptied after each step of a machine, kept for its memory.
    actions: Vec<Action>,
    /// The same for messages that are made here.
    buffer: Vec<u8>,
    ladder: Option<Box<dyn Ladder + Send>>,
    counts: Counts,
}

enum Transaction {
    Server(Server),
    Client(Client),
}

#[derive(Clone, Copy)]
struct TimerKey {
    slot: Slot,
    timer: Timer,
}

impl Endpoint {
    /// An endpoint without transactions. `rng` makes branches and hash keys: it must be unpredictable in production.
    pub fn new(config: EndpointConfig, mut rng: Box<dyn Rng + Send>) -> Self {
        let mut seed = || (rng.next_u64(), rng.next_u64());
        let (match_seed, flow_seed) = (seed(), seed());
        Self {
            timers: TimerTable::new(&config.timers.durations()),
            matcher: Matcher::new(match_seed),
            table: Table::new(flow_seed),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            actions: Vec::with_capacity(8),
            buffer: Vec::with_capacity(2048),
            ladder: None,
            counts: Counts::default(),
            config,
            rng,
        }
    }

    /// Writes the ladder log from now on. Its subjects are Call-IDs; timers and states come with the flow of their
    /// transaction.
    pub fn set_ladder(&mut self, ladder: Option<Box<dyn Ladder + Send>>) {
        self.ladder = ladder;
    }

    /// Writes down in the ladder log, if there is one, that a timer of the user's own has fired for `tx`: Timer C.
    pub fn note_timer(&mut self, now: Instant, tx: ClientTx, name: &str) {
        self.record_of(now, Slot::from_bits(tx.0), RecordKind::Timer(name));
    }

    /// Puts new bounds on messages and tables into force. Timers and shard stay as they are.
    pub fn set_bounds(&mut self, limits: Limits, max_transactions: usize, max_open_per_flow: usize) {
        self.config.limits = limits;
        self.config.max_transactions = max_transactions;
        self.config.max_open_per_flow = max_open_per_flow;
    }

    /// A branch for a new client transaction or a stateless forward; `loop_key` is the hash by which the proxy will
    /// know its own loops (RFC 5393 §4.2).
    pub fn new_branch(&mut self, loop_key: u64) -> Branch {
        Branch::new(self.config.shard, self.rng.next_u64(), loop_key)
    }

    /// Sends a message without state: the ACK to a 2xx, a forwarded ACK.
    pub fn send_stateless(&mut self, now: Instant, flow: Flow, bytes: impl Into<Arc<[u8]>>) {
        self.transmit(now, flow, bytes.into(), "");
    }

    /// What there is, and what has happened.
    pub fn counts(&self) -> Counts {
        Counts { flows: self.table.flows(), timers: self.timers.len(), ..self.counts }
    }

    fn wire(&self, flow: &Flow) -> Wire {
        Wire { timers: self.config.timers, reliable: flow.transport.is_reliable() }
    }

    fn transmit(&mut self, now: Instant, flow: Flow, bytes: Arc<[u8]>, subject: &str) {
        self.counts.sent += 1;
        self.record(now, Some(flow), subject, RecordKind::Sent(&bytes));
        self.transmits.push_back(Transmit { flow, bytes });
    }

    fn record(&mut self, at: Instant, flow: Option<Flow>, subject: &str, kind: RecordKind<'_>) {
        if let Some(ladder) = &mut self.ladder {
            ladder.record(Record { at, flow, subject, kind });
        }
    }

    /// The Call-ID, if the ladder log wants it.
    fn subject(&self, message: Option<&Message>) -> Arc<str> {
        match message {
            Some(message) if self.ladder.is_some() => message.call_id().unwrap_or_default().into(),
            _ => Arc::default(),
        }
    }

    fn handle_message(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        let message = match Message::parse(bytes, &self.config.limits) {
            Ok(message) => message,
            Err(error) => {
                self.counts.malformed += 1;
                self.record(now, Some(flow), "", RecordKind::Received(bytes));
                // RFC 3261 §16.3: a malformed request gets its answer, if it says enough for one.
                if let Some(request) = error.reply_to() {
                    let method = request.method();
                    if request.is_request() && method != Some(&Method::Ack) {
                        self.refuse(now, &flow, request, error.status(), Some(error.kind().reason()));
                    }
                }
                return;
            }
        };
        if self.ladder.is_some() {
            let subject = self.subject(Some(&message));
            self.record(now, Some(flow), &subject, RecordKind::Received(bytes));
        }
        if message.is_request() {
            self.counts.requests_received += 1;
            self.handle_request(now, flow, message);
        } else {
            self.counts.responses_received += 1;
            self.handle_response(now, flow, message, bytes);
        }
    }

    /// Answers without leaving state. `reason` replaces the standard phrase.
    fn refuse(&mut self, now: Instant, flow: &Flow, request: &Message, status: StatusCode, reason: Option<&str>) {
        let mut request = request.clone();
        request.stamp_source(flow.remote);
        let Ok(via) = request.via() else { return };
        let route = crate::transaction::routing::response_route(flow, &via, self.config.follow_maddr);
        let tag = format!("{:016x}", self.matcher.tag(&request));
        let seconds = self.config.retry_after.as_secs().to_string();
        let mut builder = ResponseBuilder::new(&request, status).to_tag(&tag);
        if let Some(reason) = reason {
            builder = builder.reason(reason);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            builder = builder.header(crate::message::HeaderName::RetryAfter, &seconds);
        }
        self.buffer.clear();
        builder.write(&mut self.buffer);
        let bytes = Arc::from(&self.buffer[..]);
        let subject = self.subject(Some(&request));
        self.transmit(now, route, bytes, &subject);
    }

    fn arm(&mut self, now: Instant, slot: Slot, timer: Timer, after: Duration) {
        self.timers.arm(now, after, TimerKey { slot, timer });
    }

    fn fire(&mut self, now: Instant, key: TimerKey) {
        if !is_live(&self.table, &key) {
            return;
        }
        self.record_of(now, key.slot, RecordKind::Timer(key.timer.name()));
        match self.table.get(key.slot) {
            Some(Transaction::Server(_)) => self.step_server(now, key.slot, server::Input::Timer(key.timer), None),
            Some(Transaction::Client(_)) => self.step_client(now, key.slot, client::Input::Timer(key.timer), None),
            None => {}
        }
    }

    fn record_state(&mut self, now: Instant, slot: Slot, state: &'static str) {
        self.record_of(now, slot, RecordKind::State(state));
    }

    /// Writes what happened in a transaction, with its flow.
    fn record_of(&mut self, now: Instant, slot: Slot, kind: RecordKind<'_>) {
        let Some(ladder) = &mut self.ladder else { return };
        let (flow, subject) = match self.table.get(slot) {
            Some(Transaction::Server(server)) => (server.route, &server.subject),
            Some(Transaction::Client(client)) => (client.flow, &client.subject),
            None => return,
        };
        ladder.record(Record { at: now, flow: Some(flow), subject, kind });
    }

    /// Drops outdated timers at the front, so that they wake nobody.
    fn forget_outdated_timers(&mut self) {
        let table = &self.table;
        self.timers.prune(|key| !is_live(table, key));
    }
}

fn is_live(table: &Table<Transaction>, key: &TimerKey) -> bool {
    match table.get(key.slot) {
        Some(Transaction::Server(server)) => server.machine.wants(key.timer),
        Some(Transaction::Client(client)) => client.machine.wants(key.timer),
        None => false,
    }
}

/// Bounds for reading our own messages, which are longer than what came in by what was added to it.
fn own_limits() -> Limits {
    let bytes = 16 << 20;
    Limits { max_message: bytes, max_header_bytes: bytes, max_headers: bytes, max_line: bytes }
}

impl Machine for Endpoint {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        self.handle_message(now, received.flow, received.bytes);
        self.forget_outdated_timers();
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            self.fire(now, key);
        }
        self.forget_outdated_timers();
    }

    /// Fails every transaction that runs over the flow (RFC 3261 §18.4), and those that were waiting for a connection
    /// to the same peer.
    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        let mut slots = self.table.on_flow(FlowKey::of(&flow));
        let unbound = Flow { id: FlowId::UNBOUND, ..flow };
        if flow.id != FlowId::UNBOUND {
            slots.extend(self.table.on_flow(FlowKey::of(&unbound)));
        }
        for slot in slots {
            match self.table.get(slot) {
                Some(Transaction::Server(_)) => self.fail_server(now, slot),
                Some(Transaction::Client(_)) => self.step_client(now, slot, client::Input::TransportError, None),
                None => {}
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = Slot::from_bits(self.0);
        write!(f, "server {}.{}", slot.index, slot.generation)
    }
}

impl fmt::Debug for ClientTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = Slot::from_bits(self.0);
        write!(f, "client {}.{}", slot.index, slot.generation)
    }
}
