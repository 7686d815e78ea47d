//! Long-term credentials, RFC 8489 §9.2: our client against our authority, and against servers written by hand.

#[path = "support/asking.rs"]
mod asking;
#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use asking::{client, failure, is_response, respond, sent, tcp, udp};
use farspeak_sansio::{Instant, Machine};
use farspeak_stun::long_term::{Account, Authenticated, Authority, Credentials, Hopeless, Nonces, Refused, userhash};
use farspeak_stun::{
    Attribute, AttributeType, Authentication, Class, Client, ErrorCode, Failure, Key, Message, Method, Request,
};
use world::receive;

fn authority() -> Authority {
    Authority::new("example.org", Nonces::new(&[3; 32], Duration::from_secs(60)))
}

fn find(account: Account<'_>, algorithm: u16) -> Option<Key> {
    let known = match account {
        Account::Username(name) => name == "alice",
        Account::Userhash(hash) => *hash == userhash("alice", "example.org").unwrap(),
    };
    let make = if algorithm == 2 { Key::long_term_sha256 } else { Key::long_term_md5 };
    known.then(|| make("alice", "example.org", "wonderland").unwrap())
}

fn check(authority: &Authority, now: Instant, request: &[u8]) -> Result<Authenticated, Refused> {
    authority.check(now, udp().local, &Message::parse(request).unwrap(), find)
}

/// Answers as a server with these accounts would.
fn serve(authority: &Authority, now: Instant, request: &[u8]) -> Vec<u8> {
    match check(authority, now, request) {
        Ok(authenticated) => respond(request, Class::Success, |writer| authenticated.seal(writer)),
        Err(refused) => {
            let mut buffer = [0; 512];
            let message = Message::parse(request).unwrap();
            authority.refuse(now, udp().local, &message, refused, &mut buffer).unwrap().to_vec()
        }
    }
}

fn long_term(password: &str) -> Client {
    client(Authentication::LongTerm(Credentials::new("alice", password)))
}

fn allocate() -> Request {
    Request::new(Method::ALLOCATE, |writer| {
        writer.push(Attribute::RequestedTransport(17));
    })
}

#[test]
fn answers_a_challenge_with_sha256_and_a_stale_nonce_with_the_next() {
    for anonymous in [false, true] {
        let authority = if anonymous { authority().with_anonymity() } else { authority() };
        let mut client = long_term("wonderland");
        let mut now = Instant::ZERO;
        client.request(now, udp(), allocate()).unwrap();
        let first = sent(&mut client);
        assert!(!Message::parse(&first).unwrap().has_integrity(), "RFC 8489 §9.2.3.1");
        receive(&mut client, now, udp(), &serve(&authority, now, &first));
        let second = sent(&mut client);
        let message = Message::parse(&second).unwrap();
        assert_eq!(message.has(AttributeType::USERHASH), anonymous);
        assert_eq!(message.has(AttributeType::USERNAME), !anonymous);
        assert_eq!(message.password_algorithm().unwrap().unwrap().number, 2);
        assert_ne!(message.transaction_id(), Message::parse(&first).unwrap().transaction_id());
        receive(&mut client, now, udp(), &serve(&authority, now, &second));
        assert!(is_response(&mut client));
        // Later requests are sealed from the start, until the nonce has expired.
        now += Duration::from_secs(61);
        client.request(now, udp(), allocate()).unwrap();
        let third = sent(&mut client);
        assert_eq!(check(&authority, now, &third).unwrap_err(), Refused::StaleNonce);
        receive(&mut client, now, udp(), &serve(&authority, now, &third));
        let fourth = sent(&mut client);
        receive(&mut client, now, udp(), &serve(&authority, now, &fourth));
        assert!(is_response(&mut client));
        assert_eq!((client.outstanding(), client.poll_timeout()), (0, None));
    }
}

#[test]
fn refuses_a_challenge_with_attributes_that_nobody_here_knows() {
    let (authority, mut client) = (authority(), long_term("wonderland"));
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let first = sent(&mut client);
    let challenge = respond(&first, Class::Error, |writer| {
        writer.push(Attribute::ErrorCode(ErrorCode::UNAUTHENTICATED)).push_raw(AttributeType(0x7ff0), b"");
        authority.challenge(Instant::ZERO, udp().local, writer);
    });
    receive(&mut client, Instant::ZERO, udp(), &challenge);
    assert!(client.poll_transmit().is_none(), "RFC 8489 §6.3.4: before any authentication");
    assert_eq!(failure(&mut client), Some(Failure::Refused(Hopeless::BadChallenge)));
}

#[test]
fn a_user_name_is_sent_as_it_was_prepared() {
    let mut client = client(Authentication::LongTerm(Credentials::new("white\u{3000}rabbit", "late")));
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let challenge = serve(&authority(), Instant::ZERO, &sent(&mut client));
    receive(&mut client, Instant::ZERO, udp(), &challenge);
    let sealed = sent(&mut client);
    let message = Message::parse(&sealed).unwrap();
    assert_eq!(message.username(), Ok(Some("white rabbit")));
    let key = Key::long_term_sha256("white rabbit", "example.org", "late").unwrap();
    assert!(message.check_integrity(&key).is_ok());
}

#[test]
fn answers_an_old_server_with_md5_and_sha1() {
    let mut client = long_term("wonderland");
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let old = |request: &[u8], code, nonce: &str| {
        respond(request, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(code)).push(Attribute::Realm("example.org")).push(Attribute::Nonce(nonce));
        })
    };
    let first = sent(&mut client);
    receive(&mut client, Instant::ZERO, udp(), &old(&first, ErrorCode::UNAUTHENTICATED, "1"));
    let second = sent(&mut client);
    let key = Key::long_term_md5("alice", "example.org", "wonderland").unwrap();
    assert_eq!(Message::parse(&second).unwrap().check_integrity_sha1(&key), Ok(()));
    let answer = respond(&second, Class::Success, |writer| {
        writer.integrity(&key);
    });
    receive(&mut client, Instant::ZERO, udp(), &answer);
    assert!(is_response(&mut client));
}

#[test]
fn gives_up_after_a_wrong_password_and_after_endless_challenges() {
    let authority = authority();
    let mut client = long_term("looking-glass");
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    for _ in 0..2 {
        let request = sent(&mut client);
        receive(&mut client, Instant::ZERO, udp(), &serve(&authority, Instant::ZERO, &request));
    }
    assert_eq!(failure(&mut client), Some(Failure::Refused(Hopeless::WrongCredentials)));

    let mut client = long_term("wonderland");
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let mut challenges = 0;
    while let Some(transmit) = client.poll_transmit() {
        let answer = respond(&transmit.bytes, Class::Error, |writer| {
            writer
                .push(Attribute::ErrorCode(ErrorCode::STALE_NONCE))
                .push(Attribute::Realm("x"))
                .push(Attribute::Nonce("y"));
        });
        receive(&mut client, Instant::ZERO, udp(), &answer);
        challenges += 1;
    }
    assert_eq!((challenges, failure(&mut client)), (5, Some(Failure::TooManyChallenges)));
}

#[test]
fn a_server_that_knew_our_password_is_not_believed_to_have_forgotten_it_at_once() {
    let (authority, mut client) = (authority(), long_term("wonderland"));
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let challenge = serve(&authority, Instant::ZERO, &sent(&mut client));
    receive(&mut client, Instant::ZERO, udp(), &challenge);
    let granted = serve(&authority, Instant::ZERO, &sent(&mut client));
    receive(&mut client, Instant::ZERO, udp(), &granted);
    assert!(is_response(&mut client));

    let refused = |client: &mut Client, flow| {
        client.request(Instant::ZERO, flow, allocate()).unwrap();
        let request = sent(client);
        let forged = respond(&request, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(ErrorCode::UNAUTHENTICATED));
            authority.challenge(Instant::ZERO, udp().local, writer);
        });
        receive(client, Instant::ZERO, flow, &forged);
        request
    };
    let request = refused(&mut client, udp());
    assert_eq!(client.poll_event(), None);
    let granted = serve(&authority, Instant::ZERO, &request);
    receive(&mut client, Instant::ZERO, udp(), &granted);
    assert!(is_response(&mut client));

    refused(&mut client, udp());
    while let Some(at) = client.poll_timeout() {
        client.handle_timeout(at);
    }
    assert_eq!(failure(&mut client), Some(Failure::Refused(Hopeless::WrongCredentials)));
    while client.poll_transmit().is_some() {}
    refused(&mut client, tcp());
    assert_eq!(failure(&mut client), Some(Failure::Refused(Hopeless::WrongCredentials)));
}

#[test]
fn refuses_to_be_bid_down() {
    // PASSWORD-ALGORITHMS taken out of the challenge, its bit still in the nonce.
    let stripped = |request: &[u8], nonce: &str, code| {
        respond(request, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(code)).push(Attribute::Realm("example.org")).push(Attribute::Nonce(nonce));
        })
    };
    let mut client = long_term("wonderland");
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let request = sent(&mut client);
    receive(&mut client, Instant::ZERO, udp(), &stripped(&request, "obMatJos2gAAAx", ErrorCode::UNAUTHENTICATED));
    assert_eq!(failure(&mut client), Some(Failure::Refused(Hopeless::BidDown)));

    // The whole cookie taken out of a later challenge.
    let authority = authority();
    let mut client = long_term("wonderland");
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let request = sent(&mut client);
    receive(&mut client, Instant::ZERO, udp(), &serve(&authority, Instant::ZERO, &request));
    let request = sent(&mut client);
    receive(&mut client, Instant::ZERO, udp(), &stripped(&request, "old", ErrorCode::STALE_NONCE));
    assert_eq!(failure(&mut client), Some(Failure::Refused(Hopeless::BidDown)));

    // A response that is sealed with SHA-1 where SHA-256 was agreed; an open 400; an unsealed success.
    client.request(Instant::ZERO, udp(), allocate()).unwrap();
    let request = sent(&mut client);
    let key = Key::long_term_sha256("alice", "example.org", "wonderland").unwrap();
    for answer in [
        respond(&request, Class::Success, |writer| {
            writer.integrity(&key);
        }),
        respond(&request, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(ErrorCode::BAD_REQUEST));
        }),
        respond(&request, Class::Success, |_| {}),
    ] {
        receive(&mut client, Instant::ZERO, udp(), &answer);
        assert_eq!(client.poll_event(), None);
    }
    receive(&mut client, Instant::ZERO, udp(), &serve(&authority, Instant::ZERO, &request));
    assert!(is_response(&mut client));
}
