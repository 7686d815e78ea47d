//! The list `name=value, name="value"` that challenges and credentials share (RFC 3261 §25.1 "auth-param").

use std::borrow::Cow;

use super::DigestError;

/// One parameter: its name as written and its value without quotes and escapes.
pub(super) struct Param<'a> {
    pub name: &'a str,
    pub value: Cow<'a, str>,
}

/// The parameters after the scheme, which must be Digest. Values come unescaped; white space includes folding.
pub(super) fn digest_params(value: &str) -> Result<Params<'_>, DigestError> {
    auth_params(value, "Digest")
}

/// The same after any scheme.
pub(super) fn auth_params<'a>(value: &'a str, expected: &str) -> Result<Params<'a>, DigestError> {
    let value = value.trim_matches(is_space);
    let split = value.find(is_space).ok_or(DigestError::Scheme)?;
    let (scheme, rest) = value.split_at(split);
    if !scheme.eq_ignore_ascii_case(expected) {
        return Err(DigestError::Scheme);
    }
    Ok(Params { rest })
}

/// Walks over the parameters.
pub(super) struct Params<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<Param<'a>, DigestError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Empty elements are harmless: ", ," (RFC 7230 §7 tells recipients to take them).
        self.rest = self.rest.trim_start_matches(|c| is_space(c) || c == ',');
        if self.rest.is_empty() {
            return None;
        }
        let param = self.take_param();
        if param.is_none() {
            self.rest = "";
        }
        Some(param.ok_or(DigestError::Syntax))
    }
}

impl<'a> Params<'a> {
    fn take_param(&mut self) -> Option<Param<'a>> {
        let equals = self.rest.find('=')?;
        let name = self.rest[..equals].trim_end_matches(is_space);
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let rest = self.rest[equals + 1..].trim_start_matches(is_space);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => take_quoted(rest)?,
            None => {
                let end = rest.find(|c| is_space(c) || c == ',').unwrap_or(rest.len());
                let value = &rest[..end];
                if value.contains('"') {
                    return None;
                }
                (Cow::Borrowed(value), &rest[end..])
            }
        };
        let rest = rest.trim_start_matches(is_space);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        self.rest = rest;
        Some(Param { name, value })
    }
}

/// Reads up to the closing quote, unescaping (RFC 3261 §25.1 "quoted-string").
fn take_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::with_capacity(text.len().min(256));
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// Puts `value` between quotes, escaping what would end them early.
pub(super) fn write_quoted(f: &mut std::fmt::Formatter<'_>, value: &str) -> std::fmt::Result {
    use std::fmt::Write as _;
    f.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                f.write_char('\\')?;
                f.write_char(c)?;
            }
            // A line break would let a value start a header field of its own.
            '\r' | '\n' => {}
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}
