//! The report on one screen.

use farspeak_stun::discovery::Dependence;

use super::report::{Finding, Path, PortMapping, Reach, Report, Server, is_public};
use super::verdict::{self, Level};
use crate::output;

/// Everything, as lines.
pub fn draw(report: &Report, findings: &[Finding], terminal: bool) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    let addresses: Vec<String> = report
        .addresses
        .iter()
        .map(|ip| format!("{ip} ({})", if is_public(*ip) { "public" } else { "not public" }))
        .collect();
    row("addresses", or_none(&addresses));
    row("routers", or_none(&report.gateways.iter().map(ToString::to_string).collect::<Vec<_>>()));
    for (v4, family) in [(true, "IPv4"), (false, "IPv6")] {
        row(family, path(report, v4));
    }
    for server in &report.servers {
        row(&server.name, reached(server));
    }
    row("port mapping", mapping(report));
    let mut text = output::table(&rows);
    text.push('\n');
    for finding in findings {
        let colour = match finding.level {
            Level::Good => "32",
            Level::Weak => "33;1",
            Level::Bad => "31;1",
        };
        let word = output::paint(&format!("{:4}", finding.level.as_str()), colour, terminal);
        text.push_str(&format!("{word}  {}\n", finding.text));
    }
    text
}

fn or_none(all: &[String]) -> String {
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn path(report: &Report, v4: bool) -> String {
    let mut parts = Vec::new();
    match report.path(v4) {
        Path::None => return "not tried: no address here, or the server has none".to_owned(),
        Path::Blocked => return "UDP gets no answer".to_owned(),
        Path::Untranslated(filtering) => {
            parts.push("no translator".to_owned());
            parts.extend(filtering.map(|filtering| format!("open to {}", open_to(filtering))));
        }
        Path::Translated(mapping, filtering) => {
            let seen = report.of_family(v4).find_map(|server| server.behaviour.mapped);
            parts.extend(seen.map(|seen| format!("seen as {}", seen.ip())));
            if let Some(kind) = mapping.zip(filtering) {
                parts.push(verdict::of(kind).name.to_owned());
            }
            parts.push(match mapping {
                Some(Dependence::EndpointIndependent) => "one port for everybody".to_owned(),
                Some(Dependence::AddressDependent) => "a port for each address".to_owned(),
                Some(Dependence::AddressAndPortDependent) => "a port for each address and port".to_owned(),
                None => "kind unknown".to_owned(),
            });
            parts.extend(filtering.map(|filtering| format!("open to {}", open_to(filtering))));
        }
    }
    if let Some(hairpin) = report.of_family(v4).find_map(|server| server.behaviour.hairpin) {
        parts.push(if hairpin { "hairpin" } else { "no hairpin" }.to_owned());
    }
    let mtu = report.of_family(v4).filter_map(|server| server.mtu?.passes).min();
    parts.extend(mtu.map(|mtu| format!("packets of {mtu} bytes")));
    parts.join(", ")
}

const fn open_to(filtering: Dependence) -> &'static str {
    match filtering {
        Dependence::EndpointIndependent => "everybody",
        Dependence::AddressDependent => "hosts that were sent to",
        Dependence::AddressAndPortDependent => "ports that were sent to",
    }
}

fn reached(server: &Server) -> String {
    let (udp, tcp, address) = (server.udp.as_str(), server.tcp.as_str(), server.address);
    let port = server.tls_address.port();
    let tls = match (server.tls, server.tls_port) {
        (Reach::Open, _) => "open",
        (_, Reach::Open) => "takes connections, but answers no STUN",
        (tls, _) => tls.as_str(),
    };
    format!("{address}: UDP {udp}, TCP {tcp}; TLS at port {port} {tls}")
}

fn mapping(report: &Report) -> String {
    if report.port_mapping.is_empty() {
        return "not tried".to_owned();
    }
    let one = |offer: &PortMapping| {
        let family = if offer.gateway.is_ipv4() { "" } else { " for IPv6" };
        match &offer.result {
            Ok(mapping) => format!("{}{family} yes ({})", offer.by, mapping.external),
            Err(_) => format!("{}{family} no", offer.by),
        }
    };
    report.port_mapping.iter().map(one).collect::<Vec<_>>().join(", ")
}
