//! Two agents in a simulated network, with signalling between them, a STUN server, and translators before them.
#![allow(dead_code)] // each test file uses its part

pub mod alone;
#[path = "../../../turn/tests/support/relay.rs"]
pub mod relay;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use farspeak_ice::{Agent, AgentConfig, Engine, Event, IceServer, Interface, RemoteOptions, State};
use farspeak_sansio::{Instant, SplitMix64, Transport};
use farspeak_sim::{Host, NatId, Network};
use farspeak_stun::{BindingServer, Message, ServerConfig};

pub const STUN: &str = "198.51.100.1";
pub const STUN6: &str = "2001:db8:5::1";

/// One end.
#[derive(Clone)]
pub struct End {
    pub addresses: Vec<&'static str>,
    pub config: AgentConfig,
}

impl End {
    pub fn new(addresses: &[&'static str]) -> Self {
        let servers = vec![
            IceServer::stun(SocketAddr::new(STUN.parse().unwrap(), 3478)),
            IceServer::stun(SocketAddr::new(STUN6.parse().unwrap(), 3478)),
        ];
        Self { addresses: addresses.to_vec(), config: AgentConfig { servers, ..AgentConfig::default() } }
    }

    pub fn controlling(mut self) -> Self {
        self.config.controlling = true;
        self
    }

    pub fn config(mut self, change: impl FnOnce(&mut AgentConfig)) -> Self {
        change(&mut self.config);
        self
    }
}

/// The engine of the `is` crate. From when it counts makes no difference.
pub fn is() -> Engine {
    Engine::Is(std::time::Instant::now())
}

/// What an end said, and when.
pub type Log = Rc<RefCell<Vec<(Instant, Event)>>>;

pub struct World {
    pub net: Network,
    pub ends: [Host<Agent>; 2],
    pub logs: [Log; 2],
    taken: [usize; 2],
    /// What signalling has still to deliver: when, to whom, what.
    mail: Vec<(Instant, usize, Event)>,
    pub signalling: Duration,
    components: u16,
    sockets: [Vec<(u16, SocketAddr)>; 2],
}

/// Alice's TURN server of this transport at this address.
pub fn turn(transport: Transport, ip: &str) -> IceServer {
    let port = if transport == Transport::Tls { 443 } else { 3478 };
    IceServer::turn(transport, SocketAddr::new(ip.parse().unwrap(), port), "alice", "wonderland")
}

pub fn label(bytes: &[u8]) -> String {
    match Message::parse(bytes) {
        Ok(message) if message.has(farspeak_stun::AttributeType::USE_CANDIDATE) => "Check!".into(),
        Ok(message) => format!("{}-{:?}", message.method(), message.class()).replace(' ', "_"),
        Err(_) => String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(16).collect(),
    }
}

impl World {
    pub fn new(seed: u64, left: End, right: End) -> Self {
        Self::behind(seed, left, right, |_, _| {})
    }

    /// `place` puts the two hosts behind what it likes.
    pub fn behind(
        seed: u64,
        left: End,
        right: End,
        place: impl FnOnce(&mut Network, [farspeak_sim::HostId; 2]),
    ) -> Self {
        let mut net = Network::new(seed).label(label);
        let server = BindingServer::new(ServerConfig::default());
        let server = net.host("stun", [STUN, STUN6], server);
        net.bind(server, Transport::Udp, 3478);
        let components = left.config.components;
        let mut sockets = [Vec::new(), Vec::new()];
        let mut make = |net: &mut Network, at: usize, name: &str, end: &End| {
            let rng = Box::new(SplitMix64::new(seed * 2 + at as u64 + 1));
            let host = net.host(name, end.addresses.iter().copied(), Agent::new(end.config.clone(), rng));
            net.set_framer(host, relay::framer);
            for component in 1..=end.config.components {
                let port = 5000 + component * 1000 + at as u16;
                net.bind(host, Transport::Udp, port);
                let of_host = end.addresses.iter().map(|ip| (component, SocketAddr::new(ip.parse().unwrap(), port)));
                sockets[at].extend(of_host);
            }
            host
        };
        let ends = [make(&mut net, 0, "left", &left), make(&mut net, 1, "right", &right)];
        place(&mut net, [ends[0].id(), ends[1].id()]);
        let logs = [Log::default(), Log::default()];
        for (end, log) in ends.iter().zip(&logs) {
            let log = Rc::clone(log);
            net.on_event(*end, move |_, context, event| log.borrow_mut().push((context.now(), event)));
        }
        let signalling = Duration::from_millis(30);
        Self { net, ends, logs, taken: [0; 2], mail: Vec::new(), signalling, components, sockets }
    }

    /// Both gather, and exchange credentials.
    pub fn start(&mut self) {
        self.gather();
        self.exchange_credentials();
    }

    pub fn gather(&mut self) {
        for at in 0..2 {
            let sockets = self.sockets[at].clone();
            self.net.at(self.ends[at], |agent, now| {
                for (component, local) in sockets {
                    agent.add_socket(now, component, local, Interface::default());
                }
                agent.sockets_complete(now);
            });
        }
    }

    pub fn exchange_credentials(&mut self) {
        for at in 0..2 {
            let credentials = self.net.machine(self.ends[at]).credentials().clone();
            self.net.at(self.ends[1 - at], |agent, now| {
                agent.set_remote(now, &credentials, RemoteOptions { trickle: true, ..RemoteOptions::default() });
            });
        }
    }

    /// Lets this time pass, carrying what the agents have to tell each other.
    pub fn run(&mut self, duration: Duration) {
        let until = self.net.now() + duration;
        loop {
            self.collect();
            let due = self.mail.iter().map(|(at, ..)| *at).min();
            let limit = due.map_or(until, |due| due.min(until));
            if self.net.step(limit) {
                continue;
            }
            self.net.run_until(limit);
            self.deliver();
            if limit == until && self.mail.iter().all(|(at, ..)| *at > until) {
                self.collect();
                return;
            }
        }
    }

    /// Runs until both are completed; how long it took.
    #[track_caller]
    pub fn connect(&mut self) -> Duration {
        let begun = self.net.now();
        for _ in 0..6000 {
            if (0..2).all(|at| self.state(at) == State::Completed) {
                return self.net.now() - begun;
            }
            self.run(Duration::from_millis(10));
        }
        panic!("not connected: {:?} {:?}\n{}", self.state(0), self.state(1), self.net.ladder());
    }

    fn collect(&mut self) {
        let at = self.net.now() + self.signalling;
        for from in 0..2 {
            let log = Rc::clone(&self.logs[from]);
            for (_, event) in &log.borrow()[self.taken[from]..] {
                if matches!(event, Event::LocalCandidate(_) | Event::EndOfCandidates) {
                    self.mail.push((at, 1 - from, event.clone()));
                }
            }
            self.taken[from] = log.borrow().len();
        }
    }

    /// What is on its way in signalling belongs to sessions that are over, by its user fragment (RFC 8840 §4.4).
    pub fn drop_mail(&mut self) {
        self.collect();
        self.mail.clear();
    }

    fn deliver(&mut self) {
        let now = self.net.now();
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.mail).into_iter().partition(|(at, ..)| *at <= now);
        self.mail = rest;
        for (_, to, event) in due {
            self.net.at(self.ends[to], |agent, now| match event {
                Event::LocalCandidate(candidate) => {
                    agent.add_remote_candidate(now, candidate.to_string().parse().unwrap());
                }
                _ => agent.end_of_remote_candidates(now),
            });
        }
    }

    pub fn state(&self, end: usize) -> State {
        self.net.machine(self.ends[end]).state()
    }

    pub fn agent<R>(&mut self, end: usize, act: impl FnOnce(&mut Agent, Instant) -> R) -> R {
        self.net.at(self.ends[end], act)
    }

    pub fn events(&self, end: usize) -> Vec<Event> {
        self.logs[end].borrow().iter().map(|(_, event)| event.clone()).collect()
    }

    /// When an event that fits came first.
    pub fn when(&self, end: usize, fits: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.logs[end].borrow().iter().find(|(_, event)| fits(event)).map(|(at, _)| *at)
    }

    /// The data that an end got, as text.
    pub fn data(&self, end: usize) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Data { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        self.events(end).iter().filter_map(text).collect()
    }

    /// Sends a word each way and sees it arrive.
    #[track_caller]
    pub fn talk(&mut self) {
        for at in 0..2 {
            for component in 1..=self.components {
                let word = format!("from {at} on {component} at {}", self.net.now());
                self.agent(at, |agent, now| agent.send(now, component, word.as_bytes())).expect("it can send");
                self.run(Duration::from_millis(100));
                assert!(self.data(1 - at).contains(&word), "{word} has not arrived\n{}", self.net.ladder());
            }
        }
    }

    /// The selected remote address of an end's component 1.
    pub fn selected(&self, end: usize) -> Option<(SocketAddr, SocketAddr, bool)> {
        let selected = |event: &Event| match event {
            Event::Selected { component: 1, local, remote, relayed } => Some((*local, *remote, *relayed)),
            _ => None,
        };
        self.events(end).iter().rev().find_map(selected)
    }
}

/// Puts the host behind a translator.
pub fn put_behind(
    net: &mut Network,
    host: farspeak_sim::HostId,
    name: &str,
    nat: farspeak_sim::Nat,
    outside: &str,
) -> NatId {
    let nat = net.nat(name, nat, [outside]);
    net.put_behind(host, nat);
    nat
}
