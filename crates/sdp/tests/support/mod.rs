//! The recordings in `tests/data/`, by name.

use std::fs;
use std::path::{Path, PathBuf};

/// Name (`chromium/audio-offer`) and bytes of each recording, in order of names.
pub fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let mut found = Vec::new();
    for folder in entries(&root).into_iter().filter(|path| path.is_dir()) {
        for file in entries(&folder) {
            let name = file.strip_prefix(&root).unwrap().with_extension("").display().to_string();
            found.push((name, fs::read(&file).unwrap()));
        }
    }
    assert!(found.len() > 100, "the corpus is part of the repository");
    found
}
