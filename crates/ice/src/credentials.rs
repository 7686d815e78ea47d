//! User fragment and password of a session, RFC 8445 §5.3 and RFC 8839 §5.4.

use std::fmt;

use farspeak_sansio::Rng;

/// What both ends of a session tell each other over signalling, each its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ufrag: String,
    password: String,
}

/// The user fragment or the password is too short, too long or has a character that it must not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadCredentials;

impl fmt::Display for BadCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an ICE user fragment has 4 to 256 visible characters but colons, a password 22 to 256")
    }
}

impl std::error::Error for BadCredentials {}

impl Credentials {
    /// The peer's, as signalling brought them.
    ///
    /// Deviation: RFC 8839 §5.4 has letters, digits, `+` and `/`. Some peers use more, and nothing depends on it but that
    /// the user name can be cut at its colon.
    pub fn new(ufrag: &str, password: &str) -> Result<Self, BadCredentials> {
        let fits = is_ufrag(ufrag)
            && (22..=256).contains(&password.len())
            && password.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self { ufrag: ufrag.into(), password: password.into() }).ok_or(BadCredentials)
    }

    /// Our own: 48 and 144 bits (RFC 8445 §5.3 asks for 24 and 128). `rng` has to be unpredictable in production.
    pub fn random(rng: &mut (impl Rng + ?Sized)) -> Self {
        Self { ufrag: text(rng, 8), password: text(rng, 24) }
    }

    /// `a=ice-ufrag`.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// `a=ice-pwd`.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ..)", self.ufrag)
    }
}

pub(crate) const fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

pub(crate) fn is_ufrag(text: &str) -> bool {
    (4..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn text(rng: &mut (impl Rng + ?Sized), length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use farspeak_sansio::SplitMix64;

    #[test]
    fn own_credentials_are_acceptable_and_never_shown() {
        let own = Credentials::random(&mut SplitMix64::new(1));
        assert_eq!(Credentials::new(own.ufrag(), own.password()), Ok(own.clone()));
        assert!(!format!("{own:?}").contains(own.password()));
    }

    #[test]
    fn refuses_short_and_strange_ones() {
        let long = "a".repeat(257);
        let password = "abcdefghijklmnopqrstuv";
        assert!(Credentials::new("abcd", password).is_ok());
        assert!(Credentials::new("a-b_", "{abcdefgh-ijklm-nopqrs}").is_ok());
        for (ufrag, password) in [
            ("abc", password),
            ("ab:d", password),
            ("ab d", password),
            (&long, password),
            ("abcd", "short"),
            ("abcd", &long),
        ] {
            assert_eq!(Credentials::new(ufrag, password), Err(BadCredentials));
        }
    }
}
