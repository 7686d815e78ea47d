//! The TURN server: several clients with right and wrong requests, peers, time, a driver that fails. Whatever happens, all
//! that it holds stays bounded, nothing goes to a peer that the policy refuses, and nothing is left in the end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, SplitMix64, Transport};
use farspeak_stun::attribute::{AddressFamily, Attribute, EvenPort};
use farspeak_stun::channel_data::{self, ChannelData};
use farspeak_stun::{AttributeType, Class, Key, Message, Method, TransactionId, Writer};
use farspeak_turn::{
    Action, ConnectionId, HEADROOM, Packet, PeerPolicy, Quotas, RefusedByPeer, RelayAddress, RelayId, RelayRefused,
    Server, ServerConfig, StaticAccounts, TAILROOM, Verdict, Which,
};

use crate::input::Input;

const REALM: &str = "example.org";
/// Peers that may be reached, and others.
const PEERS: [&str; 12] = [
    "8.8.8.8:5000",
    "9.9.9.9:1",
    "[2606:4700::1]:5000",
    "198.51.100.1:50000",
    "198.51.100.1:50002",
    "127.0.0.1:22",
    "10.0.0.1:80",
    "169.254.169.254:80",
    "[::ffff:127.0.0.1]:80",
    "[64:ff9b::a00:1]:80",
    "198.51.100.1:22",
    "8.8.4.4:0",
];
const METHODS: [Method; 6] = [
    Method::ALLOCATE,
    Method::REFRESH,
    Method::CREATE_PERMISSION,
    Method::CHANNEL_BIND,
    Method::CONNECT,
    Method::CONNECTION_BIND,
];
const QUOTAS: Quotas = Quotas {
    allocations: 5,
    allocations_per_credential: 4,
    allocations_per_source: 4,
    permissions: 4,
    channels: 3,
    bandwidth: Some(100_000),
    burst: Duration::from_secs(1),
    reservations: 2,
    handed_over: 2,
    connections: 2,
};

fn config(denies: bool) -> ServerConfig {
    let relays = ["198.51.100.1", "2001:db8::1"].map(|ip| RelayAddress::plain(ip.parse().expect("an address")));
    let deny = if denies { vec!["8.0.0.0/8".parse().expect("a prefix")] } else { Vec::new() };
    ServerConfig {
        shards: 2,
        ports: 50_000..=50_015,
        quotas: QUOTAS,
        tcp_relaying: true,
        policy: PeerPolicy { deny, ..PeerPolicy::default() },
        ..ServerConfig::new(REALM, relays.to_vec(), [7; 32])
    }
}

struct Client {
    flow: Flow,
    name: &'static str,
    nonce: String,
}

struct World {
    server: Server,
    policy: PeerPolicy,
    now: Instant,
    clients: Vec<Client>,
    sockets: HashMap<u32, RelayId>,
    connections: Vec<ConnectionId>,
    token: [u8; 8],
    ticket: Vec<u8>,
    last: Vec<u8>,
    /// Whether sockets open at the moment.
    fails: bool,
    ids: u32,
}

/// A script: a byte for what happens, and what that needs.
pub fn fuzz(data: &[u8]) {
    let mut world = World::new();
    let mut input = Input::new(data);
    while let Some(step) = input.byte() {
        world.step(step, &mut input);
        world.check();
    }
    world.server.close(world.now);
    world.drain();
    world.pass(Duration::from_secs(4000));
    let left = world.server.residue();
    let things = (left.allocations, left.relays, left.reservations, left.connections, left.timers);
    assert_eq!(things, (0, 0, 0, 0, 0), "nothing is left");
    assert!(world.sockets.is_empty() && left.flows <= QUOTAS.handed_over);
}

impl World {
    fn new() -> Self {
        let accounts = StaticAccounts::new(REALM).with("alice", "secret").and_then(|one| one.with("bob", "password"));
        let accounts = Box::new(accounts.expect("names and passwords"));
        let server = Server::new(config(false), accounts, Arc::default(), Box::new(SplitMix64::new(1)));
        let local = "198.51.100.1:3478".parse().expect("an address");
        let client = |at: usize, remote: &str, transport, name| {
            let flow =
                Flow { id: FlowId::new(0, at as u32, 1), transport, local, remote: remote.parse().expect("one") };
            Client { flow, name, nonce: String::new() }
        };
        let clients = vec![
            client(1, "203.0.113.7:4000", Transport::Udp, "alice"),
            client(1, "203.0.113.7:4001", Transport::Udp, "alice"),
            client(1, "[2001:db8:7::7]:4000", Transport::Udp, "bob"),
            client(2, "203.0.113.8:4000", Transport::Tcp, "alice"),
            client(3, "203.0.113.8:4001", Transport::Tls, "alice"),
            client(4, "203.0.113.9:4000", Transport::Tcp, "bob"),
        ];
        let mut world = Self {
            server,
            policy: PeerPolicy::default(),
            now: Instant::ZERO,
            clients,
            sockets: HashMap::new(),
            connections: Vec::new(),
            token: [0; 8],
            ticket: Vec::new(),
            last: Vec::new(),
            fails: false,
            ids: 0,
        };
        for client in 0..world.clients.len() {
            world.ask(client, Method::ALLOCATE, 0, &|_| ());
        }
        world
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        let client = input.small() % self.clients.len();
        let flow = self.clients[client].flow;
        let peer: SocketAddr = PEERS[input.small() % PEERS.len()].parse().expect("an address");
        let flags = input.small();
        let (token, ticket) = (self.token, self.ticket.clone());
        match step % 16 {
            0 | 1 => self.ask(client, Method::ALLOCATE, flags, &|writer| {
                writer.push(Attribute::RequestedTransport(if flags & 1 == 0 { 17 } else { 6 }));
                wish(writer, flags >> 1, token, &ticket);
            }),
            2 => self.ask(client, Method::REFRESH, flags, &|writer| {
                writer.push(Attribute::Lifetime([0, 600, 3600, 1][flags & 3]));
                match flags >> 2 & 3 {
                    1 => _ = writer.push(Attribute::RequestedAddressFamily(AddressFamily::V6)),
                    2 => _ = writer.push(Attribute::MobilityTicket(&ticket)),
                    _ => {}
                }
            }),
            3 => self.ask(client, Method::CREATE_PERMISSION, flags, &|writer| {
                writer.push(Attribute::XorPeerAddress(peer));
            }),
            4 => self.ask(client, Method::CHANNEL_BIND, flags, &|writer| {
                writer
                    .push(Attribute::ChannelNumber(0x4000 + (flags & 7) as u16))
                    .push(Attribute::XorPeerAddress(peer));
            }),
            5 => {
                let data = channel_data::header(0x4000 + (flags & 7) as u16, input.small() as u16);
                let bytes = [&data[..], input.raw()].concat();
                self.client_sends(flow, &bytes);
            }
            6 => {
                let mut buffer = [0; 512];
                let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([1; 12]));
                writer.push(Attribute::XorPeerAddress(peer)).push(Attribute::Data(input.raw()));
                let bytes = writer.finish().expect("it fits").to_vec();
                self.client_sends(flow, &bytes);
            }
            7 => {
                let relay = self.relay(flags);
                self.hand_in(input.raw(), |server, now, packet| server.handle_peer(now, relay, peer, packet));
            }
            8 => {
                let raw = input.raw().to_vec();
                self.client_sends(flow, &raw);
            }
            9 => {
                let (kind, raw) = (AttributeType(input.small() as u16 | (input.small() as u16) << 8), input.raw());
                self.ask(client, METHODS[flags % METHODS.len()], flags, &|writer| {
                    if !matches!(kind.0, 0x0008 | 0x001c | 0x8028) {
                        writer.push_raw(kind, raw);
                    }
                    writer.push(Attribute::RequestedTransport(17)).push(Attribute::XorPeerAddress(peer));
                });
            }
            10 => self.pass(Duration::from_secs([1, 10, 30, 100, 299, 300, 599, 600][flags & 7])),
            11 => {
                self.server.handle_client_gone(self.now, flow);
                if flags & 1 == 1 {
                    // The next connection from there is another.
                    let id = flow.id;
                    self.clients[client].flow.id = FlowId::new(0, id.slot(), id.generation() + 1);
                }
            }
            12 => {
                let relay = self.relay(flags);
                self.server.handle_icmp(self.now, relay, peer, input.small() as u8, flags as u8, 1280);
            }
            13 => {
                let to = PEERS[3 + (flags & 1)].parse().expect("an address");
                self.hand_in(input.raw(), |server, now, packet| server.handle_relayed(now, to, peer, packet));
            }
            14 => self.stream_step(client, peer, flags),
            _ => self.operate(flags, input),
        }
        self.drain();
    }

    /// RFC 6062.
    fn stream_step(&mut self, client: usize, peer: SocketAddr, flags: usize) {
        let connection = self.connections.get(flags >> 3).copied();
        match flags & 7 {
            0 | 1 => self.ask(client, Method::CONNECT, flags, &|writer| {
                writer.push(Attribute::XorPeerAddress(peer));
            }),
            2 => _ = connection.map(|id| self.server.connected(self.now, id, Ok(()))),
            3 => _ = connection.map(|id| self.server.connected(self.now, id, Err(RefusedByPeer))),
            4 => _ = connection.map(|id| self.server.connection_closed(self.now, id)),
            5 => self.connections.extend(self.server.accepted(self.now, self.relay(flags >> 3), peer)),
            _ => {
                let number = connection.map_or(1, ConnectionId::number);
                self.ask(client, Method::CONNECTION_BIND, flags, &|writer| {
                    writer.push(Attribute::ConnectionId(number));
                });
            }
        }
    }

    /// The operator, and the one between client and server.
    fn operate(&mut self, flags: usize, input: &mut Input<'_>) {
        match flags % 5 {
            0 => self.fails = !self.fails,
            1 => _ = self.server.kick(self.now, Which::User("alice")),
            2 | 3 => {
                let config = config(flags % 5 == 2);
                self.policy = config.policy.clone();
                self.server.reconfigure(self.now, config);
            }
            _ => {
                let mut bytes = std::mem::take(&mut self.last);
                let at = input.small();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (flags & 7);
                }
                let flow = self.clients[input.small() % self.clients.len()].flow;
                self.client_sends(flow, &bytes);
            }
        }
    }

    fn relay(&self, which: usize) -> RelayId {
        let mut slots: Vec<&u32> = self.sockets.keys().collect();
        slots.sort_unstable();
        // Without one, a name that nobody has will do.
        slots.get(which % slots.len().max(1)).map_or(RelayId::NONE, |slot| self.sockets[*slot])
    }

    fn ask(&mut self, client: usize, method: Method, flags: usize, write: &dyn Fn(&mut Writer<'_>)) {
        self.ids += 1;
        let mut id = [0; 12];
        // Now and then the transaction before.
        id[..4].copy_from_slice(&(self.ids - u32::from(flags & 0x80 != 0)).to_be_bytes());
        let Client { flow, name, nonce } = &self.clients[client];
        let flow = *flow;
        let password = if *name == "alice" { "secret" } else { "password" };
        let key = Key::long_term_md5(name, REALM, password).expect("they are opaque");
        let mut buffer = [0; 1024];
        let mut writer = Writer::new(&mut buffer, Class::Request, method, TransactionId(id));
        write(&mut writer);
        if !nonce.is_empty() {
            writer.push(Attribute::Username(name)).push(Attribute::Realm(REALM)).push(Attribute::Nonce(nonce));
            writer.integrity(&key);
        }
        let bytes = writer.finish().expect("it fits").to_vec();
        self.client_sends(flow, &bytes);
        self.last = bytes;
    }

    fn client_sends(&mut self, flow: Flow, bytes: &[u8]) {
        self.hand_in(bytes, |server, now, packet| server.handle_client(now, flow, packet));
    }

    fn hand_in(&mut self, bytes: &[u8], handle: impl FnOnce(&mut Server, Instant, Packet<'_>) -> Verdict) {
        let mut buffer = vec![0xee; HEADROOM + bytes.len() + TAILROOM + 8];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        let data = HEADROOM..HEADROOM + bytes.len();
        match handle(&mut self.server, self.now, Packet { buffer: &mut buffer, data }) {
            Verdict::Nothing => {}
            Verdict::ToPeer { relay, peer, data, .. } => {
                assert_eq!(self.policy.judge(peer), Ok(peer), "refused, or not canonical");
                assert!(peer.ip().to_string() != "198.51.100.1", "its own address");
                assert_eq!(self.sockets.get(&relay.slot()), Some(&relay), "a socket that is closed");
                assert!(buffer[data].len() <= bytes.len());
            }
            Verdict::ToClient { client, data } => {
                assert!(self.clients.iter().any(|one| one.flow.remote == client.remote));
                let message = &buffer[data];
                assert!(Message::parse(message).is_ok() || ChannelData::parse(message).is_some(), "{message:?}");
            }
            Verdict::ToShard { shard, to, from, .. } => {
                assert_eq!((shard, to.ip(), (to.port() / 2) % 2), (1, from.ip(), 1));
            }
            Verdict::ToHome { shard, .. } => assert_eq!(shard, 1),
        }
        assert!(buffer[buffer.len() - 8..].iter().all(|byte| *byte == 0xee), "written behind its room");
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Transmit(transmit) => self.read(transmit.flow, &transmit.bytes),
                Action::Open { relay, .. } | Action::Listen { relay, .. } => {
                    let result = if self.fails { Err(RelayRefused::InUse) } else { Ok(()) };
                    if result.is_ok() {
                        assert!(self.sockets.insert(relay.slot(), relay).is_none(), "two sockets in one slot");
                    }
                    self.server.relay_opened(self.now, relay, result);
                }
                Action::Close { relay } => _ = self.sockets.remove(&relay.slot()),
                Action::Connect { connection, peer, .. } => {
                    assert_eq!(self.policy.judge(peer), Ok(peer));
                    self.connections.push(connection);
                }
                _ => {}
            }
        }
    }

    /// What a client learns from an answer.
    fn read(&mut self, flow: Flow, bytes: &[u8]) {
        let message = Message::parse(bytes).expect("what it sends can be read");
        let Some(client) = self.clients.iter_mut().find(|one| one.flow.remote == flow.remote) else {
            panic!("an answer to nobody");
        };
        if let (Ok(Some(nonce)), Class::Error) = (message.nonce(), message.class()) {
            client.nonce = nonce.to_owned();
        }
        if let Ok(Some(token)) = message.reservation_token() {
            self.token = token;
        }
        if let Ok(Some(ticket)) = message.mobility_ticket() {
            self.ticket = ticket.to_vec();
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.drain();
            steps += 1;
            assert!(steps < 10_000, "a timer that fires for ever");
        }
        self.now = end;
    }

    fn check(&self) {
        let held = self.server.residue();
        assert!(held.allocations <= QUOTAS.allocations);
        assert!(held.reservations <= QUOTAS.reservations);
        assert!(held.relays <= 2 * held.allocations + held.reservations);
        assert!(held.flows <= 2 * held.allocations + QUOTAS.handed_over);
        assert!(held.connections <= QUOTAS.connections * held.allocations);
        assert!(held.timers <= 1024 + 2 * (held.allocations + held.reservations + held.connections) + 1);
        assert_eq!(self.sockets.len(), held.relays);
        for session in self.server.sessions(self.now) {
            assert!(session.permissions <= QUOTAS.permissions && session.channels <= QUOTAS.channels);
        }
    }
}

/// What an Allocate may ask for besides.
fn wish(writer: &mut Writer<'_>, flags: usize, token: [u8; 8], ticket: &[u8]) {
    match flags & 7 {
        1 => _ = writer.push(Attribute::EvenPort(EvenPort { reserve_next: true })),
        2 => _ = writer.push(Attribute::EvenPort(EvenPort::default())),
        3 => _ = writer.push(Attribute::ReservationToken(token)),
        4 => _ = writer.push(Attribute::AdditionalAddressFamily(AddressFamily::V6)),
        5 => _ = writer.push(Attribute::RequestedAddressFamily(AddressFamily::V6)),
        6 => _ = writer.push(Attribute::Lifetime(3600)),
        _ => {}
    }
    match flags >> 3 & 3 {
        1 => _ = writer.push(Attribute::MobilityTicket(&[])),
        2 => _ = writer.push(Attribute::MobilityTicket(ticket)),
        _ => {}
    }
}
