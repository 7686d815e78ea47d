//! Parameters behind a header field value: `;name=value;name` (RFC 3261 §25.1).

use super::lex::{TOKEN, UNTIL_PARAM, VALUE, is, quoted_end, same_name, skip, skip_space};

/// `;name=value;name` after the main part of a header field value. Checked once, then read without errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Params<'a> {
    text: &'a str,
}

impl<'a> Params<'a> {
    /// Checks `text`: empty, or `;` and a token, with or without `=` and a token, host or quoted string, and so on.
    /// White space around `;` and `=` is allowed. A lone `;` at the end, which some phones write, passes too.
    pub fn parse(text: &'a str) -> Option<Self> {
        Self::read(text, 0).filter(|(_, end)| *end == text.len()).map(|(params, _)| params)
    }

    /// The parameters that begin at `start` and where they end: at the comma before the next value, or with `text`.
    #[inline(always)]
    pub(crate) fn read(text: &'a str, start: usize) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let start = skip_space(bytes, start);
        let (mut at, mut end) = (start, start);
        loop {
            match bytes.get(at) {
                None | Some(b',') => return Some((Self { text: &text[start..end] }, at)),
                Some(b';') => end = at + 1,
                Some(_) => return None,
            }
            let name = skip_space(bytes, at + 1);
            at = skip(TOKEN, bytes, name);
            if at == name {
                if matches!(bytes.get(at), None | Some(b',')) {
                    continue;
                }
                return None;
            }
            end = at;
            at = skip_space(bytes, at);
            if bytes.get(at) != Some(&b'=') {
                continue;
            }
            let value = skip_space(bytes, at + 1);
            end = value_end(text, value)?;
            if end == value {
                return None;
            }
            at = skip_space(bytes, end);
        }
    }

    /// As written, beginning with `;`, or empty.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Each parameter with its value as written (quotes included).
    pub fn iter(self) -> ParamIter<'a> {
        ParamIter { rest: self.text }
    }

    /// The first parameter of that name, in any case: `Some(None)` if it has no value. Quotes are part of the value.
    #[inline]
    pub fn get(self, name: &str) -> Option<Option<&'a str>> {
        let bytes = self.text.as_bytes();
        // Nearly always the first one is asked for.
        let first = bytes.get(1..)?;
        let end = 1 + name.len();
        if first.starts_with(name.as_bytes()) && matches!(bytes.get(end), None | Some(b'=' | b';')) {
            return Some(self.value_at(end));
        }
        self.search(name)
    }

    fn search(self, name: &str) -> Option<Option<&'a str>> {
        // The text was checked, so a parameter begins after each semicolon outside quotes, and only there.
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let start = skip_space(bytes, at + 1);
            let end = start + name.len();
            if bytes.get(end).is_none_or(|byte| !is(TOKEN, *byte))
                && bytes.get(start..end).is_some_and(|candidate| same_name(candidate, name.as_bytes()))
            {
                return Some(self.value_at(end));
            }
            at = skip(UNTIL_PARAM, bytes, start);
            while bytes.get(at) == Some(&b'"') {
                let end = quoted_end(self.text, at).unwrap_or(bytes.len());
                at = skip(UNTIL_PARAM, bytes, end);
            }
        }
        None
    }

    /// The value of the parameter whose name ends at `name_end`.
    fn value_at(self, name_end: usize) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let equals = skip_space(bytes, name_end);
        if bytes.get(equals) != Some(&b'=') {
            return None;
        }
        let start = skip_space(bytes, equals + 1);
        self.text.get(start..value_end(self.text, start)?)
    }

    /// The value of the first parameter of that name; `None` also if it has no value.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.get(name).flatten()
    }
}

/// Iterator over [`Params`].
#[derive(Clone, Debug)]
pub struct ParamIter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.rest.as_bytes();
        let semicolon = skip_space(bytes, 0);
        let name = skip_space(bytes, semicolon + 1);
        let name_end = skip(TOKEN, bytes, name);
        if name_end == name {
            return None; // the end, or a lone semicolon before it
        }
        let equals = skip_space(bytes, name_end);
        let (value, end) = if bytes.get(equals) == Some(&b'=') {
            let start = skip_space(bytes, equals + 1);
            let end = value_end(self.rest, start)?;
            (Some(&self.rest[start..end]), end)
        } else {
            (None, equals)
        };
        let name = &self.rest[name..name_end];
        self.rest = &self.rest[end..];
        Some((name, value))
    }
}

/// Where the value that begins at `start` ends; `None` for quotes that are not closed.
#[inline(always)]
fn value_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.get(start) {
        Some(b'"') => quoted_end(text, start),
        _ => Some(skip(VALUE, bytes, start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_read_with_white_space_quotes_and_brackets() {
        let params = Params::parse("; a = 1\r\n ;b;C=\"x;\\\"y\";d=[2001:db8::1];e=2001:db8::2;").unwrap();
        assert_eq!(params.get("A"), Some(Some("1")));
        assert_eq!(params.get("b"), Some(None));
        assert_eq!(params.value("c"), Some("\"x;\\\"y\""));
        assert_eq!(params.value("d"), Some("[2001:db8::1]"));
        assert_eq!(params.value("e"), Some("2001:db8::2"));
        assert_eq!(params.get("f"), None);
    }

    #[test]
    fn broken_parameters_are_refused() {
        for text in ["a", ";;a", ";a=", ";a=\"x", ";=1", ";a b", ";a=1 2", ";a=<x>"] {
            assert_eq!(Params::parse(text), None, "{text}");
        }
    }
}
