//! The simulated world of the ladders: a relay, phones that are clients, a peer that echoes.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Machine, SplitMix64, Transport};
use farspeak_sim::{Host, Network, Probe};
use farspeak_turn::client::{Allocated, Client, Config, Event, Failure};

use crate::relay::{self, Relay};

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A client on a host, and what it said.
pub struct Phone {
    pub client: Client,
    pub said: Vec<Event>,
}

impl Phone {
    pub fn data(&self) -> impl DoubleEndedIterator<Item = (SocketAddr, &[u8])> {
        self.said.iter().filter_map(|event| match event {
            Event::Data { peer, bytes } => Some((*peer, &bytes[..])),
            _ => None,
        })
    }

    pub fn allocated(&self) -> &Allocated {
        let allocated = |event: &Event| matches!(event, Event::Allocated(_));
        match self.said.iter().rev().find(|event| allocated(event)) {
            Some(Event::Allocated(allocated)) => allocated,
            _ => panic!("no allocation: {:?}", self.said),
        }
    }

    pub fn relayed(&self) -> SocketAddr {
        self.allocated().relayed[0]
    }

    pub fn lost(&self) -> Option<&Failure> {
        self.said.iter().find_map(|event| match event {
            Event::Lost(failure) | Event::Failed(failure) => Some(failure),
            _ => None,
        })
    }
}

impl Machine for Phone {
    type Event = std::convert::Infallible;

    fn handle_receive(&mut self, now: farspeak_sansio::Instant, received: farspeak_sansio::Receive<'_>) {
        self.client.handle_receive(now, received);
    }

    fn handle_timeout(&mut self, now: farspeak_sansio::Instant) {
        self.client.handle_timeout(now);
    }

    fn handle_flow_failed(&mut self, now: farspeak_sansio::Instant, flow: Flow) {
        self.client.handle_flow_failed(now, flow);
    }

    fn poll_transmit(&mut self) -> Option<farspeak_sansio::Transmit> {
        self.said.extend(std::iter::from_fn(|| self.client.poll_event()));
        self.client.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<farspeak_sansio::Instant> {
        self.client.poll_timeout()
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }
}

pub const RELAY: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];

pub struct World {
    pub net: Network,
    pub relay: Host<Relay>,
    phones: u8,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    pub fn with(seed: u64, change: impl FnOnce(&mut farspeak_turn::ServerConfig)) -> Self {
        let mut net = Network::new(seed).label(relay::label);
        let relay = relay::host(&mut net, "relay", RELAY, change);
        Self { net, relay, phones: 0 }
    }

    pub fn phone(&mut self, name: &str, transport: Transport, config: Config) -> Host<Phone> {
        self.phones += 1;
        let own = format!("192.0.2.{}", self.phones);
        let port = if transport == Transport::Tls { 5349 } else { 3478 };
        let local = SocketAddr::new(own.parse().unwrap(), 4000);
        let flow = Flow::unbound(transport, local, SocketAddr::new(RELAY[0].parse().unwrap(), port));
        let rng = Box::new(SplitMix64::new(self.phones.into()));
        let phone = Phone { client: Client::new(config, flow, rng), said: Vec::new() };
        let host = self.net.host(name, [&*own], phone);
        self.net.bind(host, Transport::Udp, 4000);
        self.net.set_framer(host, relay::framer);
        host
    }

    /// A peer on the Internet that returns everything.
    pub fn echo(&mut self) -> SocketAddr {
        let echo = self.net.host("peer", ["203.0.113.5", "2001:db8:5::5"], Probe::echo());
        self.net.bind(echo, Transport::Udp, 7)
    }

    pub fn allocate(&mut self, phone: Host<Phone>) -> SocketAddr {
        self.net.at(phone, |phone, now| phone.client.allocate(now));
        self.run_until("an allocation", |net| net.machine(phone).client.is_allocated());
        self.net.machine(phone).relayed()
    }

    #[track_caller]
    pub fn run_until(&mut self, what: &str, done: impl Fn(&Network) -> bool) {
        let until = self.net.now() + secs(60);
        while !done(&self.net) {
            assert!(self.net.step(until), "{what} did not happen\n{}", self.net);
        }
    }

    /// Sends until the echo comes: datagrams may be lost.
    #[track_caller]
    pub fn hears_echo(&mut self, phone: Host<Phone>, peer: SocketAddr, text: &str) {
        for _ in 0..100 {
            self.net.at(phone, |phone, now| phone.client.send(now, peer, text.as_bytes()).expect("it is permitted"));
            self.net.run_for(Duration::from_millis(500));
            if self.net.machine(phone).data().next_back() == Some((peer, text.as_bytes())) {
                return;
            }
        }
        panic!("no echo of {text}\n{}", self.net);
    }

    /// Gives everything back; nothing is left anywhere.
    #[track_caller]
    pub fn part(mut self, phones: &[Host<Phone>]) {
        for phone in phones {
            self.net.at(*phone, |phone, now| phone.client.release(now));
        }
        self.net.run_for(secs(45));
        for phone in phones {
            let phone = self.net.machine(*phone);
            assert_eq!((phone.said.last(), phone.client.poll_timeout()), (Some(&Event::Released), None));
        }
        // What a lost answer to a lost request left behind ends by itself.
        self.net.run_for(secs(3700));
        let residue = self.net.machine(self.relay).server.residue();
        assert_eq!((residue.allocations, residue.relays, residue.reservations), (0, 0, 0), "{residue:?}");
    }

    #[track_caller]
    pub fn run_until_lost(&mut self, phone: Host<Phone>) {
        let until = self.net.now() + secs(3600);
        while self.net.machine(phone).lost().is_none() {
            assert!(self.net.step(until), "it is not lost\n{}", self.net);
        }
    }
}

pub fn alice() -> Config {
    Config::for_user("alice", "wonderland")
}

pub fn bob() -> Config {
    Config::for_user("bob", "builder")
}

pub const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
