//! Digest: published vectors, what parses, and which nonces and counts are good.

use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_sip::digest::{
    Algorithm, Challenge, Credentials, DigestError, Ha1, Identity, NonceCheck, NonceConfig, NonceRefusal, Nonces, Qop,
    ResponseInput, Session, response,
};

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

// RFC 7616 §3.9.1

const RFC7616_NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";

fn rfc7616(algorithm: &str, response: &str) -> String {
    format!(
        "Digest username=\"Mufasa\",\r\n    realm=\"http-auth@example.org\",\r\n    uri=\"/dir/index.html\",\r\n    \
         algorithm={algorithm},\r\n    nonce=\"{RFC7616_NONCE}\",\r\n    nc=00000001,\r\n    \
         cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\",\r\n    qop=auth,\r\n    response=\"{response}\",\r\n    \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    )
}

#[test]
fn verifies_the_md5_example_of_rfc7616() {
    let value = rfc7616("MD5", "8ca523f5e9506fed4657c9700eebdbec");
    let credentials = Credentials::parse(&value).unwrap();
    let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", "http-auth@example.org", "Circle of Life");
    assert!(credentials.verify(&ha1, "GET", b""));
    assert!(!credentials.verify(&ha1, "PUT", b""));
}

#[test]
fn verifies_the_sha256_example_of_rfc7616() {
    let value = rfc7616("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    let credentials = Credentials::parse(&value).unwrap();
    let ha1 = Ha1::new(Algorithm::Sha256, "Mufasa", "http-auth@example.org", "Circle of Life");
    assert_eq!((credentials.algorithm, credentials.qop, credentials.nc), (Algorithm::Sha256, Some(Qop::Auth), Some(1)));
    assert!(credentials.verify(&ha1, "GET", b""));
    let wrong = Ha1::new(Algorithm::Sha256, "Mufasa", "http-auth@example.org", "circle of life");
    assert!(!credentials.verify(&wrong, "GET", b""));
}

#[test]
fn answers_as_the_examples_of_rfc7616() {
    for (algorithm, expected) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let value = format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"{RFC7616_NONCE}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let challenge = Challenge::parse(&value).unwrap();
        assert!(challenge.offers_auth && challenge.offers_auth_int);
        let mufasa = Identity { username: "Mufasa", password: "Circle of Life" };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let answer = challenge.answer(&mufasa, "GET", "/dir/index.html", cnonce, 1);
        assert_eq!(Credentials::parse(&answer).unwrap().response, expected);
    }
}

#[test]
fn does_not_offer_the_algorithm_of_rfc7616_section_3_9_2() {
    // SHA-512-256 is optional (RFC 8760 §2.1 lists it); its value is refused, not taken for another one.
    let value = rfc7616("SHA-512-256", "ae66e67d6b427bd3f120414a82e4acff38e8ecd9101d6c861229025f607a79dd");
    assert_eq!(Credentials::parse(&value).unwrap_err(), DigestError::Algorithm);
}

// RFC 2617 §3.5, and its form without qop

#[test]
fn verifies_the_example_of_rfc2617() {
    let value = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
                 nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, nc=00000001, \
                 cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", \
                 opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let credentials = Credentials::parse(value).unwrap();
    assert_eq!((credentials.algorithm, credentials.session), (Algorithm::Md5, Session::No));
    assert!(credentials.verify(
        &Ha1::new(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life"),
        "GET",
        b""
    ));
}

#[test]
fn computes_the_form_without_qop() {
    // The same user and nonce, as RFC 2069 has it: KD(H(A1), nonce ":" H(A2)).
    let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life");
    let input = ResponseInput {
        session: Session::No,
        nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        nc: "",
        cnonce: "",
        qop: None,
        method: "GET",
        uri: "/dir/index.html",
        body: b"",
    };
    assert_eq!(response(&ha1, &input), "670fd8c2df070c60b045671b8b24ff02");
}

#[test]
fn covers_the_body_with_auth_int() {
    let ha1 = Ha1::new(Algorithm::Sha256, "alice", "a.example", "secret");
    let input = |body| ResponseInput {
        session: Session::No,
        nonce: "n",
        nc: "00000001",
        cnonce: "c",
        qop: Some(Qop::AuthInt),
        method: "INVITE",
        uri: "sip:bob@a.example",
        body,
    };
    assert_ne!(response(&ha1, &input(b"v=0")), response(&ha1, &input(b"v=1")));
}

#[test]
fn covers_nonce_and_cnonce_with_sess() {
    let value = "Digest realm=\"a.example\", nonce=\"n1\", algorithm=MD5-sess, qop=\"auth\"";
    let challenge = Challenge::parse(value).unwrap();
    let alice = Identity { username: "alice", password: "secret" };
    let answer = challenge.answer(&alice, "REGISTER", "sip:a.example", "c1", 1);
    let credentials = Credentials::parse(&answer).unwrap();
    assert_eq!(credentials.session, Session::Yes);
    assert!(credentials.verify(&Ha1::new(Algorithm::Md5, "alice", "a.example", "secret"), "REGISTER", b""));
}

// RFC 8760

#[test]
fn client_takes_the_topmost_algorithm_it_knows() {
    let values = [
        "Digest realm=\"a\", nonce=\"n\", algorithm=SHA-512-256, qop=\"auth\"",
        "Digest realm=\"a\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"",
        "Digest realm=\"a\", nonce=\"n\", algorithm=MD5, qop=\"auth\"",
    ];
    assert_eq!(Challenge::choose(values.into_iter()).unwrap().algorithm, Algorithm::Sha256);
    assert_eq!(Challenge::choose(values.into_iter().rev()).unwrap().algorithm, Algorithm::Md5);
    assert!(Challenge::choose(["Basic realm=\"a\""].into_iter()).is_none());
}

#[test]
fn algorithms_are_ordered_by_strength() {
    assert!(Algorithm::Sha256 > Algorithm::Md5);
}

#[test]
fn refuses_an_answer_with_another_algorithm_than_the_stored_secret() {
    let value = rfc7616("MD5", "8ca523f5e9506fed4657c9700eebdbec");
    let ha1 = Ha1::new(Algorithm::Sha256, "Mufasa", "http-auth@example.org", "Circle of Life");
    assert!(!Credentials::parse(&value).unwrap().verify(&ha1, "GET", b""));
}

// Challenges

#[test]
fn challenge_is_written_with_quotes_where_the_grammar_wants_them() {
    let challenge = Challenge { realm: "a \"b\" \\ c\r\nX: y", nonce: "n", algorithm: Algorithm::Sha256, stale: true };
    let written = challenge.to_string();
    assert_eq!(written, r#"Digest realm="a \"b\" \\ cX: y", nonce="n", algorithm=SHA-256, qop="auth", stale=true"#);
    let parsed = Challenge::parse(&written).unwrap();
    assert_eq!((&*parsed.realm, parsed.stale), ("a \"b\" \\ cX: y", true));
}

// Parsing

const GOOD: &str = "Digest username=\"bob\", realm=\"a\", nonce=\"n\", uri=\"sip:a\", \
                    response=\"00000000000000000000000000000000\"";

fn error(value: &str) -> DigestError {
    Credentials::parse(value).unwrap_err()
}

#[test]
fn refuses_what_two_readers_could_read_differently() {
    assert_eq!(error(&format!("{GOOD}, Username=\"eve\"")), DigestError::Duplicate("username"));
    assert_eq!(error(&format!("{GOOD}, nonce=\"n\"")), DigestError::Duplicate("nonce"));
    assert_eq!(error("Digest username=\"bob"), DigestError::Syntax);
    assert_eq!(error("Digest username=bob realm=a"), DigestError::Syntax);
    assert_eq!(error("Digest username=\"bob\"x, realm=\"a\""), DigestError::Syntax);
    assert_eq!(error("Digest user name=bob"), DigestError::Syntax);
}

#[test]
fn refuses_missing_and_impossible_values() {
    assert_eq!(error("Basic QWxhZGRpbg=="), DigestError::Scheme);
    assert_eq!(error("Digest"), DigestError::Scheme);
    assert_eq!(error(""), DigestError::Scheme);
    assert_eq!(error("Digest username=\"bob\""), DigestError::Missing("response"));
    assert_eq!(error(&format!("{GOOD}, qop=auth")), DigestError::Missing("nc"));
    assert_eq!(error(&format!("{GOOD}, qop=auth, nc=00000001")), DigestError::Missing("cnonce"));
    assert_eq!(error(&format!("{GOOD}, qop=best")), DigestError::Invalid("qop"));
    assert_eq!(error(&format!("{GOOD}, nc=+0000001")), DigestError::Invalid("nc"));
    assert_eq!(error(&format!("{GOOD}, nc=000000001")), DigestError::Invalid("nc"));
    assert_eq!(error(&format!("{GOOD}, userhash=maybe")), DigestError::Invalid("userhash"));
    assert_eq!(error(&format!("{GOOD}, algorithm=AKAv1-MD5")), DigestError::Algorithm);
    assert_eq!(error(&format!("{GOOD}, algorithm=SHA-256")), DigestError::Invalid("response"));
}

#[test]
fn takes_escapes_folding_and_unknown_parameters() {
    let value = "digest\tusername=\"b\\\"o\\\\b\" ,\r\n realm = \"a\",nonce=\"n\", uri=\"sip:a\", auth-param=x, \
                 response=\"ABCDEFabcdef00000000000000000000\",";
    let credentials = Credentials::parse(value).unwrap();
    assert_eq!((&*credentials.username, &*credentials.realm, credentials.qop), ("b\"o\\b", "a", None));
}

#[test]
fn takes_upper_case_digits_in_the_response() {
    let value = rfc7616("MD5", &"8ca523f5e9506fed4657c9700eebdbec".to_uppercase());
    let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", "http-auth@example.org", "Circle of Life");
    assert!(Credentials::parse(&value).unwrap().verify(&ha1, "GET", b""));
}

// Nonces (RFC 7616 §3.3, §5.4, §5.5)

#[test]
fn issued_nonces_differ_and_cost_no_memory() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let (a, b) = (nonces.issue(at(1)), nonces.issue(at(1)));
    assert_ne!(a, b);
    assert_eq!((nonces.check(at(1), &a), nonces.check(at(2), &b)), (NonceCheck::Current, NonceCheck::Current));
    assert_eq!(nonces.remembered(), 0);
}

#[test]
fn refuses_a_replayed_count() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let nonce = nonces.issue(at(0));
    assert_eq!(nonces.accept(at(1), &nonce, 1), Ok(()));
    assert_eq!(nonces.accept(at(1), &nonce, 1), Err(NonceRefusal::Replayed));
    assert_eq!(nonces.accept(at(1), &nonce, 2), Ok(()));
    assert_eq!(nonces.accept(at(1), &nonce, 1), Err(NonceRefusal::Replayed));
    assert_eq!(nonces.accept(at(1), &nonce, 0), Err(NonceRefusal::Replayed));
}

#[test]
fn lower_counts_in_the_window_stay_good_once() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let nonce = nonces.issue(at(0));
    assert_eq!(nonces.accept(at(1), &nonce, 5), Ok(()));
    for nc in [3, 1, 4, 2] {
        assert_eq!(nonces.accept(at(1), &nonce, nc), Ok(()));
        assert_eq!(nonces.accept(at(1), &nonce, nc), Err(NonceRefusal::Replayed));
    }
}

#[test]
fn counts_below_the_window_are_refused() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let nonce = nonces.issue(at(0));
    let highest = 1000;
    assert_eq!(nonces.accept(at(1), &nonce, highest), Ok(()));
    assert_eq!(nonces.accept(at(1), &nonce, highest - NonceConfig::WINDOW + 1), Ok(()));
    assert_eq!(nonces.accept(at(1), &nonce, highest - NonceConfig::WINDOW), Err(NonceRefusal::Replayed));
    assert_eq!(nonces.accept(at(1), &nonce, u32::MAX), Ok(()));
    assert_eq!(nonces.accept(at(1), &nonce, highest), Err(NonceRefusal::Replayed));
    assert_eq!(nonces.accept(at(1), &nonce, u32::MAX - 127), Ok(()));
}

#[test]
fn checking_takes_no_count() {
    // What an attacker can do without the secret is `check` and a `verify` that fails: neither spends the count.
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let nonce = nonces.issue(at(0));
    assert_eq!(nonces.check(at(1), &nonce), NonceCheck::Current);
    assert_eq!(nonces.remembered(), 0);
    assert_eq!(nonces.accept(at(1), &nonce, 1), Ok(()));
}

#[test]
fn expired_nonces_are_told_from_foreign_ones() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let nonce = nonces.issue(at(10));
    assert_eq!(nonces.check(at(310), &nonce), NonceCheck::Current);
    assert_eq!(nonces.check(at(311), &nonce), NonceCheck::Expired);
    assert_eq!(nonces.accept(at(311), &nonce, 1), Err(NonceRefusal::Expired));
    // Before it was made: the clock stepped back.
    assert_eq!(nonces.check(at(9), &nonce), NonceCheck::Expired);
}

#[test]
fn refuses_forged_nonces() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let nonce = nonces.issue(at(10));
    assert_eq!(Nonces::new([2; 32], NonceConfig::default()).check(at(10), &nonce), NonceCheck::Foreign);
    for position in 0..nonce.len() {
        let mut forged = nonce.clone().into_bytes();
        forged[position] = if forged[position] == b'0' { b'1' } else { b'0' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(nonces.check(at(10), &forged), NonceCheck::Foreign, "digit {position}");
        assert_eq!(nonces.accept(at(10), &forged, 1), Err(NonceRefusal::Foreign));
    }
    for odd in ["", "00", &nonce.to_uppercase(), &format!("{nonce}00"), "é"] {
        assert_eq!(nonces.check(at(10), odd), NonceCheck::Foreign, "{odd}");
    }
}

#[test]
fn table_of_used_nonces_is_bounded_and_forgetting_lets_no_replay_pass() {
    let mut config = NonceConfig::default();
    config.max_used = 1024;
    let nonces = Nonces::new([1; 32], config);
    let used: Vec<String> = (0..10_000)
        .map(|_| {
            let nonce = nonces.issue(at(1));
            assert!(nonces.accept(at(1), &nonce, 1).is_ok() || nonces.remembered() > 0);
            nonce
        })
        .collect();
    assert!(nonces.remembered() <= 1024);
    assert!(used.iter().all(|nonce| nonces.accept(at(2), nonce, 1).is_err()));
    // Who asks again is served again.
    let fresh = nonces.issue(at(2));
    assert_eq!(nonces.accept(at(2), &fresh, 1), Ok(()));
}

#[test]
fn a_bound_nonce_is_foreign_anywhere_else() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let nonce = nonces.issue_to(at(0), b"here");
    assert_eq!(nonces.check_from(at(1), &nonce, b"here"), NonceCheck::Current);
    for elsewhere in [&b"there"[..], b"her", b""] {
        assert_eq!(nonces.check_from(at(1), &nonce, elsewhere), NonceCheck::Foreign);
        assert_eq!(nonces.accept_from(at(1), &nonce, 1, elsewhere), Err(NonceRefusal::Foreign));
    }
    assert_eq!(nonces.check_from(at(1), &nonces.issue(at(0)), b"here"), NonceCheck::Foreign);
    assert_eq!(nonces.accept_from(at(1), &nonce, 1, b"here"), Ok(()));
}

#[test]
fn used_nonces_are_forgotten_when_they_can_no_longer_be_replayed() {
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    for second in 0..64 {
        nonces.accept(at(second), &nonces.issue(at(second)), 1).unwrap();
    }
    for second in (700..764).chain(1400..1464) {
        nonces.accept(at(second), &nonces.issue(at(second)), 1).unwrap();
    }
    assert!(nonces.remembered() <= 128, "{}", nonces.remembered());
}
