//! Target-Dialog: the dialog whose knowledge shows that a request outside of it may be trusted (RFC 4538 §7).

use std::fmt;

use super::{single_header, split_params, token};
use crate::message::{Params, lex};

/// A dialog, seen from whoever **receives** the request: `local_tag` is the receiver's (RFC 4538 §5).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TargetDialog {
    /// The dialog's Call-ID.
    pub call_id: String,
    /// The receiver's tag.
    pub local_tag: Option<String>,
    /// The sender's tag.
    pub remote_tag: Option<String>,
}

single_header!(TargetDialog, TargetDialog);

impl TargetDialog {
    fn read(text: &str) -> Option<Self> {
        let (call_id, params) = split_params(text)?;
        if !lex::is_call_id(call_id) {
            return None;
        }
        Some(Self {
            call_id: call_id.to_owned(),
            local_tag: tag(params, "local-tag")?,
            remote_tag: tag(params, "remote-tag")?,
        })
    }

    /// Whether a dialog of the receiver's is meant; both tags have to be given (RFC 4538 §5.2), so nobody gets in who
    /// knows the Call-ID alone.
    pub fn matches(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> bool {
        self.call_id == call_id
            && self.local_tag.as_deref() == Some(local_tag)
            && self.remote_tag.as_deref() == Some(remote_tag)
    }
}

fn tag(params: Params<'_>, name: &str) -> Option<Option<String>> {
    match params.get(name) {
        None => Some(None),
        Some(value) => token(value?).map(Some),
    }
}

impl fmt::Display for TargetDialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call_id)?;
        for (name, tag) in [("local-tag", &self.local_tag), ("remote-tag", &self.remote_tag)] {
            if let Some(tag) = tag {
                write!(f, ";{name}={tag}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc4538_section_7_is_read() {
        let target =
            TargetDialog::parse("fa77as7dad8-sd98ajzz@host.example.com\r\n ;local-tag=kkaz-\r\n ;remote-tag=6544");
        let target = target.unwrap();
        assert!(target.matches("fa77as7dad8-sd98ajzz@host.example.com", "kkaz-", "6544"));
        assert_eq!(TargetDialog::parse(&target.to_string()), Ok(target));
        let half = TargetDialog::parse("a@b;remote-tag=1").unwrap();
        assert!(!half.matches("a@b", "2", "1"));
        assert!(TargetDialog::parse("a@b;local-tag").is_err() && TargetDialog::parse("").is_err());
    }
}
