//! RFC 6141: what a re-INVITE leaves behind, and where the peer is afterwards. Its examples, figure by figure.

use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::session::{LegId, SessionId, VerbError};
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, sdp};

fn reinvited(world: &mut World) -> (SessionId, LegId) {
    let (caller, _) = world.connect("alice", "bob");
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    (caller, leg)
}

fn exchange(world: &mut World, from: (&'static str, LegId), to: &'static str) {
    world.at(from.0, |agent| agent.update(from.1, sdp(OFFER))).unwrap();
    let Event::Offer { leg, .. } = world.hears(to, "Offer") else { unreachable!() };
    world.at(to, |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears(from.0, "Modified");
}

#[test]
fn figure_1_a_refused_reinvite_changes_nothing() {
    everywhere(|world| {
        let (caller, leg) = reinvited(world);
        world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new())).unwrap();
        let Event::ModifyFailed { changed: false, .. } = world.hears("alice", "ModifyFailed") else { panic!() };
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn figure_2_an_answer_accepts_some_of_it() {
    everywhere(|world| {
        let (caller, leg) = reinvited(world);
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn figure_3_what_the_user_refuses_later_is_taken_back_by_update() {
    everywhere(|world| {
        let (caller, leg) = reinvited(world);
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        world.until_acknowledged("bob", "alice");
        exchange(world, ("bob", leg), "alice");
        world.at("bob", |agent| agent.accept_offer(leg, Extra::new())).unwrap();
        let Event::Modified { response, .. } = world.hears("alice", "Modified") else { unreachable!() };
        assert!(response.body().is_empty());
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn figure_4_both_ends_update_within_the_reinvite() {
    everywhere(|world| {
        let (caller, leg) = reinvited(world);
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        world.until_acknowledged("bob", "alice");
        exchange(world, ("alice", caller.into()), "bob");
        exchange(world, ("bob", leg), "alice");
        world.at("bob", |agent| agent.accept_offer(leg, Extra::new())).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn what_is_in_force_cannot_be_refused_any_more() {
    // RFC 6141 §3.3
    everywhere(|world| {
        let (caller, leg) = reinvited(world);
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        let refused = world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new()));
        assert_eq!(refused, Err(VerbError::WrongState));
        world.at("bob", |agent| agent.accept_offer(leg, Extra::new())).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_cancel_comes_too_late_for_what_is_in_force() {
    // RFC 6141 §3.8
    everywhere(|world| {
        let (caller, leg) = reinvited(world);
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        world.until_acknowledged("bob", "alice");
        world.at("alice", |agent| agent.cancel_modify(caller)).unwrap();
        world.hears("bob", "Withdrawn");
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn figure_5_a_refusal_after_changes_asks_for_another_offer() {
    // A peer that undoes by an error what is in force (RFC 6141 §3.4): forged, for ours does not.
    let mut world = World::new(Conditions::udp());
    let (caller, leg) = reinvited(&mut world);
    world.net.pass_over();
    world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
    let progress = world.net.expect("bob -> alice  183 INVITE").bytes;
    world.hears("alice", "Answer");
    let text = String::from_utf8(progress).unwrap().replace("SIP/2.0 183 Session Progress", "SIP/2.0 400 Bad Request");
    world.net.expect("bob -> alice  200 PRACK");
    world.send("bob", "alice", text.as_bytes());
    let Event::ModifyFailed { changed, .. } = world.hears("alice", "ModifyFailed") else { unreachable!() };
    assert!(changed, "the two may see the session differently now");
    world.everybody_hangs_up();
    world.hang_up("alice", caller);
    world.settles();
}

/// Alice's Contact with another user part.
fn moved(world: &World) -> String {
    world.opening("alice", "bob").contact.replace("alice@", "alice-moved@")
}

/// Where Bob's BYE goes.
fn bye_goes_to(world: &mut World, session: LegId) -> String {
    world.at("bob", |agent| agent.hang_up(session.session, Extra::new())).unwrap();
    let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("alice", "Ended") else { panic!("no BYE") };
    world.hears("bob", "Gone");
    bye.request_uri().unwrap().to_owned()
}

#[test]
fn a_refused_reinvite_moves_nobody() {
    // RFC 6141 §4.4, §4.6
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let contact = moved(world);
        world.at("alice", |agent| agent.set_contact(caller, &contact)).unwrap();
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new())).unwrap();
        world.hears("alice", "ModifyFailed");
        assert!(!bye_goes_to(world, leg).contains("moved"));
    });
}

#[test]
fn an_accepted_reinvite_moves_its_sender() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let contact = moved(world);
        world.at("alice", |agent| agent.set_contact(caller, &contact)).unwrap();
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Modified");
        assert!(bye_goes_to(world, leg).contains("moved"));
    });
}

#[test]
fn a_reliable_response_moves_the_sender_whatever_follows() {
    // RFC 6141 §4.4, §4.6: the target is not part of what a failure undoes.
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let contact = moved(world);
        world.at("alice", |agent| agent.set_contact(caller, &contact)).unwrap();
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, Extra::new())).unwrap();
        world.hears("alice", "Progress");
        world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new())).unwrap();
        world.hears("alice", "ModifyFailed");
        assert!(bye_goes_to(world, leg).contains("moved"));
    });
}

#[test]
fn an_unreliable_response_moves_nobody() {
    // RFC 6141 §4.7
    let mut world = World::new(Conditions::udp());
    let (caller, leg) = reinvited(&mut world);
    world.at("bob", |agent| agent.set_contact(leg, "<sip:bob-moved@192.0.2.2:5060>")).unwrap();
    world.at("bob", |agent| agent.ring(leg, StatusCode::RINGING, Extra::new())).unwrap();
    let Event::Progress { response, .. } = world.hears("alice", "Progress") else { unreachable!() };
    assert!(response.header(HeaderName::Contact).unwrap().contains("moved"));
    world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
    let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("bob", "Ended") else { panic!("no BYE") };
    assert!(!bye.request_uri().unwrap().contains("moved"));
    world.settles();
}

#[test]
fn a_reliable_response_and_a_2xx_move_who_answers() {
    // RFC 6141 §4.5, §4.7
    for reliably in [true, false] {
        let mut world = World::new(Conditions::udp());
        let (caller, leg) = reinvited(&mut world);
        world.at("bob", |agent| agent.set_contact(leg, "<sip:bob-moved@192.0.2.2:5060>")).unwrap();
        if reliably {
            world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::RINGING, Extra::new())).unwrap();
            world.hears("alice", "Progress");
        } else {
            world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
            world.hears("alice", "Modified");
        }
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("bob", "Ended") else { panic!("no BYE") };
        assert!(bye.request_uri().unwrap().contains("moved"));
        world.settles();
    }
}

#[test]
fn a_later_reinvite_excuses_a_lost_ack() {
    // RFC 6141 §5.4
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    let alice = world.host("alice");
    // Alice hears the first 200 once and never again, and her ACK is lost.
    world.cut("alice", "bob", true);
    world.hears("alice", "Accepted");
    let lost = world.net.expect("alice -x bob  ACK").bytes;
    world.cut("alice", "bob", false);
    let copy = String::from_utf8(lost).unwrap();
    let seq = copy.lines().find(|line| line.starts_with("CSeq")).unwrap().replace("ACK", "INVITE");
    world.net.intercept(alice, move |bytes| {
        let is_copy = bytes.starts_with(b"SIP/2.0 200") && String::from_utf8_lossy(bytes).contains(&seq);
        is_copy.then(|| (crate::world::nowhere(), Vec::new()))
    });
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("bob", "Confirmed");
    world.net.run_for(std::time::Duration::from_secs(40));
    world.net.never("bob -> alice  BYE");
    world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).expect("the session stands");
    let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
    world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("bob", "Modified");
    world.hang_up("bob", called);
    world.settles();
}
