//! A server that the tests play by hand: each request of the client is looked at and answered as the test likes.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_stun::attribute::PasswordAlgorithms;
use farspeak_stun::{Attribute, Class, ErrorCode, Key, Message, Method, TransactionId, Writer, channel_data};
use farspeak_turn::client::{Client, Config, Event};

pub const SERVER: &str = "192.0.2.1:3478";
pub const LOCAL: &str = "10.0.0.7:4000";
pub const MAPPED: &str = "198.51.100.7:6000";
pub const RELAYED: &str = "192.0.2.1:50000";

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn flow(transport: Transport) -> Flow {
    Flow::unbound(transport, address(LOCAL), address(SERVER))
}

pub fn config() -> Config {
    Config { keep_alive: None, ..Config::for_user("alice", "wonderland") }
}

/// A client and its server's desk.
pub struct Desk {
    pub client: Client,
    pub now: Instant,
    pub flow: Flow,
    key: Key,
    nonces: u32,
}

/// A request on the desk.
pub struct Paper {
    pub bytes: Vec<u8>,
    pub flow: Flow,
}

impl Paper {
    pub fn read(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub fn method(&self) -> Method {
        self.read().method()
    }

    /// The peers that it is about.
    pub fn peers(&self) -> Vec<SocketAddr> {
        let typed = |attribute: farspeak_stun::RawAttribute<'_>| match attribute.typed() {
            Some(Ok(Attribute::XorPeerAddress(peer))) => Some(peer),
            _ => None,
        };
        self.read().attributes().filter_map(typed).collect()
    }
}

impl Desk {
    pub fn new(config: Config, transport: Transport) -> Self {
        let flow = flow(transport);
        let client = Client::new(config, flow, Box::new(SplitMix64::new(1)));
        let key = Key::long_term_sha256("alice", "example.org", "wonderland").unwrap();
        Self { client, now: Instant::ZERO, flow, key, nonces: 0 }
    }

    /// With an allocation over UDP.
    pub fn allocated() -> Self {
        Self::allocated_with(config(), Transport::Udp)
    }

    pub fn allocated_with(config: Config, transport: Transport) -> Self {
        let mut desk = Self::new(config, transport);
        desk.client.allocate(desk.now);
        desk.challenge();
        let request = desk.next();
        assert!(desk.is_sealed(&request));
        desk.grant_allocation(&request, 600);
        assert!(matches!(desk.event(), Some(Event::Allocated(_))));
        desk
    }

    /// The next thing that the client sends.
    pub fn next(&mut self) -> Paper {
        self.poll().expect("the client sends something")
    }

    pub fn poll(&mut self) -> Option<Paper> {
        let transmit = self.client.poll_transmit()?;
        Some(Paper { bytes: transmit.bytes.to_vec(), flow: transmit.flow })
    }

    pub fn event(&mut self) -> Option<Event> {
        self.client.poll_event()
    }

    pub fn is_sealed(&self, request: &Paper) -> bool {
        request.read().check_integrity(&self.key).is_ok()
    }

    /// Time goes by, timers fire when they are due.
    pub fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now);
        }
        self.now = until;
    }

    pub fn deliver(&mut self, flow: Flow, bytes: &[u8]) {
        self.client.handle_receive(self.now, Receive { flow, bytes });
    }

    pub fn respond(&mut self, request: &Paper, class: Class, write: impl FnOnce(&mut Writer<'_>)) {
        let message = request.read();
        let mut buffer = [0; 2048];
        let mut writer = Writer::respond(&mut buffer, class, &message);
        write(&mut writer);
        let bytes = writer.finish().unwrap().to_vec();
        self.deliver(request.flow, &bytes);
    }

    /// Answers with success, sealed.
    pub fn grant(&mut self, request: &Paper, write: impl FnOnce(&mut Writer<'_>)) {
        let key = self.key.clone();
        self.respond(request, Class::Success, |writer| {
            write(writer);
            writer.integrity_sha256(&key);
        });
    }

    pub fn grant_allocation(&mut self, request: &Paper, lifetime: u32) {
        let wants_ticket = request.read().mobility_ticket() == Ok(Some(&[]));
        self.grant(request, |writer| {
            writer.push(Attribute::XorRelayedAddress(address(RELAYED))).push(Attribute::Lifetime(lifetime));
            writer.push(Attribute::XorMappedAddress(address(MAPPED)));
            if wants_ticket {
                writer.push(Attribute::MobilityTicket(b"ticket"));
            }
        });
    }

    /// Answers with an error, sealed.
    pub fn refuse(&mut self, request: &Paper, code: u16) {
        let key = self.key.clone();
        self.respond(request, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(ErrorCode { code, reason: "no" }));
            writer.integrity_sha256(&key);
        });
    }

    /// Answers the next request with a 401.
    pub fn challenge(&mut self) {
        let request = self.next();
        self.challenge_with(&request, 401);
    }

    /// Answers with a 401 or 438, and a new nonce.
    pub fn challenge_with(&mut self, request: &Paper, code: u16) {
        self.nonces += 1;
        let nonce = format!("obMatJos2gAAA{}", self.nonces);
        self.respond(request, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(ErrorCode { code, reason: "" })).push(Attribute::Realm("example.org"));
            writer.push(Attribute::Nonce(&nonce)).push(Attribute::PasswordAlgorithms(PasswordAlgorithms::SHA256_MD5));
        });
    }

    /// With a permission for this peer, too.
    pub fn permit(&mut self, peer: &str) {
        let peer = peer.parse().unwrap();
        self.client.permit(self.now, peer);
        let request = self.next();
        self.grant(&request, |_| {});
        assert_eq!(self.event(), Some(Event::Permitted { peer }));
    }

    /// With a channel to this peer, too.
    pub fn bind(&mut self, peer: &str) -> u16 {
        self.client.bind(self.now, address(peer));
        let request = self.next();
        let channel = request.read().channel_number().unwrap().unwrap();
        self.grant(&request, |_| {});
        assert_eq!(self.event(), Some(Event::Bound { peer: address(peer), channel }));
        if let Some(event) = self.event() {
            assert_eq!(event, Event::Permitted { peer: address(peer).ip() });
        }
        channel
    }
}

/// A Data indication.
pub fn data(peer: &str, bytes: &[u8]) -> Vec<u8> {
    indication(|writer| {
        writer.push(Attribute::XorPeerAddress(address(peer))).push(Attribute::Data(bytes));
    })
}

pub fn indication(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut writer = Writer::new(&mut buffer, Class::Indication, Method::DATA, TransactionId([3; 12]));
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

pub fn channel_data(channel: u16, bytes: &[u8]) -> Vec<u8> {
    [&channel_data::header(channel, bytes.len() as u16)[..], bytes].concat()
}
