//! `a=fingerprint`: the hash of a certificate. RFC 8122 §5.

use std::fmt;

use super::{Attribute, first_word};
use crate::error::AttributeError;
use crate::section::Section;

/// The hash of the certificate that the writer will show in its TLS or DTLS handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// Which hash function.
    pub hash: HashFunction,
    /// The hash, as long as the function makes it (64 bytes at most for an unknown one).
    pub bytes: Vec<u8>,
}

/// A hash function. RFC 8122 §5, RFC 4572 §5.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashFunction {
    /// `sha-256`, 32 bytes.
    Sha256,
    /// `sha-384`, 48 bytes.
    Sha384,
    /// `sha-512`, 64 bytes.
    Sha512,
    /// `sha-224`, 28 bytes.
    Sha224,
    /// `sha-1`, 20 bytes; too weak to accept (RFC 8122 §5.1), but some send it beside a better one.
    Sha1,
    /// Any other, in small letters; `md5` and `md2` must not be used.
    Other(Box<str>),
}

impl HashFunction {
    /// Reads a name, in any case of letters.
    pub fn parse(name: &str) -> Self {
        let known = KNOWN.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        known.map_or_else(|| Self::Other(name.to_ascii_lowercase().into()), |(_, hash, _)| hash.clone())
    }

    /// The name, in small letters.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => KNOWN.iter().find(|(_, hash, _)| hash == known).map_or("", |(name, ..)| name),
        }
    }

    /// How many bytes a hash has, if the function is known.
    pub fn length(&self) -> Option<usize> {
        KNOWN.iter().find(|(_, hash, _)| hash == self).map(|(.., length)| *length)
    }
}

const KNOWN: [(&str, HashFunction, usize); 5] = [
    ("sha-256", HashFunction::Sha256, 32),
    ("sha-384", HashFunction::Sha384, 48),
    ("sha-512", HashFunction::Sha512, 64),
    ("sha-224", HashFunction::Sha224, 28),
    ("sha-1", HashFunction::Sha1, 20),
];

impl<'a> Attribute<'a> for Fingerprint {
    const NAME: &'static str = "fingerprint";

    /// Lenient: small letters where RFC 8122 wants capitals.
    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let (hash, text) = first_word(value);
        let pairs = error("a hash function and pairs of hexadecimal digits with colons between them");
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let pair = |pair: &str| match *pair.as_bytes() {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        // Longer than any hash: not read further.
        let bytes: Option<Vec<u8>> = text.split(':').take(65).map(pair).collect();
        let (hash, bytes) = (HashFunction::parse(hash), bytes.ok_or(pairs)?);
        if bytes.len() > 64 || hash.length().is_some_and(|length| length != bytes.len()) {
            return Err(error("as many bytes as the hash function makes"));
        }
        Ok(Self { hash, bytes })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.as_str())?;
        let mut separator = ' ';
        for byte in &self.bytes {
            write!(f, "{separator}{byte:02X}")?;
            separator = ':';
        }
        Ok(())
    }
}

impl fmt::Display for HashFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Section {
    /// Every fingerprint that this level states and that can be read, in order.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.typed().filter_map(Result::ok)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_the_example_of_rfc_8122() {
        let sha1: Fingerprint = round_trips("sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB");
        assert_eq!((sha1.hash, sha1.bytes.len(), sha1.bytes[1]), (HashFunction::Sha1, 20, 0xAD));
        assert_eq!(round_trips::<Fingerprint>("md2 00:FF").hash, HashFunction::Other("md2".into()));
        let small = format!("SHA-256 {}", vec!["0a"; 32].join(":"));
        assert_eq!(Fingerprint::parse(&small).unwrap().to_string(), format!("sha-256 {}", vec!["0A"; 32].join(":")));
    }

    #[test]
    fn refuses_hashes_of_the_wrong_length() {
        refuses::<Fingerprint>(&[
            "",
            "sha-256",
            "sha-256 ",
            "sha-256 4A:AD",
            "md2 0",
            "md2 000",
            "md2 0:00",
            "md2 +1",
            "md2 éa",
        ]);
        let long = format!("other {}", vec!["00"; 65].join(":"));
        refuses::<Fingerprint>(&[&long]);
    }
}
