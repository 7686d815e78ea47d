//! RFC 3891 §3: an INVITE takes the place of another session, or may not.

use farspeak_sip::header::Replaces;
use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{ANSWER, OFFER, World, everywhere, sdp};

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
