//! RFC 4916: who somebody is changes within a dialog.

use farspeak_sip::header::OptionTag;
use farspeak_sip::message::{HeaderName, Method, StatusCode};
use farspeak_sip::session::VerbError;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, sdp};

#[test]
fn who_answers_says_who_it_is() {
    // §4.2, §5.1: Carol answers at Bob's place.
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.set_identity(called, "\"Carol\" <sip:carol@example.org>", Extra::new())).unwrap();
        let Event::PeerChanged { from, .. } = world.hears("alice", "PeerChanged") else { unreachable!() };
        assert!(from.starts_with("\"Carol\" <sip:carol@example.org>;tag="), "{from}");
        world.hears("alice", "Refreshed");
        world.hears("bob", "Modified");
        // §4.4.2: the new URI is in To from now on; the tags are the old ones.
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("bob", "Ended") else { panic!("no BYE") };
        assert_eq!(bye.to().unwrap().uri_text, "sip:carol@example.org");
        world.hears("alice", "Gone");
    });
}

#[test]
fn an_identity_changes_again_and_stays() {
    // §4.3, §5.2: a gateway transfers somebody behind it.
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        for name in ["dave", "erin"] {
            let from = format!("<sip:{name}@example.org>");
            world.at("alice", |agent| agent.set_identity(caller, &from, Extra::new())).unwrap();
            let Event::PeerChanged { from: heard, .. } = world.hears("bob", "PeerChanged") else { unreachable!() };
            assert!(heard.starts_with(&from), "{heard}");
            world.hears("alice", "Modified");
        }
        // §4.4.1: the same URI in every later request.
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, message } = world.hears("bob", "Offer") else { unreachable!() };
        assert_eq!(message.from().unwrap().uri_text, "sip:erin@example.org");
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("bob", called);
        world.hears("alice", "Gone");
    });
}

#[test]
fn who_takes_no_update_is_told_by_an_invite_that_changes_nothing() {
    // §4.3
    everywhere(|world| {
        world.configure("bob", |config| config.methods.remove(&Method::Update));
        let (caller, _) = world.connect("alice", "bob");
        world.at("alice", |agent| agent.set_identity(caller, "<sip:dave@example.org>", Extra::new())).unwrap();
        let Event::Offer { leg, message } = world.hears("bob", "Offer") else { unreachable!() };
        assert_eq!(message.body(), OFFER);
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("bob", "PeerChanged");
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller);
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_request_that_is_refused_changes_no_identity() {
    // §4.4.2
    let mut world = World::new(Conditions::udp());
    world.configure("bob", |config| config.methods.remove(&Method::Update));
    let (caller, called) = world.connect("alice", "bob");
    world.at("alice", |agent| agent.set_identity(caller, "<sip:dave@example.org>", Extra::new())).unwrap();
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    world.at("bob", |agent| agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new())).unwrap();
    world.hears("alice", "ModifyFailed");
    world.at("bob", |agent| agent.hang_up(called, Extra::new())).unwrap();
    let Event::Ended { how: HowEnded::Bye(bye), .. } = world.hears("alice", "Ended") else { panic!("no BYE") };
    assert_eq!(bye.to().unwrap().uri_text, "sip:alice@example.org");
    assert!(!world.heard("bob").iter().any(|heard| heard == "PeerChanged"));
    world.settles();
}

#[test]
fn nobody_is_told_who_does_not_understand() {
    // §4.2, §4.3: only with from-change in Supported.
    let mut world = World::new(Conditions::udp());
    world.configure("bob", |config| config.extensions.remove(OptionTag::FromChange));
    let (caller, _) = world.connect("alice", "bob");
    let mut change = |from: &str| world.at("alice", |agent| agent.set_identity(caller, from, Extra::new()));
    assert_eq!(change("<sip:dave@example.org>"), Err(VerbError::Unsupported));
    assert_eq!(change("<sip:dave@example.org>;tag=1"), Err(VerbError::Malformed));
    assert_eq!(change("dave"), Err(VerbError::Malformed));
    let invite = world.net.last("alice -> bob  INVITE").unwrap();
    assert!(crate::world::header(&invite.bytes, HeaderName::Supported).contains("from-change"), "§4.1");
    world.hang_up("alice", caller);
    world.settles();
}
