//! What the model test (`tests/session_model`) has found, each as a short course of its own.

use std::time::Duration;

use farspeak_sim::Link;
use farspeak_sip::header::ReferTo;
use farspeak_sip::message::{Method, StatusCode};
use farspeak_sip::session::VerbError;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, sdp};

#[test]
fn who_was_called_sends_no_update_before_the_caller_knows_the_dialog() {
    // The 2xx may be lost: a caller without the dialog answers 481, and the called end would give the session up.
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    assert_eq!(world.at("bob", |agent| agent.update(called, Extra::new())), Err(VerbError::WrongState));
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    assert_eq!(world.at("bob", |agent| agent.update(called, Extra::new())), Err(VerbError::WrongState));
    world.hears("bob", "Confirmed");
    world.at("bob", |agent| agent.update(called, sdp(OFFER))).unwrap();
    world.hears("alice", "Offer");
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn no_request_follows_a_bye() {
    // RFC 3261 §15.1.1, §15.1.2
    let mut world = World::new(Conditions::udp());
    let (caller, called) = world.connect("alice", "bob");
    world.hang_up("alice", caller);
    let to = ReferTo::parse("<sip:carol@example.org>").unwrap();
    let no_more = |world: &mut World, name, session| {
        let info = world.at(name, |agent| agent.send_within(session, Method::Info, Extra::new()));
        assert!(matches!(info, Err(VerbError::WrongState | VerbError::Gone)), "{name}: {info:?}");
        let refer = world.at(name, |agent| agent.refer(session, &to, true, Extra::new()));
        assert!(matches!(refer, Err(VerbError::WrongState | VerbError::Gone)), "{name}: {refer:?}");
    };
    no_more(&mut world, "alice", caller);
    world.hears("bob", "Ended");
    no_more(&mut world, "bob", called);
    world.settles();
}

#[test]
fn no_offer_overtakes_a_prack_that_the_application_holds_back() {
    // RFC 6337 §4.3: the called end would have to refuse it.
    let mut world = World::new(Conditions::udp());
    world.configure("alice", |config| config.offers_in_prack = true);
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
    world.hears("alice", "Answer");
    assert_eq!(world.at("alice", |agent| agent.update(caller, sdp(OFFER))), Err(VerbError::WrongState));
    world.at("alice", |agent| agent.prack(caller, Extra::new())).unwrap();
    world.net.expect("bob -> alice  200 PRACK");
    world.net.run_for(Duration::from_millis(100));
    world.at("alice", |agent| agent.update(caller, sdp(OFFER))).unwrap();
    world.hears("bob", "Offer");
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn a_2xx_whose_answer_is_still_owed_gets_its_ack_when_the_peer_hangs_up() {
    // RFC 3261 §13.2.2.4
    let mut world = World::new(Conditions::udp());
    world.configure("alice", |config| config.offer_timeout = Duration::from_secs(100));
    world.call_with("alice", "bob", Extra::new());
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.accept(called, sdp(OFFER))).unwrap();
    let Event::Accepted { answer_owed: true, .. } = world.hears("alice", "Accepted") else {
        panic!("an answer is owed")
    };
    world.net.expect_within(Duration::from_secs(40), "bob -> alice  BYE");
    world.net.expect("alice -> bob  ACK");
    let Event::Ended { how: HowEnded::NoAck, .. } = world.hears("bob", "Ended") else { panic!("no ACK came") };
    world.settles();
}

#[test]
fn the_answer_to_an_offer_that_went_with_its_reinvite_is_no_new_offer() {
    // The 603 to the re-INVITE and the PRACK with the answer cross (RFC 6141 §3.4).
    let mut world = World::new(Conditions::udp());
    let (caller, called) = world.connect("alice", "bob");
    world.at("alice", |agent| agent.reinvite(caller, Extra::new())).unwrap();
    world.hears("bob", "OfferWanted");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(OFFER))).unwrap();
    world.hears("alice", "Offer");
    world.at("alice", |agent| agent.accept_offer(caller, sdp(ANSWER))).unwrap();
    world.at("bob", |agent| agent.reject_offer(called, StatusCode::DECLINE, Extra::new())).unwrap();
    world.net.expect("bob -> alice  200 PRACK");
    let Event::ModifyFailed { changed: true, .. } = world.hears("alice", "ModifyFailed") else { panic!("it says so") };
    assert!(!world.heard("bob").contains(&"Offer".to_owned()), "{:?}", world.heard("bob"));
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn a_bye_that_a_notify_has_overtaken_is_sent_again() {
    // RFC 3261 §12.2.2: the peer answers 500 and has not looked at it.
    let mut world = World::new(Conditions::udp());
    let (caller, called) = world.connect("alice", "bob");
    let to = ReferTo::parse("<sip:carol@example.org>").unwrap();
    world.at("alice", |agent| agent.refer(caller, &to, true, Extra::new())).unwrap();
    let Event::Subscription { subscription, .. } = world.hears("bob", "Subscription") else { unreachable!() };
    world.net.set_links(Link::default().loss(1.0));
    world.hang_up("bob", called);
    world.net.run_for(Duration::from_millis(1));
    world.net.set_links(Link::default());
    world.at("bob", |agent| agent.accept_refer(subscription)).unwrap();
    world.net.expect("alice -> bob  500 BYE");
    world.net.expect("alice -> bob  200 BYE");
    world.hears("alice", "Ended");
    world.at("bob", |agent| agent.refer_progress(subscription, StatusCode::OK)).unwrap();
    world.settles();
}

#[test]
fn a_call_that_was_given_up_is_not_changed_any_more() {
    // An UPDATE that nobody answers ends the only early dialog: the INVITE is cancelled (RFC 5057 §5.1).
    let mut world = World::new(Conditions::udp());
    let (caller, _) = world.ring_with_answer("alice", "bob");
    world.net.run_for(Duration::from_millis(100));
    world.at("alice", |agent| agent.cancel(caller)).unwrap();
    assert_eq!(world.at("alice", |agent| agent.update(caller, sdp(OFFER))), Err(VerbError::WrongState));
    world.settles();
}

#[test]
fn a_late_ack_does_not_take_the_offer_of_a_later_2xx_off() {
    // RFC 5407 §3.1.4: the re-INVITE overtakes the ACK, and its 2xx carries an offer by then.
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    world.net.set_links(Link::default().loss(1.0)); // what leaves from now on: the ACK
    world.hears("alice", "Accepted");
    world.net.set_links(Link::default());
    world.at("alice", |agent| agent.reinvite(caller, Extra::new())).unwrap();
    world.hears("bob", "OfferWanted");
    world.at("bob", |agent| agent.accept_offer(called, sdp(OFFER))).unwrap();
    world.hears("bob", "Confirmed");
    assert_eq!(world.at("bob", |agent| agent.update(called, sdp(OFFER))), Err(VerbError::WrongState));
    world.hears("alice", "Offer");
    world.at("alice", |agent| agent.accept_offer(caller, sdp(ANSWER))).unwrap();
    world.hears("bob", "Answer");
    world.hang_up("alice", caller);
    world.settles();
}
