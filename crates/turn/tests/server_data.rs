//! Data in both directions: RFC 8656 §11, §12.

#[path = "support/world.rs"]
mod world;

use farspeak_stun::attribute::{AddressFamily, Icmp};
use farspeak_stun::{Attribute, AttributeType, Class, Message, Method, TransactionId, Writer};
use farspeak_turn::{Quotas, ServerConfig};
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

#[test]
fn pads_on_streams_and_only_there() {
    for (flow, padded) in [(tcp("203.0.113.7:4000", 3), 4 + 8), (udp("203.0.113.7:4000"), 4 + 5)] {
        let mut world = World::new(config());
        let mut alice = Client::over(flow);
        let relayed = alice.allocate(&mut world);
        alice.bind(&mut world, 0x4000, PEER).ok();
        world.peer_sends(relayed, PEER, b"12345");
        let bytes = world.answer().unwrap().1;
        assert_eq!((bytes.len(), read_channel(&bytes)), (padded, (0x4000, b"12345".to_vec())));
        assert!(bytes[9..].iter().all(|byte| *byte == 0));
        // What a client pads is not the peer's.
        let mut message = channel_message(0x4000, b"12345");
        message.extend([0xff; 3]);
        world.client_sends(flow, &message);
        assert!(matches!(&world.take_out()[..], [Out::Peer { data, .. }] if data == b"12345"));
    }
}

#[test]
fn relays_datagrams_of_every_length() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let relayed = alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, PEER).ok();
    alice.permit(&mut world, OTHER).ok();
    for length in [0, 1, 2, 3, 4, 172, 1200, 1472, 9000, 65_000] {
        let data = vec![0x5a; length];
        alice.channel_data(&mut world, 0x4000, &data);
        alice.send(&mut world, address(OTHER), &data);
        world.peer_sends(relayed, PEER, &data);
        world.peer_sends(relayed, OTHER, &data);
        let out = world.take_out();
        assert_eq!(out.len(), 4);
        assert!(matches!(&out[0], Out::Peer { data: sent, .. } if *sent == data));
        assert!(matches!(&out[1], Out::Peer { data: sent, .. } if *sent == data));
        assert!(matches!(&out[2], Out::Client(_, bytes) if read_channel(bytes).1 == data));
        assert!(matches!(&out[3], Out::Client(_, bytes) if read_data(bytes).1 == data));
    }
    // As long as UDP lets it be, and yet too long for an indication.
    world.peer_sends(relayed, OTHER, &vec![0; 65_535]);
    assert_eq!(world.take_out(), []);
}

#[test]
fn drops_what_is_cut_short_or_lies_about_its_length() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, PEER).ok();
    let (channel, indication) = (channel_message(0x4000, b"0123456789"), send_indication(address(PEER), b"0123456789"));
    for whole in [channel, indication] {
        for end in 0..whole.len() {
            world.client_sends(alice.flow, &whole[..end]);
        }
    }
    for strange in [&[0x50, 0, 0, 0][..], &[0x4f, 0xff, 0xff, 0xff], &[0x80; 100], &[0xff; 3], &[]] {
        world.client_sends(alice.flow, strange);
    }
    assert_eq!(world.take_out(), []);
}

#[test]
fn a_driver_that_leaves_no_room_loses_packets_and_nothing_else() {
    let mut world = World::new(config());
    let mut alice = Client::over(tcp("203.0.113.7:4000", 3));
    let relayed = alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, PEER).ok();
    let (relay, _) = *world.sockets.values().find(|(_, at)| *at == relayed).unwrap();
    for (start, length, room) in [(0, 5, 9), (3, 5, 9), (4, 5, 0), (4, 5, 2)] {
        let mut buffer = vec![0; start + length + room];
        let packet = farspeak_turn::Packet { buffer: &mut buffer, data: start..start + length };
        let verdict = world.server.handle_peer(world.now, relay, address(PEER), packet);
        assert_eq!(verdict, farspeak_turn::Verdict::Nothing, "{start} {length} {room}");
    }
    let mut buffer = vec![0; 10];
    for data in [11..20, 5..50, std::ops::Range { start: 8, end: 2 }] {
        let packet = farspeak_turn::Packet { buffer: &mut buffer, data: data.clone() };
        world.server.handle_client(world.now, alice.flow, packet);
        let packet = farspeak_turn::Packet { buffer: &mut buffer, data };
        let verdict = world.server.handle_peer(world.now, relay, address(PEER), packet);
        assert_eq!(verdict, farspeak_turn::Verdict::Nothing);
    }
}

#[test]
fn asks_for_the_df_bit_only_where_the_client_does() {
    let send = |peer: &str| {
        let mut buffer = [0; 100];
        let id = TransactionId([1; 12]);
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, id);
        writer.push(Attribute::XorPeerAddress(address(peer))).push(Attribute::DontFragment(()));
        writer.push(Attribute::Data(b"x"));
        writer.finish().unwrap().to_vec()
    };
    for supported in [true, false] {
        let mut world = World::new(ServerConfig { dont_fragment: supported, ..config() });
        let mut alice = Client::at("203.0.113.7:4000");
        alice.allocate(&mut world);
        alice.permit(&mut world, PEER).ok();
        world.client_sends(alice.flow, &send(PEER));
        let out = world.take_out();
        let sent = matches!(out[..], [Out::Peer { dont_fragment: true, .. }]);
        assert_eq!((sent, out.len()), (supported, usize::from(supported)));
    }
}

#[test]
fn drops_send_indications_that_lack_something_or_hold_what_it_does_not_know() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    alice.permit(&mut world, PEER).ok();
    let peer = Attribute::XorPeerAddress(address(PEER));
    let send = |world: &mut World, write: &dyn Fn(&mut Writer<'_>)| {
        let mut buffer = [0; 200];
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([1; 12]));
        write(&mut writer);
        let bytes = writer.finish().unwrap().to_vec();
        world.client_sends(alice.flow, &bytes);
        world.take_out().len()
    };
    let whole = |writer: &mut Writer<'_>| {
        writer.push(peer).push(Attribute::Data(b"x"));
    };
    assert_eq!(send(&mut world, &whole), 1);
    let with_optional = |writer: &mut Writer<'_>| {
        whole(writer);
        writer.push_raw(AttributeType(0xc123), b"?").fingerprint();
    };
    assert_eq!(send(&mut world, &with_optional), 1);
    let with_required = |writer: &mut Writer<'_>| {
        whole(writer);
        writer.push_raw(AttributeType(0x7123), b"?");
    };
    assert_eq!(send(&mut world, &with_required), 0);
    assert_eq!(send(&mut world, &|writer| _ = writer.push(peer)), 0);
    assert_eq!(send(&mut world, &|writer| _ = writer.push(Attribute::Data(b"x"))), 0);
    assert_eq!(world.server.counters().malformed, 3);
    // A fingerprint that is wrong: no STUN, or altered on the way (RFC 8489 §7.3).
    let mut altered = [0; 200];
    let mut writer = Writer::new(&mut altered, Class::Indication, Method::SEND, TransactionId([1; 12]));
    with_optional(&mut writer);
    let length = writer.finish().unwrap().len();
    altered[length - 1] ^= 1;
    world.client_sends(alice.flow, &altered[..length]);
    assert_eq!((world.take_out().len(), world.server.counters().malformed), (0, 4));
}

#[test]
fn passes_icmp_errors_on_for_permitted_peers() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::AdditionalAddressFamily(AddressFamily::V6));
    });
    let [v4, v6] = answer.all_relayed()[..] else { panic!() };
    alice.bind(&mut world, 0x4000, PEER).ok();
    alice.permit(&mut world, PEER_V6).ok();
    let icmp = |world: &mut World, relayed, peer: &str, kind, code, data| {
        let (relay, _) = *world.sockets.values().find(|(_, at)| *at == relayed).unwrap();
        world.server.handle_icmp(world.now, relay, address(peer), kind, code, data);
        world.drain();
        let (flow, bytes) = world.answer()?;
        assert_eq!(flow, udp("203.0.113.7:4000"));
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is(Class::Indication, Method::DATA) && !message.has(AttributeType::DATA));
        assert_eq!(message.xor_peer_address(), Ok(Some(address(peer))));
        Some(message.icmp().unwrap().unwrap())
    };
    assert_eq!(icmp(&mut world, v4, PEER, 3, 4, 1280), Some(Icmp { kind: 3, code: 4, data: 1280 }));
    assert_eq!(icmp(&mut world, v4, PEER, 3, 1, 1280), Some(Icmp { kind: 3, code: 1, data: 0 }));
    assert_eq!(icmp(&mut world, v4, "8.8.8.8:0", 11, 0, 9), Some(Icmp { kind: 11, code: 0, data: 0 }));
    assert_eq!(icmp(&mut world, v6, PEER_V6, 2, 0, 1400), Some(Icmp { kind: 2, code: 0, data: 1400 }));
    assert_eq!(icmp(&mut world, v6, PEER_V6, 1, 4, 1400), Some(Icmp { kind: 1, code: 4, data: 0 }));
    for (relayed, peer, kind) in [(v4, OTHER, 3), (v4, PEER, 8), (v4, PEER, 1), (v6, PEER_V6, 4), (v6, PEER_V6, 128)] {
        assert_eq!(icmp(&mut world, relayed, peer, kind, 0, 0), None);
    }
}

#[test]
fn bandwidth_is_bounded_for_each_allocation() {
    let quotas = Quotas { bandwidth: Some(10_000), ..Quotas::default() };
    let mut world = World::new(ServerConfig { quotas, ..config() });
    let (mut alice, mut bob) = (Client::at("203.0.113.7:4000"), Client::at("203.0.113.7:4001"));
    let relayed = alice.allocate(&mut world);
    bob.allocate(&mut world);
    alice.bind(&mut world, 0x4000, PEER).ok();
    bob.bind(&mut world, 0x4000, PEER).ok();
    for _ in 0..10 {
        alice.channel_data(&mut world, 0x4000, &[0; 972]);
        world.peer_sends(relayed, PEER, &[0; 972]);
    }
    assert_eq!(world.take_out().len(), 10);
    assert_eq!(world.server.counters().over_bandwidth, 10);
    bob.channel_data(&mut world, 0x4000, &[0; 972]);
    assert_eq!(world.take_out().len(), 1);
    world.pass(seconds(1));
    alice.channel_data(&mut world, 0x4000, &[0; 972]);
    assert_eq!(world.take_out().len(), 1);
    // The operator may change it under way.
    world.server.reconfigure(world.now, config());
    for _ in 0..100 {
        alice.channel_data(&mut world, 0x4000, &[0; 972]);
    }
    assert_eq!(world.take_out().len(), 100);
}
