//! What the peers of sessions must not be able to do, and what an application that forgets something must not cost.

use std::time::Duration;

use farspeak_sip::header::ReferTo;
use farspeak_sip::message::{HeaderName, Method, StatusCode};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, header, sdp};

#[test]
fn an_offer_in_a_prack_that_the_refusal_of_its_invite_has_crossed_leaves_nothing() {
    for conditions in [Conditions::udp(), Conditions::tcp()] {
        let mut world = World::new(conditions);
        world.configure("alice", |config| config.offers_in_prack = true);
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        world.at("bob", |agent| agent.reject(called, StatusCode::BUSY_HERE, Extra::new())).unwrap();
        world.at("alice", |agent| agent.prack(caller, sdp(OFFER))).unwrap();
        world.net.expect("bob -> alice  200 PRACK");
        world.hears("bob", "Gone");
        assert!(!world.heard("bob").contains(&"Offer".to_owned()));
        world.settles();
    }
}

#[test]
fn a_peer_cannot_use_up_all_subscriptions_with_the_refers_of_one_session() {
    let mut world = World::new(Conditions::udp());
    let (caller, _) = world.connect("alice", "bob");
    let carol = ReferTo::parse("<sip:carol@192.0.2.3>").unwrap();
    for _ in 0..40 {
        world.at("alice", |agent| agent.refer(caller, &carol, true, Extra::new())).unwrap();
    }
    world.net.run_for(Duration::from_secs(1));
    assert!(world.counts("bob").subscriptions < 16, "{:?}", world.counts("bob"));
    world.net.expect("bob -> alice  503 REFER");
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn a_request_that_the_application_never_answers_is_forgotten() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.send_within(caller, Method::Info, Extra::new())).unwrap();
        let opening = world.opening("alice", "bob");
        world.at("alice", |agent| agent.send(Method::Message, opening, Extra::new())).unwrap();
        world.hears("alice", "Unanswered");
        world.hears("alice", "Unanswered");
        assert_eq!(world.net.count("bob -> alice  408 INFO"), 0); // RFC 4320 §4.2
        world.hang_up("alice", caller);
        world.hears("alice", "Gone");
        world.hang_up("bob", called);
    });
}

#[test]
fn a_request_in_a_session_that_demands_the_unknown_is_refused() {
    // RFC 3261 §8.2.2.3
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let demanding = Extra::new().header(HeaderName::Require, "100rel, flux-capacitor");
        world.at("alice", |agent| agent.send_within(caller, Method::Info, demanding)).unwrap();
        let Event::Answered { response, .. } = world.hears("alice", "Answered") else { unreachable!() };
        assert_eq!(response.status(), Some(StatusCode::BAD_EXTENSION));
        assert_eq!(response.header(HeaderName::Unsupported), Some("flux-capacitor"));
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_request_that_comes_by_two_ways_is_answered_once() {
    // RFC 3261 §8.2.2.2: merged requests
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    let invite = world.net.last("alice -> bob  INVITE").unwrap().bytes.to_vec();
    let other = String::from_utf8(invite).unwrap().replace("z9hG4bK", "z9hG4bKother");
    world.send("alice", "bob", other.as_bytes());
    world.net.expect("bob -> alice  482 INVITE");
    assert_eq!(world.heard("bob").iter().filter(|event| *event == "Incoming").count(), 1);
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    world.hears("alice", "Accepted");
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn a_to_that_ends_in_a_semicolon_becomes_a_from_that_is_well_formed() {
    let mut world = World::new(Conditions::udp());
    let invite = "INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKodd\r\n\
                  Max-Forwards: 70\r\nFrom: <sip:odd@192.0.2.1>;tag=1\r\nTo: <sip:bob@192.0.2.2>;\r\nCall-ID: odd\r\n\
                  CSeq: 1 INVITE\r\nContact: <sip:odd@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";
    world.send("alice", "bob", invite.as_bytes());
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.accept(called, sdp(OFFER))).unwrap();
    world.hears("bob", "Ended"); // no ACK
    let bye = world.net.expect("bob -> alice  BYE");
    let from = header(&bye.bytes, HeaderName::From);
    assert!(from.starts_with("<sip:bob@192.0.2.2>;tag="), "{from}");
    world.settles();
}
