//! RFC 6337: Table 1 row by row, the figures of §3.1, and what meets what in §4 (Tables 3 and 4).

use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::session::{SessionId, VerbError};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, header, sdp};

fn ends(world: &mut World, session: SessionId) {
    world.hang_up("alice", session);
    world.hears("bob", "Gone");
    world.hears("alice", "Gone");
}

#[test]
fn pattern_1_invite_and_2xx() {
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        let without = world.at("bob", |agent| agent.accept(called, Extra::new()));
        assert_eq!(without, Err(VerbError::NeedsDescription));
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        let Event::Accepted { response, answer_owed, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert_eq!((response.body(), answer_owed), (ANSWER, false));
        let Event::Confirmed { ack, .. } = world.hears("bob", "Confirmed") else { unreachable!() };
        assert!(ack.body().is_empty());
        ends(world, caller);
    });
}

#[test]
fn pattern_2_2xx_and_ack() {
    everywhere(|world| {
        let caller = world.call_with("alice", "bob", Extra::new());
        let called = world.is_called("bob");
        assert_eq!(world.at("bob", |agent| agent.accept(called, Extra::new())), Err(VerbError::NeedsDescription));
        world.at("bob", |agent| agent.accept(called, sdp(OFFER))).unwrap();
        let Event::Accepted { response, answer_owed, leg } = world.hears("alice", "Accepted") else { unreachable!() };
        assert_eq!((response.body(), answer_owed), (OFFER, true));
        let without = world.at("alice", |agent| agent.acknowledge(leg, Extra::new()));
        assert_eq!(without, Err(VerbError::NeedsDescription));
        world.at("alice", |agent| agent.acknowledge(leg, sdp(ANSWER))).unwrap();
        let Event::Answer { message, .. } = world.hears("bob", "Answer") else { unreachable!() };
        assert_eq!(message.body(), ANSWER);
        world.hears("bob", "Confirmed");
        ends(world, caller);
    });
}

#[test]
fn pattern_3_invite_and_reliable_response() {
    // Figure 1: preview, a reliable response without, the answer, and nothing after that.
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        let Event::Answer { message, leg } = world.hears("alice", "Answer") else { unreachable!() };
        assert_eq!(message.body(), ANSWER);
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::QUEUED, sdp(ANSWER))).unwrap();
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        let Event::Accepted { response, leg: accepted, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert_eq!((leg, response.body()), (accepted, &b""[..]));
        world.hears("bob", "Confirmed");
        assert_eq!(world.heard("alice").iter().filter(|event| *event == "Answer").count(), 1);
        ends(world, caller);
    });
}

#[test]
fn pattern_4_reliable_response_and_prack() {
    // Figure 2
    everywhere(|world| {
        let caller = world.call_with("alice", "bob", Extra::new());
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
        assert_eq!(world.at("alice", |agent| agent.update(leg, sdp(OFFER))), Err(VerbError::WrongState));
        assert_eq!(world.at("bob", |agent| agent.update(called, sdp(OFFER))), Err(VerbError::WrongState));
        world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("bob", "Answer");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        let Event::Accepted { response, answer_owed, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert_eq!((response.body(), answer_owed), (&b""[..], false));
        world.hears("bob", "Confirmed");
        ends(world, caller);
    });
}

#[test]
fn pattern_5_prack_and_its_2xx() {
    // The early session, and that of a re-INVITE.
    everywhere(|world| {
        world.configure("alice", |config| config.offers_in_prack = true);
        let (caller, called) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        world.at("alice", |agent| agent.prack(caller, sdp(OFFER))).unwrap();
        world.hears("bob", "Offer");
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        world.at("bob", |agent| agent.accept_offer(called, Extra::new())).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        ends(world, caller);
    });
}

#[test]
fn pattern_6_update_and_its_2xx() {
    everywhere(|world| {
        let (caller, called) = world.ring_with_answer("alice", "bob");
        world.at("bob", |agent| agent.update(called, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
        let without = world.at("alice", |agent| agent.accept_offer(leg, Extra::new()));
        assert_eq!(without, Err(VerbError::NeedsDescription));
        world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("bob", "Answer");
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        world.at("alice", |agent| agent.update(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Answer");
        ends(world, caller);
    });
}

#[test]
fn a_description_that_is_for_something_else_is_no_offer() {
    // RFC 6337 §2.2: only the disposition `session` counts.
    everywhere(|world| {
        let body = farspeak_sip::user_agent::Body { disposition: Some("early-session".into()), ..sdp_body() };
        let caller = world.call_with("alice", "bob", Extra::new().body(body));
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.accept(called, sdp(OFFER))).unwrap();
        let Event::Accepted { answer_owed, leg, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert!(answer_owed, "the 2xx has the offer");
        world.at("alice", |agent| agent.acknowledge(leg, sdp(ANSWER))).unwrap();
        world.hears("bob", "Confirmed");
        ends(world, caller);
    });
}

fn sdp_body() -> farspeak_sip::user_agent::Body {
    sdp(OFFER).get_body().unwrap().clone()
}

#[test]
fn a_part_of_a_multipart_body_is_an_offer_too() {
    everywhere(|world| {
        let parts = [
            &b"--b\r\nContent-Type: application/sdp\r\n\r\n"[..],
            OFFER,
            b"\r\n--b\r\nContent-Type: text/plain\r\nContent-Disposition: render;handling=optional\r\n\r\nhi\r\n--b--\r\n",
        ];
        let body = farspeak_sip::user_agent::Body::new("multipart/mixed;boundary=b", parts.concat());
        let caller = world.call_with("alice", "bob", Extra::new().body(body));
        let called = world.is_called("bob");
        assert_eq!(world.at("bob", |agent| agent.accept(called, Extra::new())), Err(VerbError::NeedsDescription));
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        let Event::Accepted { answer_owed, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert!(!answer_owed);
        world.hears("bob", "Confirmed");
        ends(world, caller);
    });
}

/// Lets one of them ask for a change, then forges what must not come meanwhile, and says how that is answered.
fn meets(prepare: impl Fn(&mut World) -> SessionId, forged: &str, status: &str) {
    let mut world = World::new(Conditions::udp());
    let caller = prepare(&mut world);
    let request = world.next_of_alice(forged, OFFER);
    world.net.pass_over();
    world.send("alice", "bob", &request);
    let refusal = world.net.expect(&format!("bob -> alice  {status} {forged}"));
    if status == "500" {
        let seconds: u32 = header(&refusal.bytes, HeaderName::RetryAfter).parse().unwrap();
        assert!(seconds <= 10, "RFC 3261 §14.2");
    }
    world.everybody_hangs_up();
    world.hang_up("alice", caller);
    world.net.run_for(std::time::Duration::from_secs(40));
    world.everybody_hangs_up();
    world.settles();
}

#[test]
fn uas_icu_and_ici_an_invite_of_ours_is_under_way() {
    for method in ["UPDATE", "INVITE"] {
        for extra in [sdp(OFFER), Extra::new()] {
            let reinvites = |world: &mut World| {
                let (caller, called) = world.connect("alice", "bob");
                world.at("bob", |agent| agent.reinvite(called, extra.clone())).unwrap();
                world.net.expect("bob -> alice  INVITE");
                caller
            };
            meets(reinvites, method, "491");
        }
    }
}

#[test]
fn uas_icu_the_ack_with_the_answer_is_owed() {
    for method in ["UPDATE", "INVITE"] {
        let owes = |world: &mut World| {
            let (caller, called) = world.connect("alice", "bob");
            world.at("bob", |agent| agent.reinvite(called, Extra::new())).unwrap();
            let Event::OfferWanted { leg, .. } = world.hears("alice", "OfferWanted") else { unreachable!() };
            world.at("alice", |agent| agent.accept_offer(leg, sdp(OFFER))).unwrap();
            world.hears("bob", "Offer");
            caller
        };
        meets(owes, method, "491");
    }
}

#[test]
fn uas_ucu_and_uci_an_update_of_ours_is_under_way() {
    // Tables 3 and 4: UPDATE meets UPDATE and INVITE.
    for method in ["UPDATE", "INVITE"] {
        let updates = |world: &mut World| {
            let (caller, called) = world.connect("alice", "bob");
            world.at("bob", |agent| agent.update(called, sdp(OFFER))).unwrap();
            world.net.expect("bob -> alice  UPDATE");
            caller
        };
        meets(updates, method, "491");
    }
}

#[test]
fn uas_usu_and_usi_an_update_of_the_peers_waits() {
    for method in ["UPDATE", "INVITE"] {
        let waits = |world: &mut World| {
            let (caller, _) = world.connect("alice", "bob");
            world.at("alice", |agent| agent.update(caller, sdp(OFFER))).unwrap();
            world.hears("bob", "Offer");
            caller
        };
        meets(waits, method, "500");
    }
}

#[test]
fn uas_isu_and_isi_an_invite_of_the_peers_waits() {
    for method in ["UPDATE", "INVITE"] {
        for (extra, event) in [(sdp(OFFER), "Offer"), (Extra::new(), "OfferWanted")] {
            let waits = |world: &mut World| {
                let (caller, _) = world.connect("alice", "bob");
                world.at("alice", |agent| agent.reinvite(caller, extra.clone())).unwrap();
                world.hears("bob", event);
                caller
            };
            meets(waits, method, "500");
        }
    }
}

#[test]
fn uas_isu_the_offer_in_our_2xx_waits_for_its_ack() {
    // Figures 5 and 12
    for method in ["UPDATE", "INVITE"] {
        let waits = |world: &mut World| {
            let (caller, _) = world.connect("alice", "bob");
            world.at("alice", |agent| agent.reinvite(caller, Extra::new())).unwrap();
            let Event::OfferWanted { leg, .. } = world.hears("bob", "OfferWanted") else { unreachable!() };
            world.at("bob", |agent| agent.accept_offer(leg, sdp(OFFER))).unwrap();
            world.hears("alice", "Offer");
            caller
        };
        meets(waits, method, "500");
    }
}

#[test]
fn uas_isu_the_offer_in_our_reliable_response_waits_for_its_prack() {
    // Figure 6
    let waits = |world: &mut World| {
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, Extra::new())).unwrap();
        let Event::OfferWanted { leg, .. } = world.hears("bob", "OfferWanted") else { unreachable!() };
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(OFFER))).unwrap();
        world.hears("alice", "Offer");
        caller
    };
    meets(waits, "UPDATE", "500");
}

#[test]
fn uas_isu_the_answer_in_our_reliable_response_waits_for_its_prack() {
    let waits = |world: &mut World| {
        world.configure("alice", |config| config.offers_in_prack = true);
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        assert_eq!(world.at("bob", |agent| agent.update(leg, sdp(OFFER))), Err(VerbError::WrongState), "Figure 7");
        world.hears("alice", "Answer");
        caller
    };
    meets(waits, "UPDATE", "500");
}

#[test]
fn uas_icu_a_prack_with_an_offer_is_under_way() {
    // Figures 9 and 11
    let waits = |world: &mut World| {
        world.configure("bob", |config| config.offers_in_prack = true);
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
        world.at("alice", |agent| agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.hears("bob", "Answer");
        world.at("bob", |agent| agent.prack(called, sdp(OFFER))).unwrap();
        world.hears("alice", "Offer");
        caller
    };
    meets(waits, "UPDATE", "491");
}
