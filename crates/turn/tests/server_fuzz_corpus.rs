//! Replays the seeds of the fuzz target for the server, with the target's own assertions.

#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/turn_server.rs"]
mod turn_server;

/// Each seed, and what each looks like cut short, or with a byte changed here and there.
#[test]
fn server_seeds_hold() {
    let folder = format!("{}/../../fuzz/corpus/turn_server", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let seed = std::fs::read(entry.expect("it can be listed").path()).expect("it can be read");
        turn_server::fuzz(&seed);
        for at in 0..seed.len() {
            turn_server::fuzz(&seed[..at]);
            for byte in [0, 1, 2, 6, 10, 11, 14, 15, 0x80, 0xff] {
                let mut changed = seed.clone();
                changed[at] = byte;
                turn_server::fuzz(&changed);
            }
        }
        seeds += 1;
    }
    assert!(seeds >= 3, "{folder} holds {seeds} seeds");
}
