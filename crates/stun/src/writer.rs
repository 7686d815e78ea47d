//! Writing a message into the caller's buffer, RFC 8489 §5, §14.

use std::fmt;

use crate::attribute::{Attribute, Out};
use crate::header::message_type;
use crate::integrity::{self, Key};
use crate::{AttributeType, Class, HEADER, MAGIC_COOKIE, Message, Method, TransactionId};

/// Builds one message. A call that cannot be done is remembered; [`Writer::finish`] tells of it.
///
/// ```
/// use farspeak_stun::{Attribute, Class, Key, Method, TransactionId, Writer};
///
/// let mut buffer = [0; 576];
/// let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([7; 12]));
/// writer.push(Attribute::Username("evtj:h6vY")).integrity(&Key::short_term("a password")?).fingerprint();
/// let bytes = writer.finish()?;
/// assert_eq!(bytes.len(), 20 + 16 + 24 + 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writer<'b> {
    out: Out<'b>,
    id: TransactionId,
    /// The last seal put on, if any.
    seal: Option<AttributeType>,
    misplaced: bool,
}

/// Why a message could not be written. The caller's fault, each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// It does not fit into the buffer, or into 65,535 bytes of attributes.
    Full,
    /// A text of more than 508 bytes (RFC 8489 §14.3).
    TooLong,
    /// An attribute behind a seal, or seals in the wrong order (RFC 8489 §14.5–14.7).
    Misplaced,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the message does not fit into the buffer",
            Self::TooLong => "a text attribute is longer than 508 bytes",
            Self::Misplaced => "an attribute stands behind a message integrity or fingerprint",
        })
    }
}

impl std::error::Error for WriteError {}

impl<'b> Writer<'b> {
    /// Begins a message in `buffer`, which must hold all of it. 548 bytes fit through every IPv4 path (RFC 8489 §6.1).
    pub fn new(buffer: &'b mut [u8], class: Class, method: Method, id: TransactionId) -> Self {
        let mut out = Out { buffer, at: 0, full: false, too_long: false };
        let mut header = [0; HEADER];
        header[..2].copy_from_slice(&message_type(class, method).to_be_bytes());
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&id.0);
        out.put(&header);
        Self { out, id, seal: None, misplaced: false }
    }

    /// Begins the response to a request.
    pub fn respond(buffer: &'b mut [u8], class: Class, request: &Message<'_>) -> Self {
        Self::new(buffer, class, request.method(), request.transaction_id())
    }

    /// Adds an attribute.
    pub fn push(&mut self, attribute: Attribute<'_>) -> &mut Self {
        self.misplaced |= self.seal.is_some();
        let start = self.open(attribute.kind());
        attribute.write(&self.id, &mut self.out);
        self.close(start);
        self
    }

    /// Adds an attribute that this crate has no type for.
    pub fn push_raw(&mut self, kind: AttributeType, value: &[u8]) -> &mut Self {
        self.misplaced |= self.seal.is_some() || kind.is_seal();
        let start = self.open(kind);
        self.out.put(value);
        self.close(start);
        self
    }

    /// Seals what is there with MESSAGE-INTEGRITY (RFC 8489 §14.5). SHA-256 may still follow.
    pub fn integrity(&mut self, key: &Key) -> &mut Self {
        self.misplaced |= self.seal.is_some();
        let end = self.out.at;
        let start = self.open(AttributeType::MESSAGE_INTEGRITY);
        self.out.put(&[0; 20]);
        self.close(start);
        if !self.failed() {
            let tag = integrity::sha1(key, &self.out.buffer[..end], 24);
            self.out.buffer[end + 4..end + 24].copy_from_slice(&tag);
        }
        self.seal = Some(AttributeType::MESSAGE_INTEGRITY);
        self
    }

    /// Seals what is there with MESSAGE-INTEGRITY-SHA256, all 32 bytes (RFC 8489 §14.6).
    pub fn integrity_sha256(&mut self, key: &Key) -> &mut Self {
        self.integrity_sha256_of(key, 32)
    }

    /// Seals with a SHA-256 tag cut to `length` bytes: 16–32, a multiple of four, and only where the usage allows it.
    pub fn integrity_sha256_of(&mut self, key: &Key, length: usize) -> &mut Self {
        self.misplaced |= !matches!(self.seal, None | Some(AttributeType::MESSAGE_INTEGRITY));
        self.misplaced |= !(16..=32).contains(&length) || !length.is_multiple_of(4);
        let length = length.min(32);
        let end = self.out.at;
        let start = self.open(AttributeType::MESSAGE_INTEGRITY_SHA256);
        self.out.put(&[0; 32][..length]);
        self.close(start);
        if !self.failed() {
            let tag = integrity::sha256(key, &self.out.buffer[..end], 4 + length);
            self.out.buffer[end + 4..end + 4 + length].copy_from_slice(&tag[..length]);
        }
        self.seal = Some(AttributeType::MESSAGE_INTEGRITY_SHA256);
        self
    }

    /// Ends the message with FINGERPRINT (RFC 8489 §14.7).
    pub fn fingerprint(&mut self) -> &mut Self {
        self.misplaced |= self.seal == Some(AttributeType::FINGERPRINT);
        let end = self.out.at;
        let start = self.open(AttributeType::FINGERPRINT);
        self.out.put(&[0; 4]);
        self.close(start);
        if !self.failed() {
            let crc = crate::fingerprint::of(&self.out.buffer[..end]);
            self.out.buffer[end + 4..end + 8].copy_from_slice(&crc.to_be_bytes());
        }
        self.seal = Some(AttributeType::FINGERPRINT);
        self
    }

    /// How many bytes there are so far.
    pub const fn len(&self) -> usize {
        self.out.at
    }

    /// Whether not even the header fitted.
    pub const fn is_empty(&self) -> bool {
        self.out.at == 0
    }

    /// The finished message.
    pub fn finish(self) -> Result<&'b [u8], WriteError> {
        match () {
            () if self.out.full => Err(WriteError::Full),
            () if self.out.too_long => Err(WriteError::TooLong),
            () if self.misplaced => Err(WriteError::Misplaced),
            () => Ok(&self.out.buffer[..self.out.at]),
        }
    }

    fn failed(&self) -> bool {
        self.out.full || self.out.too_long || self.misplaced
    }

    fn open(&mut self, kind: AttributeType) -> usize {
        let start = self.out.at;
        let [high, low] = kind.0.to_be_bytes();
        self.out.put(&[high, low, 0, 0]);
        start
    }

    /// Fills in the attribute's length, pads with zeros (RFC 8489 §14) and fills in the message's length.
    fn close(&mut self, start: usize) {
        if self.out.full {
            return;
        }
        let size = self.out.at - start - 4;
        self.out.put(&[0; 3][..size.next_multiple_of(4) - size]);
        if size > usize::from(u16::MAX) || self.out.at > HEADER + usize::from(u16::MAX) {
            self.out.full = true;
        }
        if self.out.full {
            return;
        }
        self.out.buffer[start + 2..start + 4].copy_from_slice(&(size as u16).to_be_bytes());
        self.set_length();
    }

    fn set_length(&mut self) {
        let length = (self.out.at - HEADER) as u16;
        self.out.buffer[2..4].copy_from_slice(&length.to_be_bytes());
    }
}
