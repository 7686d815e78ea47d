//! Data in both directions: RFC 8656 §11, §12.

#[path = "support/world.rs"]
mod world;

use world::*;

#[test]
fn relays_both_ways_by_indications() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let relayed = alice.allocate(&mut world);
    alice.permit(&mut world, PEER).ok();
    alice.send(&mut world, address(PEER), b"hello");
    let sent = Out::Peer { from: relayed, peer: address(PEER), data: b"hello".to_vec(), dont_fragment: false };
    assert_eq!(world.take_out(), [sent]);
    world.peer_sends(relayed, PEER, b"good day");
    let (flow, bytes) = world.answer().unwrap();
    assert_eq!((flow, read_data(&bytes)), (alice.flow, (address(PEER), b"good day".to_vec())));
}

#[test]
fn relays_both_ways_by_channel() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let relayed = alice.allocate(&mut world);
    alice.bind(&mut world, 0x4001, PEER).ok();
    alice.channel_data(&mut world, 0x4001, b"hello");
    let sent = Out::Peer { from: relayed, peer: address(PEER), data: b"hello".to_vec(), dont_fragment: false };
    assert_eq!(world.take_out(), [sent]);
    world.peer_sends(relayed, PEER, b"good day");
    let (flow, bytes) = world.answer().unwrap();
    assert_eq!((flow, read_channel(&bytes)), (alice.flow, (0x4001, b"good day".to_vec())));
    assert_eq!(bytes.len(), 4 + 8);
}

#[test]
fn joins_two_clients_inside_in_place() {
    let mut world = World::new(config());
    let (mut alice, mut bob) =
        (Client::at("203.0.113.7:4000"), Client::at("203.0.113.8:4000").named("bob", "password"));
    let (of_alice, of_bob) = (alice.allocate(&mut world), bob.allocate(&mut world));
    alice.bind_to(&mut world, 0x4000, of_bob).ok();
    alice.channel_data(&mut world, 0x4000, b"first");
    assert_eq!(world.take_out(), [], "bob has not permitted alice");
    bob.permit(&mut world, &of_alice.to_string()).ok();
    alice.channel_data(&mut world, 0x4000, b"second");
    let (flow, bytes) = world.answer().unwrap();
    assert_eq!((flow, read_data(&bytes)), (bob.flow, (of_alice, b"second".to_vec())));
    bob.bind_to(&mut world, 0x4fff, of_alice).ok();
    alice.send(&mut world, of_bob, b"third");
    let (flow, bytes) = world.answer().unwrap();
    assert_eq!((flow, read_channel(&bytes)), (bob.flow, (0x4fff, b"third".to_vec())));
}
