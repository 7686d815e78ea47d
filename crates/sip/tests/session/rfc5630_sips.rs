//! RFC 5630: a `sips` call is encrypted on every hop, or is not made.

use farspeak_sansio::Transport;
use farspeak_sip::dialog::Opening;
use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::session::{Invite, VerbError};
use farspeak_sip::user_agent::{Event, Extra, HowEnded, SipsPolicy};

use crate::world::{ANSWER, Conditions, OFFER, World, header, sdp};

fn tls() -> Conditions {
    Conditions { transport: Transport::Tls, ..Conditions::udp() }
}

/// How alice calls bob by `sips`.
fn sips(world: &World) -> Opening {
    Opening {
        target: "sips:bob@192.0.2.2:5060".into(),
        from: "<sips:alice@example.org>".into(),
        to: "<sips:bob@example.org>".into(),
        contact: "<sips:alice@192.0.2.1:5060>".into(),
        ..world.opening("alice", "bob")
    }
}

fn call(world: &mut World, opening: Opening) -> Result<farspeak_sip::session::SessionId, VerbError> {
    world.at("alice", |agent| agent.invite(Invite { opening, extra: sdp(OFFER) }))
}

#[test]
fn a_sips_call_has_sips_contacts_at_both_ends() {
    // §5.1.1, §5.1.2, RFC 3261 §12.1.1
    let mut world = World::new(tls());
    let opening = Opening { route_set: vec!["<sip:192.0.2.2:5060;lr>".into()], ..sips(&world) };
    let caller = call(&mut world, opening).unwrap();
    let called = world.is_called("bob");
    let invite = world.net.last("alice -> bob  INVITE").unwrap();
    assert_eq!(header(&invite.bytes, HeaderName::Route), "<sips:192.0.2.2:5060;lr>");
    world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    let Event::Accepted { response, .. } = world.hears("alice", "Accepted") else { unreachable!() };
    assert_eq!(response.header(HeaderName::Contact), Some("<sips:bob@192.0.2.2:5060>"), "no transport=tls");
    world.hears("bob", "Confirmed");
    // Target refreshes keep it.
    world.at("alice", |agent| agent.update(caller, Extra::new())).unwrap();
    world.hears("alice", "Modified");
    let updated = world.net.last("bob -> alice  200 UPDATE").unwrap();
    assert!(header(&updated.bytes, HeaderName::Contact).starts_with("<sips:"));
    world.at("bob", |agent| agent.hang_up(called, Extra::new())).unwrap();
    let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("alice", "Ended") else { panic!("no BYE") };
    assert!(bye.request_uri().unwrap().starts_with("sips:"));
    world.settles();
}

#[test]
fn never_leaves_unencrypted() {
    // §5.1.1: nor is sips changed into sip.
    for conditions in [Conditions::udp(), Conditions::tcp()] {
        let mut world = World::new(conditions);
        let opening = sips(&world);
        assert_eq!(call(&mut world, opening), Err(VerbError::NotSecure));
        let first_hop = Opening { route_set: vec!["<sips:192.0.2.2;lr>".into()], ..world.opening("alice", "bob") };
        assert_eq!(call(&mut world, first_hop), Err(VerbError::NotSecure));
        let message = sips(&world);
        let sent = world.at("alice", |agent| agent.send(farspeak_sip::message::Method::Message, message, Extra::new()));
        assert_eq!(sent.unwrap_err(), VerbError::NotSecure);
        world.settles();
    }
}

#[test]
fn who_takes_sips_only_or_not_at_all_says_so() {
    // §5.1.2: 480 with Warning 381 or 380
    for (policy, by_sips, code) in [(SipsPolicy::Always, false, "381 "), (SipsPolicy::Never, true, "380 ")] {
        let mut world = World::new(tls());
        world.configure("bob", |config| config.sips = policy);
        let opening = if by_sips { sips(&world) } else { world.opening("alice", "bob") };
        call(&mut world, opening).unwrap();
        let refusal = world.net.expect("bob -> alice  480 INVITE");
        assert!(header(&refusal.bytes, HeaderName::Warning).starts_with(code), "{}", world.net);
        assert!(world.heard("bob").is_empty());
        world.settles();
    }
}

#[test]
fn a_sips_call_without_a_sips_contact_is_not_made_and_not_taken() {
    // RFC 3261 §8.1.1.8; RFC 5630 §5.1.2: 400
    let mut world = World::new(tls());
    let opening = Opening { contact: "<sip:alice@192.0.2.1:5060>".into(), ..sips(&world) };
    assert_eq!(call(&mut world, opening), Err(VerbError::NotSecure));
    let opening = sips(&world);
    call(&mut world, opening).unwrap();
    world.is_called("bob");
    let invite = world.net.last("alice -> bob  INVITE").unwrap().bytes.clone();
    let text = String::from_utf8(invite.to_vec()).unwrap();
    let forged = text.replace("Contact: <sips:", "Contact: <sip:").replace("z9hG4bK", "z9hG4bKforged");
    world.send(
        "alice",
        "bob",
        forged.replace("From: <sips:alice@example.org>;tag=", "From: <sips:x@y>;tag=9").as_bytes(),
    );
    world.net.expect("bob -> alice  400 INVITE");
    let called = world.session("bob");
    world.at("bob", |agent| agent.reject(called, StatusCode::BUSY_HERE, Extra::new())).unwrap();
    world.hears("alice", "Gone");
    world.settles();
}
