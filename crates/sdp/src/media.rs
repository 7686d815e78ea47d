//! One media description: an `m=` line and what follows it. RFC 8866 §5.14.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::protocol::{MediaKind, Protocol};
use crate::section::Section;

/// One media description. Its attributes, connection and bandwidths are those of [`Section`], to which it dereferences.
///
/// The parts of the `m=` line are plain fields. As long as nobody changes them the line is written as it came.
#[derive(Clone)]
pub struct Media {
    /// Kind of media.
    pub kind: MediaKind,
    /// Port; 0 refuses the stream (RFC 3264 §6) unless [`Media::bundle_only`], 9 means "see the ICE candidates".
    pub port: u16,
    /// Number of ports in a row, if the line says so (`49170/2`).
    pub port_count: Option<u16>,
    /// Transport protocol and profile.
    pub protocol: Protocol,
    /// Formats in order of preference: payload types for RTP.
    pub formats: Vec<Box<str>>,
    /// The line as it came, if it came otherwise than it would be written.
    pub(crate) odd_line: Option<Box<str>>,
    pub(crate) section: Section,
}

impl Media {
    /// A media description without formats or attributes. Add a format at least: RFC 8866 §5.14 wants one.
    pub fn new(kind: MediaKind, port: u16, protocol: Protocol) -> Self {
        Self { kind, port, port_count: None, protocol, formats: Vec::new(), odd_line: None, section: Section::empty() }
    }

    /// Whether this stream is refused or ended: port 0, and not only because it shall share another's port. RFC 3264 §6,
    /// RFC 9143 §6.
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.bundle_only()
    }

    /// The formats that are RTP payload types (0 to 127), in order.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats.iter().filter_map(|format| crate::field::number(format).filter(|number: &u8| *number < 128))
    }
}

impl Deref for Media {
    type Target = Section;

    fn deref(&self) -> &Section {
        &self.section
    }
}

impl DerefMut for Media {
    fn deref_mut(&mut self) -> &mut Section {
        &mut self.section
    }
}

/// By what would be read from it: the spacing of the `m=` line does not matter.
impl PartialEq for Media {
    fn eq(&self, other: &Self) -> bool {
        let Self { kind, port, port_count, protocol, formats, odd_line: _, section } = self;
        (kind, port, port_count, protocol) == (&other.kind, &other.port, &other.port_count, &other.protocol)
            && (formats, section) == (&other.formats, &other.section)
    }
}

impl Eq for Media {}

impl fmt::Debug for Media {
    /// The lines, without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Vec::new();
        self.write_first_line(&mut line);
        write!(f, "{} {:?}", String::from_utf8_lossy(&line).trim_end(), self.section)
    }
}
