//! Header fields outside messages: those of a body part or of a fragment (RFC 2046 §5.1, RFC 3420 §2).

use crate::message::{HeaderName, lex};

/// Most header fields that are read of one part or fragment: 64.
pub const MAX_FIELDS: usize = 64;

/// One header field, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyField<'a> {
    /// The name, if we know it.
    pub name: HeaderName,
    /// The name as written.
    pub written: &'a str,
    /// The value without white space at its ends; folding stays.
    pub value: &'a str,
}

/// The header fields in `text`, whose lines end with CRLF or LF. `None` if a line is none, or there are too many.
pub(super) fn read(text: &str) -> Option<Vec<BodyField<'_>>> {
    let mut fields = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if fields.len() == MAX_FIELDS {
            return None;
        }
        let end = field_end(rest);
        let (written, value) = lex::split_once(&rest[..end], b':')?;
        let written = written.trim_end_matches([' ', '\t']);
        if !lex::is_token(written.as_bytes()) {
            return None;
        }
        fields.push(BodyField { name: HeaderName::parse(written), written, value: lex::trim(value) });
        rest = &rest[end..];
    }
    Some(fields)
}

/// Where the first field ends, with the lines that continue it.
fn field_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
        at += length + 1;
        if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    bytes.len()
}

/// The value of the only field of that name; an error if there are two.
pub(super) fn single<'a>(fields: &[BodyField<'a>], name: HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = fields.iter().filter(|field| field.name == name).map(|field| field.value);
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fold_and_end_either_way() {
        let fields = read("Content-Type: a/b;\r\n c=d\r\nX-Y :z\nl:").unwrap();
        let values: Vec<_> = fields.iter().map(|field| (field.name, field.value)).collect();
        assert_eq!(
            values,
            [(HeaderName::ContentType, "a/b;\r\n c=d"), (HeaderName::Other, "z"), (HeaderName::ContentLength, "")]
        );
        for text in ["x", ": x", " a: b", "a b: c", "\r\n"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&"a:b\r\n".repeat(MAX_FIELDS + 1)), None);
    }
}
