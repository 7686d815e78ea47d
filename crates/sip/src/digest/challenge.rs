//! What a server sends, and how a client answers it: WWW-Authenticate and Proxy-Authenticate (RFC 3261 §20.44, §22.2).

use std::borrow::Cow;
use std::fmt;

use super::algorithm::{Algorithm, Ha1, ResponseInput, Session, response};
use super::credentials::Qop;
use super::{DigestError, params};

/// A challenge to send. `Display` writes the header value.
///
/// Offer one per algorithm, the strongest first (RFC 8760 §2.4): each is a header field of its own. `qop` is `auth`
/// always: it is what makes the nonce's count, and with it the refusal of replays, part of the proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge<'a> {
    /// The realm, as HA1 covers it.
    pub realm: &'a str,
    /// A fresh nonce.
    pub nonce: &'a str,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Whether the secret was right and only the nonce is spent: the client tries again without asking its user.
    pub stale: bool,
}

impl Challenge<'_> {
    /// Reads a challenge of anybody.
    pub fn parse(value: &str) -> Result<ParsedChallenge<'_>, DigestError> {
        ParsedChallenge::parse(value)
    }

    /// The challenge to answer among the values of a 401 or 407: the topmost whose algorithm we know (RFC 8760 §2.4).
    pub fn choose<'v>(values: impl Iterator<Item = &'v str>) -> Option<ParsedChallenge<'v>> {
        values.filter_map(|value| ParsedChallenge::parse(value).ok()).next()
    }
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest realm=")?;
        params::write_quoted(f, self.realm)?;
        f.write_str(", nonce=")?;
        params::write_quoted(f, self.nonce)?;
        write!(f, ", algorithm={}, qop=\"auth\"", self.algorithm)?;
        if self.stale { f.write_str(", stale=true") } else { Ok(()) }
    }
}

/// A challenge as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParsedChallenge<'a> {
    /// The realm to show the user and to hash.
    pub realm: Cow<'a, str>,
    /// The nonce.
    pub nonce: Cow<'a, str>,
    /// To be returned as it came.
    pub opaque: Option<Cow<'a, str>>,
    /// The algorithm; MD5 if none is named.
    pub algorithm: Algorithm,
    /// Whether it is the `-sess` variant.
    pub session: Session,
    /// Whether only the nonce was spent.
    pub stale: bool,
    /// Whether `auth` is offered.
    pub offers_auth: bool,
    /// Whether `auth-int` is offered.
    pub offers_auth_int: bool,
}

/// A user and a password.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// The name.
    pub username: &'a str,
    /// The secret.
    pub password: &'a str,
}

impl<'a> ParsedChallenge<'a> {
    fn parse(value: &'a str) -> Result<Self, DigestError> {
        let (mut realm, mut nonce, mut opaque, mut algorithm, mut stale, mut qop) =
            (None, None, None, None, None, None);
        for param in params::digest_params(value)? {
            let param = param?;
            let fields = [
                ("realm", &mut realm),
                ("nonce", &mut nonce),
                ("opaque", &mut opaque),
                ("algorithm", &mut algorithm),
                ("stale", &mut stale),
                ("qop", &mut qop),
            ];
            for (known, field) in fields {
                if known.eq_ignore_ascii_case(param.name) && field.replace(param.value.clone()).is_some() {
                    return Err(DigestError::Duplicate(known));
                }
            }
        }
        let (algorithm, session) = match &algorithm {
            Some(name) => Algorithm::parse(name)?,
            None => (Algorithm::Md5, Session::No),
        };
        let qop = qop.unwrap_or_default();
        let offers = |name: &str| qop.split(',').any(|offer| offer.trim().eq_ignore_ascii_case(name));
        Ok(Self {
            realm: realm.ok_or(DigestError::Missing("realm"))?,
            nonce: nonce.ok_or(DigestError::Missing("nonce"))?,
            opaque,
            algorithm,
            session,
            stale: stale.is_some_and(|flag: Cow<'_, str>| flag.eq_ignore_ascii_case("true")),
            offers_auth: offers("auth"),
            offers_auth_int: offers("auth-int"),
        })
    }

    /// The Authorization value for one request. `nc` counts the requests with this nonce from 1; `cnonce` is random.
    ///
    /// Uses `qop=auth` if it is offered, else the form of RFC 2069; `auth-int` is never used.
    pub fn answer(&self, identity: &Identity<'_>, method: &str, uri: &str, cnonce: &str, nc: u32) -> String {
        let ha1 = Ha1::new(self.algorithm, identity.username, &self.realm, identity.password);
        self.answer_with(&ha1, identity.username, method, uri, cnonce, nc)
    }

    /// The same with an HA1 computed before: what a load generator wants.
    pub fn answer_with(&self, ha1: &Ha1, username: &str, method: &str, uri: &str, cnonce: &str, nc: u32) -> String {
        let qop = self.offers_auth.then_some(Qop::Auth);
        let nc = format!("{nc:08x}");
        let input =
            ResponseInput { session: self.session, nonce: &self.nonce, nc: &nc, cnonce, qop, method, uri, body: b"" };
        let response = response(ha1, &input);
        Answer { challenge: self, username, uri, cnonce, nc: &nc, qop, response: &response }.to_string()
    }
}

struct Answer<'a> {
    challenge: &'a ParsedChallenge<'a>,
    username: &'a str,
    uri: &'a str,
    cnonce: &'a str,
    nc: &'a str,
    qop: Option<Qop>,
    response: &'a str,
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest username=")?;
        params::write_quoted(f, self.username)?;
        f.write_str(", realm=")?;
        params::write_quoted(f, &self.challenge.realm)?;
        f.write_str(", nonce=")?;
        params::write_quoted(f, &self.challenge.nonce)?;
        f.write_str(", uri=")?;
        params::write_quoted(f, self.uri)?;
        write!(f, ", response=\"{}\", algorithm={}", self.response, self.challenge.algorithm)?;
        if self.challenge.session == Session::Yes {
            f.write_str("-sess")?;
        }
        if self.qop.is_some() || self.challenge.session == Session::Yes {
            f.write_str(", cnonce=")?;
            params::write_quoted(f, self.cnonce)?;
        }
        if let Some(qop) = self.qop {
            write!(f, ", qop={}, nc={}", qop.as_str(), self.nc)?;
        }
        if let Some(opaque) = &self.challenge.opaque {
            f.write_str(", opaque=")?;
            params::write_quoted(f, opaque)?;
        }
        Ok(())
    }
}
