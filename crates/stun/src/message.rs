//! Reading a message where it lies, RFC 8489 §5, §14: no allocation, one pass that checks every length.
//!
//! Whoever received the bytes hands them in; typed values come out through the accessors that `attribute.rs` makes.

use std::fmt;

use crate::attribute::Attribute;
use crate::header::class_and_method;
use crate::{AttributeType, Class, HEADER, MAGIC_COOKIE, Malformed, Method, TransactionId};

/// A message whose lengths all fit together.
///
/// At most 65,552 bytes, which is what the header's length field can say; nothing is copied or allocated.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where ordinary attributes end: at the first seal. What follows a seal is ignored (RFC 8489 §9).
    ordinary: usize,
    /// Offsets of the seals; 0 is none.
    pub(crate) integrity: usize,
    pub(crate) integrity_sha256: usize,
    pub(crate) fingerprint: usize,
}

/// Why bytes are no message. Such bytes are dropped without an answer (RFC 8489 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ParseError {
    /// Less than 20 bytes.
    Short,
    /// The first two bits are not zero, or the cookie is another: not STUN. RFC 3489's messages, without a cookie, too.
    NotStun,
    /// The length field is no multiple of four, or is not what there is.
    Length,
    /// An attribute reaches beyond the end.
    Attribute,
    /// Something stands behind FINGERPRINT, or a seal is of the wrong length.
    Seal,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "shorter than a STUN header",
            Self::NotStun => "no STUN message",
            Self::Length => "the length field does not tell the length",
            Self::Attribute => "an attribute reaches beyond the end",
            Self::Seal => "a message integrity or fingerprint has the wrong length or place",
        })
    }
}

impl std::error::Error for ParseError {}

impl<'a> Message<'a> {
    /// Reads exactly one message: a whole datagram, or what the framer of a stream cut out.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let header = bytes.get(..HEADER).ok_or(ParseError::Short)?;
        if header[0] & 0xc0 != 0 || header[4..8] != MAGIC_COOKIE.to_be_bytes() {
            return Err(ParseError::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if !length.is_multiple_of(4) || HEADER + length != bytes.len() {
            return Err(ParseError::Length);
        }
        let mut message = Self { bytes, ordinary: 0, integrity: 0, integrity_sha256: 0, fingerprint: 0 };
        let mut at = HEADER;
        while at < bytes.len() {
            // The total and every step are multiples of four: there are four bytes.
            let kind = AttributeType(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            let size = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            let next = at + 4 + size.next_multiple_of(4);
            if next > bytes.len() {
                return Err(ParseError::Attribute);
            }
            if message.fingerprint != 0 {
                return Err(ParseError::Seal);
            }
            if kind.is_seal() {
                message.note_seal(kind, at, size)?;
            }
            at = next;
        }
        if message.ordinary == 0 {
            message.ordinary = bytes.len();
        }
        Ok(message)
    }

    fn note_seal(&mut self, kind: AttributeType, at: usize, size: usize) -> Result<(), ParseError> {
        let (place, fits) = match kind {
            AttributeType::FINGERPRINT => (&mut self.fingerprint, size == 4),
            // Behind the SHA-256 seal, only FINGERPRINT counts (RFC 8489 §9).
            AttributeType::MESSAGE_INTEGRITY if self.integrity_sha256 != 0 => return Ok(()),
            AttributeType::MESSAGE_INTEGRITY => (&mut self.integrity, size == 20),
            _ => (&mut self.integrity_sha256, (16..=32).contains(&size) && size.is_multiple_of(4)),
        };
        if !fits {
            return Err(ParseError::Seal);
        }
        if *place == 0 {
            *place = at;
        }
        if self.ordinary == 0 {
            self.ordinary = at;
        }
        Ok(())
    }

    /// All of it.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What it is to its transaction.
    pub fn class(&self) -> Class {
        class_and_method(self.message_type()).0
    }

    /// What it is about.
    pub fn method(&self) -> Method {
        class_and_method(self.message_type()).1
    }

    /// Whether it is this, in one comparison.
    pub fn is(&self, class: Class, method: Method) -> bool {
        self.message_type() == crate::header::message_type(class, method)
    }

    fn message_type(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Which transaction it belongs to.
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER]);
        TransactionId(id)
    }

    /// The attributes before the seals, in order.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { bytes: &self.bytes[..self.ordinary], at: HEADER, id: self.transaction_id() }
    }

    /// The value of the first attribute of this type (RFC 8489 §14: duplicates may be ignored), seals excepted.
    pub fn find(&self, kind: AttributeType) -> Option<&'a [u8]> {
        let mut at = HEADER;
        while at < self.ordinary {
            let size = usize::from(u16::from_be_bytes([self.bytes[at + 2], self.bytes[at + 3]]));
            if self.bytes[at..at + 2] == kind.0.to_be_bytes() {
                return Some(&self.bytes[at + 4..at + 4 + size]);
            }
            at += 4 + size.next_multiple_of(4);
        }
        None
    }

    /// Whether an attribute of this type stands before the seals.
    pub fn has(&self, kind: AttributeType) -> bool {
        self.find(kind).is_some()
    }

    /// Whether it carries a message integrity of either kind, right or wrong.
    pub const fn has_integrity(&self) -> bool {
        self.integrity != 0 || self.integrity_sha256 != 0
    }

    /// Whether it carries a FINGERPRINT, right or wrong.
    pub const fn has_fingerprint(&self) -> bool {
        self.fingerprint != 0
    }

    /// Whether it carries a FINGERPRINT that is right (RFC 8489 §14.7).
    pub fn check_fingerprint(&self) -> bool {
        let at = self.fingerprint;
        at != 0 && self.bytes[at + 4..at + 8] == crate::fingerprint::of(&self.bytes[..at]).to_be_bytes()
    }

    /// The comprehension-required attributes that `understands` denies: a request that has any gets a 420 that lists
    /// them (RFC 8489 §6.3.1); an indication is dropped; a response makes its transaction fail.
    ///
    /// Who can do all that this crate can read passes [`AttributeType::is_known`].
    pub fn not_understood(
        &self,
        understands: impl Fn(AttributeType) -> bool + 'a,
    ) -> impl Iterator<Item = AttributeType> + 'a {
        let kinds = self.attributes().map(|attribute| attribute.kind);
        kinds.filter(move |kind| kind.is_comprehension_required() && !understands(*kind))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.method(), self.class(), self.transaction_id())?;
        self.attributes().try_for_each(|attribute| write!(f, " {}", attribute.kind))
    }
}

/// See [`Message::attributes`].
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
    id: TransactionId,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = RawAttribute<'a>;

    fn next(&mut self) -> Option<RawAttribute<'a>> {
        let (head, rest) = self.bytes.get(self.at..)?.split_at_checked(4)?;
        let size = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..size)?;
        self.at += 4 + size.next_multiple_of(4);
        Some(RawAttribute { kind: AttributeType(u16::from_be_bytes([head[0], head[1]])), value, id: self.id })
    }
}

/// An attribute as it stands in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawAttribute<'a> {
    /// Its type.
    pub kind: AttributeType,
    /// Its value, without padding.
    pub value: &'a [u8],
    id: TransactionId,
}

impl<'a> RawAttribute<'a> {
    /// Its value, typed; `None` if the type is unknown.
    pub fn typed(&self) -> Option<Result<Attribute<'a>, Malformed>> {
        Attribute::read(self.kind, self.value, &self.id)
    }
}
