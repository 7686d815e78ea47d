//! Who sent this request: Digest (RFC 3261 §22, RFC 7616, RFC 8760) against the local users.
//!
//! The shard hands each request that needs an identity to [`Authenticator::check`], which asks the throttle, verifies,
//! and tells the throttle what came of it; the policy decides what the verdict is worth, and
//! [`Authenticator::challenge`] makes the 401 or 407.
//!
//! ACK and CANCEL are never challenged (RFC 3261 §22.1): they are not verified at all, and the verdict says so. A user
//! who does not exist is verified in the same steps as one who does, against a secret that nobody knows: neither the
//! answer nor its time tells which.
//!
//! Over datagrams a nonce is bound to the source it was sent to, since the source of a datagram proves nothing: who
//! shows no nonce that reached that source is not judged, and does not count as having failed.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Transport};
use farspeak_sip::digest::{Algorithm, Challenge, Credentials, DigestError, NonceCheck, Nonces, Qop};
use farspeak_sip::message::{HeaderName, Host, Message, Method, NameAddr, StatusCode, Uri};

use crate::answer::Answer;
use crate::domain::Domain;
use crate::policy::{self, Originator};
use crate::throttle::{Gate, Throttle, source_of};
use crate::users::{ANONYMOUS, User, Users};

/// How users prove who they are.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AuthenticationConfig {
    /// Over these transports, offer and accept SHA-256 alone (RFC 8760). Default none: few phones know it, and with
    /// generated secrets MD5 gives nothing away over TLS.
    pub sha256_only: Vec<Transport>,
    /// Phones that choke on a challenge of SHA-256 beside one of MD5, by the beginning of their User-Agent: they are
    /// offered MD5 alone. Default [`MD5_ONLY_AGENTS`].
    pub md5_only_agents: Vec<String>,
    /// Whether phones on WebSockets are offered MD5 alone: JsSIP and SIP.js know nothing else, and take the first
    /// challenge. Default yes.
    pub md5_only_websocket: bool,
    /// Believe whoever a request says it is from, without a password. Default no; for load tests on an isolated network.
    pub believe_everybody: bool,
}

impl Default for AuthenticationConfig {
    fn default() -> Self {
        Self {
            sha256_only: Vec::new(),
            md5_only_agents: MD5_ONLY_AGENTS.iter().map(|agent| (*agent).to_owned()).collect(),
            md5_only_websocket: true,
            believe_everybody: false,
        }
    }
}

impl AuthenticationConfig {
    fn demands_sha256(&self, flow: &Flow) -> bool {
        self.sha256_only.contains(&flow.transport)
    }
}

/// Phones known to need MD5 alone.
///
/// baresip before 2.0 aborts when SHA-256 is offered. JsSIP and SIP.js read the first challenge alone and know no other
/// algorithm; so does SIPp.
pub const MD5_ONLY_AGENTS: [&str; 5] = ["baresip v0.", "baresip v1.", "JsSIP", "SIP.js", "SIPp"];

/// In which role we ask: it decides status and header fields (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// As the registrar: 401, `WWW-Authenticate`, `Authorization`.
    Registrar,
    /// As the proxy: 407, `Proxy-Authenticate`, `Proxy-Authorization`.
    Proxy,
}

/// What the credentials of a request are worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This user's.
    Valid(Arc<User>),
    /// There are none for our realm.
    Absent,
    /// Wrong: the name, the secret, the form, whatever; nobody is told.
    Wrong,
    /// Right, but the nonce is spent: challenge with `stale=true` (RFC 7616 §3.3).
    Stale,
}

impl Verdict {
    /// What the policy needs to know of it.
    pub fn credentials(&self) -> policy::Credentials {
        match self {
            Self::Valid(_) => policy::Credentials::Valid,
            Self::Absent => policy::Credentials::Absent,
            Self::Wrong | Self::Stale => policy::Credentials::Wrong,
        }
    }

    /// Whose credentials they are, if they are right.
    pub fn user(&self) -> Option<&Arc<User>> {
        match self {
            Self::Valid(user) => Some(user),
            _ => None,
        }
    }
}

/// What [`Authenticator::check`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checked {
    /// Do not answer; a stream may be closed.
    CutOff,
    /// Send this and look no further.
    Slow(Answer),
    /// Go on.
    Verdict(Verdict),
}

/// Verifies and challenges. Made of references when needed; it holds nothing itself.
#[derive(Clone, Copy)]
pub struct Authenticator<'a> {
    /// Settings.
    pub config: &'a AuthenticationConfig,
    /// Who exists, and the realm.
    pub users: &'a Users,
    /// The nonces.
    pub nonces: &'a Nonces,
    /// Who has guessed too often.
    pub throttle: &'a Throttle,
    /// Which URIs are ours.
    pub domain: &'a Domain,
}

impl Authenticator<'_> {
    /// Asks the throttle, verifies, and tells the throttle.
    pub fn check(&self, now: Instant, flow: &Flow, request: &Message, role: Role) -> Checked {
        if matches!(request.method(), Some(Method::Ack | Method::Cancel)) {
            return Checked::Verdict(Verdict::Absent); // RFC 3261 §22.1
        }
        if self.config.believe_everybody {
            return Checked::Verdict(self.believe(flow, request, role));
        }
        let claims = self.claims(now, flow, request, role);
        let judged =
            flow.transport.is_reliable() || claims.iter().any(|claim| claim.credentials.is_ok() && !claim.unproven);
        match self.throttle.admit(now, flow, judged && !claims.is_empty()) {
            Gate::Open => {}
            Gate::Closed => return Checked::CutOff,
            Gate::Slow { retry_after } => {
                let answer = Answer::because(StatusCode::SERVICE_UNAVAILABLE, "Too Many Requests From Your Address");
                return Checked::Slow(answer.with("Retry-After", retry_after.to_string()));
            }
        }
        let verdict = self.verify(now, flow, request, &claims);
        match &verdict {
            Verdict::Valid(_) => self.throttle.succeeded(now, flow),
            Verdict::Wrong if judged => self.throttle.failed(now, flow),
            Verdict::Wrong | Verdict::Absent | Verdict::Stale => {}
        }
        Checked::Verdict(verdict)
    }

    /// The 401 or 407: one challenge per algorithm, the strongest first (RFC 8760 §2.4), all alike for everybody.
    pub fn challenge(&self, now: Instant, flow: &Flow, request: &Message, role: Role, stale: bool) -> Answer {
        let mut answer = Answer::new(role.status());
        let nonce = self.nonces.issue_to(now, Bound::to(flow).as_bytes());
        for algorithm in self.offers(flow, request) {
            let challenge = Challenge { realm: self.users.realm(), nonce: &nonce, algorithm: *algorithm, stale };
            let mut value = String::with_capacity(CHALLENGE);
            let _ = write!(value, "{challenge}"); // a String takes everything
            answer = answer.with(role.challenge_header(), value);
        }
        answer
    }

    /// Whom the From header field names, seen from what the credentials proved.
    pub fn originator(&self, flow: &Flow, request: &Message, user: Option<&User>) -> Originator {
        let Ok(from) = request.from() else { return Originator::Foreign };
        if is_anonymous(&from, |uri| self.domain.is_ours(uri, flow)) {
            return Originator::Anonymous;
        }
        let Ok(uri) = from.uri() else { return Originator::Foreign };
        if !self.domain.is_ours(&uri, flow) {
            // Not an address of ours, but it may look like one to whoever is called.
            let claims = self.domain.claimed(&uri, flow).is_some();
            return if claims { Originator::OtherLocal } else { Originator::Foreign };
        }
        match user {
            Some(user) if uri.user_unescaped() == user.name.as_str() => Originator::Authenticated,
            _ => Originator::OtherLocal,
        }
    }

    /// Takes the name that the request gives for proved ([`AuthenticationConfig::believe_everybody`]), even one that
    /// no user has.
    fn believe(&self, flow: &Flow, request: &Message, role: Role) -> Verdict {
        let named = match role {
            Role::Registrar => request.to(),
            Role::Proxy => request.from(),
        };
        let Some(uri) = named.ok().and_then(|it| it.uri().ok()).filter(|it| self.domain.is_ours(it, flow)) else {
            return Verdict::Absent;
        };
        let name = uri.user_unescaped();
        let (user, exists) = self.users.get_or_nobody(&name);
        Verdict::Valid(if exists { user } else { Arc::new(User { name: name.into_owned(), ..User::clone(&user) }) })
    }

    /// The credentials that claim to be for us: those of our realm, and those that cannot be read.
    fn claims<'m>(&self, now: Instant, flow: &Flow, request: &'m Message, role: Role) -> Vec<Claim<'m>> {
        let read = |value| {
            let credentials = match Credentials::parse(value) {
                // Another server's on the way (RFC 3261 §22.3), or another scheme: not for us.
                Ok(credentials) if credentials.realm != self.users.realm() => return None,
                Err(DigestError::Scheme) => return None,
                read => read,
            };
            let unproven = credentials.as_ref().is_ok_and(|credentials| self.is_unproven(now, flow, credentials));
            Some(Claim { credentials, unproven })
        };
        match role {
            Role::Registrar => request.authorization().filter_map(read).take(MAX_CLAIMS).collect(),
            Role::Proxy => request.proxy_authorization().filter_map(read).take(MAX_CLAIMS).collect(),
        }
    }

    /// The best that any of the claims is worth. (A phone may answer each of two challenges.)
    fn verify(&self, now: Instant, flow: &Flow, request: &Message, claims: &[Claim<'_>]) -> Verdict {
        let (mut best, mut unproven) = (Verdict::Absent, false);
        for claim in claims {
            if claim.unproven {
                unproven = true;
                continue;
            }
            let verdict =
                claim.credentials.as_ref().map_or(Verdict::Wrong, |it| self.verify_one(now, flow, request, it));
            match verdict {
                Verdict::Valid(_) => return verdict,
                Verdict::Stale => best = Verdict::Stale,
                Verdict::Wrong if best == Verdict::Absent => best = Verdict::Wrong,
                Verdict::Wrong | Verdict::Absent => {}
            }
        }
        // RFC 7616 §3.3: the nonce is not valid, so `stale` it is. Phones that know the secret come back by themselves.
        if unproven && best == Verdict::Absent { Verdict::Stale } else { best }
    }

    /// Whether the nonce may have been sent elsewhere, where that matters. Such credentials are not looked at: nobody
    /// learns from the answer whether a guess is right that does not count as one.
    fn is_unproven(&self, now: Instant, flow: &Flow, credentials: &Credentials<'_>) -> bool {
        let bound = Bound::to(flow);
        !flow.transport.is_reliable()
            && self.nonces.check_from(now, &credentials.nonce, bound.as_bytes()) == NonceCheck::Foreign
    }

    fn verify_one(&self, now: Instant, flow: &Flow, request: &Message, credentials: &Credentials<'_>) -> Verdict {
        // What does not depend on the user comes first and tells nothing about one.
        let forbidden = self.config.demands_sha256(flow) && credentials.algorithm != Algorithm::Sha256;
        if forbidden || credentials.userhash || !self.is_same_target(flow, request, &credentials.uri) {
            return Verdict::Wrong;
        }
        // `auth` alone is offered. Without it the count proves nothing, and a replay would pass.
        let (Some(Qop::Auth), Some(count)) = (credentials.qop, credentials.nc) else { return Verdict::Wrong };
        let Some(method) = request.method() else { return Verdict::Wrong };

        let (name, with_realm) = self.name_of(&credentials.username);
        let (user, exists) = self.users.get_or_nobody(name);
        let proved = credentials.verify(user.ha1(credentials.algorithm, with_realm), method.as_str(), b"");
        if !(proved & exists) {
            return Verdict::Wrong;
        }
        // Expired, replayed or not ours: a phone that knows the secret comes back by itself.
        match self.nonces.accept_from(now, &credentials.nonce, count, Bound::to(flow).as_bytes()) {
            Ok(()) => Verdict::Valid(user),
            Err(_) => Verdict::Stale,
        }
    }

    /// Phones send `alice` or `alice@realm`; the hash covers which.
    fn name_of<'n>(&self, username: &'n str) -> (&'n str, bool) {
        match username.rsplit_once('@') {
            Some((name, realm)) if realm == self.users.realm() => (name, true),
            _ => (username, false),
        }
    }

    /// Whether the `uri` of the credentials means the Request-URI. Servers may differ in how they write it, and so do
    /// phones (RFC 3261 §22.4 item 7, RFC 7616 §3.4.6): the user and the host must agree, port, parameters and scheme
    /// need not; all our names are one host; a REGISTER is for the domain, whoever is named. Each count is good once,
    /// so what little a stolen value could be bent to is not there to be had.
    fn is_same_target(&self, flow: &Flow, request: &Message, uri: &str) -> bool {
        if request.request_uri() == Some(uri) {
            return true;
        }
        let (Ok(target), Ok(named)) = (request.uri(), Uri::parse(uri)) else { return false };
        let same_user =
            request.method() == Some(&Method::Register) || target.user_unescaped() == named.user_unescaped();
        let both_ours = || self.domain.is_ours(&target, flow) && self.domain.is_ours(&named, flow);
        same_user && (target.host == named.host || both_ours())
    }

    fn offers(&self, flow: &Flow, request: &Message) -> &'static [Algorithm] {
        if self.config.demands_sha256(flow) {
            return &[Algorithm::Sha256];
        }
        let websocket = matches!(flow.transport, Transport::Ws | Transport::Wss) && self.config.md5_only_websocket;
        let agent = request.header(HeaderName::UserAgent).unwrap_or_default();
        let chokes = |known: &String| !known.is_empty() && agent.starts_with(known.as_str());
        if websocket || self.config.md5_only_agents.iter().any(chokes) {
            return &[Algorithm::Md5];
        }
        &[Algorithm::Sha256, Algorithm::Md5]
    }
}

/// Credentials that claim to be for us.
struct Claim<'m> {
    credentials: Result<Credentials<'m>, DigestError>,
    /// See [`Authenticator::is_unproven`].
    unproven: bool,
}

/// What a nonce is bound to: over datagrams the source, elsewhere nothing (a handshake has proved the source).
struct Bound(Option<[u8; 16]>);

impl Bound {
    fn to(flow: &Flow) -> Self {
        Self((!flow.transport.is_reliable()).then(|| match source_of(flow.remote.ip()) {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }))
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| &bytes[..])
    }
}

impl Role {
    const fn status(self) -> StatusCode {
        match self {
            Self::Registrar => StatusCode::UNAUTHORIZED,
            Self::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    const fn challenge_header(self) -> &'static str {
        match self {
            Self::Registrar => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }
}

/// Whether From withholds the caller's identity: `anonymous@anonymous.invalid` (RFC 3323 §4.1.1.3), or the user
/// `anonymous` of our own domain, as many phones write it. `is_ours` tells which domain is ours.
pub fn is_anonymous(from: &NameAddr<'_>, is_ours: impl Fn(&Uri<'_>) -> bool) -> bool {
    let Ok(uri) = from.uri() else { return false };
    let withheld = uri.host == Host::Name("anonymous.invalid");
    let named_so = uri.user_unescaped().eq_ignore_ascii_case(ANONYMOUS);
    withheld || (named_so && is_ours(&uri))
}

/// Room for a challenge with a realm of the usual length.
const CHALLENGE: usize = 192;
/// Most credentials of one request that are verified.
const MAX_CLAIMS: usize = 4;

#[cfg(test)]
mod tests;
