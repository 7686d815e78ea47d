//! The proxy through the shard, one request at a time: what goes in, what comes out, to whom.

mod dialog;
mod fork;
mod forward;
mod refuse;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::digest::{NonceConfig, Nonces};
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::message::Limits;

use crate::authentication::AuthenticationConfig;
use crate::binding::{Binding, BindingParts, Reach};
use crate::domain::{Aor, Domain};
use crate::event::Event;
use crate::events::EventsConfig;
use crate::location::{Change, Location, LocationConfig, LocationError};
use crate::registrar::RegistrarConfig;
use crate::shard::{Shard, ShardConfig};
use crate::shared::{Clock, Keys, ProxyConfig, Settings, Shared, SharedParts};
use crate::throttle::{Throttle, ThrottleConfig};
use crate::users::{Secret, User, Users};

/// A node with the users alice and bob; bob is open to strangers, so that calls to him need no digest.
struct Node {
    shard: Shard,
    now: Instant,
    /// Everybody's.
    secret: Secret,
}

fn settings(proxy: ProxyConfig) -> Settings {
    Settings {
        domain: Domain::new("biloxi.example")
            .with_listener(Transport::Udp, "192.0.2.1:5060".parse().unwrap())
            .with_listener(Transport::Tls, "192.0.2.1:5061".parse().unwrap()),
        public_name: None,
        proxy,
        registrar: RegistrarConfig::default(),
        authentication: AuthenticationConfig::default(),
        events: EventsConfig::default(),
        limits: Limits::default(),
    }
}

impl Node {
    fn new() -> Self {
        Self::with(ProxyConfig::default())
    }

    fn with(proxy: ProxyConfig) -> Self {
        Self::started_at(1_800_000_000_000, proxy)
    }

    fn started_at(unix_at_origin_ms: i64, proxy: ProxyConfig) -> Self {
        let mut rng = SplitMix64::new(7);
        let users = Users::new("biloxi.example", &mut rng);
        let secret = Secret::generate(&mut rng);
        for name in ["alice", "bob"] {
            let mut user = User::new(name, "biloxi.example", &secret);
            user.open_to_strangers = name == "bob";
            users.insert(user);
        }
        let shared = Shared::new(SharedParts {
            location: Location::new(LocationConfig::default()),
            users,
            throttle: Throttle::new(ThrottleConfig::default()),
            nonces: Nonces::new([1; 32], NonceConfig::default()),
            keys: Keys { flow_token: [2; 16], branch: [3; 16] },
            clock: Clock { unix_at_origin_ms },
            settings: settings(proxy),
        });
        let config = ShardConfig { id: 0, shared, rng: Box::new(rng), endpoint: EndpointConfig::default() };
        Self { shard: Shard::new(config), now: Instant::ZERO, secret }
    }

    /// Registers bob at `contact`, reachable over `flow`.
    fn bind(&self, contact: &str, flow: Flow, q: u16) {
        self.bind_behind(contact, flow, q, "");
    }

    fn bind_behind(&self, contact: &str, flow: Flow, q: u16, path: &str) {
        let aor = Aor::new("bob", "biloxi.example");
        let shared = self.shard.shared();
        let done = shared.location.update::<(), LocationError>(self.now, shared.clock, &aor, |_, version| {
            let binding = Binding::new(&BindingParts {
                aor: aor.clone(),
                contact,
                params: "",
                instance: "",
                reg_id: None,
                q,
                call_id: contact,
                cseq: 1,
                path,
                user_agent: Arc::from(""),
                reach: Reach::Flow(flow),
                since: version,
                updated_at: self.now,
                expires_at: self.now + Duration::from_secs(3600),
                version,
            });
            Ok((vec![Change::Put(Arc::new(binding.unwrap()))], ()))
        });
        shared.location.confirm(&aor, done.unwrap().version);
    }

    /// Receives, and gives what is sent because of it.
    fn receive(&mut self, flow: Flow, text: &str) -> Vec<(Flow, String)> {
        self.shard.handle_receive(self.now, Receive { flow, bytes: text.as_bytes() });
        self.sent()
    }

    fn sent(&mut self) -> Vec<(Flow, String)> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.shard.poll_transmit() {
            sent.push((transmit.flow, String::from_utf8(transmit.bytes.to_vec()).unwrap()));
        }
        sent
    }

    /// Lets time pass; gives what was sent meanwhile.
    fn pass(&mut self, time: Duration) -> Vec<(Flow, String)> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(due) = self.shard.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.shard.handle_timeout(due);
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }
}

fn flow(transport: Transport, slot: u32, remote: &str) -> Flow {
    let port = if transport == Transport::Tls { 5061 } else { 5060 };
    let local = SocketAddr::from(([192, 0, 2, 1], port));
    Flow { id: FlowId::new(0, slot, 1), transport, local, remote: remote.parse().unwrap() }
}

/// A stranger's flow.
fn carol() -> Flow {
    flow(Transport::Udp, 1, "203.0.113.3:5060")
}

/// One of bob's phones, on TLS.
fn desk() -> Flow {
    flow(Transport::Tls, 2, "198.51.100.2:40002")
}

/// Another.
fn cell() -> Flow {
    flow(Transport::Tls, 3, "198.51.100.3:40003")
}

const DESK: &str = "sip:bob@10.0.0.2:5061;transport=tls";
const CELL: &str = "sip:bob@10.0.0.3:5061;transport=tls";

fn request(method: &str, uri: &str, branch: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 203.0.113.3:5060;branch=z9hG4bK{branch};rport\r\n\
         X-Odd:   kept  as it is\r\n\
         From: \"Carol\" <sip:carol@chicago.example>;tag=c1\r\n\
         To: <sip:bob@biloxi.example>{}\r\n\
         Call-ID: call-1@chicago.example\r\n\
         CSeq: 1 {method}\r\n\
         {more}Contact: <sip:carol@203.0.113.3>\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: 4\r\n\r\n\
         body",
        if more.contains("Route:") { ";tag=b1" } else { "" },
    )
}

fn invite(more: &str) -> String {
    request("INVITE", "sip:bob@biloxi.example", "1", more)
}

/// What a phone answers to what it received.
fn respond(request: &str, status: &str) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for line in request.split("\r\n").take_while(|line| !line.is_empty()) {
        let copied = ["Via:", "From:", "Call-ID:", "CSeq:", "Record-Route:"];
        if copied.iter().any(|name| line.starts_with(name)) {
            out.push_str(line);
            out.push_str("\r\n");
        }
        if line.starts_with("To:") {
            out.push_str(line);
            out.push_str(if line.contains("tag=") { "\r\n" } else { ";tag=b1\r\n" });
        }
    }
    out.push_str("Contact: <sip:bob@10.0.0.2:5061;transport=tls>\r\nContent-Length: 0\r\n\r\n");
    out
}

fn first_line(message: &str) -> &str {
    message.split("\r\n").next().unwrap_or("")
}

fn lines(sent: &[(Flow, String)]) -> Vec<String> {
    let line = |(flow, message): &(Flow, String)| format!("{} {}", flow.remote.port(), first_line(message));
    sent.iter().map(line).collect()
}

fn header<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    let value =
        |line: &'m str| line.split_once(':').filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, it)| it.trim());
    message.split("\r\n").take_while(|line| !line.is_empty()).filter_map(value).collect()
}

/// Sends and expects one answer of this status.
fn refused(node: &mut Node, text: &str) -> String {
    let sent = node.receive(carol(), text);
    let answers: Vec<_> = sent.iter().filter(|(_, text)| !first_line(text).contains(" 100 ")).collect();
    assert_eq!(answers.len(), 1, "{:?}", lines(&sent));
    answers[0].1.clone()
}

/// Calls bob at one phone; gives the INVITE as the phone sees it.
fn call(node: &mut Node) -> String {
    node.bind(DESK, desk(), 1000);
    let sent = node.receive(carol(), &invite("Max-Forwards: 70\r\n"));
    assert_eq!(lines(&sent), ["5060 SIP/2.0 100 Trying", &format!("40002 INVITE {DESK} SIP/2.0")]);
    sent[1].1.clone()
}

/// The Route that the caller would use after [`call`].
fn caller_route(forwarded: &str) -> String {
    let routes = header(forwarded, "Record-Route").join(", ");
    let reversed: Vec<&str> = routes.split(", ").collect::<Vec<_>>().into_iter().rev().collect();
    reversed.join(", ")
}
