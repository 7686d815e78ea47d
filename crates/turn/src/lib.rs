#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod client;
mod credential;
mod ledger;
pub mod policy;
mod server;

pub use client::Client;
pub use credential::{Accounts, Any, Credential, NoAccounts, Quota, RestAccounts, StaticAccounts};
pub use ledger::{Full, Ledger, Traffic, Usage, source_prefix};
pub use policy::{PeerPolicy, Prefix};
pub use server::{
    Action, AlternateServer, ConnectionId, Counters, HEADROOM, LONGEST_REALM, Lifetimes, Packet, Quotas, RefusedByPeer,
    RelayAddress, RelayId, RelayRefused, Residue, SecretKey, Server, ServerConfig, SessionId, SessionReport, TAILROOM,
    Verdict, Which,
};
