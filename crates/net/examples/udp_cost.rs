//! Processor time of one datagram in and one out: `cargo run --release -p farspeak-net --example udp_cost`.
//!
//! A client keeps 1, then 32 datagrams on their way; only the shard's thread is counted. Needs Linux.

use std::collections::VecDeque;
use std::net::UdpSocket;

use farspeak_net::*;
use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit, Transport};

/// Answers everything by the same bytes.
#[derive(Default)]
struct Echo(VecDeque<Transmit>);

impl Machine for Echo {
    type Event = ();
    fn handle_receive(&mut self, _: Instant, received: Receive<'_>) {
        self.0.push_back(Transmit { flow: received.flow, bytes: received.bytes.into() });
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn handle_flow_failed(&mut self, _: Instant, _: Flow) {}
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.0.pop_front()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
}

/// Datagrams need no framing.
struct Whole;

impl Framer for Whole {
    fn push(&mut self, _: &[u8]) {}
    fn next(&mut self) -> Option<Framed<'_>> {
        None
    }
    fn is_partial(&self) -> bool {
        false
    }
}

impl Framing for Whole {
    type Stream = Self;
    fn stream(&self) -> Self {
        Self
    }
    fn datagram<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }
    fn websocket<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }
}

fn main() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        for window in [1, 32] {
            measure(address, window);
        }
    }
}

fn measure(address: &str, window: usize) {
    let mut config = NetConfig { shards: 1, ..NetConfig::default() };
    config.listeners.push(Listener::plain(Transport::Udp, address.parse().unwrap()));
    let net = start(config, Clock::start(), |_| Parts::new(Echo::default(), Whole, |_, _, _, ()| ())).unwrap();
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
