//! From, To, Contact, Route and their kin: a name, a URI, parameters (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;

use super::lex;
use super::params::Params;
use super::{HeaderError, HeaderName, Uri, UriError, scan};

/// `"Display" <uri>;param=value`, or the same without brackets; read in place.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    /// The name to show, as written (with its quotes); [`Self::display_name`] reads it.
    pub display: Option<&'a str>,
    /// The URI as written, without brackets. [`Self::uri`] reads it.
    pub uri_text: &'a str,
    /// The parameters of the header field (those inside the brackets belong to the URI).
    pub params: Params<'a>,
}

/// The expiry of a Contact whose `expires` cannot be read (RFC 3261 §20.10), in seconds.
const MALFORMED_EXPIRES: u64 = 3600;

impl<'a> NameAddr<'a> {
    /// Reads one value (not a comma list). `name` is the header field that the error names.
    ///
    /// Display names without quotes may hold more than tokens: phones write them so, and nothing depends on them.
    pub fn parse(name: HeaderName, text: &'a str) -> Result<Self, HeaderError> {
        match Self::read(text) {
            Some((address, end)) if end == text.len() => Ok(address),
            _ => Err(HeaderError::malformed(name)),
        }
    }

    /// The value that `text` begins with, and where it ends: at the comma before the next one, or with `text`.
    #[inline(always)]
    fn read(text: &'a str) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let start = lex::skip_space(bytes, 0);
        let (display, open) = match bytes.get(start) {
            Some(b'<') => (None, start),
            Some(b'"') => {
                let end = lex::quoted_end(text, start)?;
                (Some(&text[start..end]), lex::skip_space(bytes, end))
            }
            _ => {
                let at = lex::skip_display(bytes, start);
                // A bracket after a semicolon is inside a parameter: `sip:a@b;+sip.instance="<urn:…>"`.
                if bytes.get(at) != Some(&b'<') {
                    return Self::read_without_brackets(text, start, at);
                }
                (Some(&text[start..lex::space_start(&bytes[..at], start)]), at)
            }
        };
        if bytes.get(open) != Some(&b'<') {
            return None;
        }
        let close = scan::byte(b'>', bytes, open)?;
        Self::with_uri(display, &text[open + 1..close], text, close + 1)
    }

    /// RFC 3261 §20.10: without brackets every parameter is the header field's, and the URI has no comma, `;` or `?`.
    fn read_without_brackets(text: &'a str, start: usize, end: usize) -> Option<(Self, usize)> {
        let uri_text = lex::trim_end(&text[start..end]);
        if lex::find(uri_text, b'?').is_some() {
            return None;
        }
        Self::with_uri(None, uri_text, text, end)
    }

    #[inline(always)]
    fn with_uri(display: Option<&'a str>, uri_text: &'a str, text: &'a str, at: usize) -> Option<(Self, usize)> {
        if uri_text.is_empty() {
            return None;
        }
        let (params, end) = Params::read(text, at)?;
        Some((Self { display, uri_text, params }, end))
    }

    /// The URI. White space in it, which no URI has, shows here.
    #[inline]
    pub fn uri(&self) -> Result<Uri<'a>, UriError> {
        Uri::parse(self.uri_text)
    }

    /// The name to show, without quotes; `None` if there is none or it is empty.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        self.display.map(lex::unquote).filter(|name| !name.is_empty())
    }

    /// The header field parameter of that name, in any case: `Some(None)` if it has no value. Quotes are part of the value.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params.get(name)
    }

    /// The dialog's tag, in From and To.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.value("tag")
    }

    /// Preference of a Contact in thousandths, 0–1000. `None` if absent or not a `qvalue`.
    pub fn q(&self) -> Option<u16> {
        let text = self.params.value("q")?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(whole, "0" | "1" | "")
        {
            return None;
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut thousandths = u16::from(whole == "1");
        for place in 0..3 {
            thousandths = thousandths * 10 + fraction.as_bytes().get(place).map_or(0, |digit| u16::from(digit - b'0'));
        }
        (thousandths <= 1000).then_some(thousandths)
    }

    /// Lifetime of a Contact in seconds. What cannot be read counts as 3600 (RFC 3261 §20.10); beyond 2^32 − 1 it is 2^32 − 1.
    pub fn expires(&self) -> Option<u32> {
        let text = self.params.get("expires")?.unwrap_or("");
        let seconds = lex::saturating_number(text.as_bytes()).unwrap_or(MALFORMED_EXPIRES);
        Some(seconds.try_into().unwrap_or(u32::MAX))
    }

    /// The phone's instance, without quotes and brackets: `urn:uuid:…` (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<&'a str> {
        let text = self.params.value("+sip.instance")?;
        let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let text = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
        Some(text).filter(|text| !text.is_empty())
    }

    /// The flow's number within the instance, from 1 (RFC 5626 §4.2).
    pub fn reg_id(&self) -> Option<u32> {
        self.params.value("reg-id").and_then(lex::number).filter(|number| *number > 0)
    }
}

/// The Contact header fields of a message.
#[derive(Clone, Debug)]
pub enum Contacts<'m> {
    /// There is none.
    None,
    /// `*` alone: all bindings (RFC 3261 §10.2.2).
    Star,
    /// One or more.
    List(NameAddrs<'m>),
}

/// The values of Contact, Route, Record-Route or Path, over all their lines.
#[derive(Clone, Debug)]
pub struct NameAddrs<'m> {
    pub(crate) name: HeaderName,
    pub(crate) values: super::Values<'m>,
}

impl<'m> Iterator for NameAddrs<'m> {
    type Item = Result<NameAddr<'m>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let front = self.values.front()?;
        let Some((address, end)) = NameAddr::read(front) else {
            self.values.advance_over_broken(front);
            return Some(Err(HeaderError::malformed(self.name)));
        };
        self.values.advance(front, end);
        Some(Ok(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameAddr<'_> {
        NameAddr::parse(HeaderName::Contact, text).unwrap()
    }

    #[test]
    fn every_form_is_read() {
        let address =
            read(r#""A. \"B\" <C>"  <sip:a@b;x=1?h=v>;q=0.25;expires=60;+sip.instance="<urn:uuid:1;2>";reg-id=3"#);
        assert_eq!(address.display_name().as_deref(), Some("A. \"B\" <C>"));
        assert_eq!((address.uri_text, address.q(), address.expires()), ("sip:a@b;x=1?h=v", Some(250), Some(60)));
        assert_eq!((address.instance(), address.reg_id()), (Some("urn:uuid:1;2"), Some(3)));
        let bare = read("sip:a@b;tag=1;+sip.instance=\"<urn:x>\"");
        assert_eq!(
            (bare.display, bare.uri_text, bare.tag(), bare.instance()),
            (None, "sip:a@b", Some("1"), Some("urn:x"))
        );
        let tokens = read("Jörg von Ä <sip:j@b>");
        assert_eq!((tokens.display, tokens.uri_text), (Some("Jörg von Ä"), "sip:j@b"));
        assert_eq!(read("<tel:+1>").display, None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "<>",
            "<sip:a@b",
            "\"A <sip:a@b>",
            "\"A\" sip:a@b",
            "A, B <sip:a@b>",
            "sip:a@b?x=y",
            "<sip:a@b> x",
            "A \"B\" <sip:a@b>",
        ] {
            assert!(NameAddr::parse(HeaderName::From, text).is_err(), "{text}");
        }
        assert!(read("< sip:a@b >").uri().is_err());
    }

    #[test]
    fn q_is_in_thousandths_and_expires_never_fails() {
        for (text, q) in [
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("0", Some(0)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("0.1234", None),
            ("2", None),
            (".", None),
            (".5", Some(500)),
        ] {
            assert_eq!(read(&format!("<sip:a>;q={text}")).q(), q, "{text}");
        }
        for (text, expires) in [("0", 0), ("4294967295", u32::MAX), ("99999999999999999999", u32::MAX), ("soon", 3600)]
        {
            assert_eq!(read(&format!("<sip:a>;expires={text}")).expires(), Some(expires), "{text}");
        }
    }
}
