//! Clients that take their allocation along: RFC 8016.

#[path = "support/world.rs"]
mod world;

use farspeak_stun::{Attribute, Method, Writer};
use farspeak_turn::ServerConfig;
use world::*;

fn with_ticket(ticket: &[u8]) -> impl Fn(&mut Writer<'_>) + '_ {
    move |writer| {
        writer.push(Attribute::MobilityTicket(ticket));
    }
}

fn allocate_mobile(world: &mut World, client: &mut Client) -> (std::net::SocketAddr, Vec<u8>) {
    let answer = client.allocate_with(world, &with_ticket(&[])).ok();
    (answer.relayed(), answer.ticket())
}

fn world() -> (World, Client, std::net::SocketAddr, Vec<u8>) {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let (relayed, ticket) = allocate_mobile(&mut world, &mut alice);
    alice.bind(&mut world, 0x4000, PEER).ok();
    (world, alice, relayed, ticket)
}

#[test]
fn makes_before_it_breaks() {
    let (mut world, alice, relayed, ticket) = world();
    let mut moved = Client::at("192.0.2.9:7000");
    let answer = moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok();
    assert_eq!(answer.lifetime(), 600);
    assert_ne!(answer.ticket(), ticket);
    // Until data comes from the new address, everything goes to and comes from the old one.
    world.peer_sends(relayed, PEER, b"to the old one");
    assert_eq!(world.answer().unwrap().0, alice.flow);
    alice.channel_data(&mut world, 0x4000, b"from the old one");
    assert_eq!(world.take_out().len(), 1);
    moved.permit(&mut world, PEER).ok();
    world.peer_sends(relayed, PEER, b"requests do not count");
    assert_eq!(world.answer().unwrap().0, alice.flow);
    moved.channel_data(&mut world, 0x4000, b"from the new one");
    assert!(matches!(&world.take_out()[..], [Out::Peer { from, .. }] if *from == relayed));
    world.peer_sends(relayed, PEER, b"to the new one");
    let (flow, bytes) = world.answer().unwrap();
    assert_eq!((flow, read_channel(&bytes).0), (moved.flow, 0x4000));
    alice.channel_data(&mut world, 0x4000, b"too late");
    assert_eq!(world.take_out(), []);
    assert_eq!((world.server.residue().flows, world.server.counters().moved), (1, 1));
    // And on.
    let mut further = Client::at("[2001:db8::9]:7000");
    further.ask(&mut world, Method::REFRESH, &with_ticket(&answer.ticket())).ok();
    further.send(&mut world, address(PEER), b"by indication");
    world.take_out();
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.answer().unwrap().0, further.flow);
}

#[test]
fn a_refresh_that_is_repeated_gets_the_same_ticket() {
    let (mut world, _, relayed, ticket) = world();
    let mut moved = Client::at("192.0.2.9:7000");
    let first = moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok().ticket();
    world.pass(seconds(29));
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok().ticket(), first);
    moved.channel_data(&mut world, 0x4000, b"x");
    world.take_out();
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok().ticket(), first);
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.answer().unwrap().0, moved.flow);
    world.pass(seconds(1));
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(400));
}

#[test]
fn refuses_tickets_that_are_no_good() {
    let (mut world, mut alice, _, ticket) = world();
    let mut forged = ticket.clone();
    forged[20] ^= 1;
    let mut moved = Client::at("192.0.2.9:7000");
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &with_ticket(&forged)).code(), Some(400));
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &with_ticket(&[])).code(), Some(400));
    // From where it is already.
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(400));
    // Somebody else's.
    let mut bob = Client::at("192.0.2.9:7001").named("bob", "password");
    assert_eq!(bob.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(441));
    let mut mallory = Client::at("192.0.2.9:7002").named("alice", "guessed");
    assert_eq!(mallory.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(401));
    // To where there is an allocation already.
    let mut other = Client::at("192.0.2.9:7003");
    other.allocate(&mut world);
    assert_eq!(other.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(437));
    // The next one, from where it leads to already.
    let next = moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok().ticket();
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &with_ticket(&next)).code(), Some(400));
    // An old one, from elsewhere.
    let mut late = Client::at("192.0.2.9:7004");
    assert_eq!(late.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(400));
    // One whose allocation is gone.
    alice.refresh(&mut world, 0).ok();
    assert_eq!(late.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(437));
    assert_eq!(world.server.residue().flows, 1);
}

#[test]
fn refuses_mobility_where_it_is_forbidden() {
    let mut world = World::new(ServerConfig { mobility: false, ..config() });
    let mut alice = Client::at("203.0.113.7:4000");
    assert_eq!(alice.allocate_with(&mut world, &with_ticket(&[])).code(), Some(405));
    alice.allocate(&mut world);
    let (mut world, _, _, ticket) = self::world();
    world.server.reconfigure(world.now, ServerConfig { mobility: false, ..config() });
    let mut moved = Client::at("192.0.2.9:7000");
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).code(), Some(405));
}

#[test]
fn waits_for_a_client_whose_stream_broke() {
    let mut world = World::new(config());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 3));
    let (relayed, ticket) = allocate_mobile(&mut world, &mut alice);
    alice.bind(&mut world, 0x4000, PEER).ok();
    assert!(world.server.serves(&alice.flow));
    world.server.handle_client_gone(world.now, alice.flow);
    assert!(!world.server.serves(&alice.flow));
    world.peer_sends(relayed, PEER, b"nobody is there");
    assert_eq!(world.take_out(), []);
    let (relay, _) = *world.sockets.values().find(|(_, at)| *at == relayed).unwrap();
    world.server.handle_icmp(world.now, relay, address(PEER), 3, 1, 0);
    world.drain();
    assert_eq!(world.take_out(), []);
    assert_eq!((world.server.allocations(), world.server.residue().flows), (1, 0));
    let mut moved = Client::over(tcp("192.0.2.9:7000", 4));
    moved.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok();
    world.peer_sends(relayed, PEER, b"welcome back");
    assert_eq!(world.answer().unwrap().0, moved.flow);
    // The old stream's end is no news; nobody who comes back loses it at the end of its lifetime.
    world.server.handle_client_gone(world.now, alice.flow);
    world.server.handle_client_gone(world.now, moved.flow);
    world.pass(seconds(600));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn the_end_of_the_old_stream_completes_the_move_and_that_of_the_new_one_undoes_it() {
    let mut world = World::new(config());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 3));
    let (relayed, ticket) = allocate_mobile(&mut world, &mut alice);
    alice.permit(&mut world, PEER).ok();
    let mut tried = Client::over(tcp("192.0.2.9:7000", 4));
    let second = tried.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok().ticket();
    world.server.handle_client_gone(world.now, tried.flow);
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.answer().unwrap().0, alice.flow);
    let mut moved = Client::over(tcp("192.0.2.9:7001", 5));
    moved.ask(&mut world, Method::REFRESH, &with_ticket(&second)).ok();
    world.server.handle_client_gone(world.now, alice.flow);
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.answer().unwrap().0, moved.flow);
    assert_eq!(world.server.residue().flows, 1);
}

#[test]
fn a_second_move_before_the_first_is_complete_replaces_it() {
    let (mut world, alice, relayed, ticket) = world();
    let mut second = Client::at("192.0.2.9:7000");
    let ticket = second.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok().ticket();
    let mut third = Client::at("192.0.2.9:7001");
    third.ask(&mut world, Method::REFRESH, &with_ticket(&ticket)).ok();
    assert_eq!(world.server.residue().flows, 2);
    second.channel_data(&mut world, 0x4000, b"x");
    assert_eq!(world.take_out(), []);
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.answer().unwrap().0, alice.flow);
    third.channel_data(&mut world, 0x4000, b"x");
    assert_eq!(world.take_out().len(), 1);
    world.pass(seconds(600));
    assert_eq!(world.server.residue(), Default::default());
}

#[test]
fn a_ticket_may_end_the_allocation() {
    let (mut world, _, _, ticket) = world();
    let mut moved = Client::at("192.0.2.9:7000");
    let answer = moved.ask(&mut world, Method::REFRESH, &|writer| {
        writer.push(Attribute::MobilityTicket(&ticket)).push(Attribute::Lifetime(0));
    });
    assert_eq!(answer.ok().lifetime(), 0);
    assert_eq!(world.server.residue(), Default::default());
}
