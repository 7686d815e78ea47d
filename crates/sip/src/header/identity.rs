//! Identity: a signature over who calls whom (RFC 8224 §4). Kept as it stands: whoever changes a byte breaks it.

use std::fmt;

use super::listed_header;
use crate::message::lex;

/// One signature, with what tells who could check it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// The value as it came, white space at its ends aside.
    text: String,
    /// The PASSporT, full or compact (RFC 8225), as written.
    pub token: String,
    /// Where the certificate is.
    pub info: String,
    /// The algorithm; ES256 if none is named (RFC 8224 §4.1).
    pub alg: Option<String>,
    /// The type of PASSporT, `shaken` for one.
    pub ppt: Option<String>,
}

listed_header!(Identity, Identity);

impl Identity {
    fn read(text: &str) -> Option<Self> {
        let mut params = Params { rest: text };
        let token = params.next()??.trim_end();
        // Quotes are what RFC 4474 wrote.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=._-\"".contains(&byte);
        if token.is_empty() || !token.bytes().all(is_token) {
            return None;
        }
        let (mut info, mut alg, mut ppt) = (None, None, None);
        for param in params {
            let (name, value) = lex::split_once(param?, b'=')?;
            let value = lex::trim(value);
            match lex::trim(name) {
                name if name.eq_ignore_ascii_case("info") => {
                    info = Some(value.strip_prefix('<')?.strip_suffix('>')?.to_owned());
                }
                name if name.eq_ignore_ascii_case("alg") => alg = Some(crate::message::unquote(value).into_owned()),
                name if name.eq_ignore_ascii_case("ppt") => ppt = Some(crate::message::unquote(value).into_owned()),
                _ => {}
            }
        }
        Some(Self { text: text.to_owned(), token: token.to_owned(), info: info?, alg, ppt })
    }
}

/// What stands between semicolons, those in quotes and brackets aside. `Some(None)` if a quote or bracket is left open.
struct Params<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Params<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let text = std::mem::take(&mut self.rest);
        let mut at = 0;
        while let Some(found) = text[at..].find([';', '"', '<']) {
            let found = at + found;
            at = match text.as_bytes()[found] {
                b';' => {
                    self.rest = &text[found + 1..];
                    return Some(Some(&text[..found]));
                }
                b'"' => match lex::quoted_end(text, found) {
                    Some(end) => end,
                    None => return Some(None),
                },
                _ => match lex::find(&text[found..], b'>') {
                    Some(length) => found + length + 1,
                    None => return Some(None),
                },
            };
        }
        Some(Some(text))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_read_and_written_as_it_stands() {
        // RFC 8224 §4.1.1
        let text = "..dHJpZA+/= ; info=<https://biloxi.example.org/biloxi.cert;v=1?a,b>;alg=ES256;ppt=\"shaken\";x=y";
        let identity = Identity::parse(text).unwrap();
        assert_eq!(identity.info, "https://biloxi.example.org/biloxi.cert;v=1?a,b");
        assert_eq!((identity.token.as_str(), identity.ppt.as_deref()), ("..dHJpZA+/=", Some("shaken")));
        assert_eq!(identity.to_string(), text);
        for text in ["", "a", ";info=<b>", "a;info=b", "a;info=<b", "a b;info=<c>", "a;alg=\"x;info=<b>"] {
            assert!(Identity::parse(text).is_err(), "{text}");
        }
    }
}
