//! Mapping, filtering and hairpin, RFC 5780 §3.4, §4.2–4.4.
//!
//! ```text
//!   test I     X → A1:P1                    mapped address, OTHER-ADDRESS, is there UDP at all?
//!   filtering  X → A1:P1  change both       both at once, while the NAT has seen nothing go to A2
//!              X → A1:P1  change port
//!   mapping    X → A2:P1, X → A2:P2         both at once, when filtering is known
//!   hairpin    Y → X's mapped address       from a second socket, alongside
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, Transmit, Transport};

use super::{Probes, Reply, towards};
use crate::attribute::{Attribute, ChangeRequest};
use crate::transaction::Schedule;
use crate::{Class, Message, Method};

/// What a mapping or a filter depends on besides our own socket (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dependence {
    /// On nothing.
    EndpointIndependent,
    /// On the other end's address.
    AddressDependent,
    /// On the other end's address and port.
    AddressAndPortDependent,
}

/// What was found. Fields are `None` where it could not be found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BehaviourReport {
    /// Whether the server answered at all, if only with an error; `false`: UDP does not get through.
    pub answered: bool,
    /// What the server saw; `None` if it did not tell.
    pub mapped: Option<SocketAddr>,
    /// Whether the server saw another address than our socket's. `None` also if the socket is bound to no particular
    /// address.
    pub translated: Option<bool>,
    /// How outside ports are chosen.
    pub mapping: Option<Dependence>,
    /// Who may answer.
    pub filtering: Option<Dependence>,
    /// Whether a datagram to our own mapped address came back.
    pub hairpin: Option<bool>,
    /// Whether something on the way rewrites addresses inside packets: MAPPED-ADDRESS and XOR-MAPPED-ADDRESS differ
    /// (RFC 5780 §3.6).
    pub rewrites_payload: Option<bool>,
    /// The server's other address; `None`: it has none, and only `mapped` could be found.
    pub other: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Test {
    Connect,
    ConnectSecond,
    ChangeBoth,
    ChangePort,
    OtherAddress,
    OtherBoth,
    Hairpin,
    /// From X to Y's mapped address: opens X's filter for Y's packets, and may hairpin itself.
    HairpinBack,
}

/// Finds out how the NATs on the way to a server with two addresses behave.
///
/// It emits one [`BehaviourReport`] and is then [done](Self::is_done).
///
/// ```
/// # use farspeak_sansio::{Flow, Instant, Machine, SplitMix64, Transport};
/// # use farspeak_stun::discovery::Behaviour;
/// # let server = "192.0.2.1:3478".parse().unwrap();
/// # let flow = |local: &str| Flow::unbound(Transport::Udp, local.parse().unwrap(), server);
/// # let (first, second, now) = (flow("10.0.0.2:4000"), flow("10.0.0.2:4001"), Instant::ZERO);
/// let rng = Box::new(SplitMix64::new(1)); // a secure one in production
/// let mut behaviour = Behaviour::begin(now, first, Some(second), Behaviour::schedule(), rng);
/// while let Some(transmit) = behaviour.poll_transmit() {
///     // From the socket that `transmit.flow.local` names, to its `remote`. What comes back goes into `handle_receive`,
///     // whoever it comes from; at `poll_timeout` it is `handle_timeout`'s turn.
///     assert_eq!(transmit.flow.remote, server);
/// }
/// assert!(behaviour.poll_event().is_none() && behaviour.poll_timeout().is_some());
/// ```
pub struct Behaviour {
    probes: Probes<Test>,
    first: Flow,
    second: Option<Flow>,
    second_mapped: Option<SocketAddr>,
    report: BehaviourReport,
    both: Option<bool>,
    port: Option<bool>,
    at_other_address: Option<SocketAddr>,
    at_other_both: Option<SocketAddr>,
    mapping_begun: bool,
    hairpin_begun: bool,
    done: bool,
    events: VecDeque<BehaviourReport>,
}

impl Behaviour {
    /// Begins. Both flows go from sockets of ours to the server's primary address over UDP; they should be bound to
    /// ports that nobody has used lately (RFC 5780 §4.1). The second one is for the hairpin test; without it, hairpin
    /// stays unknown.
    ///
    /// A test that gets no answer costs the whole `schedule`: [`Self::schedule`] is a shorter one than RFC 8489's.
    pub fn begin(
        now: Instant,
        first: Flow,
        second: Option<Flow>,
        schedule: Schedule,
        rng: Box<dyn Rng + Send>,
    ) -> Self {
        let mut probes = Probes::new(schedule, rng);
        probes.send(now, Test::Connect, first, |_| {});
        if let Some(second) = second {
            probes.send(now, Test::ConnectSecond, second, |_| {});
        }
        Self {
            probes,
            first,
            second,
            second_mapped: None,
            report: BehaviourReport::default(),
            both: None,
            port: None,
            at_other_address: None,
            at_other_both: None,
            mapping_begun: false,
            hairpin_begun: false,
            done: false,
            events: VecDeque::new(),
        }
    }

    /// Six transmissions within 15.5 s, and 2 s more. If one packet in ten is lost each way, an answer passes for
    /// silence once in 20,000 tests.
    pub fn schedule() -> Schedule {
        Schedule { rc: 6, rm: 4, ..Schedule::default() }
    }

    /// Whether the report has been emitted and nothing is under way any more.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn proceed(&mut self, now: Instant) {
        if self.done {
            return;
        }
        if let (Some(second), Some(mapped), Some(back)) = (self.second, self.report.mapped, self.second_mapped)
            && !self.hairpin_begun
            && self.filtering_known()
        {
            self.hairpin_begun = true;
            // The filter of an address- and port-dependent NAT lets Y's packets in only if X has sent to Y's mapped
            // address.
            self.probes.send(now, Test::HairpinBack, towards(self.first, back), |_| {});
            self.probes.send(now, Test::Hairpin, towards(second, mapped), |_| {});
        }
        if let Some(other) = self.report.other
            && self.filtering_known()
            && !self.mapping_begun
        {
            self.mapping_begun = true;
            let primary = self.first.remote.port();
            let at = |port| SocketAddr::new(other.ip(), port);
            self.probes.send(now, Test::OtherAddress, towards(self.first, at(primary)), |_| {});
            self.probes.send(now, Test::OtherBoth, towards(self.first, at(other.port())), |_| {});
        }
        if self.probes.pending.is_empty() {
            self.conclude();
        }
    }

    /// Whether no test of the filter is under way, so that packets to the other address spoil none.
    fn filtering_known(&self) -> bool {
        !self.probes.pending.iter().any(|(test, _)| matches!(test, Test::ChangeBoth | Test::ChangePort))
    }

    fn conclude(&mut self) {
        self.done = true;
        self.report.filtering = match (self.both, self.port) {
            (Some(true), _) => Some(Dependence::EndpointIndependent),
            (Some(false), Some(true)) => Some(Dependence::AddressDependent),
            (Some(false), Some(false)) => Some(Dependence::AddressAndPortDependent),
            _ => None,
        };
        self.report.mapping = match (self.report.mapped, self.at_other_address, self.at_other_both) {
            (Some(primary), Some(address), _) if primary == address => Some(Dependence::EndpointIndependent),
            (Some(_), Some(address), Some(both)) if address == both => Some(Dependence::AddressDependent),
            (Some(_), Some(_), Some(_)) => Some(Dependence::AddressAndPortDependent),
            _ => None,
        };
        self.report.hairpin = match (self.hairpin_begun, self.report.translated) {
            (true, None | Some(true)) => Some(self.report.hairpin == Some(true)),
            // Nobody translates: there is nothing to turn a packet round.
            _ => None,
        };
        self.events.push_back(self.report);
    }

    fn connected(&mut self, now: Instant, flow: Flow, reply: &Reply<'_>) {
        let mapped = reply.message.xor_mapped_address().ok().flatten();
        let plain = reply.message.mapped_address().ok().flatten();
        self.report.mapped = mapped;
        self.report.rewrites_payload = mapped.zip(plain).map(|(mapped, plain)| mapped != plain);
        if !flow.local.ip().is_unspecified() {
            self.report.translated = mapped.map(|mapped| mapped != flow.local);
        }
        let other = reply.message.other_address().ok().flatten();
        // A server that names itself, or the other family, cannot be used.
        let usable = |other: &SocketAddr| {
            other.is_ipv4() == flow.remote.is_ipv4()
                && other.ip() != flow.remote.ip()
                && other.port() != flow.remote.port()
        };
        self.report.other = other.filter(usable);
        if self.report.other.is_some() {
            for (test, ip) in [(Test::ChangeBoth, true), (Test::ChangePort, false)] {
                let change = Attribute::ChangeRequest(ChangeRequest { ip, port: true });
                self.probes.send(now, test, flow, |writer| {
                    writer.push(change);
                });
            }
        }
    }

    fn replied(&mut self, now: Instant, test: Test, flow: Flow, reply: &Reply<'_>) {
        self.report.answered = true;
        if reply.message.class() == Class::Error {
            // 420: the server does not do what its OTHER-ADDRESS promised; nothing is learnt.
            return self.probes.forget(if test == Test::ChangeBoth { Test::ChangePort } else { test });
        }
        let mapped = reply.message.xor_mapped_address().ok().flatten();
        match test {
            Test::Connect => self.connected(now, flow, reply),
            Test::ConnectSecond => self.second_mapped = mapped,
            Test::ChangeBoth => {
                // A server that answers from elsewhere than it was asked to has shown nothing.
                self.both = (self.report.other == Some(reply.flow.remote)).then_some(true);
                if self.both == Some(true) {
                    self.probes.forget(Test::ChangePort);
                }
            }
            Test::ChangePort => self.port = (reply.flow.remote.port() != self.first.remote.port()).then_some(true),
            Test::OtherAddress => self.at_other_address = mapped,
            Test::OtherBoth => self.at_other_both = mapped,
            Test::Hairpin | Test::HairpinBack => {}
        }
    }

    fn unanswered(&mut self, test: Test) {
        match test {
            Test::ChangeBoth => self.both = Some(false),
            Test::ChangePort => self.port = Some(false),
            _ => {}
        }
    }
}

impl Machine for Behaviour {
    type Event = BehaviourReport;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        if received.flow.transport != Transport::Udp {
            return;
        }
        let is_request = Message::parse(received.bytes).is_ok_and(|m| m.is(Class::Request, Method::BINDING));
        if is_request {
            // Our own request, come back to another socket than it left from.
            let own = self.probes.own_request(received.bytes);
            if own.is_some_and(|(test, flow)| {
                matches!(test, Test::Hairpin | Test::HairpinBack) && flow.local.port() != received.flow.local.port()
            }) {
                self.report.hairpin = Some(true);
                self.probes.forget(Test::Hairpin);
                self.probes.forget(Test::HairpinBack);
            }
        } else if let Some((test, flow, reply)) = self.probes.answered(&received) {
            self.replied(now, test, flow, &reply);
        }
        self.proceed(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(test) = self.probes.timed_out(now) {
            self.unanswered(test);
        }
        self.proceed(now);
    }

    fn handle_flow_failed(&mut self, _now: Instant, _flow: Flow) {
        // An ICMP error about one probe says nothing about the others; each has its own deadline.
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.probes.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.probes.deadline()
    }

    fn poll_event(&mut self) -> Option<BehaviourReport> {
        self.events.pop_front()
    }
}
