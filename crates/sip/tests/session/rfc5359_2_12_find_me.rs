//! RFC 5359 §2.12–2.14: a proxy looks for somebody at several places, and screens calls that come in and go out.

use farspeak_sip::dialog::Opening;
use farspeak_sip::digest::Login;
use farspeak_sip::header::Reason;
use farspeak_sip::message::{Contacts, HeaderName, Message, Method, StatusCode};
use farspeak_sip::session::Invite;
use farspeak_sip::user_agent::{Event, Extra, Failure};

use crate::proxy::Refusal;
use crate::services::{answers, hangs_up};
use crate::world::{ANSWER, OFFER, People, World, everywhere_among, sdp};

const PHONES: People = &["alice", "proxy", "bob", "dave", "erin"];
const SCREENED: People = &["alice", "proxy", "bob", "announcements"];

fn refuses(world: &mut World, name: &str, status: StatusCode) {
    let called = world.is_called(name);
    world.at(name, |agent| agent.reject(called, status, Extra::new())).unwrap();
}

#[track_caller]
fn failed(world: &mut World, name: &str) -> std::sync::Arc<Message> {
    match world.hears(name, "Failed") {
        Event::Failed { failure: Failure::Response(response), .. } => response,
        other => panic!("{other:?}\n{}", world.net),
    }
}

#[test]
fn find_me() {
    // §2.12: one phone after the other; the first is not there, the second busy.
    everywhere_among(PHONES, |world| {
        world.at_proxy(|proxy| proxy.route("bob", vec![vec!["bob"], vec!["dave"], vec!["erin"]]));
        let call = world.call_by_name("alice", "bob");
        refuses(world, "bob", StatusCode::TEMPORARILY_UNAVAILABLE);
        refuses(world, "dave", StatusCode::BUSY_HERE);
        let found = answers(world, "erin", "alice");
        hangs_up(world, "erin", found, "alice");
        assert!(world.at("alice", |agent| agent.hang_up(call, Extra::new())).is_err());
    });
}

#[test]
fn find_me_everywhere_at_once() {
    // §2.12, RFC 3261 §16: who answers first has the call; the others hear that it was taken (RFC 3326).
    everywhere_among(PHONES, |world| {
        world.at_proxy(|proxy| proxy.route("bob", vec![vec!["bob", "dave"]]));
        let call = world.call_by_name("alice", "bob");
        let (at_bob, at_dave) = (world.is_called("bob"), world.is_called("dave"));
        for (name, session) in [("bob", at_bob), ("dave", at_dave)] {
            world.at(name, |agent| agent.ring(session, StatusCode::RINGING, Extra::new())).unwrap();
        }
        world.at("dave", |agent| agent.accept(at_dave, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        world.hears("dave", "Confirmed");
        let Event::Ended { how, .. } = world.hears("bob", "Ended") else { unreachable!() };
        assert_eq!(how.reasons(), [Reason::sip(StatusCode::OK, "Call completed elsewhere")]);
        hangs_up(world, "alice", call, "dave");
    });
}

fn challenges(request: &Message) -> Option<Refusal> {
    let proven = request.header(HeaderName::ProxyAuthorization).is_some();
    let challenge = "Digest realm=\"example.org\", nonce=\"1\", algorithm=SHA-256, qop=\"auth\"";
    let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    (!proven).then_some((status, Some((HeaderName::ProxyAuthenticate, challenge))))
}

#[test]
fn incoming_call_screening() {
    // §2.13: Bob takes calls through his proxy only, which refuses Alice and sends her to an announcement.
    everywhere_among(SCREENED, |world| {
        world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
        let announcement = format!("<{}>", world.opening("alice", "announcements").target);
        let announcement: &'static str = announcement.leak();
        world.at_proxy(|proxy| {
            proxy.screen(move |request| {
                let refused = (StatusCode::FORBIDDEN, Some((HeaderName::ErrorInfo, announcement)));
                challenges(request).or(Some(refused)).filter(|_| request.method() == Some(&Method::Invite))
            });
        });
        world.call("alice", "bob");
        let called = world.is_called("bob");
        let through = Extra::new().header(HeaderName::Contact, "<sip:192.0.2.2:5060;lr>");
        world.at("bob", |agent| agent.reject(called, StatusCode::new(305).unwrap(), through)).unwrap();
        let moved = failed(world, "alice");
        let Ok(Contacts::List(mut contacts)) = moved.contacts() else { panic!("no Contact") };
        let proxy = format!("<{}>", contacts.next().unwrap().unwrap().uri_text);
        let direct = world.opening("alice", "bob");
        let opening = Opening { route_set: vec![proxy.into()], flow: world.flow("alice", "proxy"), ..direct };
        world.invites("alice", Invite { opening, extra: sdp(OFFER) });
        let refusal = failed(world, "alice");
        assert_eq!(refusal.status(), Some(StatusCode::FORBIDDEN));
        assert_eq!(refusal.header(HeaderName::ErrorInfo), Some(announcement));
        let call = world.call("alice", "announcements");
        let plays = answers(world, "announcements", "alice");
        hangs_up(world, "announcements", plays, "alice");
        assert!(world.at("alice", |agent| agent.hang_up(call, Extra::new())).is_err());
    });
}

#[test]
fn outgoing_call_screening() {
    // §2.14: Alice's proxy lets her call nobody.
    everywhere_among(SCREENED, |world| {
        world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
        world.at_proxy(|proxy| {
            proxy.screen(|request| challenges(request).or(Some((StatusCode::FORBIDDEN, None))));
        });
        world.call_by_name("alice", "bob");
        assert_eq!(failed(world, "alice").status(), Some(StatusCode::FORBIDDEN));
        world.hears("alice", "Gone");
        assert!(world.heard("bob").is_empty());
    });
}
