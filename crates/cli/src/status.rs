//! `farspeak status` and `farspeak reload`: the running node.

use farspeak_node::control::Request;
use serde_json::Value;

use crate::exit::{CliError, CliResult, Exit};
use crate::output;
use crate::place::Place;

pub fn status(place: &Place, json: bool) -> CliResult {
    let status = ask(place, &Request::Status)?;
    if json {
        output::print_json(&status);
        return Ok(Exit::Done);
    }
    let text = |key: &str| plain(&status[key]);
    let list = |key: &str| {
        let each = status[key].as_array().into_iter().flatten();
        each.map(|it| format!("{} {}", plain(&it["transport"]), plain(&it["address"]))).collect::<Vec<_>>().join(", ")
    };
    let alone = status["only_turn"] == true;
    let mut rows = vec![
        (
            "node",
            format!("farspeak {}, process {}, up {}", text("version"), text("pid"), duration(&status["uptime_s"])),
        ),
        ("domain", text("domain")),
        ("data", text("data")),
        ("config", if status["config"].is_null() { "defaults".to_owned() } else { text("config") }),
        ("listening", if alone { "STUN and TURN alone (serve --only turn)".to_owned() } else { list("listening") }),
        (
            "turn",
            match list("turn") {
                empty if empty.is_empty() => "off".to_owned(),
                listening => listening,
            },
        ),
        (
            "metrics",
            if status["admin"].is_null() { "off".to_owned() } else { format!("http://{}/metrics", text("admin")) },
        ),
        ("certificate", certificate(&status["certificate"])),
        ("users", text("users")),
    ];
    if !alone {
        rows.push(("phones", text("registrations")));
        rows.push(("calls", format!("{} made, {} answered", text("calls"), text("calls_answered"))));
        rows.push(("load", format!("{} connections, {} transactions", text("connections"), text("transactions"))));
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::print(&output::table(&rows));
    Ok(Exit::Done)
}

pub fn reload(place: &Place, json: bool) -> CliResult {
    let answer = ask(place, &Request::Reload)?;
    if json {
        output::print_json(&answer);
        return Ok(Exit::Done);
    }
    let list = |key: &str| answer[key].as_array().into_iter().flatten().map(plain).collect::<Vec<_>>().join(", ");
    let (changed, later) = (list("changed"), list("after_restart"));
    output::print("configuration and certificates are read again\n");
    if !changed.is_empty() {
        output::print(&format!("changed: {changed}\n"));
    }
    if !later.is_empty() {
        output::print(&format!("counts after a restart: {later}\n"));
    }
    Ok(Exit::Done)
}

pub fn ask(place: &Place, request: &Request) -> Result<Value, CliError> {
    place.ask(request)?.ok_or_else(|| {
        let text = format!("no node runs on {}; start one with `farspeak serve`", place.data.path().display());
        CliError::new(Exit::NotRunning, text)
    })
}

pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn certificate(certificate: &Value) -> String {
    if certificate.is_null() {
        return "none: nothing uses TLS".to_owned();
    }
    let days = certificate["ends_unix"].as_i64().map(|end| (end - farspeak_node::control::unix_ms() / 1000) / 86_400);
    let maker = if certificate["self_made"] == true { "made by this node" } else { "from files" };
    match days {
        Some(days) => format!("{maker}, {days} days left"),
        None => maker.to_owned(),
    }
}

pub fn duration(seconds: &Value) -> String {
    let seconds = seconds.as_u64().unwrap_or(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
