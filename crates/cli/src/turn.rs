//! `farspeak turn`: the STUN and TURN service of the running node.

use farspeak_node::config::parse_duration;
use farspeak_node::control::Request;
use serde_json::Value;

use crate::args::TurnCommand;
use crate::exit::{CliError, CliResult, Exit};
use crate::output;
use crate::place::Place;
use crate::status::{ask, duration, plain};

pub fn run(place: &Place, json: bool, command: TurnCommand) -> CliResult {
    let (request, show): (Request, fn(&Value) -> String) = match command {
        TurnCommand::Status => (Request::TurnStatus, status),
        TurnCommand::Sessions => (Request::TurnSessions, sessions),
        TurnCommand::Kick { whom } => (Request::TurnKick { whom }, kicked),
        TurnCommand::Credentials { user, ttl } => {
            let ttl = ttl.map(|text| parse_duration(&text).ok_or_else(|| wrong_ttl(&text))).transpose()?;
            (Request::TurnCredentials { name: user, ttl }, credentials)
        }
    };
    let answer = ask(place, &request)?;
    if json {
        output::print_json(&answer);
    } else {
        output::print(&show(&answer));
    }
    Ok(Exit::Done)
}

fn wrong_ttl(text: &str) -> CliError {
    CliError::new(Exit::Usage, format!("{text:?} is no time; write 30m, 12h or 7d"))
}

fn status(status: &Value) -> String {
    let list = |key: &str| status[key].as_array().into_iter().flatten();
    let listening = list("listening").map(|it| format!("{} {}", plain(&it["transport"]), plain(&it["address"])));
    let relay: Vec<String> = list("relay").map(plain).collect();
    let rows = [
        ("listening", listening.collect::<Vec<_>>().join(", ")),
        ("relays from", format!("{}, UDP ports {}-{}", relay.join(", "), status["ports"][0], status["ports"][1])),
        ("realm", plain(&status["realm"])),
        ("now", format!("{} relayed addresses, {} connections", status["allocations"], status["connections"])),
        ("to peers", traffic(&status["sent"])),
        ("from peers", traffic(&status["received"])),
        (
            "refused",
            format!(
                "{} requests, {} because of the peer's address; {} challenges",
                status["refused"], status["forbidden"], status["challenged"]
            ),
        ),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut out = output::table(&rows);
    let users: Vec<Vec<String>> = list("users")
        .map(|it| {
            let now = format!("{} now, {} ever", it["allocations"], it["total_allocations"]);
            let (sent, received) = (traffic(&it["sent"]), traffic(&it["received"]));
            vec![format!("  {}", plain(&it["user"])), now, format!("to peers {sent}"), format!("from peers {received}")]
        })
        .collect();
    if !users.is_empty() {
        out.push_str("users\n");
        out.push_str(&output::table(&users));
    }
    out
}

fn sessions(answer: &Value) -> String {
    let sessions: Vec<Vec<String>> = answer["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| {
            let relayed: Vec<String> = it["relayed"].as_array().into_iter().flatten().map(plain).collect();
            vec![
                plain(&it["id"]),
                plain(&it["user"]),
                plain(&it["client"]),
                relayed.join(" "),
                duration(&it["age_s"]),
                format!("{} permissions, {} channels", it["permissions"], it["channels"]),
                format!("to peers {}", traffic(&it["sent"])),
                format!("from peers {}", traffic(&it["received"])),
            ]
        })
        .collect();
    if sessions.is_empty() { "nobody relays\n".to_owned() } else { output::table(&sessions) }
}

fn kicked(answer: &Value) -> String {
    format!("{} sessions of {} are ended\n", answer["kicked"], plain(&answer["whom"]))
}

fn credentials(answer: &Value) -> String {
    let uris: Vec<String> = answer["uris"].as_array().into_iter().flatten().map(plain).collect();
    let rows = [
        ("username", plain(&answer["username"])),
        ("password", plain(&answer["credential"])),
        ("realm", plain(&answer["realm"])),
        ("good for", duration(&answer["ttl"])),
    ];
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    for (at, uri) in uris.into_iter().enumerate() {
        rows.push(vec![if at == 0 { "at".to_owned() } else { String::new() }, uri]);
    }
    output::table(&rows)
}

fn traffic(value: &Value) -> String {
    format!("{} packets, {}", value["packets"], bytes(value["bytes"].as_u64().unwrap_or(0)))
}

/// In the largest unit that leaves a whole number of at least one digit.
fn bytes(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} B"),
    }
}
