//! The running node: opens the data directory and the store, builds a [`Shard`] for each core, wires their events to the
//! journal and to each other, and answers signals.
//!
//! ```text
//!   sockets ⇄ shard 0..n ── Commit ──▶ journal ──▶ store
//!                 ▲  └──── ToShard ──▶ shard m
//!                 └─── committed() ───┘
//!   SIGTERM, SIGHUP, control socket, admin listener, renewal, sweeping: one more thread, this one
//! ```

mod admin;
mod certificates;
mod https;
mod listen;
mod metrics;
mod reload;
mod run;
mod settings;
mod turn;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant as StdInstant};

use farspeak_net::relay::RelayHandle;
use farspeak_net::{CertificateStore, Clock as NetClock, Listening, Net, Parts, ShardHandles, StartError};
use farspeak_sansio::{Instant, Machine as _, Receive};
use farspeak_sip::digest::Nonces;
use farspeak_sip::endpoint::EndpointConfig;

pub use certificates::authority;

use crate::accounts;
use crate::binding::BindingRow;
use crate::config::{ConfigErrors, Loaded};
use crate::data_dir::{DataDir, DataDirError, Lock};
use crate::entropy::SystemRng;
use crate::event::Event;
use crate::journal::{Deliver, Journal};
use crate::ladder_log::LadderFile;
use crate::location::{Location, LocationConfig};
use crate::shard::{Shard, ShardConfig};
use crate::shared::{Clock, Keys, Shared, SharedParts};
use crate::store::{Store, StoreError};
use crate::telemetry::Telemetry;
use crate::throttle::Throttle;
use crate::turn::{StartFailure, TurnMachine, TurnService, TurnSetup};
use crate::users::Users;
use crate::wire::SipFraming;

/// A node that accepts connections.
pub struct Server {
    data: DataDir,
    loaded: Loaded,
    /// Where the configuration is read again from.
    config_file: PathBuf,
    telemetry: Telemetry,
    clock: NetClock,
    /// How far the wall clock has stepped since the start, in milliseconds, as far as the store has been told.
    clock_step: i64,
    started: StdInstant,
    shared: Arc<Shared>,
    certificates: Arc<CertificateStore>,
    net: Net<Shard>,
    turn: Option<TurnService>,
    journal: Journal,
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
    /// SHA-256 of the authority that phones have to trust; none with certificates from files.
    pub authority_fingerprint: Option<String>,
    /// SHA-256 of the server certificate.
    pub certificate_fingerprint: String,
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
        let lock = data.lock()?;
        let mut rng = SystemRng::new();
        let identities = certificates::identities(config, &data)?;
        let mut store = Store::open(data.path(), config.store.durability)?;
        let first_start = store.meta("realm")?.is_none();
        let realm = accounts::realm(&mut store, &config.domain.name)?;
        let keys = Keys {
            flow_token: key(&mut store, "key.flow_token", &mut rng)?,
            branch: key(&mut store, "key.branch", &mut rng)?,
        };

        let turn_secret = match &config.turn.secret {
            Some(secret) => secret.clone().into_bytes(),
            None => turn_secret(&mut store, &mut rng)?,
        };

        let clock = NetClock::start();
        let wall = Clock { unix_at_origin_ms: clock.unix_at_origin_ms() };
        let users = Users::new(&realm, &mut rng);
        for user in accounts::load(&mut store)? {
            users.insert(user);
        }
        let shared = Shared::new(SharedParts {
            location: Location::new(LocationConfig::default()),
            users,
            throttle: Throttle::new(settings::throttle(config)),
            nonces: Nonces::new(rng.key(), settings::nonces(config)),
            keys,
            clock: wall,
            settings: settings::settings(config, &[]),
        });
        let (rows, newest) = store.bindings(wall.unix_ms(clock.now()))?;
        let suffix = format!("@{}", shared.settings().domain.name());
        let known = |aor: &str| aor.strip_suffix(&suffix).is_some_and(|name| shared.users.get(name).is_some());
        let rows = rows.into_iter().filter(|row| known(&row.aor));
        let longest = config.registrar.max_expires;
        let rows: Vec<_> = rows.map(|row| bounded(row, wall.unix_ms(clock.now()), longest)).collect();
        let datagrams = rows.iter().filter(|row| row.transport == farspeak_sansio::Transport::Udp);
        let datagrams: Vec<_> = datagrams.map(|row| (row.flow(), wall.instant(row.expires_at_unix_ms))).collect();
        let restored = shared.location.restore(clock.now(), wall, newest, rows);
        store.purge(wall.unix_ms(clock.now()))?;

        let admin = bind_admin(config.admin.listen)?;
        let control = bind_control(&data)?;
        let ladder = match &config.log.ladder {
            Some(path) => Some(LadderFile::open(path, wall).map_err(|error| {
                ServeError::Other(format!("cannot write the ladder log {}: {error} (log.ladder)", path.display()))
            })?),
            None => None,
        };

        let ways: Arc<OnceLock<ShardHandles<Shard>>> = Arc::default();
        let journal = Journal::start(store, deliver(Arc::clone(&ways)))
            .map_err(|error| ServeError::Other(format!("cannot start the journal: {error}")))?;
        let certificates = CertificateStore::new(identities);
        let mut warnings = Vec::new();
        let divert: Arc<OnceLock<RelayHandle<TurnMachine>>> = Arc::default();
        let turn_on_https = config.turn.enabled && config.turn.share_https;
        let mut plan = if only_turn { listen::Plan::default() } else { listen::Plan::new(&loaded) };
        let net = loop {
            let mut net_config = settings::net(config);
            net_config.listeners = plan.listeners(&certificates, turn_on_https)?;
            net_config.http = Some(https::handler(Arc::clone(&shared), clock));
            if only_turn {
                net_config.shards = 1; // it has nothing to do
            }
            if turn_on_https {
                let divert = Arc::clone(&divert);
                net_config.divert = Some(Arc::new(move |shard, connection| {
                    if let Some(handle) = divert.get() {
                        TurnService::divert(handle, shard, connection);
                    }
                }));
            }
            let build = builder(&shared, &journal, ladder.clone(), &loaded);
            match farspeak_net::start(net_config, clock, build) {
                Ok(net) => break net,
                Err(StartError::Bind(error)) => match plan.give_way(&error) {
                    Some(warning) => warnings.push(warning),
                    None => return Err(ServeError::Listen(error.to_string())),
                },
                Err(error) => return Err(ServeError::Other(error.to_string())),
            }
        };
        let _ = ways.set(net.handles().clone()); // set once, here
        let https: Vec<SocketAddr> = match only_turn {
            true => config.listen.https.0.clone(),
            false => {
                let served = net.listening().iter().filter(|it| it.transport == farspeak_sansio::Transport::Wss);
                served.map(|it| it.address).collect()
            }
        };
        let turn = match config.turn.enabled || only_turn {
            true => {
                let setup = TurnSetup {
                    loaded: &loaded,
                    clock,
                    certificates: &certificates,
                    shared: &shared,
                    secret: &turn_secret,
                    https: &https,
                    alone: only_turn,
                };
                let turn = TurnService::start(setup, &mut warnings).map_err(|failure| match failure {
                    StartFailure::Listen(text) => ServeError::Listen(text),
                    StartFailure::Other(text) => ServeError::Other(text),
                })?;
                let _ = divert.set(turn.handle()); // set once, here
                let issuer = turn.issuer();
                shared.set_turn_credentials(Box::new(move |now, name| {
                    issuer.issue(now, name, None).to_json().to_string()
                }));
                Some(turn)
            }
            false => None,
        };
        shared.replace_settings(settings::settings(config, net.listening()));
        // Phones on UDP that the store kept: their NAT mappings are held open again, by one shard each.
        let shards = net.handles().iter().count();
        for (index, handle) in net.handles().iter().enumerate() {
            let flows: Vec<_> = datagrams.iter().skip(index).step_by(shards).copied().collect();
            // A queue that is full at the start is a busy start: the phones register again by themselves.
            let _ = handle.run(move |shard, now| {
                flows.into_iter().for_each(|(flow, until)| shard.keep_alive(now, flow, until));
            });
        }

        let current = certificates.current();
        if certificates::ends_soon(config, &current) {
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
        if let Some(turn) = &turn
            && turn.realm().len() > farspeak_turn::LONGEST_REALM
        {
            warnings.push(format!(
                "the domain's name has more than {} bytes: answers to strangers are kept short, so some TURN clients will \
                 get none over UDP",
                farspeak_turn::LONGEST_REALM
            ));
        }
        let authority_fingerprint = match config.certificate.chain {
            Some(_) => None,
            None => Some(authority(config, &data)?.fingerprint()),
        };
        let summary = Summary {
            domain: config.domain.name.clone(),
            data: data.path().to_owned(),
            first_start,
            listening: net.listening().to_vec(),
            turn: turn.as_ref().map(|turn| turn.listening().to_vec()).unwrap_or_default(),
            only_turn,
            admin: admin.as_ref().and_then(|listener| listener.local_addr().ok()),
            authority_fingerprint,
            certificate_fingerprint: current.first().map(farspeak_net::Identity::fingerprint).unwrap_or_default(),
            users: shared.users.len(),
            restored,
            warnings,
        };
        Ok(Self {
            data,
            loaded,
            config_file,
            telemetry,
            clock,
            clock_step: 0,
            started: StdInstant::now(),
            shared,
            certificates,
            net,
            turn,
            journal,
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
        let drain = self.loaded.config.node.drain;
        let stopped = self.net.stop(drain);
        if self.turn.is_some_and(|turn| !turn.stop()) {
            tracing::error!("a packet loop had died before the node was stopped: please report it");
        }
        if stopped.panicked {
            tracing::error!("a shard had died before the node was stopped: please report it");
        } else if !stopped.finished {
            tracing::warn!("stopped with transactions in flight: they did not end within node.drain");
        }
        let _ = std::fs::remove_file(self.data.control_socket()); // the next start removes it as well
        match self.journal.stop().map(Store::close) {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!("{error}"),
            None => tracing::error!("the journal had died before the node was stopped: please report it"),
        }
        tracing::info!("stopped");
    }
}

/// Makes the parts of one shard, on its thread.
fn builder(
    shared: &Arc<Shared>,
    journal: &Journal,
    ladder: Option<LadderFile>,
    loaded: &Loaded,
) -> impl Fn(farspeak_net::Birth<Shard>) -> Parts<Shard, SipFraming> + Send + Sync + 'static {
    let (shared, journal) = (Arc::clone(shared), journal.handle().clone());
    let max_transactions = loaded.config.limits.max_transactions;
    move |birth| {
        let mut endpoint = EndpointConfig::default();
        endpoint.max_transactions = max_transactions;
        let rng = Box::new(SystemRng::new());
        let mut shard = Shard::new(ShardConfig { id: birth.shard, shared: Arc::clone(&shared), rng, endpoint });
        let framing = SipFraming::new(shared.settings().limits.clone());
        let journal = journal.clone();
        if let Some(file) = &ladder {
            shard.set_ladder(Some(Box::new(file.clone())));
        }
        Parts::new(shard, framing, move |context, shard, now, event| match event {
            Event::Commit { ticket, changes } => {
                if let Err(error) = journal.commit(context.shard(), ticket, changes) {
                    shard.committed(now, ticket, Err(error));
                }
            }
            Event::ToShard { shard: other, flow, bytes } => {
                if let Some(handle) = context.handles().get(other) {
                    // A full queue loses it, as a datagram would be: the sender repeats.
                    let _ = handle.run(move |shard, now| {
                        shard.handle_receive(now, Receive { flow, bytes: &bytes });
                    });
                }
            }
            Event::Tell { shard: other, news } => {
                if let Some(handle) = context.handles().get(other) {
                    // A full queue loses it: the next news, or the refresh of the subscription, brings what it named.
                    let _ = handle.run(move |shard, now| shard.hear(now, news));
                }
            }
            Event::CloseFlow { flow } => context.close(flow),
        })
        .on_stop(|_, _| (), |shard| shard.is_idle())
    }
}

/// Brings the journal's outcomes to the shards that wait for them.
fn deliver(ways: Arc<OnceLock<ShardHandles<Shard>>>) -> Deliver {
    Box::new(move |shard, outcomes| {
        // No shard can have asked before it existed.
        if let Some(handle) = ways.wait().get(shard) {
            // A shard that has stopped has nobody to answer.
            let _ = handle.run_blocking(move |shard: &mut Shard, now: Instant| {
                for (ticket, result) in outcomes {
                    shard.committed(now, ticket, result);
                }
            });
        }
    })
}

/// No binding lasts longer than it could have been granted now: if the wall clock went back while no node ran, what the
/// store kept would seem to last for as long.
fn bounded(row: BindingRow, now_unix_ms: i64, longest: Duration) -> BindingRow {
    let latest = now_unix_ms.saturating_add(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
    BindingRow { expires_at_unix_ms: row.expires_at_unix_ms.min(latest), ..row }
}

fn key(store: &mut Store, name: &str, rng: &mut SystemRng) -> Result<[u8; 16], ServeError> {
    let kept = store.meta_or_insert(name, &rng.key::<16>())?;
    kept.try_into()
        .map_err(|_| ServeError::Other(format!("the store holds a {name} of the wrong length: restore a backup")))
}

/// What time-limited credentials are made with: letters and digits, so that it can be given to a service as well.
fn turn_secret(store: &mut Store, rng: &mut SystemRng) -> Result<Vec<u8>, ServeError> {
    let fresh: String = rng.key::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(store.meta_or_insert("turn.secret", fresh.as_bytes())?)
}

fn bind_admin(address: Option<SocketAddr>) -> Result<Option<std::net::TcpListener>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    let fail = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => match farspeak_net::port_owner(farspeak_sansio::Transport::Tcp, address) {
                Some(owner) => format!("the port is taken by {owner}"),
                None => "the port is taken by another process".to_owned(),
            },
            _ => error.to_string(),
        };
        ServeError::Listen(format!("cannot listen on {address} for metrics: {hint}; choose another with admin.listen"))
    };
    let listener = std::net::TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(Some(listener))
}

/// The lock on the data directory is ours: a socket that is there belongs to nobody.
fn bind_control(data: &DataDir) -> Result<std::os::unix::net::UnixListener, ServeError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = data.control_socket();
    let fail =
        |error: io::Error| ServeError::Other(format!("cannot make the control socket {}: {error}", path.display()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&path).map_err(fail)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

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

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_went_back_keeps_no_binding_longer_than_one_can_be_granted() {
        let row = |expires_at_unix_ms| BindingRow {
            aor: "alice@example.org".to_owned(),
            contact: "sip:alice@192.0.2.4".to_owned(),
            instance: None,
            reg_id: None,
            q: 1000,
            expires_at_unix_ms,
            call_id: "c".to_owned(),
            cseq: 1,
            path: String::new(),
            params: String::new(),
            user_agent: String::new(),
            transport: farspeak_sansio::Transport::Tls,
            local: ([127, 0, 0, 1], 5061).into(),
            remote: ([127, 0, 0, 1], 40_000).into(),
            flow_bits: 0,
            since: 1,
            version: 1,
        };
        let (now, hour) = (1_700_000_000_000, 3_600_000);
        let ends = |at| bounded(row(at), now, Duration::from_secs(7200)).expires_at_unix_ms;
        assert_eq!(ends(now + hour), now + hour);
        assert_eq!(ends(now + 1000 * hour), now + 2 * hour);
        assert_eq!(ends(i64::MAX), now + 2 * hour);
    }
}
