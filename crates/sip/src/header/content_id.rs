//! Content-ID: by which others refer to a body or a part of it (RFC 5621 §9, RFC 2392, RFC 8262).

use std::fmt;

use super::single_header;
use crate::message::lex;

/// An identifier without its angle brackets: `id-left@id-right`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContentId(String);

single_header!(ContentId, ContentId);

impl ContentId {
    /// With that identifier; `None` if it is empty, holds white space or brackets, or is not ASCII.
    pub fn new(id: &str) -> Option<Self> {
        let fine = |byte: u8| byte.is_ascii_graphic() && !b"<>\"".contains(&byte);
        (!id.is_empty() && id.bytes().all(fine)).then(|| Self(id.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        Self::new(lex::trim(text.strip_prefix('<')?.strip_suffix('>')?))
    }

    /// The identifier that a `cid:` URL names (RFC 2392 §2); `None` if it is no such URL.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, id) = lex::split_once(url, b':')?;
        if scheme.eq_ignore_ascii_case("cid") { Self::new(&lex::unescape(id)) } else { None }
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_identifier() {
        // RFC 2392 §2
        let id = ContentId::parse(" <foo4%25foo1@bar.net> ").unwrap();
        assert_eq!(id.to_string(), "<foo4%25foo1@bar.net>");
        assert_eq!(ContentId::of_url("cid:foo4%2525foo1@bar.net"), Some(id));
        assert_eq!(ContentId::of_url("sip:a@b"), None);
        for text in ["a@b", "<>", "<a b>", "<a", "<a><b>"] {
            assert!(ContentId::parse(text).is_err(), "{text}");
        }
    }
}
