//! What tells who somebody is or where: logged as a mark that stands for it, never as it is.
//!
//! Wrap every URI, user name, Call-ID and peer address that goes into a log line. The mark is the same for the same
//! value as long as the process runs, so lines about one person can be put together; it cannot be turned back.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows private values as they are from now on (`dangerous.addresses_in_log`, or level `trace`).
pub fn show_private_values(shown: bool) {
    SHOWN.store(shown, Ordering::Relaxed);
}

/// A private value on its way into a log line.
///
/// ```
/// let line = format!("{} is busy", farspeak_node::pii::Pii("sip:alice@example.org"));
/// assert!(!line.contains("alice"));
/// ```
#[derive(Clone, Copy)]
pub struct Pii<T>(pub T);

impl<T: fmt::Display> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.load(Ordering::Relaxed) {
            return self.0.fmt(f);
        }
        // Keyed per process: a mark cannot be found by hashing every user name.
        static KEY: OnceLock<RandomState> = OnceLock::new();
        let mark = KEY.get_or_init(RandomState::new).hash_one(self.0.to_string());
        write!(f, "<{:08x}>", mark >> 32)
    }
}

impl<T: fmt::Display> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_equal_for_equal_values_and_tell_nothing() {
        let mark = Pii("sip:alice@example.org").to_string();
        assert_eq!(mark, format!("{:?}", Pii("sip:alice@example.org".to_owned())));
        assert_ne!(mark, Pii("sip:bob@example.org").to_string());
        assert!(!mark.contains("alice") && mark.len() == 10);
    }
}
