//! RFC 6086 and RFC 3428 §4: INFO and MESSAGE inside a session.

use farspeak_sip::message::{HeaderName, Method, StatusCode};
use farspeak_sip::user_agent::{Body, Event, Extra};

use crate::world::everywhere;

#[test]
fn info_and_message_reach_the_application_and_their_answers_come_back() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        for method in [Method::Info, Method::Message] {
            let extra = Extra::new().body(Body::new("text/plain", *b"hello"));
            let sent = world.at("alice", |agent| agent.send_within(caller, method.clone(), extra)).unwrap();
            let Event::Within { leg, tx, request } = world.hears("bob", "Within") else { unreachable!() };
            assert_eq!((leg.session, request.method(), request.body()), (called, Some(&method), b"hello".as_slice()));
            world.at("bob", |agent| agent.respond(tx, StatusCode::OK, Extra::new()));
            let Event::Answered { request, response } = world.hears("alice", "Answered") else { unreachable!() };
            assert_eq!((request, response.status()), (sent, Some(StatusCode::OK)));
        }
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("bob", "Gone");
    });
}

#[test]
fn an_unknown_info_package_is_refused_with_those_that_are_known() {
    // RFC 6086 §4.2.2
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let extra = Extra::new().header(HeaderName::InfoPackage, "unheard-of");
        world.at("alice", |agent| agent.send_within(caller, Method::Info, extra)).unwrap();
        let Event::Answered { response, .. } = world.hears("alice", "Answered") else { unreachable!() };
        assert_eq!(response.status().map(StatusCode::code), Some(469));
        assert!(response.header_named("Recv-Info").is_some());
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("bob", "Gone");
    });
}
