//! RFC 3311: UPDATE.

use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::session::VerbError;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, header, sdp};

#[test]
fn both_ends_update_an_early_session() {
    // RFC 3311 §8, Figure 1
    everywhere(|world| {
        let (caller, called) = world.ring_with_answer("alice", "bob");
        for (from, at, to) in [("alice", caller, "bob"), ("bob", called, "alice")] {
            world.at(from, |agent| agent.update(at, sdp(OFFER))).unwrap();
            let Event::Offer { leg, message } = world.hears(to, "Offer") else { unreachable!() };
            assert_eq!(message.body(), OFFER);
            world.at(to, |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
            let Event::Answer { message, .. } = world.hears(from, "Answer") else { unreachable!() };
            assert_eq!(message.body(), ANSWER);
            world.hears(from, "Modified");
        }
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        let Event::Accepted { response, answer_owed, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert!(response.body().is_empty() && !answer_owed);
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn an_established_session_is_updated() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        for (from, at, to) in [("alice", caller, "bob"), ("bob", called, "alice")] {
            world.at(from, |agent| agent.update(at, sdp(OFFER))).unwrap();
            let Event::Offer { leg, .. } = world.hears(to, "Offer") else { unreachable!() };
            world.at(to, |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
            world.hears(from, "Modified");
        }
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
    });
}

#[test]
fn an_update_without_an_offer_is_answered_at_once() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.update(caller, Extra::new())).unwrap();
        world.hears("bob", "Refreshed");
        world.hears("alice", "Modified");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_refused_update_changes_nothing() {
    // RFC 3311 §5.3
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.update(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new())).unwrap();
        let Event::ModifyFailed { failure, .. } = world.hears("alice", "ModifyFailed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::NOT_ACCEPTABLE_HERE);
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
    });
}

#[test]
fn an_application_that_says_nothing_is_a_504() {
    // RFC 3311 §5.2
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.update(caller, sdp(OFFER))).unwrap();
        world.hears("bob", "Offer");
        let Event::ModifyFailed { failure, .. } = world.hears("alice", "ModifyFailed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::SERVER_TIMEOUT);
        world.hears("bob", "Withdrawn");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn no_update_with_an_offer_before_the_first_answer_is_safe() {
    // RFC 3311 §5.1
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    assert_eq!(world.at("bob", |agent| agent.update(called, sdp(OFFER))), Err(VerbError::WrongState));
    world.at("bob", |agent| agent.ring(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
    let Event::Progress { leg, .. } = world.hears("alice", "Progress") else { unreachable!() };
    assert_eq!(world.at("alice", |agent| agent.update(leg, sdp(OFFER))), Err(VerbError::WrongState), "a preview");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
    assert_eq!(world.at("bob", |agent| agent.update(called, sdp(OFFER))), Err(VerbError::WrongState), "no PRACK yet");
    world.hears("alice", "Answer");
    assert_eq!(world.at("alice", |agent| agent.update(leg, sdp(OFFER))), Err(VerbError::WrongState), "no 2xx yet");
    world.net.expect("bob -> alice  200 PRACK");
    world.at("alice", |agent| agent.update(leg, sdp(OFFER))).unwrap();
    world.hears("bob", "Offer");
    world.at("alice", |agent| agent.cancel(caller)).unwrap();
    world.hears("bob", "Gone");
    world.settles();
}

#[test]
fn a_second_update_before_the_first_is_answered_gets_500() {
    // RFC 3311 §5.2: with a Retry-After between 0 and 10 s.
    let mut world = World::new(Conditions::udp());
    let (caller, called) = world.connect("alice", "bob");
    world.at("alice", |agent| agent.update(caller, sdp(OFFER))).unwrap();
    let update = world.net.expect("alice -> bob  UPDATE");
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    world.forge("alice", "bob", &update.bytes, "UPDATE");
    let refusal = world.net.expect("bob -> alice  500 UPDATE");
    assert!(header(&refusal.bytes, HeaderName::RetryAfter).parse::<u32>().unwrap() <= 10);
    world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("alice", "Modified");
    world.hang_up("bob", called);
    world.settles();
}

#[test]
fn a_peer_without_the_dialog_ends_the_session() {
    let mut world = World::new(Conditions::udp());
    let (caller, _) = world.connect("alice", "bob");
    world.restart("bob");
    world.at("alice", |agent| agent.update(caller, sdp(OFFER))).unwrap();
    let Event::Ended { how: HowEnded::PeerLost(_), .. } = world.hears("alice", "Ended") else { panic!() };
    world.settles();
}

#[test]
fn a_new_contact_is_where_the_next_request_goes() {
    // RFC 3311 §5.1: a target refresh.
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        let contact = world.opening("alice", "bob").contact.replace("alice@", "alice-moved@");
        world.at("alice", |agent| agent.set_contact(caller, &contact)).unwrap();
        world.at("alice", |agent| agent.update(caller, Extra::new())).unwrap();
        world.hears("alice", "Modified");
        world.at("bob", |agent| agent.hang_up(called, Extra::new())).unwrap();
        let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("alice", "Ended") else { panic!("no BYE") };
        assert!(bye.request_uri().unwrap().contains("alice-moved@"));
        world.hears("bob", "Gone");
    });
}
