//! RFC 3261 §11: OPTIONS is answered with what is true.

use farspeak_sip::header::{Allow, OptionTag};
use farspeak_sip::message::{HeaderName, Message, Method};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{Conditions, World, everywhere};

fn capabilities(world: &mut World) -> std::sync::Arc<Message> {
    let opening = world.opening("alice", "bob");
    world.at("alice", |agent| agent.send(Method::Options, opening, Extra::new())).unwrap();
    let Event::Answered { response, .. } = world.hears("alice", "Answered") else { unreachable!() };
    response
}

#[test]
fn the_answer_names_methods_extensions_bodies_packages() {
    // §11.2
    everywhere(|world| {
        world.configure("bob", |config| {
            config.info_packages = vec!["infoDtmf".into()];
            config.accept.push("application/pidf+xml".into());
            config.more_methods = vec![Method::Publish];
        });
        let answer = capabilities(world);
        let allow = Allow::of(&answer).unwrap().unwrap();
        for method in [Method::Invite, Method::Update, Method::Prack, Method::Subscribe, Method::Publish] {
            assert!(allow.contains(&method), "{method}");
        }
        assert!(!allow.contains(&Method::Register));
        assert!(answer.supported().any(|tag| tag == "timer"));
        let one = |name| answer.header(name).unwrap_or_default();
        assert_eq!(one(HeaderName::Accept), "application/sdp, application/pidf+xml");
        assert_eq!((one(HeaderName::AcceptEncoding), one(HeaderName::RecvInfo)), ("identity", "infoDtmf"));
        assert_eq!(one(HeaderName::AllowEvents), "presence, dialog");
    });
}

#[test]
fn what_is_switched_off_is_not_named_and_refused() {
    // §8.2.1, §8.2.2.3
    let mut world = World::new(Conditions::udp());
    world.configure("bob", |config| {
        config.methods.remove(&Method::Message);
        config.extensions.remove(OptionTag::Replaces);
    });
    let answer = capabilities(&mut world);
    assert!(!Allow::of(&answer).unwrap().unwrap().contains(&Method::Message));
    assert!(!answer.supported().any(|tag| tag == "replaces"));
    let opening = world.opening("alice", "bob");
    world.at("alice", |agent| agent.send(Method::Message, opening, Extra::new())).unwrap();
    world.net.expect("bob -> alice  405 MESSAGE");
    world.call_with("alice", "bob", Extra::new().header(HeaderName::Require, "replaces"));
    world.net.expect("bob -> alice  420 INVITE");
    world.settles();
}
