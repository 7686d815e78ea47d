//! Digest header values: whatever parses can be verified without panic, and what we write we read back.

use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_sip::digest::{Algorithm, Challenge, Credentials, Ha1, Identity, NonceConfig, Nonces};

/// Reads `data` as Authorization, as WWW-Authenticate and as a nonce.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let nonces = Nonces::new([1; 32], NonceConfig::default());
    let now = Instant::ZERO + Duration::from_secs(1);
    let _ = nonces.check(now, text);
    for value in [text.to_owned(), format!("Digest {text}")] {
        if let Ok(credentials) = Credentials::parse(&value) {
            let ha1 = Ha1::new(credentials.algorithm, &credentials.username, &credentials.realm, "secret");
            credentials.verify(&ha1, "REGISTER", data);
            let _ = nonces.accept(now, &credentials.nonce, credentials.nc.unwrap_or_default());
            assert_eq!(nonces.remembered(), 0, "a nonce that we did not make is never remembered");
        }
        if let Ok(challenge) = Challenge::parse(&value) {
            answer_verifies(&challenge);
        }
    }
    // A realm and a nonce of any text survive writing and reading, line breaks excepted.
    let challenge = Challenge { realm: text, nonce: text, algorithm: Algorithm::Sha256, stale: false };
    let written = challenge.to_string();
    let parsed = Challenge::parse(&written).expect("what we write parses");
    assert_eq!(parsed.realm, text.replace(['\r', '\n'], ""));
    answer_verifies(&parsed);
}

fn answer_verifies(challenge: &farspeak_sip::digest::ParsedChallenge<'_>) {
    let identity = Identity { username: "alice \"\\", password: "secret" };
    let value = challenge.answer(&identity, "REGISTER", "sip:example.org", "c", 1);
    let credentials = Credentials::parse(&value).expect("what we answer parses");
    // Both sides hash what stands in the header, where no line break can.
    let realm = challenge.realm.replace(['\r', '\n'], "");
    let clean = realm == challenge.realm && !challenge.nonce.contains(['\r', '\n']);
    let ha1 = Ha1::new(challenge.algorithm, identity.username, &realm, identity.password);
    assert_eq!(credentials.verify(&ha1, "REGISTER", b""), clean, "{value}");
}
