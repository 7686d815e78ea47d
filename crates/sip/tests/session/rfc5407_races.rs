//! RFC 5407: race conditions, by section. Where a figure needs exact timing it is drawn exactly, and the same acts are
//! repeated under loss, swaps and resets, where only the outcome is asked for.

use std::time::Duration;

use farspeak_sip::header::ReferTo;
use farspeak_sip::message::{Method, StatusCode};
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, sdp};

fn exactly() -> World {
    World::new(Conditions::udp())
}

/// A call that rings.
fn ringing(world: &mut World) -> (SessionId, SessionId) {
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
    world.hears("alice", "Progress");
    (caller, called)
}

/// A call that Bob has answered, but whose ACK is lost.
fn in_moratorium(world: &mut World, offer: Extra, answer: &[u8]) -> (SessionId, SessionId) {
    let caller = world.call_with("alice", "bob", offer);
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.accept(called, sdp(answer))).unwrap();
    world.cut("alice", "bob", true);
    let Event::Accepted { answer_owed, leg, .. } = world.hears("alice", "Accepted") else { unreachable!() };
    if answer_owed {
        world.at("alice", |agent| agent.acknowledge(leg, sdp(ANSWER))).unwrap();
    }
    world.net.expect("alice -x bob  ACK");
    world.cut("alice", "bob", false);
    (caller, called)
}

#[test]
fn section_3_1_1_the_invite_again_after_the_200() {
    let mut world = exactly();
    world.cut("bob", "alice", true);
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
    world.net.expect("bob -x alice  180 INVITE");
    world.cut("bob", "alice", false);
    world.net.run_for(Duration::from_millis(485));
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    world.net.expect_all(["alice -> bob  INVITE", "bob -> alice  200 INVITE"]);
    world.hears("alice", "Accepted");
    world.hears("bob", "Confirmed");
    assert_eq!(world.heard("bob").iter().filter(|event| *event == "Incoming").count(), 1);
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn section_3_1_2_cancel_meets_the_200() {
    let mut world = exactly();
    let (caller, called) = ringing(&mut world);
    world.at("alice", |agent| agent.cancel(caller)).unwrap();
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    world.net.expect_all(["alice -> bob  CANCEL", "bob -> alice  200 INVITE"]);
    world.net.expect_all(["alice -> bob  ACK", "bob -> alice  200 CANCEL"]);
    world.net.expect("bob -> alice  200 BYE");
    world.settles();
    everywhere(|world| {
        let (caller, called) = ringing(world);
        world.at("alice", |agent| agent.cancel(caller)).unwrap();
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_1_3_an_early_bye_meets_the_200() {
    // Our own callers send CANCEL; the peer's BYE is forged.
    let mut world = exactly();
    let (caller, called) = world.ring_with_answer("alice", "bob");
    let bye = world.next_of_alice("BYE", b"");
    world.send("alice", "bob", &bye);
    world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
    world.net.expect_all(["alice -> bob  BYE", "bob -> alice  200 INVITE"]);
    world.net.expect_all(["alice -> bob  ACK", "bob -> alice  200 BYE"]);
    let Event::Ended { how: HowEnded::Bye(_), .. } = world.hears("bob", "Ended") else { panic!() };
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn appendix_a_an_early_bye_ends_the_invite() {
    let mut world = exactly();
    world.ring_with_answer("alice", "bob");
    let bye = world.next_of_alice("BYE", b"");
    world.send("alice", "bob", &bye);
    world.net.expect_all(["bob -> alice  200 BYE", "bob -> alice  487 INVITE"]);
    world.hears("alice", "Failed");
    world.settles();
}

#[test]
fn section_3_1_4_a_reinvite_before_the_ack() {
    let mut world = exactly();
    let (caller, called) = in_moratorium(&mut world, sdp(OFFER), ANSWER);
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("alice", "Modified");
    // Both ACKs arrive in the end.
    world.hears("bob", "Confirmed");
    world.hears("bob", "Confirmed");
    world.hang_up("bob", called);
    world.settles();
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_1_5_a_reinvite_before_the_ack_with_the_answer() {
    // 491 is recommended, 500 with Retry-After allowed; RFC 6337 §4.3 (UAS-IsI) asks for the latter.
    let mut world = exactly();
    let (caller, _) = in_moratorium(&mut world, Extra::new(), OFFER);
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    world.net.expect("bob -> alice  500 INVITE");
    world.hears("bob", "Answer");
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("alice", "Modified");
    world.hang_up("alice", caller);
    world.settles();
    everywhere(|world| {
        let caller = world.call_with("alice", "bob", Extra::new());
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.accept(called, sdp(OFFER))).unwrap();
        let Event::Accepted { leg, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        world.at("alice", |agent| agent.acknowledge(leg, sdp(ANSWER))).unwrap();
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Modified");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_1_6_bye_before_the_ack() {
    let mut world = exactly();
    let (caller, _) = in_moratorium(&mut world, sdp(OFFER), ANSWER);
    world.net.run_for(Duration::from_millis(490));
    world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
    world.net.expect_all(["bob -> alice  200 INVITE", "alice -> bob  BYE"]);
    world.net.expect_all(["alice -> bob  ACK", "bob -> alice  200 BYE"]);
    let Event::Ended { how: HowEnded::Bye(_), .. } = world.hears("bob", "Ended") else { panic!() };
    world.settles();
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_2_1_bye_meets_bye() {
    let mut world = exactly();
    let (caller, called) = world.connect("alice", "bob");
    world.hang_up("alice", caller);
    world.hang_up("bob", called);
    world.net.expect_all(["alice -> bob  BYE", "bob -> alice  BYE"]);
    world.net.expect_all(["alice -> bob  200 BYE", "bob -> alice  200 BYE"]);
    world.settles();
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.hang_up("alice", caller);
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_2_2_bye_meets_a_reinvite() {
    let mut world = exactly();
    let (caller, called) = world.connect("alice", "bob");
    world.hang_up("alice", caller);
    world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
    world.net.expect_all(["alice -> bob  BYE", "bob -> alice  INVITE"]);
    world.net.expect_all(["alice -> bob  481 INVITE", "bob -> alice  200 BYE"]);
    world.settles();
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.hang_up("alice", caller);
        let _ = world.at("bob", |agent| agent.reinvite(called, sdp(OFFER)));
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_2_3_bye_meets_the_200_of_a_reinvite() {
    let mut world = exactly();
    let (_, called) = world.connect("alice", "bob");
    world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
    let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
    world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hang_up("bob", called);
    world.net.pass_over();
    world.net.expect_all(["alice -> bob  200 INVITE", "bob -> alice  BYE"]);
    world.net.expect_all(["bob -> alice  ACK", "alice -> bob  200 BYE"]);
    world.settles();
    everywhere(|world| {
        let (_, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
        world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_2_4_the_called_ends_bye_waits_for_the_ack() {
    // The race is avoided: RFC 3261 §15 lets the called end wait.
    let mut world = exactly();
    let (_, called) = in_moratorium(&mut world, sdp(OFFER), ANSWER);
    world.hang_up("bob", called);
    world.net.expect("alice -> bob  ACK");
    world.net.expect("bob -> alice  BYE");
    world.settles();
    everywhere(|world| {
        let _ = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

/// Answers every offer until the one who asked has been told, and asks again if it was in vain.
fn both_get_their_way(world: &mut World, changes: [(&'static str, SessionId, Method); 2]) {
    let change = |world: &mut World, (name, session, method): &(&str, SessionId, Method)| {
        world.at(name, |agent| match method {
            Method::Update => agent.update(*session, sdp(OFFER)),
            _ => agent.reinvite(*session, sdp(OFFER)),
        })
    };
    for asked in &changes {
        change(world, asked).unwrap();
    }
    let mut done = [false; 2];
    let until = world.net.now() + Duration::from_secs(150);
    while done != [true, true] {
        assert!(world.net.step(until), "both were to get their way\n{}", world.net);
        for (at, asked) in changes.iter().enumerate() {
            for event in world.news(asked.0) {
                match event {
                    Event::Offer { leg, .. } => {
                        world.at(asked.0, |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap()
                    }
                    Event::Modified { .. } => done[at] = true,
                    Event::ModifyFailed { changed, .. } => {
                        assert!(changed, "refused though nothing was in the way");
                        // It may still be the other's turn: then once more, later.
                        if change(world, asked).is_err() {
                            world.net.run_for(Duration::from_secs(5));
                            change(world, asked).unwrap();
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn section_3_3_1_reinvite_meets_reinvite() {
    let mut world = exactly();
    let (caller, called) = world.connect("alice", "bob");
    both_get_their_way(&mut world, [("alice", caller, Method::Invite), ("bob", called, Method::Invite)]);
    assert_eq!((world.net.count("alice -> bob  491 INVITE"), world.net.count("bob -> alice  491 INVITE")), (1, 1));
    world.hang_up("alice", caller);
    world.settles();
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        both_get_their_way(world, [("alice", caller, Method::Invite), ("bob", called, Method::Invite)]);
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn section_3_3_2_update_meets_reinvite() {
    let mut world = exactly();
    let (caller, called) = world.connect("alice", "bob");
    both_get_their_way(&mut world, [("alice", caller, Method::Update), ("bob", called, Method::Invite)]);
    assert_eq!((world.net.count("alice -> bob  491 INVITE"), world.net.count("bob -> alice  491 UPDATE")), (1, 1));
    world.hang_up("alice", caller);
    world.settles();
    for methods in
        [[Method::Update, Method::Invite], [Method::Invite, Method::Update], [Method::Update, Method::Update]]
    {
        everywhere(|world| {
            let (caller, called) = world.connect("alice", "bob");
            let [one, other] = methods.clone();
            both_get_their_way(world, [("alice", caller, one), ("bob", called, other)]);
            world.hang_up("alice", caller);
            world.hears("bob", "Gone");
        });
    }
}

#[test]
fn section_3_3_2_an_update_without_an_offer_meets_nothing() {
    // "Both requests succeed with 200."
    let mut world = exactly();
    let (caller, called) = world.connect("alice", "bob");
    world.at("alice", |agent| agent.update(caller, Extra::new())).unwrap();
    world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
    let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
    world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("alice", "Modified");
    world.hears("bob", "Modified");
    world.at("alice", |agent| agent.update(caller, Extra::new())).unwrap();
    world.at("bob", |agent| agent.update(called, Extra::new())).unwrap();
    world.hears("alice", "Modified");
    world.hears("bob", "Modified");
    world.net.never("alice -> bob  491");
    world.net.never("bob -> alice  491");
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn section_3_3_3_bye_meets_a_refer() {
    let mut world = exactly();
    let (caller, called) = world.connect("alice", "bob");
    world.hang_up("alice", caller);
    let to = ReferTo::parse("<sip:carol@192.0.2.3>").unwrap();
    world.at("bob", |agent| agent.refer(called, &to, true, Extra::new())).unwrap();
    world.net.expect_all(["alice -> bob  BYE", "bob -> alice  REFER"]);
    world.net.expect_all(["alice -> bob  481 REFER", "bob -> alice  200 BYE"]);
    world.settles();
}

#[test]
fn appendix_b_bye_overtakes_a_lost_reinvite() {
    let mut world = exactly();
    let (caller, _) = world.connect("alice", "bob");
    world.cut("alice", "bob", true);
    world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
    world.net.expect("alice -x bob  INVITE");
    world.cut("alice", "bob", false);
    world.hang_up("alice", caller);
    world.net.pass_over();
    world.net.expect("alice -> bob  BYE");
    world.net.expect("bob -> alice  200 BYE");
    world.net.expect("alice -> bob  INVITE");
    world.net.expect("bob -> alice  481 INVITE");
    world.settles();
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        world.hang_up("alice", caller);
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn appendix_c_cancel_is_felt_only_before_the_final_response() {
    everywhere(|world| {
        let (caller, _) = ringing(world);
        world.at("alice", |agent| agent.cancel(caller)).unwrap();
        let Event::Ended { how: HowEnded::Cancelled(_), .. } = world.hears("bob", "Ended") else { panic!() };
        world.hears("alice", "Gone");
    });
    let mut world = exactly();
    let (caller, called) = in_moratorium(&mut world, sdp(OFFER), ANSWER);
    let invite = world.net.last("alice -> bob  INVITE").unwrap().bytes.clone();
    let cancel = String::from_utf8(invite).unwrap().replace("INVITE", "CANCEL");
    let cancel = format!("{}Content-Length: 0\r\n\r\n", &cancel[..cancel.find("Contact:").unwrap()]);
    world.send("alice", "bob", cancel.as_bytes());
    world.net.expect("bob -> alice  200 CANCEL");
    world.hears("bob", "Confirmed");
    world.net.never("bob -> alice  487");
    world.hang_up("bob", called);
    world.hang_up("alice", caller);
    world.settles();
}
