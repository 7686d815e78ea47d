//! Replays the seeds of the fuzz target that concerns this crate, and random scripts, with the target's own assertions.

use farspeak_sansio::{Rng, SplitMix64};

#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/node.rs"]
mod node;

#[test]
fn node_seeds_hold() {
    let folder = format!("{}/../../fuzz/corpus/node", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("it can be listed").path();
        if path.is_file() {
            node::fuzz(&std::fs::read(&path).expect("it can be read"));
            seeds += 1;
        }
    }
    assert!(seeds >= 3, "{folder} holds {seeds} seeds");
}

#[test]
fn random_scripts_leave_nothing_and_relay_nothing() {
    for seed in 0..1_500 {
        let mut rng = SplitMix64::new(seed);
        let mut script = vec![0; 40 + rng.below(600) as usize];
        rng.fill(&mut script);
        let result = std::panic::catch_unwind(|| node::fuzz(&script));
        assert!(result.is_ok(), "seed {seed}");
    }
}
