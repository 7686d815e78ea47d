//! A network that exists only in memory and virtual time, for testing protocol machines.
//!
//! [`Network`] hosts any number of [`Machine`](farspeak_sansio::Machine)s of any types. Each host has addresses, sockets
//! and streams; links between hosts delay, lose, duplicate and reorder; a [`Nat`] translates as RFC 4787 describes.
//! Nothing sleeps: time jumps to whatever happens next, so an hour of silence costs nothing, and the same seed gives the
//! same run, message for message.
//!
//! ```text
//!            Network::at(host, |machine, now| ..)            a test presses a button
//!                          │
//!   machine ── transmits ──┤  network.rs   one queue of what is under way, one clock
//!      ▲                   ├─ datagram.rs  sockets, links (link.rs), NATs (nat.rs), swaps (disorder.rs)
//!      └─── receives ──────┴─ stream.rs    connect, order, stall, reset, half-open, framer
//!                          │
//!                     ladder.rs            what arrived, what was lost; drawn when a test fails
//!                     expect.rs            `net.expect("alice -> proxy  INVITE")`
//! ```
//!
//! The network knows no protocol: a closure names the messages for the ladder ([`Network::label`]), and another one
//! finds them in a stream of bytes ([`Network::set_framer`]).

#![forbid(unsafe_code)]

mod datagram;
mod disorder;
mod expect;
mod host;
mod ladder;
mod link;
mod nat;
mod network;
mod probe;
mod stream;

pub use expect::Settled;
pub use host::{Context, Host, HostId};
pub use ladder::{Fate, Sighting};
pub use link::Link;
pub use nat::{Dependence, Nat, NatTable, Pooling, PortAssignment, Protocol};
pub use network::{NatId, Network};
pub use probe::{Probe, Received};
pub use stream::{Framed, Framer};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
