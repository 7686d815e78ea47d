//! What was found out about a network: the facts, as they are printed and written as JSON.

use std::net::{IpAddr, SocketAddr};

use farspeak_ice::port_mapping::{Mapping, Reason, Way};
use farspeak_stun::discovery::{BehaviourReport, Dependence};
use serde_json::{Value, json};

use super::mtu;
use super::verdict::{self, Kind, Level};

/// Everything.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// This host's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The routers that it sends to by default.
    pub gateways: Vec<IpAddr>,
    /// One for each server and family.
    pub servers: Vec<Server>,
    /// One for each way of asking each router.
    pub port_mapping: Vec<PortMapping>,
}

/// What a server told, in one family.
#[derive(Clone, PartialEq, Debug)]
pub struct Server {
    /// As it was typed.
    pub name: String,
    /// Where it was asked by UDP and TCP.
    pub address: SocketAddr,
    /// Where by TLS.
    pub tls_address: SocketAddr,
    pub udp: Reach,
    pub tcp: Reach,
    /// The TCP connection below TLS.
    pub tls_port: Reach,
    pub tls: Reach,
    /// What the TLS server showed.
    pub certificate: Option<Certificate>,
    pub behaviour: BehaviourReport,
    /// Where the socket that asks every server was seen.
    pub seen: Option<SocketAddr>,
    pub mtu: Option<mtu::Found>,
}

/// Whether something got through, and back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reach {
    #[default]
    Untried,
    /// It did.
    Open,
    /// Somebody said no: a closed port, or a device on the way.
    Refused,
    /// Nothing came back.
    Silent,
}

impl Reach {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Silent => "silent",
        }
    }

    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }
}

/// A certificate, which nobody has checked beyond its names: what is sent is no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// SHA-256.
    pub fingerprint: String,
    /// Whether it is for the name that was asked for. If not, somebody else answers for the server.
    pub fits: bool,
}

/// What a router says to one way of asking.
#[derive(Clone, PartialEq, Debug)]
pub struct PortMapping {
    pub by: Way,
    pub gateway: IpAddr,
    /// What it gave for the trial; it was given back.
    pub result: Result<Mapping, Reason>,
}

/// What one family of addresses is like for calls, all servers taken together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// This host has no address of it, or no server has.
    None,
    /// UDP does not get through.
    Blocked,
    /// The host's own address is seen; who may send to it depends on this.
    Untranslated(Option<Dependence>),
    /// Translated: mapping, filtering, as far as known.
    Translated(Option<Dependence>, Option<Dependence>),
}

/// What it means: one sentence, and how good that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub level: Level,
    pub text: String,
}

impl Report {
    /// The servers of one family.
    pub fn of_family(&self, v4: bool) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| server.address.is_ipv4() == v4)
    }

    /// Whether any server answered by any transport.
    pub fn is_any_answer(&self) -> bool {
        self.servers.iter().any(|server| server.udp.is_open() || server.tcp.is_open() || server.tls.is_open())
    }

    /// What the family is like.
    pub fn path(&self, v4: bool) -> Path {
        let servers: Vec<&Server> = self.of_family(v4).collect();
        if servers.is_empty() {
            return Path::None;
        }
        if !servers.iter().any(|server| server.udp.is_open()) {
            return Path::Blocked;
        }
        let mapping = servers.iter().find_map(|server| server.behaviour.mapping).or_else(|| self.compared(v4));
        let filtering = servers.iter().find_map(|server| server.behaviour.filtering);
        match servers.iter().find_map(|server| server.behaviour.translated) {
            Some(false) => Path::Untranslated(filtering),
            _ => Path::Translated(mapping, filtering),
        }
    }

    /// What two servers at different addresses saw of one socket: the same, or not. In the second case it stays open
    /// whether the port matters too.
    pub fn compared(&self, v4: bool) -> Option<Dependence> {
        let seen: Vec<(IpAddr, SocketAddr)> =
            self.of_family(v4).filter_map(|server| Some((server.address.ip(), server.seen?))).collect();
        let (first, rest) = seen.split_first()?;
        let others: Vec<_> = rest.iter().filter(|other| other.0 != first.0).collect();
        if others.is_empty() {
            return None;
        }
        let same = others.iter().all(|other| other.1 == first.1);
        Some(if same { Dependence::EndpointIndependent } else { Dependence::AddressAndPortDependent })
    }

    /// The ports that the router opened, by which way; public ones first.
    pub fn mapped(&self) -> impl Iterator<Item = &Mapping> {
        self.port_mapping.iter().filter_map(|offer| offer.result.as_ref().ok())
    }

    /// As JSON.
    pub fn to_json(&self, findings: &[Finding]) -> Value {
        json!({
            "addresses": self.addresses.iter().map(|ip| json!({"address": ip, "public": is_public(*ip)})).collect::<Vec<_>>(),
            "gateways": self.gateways,
            "ipv4": path_json(self.path(true)),
            "ipv6": path_json(self.path(false)),
            "servers": self.servers.iter().map(Server::to_json).collect::<Vec<_>>(),
            "port_mapping": self.port_mapping.iter().map(PortMapping::to_json).collect::<Vec<_>>(),
            "findings": findings.iter().map(|it| json!({"level": it.level.as_str(), "message": it.text})).collect::<Vec<_>>(),
        })
    }
}

impl Server {
    fn to_json(&self) -> Value {
        let found = &self.behaviour;
        json!({
            "server": self.name, "address": self.address, "tls_address": self.tls_address,
            "udp": self.udp.as_str(), "tcp": self.tcp.as_str(),
            "tls_port": self.tls_port.as_str(), "tls": self.tls.as_str(),
            "certificate": self.certificate.as_ref().map(|it| json!({"sha256": it.fingerprint, "name_fits": it.fits})),
            "two_addresses": found.other.is_some(), "other_address": found.other,
            "mapped": found.mapped, "translated": found.translated,
            "mapping": found.mapping.map(dependence), "filtering": found.filtering.map(dependence),
            "hairpin": found.hairpin, "rewrites_payload": found.rewrites_payload,
            "mtu": self.mtu.and_then(|mtu| mtu.passes), "mtu_below": self.mtu.and_then(|mtu| mtu.fails),
        })
    }
}

impl PortMapping {
    fn to_json(&self) -> Value {
        let mut value = json!({"by": self.by.to_string(), "gateway": self.gateway, "offered": self.result.is_ok()});
        match &self.result {
            Ok(mapping) => {
                value["external"] = json!(mapping.external);
                value["public"] = json!(mapping.is_public());
                value["lifetime_s"] = json!(mapping.lifetime.map(|lifetime| lifetime.as_secs()));
            }
            Err(reason) => value["reason"] = json!(reason.to_string()),
        }
        value
    }
}

/// Names after RFC 4787, as they stand in JSON.
pub const fn dependence(dependence: Dependence) -> &'static str {
    match dependence {
        Dependence::EndpointIndependent => "endpoint-independent",
        Dependence::AddressDependent => "address-dependent",
        Dependence::AddressAndPortDependent => "address-and-port-dependent",
    }
}

fn path_json(path: Path) -> Value {
    let (kind, mapping, filtering) = match path {
        Path::None => ("none", None, None),
        Path::Blocked => ("blocked", None, None),
        Path::Untranslated(filtering) => ("untranslated", None, filtering),
        Path::Translated(mapping, filtering) => ("translated", mapping, filtering),
    };
    let row = mapping.zip(filtering).map(|kind: Kind| verdict::of(kind));
    json!({
        "path": kind, "mapping": mapping.map(dependence), "filtering": filtering.map(dependence),
        "known_as": row.map(|row| row.name), "direct_with_kinds": row.map(|row| row.direct),
    })
}

/// Whether the Internet could reach the address.
pub fn is_public(ip: IpAddr) -> bool {
    farspeak_ice::port_mapping::is_public(ip)
}
