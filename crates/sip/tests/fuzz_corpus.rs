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
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/session.rs"]
mod session;
#[path = "../../../fuzz/src/transaction.rs"]
mod transaction;
#[path = "../../../fuzz/src/uri.rs"]
mod uri;

/// At some places, with what means something to these parsers.
fn replay(target: &str, fuzz: fn(&[u8])) {
    replay::replay(target, fuzz, 48, &[b'"', b'<', b';', b',', b'\r', b'\n', b':', 0, 0xff]);
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
