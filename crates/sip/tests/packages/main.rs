//! Bodies of event packages, through the public API: the RFCs' own examples, sequences of partial documents, hostile
//! documents, and round trips.

mod conference;
mod dialog;
mod hostile;
mod message_summary;
mod presence;
mod reg;
mod rfc_examples;
mod round_trip;
mod watcher;

/// An example from an RFC: `tests/data/packages/<name>.xml`.
fn example(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/packages/{name}.xml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The example's text with a piece replaced.
fn changed(name: &str, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(example(name)).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    text.replace(from, to).into_bytes()
}
