//! Nonces that the server need not remember: when they end and for whom they are stands in them, under a MAC.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::Instant;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{BASE64, SecurityFeatures};

/// Characters of a nonce: the cookie, and 24 that hold 6 bytes of time and 12 of MAC.
const LENGTH: usize = 13 + 24;

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
        buffer[..13].copy_from_slice(&features.cookie());
        let mut body = [0; 18];
        body[..6].copy_from_slice(&end.to_be_bytes()[2..]);
        body[6..].copy_from_slice(&self.tag(end, client, features));
        for (three, four) in body.chunks_exact(3).zip(buffer[13..].chunks_exact_mut(4)) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            for (at, out) in four.iter_mut().enumerate() {
                *out = BASE64[(bits >> (18 - 6 * at) & 63) as usize];
            }
        }
        std::str::from_utf8(buffer).expect("base64 is ASCII")
    }

    /// Whether the nonce is one that this client got and that has not expired; the features that it announced.
    pub fn check(&self, now: Instant, client: SocketAddr, nonce: &str) -> Result<SecurityFeatures, NotValid> {
        let features = SecurityFeatures::of_nonce(nonce).ok_or(NotValid)?;
        let text = nonce.as_bytes().get(13..).filter(|text| text.len() == LENGTH - 13).ok_or(NotValid)?;
        let mut body = [0; 18];
        for (four, three) in text.chunks_exact(4).zip(body.chunks_exact_mut(3)) {
            let mut bits = 0_u32;
            for byte in four {
                let digit = BASE64.iter().position(|known| known == byte).ok_or(NotValid)?;
                bits = bits << 6 | digit as u32;
            }
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        let mut end = [0; 8];
        end[2..].copy_from_slice(&body[..6]);
        let end = u64::from_be_bytes(end);
        let mac = self.mac_of(end, client, features);
        mac.verify_truncated_left(&body[6..]).map_err(|_| NotValid)?;
        if now.as_nanos() / 1_000_000 >= end { Err(NotValid) } else { Ok(features) }
    }

    fn tag(&self, end: u64, client: SocketAddr, features: SecurityFeatures) -> [u8; 12] {
        let mut tag = [0; 12];
        tag.copy_from_slice(&self.mac_of(end, client, features).finalize().into_bytes()[..12]);
        tag
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
            let mut changed = nonce.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(nonces.check(Instant::ZERO, client, &changed), Err(NotValid), "{changed}");
            assert_eq!(nonces.check(Instant::ZERO, client, &nonce[..at]), Err(NotValid));
        }
    }
}
