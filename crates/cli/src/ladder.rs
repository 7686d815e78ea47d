//! `farspeak ladder`: calls from the ladder log.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use farspeak_node::ladder_log::{Call, LadderRecord, calls, draw};
use serde_json::{Value, json};

use crate::exit::{CliError, CliResult, Exit};
use crate::output;
use crate::place::Place;

/// What of the log is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Show<'a> {
    /// Only calls whose Call-ID begins so.
    pub call: Option<&'a str>,
    /// Every call is drawn, not listed.
    pub all: bool,
    /// States and timers besides messages.
    pub states: bool,
}

pub fn run(place: &Place, json: bool, file: Option<PathBuf>, show: Show<'_>) -> CliResult {
    let file = match file {
        Some(file) => file,
        None => place.load()?.config.log.ladder.ok_or_else(|| {
            let text = "no ladder log is kept; set log.ladder to a file name in the configuration, or name a file";
            CliError::new(Exit::Unknown, text)
        })?,
    };
    let Show { call, all, states } = show;
    let mut records = read(&file)?;
    records.retain(|record| states || record.message().is_some());
    let all_calls = calls(&records);
    let chosen: Vec<&Call<'_>> = match call {
        Some(id) => {
            let found: Vec<&Call<'_>> = all_calls.iter().filter(|call| call.id.starts_with(id)).collect();
            if found.is_empty() {
                let text = format!("{} has no call whose Call-ID begins with {id:?}", file.display());
                return Err(CliError::new(Exit::Unknown, text));
            }
            found
        }
        None => all_calls.iter().collect(),
    };
    if json {
        output::print_json(&chosen.iter().map(|call| to_json(call)).collect());
    } else if call.is_some() || all || chosen.len() == 1 {
        for call in chosen {
            output::print(&format!("{}\n{}\n", title(call), draw(call)));
        }
    } else if chosen.is_empty() {
        output::note(&format!("{} holds no calls", file.display()));
    } else {
        let mut rows = vec![["CALL-ID", "METHOD", "FROM", "TO", "OUTCOME", "MESSAGES"].map(str::to_owned).to_vec()];
        rows.extend(chosen.iter().map(|call| {
            let cells = [call.id, call.method(), call.from(), call.to(), call.outcome().unwrap_or("-")];
            let mut row: Vec<String> = cells.map(str::to_owned).to_vec();
            row.push(call.messages().count().to_string());
            row
        }));
        output::print(&output::table(&rows));
        output::note("draw one with --call ID (its beginning is enough)");
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<Vec<LadderRecord>, CliError> {
    let fail = |error: std::io::Error| {
        CliError::new(Exit::Unknown, format!("cannot read the ladder log {}: {error}", file.display()))
    };
    let lines = BufReader::new(std::fs::File::open(file).map_err(fail)?).lines();
    let mut records = Vec::new();
    for line in lines {
        records.extend(LadderRecord::from_line(&line.map_err(fail)?));
    }
    Ok(records)
}

fn title(call: &Call<'_>) -> String {
    let outcome = call.outcome().map_or_else(String::new, |outcome| format!(": {outcome}"));
    format!("{} {} -> {}{outcome}  (Call-ID {})", call.method(), call.from(), call.to(), call.id)
}

fn to_json(call: &Call<'_>) -> Value {
    let record = |record: &&LadderRecord| serde_json::from_str::<Value>(&record.to_line()).unwrap_or_default();
    json!({
        "call": call.id, "method": call.method(), "from": call.from(), "to": call.to(), "outcome": call.outcome(),
        "records": call.records.iter().map(record).collect::<Vec<_>>(),
    })
}
