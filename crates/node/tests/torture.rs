//! RFC 4475 and RFC 5118 through the whole node: no valid message is refused for its form, no invalid one gets through.
//!
//! Each message meets a node that serves the domain it is for, with a user of its name who is open to strangers and has
//! a phone. What passes, then, reaches the phone.

mod common;
#[path = "../../sip/tests/data/torture.rs"]
mod torture;

use std::sync::Arc;

use common::world::{secret_of, shard, shared_for};
use farspeak_node::binding::BindingRow;
use farspeak_node::domain::Domain;
use farspeak_node::event::Event;
use farspeak_node::shard::Shard;
use farspeak_node::shared::Clock;
use farspeak_node::users::User;
use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Transport};
use farspeak_sip::framer::{self, Frame};
use farspeak_sip::message::{Host, Limits, Message, Method, Uri};
use torture::{Case, RFC4475, RFC4475_UNUSED, RFC5118, Verdict};

const PHONE: &str = "192.0.2.77:5060";

#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Answered(u16),
    Forwarded,
    Dropped,
}

/// A node that serves the host of that Request-URI, and has its user with a phone.
fn node_for(bytes: &[u8]) -> Shard {
    let head = String::from_utf8_lossy(bytes);
    let target = head.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned();
    let uri = Uri::parse(&target).ok();
    let host = match uri.as_ref().map(|uri| &uri.host) {
        Some(Host::Name(name)) => (*name).to_owned(),
        Some(Host::V4(ip)) => ip.to_string(),
        Some(Host::V6(ip)) => ip.to_string(),
        _ => "example.com".to_owned(),
    };
    let shared = shared_for(1, Domain::new(&host), Clock { unix_at_origin_ms: 1_800_000_000_000 });
    if let Some(uri) = uri.as_ref().filter(|uri| uri.user.is_some()) {
        let name = uri.user_unescaped();
        let mut user = User::new(&name, &host, &secret_of(&name));
        user.open_to_strangers = true;
        shared.users.insert(user);
        let row = BindingRow {
            aor: format!("{name}@{host}"),
            contact: format!("sip:phone@{PHONE}"),
            instance: None,
            reg_id: None,
            q: 1000,
            expires_at_unix_ms: shared.clock.unix_ms(Instant::ZERO) + 3_600_000,
            call_id: "c".to_owned(),
            cseq: 1,
            path: String::new(),
            params: String::new(),
            user_agent: String::new(),
            transport: Transport::Udp,
            local: "192.0.2.10:5060".parse().unwrap(),
            remote: PHONE.parse().unwrap(),
            flow_bits: 0,
            since: 1,
            version: 1,
        };
        shared.location.restore(Instant::ZERO, shared.clock, 1, [row]);
    }
    shard(&shared, 1, 0)
}

/// What becomes of a message that comes in a datagram from a stranger.
fn outcome(bytes: &[u8]) -> Outcome {
    let limits = Limits::default();
    let whole = match framer::datagram(bytes, &limits) {
        Frame::Message(whole) => whole,
        Frame::Broken { reply, .. } => {
            return reply.map_or(Outcome::Dropped, |reply| Outcome::Answered(status(&reply)));
        }
        Frame::Ping | Frame::Pong => return Outcome::Dropped,
    };
    let mut node = node_for(bytes);
    let flow = Flow {
        id: FlowId::new(0, 1, 1),
        transport: Transport::Udp,
        local: "192.0.2.10:5060".parse().unwrap(),
        remote: "203.0.113.4:5060".parse().unwrap(),
    };
    node.handle_receive(Instant::ZERO, Receive { flow, bytes: whole });
    let mut sent: Vec<(Flow, Arc<[u8]>)> = Vec::new();
    while let Some(transmit) = node.poll_transmit() {
        sent.push((transmit.flow, transmit.bytes));
    }
    while let Some(event) = node.poll_event() {
        assert!(!matches!(event, Event::Commit { .. }), "a stranger was registered");
    }
    if sent.iter().any(|(flow, _)| flow.remote == PHONE.parse().unwrap()) {
        return Outcome::Forwarded;
    }
    sent.iter()
        .map(|(_, bytes)| status(bytes))
        .find(|status| *status >= 200)
        .map_or(Outcome::Dropped, Outcome::Answered)
}

fn status(bytes: &[u8]) -> u16 {
    Message::parse(bytes, &Limits::default()).expect("we write what we can read").status().expect("a response").code()
}

fn check(case: &Case) {
    use Outcome::{Answered, Dropped, Forwarded};
    let outcome = outcome(case.bytes);
    let is_response = case.bytes.starts_with(b"SIP/");
    let is_ack = case.bytes.starts_with(b"ACK ");
    let text = String::from_utf8_lossy(case.bytes);
    // A stranger who says to be one of our users, or wants to register, is asked for credentials.
    let asked = matches!(outcome, Answered(401 | 407));
    // Two kinds of messages are refused for what they want: a Route that is not ours, and anything but an OPTIONS or a
    // REGISTER for the node itself.
    let routed = outcome == Answered(403) && text.contains("\nRoute:");
    let is_for_node = !text.split(' ').nth(1).is_some_and(|uri| uri.contains('@'));
    let method = text.split(' ').next().unwrap_or_default();
    // RFC 3261 §8.2.1, §21.5.2: 405 is for a method that is known and not allowed here, 501 for one that is unknown.
    let turned_away = match Method::parse(method) {
        Some(Method::Other(_)) => matches!(outcome, Answered(501)),
        _ => matches!(outcome, Answered(405 | 481)),
    };
    let for_node = is_for_node && turned_away;
    let passes = matches!(outcome, Forwarded | Answered(200)) || asked || routed || for_node;
    let passes = passes || (is_response || is_ack) && outcome == Dropped;
    let refused = |codes: &[u16]| match outcome {
        Answered(401) => text.starts_with("REGISTER "),
        Answered(code) => codes.contains(&code),
        // Nothing can be answered if nobody can tell to whom (RFC 3261 §18.2.2), to what (RFC 4475 §3.3.1), or where the
        // header ends: the archive's baddn.dat has no empty line.
        Dropped => {
            let unanswerable = ["insuf.dat", "badinv01.dat", "test.dat", "baddn.dat"];
            is_response || codes.is_empty() || unanswerable.contains(&case.file)
        }
        Forwarded => false,
    };
    let right = match case.node {
        Verdict::Accept => passes,
        Verdict::Reject(codes) => refused(codes),
        Verdict::Either(codes) => passes || refused(codes),
    };
    assert!(right, "{} ({}): {outcome:?} instead of {:?}; {}", case.file, case.section, case.node, case.why);
}

#[test]
fn every_message_of_rfc4475_gets_the_treatment_of_the_rfc() {
    let failures: Vec<String> = RFC4475.iter().chain(RFC4475_UNUSED).filter_map(complaint).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_message_of_rfc5118_gets_the_treatment_of_the_rfc() {
    let failures: Vec<String> = RFC5118.iter().filter_map(complaint).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn complaint(case: &Case) -> Option<String> {
    let panic = std::panic::catch_unwind(|| check(case)).err()?;
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| format!("{}: panic", case.file)))
}
