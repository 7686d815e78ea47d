//! The long-term credential mechanism, RFC 8489 §9.2: both ends of challenge and answer, and the nonce between them.
//!
//! [`Credentials`] is the client's memory of a server; [`Authority`] the server's checks, without memory.
//!
//! ```
//! use farspeak_sansio::Instant;
//! use farspeak_stun::long_term::{Account, Authority, Credentials, Nonces, Verdict};
//! use farspeak_stun::{Class, Key, Message, Method, TransactionId, Writer};
//!
//! let authority = Authority::new("example.org", Nonces::new(&[7; 32], std::time::Duration::from_secs(3600)));
//! let find = |account: Account<'_>, algorithm| match (account, algorithm) {
//!     (Account::Username("alice"), 2) => Key::long_term_sha256("alice", "example.org", "wonderland").ok(),
//!     _ => None,
//! };
//! let (now, client) = (Instant::ZERO, "192.0.2.7:4000".parse()?);
//! let mut credentials = Credentials::new("alice", "wonderland");
//!
//! // A first request carries nothing; the server challenges.
//! let (mut bytes, mut answer) = ([0; 548], [0; 548]);
//! let open = Writer::new(&mut bytes, Class::Request, Method::ALLOCATE, TransactionId([1; 12])).finish()?;
//! let open = Message::parse(open)?;
//! let refused = authority.check(now, client, &open, find).unwrap_err();
//! let challenge = authority.refuse(now, client, &open, refused, &mut answer).expect("there is room");
//! assert_eq!(credentials.judge(&open, &Message::parse(challenge)?), Verdict::Retry);
//!
//! // The next one is sealed, and so will be the answer.
//! let mut bytes = [0; 548];
//! let mut writer = Writer::new(&mut bytes, Class::Request, Method::ALLOCATE, TransactionId([2; 12]));
//! credentials.seal(&mut writer);
//! let sealed = Message::parse(writer.finish()?)?;
//! let authenticated = authority.check(now, client, &sealed, find).expect("she is alice");
//! let mut writer = Writer::respond(&mut answer, Class::Success, &sealed);
//! authenticated.seal(&mut writer);
//! assert_eq!(credentials.judge(&sealed, &Message::parse(writer.finish()?)?), Verdict::Accept);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authority;
mod credentials;
mod nonce;

use std::fmt;

pub use crate::integrity::{NotOpaque, opaque_string, userhash};
pub use authority::{Account, Authenticated, Authority, Refused};
pub use credentials::{Credentials, Hopeless, Verdict};
pub use nonce::{Nonces, NotValid};

/// What stands before the security features at the beginning of a nonce (RFC 8489 §9.2).
const COOKIE: &str = "obMatJos2";

/// The security features that a server's nonce announces, so that nobody on the way can take them out (RFC 8489 §9.2.1,
/// §18.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SecurityFeatures(u32);

impl SecurityFeatures {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Bit 0, the leftmost: the challenge lists PASSWORD-ALGORITHMS.
    pub const PASSWORD_ALGORITHMS: Self = Self(1 << 23);
    /// Bit 1: the client shall send USERHASH, not USERNAME.
    pub const USERNAME_ANONYMITY: Self = Self(1 << 22);

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The features that a nonce announces; `None` if it does not begin with the nonce cookie: a server before RFC
    /// 8489.
    pub fn of_nonce(nonce: &str) -> Option<Self> {
        let text = nonce.strip_prefix(COOKIE)?.as_bytes().first_chunk::<4>()?;
        let mut bits = 0;
        for byte in text {
            let digit = BASE64.iter().position(|known| known == byte)?;
            bits = bits << 6 | digit as u32;
        }
        Some(Self(bits))
    }

    /// The nonce cookie: the first 13 characters of every nonce.
    pub fn cookie(self) -> [u8; 13] {
        let mut cookie = [0; 13];
        cookie[..9].copy_from_slice(COOKIE.as_bytes());
        for (at, out) in cookie[9..].iter_mut().enumerate() {
            *out = BASE64[(self.0 >> (18 - 6 * at) & 63) as usize];
        }
        cookie
    }
}

impl fmt::Debug for SecurityFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#08x}", self.0)
    }
}

/// RFC 4648 §4.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nonce_cookie_holds_the_bits_of_18_1_from_the_left() {
        let features = SecurityFeatures::PASSWORD_ALGORITHMS;
        assert_eq!(&features.cookie(), b"obMatJos2gAAA");
        assert_eq!(&features.and(SecurityFeatures::USERNAME_ANONYMITY).cookie(), b"obMatJos2wAAA");
        assert_eq!(&SecurityFeatures::NONE.cookie(), b"obMatJos2AAAA");
        assert_eq!(SecurityFeatures::of_nonce("obMatJos2gAAAxyz"), Some(features));
        for other in ["", "obMatJos2", "obMatJos2gAA", "obMatJos2gAA-", "obMatJos1gAAA", "f//499k954d6OL34oL9FSTvy64sA"]
        {
            assert_eq!(SecurityFeatures::of_nonce(other), None, "{other}");
        }
    }
}
