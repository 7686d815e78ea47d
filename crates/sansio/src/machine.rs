//! The one trait that drivers, simulators and ladders know.

use std::sync::Arc;

use crate::{Flow, Instant};

/// One datagram, or one framed message of a stream, as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Receive<'a> {
    /// Where it came from, and on which socket or connection.
    pub flow: Flow,
    /// The bytes that the framer measured: exactly one message.
    pub bytes: &'a [u8],
}

/// One datagram or framed message to send.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where to send it.
    pub flow: Flow,
    /// The bytes. Shared, so that a retransmission costs no copy.
    pub bytes: Arc<[u8]>,
}

/// A protocol without I/O: bytes and `now` in; packets, a deadline and events out.
///
/// After any call, drain [`poll_transmit`](Self::poll_transmit), then [`poll_event`](Self::poll_event), then read
/// [`poll_timeout`](Self::poll_timeout). Bytes from a peer never make a call fail and never panic.
pub trait Machine {
    /// What the machine tells its user.
    type Event;

    /// A datagram or framed message has arrived.
    fn handle_receive(&mut self, now: Instant, received: Receive<'_>);

    /// The deadline of [`poll_timeout`](Self::poll_timeout) has come. Early and late calls do no harm.
    fn handle_timeout(&mut self, now: Instant);

    /// The flow is gone, or something sent on it could not be delivered (RFC 3261 §18.4).
    fn handle_flow_failed(&mut self, now: Instant, flow: Flow);

    /// The next thing to send, if any.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next thing to tell the user, if any.
    fn poll_event(&mut self) -> Option<Self::Event>;
}
