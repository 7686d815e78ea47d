//! What the flow tests share: a node in the simulator, scripted phones, and the conditions under which they meet.
#![allow(dead_code, missing_docs, unused_imports)] // each test file uses its own part

pub mod call;
pub mod phone;
pub mod watcher;
pub mod world;

pub use phone::Phone;
pub use world::{Conditions, World, everywhere, everywhere_joined, secs};
