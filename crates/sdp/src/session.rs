//! A session description: the session's lines, then the media descriptions. RFC 8866 §5.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::error::AttributeError;
use crate::field::{Origin, Timing};
use crate::line::{Lines, Stored, Value};
use crate::media::Media;
use crate::section::Section;

/// A session description that keeps every line, known or not, in its order.
///
/// The session level's attributes, connection and bandwidths are those of [`Section`], to which it dereferences.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    pub(crate) origin: Origin,
    pub(crate) session: Section,
    pub(crate) media: Vec<Media>,
}

impl Description {
    /// A description without media: `v=0`, `o=`, `s=-`, `t=0 0`.
    pub fn new(origin: Origin) -> Self {
        let line = |letter, value: &str| Stored { letter, value: Value::owned(value) };
        let lines = vec![
            line(b'v', "0"),
            line(b'o', &origin.to_string()),
            line(b's', "-"),
            line(b't', &Timing::default().to_string()),
        ];
        Self { origin, session: Section { lines: Lines { lines, ..Lines::empty() } }, media: Vec::new() }
    }

    /// Who made it: `o=`.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Replaces the `o=` line.
    pub fn set_origin(&mut self, origin: Origin) {
        self.session.lines.set(b'o', &origin.to_string());
        self.origin = origin;
    }

    /// The session's name: `s=`. RFC 8866 §5.3 wants the line; some gateways leave it out.
    pub fn name(&self) -> Option<&str> {
        self.session.lines.values(b's').next()
    }

    /// Replaces the `s=` line; an empty name is written as `-`.
    pub fn set_name(&mut self, name: &str) {
        self.session.lines.set(b's', if name.is_empty() { "-" } else { name });
    }

    /// Every `t=` line. RFC 8866 §5.9 wants one; some phones leave it out.
    pub fn timings(&self) -> impl Iterator<Item = Result<Timing, AttributeError>> + '_ {
        self.session.lines.values(b't').map(Timing::parse)
    }

    /// The session level alone.
    pub fn session(&self) -> &Section {
        &self.session
    }

    /// The media descriptions, in order.
    pub fn media(&self) -> &[Media] {
        &self.media
    }

    /// The media descriptions, to change, add or remove.
    pub fn media_mut(&mut self) -> &mut Vec<Media> {
        &mut self.media
    }
}

impl Deref for Description {
    type Target = Section;

    fn deref(&self) -> &Section {
        &self.session
    }
}

impl DerefMut for Description {
    fn deref_mut(&mut self) -> &mut Section {
        &mut self.session
    }
}

impl fmt::Debug for Description {
    /// The lines, without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description").field("session", &self.session).field("media", &self.media).finish()
    }
}
