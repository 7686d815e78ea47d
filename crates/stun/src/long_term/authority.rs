//! The server's end: the checks of RFC 8489 §9.2.4, in its order, without any memory of clients.

use std::net::SocketAddr;

use farspeak_sansio::Instant;

use super::{Nonces, SecurityFeatures};
use crate::attribute::{Attribute, ErrorCode, PasswordAlgorithms};
use crate::{Class, Integrity, Key, Message, Writer};

/// Checks requests and writes challenges.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Whose passwords count; usually the domain.
    realm: String,
    nonces: Nonces,
    anonymity: bool,
}

/// Longest realm whose whole challenge fits into the answer to the smallest Allocate request over IPv4, which has 28
/// bytes and is answered with 112.
const LONGEST_REALM: usize = 32;

/// Who a request says it is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account<'a> {
    /// By name.
    Username(&'a str),
    /// By [`userhash`](super::userhash).
    Userhash(&'a [u8; 32]),
}

/// A request that is its user's.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Seals the response; see [`Self::seal`].
    pub key: Key,
    /// Which kind the response must carry (RFC 8489 §9.2.4, end).
    pub integrity: Integrity,
}

impl Authenticated {
    /// Adds the message integrity that the response must carry.
    pub fn seal(&self, writer: &mut Writer<'_>) {
        match self.integrity {
            Integrity::Sha1 => writer.integrity(&self.key),
            Integrity::Sha256 => writer.integrity_sha256(&self.key),
        };
    }
}

/// A request that is not granted; [`Authority::refuse`] writes the response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// 401: no credentials, an unknown user, or a wrong password; nobody can tell which.
    Unauthenticated,
    /// 400: attributes are missing or contradict each other.
    BadRequest,
    /// 438: the nonce has expired or was another client's.
    StaleNonce,
}

impl Authority {
    /// A realm and its nonces. Both password algorithms are offered, SHA-256 first.
    pub fn new(realm: &str, nonces: Nonces) -> Self {
        Self { realm: realm.to_owned(), nonces, anonymity: false }
    }

    /// Asks clients to send USERHASH instead of USERNAME. Default off: an RFC 5389 client would not notice, but a
    /// lookup by hash needs an index of hashes.
    #[must_use]
    pub fn with_anonymity(mut self) -> Self {
        self.anonymity = true;
        self
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Checks a request from `client`. `find` gives the user's key for the algorithm number (1: MD5, 2: SHA-256), or
    /// `None` for an unknown user, which takes as long and looks the same as a wrong password.
    pub fn check(
        &self,
        now: Instant,
        client: SocketAddr,
        request: &Message<'_>,
        find: impl FnOnce(Account<'_>, u16) -> Option<Key>,
    ) -> Result<Authenticated, Refused> {
        if !request.has_integrity() {
            return Err(Refused::Unauthenticated);
        }
        let userhash = request.userhash().map_err(|_| Refused::BadRequest)?;
        let account = match (request.username(), &userhash) {
            (Ok(Some(name)), None) => Account::Username(name),
            (Ok(None), Some(hash)) => Account::Userhash(hash),
            _ => return Err(Refused::BadRequest),
        };
        let (Ok(Some(realm)), Ok(Some(nonce))) = (request.realm(), request.nonce()) else {
            return Err(Refused::BadRequest);
        };
        let algorithm = self.algorithm_of(request, nonce)?;
        let key = find(account, algorithm.unwrap_or(1));
        let known = key.is_some() && realm == self.realm;
        let key = key.unwrap_or_else(|| Key::from_bytes(&[0; 32]));
        request.check_integrity(&key).map_err(|_| Refused::Unauthenticated)?;
        if !known {
            return Err(Refused::Unauthenticated);
        }
        self.nonces.check(now, client, nonce).map_err(|_| Refused::StaleNonce)?;
        // SHA-256 unless the client named no algorithm (§9.2.4, end).
        let integrity = if algorithm.is_some() { Integrity::Sha256 } else { Integrity::Sha1 };
        Ok(Authenticated { key, integrity })
    }

    /// The chosen algorithm's number; `None` if the request names none (RFC 8489 §9.2.4, third point).
    fn algorithm_of(&self, request: &Message<'_>, nonce: &str) -> Result<Option<u16>, Refused> {
        let announced = SecurityFeatures::of_nonce(nonce).unwrap_or_default();
        if !announced.contains(SecurityFeatures::PASSWORD_ALGORITHMS) {
            return Ok(None);
        }
        match (request.password_algorithms(), request.password_algorithm()) {
            (Ok(None), Ok(None)) => Ok(None),
            (Ok(Some(list)), Ok(Some(chosen)))
                if list == PasswordAlgorithms::SHA256_MD5 && list.iter().any(|one| one == chosen) =>
            {
                Ok(Some(chosen.number))
            }
            _ => Err(Refused::BadRequest),
        }
    }

    /// Adds REALM, a new NONCE and PASSWORD-ALGORITHMS to a 401 or 438.
    pub fn challenge(&self, now: Instant, client: SocketAddr, writer: &mut Writer<'_>) {
        let mut features = SecurityFeatures::PASSWORD_ALGORITHMS;
        if self.anonymity {
            features = features.and(SecurityFeatures::USERNAME_ANONYMITY);
        }
        self.challenge_with(features, now, client, writer);
    }

    fn challenge_with(&self, features: SecurityFeatures, now: Instant, client: SocketAddr, writer: &mut Writer<'_>) {
        let mut buffer = Nonces::buffer();
        writer.push(Attribute::Realm(&self.realm)).push(Attribute::Nonce(self.nonces.issue(
            now,
            client,
            features,
            &mut buffer,
        )));
        if features.contains(SecurityFeatures::PASSWORD_ALGORITHMS) {
            writer.push(Attribute::PasswordAlgorithms(PasswordAlgorithms::SHA256_MD5));
        }
    }

    /// Writes the whole error response to a request that was refused; `None` if it does not fit.
    ///
    /// With a realm of at most 32 bytes, a challenge is at most 2.5 times the smallest Allocate request, IP and UDP headers
    /// counted. With a longer one that does not fit it is written again as RFC 5389 has it, without PASSWORD-ALGORITHMS,
    /// which suffices up to 44 bytes. A shorter realm's never is: whoever shortens a request on the way could otherwise
    /// have SHA-256 taken out of the answer, and no bit in the nonce would tell (RFC 8489 §9.2.1).
    pub fn refuse<'b>(
        &self,
        now: Instant,
        client: SocketAddr,
        request: &Message<'_>,
        refused: Refused,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let code = match refused {
            Refused::BadRequest => ErrorCode::BAD_REQUEST,
            Refused::Unauthenticated => ErrorCode { reason: "", ..ErrorCode::UNAUTHENTICATED },
            Refused::StaleNonce => ErrorCode { reason: "", ..ErrorCode::STALE_NONCE },
        };
        let mut write = |short: bool| {
            let mut writer = Writer::respond(buffer, Class::Error, request);
            writer.push(Attribute::ErrorCode(code));
            match refused {
                Refused::BadRequest => {}
                _ if short => self.challenge_with(SecurityFeatures::NONE, now, client, &mut writer),
                _ => self.challenge(now, client, &mut writer),
            }
            writer.finish().ok().map(<[u8]>::len)
        };
        let length = match write(false) {
            None if self.realm.len() > LONGEST_REALM => write(true),
            length => length,
        }?;
        Some(&buffer[..length])
    }
}
