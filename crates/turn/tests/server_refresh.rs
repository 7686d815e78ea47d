//! Refresh: RFC 8656 §8.2; and who may ask for what: §5.

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;

use farspeak_stun::{Attribute, Method, Writer};
use farspeak_turn::{Action, HEADROOM, Packet, RestAccounts, ServerConfig, TAILROOM, Which};
use world::*;

fn world() -> (World, Client) {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::AdditionalAddressFamily(V6));
    });
    (world, alice)
}

#[test]
fn keeps_an_allocation_for_as_long_as_it_is_refreshed() {
    let (mut world, mut alice) = world();
    for _ in 0..50 {
        world.pass(seconds(599));
        assert_eq!(alice.refresh(&mut world, 600).ok().lifetime(), 600);
    }
    assert_eq!(alice.refresh(&mut world, 1).ok().lifetime(), 600);
    assert_eq!(alice.refresh(&mut world, 3600).ok().lifetime(), 3600);
    world.pass(seconds(3599));
    // A shorter lifetime counts from now.
    assert_eq!(alice.refresh(&mut world, 3600).ok().lifetime(), 3600);
    assert_eq!(alice.refresh(&mut world, 600).ok().lifetime(), 600);
    assert!(world.server.residue().timers <= 5);
    world.pass(seconds(600));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn a_lifetime_of_zero_ends_it_and_asking_again_is_a_mismatch() {
    let (mut world, mut alice) = world();
    alice.bind(&mut world, 0x4000, PEER).ok();
    assert_eq!(alice.refresh(&mut world, 0).ok().lifetime(), 0);
    assert_eq!(world.server.residue(), Default::default());
    assert!(world.sockets.is_empty());
    assert_eq!(alice.refresh(&mut world, 0).code(), Some(437));
    assert_eq!(alice.permit(&mut world, PEER).code(), Some(437));
    assert_eq!(alice.bind(&mut world, 0x4000, PEER).code(), Some(437));
    alice.channel_data(&mut world, 0x4000, b"x");
    alice.send(&mut world, address(PEER), b"x");
    assert_eq!(world.take_out(), []);
    // The 5-tuple is free, and nothing of before is left.
    alice.allocate(&mut world);
    alice.channel_data(&mut world, 0x4000, b"x");
    assert_eq!(world.take_out(), []);
    assert_eq!((world.server.counters().released, world.server.counters().allocated), (1, 2));
}

fn of(family: farspeak_stun::attribute::AddressFamily, lifetime: u32) -> impl Fn(&mut Writer<'_>) {
    move |writer| {
        writer.push(Attribute::Lifetime(lifetime)).push(Attribute::RequestedAddressFamily(family));
    }
}

#[test]
fn one_family_of_two_ends_alone() {
    let (mut world, mut alice) = world();
    alice.bind(&mut world, 0x4000, PEER).ok();
    alice.bind(&mut world, 0x4001, PEER_V6).ok();
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &of(V4, 0)).ok().lifetime(), 0);
    assert_eq!((world.sockets.len(), world.server.allocations()), (1, 1));
    alice.channel_data(&mut world, 0x4000, b"x");
    assert_eq!(world.take_out(), []);
    alice.channel_data(&mut world, 0x4001, b"x");
    assert_eq!(world.take_out().len(), 1);
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &of(V4, 600)).code(), Some(443));
    assert_eq!(alice.permit(&mut world, PEER).code(), Some(443));
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &of(V6, 0)).ok().lifetime(), 0);
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn one_family_of_two_expires_alone() {
    let (mut world, mut alice) = world();
    world.pass(seconds(300));
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &of(V6, 600)).ok().lifetime(), 600);
    world.pass(seconds(300));
    assert_eq!((world.sockets.len(), world.server.allocations()), (1, 1));
    assert_eq!(alice.permit(&mut world, PEER).code(), Some(443));
    alice.permit(&mut world, PEER_V6).ok();
    world.pass(seconds(300));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn a_family_that_is_not_there_is_a_mismatch() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &of(V6, 600)).code(), Some(443));
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &of(V4, 600)).code(), None);
}

#[test]
fn refuses_other_users_of_the_same_5_tuple() {
    let (mut world, alice) = world();
    let mut bob = alice.clone().named("bob", "password");
    assert_eq!(bob.refresh(&mut world, 0).code(), Some(441));
    assert_eq!(bob.permit(&mut world, PEER).code(), Some(441));
    assert_eq!(bob.bind(&mut world, 0x4000, PEER).code(), Some(441));
    assert_eq!(bob.allocate_with(&mut world, &|_| ()).code(), Some(437));
    let mut mallory = alice.named("alice", "guessed");
    assert_eq!(mallory.refresh(&mut world, 0).code(), Some(401));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn a_call_outlasts_the_credential_that_began_it() {
    let rest = RestAccounts::new(b"north");
    let mut world = World::with(config(), Box::new(rest.clone()), Arc::default());
    let mut alice = Client::at("203.0.113.7:4000").rest(&rest, 100, "alice");
    alice.allocate(&mut world);
    world.pass(seconds(500));
    alice.refresh(&mut world, 600).ok();
    alice.permit(&mut world, PEER).ok();
    let mut late = Client::at("203.0.113.7:4001").rest(&rest, 100, "alice");
    assert_eq!(late.allocate_with(&mut world, &|_| ()).code(), Some(401));
    // A newer credential of the same user is as good; anybody else's is not.
    let mut renewed =
        Client { nonce: alice.nonce.clone(), ..Client::at("203.0.113.7:4000").rest(&rest, 9999, "alice") };
    renewed.refresh(&mut world, 600).ok();
    let mut other = Client { nonce: alice.nonce.clone(), ..Client::at("203.0.113.7:4000").rest(&rest, 9999, "eve") };
    assert_eq!(other.refresh(&mut world, 600).code(), Some(441));
    assert_eq!(world.ledger.usage("alice").allocations, 1);
}

#[test]
fn a_call_ends_with_its_credential_if_the_operator_is_strict() {
    let rest = RestAccounts::new(b"north");
    let config = ServerConfig { strict_expiry: true, unix_at_origin: seconds(1_000_000), ..config() };
    let mut world = World::with(config, Box::new(rest.clone()), Arc::default());
    let mut alice = Client::at("203.0.113.7:4000").rest(&rest, 1_000_900, "alice");
    assert_eq!(alice.allocate_with(&mut world, &|_| ()).ok().lifetime(), 600);
    world.pass(seconds(500));
    assert_eq!(alice.refresh(&mut world, 600).ok().lifetime(), 400);
    world.pass(seconds(399));
    assert_eq!(world.server.allocations(), 1);
    world.pass(seconds(1));
    assert_eq!(alice.refresh(&mut world, 600).code(), Some(401));
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn sessions_are_reported_and_ended() {
    let (mut world, mut alice) = world();
    let mut bob = Client::over(tcp("203.0.113.8:4000", 4)).named("bob", "password");
    bob.allocate(&mut world);
    alice.bind(&mut world, 0x4000, PEER).ok();
    alice.channel_data(&mut world, 0x4000, b"12345");
    world.take_out();
    let sessions: Vec<_> = world.server.sessions(world.now).collect();
    assert_eq!(sessions.len(), 2);
    let of_alice = sessions.iter().find(|one| &*one.user == "alice").unwrap();
    assert_eq!((of_alice.permissions, of_alice.channels, of_alice.sent.bytes), (1, 1, 5));
    assert_eq!((of_alice.client, of_alice.relayed.iter().flatten().count()), (alice.flow, 2));
    let which = Which::Session(of_alice.id.to_bits());
    assert_eq!(world.server.kick(world.now, which), 1);
    assert_eq!(world.server.kick(world.now, which), 0);
    assert_eq!(world.server.kick(world.now, Which::User("bob")), 1);
    world.drain();
    assert!(matches!(world.actions[..], [Action::CloseClient(flow)] if flow == bob.flow));
    assert_eq!(alice.refresh(&mut world, 600).code(), Some(437));
    assert_eq!(world.ledger.usage("alice").sent.bytes, 5);
    assert_eq!(world.server.residue().allocations, 0);
}

#[test]
fn timers_do_not_pile_up_however_lifetimes_are_chosen() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::Lifetime(3600));
    });
    assert_eq!(answer.ok().lifetime(), 3600);
    world.pass(seconds(60));
    for lifetime in (600..=3500).rev() {
        assert_eq!(alice.refresh(&mut world, lifetime).ok().lifetime(), lifetime);
    }
    let timers = world.server.residue().timers;
    assert!((2..=1027).contains(&timers), "{timers}");
    world.pass(seconds(599));
    assert_eq!(world.server.allocations(), 1);
    world.pass(seconds(1));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn whoever_is_kicked_on_the_way_loses_both_ends_and_who_waits_for_a_socket_gets_none() {
    let mut world = World::new(config());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    let ticket = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::MobilityTicket(&[]));
    });
    let ticket = ticket.ok().ticket();
    let mut moving = Client::over(tcp("192.0.2.9:7000", 2));
    moving
        .ask(&mut world, Method::REFRESH, &|writer| {
            writer.push(Attribute::MobilityTicket(&ticket));
        })
        .ok();
    assert_eq!(world.server.kick(world.now, Which::User("alice")), 1);
    world.drain();
    let closed = [alice.flow, moving.flow];
    assert!(matches!(world.actions[..], [Action::CloseClient(one), Action::CloseClient(two)] if [one, two] == closed));
    // The driver has not opened the socket yet.
    let mut bob = Client::at("203.0.113.8:4000").named("bob", "password");
    bob.greet(&mut world);
    let id = world.id();
    let request = bob.sealed(id, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17));
    });
    let mut buffer = [&[0; HEADROOM], &request[..], &[0; TAILROOM]].concat();
    let data = HEADROOM..HEADROOM + request.len();
    world.server.handle_client(world.now, bob.flow, Packet { buffer: &mut buffer, data });
    assert_eq!(world.server.kick(world.now, Which::User("bob")), 1);
    world.drain();
    assert_eq!((world.take_out(), world.open.len()), (vec![], 0));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn a_call_whose_credential_is_over_is_not_prolonged_once_the_operator_is_strict() {
    let rest = RestAccounts::new(b"north");
    let mut world = World::with(config(), Box::new(rest.clone()), Arc::default());
    let mut alice = Client::at("203.0.113.7:4000").rest(&rest, 100, "alice");
    alice.allocate(&mut world);
    world.pass(seconds(200));
    alice.refresh(&mut world, 600).ok();
    world.server.reconfigure(world.now, ServerConfig { strict_expiry: true, ..config() });
    assert_eq!(alice.refresh(&mut world, 600).code(), Some(401));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn what_has_expired_is_over_even_if_no_timer_has_fired() {
    let (mut world, mut alice) = world();
    let relayed = world.server.sessions(world.now).next().unwrap().relayed[0].unwrap();
    alice.bind(&mut world, 0x4000, PEER).ok();
    world.now += seconds(299);
    alice.bind(&mut world, 0x4000, PEER).ok();
    world.now += seconds(299);
    alice.bind(&mut world, 0x4000, PEER).ok();
    world.now += seconds(2);
    alice.channel_data(&mut world, 0x4000, b"too late");
    alice.send(&mut world, address(PEER), b"too late");
    world.peer_sends(relayed, PEER, b"too late");
    assert_eq!(world.take_out(), []);
    assert_eq!(alice.permit(&mut world, PEER).code(), Some(443));
}
