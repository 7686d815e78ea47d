//! Reading a session description: bytes into lines, lines into sections. RFC 8866 §5 and §9.
//!
//! What real clients get wrong and nothing hangs on is taken as it is, kept, and written back: lines that end in LF alone
//! (written with CRLF), a last line without an end, blank lines, a missing `s=` or `t=` line, lines in another order than
//! RFC 8866 §5 wants, several spaces where one belongs, spaces at an end, lines and attributes nobody knows, text that is
//! not UTF-8, an `m=` line without formats (proxies that take codecs out leave such). What two readers could take for two different things is refused.

use std::sync::Arc;

use crate::error::{ParseError, ParseErrorKind};
use crate::field::{Connection, Origin, number};
use crate::limits::Limits;
use crate::line::{Lines, Stored, Value};
use crate::media::Media;
use crate::protocol::{MediaKind, Protocol};
use crate::section::Section;
use crate::session::Description;

impl Description {
    /// Reads a session description.
    ///
    /// # Errors
    /// The first line that cannot be read, or that is beyond the limits. The values of attributes are not looked at: their
    /// accessors do that.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        if bytes.len() > limits.max_bytes.min(u32::MAX as usize) {
            let line = 1 + bytes[..limits.max_bytes.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count();
            return Err(ParseError { line, kind: ParseErrorKind::TooManyBytes });
        }
        let text = std::str::from_utf8(bytes).ok();
        let mut reader = Reader {
            limits,
            source: text.map_or_else(|| Arc::from(""), Arc::from),
            origin: None,
            lines: Vec::with_capacity((bytes.len() / 24).min(limits.max_lines)),
            session: None,
            media: Vec::new(),
            scratch: Vec::new(),
        };
        let mut from = 0;
        let mut line = 0;
        while from < bytes.len() {
            line += 1;
            let rest = &bytes[from..];
            let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0)).unwrap_or(rest.len());
            let end = match rest[length..] {
                [] => 0,
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                // RFC 8866 §9, `byte-string`.
                _ => return Err(ParseError { line, kind: ParseErrorKind::ForbiddenByte }),
            };
            let read = reader.line(line, &rest[..length], text.map(|text| (&text[from..from + length], from)));
            read.map_err(|kind| ParseError { line, kind })?;
            from += length + end;
        }
        reader.finish().map_err(|kind| ParseError { line: line.max(1), kind })
    }
}

struct Reader<'a> {
    limits: &'a Limits,
    source: Arc<str>,
    origin: Option<Origin>,
    /// Of the section that is being read.
    lines: Vec<Stored>,
    /// Read whole, once the first `m=` line has come.
    session: Option<Section>,
    media: Vec<Media>,
    scratch: Vec<u8>,
}

impl Reader<'_> {
    /// `text` is the line and where it starts, if the whole description is UTF-8.
    fn line(&mut self, number: usize, bytes: &[u8], text: Option<(&str, usize)>) -> Result<(), ParseErrorKind> {
        if number > self.limits.max_lines {
            return Err(ParseErrorKind::TooManyLines);
        }
        if number == 1 && bytes.trim_ascii_end() != b"v=0" {
            return Err(ParseErrorKind::Version);
        }
        let letter = match bytes {
            [] => {
                self.lines.push(Stored { letter: 0, value: Value::Owned("".into()) });
                return Ok(());
            }
            [letter, b'=', ..] if letter.is_ascii_alphabetic() => *letter,
            _ => return Err(ParseErrorKind::TypeLetter),
        };
        let stored = match text {
            // Both fit: the description's length does.
            Some((line, from)) => Value::Span(from as u32 + 2, (from + line.len()) as u32),
            None => match std::str::from_utf8(&bytes[2..]) {
                Ok(text) => Value::Owned(text.into()),
                Err(_) => {
                    Value::Bytes(Box::new((bytes[2..].into(), String::from_utf8_lossy(&bytes[2..]).into_owned())))
                }
            },
        };
        let value = match (&stored, text) {
            (_, Some((line, _))) => &line[2..],
            (Value::Owned(text), _) => text,
            (Value::Bytes(both), _) => &both.1,
            (Value::Span(..), None) => unreachable!("a span is of a text"),
        };
        match letter {
            b'm' => {
                if self.media.len() >= self.limits.max_media {
                    return Err(ParseErrorKind::TooManyMedia);
                }
                if self.origin.is_none() {
                    return Err(ParseErrorKind::MissingOrigin);
                }
                if matches!(stored, Value::Bytes(_)) {
                    return Err(ParseErrorKind::Expected("UTF-8 in an m= line"));
                }
                let mut media = Media::parse_line(value, self.limits.max_formats)?;
                self.scratch.clear();
                media.write_canonical(&mut self.scratch);
                if self.scratch != value.as_bytes() {
                    media.odd_line = Some(value.into());
                }
                self.end_section();
                self.media.push(media);
                return Ok(());
            }
            b'v' if number != 1 => return Err(ParseErrorKind::Misplaced),
            b'o' if self.origin.is_some() => return Err(ParseErrorKind::Misplaced),
            b'o' => self.origin = Some(Origin::parse(value).map_err(|error| ParseErrorKind::Expected(error.expected))?),
            b'c' if self.media.is_empty() && self.lines.iter().any(|stored| stored.letter == b'c') => {
                return Err(ParseErrorKind::Misplaced);
            }
            b'c' => {
                Connection::parse(value).map_err(|error| ParseErrorKind::Expected(error.expected))?;
            }
            _ => {}
        }
        self.lines.push(Stored { letter, value: stored });
        Ok(())
    }

    fn end_section(&mut self) {
        let section = Section { lines: Lines { source: self.source.clone(), lines: self.lines.drain(..).collect() } };
        match self.media.last_mut() {
            Some(media) => media.section = section,
            None => self.session = Some(section),
        }
    }

    fn finish(mut self) -> Result<Description, ParseErrorKind> {
        self.end_section();
        match (self.origin, self.session) {
            (Some(origin), Some(session)) => Ok(Description { origin, session, media: self.media }),
            (None, Some(session)) if session.lines.lines.is_empty() => Err(ParseErrorKind::Version),
            _ => Err(ParseErrorKind::MissingOrigin),
        }
    }
}

impl Media {
    /// Reads the value of an `m=` line. Lenient: several spaces count as one, and spaces at the end as none.
    pub(crate) fn parse_line(value: &str, max_formats: usize) -> Result<Self, ParseErrorKind> {
        if value.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(ParseErrorKind::Expected("no control characters in an m= line"));
        }
        let mut parts = value.split(' ').filter(|part| !part.is_empty());
        let (Some(kind), Some(port), Some(protocol)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ParseErrorKind::Expected("a kind of media, a port and a protocol"));
        };
        let (port, port_count) = match port.split_once('/') {
            Some((port, count)) => (port, Some(count)),
            None => (port, None),
        };
        let port = number(port).ok_or(ParseErrorKind::Expected("a port below 65536"))?;
        let port_count = match port_count.map(number) {
            Some(Some(count)) if count > 0 => Some(count),
            None => None,
            Some(_) => return Err(ParseErrorKind::Expected("a number of ports from 1 to 65535")),
        };
        let mut media = Self::new(MediaKind::parse(kind), port, Protocol::parse(protocol));
        media.port_count = port_count;
        for format in parts {
            if media.formats.len() >= max_formats {
                return Err(ParseErrorKind::TooManyFormats);
            }
            media.formats.push(format.into());
        }
        Ok(media)
    }
}
