//! What an operator asks of the STUN and TURN service: how it is, who uses it, an end to somebody's use, a credential.

use farspeak_net::relay::RelayHandle;
use farspeak_turn::{Census, SessionReport, Traffic};
use serde_json::{Value, json};

use super::metrics::{Exposition, listeners};
use super::run::State;
use crate::control::{Answer, Failure, FailureKind, Request};
use crate::entropy::SystemRng;
use crate::turn::{ShardReport, TurnMachine, TurnService};

/// What time-limited credentials are made with: letters and digits, so that it can be given to a service as well.
pub(super) fn new_secret() -> Vec<u8> {
    SystemRng::new().key::<32>().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// Does what a request about TURN asks.
pub(super) async fn perform(request: &Request, state: &State) -> Answer {
    let handle = handle(state).ok_or_else(|| Failure::new(FailureKind::Failed, OFF))?;
    match request {
        Request::TurnStatus => Ok(status(state, handle).await),
        Request::TurnSessions => {
            let sessions = TurnService::sessions(handle, MOST_SESSIONS).await;
            let now = state.borrow().clock.now();
            let sessions: Vec<Value> = sessions.iter().map(|one| session(one, now)).collect();
            Ok(json!({ "sessions": sessions }))
        }
        Request::TurnKick { whom } => {
            let kicked = TurnService::kick(handle, whom.clone()).await;
            match kicked {
                0 => Err(Failure::new(FailureKind::Unknown, format!("{whom:?} has no session"))),
                kicked => Ok(json!({"whom": whom, "kicked": kicked})),
            }
        }
        Request::TurnCredentials { name, ttl } => {
            let server = state.borrow();
            let turn = server.turn.as_ref().ok_or_else(|| Failure::new(FailureKind::Failed, OFF))?;
            let longest = server.loaded.config.turn.max_credential_lifetime;
            if ttl.is_some_and(|ttl| ttl.is_zero() || ttl > longest) {
                let hours = longest.as_secs() / 3600;
                let text = format!("a credential is good for 1s to {hours}h (turn.max_credential_lifetime)");
                return Err(Failure::new(FailureKind::Invalid, text));
            }
            let issued = turn.issuer().issue(server.clock.now(), name, *ttl);
            if issued.username.len() > LONGEST_NAME || !name.chars().all(|c| c.is_ascii_graphic()) {
                let text = format!("{name:?} is no name for a TURN client: use letters and digits, no more than 200");
                return Err(Failure::new(FailureKind::Invalid, text));
            }
            let mut value = issued.to_json();
            value["realm"] = json!(server.users.realm());
            Ok(value)
        }
        _ => Err(Failure::new(FailureKind::Invalid, "not about TURN")),
    }
}

fn handle(state: &State) -> Option<RelayHandle<TurnMachine>> {
    state.borrow().turn.as_ref().map(TurnService::handle)
}

/// What every packet loop has to say; one that does not answer in time is missing. Empty if the service is off.
pub(super) async fn reports(state: &State) -> Vec<Option<ShardReport>> {
    match handle(state) {
        Some(handle) => TurnService::shards(handle).await,
        None => Vec::new(),
    }
}

async fn status(state: &State, handle: RelayHandle<TurnMachine>) -> Value {
    let reports = TurnService::shards(handle).await;
    let server = state.borrow();
    let Some(turn) = &server.turn else { return Value::Null };
    let config = &server.loaded.config;
    let sum = |of: fn(&ShardReport) -> u64| reports.iter().flatten().map(of).sum::<u64>();
    let connections: i64 = turn.connections().iter().map(|counters| counters.connections.get()).sum();
    let users: Vec<Value> = turn
        .usage()
        .into_iter()
        .map(|(user, usage)| {
            json!({
                "user": &*user, "allocations": usage.allocations, "total_allocations": usage.total_allocations,
                "sent": traffic(usage.sent), "received": traffic(usage.received),
            })
        })
        .collect();
    json!({
        "realm": turn.realm(),
        "listening": listeners(turn.listening()),
        "relay": crate::turn::relay_addresses(config),
        "ports": [config.turn.ports.0.start(), config.turn.ports.0.end()],
        "shards": reports.len(),
        "shards_silent": reports.iter().filter(|report| report.is_none()).count(),
        "allocations": sum(|report| report.allocations as u64),
        "connections": connections,
        "sent": {"packets": sum(|it| it.counters.sent.packets), "bytes": sum(|it| it.counters.sent.bytes)},
        "received": {"packets": sum(|it| it.counters.received.packets), "bytes": sum(|it| it.counters.received.bytes)},
        "challenged": sum(|it| it.counters.challenged),
        "refused": sum(|it| it.counters.refused),
        "forbidden": sum(|it| it.counters.forbidden),
        "users": users,
    })
}

fn session(report: &SessionReport, now: farspeak_sansio::Instant) -> Value {
    let relayed: Vec<String> = report.relayed.iter().flatten().map(ToString::to_string).collect();
    json!({
        "id": format!("#{:x}", report.id.to_bits()),
        "user": &*report.user,
        "client": format!("{} {}", report.client.transport, report.client.remote),
        "relayed": relayed,
        "age_s": (now - report.created).as_secs(),
        "expires_s": (report.expires - now).as_secs(),
        "permissions": report.permissions,
        "channels": report.channels,
        "sent": traffic(report.sent),
        "received": traffic(report.received),
    })
}

fn traffic(traffic: Traffic) -> Value {
    json!({"packets": traffic.packets, "bytes": traffic.bytes})
}

/// Adds what the service has to say to the metrics.
pub(super) async fn expose(state: &State) -> String {
    let Some(handle) = handle(state) else { return String::new() };
    let census = TurnService::census(handle).await;
    let reports = reports(state).await;
    let server = state.borrow();
    let Some(turn) = &server.turn else { return String::new() };
    let mut out = Exposition::default();
    let each = |out: &mut Exposition, name: &str, kind: &str, help: &str, of: &dyn Fn(&ShardReport) -> u64| {
        out.family(name, kind, help);
        for (shard, report) in reports.iter().enumerate() {
            if let Some(report) = report {
                out.sample(name, &format!("shard=\"{shard}\""), of(report));
            }
        }
    };
    each(&mut out, "farspeak_turn_allocations", "gauge", "Relayed addresses in use.", &|it| it.allocations as u64);
    expose_requests(&mut out, &reports);
    expose_census(&mut out, &census);
    for (name, help, of) in OF_MACHINE {
        each(&mut out, &format!("farspeak_turn_{name}_total"), "counter", help, &|it| of(&it.counters));
    }
    let packets: Vec<_> = reports.iter().map(|report| report.as_ref().map(|it| it.packets.list())).collect();
    let names = farspeak_net::relay::RelayCounters::default().list();
    for (index, (name, help, _)) in names.iter().enumerate() {
        let full = format!("farspeak_turn_net_{name}_total");
        out.family(&full, "counter", help);
        for (shard, list) in packets.iter().enumerate() {
            if let Some(list) = list {
                out.sample(&full, &format!("shard=\"{shard}\""), list[index].2);
            }
        }
    }
    out.family("farspeak_turn_connections", "gauge", "TCP and TLS connections of clients.");
    for (shard, counters) in turn.connections().iter().enumerate() {
        out.sample("farspeak_turn_connections", &format!("shard=\"{shard}\""), counters.connections.get());
    }
    out.family("farspeak_turn_connections_refused_total", "counter", "Connections closed because there were too many.");
    for (shard, counters) in turn.connections().iter().enumerate() {
        let refused = counters.connections_refused.get();
        out.sample("farspeak_turn_connections_refused_total", &format!("shard=\"{shard}\""), refused);
    }
    // Who relays how much is for `farspeak turn status`: a label for each user would tell it to whoever reads metrics.
    out.single("farspeak_turn_users", "gauge", "Users who have relayed lately.", turn.usage().len());
    out.into_text()
}

/// Requests by transport, method and result: successes of every kind from the start, the rest once it has happened.
fn expose_requests(out: &mut Exposition, reports: &[Option<ShardReport>]) {
    const NAME: &str = "farspeak_turn_requests_total";
    out.family(NAME, "counter", "TURN requests answered, by transport, method, and success or error code.");
    for (shard, report) in reports.iter().enumerate() {
        for (transport, method, result, count) in report.iter().flat_map(|report| report.counters.requests.iter()) {
            if count > 0 || result == "success" {
                let labels =
                    format!("shard=\"{shard}\",transport=\"{transport}\",method=\"{method}\",result=\"{result}\"");
                out.sample(NAME, &labels, count);
            }
        }
    }
}

/// What sessions hold now.
fn expose_census(out: &mut Exposition, census: &[Census]) {
    out.family("farspeak_turn_sessions", "gauge", "Clients that have relayed addresses, by how they come.");
    for (shard, of_shard) in census.iter().enumerate() {
        for (transport, count) in [("udp", of_shard.over_udp), ("tcp", of_shard.over_tcp), ("tls", of_shard.over_tls)] {
            out.sample("farspeak_turn_sessions", &format!("shard=\"{shard}\",transport=\"{transport}\""), count);
        }
    }
    expose_held(out, "farspeak_turn_permissions", "Permissions that last.", census, |it| it.permissions);
    expose_held(out, "farspeak_turn_channels", "Channels that last.", census, |it| it.channels);
}

fn expose_held(out: &mut Exposition, name: &str, help: &str, census: &[Census], of: fn(&Census) -> usize) {
    out.family(name, "gauge", help);
    for (shard, of_shard) in census.iter().enumerate() {
        out.sample(name, &format!("shard=\"{shard}\""), of(of_shard));
    }
}

/// A counter of a shard's machine.
type OfMachine = (&'static str, &'static str, fn(&farspeak_turn::Counters) -> u64);

const OF_MACHINE: [OfMachine; 22] = [
    ("binding_answered", "Binding requests answered.", |it| it.binding.answered),
    ("binding_refused", "Binding requests refused.", |it| it.binding.refused),
    ("binding_limited", "Binding requests dropped because their source asked too often.", |it| it.binding.limited),
    ("allocated", "Relayed addresses given out.", |it| it.allocated),
    ("released", "Relayed addresses given back by their clients.", |it| it.released),
    ("expired", "Relayed addresses that nobody refreshed.", |it| it.expired),
    ("ended", "Relayed addresses ended by us, or with their connection.", |it| it.ended),
    ("refreshed", "Refresh requests granted.", |it| it.refreshed),
    ("moved", "Clients that kept their relayed address when their own changed.", |it| it.moved),
    ("challenged", "Requests answered by a challenge.", |it| it.challenged),
    ("limited", "Strangers not answered because their source asked too often.", |it| it.limited),
    ("over_quota", "Allocations refused because a user or a source had enough.", |it| it.over_quota),
    ("forbidden", "Requests and data refused because of the peer's address.", |it| it.forbidden),
    ("malformed", "Packets from clients that made no sense.", |it| it.malformed),
    ("stray", "Packets from clients without a relayed address.", |it| it.stray),
    ("unpermitted", "Data dropped for want of a permission.", |it| it.unpermitted),
    ("over_bandwidth", "Data dropped because too much came.", |it| it.over_bandwidth),
    ("sent_packets", "Datagrams relayed from clients to peers.", |it| it.sent.packets),
    ("sent_bytes", "Bytes in them.", |it| it.sent.bytes),
    ("received_packets", "Datagrams relayed from peers to clients.", |it| it.received.packets),
    ("received_bytes", "Bytes in them.", |it| it.received.bytes),
    ("joined_packets", "Datagrams from one relayed address to another, counted above as well.", |it| it.joined.packets),
];

const OFF: &str = "STUN and TURN do not run on this node; turn.enabled = true and a restart change that";
/// Bytes of a user name that every client can send (RFC 8489 §14.3 allows 508).
const LONGEST_NAME: usize = 256;
/// Sessions listed of each shard.
const MOST_SESSIONS: usize = 100_000;
