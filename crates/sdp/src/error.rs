//! Why bytes are not a session description, or a value is not what its attribute wants.

use std::error::Error;
use std::fmt;

/// A session description that cannot be read: the line, and what was expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// Number of the line, the first being 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ParseErrorKind,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// More bytes than [`Limits::max_bytes`](crate::Limits::max_bytes).
    TooManyBytes,
    /// More lines than [`Limits::max_lines`](crate::Limits::max_lines).
    TooManyLines,
    /// More media descriptions than [`Limits::max_media`](crate::Limits::max_media).
    TooManyMedia,
    /// More formats in one `m=` line than [`Limits::max_formats`](crate::Limits::max_formats).
    TooManyFormats,
    /// The first line is not `v=0`.
    Version,
    /// No `o=` line before the first `m=` line.
    MissingOrigin,
    /// A second `v=` or `o=` line, or one within a media description, or a second `c=` line of the session: two readers could
    /// disagree about which counts.
    Misplaced,
    /// Not a letter followed by `=`.
    TypeLetter,
    /// A NUL, or a CR that ends no line.
    ForbiddenByte,
    /// The value is not what the line's type wants; the text says what was expected.
    Expected(&'static str),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        f.write_str(match self.kind {
            ParseErrorKind::TooManyBytes => "the description is longer than allowed",
            ParseErrorKind::TooManyLines => "more lines than allowed",
            ParseErrorKind::TooManyMedia => "more media descriptions than allowed",
            ParseErrorKind::TooManyFormats => "more formats than allowed",
            ParseErrorKind::Version => "expected v=0 as the first line",
            ParseErrorKind::MissingOrigin => "expected an o= line before the media descriptions",
            ParseErrorKind::Misplaced => "expected this line once, before the media descriptions",
            ParseErrorKind::TypeLetter => "expected a letter and =",
            ParseErrorKind::ForbiddenByte => "expected neither NUL nor a CR within a line",
            ParseErrorKind::Expected(what) => return write!(f, "expected {what}"),
        })
    }
}

impl Error for ParseError {}

/// A value that is not what its attribute (or its line) wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeError {
    /// The attribute's name, or the letter of the line.
    pub attribute: &'static str,
    /// What was expected of the value.
    pub expected: &'static str,
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.attribute, self.expected)
    }
}

impl Error for AttributeError {}
