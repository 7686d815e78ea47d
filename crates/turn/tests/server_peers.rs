//! Permissions and channels: RFC 8656 §9, §10, §12.

#[path = "support/world.rs"]
mod world;

use farspeak_stun::{Attribute, AttributeType, Method, Writer};
use farspeak_turn::{Quotas, ServerConfig};
use world::*;

fn world() -> (World, Client, std::net::SocketAddr) {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let relayed = alice.allocate(&mut world);
    (world, alice, relayed)
}

#[test]
fn nothing_passes_without_permission() {
    let (mut world, mut alice, relayed) = world();
    alice.send(&mut world, address(PEER), b"x");
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.take_out(), []);
    assert_eq!(world.server.counters().unpermitted, 2);
    alice.permit(&mut world, PEER).ok();
    world.peer_sends(relayed, OTHER, b"x");
    assert_eq!(world.take_out(), []);
    // Of the permitted address, any port (§9).
    world.peer_sends(relayed, "8.8.8.8:1", b"x");
    assert_eq!(world.take_out().len(), 1);
}

#[test]
fn a_permission_lasts_five_minutes_and_data_does_not_prolong_it() {
    let (mut world, mut alice, relayed) = world();
    alice.permit(&mut world, PEER).ok();
    for _ in 0..299 {
        world.pass(seconds(1));
        alice.send(&mut world, address(PEER), b"x");
        world.peer_sends(relayed, PEER, b"x");
        assert_eq!(world.take_out().len(), 2);
    }
    world.pass(seconds(1));
    alice.send(&mut world, address(PEER), b"x");
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.take_out(), []);
}

#[test]
fn a_channel_needs_its_permission_and_lasts_ten_minutes() {
    let (mut world, mut alice, relayed) = world();
    alice.bind(&mut world, 0x4000, PEER).ok();
    world.pass(seconds(300));
    alice.channel_data(&mut world, 0x4000, b"x");
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.take_out(), [], "the channel is there, the permission is not");
    alice.permit(&mut world, PEER).ok();
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(read_channel(&world.answer().unwrap().1), (0x4000, b"x".to_vec()));
    alice.refresh(&mut world, 3600).ok();
    world.pass(seconds(299));
    alice.channel_data(&mut world, 0x4000, b"x");
    assert_eq!(world.take_out().len(), 1);
    alice.permit(&mut world, PEER).ok();
    world.pass(seconds(1));
    alice.channel_data(&mut world, 0x4000, b"x");
    assert_eq!(world.take_out(), []);
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(read_data(&world.answer().unwrap().1), (address(PEER), b"x".to_vec()));
    // Both names are free again (§12).
    alice.bind(&mut world, 0x4000, OTHER).ok();
    alice.bind(&mut world, 0x4001, PEER).ok();
}

#[test]
fn binding_again_prolongs_both() {
    let (mut world, mut alice, _) = world();
    alice.refresh(&mut world, 3600).ok();
    for _ in 0..10 {
        alice.bind(&mut world, 0x4000, PEER).ok();
        world.pass(seconds(299));
        alice.channel_data(&mut world, 0x4000, b"x");
        assert_eq!(world.take_out().len(), 1);
    }
}

#[test]
fn refuses_channels_that_are_none_or_bound_otherwise() {
    let (mut world, mut alice, _) = world();
    for number in [0, 0x3fff, 0x5000, 0x7fff, 0xffff] {
        assert_eq!(alice.bind(&mut world, number, PEER).code(), Some(400), "{number:#x}");
    }
    alice.bind(&mut world, 0x4000, PEER).ok();
    assert_eq!(alice.bind(&mut world, 0x4001, PEER).code(), Some(400));
    assert_eq!(alice.bind(&mut world, 0x4000, OTHER).code(), Some(400));
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:5001").code(), Some(400));
    alice.bind(&mut world, 0x4fff, "8.8.8.8:5001").ok();
    assert_eq!(alice.bind(&mut world, 0x4002, PEER_V6).code(), Some(443));
}

#[test]
fn binds_the_channels_of_rfc5766_only_if_told_to() {
    let mut world = World::new(ServerConfig { rfc5766_channels: true, ..config() });
    let mut alice = Client::at("203.0.113.7:4000");
    let relayed = alice.allocate(&mut world);
    alice.bind(&mut world, 0x7fff, PEER).ok();
    assert_eq!(alice.bind(&mut world, 0x8000, OTHER).code(), Some(400));
    alice.channel_data(&mut world, 0x7fff, b"x");
    assert_eq!(world.take_out().len(), 1);
    world.peer_sends(relayed, PEER, b"x");
    assert_eq!(world.answer().unwrap().1[..2], [0x7f, 0xff]);
}

#[test]
fn refuses_requests_that_lack_something() {
    let (mut world, mut alice, _) = world();
    type Write = fn(&mut Writer<'_>);
    let nothing: Write = |_| ();
    let no_peer: Write = |w| {
        w.push(Attribute::ChannelNumber(0x4000));
    };
    let no_number: Write = |w| {
        w.push(Attribute::XorPeerAddress(address(PEER)));
    };
    let malformed: Write = |w| {
        w.push(Attribute::XorPeerAddress(address(PEER))).push_raw(AttributeType::XOR_PEER_ADDRESS, &[0, 3, 0, 0]);
    };
    for write in [nothing, no_peer, no_number] {
        assert_eq!(alice.ask(&mut world, Method::CHANNEL_BIND, &write).code(), Some(400));
    }
    for write in [nothing, no_peer, malformed] {
        assert_eq!(alice.ask(&mut world, Method::CREATE_PERMISSION, &write).code(), Some(400));
    }
}

#[test]
fn permits_several_peers_at_once_or_none() {
    let (mut world, mut alice, relayed) = world();
    let permit = |peers: &'static [&str]| {
        move |writer: &mut Writer<'_>| {
            peers.iter().for_each(|peer| _ = writer.push(Attribute::XorPeerAddress(address(peer))));
        }
    };
    alice.ask(&mut world, Method::CREATE_PERMISSION, &permit(&[PEER, OTHER, PEER])).ok();
    for peer in [PEER, OTHER] {
        world.peer_sends(relayed, peer, b"x");
        assert_eq!(world.take_out().len(), 1);
    }
    assert_eq!(alice.ask(&mut world, Method::CREATE_PERMISSION, &permit(&["7.7.7.7:1", PEER_V6])).code(), Some(443));
    world.peer_sends(relayed, "7.7.7.7:1", b"x");
    assert_eq!(world.take_out(), []);
}

#[test]
fn permissions_and_channels_are_bounded() {
    let quotas = Quotas { permissions: 4, channels: 2, ..Quotas::default() };
    let mut world = World::new(ServerConfig { quotas, ..config() });
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    for n in 0..4 {
        alice.permit(&mut world, &format!("8.8.8.{n}:1")).ok();
    }
    assert_eq!(alice.permit(&mut world, "8.8.8.4:1").code(), Some(508));
    alice.permit(&mut world, "8.8.8.3:1").ok();
    alice.bind(&mut world, 0x4000, "8.8.8.0:1").ok();
    alice.bind(&mut world, 0x4001, "8.8.8.0:2").ok();
    assert_eq!(alice.bind(&mut world, 0x4002, "8.8.8.0:3").code(), Some(508));
    assert_eq!(alice.bind(&mut world, 0x4002, "8.8.9.0:3").code(), Some(508));
    alice.bind(&mut world, 0x4001, "8.8.8.0:2").ok();
    world.pass(seconds(300));
    alice.permit(&mut world, "8.8.8.4:1").ok();
    let many: Vec<String> = (0..100).map(|n| format!("8.8.8.{n}:1")).collect();
    let answer = alice.ask(&mut world, Method::CREATE_PERMISSION, &|writer| {
        many.iter().for_each(|peer| _ = writer.push(Attribute::XorPeerAddress(address(peer))));
    });
    assert_eq!(answer.code(), Some(508));
}

#[test]
fn a_peer_that_is_named_twice_counts_once() {
    let quotas = Quotas { permissions: 1, ..Quotas::default() };
    let mut world = World::new(ServerConfig { quotas, ..config() });
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    let answer = alice.ask(&mut world, Method::CREATE_PERMISSION, &|writer| {
        writer.push(Attribute::XorPeerAddress(address(PEER))).push(Attribute::XorPeerAddress(address("8.8.8.8:9")));
    });
    answer.ok();
}
