//! Replays the seeds of the fuzz targets that concern this crate, with the targets' own assertions.

#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/stun_message.rs"]
mod stun_message;
#[path = "../../../fuzz/src/stun_server.rs"]
mod stun_server;

use replay::replay;

#[test]
fn message_seeds_hold() {
    replay("stun_message", stun_message::fuzz, usize::MAX, &[0, 1, 4, 0x20, 0x40, 0x80, 0xff]);
}

#[test]
fn server_seeds_hold() {
    replay("stun_server", stun_server::fuzz, usize::MAX, &[0, 1, 4, 0x20, 0x40, 0x80, 0xff]);
}
