//! The lines of one section, in order, as they came or as they were set.

use std::fmt;
use std::sync::Arc;

/// One line: its type letter and its value. A blank line, which RFC 8866 knows not but peers send, has the letter `'\0'`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The type letter (`'a'` in `a=mid:0`).
    pub letter: char,
    /// What follows the `=`. If it was not UTF-8, this shows U+FFFD for what was not; it is written as it came.
    pub value: &'a str,
}

impl fmt::Debug for Line<'_> {
    /// Shows no keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = match self.letter {
            'k' => Some("k="),
            'a' if self.value.starts_with("crypto:") => Some("a=crypto:"),
            'a' if self.value.starts_with("ice-pwd:") => Some("a=ice-pwd:"),
            'a' if self.value.starts_with("key-mgmt:") => Some("a=key-mgmt:"),
            _ => None,
        };
        match secret {
            Some(start) => write!(f, "{start}.."),
            None if self.letter == '\0' => Ok(()),
            None => write!(f, "{}={}", self.letter, self.value),
        }
    }
}

/// The lines of a section. What was parsed is a span of the text that all sections of a description share, so that parsing
/// copies the text once and nothing else.
#[derive(Clone)]
pub(crate) struct Lines {
    pub(crate) source: Arc<str>,
    pub(crate) lines: Vec<Stored>,
}

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) letter: u8,
    pub(crate) value: Value,
}

#[derive(Clone)]
pub(crate) enum Value {
    /// From and to in the source.
    Span(u32, u32),
    /// Set by the caller; no CR, LF or NUL in it.
    Owned(Box<str>),
    /// Not UTF-8: the bytes, and how they read.
    Bytes(Box<(Box<[u8]>, String)>),
}

impl Lines {
    pub(crate) fn empty() -> Self {
        Self { source: Arc::from(""), lines: Vec::new() }
    }

    pub(crate) fn text<'a>(&'a self, stored: &'a Stored) -> &'a str {
        match &stored.value {
            Value::Span(from, to) => &self.source[*from as usize..*to as usize],
            Value::Owned(text) => text,
            Value::Bytes(both) => &both.1,
        }
    }

    pub(crate) fn bytes<'a>(&'a self, stored: &'a Stored) -> &'a [u8] {
        match &stored.value {
            Value::Bytes(both) => &both.0,
            _ => self.text(stored).as_bytes(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Line<'_>> + Clone {
        self.lines.iter().map(|stored| Line { letter: char::from(stored.letter), value: self.text(stored) })
    }

    pub(crate) fn values(&self, letter: u8) -> impl Iterator<Item = &str> + Clone {
        self.lines.iter().filter(move |stored| stored.letter == letter).map(|stored| self.text(stored))
    }

    /// Replaces the first line of this type, or puts the line where RFC 8866 §5 wants it.
    pub(crate) fn set(&mut self, letter: u8, value: &str) {
        match self.lines.iter_mut().find(|stored| stored.letter == letter) {
            Some(stored) => stored.value = Value::owned(value),
            None => self.insert(letter, value),
        }
    }

    /// Puts a line behind the last of those that RFC 8866 §5 wants before it.
    pub(crate) fn insert(&mut self, letter: u8, value: &str) {
        let rank = rank(letter);
        let place = self.lines.iter().position(|stored| self::rank(stored.letter) > rank).unwrap_or(self.lines.len());
        self.lines.insert(place, Stored { letter, value: Value::owned(value) });
    }

    pub(crate) fn remove(&mut self, letter: u8) {
        self.lines.retain(|stored| stored.letter != letter);
    }
}

impl Value {
    /// CR, LF and NUL become spaces: no value can add a line.
    pub(crate) fn owned(text: &str) -> Self {
        if text.contains(FORBIDDEN) {
            Self::Owned(text.replace(FORBIDDEN, " ").into())
        } else {
            Self::Owned(text.into())
        }
    }
}

pub(crate) const FORBIDDEN: [char; 3] = ['\r', '\n', '\0'];

/// Where a line belongs within its section, RFC 8866 §5; unknown ones and blank lines after everything.
fn rank(letter: u8) -> usize {
    // `r` belongs to the `t` before it.
    b"vosiuepcbtzka".iter().position(|known| *known == if letter == b'r' { b't' } else { letter }).unwrap_or(usize::MAX)
}
