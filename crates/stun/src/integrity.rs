//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256, RFC 8489 §14.5, §14.6, and the keys of §9.1.1, §9.2.2, §18.5.1.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::Message;

/// What the HMAC is keyed with. `Debug` does not show it.
#[derive(Clone)]
pub struct Key(Box<[u8]>);

impl Key {
    /// The short-term credential's: the password itself (RFC 8489 §9.1.1).
    pub fn short_term(password: &str) -> Result<Self, NotOpaque> {
        Ok(Self(opaque_string(password)?.as_bytes().into()))
    }

    /// The long-term credential's by MD5: 16 bytes (RFC 8489 §9.2.2).
    pub fn long_term_md5(username: &str, realm: &str, password: &str) -> Result<Self, NotOpaque> {
        Ok(Self(joined::<Md5>(username, realm, password)?.as_slice().into()))
    }

    /// The long-term credential's by SHA-256: 32 bytes (RFC 8489 §18.5.1.2).
    pub fn long_term_sha256(username: &str, realm: &str, password: &str) -> Result<Self, NotOpaque> {
        Ok(Self(joined::<Sha256>(username, realm, password)?.as_slice().into()))
    }

    /// A key that was made elsewhere: SIP's `H(A1)` by MD5 (16 bytes) or SHA-256 (32 bytes) is the same thing.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

fn joined<D: Digest>(username: &str, realm: &str, password: &str) -> Result<md5::digest::Output<D>, NotOpaque> {
    let mut digest = D::new();
    digest.update(opaque_string(username)?.as_bytes());
    digest.update(b":");
    digest.update(opaque_string(realm)?.as_bytes());
    digest.update(b":");
    digest.update(opaque_string(password)?.as_bytes());
    Ok(digest.finalize())
}

/// The value of USERHASH (RFC 8489 §14.4).
pub fn userhash(username: &str, realm: &str) -> Result<[u8; 32], NotOpaque> {
    let mut digest = Sha256::new();
    digest.update(opaque_string(username)?.as_bytes());
    digest.update(b":");
    digest.update(opaque_string(realm)?.as_bytes());
    Ok(digest.finalize().into())
}

/// A name, realm or password that the OpaqueString profile refuses: empty, or with a control character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOpaque;

impl fmt::Display for NotOpaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user name, realm or password is empty or contains control characters")
    }
}

impl std::error::Error for NotOpaque {}

/// Prepares a name, realm or password by the OpaqueString profile (RFC 8265 §4.2).
///
/// Spaces of other scripts become U+0020; control characters and the empty string are refused. Deviation: the text is
/// taken to be in Unicode normalisation form C already, and unassigned and ignorable code points pass, because the
/// tables for it weigh more than the rest of this crate; what keyboards and generators of passwords make is in that form.
pub fn opaque_string(text: &str) -> Result<Cow<'_, str>, NotOpaque> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(NotOpaque);
    }
    let space =
        |c: char| matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}');
    if text.is_ascii() || !text.contains(space) {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(text.replace(space, " ")))
}

/// Which of the two seals was checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256.
    Sha256,
}

/// Why a message is not to be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IntegrityError {
    /// It carries no message integrity (of the wanted kind).
    Missing,
    /// Another key, or changed on the way.
    Wrong,
    /// A SHA-256 tag shorter than this usage allows.
    Truncated,
}

impl fmt::Display for IntegrityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no message integrity",
            Self::Wrong => "the message integrity is wrong",
            Self::Truncated => "the message integrity is cut short",
        })
    }
}

impl std::error::Error for IntegrityError {}

impl Message<'_> {
    /// Checks MESSAGE-INTEGRITY-SHA256 if it is there, else MESSAGE-INTEGRITY (RFC 8489 §9.1.3, §9.2.4), in constant
    /// time.
    pub fn check_integrity(&self, key: &Key) -> Result<Integrity, IntegrityError> {
        if self.integrity_sha256 != 0 {
            self.check_integrity_sha256(key, 32).map(|()| Integrity::Sha256)
        } else {
            self.check_integrity_sha1(key).map(|()| Integrity::Sha1)
        }
    }

    /// Whether it carries this seal, right or wrong.
    pub(crate) const fn is_sealed_by(&self, integrity: Integrity) -> bool {
        match integrity {
            Integrity::Sha1 => self.integrity != 0,
            Integrity::Sha256 => self.integrity_sha256 != 0,
        }
    }

    /// Checks MESSAGE-INTEGRITY alone, in constant time.
    pub fn check_integrity_sha1(&self, key: &Key) -> Result<(), IntegrityError> {
        let Some(at) = Some(self.integrity).filter(|at| *at != 0) else { return Err(IntegrityError::Missing) };
        let mac: Hmac<Sha1> = begin(key, &self.bytes()[..at], 24);
        mac.verify_slice(&self.bytes()[at + 4..at + 24]).map_err(|_| IntegrityError::Wrong)
    }

    /// Checks MESSAGE-INTEGRITY-SHA256 alone, in constant time. `least` is how many bytes of the tag this usage wants:
    /// 32 unless its RFC allows truncation, and never below 16 (RFC 8489 §14.6).
    pub fn check_integrity_sha256(&self, key: &Key, least: usize) -> Result<(), IntegrityError> {
        let Some(at) = Some(self.integrity_sha256).filter(|at| *at != 0) else { return Err(IntegrityError::Missing) };
        let size = usize::from(u16::from_be_bytes([self.bytes()[at + 2], self.bytes()[at + 3]]));
        if size < least.max(16) {
            return Err(IntegrityError::Truncated);
        }
        let mac: Hmac<Sha256> = begin(key, &self.bytes()[..at], 4 + size);
        mac.verify_truncated_left(&self.bytes()[at + 4..at + 4 + size]).map_err(|_| IntegrityError::Wrong)
    }
}

pub(crate) fn sha1(key: &Key, before: &[u8], attribute: usize) -> [u8; 20] {
    begin::<Hmac<Sha1>>(key, before, attribute).finalize().into_bytes().into()
}

pub(crate) fn sha256(key: &Key, before: &[u8], attribute: usize) -> [u8; 32] {
    begin::<Hmac<Sha256>>(key, before, attribute).finalize().into_bytes().into()
}

/// HMAC-SHA1 of parts that are taken as one text, for who makes or checks a MESSAGE-INTEGRITY with a codec of its own.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The HMAC over what stands before the attribute, with the length field saying that the message ends behind the
/// attribute, which takes `attribute` bytes (RFC 8489 §14.5).
fn begin<M: Mac + hmac::digest::KeyInit>(key: &Key, before: &[u8], attribute: usize) -> M {
    let mut mac = <M as Mac>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    let length = (before.len() + attribute - crate::HEADER) as u16;
    mac.update(&before[..2]);
    mac.update(&length.to_be_bytes());
    mac.update(&before[4..]);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_rfc8489_9_2_2_is_right() {
        let key = Key::long_term_md5("user", "realm", "pass").unwrap();
        assert_eq!(key.0[..], 0x8493_fbc5_3ba5_82fb_4c04_4c45_6bdc_40eb_u128.to_be_bytes());
    }

    #[test]
    fn never_shows_a_key() {
        assert_eq!(format!("{:?}", Key::short_term("secret").unwrap()), "Key(..)");
    }

    #[test]
    fn prepares_what_people_type() {
        assert_eq!(opaque_string("a b\u{3000}c\u{a0}d").unwrap(), "a b c d");
        assert_eq!(opaque_string("マトリックス").unwrap(), "マトリックス");
        assert_eq!(opaque_string(""), Err(NotOpaque));
        assert_eq!(opaque_string("a\0"), Err(NotOpaque));
    }
}
