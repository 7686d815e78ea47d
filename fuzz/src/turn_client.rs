//! The TURN client: whatever the server and the network do, nothing grows, data comes from permitted peers alone, and
//! everything that was begun ends.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_stun::attribute::{Icmp, PasswordAlgorithms};
use farspeak_stun::{Attribute, Class, ErrorCode, Key, Message, Method, TransactionId, Writer, channel_data};
use farspeak_turn::client::{Client, Config, Event, Families};

use crate::input::Input;

/// A script: each byte is something that the owner, the server, an attacker or time does.
pub fn fuzz(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.small();
    let transport = [Transport::Udp, Transport::Tcp, Transport::Tls][kind % 3];
    let families = [Families::Any, Families::Both][kind / 3 % 2];
    let config = Config {
        families,
        mobility: kind & 0x40 == 0,
        streams: kind & 0x80 != 0,
        peers: 8,
        channels: 4,
        queued: 2,
        ..Config::for_user("u", "p")
    };
    let mut world = World::new(config, transport);
    while let Some(step) = input.byte() {
        world.step(step, &mut input);
        world.settle();
    }
    world.end();
}

struct World {
    client: Client,
    now: Instant,
    flow: Flow,
    /// The last requests that the client sent.
    requests: Vec<(Flow, Vec<u8>)>,
    permitted: Vec<IpAddr>,
    connected: Vec<IpAddr>,
    allocated: bool,
    asked: usize,
    ended: usize,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn key() -> Key {
    Key::long_term_sha256("u", "r", "p").expect("plain words")
}

/// One of a dozen peers.
fn peer(number: usize) -> SocketAddr {
    let ip = match number % 12 {
        six @ 8.. => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, six as u16]),
        four => IpAddr::from([203, 0, 113, four as u8]),
    };
    SocketAddr::new(ip, 5000 + number as u16 / 100)
}

impl World {
    fn new(config: Config, transport: Transport) -> Self {
        let flow = Flow::unbound(transport, address("10.0.0.7:4000"), address("192.0.2.1:3478"));
        let client = Client::new(config, flow, Box::new(SplitMix64::new(1)));
        let (requests, permitted, connected) = (Vec::new(), Vec::new(), Vec::new());
        Self { client, now: Instant::ZERO, flow, requests, permitted, connected, allocated: false, asked: 0, ended: 0 }
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        match step % 28 {
            0 => {
                self.asked += usize::from(!self.allocated && self.asked == self.ended && !self.client.is_releasing());
                self.client.allocate(self.now);
            }
            1 => {
                let peer = peer(input.small());
                self.permitted.push(peer.ip());
                self.client.permit(self.now, peer.ip());
            }
            2 => {
                let peer = peer(input.small());
                self.permitted.push(peer.ip());
                self.client.bind(self.now, peer);
            }
            3 => {
                let peer = peer(input.small()).ip();
                self.permitted.retain(|known| *known != peer);
                self.client.forget(peer);
            }
            4 => self.client.unbind(peer(input.small())),
            5 => drop(self.client.send(self.now, peer(input.small()), input.raw())),
            6 => {
                let local = SocketAddr::new(self.flow.local.ip(), 4000 + input.small() as u16);
                self.flow = Flow { local, ..self.flow };
                self.client.moved(self.now, self.flow);
                // Where it cannot follow, it begins anew by itself.
                (self.allocated, self.ended) = (false, self.asked);
            }
            7 => self.client.handle_flow_failed(self.now, self.client.flow()),
            8 => self.pass(Duration::from_millis(1 << (input.small() % 22))),
            9 => self.deliver(self.flow, input.raw()),
            10 => self.deliver(Flow { remote: address("192.0.2.66:3478"), ..self.flow }, input.raw()),
            11 => {
                let channel = 0x4000 + input.small() as u16;
                let data = input.raw();
                let header = channel_data::header(channel, data.len() as u16);
                self.deliver(self.client.flow(), &[&header, data].concat());
            }
            12 => self.indicate(peer(input.small()), Some(input.raw())),
            13 => self.indicate(peer(input.small()), None),
            14 => self.answer(input, Class::Error, Some(401), false),
            15 => self.answer(input, Class::Error, Some(438), false),
            16 => {
                let code = 300 + input.small() as u16 % 300;
                self.answer(input, Class::Error, Some(code), true);
            }
            17 => self.answer(input, Class::Error, Some(437), false),
            18 => self.answer(input, Class::Success, None, false),
            24 => {
                let peer = peer(input.small());
                self.connected.push(peer.ip());
                self.client.connect(self.now, peer);
            }
            25 => {
                let local = SocketAddr::new(self.flow.local.ip(), 6000 + input.small() as u16);
                self.client.accept(self.now, input.small() as u32, Flow { local, ..self.flow });
            }
            26 => self.attempt(peer(input.small()), input.small() as u32),
            _ => self.answer(input, Class::Success, None, true),
        }
    }

    fn attempt(&mut self, peer: SocketAddr, connection: u32) {
        let mut buffer = [0; 128];
        let method = Method::CONNECTION_ATTEMPT;
        let mut writer = Writer::new(&mut buffer, Class::Indication, method, TransactionId([8; 12]));
        writer.push(Attribute::XorPeerAddress(peer)).push(Attribute::ConnectionId(connection));
        let bytes = writer.finish().expect("it is short").to_vec();
        self.deliver(self.client.flow(), &bytes);
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        let mut steps = 0;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
            self.settle();
            steps += 1;
            assert!(steps < 20_000, "time goes on");
        }
        self.now = until;
    }

    fn deliver(&mut self, flow: Flow, bytes: &[u8]) {
        self.client.handle_receive(self.now, Receive { flow, bytes });
    }

    fn indicate(&mut self, peer: SocketAddr, data: Option<&[u8]>) {
        let mut buffer = [0; 1024];
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::DATA, TransactionId([9; 12]));
        writer.push(Attribute::XorPeerAddress(peer));
        match data {
            Some(data) => writer.push(Attribute::Data(data)),
            None => writer.push(Attribute::Icmp(Icmp { kind: 3, code: 3, data: 0 })),
        };
        if let Ok(bytes) = writer.finish().map(<[u8]>::to_vec) {
            self.deliver(self.client.flow(), &bytes);
        }
    }

    /// Answers one of the last requests, as a byte says, with attributes as the next says.
    fn answer(&mut self, input: &mut Input<'_>, class: Class, code: Option<u16>, sealed: bool) {
        if self.requests.is_empty() {
            return;
        }
        let at = input.small() % self.requests.len();
        let (flow, request) = self.requests[at].clone();
        let wanted = input.small();
        let message = Message::parse(&request).expect("the client wrote it");
        let mut buffer = [0; 1024];
        let mut writer = Writer::respond(&mut buffer, class, &message);
        if let Some(code) = code {
            writer.push(Attribute::ErrorCode(ErrorCode { code, reason: "" }));
            if matches!(code, 401 | 438) {
                let nonce = format!("obMatJos2gAAA{wanted}");
                writer.push(Attribute::Realm("r")).push(Attribute::Nonce(&nonce));
                writer.push(Attribute::PasswordAlgorithms(PasswordAlgorithms::SHA256_MD5));
            }
            if code == 300 {
                writer.push(Attribute::AlternateServer(peer(wanted))).push(Attribute::AlternateDomain("d"));
            }
        } else {
            if wanted & 1 == 0 {
                writer.push(Attribute::XorRelayedAddress(address("192.0.2.1:50000")));
            }
            if wanted & 2 != 0 {
                writer.push(Attribute::XorRelayedAddress(address("[2001:db8::1]:50000")));
            }
            if wanted & 4 == 0 {
                writer
                    .push(Attribute::XorMappedAddress(SocketAddr::new([192, 0, 2, 9].into(), 1 + wanted as u16 / 32)));
            }
            if wanted & 8 == 0 {
                writer.push(Attribute::Lifetime([600, 0, 1, u32::MAX][wanted / 64]));
            }
            if wanted & 16 == 0 {
                writer.push(Attribute::MobilityTicket(b"ticket"));
            }
            if wanted & 32 == 0 {
                writer.push(Attribute::ConnectionId(wanted as u32));
            }
        }
        if sealed {
            writer.integrity_sha256(&key());
        }
        if let Ok(bytes) = writer.finish().map(<[u8]>::to_vec) {
            let flow = match flow.transport.is_reliable() {
                true => Flow { id: FlowId::new(0, 1, 1), ..flow },
                false => flow,
            };
            self.deliver(flow, &bytes);
        }
    }

    /// What a driver does, and what must hold.
    fn settle(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            let flow = transmit.flow;
            assert_eq!(flow.remote, self.flow.remote, "nobody else is spoken to");
            if let Ok(message) = Message::parse(&transmit.bytes) {
                match (message.class(), message.method()) {
                    (Class::Request, _) => self.requests.push((flow, transmit.bytes.to_vec())),
                    (Class::Indication, Method::SEND) => {
                        let to = message.xor_peer_address().expect("whole").expect("there");
                        assert!(self.permitted.contains(&to.ip()), "{to} was not asked for");
                    }
                    (Class::Indication, Method::BINDING) => {}
                    _ => panic!("{message:?}"),
                }
            } else {
                assert!(channel_data::ChannelData::parse(&transmit.bytes).is_some());
            }
        }
        let excess = self.requests.len().saturating_sub(16);
        self.requests.drain(..excess);
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Allocated(allocation) => {
                    assert!(!allocation.relayed.is_empty() && allocation.relayed.len() <= 2);
                    self.allocated = true;
                }
                Event::Offered { peer, .. } => {
                    assert!(self.permitted.contains(&peer.ip()) || self.connected.contains(&peer.ip()), "{peer}");
                }
                Event::Lost(_) | Event::Released => self.clear(),
                Event::Failed(_) => (self.allocated, self.ended) = (false, self.asked),
                Event::Data { peer, .. } | Event::Icmp { peer, .. } => {
                    assert!(self.permitted.contains(&peer.ip()), "{peer} was not asked for");
                }
                _ => {}
            }
        }
        assert_eq!(self.client.is_allocated(), !self.client.relayed().is_empty());
    }

    fn clear(&mut self) {
        (self.allocated, self.ended) = (false, self.asked);
        self.permitted.clear();
    }

    /// Whatever the state, giving back ends everything.
    fn end(mut self) {
        self.client.release(self.now);
        self.settle();
        self.pass(Duration::from_secs(200));
        assert_eq!(self.client.poll_timeout(), None, "everything has ended");
        assert!(!self.client.is_allocated() && !self.client.is_releasing());
    }
}
