//! A secure SIP node: registrar, proxy, policy, storage.
//!
//! The core is [`shard::Shard`], a machine without I/O: the transaction layer of `farspeak-sip` below it, the stateful
//! proxy, the registrar, authentication and policy inside it. One shard runs per core; all shards share
//! [`shared::Shared`]. The edge (configuration, store, server, admin) feeds it and does what its events ask; without the
//! feature `edge` the core is all there is, and its dependencies prove that it does no I/O.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "edge")]
pub mod accounts;
pub mod answer;
pub mod authentication;
pub mod b2bua;
pub mod binding;
#[cfg(feature = "edge")]
pub mod config;
#[cfg(feature = "edge")]
pub mod control;
#[cfg(feature = "edge")]
pub mod data_dir;
pub mod domain;
#[cfg(feature = "edge")]
pub mod entropy;
pub mod event;
pub mod events;
pub mod flow_token;
mod fork;
#[cfg(feature = "edge")]
pub mod journal;
mod keep_alive;
#[cfg(feature = "edge")]
pub mod ladder_log;
pub mod location;
mod loop_detection;
#[cfg(feature = "edge")]
pub mod pii;
pub mod policy;
mod proxy;
mod record_route;
pub mod registrar;
mod registration;
mod route;
#[cfg(all(test, feature = "edge"))]
mod scratch;
#[cfg(feature = "edge")]
pub mod server;
pub mod shard;
pub mod shared;
#[cfg(feature = "edge")]
pub mod store;
#[cfg(feature = "edge")]
pub mod telemetry;
pub mod throttle;
#[cfg(feature = "edge")]
pub mod turn;
pub mod users;
#[cfg(feature = "edge")]
pub mod wire;
