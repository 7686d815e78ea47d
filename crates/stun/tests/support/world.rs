//! What the tests of machines share.

use farspeak_sansio::{Flow, Instant, Machine, Receive, Transport};

pub fn flow(transport: Transport, local: &str, remote: &str) -> Flow {
    Flow::unbound(transport, local.parse().unwrap(), remote.parse().unwrap())
}

pub fn receive<M: Machine>(machine: &mut M, now: Instant, flow: Flow, bytes: &[u8]) {
    machine.handle_receive(now, Receive { flow, bytes });
}
