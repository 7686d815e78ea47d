//! The set-up: reliable responses, early media, offers in every place, reasons (RFC 3261 §13, RFC 3262, RFC 3326).

use std::time::Duration;

use farspeak_sansio::Transport;
use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::user_agent::{Event, Extra, Failure, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, body_of, everywhere, sdp};

#[test]
fn reliable_responses_are_acknowledged_on_each_leg() {
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let (called, _) = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        assert_eq!(body_of(&world.hears("alice", "Answer")), ANSWER);
        world.net.run_for(Duration::from_secs(20));
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        for leg in ["alice -> proxy  PRACK", "proxy -> bob    PRACK"] {
            assert!(world.net.count(leg) > 0, "{leg}\n{}", world.net);
        }
        world.hang_up("alice", caller, "bob");
    });
}

#[test]
fn early_media_reaches_a_caller_without_prack() {
    everywhere(|world| {
        world.configure("alice", |config| config.extensions.remove(farspeak_sip::header::OptionTag::Rel100));
        let caller = world.call("alice", "bob");
        let (called, invite) = world.is_called("bob");
        assert!(!invite.supported().any(|tag| tag == "100rel"), "nobody promises for another");
        world.at("bob", |agent| agent.ring(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        if world.conditions.loss == 0.0 {
            assert_eq!(body_of(&world.hears("alice", "Progress")), ANSWER);
        }
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        assert_eq!(body_of(&world.hears("alice", "Accepted")), ANSWER);
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller, "bob");
    });
}

#[test]
fn an_invite_without_offer_is_answered_in_the_ack() {
    everywhere(|world| {
        let caller = world.call_with("alice", "sip:bob@biloxi.example", Extra::new());
        let (called, invite) = world.is_called("bob");
        assert!(invite.body().is_empty());
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.at("bob", |agent| agent.accept(called, sdp(OFFER))).unwrap();
        let accepted = world.hears("alice", "Accepted");
        assert_eq!(body_of(&accepted), OFFER);
        assert!(matches!(accepted, Event::Accepted { answer_owed: true, .. }));
        world.at("alice", |agent| agent.acknowledge(caller, sdp(ANSWER))).unwrap();
        assert_eq!(body_of(&world.hears("bob", "Answer")), ANSWER);
        world.hears("bob", "Confirmed");
        world.hang_up("bob", called, "alice");
    });
}

#[test]
fn a_cancel_arrives_with_its_reason() {
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let (called, _) = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.net.run_for(Duration::from_secs(20));
        let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
        let extra = Extra::new().header(HeaderName::Reason, reason);
        world.at("alice", |agent| agent.hang_up(caller, extra)).unwrap();
        let Event::Ended { how: HowEnded::Cancelled(cancel), .. } = world.hears("bob", "Ended") else { panic!() };
        assert_eq!(cancel.header(HeaderName::Reason), Some(reason));
        world.hears("alice", "Gone");
    });
}

#[test]
fn a_bye_arrives_with_its_reason_and_what_else_it_says() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let extra = Extra::new().header(HeaderName::Reason, "Q.850;cause=16").header_named("X-Odd", "kept as it is");
        world.at("alice", |agent| agent.hang_up(caller, extra)).unwrap();
        let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("bob", "Ended") else { panic!() };
        assert_eq!(bye.header(HeaderName::Reason), Some("Q.850;cause=16"));
        assert_eq!(bye.header_named("X-Odd"), Some("kept as it is"));
    });
}

#[test]
fn a_refusal_arrives_with_what_it_says() {
    everywhere(|world| {
        world.call("alice", "bob");
        let (called, _) = world.is_called("bob");
        let extra =
            Extra::new().header(HeaderName::Warning, "370 b \"bandwidth\"").header(HeaderName::RetryAfter, "17");
        world.at("bob", |agent| agent.reject(called, StatusCode::NOT_ACCEPTABLE_HERE, extra)).unwrap();
        let Event::Failed { failure: Failure::Response(response), .. } = world.hears("alice", "Failed") else {
            panic!("{}", world.net)
        };
        assert_eq!(response.status(), Some(StatusCode::NOT_ACCEPTABLE_HERE));
        assert_eq!(response.header(HeaderName::Warning), Some("370 b \"bandwidth\""));
        assert_eq!(response.header(HeaderName::RetryAfter), Some("17"));
    });
}

#[test]
fn a_caller_agrees_with_the_phone_that_answers_not_the_one_that_promised() {
    const DESK: &[u8] = b"v=0\r\no=- 9 1 IN IP4 192.0.2.22\r\ns=-\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0\r\n";
    const NEWER: &[u8] = b"v=0\r\no=- 1 2 IN IP4 192.0.2.20\r\ns=-\r\nt=0 0\r\nm=audio 4002 RTP/AVP 0\r\n";
    for shards in 1..=3 {
        let conditions = Conditions { transport: Transport::Udp, loss: 0.0, seed: 1, shards };
        let mut world = World::with(conditions, &["alice", "bob", "desk"]);
        let caller = world.call("alice", "bob");
        let (promising, _) = world.is_called("bob");
        let (answering, _) = world.is_called("desk");
        world.at("bob", |agent| agent.ring_reliably(promising, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        assert_eq!(body_of(&world.hears("alice", "Answer")), ANSWER);
        world.net.run_for(Duration::from_secs(2));
        world.at("desk", |agent| agent.accept(answering, sdp(DESK))).unwrap();
        world.hears("alice", "Accepted");
        let offer = world.hears("alice", "Offer");
        assert_eq!(body_of(&offer), DESK);
        world.at("alice", |agent| agent.accept_offer(caller, sdp(NEWER))).unwrap();
        let offer = world.hears("desk", "Offer");
        assert_eq!(body_of(&offer), NEWER);
        world.at("desk", |agent| agent.accept_offer(answering, sdp(DESK))).unwrap();
        world.net.run_for(Duration::from_secs(2));
        world.hang_up("alice", caller, "desk");
        world.settles();
    }
}
