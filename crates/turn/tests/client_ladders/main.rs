//! Our client at our server, over simulated networks that lose, stall, reset and translate.

mod change;
mod course;
#[path = "../support/relay.rs"]
mod relay;
mod relaying;
mod world;
