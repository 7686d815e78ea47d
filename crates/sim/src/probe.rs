//! A machine without a protocol: it keeps what arrives and sends what it is told to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit};

/// What a [`Probe`] received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// Over which flow.
    pub flow: Flow,
    /// What.
    pub bytes: Vec<u8>,
}

/// A host's raw hands: for tests of the network itself, for attackers, and for messages that no phone would send.
#[derive(Default, Debug)]
pub struct Probe {
    /// Everything that arrived, oldest first.
    pub inbox: Vec<Received>,
    /// Every flow that failed, oldest first.
    pub failed: Vec<Flow>,
    outbox: VecDeque<Transmit>,
    echo: bool,
}

impl Probe {
    /// A probe that only listens until told to send.
    pub fn new() -> Self {
        Self::default()
    }

    /// A probe that returns everything to where it came from.
    pub fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }

    /// Sends the bytes.
    pub fn send(&mut self, flow: Flow, bytes: impl Into<Arc<[u8]>>) {
        self.outbox.push_back(Transmit { flow, bytes: bytes.into() });
    }

    /// Answers whoever sent the last message, over its flow.
    ///
    /// # Panics
    ///
    /// If nothing has arrived yet.
    pub fn reply(&mut self, bytes: impl Into<Arc<[u8]>>) {
        let flow = self.inbox.last().expect("nothing has arrived that could be answered").flow;
        self.send(flow, bytes);
    }

    /// The last message as text, or an empty string.
    pub fn last_text(&self) -> String {
        self.inbox.last().map(|received| String::from_utf8_lossy(&received.bytes).into_owned()).unwrap_or_default()
    }
}

impl Machine for Probe {
    type Event = Infallible;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        self.inbox.push(Received { at: now, flow: received.flow, bytes: received.bytes.to_vec() });
        if self.echo {
            self.send(received.flow, received.bytes);
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn handle_flow_failed(&mut self, _now: Instant, flow: Flow) {
        self.failed.push(flow);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_event(&mut self) -> Option<Infallible> {
        None
    }
}
