//! How long a mapping lives without traffic, RFC 5780 §4.6, by binary search.
//!
//! Socket X makes a mapping and is silent for a time; then socket Y asks the server to answer to X's mapped port. If
//! the answer comes to X, the mapping was still there.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, Transmit, Transport};

use super::{Probes, Reply};
use crate::Class;
use crate::attribute::Attribute;
use crate::transaction::Schedule;

/// Within which bounds, and how exactly, to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifetimeConfig {
    /// A silence that a mapping is sure to survive. Default 10 s.
    pub shortest: Duration,
    /// The longest silence to try. Default 10 min; the search takes about three times as long.
    pub longest: Duration,
    /// When to be content. Default 5 s.
    pub precision: Duration,
    /// For each probe.
    pub schedule: Schedule,
}

impl Default for LifetimeConfig {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(10),
            longest: Duration::from_secs(600),
            precision: Duration::from_secs(5),
            schedule: super::Behaviour::schedule(),
        }
    }
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifetimeReport {
    /// The longest silence after which the mapping was still there; zero if even the shortest one was too long.
    pub alive_after: Duration,
    /// The shortest silence after which it was gone; `None` if it survived the longest one.
    pub gone_after: Option<Duration>,
}

/// What is reported if the server cannot do this (no RESPONSE-PORT: 420), or does not answer at all.
pub const UNKNOWN_LIFETIME: Option<LifetimeReport> = None;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Test {
    Make,
    Probe,
}

enum State {
    /// X asks for its mapped address.
    Making,
    /// X is silent until then; its mapped port.
    Silent(Instant, u16),
    /// Y has asked.
    Probing,
    Done,
}

/// Searches for a mapping's lifetime. Emits one report, `None` if nothing could be found out.
pub struct Lifetime {
    config: LifetimeConfig,
    probes: Probes<Test>,
    x: Flow,
    y: Flow,
    state: State,
    alive: Duration,
    gone: Option<Duration>,
    trying: Duration,
    events: VecDeque<Option<LifetimeReport>>,
}

impl Lifetime {
    /// Begins with two sockets of ours, both towards the server's primary address over UDP, used for nothing else.
    pub fn begin(now: Instant, x: Flow, y: Flow, config: LifetimeConfig, rng: Box<dyn Rng + Send>) -> Self {
        let mut probes = Probes::new(config.schedule, rng);
        probes.send(now, Test::Make, x, |_| {});
        let (state, trying) = (State::Making, config.longest.max(config.shortest));
        let (alive, gone) = (Duration::ZERO, None);
        Self { config, probes, x, y, state, alive, gone, trying, events: VecDeque::new() }
    }

    /// Whether the report has been emitted.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn made(&mut self, now: Instant, mapped: Option<SocketAddr>) {
        match mapped {
            Some(mapped) => self.state = State::Silent(now + self.trying, mapped.port()),
            None => self.end(UNKNOWN_LIFETIME),
        }
    }

    fn probe(&mut self, now: Instant, port: u16) {
        self.state = State::Probing;
        self.probes.send(now, Test::Probe, self.y, |writer| {
            writer.push(Attribute::ResponsePort(port));
        });
    }

    fn tried(&mut self, now: Instant, alive: bool) {
        if alive {
            self.alive = self.trying;
        } else {
            self.gone = Some(self.trying);
        }
        let Some(gone) = self.gone else { return self.end(Some(self.report())) };
        if gone <= self.config.shortest || gone - self.alive.min(gone) <= self.config.precision {
            return self.end(Some(self.report()));
        }
        // Halfway between, but not below what is surely survived.
        self.trying = ((self.alive + gone) / 2).max(self.config.shortest);
        if self.trying >= gone {
            return self.end(Some(self.report()));
        }
        // "the client must resend a binding request from the original source port before beginning a second test",
        // §4.6.
        self.state = State::Making;
        self.probes.send(now, Test::Make, self.x, |_| {});
    }

    fn report(&self) -> LifetimeReport {
        LifetimeReport { alive_after: self.alive, gone_after: self.gone }
    }

    fn end(&mut self, report: Option<LifetimeReport>) {
        self.state = State::Done;
        self.probes.pending.clear();
        self.events.push_back(report);
    }

    fn replied(&mut self, now: Instant, test: Test, reply: &Reply<'_>) {
        if reply.message.class() == Class::Error {
            return self.end(UNKNOWN_LIFETIME);
        }
        match test {
            Test::Make => self.made(now, reply.message.xor_mapped_address().ok().flatten()),
            // On Y: the old mapping has gone, and Y got its port (RFC 5780 §4.6).
            Test::Probe => self.tried(now, reply.flow.local.port() == self.x.local.port()),
        }
    }
}

impl Machine for Lifetime {
    type Event = Option<LifetimeReport>;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        if received.flow.transport == Transport::Udp
            && let Some((test, _, reply)) = self.probes.answered(&received)
        {
            self.replied(now, test, &reply);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let State::Silent(until, port) = self.state
            && now >= until
        {
            self.probe(now, port);
        }
        match self.probes.timed_out(now) {
            Some(Test::Make) => self.end(UNKNOWN_LIFETIME),
            Some(Test::Probe) => self.tried(now, false),
            None => {}
        }
    }

    fn handle_flow_failed(&mut self, _now: Instant, _flow: Flow) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.probes.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Silent(until, _) => Some(until),
            _ => self.probes.deadline(),
        }
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        self.events.pop_front()
    }
}
