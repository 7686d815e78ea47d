//! Our client at our server, over simulated networks that lose, stall, reset and translate.

mod change;
#[path = "../support/relay.rs"]
mod relay;
mod relaying;
mod world;
