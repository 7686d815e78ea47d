//! Message bodies: one part or several (RFC 5621, RFC 2046 §5.1), and fragments of messages (RFC 3420).
//!
//! ```text
//!                        ┌─ leaf ────────── understood? ── yes ──> handed out
//!  Message ──> Part::of ─┤                       └─ no ──> handling=optional: ignored
//!                        │                                 handling=required: 415
//!                        ├─ multipart/alternative ──> its last part that is understood
//!                        └─ any other multipart ────> each of its parts
//! ```
//!
//! [`session_description`] is what a session wants to know: the offer or answer, wherever it stands. [`select`] does the
//! same for any context. [`Multipart`] writes bodies of several parts. Contents are read in place, never copied.
//!
//! Bounds: [`MAX_PARTS`] parts in all, [`MAX_DEPTH`] levels, [`MAX_FIELDS`] header fields of a part; the message's own
//! length bounds the rest.

mod fields;
mod multipart;
mod part;
mod select;
pub mod sipfrag;
mod write;

pub use fields::{BodyField, MAX_FIELDS};
pub use multipart::{MAX_DEPTH, MAX_PARTS};
pub use part::Part;
pub use select::{select, session_description};
pub use write::{Multipart, NewPart};

use std::fmt;

use crate::message::StatusCode;

/// Why a body cannot be used. The peer's fault.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// A body without readable Content-Type, a multipart without its delimiters, a part with malformed header fields.
    Malformed,
    /// More parts or levels than we read.
    TooComplex,
    /// A part that has to be handled is of a type or for a purpose that is not understood here. Holds its type, or `""`.
    Unsupported(String),
    /// A part that has to be handled is compressed or in another encoding than binary. Holds that encoding.
    Encoding(String),
    /// More than one session description.
    Ambiguous,
}

impl BodyError {
    /// The response that says so: 415 with Accept or Accept-Encoding (RFC 5621 §8.4, RFC 3261 §8.2.3), else 400.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed | Self::Ambiguous => StatusCode::BAD_REQUEST,
            Self::TooComplex => StatusCode::REQUEST_ENTITY_TOO_LARGE,
            Self::Unsupported(_) | Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the body is malformed"),
            Self::TooComplex => f.write_str("the body has too many parts"),
            Self::Unsupported(kind) => write!(f, "a body of type {kind:?} is not understood here"),
            Self::Encoding(encoding) => write!(f, "a body in the encoding {encoding:?} is not understood"),
            Self::Ambiguous => f.write_str("there is more than one session description"),
        }
    }
}

impl std::error::Error for BodyError {}
