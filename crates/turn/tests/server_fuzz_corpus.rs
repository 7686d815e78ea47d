//! Replays the seeds of the fuzz target `turn_server`, with the target's own assertions.

#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/turn_server.rs"]
mod turn_server;

#[test]
fn server_seeds_hold() {
    replay::replay("turn_server", turn_server::fuzz, usize::MAX, &[0, 1, 2, 6, 10, 11, 14, 15, 0x80, 0xff]);
}
