//! Flow-Timer: how long a registrar keeps a flow without keep-alive (RFC 5626 §4.4, §11).

use std::fmt;

use super::{seconds, single_header};

/// Seconds after which a silent flow counts as dead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowTimer(
    /// Seconds.
    pub u32,
);

single_header!(FlowTimer, FlowTimer);

impl FlowTimer {
    fn read(text: &str) -> Option<Self> {
        seconds(text).map(Self)
    }
}

impl fmt::Display for FlowTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_time() {
        assert_eq!(FlowTimer::parse("126"), Ok(FlowTimer(126)));
        assert!(FlowTimer::parse("").is_err() && FlowTimer::parse("1;x").is_err());
    }
}
