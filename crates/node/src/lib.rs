//! A secure SIP node: registrar, proxy, policy, storage.
//!
//! The core is [`shard::Shard`], a machine without I/O: the transaction layer of `farspeak-sip` below it, the stateful
//! proxy, the registrar, authentication and policy inside it. One shard runs per core; all shards share
//! [`shared::Shared`]. The edge (configuration, store, server, admin) feeds it and does what its events ask.

pub mod accounts;
pub mod answer;
pub mod authentication;
pub mod binding;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod domain;
pub mod entropy;
pub mod event;
pub mod flow_token;
mod fork;
pub mod journal;
mod keep_alive;
pub mod ladder_log;
pub mod location;
mod loop_detection;
pub mod pii;
pub mod policy;
mod proxy;
mod record_route;
pub mod registrar;
mod registration;
mod route;
#[cfg(test)]
mod scratch;
pub mod server;
pub mod shard;
pub mod shared;
pub mod store;
pub mod telemetry;
pub mod throttle;
pub mod users;
pub mod wire;
