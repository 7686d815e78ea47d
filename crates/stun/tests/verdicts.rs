//! What a client with long-term credentials makes of each response, for each kind of request: RFC 8489 §9.2.5 as a table.

use farspeak_stun::attribute::PasswordAlgorithms;
use farspeak_stun::long_term::Credentials;
use farspeak_stun::{Attribute, Class, ErrorCode, Key, Message, Method, TransactionId, Writer};

const REALM: &str = "example.org";

fn message(class: Class, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 512];
    let mut writer = Writer::new(&mut buffer, class, Method::ALLOCATE, TransactionId([5; 12]));
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

fn challenge(code: ErrorCode<'_>, nonce: &str, list: Option<PasswordAlgorithms<'_>>) -> Vec<u8> {
    message(Class::Error, |writer| {
        writer.push(Attribute::ErrorCode(code)).push(Attribute::Realm(REALM)).push(Attribute::Nonce(nonce));
        if let Some(list) = list {
            writer.push(Attribute::PasswordAlgorithms(list));
        }
    })
}

/// Credentials that have seen nothing, an old server's challenge, or a new one's; and the request that they seal.
fn states() -> Vec<(&'static str, Credentials, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, seen) in [
        ("open", None),
        ("sealed, SHA-1", Some(challenge(ErrorCode::UNAUTHENTICATED, "old", None))),
        (
            "sealed, SHA-256",
            Some(challenge(ErrorCode::UNAUTHENTICATED, "obMatJos2gAAAx", Some(PasswordAlgorithms::SHA256_MD5))),
        ),
    ] {
        let mut credentials = Credentials::new("alice", "wonderland");
        if let Some(seen) = seen {
            let first = message(Class::Request, |_| ());
            credentials.judge(&Message::parse(&first).unwrap(), &Message::parse(&seen).unwrap());
        }
        let request = message(Class::Request, |writer| credentials.seal(writer));
        all.push((name, credentials, request));
    }
    all
}

fn responses() -> Vec<(&'static str, Vec<u8>)> {
    let md5 = Key::long_term_md5("alice", REALM, "wonderland").unwrap();
    let sha256 = Key::long_term_sha256("alice", REALM, "wonderland").unwrap();
    let both = Some(PasswordAlgorithms::SHA256_MD5);
    let none = PasswordAlgorithms::from_bytes(&[0, 9, 0, 0]);
    let sealed = |class, code: Option<ErrorCode<'static>>, key: &Key, sha256: bool| {
        message(class, |writer| {
            if let Some(code) = code {
                writer.push(Attribute::ErrorCode(code));
            }
            if sha256 {
                writer.integrity_sha256(key)
            } else {
                writer.integrity(key)
            };
        })
    };
    let open = |code| {
        message(Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(code));
        })
    };
    vec![
        ("success, open", message(Class::Success, |_| ())),
        ("success, SHA-1 by the MD5 key", sealed(Class::Success, None, &md5, false)),
        ("success, SHA-1 by the SHA-256 key", sealed(Class::Success, None, &sha256, false)),
        ("success, SHA-256 by its key", sealed(Class::Success, None, &sha256, true)),
        ("success, another's key", sealed(Class::Success, None, &Key::from_bytes(b"guess"), true)),
        (
            "success, algorithms taken out",
            message(Class::Success, |writer| {
                writer.push(Attribute::Nonce("obMatJos2gAAAx"));
            }),
        ),
        ("400, open", open(ErrorCode::BAD_REQUEST)),
        ("400, SHA-256", sealed(Class::Error, Some(ErrorCode::BAD_REQUEST), &sha256, true)),
        ("500, open", open(ErrorCode::SERVER_ERROR)),
        ("401, old server", challenge(ErrorCode::UNAUTHENTICATED, "old", None)),
        ("401, both algorithms", challenge(ErrorCode::UNAUTHENTICATED, "obMatJos2gAAAy", both)),
        ("401, no known algorithm", challenge(ErrorCode::UNAUTHENTICATED, "obMatJos2gAAAy", none)),
        ("401, algorithms taken out", challenge(ErrorCode::UNAUTHENTICATED, "obMatJos2gAAAy", None)),
        ("401, no realm", open(ErrorCode::UNAUTHENTICATED)),
        ("438, old server", challenge(ErrorCode::STALE_NONCE, "new", None)),
        ("438, both algorithms", challenge(ErrorCode::STALE_NONCE, "obMatJos2gAAAz", both)),
        ("438, algorithms taken out", challenge(ErrorCode::STALE_NONCE, "obMatJos2gAAAz", None)),
    ]
}

#[test]
fn the_whole_table_of_requests_and_responses() {
    let mut table = String::new();
    for (state, credentials, request) in states() {
        let request = Message::parse(&request).unwrap();
        for (name, response) in responses() {
            let verdict = credentials.clone().judge(&request, &Message::parse(&response).unwrap());
            table += &format!("{state:15} | {name:33} | {verdict:?}\n");
        }
    }
    assert_eq!(table, TABLE, "\n{table}");
}

const TABLE: &str = "\
open            | success, open                     | Accept
open            | success, SHA-1 by the MD5 key     | Accept
open            | success, SHA-1 by the SHA-256 key | Accept
open            | success, SHA-256 by its key       | Accept
open            | success, another's key            | Accept
open            | success, algorithms taken out     | Ignore
open            | 400, open                         | Accept
open            | 400, SHA-256                      | Accept
open            | 500, open                         | Accept
open            | 401, old server                   | Retry
open            | 401, both algorithms              | Retry
open            | 401, no known algorithm           | GiveUp(NoAlgorithm)
open            | 401, algorithms taken out         | GiveUp(BidDown)
open            | 401, no realm                     | GiveUp(BadChallenge)
open            | 438, old server                   | Retry
open            | 438, both algorithms              | Retry
open            | 438, algorithms taken out         | GiveUp(BidDown)
sealed, SHA-1   | success, open                     | Distrust
sealed, SHA-1   | success, SHA-1 by the MD5 key     | Accept
sealed, SHA-1   | success, SHA-1 by the SHA-256 key | Distrust
sealed, SHA-1   | success, SHA-256 by its key       | Distrust
sealed, SHA-1   | success, another's key            | Distrust
sealed, SHA-1   | success, algorithms taken out     | Ignore
sealed, SHA-1   | 400, open                         | Ignore
sealed, SHA-1   | 400, SHA-256                      | Distrust
sealed, SHA-1   | 500, open                         | Distrust
sealed, SHA-1   | 401, old server                   | GiveUp(WrongCredentials)
sealed, SHA-1   | 401, both algorithms              | GiveUp(WrongCredentials)
sealed, SHA-1   | 401, no known algorithm           | GiveUp(WrongCredentials)
sealed, SHA-1   | 401, algorithms taken out         | GiveUp(BidDown)
sealed, SHA-1   | 401, no realm                     | GiveUp(BadChallenge)
sealed, SHA-1   | 438, old server                   | Retry
sealed, SHA-1   | 438, both algorithms              | Retry
sealed, SHA-1   | 438, algorithms taken out         | GiveUp(BidDown)
sealed, SHA-256 | success, open                     | Distrust
sealed, SHA-256 | success, SHA-1 by the MD5 key     | Distrust
sealed, SHA-256 | success, SHA-1 by the SHA-256 key | Distrust
sealed, SHA-256 | success, SHA-256 by its key       | Accept
sealed, SHA-256 | success, another's key            | Distrust
sealed, SHA-256 | success, algorithms taken out     | Ignore
sealed, SHA-256 | 400, open                         | Ignore
sealed, SHA-256 | 400, SHA-256                      | Accept
sealed, SHA-256 | 500, open                         | Distrust
sealed, SHA-256 | 401, old server                   | GiveUp(WrongCredentials)
sealed, SHA-256 | 401, both algorithms              | GiveUp(WrongCredentials)
sealed, SHA-256 | 401, no known algorithm           | GiveUp(WrongCredentials)
sealed, SHA-256 | 401, algorithms taken out         | GiveUp(BidDown)
sealed, SHA-256 | 401, no realm                     | GiveUp(BadChallenge)
sealed, SHA-256 | 438, old server                   | GiveUp(BidDown)
sealed, SHA-256 | 438, both algorithms              | Retry
sealed, SHA-256 | 438, algorithms taken out         | GiveUp(BidDown)
";
