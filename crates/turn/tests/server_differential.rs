//! What the server writes, as other people's codec reads it (`turn-types`).

#[path = "support/world.rs"]
mod world;

use farspeak_stun::Attribute;
use farspeak_stun::attribute::EvenPort;
use farspeak_turn::{RelayAddress, ServerConfig};
use turn_types::attribute as theirs;
use turn_types::stun::message::{LongTermCredentials, Message, MessageIntegrityCredentials};
use world::*;

fn credentials() -> MessageIntegrityCredentials {
    LongTermCredentials::new("alice".into(), "secret".into()).to_key(REALM.into()).into()
}

#[test]
fn an_allocate_success_is_read_alike() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
    });
    let message = Message::from_bytes(&answer.0).unwrap();
    let id = message.transaction_id();
    assert!(message.validate_integrity(&credentials()).is_ok());
    assert_eq!(message.attribute::<theirs::XorRelayedAddress>().unwrap().addr(id), answer.relayed());
    assert_eq!(message.attribute::<theirs::Lifetime>().unwrap().seconds(), 600);
    let token = answer.message().reservation_token().unwrap().unwrap();
    let read = message.attribute::<theirs::ReservationToken>().unwrap();
    assert_eq!(read.token().to_be_bytes(), token);
}

#[test]
fn a_missing_family_is_read_alike() {
    let relays = vec![RelayAddress::plain(RELAY_V4.parse().unwrap())];
    let mut world = World::new(ServerConfig { relays, ..config() });
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::AdditionalAddressFamily(V6));
    });
    let message = Message::from_bytes(&answer.0).unwrap();
    let read = message.attribute::<theirs::AddressErrorCode>().unwrap();
    assert_eq!((read.error().code(), read.family()), (440, turn_types::AddressFamily::IPV6));
}

#[test]
fn data_and_icmp_are_read_alike() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let relayed = alice.allocate(&mut world);
    alice.permit(&mut world, PEER).ok();
    world.peer_sends(relayed, PEER, b"hello");
    let (_, bytes) = world.answer().unwrap();
    let message = Message::from_bytes(&bytes).unwrap();
    assert_eq!(message.attribute::<theirs::Data>().unwrap().data(), b"hello");
    let peer = message.attribute::<theirs::XorPeerAddress>().unwrap();
    assert_eq!(peer.addr(message.transaction_id()), address(PEER));
    let (relay, _) = *world.sockets.values().next().unwrap();
    world.server.handle_icmp(world.now, relay, address(PEER), 3, 4, 1280);
    world.drain();
    let (_, bytes) = world.answer().unwrap();
    let message = Message::from_bytes(&bytes).unwrap();
    let icmp = message.attribute::<theirs::Icmp>().unwrap();
    // Type and code have 7 and 9 bits in RFC 8656 figure 11; it reads 8 and 8.
    assert_eq!((icmp.icmp_type() >> 1, icmp.code(), icmp.data()), (3, 4, 1280));
    alice.bind(&mut world, 0x4abc, PEER).ok();
    world.peer_sends(relayed, PEER, b"by channel");
    let (_, bytes) = world.answer().unwrap();
    let channel = turn_types::channel::ChannelData::parse(&bytes).unwrap();
    assert_eq!((channel.id(), channel.data()), (0x4abc, &b"by channel"[..]));
}
