//! Refer-Sub: whether a REFER makes a subscription (RFC 4488 §4).

use std::fmt;

use super::{single_header, split_params};

/// Whether a REFER is to be followed by an implicit subscription. Without the header field it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReferSub(
    /// `false` in a REFER asks for none, in its 2xx it says that there is none.
    pub bool,
);

single_header!(ReferSub, ReferSub);

impl ReferSub {
    fn read(text: &str) -> Option<Self> {
        let (value, _) = split_params(text)?;
        if value.eq_ignore_ascii_case("true") {
            return Some(Self(true));
        }
        value.eq_ignore_ascii_case("false").then_some(Self(false))
    }
}

impl fmt::Display for ReferSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_and_false_are_values() {
        assert_eq!(ReferSub::parse("False;x=1"), Ok(ReferSub(false)));
        assert_eq!(ReferSub(true).to_string(), "true");
        assert!(ReferSub::parse("").is_err() && ReferSub::parse("no").is_err());
    }
}
