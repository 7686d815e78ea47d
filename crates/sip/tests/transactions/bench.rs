//! One endpoint on a bench: put messages in, see what it sends and says, let time pass.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::endpoint::{ClientTx, Endpoint, EndpointConfig, Event, ServerTx};
use farspeak_sip::message::{Limits, Message, Method, ResponseBuilder, StatusCode};

pub struct Bench {
    pub endpoint: Endpoint,
    pub now: Instant,
}

pub fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub fn flow(transport: Transport) -> Flow {
    Flow {
        id: FlowId::new(0, 7, 1),
        transport,
        local: SocketAddr::from(([192, 0, 2, 1], 5060)),
        remote: SocketAddr::from(([192, 0, 2, 99], 40000)),
    }
}

pub fn udp() -> Flow {
    flow(Transport::Udp)
}

pub fn tcp() -> Flow {
    flow(Transport::Tcp)
}

/// What left, and when.
#[derive(Debug)]
pub struct Sent {
    pub at: Duration,
    pub flow: Flow,
    pub text: String,
}

impl Sent {
    pub fn first_line(&self) -> &str {
        self.text.split("\r\n").next().unwrap_or_default()
    }

    /// "0.5 INVITE", "32 100".
    pub fn brief(&self) -> String {
        let line = self.first_line();
        let word = line.strip_prefix("SIP/2.0 ").unwrap_or(line).split(' ').next().unwrap_or_default();
        format!("{} {word}", self.at.as_secs_f64())
    }

    pub fn message(&self) -> Message {
        Message::parse(self.text.as_bytes(), &Limits::default()).expect("what we send parses")
    }
}

impl Bench {
    pub fn new() -> Self {
        Self::with(EndpointConfig::default())
    }

    pub fn with(config: EndpointConfig) -> Self {
        Self { endpoint: Endpoint::new(config, Box::new(SplitMix64::new(1))), now: Instant::ZERO }
    }

    pub fn receive(&mut self, flow: Flow, text: &str) {
        self.endpoint.handle_receive(self.now, Receive { flow, bytes: text.as_bytes() });
    }

    /// What left since the last look.
    pub fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let text = String::from_utf8(transmit.bytes.to_vec()).unwrap();
            sent.push(Sent { at: self.now.since_origin(), flow: transmit.flow, text });
        }
        sent
    }

    pub fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }

    /// The names of the events since the last look.
    pub fn event_names(&mut self) -> Vec<String> {
        self.events().iter().map(name).collect()
    }

    /// Lets time pass, firing every timer at its own moment, and tells what left: "0.5 INVITE".
    pub fn pass(&mut self, duration: Duration) -> Vec<String> {
        let until = self.now + duration;
        let mut sent = self.sent();
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            sent.extend(self.sent());
        }
        self.now = until;
        self.endpoint.handle_timeout(until);
        sent.extend(self.sent());
        sent.iter().map(Sent::brief).collect()
    }

    /// Sends a request of ours over the flow; gives its transaction and branch.
    pub fn request(&mut self, flow: Flow, method: &Method) -> (ClientTx, String) {
        let branch = self.endpoint.new_branch(9).to_string();
        let bytes = outgoing(method, &branch);
        (self.endpoint.request(self.now, flow, method, &branch, bytes.as_bytes()), branch)
    }

    /// The server transaction of the request that just arrived.
    pub fn requested(&mut self) -> ServerTx {
        let events = self.events();
        match &events[..] {
            [Event::Request { tx, .. }] => *tx,
            other => panic!("{other:?}"),
        }
    }

    pub fn respond(&mut self, tx: ServerTx, code: u16) {
        let status = StatusCode::new(code).unwrap();
        let bytes = match self.endpoint.server_request(tx) {
            Some(request) => ResponseBuilder::new(request, status).to_tag("ours").to_vec(),
            None => format!("SIP/2.0 {code} Again\r\n\r\n").into_bytes(),
        };
        self.endpoint.respond(self.now, tx, status, bytes);
    }

    /// Lets every timer run out: nothing may remain.
    pub fn assert_settles(&mut self) {
        self.pass(Duration::from_secs(70));
        let counts = self.endpoint.counts();
        let left = (counts.transactions(), counts.unanswered, counts.flows, counts.timers);
        assert_eq!(left, (0, 0, 0, 0), "{counts:?}");
        assert_eq!(self.endpoint.poll_timeout(), None);
    }
}

pub fn name(event: &Event) -> String {
    match event {
        Event::Request { request, .. } => format!("Request {}", request.method().unwrap()),
        Event::Ack { .. } => "Ack".into(),
        Event::Cancel { .. } => "Cancel".into(),
        Event::UnmatchedCancel { .. } => "UnmatchedCancel".into(),
        Event::Response { response, .. } => format!("Response {}", response.status().unwrap().code()),
        Event::StrayResponse { .. } => "StrayResponse".into(),
        Event::Misrouted { shard, .. } => format!("Misrouted {shard}"),
        Event::TimedOut { .. } => "TimedOut".into(),
        Event::TransportFailed { .. } => "TransportFailed".into(),
        Event::ServerTransportFailed { .. } => "ServerTransportFailed".into(),
        Event::ServerTimedOut { .. } => "ServerTimedOut".into(),
        Event::ServerTerminated { .. } => "ServerTerminated".into(),
        Event::ClientTerminated { .. } => "ClientTerminated".into(),
    }
}

/// A request that we send, with two Vias and a Route.
pub fn outgoing(method: &Method, branch: &str) -> String {
    format!(
        "{method} sip:bob@biloxi.example SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\n\
         Via: SIP/2.0/UDP client.example:5060;branch=z9hG4bK74bf9\r\n\
         Max-Forwards: 69\r\n\
         Route: <sip:ss1.example;lr>, <sip:ss2.example;lr>\r\n\
         From: Alice <sip:alice@atlanta.example>;tag=9fxced76sl\r\n\
         To: Bob <sip:bob@biloxi.example>\r\n\
         Call-ID: 3848276298220188511@atlanta.example\r\n\
         CSeq: 7 {method}\r\n\
         Contact: <sip:alice@client.example>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A response to what [`outgoing`] wrote.
pub fn response(code: u16, method: &str, branch: &str, to_tag: &str) -> String {
    format!(
        "SIP/2.0 {code} Whatever\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\n\
         Via: SIP/2.0/UDP client.example:5060;branch=z9hG4bK74bf9\r\n\
         From: Alice <sip:alice@atlanta.example>;tag=9fxced76sl\r\n\
         To: Bob <sip:bob@biloxi.example>;tag={to_tag}\r\n\
         Call-ID: 3848276298220188511@atlanta.example\r\n\
         CSeq: 7 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A request that a peer sends. `via` is what follows "SIP/2.0/".
pub fn incoming(method: &str, via: &str) -> String {
    let cseq = if method == "ACK" || method == "CANCEL" { 1 } else { 2 };
    incoming_with(method, via, "", if method == "INVITE" { 1 } else { cseq })
}

pub fn incoming_with(method: &str, via: &str, to_params: &str, cseq: u32) -> String {
    format!(
        "{method} sip:bob@biloxi.example SIP/2.0\r\n\
         Via: SIP/2.0/{via}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@atlanta.example>;tag=1\r\n\
         To: <sip:bob@biloxi.example>{to_params}\r\n\
         Call-ID: 2xTb9vxSit55XU7p8@atlanta.example\r\n\
         CSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A Via as phones write it today.
pub const VIA: &str = "UDP 10.0.0.1:5062;branch=z9hG4bKabc;rport";
