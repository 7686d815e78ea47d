//! What every way of asking a router can do, and what it is given to do it with.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Receive, Rng, Transmit, Transport};

use super::{Config, Protocol, Refusal, Way};

/// Which mapping: its protocol and our port.
pub(super) type Key = (Protocol, u16);

/// One way of asking. What it finds out goes to [`Context::outcomes`].
pub(super) trait Ask: Send {
    /// Asks for a mapping, until an outcome; `hint` is the external port that would be liked best.
    fn ask(&mut self, now: Instant, key: Key, hint: u16, cx: &mut Context<'_>);

    /// Gives it back, as well as that can be done, without an outcome.
    fn delete(&mut self, now: Instant, key: Key, cx: &mut Context<'_>);

    /// Something has come from the gateway: by UDP, or over a stream that this way asked for.
    fn receive(&mut self, now: Instant, received: &Receive<'_>, cx: &mut Context<'_>);

    /// Time has passed. Early calls do no harm.
    fn timeout(&mut self, now: Instant, cx: &mut Context<'_>);

    /// A flow has failed.
    fn flow_failed(&mut self, now: Instant, flow: Flow, cx: &mut Context<'_>);

    /// When to call `timeout`.
    fn deadline(&self) -> Option<Instant>;

    /// Whether nothing is held, asked for or being given back.
    fn is_idle(&self) -> bool;
}

/// What a way has found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The router forwards; told again with each renewal.
    Granted { key: Key, external: SocketAddr, lifetime: Option<Duration> },
    /// The router refuses this one; it is not asked for any more. It need not be asked again before `hold` has passed.
    Refused { key: Key, why: Refusal, hold: Option<Duration> },
    /// What was granted has ended and could not be renewed; it is not asked for any more.
    Lost { key: Key },
    /// The router does not know this way at all.
    Absent { why: Option<Refusal> },
}

/// What a way works with.
pub(super) struct Context<'a> {
    /// Who is acting.
    pub(super) way: Way,
    pub(super) config: &'a Config,
    /// Our socket for asking; its address is what mappings lead to.
    pub(super) local: SocketAddr,
    /// The router; its port means nothing.
    pub(super) gateway: SocketAddr,
    pub(super) rng: &'a mut dyn Rng,
    pub(super) transmits: &'a mut VecDeque<Transmit>,
    pub(super) outcomes: &'a mut VecDeque<(Way, Outcome)>,
}

/// Where PCP and NAT-PMP servers listen (RFC 6887 §19.1, RFC 6886 §3.1).
pub(super) const SERVER_PORT: u16 = 5351;

impl Context<'_> {
    /// Sends a datagram to a port of the gateway.
    pub(super) fn send_to_gateway(&mut self, port: u16, bytes: impl Into<Arc<[u8]>>) {
        let mut remote = self.gateway;
        remote.set_port(port);
        self.send(Flow::unbound(Transport::Udp, self.local, remote), bytes);
    }

    pub(super) fn send(&mut self, flow: Flow, bytes: impl Into<Arc<[u8]>>) {
        self.transmits.push_back(Transmit { flow, bytes: bytes.into() });
    }

    pub(super) fn report(&mut self, outcome: Outcome) {
        self.outcomes.push_back((self.way, outcome));
    }

    /// The address that mappings lead to.
    pub(super) fn internal_address(&self) -> IpAddr {
        self.local.ip()
    }

    /// For how long to ask, in seconds.
    pub(super) fn lifetime(&self) -> u32 {
        u32::try_from(self.config.lifetime.as_secs()).unwrap_or(u32::MAX).max(1)
    }

    /// A random part of a duration.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        super::lease::up_to(self.rng, most)
    }
}
