//! A secure SIP node: registrar, proxy, policy, storage.
//!
//! The core is [`shard::Shard`], a machine without I/O: the transaction layer of `farspeak-sip` below it, the stateful
//! proxy, the registrar, authentication and policy inside it. One shard runs per core; all shards share
//! [`shared::Shared`]. The edge (configuration, store, server, admin) feeds it and does what its events ask.

pub mod answer;
pub mod authentication;
pub mod binding;
pub mod config;
pub mod domain;
pub mod event;
pub mod journal;
pub mod ladder_log;
pub mod location;
pub mod pii;
pub mod policy;
pub mod registrar;
#[cfg(test)]
mod scratch;
pub mod shared;
pub mod store;
pub mod throttle;
pub mod users;
