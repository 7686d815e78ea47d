//! Replays the seeds of the fuzz targets that concern this crate, with the targets' own assertions.

#[path = "../../../fuzz/src/digest.rs"]
mod digest;
#[path = "../../../fuzz/src/framer.rs"]
mod framer;
#[path = "../../../fuzz/src/headers.rs"]
mod headers;
#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/message.rs"]
mod message;
#[path = "../../../fuzz/src/multipart.rs"]
mod multipart;
#[path = "../../../fuzz/src/packages.rs"]
mod packages;
#[path = "../../../fuzz/src/session.rs"]
mod session;
#[path = "../../../fuzz/src/transaction.rs"]
mod transaction;
#[path = "../../../fuzz/src/uri.rs"]
mod uri;

/// Each seed, and what each looks like with a byte missing, changed or doubled here and there.
fn replay(target: &str, fuzz: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("it can be listed").path();
        if !path.is_file() || path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let seed = std::fs::read(&path).expect("it can be read");
        fuzz(&seed);
        for at in (0..seed.len()).step_by(7.max(seed.len() / 48)) {
            fuzz(&seed[..at]);
            for byte in [b'"', b'<', b';', b',', b'\r', b'\n', b':', 0, 0xff] {
                let mut changed = seed.clone();
                changed[at] = byte;
                fuzz(&changed);
            }
        }
        seeds += 1;
    }
    assert!(seeds >= 3, "{folder} holds {seeds} seeds");
}

#[test]
fn message_seeds_hold() {
    replay("message", message::fuzz);
}

#[test]
fn framer_seeds_hold() {
    replay("framer", framer::fuzz);
}

#[test]
fn uri_seeds_hold() {
    replay("uri", uri::fuzz);
}

#[test]
fn digest_seeds_hold() {
    replay("digest", digest::fuzz);
}

#[test]
fn headers_seeds_hold() {
    replay("headers", headers::fuzz);
}

#[test]
fn multipart_seeds_hold() {
    replay("multipart", multipart::fuzz);
}

#[test]
fn package_seeds_hold() {
    replay("packages", packages::fuzz);
}

#[test]
fn session_seeds_hold() {
    replay("session", session::fuzz);
}

#[test]
fn transaction_seeds_hold() {
    replay("client_invite", transaction::client_invite);
    replay("client_non_invite", transaction::client_non_invite);
    replay("server_invite", transaction::server_invite);
    replay("server_non_invite", transaction::server_non_invite);
    replay("endpoint", transaction::endpoint);
}
