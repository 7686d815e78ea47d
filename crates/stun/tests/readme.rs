//! The README's example is the one that is built, and run against coturn by `interop/turn-client-suite`.

#[test]
fn the_example_is_whole() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/query.rs");
    let code = &example[example.find("use std").unwrap()..];
    assert!(readme.contains(code), "copy examples/query.rs into README.md");
}
