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
    let mut answerer = Answerer::new(vec![Login::password("alice", "secret"), Login::token("mine", "mF_9.B5f-4.1JqM")]);
    let basic = www(&["Basic realm=\"a\""]);
    assert_eq!(answerer.challenged(&mut Attempt::default(), &basic), Err(GiveUp::NothingToAnswer));
    let bearer = |realm: &str| www(&[&format!("Bearer authz_server=\"https://x\", realm=\"{realm}\"")]);
    assert!(answerer.challenged(&mut Attempt::default(), &bearer("a")).is_err());
    let mut attempt = Attempt::default();
    answerer.challenged(&mut attempt, &bearer("mine")).unwrap();
    assert_eq!(headers(&mut answerer, "c1"), [(HeaderName::Authorization, "Bearer mF_9.B5f-4.1JqM".to_owned())]);
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
    let names = |answerer: &mut Answerer, call_id| -> Vec<HeaderName> {
        headers(answerer, call_id).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&mut answerer, "c1"), [HeaderName::Authorization, HeaderName::ProxyAuthorization]);
    // What the registrar wanted is not for whoever is called next.
    assert_eq!(names(&mut answerer, "c2"), [HeaderName::ProxyAuthorization]);
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
fn never_lets_one_call_spoil_the_realm_of_another() {
    // Somebody who is called claims to be our realm, and stronger than it is; and many others, all of them strong.
    let mut answerer = alice();
    answerer.challenged(&mut Attempt::default(), &www(&[&digest("home", "n", Algorithm::Sha256, false)])).unwrap();
    for number in 0..100 {
        let value = digest(&format!("r{number}"), "n", Algorithm::Sha256, false);
        answerer.challenged(&mut Attempt::default(), &www(&[&value])).unwrap();
    }
    answerer.challenged(&mut Attempt::default(), &www(&[&digest("home", "n", Algorithm::Sha256, false)])).unwrap();
    let text = format!(
        "SIP/2.0 401 No\r\nCall-ID: c2\r\nWWW-Authenticate: {}\r\n\r\n",
        digest("home", "m", Algorithm::Md5, false)
    );
    let registrar = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(answerer.challenged(&mut Attempt::default(), &registrar), Ok(()));
    assert_eq!(headers(&mut answerer, "c2").len(), 1);
}

#[test]
fn remembers_a_bounded_number_of_realms() {
    let mut answerer = alice();
    for number in 0..100 {
        let value = digest(&format!("r{number}"), "n", Algorithm::Md5, false);
        answerer.challenged(&mut Attempt::default(), &www(&[&value])).unwrap();
    }
    assert_eq!(answerer.remembered(), Answerer::MAX_REALMS);
    assert_eq!(answerer.remembered(), Answerer::MAX_REALMS);
    let mut attempt = Attempt::default();
    let endless = (0..100).map(|number| {
        let value = digest(&format!("x{number}"), "n", Algorithm::Sha256, false);
        answerer.challenged(&mut attempt, &www(&[&value]))
    });
    assert_eq!(endless.filter(Result::is_ok).count(), 2 * Answerer::MAX_REALMS);
    assert_eq!(answerer.remembered(), Answerer::MAX_REALMS);
    let long = digest("a", &"n".repeat(Answerer::MAX_CHALLENGE), Algorithm::Md5, false);
    assert_eq!(answerer.challenged(&mut attempt, &www(&[&long])), Err(GiveUp::NothingToAnswer));
}
