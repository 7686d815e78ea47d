//! One shard and raw clients around it: requests written by hand, sockets that open at once, every packet kept.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, SplitMix64, Transport};
use farspeak_stun::attribute::AddressFamily;
use farspeak_stun::channel_data::{self, ChannelData};
use farspeak_stun::{Attribute, AttributeType, Class, Key, Message, Method, TransactionId, Writer};
use farspeak_turn::{
    Accounts, Action, HEADROOM, Ledger, Packet, RelayAddress, RelayId, RelayRefused, RestAccounts, Server,
    ServerConfig, StaticAccounts, TAILROOM, Verdict,
};

pub const REALM: &str = "example.org";
pub const SERVER: &str = "198.51.100.1:3478";
pub const RELAY_V4: &str = "198.51.100.1";
pub const RELAY_V6: &str = "2001:db8:1::1";
/// Peers on the Internet.
pub const PEER: &str = "8.8.8.8:5000";
pub const OTHER: &str = "9.9.9.9:5001";
pub const PEER_V6: &str = "[2606:4700::1]:5000";

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn config() -> ServerConfig {
    let relays = [RELAY_V4, RELAY_V6].map(|ip| RelayAddress::plain(ip.parse().unwrap()));
    ServerConfig::new(REALM, relays.to_vec(), [7; 32])
}

pub fn accounts() -> StaticAccounts {
    StaticAccounts::new(REALM).with("alice", "secret").unwrap().with("bob", "password").unwrap()
}

/// What came out of the server for the outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Out {
    Client(Flow, Vec<u8>),
    Peer { from: SocketAddr, peer: SocketAddr, data: Vec<u8>, dont_fragment: bool },
    Shard { shard: u8, to: SocketAddr, from: SocketAddr, data: Vec<u8> },
    Home(u8),
}

pub struct World {
    pub server: Server,
    pub now: Instant,
    pub ledger: Arc<Ledger>,
    /// Relay sockets by slot.
    pub sockets: HashMap<u32, (RelayId, SocketAddr)>,
    /// Their addresses.
    pub open: HashSet<SocketAddr>,
    /// Everything that is no answer to a client: closed streams, connections.
    pub actions: Vec<Action>,
    /// Ports that somebody else on this host has.
    pub taken: Vec<u16>,
    /// How many sockets can be opened.
    pub sockets_left: usize,
    pub out: Vec<Out>,
    next_id: u64,
}

impl World {
    pub fn new(config: ServerConfig) -> Self {
        Self::with(config, Box::new(accounts()), Arc::default())
    }

    pub fn with(config: ServerConfig, accounts: Box<dyn Accounts + Send>, ledger: Arc<Ledger>) -> Self {
        let server = Server::new(config, accounts, ledger.clone(), Box::new(SplitMix64::new(7)));
        Self {
            server,
            now: Instant::ZERO,
            ledger,
            sockets: HashMap::new(),
            open: HashSet::new(),
            actions: Vec::new(),
            taken: Vec::new(),
            sockets_left: usize::MAX,
            out: Vec::new(),
            next_id: 1,
        }
    }

    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.server.handle_timeout(end);
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Transmit(transmit) => self.out.push(Out::Client(transmit.flow, transmit.bytes.to_vec())),
                Action::Open { relay, address, .. } | Action::Listen { relay, address } => {
                    let result = match () {
                        () if self.taken.contains(&address.port()) => Err(RelayRefused::InUse),
                        () if self.sockets.len() >= self.sockets_left => Err(RelayRefused::Unavailable),
                        () => Ok(()),
                    };
                    if result.is_ok() {
                        assert!(self.open.insert(address), "{address} is open twice");
                        self.sockets.insert(relay.slot(), (relay, address));
                    }
                    self.server.relay_opened(self.now, relay, result);
                }
                Action::Close { relay } => {
                    let closed = self.sockets.remove(&relay.slot());
                    closed.into_iter().for_each(|(_, address)| _ = self.open.remove(&address));
                }
                other => self.actions.push(other),
            }
        }
    }

    /// Hands a packet in, with the room that a driver gives.
    pub fn packet(&mut self, bytes: &[u8], handle: impl FnOnce(&mut Server, Instant, Packet<'_>) -> Verdict) {
        let mut buffer = vec![0xee; HEADROOM + bytes.len() + TAILROOM];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        let data = HEADROOM..HEADROOM + bytes.len();
        let now = self.now;
        let verdict = handle(&mut self.server, now, Packet { buffer: &mut buffer, data });
        match verdict {
            Verdict::Nothing => {}
            Verdict::ToClient { client, data } => self.out.push(Out::Client(client, buffer[data].to_vec())),
            Verdict::ToPeer { relay, peer, data, dont_fragment } => {
                let (id, from) = self.sockets[&relay.slot()];
                assert_eq!(id, relay, "a relay that is closed sends");
                self.out.push(Out::Peer { from, peer, data: buffer[data].to_vec(), dont_fragment });
            }
            Verdict::ToShard { shard, to, from, data } => {
                self.out.push(Out::Shard { shard, to, from, data: buffer[data].to_vec() });
            }
            Verdict::ToHome { shard, .. } => self.out.push(Out::Home(shard)),
        }
        self.drain();
    }

    pub fn client_sends(&mut self, flow: Flow, bytes: &[u8]) {
        self.packet(bytes, |server, now, packet| server.handle_client(now, flow, packet));
    }

    /// A datagram from a peer to a relayed address.
    pub fn peer_sends(&mut self, to: SocketAddr, peer: &str, bytes: &[u8]) {
        let socket = self.sockets.values().find(|(_, address)| *address == to);
        let relay = socket.unwrap_or_else(|| panic!("{to} is not open")).0;
        self.packet(bytes, |server, now, packet| server.handle_peer(now, relay, address(peer), packet));
    }

    pub fn take_out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// The only message that came out, which is for a client.
    pub fn answer(&mut self) -> Option<(Flow, Vec<u8>)> {
        let mut out = self.take_out();
        assert!(out.len() <= 1, "{out:?}");
        match out.pop()? {
            Out::Client(flow, bytes) => Some((flow, bytes)),
            other => panic!("{other:?}"),
        }
    }

    pub fn id(&mut self) -> TransactionId {
        self.next_id += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.next_id.to_be_bytes());
        TransactionId(id)
    }
}

/// A client at one address, with its memory of the server.
#[derive(Clone, Debug)]
pub struct Client {
    pub flow: Flow,
    pub username: String,
    pub password: String,
    pub nonce: String,
}

/// What the server said.
#[derive(Clone, Debug)]
pub struct Answer(pub Vec<u8>);

impl Answer {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    pub fn code(&self) -> Option<u16> {
        self.message().error_code().unwrap().map(|error| error.code)
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.message().class(), Class::Success, "{:?} {:?}", self.message(), self.code());
        self
    }

    pub fn relayed(&self) -> SocketAddr {
        self.message().xor_relayed_address().unwrap().unwrap()
    }

    pub fn all_relayed(&self) -> Vec<SocketAddr> {
        let message = self.message();
        let all = message.attributes().filter_map(|one| one.typed()?.ok());
        all.filter_map(|one| if let Attribute::XorRelayedAddress(at) = one { Some(at) } else { None }).collect()
    }

    pub fn lifetime(&self) -> u32 {
        self.message().lifetime().unwrap().unwrap()
    }

    pub fn ticket(&self) -> Vec<u8> {
        self.message().mobility_ticket().unwrap().unwrap().to_vec()
    }
}

pub fn udp(remote: &str) -> Flow {
    Flow { id: FlowId::new(0, 1, 1), transport: Transport::Udp, local: address(SERVER), remote: address(remote) }
}

pub fn tcp(remote: &str, slot: u32) -> Flow {
    Flow { id: FlowId::new(0, slot, 1), transport: Transport::Tcp, local: address(SERVER), remote: address(remote) }
}

impl Client {
    pub fn at(remote: &str) -> Self {
        Self::over(udp(remote))
    }

    pub fn over(flow: Flow) -> Self {
        Self { flow, username: "alice".into(), password: "secret".into(), nonce: String::new() }
    }

    pub fn named(mut self, username: &str, password: &str) -> Self {
        (self.username, self.password) = (username.into(), password.into());
        self
    }

    pub fn rest(self, accounts: &RestAccounts, until: u64, name: &str) -> Self {
        let (username, password) = accounts.issue(until, name);
        self.named(&username, &password)
    }

    pub fn key(&self) -> Key {
        Key::long_term_md5(&self.username, REALM, &self.password).unwrap()
    }

    /// A request with credentials, as bytes.
    pub fn sealed(&self, id: TransactionId, method: Method, write: &dyn Fn(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = [0; 4096];
        let mut writer = Writer::new(&mut buffer, Class::Request, method, id);
        write(&mut writer);
        writer.push(Attribute::Username(&self.username)).push(Attribute::Realm(REALM));
        writer.push(Attribute::Nonce(&self.nonce)).integrity(&self.key());
        writer.finish().unwrap().to_vec()
    }

    /// Asks for a nonce.
    pub fn greet(&mut self, world: &mut World) {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, world.id());
        writer.push(Attribute::RequestedTransport(17));
        world.client_sends(self.flow, writer.finish().unwrap());
        let (_, bytes) = world.answer().expect("a challenge");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.error_code().unwrap().unwrap().code, 401);
        self.nonce = message.nonce().unwrap().unwrap().to_owned();
    }

    /// Asks, answering a challenge first if need be.
    pub fn try_ask(&mut self, world: &mut World, method: Method, write: &dyn Fn(&mut Writer<'_>)) -> Option<Answer> {
        if self.nonce.is_empty() {
            self.greet(world);
        }
        let id = world.id();
        let bytes = self.sealed(id, method, write);
        world.client_sends(self.flow, &bytes);
        let (flow, bytes) = world.answer()?;
        assert_eq!(flow, self.flow);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.method(), message.transaction_id()), (method, id));
        match message.error_code().unwrap().map(|error| error.code) {
            Some(401) => {}
            Some(438) => {
                self.nonce = message.nonce().unwrap().unwrap().to_owned();
                return self.try_ask(world, method, write);
            }
            _ => assert!(message.check_integrity(&self.key()).is_ok(), "answers are sealed"),
        }
        Some(Answer(bytes))
    }

    #[track_caller]
    pub fn ask(&mut self, world: &mut World, method: Method, write: &dyn Fn(&mut Writer<'_>)) -> Answer {
        self.try_ask(world, method, write).expect("an answer")
    }

    #[track_caller]
    pub fn allocate(&mut self, world: &mut World) -> SocketAddr {
        self.allocate_with(world, &|_| ()).ok().relayed()
    }

    #[track_caller]
    pub fn allocate_with(&mut self, world: &mut World, write: &dyn Fn(&mut Writer<'_>)) -> Answer {
        self.ask(world, Method::ALLOCATE, &|writer| {
            writer.push(Attribute::RequestedTransport(17));
            write(writer);
        })
    }

    #[track_caller]
    pub fn refresh(&mut self, world: &mut World, lifetime: u32) -> Answer {
        self.ask(world, Method::REFRESH, &|writer| {
            writer.push(Attribute::Lifetime(lifetime));
        })
    }

    #[track_caller]
    pub fn permit(&mut self, world: &mut World, peer: &str) -> Answer {
        self.ask(world, Method::CREATE_PERMISSION, &|writer| {
            writer.push(Attribute::XorPeerAddress(address(peer)));
        })
    }

    #[track_caller]
    pub fn bind(&mut self, world: &mut World, channel: u16, peer: &str) -> Answer {
        self.bind_to(world, channel, address(peer))
    }

    #[track_caller]
    pub fn bind_to(&mut self, world: &mut World, channel: u16, peer: SocketAddr) -> Answer {
        self.ask(world, Method::CHANNEL_BIND, &|writer| {
            writer.push(Attribute::ChannelNumber(channel)).push(Attribute::XorPeerAddress(peer));
        })
    }

    pub fn send(&self, world: &mut World, peer: SocketAddr, data: &[u8]) {
        world.client_sends(self.flow, &send_indication(peer, data));
    }

    pub fn channel_data(&self, world: &mut World, channel: u16, data: &[u8]) {
        world.client_sends(self.flow, &channel_message(channel, data));
    }
}

pub fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; data.len() + 100];
    let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([3; 12]));
    writer.push(Attribute::XorPeerAddress(peer)).push(Attribute::Data(data));
    writer.finish().unwrap().to_vec()
}

pub fn channel_message(channel: u16, data: &[u8]) -> Vec<u8> {
    [&channel_data::header(channel, data.len() as u16), data].concat()
}

/// Peer and payload of a Data indication.
pub fn read_data(bytes: &[u8]) -> (SocketAddr, Vec<u8>) {
    let message = Message::parse(bytes).unwrap();
    assert!(message.is(Class::Indication, Method::DATA));
    let data = message.find(AttributeType::DATA).unwrap().to_vec();
    (message.xor_peer_address().unwrap().unwrap(), data)
}

/// Number and payload of ChannelData.
pub fn read_channel(bytes: &[u8]) -> (u16, Vec<u8>) {
    let data = ChannelData::parse(bytes).unwrap();
    (data.channel, data.data.to_vec())
}

pub const V4: AddressFamily = AddressFamily::V4;
pub const V6: AddressFamily = AddressFamily::V6;
