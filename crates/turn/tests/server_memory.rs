//! Promises about memory: none for packets, little for allocations, none for strangers.

#[path = "support/heap.rs"]
mod heap;
#[path = "support/world.rs"]
mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_stun::{Class, Method, TransactionId, Writer};
use farspeak_turn::{HEADROOM, Packet, RestAccounts, TAILROOM, Verdict};
use heap::{Counting, allocations, bytes_in_use};
use world::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A packet in a buffer with room around it.
fn buffer(bytes: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM], bytes, &[0; TAILROOM]].concat()
}

fn packet(buffer: &mut [u8]) -> Packet<'_> {
    let data = HEADROOM..buffer.len() - TAILROOM;
    Packet { buffer, data }
}

#[test]
fn no_packet_costs_an_allocation() {
    let mut world = World::new(config());
    let (mut alice, mut bob) = (Client::at("203.0.113.7:4000"), Client::at("203.0.113.8:4000"));
    let (of_alice, of_bob) = (alice.allocate(&mut world), bob.allocate(&mut world));
    alice.bind(&mut world, 0x4000, PEER).ok();
    alice.bind_to(&mut world, 0x4001, of_bob).ok();
    alice.permit(&mut world, OTHER).ok();
    bob.permit(&mut world, &of_alice.to_string()).ok();
    let (relay, _) = *world.sockets.values().find(|(_, at)| *at == of_alice).unwrap();
    let now = world.now;
    let data = [7; 172];

    let mut from_alice = |name: &str, bytes: &[u8], expected: fn(&Verdict) -> bool| {
        let mut buffer = buffer(bytes);
        let (count, verdict) = allocations(|| world.server.handle_client(now, alice.flow, packet(&mut buffer)));
        assert!(expected(&verdict), "{name}: {verdict:?}");
        assert_eq!(count, 0, "{name}");
    };
    let to_peer = |verdict: &Verdict| matches!(verdict, Verdict::ToPeer { .. });
    let to_client = |verdict: &Verdict| matches!(verdict, Verdict::ToClient { .. });
    let nothing = |verdict: &Verdict| *verdict == Verdict::Nothing;
    from_alice("ChannelData", &channel_message(0x4000, &data), to_peer);
    from_alice("Send indication", &send_indication(address(OTHER), &data), to_peer);
    from_alice("ChannelData to another client", &channel_message(0x4001, &data), to_client);
    from_alice("Send indication to another client", &send_indication(of_bob, &data), to_client);
    from_alice("an unknown channel", &channel_message(0x4444, &data), nothing);
    from_alice("a refused peer", &send_indication(address("127.0.0.1:22"), &data), nothing);
    from_alice("rubbish", &data, nothing);
    let mut binding = [0; 20];
    let binding = Writer::new(&mut binding, Class::Request, Method::BINDING, TransactionId([1; 12])).finish().unwrap();
    from_alice("Binding", binding, to_client);

    for (name, peer, passes) in [("bound", PEER, true), ("permitted", OTHER, true), ("neither", "7.7.7.7:7", false)] {
        let (mut buffer, peer): (_, SocketAddr) = (buffer(&data), address(peer));
        let (count, verdict) = allocations(|| world.server.handle_peer(now, relay, peer, packet(&mut buffer)));
        assert_eq!(matches!(verdict, Verdict::ToClient { .. }), passes, "{name}");
        assert_eq!(count, 0, "{name}");
    }
}

#[test]
fn ten_thousand_allocations_cost_less_than_two_kilobytes_each() {
    const COUNT: usize = 10_000;
    let rest = RestAccounts::new(b"north");
    let mut world = World::with(config(), Box::new(rest.clone()), Arc::default());
    world.sockets.reserve(2 * COUNT);
    world.open.reserve(2 * COUNT);
    world.out.reserve(100);
    let before = bytes_in_use();
    for n in 0..COUNT {
        let remote = format!("203.{}.{}.7:4000", n / 250, n % 250);
        let mut client = Client::at(&remote).rest(&rest, 1_700_000_000, &format!("user{n}"));
        client.allocate(&mut world);
        client.bind(&mut world, 0x4000, PEER).ok();
    }
    world.take_out();
    let each = (bytes_in_use() - before) / COUNT as isize;
    println!("{each} bytes for each of {COUNT} allocations with a permission and a channel");
    assert!(each <= 2048, "{each}");
    assert_eq!(world.server.allocations(), COUNT);
    world.pass(seconds(600));
    assert_eq!(world.server.residue().allocations, 0);
    let left = bytes_in_use() - before;
    println!("{left} bytes left when all have expired");
}

#[test]
fn strangers_leave_nothing() {
    let mut world = World::new(config());
    let request = {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
        writer.push(farspeak_stun::Attribute::RequestedTransport(17));
        writer.finish().unwrap().to_vec()
    };
    let flood = |world: &mut World, first: usize| {
        for n in first..first + 20_000 {
            let flow = udp(&format!("{}.{}.{}.7:4000", 1 + n / 62_500, n / 250 % 250, n % 250));
            let mut buffer = buffer(&request);
            world.server.handle_client(world.now, flow, packet(&mut buffer));
            while world.server.poll_action().is_some() {}
        }
    };
    flood(&mut world, 0);
    let before = bytes_in_use();
    flood(&mut world, 20_000);
    assert_eq!(bytes_in_use(), before);
    assert!(world.server.counters().challenged > 30_000);
}
