//! Nonces that the server need not remember: when they end and for whom they are stands in them, under a MAC.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::Instant;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{BASE64, SecurityFeatures};

/// Characters of a nonce: the cookie, and 19 that hold 48 bits of time and 64 of MAC. Every four more would take as many
/// from the longest realm ([`Authority::refuse`](super::Authority::refuse)). To guess a tag is no use to anybody but who
/// has the password: the nonce is part of what is sealed.
const LENGTH: usize = COOKIE + DIGITS;
const COOKIE: usize = 13;
const DIGITS: usize = 19;
/// What the last digit has room for beyond the 112 bits.
const SPARE: usize = DIGITS * 6 - 112;

/// Makes and checks nonces without remembering them.
///
/// A nonce is good for the source address and port it was made for alone (RFC 8489 §9.2.4: never the same one for two
/// of them), and for a time. All shards of a node share the key and the clock's origin; a restart makes all nonces
/// stale.
#[derive(Clone)]
pub struct Nonces {
    mac: Hmac<Sha256>,
    lifetime: Duration,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// A nonce that has expired, was another client's, or is none of ours: 438, and the client asks again with a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotValid;

impl Nonces {
    /// `key` is random and secret; `lifetime` is usually an hour (RFC 8656 §5 recommends that at most).
    pub fn new(key: &[u8; 32], lifetime: Duration) -> Self {
        Self { mac: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"), lifetime }
    }

    /// Writes a nonce for this client into `buffer`.
    pub fn issue<'b>(
        &self,
        now: Instant,
        client: SocketAddr,
        features: SecurityFeatures,
        buffer: &'b mut [u8; LENGTH],
    ) -> &'b str {
        let end = (now + self.lifetime).as_nanos() / 1_000_000;
        buffer[..COOKIE].copy_from_slice(&features.cookie());
        let bits = (u128::from(end) << 64 | u128::from(self.tag(end, client, features))) << SPARE;
        for (at, out) in buffer[COOKIE..].iter_mut().rev().enumerate() {
            *out = BASE64[(bits >> (6 * at) & 63) as usize];
        }
        std::str::from_utf8(buffer).expect("base64 is ASCII")
    }

    /// Whether the nonce is one that this client got and that has not expired; the features that it announced.
    pub fn check(&self, now: Instant, client: SocketAddr, nonce: &str) -> Result<SecurityFeatures, NotValid> {
        let features = SecurityFeatures::of_nonce(nonce).ok_or(NotValid)?;
        let text = nonce.as_bytes().get(COOKIE..).filter(|text| text.len() == DIGITS).ok_or(NotValid)?;
        let mut bits = 0_u128;
        for byte in text {
            let digit = BASE64.iter().position(|known| known == byte).ok_or(NotValid)?;
            bits = bits << 6 | digit as u128;
        }
        if bits & ((1 << SPARE) - 1) != 0 {
            return Err(NotValid);
        }
        let (end, tag) = ((bits >> SPARE >> 64) as u64, (bits >> SPARE) as u64);
        let mac = self.mac_of(end, client, features);
        mac.verify_truncated_left(&tag.to_be_bytes()).map_err(|_| NotValid)?;
        if now.as_nanos() / 1_000_000 >= end { Err(NotValid) } else { Ok(features) }
    }

    fn tag(&self, end: u64, client: SocketAddr, features: SecurityFeatures) -> u64 {
        let mac = self.mac_of(end, client, features).finalize().into_bytes();
        u64::from_be_bytes(*mac.first_chunk().expect("SHA-256 has 32 bytes"))
    }

    fn mac_of(&self, end: u64, client: SocketAddr, features: SecurityFeatures) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&end.to_be_bytes());
        match client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.to_ipv6_mapped().octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.port().to_be_bytes());
        mac.update(&features.0.to_be_bytes());
        mac
    }
}

impl Nonces {
    /// The buffer that [`Self::issue`] wants.
    pub const fn buffer() -> [u8; LENGTH] {
        [0; LENGTH]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_nonces_that_are_old_foreign_or_changed() {
        let nonces = Nonces::new(&[7; 32], Duration::from_secs(60));
        let (client, other) = ("192.0.2.1:4000".parse().unwrap(), "192.0.2.1:4001".parse().unwrap());
        let mut buffer = Nonces::buffer();
        let features = SecurityFeatures::PASSWORD_ALGORITHMS;
        let nonce = nonces.issue(Instant::ZERO, client, features, &mut buffer).to_owned();
        let late = Instant::ZERO + Duration::from_secs(60);
        assert_eq!(nonces.check(Instant::ZERO, client, &nonce), Ok(features));
        assert_eq!(nonces.check(late, client, &nonce), Err(NotValid));
        assert_eq!(nonces.check(Instant::ZERO, other, &nonce), Err(NotValid));
        assert_eq!(Nonces::new(&[8; 32], Duration::from_secs(60)).check(Instant::ZERO, client, &nonce), Err(NotValid));
        for at in 0..nonce.len() {
            for digit in *BASE64 {
                let mut changed = nonce.clone().into_bytes();
                changed[at] = digit;
                let changed = String::from_utf8(changed).unwrap();
                let valid = changed == nonce;
                assert_eq!(nonces.check(Instant::ZERO, client, &changed).is_ok(), valid, "{changed}");
            }
            assert_eq!(nonces.check(Instant::ZERO, client, &nonce[..at]), Err(NotValid));
        }
        assert_eq!(nonces.check(Instant::ZERO, client, &format!("{nonce}A")), Err(NotValid));
    }

    #[test]
    fn no_moment_and_no_lifetime_is_too_far() {
        let (client, features) = ("[2001:db8::1]:4000".parse().unwrap(), SecurityFeatures::NONE);
        for (now, lifetime) in [
            (Instant::FAR_FUTURE, Duration::from_secs(60)),
            (Instant::ZERO, Duration::MAX),
            (Instant::FAR_FUTURE, Duration::MAX),
        ] {
            let nonces = Nonces::new(&[7; 32], lifetime);
            let mut buffer = Nonces::buffer();
            let nonce = nonces.issue(now, client, features, &mut buffer).to_owned();
            // At the end of time nothing lives any longer.
            let expected = if now == Instant::FAR_FUTURE { Err(NotValid) } else { Ok(features) };
            assert_eq!(nonces.check(now, client, &nonce), expected);
        }
    }
}
