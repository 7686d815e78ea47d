//! Processor time of one datagram in and one out: `cargo run --release -p farspeak-net --example udp_cost`.
//!
//! A client keeps 1, then 32 datagrams on their way; only the shard's thread is counted. Needs Linux.

mod common;

use std::net::UdpSocket;

use farspeak_net::*;
use farspeak_sansio::Transport;

fn main() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        for window in [1, 32] {
            measure(address, window);
        }
    }
}

fn measure(address: &str, window: usize) {
    let net = common::echo(Listener::plain(Transport::Udp, address.parse().unwrap()));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", net.listening()[0].address.port())).unwrap();
    let datagram = [b'x'; 826];
    let mut buffer = [0; 1000];
    for _ in 0..window {
        client.send(&datagram).unwrap();
    }
    let mut exchange = |count| {
        for _ in 0..count {
            client.recv(&mut buffer).unwrap();
            client.send(&datagram).unwrap();
        }
    };
    exchange(1_000);
    let before = shard_nanos();
    exchange(PAIRS);
    let nanos = (shard_nanos() - before) / PAIRS;
    println!("{address:<12} {window:>2} on their way: {:.2} µs a pair", nanos as f64 / 1e3);
}

const PAIRS: u64 = 200_000;

fn shard_nanos() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("this measurement needs Linux");
    let shard = threads
        .flatten()
        .map(|thread| thread.path())
        .find(|path| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("shard-")));
    let statistics = std::fs::read_to_string(shard.expect("a shard runs").join("schedstat")).unwrap();
    statistics.split_whitespace().next().unwrap().parse().unwrap()
}
