//! A node of one shard that answers everything by the same bytes, to be measured.

use std::collections::VecDeque;

use farspeak_net::*;
use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit};

/// Starts it with one listener.
pub fn echo(listener: Listener) -> Net<Echo> {
    let mut config = NetConfig { shards: 1, ..NetConfig::default() };
    config.listeners.push(listener);
    start(config, Clock::start(), |_| Parts::new(Echo::default(), Blocks, |_, _, _, ()| ())).unwrap()
}

/// Length of a message on a stream: a REGISTER with credentials. A datagram is a message, however long.
pub const MESSAGE: usize = 700;

/// Sends back what it receives.
#[derive(Default)]
pub struct Echo(VecDeque<Transmit>);

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

/// Messages of exactly [`MESSAGE`] bytes on a stream.
struct Blocks;
#[derive(Default)]
struct Block(Vec<u8>);

impl Framer for Block {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn next(&mut self) -> Option<Framed<'_>> {
        (self.0.len() >= MESSAGE).then(|| Framed::Message(std::mem::take(&mut self.0).into()))
    }
    fn is_partial(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Framing for Blocks {
    type Stream = Block;
    fn stream(&self) -> Block {
        Block::default()
    }
    fn datagram<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }
    fn websocket<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }
}
