//! Seeds of fuzz targets as tests: with the targets' own assertions, whole, and with a byte changed here and there.
//!
//! For `tests/fuzz_corpus.rs` of the crates, which include this file and their targets by `#[path]`.

/// Runs each seed in `corpus/target`; then, at no more than so many `places` spread over it, what is left when it is cut
/// there and what it becomes with each of `bytes` there.
pub fn replay(target: &str, fuzz: fn(&[u8]), places: usize, bytes: &[u8]) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("it can be listed").path();
        if !path.is_file() || path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let seed = std::fs::read(&path).expect("it can be read");
        fuzz(&seed);
        for at in (0..seed.len()).step_by(seed.len().div_ceil(places).max(1)) {
            fuzz(&seed[..at]);
            for byte in bytes {
                let mut changed = seed.clone();
                changed[at] = *byte;
                fuzz(&changed);
            }
        }
        seeds += 1;
    }
    assert!(seeds >= 3, "{folder} holds {seeds} seeds");
}
