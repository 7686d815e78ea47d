//! RFC 8016 from the client's side, and what wakes it: the owner, a 437, a Binding that shows another address, a broken
//! stream.

#[path = "support/desk.rs"]
#[allow(dead_code)]
mod desk;

use desk::{Desk, MAPPED, Paper, address, channel_data, config, data, secs};
use farspeak_sansio::{Flow, FlowId, Machine, Transport};
use farspeak_stun::{Attribute, Class, Method};
use farspeak_turn::client::{Config, Event, Failure};

fn is_move(request: &Paper) -> bool {
    request.method() == Method::REFRESH && request.read().mobility_ticket() == Ok(Some(b"ticket"))
}

fn grant_move(desk: &mut Desk, request: &Paper, ticket: &[u8]) {
    desk.grant(request, |writer| {
        writer.push(Attribute::Lifetime(600)).push(Attribute::MobilityTicket(ticket));
    });
}

#[test]
fn follows_the_owner_to_another_address() {
    let mut desk = Desk::allocated();
    let peer = address("203.0.113.5:5000");
    let channel = desk.bind("203.0.113.5:5000");
    desk.client.send(desk.now, peer, b"x").unwrap();
    desk.next();

    let new = Flow { local: address("10.9.9.9:7000"), ..desk.flow };
    desk.client.moved(desk.now, new);
    let request = desk.next();
    assert!(is_move(&request) && request.flow == new);
    // Make before break: data still goes the old way.
    desk.client.send(desk.now, peer, b"old way").unwrap();
    assert_eq!(desk.next().flow, desk.flow);
    grant_move(&mut desk, &request, b"second");
    assert_eq!(desk.event(), Some(Event::Moved));
    assert_eq!(desk.client.flow(), new);
    // The server switches when it hears data: an empty datagram is enough.
    let nudge = desk.next();
    assert_eq!((nudge.flow, nudge.bytes), (new, channel_data(channel, b"")));
    // Both ways are listened to; only the new one is spoken on.
    desk.deliver(desk.flow, &data("203.0.113.5:5000", b"late"));
    desk.deliver(new, &data("203.0.113.5:5000", b"new"));
    assert!(matches!((desk.event(), desk.event()), (Some(Event::Data { .. }), Some(Event::Data { .. }))));
    desk.client.send(desk.now, peer, b"new way").unwrap();
    assert_eq!(desk.next().flow, new);
    // "it MUST use the new ticket", RFC 8016 §3.2.2.
    desk.client.moved(desk.now, desk.flow);
    assert_eq!(desk.next().read().mobility_ticket(), Ok(Some(&b"second"[..])));
}

#[test]
fn begins_anew_where_it_cannot_follow() {
    for (code, mobility) in [(None, false), (Some(405), true), (Some(437), true), (Some(400), true)] {
        let mut desk = Desk::allocated_with(Config { mobility, ..config() }, Transport::Udp);
        desk.permit("203.0.113.5");
        let new = Flow { local: address("10.9.9.9:7000"), ..desk.flow };
        desk.client.moved(desk.now, new);
        let first = desk.next();
        match code {
            Some(code) => desk.refuse(&first, code),
            None => assert_eq!((first.flow, first.read().lifetime()), (desk.flow, Ok(Some(0))), "a farewell"),
        }
        let Some(Event::Lost(Failure::Moved(why))) = desk.event() else { panic!("not lost") };
        assert_eq!(why.and_then(|why| why.code()), code);
        let request = desk.next();
        assert_eq!((request.method(), request.flow), (Method::ALLOCATE, new));
        desk.grant_allocation(&request, 600);
        assert!(matches!(desk.event(), Some(Event::Allocated(_))));
    }
}

#[test]
fn an_allocation_that_ends_on_the_way_is_replaced_at_the_new_place() {
    let mut desk = Desk::allocated();
    desk.pass(secs(590));
    let new = Flow { local: address("10.9.9.9:7000"), ..desk.flow };
    desk.client.moved(desk.now, new);
    while desk.poll().is_some() {}
    desk.pass(secs(10));
    let Some(Event::Lost(Failure::Moved(Some(_)))) = desk.event() else { panic!("not lost") };
    let last = std::iter::from_fn(|| desk.poll()).last().unwrap();
    assert_eq!((last.method(), last.flow), (Method::ALLOCATE, new));
}

#[test]
fn a_move_while_allocating_allocates_from_there() {
    let mut desk = Desk::new(config(), Transport::Udp);
    desk.client.allocate(desk.now);
    desk.next();
    let new = Flow { local: address("10.9.9.9:7000"), ..desk.flow };
    desk.client.moved(desk.now, new);
    let request = desk.next();
    assert_eq!((request.method(), request.flow), (Method::ALLOCATE, new));
    desk.pass(secs(39));
    while let Some(again) = desk.poll() {
        assert_eq!(again.flow, new);
    }
}

#[test]
fn a_mismatch_may_be_a_nat_that_gave_us_another_address() {
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    desk.pass(secs(240));
    let request = desk.next();
    desk.refuse(&request, 437);
    let request = desk.next();
    assert!(is_move(&request));
    grant_move(&mut desk, &request, b"second");
    assert_eq!(desk.event(), Some(Event::Moved));
    // The permission that could not be refreshed is asked for again.
    let methods: Vec<_> = std::iter::from_fn(|| desk.poll()).map(|paper| paper.method()).collect();
    assert_eq!(methods, [Method::CREATE_PERMISSION]);

    let mut desk = Desk::allocated();
    desk.pass(secs(540));
    let request = desk.next();
    desk.refuse(&request, 437);
    let request = desk.next();
    desk.refuse(&request, 437);
    assert!(matches!(desk.event(), Some(Event::Lost(failure)) if failure.code() == Some(437)));
    assert!(desk.poll().is_none(), "the owner decides what is next");
}

/// With a keep-alive every 15 s that the server answers.
fn watched() -> Desk {
    Desk::allocated_with(Config { keep_alive: Some(secs(15)), ..config() }, Transport::Udp)
}

fn answer_binding(desk: &mut Desk, mapped: &str) {
    let request = desk.next();
    assert_eq!((request.method(), request.read().class()), (Method::BINDING, Class::Request));
    desk.respond(&request, Class::Success, |writer| {
        writer.push(Attribute::XorMappedAddress(address(mapped)));
    });
}

#[test]
fn a_binding_that_shows_another_address_makes_it_move() {
    let mut desk = watched();
    for _ in 0..5 {
        desk.pass(secs(15));
        answer_binding(&mut desk, MAPPED);
        assert!(desk.poll().is_none());
    }
    desk.pass(secs(15));
    answer_binding(&mut desk, "198.51.100.7:6001");
    let request = desk.next();
    assert!(is_move(&request) && request.flow == desk.flow);
    grant_move(&mut desk, &request, b"second");
    assert_eq!(desk.event(), Some(Event::Moved));
    for _ in 0..5 {
        desk.pass(secs(15));
        answer_binding(&mut desk, "198.51.100.7:6001");
        assert!(desk.poll().is_none());
    }
}

#[test]
fn asks_for_its_address_in_the_midst_of_traffic_too() {
    let mut desk = watched();
    desk.permit("203.0.113.5");
    for _ in 0..5 {
        desk.pass(secs(14));
        desk.client.send(desk.now, address("203.0.113.5:5000"), b"x").unwrap();
        desk.next();
        desk.pass(secs(1));
        answer_binding(&mut desk, MAPPED);
    }
}

#[test]
fn a_forged_binding_costs_a_refresh_and_nothing_more() {
    let mut desk = watched();
    desk.pass(secs(15));
    answer_binding(&mut desk, "203.0.113.66:666");
    let request = desk.next();
    assert!(is_move(&request));
    // The server sees us where we were (RFC 8016 §3.2.2).
    desk.refuse(&request, 400);
    let refresh = desk.next();
    assert!(refresh.method() == Method::REFRESH && !is_move(&refresh));
    desk.grant(&refresh, |writer| {
        writer.push(Attribute::Lifetime(600));
    });
    assert!(desk.event().is_none() && desk.client.is_allocated());
}

#[test]
fn without_mobility_indications_keep_the_nat_awake_and_only_in_silence() {
    let config = Config { keep_alive: Some(secs(15)), mobility: false, ..config() };
    let mut desk = Desk::allocated_with(config.clone(), Transport::Udp);
    desk.permit("203.0.113.5");
    for _ in 0..10 {
        desk.pass(secs(15));
        let sent = desk.next();
        assert_eq!((sent.method(), sent.read().class()), (Method::BINDING, Class::Indication));
    }
    for _ in 0..10 {
        desk.pass(secs(8));
        desk.client.send(desk.now, address("203.0.113.5:5000"), b"x").unwrap();
        assert_eq!(desk.next().method(), Method::SEND);
        assert!(desk.poll().is_none());
    }
    // Nobody is asked all the time.
    let zero = Config { keep_alive: Some(secs(0)), ..config.clone() };
    let mut desk = Desk::allocated_with(zero, Transport::Udp);
    desk.pass(secs(10));
    assert!(std::iter::from_fn(|| desk.poll()).count() <= 10);
    // A stream needs none.
    let mut desk = Desk::allocated_with(config, Transport::Tls);
    desk.pass(secs(500));
    assert!(desk.poll().is_none());
}

#[test]
fn a_broken_stream_is_replaced_but_not_for_ever() {
    let mut desk = Desk::allocated_with(config(), Transport::Tls);
    let connection = |slot| Flow { id: FlowId::new(0, slot, 1), ..desk::flow(Transport::Tls) };
    desk.client.handle_flow_failed(desk.now, connection(1));
    let request = desk.next();
    assert!(is_move(&request) && request.flow.id == FlowId::UNBOUND);
    let request = Paper { flow: connection(2), ..request };
    grant_move(&mut desk, &request, b"second");
    assert_eq!((desk.event(), desk.client.flow()), (Some(Event::Moved), connection(2)));
    // The old connection's end may be told twice.
    desk.client.handle_flow_failed(desk.now, connection(1));
    assert!(desk.client.is_allocated());
    desk.pass(secs(5));
    desk.client.handle_flow_failed(desk.now, connection(2));
    assert_eq!(desk.event(), Some(Event::Lost(Failure::FlowFailed)));
    assert!(desk.poll().is_none());
}

#[test]
fn a_stream_that_cannot_be_opened_again_loses_the_allocation() {
    let mut desk = Desk::allocated_with(config(), Transport::Tcp);
    desk.client.handle_flow_failed(desk.now, desk.flow);
    assert!(is_move(&desk.next()));
    desk.client.handle_flow_failed(desk.now, desk.flow);
    assert_eq!(desk.event(), Some(Event::Lost(Failure::FlowFailed)));
    assert_eq!(desk.client.poll_timeout(), None);
}
