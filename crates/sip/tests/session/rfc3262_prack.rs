//! RFC 3262 §§3–5: reliable provisional responses.

use farspeak_sip::header::{RAck, RSeq};
use farspeak_sip::message::{HeaderName, Limits, Message, StatusCode};
use farspeak_sip::session::VerbError;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, sdp};

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes, &Limits::default()).unwrap()
}

#[test]
fn a_reliable_response_is_sent_until_its_prack_comes() {
    // RFC 3262 §3, §4
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
        let Event::Progress { response, .. } = world.hears("alice", "Progress") else { unreachable!() };
        assert!(response.require().any(|tag| tag == "100rel"));
        let RSeq(first) = RSeq::of(&response).unwrap().unwrap();
        assert!((1..1 << 31).contains(&first));
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, Extra::new())).unwrap();
        let Event::Progress { response, .. } = world.hears("alice", "Progress") else { unreachable!() };
        assert_eq!(RSeq::of(&response).unwrap(), Some(RSeq(first + 1)));
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        let progress = world.heard("alice").iter().filter(|event| *event == "Progress").count();
        assert_eq!(progress, 2, "a retransmission is nobody's business");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn the_prack_names_the_response_and_its_invite() {
    // RFC 3262 §7.2
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
    let response = parse(&world.net.expect("bob -> alice  180 INVITE").bytes);
    let prack = parse(&world.net.expect("alice -> bob  PRACK").bytes);
    let rack = RAck::of(&prack).unwrap().unwrap();
    assert!(rack.confirms(RSeq::of(&response).unwrap().unwrap(), &response.cseq().unwrap()));
    assert!(prack.header(HeaderName::Contact).is_none());
    world.net.expect("bob -> alice  200 PRACK");
    world.at("alice", |agent| agent.cancel(caller)).unwrap();
    world.settles();
}

#[test]
fn the_next_response_waits_for_the_prack_of_the_one_before() {
    // RFC 3262 §3
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    for status in [StatusCode::SESSION_PROGRESS, StatusCode::RINGING, StatusCode::QUEUED] {
        world.at("bob", |agent| agent.ring_reliably(called, status, Extra::new())).unwrap();
    }
    for status in ["183", "180", "182"] {
        world.net.expect(&format!("bob -> alice  {status} INVITE"));
        world.net.expect("alice -> bob  PRACK");
    }
    world.at("alice", |agent| agent.cancel(caller)).unwrap();
    world.settles();
}

#[test]
fn nothing_reliable_for_who_does_not_know_prack() {
    // RFC 3262 §3
    let mut world = World::new(Conditions::udp());
    let call = world.call("alice", "bob");
    let invite = world.net.expect("alice -> bob  INVITE");
    world.is_called("bob");
    world.at("alice", |agent| agent.cancel(call)).unwrap();
    world.settles();
    let text = String::from_utf8(invite.bytes).unwrap();
    let text = text.replace("100rel, ", "").replace("z9hG4bK", "z9hG4bKx").replace("Call-ID: ", "Call-ID: x");
    world.send("alice", "bob", text.as_bytes());
    let called = world.is_called("bob");
    let reliable = world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new()));
    assert_eq!(reliable, Err(VerbError::WrongState));
    world.at("bob", |agent| agent.reject(called, StatusCode::BUSY_HERE, Extra::new())).unwrap();
    world.hears("bob", "Gone");
}

#[test]
fn who_requires_it_gets_nothing_else() {
    // RFC 3262 §3
    everywhere(|world| {
        let caller = world.call_with("alice", "bob", sdp(OFFER).header(HeaderName::Require, "100rel"));
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        let Event::Progress { response, .. } = world.hears("alice", "Progress") else { unreachable!() };
        assert!(RSeq::of(&response).unwrap().is_some());
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn an_unknown_extension_is_refused() {
    // RFC 3261 §8.2.2.3
    everywhere(|world| {
        world.call_with("alice", "bob", sdp(OFFER).header(HeaderName::Require, "100rel, strange"));
        let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::BAD_EXTENSION);
    });
}

#[test]
fn without_a_prack_the_invite_is_refused() {
    // RFC 3262 §3: after 64 × T1, with a 5xx.
    let mut world = World::new(Conditions::udp());
    world.call("alice", "bob");
    let called = world.is_called("bob");
    let alice = world.host("alice");
    world
        .net
        .intercept(alice, |bytes| bytes.starts_with(b"SIP/2.0 180").then(|| (crate::world::nowhere(), Vec::new())));
    world.at("bob", |agent| agent.ring(called, StatusCode::SESSION_PROGRESS, Extra::new())).unwrap();
    let begun = world.net.now();
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
    let Event::Ended { how: HowEnded::NoPrack, .. } = world.hears("bob", "Ended") else { panic!() };
    assert_eq!((world.net.now() - begun).as_secs(), 32);
    let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
    assert_eq!(failure.status(), StatusCode::SERVER_TIMEOUT);
    // T1, doubling without a cap: at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    assert_eq!(world.net.count("bob -> alice  180 INVITE"), 7);
    world.settles();
}

#[test]
fn a_prack_for_nothing_gets_481() {
    // RFC 3262 §3
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
    let prack = world.net.expect("alice -> bob  PRACK");
    world.net.expect("bob -> alice  200 PRACK");
    world.forge("alice", "bob", &prack.bytes, "PRACK");
    world.net.expect("bob -> alice  481 PRACK");
    world.at("alice", |agent| agent.cancel(caller)).unwrap();
    world.settles();
}

#[test]
fn each_early_dialog_has_its_own_order() {
    // RFC 3262 §4: another fork's numbers are another fork's. Its response is made of the first one's.
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
    let response = world.net.expect("bob -> alice  180 INVITE").bytes;
    let own = crate::world::header(&response, HeaderName::RSeq);
    let tag = parse(&response).to_tag().unwrap().to_owned();
    world.net.expect("bob -> alice  200 PRACK");
    let fork = |rseq: u64, tag: &str, text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.replace(&format!("RSeq: {own}"), &format!("RSeq: {rseq}")).replace("tag=TAG", &format!("tag={tag}"))
    };
    let other = String::from_utf8(response.clone()).unwrap().replace(&format!("tag={tag}"), "tag=TAG");
    world.send("bob", "alice", fork(7, "fork", other.as_bytes()).as_bytes());
    let prack = parse(&world.net.expect("alice -> bob  PRACK").bytes);
    assert_eq!((prack.to_tag(), RAck::of(&prack).unwrap().unwrap().rseq), (Some("fork"), 7));
    // Out of order, and again: no PRACK, no word of it (RFC 3262 §4).
    let before = world.net.count("alice -> bob  PRACK");
    world.net.run_for(std::time::Duration::from_secs(1));
    for rseq in [9, 7, 6] {
        world.send("bob", "alice", fork(rseq, "fork", other.as_bytes()).as_bytes());
    }
    world.net.run_for(std::time::Duration::from_secs(1));
    assert_eq!(world.net.count("alice -> bob  PRACK"), before);
    assert_eq!(world.heard("alice").iter().filter(|event| *event == "Progress").count(), 2);
    world.send("bob", "alice", fork(8, "fork", other.as_bytes()).as_bytes());
    let prack = parse(&world.net.expect("alice -> bob  PRACK").bytes);
    assert_eq!(RAck::of(&prack).unwrap().unwrap().rseq, 8);
    world.at("alice", |agent| agent.cancel(caller)).unwrap();
    world.settles();
}

#[test]
fn a_2xx_waits_for_the_prack_of_an_answer() {
    // RFC 3262 §3, §5
    everywhere(|world| {
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        assert_eq!(world.at("bob", |agent| agent.accept(called, sdp(ANSWER))), Err(VerbError::WrongState));
        let Event::Answer { message, .. } = world.hears("alice", "Answer") else { unreachable!() };
        assert_eq!(message.body(), ANSWER);
        let Event::Accepted { response, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert!(response.body().is_empty(), "RFC 6337 §3.1.1: no description once it is settled");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_2xx_does_not_wait_for_a_prack_that_settles_nothing() {
    // RFC 3262 §3
    let mut world = World::new(Conditions::udp());
    let caller = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    world.net.expect("bob -> alice  180 INVITE");
    world.net.expect("bob -> alice  200 INVITE");
    world.net.expect("alice -> bob  PRACK");
    world.net.expect("bob -> alice  200 PRACK");
    world.hears("bob", "Confirmed");
    world.hang_up("alice", caller);
    world.settles();
}

#[test]
fn a_prack_after_a_refusal_is_still_answered() {
    // RFC 3262 §3
    let mut world = World::new(Conditions::udp());
    world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new())).unwrap();
    world.at("bob", |agent| agent.reject(called, StatusCode::BUSY_HERE, Extra::new())).unwrap();
    world.net.expect("alice -> bob  PRACK");
    world.net.expect("bob -> alice  200 PRACK");
    world.hears("alice", "Failed");
    world.settles();
}

#[test]
fn the_first_reliable_response_to_an_invite_without_an_offer_has_it() {
    // RFC 3262 §5: the answer comes in the PRACK.
    everywhere(|world| {
        let caller = world.call_with("alice", "bob", Extra::new());
        let called = world.is_called("bob");
        let without = world.at("bob", |agent| agent.ring_reliably(called, StatusCode::RINGING, Extra::new()));
        assert_eq!(without, Err(VerbError::NeedsDescription));
        let unreliable = world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, sdp(OFFER)));
        assert_eq!(unreliable, Err(VerbError::WrongState));
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(OFFER))).unwrap();
        let Event::Offer { leg, message } = world.hears("alice", "Offer") else { unreachable!() };
        assert_eq!(message.body(), OFFER);
        assert_eq!(world.at("alice", |agent| agent.prack(leg, Extra::new())), Err(VerbError::WrongState));
        world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        let Event::Answer { message, .. } = world.hears("bob", "Answer") else { unreachable!() };
        assert_eq!(message.body(), ANSWER);
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_prack_carries_the_next_offer() {
    // RFC 3262 §5
    everywhere(|world| {
        world.configure("alice", |config| config.offers_in_prack = true);
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        let Event::Answer { leg, .. } = world.hears("alice", "Answer") else { unreachable!() };
        world.at("alice", |agent| agent.prack(leg, sdp(OFFER))).unwrap();
        let Event::Offer { leg, message } = world.hears("bob", "Offer") else { unreachable!() };
        assert_eq!(message.body(), OFFER);
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        // The 200 to the INVITE may overtake that to the PRACK.
        let [Event::Answer { message, .. }, _] = world.hears_all("alice", ["Answer", "Accepted"]) else {
            unreachable!()
        };
        assert_eq!(message.body(), ANSWER);
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_refused_offer_in_a_prack_is_followed_by_a_prack_without() {
    // RFC 6337 §2.3
    everywhere(|world| {
        world.configure("alice", |config| config.offers_in_prack = true);
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        let Event::Answer { leg, .. } = world.hears("alice", "Answer") else { unreachable!() };
        world.at("alice", |agent| agent.prack(leg, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new())).unwrap();
        world.hears("alice", "ModifyFailed");
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn an_application_that_forgets_its_prack_does_not_hold_up_the_call() {
    everywhere(|world| {
        world.configure("alice", |config| config.offers_in_prack = true);
        let caller = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        world.at("bob", |agent| agent.accept(called, Extra::new())).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn an_offer_in_a_reliable_response_that_nobody_answers_ends_the_call() {
    everywhere(|world| {
        world.call_with("alice", "bob", Extra::new());
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(OFFER))).unwrap();
        world.hears("alice", "Offer");
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}
