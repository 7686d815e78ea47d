//! RFC 5359 §2.4–2.6: unattended transfer, attended transfer, transfer by instant message.

use farspeak_sip::message::{HeaderName, Method, StatusCode};
use farspeak_sip::user_agent::{Body, Event, Extra};

use crate::services::{
    accepts, answers, calls_as_referred, hangs_up, hears_success, holds, is_referred, refer_to, refer_to_replacing,
    replaces, with_replaces,
};
use crate::world::{ANSWER, OFFER, everywhere, header, sdp};

#[test]
fn unattended_transfer() {
    // §2.4: Bob has called Alice, who sends him to Carol and hangs up.
    everywhere(|world| {
        let (_, called) = world.connect("bob", "alice");
        let carol = refer_to(world, "carol");
        let by = Extra::new().header(HeaderName::ReferredBy, "<sip:alice@example.org>");
        world.at("alice", |agent| agent.refer(called, &carol, true, by)).unwrap();
        let (report, refer) = is_referred(world, "bob");
        world.at("alice", |agent| agent.hang_up(called, Extra::new())).unwrap();
        world.hears("bob", "Gone");
        let call = calls_as_referred(world, "bob", &refer, "carol", sdp(OFFER));
        let transferred = world.is_called("carol");
        let invite = world.net.last("bob -> carol  INVITE").unwrap();
        assert_eq!(header(&invite.bytes, HeaderName::ReferredBy), "<sip:alice@example.org>");
        accepts(world, "carol", transferred, "bob");
        world.at("bob", |agent| agent.refer_progress(report, StatusCode::OK)).unwrap();
        hears_success(world, "alice");
        hangs_up(world, "bob", call, "carol");
    });
}

#[test]
fn attended_transfer() {
    // §2.5: Bob holds Alice, asks Carol, and has the two talk in his place.
    everywhere(|world| {
        let (_, to_alice) = world.connect("alice", "bob");
        holds(world, "bob", to_alice, "alice");
        let to_carol = world.call("bob", "carol");
        answers(world, "carol", "bob");
        holds(world, "bob", to_carol, "carol");
        let at_carol = replaces(world, "bob", to_carol);
        let carol = refer_to_replacing(world, "carol", &at_carol);
        world.at("bob", |agent| agent.refer(to_alice, &carol, true, Extra::new())).unwrap();
        let (report, refer) = is_referred(world, "alice");
        let call = calls_as_referred(world, "alice", &refer, "carol", sdp(OFFER));
        let Event::Incoming { session, replaces, .. } = world.hears("carol", "Incoming") else { unreachable!() };
        assert!(replaces.is_some(), "{}", world.net);
        world.at("carol", |agent| agent.accept(session, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        world.at("alice", |agent| agent.refer_progress(report, StatusCode::OK)).unwrap();
        // Carol ends what was replaced; Bob ends the rest.
        world.hears("carol", "Gone");
        hears_success(world, "bob");
        let _ = world.at("bob", |agent| agent.hang_up(to_alice, Extra::new()));
        world.hears("alice", "Gone");
        hangs_up(world, "alice", call, "carol");
    });
}

#[test]
fn transfer_by_instant_message() {
    // §2.6: Bob asks Carol by a MESSAGE to take the call over; what she needs to know is in it.
    everywhere(|world| {
        let (_, called) = world.connect("alice", "bob");
        let at_alice = replaces(world, "bob", called);
        let link = refer_to_replacing(world, "alice", &at_alice).to_string();
        let opening = world.opening("bob", "carol");
        let body = Extra::new().body(Body::new("text/plain", link.into_bytes()));
        world.at("bob", |agent| agent.send(Method::Message, opening, body)).unwrap();
        let Event::Request { tx, request, .. } = world.hears("carol", "Request") else { unreachable!() };
        world.at("carol", |agent| agent.respond(tx, StatusCode::OK, Extra::new()));
        let read = farspeak_sip::header::ReferTo::parse(std::str::from_utf8(request.body()).unwrap()).unwrap();
        let taken = with_replaces(OFFER, &read.replaces().unwrap().unwrap());
        let call = world.call_with("carol", "alice", taken);
        let session = world.is_called("alice");
        accepts(world, "alice", session, "carol");
        world.hears("bob", "Gone");
        hangs_up(world, "carol", call, "alice");
    });
}
