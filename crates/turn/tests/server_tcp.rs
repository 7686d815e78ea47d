//! TCP to peers: RFC 6062.

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;

use farspeak_stun::attribute::EvenPort;
use farspeak_stun::{Attribute, Class, Message, Method, Writer};
use farspeak_turn::{Action, ConnectionId, Meter, Quotas, RefusedByPeer, ServerConfig};
use world::*;

fn tcp_config() -> ServerConfig {
    ServerConfig { tcp_relaying: true, ..config() }
}

fn world() -> (World, Client, std::net::SocketAddr) {
    let mut world = World::new(tcp_config());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    let relayed = allocate_tcp(&mut world, &mut alice, &|_| ()).ok().relayed();
    (world, alice, relayed)
}

fn allocate_tcp(world: &mut World, client: &mut Client, write: &dyn Fn(&mut Writer<'_>)) -> Answer {
    client.ask(world, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(6));
        write(writer);
    })
}

fn connect(world: &mut World, client: &mut Client, peer: &str) -> Option<Answer> {
    let peer = address(peer);
    client.try_ask(world, Method::CONNECT, &|writer| {
        writer.push(Attribute::XorPeerAddress(peer));
    })
}

fn bind(world: &mut World, client: &mut Client, id: u32) -> Option<Answer> {
    client.try_ask(world, Method::CONNECTION_BIND, &|writer| {
        writer.push(Attribute::ConnectionId(id));
    })
}

/// The connection that the driver was asked to make.
fn connecting(world: &mut World) -> ConnectionId {
    match world.actions.pop() {
        Some(Action::Connect { connection, peer, address, .. }) => {
            assert!(peer.is_ipv4() && address.ip().to_string() == RELAY_V4);
            connection
        }
        other => panic!("{other:?}"),
    }
}

fn connected(world: &mut World, connection: ConnectionId, result: Result<(), RefusedByPeer>) -> Answer {
    world.server.connected(world.now, connection, result);
    world.drain();
    Answer(world.answer().unwrap().1)
}

#[test]
fn connects_to_a_peer_and_splices() {
    let (mut world, mut alice, _) = world();
    assert!(connect(&mut world, &mut alice, PEER).is_none(), "not before the peer has accepted");
    let connection = connecting(&mut world);
    let answer = connected(&mut world, connection, Ok(())).ok();
    let id = answer.message().connection_id().unwrap().unwrap();
    assert_eq!(id, connection.number());
    let mut data = Client::over(tcp("203.0.113.7:4001", 2));
    bind(&mut world, &mut data, id).unwrap().ok();
    assert!(
        matches!(world.actions[..], [Action::Splice { connection: spliced, client, .. }] if spliced == connection && client == data.flow)
    );
    world.pass(seconds(100));
    assert_eq!(world.server.residue().connections, 1);
    // The peer closes.
    world.server.connection_closed(world.now, connection);
    assert_eq!(world.server.residue().connections, 0);
    assert!(connect(&mut world, &mut alice, PEER).is_none(), "and may be connected to again");
}

#[test]
fn a_peer_that_refuses_or_is_silent_is_a_447() {
    let (mut world, mut alice, _) = world();
    connect(&mut world, &mut alice, PEER);
    let connection = connecting(&mut world);
    assert_eq!(connected(&mut world, connection, Err(RefusedByPeer)).code(), Some(447));
    connect(&mut world, &mut alice, PEER);
    let connection = connecting(&mut world);
    world.pass(seconds(30));
    assert_eq!(Answer(world.answer().unwrap().1).code(), Some(447));
    assert!(matches!(world.actions[..], [Action::CloseConnection(closed)] if closed == connection));
    world.server.connected(world.now, connection, Ok(()));
    world.drain();
    assert_eq!((world.take_out(), world.server.residue().connections), (vec![], 0));
}

#[test]
fn a_connection_that_nobody_binds_is_closed() {
    let (mut world, mut alice, _) = world();
    connect(&mut world, &mut alice, PEER);
    let connection = connecting(&mut world);
    world.pass(seconds(29));
    connected(&mut world, connection, Ok(())).ok();
    world.pass(seconds(29));
    assert_eq!(world.server.residue().connections, 1);
    world.pass(seconds(1));
    assert!(matches!(world.actions[..], [Action::CloseConnection(_)]));
    let mut data = Client::over(tcp("203.0.113.7:4001", 2));
    assert_eq!(bind(&mut world, &mut data, connection.number()).unwrap().code(), Some(400));
}

#[test]
fn refuses_to_bind_too_late_even_if_no_timer_has_fired() {
    let (mut world, mut alice, _) = world();
    connect(&mut world, &mut alice, PEER);
    let connection = connecting(&mut world);
    connected(&mut world, connection, Ok(())).ok();
    world.now += seconds(30);
    let mut data = Client::over(tcp("203.0.113.7:4001", 2));
    assert_eq!(bind(&mut world, &mut data, connection.number()).unwrap().code(), Some(400));
}

#[test]
fn one_connection_to_a_peer_at_a_time() {
    let (mut world, mut alice, _) = world();
    connect(&mut world, &mut alice, PEER);
    assert_eq!(connect(&mut world, &mut alice, PEER).unwrap().code(), Some(446));
    let connection = connecting(&mut world);
    connected(&mut world, connection, Ok(())).ok();
    assert_eq!(connect(&mut world, &mut alice, PEER).unwrap().code(), Some(446));
    assert!(connect(&mut world, &mut alice, "8.8.8.8:5001").is_none());
}

#[test]
fn accepts_permitted_peers_alone() {
    let (mut world, mut alice, relayed) = world();
    let (relay, _) = *world.sockets.values().find(|(_, at)| *at == relayed).unwrap();
    assert_eq!(world.server.accepted(world.now, relay, address(PEER)), None);
    alice.permit(&mut world, PEER).ok();
    let connection = world.server.accepted(world.now, relay, address(PEER)).unwrap();
    world.drain();
    let (flow, bytes) = world.answer().unwrap();
    let message = Message::parse(&bytes).unwrap();
    assert!(message.is(Class::Indication, Method::CONNECTION_ATTEMPT));
    assert_eq!((flow, message.xor_peer_address()), (alice.flow, Ok(Some(address(PEER)))));
    assert_eq!(message.connection_id(), Ok(Some(connection.number())));
    let mut bob = Client::over(tcp("203.0.113.7:4001", 2)).named("bob", "password");
    assert_eq!(bind(&mut world, &mut bob, connection.number()).unwrap().code(), Some(441));
    let mut data = Client::over(tcp("203.0.113.7:4002", 3));
    bind(&mut world, &mut data, connection.number()).unwrap().ok();
    assert_eq!(bind(&mut world, &mut data, connection.number()).unwrap().code(), Some(400));
    // The client's data connection ends, and with it the peer's.
    world.actions.clear();
    world.server.handle_client_gone(world.now, data.flow);
    world.drain();
    assert!(matches!(world.actions[..], [Action::CloseConnection(closed)] if closed == connection));
}

#[test]
fn a_connection_is_bound_with_a_credential_whose_time_is_over() {
    let rest = farspeak_turn::RestAccounts::new(b"north");
    let mut world = World::with(tcp_config(), Box::new(rest.clone()), Default::default());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1)).rest(&rest, 100, "alice");
    allocate_tcp(&mut world, &mut alice, &|_| ()).ok();
    world.pass(seconds(200));
    connect(&mut world, &mut alice, PEER);
    let connection = connecting(&mut world);
    connected(&mut world, connection, Ok(())).ok();
    let mut data = Client::over(tcp("203.0.113.7:4001", 2)).rest(&rest, 100, "alice");
    bind(&mut world, &mut data, connection.number()).unwrap().ok();
    let mut late = Client::over(tcp("203.0.113.7:4002", 3)).rest(&rest, 100, "alice");
    assert_eq!(bind(&mut world, &mut late, 77).unwrap().code(), Some(401));
}

#[test]
fn everything_ends_with_the_control_connection() {
    let (mut world, mut alice, _) = world();
    for peer in [PEER, OTHER] {
        connect(&mut world, &mut alice, peer);
        let connection = connecting(&mut world);
        connected(&mut world, connection, Ok(())).ok();
    }
    world.server.handle_client_gone(world.now, alice.flow);
    world.drain();
    assert_eq!(world.actions.len(), 2);
    world.pass(seconds(60));
    assert_eq!(world.server.residue(), Default::default());
    assert!(world.sockets.is_empty());
}

#[test]
fn refuses_what_rfc6062_refuses() {
    let mut world = World::new(tcp_config());
    let mut by_udp = Client::at("203.0.113.7:4000");
    assert_eq!(allocate_tcp(&mut world, &mut by_udp, &|_| ()).code(), Some(400));
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    type Write = fn(&mut Writer<'_>);
    let not_for_tcp: [Write; 3] = [
        |w| _ = w.push(Attribute::DontFragment(())),
        |w| _ = w.push(Attribute::EvenPort(EvenPort::default())),
        |w| _ = w.push(Attribute::ReservationToken([0; 8])),
    ];
    for write in not_for_tcp {
        assert_eq!(allocate_tcp(&mut world, &mut alice, &write).code(), Some(400));
    }
    assert_eq!(connect(&mut world, &mut alice, PEER).unwrap().code(), Some(437));
    assert_eq!(bind(&mut world, &mut alice, 1).unwrap().code(), Some(400));
    assert_eq!(alice.ask(&mut world, Method::CONNECTION_BIND, &|_| ()).code(), Some(400));
    allocate_tcp(&mut world, &mut alice, &|_| ()).ok();
    assert_eq!(alice.ask(&mut world, Method::CONNECT, &|_| ()).code(), Some(400));
    assert_eq!(alice.bind(&mut world, 0x4000, PEER).code(), Some(400));
    alice.permit(&mut world, PEER).ok();
    alice.send(&mut world, address(PEER), b"no datagrams");
    assert_eq!(world.take_out(), []);
    // An allocation for UDP connects to nobody.
    let mut for_udp = Client::over(tcp("203.0.113.7:4001", 2));
    for_udp.allocate(&mut world);
    assert_eq!(connect(&mut world, &mut for_udp, PEER).unwrap().code(), Some(400));
}

#[test]
fn refuses_to_connect_to_peers_that_are_refused() {
    let (mut world, mut alice, relayed) = world();
    let own = relayed.to_string();
    for peer in ["127.0.0.1:80", "10.0.0.1:80", "169.254.169.254:80", "198.51.100.1:22", "8.8.8.8:0", &*own] {
        assert_eq!(connect(&mut world, &mut alice, peer).unwrap().code(), Some(403), "{peer}");
    }
    assert_eq!(connect(&mut world, &mut alice, "[::ffff:127.0.0.1]:80").unwrap().code(), Some(443));
    assert!(world.actions.is_empty());
    // A new policy ends connections as well.
    connect(&mut world, &mut alice, PEER);
    let connection = connecting(&mut world);
    connected(&mut world, connection, Ok(())).ok();
    let policy = farspeak_turn::PeerPolicy { deny: vec!["8.0.0.0/8".parse().unwrap()], ..Default::default() };
    world.server.reconfigure(world.now, ServerConfig { policy, ..tcp_config() });
    world.drain();
    assert!(matches!(world.actions[..], [Action::CloseConnection(closed)] if closed == connection));
}

#[test]
fn connections_are_bounded() {
    let quotas = Quotas { connections: 2, ..Quotas::default() };
    let mut world = World::new(ServerConfig { quotas, ..tcp_config() });
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    let relayed = allocate_tcp(&mut world, &mut alice, &|_| ()).ok().relayed();
    alice.permit(&mut world, PEER).ok();
    connect(&mut world, &mut alice, PEER);
    connect(&mut world, &mut alice, OTHER);
    assert_eq!(connect(&mut world, &mut alice, "7.7.7.7:7").unwrap().code(), Some(508));
    let (relay, _) = *world.sockets.values().find(|(_, at)| *at == relayed).unwrap();
    assert_eq!(world.server.accepted(world.now, relay, address(PEER)), None);
}

#[test]
fn is_off_unless_switched_on() {
    let mut world = World::new(config());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    assert_eq!(allocate_tcp(&mut world, &mut alice, &|_| ()).code(), Some(442));
    assert!(connect(&mut world, &mut alice, PEER).is_none());
}

/// A connection to a peer that a client has bound; the client's stream and what the driver asks before it moves bytes.
fn spliced(world: &mut World, alice: &mut Client, slot: u32, peer: &str) -> (Client, ConnectionId, Arc<Meter>) {
    connect(world, alice, peer);
    let connection = connecting(world);
    connected(world, connection, Ok(())).ok();
    let mut data = Client::over(tcp(&format!("203.0.113.7:{}", 4000 + slot), slot));
    bind(world, &mut data, connection.number()).unwrap().ok();
    match world.actions.pop() {
        Some(Action::Splice { meter, .. }) => (data, connection, meter),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_connections_carry_counts_for_the_session_and_its_user() {
    let (mut world, mut alice, _) = world();
    let (_, _, one) = spliced(&mut world, &mut alice, 2, PEER);
    let (_, connection, other) = spliced(&mut world, &mut alice, 3, OTHER);
    one.moved(world.now, 1000, 0);
    other.moved(world.now, 24, 7);
    let report = world.server.sessions(world.now).next().unwrap();
    assert_eq!((report.sent.bytes, report.received.bytes, report.tcp), (1024, 7, true));
    alice.refresh(&mut world, 600).ok();
    assert_eq!(world.ledger.usage("alice").sent.bytes, 1024);
    // What a connection has carried is not forgotten with it.
    world.server.connection_closed(world.now, connection);
    one.moved(world.now, 0, 3);
    alice.refresh(&mut world, 0).ok();
    let usage = world.ledger.usage("alice");
    assert_eq!((usage.sent.bytes, usage.received.bytes, usage.sent.packets), (1024, 10, 0));
}

#[test]
fn connections_of_one_allocation_share_its_bandwidth() {
    let quotas = Quotas { bandwidth: Some(100_000), ..Quotas::default() };
    let mut world = World::new(ServerConfig { quotas, ..tcp_config() });
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    allocate_tcp(&mut world, &mut alice, &|_| ()).ok();
    let (_, _, one) = spliced(&mut world, &mut alice, 2, PEER);
    let (_, _, other) = spliced(&mut world, &mut alice, 3, OTHER);
    assert_eq!(one.room(world.now), Ok(100_000));
    one.moved(world.now, 200_000, 0);
    assert_eq!(other.room(world.now).unwrap_err(), one.room(world.now).unwrap_err());
    world.pass(seconds(1));
    assert!(other.room(world.now).is_err());
    world.pass(seconds(1));
    assert_eq!(other.room(world.now), Ok(100_000));
    // Another bandwidth counts for those, too, that are under way.
    let quotas = Quotas { bandwidth: None, ..quotas };
    world.server.reconfigure(world.now, ServerConfig { quotas, ..tcp_config() });
    assert_eq!(other.room(world.now), Ok(usize::MAX));
}

#[test]
fn refuses_a_second_connection_for_a_stream_that_carries_one() {
    let (mut world, mut alice, _) = world();
    let (mut data, ..) = spliced(&mut world, &mut alice, 2, PEER);
    connect(&mut world, &mut alice, OTHER);
    let second = connecting(&mut world);
    connected(&mut world, second, Ok(())).ok();
    assert_eq!(bind(&mut world, &mut data, second.number()).unwrap().code(), Some(400));
    // Nor for the control connection.
    assert_eq!(bind(&mut world, &mut alice, second.number()).unwrap().code(), Some(400));
}

#[test]
fn connections_of_a_family_end_with_it() {
    let mut world = World::new(tcp_config());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    let both = allocate_tcp(&mut world, &mut alice, &|writer| {
        writer.push(Attribute::AdditionalAddressFamily(V6));
    });
    assert_eq!(both.ok().all_relayed().len(), 2);
    connect(&mut world, &mut alice, PEER_V6);
    let Some(Action::Connect { connection: v6, .. }) = world.actions.pop() else { panic!("it connects") };
    connected(&mut world, v6, Ok(())).ok();
    connect(&mut world, &mut alice, PEER);
    let v4 = connecting(&mut world);
    connected(&mut world, v4, Ok(())).ok();
    alice
        .ask(&mut world, Method::REFRESH, &|writer| {
            writer.push(Attribute::RequestedAddressFamily(V6)).push(Attribute::Lifetime(0));
        })
        .ok();
    assert!(matches!(world.actions[..], [Action::CloseConnection(closed)] if closed == v6), "{:?}", world.actions);
    assert_eq!(world.server.residue().connections, 1);
}

#[test]
fn switched_off_it_ends_what_there_is_of_it() {
    let (mut world, mut alice, _) = world();
    let (_, connection, _) = spliced(&mut world, &mut alice, 2, PEER);
    let mut bob = Client::over(tcp("203.0.113.8:4000", 9)).named("bob", "password");
    bob.allocate(&mut world);
    world.server.reconfigure(world.now, config());
    world.drain();
    assert!(
        matches!(world.actions[..], [Action::CloseConnection(closed), Action::CloseClient(flow)] if closed == connection && flow == alice.flow),
        "{:?}",
        world.actions
    );
    assert_eq!((world.server.allocations(), world.server.residue().connections), (1, 0));
    bob.refresh(&mut world, 600).ok();
}

#[test]
fn refuses_to_bind_what_is_not_there_yet_or_is_bound_and_over_udp() {
    let (mut world, mut alice, _) = world();
    connect(&mut world, &mut alice, PEER);
    let connection = connecting(&mut world);
    let mut data = Client::over(tcp("203.0.113.7:4001", 2));
    assert_eq!(bind(&mut world, &mut data, connection.number()).unwrap().code(), Some(400));
    connected(&mut world, connection, Ok(())).ok();
    let mut by_udp = Client::at("203.0.113.7:4002");
    assert_eq!(bind(&mut world, &mut by_udp, connection.number()).unwrap().code(), Some(400));
    bind(&mut world, &mut data, connection.number()).unwrap().ok();
    let mut thief = Client::over(tcp("203.0.113.7:4003", 3));
    assert_eq!(bind(&mut world, &mut thief, connection.number()).unwrap().code(), Some(400));
    assert!(matches!(world.actions[..], [Action::Splice { client, .. }] if client == data.flow));
}
