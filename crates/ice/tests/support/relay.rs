//! A TURN server on a simulated host: its relay sockets are bound beforehand, a few hundred on each address.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transmit, Transport};
use farspeak_sim::{Host, Network};
use farspeak_turn::{
    Action, HEADROOM, Ledger, Packet, Prefix, RelayAddress, RelayId, Server, ServerConfig, StaticAccounts, TAILROOM,
    Verdict,
};

pub const REALM: &str = "example.org";
pub const USER: &str = "alice";
pub const PASSWORD: &str = "wonderland";
/// Where it listens: UDP and TCP, and TLS as if it were HTTPS.
pub const PORT: u16 = 3478;
pub const TLS_PORT: u16 = 443;
const FIRST: u16 = 50_000;
const LAST: u16 = 50_063;

pub struct TurnHost {
    server: Server,
    relays: Vec<(RelayId, SocketAddr)>,
    transmits: Vec<Transmit>,
    pub relayed: u64,
}

impl TurnHost {
    pub fn new(addresses: &[&str]) -> Self {
        let relays = addresses.iter().map(|ip| RelayAddress::plain(ip.parse().unwrap())).collect();
        let mut config = ServerConfig::new(REALM, relays, [7; 32]);
        config.ports = FIRST..=LAST;
        // The simulated Internet is made of addresses for documentation and benchmarks.
        let allowed = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"];
        config.policy.allow = allowed.iter().map(|prefix| prefix.parse::<Prefix>().unwrap()).collect();
        let accounts = StaticAccounts::new(REALM).with(USER, PASSWORD).unwrap();
        let server = Server::new(config, Box::new(accounts), Arc::new(Ledger::default()), Box::new(SplitMix64::new(3)));
        Self { server, relays: Vec::new(), transmits: Vec::new(), relayed: 0 }
    }

    /// Puts one into the network.
    pub fn place(net: &mut Network, name: &str, addresses: &[&str]) -> Host<Self> {
        let host = net.host(name, addresses.iter().copied(), Self::new(addresses));
        for port in (FIRST..=LAST).chain([PORT]) {
            net.bind(host, Transport::Udp, port);
        }
        net.bind(host, Transport::Tcp, PORT);
        net.bind(host, Transport::Tls, TLS_PORT);
        host
    }

    /// How many allocations live.
    pub fn allocations(&self, now: Instant) -> usize {
        self.server.sessions(now).count()
    }

    fn address_of(&self, relay: RelayId) -> Option<SocketAddr> {
        self.relays.iter().find(|(id, _)| *id == relay).map(|(_, address)| *address)
    }

    fn act(&mut self, now: Instant, verdict: Verdict, buffer: &[u8]) {
        let bytes = |data: Range<usize>| -> Arc<[u8]> { buffer[data].into() };
        match verdict {
            Verdict::ToPeer { relay, peer, data, .. } => {
                self.relayed += 1;
                if let Some(local) = self.address_of(relay) {
                    let flow = Flow::unbound(Transport::Udp, local, peer);
                    self.transmits.push(Transmit { flow, bytes: bytes(data) });
                }
            }
            Verdict::ToClient { client, data } => {
                self.relayed += 1;
                self.transmits.push(Transmit { flow: client, bytes: bytes(data) });
            }
            Verdict::Nothing | Verdict::ToShard { .. } | Verdict::ToHome { .. } => {}
        }
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Transmit(transmit) => self.transmits.push(transmit),
                Action::Open { relay, address, .. } => {
                    self.relays.push((relay, address));
                    self.server.relay_opened(now, relay, Ok(()));
                }
                Action::Close { relay } => self.relays.retain(|(id, _)| *id != relay),
                _ => {}
            }
        }
    }
}

impl Machine for TurnHost {
    type Event = std::convert::Infallible;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let mut buffer = vec![0; HEADROOM + received.bytes.len() + TAILROOM];
        let data = HEADROOM..HEADROOM + received.bytes.len();
        buffer[data.clone()].copy_from_slice(received.bytes);
        let packet = Packet { buffer: &mut buffer, data };
        let flow = received.flow;
        let relay = self.relays.iter().find(|(_, address)| *address == flow.local).map(|(id, _)| *id);
        let verdict = match relay {
            Some(relay) if flow.transport == Transport::Udp => self.server.handle_peer(now, relay, flow.remote, packet),
            _ => self.server.handle_client(now, flow, packet),
        };
        self.act(now, verdict, &buffer);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
        self.drain(now);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        if flow.transport.is_reliable() {
            self.server.handle_client_gone(now, flow);
            self.drain(now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        (!self.transmits.is_empty()).then(|| self.transmits.remove(0))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout()
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }
}

/// The servers' addresses in the matrix.
pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}
