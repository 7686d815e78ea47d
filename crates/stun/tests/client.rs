//! The client transaction of RFC 8489 §6.2, short-term credentials (§9.1) and redirection (§10), against a server that
//! these tests write by hand.

#[path = "support/asking.rs"]
mod asking;
#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use asking::{client, failure, is_response, respond, sent, tcp, udp};
use farspeak_sansio::{Instant, Machine, SplitMix64, Transport};
use farspeak_stun::{
    Attribute, AttributeType, Authentication, Busy, Class, Client, ClientConfig, ErrorCode, Event, Failure, Integrity,
    Key, Message, Request, short_term,
};
use world::{flow, receive};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
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
        let mut client = client(Authentication::ShortTerm {
            username: "a:b".into(),
            key: key.clone(),
            agreed: Some(Integrity::Sha1),
        });
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
fn without_an_agreement_both_seals_are_sent_until_the_server_has_chosen_one() {
    let key = Key::short_term("secret").unwrap();
    let seals = |request: &[u8]| {
        let message = Message::parse(request).unwrap();
        (message.check_integrity_sha1(&key).is_ok(), message.check_integrity_sha256(&key, 32).is_ok())
    };
    for sha256 in [true, false] {
        let authentication = Authentication::ShortTerm { username: "a:b".into(), key: key.clone(), agreed: None };
        let mut client = client(authentication);
        client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
        let first = sent(&mut client);
        assert_eq!(seals(&first), (true, true), "RFC 8489 §9.1.2");
        // As our own checks would have it answered; a server before RFC 8489 sees MESSAGE-INTEGRITY alone.
        let seal = short_term::check(&Message::parse(&first).unwrap(), |_| Some(key.clone())).unwrap();
        assert_eq!(seal.integrity, Integrity::Sha256);
        let answer = respond(&first, Class::Success, |writer| {
            if sha256 {
                seal.seal(writer);
            } else {
                writer.integrity(&key);
            }
        });
        receive(&mut client, Instant::ZERO, udp(), &answer);
        assert!(is_response(&mut client));
        client.request(Instant::ZERO, udp(), Request::binding()).unwrap();
        let second = sent(&mut client);
        assert_eq!(seals(&second), (!sha256, sha256), "RFC 8489 §9.1.5");
        // From now on, the other one is no answer of this server's.
        let other = respond(&second, Class::Success, |writer| {
            if sha256 {
                writer.integrity(&key)
            } else {
                writer.integrity_sha256(&key)
            };
        });
        receive(&mut client, Instant::ZERO, udp(), &other);
        assert_eq!(client.poll_event(), None);
        // Another server has chosen nothing yet.
        client
            .request(Instant::ZERO, flow(Transport::Udp, "192.0.2.7:4000", "192.0.2.2:3478"), Request::binding())
            .unwrap();
        assert_eq!(seals(&sent(&mut client)), (true, true));
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

const SHARED: &str = "shared secret";

fn following(redirections: usize) -> Client {
    let authentication = Authentication::ShortTerm {
        username: "alice".to_owned(),
        key: Key::short_term(SHARED).unwrap(),
        agreed: Some(Integrity::Sha1),
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
