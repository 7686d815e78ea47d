//! `farspeak nat`: what this network is like for calls.
//!
//! `edge.rs` opens sockets and connections and runs `survey.rs`, a machine without I/O that asks servers and routers all at
//! once. What it found is a `report.rs`; `verdict.rs` says what that means, `screen.rs` shows it.

mod certificate;
mod edge;
mod mtu;
mod report;
mod screen;
mod survey;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use crate::args::NatOptions;
use crate::exit::{CliError, CliResult, Exit};
use crate::output;
use crate::place::Place;

pub fn run(place: &Place, json: bool, options: &NatOptions) -> CliResult {
    let servers = servers(place, options)?;
    let mut places = Vec::new();
    for server in &servers {
        let found = edge::resolve(server, options.tls_port);
        if found.is_empty() {
            return Err(CliError::new(Exit::Unknown, format!("{server} does not resolve: no such host")));
        }
        places.extend(found);
    }
    let patience = Duration::from_secs(options.timeout);
    let report = edge::look(&places, !options.no_router, patience, output::note)
        .map_err(|error| CliError::new(Exit::Failed, format!("no sockets to look with: {error}")))?;
    let findings = verdict::findings(&report);
    if json {
        output::print_json(&report.to_json(&findings));
    } else {
        output::print(&screen::draw(&report, &findings, output::is_terminal()));
    }
    Ok(if report.is_any_answer() { Exit::Done } else { Exit::NoAnswer })
}

/// Whom to ask. Nobody is asked who was not named: a question tells where we are.
fn servers(place: &Place, options: &NatOptions) -> Result<Vec<String>, CliError> {
    if !options.servers.is_empty() {
        return Ok(options.servers.clone());
    }
    let loaded = place.load()?;
    let domain = &loaded.config.domain;
    let own = domain.public_name.as_ref().unwrap_or(&domain.name);
    if own == "localhost" {
        let text = "say which STUN server to ask: `farspeak nat --server HOST[:PORT]`; one with two addresses (RFC 5780) \
                    tells most, two servers more than one";
        return Err(CliError::new(Exit::Usage, text));
    }
    Ok(vec![own.clone()])
}
