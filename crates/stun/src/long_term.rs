//! The long-term credential mechanism, RFC 8489 §9.2: both ends of challenge and answer, and the nonce between them.
//!
//! [`Credentials`] is the client's memory of a server; [`Authority`] the server's checks, without memory.

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
