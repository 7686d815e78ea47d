//! What a packet, and the life of an allocation, cost. `cargo bench -p farspeak-turn [-- part of a name]`
//!
//! Each line is the best of many batches: other work on the machine can only add to it. No socket is involved; what the
//! kernel costs besides is in `benches/relay` of the repository.

#[path = "../tests/support/heap.rs"]
mod heap;
#[path = "../tests/support/world.rs"]
mod world;

use std::hint::black_box;
use std::time::{Duration, Instant};

use farspeak_stun::{Attribute, Method, TransactionId};
use farspeak_turn::{HEADROOM, Packet, Quotas, ServerConfig, TAILROOM, Verdict};
use heap::{Counting, allocations};
use world::{Client, OTHER, PEER, World, address, channel_message, config, send_indication};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: u32 = 200;
const BATCHES: u32 = 500;
/// 20 ms of G.711 with its RTP header.
const VOICE: [u8; 172] = [7; 172];
/// Clients of which each packet is another's, so that caches are as cold as 200 calls make them.
const CLIENTS: usize = 200;

fn main() {
    let quotas = Quotas {
        bandwidth: None,
        allocations_per_credential: u32::MAX,
        allocations_per_source: u32::MAX,
        ..Quotas::default()
    };
    let mut world = World::new(ServerConfig { quotas, ..config() });
    let mut clients: Vec<(Client, std::net::SocketAddr)> = Vec::new();
    for n in 0..CLIENTS {
        let mut client = Client::at(&format!("203.0.113.7:{}", 10_000 + n));
        let relayed = client.allocate(&mut world);
        client.bind(&mut world, 0x4000, PEER).ok();
        client.permit(&mut world, OTHER).ok();
        if let Some((other, of_other)) = clients.last_mut() {
            client.bind_to(&mut world, 0x4001, *of_other).ok();
            other.bind_to(&mut world, 0x4001 + n as u16, relayed).ok();
        }
        clients.push((client, relayed));
    }
    let relay_of = |at| world.sockets.values().find(|(_, known)| *known == at).unwrap().0;
    let relays: Vec<_> = clients.iter().map(|(_, at)| relay_of(*at)).collect();
    let now = world.now;
    let mut next = 0;
    let mut turn = move || {
        next = (next + 1) % CLIENTS;
        next
    };

    let packets = [
        ("ChannelData to a peer", channel_message(0x4000, &VOICE)),
        ("Send indication to a peer", send_indication(address(OTHER), &VOICE)),
        ("ChannelData to another client, joined inside", channel_message(0x4001, &VOICE)),
        ("ChannelData that is dropped: no such channel", channel_message(0x4fff, &VOICE)),
    ];
    for (name, bytes) in packets {
        let mut buffer = [&[0; HEADROOM], &bytes[..], &[0; TAILROOM]].concat();
        report(name, || {
            let (client, _) = &clients[turn()];
            // The head is overwritten where the answer is made in place.
            buffer[HEADROOM..HEADROOM + 40].copy_from_slice(&bytes[..40]);
            let data = HEADROOM..HEADROOM + bytes.len();
            world.server.handle_client(now, client.flow, Packet { buffer: black_box(&mut buffer), data })
        });
    }
    for (name, peer) in [("a peer's datagram, as ChannelData", PEER), ("a peer's datagram, as Data indication", OTHER)]
    {
        let mut buffer = [&[0; HEADROOM], &VOICE[..], &[0; TAILROOM]].concat();
        let peer = address(peer);
        report(name, || {
            let data = HEADROOM..HEADROOM + VOICE.len();
            let packet = Packet { buffer: black_box(&mut buffer), data };
            world.server.handle_peer(now, relays[turn()], peer, packet)
        });
    }
    let id = TransactionId([1; 12]);
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], &id.0[..]].concat();
    let mut buffer = [&[0; HEADROOM], &binding[..], &[0; TAILROOM]].concat();
    report("Binding, limits included", || {
        buffer[HEADROOM..HEADROOM + 20].copy_from_slice(&binding);
        let packet = Packet { buffer: &mut buffer, data: HEADROOM..HEADROOM + 20 };
        world.server.handle_client(now, clients[turn()].0.flow, packet)
    });

    // 5,000 of these in a second leave 200 µs for each; the client's half is in it.
    let mut port = 0;
    report("a cycle: challenge, Allocate, ChannelBind, Refresh, release", || {
        port = (port + 1) % 50_000;
        let mut client = Client::at(&format!("192.0.2.7:{}", 1 + port));
        // Each stranger comes from elsewhere, as far as the limit is concerned.
        world.now += Duration::from_millis(6);
        client.allocate(&mut world);
        client.bind(&mut world, 0x4000, PEER).ok();
        client.refresh(&mut world, 600).ok();
        client.refresh(&mut world, 0).ok();
        Verdict::Nothing
    });
    let (client, _) = &mut clients[0];
    report("a Refresh: its bytes made, checked, answered, the answer checked", || {
        client.ask(&mut world, Method::REFRESH, &|writer| {
            writer.push(Attribute::Lifetime(3600));
        });
        Verdict::Nothing
    });
}

fn report(name: &str, mut work: impl FnMut() -> Verdict) {
    let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    if !wanted.next().is_none_or(|part| name.contains(&part)) {
        return;
    }
    // Without `--bench` (a test run, or under a profiler that counts instructions) once is enough.
    let batches = if std::env::args().any(|argument| argument == "--bench") { BATCHES } else { 1 };
    work();
    let (count, verdict) = allocations(&mut work);
    let mut best = Duration::MAX;
    for _ in 0..batches {
        let start = Instant::now();
        for _ in 0..BATCH {
            black_box(work());
        }
        best = best.min(start.elapsed());
    }
    let verdict = format!("{verdict:?}");
    let verdict = verdict.split([' ', '{']).next().unwrap_or_default();
    println!("{:>8.1} ns  {count} allocations  {name}: {verdict}", best.as_nanos() as f64 / f64::from(BATCH));
}
