//! One request until its response: when to send it again and when to give up, RFC 8489 §6.2.1 and §6.2.2.
//!
//! No machine of its own but the clockwork of one: [`Client`](crate::Client), NAT discovery, and whoever embeds it (a
//! TURN client, ICE).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Transmit};

use crate::{Class, Message, Method, TransactionId};

/// How often and how long a request is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Time to the first retransmission; each next one takes twice as long (RTO). Default 500 ms, which RFC 8489
    /// §6.2.1 makes the least for the Internet; ICE has its own (RFC 8445 §14.3).
    pub rto: Duration,
    /// How often the request is sent in all (Rc). Default 7.
    pub rc: u32,
    /// How many RTOs to wait after the last one (Rm). Default 16: with the other defaults it ends after 39.5 s.
    pub rm: u32,
    /// How long to wait over a stream, where nothing is sent again (Ti). Default 39.5 s.
    pub ti: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { rto: Duration::from_millis(500), rc: 7, rm: 16, ti: Duration::from_millis(39_500) }
    }
}

/// A request under way.
#[derive(Clone, Debug)]
pub struct Transaction {
    id: TransactionId,
    method: Method,
    flow: Flow,
    bytes: Arc<[u8]>,
    schedule: Schedule,
    started: Instant,
    sent: u32,
    deadline: Instant,
}

/// What a transaction wants when its time has come.
#[derive(Debug)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Send it again.
    Send(Transmit),
    /// It has failed: nobody answered.
    TimedOut,
}

impl Transaction {
    /// Begins one with a finished request; send what comes back. `None` if `bytes` are no request.
    pub fn begin(now: Instant, flow: Flow, bytes: Arc<[u8]>, schedule: Schedule) -> Option<(Self, Transmit)> {
        let message = Message::parse(&bytes).ok().filter(|message| message.class() == Class::Request)?;
        let (id, method) = (message.transaction_id(), message.method());
        let transmit = Transmit { flow, bytes: Arc::clone(&bytes) };
        let deadline = if flow.transport.is_reliable() { now + schedule.ti } else { now + wait(&schedule, 1) };
        Some((Self { id, method, flow, bytes, schedule, started: now, sent: 1, deadline }, transmit))
    }

    /// When to call [`Self::handle_timeout`].
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Time has passed. Early calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if now < self.deadline {
            return Step::Wait;
        }
        if self.flow.transport.is_reliable() || self.sent >= self.schedule.rc {
            return Step::TimedOut;
        }
        self.sent += 1;
        self.deadline = now + wait(&self.schedule, self.sent);
        Step::Send(Transmit { flow: self.flow, bytes: Arc::clone(&self.bytes) })
    }

    /// Whether the message is a response to this request (RFC 8489 §6.3): by transaction ID, method and class.
    /// Whether it came over the right flow, and by whom it is sealed, is for the caller to see.
    pub fn is_answered_by(&self, message: &Message<'_>) -> bool {
        message.transaction_id() == self.id
            && message.method() == self.method
            && matches!(message.class(), Class::Success | Class::Error)
    }

    /// The round-trip time that a response at `now` shows; `None` if the request was sent more than once, since
    /// nobody knows which one was answered (Karn's algorithm, RFC 8489 §6.2.1).
    pub fn round_trip(&self, now: Instant) -> Option<Duration> {
        (self.sent == 1).then(|| now - self.started)
    }

    /// How often it has been sent.
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// The request's ID.
    pub const fn id(&self) -> TransactionId {
        self.id
    }

    /// Over which flow it goes.
    pub const fn flow(&self) -> Flow {
        self.flow
    }

    /// The request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// How long to wait after the request was sent for the `sent`th time.
fn wait(schedule: &Schedule, sent: u32) -> Duration {
    if sent >= schedule.rc {
        schedule.rto.saturating_mul(schedule.rm)
    } else {
        schedule.rto.saturating_mul(1 << (sent - 1).min(20))
    }
}
