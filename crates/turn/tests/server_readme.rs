//! The README's example is the one that is built and run.

#[test]
fn the_example_is_whole() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/turn_server.rs");
    let code = &example[example.find("use std").unwrap()..];
    assert!(readme.contains(code), "copy examples/turn_server.rs into README.md");
    let main = code.split("\n}\n").next().unwrap().split("fn main").nth(1).unwrap();
    assert!(main.lines().count() <= 42, "forty lines and a bit: {}", main.lines().count());
}
