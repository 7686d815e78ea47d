//! The client's memory: nothing is allocated for what comes, one piece for what goes, a few kilobytes for an allocation.

#[path = "support/desk.rs"]
#[allow(dead_code)]
mod desk;
#[path = "support/heap.rs"]
mod heap;

use std::net::SocketAddr;

use desk::{Desk, address, channel_data, data};
use farspeak_sansio::{Machine, Receive};
use heap::{Counting, allocations, bytes_in_use};

#[global_allocator]
static COUNTING: Counting = Counting;

const PEER: &str = "203.0.113.5:5000";

#[test]
fn receives_without_allocating() {
    let mut desk = Desk::allocated();
    let channel = desk.bind(PEER);
    let (in_channel, indication) = (channel_data(channel, &[7; 172]), data(PEER, &[7; 172]));
    let stranger = data("203.0.113.66:5000", &[7; 172]);
    let (flow, now) = (desk.flow, desk.now);
    let (count, received) = allocations(|| {
        let mut received = 0;
        for bytes in [&in_channel, &indication, &stranger] {
            for _ in 0..100 {
                received += desk.client.receive(now, Receive { flow, bytes }).map_or(0, |data| data.bytes.len());
                desk.client.poll_timeout();
            }
        }
        received
    });
    assert_eq!((count, received), (0, 2 * 100 * 172));
}

#[test]
fn sends_with_one_allocation() {
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.6");
    desk.bind(PEER);
    let other: SocketAddr = address("203.0.113.6:6000");
    desk.client.send(desk.now, other, b"makes room in the queue").unwrap();
    desk.next();
    for peer in [address(PEER), other] {
        let now = desk.now;
        let (count, ()) = allocations(|| {
            for _ in 0..100 {
                desk.client.send(now, peer, &[7; 172]).unwrap();
                drop(desk.client.poll_transmit());
            }
        });
        assert_eq!(count, 100);
    }
}

#[test]
fn an_allocation_in_use_takes_little_memory() {
    let clients: Vec<Desk> = (0..100)
        .map(|_| {
            let mut desk = Desk::allocated();
            desk.bind(PEER);
            desk
        })
        .collect();
    let before = bytes_in_use();
    let count = clients.len();
    drop(clients);
    let each = (before - bytes_in_use()) as usize / count;
    println!("{each} bytes for a client with a channel");
    assert!(each <= 8 * 1024, "{each}");
}
