#![doc = include_str!("../README.md")]

pub mod framer;
pub mod message;
