//! The small grammar that all header fields share: tokens, quoted strings, comma lists (RFC 3261 §25.1).
//!
//! In a header field that was parsed, CR and LF occur only as folding, so they count as white space here.

use std::borrow::Cow;

use super::scan;

/// `token` of RFC 3261 §25.1.
pub(super) const TOKEN: u16 = 1;
/// `user` without escapes: unreserved and user-unreserved.
const USER: u16 = 2;
/// `paramchar` of a URI without escapes.
const PARAM: u16 = 4;
/// What a parameter's value may hold without quotes: a token or a host, IPv6 with or without brackets (RFC 5118 §4.5).
pub(super) const VALUE: u16 = 8;
/// `hnv-unreserved`, unreserved, and the `&` and `=` between URI headers.
const HEADER: u16 = 16;
/// `word` of RFC 3261 §25.1: a Call-ID without its `@`.
const WORD: u16 = 64;
/// Letters, digits, `-`, `.` and, because containers and test beds have such names, `_`.
const HOST: u16 = 128;

/// What neither ends the element of a list nor opens what may hide its end.
const ELEMENT: u16 = 256;
/// The same for the display name before a URI.
const DISPLAY: u16 = 512;
/// The same for a parameter.
pub(super) const UNTIL_PARAM: u16 = 1024;

static CLASS: [u16; 256] = {
    let mut class = [ELEMENT | DISPLAY | UNTIL_PARAM; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        let alphanumeric = b.is_ascii_alphanumeric();
        let mark = contains(b"-_.!~*'()", b);
        let mut bits = 0;
        if alphanumeric || contains(b"-.!%*_+`'~", b) {
            bits |= TOKEN;
        }
        if alphanumeric || mark || contains(b"&=+$,;?/", b) {
            bits |= USER;
        }
        if alphanumeric || mark || contains(b"[]/:&+$", b) {
            bits |= PARAM;
        }
        if alphanumeric || contains(b"-.!%*_+`'~[]:", b) {
            bits |= VALUE;
        }
        if alphanumeric || mark || contains(b"[]/?:+$&=", b) {
            bits |= HEADER;
        }
        if alphanumeric || contains(b"-.!%*_+`'~()<>:\\\"/[]?{}", b) {
            bits |= WORD;
        }
        if alphanumeric || contains(b"-._", b) {
            bits |= HOST;
        }
        if !contains(b",\"<", b) {
            bits |= ELEMENT;
        }
        if !contains(b",\"<;", b) {
            bits |= DISPLAY;
        }
        if !contains(b"\";", b) {
            bits |= UNTIL_PARAM;
        }
        class[byte] = bits;
        byte += 1;
    }
    class
};

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut index = 0;
    while index < set.len() {
        if set[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

#[inline]
pub(super) fn is(class: u16, byte: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

#[inline]
fn all(class: u16, bytes: &[u8]) -> bool {
    skip(class, bytes, 0) == bytes.len()
}

/// White space, folding included.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// One or more token characters.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(TOKEN, bytes)
}

pub(crate) fn is_host(text: &str) -> bool {
    !text.is_empty() && all(HOST, text.as_bytes())
}

/// `callid = word [ "@" word ]`.
pub(crate) fn is_call_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    let end = skip(WORD, bytes, 0);
    match bytes.get(end) {
        None => end > 0,
        Some(b'@') => end > 0 && end + 1 < bytes.len() && skip(WORD, bytes, end + 1) == bytes.len(),
        Some(_) => false,
    }
}

/// Characters of a user part, escapes well formed.
pub(crate) fn is_user(text: &str) -> bool {
    escaped_all(USER, text)
}

/// Characters of the headers of a URI, escapes well formed.
pub(crate) fn is_uri_headers(text: &str) -> bool {
    escaped_all(HEADER, text)
}

fn escaped_all(class: u16, text: &str) -> bool {
    skip_escaped(class, text.as_bytes(), 0) == text.len()
}

/// Without the white space at both ends, folding included.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    trim_before(text, text.len())
}

/// The same for what stands before `end`.
#[inline]
pub(crate) fn trim_before(text: &str, end: usize) -> &str {
    let bytes = &text.as_bytes()[..end];
    let start = skip_space(bytes, 0);
    &text[start..space_start(bytes, start)]
}

#[inline]
pub(crate) fn trim_start(text: &str) -> &str {
    &text[skip_space(text.as_bytes(), 0)..]
}

#[inline]
pub(crate) fn trim_end(text: &str) -> &str {
    &text[..space_start(text.as_bytes(), 0)]
}

/// Where `byte`, an ASCII character, first stands.
#[inline]
pub(crate) fn find(text: &str, byte: u8) -> Option<usize> {
    scan::byte(byte, text.as_bytes(), 0)
}

/// Splits at the first `delimiter`, an ASCII character.
pub(crate) fn split_once(text: &str, delimiter: u8) -> Option<(&str, &str)> {
    find(text, delimiter).map(|at| (&text[..at], &text[at + 1..]))
}

/// Splits before the first `delimiter`, an ASCII character; at the end if there is none.
pub(crate) fn split_before(text: &str, delimiter: u8) -> (&str, &str) {
    text.split_at(find(text, delimiter).unwrap_or(text.len()))
}

/// Where the quoted string that begins at `start` ends: the index after its closing quote.
pub(crate) fn quoted_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The text of a quoted string, or of a token as it stands: quotes gone, `\x` read as `x`.
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        out.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    Cow::Owned(out)
}

/// Reads `%41` as `A`. What is not UTF-8 afterwards stays as it stands.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if find(text, b'%').is_none() {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match escape_at(bytes, at) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The byte that the escape at `at` stands for, if one stands there.
pub(crate) fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    if bytes.get(at) != Some(&b'%') {
        return None;
    }
    let [high, low] = bytes.get(at + 1..at + 3)? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// Digits only, no sign; `None` if there are none, more than 20, or they exceed 2^32 − 1.
#[inline]
pub(crate) fn number(text: &str) -> Option<u32> {
    if text.len() > 20 { None } else { u32::try_from(saturating_number(text.as_bytes())?).ok() }
}

/// Digits only, no sign; `None` if there are none. More than 2^64 − 1 is 2^64 − 1.
#[inline]
pub(crate) fn saturating_number(digits: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.saturating_mul(10).saturating_add(u64::from(digit));
    }
    (!digits.is_empty()).then_some(number)
}

/// A comma list, split outside quotes and angle brackets, ends trimmed. Empty elements are handed out too.
#[derive(Clone, Debug)]
pub struct List<'a> {
    pub(crate) rest: Option<&'a str>,
}

impl<'a> List<'a> {
    /// The elements of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let (element, end) = first_element(text);
        self.rest = text.get(end + 1..);
        Some(element)
    }
}

/// Where the first element of a comma list ends: at its comma, or at the end of `text`.
#[inline]
pub(crate) fn element_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at = skip(ELEMENT, bytes, at);
        let end = match bytes.get(at) {
            None | Some(b',') => return at,
            Some(b'"') => quoted_end(text, at),
            Some(_) => scan::byte(b'>', bytes, at).map(|end| end + 1),
        };
        match end {
            Some(end) => at = end,
            None => return bytes.len(),
        }
    }
}

/// The first element of a comma list without the white space at its ends, and where it ends: at its comma or with `text`.
#[inline]
pub(crate) fn first_element(text: &str) -> (&str, usize) {
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let token_end = skip(TOKEN, bytes, start);
    let end = skip_space(bytes, token_end);
    // Most elements are tokens.
    if matches!(bytes.get(end), None | Some(b',')) {
        return (&text[start..token_end], end);
    }
    let end = element_end(text);
    (trim_before(text, end), end)
}

/// The first index from `at` on that belongs to no token.
pub(crate) fn skip_token(bytes: &[u8], at: usize) -> usize {
    skip(TOKEN, bytes, at)
}

/// The same for a host without brackets.
#[inline]
pub(crate) fn skip_host(bytes: &[u8], at: usize) -> usize {
    skip(HOST, bytes, at)
}

/// The same for a URI parameter's name or value, escapes included.
#[inline]
pub(crate) fn skip_uri_param(bytes: &[u8], at: usize) -> usize {
    skip_escaped(PARAM, bytes, at)
}

/// The first index from `at` on where neither a byte of `class` nor an escape stands.
#[inline]
fn skip_escaped(class: u16, bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = skip(class, bytes, at);
        if escape_at(bytes, at).is_none() {
            return at;
        }
        at += 3;
    }
}

/// Whether two names are the same in any case; nearly everyone writes them as the RFCs do.
#[inline]
pub(crate) fn same_name(one: &[u8], two: &[u8]) -> bool {
    one == two || one.eq_ignore_ascii_case(two)
}

/// The first index from `at` on whose byte is not of `class`.
#[inline(always)]
pub(super) fn skip(class: u16, bytes: &[u8], mut at: usize) -> usize {
    let Some(mut rest) = bytes.get(at..) else { return at };
    // Eight at a time: nothing needs to be counted between them.
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        for (index, byte) in eight.iter().enumerate() {
            if !is(class, *byte) {
                return at + index;
            }
        }
        at += 8;
        rest = after;
    }
    at + rest.iter().position(|byte| !is(class, *byte)).unwrap_or(rest.len())
}

/// The first index from `at` on that belongs to no white space; hardly ever more than one on.
#[inline]
pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is_space(bytes[at]) {
        at += 1;
    }
    at
}

/// Where the white space before the end begins, but not before `start`.
#[inline]
pub(crate) fn space_start(bytes: &[u8], start: usize) -> usize {
    let mut end = bytes.len();
    while end > start && is_space(bytes[end - 1]) {
        end -= 1;
    }
    end
}

/// The end of what may stand before the bracket of a URI without quotes.
#[inline]
pub(crate) fn skip_display(bytes: &[u8], at: usize) -> usize {
    skip(DISPLAY, bytes, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let list: Vec<_> = List::new(r#" "A, \", B" <sip:a,b@c> ;x="1,2" ,<sip:d> , e"#).collect();
        assert_eq!(list, [r#""A, \", B" <sip:a,b@c> ;x="1,2""#, "<sip:d>", "e"]);
    }

    #[test]
    fn quoted_pairs_and_escapes_read_back() {
        assert_eq!(unquote(r#""a\"b\\c""#), r#"a"b\c"#);
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(unescape("a%40%62%C3%A9"), "a@bé");
        assert_eq!(unescape("%ff%zz%4"), "%ff%zz%4");
    }
}
