//! The farspeak command.
fn main() {}
