//! Every fuzz target in one binary: `FUZZ_TARGET=message farspeak-fuzz corpus/message`. See `./run`.
//!
//! A new target is a file with a function that takes bytes and panics if a promise breaks, a line in [`TARGETS`], and a
//! few seeds in `corpus/<name>/`. The files use nothing but `input` and the crates they attack, so that an ordinary test of that crate
//! can take them in and replay the corpus (`crates/sip/tests/fuzz_corpus.rs`).

#![no_main]

mod digest;
mod framer;
mod headers;
mod ice_agent;
mod ice_candidate;
mod input;
mod message;
mod multipart;
mod node;
mod offer_answer;
mod packages;
mod port_mapping;
mod relay_stream;
mod sdp;
mod session;
mod stun_message;
mod stun_server;
mod transaction;
mod turn_client;
mod turn_server;
mod uri;

use std::sync::OnceLock;

type Target = fn(&[u8]);

/// Name and function of each target; `./run` reads the names from here, one per line.
const TARGETS: &[(&str, Target)] = &[
    ("message", message::fuzz),
    ("framer", framer::fuzz),
    ("uri", uri::fuzz),
    ("digest", digest::fuzz),
    ("headers", headers::fuzz),
    ("multipart", multipart::fuzz),
    ("client_invite", transaction::client_invite),
    ("client_non_invite", transaction::client_non_invite),
    ("server_invite", transaction::server_invite),
    ("server_non_invite", transaction::server_non_invite),
    ("endpoint", transaction::endpoint),
    ("session", session::fuzz),
    ("node", node::fuzz),
    ("packages", packages::fuzz),
    ("sdp", sdp::fuzz),
    ("offer_answer", offer_answer::fuzz),
    ("stun_message", stun_message::fuzz),
    ("stun_server", stun_server::fuzz),
    ("turn_client", turn_client::fuzz),
    ("turn_server", turn_server::fuzz),
    ("port_mapping", port_mapping::fuzz),
    ("ice_candidate", ice_candidate::fuzz),
    ("ice_agent", ice_agent::fuzz),
    ("proxy_header", relay_stream::proxy_header),
    ("relay_stream", relay_stream::fuzz),
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
        TARGETS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no target is called {name}")).1
    });
    target(data);
});
