//! Join: the dialog to whose session an INVITE adds somebody (RFC 3911 §7.1).

use std::fmt;

use super::replaces::{read_dialog, same_tag};
use super::{single_header, split_params};

/// Which dialog is joined, seen from whoever receives it: `to_tag` is its own tag.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Join {
    /// The dialog's Call-ID.
    pub call_id: String,
    /// The receiver's tag of the dialog.
    pub to_tag: String,
    /// The other side's tag; `0` stands for one that had none.
    pub from_tag: String,
}

single_header!(Join, Join);

impl Join {
    fn read(text: &str) -> Option<Self> {
        let (call_id, params) = split_params(text)?;
        let (call_id, to_tag, from_tag) = read_dialog(call_id, params, ["to-tag", "from-tag"])?;
        Some(Self { call_id, to_tag, from_tag })
    }

    /// Whether a dialog with these tags, seen from the receiver, is meant; compares as Replaces does.
    pub fn matches(&self, call_id: &str, local_tag: &str, remote_tag: Option<&str>) -> bool {
        self.call_id == call_id && same_tag(&self.to_tag, Some(local_tag)) && same_tag(&self.from_tag, remote_tag)
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc3911_section_7_1_is_read() {
        let join = Join::parse("12adf2f34456gs5;to-tag=12345;from-tag=54321").unwrap();
        assert!(join.matches("12adf2f34456gs5", "12345", Some("54321")));
        assert!(!join.matches("12adf2f34456gs5", "54321", Some("12345")));
        assert_eq!(Join::parse(&join.to_string()), Ok(join));
        assert!(Join::parse("12adf2f34456gs5;to-tag=12345").is_err());
    }
}
