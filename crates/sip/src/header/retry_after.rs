//! Retry-After: when to try again (RFC 3261 §20.33).

use std::fmt;

use super::params::ParamList;
use super::{seconds, single_header};
use crate::message::{Params, lex};

/// When somebody can be reached again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RetryAfter {
    /// Seconds from now.
    pub seconds: u32,
    /// For people; escapes read.
    pub comment: Option<String>,
    /// For how many seconds from then on.
    pub duration: Option<u32>,
    /// All other parameters.
    pub params: ParamList,
}

single_header!(RetryAfter, RetryAfter);

impl RetryAfter {
    /// So many seconds, without more.
    pub const fn new(seconds: u32) -> Self {
        Self { seconds, comment: None, duration: None, params: ParamList::new() }
    }

    fn read(text: &str) -> Option<Self> {
        let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let (delta, rest) = text.split_at(end);
        let rest = lex::trim_start(rest);
        let (comment, rest) = match rest.strip_prefix('(') {
            Some(rest) => read_comment(rest).map(|(comment, rest)| (Some(comment), rest))?,
            None => (None, rest),
        };
        let params = Params::parse(rest)?;
        let duration = match params.get("duration") {
            None => None,
            Some(value) => Some(seconds(value?)?),
        };
        Some(Self { seconds: seconds(delta)?, comment, duration, params: ParamList::except(params, &["duration"]) })
    }
}

/// The text up to the bracket that closes it, and what follows. Comments nest (RFC 3261 §25.1).
fn read_comment(text: &str) -> Option<(String, &str)> {
    let mut comment = String::new();
    let mut depth = 0_usize;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => comment.push(characters.next()?.1),
            ')' if depth == 0 => return Some((comment, &text[at + 1..])),
            _ => {
                match character {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                comment.push(character);
            }
        }
    }
    None
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        write!(f, "{}", self.seconds)?;
        if let Some(comment) = &self.comment {
            f.write_str(" (")?;
            for character in comment.chars() {
                if matches!(character, '(' | ')' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(if matches!(character, '\r' | '\n') { ' ' } else { character })?;
            }
            f.write_char(')')?;
        }
        if let Some(duration) = self.duration {
            write!(f, ";duration={duration}")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc3261_section_20_33_are_read() {
        let long = RetryAfter::parse("18000;duration=3600").unwrap();
        assert_eq!((long.seconds, long.duration), (18_000, Some(3600)));
        let meeting = RetryAfter::parse("120 (I'm in a meeting)").unwrap();
        assert_eq!(meeting.comment.as_deref(), Some("I'm in a meeting"));
        let nested = RetryAfter::parse(r"5(a (b; \) c) d) ; x").unwrap();
        assert_eq!(nested.comment.as_deref(), Some("a (b; ) c) d"));
        for value in [long, meeting, nested, RetryAfter::new(7)] {
            assert_eq!(RetryAfter::parse(&value.to_string()), Ok(value));
        }
        for text in ["", "soon", "5 (a", "5 a", "5;duration", "5 (a\\", "(a) 5"] {
            assert!(RetryAfter::parse(text).is_err(), "{text}");
        }
    }
}
