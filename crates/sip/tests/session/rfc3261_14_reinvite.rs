//! RFC 3261 §14: a session is changed by INVITE.

use std::time::Duration;

use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::session::VerbError;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, sdp};

#[test]
fn either_end_changes_the_session() {
    // RFC 3261 §14.1
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        for (from, at, to, other) in [("alice", caller, "bob", called), ("bob", called, "alice", caller)] {
            world.at(from, |agent| agent.reinvite(at, sdp(OFFER))).unwrap();
            let Event::Offer { leg, message } = world.hears(to, "Offer") else { unreachable!() };
            assert_eq!(message.body(), OFFER);
            world.at(to, |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
            let Event::Answer { message, .. } = world.hears(from, "Answer") else { unreachable!() };
            assert_eq!(message.body(), ANSWER);
            world.hears(from, "Modified");
            world.hears(to, "Confirmed");
            assert_eq!(world.at(to, |agent| agent.accept_offer(other, sdp(ANSWER))), Err(VerbError::WrongState));
        }
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
    });
}

#[test]
fn who_offers_nothing_is_offered_something() {
    // RFC 3261 §14.2: the offer in the 2xx, the answer in the ACK.
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.reinvite(called, Extra::new())).unwrap();
        let Event::OfferWanted { leg, .. } = world.hears("alice", "OfferWanted") else { unreachable!() };
        let without = world.at("alice", |agent| agent.accept_offer(leg, Extra::new()));
        assert_eq!(without, Err(VerbError::NeedsDescription));
        world.at("alice", |agent| agent.accept_offer(leg, sdp(OFFER))).unwrap();
        let Event::Offer { leg, message } = world.hears("bob", "Offer") else { unreachable!() };
        assert_eq!(message.body(), OFFER);
        world.hears("bob", "Modified");
        let refused = world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new()));
        assert_eq!(refused, Err(VerbError::WrongState), "an offer in a response cannot be refused");
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        let Event::Answer { message, .. } = world.hears("alice", "Answer") else { unreachable!() };
        assert_eq!(message.body(), ANSWER);
        world.hears("alice", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_refused_change_leaves_the_session_as_it_was() {
    // RFC 3261 §14.1
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new())).unwrap();
        let Event::ModifyFailed { failure, changed, .. } = world.hears("alice", "ModifyFailed") else { unreachable!() };
        assert_eq!((failure.status(), changed), (StatusCode::NOT_ACCEPTABLE_HERE, false));
        // Both may try anew.
        world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
        world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("bob", "Modified");
        world.hears("alice", "Confirmed");
        world.hang_up("alice", caller);
    });
}

#[test]
fn only_one_change_at_a_time() {
    // RFC 3261 §14.1, RFC 6337 §4.3 UAC-II
    let mut world = World::new(Conditions::udp());
    let (caller, called) = world.connect("alice", "bob");
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    assert_eq!(world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))), Err(VerbError::WrongState));
    assert_eq!(world.at("alice", |agent| agent.update(caller, sdp(OFFER))), Err(VerbError::WrongState));
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    assert_eq!(world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))), Err(VerbError::WrongState));
    assert_eq!(world.at("bob", |agent| agent.update(called, sdp(OFFER))), Err(VerbError::WrongState));
    world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    assert_eq!(world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))), Err(VerbError::WrongState), "no ACK yet");
    world.hears("bob", "Confirmed");
    world.net.never("alice -> bob  491");
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn a_second_invite_before_the_first_is_answered_gets_500() {
    // RFC 3261 §14.2: with a Retry-After between 0 and 10 s.
    let mut world = World::new(Conditions::udp());
    let (caller, called) = world.connect("alice", "bob");
    world.net.pass_over();
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    let invite = world.net.expect("alice -> bob  INVITE");
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    world.forge("alice", "bob", &invite.bytes, "INVITE");
    let refusal = world.net.expect("bob -> alice  500 INVITE");
    let seconds: u32 = crate::world::header(&refusal.bytes, HeaderName::RetryAfter).parse().unwrap();
    assert!(seconds <= 10);
    world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("bob", "Confirmed");
    world.hang_up("bob", called);
    world.settles();
}

#[test]
fn crossing_invites_are_refused_and_sent_again_at_different_times() {
    // RFC 3261 §14.1: 2.1 to 4 s for who made the Call-ID, 0 to 2 s for the other.
    for seed in 1..20 {
        let mut world = World::new(Conditions { seed, ..Conditions::udp() });
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
        world.net.expect_all(["alice -> bob  491 INVITE", "bob -> alice  491 INVITE"]);
        let crossed = world.net.now();
        let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
        assert!(world.net.now() - crossed <= Duration::from_millis(2_020));
        world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("bob", "Modified");
        // Alice's offer is out of date now: she is asked what she wants.
        let Event::ModifyFailed { failure, changed, .. } = world.hears("alice", "ModifyFailed") else { unreachable!() };
        assert_eq!((failure.status(), changed), (StatusCode::REQUEST_PENDING, true));
        let waited = world.net.now() - crossed;
        assert!((Duration::from_millis(2_080)..=Duration::from_secs(4)).contains(&waited), "{waited:?}");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.settles();
    }
}

#[test]
fn a_change_is_cancelled() {
    // RFC 3261 §9 within a dialog: 487, and the session goes on.
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        world.hears("bob", "Offer");
        world.at("alice", |agent| agent.cancel_modify(caller)).unwrap();
        let Event::ModifyFailed { failure, .. } = world.hears("alice", "ModifyFailed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::REQUEST_TERMINATED);
        world.hears("bob", "Withdrawn");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn an_application_that_says_nothing_refuses() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        world.hears("bob", "Offer");
        let Event::Withdrawn { leg } = world.hears("bob", "Withdrawn") else { unreachable!() };
        let late = world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER)));
        assert_eq!(late, Err(VerbError::WrongState));
        let Event::ModifyFailed { failure, .. } = world.hears("alice", "ModifyFailed") else { unreachable!() };
        // Our own patience ends at about the same time: the refusal or the CANCEL comes first.
        assert!(matches!(failure.status(), StatusCode::NOT_ACCEPTABLE_HERE | StatusCode::REQUEST_TERMINATED));
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
    });
}

#[test]
fn an_offer_in_a_2xx_that_nobody_answers_ends_the_session() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, Extra::new())).unwrap();
        let Event::OfferWanted { leg, .. } = world.hears("bob", "OfferWanted") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(OFFER))).unwrap();
        world.hears("alice", "Offer");
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_peer_that_does_not_know_the_session_ends_it() {
    // RFC 3261 §12.2.1.2, RFC 5057 §5.1
    let mut world = World::new(Conditions::udp());
    let (caller, _) = world.connect("alice", "bob");
    world.restart("bob");
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    let Event::Ended { how: HowEnded::PeerLost(failure), .. } = world.hears("alice", "Ended") else { panic!() };
    assert_eq!(failure.status(), StatusCode::CALL_DOES_NOT_EXIST);
    world.net.never("alice -> bob  BYE");
    world.settles();
}

#[test]
fn a_peer_that_does_not_answer_ends_it() {
    let mut world = World::new(Conditions::udp());
    let (caller, _) = world.connect("alice", "bob");
    world.net.run_for(Duration::from_secs(40));
    world.power("bob", false);
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    let Event::Ended { how: HowEnded::PeerLost(_), .. } = world.hears("alice", "Ended") else { panic!() };
    world.settles();
}

#[test]
fn who_hangs_up_finishes_what_was_pending() {
    // RFC 3261 §15.1.2: 487 to whatever waits.
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        world.hears("bob", "Offer");
        world.at("bob", |agent| agent.hang_up(called, Extra::new())).unwrap();
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        world.hears("bob", "Offer");
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("bob", "Gone");
        world.hears("alice", "Gone");
    });
}
