//! Turns the `[turn]` section into what the server wants.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use farspeak_net::{Interfaces, local_addresses};
use farspeak_stun::Alternate;
use farspeak_turn::{PeerPolicy, Quotas, RelayAddress, ServerConfig, StaticAccounts};

use crate::config::Config;

/// What is the same for all shards; shard and number of shards are to be filled in.
pub(super) fn server(config: &Config, realm: &str, nonce_key: [u8; 32]) -> ServerConfig {
    let turn = &config.turn;
    let mut server = ServerConfig::new(realm, relays(config), nonce_key);
    server.ports = turn.ports.0.clone();
    server.policy = PeerPolicy {
        allow: turn.allow_peers.0.clone(),
        deny: turn.deny_peers.0.clone(),
        own: Vec::new(),
        nat64: turn.nat64.0.clone(),
    };
    server.quotas = Quotas {
        allocations: turn.max_allocations,
        allocations_per_credential: turn.per_user,
        allocations_per_source: turn.per_source,
        bandwidth: Some(turn.bandwidth).filter(|most| *most > 0),
        ..Quotas::default()
    };
    server.lifetimes.max = turn.max_lifetime.max(server.lifetimes.default);
    server.mobility = turn.mobility;
    server.tcp_relaying = turn.tcp_relaying;
    server.rfc5766_channels = turn.old_channels;
    server.alternates = alternates(config);
    server.own_addresses = own_addresses();
    server
}

/// Where relayed addresses are taken from.
pub(super) fn relays(config: &Config) -> Vec<RelayAddress> {
    let chosen = &config.turn.relay.0;
    if !chosen.is_empty() {
        return chosen.clone();
    }
    let outward = [FAR_V4, FAR_V6].into_iter().filter_map(towards).map(RelayAddress::plain);
    let found: Vec<RelayAddress> = outward.collect();
    // Without any network there is still the machine itself, for whoever tries it out.
    if found.is_empty() { vec![RelayAddress::plain(Ipv4Addr::LOCALHOST.into())] } else { found }
}

/// Whether this machine has the addresses that relayed ones are to be on.
pub(super) fn check_relays(config: &Config) -> Result<(), String> {
    for relay in &config.turn.relay.0 {
        if let Err(error) = UdpSocket::bind((relay.bind, 0)) {
            return Err(format!(
                "turn.relay: no relayed address can be on {} ({error}); name an address of this machine",
                relay.bind
            ));
        }
    }
    Ok(())
}

/// By which address the relay is known outside.
pub(super) fn advertised(config: &Config) -> Option<IpAddr> {
    relays(config).first().map(|relay| relay.advertised)
}

/// Where relayed addresses are taken from, as the configuration would say it.
pub(crate) fn relay_addresses(config: &Config) -> Vec<String> {
    let each = relays(config).into_iter().map(|relay| match relay.bind == relay.advertised {
        true => relay.bind.to_string(),
        false => format!("{} as {}", relay.bind, relay.advertised),
    });
    each.collect()
}

/// Pairs of addresses for NAT behaviour discovery.
pub(super) fn alternates(config: &Config) -> Vec<Alternate> {
    let Some(other) = config.turn.alternate else { return Vec::new() };
    let listeners = config.turn.udp.0.iter().filter(|address| address.is_ipv4() == other.is_ipv4());
    let primary = listeners.map(|address| {
        let mut address = *address;
        if address.ip().is_unspecified() {
            let far = if other.is_ipv4() { FAR_V4 } else { FAR_V6 };
            address.set_ip(towards(far).unwrap_or(address.ip()));
        }
        address
    });
    let differs = |primary: &std::net::SocketAddr| primary.ip() != other.ip() && primary.port() != other.port();
    primary.filter(differs).take(1).map(|primary| Alternate { primary, other }).collect()
}

/// The accounts that stand in the configuration; those that cannot be used are named.
pub(super) fn accounts(config: &Config, realm: &str) -> Result<StaticAccounts, String> {
    let mut accounts = StaticAccounts::new(realm);
    for (at, entry) in config.turn.users.iter().enumerate() {
        let wrong = || format!("turn.users: entry {} is not \"name:password\"", at + 1);
        let (name, password) = entry.reveal().split_once(':').ok_or_else(wrong)?;
        if name.is_empty() || password.is_empty() {
            return Err(wrong());
        }
        accounts.insert(name, password, None).map_err(|_| wrong())?;
    }
    Ok(accounts)
}

/// Every address of this host: a relay is no way into it.
fn own_addresses() -> Vec<IpAddr> {
    let all = local_addresses(Interfaces { loopback: true }).unwrap_or_default();
    all.into_iter().map(|own| own.ip()).collect()
}

/// Our address as the kernel would choose it towards somebody far away.
fn towards(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?; // sends nothing
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

/// Globally routed, and somebody's for good: a root name server's.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30));
