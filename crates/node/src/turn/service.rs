//! The service as a whole: starting, reloading, and what an operator asks of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_net::relay::{self, Handover, Relay, RelayConfig, RelayCounters, RelayHandle};
use farspeak_net::{CertificateStore, Clock, Listening, StartError};
use farspeak_sansio::Transport;
use farspeak_turn::{Census, Counters, Ledger, RestAccounts, Server, SessionReport, Usage, Which};

use super::accounts::{ClockStep, Configured, NodeAccounts};
use super::issue::Issuer;
use super::listen::Plan;
use super::machine::TurnMachine;
use super::settings;
use crate::config::{Config, Loaded};
use crate::entropy::SystemRng;
use crate::users::Users;

/// The running STUN and TURN service.
pub struct TurnService {
    relay: Relay<TurnMachine>,
    ledger: Arc<Ledger>,
    issuer: Arc<Issuer>,
    configured: Configured,
    wall: crate::shared::Clock,
    step: ClockStep,
    realm: String,
    nonce_key: [u8; 32],
}

impl fmt::Debug for TurnService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnService").field("listening", &self.relay.listening()).finish_non_exhaustive()
    }
}

/// What [`TurnService::start`] works with.
#[derive(Clone)]
pub struct TurnSetup<'a> {
    /// The configuration.
    pub loaded: &'a Loaded,
    /// The process's clock.
    pub clock: Clock,
    /// The certificates of the TLS listeners.
    pub certificates: &'a Arc<CertificateStore>,
    /// The users.
    pub users: &'a Arc<Users>,
    /// What time-limited credentials are made with.
    pub rest: RestAccounts,
    /// Where HTTPS is served.
    pub https: &'a [SocketAddr],
    /// Whether nothing else of the node runs: then TLS on the HTTPS port is TURN's alone.
    pub alone: bool,
}

impl fmt::Debug for TurnSetup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnSetup")
    }
}

/// What one shard has to say.
#[derive(Clone, Debug)]
pub struct ShardReport {
    /// Of its machine.
    pub counters: Counters,
    /// Of its loop.
    pub packets: RelayCounters,
    /// Allocations now.
    pub allocations: usize,
}

impl TurnService {
    /// Starts it. What was left out, and why, is added to `warnings`.
    ///
    /// # Errors
    /// What is in the way; nothing runs then.
    pub fn start(setup: TurnSetup<'_>, warnings: &mut Vec<String>) -> Result<Self, StartFailure> {
        let TurnSetup { loaded, clock, certificates, users, rest, https, alone } = setup;
        let config = &loaded.config;
        let realm = users.realm().to_owned();
        let nonce_key = SystemRng::new().key();
        let longest = config.turn.max_credential_lifetime + CLOCKS;
        let rest = rest.with_longest(longest.as_secs());
        let accounts = settings::accounts(config, &realm).map_err(StartFailure::Other)?;
        settings::check_relays(config).map_err(StartFailure::Listen)?;
        let configured = Configured::new(accounts);
        let step = ClockStep::default();
        let ledger: Arc<Ledger> = Arc::default();
        let mut server = settings::server(config, &realm, nonce_key);
        server.unix_at_origin = Duration::from_millis(u64::try_from(clock.unix_at_origin_ms()).unwrap_or(0));
        let build = {
            let (rest, users) = (rest.clone(), Arc::clone(users));
            let (configured, step) = (configured.clone(), step.clone());
            let ledger = Arc::clone(&ledger);
            Arc::new(move |birth: relay::RelayBirth| {
                let mut server = server.clone();
                (server.shard, server.shards) = (birth.shard, birth.shards);
                let accounts = NodeAccounts::new(rest.clone(), Arc::clone(&users), configured.clone(), step.clone());
                let rng = Box::new(SystemRng::new());
                TurnMachine { server: Server::new(server, Box::new(accounts), Arc::clone(&ledger), rng) }
            })
        };
        let wall = crate::shared::Clock { unix_at_origin_ms: clock.unix_at_origin_ms() };
        let mut plan = Plan::new(loaded, https, alone);
        let relay = loop {
            if alone && plan.is_empty() {
                return Err(StartFailure::Listen(nowhere(warnings)));
            }
            let mut relay = relay_config(config);
            relay.listeners = plan.listeners(certificates).map_err(StartFailure::Other)?;
            let build = Arc::clone(&build);
            match relay::start(relay, clock, move |birth| build(birth)) {
                Ok(relay) => break relay,
                Err(StartError::Bind(error)) => match plan.give_way(&error) {
                    Some(warning) => warnings.push(warning),
                    None => return Err(StartFailure::Listen(error.to_string())),
                },
                Err(error) => return Err(StartFailure::Other(error.to_string())),
            }
        };
        warnings.extend(advice(config));
        // TLS on the HTTPS port is TURN's too, although somebody else listens there.
        let shared_port = https.iter().filter(|_| config.turn.share_https && !alone);
        let shared_port = shared_port.map(|address| Listening { transport: Transport::Wss, address: *address });
        let listening = relay.listening().iter().copied().chain(shared_port).collect();
        let issuer = Arc::new(Issuer::new(rest, wall, step.clone(), listening, config));
        Ok(Self { relay, ledger, issuer, configured, wall, step, realm, nonce_key })
    }

    /// Where it listens.
    pub fn listening(&self) -> &[Listening] {
        self.relay.listening()
    }

    /// Hands over connections that turn out to be for TURN.
    pub fn handle(&self) -> RelayHandle<TurnMachine> {
        self.relay.handle()
    }

    /// Takes over what a reload may change: policy, quotas, relay addresses, accounts of the configuration.
    ///
    /// # Errors
    /// What is wrong; nothing has changed then.
    pub fn reload(&self, config: &Config) -> Result<(), String> {
        let accounts = settings::accounts(config, &self.realm)?;
        settings::check_relays(config)?;
        self.configured.replace(accounts);
        self.issuer.reload(config);
        let server = settings::server(config, &self.realm, self.nonce_key);
        let handle = self.handle();
        // Whoever is told that the policy is in force may count on it: each shard is waited for.
        let (sender, applied) = std::sync::mpsc::channel();
        for shard in 0..handle.count() {
            let (server, sender) = (server.clone(), sender.clone());
            let told = handle.run(shard, move |machine, _, now| {
                machine.server.reconfigure(now, server);
                let _ = sender.send(()); // whoever waited may have given up
            });
            if let Err(error) = told {
                tracing::error!(shard, %error, "a packet loop goes on with the former [turn] settings");
            }
        }
        drop(sender);
        while applied.recv_timeout(PATIENCE).is_ok() {}
        Ok(())
    }

    /// Time-limited credentials end by the wall clock, which now says `unix_ms`.
    pub fn follow_wall_clock(&self, now: farspeak_sansio::Instant, unix_ms: i64) {
        self.step.set(unix_ms.saturating_sub(self.wall.unix_ms(now)) / 1000);
    }

    /// What every shard has to say; one that does not answer in time is missing.
    pub async fn shards(handle: RelayHandle<TurnMachine>) -> Vec<Option<ShardReport>> {
        let mut reports = Vec::new();
        for shard in 0..handle.count() {
            let answer = handle.query(shard, |machine, packets, _| ShardReport {
                counters: *machine.server.counters(),
                packets: *packets,
                allocations: machine.server.allocations(),
            });
            reports.push(tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok));
        }
        reports
    }

    /// What each shard's sessions hold, asked piece by piece; of one that does not answer in time, what it had said.
    pub async fn census(handle: RelayHandle<TurnMachine>) -> Vec<Census> {
        let mut all = Vec::new();
        for shard in 0..handle.count() {
            let (mut sum, mut next) = (Census::default(), Some(0));
            while let Some(from) = next.take() {
                let answer = handle.query(shard, move |machine, _, now| machine.server.census(now, from, PIECE));
                let Ok(Ok(piece)) = tokio::time::timeout(PATIENCE, answer).await else { break };
                sum.over_udp += piece.over_udp;
                sum.over_tcp += piece.over_tcp;
                sum.over_tls += piece.over_tls;
                sum.permissions += piece.permissions;
                sum.channels += piece.channels;
                next = piece.next;
            }
            all.push(sum);
        }
        all
    }

    /// All sessions, of at most `most` for each shard.
    pub async fn sessions(handle: RelayHandle<TurnMachine>, most: usize) -> Vec<SessionReport> {
        let mut sessions = Vec::new();
        for shard in 0..handle.count() {
            let answer =
                handle.query(shard, move |machine, _, now| machine.server.sessions(now).take(most).collect::<Vec<_>>());
            if let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, answer).await {
                sessions.extend(more);
            }
        }
        sessions
    }

    /// Ends the sessions of a user, or the one of that number; how many.
    pub async fn kick(handle: RelayHandle<TurnMachine>, whom: String) -> usize {
        let mut kicked = 0;
        for shard in 0..handle.count() {
            let whom = whom.clone();
            let answer = handle.query(shard, move |machine, _, now| {
                let of_user = machine.server.kick(now, Which::User(&whom));
                let session = whom.strip_prefix('#').and_then(|number| u64::from_str_radix(number, 16).ok());
                of_user + session.map_or(0, |number| machine.server.kick(now, Which::Session(number)))
            });
            kicked += tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok).unwrap_or(0);
        }
        kicked
    }

    /// What each user has and has had.
    pub fn usage(&self) -> Vec<(Arc<str>, Usage)> {
        self.ledger.users()
    }

    /// What each shard's connections are.
    pub fn connections(&self) -> Arc<[Arc<farspeak_net::Counters>]> {
        self.relay.connections()
    }

    /// Makes credentials for it.
    pub fn issuer(&self) -> Arc<Issuer> {
        Arc::clone(&self.issuer)
    }

    /// The realm that credentials are for.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Ends it: allocations end, connections close.
    pub fn stop(self) -> bool {
        self.relay.stop()
    }

    /// Hands one accepted connection to a shard; it is closed if that is too busy.
    pub fn divert(handle: &RelayHandle<TurnMachine>, shard: u8, connection: Handover) {
        let shard = shard % handle.count().max(1);
        if handle.take_over(shard, connection).is_err() {
            tracing::debug!("a TURN connection came while the packet loop was too busy for it");
        }
    }
}

/// Why the service does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartFailure {
    /// A port that the operator asked for is not to be had.
    Listen(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Listen(text) | Self::Other(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for StartFailure {}

/// Why nothing is left to listen on.
fn nowhere(refused: &[String]) -> String {
    let why = match refused {
        [] => "turn.udp, turn.tcp and turn.tls are empty, and no HTTPS port is shared".to_owned(),
        refused => refused.join("\n"),
    };
    format!("there is no port to serve STUN and TURN on: set turn.udp, turn.tcp or turn.tls\n{why}")
}

fn relay_config(config: &Config) -> RelayConfig {
    let mut relay = RelayConfig::default();
    if config.node.shards > 0 {
        relay.shards = config.node.shards;
    }
    relay.stream.max_connections = config.limits.max_connections;
    relay.stream.max_connections_per_source = config.limits.max_connections_per_source;
    // An allocation lasts an hour at most without a word from its client.
    relay.stream.idle_timeout = config.turn.max_lifetime + Duration::from_secs(300);
    relay.peer_connections = config.turn.max_tcp_peers;
    let proxies = config.turn.proxies.0.clone();
    relay.proxies = Arc::new(move |source| proxies.iter().any(|prefix| prefix.contains(source)));
    relay
}

/// What an operator should know of the addresses that were chosen.
fn advice(config: &Config) -> Vec<String> {
    let relays = settings::relays(config);
    let policy = farspeak_turn::PeerPolicy::default();
    let inner = relays.iter().filter(|relay| policy.judge_ip(relay.advertised).is_err());
    let text = |relay: &farspeak_turn::RelayAddress| {
        if relay.advertised.is_loopback() {
            return "this machine has no network: relayed addresses are on its loopback, which nobody else reaches"
                .to_owned();
        }
        format!(
            "relayed addresses are on {}, which cannot be reached from the Internet; if a router forwards UDP ports \
             {}-{} of a public address to it, say so: turn.relay = [\"{} as PUBLIC-ADDRESS\"]",
            relay.advertised,
            config.turn.ports.0.start(),
            config.turn.ports.0.end(),
            relay.bind
        )
    };
    inner.filter(|_| config.turn.relay.0.is_empty()).map(text).collect()
}

/// Sessions that a packet loop looks at between packets.
const PIECE: usize = 1000;
/// How far the clock of a service that makes credentials may be ahead.
const CLOCKS: Duration = Duration::from_secs(300);
/// How long a packet loop may take to answer: one that has no processor for a while is not dead.
const PATIENCE: Duration = Duration::from_secs(5);
