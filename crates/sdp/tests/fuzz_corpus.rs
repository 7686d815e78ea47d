//! Replays the fuzz target's seeds and the whole corpus, and each with bytes missing or changed, with the target's assertions.

#[path = "../../../fuzz/src/sdp.rs"]
mod sdp;
mod support;

fn replay(seed: &[u8], places: usize) {
    sdp::fuzz(seed);
    for at in (0..seed.len()).step_by(7.max(seed.len() / places)) {
        sdp::fuzz(&seed[..at]);
        sdp::fuzz(&[&seed[..at], &seed[at + 1..]].concat());
        for byte in [b' ', b':', b'=', b'/', b'\r', b'\n', b'0', b'\t', 0, 0xff] {
            let mut changed = seed.to_vec();
            changed[at] = byte;
            sdp::fuzz(&changed);
        }
    }
}

#[test]
fn recordings_and_what_is_left_of_them_keep_the_promises() {
    support::corpus().iter().for_each(|(_, bytes)| replay(bytes, 3));
}

#[test]
fn seeds_of_the_fuzz_target_keep_the_promises() {
    let folder = format!("{}/../../fuzz/corpus/sdp", env!("CARGO_MANIFEST_DIR"));
    let seeds = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    let count = seeds.map(|seed| replay(&std::fs::read(seed.unwrap().path()).unwrap(), 8)).count();
    assert!(count > 5);
}
