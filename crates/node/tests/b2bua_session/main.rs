//! What passes between the legs of a joined call: user agents of the session layer at both ends, a node between them.

#[path = "../common/mod.rs"]
mod common;

mod changes;
mod hiding;
mod setup;
mod transfers;
mod world;
