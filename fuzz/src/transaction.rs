//! Random scripts for the transaction layer: messages whole and mutated, answers, timers, broken flows. After every
//! script, once its user has answered and time has passed, no state may be left.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::endpoint::{ClientTx, Endpoint, EndpointConfig, Event, ServerTx};
use farspeak_sip::message::{Method, ResponseBuilder, StatusCode};

use crate::input::Input;

/// A script for the INVITE client transaction.
pub fn client_invite(data: &[u8]) {
    run(Kind::ClientInvite, data);
}

/// A script for the non-INVITE client transaction.
pub fn client_non_invite(data: &[u8]) {
    run(Kind::ClientNonInvite, data);
}

/// A script for the INVITE server transaction.
pub fn server_invite(data: &[u8]) {
    run(Kind::ServerInvite, data);
}

/// A script for the non-INVITE server transaction.
pub fn server_non_invite(data: &[u8]) {
    run(Kind::ServerNonInvite, data);
}

/// A script for all of them, with messages that the input holds as they are.
pub fn endpoint(data: &[u8]) {
    run(Kind::Endpoint, data);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClientInvite,
    ClientNonInvite,
    ServerInvite,
    ServerNonInvite,
    Endpoint,
}

fn run(kind: Kind, data: &[u8]) {
    let mut script = Script::new(kind, data);
    while let Some(operation) = script.input.byte() {
        script.step(operation);
        script.drain();
    }
    script.settle();
}

struct Script<'a> {
    kind: Kind,
    input: Input<'a>,
    endpoint: Endpoint,
    now: Instant,
    servers: Vec<ServerTx>,
    clients: Vec<(ClientTx, String, Method)>,
}

impl<'a> Script<'a> {
    fn new(kind: Kind, data: &'a [u8]) -> Self {
        let mut config = EndpointConfig::default();
        config.max_transactions = 64;
        config.max_open_per_flow = 16;
        let endpoint = Endpoint::new(config, Box::new(SplitMix64::new(1)));
        Self { kind, input: Input::new(data), endpoint, now: Instant::ZERO, servers: Vec::new(), clients: Vec::new() }
    }

    fn step(&mut self, operation: u8) {
        match operation % 10 {
            0..=2 => {
                let message = self.message();
                self.receive(&message);
            }
            3 => self.respond(),
            4 => self.request(),
            5 => {
                let index = self.input.small();
                if let Some((tx, ..)) = pick(&self.clients, index) {
                    self.endpoint.cancel(self.now, *tx);
                }
            }
            6 => {
                let pause = Duration::from_millis(50 * self.input.small() as u64);
                self.now += pause;
                self.endpoint.handle_timeout(self.now);
            }
            7 => {
                // To the very moment of the next timer.
                self.now = self.endpoint.poll_timeout().unwrap_or(self.now).max(self.now);
                self.endpoint.handle_timeout(self.now);
            }
            8 => {
                let flow = self.flow();
                self.endpoint.handle_flow_failed(self.now, flow);
            }
            _ => {
                let raw = self.input.raw();
                self.receive(raw);
            }
        }
    }

    fn flow(&mut self) -> Flow {
        let choice = self.input.small();
        let transport = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Wss][choice % 4];
        let port = 40_000 + (choice / 4 % 2) as u16;
        let id = if choice & 0x80 == 0 { FlowId::new(0, u32::from(port), 1) } else { FlowId::UNBOUND };
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        Flow { id, transport, local: address(5060), remote: address(port) }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let flow = self.flow();
        self.endpoint.handle_receive(self.now, Receive { flow, bytes });
    }

    /// A message that fits the machine, with some bytes changed.
    fn message(&mut self) -> Vec<u8> {
        let choice = self.input.small();
        let as_response = match self.kind {
            Kind::ClientInvite | Kind::ClientNonInvite => true,
            Kind::ServerInvite | Kind::ServerNonInvite => false,
            Kind::Endpoint => choice & 0x40 == 0,
        };
        let mut bytes = if as_response { self.response(choice) } else { self.incoming(choice) };
        if choice & 0x80 != 0 {
            let (at, byte, how) = (self.input.small() * 4, self.input.small() as u8, self.input.small());
            let at = at.min(bytes.len() - 1);
            match how % 3 {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    }

    fn incoming(&mut self, choice: usize) -> Vec<u8> {
        let methods: &[&str] = match self.kind {
            Kind::ServerInvite => &["INVITE", "ACK", "CANCEL"],
            Kind::ServerNonInvite => &["REGISTER", "BYE", "OPTIONS"],
            _ => &["INVITE", "ACK", "CANCEL", "REGISTER", "BYE"],
        };
        let method = methods[choice % methods.len()];
        let via = match choice / 8 % 4 {
            0 => "SIP/2.0/UDP 10.0.0.1:5062;rport;branch=z9hG4bKa",
            1 => "SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKb;maddr=192.0.2.7",
            2 => "SIP/2.0/UDP 10.0.0.1",
            _ => "SIP/2.0/TLS phone.invalid;branch=z9hG4bKc",
        };
        message(&format!("{method} sip:bob@example.org SIP/2.0"), via, method)
    }

    fn response(&mut self, choice: usize) -> Vec<u8> {
        let index = self.input.small();
        let Some((_, branch, method)) = pick(&self.clients, index) else { return b"SIP/2.0 200 OK\r\n\r\n".to_vec() };
        let code = [100, 180, 200, 302, 408, 486, 503, 699][choice % 8];
        let method = if (choice / 8).is_multiple_of(4) { "CANCEL" } else { method.as_str() };
        message(&format!("SIP/2.0 {code} X"), &format!("SIP/2.0/UDP 192.0.2.1;branch={branch}"), method)
    }

    fn request(&mut self) {
        let method = match self.kind {
            Kind::ClientInvite => Method::Invite,
            Kind::ClientNonInvite => Method::Options,
            Kind::ServerInvite | Kind::ServerNonInvite => return,
            Kind::Endpoint => [Method::Invite, Method::Options, Method::Ack][self.input.small() % 3].clone(),
        };
        let flow = self.flow();
        let branch = self.endpoint.new_branch(0).to_string();
        let via = format!("SIP/2.0/UDP 192.0.2.1;branch={branch}");
        let bytes = message(&format!("{method} sip:bob@example.org SIP/2.0"), &via, method.as_str());
        let tx = self.endpoint.request(self.now, flow, &method, &branch, bytes);
        self.clients.push((tx, branch, method));
    }

    fn respond(&mut self) {
        let (index, choice) = (self.input.small(), self.input.small());
        let Some(tx) = pick(&self.servers, index).copied() else { return };
        let code = [100, 180, 200, 302, 408, 486, 503][choice % 7];
        self.answer(tx, code);
    }

    fn answer(&mut self, tx: ServerTx, code: u16) {
        let status = StatusCode::new(code).expect("a code from the list");
        let bytes = match self.endpoint.server_request(tx) {
            Some(request) => ResponseBuilder::new(request, status).to_tag("t").to_vec(),
            None => b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        };
        self.endpoint.respond(self.now, tx, status, bytes);
    }

    fn drain(&mut self) {
        while self.endpoint.poll_transmit().is_some() {}
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { tx, .. } | Event::UnmatchedCancel { tx, .. } => self.servers.push(tx),
                Event::ServerTerminated { tx } => {
                    let before = self.servers.len();
                    self.servers.retain(|known| *known != tx);
                    assert_eq!(self.servers.len() + 1, before, "a transaction ends once");
                }
                Event::ClientTerminated { tx } => {
                    let before = self.clients.len();
                    self.clients.retain(|(known, ..)| *known != tx);
                    assert_eq!(self.clients.len() + 1, before, "a transaction ends once");
                }
                Event::Cancel { tx, .. } => assert!(self.servers.contains(&tx), "it names a live transaction"),
                _ => {}
            }
        }
        // An ACK opens none, so its transaction never ends.
        self.clients.retain(|(_, _, method)| *method != Method::Ack);
    }

    /// The user answers and cancels everything; then time passes.
    fn settle(&mut self) {
        self.drain();
        for tx in self.servers.clone() {
            self.answer(tx, 500);
        }
        for (tx, ..) in self.clients.clone() {
            self.endpoint.cancel(self.now, tx);
        }
        for _ in 0..4 {
            self.drain();
            self.now += Duration::from_secs(40);
            self.endpoint.handle_timeout(self.now);
        }
        self.drain();
        let counts = self.endpoint.counts();
        assert_eq!((counts.transactions(), counts.unanswered, counts.flows, counts.timers), (0, 0, 0, 0), "{counts:?}");
        assert!(self.servers.is_empty() && self.clients.is_empty(), "every transaction has ended");
    }
}

fn pick<T>(list: &[T], index: usize) -> Option<&T> {
    list.get(index.checked_rem(list.len())?)
}

fn message(first_line: &str, via: &str, method: &str) -> Vec<u8> {
    let text = format!(
        "{first_line}\r\nVia: {via}\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\n\
         Call-ID: c@example.org\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    text.into_bytes()
}
