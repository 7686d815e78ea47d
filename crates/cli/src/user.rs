//! `farspeak user`: adding, listing, changing and removing users.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use farspeak_node::control::Request;
use serde_json::Value;

use crate::args::{OpenTo, UserCommand};
use crate::exit::{CliError, CliResult, Exit};
use crate::output;
use crate::phones::Phone;
use crate::place::Place;

pub fn run(place: &Place, json: bool, command: UserCommand) -> CliResult {
    match command {
        UserCommand::Add { name, open_to } => {
            let open_to_strangers = open_to == OpenTo::Strangers;
            let answer = place.perform(&Request::UserAdd { name, open_to_strangers })?;
            show_password(place, json, answer, "is added");
        }
        UserCommand::Reset { name } => {
            let answer = place.perform(&Request::UserReset { name })?;
            show_password(place, json, answer, "has a new password; the old one is void");
        }
        UserCommand::List => list(json, &place.perform(&Request::UserList)?),
        UserCommand::Set { name, open_to, presence_to } => {
            let open_to_strangers = open_to.map(|whom| whom == OpenTo::Strangers);
            let presence = presence_to.is_some();
            let answer = place.perform(&Request::UserSet { name: name.clone(), open_to_strangers, presence_to })?;
            let mut text = String::new();
            if let Some(open) = open_to_strangers {
                let whom = if open { "anybody" } else { "only users of this node" };
                text.push_str(&format!("{name} can be rung by {whom}\n"));
            }
            if presence {
                let whom = answer["presence_to"].as_str().unwrap_or_default().replace(',', ", ");
                text.push_str(&format!("{name}'s presence can be seen by {whom}\n"));
            }
            done(json, &answer, &text);
        }
        UserCommand::Remove { name, yes } => {
            if !yes && !confirmed(&name)? {
                return Err(CliError::new(Exit::Failed, "nothing was removed"));
            }
            let answer = place.perform(&Request::UserRemove { name: name.clone() })?;
            done(json, &answer, &format!("{name} is removed\n"));
        }
    }
    Ok(Exit::Done)
}

fn done(json: bool, answer: &Value, text: &str) {
    if json {
        output::print_json(answer);
    } else {
        output::print(text);
    }
}

/// Scripts are not asked.
fn confirmed(name: &str) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    let _ = write!(io::stderr(), "Remove {name} and end the registrations of {name}'s phones? [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| CliError::new(Exit::Failed, error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn show_password(place: &Place, json: bool, mut answer: Value, what: &str) {
    let authority = place.data.authority().join("ca.pem");
    let authority = std::path::absolute(&authority).unwrap_or(authority);
    if json {
        let phones = Phone::new(&answer, &authority).map_or(Value::Null, |phone| phone.to_json());
        answer["phone"] = phones;
        output::print_json(&answer);
        return;
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    let mut out = format!("{} {what}. The password is shown this once:\n\n", text("name"));
    out.push_str(&format!("  address   {}\n  password  {}\n\n", text("address"), text("password")));
    match Phone::new(&answer, &authority) {
        Some(phone) => out.push_str(&phone.explain()),
        None => out.push_str("No listener for SIP over TLS is configured (listen.tls).\n"),
    }
    output::print(&out);
}

/// In a column: a few names, or how many.
fn presence_to(whom: &str) -> String {
    match whom.split(',').count() {
        0..=3 => whom.replace(',', ", "),
        many => format!("{many} users"),
    }
}

fn list(json: bool, answer: &Value) {
    if json {
        output::print_json(answer);
        return;
    }
    let users = answer["users"].as_array().map(Vec::as_slice).unwrap_or_default();
    if users.is_empty() {
        output::note("no users yet; add one with `farspeak user add NAME`");
        return;
    }
    let live = users.iter().any(|user| user.get("phones").is_some());
    let mut head = ["NAME", "ADDRESS", "OPEN TO", "PRESENCE TO"].map(str::to_owned).to_vec();
    head.extend(live.then(|| "PHONES".to_owned()));
    let mut rows = vec![head];
    for user in users {
        let text = |key: &str| user[key].as_str().unwrap_or_default().to_owned();
        let open = if user["open_to_strangers"] == true { "strangers" } else { "nobody" };
        let mut row = vec![text("name"), text("address"), open.to_owned(), presence_to(&text("presence_to"))];
        if let (Some(phones), Some(reachable)) = (user["phones"].as_u64(), user["reachable"].as_u64()) {
            row.push(match (phones, reachable) {
                (0, _) => "none".to_owned(),
                (phones, reachable) if phones == reachable => phones.to_string(),
                (phones, reachable) => format!("{phones}, {reachable} of them reachable"),
            });
        }
        rows.push(row);
    }
    output::print(&output::table(&rows));
}
