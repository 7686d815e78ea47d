//! A name, a URI and parameters that are kept: [`NameAddr`], owned.

use std::borrow::Cow;
use std::fmt;

use super::params::{ParamList, Quoted};
use crate::message::{HeaderError, HeaderName, NameAddr, Uri, lex, unquote};

/// `"Display" <uri>;param=value` (RFC 3261 §25.1 `name-addr`), owned. Its URI has been read once, so it is one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    display: Option<String>,
    uri: String,
    /// Parameters of the header field.
    pub params: ParamList,
}

impl Address {
    /// With that URI and nothing else; `None` if it is none.
    pub fn new(uri: &str) -> Option<Self> {
        Uri::parse(uri).ok()?;
        Some(Self { display: None, uri: uri.to_owned(), params: ParamList::new() })
    }

    /// The same with a name to show.
    pub fn with_display_name(mut self, name: &str) -> Self {
        self.display = (!name.is_empty()).then(|| Quoted(name).to_string());
        self
    }

    /// Reads a value of the header field `name`, which an error mentions.
    pub fn parse(name: HeaderName, text: &str) -> Result<Self, HeaderError> {
        Self::read(&super::unfold(text)).ok_or(HeaderError::malformed(name))
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        // The name is for the error alone.
        let address = NameAddr::parse(HeaderName::Other, text).ok()?;
        address.uri().ok()?;
        Some(Self {
            display: address.display.map(str::to_owned),
            uri: address.uri_text.to_owned(),
            params: ParamList::except(address.params, &[]),
        })
    }

    /// The name to show, without quotes.
    pub fn display_name(&self) -> Option<Cow<'_, str>> {
        self.display.as_deref().map(unquote).filter(|name| !name.is_empty())
    }

    /// The URI as written.
    pub fn uri_text(&self) -> &str {
        &self.uri
    }

    /// The URI.
    pub fn uri(&self) -> Uri<'_> {
        Uri::parse(&self.uri).expect("read when it was made")
    }

    /// For those that write their parameters in an order of their own.
    pub(super) fn write_without_params(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", lex::trim_end(display))?;
        }
        write!(f, "<{}>", self.uri)
    }

    /// As the message layer has it.
    pub fn as_name_addr(&self) -> NameAddr<'_> {
        NameAddr { display: self.display.as_deref(), uri_text: &self.uri, params: self.params.get_all() }
    }
}

/// Always with brackets, so that the URI may hold anything (RFC 3261 §20.10).
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_without_params(f)?;
        self.params.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for (text, written) in [
            ("sip:a@b;tag=1", "<sip:a@b>;tag=1"),
            ("\"A \\\" B\"<sip:a@b;lr?x=y> ; q=1", "\"A \\\" B\" <sip:a@b;lr?x=y>;q=1"),
            ("A  B <tel:+1>", "A  B <tel:+1>"),
        ] {
            let address = Address::read(text).unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(Address::read(written), Some(address));
        }
        assert_eq!(Address::read("<sip:a b>"), None);
        let made = Address::new("sip:a@b").unwrap().with_display_name("A \"B\"");
        assert_eq!(made.display_name().as_deref(), Some("A \"B\""));
        assert_eq!(Address::read(&made.to_string()), Some(made));
    }
}
