//! What kind of NAT is in the way, RFC 5780 §4, as machines: [`Behaviour`] (mapping, filtering, hairpin) and
//! [`Lifetime`] (how long a mapping lives).
//!
//! By UDP, which is what calls go by. Over TCP and TLS filtering cannot be tested at all, since a server may not open
//! connections (§3.4, §4); mapping could be, by connecting from one port several times (§4.3), which nobody here needs:
//! what matters there is whether a plain Binding request gets through, and that is [`Client`](crate::Client)'s.
//!
//! The result is a snapshot; NATs change under load (RFC 5780 §4). For calls ICE decides, not this.

mod behaviour;
mod lifetime;

use std::collections::VecDeque;

use farspeak_sansio::{Flow, Instant, Receive, Rng, Transmit, Transport};

pub use behaviour::{Behaviour, BehaviourReport, Dependence};
pub use lifetime::{Lifetime, LifetimeConfig, LifetimeReport, UNKNOWN_LIFETIME};

use crate::transaction::{Schedule, Step, Transaction};
use crate::{Class, Message, Method, TransactionId, Writer};

/// Requests under way in a discovery, by what they test.
struct Probes<T> {
    schedule: Schedule,
    rng: Box<dyn Rng + Send>,
    pending: Vec<(T, Transaction)>,
    transmits: VecDeque<Transmit>,
}

/// What a response to a probe says, and on which of our sockets it came.
struct Reply<'a> {
    message: Message<'a>,
    flow: Flow,
}

impl<T: Copy + PartialEq> Probes<T> {
    fn new(schedule: Schedule, rng: Box<dyn Rng + Send>) -> Self {
        Self { schedule, rng, pending: Vec::new(), transmits: VecDeque::new() }
    }

    /// Sends a Binding request from one of our sockets.
    fn send(&mut self, now: Instant, what: T, flow: Flow, write: impl FnOnce(&mut Writer<'_>)) {
        let mut buffer = [0; 128];
        let mut writer =
            Writer::new(&mut buffer, Class::Request, Method::BINDING, TransactionId::random(&mut *self.rng));
        write(&mut writer);
        let bytes = writer.finish().expect("a probe is a few bytes long");
        let begun = Transaction::begin(now, flow, bytes.into(), self.schedule);
        let (transaction, transmit) = begun.expect("a request was just written");
        self.pending.push((what, transaction));
        self.transmits.push_back(transmit);
    }

    /// Whether it is one of the requests under way, hairpinned: which, and over which flow it was sent.
    fn own_request(&self, bytes: &[u8]) -> Option<(T, Flow)> {
        let own = self.pending.iter().find(|(_, transaction)| transaction.bytes() == bytes)?;
        Some((own.0, own.1.flow()))
    }

    /// Whether it is a response to one of them. Its source is not looked at: that it comes from elsewhere is what the
    /// tests are about.
    fn answered<'a>(&mut self, received: &Receive<'a>) -> Option<(T, Flow, Reply<'a>)> {
        let message = Message::parse(received.bytes).ok()?;
        let at = self.pending.iter().position(|(_, transaction)| transaction.is_answered_by(&message))?;
        let (what, transaction) = self.pending.swap_remove(at);
        Some((what, transaction.flow(), Reply { message, flow: received.flow }))
    }

    fn forget(&mut self, what: T) {
        self.pending.retain(|(pending, _)| *pending != what);
    }

    /// Repeats what is due; the first one that nobody answered.
    fn timed_out(&mut self, now: Instant) -> Option<T> {
        for at in 0..self.pending.len() {
            match self.pending[at].1.handle_timeout(now) {
                Step::Wait => {}
                Step::Send(transmit) => self.transmits.push_back(transmit),
                Step::TimedOut => return Some(self.pending.swap_remove(at).0),
            }
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|(_, transaction)| transaction.deadline()).min()
    }
}

/// The same socket of ours, another end.
fn towards(flow: Flow, remote: std::net::SocketAddr) -> Flow {
    Flow { id: farspeak_sansio::FlowId::UNBOUND, transport: Transport::Udp, local: flow.local, remote }
}
