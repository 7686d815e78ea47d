#![doc = include_str!("../README.md")]

pub mod digest;
pub mod endpoint;
pub mod framer;
pub mod header;
pub mod message;
pub mod timer;
mod transaction;
