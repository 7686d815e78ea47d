//! Replays the seeds of the fuzz target `turn_client`, with the target's own assertions.

#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/turn_client.rs"]
mod turn_client;

#[test]
fn client_seeds_hold() {
    replay::replay("turn_client", turn_client::fuzz, usize::MAX, &[0, 1, 7, 8, 14, 16, 19, 0x40, 0xff]);
}
