//! What the node says about itself: Prometheus text, health, and the answer to `farspeak status`.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farspeak_net::{Listening, ShardHandles};
use serde_json::{Value, json};

use super::run::State;
use super::sip::Sip;
use super::{Server, certificates, turn};
use crate::shard::{Shard, ShardCounts};
use crate::turn::TurnService;

/// What every shard holds, asked of each; a shard that does not answer in time is missing. Empty without SIP.
async fn shard_counts(state: &State) -> Vec<Option<ShardCounts>> {
    let handles = state.borrow().sip.as_ref().map(|sip| sip.net.handles().clone());
    let mut counts = Vec::new();
    for handle in handles.iter().flat_map(ShardHandles::iter) {
        let answer = handle.query(|shard: &mut Shard, _| shard.counts());
        counts.push(tokio::time::timeout(SHARD_PATIENCE, answer).await.ok().and_then(Result::ok));
    }
    counts
}

/// Whether every shard and every packet loop answers, and the last registration could be written.
pub(super) async fn health(state: &State) -> Result<(), String> {
    let counts = shard_counts(state).await;
    if let Some(shard) = counts.iter().position(Option::is_none) {
        return Err(format!("shard {shard} does not answer"));
    }
    if let Some(shard) = turn::reports(state).await.iter().position(Option::is_none) {
        return Err(format!("packet loop {shard} of STUN and TURN does not answer"));
    }
    let server = state.borrow();
    let failing = |sip: &Sip| sip.journal.handle().counters().failing.load(Ordering::Relaxed);
    if server.sip.as_ref().is_some_and(failing) {
        return Err("the store cannot be written: registrations are refused".to_owned());
    }
    Ok(())
}

/// The answer to `farspeak status`. Without SIP, what it would say is left out.
pub(super) async fn status(state: &State) -> Value {
    let counts = shard_counts(state).await;
    let server = state.borrow();
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_s": server.started.elapsed().as_secs(),
        "domain": server.loaded.config.domain.name,
        "data": server.data.path(),
        "config": server.loaded.file,
        "only_turn": server.sip.is_none(),
        "listening": listeners(server.sip.as_ref().map(|sip| sip.net.listening()).unwrap_or_default()),
        "turn": listeners(server.turn.as_ref().map(TurnService::listening).unwrap_or_default()),
        "admin": server.summary.admin,
        "certificate": certificate(&server),
        "users": server.users.len(),
        "server": server.way_in(),
    });
    if let Some(sip) = &server.sip {
        let sum = |of: Held| counts.iter().flatten().map(of).sum::<usize>();
        let counters = &sip.shared.counters;
        let get = |counter: &AtomicU64| json!(counter.load(Ordering::Relaxed));
        for (key, value) in [
            ("registrations", json!(sip.shared.location.len())),
            ("connections", json!(connections(sip))),
            ("transactions", json!(sum(|counts| counts.transactions))),
            ("requests_in_progress", json!(sum(|counts| counts.contexts))),
            ("calls", get(&counters.calls)),
            ("calls_answered", get(&counters.answered)),
            ("refused", get(&counters.refused)),
            ("subscriptions", json!(sip.shared.subscriptions())),
            ("shards", json!(counts.len())),
            ("shards_silent", json!(counts.iter().filter(|counts| counts.is_none()).count())),
        ] {
            status[key] = value;
        }
    }
    status
}

/// Null where nothing uses TLS.
fn certificate(server: &Server) -> Value {
    let current = server.certificates.current();
    let Some(preferred) = current.first() else { return Value::Null };
    let self_made = server.loaded.config.certificate.chain.is_none();
    json!({"fingerprint": preferred.fingerprint(), "ends_unix": ends_unix(server), "self_made": self_made})
}

/// Where something listens, for JSON.
pub(super) fn listeners(listening: &[Listening]) -> Vec<Value> {
    let each = listening.iter();
    each.map(|it| json!({"transport": it.transport.as_str(), "address": it.address.to_string()})).collect()
}

fn ends_unix(server: &Server) -> Option<u64> {
    let end = certificates::earliest_end(&server.certificates.current())?;
    end.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Connections of phones and browsers now.
fn connections(sip: &Sip) -> i64 {
    sip.net.counters().iter().map(|counters| counters.connections.get()).sum()
}

/// One of the things that a shard holds.
type Held = fn(&ShardCounts) -> usize;

/// The Prometheus text format, version 0.0.4.
pub(super) async fn prometheus(state: &State) -> String {
    let counts = shard_counts(state).await;
    let turn = turn::expose(state).await;
    let mut out = Exposition::default();
    let server = state.borrow();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    out.family("farspeak_build_info", "gauge", "Which version runs.");
    out.sample("farspeak_build_info", &version, 1);
    let started =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(server.started.elapsed());
    out.single(
        "farspeak_start_time_seconds",
        "gauge",
        "When the node started, in seconds since 1970.",
        started.as_secs(),
    );
    out.single("farspeak_users", "gauge", "Users.", server.users.len());
    if let Some(end) = ends_unix(&server) {
        out.single(
            "farspeak_certificate_end_seconds",
            "gauge",
            "When the certificate ends, in seconds since 1970.",
            end,
        );
    }
    if let Some(sip) = &server.sip {
        expose_sip(&mut out, sip, &counts);
    }
    out.0 + &turn
}

/// What phones and the journal do.
fn expose_sip(out: &mut Exposition, sip: &Sip, counts: &[Option<ShardCounts>]) {
    let counters = &sip.shared.counters;
    out.single("farspeak_registrations", "gauge", "Phones registered.", sip.shared.location.len());
    out.single("farspeak_subscriptions", "gauge", "Subscriptions notified.", sip.shared.subscriptions());
    let published = sip.shared.published_bytes();
    out.single("farspeak_published_bytes", "gauge", "Bytes of presence documents held.", published);
    let of_node: [(&str, &str, &AtomicU64); 12] = [
        ("requests", "Requests accepted for processing.", &counters.requests),
        ("forwarded", "Branches on which a request was forwarded.", &counters.forwarded),
        ("calls", "Calls forwarded at least once.", &counters.calls),
        ("calls_answered", "Calls answered.", &counters.answered),
        ("registered", "REGISTER requests that ended with 200.", &counters.registrations),
        ("subscribed", "Subscriptions accepted, those that wait for permission included.", &counters.subscriptions),
        ("published", "PUBLISH requests that ended with 200.", &counters.publications),
        ("refused", "Requests refused for want of valid credentials.", &counters.refused),
        ("malformed", "Messages that could not be parsed.", &counters.malformed),
        ("dropped", "Messages dropped without an answer.", &counters.dropped),
        ("loops", "Requests that went in circles.", &counters.loops),
        ("overloaded", "Requests refused because a table was full.", &counters.overloaded),
    ];
    for (name, help, counter) in of_node {
        out.single(&format!("farspeak_{name}_total"), "counter", help, counter.load(Ordering::Relaxed));
    }
    let journal = sip.journal.handle().counters();
    let of_journal: [(&str, &str, &AtomicU64); 4] = [
        ("commits", "Registrations written to the store.", &journal.commits),
        ("rows", "Rows written to the store.", &journal.rows),
        ("batches", "Transactions that it took.", &journal.batches),
        ("failures", "Registrations that could not be written.", &journal.failures),
    ];
    for (name, help, counter) in of_journal {
        out.single(&format!("farspeak_journal_{name}_total"), "counter", help, counter.load(Ordering::Relaxed));
    }
    let waiting = journal.waiting.load(Ordering::Relaxed);
    out.single("farspeak_journal_waiting", "gauge", "Registrations that wait for the store now.", waiting);

    let of_shard: [(&str, &str, Held); 4] = [
        ("transactions", "Transactions held.", |counts| counts.transactions),
        ("contexts", "Requests under way or lately answered.", |counts| counts.contexts),
        ("branches", "Forwarded requests that wait for an answer.", |counts| counts.branches),
        ("keep_alives", "UDP phones whose NAT is kept open.", |counts| counts.keep_alives),
    ];
    for (name, help, of) in of_shard {
        let name = format!("farspeak_shard_{name}");
        out.family(&name, "gauge", help);
        for (shard, counts) in counts.iter().enumerate() {
            if let Some(counts) = counts {
                out.sample(&name, &format!("shard=\"{shard}\""), of(counts));
            }
        }
    }
    let net: Vec<_> = sip.net.counters().iter().map(|counters| counters.list()).collect();
    for (index, (name, help, _)) in net.first().into_iter().flatten().enumerate() {
        let gauge = matches!(*name, "connections" | "handshakes" | "queued_bytes");
        let full = if gauge { format!("farspeak_net_{name}") } else { format!("farspeak_net_{name}_total") };
        out.family(&full, if gauge { "gauge" } else { "counter" }, help);
        for (shard, list) in net.iter().enumerate() {
            out.sample(&full, &format!("shard=\"{shard}\""), list[index].2);
        }
    }
}

#[derive(Default)]
pub(super) struct Exposition(String);

impl Exposition {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n"); // writing to a String cannot fail
    }

    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }
}

/// How long a shard may take to say what it holds.
const SHARD_PATIENCE: Duration = Duration::from_secs(5);
