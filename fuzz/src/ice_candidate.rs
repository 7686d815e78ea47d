//! Candidates as signalling brings them: what is read can be written, and is the same when it is read again.

use farspeak_ice::{Candidate, LONGEST_LINE, MOST_EXTENSIONS};

/// A line.
pub fn fuzz(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let Ok(candidate) = line.parse::<Candidate>() else { return };
    assert!(line.len() <= LONGEST_LINE && candidate.extensions.len() <= MOST_EXTENSIONS);
    assert!(candidate.priority >= 1 && candidate.priority < 1 << 31);
    assert!((1..=256).contains(&candidate.component));
    let written = candidate.to_string();
    assert!(!written.contains(['\r', '\n']), "one line");
    if written.len() <= LONGEST_LINE {
        assert_eq!(written.parse(), Ok(candidate), "{written}");
    }
}
