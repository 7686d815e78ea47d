#![doc = include_str!("../README.md")]
//!
//! # The answering machine
//!
#![doc = concat!("```no_run\n", include_str!("../examples/answering_machine.rs"), "\n```")]

pub mod body;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod event;
pub mod framer;
pub mod header;
pub mod message;
pub mod registration;
pub mod session;
mod slab;
pub mod timer;
mod transaction;
pub mod user_agent;
