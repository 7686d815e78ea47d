//! Changes: hold and resume by re-INVITE and UPDATE, refused ones, glare, other requests, session timers (RFC 3261 §14,
//! RFC 3311, RFC 4028, RFC 6086).

use std::time::Duration;

use farspeak_sip::message::{HeaderName, Method, StatusCode};
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Agent, Body, Event, Extra, Failure};

use crate::world::{ANSWER, INFO, OFFER, World, body_of, everywhere, sdp};

const HOLD: &[u8] = b"v=0\r\no=- 1 2 IN IP4 192.0.2.20\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n";
const HELD: &[u8] = b"v=0\r\no=- 2 2 IN IP4 192.0.2.21\r\ns=-\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\na=recvonly\r\n";

/// One offers, the other answers, and both know.
#[track_caller]
fn change(world: &mut World, one: &str, other: &str, session: SessionId, update: bool, offer: &[u8], answer: &[u8]) {
    world.pass_over();
    let verb = |agent: &mut Agent<'_>| match update {
        true => agent.update(session, sdp(offer)),
        false => agent.reinvite(session, sdp(offer)),
    };
    let done = world.at(one, verb);
    assert_eq!(done, Ok(()), "{one}\n{}", world.net);
    let event = world.hears(other, "Offer");
    assert_eq!(body_of(&event), offer);
    let Event::Offer { leg, .. } = event else { unreachable!() };
    world.at(other, |agent| agent.accept_offer(leg, sdp(answer))).unwrap();
    assert_eq!(body_of(&world.hears(one, "Answer")), answer);
    world.hears(one, "Modified");
    world.net.run_for(Duration::from_secs(20));
}

#[test]
fn either_side_holds_and_resumes() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        for update in [false, true] {
            change(world, "alice", "bob", caller, update, HOLD, HELD);
            change(world, "alice", "bob", caller, update, OFFER, ANSWER);
            change(world, "bob", "alice", called, update, HOLD, HELD);
            change(world, "bob", "alice", called, update, OFFER, ANSWER);
        }
        world.hang_up("bob", called, "alice");
    });
}

#[test]
fn a_session_is_changed_by_update_while_it_rings() {
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let (called, _) = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        world.net.run_for(Duration::from_secs(20));
        change(world, "alice", "bob", caller, true, HOLD, HELD);
        change(world, "bob", "alice", called, true, OFFER, ANSWER);
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        world.net.run_for(Duration::from_secs(20));
        world.hang_up("bob", called, "alice");
    });
}

#[test]
fn an_offer_is_asked_for_and_answered_in_the_ack() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, Extra::new())).unwrap();
        let Event::OfferWanted { leg, .. } = world.hears("bob", "OfferWanted") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(HOLD))).unwrap();
        assert_eq!(body_of(&world.hears("alice", "Offer")), HOLD);
        world.at("alice", |agent| agent.accept_offer(caller, sdp(HELD))).unwrap();
        assert_eq!(body_of(&world.hears("bob", "Answer")), HELD);
        world.net.run_for(Duration::from_secs(20));
        world.hang_up("alice", caller, "bob");
    });
}

#[test]
fn a_refused_change_is_refused_in_the_same_words() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(HOLD))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        let extra = Extra::new().header(HeaderName::Warning, "305 b \"no\"");
        world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, extra)).unwrap();
        let Event::ModifyFailed { failure: Failure::Response(response), .. } = world.hears("alice", "ModifyFailed")
        else {
            panic!("{}", world.net)
        };
        assert_eq!(response.status(), Some(StatusCode::NOT_ACCEPTABLE_HERE));
        assert_eq!(response.header(HeaderName::Warning), Some("305 b \"no\""));
        change(world, "alice", "bob", caller, false, OFFER, ANSWER);
        world.hang_up("alice", caller, "bob");
    });
}

#[test]
fn changes_that_cross_are_settled_leg_by_leg() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(HOLD))).unwrap();
        world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
        // Whoever backs off comes second, or finds that the session has changed; both answer as soon as they are asked.
        for _ in 0..600 {
            world.net.run_for(Duration::from_millis(100));
            let _ = world.at("alice", |agent| agent.accept_offer(caller, sdp(ANSWER)));
            let _ = world.at("bob", |agent| agent.accept_offer(called, sdp(HELD)));
        }
        let modified = ["alice", "bob"].map(|name| world.has_heard(name, "Modified"));
        assert!(modified.contains(&true), "{}", world.net);
        change(world, "alice", "bob", caller, false, HOLD, HELD);
        change(world, "bob", "alice", called, false, OFFER, ANSWER);
        world.hang_up("alice", caller, "bob");
    });
}

#[test]
fn requests_of_any_method_pass_and_so_do_their_answers() {
    everywhere(|world| {
        for name in ["alice", "bob"] {
            world.configure(name, |config| config.more_methods.push(Method::Other("PONDER".into())));
        }
        let (caller, called) = world.connect("alice", "bob");
        let ask = [(INFO, "alice", caller, "bob"), (Method::Other("PONDER".into()), "bob", called, "alice")];
        for (method, one, session, other) in ask {
            let extra =
                Extra::new().header_named("X-Odd", "1").body(Body::new("application/dtmf-relay", *b"Signal=5\r\n"));
            let sent = world.at(one, |agent| agent.send_within(session, method.clone(), extra)).unwrap();
            let Event::Within { tx, request, .. } = world.hears(other, "Within") else { unreachable!() };
            assert_eq!((request.method(), request.body()), (Some(&method), &b"Signal=5\r\n"[..]));
            assert_eq!(request.header_named("X-Odd"), Some("1"));
            let extra = Extra::new().header_named("X-Even", "2");
            world.at(other, |agent| agent.respond(tx, StatusCode::OK, extra));
            let Event::Answered { request, response } = world.hears(one, "Answered") else { unreachable!() };
            assert_eq!((request, response.header_named("X-Even")), (sent, Some("2")));
        }
        world.hang_up("alice", caller, "bob");
    });
}

#[test]
fn each_leg_has_its_own_session_timer() {
    everywhere(|world| {
        world.configure("alice", |config| config.session_interval = Some(120));
        let (caller, _) = world.connect("alice", "bob");
        let offers = world.net.count("proxy -> bob    INVITE");
        world.net.run_for(Duration::from_secs(600));
        assert!(world.net.count("alice -> proxy  UPDATE") >= 8, "{}", world.net);
        assert_eq!(world.net.count("proxy -> bob    INVITE"), offers, "a refresh of one leg is not the other's");
        world.hang_up("alice", caller, "bob");
    });
}
