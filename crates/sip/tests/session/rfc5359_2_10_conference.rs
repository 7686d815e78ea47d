//! RFC 5359 §2.10–2.11: a third party is added to a call, or joins it. Bob's phone mixes.

use farspeak_sip::header::Join;
use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::user_agent::{Event, Extra};

use crate::services::{RESUME, answers, changes, hangs_up, replaces};
use crate::world::{ANSWER, OFFER, everywhere, sdp};

/// Bob's Contact as the centre of a conference (RFC 4579 §5).
fn focus(contact: &str) -> String {
    format!("{contact};isfocus")
}

#[test]
fn a_third_party_is_added() {
    // §2.10
    everywhere(|world| {
        let (_, to_alice) = world.connect("alice", "bob");
        // Bob tells Alice that he is a conference now.
        let contact = focus(&world.opening("bob", "alice").contact);
        world.at("bob", |agent| agent.set_contact(to_alice, &contact)).unwrap();
        changes(world, "bob", to_alice, RESUME, "alice", ANSWER);
        let told = world.net.last("bob -> alice  INVITE").unwrap();
        assert!(crate::world::header(&told.bytes, HeaderName::Contact).ends_with(";isfocus"));
        let mut opening = world.opening("bob", "carol");
        opening.contact = focus(&opening.contact).into();
        let to_carol = world.invites("bob", farspeak_sip::session::Invite { opening, extra: sdp(OFFER) });
        answers(world, "carol", "bob");
        hangs_up(world, "bob", to_alice, "alice");
        hangs_up(world, "bob", to_carol, "carol");
    });
}

#[test]
fn a_third_party_joins() {
    // §2.11: Carol knows the dialog, and asks Bob to take her in (RFC 3911).
    everywhere(|world| {
        let (caller, to_alice) = world.connect("alice", "bob");
        // As Bob is told to join it, it is what Alice would tell him to replace.
        let dialog = replaces(world, "alice", caller);
        let join = Join { call_id: dialog.call_id, to_tag: dialog.to_tag, from_tag: dialog.from_tag };
        world.call_with("carol", "bob", sdp(OFFER).header(HeaderName::Join, join.to_string()));
        let Event::Incoming { session, request, .. } = world.hears("bob", "Incoming") else { unreachable!() };
        assert_eq!(Join::of(&request), Ok(Some(join)));
        world.at("bob", |agent| agent.ring(session, StatusCode::RINGING, Extra::new())).unwrap();
        let contact = focus(&world.opening("bob", "alice").contact);
        world.at("bob", |agent| agent.set_contact(to_alice, &contact)).unwrap();
        changes(world, "bob", to_alice, RESUME, "alice", ANSWER);
        world.at("bob", |agent| agent.accept(session, sdp(ANSWER))).unwrap();
        world.hears("carol", "Accepted");
        world.hears("bob", "Confirmed");
        hangs_up(world, "bob", session, "carol");
        hangs_up(world, "bob", to_alice, "alice");
    });
}
