//! The proxy through the shard, one request at a time: what goes in, what comes out, to whom.

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
        for name in ["alice", "bob"] {
            let mut user = User::new(name, "biloxi.example", &Secret::generate(&mut rng));
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
        Self { shard: Shard::new(config), now: Instant::ZERO }
    }

    /// Registers bob at `contact`, reachable over `flow`.
    fn bind(&self, contact: &str, flow: Flow, q: u16) {
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
                path: "",
                user_agent: Arc::from(""),
                reach: Reach::Flow(flow),
                since: self.now,
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
    let value = |line: &'m str| line.split_once(':').filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, it)| it.trim());
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

#[test]
fn changes_only_what_a_proxy_must() {
    let forwarded = call(&mut Node::new());
    let vias = header(&forwarded, "Via");
    assert!(vias[0].starts_with("SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bK"), "{vias:?}");
    assert!(vias[1].contains("received=203.0.113.3;rport=5060") || vias[1].contains("rport=5060"), "{vias:?}");
    assert_eq!(header(&forwarded, "Max-Forwards"), ["69"]);
    assert_eq!(header(&forwarded, "Max-Breadth"), ["60"]);
    let routes = header(&forwarded, "Record-Route").join(", ");
    let routes: Vec<_> = routes.split(", ").collect();
    assert!(routes[0].ends_with("@192.0.2.1:5061;transport=tls;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@192.0.2.1:5060;transport=udp;lr>"), "{routes:?}");
    assert!(forwarded.contains("\r\nX-Odd:   kept  as it is\r\n"));
    assert!(forwarded.ends_with("\r\n\r\nbody"));
}

#[test]
fn ack_and_bye_find_phones_behind_nats_by_token() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let sent = node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    assert_eq!(lines(&sent), ["5060 SIP/2.0 180 Ringing"]);
    let sent = node.receive(desk(), &respond(&forwarded, "200 OK"));
    assert_eq!(lines(&sent), ["5060 SIP/2.0 200 OK"]);
    assert_eq!(header(&sent[0].1, "Via").len(), 1);

    // The caller's route set is the Record-Route in reverse.
    let routes = header(&sent[0].1, "Record-Route").join(", ");
    let reversed: Vec<&str> = routes.split(", ").collect::<Vec<_>>().into_iter().rev().collect();
    let route = format!("Route: {}\r\n", reversed.join(", "));
    let sent = node.receive(carol(), &request("ACK", "sip:bob@10.0.0.2:5061;transport=tls", "2", &route));
    assert_eq!(lines(&sent), [format!("40002 ACK {DESK} SIP/2.0")]);
    assert!(header(&sent[0].1, "Route").is_empty());

    // And the callee hangs up.
    let route = format!("Route: {routes}\r\n");
    let sent = node.receive(desk(), &request("BYE", "sip:carol@203.0.113.3", "3", &route));
    assert_eq!(lines(&sent), ["5060 BYE sip:carol@203.0.113.3 SIP/2.0"]);
    let sent = node.receive(carol(), &respond(&sent[0].1, "200 OK"));
    assert_eq!(lines(&sent), ["40002 SIP/2.0 200 OK"]);
    node.pass(Duration::from_secs(64));
    assert_eq!(node.shard.counts().contexts, 0, "no state is left");
    assert_eq!(node.shard.counts().transactions, 0);
}

/// The Route that the caller would use after [`call`].
fn caller_route(forwarded: &str) -> String {
    let routes = header(forwarded, "Record-Route").join(", ");
    let reversed: Vec<&str> = routes.split(", ").collect::<Vec<_>>().into_iter().rev().collect();
    reversed.join(", ")
}

#[test]
fn a_forged_token_leads_nowhere() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node)).replacen("<sip:", "<sip:AAAA", 1).replace(", <sip:", ", <sip:BBBB");
    let bye = request("BYE", "sip:someone@10.9.9.9", "9", &format!("Route: {route}\r\n"));
    assert!(first_line(&refused(&mut node, &bye)).contains(" 407 "), "it is treated as if it had no Route");
}

#[test]
fn a_token_of_another_call_leads_nowhere() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node));
    let bye = request("BYE", "sip:someone@10.9.9.9", "9", &format!("Route: {route}\r\n")).replace("call-1@", "call-2@");
    assert!(first_line(&refused(&mut node, &bye)).contains(" 407 "));
}

#[test]
fn a_token_outside_a_dialog_is_no_way_past_authentication() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node));
    let text = request("MESSAGE", "sip:alice@biloxi.example", "9", &format!("Route: {route}\r\n"));
    let outside = text.replace("example>;tag=b1", "example>");
    assert!(first_line(&refused(&mut node, &outside)).contains(" 407 "));
}

#[test]
fn a_route_that_we_did_not_issue_is_not_followed() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let text = invite("").replace("X-Odd:", "Route: <sip:evil.example;lr>\r\nX-Odd:");
    assert!(first_line(&refused(&mut node, &text)).contains(" 403 "));
}

#[test]
fn an_outbound_proxy_setting_that_names_us_is_taken_off() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let text = invite("").replace("X-Odd:", "Route: <sip:biloxi.example;lr>\r\nX-Odd:");
    let sent = node.receive(carol(), &text);
    assert_eq!(lines(&sent)[1], format!("40002 INVITE {DESK} SIP/2.0"));
    assert!(header(&sent[1].1, "Route").is_empty());
}

#[test]
fn a_strict_router_before_us_is_put_right() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let route = caller_route(&forwarded);
    let mut routes = route.split(", ");
    let first = routes.next().unwrap().trim_matches(['<', '>']);
    let rest = routes.next().unwrap();
    let bye = request("BYE", first, "9", &format!("Route: {rest}, <{DESK}>\r\n"));
    let sent = node.receive(carol(), &bye);
    assert_eq!(lines(&sent), [format!("40002 BYE {DESK} SIP/2.0")]);
    assert!(header(&sent[0].1, "Route").is_empty());
}

#[test]
fn forks_in_parallel_and_cancels_the_losers() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    node.bind(CELL, cell(), 1000);
    let sent = node.receive(carol(), &invite(""));
    assert_eq!(sent.len(), 3);
    for (_, copy) in &sent[1..] {
        assert_eq!(header(copy, "Max-Breadth"), ["30"]);
        assert_eq!(header(copy, "Max-Forwards"), ["70"], "added where there was none");
    }
    let (to_desk, to_cell) = if sent[1].0 == desk() { (1, 2) } else { (2, 1) };
    node.receive(desk(), &respond(&sent[to_desk].1, "180 Ringing"));
    node.receive(cell(), &respond(&sent[to_cell].1, "180 Ringing"));
    let after = node.receive(desk(), &respond(&sent[to_desk].1, "200 OK"));
    assert_eq!(lines(&after), ["5060 SIP/2.0 200 OK", &format!("40003 CANCEL {CELL} SIP/2.0")]);
    // A second 2xx is forwarded too (RFC 3261 §16.7 step 5).
    let after = node.receive(cell(), &respond(&sent[to_cell].1, "200 OK"));
    assert_eq!(lines(&after), ["5060 SIP/2.0 200 OK"]);
}

#[test]
fn forks_serially_by_q() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 900);
    node.bind(CELL, cell(), 100);
    let sent = node.receive(carol(), &invite(""));
    assert_eq!(lines(&sent)[1..], [format!("40002 INVITE {DESK} SIP/2.0")]);
    let after = node.receive(desk(), &respond(&sent[1].1, "486 Busy Here"));
    assert_eq!(lines(&after), [format!("40002 ACK {DESK} SIP/2.0"), format!("40003 INVITE {CELL} SIP/2.0")]);
    assert_eq!(header(&after[1].1, "Max-Breadth"), ["60"], "used again (RFC 5393 §5.3.3.1)");
    let after = node.receive(cell(), &respond(&after[1].1, "480 Temporarily Unavailable"));
    assert_eq!(lines(&after)[1], "5060 SIP/2.0 486 Busy Here");
}

#[test]
fn a_phone_of_lower_q_gets_its_turn_when_nobody_answers() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 900);
    node.bind(CELL, cell(), 100);
    let sent = node.receive(carol(), &invite(""));
    node.receive(desk(), &respond(&sent[1].1, "180 Ringing"));
    let after = node.pass(Duration::from_secs(31));
    assert_eq!(lines(&after), [format!("40002 CANCEL {DESK} SIP/2.0")]);
    node.receive(desk(), &respond(&after[0].1, "200 OK"));
    let after = node.receive(desk(), &respond(&sent[1].1, "487 Request Terminated"));
    assert_eq!(lines(&after), [format!("40002 ACK {DESK} SIP/2.0"), format!("40003 INVITE {CELL} SIP/2.0")]);
}

#[test]
fn a_decline_everywhere_stops_all() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    node.bind(CELL, cell(), 1000);
    let sent = node.receive(carol(), &invite(""));
    for (at, copy) in &sent[1..] {
        node.receive(*at, &respond(copy, "180 Ringing"));
    }
    let declined = node.receive(sent[1].0, &respond(&sent[1].1, "603 Decline"));
    assert_eq!(lines(&declined).len(), 2, "ACK and CANCEL; the caller waits: {:?}", lines(&declined));
    let after = node.receive(sent[2].0, &respond(&sent[2].1, "487 Request Terminated"));
    assert_eq!(lines(&after)[1], "5060 SIP/2.0 603 Decline");
}

#[test]
fn too_little_max_breadth_for_the_fork_is_440() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    node.bind(CELL, cell(), 1000);
    assert!(first_line(&refused(&mut node, &invite("Max-Breadth: 1\r\n"))).contains(" 440 "));
    assert!(first_line(&refused(&mut node, &invite("Max-Breadth: x\r\n").replace("bK1", "bK2"))).contains(" 400 Malformed Max-Breadth"));
}

#[test]
fn cancel_rings_off() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    let cancel = invite("").replace("INVITE", "CANCEL").replace("Content-Length: 4", "Content-Length: 0").replace("body", "");
    let sent = node.receive(carol(), &cancel);
    assert_eq!(lines(&sent), ["5060 SIP/2.0 200 OK", &format!("40002 CANCEL {DESK} SIP/2.0")]);
    let sent = node.receive(desk(), &respond(&forwarded, "487 Request Terminated"));
    assert_eq!(lines(&sent), [format!("40002 ACK {DESK} SIP/2.0"), "5060 SIP/2.0 487 Request Terminated".to_owned()]);
}

#[test]
fn a_cancel_for_nothing_is_481() {
    let mut node = Node::new();
    assert!(first_line(&refused(&mut node, &request("CANCEL", "sip:bob@biloxi.example", "77", ""))).contains(" 481 "));
}

#[test]
fn timer_c_ends_a_call_that_rings_for_ever() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    assert!(node.pass(Duration::from_secs(100)).is_empty());
    node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    assert!(node.pass(Duration::from_secs(180)).is_empty(), "each provisional response begins it anew");
    let sent = node.pass(Duration::from_secs(10));
    assert_eq!(lines(&sent), [format!("40002 CANCEL {DESK} SIP/2.0")]);
    let sent = node.receive(desk(), &respond(&forwarded, "487 Request Terminated"));
    assert_eq!(lines(&sent)[1], "5060 SIP/2.0 408 Request Timeout");
}

#[test]
fn a_phone_that_cannot_be_reached_is_offline() {
    let mut node = Node::new();
    call(&mut node);
    node.shard.handle_flow_failed(node.now, desk());
    let sent = node.sent();
    assert_eq!(lines(&sent), ["5060 SIP/2.0 480 Temporarily Unavailable"]);
    assert!(first_line(&refused(&mut node, &invite("").replace("bK1", "bK2"))).contains(" 480 "));
}

#[test]
fn a_dialog_survives_that_the_phone_reconnects() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "200 OK"));
    node.shard.handle_flow_failed(node.now, desk());
    let again = flow(Transport::Tls, 9, "198.51.100.2:40009");
    node.bind(DESK, again, 1000);
    let route = caller_route(&forwarded);
    let sent = node.receive(carol(), &request("BYE", DESK, "4", &format!("Route: {route}\r\n")));
    assert_eq!(lines(&sent), [format!("40009 BYE {DESK} SIP/2.0")]);
    // And what it sends over its new connection finds the other side.
    let routes = header(&forwarded, "Record-Route").join(", ");
    let sent = node.receive(again, &request("INFO", "sip:carol@203.0.113.3", "5", &format!("Route: {routes}\r\n")));
    assert_eq!(lines(&sent), ["5060 INFO sip:carol@203.0.113.3 SIP/2.0"]);
}

#[test]
fn a_token_older_than_the_process_names_no_connection() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let bye = request("BYE", DESK, "4", &format!("Route: {}\r\n", caller_route(&forwarded)));
    // The node is started again, a day later; another phone's connection has got the same handle.
    let mut node = Node::started_at(1_800_086_400_000, ProxyConfig::default());
    assert!(first_line(&refused(&mut node, &bye)).contains(" 480 "));
    // Once the phone has registered again, the dialog goes on.
    node.bind(DESK, flow(Transport::Tls, 70, "198.51.100.77:40070"), 1000);
    let sent = node.receive(carol(), &bye.replace("bK4", "bK5"));
    assert_eq!(lines(&sent), [format!("40070 BYE {DESK} SIP/2.0")]);
}

#[test]
fn nobody_takes_a_dialog_over_by_registering_its_contact() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "200 OK"));
    // Somebody registers the stranger's Contact, newer than the dialog.
    node.pass(Duration::from_secs(5));
    node.bind("sip:carol@203.0.113.3", cell(), 1000);
    let routes = header(&forwarded, "Record-Route").join(", ");
    let sent = node.receive(desk(), &request("INFO", "sip:carol@203.0.113.3", "5", &format!("Route: {routes}\r\n")));
    assert_eq!(lines(&sent), ["5060 INFO sip:carol@203.0.113.3 SIP/2.0"]);
}

#[test]
fn a_looped_request_is_482_and_a_spiral_is_not() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    // The phone sends back what it got, unchanged but for its own Via: the Request-URI is another now, a spiral.
    let own = "Via: SIP/2.0/UDP 203.0.113.3:5060;branch=z9hG4bKloop\r\nVia: ";
    let looped = forwarded.replacen("Via: ", own, 1).replacen(DESK, "sip:bob@biloxi.example", 1);
    assert!(first_line(&refused(&mut node, &looped)).contains(" 482 "));
    let spiral = forwarded.replacen("Via: ", &own.replace("loop", "spiral"), 1);
    let sent = node.receive(carol(), &spiral);
    assert!(!lines(&sent).iter().any(|line| line.contains(" 482 ")), "{:?}", lines(&sent));
}

#[test]
fn max_forwards_runs_out() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    assert!(first_line(&refused(&mut node, &invite("Max-Forwards: 0\r\n"))).contains(" 483 "));
    let options = request("OPTIONS", "sip:bob@biloxi.example", "5", "Max-Forwards: 0\r\n");
    let answer = refused(&mut node, &options);
    assert!(first_line(&answer).contains(" 200 "));
    assert_eq!(header(&answer, "Allow"), ["OPTIONS, REGISTER"]);
}

#[test]
fn requests_for_the_node_itself_are_answered() {
    let mut node = Node::new();
    assert!(first_line(&refused(&mut node, &request("OPTIONS", "sip:biloxi.example", "1", ""))).contains(" 200 "));
    let answer = refused(&mut node, &request("MESSAGE", "sip:biloxi.example", "2", ""));
    assert!(first_line(&answer).contains(" 405 "));
    assert!(!answer.contains("Server:"));
}

#[test]
fn refuses_what_it_cannot_do() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let answer = refused(&mut node, &invite("Proxy-Require: teleport, gin\r\n"));
    assert!(first_line(&answer).contains(" 420 "));
    assert_eq!(header(&answer, "Unsupported"), ["teleport, gin"]);
    assert!(first_line(&refused(&mut node, &request("INVITE", "tel:+15551212", "2", ""))).contains(" 416 "));
    let missing = invite("").replace("bK1", "bK3").replace("Call-ID: call-1@chicago.example\r\n", "");
    assert!(first_line(&refused(&mut node, &missing)).contains("400 Missing Call-ID"));
    let mismatch = invite("").replace("bK1", "bK4").replace("1 INVITE", "1 BYE");
    assert!(first_line(&refused(&mut node, &mismatch)).contains(" 400 "));
}

#[test]
fn sips_reaches_only_sips() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let text = invite("").replace("INVITE sip:bob", "INVITE sips:bob");
    assert!(first_line(&refused(&mut node, &text)).contains(" 480 "));
}

#[test]
fn a_live_contact_is_reached_over_its_flow_but_not_by_strangers() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    assert!(first_line(&refused(&mut node, &request("INVITE", DESK, "1", ""))).contains(" 407 "));
}

#[test]
fn never_an_open_relay() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    for (at, uri) in ["sip:x@evil.example", "sip:x@203.0.113.99", "sip:alice@biloxi.example", "sip:nobody@biloxi.example"]
        .iter()
        .enumerate()
    {
        let answer = refused(&mut node, &request("INVITE", uri, &format!("r{at}"), ""));
        assert!(first_line(&answer).contains(" 407 "), "{uri}: {answer}");
    }
}

#[test]
fn nobody_hears_a_late_408_to_a_non_invite() {
    let mut node = Node::new();
    let udp = flow(Transport::Udp, 4, "198.51.100.4:5060");
    node.bind("sip:bob@10.0.0.4", udp, 1000);
    let sent = node.receive(carol(), &request("MESSAGE", "sip:bob@biloxi.example", "1", ""));
    assert_eq!(sent.len(), 1);
    let sent = node.pass(Duration::from_secs(70));
    // A late 100 stops the caller's retransmissions (RFC 4320 §4.1); nothing more.
    let heard: Vec<_> = sent.into_iter().filter(|(to, _)| *to != udp).collect();
    assert_eq!(lines(&heard), ["5060 SIP/2.0 100 Trying"]);
    assert_eq!(node.shard.counts().contexts, 0);
}

#[test]
fn asks_for_credentials_identically_whether_a_user_exists() {
    let mut node = Node::new();
    let answer = |node: &mut Node, user: &str, branch: &str| {
        let text = refused(node, &request("INVITE", &format!("sip:{user}@biloxi.example"), branch, ""));
        let plain = |line: &&str| !["Via", "Proxy-Authenticate", "To"].iter().any(|name| line.starts_with(name));
        text.split("\r\n").filter(plain).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(answer(&mut node, "alice", "1"), answer(&mut node, "nobody", "2"));
}
