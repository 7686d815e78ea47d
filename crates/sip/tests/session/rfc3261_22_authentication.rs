//! RFC 3261 §22: challenges are answered without the application noticing, and never for ever.

use farspeak_sip::digest::{Credentials, Login};
use farspeak_sip::message::{HeaderName, Message, StatusCode};
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{ANSWER, World, everywhere, sdp};

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
