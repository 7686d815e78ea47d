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

    /// An access token (RFC 8898 §2.1). Whoever sees it can use it: only this realm gets it, and the caller sends it over
    /// TLS alone.
    pub fn token(realm: &str, token: &str) -> Self {
        Self { realm: Some(realm.to_owned()), username: String::new(), secret: Secret::Token(token.to_owned()) }
    }

    /// Answers that realm only, and from the first request on once a nonce is known (RFC 3261 §22.3).
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
    /// The Call-ID it is for, if the realm is not configured (RFC 3261 §22.3: never across dialogs).
    call_id: Option<String>,
    /// The strongest algorithm that was offered and that we could answer.
    strongest: Option<Algorithm>,
    proof: Proof,
}

enum Proof {
    Digest { challenge: ParsedChallenge<'static>, ha1: Ha1, username: String, cnonce: Option<String>, nc: u32 },
    Bearer { token: String },
}

impl Answerer {
    /// Most realms that are remembered, those of proxies and of user agents apart: 8.
    pub const MAX_REALMS: usize = 8;
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
        let known = self.spaces.iter().position(|space| space.asker == asker && space.realm == realm);
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
            call_id: (!configured).then(|| call_id.to_owned()),
            strongest: proof.strength(),
            proof,
        });
        Ok(())
    }

    fn login(&self, realm: &str) -> Option<&Login> {
        let named = self.logins.iter().find(|login| login.realm.as_deref() == Some(realm));
        named.or_else(|| self.logins.iter().find(|login| login.realm.is_none()))
    }

    /// What has offered SHA-256 is never forgotten for a newcomer: that would allow the downgrade.
    fn make_room(&mut self) -> Result<(), GiveUp> {
        if self.spaces.len() < Self::MAX_REALMS {
            return Ok(());
        }
        let oldest = self.spaces.iter().position(|space| space.strongest < Some(Algorithm::Sha256));
        drop(self.spaces.remove(oldest.ok_or(GiveUp::TooManyRealms)?));
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
mod tests {
    use farspeak_sansio::SplitMix64;

    use super::super::{Credentials, NonceConfig, Nonces, Qop};
    use super::*;
    use crate::message::Limits;

    const URI: &str = "sip:example.org";

    fn response(challenges: &[(&str, &str)]) -> Message {
        let lines: String = challenges.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!("SIP/2.0 401 Unauthorized\r\nCall-ID: c1\r\n{lines}\r\n");
        Message::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn digest(realm: &str, nonce: &str, algorithm: Algorithm, stale: bool) -> String {
        Challenge { realm, nonce, algorithm, stale }.to_string()
    }

    fn www(values: &[&str]) -> Message {
        let lines: Vec<_> = values.iter().map(|value| ("WWW-Authenticate", *value)).collect();
        response(&lines)
    }

    fn alice() -> Answerer {
        Answerer::new(vec![Login::password("alice", "secret")])
    }

    fn headers(answerer: &mut Answerer, call_id: &str) -> Vec<(HeaderName, String)> {
        answerer.authorize(&mut SplitMix64::new(1), call_id, &Method::Register, URI)
    }

    #[test]
    fn answers_the_strongest_challenge_in_any_order() {
        // RFC 8760 §2.4
        let md5 = digest("a", "n", Algorithm::Md5, false);
        let sha = digest("a", "n", Algorithm::Sha256, false);
        let unknown = sha.replace("SHA-256", "SHA-512-256");
        for values in [[md5.as_str(), &sha, &unknown], [&unknown, &sha, &md5]] {
            let mut answerer = alice();
            answerer.challenged(&mut Attempt::default(), &www(&values)).unwrap();
            let sent = headers(&mut answerer, "c1");
            assert_eq!((sent.len(), sent[0].0), (1, HeaderName::Authorization));
            let credentials = Credentials::parse(&sent[0].1).unwrap();
            assert_eq!((credentials.algorithm, credentials.qop), (Algorithm::Sha256, Some(Qop::Auth)));
            assert!(credentials.verify(&Ha1::new(Algorithm::Sha256, "alice", "a", "secret"), "REGISTER", b""));
        }
    }

    #[test]
    fn counts_each_use_of_a_nonce() {
        let nonces = Nonces::new([1; 32], NonceConfig::default());
        let nonce = nonces.issue(farspeak_sansio::Instant::ZERO);
        let mut answerer = alice();
        assert!(headers(&mut answerer, "c1").is_empty());
        answerer.challenged(&mut Attempt::default(), &www(&[&digest("a", &nonce, Algorithm::Md5, false)])).unwrap();
        let mut cnonces = Vec::new();
        for count in 1..4 {
            let sent = headers(&mut answerer, "c1");
            let credentials = Credentials::parse(&sent[0].1).unwrap();
            assert_eq!(credentials.nc, Some(count));
            nonces.accept(farspeak_sansio::Instant::ZERO, &credentials.nonce, count).unwrap();
            cnonces.push(credentials.cnonce.unwrap().into_owned());
        }
        cnonces.dedup();
        assert_eq!(cnonces.len(), 1);
    }

    #[test]
    fn gives_up_when_the_secret_is_refused() {
        let mut answerer = alice();
        let mut attempt = Attempt::default();
        answerer.challenged(&mut attempt, &www(&[&digest("a", "n1", Algorithm::Md5, false)])).unwrap();
        let again = www(&[&digest("a", "n2", Algorithm::Md5, false)]);
        assert_eq!(answerer.challenged(&mut attempt, &again), Err(GiveUp::Refused("a".to_owned())));
        // The next request has its own chance: the nonce that it carried may have been forgotten.
        assert_eq!(answerer.challenged(&mut Attempt::default(), &again), Ok(()));
    }

    #[test]
    fn repeats_once_for_a_stale_nonce() {
        let mut answerer = alice();
        let mut attempt = Attempt::default();
        let stale = |nonce: &str| www(&[&digest("a", nonce, Algorithm::Md5, true)]);
        answerer.challenged(&mut attempt, &stale("n1")).unwrap();
        answerer.challenged(&mut attempt, &stale("n2")).unwrap();
        assert!(headers(&mut answerer, "c1")[0].1.contains("\"n2\""));
        assert_eq!(answerer.challenged(&mut attempt, &stale("n3")), Err(GiveUp::Refused("a".to_owned())));
    }

    #[test]
    fn never_answers_a_weaker_algorithm_than_a_realm_had_offered() {
        let mut answerer = alice();
        answerer.challenged(&mut Attempt::default(), &www(&[&digest("a", "n", Algorithm::Sha256, false)])).unwrap();
        let weak = www(&[&digest("a", "n2", Algorithm::Md5, true)]);
        assert_eq!(answerer.challenged(&mut Attempt::default(), &weak), Err(GiveUp::Downgrade("a".to_owned())));
        assert!(headers(&mut answerer, "c1")[0].1.contains("SHA-256"));
    }

    #[test]
    fn never_sends_basic_or_a_token_to_strangers() {
        let mut answerer =
            Answerer::new(vec![Login::password("alice", "secret"), Login::token("mine", "mF_9.B5f-4.1JqM")]);
        let basic = www(&["Basic realm=\"a\""]);
        assert_eq!(answerer.challenged(&mut Attempt::default(), &basic), Err(GiveUp::NothingToAnswer));
        let bearer = |realm: &str| www(&[&format!("Bearer authz_server=\"https://x\", realm=\"{realm}\"")]);
        assert!(answerer.challenged(&mut Attempt::default(), &bearer("a")).is_err());
        let mut attempt = Attempt::default();
        answerer.challenged(&mut attempt, &bearer("mine")).unwrap();
        assert_eq!(headers(&mut answerer, "any"), [(HeaderName::Authorization, "Bearer mF_9.B5f-4.1JqM".to_owned())]);
        assert_eq!(answerer.challenged(&mut attempt, &bearer("mine")), Err(GiveUp::Refused("mine".to_owned())));
        let shown = format!("{answerer:?} {:?}", answerer.logins);
        assert!(!shown.contains("mF_9") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn answers_several_realms_at_once() {
        // RFC 3261 §22.3
        let mut answerer = Answerer::new(vec![
            Login::password("alice", "one").in_realm("home"),
            Login::ha1("al", "away", &[Ha1::new(Algorithm::Md5, "al", "away", "two")]),
        ]);
        let challenged = response(&[
            ("WWW-Authenticate", &digest("home", "n1", Algorithm::Sha256, false)),
            ("Proxy-Authenticate", &digest("away", "n2", Algorithm::Sha256, false)),
            ("Proxy-Authenticate", &digest("away", "n2", Algorithm::Md5, false)),
            ("Proxy-Authenticate", &digest("unknown", "n3", Algorithm::Md5, false)),
        ]);
        let mut attempt = Attempt::default();
        assert_eq!(answerer.challenged(&mut attempt, &challenged), Ok(()));
        let names: Vec<_> = headers(&mut answerer, "c9").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [HeaderName::Authorization, HeaderName::ProxyAuthorization]);
        let unknown = www(&[&digest("unknown", "n3", Algorithm::Md5, false)]);
        assert_eq!(answerer.challenged(&mut attempt, &unknown), Err(GiveUp::NoLogin("unknown".to_owned())));
    }

    #[test]
    fn keeps_an_unnamed_realm_to_its_call() {
        // RFC 3261 §22.3: MUST NOT be cached across dialogs
        let mut answerer = alice();
        answerer.challenged(&mut Attempt::default(), &www(&[&digest("a", "n", Algorithm::Md5, false)])).unwrap();
        assert_eq!((headers(&mut answerer, "c1").len(), headers(&mut answerer, "c2").len()), (1, 0));
    }

    #[test]
    fn remembers_a_bounded_number_of_realms() {
        let mut answerer = alice();
        for number in 0..100 {
            let value = digest(&format!("r{number}"), "n", Algorithm::Md5, false);
            answerer.challenged(&mut Attempt::default(), &www(&[&value])).unwrap();
        }
        assert_eq!(answerer.remembered(), Answerer::MAX_REALMS);
        let mut attempt = Attempt::default();
        let endless = (0..100).map(|number| {
            let value = digest(&format!("x{number}"), "n", Algorithm::Sha256, false);
            answerer.challenged(&mut attempt, &www(&[&value]))
        });
        assert_eq!(endless.filter(Result::is_ok).count(), Answerer::MAX_REALMS);
        let long = digest("a", &"n".repeat(Answerer::MAX_CHALLENGE), Algorithm::Md5, false);
        assert_eq!(answerer.challenged(&mut attempt, &www(&[&long])), Err(GiveUp::NothingToAnswer));
    }
}
