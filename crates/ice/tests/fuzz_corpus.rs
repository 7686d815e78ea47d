//! Replays the seeds of the fuzz targets that concern the agent and its candidates, with the targets' own assertions.

#[path = "../../../fuzz/src/ice_agent.rs"]
mod ice_agent;
#[path = "../../../fuzz/src/ice_candidate.rs"]
mod ice_candidate;
#[path = "../../../fuzz/src/input.rs"]
mod input;

/// Each seed, and what each looks like with a byte changed here and there.
fn replay(target: &str, fuzz: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let seed = std::fs::read(entry.expect("it can be listed").path()).expect("it can be read");
        fuzz(&seed);
        for at in 0..seed.len() {
            for byte in [0, 9, 0x20, 0x39, 0xff] {
                let mut changed = seed.clone();
                changed[at] = byte;
                fuzz(&changed);
            }
        }
        seeds += 1;
    }
    assert!(seeds >= 3, "{folder} holds {seeds} seeds");
}

#[test]
fn candidate_seeds_hold() {
    replay("ice_candidate", ice_candidate::fuzz);
}

#[test]
fn agent_seeds_hold() {
    replay("ice_agent", ice_agent::fuzz);
}
