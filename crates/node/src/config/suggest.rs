//! The nearest known word to one that was mistyped.

/// The candidate nearest to `word`, if it is near enough to be what was meant: at most a third of its letters differ,
/// and never fewer than one is allowed to.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || shares_a_word(&word, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `expires` is near `default_expires` although the letters differ a lot.
fn shares_a_word(word: &str, candidate: &str) -> bool {
    word.len() > 3 && candidate.split('_').any(|part| part == word)
        || candidate.len() > 3 && word.split('_').any(|part| part == candidate)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["tls", "https", "min_expires", "default_expires", "max_contacts"];
        assert_eq!(nearest("tsl", keys), Some("tls"));
        assert_eq!(nearest("max-contacts", keys), Some("max_contacts"));
        assert_eq!(nearest("Https", keys), Some("https"));
        assert_eq!(nearest("min_expire", keys), Some("min_expires"));
        assert_eq!(nearest("contacts", keys), Some("max_contacts"));
        assert_eq!(nearest("colour", keys), None);
    }
}
