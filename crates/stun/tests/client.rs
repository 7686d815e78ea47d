//! The client transaction of RFC 8489 §6.2 and the credentials of §9, against a server that these tests write by hand.

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, SplitMix64, Transport};
use farspeak_stun::long_term::{Account, Authenticated, Authority, Credentials, Hopeless, Nonces, Refused, userhash};
use farspeak_stun::{
    Attribute, AttributeType, Authentication, Busy, Class, Client, ClientConfig, ErrorCode, Event, Failure, Key,
    Message, Method, Request, Writer,
};
use world::{flow, receive};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn udp() -> Flow {
    flow(Transport::Udp, "192.0.2.7:4000", "192.0.2.1:3478")
}

fn tcp() -> Flow {
    flow(Transport::Tcp, "192.0.2.7:4000", "192.0.2.1:3478")
}

fn client(authentication: Authentication) -> Client {
    Client::new(ClientConfig::default(), authentication, Box::new(SplitMix64::new(1)))
}

fn respond(request: &[u8], class: Class, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let request = Message::parse(request).unwrap();
    let mut buffer = [0; 2048];
    let mut writer = Writer::respond(&mut buffer, class, &request);
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

fn sent(client: &mut Client) -> Vec<u8> {
    client.poll_transmit().expect("something was sent").bytes.to_vec()
}

fn failure(client: &mut Client) -> Option<Failure> {
    match client.poll_event()? {
        Event::Failed { reason, .. } => Some(reason),
        Event::Response { .. } => panic!("a response"),
    }
}

fn is_response(client: &mut Client) -> bool {
    matches!(client.poll_event(), Some(Event::Response { .. }))
}

#[test]
fn sends_seven_times_at_the_moments_of_rfc8489_6_2_1() {
    let mut client = client(Authentication::None);
    client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
    let first = sent(&mut client);
    let mut moments = vec![0];
    while let Some(at) = client.poll_timeout() {
        client.handle_timeout(at);
        if client.poll_transmit().is_some_and(|again| *again.bytes == *first) {
            moments.push(at.as_nanos() / 1_000_000);
        } else {
            assert_eq!((at.as_nanos() / 1_000_000, failure(&mut client)), (39_500, Some(Failure::TimedOut)));
        }
    }
    assert_eq!(moments, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!(client.outstanding(), 0);
}

#[test]
fn sends_once_over_a_stream_and_waits_ti() {
    let mut client = client(Authentication::None);
    client.request(Instant::ZERO, tcp(), Request::binding()).unwrap();
    sent(&mut client);
    assert_eq!(client.poll_timeout(), Some(Instant::ZERO + ms(39_500)));
    client.handle_timeout(Instant::ZERO + ms(39_500));
    assert_eq!(failure(&mut client), Some(Failure::TimedOut));
    client.request(Instant::ZERO, tcp(), Request::binding()).unwrap();
    client.handle_flow_failed(Instant::ZERO, tcp());
    assert_eq!(failure(&mut client), Some(Failure::FlowFailed));
}

#[test]
fn takes_the_answer_of_whom_it_asked_alone() {
    let mut client = client(Authentication::None);
    client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
    let request = sent(&mut client);
    let answer = respond(&request, Class::Success, |writer| {
        writer.push(Attribute::XorMappedAddress(udp().local));
    });
    receive(&mut client, Instant::ZERO, flow(Transport::Udp, "192.0.2.7:4000", "192.0.2.66:3478"), &answer);
    receive(&mut client, Instant::ZERO, udp(), &request);
    receive(&mut client, Instant::ZERO, udp(), &answer[..answer.len() - 1]);
    assert_eq!(client.poll_event(), None);
    receive(&mut client, Instant::ZERO + ms(40), udp(), &answer);
    let Some(Event::Response { bytes, round_trip, .. }) = client.poll_event() else { panic!("no response") };
    assert_eq!((&*bytes, round_trip), (&*answer, Some(ms(40))));
    receive(&mut client, Instant::ZERO + ms(41), udp(), &answer);
    assert_eq!((client.poll_event(), client.poll_timeout()), (None, None));
}

#[test]
fn a_slow_server_gets_a_longer_rto_and_karn_counts_no_retransmitted_request() {
    let mut client = client(Authentication::None);
    for (now, delay, expected) in [(0, 400, 500), (10_000, 600, 1200), (700_000, 100, 500)] {
        let now = Instant::ZERO + ms(now);
        client.request(now, udp(), Request::binding()).unwrap();
        let request = sent(&mut client);
        assert_eq!(client.poll_timeout(), Some(now + ms(expected)), "RFC 6298: 400 + 4 * 200");
        let answer = respond(&request, Class::Success, |_| {});
        receive(&mut client, now + ms(delay), udp(), &answer);
        assert!(is_response(&mut client));
    }
}

#[test]
fn what_a_stream_takes_says_nothing_about_datagrams() {
    let mut client = client(Authentication::None);
    client.request(Instant::ZERO, tcp(), Request::binding()).unwrap();
    let answer = respond(&sent(&mut client), Class::Success, |_| {});
    receive(&mut client, Instant::ZERO + ms(3000), tcp(), &answer);
    assert!(is_response(&mut client));
    let now = Instant::ZERO + ms(3000);
    client.request(now, udp(), Request::binding()).unwrap();
    assert_eq!(client.poll_timeout(), Some(now + ms(500)));
}

#[test]
fn refuses_more_than_ten_requests_to_one_server() {
    let mut client = client(Authentication::None);
    for _ in 0..10 {
        client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
    }
    assert_eq!(client.request(Instant::ZERO, udp(), Request::binding()), Err(Busy::Outstanding));
}

#[test]
fn refuses_responses_that_cannot_be_understood() {
    let mut client = client(Authentication::None);
    for (class, unknown) in [(Class::Success, true), (Class::Error, false)] {
        client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
        let answer = respond(&sent(&mut client), class, |writer| {
            if unknown {
                writer.push_raw(AttributeType(0x7ff0), b"");
            }
        });
        receive(&mut client, Instant::ZERO, udp(), &answer);
        assert_eq!(failure(&mut client), Some(Failure::NotUnderstood));
    }
}

#[test]
fn refuses_short_term_responses_that_are_forged() {
    let key = Key::short_term("secret").unwrap();
    for (flow, at_once) in [(udp(), false), (tcp(), true)] {
        let mut client = client(Authentication::ShortTerm { username: "a:b".into(), key: key.clone(), sha256: false });
        client.request(Instant::ZERO, flow, Request::binding()).unwrap();
        let request = sent(&mut client);
        assert_eq!(Message::parse(&request).unwrap().check_integrity_sha1(&key), Ok(()));
        let forged = respond(&request, Class::Success, |writer| {
            writer.integrity(&Key::from_bytes(b"guess"));
        });
        receive(&mut client, Instant::ZERO, flow, &forged);
        if !at_once {
            assert_eq!(client.poll_event(), None);
            while let Some(at) = client.poll_timeout() {
                client.handle_timeout(at);
            }
        }
        assert_eq!(failure(&mut client), Some(Failure::IntegrityViolated));
    }
}

#[test]
fn on_a_shared_port_only_messages_with_a_right_fingerprint_count() {
    let config = ClientConfig { fingerprint: true, ..ClientConfig::default() };
    let mut client = Client::new(config, Authentication::None, Box::new(SplitMix64::new(1)));
    client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
    let request = sent(&mut client);
    assert!(Message::parse(&request).unwrap().check_fingerprint());
    receive(&mut client, Instant::ZERO, udp(), &respond(&request, Class::Success, |_| ()));
    assert_eq!(client.poll_event(), None);
    let mut answer = respond(&request, Class::Success, |writer| {
        writer.fingerprint();
    });
    *answer.last_mut().unwrap() ^= 1;
    receive(&mut client, Instant::ZERO, udp(), &answer);
    assert_eq!(client.poll_event(), None);
    *answer.last_mut().unwrap() ^= 1;
    receive(&mut client, Instant::ZERO, udp(), &answer);
    assert!(is_response(&mut client));
}

// ----- long-term: our client against our authority -----

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

const SHARED: &str = "shared secret";

fn following(redirections: usize) -> Client {
    let authentication = Authentication::ShortTerm {
        username: "alice".to_owned(),
        key: Key::short_term(SHARED).unwrap(),
        sha256: false,
    };
    let config = ClientConfig { redirections, ..ClientConfig::default() };
    Client::new(config, authentication, Box::new(SplitMix64::new(1)))
}

/// A 300 to another server, sealed with the key if there is one.
fn elsewhere(request: &[u8], server: &str, key: Option<&Key>) -> Vec<u8> {
    respond(request, Class::Error, |writer| {
        writer.push(Attribute::ErrorCode(ErrorCode::TRY_ALTERNATE));
        writer.push(Attribute::AlternateServer(server.parse().unwrap()));
        if let Some(key) = key {
            writer.integrity(key);
        }
    })
}

#[test]
fn follows_a_sealed_redirection_to_another_server() {
    let key = Key::short_term(SHARED).unwrap();
    for at_first in [udp(), tcp()] {
        let mut client = following(2);
        client.request(Instant::ZERO, at_first, Request::binding()).unwrap();
        let first = sent(&mut client);
        receive(&mut client, Instant::ZERO, at_first, &elsewhere(&first, "192.0.2.9:3479", Some(&key)));
        let second = client.poll_transmit().expect("it is sent on");
        assert_eq!(second.flow.remote, "192.0.2.9:3479".parse().unwrap());
        assert_eq!((second.flow.transport, second.flow.local), (at_first.transport, at_first.local));
        assert_ne!(second.bytes[8..20], first[8..20], "a transaction of its own");
        let answer = respond(&second.bytes, Class::Success, |writer| {
            writer.push(Attribute::XorMappedAddress(at_first.local)).integrity(&key);
        });
        receive(&mut client, Instant::ZERO, second.flow, &answer);
        assert!(is_response(&mut client));
        assert_eq!(client.outstanding(), 0);
    }
}

#[test]
fn refuses_to_be_sent_in_circles_or_too_far() {
    let key = Key::short_term(SHARED).unwrap();
    let mut client = following(2);
    client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
    let mut request = sent(&mut client);
    let mut flow = udp();
    for server in ["192.0.2.9:3478", "192.0.2.10:3478"] {
        receive(&mut client, Instant::ZERO, flow, &elsewhere(&request, server, Some(&key)));
        let next = client.poll_transmit().expect("it is sent on");
        (flow, request) = (next.flow, next.bytes.to_vec());
    }
    receive(&mut client, Instant::ZERO, flow, &elsewhere(&request, "192.0.2.11:3478", Some(&key)));
    assert!(client.poll_transmit().is_none() && is_response(&mut client), "reported as it is");
    for back in ["192.0.2.1:3478", "[2001:db8::1]:3478", "192.0.2.9:0", "0.0.0.0:3478"] {
        let mut client = following(9);
        client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
        let request = sent(&mut client);
        receive(&mut client, Instant::ZERO, udp(), &elsewhere(&request, back, Some(&key)));
        assert!(client.poll_transmit().is_none() && is_response(&mut client), "{back}");
    }
}

#[test]
fn refuses_to_follow_what_is_not_sealed_or_was_not_asked_for() {
    // Without a seal of ours nobody's redirection counts (RFC 8489 §14.8).
    let config = ClientConfig { redirections: 2, ..ClientConfig::default() };
    let mut open = Client::new(config, Authentication::None, Box::new(SplitMix64::new(1)));
    open.request(Instant::ZERO, udp(), Request::binding()).unwrap();
    let request = sent(&mut open);
    receive(&mut open, Instant::ZERO, udp(), &elsewhere(&request, "192.0.2.9:3478", None));
    assert!(open.poll_transmit().is_none() && is_response(&mut open));
    // A forged one is passed over.
    let mut client = following(2);
    client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
    let request = sent(&mut client);
    for key in [None, Some(&Key::short_term("another").unwrap())] {
        receive(&mut client, Instant::ZERO, udp(), &elsewhere(&request, "192.0.2.9:3478", key));
        assert!(client.poll_transmit().is_none() && client.poll_event().is_none());
    }
    // Not unless the usage says so, and not over TLS, where the name must be known first.
    let key = Key::short_term(SHARED).unwrap();
    let tls = flow(Transport::Tls, "192.0.2.7:4000", "192.0.2.1:443");
    for (mut client, flow) in [(following(0), udp()), (following(2), tls)] {
        client.request(Instant::ZERO, flow, Request::binding()).unwrap();
        let request = sent(&mut client);
        receive(&mut client, Instant::ZERO, flow, &elsewhere(&request, "192.0.2.9:3478", Some(&key)));
        assert!(client.poll_transmit().is_none() && is_response(&mut client));
    }
}
