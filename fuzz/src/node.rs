//! Random scripts for a whole shard of the node: messages of phones and strangers, whole, authenticated and mutated,
//! answers, time, broken connections, a store that fails.
//!
//! Promised after every script: nothing was sent to an address that had not spoken or registered first (never a relay),
//! and once all flows are closed and time has passed, no state is left.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use farspeak_node::authentication::AuthenticationConfig;
use farspeak_node::binding::BindingRow;
use farspeak_node::domain::Domain;
use farspeak_node::event::{Event, Ticket};
use farspeak_node::events::EventsConfig;
use farspeak_node::location::Location;
use farspeak_node::registrar::RegistrarConfig;
use farspeak_node::shard::{Shard, ShardConfig};
use farspeak_node::shared::{Clock, Keys, ProxyConfig, Settings, Shared, SharedParts};
use farspeak_node::throttle::{Throttle, ThrottleConfig};
use farspeak_node::users::{Secret, User, Users};
use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::digest::{Algorithm, Challenge, Identity, NonceConfig, Nonces};
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::message::{HeaderName, Limits, Message, ResponseBuilder, StatusCode};

use crate::input::Input;

const NAMES: [&str; 4] = ["alice", "bob", "carol", "nobody"];
const METHODS: [&str; 16] = [
    "INVITE",
    "INVITE",
    "INVITE",
    "INVITE",
    "INVITE",
    "REGISTER",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "MESSAGE",
    "PRACK",
    "UPDATE",
    "INFO",
    "SUBSCRIBE",
    "X-OTHER",
];

/// A script for the whole node.
pub fn fuzz(data: &[u8]) {
    let mut script = Script::new(data);
    while let Some(operation) = script.input.byte() {
        script.step(operation);
        script.drain();
    }
    script.settle();
}

struct Script<'a> {
    input: Input<'a>,
    node: Shard,
    shared: Arc<Shared>,
    now: Instant,
    tickets: VecDeque<Ticket>,
    /// The requests that the node has sent lately: phones answer them, or send them back.
    sent: VecDeque<(Flow, Arc<[u8]>)>,
    count: u32,
}

impl<'a> Script<'a> {
    fn new(data: &'a [u8]) -> Self {
        let shared = shared();
        let mut endpoint = EndpointConfig::default();
        endpoint.max_transactions = 256;
        endpoint.max_open_per_flow = 64;
        let rng = Box::new(SplitMix64::new(3));
        let node = Shard::new(ShardConfig { id: 0, shared: Arc::clone(&shared), rng, endpoint });
        let (tickets, sent) = (VecDeque::new(), VecDeque::new());
        Self { input: Input::new(data), node, shared, now: Instant::ZERO, tickets, sent, count: 0 }
    }

    fn step(&mut self, operation: u8) {
        match operation % 12 {
            0..=3 => {
                let message = self.request();
                self.receive(message);
            }
            4 | 5 => self.answer(),
            6 => self.send_back(),
            7 => {
                let pause = Duration::from_millis(100 * self.input.small() as u64);
                self.now += pause;
                self.node.handle_timeout(self.now);
            }
            8 => {
                self.now = self.node.poll_timeout().unwrap_or(self.now).max(self.now);
                self.node.handle_timeout(self.now);
            }
            9 => {
                let flow = self.flow();
                self.node.handle_flow_failed(self.now, flow);
            }
            10 => {
                let raw = self.input.raw();
                self.receive(raw.to_vec());
            }
            _ => self.commit(),
        }
    }

    /// Three phones over different transports, and a stranger.
    fn flow(&mut self) -> Flow {
        flow(self.input.small() % 5)
    }

    fn receive(&mut self, mut bytes: Vec<u8>) {
        // Some bytes change on the way: how many and which, the input says.
        for _ in 0..self.input.small().saturating_sub(224) {
            let (at, byte) = (self.input.small() << 3 | self.input.small() & 7, self.input.small() as u8);
            if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
        }
        let flow = self.flow();
        self.node.handle_receive(self.now, Receive { flow, bytes: &bytes });
    }

    fn request(&mut self) -> Vec<u8> {
        let method = METHODS[self.input.small() % METHODS.len()];
        // Mostly Alice calls: she has no phone of her own that could be rung.
        let (from, to) = (NAMES[(self.input.small() % 8).saturating_sub(4)], NAMES[self.input.small() % 4]);
        let shape = self.input.small();
        let uri = match (method, shape % 8) {
            ("REGISTER", _) => "sip:example.org".to_owned(),
            (_, 0..=4) => format!("sip:{to}@example.org"),
            (_, 5) => format!("sip:{to}@192.0.2.21:5060"),
            (_, 6) => format!("sips:{to}@elsewhere.example;transport=tcp"),
            (_, _) => "sip:example.org".to_owned(),
        };
        // Few branches and calls, so that they meet again.
        let (branch, call) = (shape / 8 % 4, shape / 32);
        self.count += 1;
        let tag = if self.input.small().is_multiple_of(4) { ";tag=remote" } else { "" };
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK{branch}{};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}@example.org>;tag=a{call}\r\nTo: <sip:{to}@example.org>{tag}\r\n\
             Call-ID: call-{call}\r\nCSeq: {} {method}\r\n",
            if self.input.small().is_multiple_of(4) { 0 } else { self.count },
            1 + self.count / 4,
        );
        match self.input.small() % 8 {
            0 => text.push_str("Contact: *\r\nExpires: 0\r\n"),
            1 => text.push_str(
                "Contact: <sip:a@192.0.2.20:5060>;q=0.5, <sip:b@198.51.100.9>;expires=60\r\nExpires: 300\r\n",
            ),
            2 => {
                text.push_str("Route: <sip:192.0.2.10;lr>, <sip:198.51.100.9;lr>\r\nContact: <sip:x@198.51.100.9>\r\n")
            }
            3 => text.push_str("Max-Breadth: 1\r\nContact: <sip:x@[2001:db8::9]:9>\r\n"),
            4 => text.push_str("Proxy-Require: something\r\n"),
            _ => text.push_str("Contact: <sip:x@10.0.0.1>\r\n"),
        }
        if !self.input.small().is_multiple_of(4) {
            let nonce = self.shared.nonces.issue(self.now);
            let challenge =
                Challenge { realm: "example.org", nonce: &nonce, algorithm: Algorithm::Sha256, stale: false }
                    .to_string();
            let password = secret(from);
            let identity = Identity { username: from, password: password.reveal() };
            let parsed = Challenge::parse(&challenge).expect("our own challenge can be read");
            let answer = parsed.answer(&identity, method, &uri, "cnonce", 1);
            let header = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
            text.push_str(&format!("{header}: {answer}\r\n"));
        }
        text.push_str("Content-Length: 0\r\n\r\n");
        text.into_bytes()
    }

    /// A phone answers something that it was sent.
    fn answer(&mut self) {
        let (at, status) = (self.input.small(), 100 + 7 * self.input.small() as u16 % 600);
        let status = [180, 200, 200, 302, 486, 487, 603, status][self.input.small() % 8];
        let Some((flow, bytes)) = self.sent.get(at % self.sent.len().max(1)).cloned() else { return };
        let Ok(request) = Message::parse(&bytes, &Limits::default()) else { return };
        let Some(status) = StatusCode::new(status).filter(|_| request.is_request()) else { return };
        let mut bytes = Vec::new();
        let mut response =
            ResponseBuilder::new(&request, status).header(HeaderName::Contact, "<sip:bob@192.0.2.21:5060>");
        for route in request.headers(HeaderName::RecordRoute) {
            response = response.header(HeaderName::RecordRoute, route);
        }
        response.to_tag("remote").write(&mut bytes);
        self.node.handle_receive(self.now, Receive { flow, bytes: &bytes });
    }

    /// What the node sent comes back to it: a loop, or a request along its Record-Route.
    fn send_back(&mut self) {
        let (at, how, method) = (self.input.small(), self.input.small(), METHODS[self.input.small() % METHODS.len()]);
        let Some((flow, bytes)) = self.sent.get(at % self.sent.len().max(1)).cloned() else { return };
        if how.is_multiple_of(2) {
            return self.receive(bytes.to_vec());
        }
        let Ok(message) = Message::parse(&bytes, &Limits::default()) else { return };
        let routes: String =
            message.headers(HeaderName::RecordRoute).map(|route| format!("Route: {route}\r\n")).collect();
        let (Ok(from), Ok(to), Ok(call)) = (message.from(), message.to(), message.call_id()) else { return };
        self.count += 1;
        let text = format!(
            "{method} sip:bob@192.0.2.21:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.21;branch=z9hG4bKback{}\r\n{routes}\
             Max-Forwards: 70\r\nFrom: <{}>;tag=remote\r\nTo: <{}>;tag={}\r\nCall-ID: {call}\r\nCSeq: {} {method}\r\n\
             Content-Length: 0\r\n\r\n",
            self.count,
            to.uri_text,
            from.uri_text,
            from.tag().unwrap_or("x"),
            self.count,
        );
        self.node.handle_receive(self.now, Receive { flow, bytes: text.as_bytes() });
    }

    fn commit(&mut self) {
        let works = !self.input.small().is_multiple_of(4);
        if let Some(ticket) = self.tickets.pop_front() {
            self.node.committed(self.now, ticket, if works { Ok(()) } else { Err("full") });
        }
    }

    fn drain(&mut self) {
        loop {
            while let Some(transmit) = self.node.poll_transmit() {
                let to = transmit.flow.remote.ip();
                assert!(KNOWN.contains(&to), "the node sent something to {to}, who has nothing to do with it");
                if !transmit.bytes.starts_with(b"SIP/2.0") {
                    self.sent.push_front((transmit.flow, transmit.bytes));
                    self.sent.truncate(8);
                }
            }
            let Some(event) = self.node.poll_event() else { return };
            if let Event::Commit { ticket, .. } = event {
                self.tickets.push_back(ticket);
            }
        }
    }

    /// The store answers, all connections end, and ten minutes pass.
    fn settle(&mut self) {
        while let Some(ticket) = self.tickets.pop_front() {
            self.node.committed(self.now, ticket, Err("stopping"));
            self.drain();
        }
        for which in 0..5 {
            self.node.handle_flow_failed(self.now, flow(which));
            self.drain();
        }
        let end = self.now + Duration::from_secs(600);
        let mut steps = 0;
        while let Some(next) = self.node.poll_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.node.handle_timeout(self.now);
            self.drain();
            steps += 1;
            assert!(steps < 100_000, "a timer stays due");
        }
        let counts = self.node.counts();
        let left = counts.contexts + counts.branches + counts.commits + counts.transactions;
        assert_eq!(left, 0, "{counts:?}");
    }
}

/// Where the phones and the stranger are.
const KNOWN: [IpAddr; 5] = [ip(20), ip(21), ip(22), ip(23), ip(24)];

const fn ip(last: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, last))
}

fn flow(which: usize) -> Flow {
    let transport = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Wss, Transport::Udp][which % 5];
    let port = [5060, 5060, 5061, 443, 5060][which % 5];
    Flow {
        id: FlowId::new(0, which as u32, 1),
        transport,
        local: SocketAddr::from(([192, 0, 2, 10], port)),
        remote: SocketAddr::new(KNOWN[which % 5], 5060),
    }
}

fn secret(name: &str) -> Secret {
    Secret::generate(&mut SplitMix64::new(name.len() as u64 + u64::from(name.as_bytes()[0])))
}

fn shared() -> Arc<Shared> {
    let users = Users::new("example.org", &mut SplitMix64::new(2));
    for name in &NAMES[..3] {
        let mut user = User::new(name, "example.org", &secret(name));
        user.open_to_strangers = *name == "carol";
        users.insert(user);
    }
    let shared = Shared::new(SharedParts {
        location: Location::default(),
        users,
        throttle: Throttle::new(ThrottleConfig::default()),
        nonces: Nonces::new([9; 32], NonceConfig::default()),
        keys: Keys { flow_token: [1; 16], branch: [2; 16] },
        clock: Clock { unix_at_origin_ms: 1_800_000_000_000 },
        settings: Settings {
            domain: Domain::new("example.org").with_listener(Transport::Udp, SocketAddr::from(([192, 0, 2, 10], 5060))),
            public_name: None,
            proxy: ProxyConfig::default(),
            registrar: RegistrarConfig::default(),
            authentication: AuthenticationConfig::default(),
            events: EventsConfig::default(),
            limits: Limits::default(),
        },
    });
    // Bob and Carol have a phone each on UDP, and Bob another one of lower preference.
    let rows = [("bob", 21, 1000), ("bob", 22, 500), ("carol", 23, 1000)].map(|(name, last, q)| BindingRow {
        aor: format!("{name}@example.org"),
        contact: format!("sip:{name}@192.0.2.{last}:5060"),
        instance: None,
        reg_id: None,
        q,
        expires_at_unix_ms: shared.clock.unix_ms(Instant::ZERO) + 3_600_000,
        call_id: "c".to_owned(),
        cseq: 1,
        path: String::new(),
        params: String::new(),
        user_agent: String::new(),
        transport: Transport::Udp,
        local: SocketAddr::from(([192, 0, 2, 10], 5060)),
        remote: SocketAddr::new(ip(last), 5060),
        flow_bits: 0,
        since: 1,
        version: 1,
    });
    shared.location.restore(Instant::ZERO, shared.clock, 1, rows);
    shared
}
