//! What every Farspeak protocol machine shares, and nothing else: time as a number, flows, bytes in,
//! bytes out, timers, randomness handed in, and the ladder log.
//!
//! A machine does no I/O. Its driver (the real one in `farspeak-net`, the simulated one in `farspeak-sim`)
//! runs this loop:
//!
//! ```
//! # use farspeak_sansio::*;
//! fn drive<M: Machine>(machine: &mut M, now: Instant, received: Receive<'_>) -> Option<Instant> {
//!     machine.handle_receive(now, received);
//!     while let Some(transmit) = machine.poll_transmit() {
//!         send(transmit); // a socket, or a simulated link
//!     }
//!     while let Some(event) = machine.poll_event() {
//!         decide(event); // may call methods of the machine: drain the transmits again then
//!     }
//!     machine.poll_timeout() // when to call `handle_timeout`
//! }
//! # fn send(_: Transmit) {}
//! # fn decide<E>(_: E) {}
//! ```

#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod flow;
mod instant;
mod ladder;
mod machine;
mod packet;
mod rng;
mod timer;

pub use flow::{Flow, FlowId, Transport};
pub use instant::Instant;
pub use ladder::{Ladder, Record, RecordKind};
pub use machine::{Machine, Receive, Transmit};
pub use packet::{HEADROOM, Packet, RelayId, TAILROOM, Verdict};
pub use rng::{Rng, SplitMix64};
pub use timer::{TimerKey, TimerTable};
