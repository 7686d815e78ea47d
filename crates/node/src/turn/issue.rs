//! Handing out time-limited credentials: to the command line, to browsers by `GET /turn`, to our own phones with the answer
//! to REGISTER.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use farspeak_net::Listening;
use farspeak_sansio::{Instant, Transport};
use farspeak_turn::RestAccounts;

use super::accounts::ClockStep;
use super::settings;
use crate::config::Config;
use crate::shared::Clock;

/// Makes credentials. Shared by all who hand them out.
pub struct Issuer {
    rest: RestAccounts,
    clock: Clock,
    step: ClockStep,
    listening: Vec<Listening>,
    terms: RwLock<Terms>,
}

/// What a reload may change.
struct Terms {
    ttl: Duration,
    uris: Arc<[String]>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issuer")
    }
}

/// A time-limited credential and where it is good.
#[derive(Clone)]
pub struct Issued {
    /// The user name: when it ends, and for whom it is.
    pub username: String,
    /// The password.
    pub credential: String,
    /// How long it is good.
    pub ttl: Duration,
    /// URIs (RFC 7065), the preferred first.
    pub uris: Arc<[String]>,
}

/// The password is not shown.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("ttl", &self.ttl).field("uris", &self.uris).finish_non_exhaustive()
    }
}

impl Issued {
    /// As WebRTC services answer it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "username": self.username, "credential": self.credential, "ttl": self.ttl.as_secs(), "uris": &*self.uris,
        })
    }
}

impl Issuer {
    pub(super) fn new(
        rest: RestAccounts,
        clock: Clock,
        step: ClockStep,
        listening: Vec<Listening>,
        config: &Config,
    ) -> Self {
        let terms = RwLock::new(Terms { ttl: Duration::ZERO, uris: Arc::default() });
        let issuer = Self { rest, clock, step, listening, terms };
        issuer.reload(config);
        issuer
    }

    pub(super) fn reload(&self, config: &Config) {
        let host = host(config, &self.listening);
        let terms = Terms { ttl: config.turn.credential_lifetime, uris: uris(&self.listening, &host).into() };
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    /// A credential for somebody, good for `ttl`, or for as long as the configuration says.
    pub fn issue(&self, now: Instant, name: &str, ttl: Option<Duration>) -> Issued {
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        let ttl = ttl.unwrap_or(terms.ttl);
        let unix = self.step.correct(u64::try_from(self.clock.unix_ms(now)).unwrap_or(0) / 1000);
        let (username, credential) = self.rest.issue(unix.saturating_add(ttl.as_secs()), name);
        Issued { username, credential, ttl, uris: Arc::clone(&terms.uris) }
    }
}

/// By which name or address clients reach the service.
fn host(config: &Config, listening: &[Listening]) -> String {
    match (&config.domain.public_name, config.domain.name.as_str()) {
        (Some(name), _) => name.clone(),
        (None, "localhost") => {
            let mut chosen = listening.iter().map(|it| it.address.ip()).filter(|ip| !ip.is_unspecified());
            let address = chosen.next().or_else(|| settings::advertised(config));
            address.map_or_else(|| "localhost".to_owned(), |ip| ip.to_string())
        }
        (None, name) => name.to_owned(),
    }
}

/// `turn:` and `turns:` URIs (RFC 7065): UDP first, TLS last.
fn uris(listening: &[Listening], host: &str) -> Vec<String> {
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => host.to_owned(),
    };
    let kinds = [
        (Transport::Udp, "turn", "udp"),
        (Transport::Tcp, "turn", "tcp"),
        (Transport::Tls, "turns", "tcp"),
        (Transport::Wss, "turns", "tcp"),
    ];
    let mut uris = Vec::new();
    for (transport, scheme, word) in kinds {
        for listener in listening.iter().filter(|listener| listener.transport == transport) {
            let uri = format!("{scheme}:{host}:{}?transport={word}", listener.address.port());
            if !uris.contains(&uri) {
                uris.push(uri);
            }
        }
    }
    uris
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Loaded;

    #[test]
    fn tells_where_the_credential_is_good() {
        let loaded = Loaded::parse(Path::new("f"), "[domain]\nname = \"example.org\"\n").unwrap();
        let listening = [(Transport::Udp, "0.0.0.0:3478"), (Transport::Udp, "[::]:3478"), (Transport::Wss, "[::]:443")]
            .map(|(transport, address)| Listening { transport, address: address.parse().unwrap() });
        let clock = Clock { unix_at_origin_ms: 1_000_000 };
        let issuer =
            Issuer::new(RestAccounts::new(b"north"), clock, ClockStep::default(), listening.to_vec(), &loaded.config);
        let issued = issuer.issue(Instant::ZERO, "alice", None);
        assert_eq!(issued.username, "4600:alice");
        assert_eq!(
            *issued.uris,
            ["turn:example.org:3478?transport=udp", "turns:example.org:443?transport=tcp"].map(str::to_owned)
        );
        assert_eq!(issuer.issue(Instant::ZERO, "", Some(Duration::from_secs(5))).username, "1005");
        assert_eq!(uris(&listening[..1], "2001:db8::1"), ["turn:[2001:db8::1]:3478?transport=udp"]);
    }
}
