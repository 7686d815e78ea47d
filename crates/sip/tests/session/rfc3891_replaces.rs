//! RFC 3891 §3: an INVITE takes the place of another session, or may not.

use farspeak_sip::header::Replaces;
use farspeak_sip::message::{HeaderName, Limits, Message, StatusCode};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, sdp};

/// Carol calls bob in place of his session with alice, as bob would name it.
fn take_over(world: &mut World, call_id: &str, to_tag: &str, from_tag: &str, early_only: bool) {
    let replaces =
        Replaces { call_id: call_id.to_owned(), to_tag: to_tag.to_owned(), from_tag: from_tag.to_owned(), early_only };
    world.call_with("carol", "bob", sdp(OFFER).header(HeaderName::Replaces, replaces.to_string()));
}

/// Connects alice and bob; gives Call-ID, bob's tag, alice's tag.
fn connected(world: &mut World) -> [String; 3] {
    world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    let Event::Accepted { response, .. } = world.hears("alice", "Accepted") else { unreachable!() };
    world.hears("bob", "Confirmed");
    let [call_id, to, from] = [response.call_id().unwrap(), response.to_tag().unwrap(), response.from_tag().unwrap()];
    [call_id.to_owned(), to.to_owned(), from.to_owned()]
}

#[test]
fn the_replaced_session_ends_when_the_new_one_is_accepted() {
    everywhere(|world| {
        let [call_id, bob, alice] = connected(world);
        take_over(world, &call_id, &bob, &alice, false);
        let Event::Incoming { session, replaces, .. } = world.hears("bob", "Incoming") else { unreachable!() };
        assert!(replaces.is_some());
        world.at("bob", |agent| agent.accept(session, sdp(ANSWER))).unwrap();
        world.hears("carol", "Accepted");
        world.hears("alice", "Gone");
        world.at("bob", |agent| agent.hang_up(session, Extra::new())).unwrap();
        world.hears("carol", "Gone");
    });
}

#[test]
fn an_unknown_dialog_is_refused() {
    everywhere(|world| {
        take_over(world, "nothing", "a", "b", false);
        let Event::Failed { failure, .. } = world.hears("carol", "Failed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::CALL_DOES_NOT_EXIST);
        assert!(world.heard("bob").is_empty());
    });
}

#[test]
fn an_early_only_pickup_of_a_session_that_stands_is_refused() {
    everywhere(|world| {
        let [call_id, bob, alice] = connected(world);
        take_over(world, &call_id, &bob, &alice, true);
        let Event::Failed { failure, .. } = world.hears("carol", "Failed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::BUSY_HERE);
        let session = world.session("bob");
        world.at("bob", |agent| agent.hang_up(session, Extra::new())).unwrap();
        world.hears("alice", "Gone");
    });
}

#[test]
fn a_call_that_rings_elsewhere_is_picked_up_at_the_caller() {
    // RFC 3891 §3: an early dialog is replaced at the end that opened it.
    everywhere(|world| {
        world.call("bob", "alice");
        let called = world.is_called("alice");
        world.at("alice", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        let Event::Progress { response, .. } = world.hears("bob", "Progress") else { unreachable!() };
        let [call_id, bob, alice] =
            [response.call_id().unwrap(), response.from_tag().unwrap(), response.to_tag().unwrap()];
        take_over(world, call_id, bob, alice, true);
        let session = world.is_called("bob");
        world.at("bob", |agent| agent.accept(session, sdp(ANSWER))).unwrap();
        world.hears("alice", "Ended");
        world.hears("carol", "Accepted");
        world.at("bob", |agent| agent.hang_up(session, Extra::new())).unwrap();
        world.hears("carol", "Gone");
    });
}

#[test]
fn a_session_is_not_replaced_before_the_new_one_is_accepted() {
    // RFC 3891 §3: the 2xx waits for a PRACK that never comes, and the old session goes on.
    let mut world = World::new(Conditions::udp());
    let [call_id, bob, alice] = connected(&mut world);
    let old = world.session("bob");
    take_over(&mut world, &call_id, &bob, &alice, false);
    let Event::Incoming { session, .. } = world.hears("bob", "Incoming") else { unreachable!() };
    world.cut("carol", "bob", true);
    world.at("bob", |agent| agent.ring_reliably(session, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
    world.at("bob", |agent| agent.accept(session, Extra::new())).unwrap();
    let Event::Ended { session: ended, .. } = world.hears("bob", "Ended") else { unreachable!() };
    assert_eq!(ended, session);
    assert!(!world.heard("alice").contains(&"Ended".to_owned()));
    world.cut("carol", "bob", false);
    world.at("bob", |agent| agent.hang_up(old, Extra::new())).unwrap();
    world.hears("alice", "Gone");
    world.everybody_hangs_up();
    world.settles();
}

#[test]
fn a_tag_of_0_names_a_peer_without_tag() {
    let mut world = World::new(Conditions::udp());
    let invite = "INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKold\r\n\
                  Max-Forwards: 70\r\nFrom: <sip:old@192.0.2.1>\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: old\r\n\
                  CSeq: 1 INVITE\r\nContact: <sip:old@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";
    world.send("alice", "bob", invite.as_bytes());
    let old = world.is_called("bob");
    world.at("bob", |agent| agent.accept(old, sdp(OFFER))).unwrap();
    let accepted = world.net.expect("bob -> alice  200 INVITE");
    let accepted = Message::parse(&accepted.bytes, &Limits::default()).unwrap();
    take_over(&mut world, "old", accepted.to_tag().unwrap(), "0", false);
    let Event::Incoming { session, replaces, .. } = world.hears("bob", "Incoming") else { unreachable!() };
    assert_eq!(replaces.map(|leg| leg.session), Some(old));
    world.at("bob", |agent| agent.reject(session, StatusCode::BUSY_HERE, Extra::new())).unwrap();
    world.at("bob", |agent| agent.hang_up(old, Extra::new())).unwrap();
    world.settles();
}
