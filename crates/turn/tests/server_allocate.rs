//! Allocate: RFC 8656 §7.2, check by check.

#[path = "support/world.rs"]
mod world;

use farspeak_sansio::{FlowId, Instant};
use farspeak_stun::attribute::EvenPort;
use farspeak_stun::{Attribute, AttributeType, Class, ErrorCode, Message, Method, Writer};
use farspeak_turn::{AlternateServer, HEADROOM, Packet, RelayAddress, ServerConfig, TAILROOM};
use world::*;

fn world() -> (World, Client) {
    (World::new(config()), Client::at("203.0.113.7:4000"))
}

#[test]
fn grants_an_allocation() {
    let (mut world, mut alice) = world();
    let answer = alice.allocate_with(&mut world, &|_| ()).ok();
    let relayed = answer.relayed();
    assert_eq!(relayed.ip().to_string(), RELAY_V4);
    assert!((49152..=65535).contains(&relayed.port()));
    assert_eq!(answer.lifetime(), 600);
    assert_eq!(answer.message().xor_mapped_address(), Ok(Some(alice.flow.remote)));
    assert!(!answer.message().has(AttributeType::RESERVATION_TOKEN));
    assert!(!answer.message().has(AttributeType::MOBILITY_TICKET));
    assert_eq!(world.ledger.usage("alice").allocations, 1);
    world.pass(seconds(599));
    assert_eq!(world.server.allocations(), 1);
    world.pass(seconds(1));
    assert_eq!(world.server.residue(), Default::default());
    assert_eq!((world.sockets.len(), world.ledger.usage("alice").allocations), (0, 0));
    assert_eq!(world.server.counters().expired, 1);
}

#[test]
fn refuses_without_requested_transport_and_other_transports() {
    let (mut world, mut alice) = world();
    assert_eq!(alice.ask(&mut world, Method::ALLOCATE, &|_| ()).code(), Some(400));
    let transport = |number: u8| {
        move |writer: &mut Writer<'_>| {
            writer.push(Attribute::RequestedTransport(number));
        }
    };
    for number in [0, 1, 6, 132] {
        assert_eq!(alice.ask(&mut world, Method::ALLOCATE, &transport(number)).code(), Some(442));
    }
    let malformed = |writer: &mut Writer<'_>| {
        writer.push_raw(AttributeType::REQUESTED_TRANSPORT, &[17]);
    };
    assert_eq!(alice.ask(&mut world, Method::ALLOCATE, &malformed).code(), Some(400));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn a_second_allocation_on_a_5_tuple_is_a_mismatch_and_a_retransmission_is_not() {
    let (mut world, mut alice) = world();
    alice.greet(&mut world);
    let id = world.id();
    let request = alice.sealed(id, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::MobilityTicket(&[]));
        writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
    });
    world.client_sends(alice.flow, &request);
    let (_, first) = world.answer().unwrap();
    assert_eq!(Message::parse(&first).unwrap().class(), Class::Success);
    world.client_sends(alice.flow, &request);
    assert_eq!(world.answer().unwrap().1, first);
    world.pass(seconds(10));
    world.client_sends(alice.flow, &request);
    let again = Answer(world.answer().unwrap().1);
    assert_eq!((again.lifetime(), again.relayed()), (590, Answer(first).relayed()));
    assert_eq!(alice.allocate_with(&mut world, &|_| ()).code(), Some(437));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn repeats_nothing_while_the_sockets_open() {
    let (mut world, mut alice) = world();
    alice.greet(&mut world);
    let id = world.id();
    let request = alice.sealed(id, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17));
    });
    let mut packet = vec![0; 64 + request.len()];
    packet[48..48 + request.len()].copy_from_slice(&request);
    for _ in 0..3 {
        let packet = Packet { buffer: &mut packet, data: 48..48 + request.len() };
        world.server.handle_client(world.now, alice.flow, packet);
    }
    let mut opened = Vec::new();
    while let Some(action) = world.server.poll_action() {
        match action {
            farspeak_turn::Action::Open { relay, .. } => opened.push(relay),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(opened.len(), 1);
    // Nothing else is possible meanwhile, and the driver's silence ends in 508.
    assert_eq!(alice.refresh(&mut world, 600).code(), Some(437));
    world.pass(seconds(10));
    let (_, bytes) = world.answer().unwrap();
    assert_eq!((Answer(bytes.clone()).code(), Answer(bytes).message().transaction_id()), (Some(508), id));
    assert_eq!(world.server.residue(), Default::default());
    world.server.relay_opened(world.now, opened[0], Ok(()));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn lifetimes_are_between_the_default_and_the_maximum() {
    for (asked, granted) in [(0, 600), (1, 600), (600, 600), (1800, 1800), (u32::MAX, 3600)] {
        let (mut world, mut alice) = world();
        let answer = alice.allocate_with(&mut world, &|writer| {
            writer.push(Attribute::Lifetime(asked));
        });
        assert_eq!(answer.ok().lifetime(), granted);
        world.pass(seconds(u64::from(granted) - 1));
        assert_eq!(world.server.allocations(), 1);
        world.pass(seconds(1));
        assert_eq!(world.server.allocations(), 0);
    }
}

#[test]
fn gives_the_family_that_is_asked_for() {
    let (mut world, mut alice) = world();
    let asked = |family| {
        move |writer: &mut Writer<'_>| {
            writer.push(Attribute::RequestedAddressFamily(family));
        }
    };
    assert_eq!(alice.allocate_with(&mut world, &asked(V6)).ok().relayed().ip().to_string(), RELAY_V6);
    let mut bob = Client::at("203.0.113.7:4001");
    assert_eq!(bob.allocate_with(&mut world, &asked(V4)).ok().relayed().ip().to_string(), RELAY_V4);
    let mut carol = Client::at("203.0.113.7:4002");
    let malformed = |writer: &mut Writer<'_>| {
        writer.push_raw(AttributeType::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0]);
    };
    assert!(matches!(carol.allocate_with(&mut world, &malformed).code(), Some(400 | 440)));
}

#[test]
fn a_family_that_it_does_not_have_is_not_supported() {
    let only = |ip: &str| ServerConfig { relays: vec![RelayAddress::plain(ip.parse().unwrap())], ..config() };
    let asked = |writer: &mut Writer<'_>| {
        writer.push(Attribute::RequestedAddressFamily(V6));
    };
    let mut world = World::new(only(RELAY_V4));
    assert_eq!(Client::at("203.0.113.7:4000").allocate_with(&mut world, &asked).code(), Some(440));
    let mut world = World::new(only(RELAY_V6));
    assert_eq!(Client::at("203.0.113.7:4000").allocate_with(&mut world, &|_| ()).code(), Some(440));
    assert_eq!(Client::at("203.0.113.7:4000").allocate_with(&mut world, &asked).ok().all_relayed().len(), 1);
}

fn both(writer: &mut Writer<'_>) {
    writer.push(Attribute::AdditionalAddressFamily(V6));
}

#[test]
fn gives_both_families_at_once() {
    let (mut world, mut alice) = world();
    let answer = alice.allocate_with(&mut world, &both).ok();
    let ips: Vec<String> = answer.all_relayed().iter().map(|at| at.ip().to_string()).collect();
    assert_eq!(ips, [RELAY_V4, RELAY_V6]);
    assert!(!answer.message().has(AttributeType::ADDRESS_ERROR_CODE));
    let [v4, v6] = answer.all_relayed()[..] else { panic!() };
    alice.permit(&mut world, PEER).ok();
    alice.permit(&mut world, PEER_V6).ok();
    for (peer, from) in [(PEER, v4), (PEER_V6, v6)] {
        alice.send(&mut world, address(peer), b"x");
        let sent = Out::Peer { from, peer: address(peer), data: b"x".to_vec(), dont_fragment: false };
        assert_eq!(world.take_out(), [sent]);
        world.peer_sends(from, peer, b"y");
        assert_eq!(read_data(&world.answer().unwrap().1), (address(peer), b"y".to_vec()));
    }
    assert_eq!(world.ledger.usage("alice").allocations, 1);
}

#[test]
fn understands_the_drafts_number_for_both_families() {
    let (mut world, mut alice) = world();
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push_raw(AttributeType(0x8032), &[2, 0, 0, 0]);
    });
    assert_eq!(answer.ok().all_relayed().len(), 2);
}

#[test]
fn tells_why_one_of_two_families_is_missing() {
    let mut world =
        World::new(ServerConfig { relays: vec![RelayAddress::plain(RELAY_V4.parse().unwrap())], ..config() });
    let answer = Client::at("203.0.113.7:4000").allocate_with(&mut world, &both).ok();
    let error = answer.message().address_error_code().unwrap().unwrap();
    assert_eq!((error.family, error.error), (V6, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
    // A socket that does not open is another reason.
    let mut world = World::new(config());
    world.sockets_left = 1;
    let answer = Client::at("203.0.113.7:4000").allocate_with(&mut world, &both).ok();
    let error = answer.message().address_error_code().unwrap().unwrap();
    assert_eq!((error.family, error.error), (V6, ErrorCode::INSUFFICIENT_CAPACITY));
    assert_eq!((answer.all_relayed().len(), world.server.residue().relays), (1, 1));
}

#[test]
fn attributes_that_contradict_each_other_are_a_bad_request() {
    let (mut world, mut alice) = world();
    type Write = fn(&mut Writer<'_>);
    let contradictions: [Write; 8] = [
        |w| {
            w.push(Attribute::ReservationToken([0; 8])).push(Attribute::EvenPort(EvenPort::default()));
        },
        |w| {
            w.push(Attribute::ReservationToken([0; 8])).push(Attribute::RequestedAddressFamily(V4));
        },
        |w| {
            w.push(Attribute::ReservationToken([0; 8])).push(Attribute::AdditionalAddressFamily(V6));
        },
        |w| {
            w.push(Attribute::RequestedAddressFamily(V6)).push(Attribute::AdditionalAddressFamily(V6));
        },
        |w| {
            w.push(Attribute::AdditionalAddressFamily(V4));
        },
        |w| {
            w.push(Attribute::EvenPort(EvenPort { reserve_next: true })).push(Attribute::AdditionalAddressFamily(V6));
        },
        |w| {
            w.push(Attribute::MobilityTicket(&[1, 2, 3, 4]));
        },
        |w| {
            w.push_raw(AttributeType::LIFETIME, &[1, 2]);
        },
    ];
    for (at, write) in contradictions.into_iter().enumerate() {
        assert_eq!(alice.allocate_with(&mut world, &write).code(), Some(400), "number {at}");
    }
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn lists_what_it_does_not_understand() {
    let (mut world, mut alice) = world();
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push_raw(AttributeType(0x7fee), b"?").push_raw(AttributeType(0xffee), b"!");
        writer.push(Attribute::AccessToken(b"token"));
    });
    assert_eq!(answer.code(), Some(420));
    let unknown = answer.message().unknown_attributes().unwrap().unwrap();
    assert!(unknown.iter().eq([AttributeType(0x7fee), AttributeType::ACCESS_TOKEN]));
}

#[test]
fn dont_fragment_is_unknown_where_it_cannot_be_done() {
    let (mut world, mut alice) = world();
    let ask = |writer: &mut Writer<'_>| {
        writer.push(Attribute::DontFragment(()));
    };
    alice.allocate_with(&mut world, &ask).ok();
    let mut world = World::new(ServerConfig { dont_fragment: false, ..config() });
    let mut bob = Client::at("203.0.113.7:4000");
    let answer = bob.allocate_with(&mut world, &ask);
    assert_eq!(answer.code(), Some(420));
    assert!(answer.message().unknown_attributes().unwrap().unwrap().iter().eq([AttributeType::DONT_FRAGMENT]));
}

#[test]
fn gives_even_ports_and_reserves_the_next() {
    let (mut world, mut alice) = world();
    let even = |reserve_next| {
        move |writer: &mut Writer<'_>| {
            writer.push(Attribute::EvenPort(EvenPort { reserve_next }));
        }
    };
    for n in 0..20 {
        let mut client = Client::at(&format!("203.0.113.7:{}", 5000 + n));
        assert!(client.allocate_with(&mut world, &even(false)).ok().relayed().port().is_multiple_of(2));
    }
    let answer = alice.allocate_with(&mut world, &even(true)).ok();
    let token = answer.message().reservation_token().unwrap().unwrap();
    let rtcp = answer.relayed().port() + 1;
    assert!(!rtcp.is_multiple_of(2) && world.sockets.values().any(|(_, at)| at.port() == rtcp));
    let with_token = |writer: &mut Writer<'_>| {
        writer.push(Attribute::ReservationToken(token));
    };
    // Somebody else cannot have it, nor can a token be guessed.
    let mut bob = Client::at("203.0.113.9:1").named("bob", "password");
    assert_eq!(bob.allocate_with(&mut world, &with_token).code(), Some(508));
    let mut second = Client::at("203.0.113.7:4001");
    let wrong = |writer: &mut Writer<'_>| {
        writer.push(Attribute::ReservationToken([0, 1, 2, 3, 4, 5, 6, 7]));
    };
    assert_eq!(second.allocate_with(&mut world, &wrong).code(), Some(508));
    world.pass(seconds(29));
    assert_eq!(second.allocate_with(&mut world, &with_token).ok().relayed().port(), rtcp);
    let mut third = Client::at("203.0.113.7:4002");
    assert_eq!(third.allocate_with(&mut world, &with_token).code(), Some(508), "a token is good once");
    world.pass(seconds(60));
    second.permit(&mut world, PEER).ok();
    second.send(&mut world, address(PEER), b"x");
    assert_eq!(world.take_out().len(), 1, "the reservation's end does not end the allocation");
}

#[test]
fn a_reservation_that_nobody_uses_ends_after_30_seconds() {
    let (mut world, mut alice) = world();
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
    });
    let token = answer.message().reservation_token().unwrap().unwrap();
    let reserved = answer.relayed().port() + 1;
    world.peer_sends(format!("{RELAY_V4}:{reserved}").parse().unwrap(), PEER, b"too early");
    assert_eq!(world.take_out(), []);
    world.pass(seconds(30));
    assert_eq!((world.server.residue().relays, world.server.residue().reservations), (1, 0));
    let mut second = Client::at("203.0.113.7:4001");
    let answer = second.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::ReservationToken(token));
    });
    assert_eq!(answer.code(), Some(508));
    assert_eq!(alice.refresh(&mut world, 0).ok().lifetime(), 0);
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn tries_other_ports_if_somebody_has_these() {
    let ports = 50_000..=50_007;
    let mut world = World::new(ServerConfig { ports, ..config() });
    world.taken = (50_000..=50_005).collect();
    let mut granted = Vec::new();
    for n in 0..40 {
        let mut client = Client::at(&format!("203.0.113.7:{}", 5000 + n));
        let answer = client.allocate_with(&mut world, &|_| ());
        match answer.code() {
            None => granted.push(answer.relayed().port()),
            Some(508) => {}
            other => panic!("{other:?}"),
        }
    }
    granted.sort_unstable();
    assert_eq!(granted, [50_006, 50_007]);
    let residue = world.server.residue();
    assert_eq!((residue.allocations, residue.relays, residue.flows), (2, 2, 2));
    assert_eq!(world.ledger.usage("alice").allocations, 2);
}

#[test]
fn a_pair_is_tried_as_a_pair() {
    let mut world = World::new(ServerConfig { ports: 50_000..=50_003, ..config() });
    world.taken = vec![50_001];
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
    });
    assert_eq!(answer.ok().relayed().port(), 50_002);
    let mut open: Vec<u16> = world.sockets.values().map(|(_, at)| at.port()).collect();
    open.sort_unstable();
    assert_eq!((open, world.server.residue().relays), (vec![50_002, 50_003], 2));
}

#[test]
fn without_sockets_there_is_insufficient_capacity_and_nothing_stays() {
    let (mut world, mut alice) = world();
    world.sockets_left = 0;
    assert_eq!(alice.allocate_with(&mut world, &|_| ()).code(), Some(508));
    assert_eq!(world.server.residue(), Default::default());
    world.sockets_left = 1;
    alice.allocate(&mut world);
}

#[test]
fn a_driver_that_loses_a_socket_ends_what_stood_on_it() {
    let (mut world, mut alice) = world();
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
    });
    let (port, lost) = (answer.ok().relayed().port(), Err(farspeak_turn::RelayRefused::Unavailable));
    for (at, left) in [(port + 1, (1, 0)), (port, (0, 0))] {
        let (relay, _) = *world.sockets.values().find(|(_, known)| known.port() == at).unwrap();
        world.server.relay_opened(world.now, relay, lost);
        world.drain();
        assert_eq!((world.server.residue().relays, world.server.residue().reservations), left);
    }
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn sends_clients_elsewhere_if_told_to() {
    let alternate_server = Some(AlternateServer {
        v4: Some(address("198.51.100.9:3478")),
        v6: None,
        domain: Some("turn.example.net".into()),
    });
    let mut world = World::new(ServerConfig { alternate_server, ..config() });
    let answer = Client::at("203.0.113.7:4000").allocate_with(&mut world, &|_| ());
    assert_eq!(answer.code(), Some(300));
    assert_eq!(answer.message().alternate_server(), Ok(Some(address("198.51.100.9:3478"))));
    assert_eq!(answer.message().alternate_domain(), Ok(None), "the name is for TLS");
    let mut flow = tcp("203.0.113.7:4001", 9);
    flow.transport = farspeak_sansio::Transport::Tls;
    let answer = Client::over(flow).allocate_with(&mut world, &|_| ());
    assert_eq!(answer.message().alternate_domain(), Ok(Some("turn.example.net")));
    // By IPv6 there is nowhere else to go.
    Client::at("[2001:db8::7]:4000").allocate(&mut world);
}

#[test]
fn tells_what_it_is_to_those_who_have_proved_who_they_are() {
    let mut world = World::new(ServerConfig { software: Some("Farspeak".into()), ..config() });
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut world, &|_| ()).ok();
    assert_eq!(answer.message().software(), Ok(Some("Farspeak")));
    assert_eq!(alice.permit(&mut world, PEER).ok().message().software(), Ok(None));
}

#[test]
fn an_answer_carries_a_fingerprint_if_the_request_does() {
    let (mut world, mut alice) = world();
    alice.greet(&mut world);
    let mut buffer = [0; 512];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, world.id());
    writer.push(Attribute::RequestedTransport(17)).push(Attribute::Username("alice"));
    writer.push(Attribute::Realm(REALM)).push(Attribute::Nonce(&alice.nonce)).integrity(&alice.key()).fingerprint();
    let request = writer.finish().unwrap().to_vec();
    let mut damaged = request.clone();
    *damaged.last_mut().unwrap() ^= 1;
    world.client_sends(alice.flow, &damaged);
    assert_eq!(world.answer(), None);
    world.client_sends(alice.flow, &request);
    let (_, answer) = world.answer().unwrap();
    assert!(Message::parse(&answer).unwrap().check_fingerprint());
}

#[test]
fn a_stream_that_ends_ends_its_allocation_and_a_new_one_is_another() {
    let mut world = World::new(config());
    let flow = tcp("203.0.113.7:4000", 5);
    let mut alice = Client::over(flow);
    alice.allocate(&mut world);
    let mut next = Client::over(farspeak_sansio::Flow { id: FlowId::new(0, 5, 2), ..flow });
    next.allocate(&mut world);
    world.server.handle_client_gone(world.now, flow);
    world.drain();
    assert_eq!(world.server.allocations(), 1);
    next.permit(&mut world, PEER).ok();
    // A datagram's ICMP error ends nothing.
    let mut carol = Client::at("203.0.113.8:4000");
    carol.allocate(&mut world);
    world.server.handle_client_gone(world.now, carol.flow);
    assert_eq!(world.server.allocations(), 2);
}

#[test]
fn ends_everything_at_shutdown() {
    let mut world = World::new(config());
    for n in 0..10 {
        Client::at(&format!("203.0.113.7:{}", 5000 + n)).allocate_with(&mut world, &|writer| {
            writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
        });
    }
    assert_eq!(world.sockets.len(), 20);
    world.server.close(world.now);
    world.drain();
    assert_eq!((world.sockets.len(), world.ledger.usage("alice").allocations), (0, 0));
    world.pass(seconds(3600));
    assert_eq!(world.server.residue(), Default::default());
    assert_eq!(world.server.poll_timeout(), None::<Instant>);
}

#[test]
fn a_driver_that_never_answers_leaves_nothing_behind() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.greet(&mut world);
    let id = world.id();
    let request = alice.sealed(id, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::EvenPort(EvenPort { reserve_next: true }));
    });
    let mut buffer = [&[0; HEADROOM], &request[..], &[0; TAILROOM]].concat();
    let data = HEADROOM..HEADROOM + request.len();
    world.server.handle_client(world.now, alice.flow, Packet { buffer: &mut buffer, data });
    while world.server.poll_action().is_some() {}
    assert_eq!((world.server.residue().relays, world.server.residue().reservations), (2, 1));
    world.pass(seconds(10));
    assert_eq!(Answer(world.answer().unwrap().1).code(), Some(508));
    assert_eq!(world.server.residue(), Default::default());
}
