//! Replaces: the dialog that an INVITE takes the place of (RFC 3891 §6.1).

use std::fmt;

use super::params::count;
use super::{embedded, single_header, split_params};
use crate::message::{HeaderError, Params, Uri, lex};

/// Which dialog is replaced, seen from whoever receives it: `to_tag` is its own tag (RFC 3891 §3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Replaces {
    /// The dialog's Call-ID.
    pub call_id: String,
    /// The receiver's tag of the dialog.
    pub to_tag: String,
    /// The other side's tag; `0` stands for one that had none (RFC 3891 §6.1).
    pub from_tag: String,
    /// Whether only a dialog that is not confirmed yet may be replaced.
    pub early_only: bool,
}

single_header!(Replaces, Replaces);

impl Replaces {
    fn read(text: &str) -> Option<Self> {
        let (call_id, params) = split_params(text)?;
        let (call_id, to_tag, from_tag) = read_dialog(call_id, params, ["to-tag", "from-tag"])?;
        Some(Self { call_id, to_tag, from_tag, early_only: params.get("early-only").is_some() })
    }

    /// What a URI's headers ask for, as in `Refer-To: <sip:bob@b?Replaces=…>`; `Ok(None)` if there is none.
    pub fn of_uri(uri: &Uri<'_>) -> Result<Option<Self>, HeaderError> {
        embedded::single(uri, Self::NAME)?.map(|value| Self::parse(&value)).transpose()
    }

    /// Whether a dialog with these tags, seen from the receiver, is meant. Call-ID and tags compare byte by byte; a tag
    /// of `0` means also a peer without tag (RFC 3891 §3).
    pub fn matches(&self, call_id: &str, local_tag: &str, remote_tag: Option<&str>) -> bool {
        self.call_id == call_id && same_tag(&self.to_tag, Some(local_tag)) && same_tag(&self.from_tag, remote_tag)
    }
}

pub(super) fn same_tag(given: &str, tag: Option<&str>) -> bool {
    match tag {
        None | Some("") => given == "0",
        Some(tag) => given == tag,
    }
}

/// Call-ID and two tags, each of which must be there once: what Replaces, Join and Target-Dialog share.
pub(super) fn read_dialog(call_id: &str, params: Params<'_>, names: [&str; 2]) -> Option<(String, String, String)> {
    if !lex::is_call_id(call_id) {
        return None;
    }
    let tag = |name: &str| {
        let tag = params.value(name).filter(|tag| lex::is_token(tag.as_bytes()))?;
        (count(params, name) == 1).then(|| tag.to_owned())
    };
    Some((call_id.to_owned(), tag(names[0])?, tag(names[1])?))
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        if self.early_only { f.write_str(";early-only") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc3891_section_6_1_are_read() {
        let replaces = Replaces::parse("98732@sip.example.com\r\n          ;from-tag=r33th4x0r\r\n  ;to-tag=ff87ff");
        let replaces = replaces.unwrap();
        assert_eq!(replaces.to_string(), "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r");
        assert!(replaces.matches("98732@sip.example.com", "ff87ff", Some("r33th4x0r")));
        assert!(!replaces.matches("98732@sip.example.com", "r33th4x0r", Some("ff87ff")));
        let early = Replaces::parse("12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only").unwrap();
        assert!(early.early_only);
        let old = Replaces::parse("87134@171.161.34.23;to-tag=24796;from-tag=0").unwrap();
        assert!(old.matches("87134@171.161.34.23", "24796", None));
        assert!(old.matches("87134@171.161.34.23", "24796", Some("0")));
        assert!(!old.matches("87134@171.161.34.23", "24796", Some("x")));
    }

    #[test]
    fn a_dialog_without_both_tags_or_with_two_is_refused() {
        for text in
            ["a@b", "a@b;to-tag=1", "a@b;from-tag=1", "a@b;to-tag=1;from-tag=2;to-tag=3", "a b;to-tag=1;from-tag=2", ""]
        {
            assert!(Replaces::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn replaces_is_read_from_a_uri() {
        // RFC 5589 §7.1
        let text = "sip:transferee@chicago.example;gr=3413kj2ha?Replaces=090459243588173445%3B\
            to-tag%3D7553452%3Bfrom-tag%3D31431&Require=replaces";
        let replaces = Replaces::of_uri(&Uri::parse(text).unwrap()).unwrap().unwrap();
        assert_eq!((replaces.to_tag.as_str(), replaces.from_tag.as_str()), ("7553452", "31431"));
        assert_eq!(Replaces::of_uri(&Uri::parse("sip:a@b").unwrap()), Ok(None));
        assert!(Replaces::of_uri(&Uri::parse("sip:a@b?Replaces=x").unwrap()).is_err());
        assert!(Replaces::of_uri(&Uri::parse("sip:a@b?Replaces=x&REPLACES=y").unwrap()).is_err());
    }
}
