//! NATs forget who is silent: over UDP, something goes to the server every few seconds (RFC 8445 §11).
//!
//! Without mobility that is a Binding indication, which nobody answers. With it, a Binding request, whatever else is sent:
//! the answer shows whether the NAT has given us another address, before a peer's data is lost for long.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transmit};
use farspeak_stun::{Authentication, Class, ClientConfig, Message, Method, Request, TransactionId, Writer};

use super::{Client, Config};

/// What keeps NATs awake.
pub(super) struct KeepAlive {
    interval: Option<Duration>,
    flow: Flow,
    /// When to look whether something has been sent; `None` without an allocation.
    due: Option<Instant>,
    last: Instant,
    /// Asks the server for our address, openly: it answers strangers so.
    probe: farspeak_stun::Client,
    /// What it said last.
    mapped: Option<SocketAddr>,
    indications: SplitMix64,
    outgoing: Option<Transmit>,
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAlive").field("due", &self.due).finish_non_exhaustive()
    }
}

impl KeepAlive {
    pub(super) fn new(config: &Config, flow: Flow, rng: SplitMix64) -> Self {
        let probes = ClientConfig { schedule: config.schedule, outstanding: 1, ..ClientConfig::default() };
        Self {
            interval: config.keep_alive.map(|interval| interval.max(Duration::from_secs(1))),
            flow,
            due: None,
            last: Instant::ZERO,
            probe: farspeak_stun::Client::new(probes, Authentication::None, Box::new(rng.clone())),
            mapped: None,
            indications: rng,
            outgoing: None,
        }
    }

    /// There is an allocation on this flow, and the server saw us there.
    pub(super) fn start(&mut self, now: Instant, flow: Flow, mapped: SocketAddr) {
        self.moved(now, flow);
        self.mapped = Some(mapped);
    }

    /// The flow is another one; how the server sees us there is not known.
    pub(super) fn moved(&mut self, now: Instant, flow: Flow) {
        self.forget_probes();
        (self.flow, self.mapped) = (flow, None);
        self.due = self.interval.filter(|_| !flow.transport.is_reliable()).map(|interval| now + interval);
    }

    /// There is no allocation any more.
    pub(super) fn stop(&mut self) {
        self.forget_probes();
        self.due = None;
    }

    fn forget_probes(&mut self) {
        self.probe.handle_flow_failed(self.last, self.flow);
        while self.probe.poll_event().is_some() {}
        self.outgoing = None;
    }

    /// Something has been sent to the server.
    pub(super) const fn sent(&mut self, now: Instant) {
        self.last = now;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.due, self.probe.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.take().or_else(|| self.probe.poll_transmit())
    }

    fn handle_timeout(&mut self, now: Instant, probes: bool) {
        self.probe.handle_timeout(now);
        while self.probe.poll_event().is_some() {} // one that nobody answered
        let (Some(interval), Some(due)) = (self.interval, self.due) else { return };
        if now < due {
            return;
        }
        if !probes && now < self.last + interval {
            self.due = Some(self.last + interval);
            return;
        }
        (self.last, self.due) = (now, Some(now + interval));
        if probes {
            // One that is still under way keeps NATs awake, too.
            let _ = self.probe.request(now, self.flow, Request::binding());
            return;
        }
        let mut buffer = [0; 20];
        let id = TransactionId::random(&mut self.indications);
        let writer = Writer::new(&mut buffer, Class::Indication, Method::BINDING, id);
        let bytes = writer.finish().expect("a header has 20 bytes");
        self.outgoing = Some(Transmit { flow: self.flow, bytes: bytes.into() });
    }

    /// Whether the answer shows that the server sees us elsewhere than before.
    fn shows_change(&mut self, now: Instant, received: Receive<'_>) -> bool {
        self.probe.handle_receive(now, received);
        let Some(farspeak_stun::Event::Response { bytes, .. }) = self.probe.poll_event() else { return false };
        let mapped = Message::parse(&bytes).ok().and_then(|message| message.xor_mapped_address().ok().flatten());
        let Some(mapped) = mapped else { return false };
        self.mapped.replace(mapped).is_some_and(|before| before != mapped)
    }
}

impl Client {
    pub(super) fn keep_awake(&mut self, now: Instant) {
        self.keep_alive.handle_timeout(now, self.mobility.has_ticket());
    }

    pub(super) fn probe_answered(&mut self, now: Instant, received: Receive<'_>) {
        if self.keep_alive.shows_change(now, received) {
            self.suspected(now);
        }
    }
}
