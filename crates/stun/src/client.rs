//! Requests of any method to STUN and TURN servers, RFC 8489 §6 and §9, as a machine.
//!
//! The application asks ([`Client::request`]); the machine sends, repeats, answers challenges, checks seals, and
//! reports one event per request.

mod redirect;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Rng, Transmit};

use crate::attribute::AttributeType;
use crate::long_term::{Credentials, Hopeless, Verdict};
use crate::transaction::{Schedule, Step, Transaction};
use crate::{Class, Integrity, Key, Message, Method, TransactionId, WriteError, Writer};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// When to send again and when to give up. Its RTO is the least; round trips measured at a server raise it.
    pub schedule: Schedule,
    /// How many requests to one server address may be under way. Default 10 (RFC 8489 §6.2).
    pub outstanding: usize,
    /// How often one request may be challenged. Default 4: a first 401, and stale nonces.
    pub challenges: u32,
    /// Whether FINGERPRINT ends each request, and responses without a right one are dropped. Default false: needed
    /// only where other protocols share the port (RFC 8489 §7).
    pub fingerprint: bool,
    /// How often one request may be sent on to another server by a sealed 300 (Try Alternate), over UDP and TCP; what
    /// comes after that is reported as it is, and so is any redirection over TLS, where it is for the user of the
    /// connection to know the other server's name. Default 0: whether to follow is the usage's to say (RFC 8489 §10).
    pub redirections: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { schedule: Schedule::default(), outstanding: 10, challenges: 4, fingerprint: false, redirections: 0 }
    }
}

/// By what the client proves who it is. One server (or one ICE session) per client.
#[derive(Clone, Debug, Default)]
pub enum Authentication {
    /// By nothing: open requests, open responses.
    #[default]
    None,
    /// RFC 8489 §9.1: a name and a key agreed beforehand.
    ShortTerm {
        /// Value of USERNAME.
        username: String,
        /// Made by [`Key::short_term`].
        key: Key,
        /// What the peer is known to understand, from elsewhere; [`Integrity::Sha1`] for ICE (RFC 8445 §7.2.2). `None`:
        /// the first request is sealed by both, and the next ones as the server answered (RFC 8489 §9.1.2, §9.1.5).
        agreed: Option<Integrity>,
    },
    /// RFC 8489 §9.2: a name and a password, and a challenge.
    LongTerm(Credentials),
}

/// What to ask.
pub struct Request {
    method: Method,
    write: Box<dyn Fn(&mut Writer<'_>) + Send>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.method)
    }
}

impl Request {
    /// What is my address?
    pub fn binding() -> Self {
        Self::new(Method::BINDING, |_| {})
    }

    /// A request of any method. `write` adds its attributes; it is called again for each answer to a challenge, since
    /// XORed addresses depend on the transaction ID.
    pub fn new(method: Method, write: impl Fn(&mut Writer<'_>) + Send + 'static) -> Self {
        Self { method, write: Box::new(write) }
    }
}

/// Which request an event is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(u64);

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The server has answered, with success or an error. [`Message::parse`] reads `bytes`; seals have been checked
    /// where the request had one. An ALTERNATE-SERVER in an answer without a seal is not to be followed (RFC 8489
    /// §14.8); one with a seal already has been, as far as [`ClientConfig::redirections`] goes.
    Response {
        /// Which request.
        request: RequestId,
        /// The whole response.
        bytes: Box<[u8]>,
        /// How long it took; `None` if it had to be sent again.
        round_trip: Option<Duration>,
    },
    /// There is no answer.
    Failed {
        /// Which request.
        request: RequestId,
        /// Why.
        reason: Failure,
    },
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody answered in time.
    TimedOut,
    /// The flow failed: an ICMP error, or a stream that broke (RFC 8489 §6.2.1, §6.2.2).
    FlowFailed,
    /// Every answer that came was forged or damaged (RFC 8489 §9.1.4, §9.2.5).
    IntegrityViolated,
    /// The server asks for what cannot be given.
    Refused(Hopeless),
    /// The server challenged too often.
    TooManyChallenges,
    /// The response has comprehension-required attributes that nobody here knows, or lacks ERROR-CODE (RFC 8489
    /// §6.3.3, §6.3.4).
    NotUnderstood,
    /// The answer to the challenge could not be written: texts too long.
    Unwritable(WriteError),
}

/// A request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Busy {
    /// As many requests as the configuration allows are under way to this server.
    Outstanding,
    /// The attributes cannot be written.
    Unwritable(WriteError),
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outstanding => f.write_str("enough requests are under way to this server"),
            Self::Unwritable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Busy {}

/// A client: the machine.
///
/// ```
/// # use farspeak_sansio::{Flow, Instant, Machine, SplitMix64, Transport};
/// # use farspeak_stun::{Authentication, Client, ClientConfig, Request};
/// # let flow = Flow::unbound(Transport::Udp, "192.0.2.7:4000".parse().unwrap(), "192.0.2.1:3478".parse().unwrap());
/// # let now = Instant::ZERO;
/// let mut client = Client::new(ClientConfig::default(), Authentication::None, Box::new(SplitMix64::new(1)));
/// client.request(now, flow, Request::binding()).unwrap();
/// let request = client.poll_transmit().unwrap(); // to a socket
/// assert_eq!(client.poll_timeout().unwrap().as_nanos(), 500_000_000);
/// ```
pub struct Client {
    config: ClientConfig,
    authentication: Authentication,
    rng: Box<dyn Rng + Send>,
    pending: Vec<Pending>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    timing: Vec<Timing>,
    next: u64,
    /// Whether the server has shown that it knows our credentials.
    proven: bool,
    /// How many challenges have been answered.
    answered: u64,
    /// By what this server sealed its answer to a request that left it the choice.
    answered_by: Option<(SocketAddr, Integrity)>,
}

struct Pending {
    request: RequestId,
    what: Request,
    transaction: Transaction,
    challenges: u32,
    /// Why it fails if nothing better comes.
    doubt: Option<Failure>,
    /// Servers that sent it on.
    redirected: Vec<SocketAddr>,
}

/// Round trips to one server, RFC 6298.
struct Timing {
    server: IpAddr,
    smoothed: Duration,
    variation: Duration,
    used: Instant,
}

/// Most servers whose round trips are remembered, and for how long (RFC 8489 §6.2.1).
const MOST_TIMINGS: usize = 16;
const TIMING_STALE: Duration = Duration::from_secs(600);

/// Longest request that is written: one that passes every IPv6 path, and then some for what TURN adds.
const LONGEST_REQUEST: usize = 2048;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has asked nothing yet. `rng` makes transaction IDs, which have to be unpredictable: a secure one
    /// in production.
    pub fn new(config: ClientConfig, authentication: Authentication, rng: Box<dyn Rng + Send>) -> Self {
        let (pending, transmits, events) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self {
            config,
            authentication,
            rng,
            pending,
            transmits,
            events,
            timing: Vec::new(),
            next: 0,
            proven: false,
            answered: 0,
            answered_by: None,
        }
    }

    /// Asks the server at the flow's remote address. Exactly one event will follow.
    pub fn request(&mut self, now: Instant, flow: Flow, what: Request) -> Result<RequestId, Busy> {
        let to_same = self.pending.iter().filter(|pending| pending.transaction.flow().remote == flow.remote).count();
        if to_same >= self.config.outstanding {
            return Err(Busy::Outstanding);
        }
        let transaction = self.send(now, flow, &what).map_err(Busy::Unwritable)?;
        let request = RequestId(self.next);
        self.next += 1;
        self.pending.push(Pending { request, what, transaction, challenges: 0, doubt: None, redirected: Vec::new() });
        Ok(request)
    }

    /// Forgets a request; no event will follow.
    pub fn cancel(&mut self, request: RequestId) {
        self.pending.retain(|pending| pending.request != request);
    }

    /// Whether the server has challenged us: from then on every request is sealed, and so must be every answer that is
    /// reported.
    pub const fn is_challenged(&self) -> bool {
        matches!(&self.authentication, Authentication::LongTerm(credentials) if credentials.is_challenged())
    }

    /// How many challenges have been answered so far.
    pub const fn challenges(&self) -> u64 {
        self.answered
    }

    /// How many requests are under way.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    fn send(&mut self, now: Instant, flow: Flow, what: &Request) -> Result<Transaction, WriteError> {
        let mut buffer = [0; LONGEST_REQUEST];
        let id = TransactionId::random(&mut *self.rng);
        let mut writer = Writer::new(&mut buffer, Class::Request, what.method, id);
        (what.write)(&mut writer);
        match &self.authentication {
            Authentication::None => {}
            Authentication::ShortTerm { username, key, agreed } => {
                writer.push(crate::Attribute::Username(username));
                let answered = self.answered_by.filter(|(server, _)| *server == flow.remote);
                match agreed.or(answered.map(|(_, integrity)| integrity)) {
                    Some(Integrity::Sha1) => writer.integrity(key),
                    Some(Integrity::Sha256) => writer.integrity_sha256(key),
                    None => writer.integrity(key).integrity_sha256(key),
                };
            }
            Authentication::LongTerm(credentials) => credentials.seal(&mut writer),
        }
        if self.config.fingerprint {
            writer.fingerprint();
        }
        let bytes = writer.finish()?;
        let schedule = Schedule { rto: self.rto(now, flow.remote.ip()), ..self.config.schedule };
        let begun = Transaction::begin(now, flow, bytes.into(), schedule);
        let (transaction, transmit) = begun.expect("a request was just written");
        self.transmits.push_back(transmit);
        Ok(transaction)
    }

    fn rto(&self, now: Instant, server: IpAddr) -> Duration {
        let known = self.timing.iter().find(|timing| timing.server == server && now - timing.used < TIMING_STALE);
        let measured = known.map_or(Duration::ZERO, |timing| timing.smoothed + timing.variation * 4);
        measured.clamp(self.config.schedule.rto, self.config.schedule.rto.max(Duration::from_secs(60)))
    }

    /// RFC 6298 §2, to the nanosecond.
    fn measured(&mut self, now: Instant, server: IpAddr, round_trip: Duration) {
        self.timing.retain(|timing| now - timing.used < TIMING_STALE);
        if let Some(timing) = self.timing.iter_mut().find(|timing| timing.server == server) {
            timing.variation = (timing.variation * 3 + timing.smoothed.abs_diff(round_trip)) / 4;
            timing.smoothed = (timing.smoothed * 7 + round_trip) / 8;
            timing.used = now;
            return;
        }
        if self.timing.len() >= MOST_TIMINGS {
            let oldest = (0..self.timing.len()).min_by_key(|at| self.timing[*at].used);
            oldest.map(|at| self.timing.swap_remove(at));
        }
        self.timing.push(Timing { server, smoothed: round_trip, variation: round_trip / 2, used: now });
    }

    fn fail(&mut self, at: usize, reason: Failure) {
        let pending = self.pending.swap_remove(at);
        self.events.push_back(Event::Failed { request: pending.request, reason });
    }

    /// Over datagrams, a request waits for a better answer than this; over a stream, none can come.
    fn doubt(&mut self, at: usize, flow: Flow, reason: Failure) {
        if flow.transport.is_reliable() {
            return self.fail(at, reason);
        }
        self.pending[at].doubt.get_or_insert(reason);
    }

    fn judge(&mut self, at: usize, message: &Message<'_>) -> Verdict {
        let request = Message::parse(self.pending[at].transaction.bytes()).expect("it was written here");
        match &mut self.authentication {
            Authentication::None => Verdict::Accept,
            // RFC 8489 §9.1.4: sealed with the same key and an algorithm of the request, whatever it says.
            Authentication::ShortTerm { key, .. } => match message.check_integrity(key) {
                Ok(integrity) if request.is_sealed_by(integrity) => {
                    self.answered_by = Some((self.pending[at].transaction.flow().remote, integrity));
                    Verdict::Accept
                }
                _ => Verdict::Distrust,
            },
            Authentication::LongTerm(credentials) => credentials.judge(&request, message),
        }
    }

    fn again(&mut self, now: Instant, at: usize) {
        let mut pending = self.pending.swap_remove(at);
        if pending.challenges >= self.config.challenges {
            let reason = Failure::TooManyChallenges;
            return self.events.push_back(Event::Failed { request: pending.request, reason });
        }
        match self.send(now, pending.transaction.flow(), &pending.what) {
            Ok(transaction) => {
                pending.challenges += 1;
                self.answered += 1;
                pending.transaction = transaction;
                self.pending.push(pending);
            }
            Err(error) => {
                let reason = Failure::Unwritable(error);
                self.events.push_back(Event::Failed { request: pending.request, reason });
            }
        }
    }

    fn accept(&mut self, now: Instant, at: usize, message: &Message<'_>) {
        let unknown = message.not_understood(AttributeType::is_known).next().is_some();
        let no_code = message.class() == Class::Error && !matches!(message.error_code(), Ok(Some(_)));
        if unknown || no_code {
            return self.fail(at, Failure::NotUnderstood);
        }
        if let Some(flow) = self.redirection(at, message) {
            return self.redirect(now, at, flow);
        }
        let pending = self.pending.swap_remove(at);
        self.proven |= message.has_integrity() && self.is_challenged();
        let round_trip = pending.transaction.round_trip(now);
        // A stream's includes its handshakes and its own repetitions: not what a datagram takes.
        if let Some(round_trip) = round_trip.filter(|_| !pending.transaction.flow().transport.is_reliable()) {
            self.measured(now, pending.transaction.flow().remote.ip(), round_trip);
        }
        self.events.push_back(Event::Response { request: pending.request, bytes: message.bytes().into(), round_trip });
    }
}

impl Machine for Client {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let Ok(message) = Message::parse(received.bytes) else { return };
        if self.config.fingerprint && !message.check_fingerprint() {
            return;
        }
        let answered = |pending: &Pending| {
            let flow = pending.transaction.flow();
            // Only whom it was sent to can know the transaction ID; who else does has listened.
            pending.transaction.is_answered_by(&message)
                && flow.transport == received.flow.transport
                && flow.remote == received.flow.remote
        };
        let Some(at) = self.pending.iter().position(answered) else { return };
        match self.judge(at, &message) {
            Verdict::Accept => self.accept(now, at, &message),
            Verdict::Retry => self.again(now, at),
            // Nobody seals a challenge. From a server that knew our credentials a moment ago it may as well be forged, and
            // the true answer follow.
            Verdict::GiveUp(reason) if self.proven => self.doubt(at, received.flow, Failure::Refused(reason)),
            Verdict::GiveUp(reason) => self.fail(at, Failure::Refused(reason)),
            Verdict::Distrust => self.doubt(at, received.flow, Failure::IntegrityViolated),
            Verdict::Ignore => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.pending.len() {
            match self.pending[at].transaction.handle_timeout(now) {
                Step::Wait => at += 1,
                Step::Send(transmit) => {
                    self.transmits.push_back(transmit);
                    at += 1;
                }
                Step::TimedOut => {
                    let reason = self.pending[at].doubt.unwrap_or(Failure::TimedOut);
                    self.fail(at, reason);
                }
            }
        }
    }

    fn handle_flow_failed(&mut self, _now: Instant, flow: Flow) {
        let mut at = 0;
        while at < self.pending.len() {
            let own = self.pending[at].transaction.flow();
            let same_id = own.id == flow.id || own.id == FlowId::UNBOUND || flow.id == FlowId::UNBOUND;
            if same_id && own.transport == flow.transport && own.remote == flow.remote {
                self.fail(at, Failure::FlowFailed);
            } else {
                at += 1;
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.transaction.deadline()).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
