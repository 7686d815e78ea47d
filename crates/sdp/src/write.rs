//! Writing a session description: each line as it came or as it was set, ended by CRLF. RFC 8866 §5.

use std::fmt;
use std::io::Write;

use crate::media::Media;
use crate::section::Section;
use crate::session::Description;

impl Description {
    /// Appends the description. What was parsed and not changed is written byte for byte (line ends become CRLF).
    pub fn write(&self, out: &mut Vec<u8>) {
        self.session.write(out);
        for media in &self.media {
            media.write(out);
        }
    }

    /// The description as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.session.lines.source.len().max(512));
        self.write(&mut out);
        out
    }
}

impl Media {
    /// Appends the media description.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.write_first_line(out);
        self.section.write(out);
    }

    pub(crate) fn write_first_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"m=");
        let start = out.len();
        self.write_canonical(out);
        // The odd spelling is written as long as it still says what the fields say.
        if let Some(odd) = self.odd_line.as_deref()
            && let Ok(read) = Self::parse_line(odd, usize::MAX)
            && (&read.kind, read.port, read.port_count, &read.protocol, &read.formats)
                == (&self.kind, self.port, self.port_count, &self.protocol, &self.formats)
        {
            out.truncate(start);
            out.extend_from_slice(odd.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    pub(crate) fn write_canonical(&self, out: &mut Vec<u8>) {
        push_clean(self.kind.as_str(), out);
        push_display(b' ', self.port, out);
        if let Some(count) = self.port_count {
            push_display(b'/', count, out);
        }
        out.push(b' ');
        push_clean(self.protocol.as_str(), out);
        for format in &self.formats {
            out.push(b' ');
            push_clean(format, out);
        }
    }
}

impl Section {
    fn write(&self, out: &mut Vec<u8>) {
        for stored in &self.lines.lines {
            if stored.letter != 0 {
                out.extend_from_slice(&[stored.letter, b'=']);
            }
            out.extend_from_slice(self.lines.bytes(stored));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Fields are the caller's: none can add a line or a field, so spaces and controls are left out.
fn push_clean(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().filter(|byte| *byte > b' ' && *byte != 0x7f));
}

fn push_display(before: u8, number: u16, out: &mut Vec<u8>) {
    out.push(before);
    let _ = write!(out, "{number}");
}

impl fmt::Display for Description {
    /// As [`Description::write`] does; where a line is not UTF-8, with U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}
