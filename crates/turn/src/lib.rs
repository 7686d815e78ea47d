#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod client;
mod credential;
mod ledger;
pub mod policy;
mod server;

pub use client::Client;
pub use credential::{Accounts, Any, Credential, NoAccounts, Quota, RestAccounts, StaticAccounts};
/// What passes between the server and its driver for each packet.
pub use farspeak_sansio::{HEADROOM, Packet, RelayId, TAILROOM, Verdict};
pub use ledger::{Full, Ledger, Traffic, Usage, source_prefix};
pub use policy::{PeerPolicy, Prefix};
pub use server::{
    Action, AlternateServer, Census, ConnectionId, Counters, LONGEST_REALM, Lifetimes, Meter, Quotas, RefusedByPeer,
    RelayAddress, RelayRefused, Requests, Residue, SecretKey, Server, ServerConfig, SessionId, SessionReport, Which,
};
