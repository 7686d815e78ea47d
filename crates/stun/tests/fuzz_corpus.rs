//! Replays the seeds of the fuzz targets that concern this crate, with the targets' own assertions.

#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/stun_message.rs"]
mod stun_message;
#[path = "../../../fuzz/src/stun_server.rs"]
mod stun_server;

/// Each seed, and what each looks like cut short, or with a byte changed here and there.
fn replay(target: &str, fuzz: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let seed = std::fs::read(entry.expect("it can be listed").path()).expect("it can be read");
        fuzz(&seed);
        for at in 0..seed.len() {
            fuzz(&seed[..at]);
            for byte in [0, 1, 4, 0x20, 0x40, 0x80, 0xff] {
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
fn message_seeds_hold() {
    replay("stun_message", stun_message::fuzz);
}

#[test]
fn server_seeds_hold() {
    replay("stun_server", stun_server::fuzz);
}
