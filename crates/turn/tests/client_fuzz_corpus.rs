//! Replays the seeds of the fuzz target `turn_client`, with the target's own assertions.

#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/turn_client.rs"]
mod turn_client;

#[test]
fn client_seeds_hold() {
    let folder = format!("{}/../../fuzz/corpus/turn_client", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let seed = std::fs::read(entry.expect("it can be listed").path()).expect("it can be read");
        turn_client::fuzz(&seed);
        // And what each looks like cut short, or with a byte changed here and there.
        for at in 0..seed.len() {
            turn_client::fuzz(&seed[..at]);
            for byte in [0, 1, 7, 8, 14, 16, 19, 0x40, 0xff] {
                let mut changed = seed.clone();
                changed[at] = byte;
                turn_client::fuzz(&changed);
            }
        }
        seeds += 1;
    }
    assert!(seeds >= 5, "{folder} holds {seeds} seeds");
}
