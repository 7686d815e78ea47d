//! Sockets, names and connections for the survey: the only file of the command that touches the network.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use farspeak_ice::port_mapping::Way;
use farspeak_net::{Clock, Interfaces, Peer, PeerConfig, PeerContext, Raw, default_gateways, local_addresses};
use farspeak_node::entropy::SystemRng;
use farspeak_sansio::Instant;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustls::pki_types::ServerName;

use super::certificate::{self, Seen};
use super::report::{Reach, Report};
use super::survey::{Event, Router, Survey, Target};

/// A server to ask: its name, and where it is in one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub name: String,
    pub host: String,
    pub address: SocketAddr,
    pub tls: SocketAddr,
}

/// Where `HOST[:PORT]` is: the first address of each family. Empty if the name leads nowhere.
pub fn resolve(text: &str, tls_port: u16) -> Vec<Place> {
    let (host, port) = split(text);
    let Ok(found) = (host.as_str(), port).to_socket_addrs() else { return Vec::new() };
    let found: Vec<SocketAddr> = found.collect();
    let first = |v4: bool| found.iter().find(|address| address.is_ipv4() == v4).copied();
    let place = |address: SocketAddr| Place {
        name: text.to_owned(),
        host: host.clone(),
        address,
        tls: SocketAddr::new(address.ip(), tls_port),
    };
    [true, false].into_iter().filter_map(first).map(place).collect()
}

/// Host and port; an IPv6 address with a port stands in brackets. Default 3478 (RFC 8489 §18.6).
fn split(text: &str) -> (String, u16) {
    const PORT: u16 = 3478;
    if text.parse::<Ipv6Addr>().is_ok() {
        return (text.to_owned(), PORT);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (text, Some(PORT)),
    };
    match port {
        Some(port) => (host.trim_matches(['[', ']']).to_owned(), port),
        None => (text.trim_matches(['[', ']']).to_owned(), PORT),
    }
}

/// Looks at everything, and tells `note` how far it is.
pub fn look(places: &[Place], ask_router: bool, patience: Duration, note: fn(&str)) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let seen = Seen::default();
    let config =
        PeerConfig { tls: Some(certificate::client(&seen)), connect_timeout: patience, ..PeerConfig::default() };
    let survey = Survey::new(patience, || Box::new(SystemRng::new()));
    let (mut peer, handle) = Peer::new(survey, Raw, config, Clock::start(), move |context, _, _, event| match event {
        Event::Progress(text) => note(&text),
        Event::Done => context.stop(),
    });
    let ports = try_ports(places, patience);
    let routers = default_gateways();
    let asked = if ask_router { &routers[..] } else { &[] };
    peer.with(|context, survey, now| begin(context, survey, now, places, asked))?;
    let survey = runtime.block_on(peer.run());
    drop(handle);
    Ok(report(&survey, &seen, places, &routers, ports))
}

fn begin(
    context: &mut PeerContext,
    survey: &mut Survey,
    now: Instant,
    places: &[Place],
    gateways: &[SocketAddr],
) -> io::Result<()> {
    let mut everywhere: BTreeMap<bool, SocketAddr> = BTreeMap::new();
    let mut targets = Vec::new();
    for place in places {
        // No way there, no address to send from.
        let Some(local) = source(place.address) else { continue };
        let z = match everywhere.get(&local.is_ipv4()) {
            Some(z) => *z,
            None => context.bind(local)?,
        };
        everywhere.insert(local.is_ipv4(), z);
        if let Ok(name) = ServerName::try_from(place.host.clone()) {
            context.name_server(place.tls, name);
        }
        targets.push(Target {
            name: place.name.clone(),
            server: place.address,
            tls: place.tls,
            x: context.bind(local)?,
            y: context.bind(local)?,
            z,
            big: whole(local).and_then(|socket| context.adopt(socket)).ok(),
        });
    }
    let mut routers = Vec::new();
    for gateway in gateways {
        let Some(local) = source(SocketAddr::new(gateway.ip(), 9)).filter(|_| !gateway.ip().is_loopback()) else {
            continue;
        };
        let ways: &[Way] = if gateway.is_ipv4() { &[Way::Pcp, Way::NatPmp, Way::Upnp] } else { &[Way::Pcp] };
        for way in ways {
            routers.push(Router { way: *way, gateway: *gateway, socket: context.bind(local)? });
        }
    }
    survey.begin(now, targets, routers);
    Ok(())
}

/// The address, with port 0, that this host sends from to get there. Sends nothing.
fn source(remote: SocketAddr) -> Option<SocketAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    let mut local = socket.local_addr().ok()?;
    local.set_port(0);
    Some(local)
}

/// A socket whose packets nobody may cut, whatever the kernel believes of the path.
fn whole(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;
    if local.is_ipv4() {
        sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    } else {
        sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
    }
    Ok(socket)
}

/// Whether the TLS ports take connections, tried alongside.
fn try_ports(places: &[Place], patience: Duration) -> Vec<std::thread::JoinHandle<Reach>> {
    let attempt = |address: SocketAddr| {
        std::thread::spawn(move || match TcpStream::connect_timeout(&address, patience) {
            Ok(_) => Reach::Open,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Reach::Silent,
            Err(_) => Reach::Refused,
        })
    };
    places.iter().map(|place| attempt(place.tls)).collect()
}

fn report(
    survey: &Survey,
    seen: &Seen,
    places: &[Place],
    gateways: &[SocketAddr],
    ports: Vec<std::thread::JoinHandle<Reach>>,
) -> Report {
    let addresses = local_addresses(Interfaces::default()).unwrap_or_default();
    let mut servers: Vec<_> = survey.servers().cloned().collect();
    for (place, port) in places.iter().zip(ports) {
        let reach = port.join().unwrap_or_default();
        for server in servers.iter_mut().filter(|server| server.tls_address == place.tls && server.name == place.name) {
            server.tls_port = reach;
            server.certificate = seen.of(&place.host);
        }
    }
    Report {
        addresses: addresses.iter().map(|own| own.ip()).collect(),
        gateways: gateways.iter().map(|gateway| gateway.ip()).collect(),
        servers,
        port_mapping: survey.port_mapping().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("stun.example.org", "stun.example.org", 3478),
            ("stun.example.org:19302", "stun.example.org", 19302),
            ("192.0.2.1:1", "192.0.2.1", 1),
            ("2001:db8::1", "2001:db8::1", 3478),
            ("[2001:db8::1]:5349", "2001:db8::1", 5349),
            ("[2001:db8::1]", "2001:db8::1", 3478),
        ] {
            assert_eq!(split(text), (host.to_owned(), port), "{text}");
        }
    }
}
