//! The running node: opens the data directory, starts SIP (`sip.rs`) and the STUN and TURN service, or the latter alone
//! (`alone.rs`), and answers signals.
//!
//! ```text
//!   sockets ⇄ shard 0..n ── Commit ──▶ journal ──▶ store      ┐
//!                 ▲  └──── ToShard ──▶ shard m                │ SIP; not with `serve --only turn`
//!                 └─── committed() ───┘                       ┘
//!   sockets ⇄ packet loop 0..n                                  STUN and TURN
//!   SIGTERM, SIGHUP, control socket, admin listener, renewal, sweeping: one more thread, this one
//! ```

mod admin;
mod alone;
mod certificates;
mod https;
mod listen;
mod metrics;
mod reload;
mod run;
mod settings;
mod sip;
mod sockets;
mod turn;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant as StdInstant};

use farspeak_net::relay::RelayHandle;
use farspeak_net::{CertificateStore, Clock as NetClock, Listening};
use farspeak_turn::RestAccounts;

pub use certificates::authority;
use sip::{Sip, SipSetup};

use crate::config::{Config, ConfigErrors, Loaded};
use crate::data_dir::{DataDir, DataDirError, Lock};
use crate::store::{Store, StoreError};
use crate::telemetry::Telemetry;
use crate::turn::{StartFailure, TurnMachine, TurnService, TurnSetup};
use crate::users::Users;

/// A node that accepts connections.
pub struct Server {
    data: DataDir,
    loaded: Loaded,
    /// Where the configuration is read again from.
    config_file: PathBuf,
    telemetry: Telemetry,
    clock: NetClock,
    started: StdInstant,
    /// Empty if nothing uses TLS.
    certificates: Arc<CertificateStore>,
    users: Arc<Users>,
    /// None: STUN and TURN run alone.
    sip: Option<Sip>,
    turn: Option<TurnService>,
    admin: Option<std::net::TcpListener>,
    control: std::os::unix::net::UnixListener,
    summary: Summary,
    _lock: Lock,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// What an operator wants to know when the node is up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The domain served.
    pub domain: String,
    /// The data directory.
    pub data: PathBuf,
    /// Whether the node has just been made: there was no store.
    pub first_start: bool,
    /// Where phones connect.
    pub listening: Vec<Listening>,
    /// Where STUN and TURN are.
    pub turn: Vec<Listening>,
    /// Whether nothing else runs.
    pub only_turn: bool,
    /// Where metrics and health are.
    pub admin: Option<SocketAddr>,
    /// SHA-256 of the authority that phones have to trust; none with certificates from files, or without TLS.
    pub authority_fingerprint: Option<String>,
    /// SHA-256 of the server certificate; none without TLS.
    pub certificate_fingerprint: Option<String>,
    /// How many users there are.
    pub users: usize,
    /// How many registrations were taken over from before the restart.
    pub restored: usize,
    /// What was done differently than the defaults say, and why.
    pub warnings: Vec<String>,
}

/// What [`Server::start`] works with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The data directory. Made if it is not there.
    pub data: DataDir,
    /// The configuration.
    pub loaded: Loaded,
    /// Where a reload reads the configuration from; it may be absent.
    pub config_file: PathBuf,
    /// The log.
    pub telemetry: Telemetry,
    /// Whether only STUN and TURN run, and neither SIP nor HTTPS.
    pub only_turn: bool,
}

impl Server {
    /// Starts everything. When it returns, phones can connect.
    ///
    /// # Errors
    /// [`ServeError`] says what is in the way and what to do; nothing runs then.
    pub fn start(options: ServerOptions) -> Result<Self, ServeError> {
        let ServerOptions { data, loaded, config_file, telemetry, only_turn } = options;
        let config = &loaded.config;
        data.create()?;
        let unknown = !data.is_known();
        let lock = data.lock()?;
        let admin = sockets::admin(config.admin.listen)?;
        let control = sockets::control(&data)?;
        let clock = NetClock::start();
        let certificates = match !only_turn || alone::uses_tls(config) {
            true => CertificateStore::new(certificates::identities(config, &data)?),
            false => CertificateStore::new(Vec::new()),
        };
        let mut warnings = Vec::new();
        let divert: Arc<OnceLock<RelayHandle<TurnMachine>>> = Arc::default();
        let (users, sip) = match only_turn {
            true => (alone::users(config, &data)?, None),
            false => {
                let setup =
                    SipSetup { data: &data, loaded: &loaded, clock, certificates: &certificates, divert: &divert };
                let sip = Sip::start(setup, &mut warnings)?;
                (Arc::clone(&sip.shared.users), Some(sip))
            }
        };
        let turn = match config.turn.enabled || only_turn {
            true => {
                let mut secrets = config.turn.secret.0.iter().map(|secret| secret.reveal().into());
                let secret: Vec<u8> = match secrets.next() {
                    Some(secret) => secret,
                    None => data.keep(TURN_SECRET, turn::new_secret)?,
                };
                let rest = secrets.fold(RestAccounts::new(&secret), |rest, other| rest.with_other(&other));
                let https = sip.as_ref().map_or_else(|| config.listen.https.0.clone(), Sip::https);
                let setup = TurnSetup {
                    loaded: &loaded,
                    clock,
                    certificates: &certificates,
                    users: &users,
                    rest,
                    https: &https,
                    alone: only_turn,
                };
                let turn = TurnService::start(setup, &mut warnings)?;
                let _ = divert.set(turn.handle()); // set once, here
                if let Some(sip) = &sip {
                    sip.hand_out_credentials(&turn);
                }
                Some(turn)
            }
            false => None,
        };
        warnings.extend(advice(&data, config, &certificates, turn.as_ref()));
        let current = certificates.current();
        let authority_fingerprint = match &config.certificate.chain {
            None if !current.is_empty() => Some(authority(config, &data)?.fingerprint()),
            _ => None,
        };
        let summary = Summary {
            domain: config.domain.name.clone(),
            data: data.path().to_owned(),
            first_start: sip.as_ref().map_or(unknown, |sip| sip.first_start),
            listening: sip.as_ref().map(|sip| sip.net.listening().to_vec()).unwrap_or_default(),
            turn: turn.as_ref().map(|turn| turn.listening().to_vec()).unwrap_or_default(),
            only_turn,
            admin: admin.as_ref().and_then(|listener| listener.local_addr().ok()),
            authority_fingerprint,
            certificate_fingerprint: current.first().map(farspeak_net::Identity::fingerprint),
            users: users.len(),
            restored: sip.as_ref().map_or(0, |sip| sip.restored),
            warnings,
        };
        let started = StdInstant::now();
        Ok(Self {
            data,
            loaded,
            config_file,
            telemetry,
            clock,
            started,
            certificates,
            users,
            sip,
            turn,
            admin,
            control,
            summary,
            _lock: lock,
        })
    }

    /// What an operator wants to know.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Works until SIGTERM or SIGINT, then finishes what is under way, for at most `node.drain`, and ends. `ready` is called once
    /// a signal would be heeded: whoever is told that the node is up may stop it at once.
    ///
    /// # Errors
    /// The system refuses what the admin thread needs.
    pub fn run(self, ready: impl FnOnce(&Summary)) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ServeError::Other(format!("cannot start the admin thread: {error}")))?;
        let local = tokio::task::LocalSet::new();
        let state = runtime.block_on(local.run_until(run::until_stopped(self, ready)))?;
        drop((local, runtime));
        state.stop();
        Ok(())
    }

    fn stop(self) {
        let (net, journal) = match self.sip {
            Some(sip) => (Some(sip.net.stop(self.loaded.config.node.drain)), Some(sip.journal)),
            None => (None, None),
        };
        if self.turn.is_some_and(|turn| !turn.stop()) {
            tracing::error!("a packet loop had died before the node was stopped: please report it");
        }
        if net.is_some_and(|stopped| stopped.panicked) {
            tracing::error!("a shard had died before the node was stopped: please report it");
        } else if net.is_some_and(|stopped| !stopped.finished) {
            tracing::warn!("stopped with transactions in flight: they did not end within node.drain");
        }
        let _ = std::fs::remove_file(self.data.control_socket()); // the next start removes it as well
        match journal.map(|journal| journal.stop().map(Store::close)) {
            None | Some(Some(Ok(()))) => {}
            Some(Some(Err(error))) => tracing::error!("{error}"),
            Some(None) => tracing::error!("the journal had died before the node was stopped: please report it"),
        }
        tracing::info!("stopped");
    }
}

/// What an operator should know, beside what did not go as the defaults say.
fn advice(data: &DataDir, config: &Config, certificates: &CertificateStore, turn: Option<&TurnService>) -> Vec<String> {
    let mut warnings = Vec::new();
    if certificates::ends_soon(config, &certificates.current()) {
        warnings.push("the certificate ends within two weeks: renew it, then `farspeak reload`".to_owned());
    }
    if data.exposure().is_ok_and(|bits| bits != 0) {
        warnings.push(format!("{} is open to other users of this machine: chmod 700", data.path().display()));
    }
    if config.dangerous.no_authentication {
        warnings.push("anybody can register and call as anybody (dangerous.no_authentication)".to_owned());
    }
    if config.dangerous.addresses_in_log {
        warnings.push("the log tells who called whom (dangerous.addresses_in_log)".to_owned());
    }
    if turn.is_some_and(|turn| turn.realm().len() > farspeak_turn::LONGEST_REALM) {
        warnings.push(format!(
            "the domain's name has more than {} bytes: answers to strangers are kept short, so some TURN clients will get \
             none over UDP",
            farspeak_turn::LONGEST_REALM
        ));
    }
    warnings
}

/// The file of the data directory that keeps what time-limited credentials are made with: no store is needed for them.
const TURN_SECRET: &str = "turn.secret";
/// How often expired registrations are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Why a node does not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// A certificate or key cannot be used.
    Certificate(String),
    /// The data directory cannot be used.
    Data(DataDirError),
    /// The store cannot be used.
    Store(StoreError),
    /// A port is not to be had.
    Listen(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(errors) => errors.fmt(f),
            Self::Data(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Certificate(text) | Self::Listen(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<DataDirError> for ServeError {
    fn from(error: DataDirError) -> Self {
        Self::Data(error)
    }
}

impl From<StartFailure> for ServeError {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::Listen(text) => Self::Listen(text),
            StartFailure::Other(text) => Self::Other(text),
        }
    }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
