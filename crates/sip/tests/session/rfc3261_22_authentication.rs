//! RFC 3261 §22: challenges are answered without the application noticing, and never for ever.

use farspeak_sip::digest::{Credentials, Login};
use farspeak_sip::message::{HeaderName, Limits, Message, Method, ResponseBuilder, StatusCode};
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{ANSWER, Conditions, World, everywhere, header, sdp};

const CHALLENGE: &str =
    r#"Digest realm="biloxi", nonce="84a4cc6f3082121f32b42a2187831a9e", qop="auth", algorithm=SHA-256"#;

fn challenge(world: &mut World, called: SessionId, status: StatusCode, name: HeaderName) {
    world.at("bob", |agent| agent.reject(called, status, Extra::new().header(name, CHALLENGE))).unwrap();
}

/// Runs until the call comes again, and gives username, realm and nonce of its credentials.
#[track_caller]
fn credentials(world: &mut World) -> (SessionId, [String; 3]) {
    let Event::Incoming { session, request, .. } = world.hears("bob", "Incoming") else { unreachable!() };
    (session, read(&request))
}

fn read(request: &Message) -> [String; 3] {
    let value = request.header(HeaderName::Authorization).expect("there are credentials");
    let credentials = Credentials::parse(value).unwrap();
    [credentials.username.to_string(), credentials.realm.to_string(), credentials.nonce.to_string()]
}

#[test]
fn a_challenged_invite_goes_out_again_with_credentials_and_so_does_its_ack() {
    // RFC 3261 §22.1, §22.2; RFC 3665 §3.3
    everywhere(|world| {
        world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
        let call = world.call("alice", "bob");
        let called = world.is_called("bob");
        challenge(world, called, StatusCode::UNAUTHORIZED, HeaderName::WwwAuthenticate);
        let (called, answered) = credentials(world);
        assert_eq!(answered[..2], ["alice", "biloxi"]);
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        let Event::Confirmed { ack, .. } = world.hears("bob", "Confirmed") else { unreachable!() };
        assert_eq!(read(&ack), answered);
        world.at("alice", |agent| agent.hang_up(call, Extra::new())).unwrap();
        world.hears("bob", "Gone");
        assert!(!world.heard("alice").contains(&"Failed".to_owned()));
    });
}

#[test]
fn a_secret_refused_twice_is_the_applications_failure() {
    everywhere(|world| {
        world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "wrong")]));
        world.call("alice", "bob");
        for _ in 0..2 {
            let called = world.is_called("bob");
            challenge(world, called, StatusCode::UNAUTHORIZED, HeaderName::WwwAuthenticate);
        }
        let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::UNAUTHORIZED);
    });
}

#[test]
fn a_challenge_without_a_login_fails_at_once() {
    everywhere(|world| {
        world.call("alice", "bob");
        let called = world.is_called("bob");
        challenge(world, called, StatusCode::PROXY_AUTHENTICATION_REQUIRED, HeaderName::ProxyAuthenticate);
        let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    });
}

#[test]
fn a_call_given_up_does_not_answer_the_challenge() {
    everywhere(|world| {
        world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
        let call = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("alice", |agent| agent.cancel(call)).unwrap();
        challenge(world, called, StatusCode::UNAUTHORIZED, HeaderName::WwwAuthenticate);
        world.hears("alice", "Gone");
        assert_eq!(world.heard("bob").iter().filter(|event| *event == "Incoming").count(), 1);
    });
}

#[test]
fn a_call_can_be_cancelled_after_its_challenge_was_answered() {
    everywhere(|world| {
        world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
        let call = world.call("alice", "bob");
        let called = world.is_called("bob");
        challenge(world, called, StatusCode::UNAUTHORIZED, HeaderName::WwwAuthenticate);
        let (called, _) = credentials(world);
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.hears("alice", "Progress");
        world.at("alice", |agent| agent.cancel(call)).unwrap();
        world.hears("alice", "Gone");
        world.hears("bob", "Ended");
    });
}

/// Alice has been called by Bob, who challenges her BYE. Gives how often she sent one, and the credentials of the last.
fn challenged_bye(trusts_bob: bool) -> (usize, String) {
    let mut world = World::new(Conditions::udp());
    let account = world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
    let (caller, called) = world.connect("bob", "alice");
    if trusts_bob {
        world.at("alice", |agent| agent.set_account(called, account)).unwrap();
    }
    let flow = world.flow("bob", "alice");
    world.intercept("bob", move |bytes| {
        let request = Message::parse(bytes, &Limits::default()).ok()?;
        let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let refused = ResponseBuilder::new(&request, status).header(HeaderName::ProxyAuthenticate, CHALLENGE).to_vec();
        let is_bare = request.header(HeaderName::ProxyAuthorization).is_none();
        (request.method() == Some(&Method::Bye) && is_bare).then_some((flow, refused))
    });
    world.hang_up("alice", called);
    world.hears("alice", "Gone");
    let last = header(&world.net.last("alice -> bob  BYE").unwrap().bytes, HeaderName::ProxyAuthorization);
    world.hang_up("bob", caller);
    world.net.run_for(std::time::Duration::from_secs(60));
    (world.net.count("alice -> bob  BYE"), last)
}

#[test]
fn never_proves_a_password_to_who_calls_us_unless_told_to() {
    assert_eq!(challenged_bye(false), (1, String::new()));
    let (sent, credentials) = challenged_bye(true);
    assert_eq!(sent, 2);
    assert!(credentials.contains("username=\"alice\""), "{credentials}");
}

#[test]
fn never_sends_a_token_without_encryption() {
    // RFC 8898 §2.1.2
    let mut world = World::new(Conditions::udp());
    world.at("alice", |agent| agent.add_account(vec![Login::token("biloxi", "mF_9.B5f-4.1JqM")]));
    world.call("alice", "bob");
    for _ in 0..2 {
        let called = world.is_called("bob");
        let wanted = Extra::new().header(HeaderName::WwwAuthenticate, r#"Bearer realm="biloxi""#);
        world.at("bob", |agent| agent.reject(called, StatusCode::UNAUTHORIZED, wanted)).unwrap();
    }
    world.hears("alice", "Failed");
    assert_eq!(header(&world.net.last("alice -> bob  INVITE").unwrap().bytes, HeaderName::Authorization), "");
    world.settles();
}

#[test]
fn a_challenge_ends_the_early_dialogs_and_the_same_tag_may_come_again() {
    // RFC 3261 §13.2.2.3: the second 183 belongs to the second INVITE, whatever its To tag.
    let mut world = World::new(Conditions::udp());
    world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
    let call = world.call("alice", "bob");
    let called = world.is_called("bob");
    world.at("bob", |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
    world.hears("alice", "Answer");
    world.net.expect("bob -> alice  200 PRACK");
    let tag = header(&world.net.last("bob -> alice  183 INVITE").unwrap().bytes, HeaderName::To);
    challenge(&mut world, called, StatusCode::UNAUTHORIZED, HeaderName::WwwAuthenticate);
    let invite = world.net.expect("alice -> bob  INVITE").bytes;
    assert!(!header(&invite, HeaderName::Authorization).is_empty());
    let request = Message::parse(&invite, &Limits::default()).unwrap();
    let tag = tag.split("tag=").nth(1).unwrap();
    // Whatever Bob's own user agent makes of it.
    let response = ResponseBuilder::new(&request, StatusCode::OK)
        .to_tag(tag)
        .header(HeaderName::Contact, "<sip:bob@192.0.2.2>")
        .body("application/sdp", ANSWER)
        .to_vec();
    world.send("bob", "alice", &response);
    let Event::Accepted { answer_owed, .. } = world.hears("alice", "Accepted") else { unreachable!() };
    assert!(!answer_owed);
    world.net.expect("alice -> bob  ACK");
    world.hang_up("alice", call);
    world.everybody_hangs_up();
    world.net.run_for(std::time::Duration::from_secs(100));
}
