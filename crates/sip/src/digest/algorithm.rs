//! The computation: H(A1), H(A2) and the response (RFC 7616 §3.4, RFC 8760 §2).

use std::fmt;

use super::{DigestError, Qop};

/// A hash algorithm of Digest (RFC 8760 §2.1).
///
/// Ordered by strength: challenges offer the strongest first (RFC 8760 §2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// MD5, which every phone knows. Our secrets are generated with 128 bits, so it gives nothing away over TLS.
    Md5,
    /// SHA-256.
    Sha256,
}

/// Whether H(A1) covers nonce and cnonce as well (`-sess`, RFC 7616 §3.4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Session {
    /// No suffix.
    #[default]
    No,
    /// The suffix `-sess`.
    Yes,
}

impl Algorithm {
    /// The name as it stands in the `algorithm` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Bytes of the hash: 16 or 32.
    pub const fn hash_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 => 32,
        }
    }

    /// Reads the `algorithm` parameter, in any case, with or without `-sess`.
    pub fn parse(text: &str) -> Result<(Self, Session), DigestError> {
        const NAMES: [(&str, Algorithm, Session); 4] = [
            ("MD5", Algorithm::Md5, Session::No),
            ("SHA-256", Algorithm::Sha256, Session::No),
            ("MD5-sess", Algorithm::Md5, Session::Yes),
            ("SHA-256-sess", Algorithm::Sha256, Session::Yes),
        ];
        let found = NAMES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text));
        found.map(|(_, algorithm, session)| (*algorithm, *session)).ok_or(DigestError::Algorithm)
    }

    /// The hash of the parts with a colon between each two of them.
    fn hash(self, parts: &[&[u8]]) -> Hash {
        match self {
            Self::Md5 => hash_joined::<md5::Md5>(parts),
            Self::Sha256 => hash_joined::<sha2::Sha256>(parts),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// H(username ":" realm ":" password): what a server stores instead of the password (RFC 7616 §3.4.2).
///
/// As good as the password within its realm. Compares in constant time and never shows itself in `Debug`.
#[derive(Clone, Copy)]
pub struct Ha1 {
    algorithm: Algorithm,
    hash: Hash,
}

impl Ha1 {
    /// Computes it from the password.
    pub fn new(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> Self {
        let hash = algorithm.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()]);
        Self { algorithm, hash }
    }

    /// Reads what [`Ha1::to_hex`] wrote; `None` if length or digits are wrong.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 2 * algorithm.hash_len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut hash = Hash { hex: [0; 64], len: digits.len() };
        hash.hex[..digits.len()].copy_from_slice(digits);
        hash.hex.make_ascii_lowercase();
        Some(Self { algorithm, hash })
    }

    /// The hash in lower-case hexadecimal digits, for the store.
    pub fn to_hex(&self) -> String {
        self.hash.as_str().to_owned()
    }

    /// The hash itself: 16 or 32 bytes. In its realm it is as good as the password, and STUN's long-term key (RFC 8489
    /// §18.5.1).
    pub fn to_bytes(&self) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8; // always a digit
        self.hash.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    /// Which algorithm made it.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl PartialEq for Ha1 {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && constant_time_eq(self.hash.as_bytes(), other.hash.as_bytes())
    }
}

impl Eq for Ha1 {}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1({}, hidden)", self.algorithm)
    }
}

/// The same as [`Ha1::new`].
pub fn ha1(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> Ha1 {
    Ha1::new(algorithm, username, realm, password)
}

/// What the response covers besides the secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseInput<'a> {
    /// Whether the algorithm is the `-sess` variant.
    pub session: Session,
    /// The nonce, unquoted.
    pub nonce: &'a str,
    /// The count as written (eight hexadecimal digits); empty without `qop`.
    pub nc: &'a str,
    /// The client's nonce; empty without `qop`.
    pub cnonce: &'a str,
    /// The quality of protection; `None` is the form of RFC 2069.
    pub qop: Option<Qop>,
    /// The request's method.
    pub method: &'a str,
    /// The `uri` parameter, unquoted.
    pub uri: &'a str,
    /// The body; counts with `auth-int` alone.
    pub body: &'a [u8],
}

/// The `response` parameter: 32 or 64 lower-case hexadecimal digits (RFC 7616 §3.4.1).
pub fn response(ha1: &Ha1, input: &ResponseInput<'_>) -> String {
    response_hash(ha1, input).as_str().to_owned()
}

pub(super) fn response_hash(ha1: &Ha1, input: &ResponseInput<'_>) -> Hash {
    let algorithm = ha1.algorithm;
    let (nonce, cnonce) = (input.nonce.as_bytes(), input.cnonce.as_bytes());
    let a1 = match input.session {
        Session::No => ha1.hash,
        Session::Yes => algorithm.hash(&[ha1.hash.as_bytes(), nonce, cnonce]),
    };
    let (method, uri) = (input.method.as_bytes(), input.uri.as_bytes());
    let a2 = match input.qop {
        // RFC 7616 §3.4.3: the empty body is hashed as well.
        Some(Qop::AuthInt) => algorithm.hash(&[method, uri, algorithm.hash(&[input.body]).as_bytes()]),
        Some(Qop::Auth) | None => algorithm.hash(&[method, uri]),
    };
    match input.qop {
        Some(qop) => {
            let parts = [a1.as_bytes(), nonce, input.nc.as_bytes(), cnonce, qop.as_str().as_bytes(), a2.as_bytes()];
            algorithm.hash(&parts)
        }
        // RFC 2617 §3.2.2.1: compatibility with RFC 2069.
        None => algorithm.hash(&[a1.as_bytes(), nonce, a2.as_bytes()]),
    }
}

/// Whether both are equal, in a time that depends on the lengths alone.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    std::hint::black_box(difference) == 0
}

/// A hash in hexadecimal digits, on the stack.
#[derive(Clone, Copy)]
pub(super) struct Hash {
    hex: [u8; 64],
    len: usize,
}

impl Hash {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.hex[..self.len]
    }

    pub(super) fn as_str(&self) -> &str {
        // Only hexadecimal digits are ever written into it.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

fn hash_joined<D: sha2::Digest>(parts: &[&[u8]]) -> Hash {
    let mut hasher = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    let output = hasher.finalize();
    let mut hash = Hash { hex: [0; 64], len: 2 * output.len() };
    for (digits, byte) in hash.hex.chunks_exact_mut(2).zip(output) {
        digits.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    hash
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_does_not_show_itself() {
        let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(format!("{ha1:?}"), "Ha1(MD5, hidden)");
        assert_eq!(ha1.to_hex(), "939e7578ed9e3c518a452acee763bce9"); // known from RFC 2617 §3.5's values
        assert_eq!(Ha1::from_hex(Algorithm::Md5, &ha1.to_hex().to_uppercase()), Some(ha1));
    }

    #[test]
    fn ha1_of_the_wrong_length_is_refused() {
        assert!(Ha1::from_hex(Algorithm::Sha256, "939e7578ed9e3c518a452acee763bce9").is_none());
        assert!(Ha1::from_hex(Algorithm::Md5, "939e7578ed9e3c518a452acee763bcgg").is_none());
    }

    #[test]
    fn comparison_tells_every_byte() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(
            !constant_time_eq(b"abc", b"abd") && !constant_time_eq(b"abc", b"ab") && !constant_time_eq(b"xbc", b"abc")
        );
    }
}
