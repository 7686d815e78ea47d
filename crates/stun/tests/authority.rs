//! What the server's end makes of each kind of request, RFC 8489 §9.2.4, as one table: whether it is granted and how the
//! response will be sealed, or which error it gets and what that carries.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_stun::attribute::{PasswordAlgorithm, PasswordAlgorithms};
use farspeak_stun::limit::longest_answer;
use farspeak_stun::long_term::{Account, Authority, Nonces, Refused, SecurityFeatures, userhash};
use farspeak_stun::{Attribute, AttributeType, Class, Key, Message, Method, TransactionId, Writer};

const REALM: &str = "example.org";
const LIFETIME: Duration = Duration::from_secs(60);

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn nonce_of(features: SecurityFeatures, port: u16, issued: Instant) -> String {
    let mut buffer = Nonces::buffer();
    Nonces::new(&[3; 32], LIFETIME).issue(issued, client(port), features, &mut buffer).to_owned()
}

fn find(account: Account<'_>, algorithm: u16) -> Option<Key> {
    let known = match account {
        Account::Username(name) => name == "alice",
        Account::Userhash(hash) => *hash == userhash("alice", REALM).unwrap(),
    };
    let make = if algorithm == 2 { Key::long_term_sha256 } else { Key::long_term_md5 };
    known.then(|| make("alice", REALM, "wonderland").unwrap())
}

/// The moment of all requests: half of a nonce's life after its issue.
const NOW: Instant = Instant::from_nanos(100_000_000_000);

fn ago(seconds: u64) -> Instant {
    Instant::from_nanos(NOW.as_nanos() - seconds * 1_000_000_000)
}

fn verdict(write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut buffer = [0; 1024];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    write(&mut writer);
    judged(writer.finish().unwrap())
}

fn judged(request: &[u8]) -> String {
    let authority = Authority::new(REALM, Nonces::new(&[3; 32], LIFETIME));
    let request = Message::parse(request).unwrap();
    match authority.check(NOW, client(4000), &request, find) {
        Ok(authenticated) => format!("granted, sealed by {:?}", authenticated.integrity),
        Err(refused) => {
            let mut buffer = [0; 512];
            let response = authority.refuse(NOW, client(4000), &request, refused, &mut buffer).unwrap();
            let response = Message::parse(response).unwrap();
            assert!(!response.has_integrity());
            if let Some(nonce) = response.nonce().unwrap() {
                // "The NONCE attribute value MUST be valid."
                assert!(Nonces::new(&[3; 32], LIFETIME).check(NOW, client(4000), nonce).is_ok());
            }
            let carried: Vec<_> = response.attributes().skip(1).map(|raw| raw.kind.to_string()).collect();
            format!("{} {}", response.error_code().unwrap().unwrap().code, carried.join(" ")).trim_end().to_owned()
        }
    }
}

/// Who, by which nonce, and the algorithms; each of these may be missing.
struct Claims<'a> {
    name: Option<&'a str>,
    hash: Option<[u8; 32]>,
    realm: Option<&'a str>,
    nonce: Option<&'a str>,
    list: Option<PasswordAlgorithms<'a>>,
    chosen: Option<PasswordAlgorithm<'a>>,
}

impl Claims<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        self.name.map(|name| writer.push(Attribute::Username(name)).len());
        self.hash.map(|hash| writer.push(Attribute::Userhash(hash)).len());
        self.realm.map(|realm| writer.push(Attribute::Realm(realm)).len());
        self.nonce.map(|nonce| writer.push(Attribute::Nonce(nonce)).len());
        self.list.map(|list| writer.push(Attribute::PasswordAlgorithms(list)).len());
        self.chosen.map(|chosen| writer.push(Attribute::PasswordAlgorithm(chosen)).len());
    }

    fn sha256(&self, key: &Key) -> String {
        verdict(|writer| {
            self.write(writer);
            writer.integrity_sha256(key);
        })
    }

    fn sha1(&self, key: &Key) -> String {
        verdict(|writer| {
            self.write(writer);
            writer.integrity(key);
        })
    }
}

#[test]
fn refuses_to_be_bid_down_by_who_shortens_a_request() {
    let mut buffer = [0; 20];
    let shortest = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([1; 12])).finish().unwrap();
    let request = Message::parse(shortest).unwrap();
    for length in [1, 11, 12, 13, 31, 32, 33, 44] {
        let authority = Authority::new(&"r".repeat(length), Nonces::new(&[3; 32], LIFETIME));
        for room in 0..=200 {
            let mut buffer = [0; 200];
            let room = &mut buffer[..room];
            let Some(response) = authority.refuse(NOW, client(4000), &request, Refused::Unauthenticated, room) else {
                continue;
            };
            let response = Message::parse(response).unwrap();
            let announced = SecurityFeatures::of_nonce(response.nonce().unwrap().unwrap()).unwrap();
            let bit = announced.contains(SecurityFeatures::PASSWORD_ALGORITHMS);
            assert_eq!(response.password_algorithms().unwrap().is_some(), bit);
            assert!(bit || length > 32, "a realm of {length} bytes always offers SHA-256");
        }
    }
}

/// 28 bytes: with REQUESTED-TRANSPORT, which every Allocate has.
#[test]
fn a_challenge_is_at_most_two_and_a_half_times_the_smallest_allocate_request() {
    let mut buffer = [0; 28];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    writer.push(Attribute::RequestedTransport(17));
    let request = Message::parse(writer.finish().unwrap()).unwrap();
    for (length, answered, algorithms) in [(11, true, true), (32, true, true), (33, true, false), (45, false, false)] {
        let authority = Authority::new(&"r".repeat(length), Nonces::new(&[3; 32], LIFETIME));
        let mut buffer = [0; 200];
        let room = longest_answer(request.bytes().len(), client(4000).ip());
        let response = authority.refuse(NOW, client(4000), &request, Refused::Unauthenticated, &mut buffer[..room]);
        assert_eq!(response.is_some(), answered, "{length}");
        let response = response.map(|bytes| Message::parse(bytes).unwrap());
        assert_eq!(response.is_some_and(|response| response.password_algorithms() != Ok(None)), algorithms, "{length}");
    }
}

#[test]
fn the_whole_table_of_requests_and_refusals() {
    let bit = SecurityFeatures::PASSWORD_ALGORITHMS;
    let fresh = nonce_of(bit, 4000, ago(30));
    let expired = nonce_of(bit, 4000, ago(60));
    let anothers = nonce_of(bit, 4001, ago(30));
    let without_bit = nonce_of(SecurityFeatures::NONE, 4000, ago(30));
    // The bit taken out on the way.
    let stripped = fresh.replace("obMatJos2gAAA", "obMatJos2AAAA");
    let md5 = Key::long_term_md5("alice", REALM, "wonderland").unwrap();
    let sha256 = Key::long_term_sha256("alice", REALM, "wonderland").unwrap();
    let guess = Key::from_bytes(b"guess");
    let full = || Claims {
        name: Some("alice"),
        hash: None,
        realm: Some(REALM),
        nonce: Some(&fresh),
        list: Some(PasswordAlgorithms::SHA256_MD5),
        chosen: Some(PasswordAlgorithm::SHA256),
    };
    let old = || Claims { list: None, chosen: None, ..full() };
    let list = |bytes: &'static [u8]| PasswordAlgorithms::from_bytes(bytes);
    let raw = |kind: AttributeType, value: &[u8], key: &Key| {
        verdict(|writer| {
            writer.push_raw(kind, value);
            full().write(writer);
            writer.integrity_sha256(key);
        })
    };
    let hash = userhash("alice", REALM).ok();
    let mut table = String::new();
    let mut row = |name: &str, verdict: String| table += &format!("{name:50} | {verdict}\n");

    row("nothing", verdict(|_| ()));
    row("all but a seal", verdict(|writer| full().write(writer)));
    row(
        "a seal alone",
        verdict(|writer| {
            writer.integrity(&md5);
        }),
    );
    row("no user name", Claims { name: None, ..full() }.sha256(&sha256));
    row("no realm", Claims { realm: None, ..full() }.sha256(&sha256));
    row("no nonce", Claims { nonce: None, ..full() }.sha256(&sha256));
    row("USERNAME and USERHASH", Claims { hash, ..full() }.sha256(&sha256));
    row("USERNAME is no UTF-8", raw(AttributeType::USERNAME, &[0xff], &sha256));
    row("USERHASH of 31 bytes", raw(AttributeType::USERHASH, &[0; 31], &sha256));
    row("user name behind the seal", {
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
        Claims { name: None, ..full() }.write(&mut writer);
        writer.integrity_sha256(&sha256);
        let mut bytes = writer.finish().unwrap().to_vec();
        bytes.extend(b"\x00\x06\x00\x05alice\0\0\0");
        let length = (bytes.len() - 20) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        judged(&bytes)
    });

    row("the list, no choice", Claims { chosen: None, ..full() }.sha256(&sha256));
    row("a choice, no list", Claims { list: None, ..full() }.sha256(&sha256));
    row("the list in another order", Claims { list: list(&[0, 1, 0, 0, 0, 2, 0, 0]), ..full() }.sha256(&sha256));
    row("the list cut short", {
        Claims { list: list(&[0, 1, 0, 0]), chosen: Some(PasswordAlgorithm::MD5), ..full() }.sha256(&md5)
    });
    row("a choice that is not on the list", {
        Claims { chosen: Some(PasswordAlgorithm { number: 3, parameters: &[] }), ..full() }.sha256(&sha256)
    });
    row("a choice with parameters", {
        Claims { chosen: Some(PasswordAlgorithm { number: 2, parameters: b"salt" }), ..full() }.sha256(&sha256)
    });
    row("the list is malformed", raw(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 9], &sha256));
    row("neither, SHA-1 by the MD5 key", old().sha1(&md5));
    row("neither, SHA-256 by the MD5 key", old().sha256(&md5));
    row("neither, SHA-1 by the SHA-256 key", old().sha1(&sha256));
    row("nonce without the bit, algorithms of no account", {
        Claims { nonce: Some(&without_bit), ..full() }.sha256(&md5)
    });

    row("unknown user", Claims { name: Some("mallory"), ..full() }.sha256(&sha256));
    row(
        "unknown user, the key of nobody",
        Claims { name: Some("mallory"), ..full() }.sha256(&Key::from_bytes(&[0; 32])),
    );
    row("unknown USERHASH", Claims { name: None, hash: Some([7; 32]), ..full() }.sha256(&sha256));
    row("another realm", Claims { realm: Some("example.com"), ..full() }.sha256(&sha256));
    row("wrong password", full().sha256(&guess));
    row("key of the other algorithm", full().sha256(&md5));
    row("tag cut to 16 bytes", {
        verdict(|writer| {
            full().write(writer);
            writer.integrity_sha256_of(&sha256, 16);
        })
    });
    row("both seals, SHA-256 wrong", {
        verdict(|writer| {
            full().write(writer);
            writer.integrity(&sha256).integrity_sha256(&guess);
        })
    });
    row("both seals, SHA-1 wrong", {
        verdict(|writer| {
            full().write(writer);
            writer.integrity(&guess).integrity_sha256(&sha256);
        })
    });

    row("right, but the nonce has expired", Claims { nonce: Some(&expired), ..full() }.sha256(&sha256));
    row("right, but the nonce is another client's", Claims { nonce: Some(&anothers), ..full() }.sha256(&sha256));
    row("right, but the nonce is nobody's", Claims { nonce: Some("obMatJos2gAAAx"), ..full() }.sha256(&sha256));
    row("right for an old client, the bit taken out", Claims { nonce: Some(&stripped), ..old() }.sha1(&md5));
    row("wrong password and an expired nonce", Claims { nonce: Some(&expired), ..full() }.sha256(&guess));

    row("right", full().sha256(&sha256));
    row("right, by USERHASH", Claims { name: None, hash, ..full() }.sha256(&sha256));
    row("right, MD5 chosen", Claims { chosen: Some(PasswordAlgorithm::MD5), ..full() }.sha256(&md5));
    row("right, SHA-256 chosen but sealed by SHA-1", full().sha1(&sha256));
    assert_eq!(table, TABLE, "\n{table}");
}

const TABLE: &str = "\
nothing                                            | 401 REALM NONCE PASSWORD-ALGORITHMS
all but a seal                                     | 401 REALM NONCE PASSWORD-ALGORITHMS
a seal alone                                       | 400
no user name                                       | 400
no realm                                           | 400
no nonce                                           | 400
USERNAME and USERHASH                              | 400
USERNAME is no UTF-8                               | 400
USERHASH of 31 bytes                               | 400
user name behind the seal                          | 400
the list, no choice                                | 400
a choice, no list                                  | 400
the list in another order                          | 400
the list cut short                                 | 400
a choice that is not on the list                   | 400
a choice with parameters                           | 400
the list is malformed                              | 400
neither, SHA-1 by the MD5 key                      | granted, sealed by Sha1
neither, SHA-256 by the MD5 key                    | granted, sealed by Sha1
neither, SHA-1 by the SHA-256 key                  | 401 REALM NONCE PASSWORD-ALGORITHMS
nonce without the bit, algorithms of no account    | granted, sealed by Sha1
unknown user                                       | 401 REALM NONCE PASSWORD-ALGORITHMS
unknown user, the key of nobody                    | 401 REALM NONCE PASSWORD-ALGORITHMS
unknown USERHASH                                   | 401 REALM NONCE PASSWORD-ALGORITHMS
another realm                                      | 401 REALM NONCE PASSWORD-ALGORITHMS
wrong password                                     | 401 REALM NONCE PASSWORD-ALGORITHMS
key of the other algorithm                         | 401 REALM NONCE PASSWORD-ALGORITHMS
tag cut to 16 bytes                                | 401 REALM NONCE PASSWORD-ALGORITHMS
both seals, SHA-256 wrong                          | 401 REALM NONCE PASSWORD-ALGORITHMS
both seals, SHA-1 wrong                            | granted, sealed by Sha256
right, but the nonce has expired                   | 438 REALM NONCE PASSWORD-ALGORITHMS
right, but the nonce is another client's           | 438 REALM NONCE PASSWORD-ALGORITHMS
right, but the nonce is nobody's                   | 438 REALM NONCE PASSWORD-ALGORITHMS
right for an old client, the bit taken out         | 438 REALM NONCE PASSWORD-ALGORITHMS
wrong password and an expired nonce                | 401 REALM NONCE PASSWORD-ALGORITHMS
right                                              | granted, sealed by Sha256
right, by USERHASH                                 | granted, sealed by Sha256
right, MD5 chosen                                  | granted, sealed by Sha256
right, SHA-256 chosen but sealed by SHA-1          | granted, sealed by Sha256
";
