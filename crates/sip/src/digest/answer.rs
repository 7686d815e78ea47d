//! The client's side: which challenges to answer, with what, and when to give up (RFC 3261 §22, RFC 8760 §2.4).
//!
//! ```text
//!               request                        401 / 407
//!  authorize ──────────────> server ──────────────────────> challenged ──> Ok: authorize again, next CSeq
//!      ^  header fields                                         │
//!      └──────────── nonce, count, realm kept ──────────────────┴──> GiveUp: tell the user
//! ```
//!
//! User agents hand in the responses and put what [`Answerer::authorize`] gives into each request, the repeated one
//! with the same Call-ID and a higher CSeq (RFC 3261 §8.1.3.5). An ACK carries what its INVITE carried, and a CANCEL
//! cannot be challenged (RFC 3261 §22.1): neither gets header fields from here.
//!
//! What a server cannot make us do: send a password or Basic, answer with MD5 where it had offered SHA-256, go on
//! answering for ever, or remember more than [`Answerer::MAX_REALMS`] realms.

use std::borrow::Cow;
use std::fmt;

use farspeak_sansio::Rng;

use super::{Algorithm, Challenge, Ha1, ParsedChallenge};
use crate::message::{HeaderName, Message, Method};

/// A user's name and secret, and for whom they are. Never shows the secret in `Debug`.
#[derive(Clone)]
pub struct Login {
    realm: Option<String>,
    username: String,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    Password(String),
    Ha1(Vec<Ha1>),
    Token(String),
}

impl Login {
    /// A password for whoever asks. Answers give anybody who challenges us a chance to guess the password at leisure, so
    /// name the realm by [`Self::in_realm`] if it is known.
    pub fn password(username: &str, password: &str) -> Self {
        Self { realm: None, username: username.to_owned(), secret: Secret::Password(password.to_owned()) }
    }

    /// What is stored instead of a password, for one realm: one for each algorithm that may be answered.
    pub fn ha1(username: &str, realm: &str, hashes: &[Ha1]) -> Self {
        Self { realm: Some(realm.to_owned()), username: username.to_owned(), secret: Secret::Ha1(hashes.to_vec()) }
    }

    /// An access token (RFC 8898 §2.1). Whoever sees it can use it, and whoever is called may name this realm: only an
    /// encrypted token is of no use to them (RFC 8898 §2.1.2). User agents send it over TLS alone.
    pub fn token(realm: &str, token: &str) -> Self {
        Self { realm: Some(realm.to_owned()), username: String::new(), secret: Secret::Token(token.to_owned()) }
    }

    /// Answers that realm only, and proxies of it from the first request of each call on, once a nonce is known
    /// (RFC 3261 §22.3).
    pub fn in_realm(mut self, realm: &str) -> Self {
        self.realm = Some(realm.to_owned());
        self
    }

    fn ha1_for(&self, algorithm: Algorithm, realm: &str) -> Option<Ha1> {
        match &self.secret {
            Secret::Password(password) => Some(Ha1::new(algorithm, &self.username, realm, password)),
            Secret::Ha1(hashes) => hashes.iter().copied().find(|ha1| ha1.algorithm() == algorithm),
            Secret::Token(_) => None,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// Why a request is not worth repeating.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GiveUp {
    /// No challenge that we can read: no Digest with an algorithm that we know, and no Bearer where we have a token.
    NothingToAnswer,
    /// No login is for this realm.
    NoLogin(String),
    /// The secret for this realm was refused, or its nonce was called stale twice.
    Refused(String),
    /// This realm had offered a stronger algorithm before: somebody on the way may have taken that offer out.
    Downgrade(String),
    /// More realms than we remember.
    TooManyRealms,
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToAnswer => f.write_str("the challenge has no scheme and algorithm that we know"),
            Self::NoLogin(realm) => write!(f, "there is no login for the realm {realm:?}: configure one"),
            Self::Refused(realm) => write!(f, "the login for the realm {realm:?} was refused: check name and secret"),
            Self::Downgrade(realm) => write!(f, "the realm {realm:?} offers weaker algorithms than before"),
            Self::TooManyRealms => f.write_str("too many realms have challenged us"),
        }
    }
}

impl std::error::Error for GiveUp {}

/// What was tried for one request and its repetitions: begin with the default, keep it until a final response that is
/// no challenge.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attempt {
    /// Who was answered, and how often.
    answered: Vec<(Asker, String, u8)>,
}

/// Who challenges: a UAS or registrar, or a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    User,
    Proxy,
}

impl Asker {
    const ALL: [Self; 2] = [Self::User, Self::Proxy];

    const fn challenge(self) -> HeaderName {
        match self {
            Self::User => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    const fn answer(self) -> HeaderName {
        match self {
            Self::User => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// Answers challenges for one user. See the module's figure for its use.
pub struct Answerer {
    logins: Vec<Login>,
    /// The least recently used first.
    spaces: Vec<Space>,
}

/// What is known about one realm of one kind of asker (RFC 7616 §3.3 "protection space").
struct Space {
    asker: Asker,
    realm: String,
    /// The Call-ID it is for. Proxies of a configured realm have none: their credentials go into every call (RFC 3261
    /// §22.3). Those for user agents and registrars stay where they were asked for: other user agents have no use for
    /// them but guessing.
    call_id: Option<String>,
    /// Whether a login names the realm.
    configured: bool,
    /// The strongest algorithm that was offered and that we could answer.
    strongest: Option<Algorithm>,
    proof: Proof,
}

enum Proof {
    Digest { challenge: ParsedChallenge<'static>, ha1: Ha1, username: String, cnonce: Option<String>, nc: u32 },
    Bearer { token: String },
}

impl Answerer {
    /// Most realms that are remembered, those of proxies and of user agents apart, and those of one call only apart from
    /// those of another: 16.
    pub const MAX_REALMS: usize = 16;
    /// Most challenges of one response that are looked at: 32.
    pub const MAX_CHALLENGES: usize = 32;
    /// Longest challenge in bytes that is answered: 4096. Its nonce comes back in each request.
    pub const MAX_CHALLENGE: usize = 4096;
    /// How often one request answers one realm: the first challenge, and one more if that nonce was stale.
    const MAX_ANSWERS: u8 = 2;

    /// With these logins. One that names a realm goes before one that does not.
    pub fn new(logins: Vec<Login>) -> Self {
        Self { logins, spaces: Vec::new() }
    }

    /// Takes in a 401 or 407 (or whatever has a challenge: a forking proxy collects those of all branches, RFC 3261
    /// §16.7 step 7). `Ok` if the request is to be sent again with [`Self::authorize`]; then at least one realm is
    /// answered that was not, or not with this nonce.
    ///
    /// Of several challenges of a realm the strongest that we can answer is taken, whatever their order (the local
    /// policy that RFC 8760 §2.4 leaves to us; servers that follow RFC 8760 §2.3 list it first).
    pub fn challenged(&mut self, attempt: &mut Attempt, response: &Message) -> Result<(), GiveUp> {
        let call_id = response.call_id().unwrap_or("");
        let mut verdict = Err(GiveUp::NothingToAnswer);
        for asker in Asker::ALL {
            let offers: Vec<Offer<'_>> = response
                .headers(asker.challenge())
                .take(Self::MAX_CHALLENGES)
                .filter(|value| value.len() <= Self::MAX_CHALLENGE)
                .filter_map(Offer::read)
                .collect();
            for (index, offer) in offers.iter().enumerate() {
                let realm = offer.realm();
                if offers[..index].iter().any(|earlier| earlier.realm() == realm) {
                    continue; // answered together with the first of this realm
                }
                let of_realm = offers.iter().filter(|other| other.realm() == realm);
                match self.answer_realm(attempt, asker, realm, call_id, of_realm) {
                    Ok(()) => verdict = Ok(()),
                    Err(error) if verdict != Ok(()) => verdict = Err(error),
                    // Another realm was answered: perhaps that is enough (RFC 3261 §22.3).
                    Err(_) => {}
                }
            }
        }
        verdict
    }

    /// The header fields with credentials for one request, to be added to it: name and value of each. Empty as long as
    /// nobody has challenged us.
    ///
    /// Counts up the nonce count, so ask once for each request that is sent. `uri` is the Request-URI.
    pub fn authorize(
        &mut self,
        rng: &mut dyn Rng,
        call_id: &str,
        method: &Method,
        uri: &str,
    ) -> Vec<(HeaderName, String)> {
        let for_call = |space: &&mut Space| space.call_id.as_deref().is_none_or(|only| only == call_id);
        let used = self.spaces.iter_mut().filter(for_call);
        used.map(|space| (space.asker.answer(), space.proof.header(rng, method, uri))).collect()
    }

    /// Forgets every nonce and realm, for example when the server has changed.
    pub fn forget(&mut self) {
        self.spaces.clear();
    }

    /// How many realms are remembered.
    pub fn remembered(&self) -> usize {
        self.spaces.len()
    }

    fn answer_realm<'o>(
        &mut self,
        attempt: &mut Attempt,
        asker: Asker,
        realm: &str,
        call_id: &str,
        offers: impl Iterator<Item = &'o Offer<'o>>,
    ) -> Result<(), GiveUp> {
        let login = self.login(realm).ok_or_else(|| GiveUp::NoLogin(realm.to_owned()))?;
        let configured = login.realm.is_some();
        let (proof, stale) = offers
            .filter_map(|offer| Some((offer.prove(login)?, offer.is_stale())))
            .reduce(|best, next| if next.0.strength() > best.0.strength() { next } else { best })
            .ok_or(GiveUp::NothingToAnswer)?;
        let scope = (!configured || asker == Asker::User).then_some(call_id);
        let same = |space: &Space| space.asker == asker && space.realm == realm && space.call_id.as_deref() == scope;
        let known = self.spaces.iter().position(same);
        let strongest = known.and_then(|index| self.spaces[index].strongest);
        if proof.strength() < strongest {
            return Err(GiveUp::Downgrade(realm.to_owned()));
        }
        attempt.count(asker, realm, stale)?;
        match known {
            Some(index) => drop(self.spaces.remove(index)),
            None => self.make_room()?,
        }
        self.spaces.push(Space {
            asker,
            realm: realm.to_owned(),
            call_id: scope.map(str::to_owned),
            configured,
            strongest: proof.strength(),
            proof,
        });
        Ok(())
    }

    fn login(&self, realm: &str) -> Option<&Login> {
        let named = self.logins.iter().find(|login| login.realm.as_deref() == Some(realm));
        named.or_else(|| self.logins.iter().find(|login| login.realm.is_none()))
    }

    /// Forgets the oldest of what strangers have asked for, then of what was asked for in one call. Of the rest, what has
    /// offered SHA-256 is never forgotten for a newcomer: that would allow the downgrade.
    fn make_room(&mut self) -> Result<(), GiveUp> {
        if self.spaces.len() < Self::MAX_REALMS {
            return Ok(());
        }
        let oldest = |is_it: fn(&Space) -> bool| self.spaces.iter().position(is_it);
        let forgotten = oldest(|space| !space.configured)
            .or_else(|| oldest(|space| space.call_id.is_some()))
            .or_else(|| oldest(|space| space.strongest < Some(Algorithm::Sha256)));
        drop(self.spaces.remove(forgotten.ok_or(GiveUp::TooManyRealms)?));
        Ok(())
    }
}

/// Shows neither logins nor nonces.
impl fmt::Debug for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answerer").field("realms", &self.spaces.len()).finish_non_exhaustive()
    }
}

impl Attempt {
    /// Takes note of one more answer; refuses if the last one did not help.
    fn count(&mut self, asker: Asker, realm: &str, stale: bool) -> Result<(), GiveUp> {
        let Some((.., count)) = self.answered.iter_mut().find(|(who, of, _)| (*who, of.as_str()) == (asker, realm))
        else {
            // Also a request that carried an old nonce gets here: servers forget nonces without saying `stale`.
            if self.answered.len() >= 2 * Answerer::MAX_REALMS {
                return Err(GiveUp::TooManyRealms);
            }
            self.answered.push((asker, realm.to_owned(), 1));
            return Ok(());
        };
        if !stale || *count >= Answerer::MAX_ANSWERS {
            return Err(GiveUp::Refused(realm.to_owned()));
        }
        *count += 1;
        Ok(())
    }
}

/// A challenge that we can read.
enum Offer<'a> {
    Digest(ParsedChallenge<'a>),
    Bearer { realm: Cow<'a, str> },
}

impl<'a> Offer<'a> {
    fn read(value: &'a str) -> Option<Self> {
        if let Ok(challenge) = Challenge::parse(value) {
            return Some(Self::Digest(challenge));
        }
        let mut params = super::params::auth_params(value, "Bearer").ok()?.filter_map(Result::ok);
        let realm = params.find(|param| param.name.eq_ignore_ascii_case("realm"))?.value;
        Some(Self::Bearer { realm })
    }

    fn realm(&self) -> &str {
        match self {
            Self::Digest(challenge) => &challenge.realm,
            Self::Bearer { realm } => realm,
        }
    }

    fn is_stale(&self) -> bool {
        matches!(self, Self::Digest(challenge) if challenge.stale)
    }

    fn prove(&self, login: &Login) -> Option<Proof> {
        match (self, &login.secret) {
            (Self::Digest(challenge), _) => {
                let ha1 = login.ha1_for(challenge.algorithm, &challenge.realm)?;
                let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
                let challenge = ParsedChallenge {
                    realm: owned(&challenge.realm),
                    nonce: owned(&challenge.nonce),
                    opaque: challenge.opaque.as_ref().map(owned),
                    ..*challenge
                };
                Some(Proof::Digest { challenge, ha1, username: login.username.clone(), cnonce: None, nc: 0 })
            }
            (Self::Bearer { .. }, Secret::Token(token)) => Some(Proof::Bearer { token: token.clone() }),
            (Self::Bearer { .. }, _) => None,
        }
    }
}

impl Proof {
    const fn strength(&self) -> Option<Algorithm> {
        match self {
            Self::Digest { challenge, .. } => Some(challenge.algorithm),
            Self::Bearer { .. } => None,
        }
    }

    fn header(&mut self, rng: &mut dyn Rng, method: &Method, uri: &str) -> String {
        match self {
            Self::Bearer { token } => format!("Bearer {token}"),
            Self::Digest { challenge, ha1, username, cnonce, nc } => {
                // One for the life of the nonce: `-sess` demands it (RFC 7616 §3.4.2).
                let cnonce = cnonce.get_or_insert_with(|| format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()));
                // At the end of its range the count stands still, and the server calls the nonce stale.
                *nc = nc.saturating_add(1);
                challenge.answer_with(ha1, username, method.as_str(), uri, cnonce, *nc)
            }
        }
    }
}

#[cfg(test)]
mod tests;
