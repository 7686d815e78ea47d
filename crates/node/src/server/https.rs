//! What the HTTPS port serves besides the WebSocket: `GET /turn`, a time-limited credential for users of this node.
//!
//! Digest (RFC 7616) by the users' own passwords, Basic (RFC 7617) for those who know nothing else, over TLS alone. Who
//! guesses is slowed down together with those who guess by SIP.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use farspeak_net::{Clock, HttpHandler, HttpPeer};
use farspeak_sansio::{Flow, Instant};
use farspeak_sip::digest::{Algorithm, Challenge, Credentials, Ha1, Qop};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};

use crate::shared::Shared;
use crate::throttle::Gate;

/// Origins of web pages that may fetch `/turn` from a browser.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(Arc<RwLock<Vec<String>>>);

impl Origins {
    /// From now on these.
    pub(super) fn replace(&self, origins: &[String]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = origins.to_vec();
    }

    /// Whose script sent the request, if it may.
    fn of(&self, request: &Request<Incoming>) -> Option<HeaderValue> {
        let origin = request.headers().get(ORIGIN)?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// Serves `/turn` over TLS.
pub(super) fn handler(shared: Arc<Shared>, clock: Clock, origins: Origins) -> HttpHandler {
    Arc::new(move |request| {
        let origin = origins.of(&request);
        let mut response = match (&origin, request.method()) {
            (Some(_), &Method::OPTIONS) => preflight(),
            _ => answer(&shared, clock.now(), &request),
        };
        if let Some(origin) = origin {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
        }
        Box::pin(async move { response })
    })
}

/// A browser asks whether a page's script may send name and password along (Fetch Standard, § CORS-preflight fetch). It
/// may send no cookies and nothing that the browser remembers: the script has to know them.
fn preflight() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn answer(shared: &Shared, now: Instant, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let peer = request.extensions().get::<HttpPeer>().filter(|peer| peer.transport.is_secure());
    let (Some(peer), "/turn") = (peer, request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, "There is nothing here.\n");
    };
    // RFC 9110 §9.1 wants HEAD wherever there is GET; the body is left out below us.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let flow = Flow::unbound(peer.transport, peer.local, peer.remote);
    let target = request.uri().path_and_query().map_or("/turn", |target| target.as_str());
    let given = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    match check(shared, now, &flow, (request.method().as_str(), target), given) {
        Checked::User(name) => match shared.turn_credential(now, &name) {
            Some(json) => {
                let mut response = Response::new(Full::new(Bytes::from(json)));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            None => text(StatusCode::NOT_FOUND, "STUN and TURN do not run here.\n"),
        },
        Checked::Challenge { stale } => challenge(shared, now, stale),
        Checked::Slow(seconds) => {
            let mut response = text(StatusCode::TOO_MANY_REQUESTS, "Too many requests from your address.\n");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    }
}

/// What the credentials of a request are worth.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Checked {
    /// This user's.
    User(String),
    /// Nothing; or right, but the nonce is spent.
    Challenge { stale: bool },
    /// Too many came from there: not looked at.
    Slow(u32),
}

/// `what`: method and target, as a digest covers them.
fn check(shared: &Shared, now: Instant, flow: &Flow, what: (&str, &str), given: Option<&str>) -> Checked {
    match shared.throttle.admit(now, flow, given.is_some()) {
        Gate::Open => {}
        Gate::Slow { retry_after } => return Checked::Slow(retry_after),
        Gate::Closed => return Checked::Slow(CUT_OFF),
    }
    let Some(given) = given else { return Checked::Challenge { stale: false } };
    let checked = match basic(given) {
        Some((username, password)) => by_password(shared, &username, &password),
        None => by_digest(shared, now, what, given),
    };
    if checked == (Checked::Challenge { stale: false }) {
        shared.throttle.failed(now, flow);
    }
    checked
}

fn by_password(shared: &Shared, username: &str, password: &str) -> Checked {
    let realm = shared.users.realm();
    let (name, with_realm) = name_of(realm, username);
    let (user, exists) = shared.users.get_or_nobody(name);
    let proved = Ha1::new(Algorithm::Sha256, username, realm, password) == *user.ha1(Algorithm::Sha256, with_realm);
    if proved & exists { Checked::User(user.name.clone()) } else { Checked::Challenge { stale: false } }
}

fn by_digest(shared: &Shared, now: Instant, (method, target): (&str, &str), given: &str) -> Checked {
    let wrong = Checked::Challenge { stale: false };
    let Ok(credentials) = Credentials::parse(given) else { return wrong };
    let realm = shared.users.realm();
    // What does not depend on the user comes first and tells nothing about one.
    if credentials.realm != realm || credentials.userhash || credentials.uri != target {
        return wrong;
    }
    let (Some(Qop::Auth), Some(count)) = (credentials.qop, credentials.nc) else { return wrong };
    let (name, with_realm) = name_of(realm, &credentials.username);
    let (user, exists) = shared.users.get_or_nobody(name);
    let proved = credentials.verify(user.ha1(credentials.algorithm, with_realm), method, b"");
    if !(proved & exists) {
        return wrong;
    }
    match shared.nonces.accept_from(now, &credentials.nonce, count, b"") {
        Ok(()) => Checked::User(user.name.clone()),
        Err(_) => Checked::Challenge { stale: true },
    }
}

/// `alice` or `alice@realm`; the hash covers which.
fn name_of<'n>(realm: &str, username: &'n str) -> (&'n str, bool) {
    match username.rsplit_once('@') {
        Some((name, of)) if of == realm => (name, true),
        _ => (username, false),
    }
}

/// Digest with SHA-256, with MD5, and Basic, in this order (RFC 9110 §11.6.1); the same for everybody.
fn challenge(shared: &Shared, now: Instant, stale: bool) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::UNAUTHORIZED, "Your name and password, as your phone has them.\n");
    let realm = shared.users.realm();
    let nonce = shared.nonces.issue_to(now, b"");
    let digests = [Algorithm::Sha256, Algorithm::Md5].map(|algorithm| {
        let mut value = String::new();
        let challenge = Challenge { realm, nonce: &nonce, algorithm, stale };
        let _ = write!(value, "{challenge}"); // a String takes everything
        value
    });
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    for value in digests.into_iter().chain([format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"")]) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(WWW_AUTHENTICATE, value);
        }
    }
    response
}

/// User name and password of a Basic value (RFC 7617 §2).
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, text) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(base64(text.trim())?).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

/// RFC 4648 §4.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Option<Vec<u8>> = text.trim_end_matches('=').bytes().map(digit).collect();
    let chunks = digits.as_deref()?.chunks(4).map(|four| {
        let bits = four.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - four.len()));
        let bytes = bits.to_be_bytes();
        (four.len() > 1).then(|| bytes[1..four.len()].to_vec())
    });
    Some(chunks.collect::<Option<Vec<_>>>()?.concat())
}

fn text(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(words));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// What somebody hears who has guessed too often even to be told how long to wait, in seconds.
const CUT_OFF: u32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_basic_credentials() {
        // RFC 7617 §2
        let given = basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(given, ("Aladdin".to_owned(), "open sesame".to_owned()));
        assert_eq!(basic("basic dGVzdDoxMjPCow==").unwrap().1, "123£");
        for bad in ["Digest x", "Basic", "Basic !!!!", "Basic QQ", "Basic A"] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_is_that_of_rfc4648() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
    }
}
