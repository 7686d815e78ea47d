//! What nothing could work with in the section [turn], although each value by itself can be read.

use std::collections::HashSet;
use std::time::Duration;

use farspeak_stun::Key;

use super::Config;

/// Each with the key to change.
pub(super) fn faults(config: &Config) -> Vec<(&'static str, String)> {
    let turn = &config.turn;
    let mut faults: Vec<(&'static str, String)> = Vec::new();
    let mut fault = |key, message: &str| faults.push((key, message.to_owned()));
    if turn.secret.0.iter().any(|secret| secret.reveal().len() < SHORTEST_SECRET) {
        fault(
            "secret",
            "is shorter than 16 characters: whoever has one credential could find it by trying; `openssl rand -hex 32` \
             makes a good one",
        );
    }
    let mut names = HashSet::new();
    for (at, entry) in turn.users.iter().enumerate() {
        let entry_is = |what: &str| format!("has an entry, number {}, that {what}", at + 1);
        match entry.reveal().split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                if Key::long_term_sha256(name, "realm", password).is_err() {
                    fault("users", &entry_is("has characters that no name or password may have (RFC 8265)"));
                }
                if !names.insert(name) {
                    fault("users", &entry_is("names somebody a second time"));
                }
            }
            _ => fault("users", &entry_is("is not \"name:password\"")),
        }
    }
    for (family, is_ipv4) in [("IPv4", true), ("IPv6", false)] {
        if turn.relay.0.iter().filter(|relay| relay.bind.is_ipv4() == is_ipv4).count() > 1 {
            fault("relay", &format!("names more than one {family} address; one of each family is what clients get"));
        }
    }
    // RFC 6052 §2.2.
    let translates = |prefix: &&farspeak_turn::Prefix| {
        prefix.address().is_ipv6() && matches!(prefix.length(), 32 | 40 | 48 | 56 | 64 | 96)
    };
    if let Some(prefix) = turn.nat64.0.iter().find(|prefix| !translates(prefix)) {
        fault("nat64", &format!("has {prefix}; prefixes of NAT64 are IPv6 and of 32, 40, 48, 56, 64 or 96 bits"));
    }
    if turn.credential_lifetime < Duration::from_secs(60) {
        fault("credential_lifetime", "is shorter than 1m: a credential could be over before it is used");
    }
    if turn.credential_lifetime > turn.max_credential_lifetime {
        fault("credential_lifetime", "is longer than `max_credential_lifetime`: no credential would be accepted");
    }
    if turn.max_credential_lifetime > LONGEST_CREDENTIAL {
        fault("max_credential_lifetime", "is longer than 3650d");
    }
    if let Some(origin) = turn.web_origins.iter().find(|origin| !is_origin(origin)) {
        fault(
            "web_origins",
            &format!(
                "has {origin:?}; an origin is \"https://\" and a host name, in lower case, with a port if it is not 443"
            ),
        );
    }
    for (key, most) in [("per_user", turn.per_user), ("per_source", turn.per_source)] {
        if most == 0 {
            fault(key, "is 0: nobody could relay; for STUN alone, set `max_allocations` to 0");
        }
    }
    if (1..LEAST_BANDWIDTH).contains(&turn.bandwidth) {
        fault("bandwidth", "is less than 16000 bytes a second, which no call gets along with; 0 sets no bound");
    }
    // RFC 8656 §7.2: never shorter than the default lifetime.
    if turn.max_lifetime < Duration::from_secs(600) || turn.max_lifetime > Duration::from_hours(24) {
        fault("max_lifetime", "is not between 10m and 1d");
    }
    if turn.tcp_relaying && turn.max_tcp_peers == 0 {
        fault("max_tcp_peers", "is 0: no peer could be reached by TCP; `tcp_relaying = false` says so");
    }
    if let Some(other) = turn.alternate {
        let first = turn.udp.0.iter().find(|address| address.is_ipv4() == other.is_ipv4());
        match first {
            _ if other.ip().is_unspecified() || other.port() == 0 => {
                fault("alternate", "is no single address and port; name a second address of this machine");
            }
            None => fault("alternate", "needs a listener of its family in `udp` beside it"),
            Some(first) if first.port() == other.port() || first.ip() == other.ip() => {
                fault("alternate", &format!("has to differ from `udp` ({first}) in address and in port (RFC 5780 §6)"));
            }
            Some(_) => {}
        }
    }
    let mut taken = HashSet::new();
    for (key, addresses) in [("tcp", &turn.tcp.0), ("tls", &turn.tls.0)] {
        for address in addresses.iter().filter(|address| address.port() != 0) {
            if !taken.insert(*address) {
                fault(key, &format!("uses {address} a second time"));
            }
        }
    }
    faults
}

/// As browsers write it (RFC 6454 §6.2): no path, and encrypted, or on this very machine.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://").filter(|it| is_here(it)));
    host.is_some_and(|host| {
        !host.is_empty()
            && !host.ends_with(":443")
            && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte))
    })
}

/// For whoever writes a page.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.starts_with("localhost:")
}

/// Bytes: what nobody finds by trying.
const SHORTEST_SECRET: usize = 16;
/// Ten years.
const LONGEST_CREDENTIAL: Duration = Duration::from_hours(3650 * 24);
/// A call of G.711 with its headers needs this much both ways together.
const LEAST_BANDWIDTH: u64 = 16_000;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Loaded;

    #[test]
    fn every_value_that_nothing_could_work_with_is_told_with_its_place_and_a_cure() {
        for (line, wanted) in [
            ("secret = \"north\"", "openssl rand"),
            ("users = [\"bob:s3cr3t\", \"carol\"]", "number 2, that is not \"name:password\""),
            ("users = [\":s3cr3t\"]", "number 1"),
            ("users = [\"bob:s3cr3t\", \"bob:s3cr4t\"]", "a second time"),
            ("users = [\"b\\u0001b:s3cr3t\"]", "RFC 8265"),
            ("users = \"bob:s3cr3t\"", "expected a list of texts"),
            ("secret = [\"0123456789abcdef\", \"s3cr3t\"]", "openssl rand"),
            ("secret = [[\"s3cr3t\"]]", "expected a text"),
            ("relay = [\"192.0.2.1\", \"192.0.2.2\"]", "one of each family"),
            ("nat64 = [\"192.0.2.0/24\"]", "192.0.2.0/24"),
            ("nat64 = [\"2001:db8::/33\"]", "2001:db8::/33"),
            ("credential_lifetime = \"0s\"", "1m"),
            ("credential_lifetime = \"31d\"", "max_credential_lifetime"),
            ("max_credential_lifetime = \"30m\"", "max_credential_lifetime"),
            ("max_credential_lifetime = \"100000d\"", "3650d"),
            ("web_origins = [\"*\"]", "https://"),
            ("web_origins = [\"http://phone.example.org\"]", "https://"),
            ("web_origins = [\"https://phone.example.org/\"]", "an origin is"),
            ("per_user = 0", "max_allocations"),
            ("per_source = 0", "max_allocations"),
            ("bandwidth = 64", "16000"),
            ("max_lifetime = \"1m\"", "10m"),
            ("max_lifetime = \"999999d\"", "1d"),
            ("tcp_relaying = true\nmax_tcp_peers = 0", "tcp_relaying"),
            ("alternate = \"0.0.0.0:3479\"", "second address"),
            ("alternate = \"192.0.2.2:3478\"", "RFC 5780"),
            ("udp = [\"[::]:3478\"]\nalternate = \"192.0.2.2:3479\"", "`udp`"),
            ("tcp = 5349", "5349"),
            ("ports = \"80-90\"", "1024"),
            ("allow_peers = [\"10.0.0.1/8\"]", "zeros"),
        ] {
            let text = format!("[turn]\n{line}\n");
            let said = Loaded::parse(Path::new("f"), &text).expect_err(line).to_string();
            assert!(said.starts_with("f:") && said.contains("`turn.") && said.contains(wanted), "{line}: {said}");
            assert!(!said.contains("s3cr3t") && !said.contains("north"), "{line}: {said}");
        }
        Loaded::parse(Path::new("f"), "[turn]\nmax_allocations = 0\nbandwidth = 0\n").unwrap();
    }

    #[test]
    fn never_shows_a_secret() {
        let text = "[turn]\nsecret = \"0123456789abcdef\"\nusers = [\"bob:s3cr3t\"]\n";
        let config = Loaded::parse(Path::new("f"), text).unwrap().config;
        let shown: String = config.keys().iter().map(|key| format!("{}\n", key.shown)).collect();
        for said in [shown, format!("{config:?}")] {
            assert!(said.contains("(hidden)") && !said.contains("s3cr3t") && !said.contains("0123456789"), "{said}");
        }
        let value = |name| config.keys().into_iter().find(|key| key.name == name).unwrap().value;
        assert_eq!(value("users"), "[\"bob:s3cr3t\"]", "what a reload compares is the value");
    }
}
