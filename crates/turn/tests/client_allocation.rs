//! RFC 8656 §7 and §8 from the client's side: what it asks for, what it makes of each answer, and when it asks again.

#[path = "support/desk.rs"]
#[allow(dead_code)]
mod desk;

use desk::{Desk, MAPPED, RELAYED, address, config, secs};
use farspeak_sansio::{Machine, Transport};
use farspeak_stun::attribute::{AddressErrorCode, AddressFamily, EvenPort};
use farspeak_stun::long_term::Hopeless;
use farspeak_stun::{Attribute, AttributeType, Class, ErrorCode, Failure as NoAnswer, Method};
use farspeak_turn::client::{Allocated, Config, Event, Failure, Families};

fn allocated(desk: &mut Desk) -> Allocated {
    match desk.event() {
        Some(Event::Allocated(allocated)) => allocated,
        other => panic!("{other:?}"),
    }
}

fn failed(desk: &mut Desk) -> Failure {
    match desk.event() {
        Some(Event::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn lost(desk: &mut Desk) -> Failure {
    match desk.event() {
        Some(Event::Lost(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// Asks, and answers the challenge: the request that counts is the next.
fn asked(config: Config) -> (Desk, desk::Paper) {
    let mut desk = Desk::new(config, Transport::Udp);
    desk.client.allocate(desk.now);
    desk.challenge();
    let request = desk.next();
    (desk, request)
}

#[test]
fn allocates_after_a_challenge_and_refreshes_a_minute_before_the_end() {
    let mut desk = Desk::new(config(), Transport::Udp);
    desk.client.allocate(desk.now);
    desk.client.allocate(desk.now);
    let open = desk.next();
    assert!(desk.poll().is_none(), "asked once");
    assert_eq!((open.method(), open.read().has_integrity()), (Method::ALLOCATE, false));
    assert_eq!(open.read().requested_transport(), Ok(Some(17)));
    desk.challenge_with(&open, 401);
    let sealed = desk.next();
    assert!(desk.is_sealed(&sealed));
    desk.grant_allocation(&sealed, 600);
    let allocation = allocated(&mut desk);
    assert_eq!((&allocation.relayed[..], allocation.mapped), (&[address(RELAYED)][..], address(MAPPED)));
    assert_eq!((allocation.lifetime, desk.client.is_allocated()), (secs(600), true));
    assert_eq!(desk.client.relayed(), [address(RELAYED)]);

    desk.pass(secs(539));
    assert!(desk.poll().is_none());
    desk.pass(secs(1));
    let refresh = desk.next();
    assert_eq!((refresh.method(), refresh.read().lifetime()), (Method::REFRESH, Ok(None)));
    assert!(!refresh.read().has(AttributeType::MOBILITY_TICKET), "RFC 8016 §3.2.1: only after a change of address");
    desk.grant(&refresh, |writer| {
        writer.push(Attribute::Lifetime(1200));
    });
    desk.pass(secs(1139));
    assert!(desk.poll().is_none());
    desk.pass(secs(1));
    assert_eq!(desk.next().method(), Method::REFRESH);
}

#[test]
fn asks_for_what_the_configuration_says() {
    let v6 = AddressFamily::V6;
    let token = [7; 8];
    let draft = AttributeType(0x8032);
    let reserving = Some(EvenPort { reserve_next: true });
    let cases = [
        (Config { families: Families::One(v6), ..config() }, vec![AttributeType::REQUESTED_ADDRESS_FAMILY]),
        (Config { families: Families::Both, ..config() }, vec![AttributeType::ADDITIONAL_ADDRESS_FAMILY, draft]),
        (
            Config { families: Families::Both, even_port: Some(EvenPort::default()), ..config() },
            vec![AttributeType::ADDITIONAL_ADDRESS_FAMILY, draft, AttributeType::EVEN_PORT],
        ),
        // RFC 8656 §7.1: not both with R, and neither with a token.
        (Config { families: Families::Both, even_port: reserving, ..config() }, vec![AttributeType::EVEN_PORT]),
        (
            Config { families: Families::Both, even_port: reserving, reservation: Some(token), ..config() },
            vec![AttributeType::RESERVATION_TOKEN],
        ),
        (
            Config { lifetime: Some(secs(1800)), dont_fragment: true, ..config() },
            vec![AttributeType::LIFETIME, AttributeType::DONT_FRAGMENT],
        ),
        (Config { mobility: false, software: Some("x".into()), ..config() }, vec![AttributeType::SOFTWARE]),
    ];
    for (config, mut expected) in cases {
        expected.insert(0, AttributeType::REQUESTED_TRANSPORT);
        if config.mobility {
            expected.push(AttributeType::MOBILITY_TICKET);
        }
        let mut desk = Desk::new(config, Transport::Udp);
        desk.client.allocate(desk.now);
        let request = desk.next();
        let kinds: Vec<_> = request.read().attributes().map(|attribute| attribute.kind).collect();
        assert_eq!(kinds, expected);
    }
}

#[test]
fn gets_one_address_of_each_family_or_learns_why_not() {
    let (v4, v6) = (address("192.0.2.1:50000"), address("[2001:db8::1]:50002"));
    let both = Config { families: Families::Both, ..config() };
    let (mut desk, request) = asked(both.clone());
    desk.grant(&request, |writer| {
        writer.push(Attribute::XorRelayedAddress(v4)).push(Attribute::XorRelayedAddress(v6));
        writer.push(Attribute::Lifetime(600)).push(Attribute::XorMappedAddress(address(MAPPED)));
        writer.push(Attribute::ReservationToken([9; 8]));
    });
    let allocation = allocated(&mut desk);
    assert_eq!((allocation.relayed, allocation.missing), (vec![v4, v6], None));
    assert_eq!(allocation.reservation, Some([9; 8]));

    let (mut desk, request) = asked(both.clone());
    desk.grant(&request, |writer| {
        writer.push(Attribute::XorRelayedAddress(v4)).push(Attribute::XorRelayedAddress(address("0.0.0.0:0")));
        writer.push(Attribute::Lifetime(600)).push(Attribute::XorMappedAddress(address(MAPPED)));
    });
    let allocation = allocated(&mut desk);
    assert_eq!((allocation.relayed, allocation.missing), (vec![v4], Some((AddressFamily::V6, 440))));

    let (mut desk, request) = asked(both);
    let missing = AddressErrorCode { family: AddressFamily::V6, error: ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED };
    desk.grant(&request, |writer| {
        writer.push(Attribute::XorRelayedAddress(v4)).push(Attribute::Lifetime(600));
        writer.push(Attribute::XorMappedAddress(address(MAPPED))).push(Attribute::AddressErrorCode(missing));
    });
    let allocation = allocated(&mut desk);
    assert_eq!((allocation.relayed, allocation.missing), (vec![v4], Some((AddressFamily::V6, 440))));
}

#[test]
fn refuses_addresses_that_were_not_asked_for_and_deletes_the_allocation() {
    let v6_alone = Config { families: Families::One(AddressFamily::V6), ..config() };
    let relayed = |addresses: &'static [&'static str]| addresses.iter().map(|a| address(a)).collect::<Vec<_>>();
    for (config, relayed, mapped) in [
        (v6_alone, relayed(&["192.0.2.1:50000"]), true),
        (config(), relayed(&[]), true),
        (config(), relayed(&["192.0.2.1:0"]), true),
        (config(), relayed(&["0.0.0.0:50000"]), true),
        (config(), relayed(&["192.0.2.1:50000", "192.0.2.1:50002"]), true),
        (config(), relayed(&["192.0.2.1:50000"]), false),
    ] {
        let (mut desk, request) = asked(config);
        desk.grant(&request, |writer| {
            relayed.iter().for_each(|address| {
                writer.push(Attribute::XorRelayedAddress(*address));
            });
            if mapped {
                writer.push(Attribute::XorMappedAddress(address(MAPPED)));
            }
        });
        assert_eq!(failed(&mut desk), Failure::Unusable);
        let farewell = desk.next();
        assert_eq!((farewell.method(), farewell.read().lifetime()), (Method::REFRESH, Ok(Some(0))));
        assert!(!desk.client.is_allocated());
    }
}

#[test]
fn asks_again_without_dont_fragment_if_the_server_does_not_know_it() {
    let (mut desk, request) = asked(Config { dont_fragment: true, ..config() });
    desk.refuse(&request, 420);
    let again = desk.next();
    assert!(!again.read().has(AttributeType::DONT_FRAGMENT));
    desk.grant_allocation(&again, 600);
    assert!(!allocated(&mut desk).dont_fragment);

    let (mut desk, request) = asked(config());
    desk.refuse(&request, 420);
    assert_eq!(failed(&mut desk).code(), Some(420));
}

#[test]
fn asks_again_without_mobility_if_the_server_forbids_it() {
    let (mut desk, request) = asked(config());
    desk.refuse(&request, 405);
    let again = desk.next();
    assert!(!again.read().has(AttributeType::MOBILITY_TICKET));
    desk.grant_allocation(&again, 600);
    assert!(!allocated(&mut desk).mobile);
}

#[test]
fn reports_why_there_is_no_allocation_and_when_to_try_again() {
    for (code, again) in [
        (400, None),
        (403, None),
        (437, Some(0)),
        (440, None),
        (441, None),
        (442, None),
        (486, Some(60)),
        (508, Some(60)),
    ] {
        let (mut desk, request) = asked(config());
        desk.refuse(&request, code);
        let failure = failed(&mut desk);
        assert_eq!((failure.code(), failure.retry_after()), (Some(code), again.map(secs)), "{code}");
        assert_eq!(desk.client.poll_timeout(), None);
        desk.client.allocate(desk.now);
        assert!(desk.next().read().has_integrity(), "the challenge is remembered");
    }
}

#[test]
fn a_wrong_password_is_reported_at_once() {
    let (mut desk, request) = asked(config());
    desk.challenge_with(&request, 401);
    assert_eq!(failed(&mut desk), Failure::NoAnswer(NoAnswer::Refused(Hopeless::WrongCredentials)));
    assert!(desk.poll().is_none());
}

#[test]
fn reports_an_alternate_server_with_its_name() {
    let (here, there) = (address("192.0.2.9:3478"), address("[2001:db8::9]:3478"));
    let alternate = |desk: &mut Desk, request: &desk::Paper, class| {
        desk.respond(request, class, |writer| {
            writer.push(Attribute::ErrorCode(ErrorCode::TRY_ALTERNATE)).push(Attribute::AlternateServer(here));
            writer.push(Attribute::AlternateServer(there)).push(Attribute::AlternateDomain("turn.example.net"));
        });
    };
    // Before there are credentials, it can only be open.
    let mut desk = Desk::new(config(), Transport::Udp);
    desk.client.allocate(desk.now);
    let request = desk.next();
    alternate(&mut desk, &request, Class::Error);
    let domain = Some("turn.example.net".to_owned());
    let expected = Failure::TryAlternate { server: here, other: Some(there), domain, authenticated: false };
    assert_eq!(failed(&mut desk), expected);

    // Afterwards, an open one is anybody's.
    let (mut desk, request) = asked(config());
    alternate(&mut desk, &request, Class::Error);
    assert_eq!(desk.event(), None);
    desk.grant_allocation(&request, 600);
    allocated(&mut desk);
}

#[test]
fn refuses_open_answers_once_challenged() {
    let (mut desk, request) = asked(config());
    for code in [400, 403, 437, 441, 486, 508] {
        desk.respond(&request, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(ErrorCode { code, reason: "" }));
        });
        assert_eq!(desk.event(), None, "{code}");
    }
    desk.respond(&request, Class::Success, |writer| {
        writer.push(Attribute::XorRelayedAddress(address("203.0.113.66:50000"))).push(Attribute::Lifetime(600));
        writer.push(Attribute::XorMappedAddress(address(MAPPED)));
    });
    assert_eq!(desk.event(), None);
    desk.grant_allocation(&request, 600);
    assert_eq!(allocated(&mut desk).relayed, [address(RELAYED)]);
}

#[test]
fn a_stale_nonce_is_replaced_and_nobody_notices() {
    let mut desk = Desk::allocated();
    desk.pass(secs(540));
    let refresh = desk.next();
    desk.challenge_with(&refresh, 438);
    let again = desk.next();
    assert_ne!(again.read().nonce(), refresh.read().nonce());
    desk.grant(&again, |writer| {
        writer.push(Attribute::Lifetime(600));
    });
    assert_eq!(desk.event(), None);
    desk.pass(secs(539));
    assert!(desk.poll().is_none());
}

#[test]
fn an_allocation_that_the_server_ended_is_lost_with_everything_in_it() {
    for code in [403, 437, 441, 508] {
        let mut desk = Desk::allocated_with(Config { mobility: false, ..config() }, Transport::Udp);
        desk.bind("203.0.113.5:5000");
        desk.pass(secs(240));
        let permission = desk.next();
        desk.grant(&permission, |_| {});
        desk.pass(secs(240));
        let permission = desk.next();
        desk.grant(&permission, |_| {});
        desk.pass(secs(60));
        while let Some(request) = desk.poll() {
            if request.method() == Method::REFRESH {
                desk.refuse(&request, code);
            } else {
                desk.grant(&request, |_| {});
            }
        }
        assert_eq!(lost(&mut desk).code(), Some(code));
        assert_eq!((desk.client.poll_timeout(), desk.client.is_allocated()), (None, false));
    }
}

#[test]
fn a_server_that_is_silent_is_asked_until_the_allocation_has_ended() {
    let mut desk = Desk::allocated();
    desk.pass(secs(599));
    let mut sent = 0;
    while let Some(request) = desk.poll() {
        assert_eq!(request.method(), Method::REFRESH);
        sent += 1;
    }
    // Seven times in 39.5 s, and again two seconds later.
    assert!(sent > 7, "{sent}");
    assert_eq!(desk.event(), None);
    desk.pass(secs(1));
    assert_eq!(lost(&mut desk), Failure::NoAnswer(NoAnswer::TimedOut));
    assert_eq!(desk.client.poll_timeout(), None);
}

#[test]
fn nobody_there_is_reported_after_the_last_wait() {
    let mut desk = Desk::new(config(), Transport::Udp);
    desk.client.allocate(desk.now);
    desk.pass(secs(39));
    assert_eq!(desk.event(), None);
    desk.pass(secs(1));
    assert_eq!(failed(&mut desk), Failure::NoAnswer(NoAnswer::TimedOut));
}

#[test]
fn gives_back_what_it_has() {
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    desk.client.release(desk.now);
    let request = desk.next();
    assert_eq!((request.method(), request.read().lifetime()), (Method::REFRESH, Ok(Some(0))));
    assert!(desk.client.is_releasing());
    desk.deliver(desk.flow, &desk::data("203.0.113.5:5000", b"late"));
    assert_eq!(desk.event(), None);
    // "effectively succeeded", RFC 8656 §8.3.
    desk.refuse(&request, 437);
    assert_eq!((desk.event(), desk.client.poll_timeout()), (Some(Event::Released), None));
    // There is nothing to give back now.
    desk.client.release(desk.now);
    assert_eq!((desk.event(), desk.poll().is_none()), (Some(Event::Released), true));
}

#[test]
fn gives_back_what_the_server_may_have_granted_unheard() {
    let (mut desk, _) = asked(config());
    desk.client.release(desk.now);
    let request = desk.next();
    assert_eq!((request.method(), request.read().lifetime()), (Method::REFRESH, Ok(Some(0))));
    desk.pass(secs(40));
    assert_eq!(desk.event(), Some(Event::Released));
}

#[test]
fn over_a_stream_the_connection_that_answered_is_the_allocations() {
    let mut desk = Desk::allocated_with(Config { mobility: false, ..config() }, Transport::Tcp);
    let opened = farspeak_sansio::Flow { id: farspeak_sansio::FlowId::new(0, 3, 1), ..desk.flow };
    assert_eq!(desk.client.flow(), desk.flow);
    desk.client.handle_flow_failed(desk.now, farspeak_sansio::Flow { remote: address("192.0.2.2:3478"), ..opened });
    assert!(desk.client.is_allocated());
    desk.client.handle_flow_failed(desk.now, opened);
    assert_eq!(lost(&mut desk), Failure::FlowFailed);
}
