//! The delimiters of a multipart (RFC 2046 §5.1.1).

use super::BodyError;

/// Most parts of one message, on all levels together: 32.
pub const MAX_PARTS: usize = 32;

/// How deep multiparts may be nested: 4 levels. RFC 5621 §4.3 advises against any.
pub const MAX_DEPTH: usize = 4;

/// What stands between the delimiters. Preamble and epilogue are left out.
///
/// Deviation: a line that goes on after the boundary with anything but white space is content, where RFC 2046 §5.1.1
/// would let it delimit; so a nested boundary that begins like the outer one does no harm.
pub(super) fn split<'a>(boundary: &str, content: &'a [u8]) -> Result<Vec<&'a [u8]>, BodyError> {
    if !is_boundary(boundary) {
        return Err(BodyError::Malformed);
    }
    let mut parts = Vec::new();
    let delimiter = format!("--{boundary}");
    let finder = memchr::memmem::Finder::new(&delimiter);
    // Where the current part begins, after the first delimiter.
    let mut start = None;
    let mut at = 0;
    while let Some(found) = finder.find(&content[at..]) {
        let found = at + found;
        at = found + delimiter.len();
        let Some(part_end) = line_start(content, found, start.unwrap_or(0)) else { continue };
        let rest = &content[at..];
        let is_last = rest.starts_with(b"--");
        let after = if is_last { &rest[2..] } else { rest };
        let Some(padding) = line_end(after, is_last) else { continue };
        if let Some(start) = start {
            if parts.len() == MAX_PARTS {
                return Err(BodyError::TooComplex);
            }
            parts.push(&content[start..part_end]);
        }
        if is_last {
            // At least one part (RFC 2046 §5.1.1).
            return if parts.is_empty() { Err(BodyError::Malformed) } else { Ok(parts) };
        }
        at += padding;
        start = Some(at);
    }
    // Whatever was cut off is not taken for the whole.
    Err(BodyError::Malformed)
}

/// Whether a delimiter at `at` begins a line: where the CRLF before it begins, which belongs to it. It must not be the
/// one that ended the last delimiter's line.
fn line_start(content: &[u8], at: usize, from: usize) -> Option<usize> {
    if at == 0 {
        return Some(0);
    }
    let end = at.checked_sub(2).filter(|end| *end >= from)?;
    content[end..].starts_with(b"\r\n").then_some(end)
}

/// The length of white space and the CRLF that must follow; the last delimiter may end the body.
fn line_end(rest: &[u8], is_last: bool) -> Option<usize> {
    let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if rest[padding..].starts_with(b"\r\n") {
        return Some(padding + 2);
    }
    (is_last && rest.len() == padding).then_some(padding)
}

/// RFC 2046 §5.1.1: 1 to 70 of these characters, the last one no space.
pub(super) fn is_boundary(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=70).contains(&text.len()) && text.bytes().all(allowed) && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(boundary: &str, content: &str) -> Result<Vec<String>, BodyError> {
        let parts = split(boundary, content.as_bytes())?;
        Ok(parts.into_iter().map(|part| String::from_utf8(part.to_vec()).unwrap()).collect())
    }

    #[test]
    fn preamble_and_epilogue_are_left_out() {
        let content =
            "preamble --b\r\n--b \t\r\nA: b\r\n\r\none\r\n\r\n--b\r\n\r\ntwo--b\r\n--bb\r\n--b--\r\nepilogue\r\n--b--";
        assert_eq!(parts("b", content).unwrap(), ["A: b\r\n\r\none\r\n", "\r\ntwo--b\r\n--bb"]);
        assert_eq!(parts("b", "--b\r\n\r\n--b--").unwrap(), [""]);
        assert_eq!(parts("a b", "--a b\r\n\r\nx\r\n--a b--").unwrap(), ["\r\nx"]);
    }

    #[test]
    fn what_has_no_end_or_no_part_is_refused() {
        for content in
            ["", "--b", "--b--", "--b\r\n", "--b\r\n\r\nx", "--b\r\n\r\nx\r\n--b\r\n", "--b\r\n--b--", "x--b--"]
        {
            assert_eq!(parts("b", content), Err(BodyError::Malformed), "{content:?}");
        }
        for boundary in ["", "a ", "ä", "a\r\n", &"b".repeat(71)] {
            assert_eq!(parts(boundary, "--b\r\n\r\nx\r\n--b--"), Err(BodyError::Malformed));
        }
    }

    #[test]
    fn parts_without_end_are_refused() {
        let content = format!("{}\r\n--b--", "\r\n--b\r\n\r\nx".repeat(MAX_PARTS));
        assert_eq!(parts("b", &content).unwrap().len(), MAX_PARTS);
        let content = format!("{}\r\n--b--", "\r\n--b\r\n\r\nx".repeat(MAX_PARTS + 1));
        assert_eq!(parts("b", &content), Err(BodyError::TooComplex));
    }
}
