//! Replays the seeds of the fuzz targets that concern this crate, with the targets' own assertions.

#[path = "../../../fuzz/src/ice_agent.rs"]
mod ice_agent;
#[path = "../../../fuzz/src/ice_candidate.rs"]
mod ice_candidate;
#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/port_mapping.rs"]
mod port_mapping;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn candidate_seeds_hold() {
    replay("ice_candidate", ice_candidate::fuzz, usize::MAX, &[0, 9, 0x20, 0x39, 0xff]);
}

#[test]
fn agent_seeds_hold() {
    replay("ice_agent", ice_agent::fuzz, usize::MAX, &[0, 9, 0x20, 0x39, 0xff]);
}

#[test]
fn port_mapping_seeds_hold() {
    replay("port_mapping", port_mapping::fuzz, 100, &[0, 1, 9, 0x3c, 0xff]);
}
