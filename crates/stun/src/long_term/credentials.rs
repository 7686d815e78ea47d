//! The client's end: what it learnt from a server's challenges, RFC 8489 §9.2.3 and §9.2.5.

use std::borrow::Cow;
use std::fmt;

use super::{NotOpaque, SecurityFeatures, opaque_string, userhash};
use crate::attribute::{Attribute, AttributeType, PasswordAlgorithm, PasswordAlgorithms};
use crate::{Class, Integrity, Key, Message, Writer};

/// A user name and password for one server, and the server's latest challenge.
///
/// Seal each request with [`Self::seal`], show each response to [`Self::judge`].
#[derive(Clone)]
pub struct Credentials {
    username: String,
    password: String,
    challenge: Option<Challenge>,
}

#[derive(Clone)]
struct Challenge {
    realm: String,
    nonce: String,
    /// The server's list, which the request echoes, and the number chosen from it.
    algorithms: Option<(Vec<u8>, u16)>,
    userhash: Option<[u8; 32]>,
    key: Key,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("challenged", &self.challenge.is_some()).finish_non_exhaustive()
    }
}

/// What to do with a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the server's: use it.
    Accept,
    /// It was a challenge that can be answered: send the request again, as a new transaction.
    Retry,
    /// It was a challenge that cannot be answered: the request has failed.
    GiveUp(Hopeless),
    /// Not to be believed, whoever sent it. Over datagrams the request goes on waiting; over a stream it has failed
    /// (RFC 8489 §9.2.5).
    Distrust,
    /// As if it had never come.
    Ignore,
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Hopeless {
    /// The server does not know user name and password.
    WrongCredentials,
    /// The nonce announces PASSWORD-ALGORITHMS and they are not there: somebody has taken them out (RFC 8489 §9.2.1).
    BidDown,
    /// None of the server's algorithms is known here.
    NoAlgorithm,
    /// The challenge lacks REALM or NONCE, one is malformed, or it carries comprehension-required attributes that nobody
    /// here knows (RFC 8489 §6.3.4).
    BadChallenge,
    /// User name, realm or password cannot be prepared ([`NotOpaque`]).
    NotOpaque,
}

impl Credentials {
    /// Nothing is known of the server yet.
    pub fn new(username: &str, password: &str) -> Self {
        // USERNAME "MUST have been processed using the OpaqueString profile" (RFC 8489 §14.3); a name that cannot be is
        // found out when there is a key to make.
        let prepared = opaque_string(username).unwrap_or(Cow::Borrowed(username));
        Self { username: prepared.into_owned(), password: password.to_owned(), challenge: None }
    }

    /// Whether requests will be sealed: after the first challenge.
    pub const fn is_challenged(&self) -> bool {
        self.challenge.is_some()
    }

    /// Adds user name, realm, nonce, algorithms and message integrity; nothing before the first challenge (RFC 8489
    /// §9.2.3.1). FINGERPRINT may follow.
    pub fn seal(&self, writer: &mut Writer<'_>) {
        let Some(challenge) = &self.challenge else { return };
        match challenge.userhash {
            Some(userhash) => writer.push(Attribute::Userhash(userhash)),
            None => writer.push(Attribute::Username(&self.username)),
        };
        writer.push(Attribute::Realm(&challenge.realm)).push(Attribute::Nonce(&challenge.nonce));
        match &challenge.algorithms {
            Some((list, chosen)) => {
                let list = PasswordAlgorithms::from_bytes(list).expect("it was read from the challenge");
                let chosen = PasswordAlgorithm { number: *chosen, parameters: &[] };
                writer.push(Attribute::PasswordAlgorithms(list)).push(Attribute::PasswordAlgorithm(chosen));
                // "all the subsequent requests MUST be authenticated using MESSAGE-INTEGRITY-SHA256 only", §9.2.5.
                writer.integrity_sha256(&challenge.key);
            }
            None => {
                writer.integrity(&challenge.key);
            }
        }
    }

    /// Judges a response to `request` and learns from it if it is a challenge (RFC 8489 §9.2.5).
    pub fn judge(&mut self, request: &Message<'_>, response: &Message<'_>) -> Verdict {
        let code = match response.error_code() {
            Ok(Some(error)) if response.class() == Class::Error => error.code,
            _ => 0,
        };
        let bid_down = announces_algorithms(response) && !matches!(response.password_algorithms(), Ok(Some(_)));
        match code {
            401 | 438 if bid_down => Verdict::GiveUp(Hopeless::BidDown),
            401 | 438 => match self.learn(request, response, code) {
                Ok(()) => Verdict::Retry,
                Err(reason) => Verdict::GiveUp(reason),
            },
            _ if bid_down => Verdict::Ignore,
            // What was sent open is answered open; after that, an open 400 may be anybody's. Deviation: RFC 8489
            // §9.2.5 has the first request's ignored, too, and nobody would ever see it.
            _ if !request.has_integrity() => Verdict::Accept,
            400 if !response.has_integrity() => Verdict::Ignore,
            _ if self.is_genuine(response) => Verdict::Accept,
            _ => Verdict::Distrust,
        }
    }

    /// Whether the message integrity of a response is right, and of the kind that this side uses (a weaker one would
    /// be a bid down).
    fn is_genuine(&self, response: &Message<'_>) -> bool {
        let Some(challenge) = &self.challenge else { return false };
        match response.check_integrity(&challenge.key) {
            Ok(Integrity::Sha256) => true,
            Ok(Integrity::Sha1) => challenge.algorithms.is_none(),
            Err(_) => false,
        }
    }

    fn learn(&mut self, request: &Message<'_>, response: &Message<'_>, code: u16) -> Result<(), Hopeless> {
        if response.not_understood(AttributeType::is_known).next().is_some() {
            return Err(Hopeless::BadChallenge);
        }
        let (Ok(Some(realm)), Ok(Some(nonce))) = (response.realm(), response.nonce()) else {
            return Err(Hopeless::BadChallenge);
        };
        // RFC 8489 §9.2.5: no retry that changes neither name nor realm nor password.
        if code == 401 && request.has_integrity() && request.realm() == Ok(Some(realm)) {
            return Err(Hopeless::WrongCredentials);
        }
        let features = SecurityFeatures::of_nonce(nonce).unwrap_or_default();
        let algorithms = match response.password_algorithms() {
            Ok(list) => list,
            Err(_) => return Err(Hopeless::BadChallenge),
        };
        let chosen = match algorithms {
            Some(list) => Some(list.iter().find(|one| one.is_known()).ok_or(Hopeless::NoAlgorithm)?.number),
            None => None,
        };
        // A server that once had algorithms has not lost them: somebody took them out, cookie and all.
        if chosen.is_none() && self.challenge.as_ref().is_some_and(|before| before.algorithms.is_some()) {
            return Err(Hopeless::BidDown);
        }
        let anonymous = features.contains(SecurityFeatures::USERNAME_ANONYMITY);
        let prepared = |_: NotOpaque| Hopeless::NotOpaque;
        let key = match chosen {
            Some(2) => Key::long_term_sha256(&self.username, realm, &self.password),
            _ => Key::long_term_md5(&self.username, realm, &self.password),
        };
        self.challenge = Some(Challenge {
            realm: realm.to_owned(),
            nonce: nonce.to_owned(),
            algorithms: algorithms.zip(chosen).map(|(list, chosen)| (list.as_bytes().to_vec(), chosen)),
            userhash: if anonymous { Some(userhash(&self.username, realm).map_err(prepared)?) } else { None },
            key: key.map_err(prepared)?,
        });
        Ok(())
    }
}

fn announces_algorithms(response: &Message<'_>) -> bool {
    let nonce = response.nonce().ok().flatten();
    let features = nonce.and_then(SecurityFeatures::of_nonce).unwrap_or_default();
    features.contains(SecurityFeatures::PASSWORD_ALGORITHMS)
}
