//! `farspeak doctor`: what is weak, broken or unreachable, and what to do about it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farspeak_net::{Identity, port_owner};
use farspeak_node::config::{Config, JoinCalls, Loaded};
use farspeak_node::control::Request;
use farspeak_node::data_dir::DataDirError;
use farspeak_node::store::{FILE_NAME, Store};
use farspeak_sansio::Transport;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::exit::{CliResult, Exit};
use crate::output;
use crate::place::Place;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    /// As it should be.
    Good,
    /// Works, but weaker than it could.
    Weak,
    /// Does not work.
    Broken,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Weak => "weak",
            Self::Broken => "broken",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Weak => "33;1",
            Self::Broken => "31;1",
        }
    }
}

/// What was found, in the order it was looked at.
#[derive(Default)]
struct Findings(Vec<(&'static str, Level, String)>);

impl Findings {
    fn good(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((what, Level::Good, text.into()));
    }
    fn weak(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((what, Level::Weak, text.into()));
    }
    fn broken(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((what, Level::Broken, text.into()));
    }
}

pub fn run(place: &Place, json: bool) -> CliResult {
    let mut found = Findings::default();
    look_at_clock(&mut found);
    look_at_data(place, &mut found);
    let loaded = match place.load() {
        Ok(loaded) => {
            let file = loaded.file.as_ref().map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
            found.good("configuration", file);
            loaded
        }
        Err(error) => {
            found.broken("configuration", error.message);
            Loaded::default()
        }
    };
    let status = match place.ask(&Request::Status) {
        Ok(status) => status,
        Err(error) => {
            found.broken("node", error.message);
            None
        }
    };
    match &status {
        Some(status) => look_at_node(status, &mut found),
        None => {
            found.weak("node", "none runs on this data directory; start one with `farspeak serve`");
            look_at_store(place, &loaded, &mut found);
            look_at_ports(&loaded, &mut found);
        }
    }
    look_at_certificate(place, &loaded.config, &mut found);
    look_at_names(&loaded.config, &mut found);
    look_at_calls(&loaded.config, &mut found);
    look_at_turn(&loaded.config, status.as_ref(), &mut found);
    look_at_secrets(&loaded, &mut found);
    look_at_weak_choices(&loaded.config, &mut found);
    look_at_file_limit(&loaded.config, &mut found);
    print(&found, json);
    let ill = found.0.iter().any(|(_, level, _)| *level == Level::Broken);
    Ok(if ill { Exit::Ill } else { Exit::Done })
}

fn print(found: &Findings, json: bool) {
    if json {
        let finding = |(what, level, text): &(&str, Level, String)| json!({"check": what, "level": level.as_str(), "message": text});
        output::print_json(&found.0.iter().map(finding).collect());
        return;
    }
    let terminal = output::is_terminal();
    for (what, level, text) in &found.0 {
        let word = output::paint(&format!("{:6}", level.as_str()), level.colour(), terminal);
        output::print(&format!("{word}  {what:13}  {}\n", text.replace('\n', "\n                       ")));
    }
}

fn look_at_clock(found: &mut Findings) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now < PLAUSIBLE {
        found.broken("clock", "this machine's clock is years behind: certificates will not be valid; set it (NTP)");
    } else {
        found.good("clock", "plausible");
    }
}

fn look_at_data(place: &Place, found: &mut Findings) {
    let path = place.data.path();
    match place.data.exposure() {
        Ok(0) => found.good("data", format!("{}, for its owner alone", path.display())),
        Ok(bits) => found.broken(
            "data",
            format!(
                "{} is open to others (permission bits {bits:03o}): anyone may read keys; `chmod 700 {}`",
                path.display(),
                path.display()
            ),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            found.weak("data", format!("{} does not exist yet; `farspeak serve` makes it", path.display()));
        }
        Err(error) => found.broken("data", format!("cannot look at {}: {error}", path.display())),
    }
}

/// Only while no node holds it.
fn look_at_store(place: &Place, loaded: &Loaded, found: &mut Findings) {
    if !place.data.path().join(FILE_NAME).exists() {
        return;
    }
    let opened = match place.data.lock() {
        Ok(_lock) => Store::open(place.data.path(), loaded.config.store.durability)
            .and_then(|mut store| store.users())
            .map_err(|error| error.to_string()),
        Err(error @ DataDirError::Held { .. }) => Err(format!("{error} (it takes no commands)")),
        Err(error) => Err(error.to_string()),
    };
    match opened {
        Ok(users) => found.good("store", format!("sound, {} users", users.len())),
        Err(error) => found.broken("store", error),
    }
}

/// A node that runs has its ports; whether they can be reached from here is tried.
fn look_at_node(status: &Value, found: &mut Findings) {
    let number = |key: &str| status[key].as_u64().unwrap_or(0);
    if status["only_turn"] == true {
        found.good("node", format!("process {}, STUN and TURN alone", number("pid")));
    } else if number("shards_silent") > 0 {
        found.broken("node", "a shard does not answer; restart the node and report it");
    } else {
        found.good("node", format!("process {}, {} users", number("pid"), number("users")));
    }
    for listener in status["listening"].as_array().into_iter().flatten() {
        let (transport, address) =
            (listener["transport"].as_str().unwrap_or_default(), listener["address"].as_str().unwrap_or_default());
        let Ok(address) = address.parse::<SocketAddr>() else { continue };
        if transport == Transport::Udp.as_str() {
            found.good("port", format!("{transport} {address}"));
            continue;
        }
        match TcpStream::connect_timeout(&reachable(address), PATIENCE) {
            Ok(_) => found.good("port", format!("{transport} {address} takes connections")),
            Err(error) => {
                found.broken("port", format!("{transport} {address} cannot be reached from this machine: {error}"));
            }
        }
    }
}

/// What to connect to for a listener on every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Whether the ports of a node that does not run could be had.
fn look_at_ports(loaded: &Loaded, found: &mut Findings) {
    let config = &loaded.config;
    let groups = [
        (Transport::Tls, &config.listen.tls.0),
        (Transport::Wss, &config.listen.https.0),
        (Transport::Udp, &config.legacy.udp.0),
        (Transport::Tcp, &config.legacy.tcp.0),
        (Transport::Ws, &config.legacy.ws.0),
    ];
    for (transport, addresses) in groups {
        for address in addresses {
            // IPv6 wildcards are bound without IPv4, which std cannot do: IPv4 speaks for both.
            if address.ip() == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) {
                continue;
            }
            let tried = match transport {
                Transport::Udp => UdpSocket::bind(address).map(drop),
                _ => TcpListener::bind(address).map(drop),
            };
            match tried {
                Ok(()) => found.good("port", format!("{transport} {address} is free")),
                Err(error) => found.broken("port", refused(transport, *address, &error)),
            }
        }
    }
}

fn refused(transport: Transport, address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => match port_owner(transport, address) {
            Some(owner) => format!("{transport} {address} is taken by {owner}; stop it, or choose another port"),
            None => format!("{transport} {address} is taken by another process; choose another port"),
        },
        std::io::ErrorKind::PermissionDenied => format!(
            "{transport} {address} is not allowed to this user; grant CAP_NET_BIND_SERVICE or choose a port above 1023"
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            format!("{transport} {address}: no interface of this machine has that address")
        }
        _ => format!("{transport} {address}: {error}"),
    }
}

fn look_at_certificate(place: &Place, config: &Config, found: &mut Findings) {
    let now = SystemTime::now();
    let own = place.data.authority();
    let loaded = match (&config.certificate.chain, &config.certificate.key) {
        (Some(chain), Some(key)) => Identity::load(chain, key, now),
        _ => {
            let file = own.join("server-ecdsa.pem");
            if !file.exists() {
                found.good("certificate", "none yet; the node makes its own at first start");
                return;
            }
            Identity::load(&file, &file, now)
        }
    };
    let identity = match loaded {
        Ok(identity) => identity,
        Err(error) => {
            found.broken("certificate", error.to_string());
            return;
        }
    };
    let days = identity.not_after().duration_since(now).unwrap_or_default().as_secs() / 86_400;
    let names = identity.names();
    let text = format!("{days} days left, for {}", names.join(", "));
    if days < 14 {
        found.weak("certificate", format!("{text}; renew it"));
    } else {
        found.good("certificate", text);
    }
    let domain = config.domain.public_name.as_ref().unwrap_or(&config.domain.name);
    if !names.iter().any(|name| covers(name, domain)) {
        found.broken("certificate", format!("it is not for {domain}: phones that check will refuse to connect"));
    }
}

/// Whether a name in a certificate, perhaps with a wildcard as its first label, is that host's (RFC 6125 §6.4.3).
fn covers(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(parent), Some((_, host_parent))) = (name.strip_prefix("*."), host.split_once('.')) else { return false };
    parent.eq_ignore_ascii_case(host_parent)
}

/// Whether the name that phones use leads here.
fn look_at_names(config: &Config, found: &mut Findings) {
    let name = config.domain.public_name.as_ref().unwrap_or(&config.domain.name);
    if name == "localhost" {
        found.weak("domain", "localhost: phones on this machine alone can use it; set domain.name");
        return;
    }
    let Ok(addresses) = (name.as_str(), 5061).to_socket_addrs() else {
        found.broken(
            "domain",
            format!("{name} does not resolve: phones cannot find this node; add an A or AAAA record"),
        );
        return;
    };
    let addresses: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
    let here = addresses.iter().any(|ip| UdpSocket::bind((*ip, 0)).is_ok());
    let list = addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    if here {
        found.good("domain", format!("{name} is {list}, which is this machine"));
    } else {
        found.weak(
            "domain",
            format!("{name} is {list}, no address of this machine; fine behind a NAT that forwards 5061"),
        );
    }
}

/// Says who is behind the back-to-back user agent, if anybody is.
fn look_at_calls(config: &Config, found: &mut Findings) {
    let users = config.calls.join_users.join(", ");
    let whose = match (config.calls.join, users.as_str()) {
        (JoinCalls::Never, "") => return,
        (JoinCalls::Never, users) => format!("of {users}"),
        (JoinCalls::Strangers, "") => "of strangers".to_owned(),
        (JoinCalls::Strangers, users) => format!("of strangers and of {users}"),
        (JoinCalls::Always, _) => "of everybody".to_owned(),
    };
    found.good("calls", format!("those {whose} are joined: neither side sees the other's signalling addresses"));
}

/// Says what the relay needs of firewalls, and whom it reaches besides the Internet.
fn look_at_turn(config: &Config, status: Option<&Value>, found: &mut Findings) {
    let turn = &config.turn;
    let runs = status.map(|status| status["turn"].as_array().is_some_and(|listening| !listening.is_empty()));
    if runs == Some(false) || runs.is_none() && !turn.enabled {
        found.good("turn", "off");
        return;
    }
    let listening: Vec<String> = status
        .and_then(|status| status["turn"].as_array())
        .into_iter()
        .flatten()
        .filter_map(|it| Some(format!("{} {}", it["transport"].as_str()?, it["address"].as_str()?)))
        .collect();
    if !listening.is_empty() {
        found.good("turn", listening.join(", "));
    }
    let (first, last) = (turn.ports.0.start(), turn.ports.0.end());
    found.good("turn", format!("relays on UDP ports {first}-{last}: a firewall has to let them in"));
    for relay in &turn.relay.0 {
        if UdpSocket::bind((relay.bind, 0)).is_err() {
            found.broken("turn", format!("turn.relay: {} is no address of this machine", relay.bind));
        }
    }
    if !turn.allow_peers.0.is_empty() {
        let prefixes: Vec<String> = turn.allow_peers.0.iter().map(ToString::to_string).collect();
        found.weak("turn", format!("clients may reach {} through the relay (turn.allow_peers)", prefixes.join(", ")));
    }
    if !turn.users.is_empty() {
        found.weak("turn", "passwords stand in the configuration (turn.users)");
    }
    if let Ok(most) = std::fs::read_to_string("/proc/sys/net/core/rmem_max")
        && most.trim().parse::<u64>().is_ok_and(|most| most < LISTENER_BUFFER)
    {
        let hint = format!("bursts may be lost: sysctl net.core.rmem_max={LISTENER_BUFFER} (now {})", most.trim());
        found.weak("turn", hint);
    }
}

/// Who else may read secrets that stand in the configuration.
fn look_at_secrets(loaded: &Loaded, found: &mut Findings) {
    let turn = &loaded.config.turn;
    let (Some(file), false) = (&loaded.file, turn.secret.0.is_empty() && turn.users.is_empty()) else { return };
    let open = std::fs::metadata(file).is_ok_and(|it| it.permissions().mode() & 0o044 != 0);
    if open {
        let file = file.display();
        found.weak("turn", format!("other users of this machine may read the secrets in {file}: `chmod 600 {file}`"));
    }
}

fn look_at_weak_choices(config: &Config, found: &mut Findings) {
    let legacy = [("udp", &config.legacy.udp.0), ("tcp", &config.legacy.tcp.0), ("ws", &config.legacy.ws.0)];
    let mut weak = Vec::new();
    for (name, addresses) in legacy {
        for address in addresses {
            let whom = if address.ip().is_loopback() { "this machine" } else { "anyone on the way" };
            weak.push(format!("legacy.{name} {address} is in clear text: {whom} can read and change it"));
        }
    }
    if config.dangerous.no_authentication {
        weak.push("dangerous.no_authentication is on: anybody can register and call as anybody".to_owned());
    }
    if config.dangerous.addresses_in_log {
        weak.push("dangerous.addresses_in_log is on: the log tells who called whom".to_owned());
    }
    if !config.events.registrations_to.is_empty() {
        let whom = config.events.registrations_to.join(", ");
        weak.push(format!("events.registrations_to: {whom} may watch where everybody's phones are"));
    }
    if let Some(file) = &config.log.ladder {
        weak.push(format!("log.ladder is on: {} tells who called whom", file.display()));
    }
    if let Some(address) = config.admin.listen.filter(|address| !address.ip().is_loopback()) {
        weak.push(format!("admin.listen {address} is open to the network, without password"));
    }
    if weak.is_empty() {
        found.good("choices", "nothing weaker than the defaults");
    }
    for text in weak {
        found.weak("choices", text);
    }
}

fn look_at_file_limit(config: &Config, found: &mut Findings) {
    let wanted = config.limits.max_connections as u64;
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < wanted => found.weak(
            "open files",
            format!("{limit} at most, limits.max_connections is {wanted}: raise LimitNOFILE (systemd) or ulimit -n"),
        ),
        limit => {
            found.good("open files", limit.map_or_else(|| "no limit".to_owned(), |limit| format!("up to {limit}")))
        }
    }
}

/// 2026-01-01: no clock can be before this program was written.
const PLAUSIBLE: u64 = 1_767_225_600;
const PATIENCE: Duration = Duration::from_secs(2);
/// What a TURN listener asks the kernel for, in bytes.
const LISTENER_BUFFER: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_label() {
        assert!(covers("*.example.org", "sip.example.org"));
        assert!(!covers("*.example.org", "a.b.example.org"));
        assert!(!covers("*.example.org", "example.org"));
        assert!(covers("Example.ORG", "example.org"));
    }
}
