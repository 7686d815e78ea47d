//! What a URI asks to be put into the request that is made of it: method, headers, body (RFC 3261 §19.1.1, §19.1.5).
//!
//! Such URIs come from a Refer-To, from the Contact of a 3xx, from web pages: from people who would like us to say
//! things. So every header is told apart by what it may do, and only what is on a list of harmless ones is used.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::message::{HeaderError, HeaderName, Method, Uri, lex};

/// Most headers of a URI that are looked at: 32. A URI with more asks for nonsense; it is refused.
pub const MAX_EMBEDDED: usize = 32;

/// The request that a URI describes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Embedded {
    /// What to put into the request line: the URI without its `method` parameter and headers.
    pub target: String,
    /// The `method` parameter, which then MUST be used; `None` if the context decides (INVITE, as a rule).
    pub method: Option<Method>,
    /// The headers in order, names and values with their escapes read, white space trimmed.
    pub fields: Vec<EmbeddedField>,
    /// The `body` header, with its escapes read.
    pub body: Option<String>,
}

/// One header of a URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmbeddedField {
    /// The name, as far as we know it.
    pub name: HeaderName,
    /// The name as written, escapes read.
    pub written: String,
    /// The value with escapes read.
    pub value: String,
}

/// What may be done with a header of a URI.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EmbeddedUse {
    /// May go into the request as it stands.
    Honor,
    /// Describes the body or the time: to be compared with the truth, never copied (RFC 3261 §19.1.5).
    Verify,
    /// Would forge who asks, where the request goes, or what we can do: left out.
    Ignore,
}

impl Embedded {
    /// Takes a URI apart. `None` if an escape does not make text of one line, a method is no token,
    /// a body or method is there twice, or there are more than [`MAX_EMBEDDED`] headers: such a URI is invalid.
    ///
    /// URIs without headers, `tel:` for one, give a target and nothing else.
    pub fn of(uri: &Uri<'_>) -> Option<Self> {
        let mut method = None;
        for (name, value) in uri.params.iter().filter(|(name, _)| lex::unescape(name).eq_ignore_ascii_case("method")) {
            debug_assert!(!name.is_empty());
            let read = Method::parse(&lex::unescape(value?))?;
            if method.replace(read).is_some() {
                return None;
            }
        }
        let (mut fields, mut body) = (Vec::new(), None);
        for (name, value) in headers(uri) {
            if fields.len() == MAX_EMBEDDED {
                return None;
            }
            let (written, value) = (unescaped(name)?, unescaped(value)?);
            if written.eq_ignore_ascii_case("body") {
                // Only a body may have line breaks.
                if body.replace(value.into_owned()).is_some() {
                    return None;
                }
                continue;
            }
            if value.contains(['\r', '\n', '\0']) {
                return None;
            }
            // What has no name cannot become a header field; an example of RFC 3515 §2.1 is written so by mistake.
            if !lex::is_token(written.as_bytes()) {
                continue;
            }
            let name = HeaderName::parse(&written);
            fields.push(EmbeddedField { name, written: written.into_owned(), value: lex::trim(&value).to_owned() });
        }
        Some(Self { target: target(uri), method, fields, body })
    }

    /// Those that may go into the request as they stand.
    pub fn honored(&self) -> impl Iterator<Item = &EmbeddedField> {
        self.fields.iter().filter(|field| field.use_of() == EmbeddedUse::Honor)
    }

    /// The value of the header of that name, if it is there once.
    pub fn value(&self, name: HeaderName) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.name == name);
        let first = values.next()?;
        values.next().is_none().then_some(&first.value)
    }
}

impl EmbeddedField {
    /// What may be done with it. Only names that say something about the call and nothing about us are honoured; a name
    /// that we do not know might mean anything to the next hop.
    pub fn use_of(&self) -> EmbeddedUse {
        match self.name {
            HeaderName::AcceptContact
            | HeaderName::Event
            | HeaderName::Expires
            | HeaderName::InReplyTo
            | HeaderName::Join
            | HeaderName::Priority
            | HeaderName::Reason
            | HeaderName::RejectContact
            | HeaderName::Replaces
            | HeaderName::RequestDisposition
            | HeaderName::Require
            | HeaderName::Subject
            | HeaderName::TargetDialog => EmbeddedUse::Honor,
            HeaderName::ContentDisposition
            | HeaderName::ContentEncoding
            | HeaderName::ContentId
            | HeaderName::ContentLanguage
            | HeaderName::ContentLength
            | HeaderName::ContentType
            | HeaderName::Date
            | HeaderName::MimeVersion
            | HeaderName::Timestamp => EmbeddedUse::Verify,
            _ => EmbeddedUse::Ignore,
        }
    }
}

/// The value of a URI's header of that name, if it is there; an error if it is there twice or not text.
pub(super) fn single(uri: &Uri<'_>, name: HeaderName) -> Result<Option<String>, HeaderError> {
    let mut found = None;
    for (written, value) in headers(uri).take(MAX_EMBEDDED) {
        if HeaderName::parse(&lex::unescape(written)) != name {
            continue;
        }
        let value = unescaped(value).ok_or(HeaderError::malformed(name))?;
        if found.replace(value.into_owned()).is_some() {
            return Err(HeaderError::repeated(name));
        }
    }
    Ok(found)
}

/// Names and values as written.
pub(super) fn headers<'a>(uri: &Uri<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pairs = uri.headers.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| lex::split_once(pair, b'=').unwrap_or((pair, "")))
}

/// With its escapes read; `None` if that is not text.
fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    let read = lex::unescape(text);
    // What could not be read stays as it stands; only then has it an escape and is borrowed.
    if matches!(read, Cow::Borrowed(_)) && lex::find(text, b'%').is_some() { None } else { Some(read) }
}

/// The URI without its `method` parameter and headers.
fn target(uri: &Uri<'_>) -> String {
    let Some(headers) = uri.headers else { return without_method(uri.text, uri) };
    // Headers are what follows the question mark, to the end.
    without_method(&uri.text[..uri.text.len() - headers.len() - 1], uri)
}

fn without_method(text: &str, uri: &Uri<'_>) -> String {
    let is_method = |name: &str| lex::unescape(name).eq_ignore_ascii_case("method");
    if !uri.params.iter().any(|(name, _)| is_method(name)) {
        return text.to_owned();
    }
    // Parameters are the last part now.
    let mut target = text[..text.len() - uri.params.as_str().len()].to_owned();
    for (name, value) in uri.params.iter().filter(|(name, _)| !is_method(name)) {
        target.push(';');
        target.push_str(name);
        if let Some(value) = value {
            target.push('=');
            target.push_str(value);
        }
    }
    target
}

/// A header value as it may stand in a URI: what is not `hnv-unreserved` or unreserved is escaped (RFC 3261 §25.1).
pub fn escape_header(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len() + 16);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(text: &str) -> Option<Embedded> {
        Embedded::of(&Uri::parse(text).unwrap())
    }

    #[test]
    fn method_headers_and_body_leave_the_target() {
        let read = embedded(
            "sip:bob@b:5061;transport=tcp;method=MESSAGE;x?Subject=a%20b&body=hi%0D%0Athere&Replaces=c%3Bto-tag%3D1",
        )
        .unwrap();
        assert_eq!(read.target, "sip:bob@b:5061;transport=tcp;x");
        assert_eq!((read.method, read.body.as_deref()), (Some(Method::Message), Some("hi\r\nthere")));
        let fields: Vec<_> = read.fields.iter().map(|field| (field.name, field.value.as_str())).collect();
        assert_eq!(fields, [(HeaderName::Subject, "a b"), (HeaderName::Replaces, "c;to-tag=1")]);
        assert_eq!(embedded("sip:a?x").unwrap().target, "sip:a");
        assert_eq!(embedded("tel:+1;phone-context=x").unwrap().target, "tel:+1;phone-context=x");
        assert_eq!(embedded("sip:a;%6Dethod=BYE").unwrap().target, "sip:a");
    }

    #[test]
    fn never_honours_what_rfc3261_section_19_1_5_calls_dangerous() {
        let names = "From&Call-ID&CSeq&Via&Record-Route&Route&Accept&Accept-Encoding&Accept-Language&Allow&Contact&\
            Organization&Supported&User-Agent&f&i&v&m&k&Authorization&Proxy-Authorization&P-Asserted-Identity&Identity&\
            Privacy&Max-Forwards&X-Anything&To&Content-Length&Content-Type&Date";
        let read = embedded(&format!("sip:a?{names}&Replaces=1&Require=replaces")).unwrap();
        let honored: Vec<_> = read.honored().map(|field| field.name).collect();
        assert_eq!(honored, [HeaderName::Replaces, HeaderName::Require]);
    }

    #[test]
    fn a_header_cannot_bring_another_line() {
        for text in [
            "sip:a?Subject=x%0D%0AFrom:%20y",
            "sip:a?Sub%20ject=%0A",
            "sip:a?Subject=%FF",
            "sip:a;method=A%20B",
            "sip:a?body=1&body=2",
            "sip:a;method=BYE;method=INVITE",
            "sip:a;method",
        ] {
            assert_eq!(embedded(text), None, "{text}");
        }
        assert_eq!(embedded(&format!("sip:a?{}", "a=b&".repeat(MAX_EMBEDDED + 1))), None);
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        let value = "a b@c;to-tag=\"1\";x=<sip:é?y&z>,%";
        let escaped = escape_header(value);
        let text = format!("sip:a?Subject={escaped}");
        assert_eq!(embedded(&text).unwrap().value(HeaderName::Subject), Some(value));
    }
}
