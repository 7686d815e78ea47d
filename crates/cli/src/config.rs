//! `farspeak config`: the configuration explained, checked and shown.

use farspeak_node::config::Config;
use serde_json::{Map, Value, json};

use crate::args::ConfigCommand;
use crate::exit::{CliResult, Exit};
use crate::output;
use crate::place::Place;

pub fn run(place: &Place, json: bool, command: ConfigCommand) -> CliResult {
    match command {
        ConfigCommand::Default => default(json),
        ConfigCommand::Check => {
            let loaded = place.load()?;
            if json {
                output::print_json(&json!({"valid": true, "file": loaded.file}));
            } else {
                match &loaded.file {
                    Some(file) => output::note(&format!("{} is good", file.display())),
                    None => output::note(&format!("there is no {}: defaults", place.config_file.display())),
                }
            }
        }
        ConfigCommand::Show => show(place, json)?,
    }
    Ok(Exit::Done)
}

fn default(json: bool) {
    if !json {
        output::print(&Config::default_file());
        return;
    }
    let key = |key: farspeak_node::config::Key| {
        let meaning = key.meaning.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        json!({"section": key.section, "key": key.name, "default": key.value, "meaning": meaning})
    };
    output::print_json(&Config::default().keys().into_iter().map(key).collect());
}

fn show(place: &Place, json: bool) -> Result<(), crate::exit::CliError> {
    let loaded = place.load()?;
    let keys = loaded.config.keys();
    if json {
        let mut sections = Map::new();
        for key in keys {
            let origin = loaded.origin(key.section, key.name).to_string();
            let section = sections.entry(key.section).or_insert_with(|| Value::Object(Map::new()));
            section[key.name] = json!({"value": key.shown, "origin": origin});
        }
        output::print_json(&Value::Object(sections));
        return Ok(());
    }
    let mut out = String::new();
    let mut section = "";
    let width =
        keys.iter().map(|key| key.name.len() + key.shown.len() + 3).filter(|width| *width < 60).max().unwrap_or(0);
    for key in keys {
        if key.section != section {
            section = key.section;
            out.push_str(&format!("[{section}]\n"));
        }
        let line = format!("{} = {}", key.name, key.shown);
        out.push_str(&format!("{line:width$}  # {}\n", loaded.origin(key.section, key.name)));
    }
    output::print(&out);
    Ok(())
}
