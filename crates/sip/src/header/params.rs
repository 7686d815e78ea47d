//! Parameters that are kept: `;name=value` of a header field, owned (RFC 3261 §25.1 `generic-param`).

use std::fmt;

use crate::message::{Params, lex, unquote};

/// Parameters of a header field in their order, as written but for white space.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ParamList {
    /// What [`Params::parse`] takes, so that it is read without errors afterwards.
    text: String,
}

impl ParamList {
    /// None.
    pub const fn new() -> Self {
        Self { text: String::new() }
    }

    /// Those of `params` that are not in `known`, which their owner keeps as fields.
    pub(crate) fn except(params: Params<'_>, known: &[&str]) -> Self {
        let mut list = Self::new();
        for (name, value) in params.iter() {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                list.push_raw(name, value);
            }
        }
        list
    }

    /// To read them.
    pub fn get_all(&self) -> Params<'_> {
        Params::parse(&self.text).unwrap_or_default()
    }

    /// The first parameter of that name, in any case: `Some(None)` if it has no value. Quotes are part of the value.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.get_all().get(name)
    }

    /// The value of the first parameter of that name, quotes included.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.get_all().value(name)
    }

    /// As written, beginning with `;`, or empty.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a parameter at the end; a value that is no token goes between quotes. False, and nothing is added, if `name`
    /// is no token.
    pub fn push(&mut self, name: &str, value: Option<&str>) -> bool {
        if !lex::is_token(name.as_bytes()) {
            return false;
        }
        match value {
            None => self.push_raw(name, None),
            Some(value) if lex::is_token(value.as_bytes()) => self.push_raw(name, Some(value)),
            Some(value) => self.push_raw(name, Some(&Quoted(value).to_string())),
        }
        true
    }

    /// [`Self::push`] in a chain; a name that is no token is left out.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.push(name, value);
        self
    }

    fn push_raw(&mut self, name: &str, value: Option<&str>) {
        self.text.push(';');
        self.text.push_str(name);
        if let Some(value) = value {
            self.text.push('=');
            self.text.push_str(value);
        }
    }
}

impl fmt::Display for ParamList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ParamList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// The value of a parameter without its quotes, owned.
pub(crate) fn unquoted(params: Params<'_>, name: &str) -> Option<String> {
    params.value(name).map(|value| unquote(value).into_owned())
}

/// How often a parameter of that name stands there.
pub(crate) fn count(params: Params<'_>, name: &str) -> usize {
    params.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count()
}

/// Writes text as a quoted string (RFC 3261 §25.1), without what would end its line.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => {
                    f.write_char('\\')?;
                    f.write_char(character)?;
                }
                '\r' | '\n' => f.write_char(' ')?,
                character => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_read_back_whatever_it_holds() {
        let mut list = ParamList::new();
        assert!(list.push("a", None) && list.push("b", Some("1")) && list.push("c", Some("x \"; \\y")));
        assert!(list.push("d", Some("")) && !list.push("e f", None));
        assert_eq!(list.as_str(), r#";a;b=1;c="x \"; \\y";d="""#);
        assert_eq!(unquoted(list.get_all(), "C").as_deref(), Some("x \"; \\y"));
        assert_eq!(list.get("a"), Some(None));
    }
}
