//! Event packages: what RFC 6665 §5.4 has each of them define, and the typed bodies of their notifications.
//!
//! A subscriber and a notifier take names, durations, rates and forking from [`Package`]; the bodies that they carry are
//! read and written by the modules beside it, each after its RFC:
//!
//! | Package | Body | Module |
//! |---|---|---|
//! | `presence` | PIDF (RFC 3863) with RPID (RFC 4480) in the data model (RFC 4479) | `presence` |
//! | `presence.winfo` and others | watcherinfo (RFC 3858) | `watcher` |
//! | `reg` | reginfo (RFC 3680) with GRUUs (RFC 5628) | `reg` |
//! | `dialog` | dialog-info (RFC 4235) with shared appearances (RFC 7463) | `dialog` |
//! | `conference` | conference-info (RFC 4575) | `conference` |
//! | `message-summary` | simple-message-summary (RFC 3842) | `message_summary` |
//! | `refer` | `message/sipfrag` (RFC 3515) | not here |
//!
//! ```text
//! NOTIFY ──> T::parse(body) ──> table.apply(document) ──> Applied::Complete | NeedsRefresh | Stale
//!            (BodyError: 4xx)   (reg, dialog, conference, watcherinfo: full or partial, by version)
//! NOTIFY <── document.write() <── what the notifier knows
//! ```
//!
//! Bodies are lenient in what they read and strict in what they write: elements and attributes that nobody here knows are
//! skipped (kept in presence, which is composed and passed on), optional values that do not parse count as absent, and
//! what the RFC makes mandatory is an error if it is missing. All but `message-summary` are XML and need the cargo
//! feature `packages`.

#[cfg(feature = "packages")]
pub mod conference;
#[cfg(feature = "packages")]
pub mod dialog;
pub mod message_summary;
mod metadata;
#[cfg(feature = "packages")]
pub mod presence;
#[cfg(feature = "packages")]
pub mod reg;
#[cfg(feature = "packages")]
mod timestamp;
#[cfg(feature = "packages")]
mod version;
#[cfg(feature = "packages")]
pub mod watcher;
#[cfg(feature = "packages")]
pub mod xml;

pub use metadata::{Forks, Package};
#[cfg(feature = "packages")]
pub use timestamp::Timestamp;
#[cfg(feature = "packages")]
pub use version::{Applied, DEFAULT_ROWS, DocumentState};

use std::fmt;

use crate::message::StatusCode;

/// Why a body cannot be used. All of them are the sender's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// More bytes than the limit.
    TooLarge,
    /// Not UTF-8, or a declaration of another encoding.
    NotUtf8,
    /// A document type: nothing that a peer defines is expanded, so none is read.
    Doctype,
    /// Elements within elements beyond the limit.
    TooDeep,
    /// More elements, or lines, than the limit.
    TooManyElements,
    /// More attributes of one element, or more namespaces, than the limit.
    TooManyAttributes,
    /// An attribute's value, a name or a line longer than the limit.
    ValueTooLong,
    /// Not well-formed.
    Malformed {
        /// The byte near which reading stopped.
        at: usize,
        /// What stands there.
        why: &'static str,
    },
    /// Well-formed, but another document than this package's.
    Root {
        /// The element that should have been the root.
        expected: &'static str,
    },
    /// Something mandatory is missing: an element, or `element@attribute`.
    Missing(&'static str),
    /// Something mandatory has a value that the RFC does not know: an element, or `element@attribute`.
    Invalid(&'static str),
}

impl BodyError {
    /// The response that says so: to a PUBLISH or a NOTIFY with such a body.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge | Self::TooManyElements => StatusCode::REQUEST_ENTITY_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the body is larger than the limit"),
            Self::NotUtf8 => f.write_str("the body is not UTF-8"),
            Self::Doctype => f.write_str("the body has a document type, which is never read"),
            Self::TooDeep => f.write_str("elements are nested deeper than the limit"),
            Self::TooManyElements => f.write_str("more elements than the limit"),
            Self::TooManyAttributes => f.write_str("more attributes or namespaces than the limit"),
            Self::ValueTooLong => f.write_str("a value is longer than the limit"),
            Self::Malformed { at, why } => write!(f, "not well-formed near byte {at}: {why}"),
            Self::Root { expected } => write!(f, "the root is not <{expected}> of its namespace"),
            Self::Missing(what) => write!(f, "{what} is missing"),
            Self::Invalid(what) => write!(f, "{what} has a value that does not exist"),
        }
    }
}

impl std::error::Error for BodyError {}

/// A boolean of XML Schema.
#[cfg(feature = "packages")]
fn boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// An enumeration of an RFC: variants with their words.
#[cfg(feature = "packages")]
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$inner])* $variant,)+ }

        impl $name {
            /// All of them, in the order of the RFC.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word in the document.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Reads the word; case matters, as everywhere in XML.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
#[cfg(feature = "packages")]
use words;
