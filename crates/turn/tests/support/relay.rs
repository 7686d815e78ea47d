//! The server as a host of the simulator, with real relay sockets, for whoever needs a relay in a simulated network.
//!
//! ```text
//! let relay = relay::host(&mut net, "relay", ["198.51.100.1", "2001:db8:1::1"], |config| config.mobility = false);
//! let turn = Flow::unbound(Transport::Udp, phone_socket, "198.51.100.1:3478".parse().unwrap()); // Tcp: 3478; Tls: 5349
//! net.at(relay, |relay, now| relay.server.kick(now, Which::User("alice")));
//! ```
//!
//! Clients come to 3478 (UDP and TCP) and to 5349 and 443 (TLS); alice's password is "wonderland", bob's "builder". Relayed
//! addresses are on the host's own, on [`PORTS`]. Peers on the addresses that documents use are allowed here, since
//! simulated networks are made of them; everything else of the policy is as in life. [`framer`] cuts streams on both ends:
//! set it on hosts that speak to the relay by TCP or TLS, too.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transmit, Transport};
use farspeak_sim::{Framed, Framer, Host, Network};
use farspeak_stun::framing::{self, StreamFramer};
use farspeak_stun::{Class, Message, channel_data::ChannelData};
use farspeak_turn::{
    Action, HEADROOM, Ledger, Packet, RelayAddress, RelayId, Server, ServerConfig, StaticAccounts, TAILROOM, Verdict,
};

pub const REALM: &str = "example.org";
/// Ports of relayed addresses: enough for a dozen allocations of each family.
pub const PORTS: RangeInclusive<u16> = 50_000..=50_023;

/// The host that relays.
pub struct Relay {
    pub server: Server,
    open: HashMap<SocketAddr, RelayId>,
    /// Addresses of relay sockets, by slot.
    sockets: HashMap<u32, (RelayId, SocketAddr)>,
    buffer: Vec<u8>,
    transmits: VecDeque<Transmit>,
    closes: VecDeque<Flow>,
}

/// Adds a host with these addresses, sockets bound and streams framed.
pub fn host<'a>(
    net: &mut Network,
    name: &str,
    addresses: impl IntoIterator<Item = &'a str>,
    change: impl FnOnce(&mut ServerConfig),
) -> Host<Relay> {
    let addresses: Vec<&str> = addresses.into_iter().collect();
    let relay = net.host(name, addresses.iter().copied(), Relay::new(&addresses, 7, change));
    net.bind(relay, Transport::Udp, 3478);
    net.bind(relay, Transport::Tcp, 3478);
    net.bind(relay, Transport::Tls, 5349);
    net.bind(relay, Transport::Tls, 443);
    for port in PORTS {
        net.bind(relay, Transport::Udp, port);
    }
    net.set_framer(relay, framer);
    net.on_event(relay, |_, context, close| context.close(close));
    net.residue_of(relay, |relay| {
        let residue = relay.server.residue();
        let left = (residue.allocations, residue.relays, residue.flows);
        (left != (0, 0, 0)).then(|| format!("{residue:?}"))
    });
    relay
}

/// What a host that speaks TURN over streams reads them with.
pub fn framer() -> Box<dyn Framer> {
    Box::new(Streams(StreamFramer::default()))
}

/// How the ladder calls a message: `Allocate`, `Allocate 401`, `Refresh ok`, `Send`, `ChannelData`; data by its first word.
pub fn label(bytes: &[u8]) -> String {
    if let Ok(message) = Message::parse(bytes) {
        let method = message.method();
        return match (message.class(), message.error_code()) {
            (Class::Success, _) => format!("{method} ok"),
            (Class::Error, Ok(Some(error))) => format!("{method} {}", error.code),
            _ => method.to_string(),
        };
    }
    if ChannelData::parse(bytes).is_some_and(|data| data.data.len() + 8 > bytes.len()) {
        return "ChannelData".into();
    }
    let text = String::from_utf8_lossy(bytes);
    text.split_ascii_whitespace().next().unwrap_or("(empty)").chars().filter(|c| !c.is_control()).take(20).collect()
}

impl Relay {
    /// To be hosted by [`host`], or put in place of one that has died ([`Network::restart`]). Another `seed` makes
    /// another nonce key.
    pub fn new(addresses: &[&str], seed: u8, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let relays = addresses.iter().map(|text| RelayAddress::plain(text.parse::<IpAddr>().expect("an address")));
        let mut config = ServerConfig::new(REALM, relays.collect(), [seed; 32]);
        config.ports = PORTS;
        for documents in ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"] {
            config.policy.allow.push(documents.parse().expect("a prefix"));
        }
        change(&mut config);
        let accounts =
            StaticAccounts::new(REALM).with("alice", "wonderland").and_then(|all| all.with("bob", "builder"));
        let rng = SplitMix64::new(seed.into());
        Self {
            server: Server::new(
                config,
                Box::new(accounts.expect("plain names")),
                Arc::new(Ledger::default()),
                Box::new(rng),
            ),
            open: HashMap::new(),
            sockets: HashMap::new(),
            buffer: Vec::new(),
            transmits: VecDeque::new(),
            closes: VecDeque::new(),
        }
    }

    /// Does what the server says, as the packet loop of a real driver would.
    fn act(&mut self, now: Instant, verdict: Verdict) {
        match verdict {
            Verdict::Nothing => {}
            Verdict::ToPeer { relay, peer, data, .. } => {
                if let Some((_, local)) = self.sockets.get(&relay.slot()).filter(|(known, _)| *known == relay) {
                    let flow = Flow::unbound(Transport::Udp, *local, peer);
                    self.transmits.push_back(Transmit { flow, bytes: self.buffer[data].into() });
                }
            }
            Verdict::ToClient { client, data } => {
                self.transmits.push_back(Transmit { flow: client, bytes: self.buffer[data].into() });
            }
            other => panic!("there is one shard: {other:?}"),
        }
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Transmit(transmit) => self.transmits.push_back(transmit),
                Action::Open { relay, address, .. } => {
                    self.open.insert(address, relay);
                    self.sockets.insert(relay.slot(), (relay, address));
                    self.server.relay_opened(now, relay, Ok(()));
                }
                Action::Close { relay } => {
                    self.open.retain(|_, known| *known != relay);
                    self.sockets.retain(|_, (known, _)| *known != relay);
                }
                Action::CloseClient(flow) if flow.transport.is_reliable() => self.closes.push_back(flow),
                Action::CloseClient(_) => {}
                other => panic!("nothing here relays TCP: {other:?}"),
            }
        }
    }
}

impl Machine for Relay {
    /// A stream to be closed.
    type Event = Flow;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let Receive { flow, bytes } = received;
        self.buffer.clear();
        self.buffer.resize(HEADROOM, 0);
        self.buffer.extend_from_slice(bytes);
        self.buffer.resize(HEADROOM + bytes.len() + TAILROOM, 0);
        let data = HEADROOM..HEADROOM + bytes.len();
        let mut buffer = std::mem::take(&mut self.buffer);
        let packet = Packet { buffer: &mut buffer, data };
        let verdict = match self.open.get(&flow.local) {
            Some(relay) if flow.transport == Transport::Udp => {
                self.server.handle_peer(now, *relay, flow.remote, packet)
            }
            _ if PORTS.contains(&flow.local.port()) => Verdict::Nothing, // that port is not open
            _ => self.server.handle_client(now, flow, packet),
        };
        self.buffer = buffer;
        self.act(now, verdict);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
        self.act(now, Verdict::Nothing);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        match self.open.get(&flow.local) {
            // Port unreachable.
            Some(relay) if flow.remote.is_ipv4() => self.server.handle_icmp(now, *relay, flow.remote, 3, 3, 0),
            Some(relay) => self.server.handle_icmp(now, *relay, flow.remote, 1, 4, 0),
            None => self.server.handle_client_gone(now, flow),
        }
        self.act(now, Verdict::Nothing);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout()
    }

    fn poll_event(&mut self) -> Option<Flow> {
        self.closes.pop_front()
    }
}

struct Streams(StreamFramer);

impl Framer for Streams {
    fn push(&mut self, bytes: &[u8]) -> Vec<Framed> {
        self.0.push(bytes);
        let mut found = Vec::new();
        while let Some(framing::Framed::Stun(message) | framing::Framed::ChannelData(message)) = self.0.next() {
            found.push(Framed::Message(message.to_vec()));
        }
        if self.0.is_lost() {
            found.push(Framed::Broken(None));
        }
        found
    }
}
