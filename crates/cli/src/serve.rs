//! `farspeak serve`: runs the node.

use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use farspeak_net::Listening;
use farspeak_node::server::{Server, ServerOptions, Summary};
use farspeak_node::telemetry::Telemetry;
use farspeak_sansio::Transport;
use serde_json::{Value, json};

use crate::exit::{CliResult, Exit};
use crate::output;
use crate::place::Place;

pub fn run(place: &Place, json: bool, only_turn: bool) -> CliResult {
    let loaded = place.load()?;
    let telemetry = Telemetry::start(&loaded.config);
    if let Err(error) = farspeak_net::raise_open_files() {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
    let (data, config_file) = (place.data.clone(), place.config_file.clone());
    let server = Server::start(ServerOptions { data, loaded, config_file, telemetry, only_turn })?;
    server.run(|summary| {
        if json {
            output::print_json(&to_json(summary));
        } else {
            output::print(&describe(summary));
        }
        let _ = std::io::stdout().flush(); // whoever waits for the line gets it now
        notify_service_manager();
    })?;
    Ok(Exit::Done)
}

/// The last line is `ready`.
fn describe(summary: &Summary) -> String {
    let of = |transports: &[Transport]| {
        listeners(summary.listening.iter().filter(|listener| transports.contains(&listener.transport)))
    };
    let state = if summary.first_start { " (new)" } else { "" };
    let mut rows = vec![
        ("domain", summary.domain.clone()),
        ("data", format!("{}{state}", summary.data.display())),
        ("phones", of(&[Transport::Tls])),
        ("web", of(&[Transport::Wss])),
    ];
    rows.push(("turn", listeners(&summary.turn)));
    let legacy = of(&[Transport::Udp, Transport::Tcp, Transport::Ws]);
    if !legacy.is_empty() {
        rows.push(("clear text", legacy));
    }
    if let Some(admin) = summary.admin {
        rows.push(("metrics", format!("http://{admin}/metrics")));
    }
    match (&summary.authority_fingerprint, &summary.certificate_fingerprint) {
        (Some(fingerprint), _) => rows.push(("authority", format!("SHA-256 {fingerprint}"))),
        (None, Some(fingerprint)) => rows.push(("certificate", format!("SHA-256 {fingerprint}"))),
        (None, None) => {}
    }
    match (summary.only_turn, summary.users) {
        (false, users) => rows.push(("users", format!("{users}, {} phones known", summary.restored))),
        (true, 0) => {}
        (true, users) => rows.push(("users", format!("{users}, who may relay with their phones' passwords"))),
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| vec![format!("  {name}"), value])
        .collect();
    let mut out = format!("farspeak {} serves\n{}", env!("CARGO_PKG_VERSION"), output::table(&rows));
    for warning in &summary.warnings {
        out.push_str(&format!("{} {warning}\n", output::paint("warning:", "33;1", output::is_terminal())));
    }
    if summary.authority_fingerprint.is_some() && summary.first_start {
        let whose = if summary.only_turn { "clients that come by TLS" } else { "phones" };
        out.push_str(&format!("{whose} have to trust the authority: `farspeak ca > ca.pem`\n"));
    }
    if summary.only_turn {
        out.push_str("next: `farspeak turn credentials` in another terminal\n");
    } else if summary.users == 0 {
        out.push_str("next: `farspeak user add alice` in another terminal\n");
    }
    out.push_str("ready\n");
    out
}

fn listeners<'a>(listening: impl IntoIterator<Item = &'a Listening>) -> String {
    let each = listening.into_iter().map(|listener| format!("{} {}", listener.transport, listener.address));
    each.collect::<Vec<_>>().join(", ")
}

fn to_json(summary: &Summary) -> Value {
    let list = |listening: &[Listening]| -> Vec<Value> {
        let each = listening.iter();
        each.map(|it| json!({"transport": it.transport.as_str(), "address": it.address.to_string()})).collect()
    };
    let (listening, turn) = (list(&summary.listening), list(&summary.turn));
    json!({
        "event": "ready", "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "domain": summary.domain,
        "data": summary.data, "first_start": summary.first_start, "listening": listening, "turn": turn,
        "only_turn": summary.only_turn, "admin": summary.admin,
        "authority_fingerprint": summary.authority_fingerprint,
        "certificate_fingerprint": summary.certificate_fingerprint, "users": summary.users,
        "restored": summary.restored, "warnings": summary.warnings,
    })
}

/// Tells systemd (`Type=notify`) that the node is up. Without a service manager nothing happens.
fn notify_service_manager() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(b"READY=1", &address); // a manager that does not listen need not be told
    }
}
