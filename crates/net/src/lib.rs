//! The I/O edge: sockets, TLS, WebSocket, clock and the driver loop of sans-IO machines.
//!
//! [`start`] binds the listeners of a [`NetConfig`], then runs one shard for each processor: a thread with its own
//! sockets and its own [`Machine`](farspeak_sansio::Machine), which a factory builds there. Framing is handed in
//! ([`Framing`]), so that this crate knows no protocol. Other threads reach a machine through a [`ShardHandle`]. A program
//! that is a client of others runs its one machine in a [`Peer`]. Media is relayed by a loop of its own, [`relay`].
//!
//! ```text
//!  sockets ──> udp ───────────────┐                      ┌──> handler (events)
//!         └──> accept ─> tls ─> stream ──> shard: machine ┤
//!                    └─> http ─> websocket ┘              └──> udp, or the flow's queue
//! ```

mod accept;
mod admission;
mod authority;
mod bind;
mod certificate;
mod clock;
mod config;
mod connect;
mod connection;
mod counters;
mod flows;
mod framing;
mod gateways;
mod handle;
mod http;
mod interfaces;
mod net;
mod open_files;
mod peer;
mod port_owner;
mod pulse;
pub mod relay;
mod rest;
mod shard;
mod stream;
mod udp;
mod websocket;

pub use authority::{Authority, AuthorityError, Names};
pub use bind::{BindError, BindErrorKind, Listening, PortOwner};
pub use certificate::{
    CertificateError, CertificateErrorKind, CertificateStore, Identity, fingerprint, server_config, server_config_for,
};
pub use clock::Clock;
pub use config::{Divert, Listener, MAX_SHARDS, NetConfig, StreamConfig, UdpConfig};
pub use counters::{Counter, Counters, Gauge};
pub use framing::{Framed, Framer, Framing, Raw};
pub use gateways::default_gateways;
pub use handle::{Command, RunError, ShardHandle, ShardHandles};
pub use http::{HttpAnswer, HttpHandler, HttpPeer};
pub use interfaces::{Interfaces, LocalAddress, local_addresses};
pub use net::{Birth, Handler, Net, Parts, ShardContext, StartError, Stopped, Stopping, start};
pub use open_files::raise_open_files;
pub use peer::{Peer, PeerConfig, PeerContext, PeerHandle};
pub use port_owner::port_owner;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
