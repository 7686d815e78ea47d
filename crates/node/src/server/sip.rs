//! The part of the node that speaks SIP and HTTPS: a [`Shard`] for each core, the journal and the store.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use farspeak_net::relay::RelayHandle;
use farspeak_net::{CertificateStore, Clock as NetClock, Net, Parts, ShardHandles, StartError};
use farspeak_sansio::{Instant, Machine as _, Receive, Transport};
use farspeak_sip::digest::Nonces;
use farspeak_sip::endpoint::EndpointConfig;

use super::{ServeError, https, listen, settings};
use crate::accounts;
use crate::binding::BindingRow;
use crate::config::Loaded;
use crate::control::unix_ms;
use crate::data_dir::DataDir;
use crate::entropy::SystemRng;
use crate::event::Event;
use crate::journal::{Deliver, Journal};
use crate::ladder_log::LadderFile;
use crate::location::{Location, LocationConfig};
use crate::shard::{Shard, ShardConfig};
use crate::shared::{Clock, Keys, Shared, SharedParts};
use crate::store::Store;
use crate::throttle::Throttle;
use crate::turn::{TurnMachine, TurnService};
use crate::users::Users;
use crate::wire::SipFraming;

/// SIP and HTTPS while they run.
pub(super) struct Sip {
    pub(super) shared: Arc<Shared>,
    pub(super) net: Net<Shard>,
    pub(super) journal: Journal,
    pub(super) origins: https::Origins,
    pub(super) clock: NetClock,
    /// How far the wall clock has stepped since the start, in milliseconds, as far as the store has been told.
    clock_step: i64,
    /// Whether there was no store.
    pub(super) first_start: bool,
    /// How many registrations were taken over from before the restart.
    pub(super) restored: usize,
}

/// What [`Sip::start`] works with.
pub(super) struct SipSetup<'a> {
    pub(super) data: &'a DataDir,
    pub(super) loaded: &'a Loaded,
    pub(super) clock: NetClock,
    pub(super) certificates: &'a Arc<CertificateStore>,
    /// Takes connections to the HTTPS port that turn out to be for TURN, once that runs.
    pub(super) divert: &'a Arc<OnceLock<RelayHandle<TurnMachine>>>,
}

impl Sip {
    /// Opens the store and starts the shards. What was done differently than the defaults say is added to `warnings`.
    pub(super) fn start(setup: SipSetup<'_>, warnings: &mut Vec<String>) -> Result<Self, ServeError> {
        let SipSetup { data, loaded, clock, certificates, divert } = setup;
        let config = &loaded.config;
        let mut rng = SystemRng::new();
        let mut store = Store::open(data.path(), config.store.durability)?;
        let first_start = store.meta("realm")?.is_none();
        let realm = accounts::realm(&mut store, &config.domain.name)?;
        let keys = Keys {
            flow_token: key(&mut store, "key.flow_token", &mut rng)?,
            branch: key(&mut store, "key.branch", &mut rng)?,
        };

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
        let datagrams = rows.iter().filter(|row| row.transport == Transport::Udp);
        let datagrams: Vec<_> = datagrams.map(|row| (row.flow(), wall.instant(row.expires_at_unix_ms))).collect();
        let restored = shared.location.restore(clock.now(), wall, newest, rows);
        store.purge(wall.unix_ms(clock.now()))?;

        let ladder = match &config.log.ladder {
            Some(path) => Some(LadderFile::open(path, wall).map_err(|error| {
                ServeError::Other(format!("cannot write the ladder log {}: {error} (log.ladder)", path.display()))
            })?),
            None => None,
        };

        let ways: Arc<OnceLock<ShardHandles<Shard>>> = Arc::default();
        let journal = Journal::start(store, deliver(Arc::clone(&ways)))
            .map_err(|error| ServeError::Other(format!("cannot start the journal: {error}")))?;
        let origins = https::Origins::default();
        origins.replace(&config.turn.web_origins);
        let turn_on_https = config.turn.enabled && config.turn.share_https;
        let mut plan = listen::Plan::new(loaded);
        let net = loop {
            let mut net_config = settings::net(config);
            net_config.listeners = plan.listeners(certificates, turn_on_https)?;
            net_config.http = Some(https::handler(Arc::clone(&shared), clock, origins.clone()));
            if turn_on_https {
                let divert = Arc::clone(divert);
                net_config.divert = Some(Arc::new(move |shard, connection| {
                    if let Some(handle) = divert.get() {
                        TurnService::divert(handle, shard, connection);
                    }
                }));
            }
            let build = builder(&shared, &journal, ladder.clone(), loaded);
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
        Ok(Self { shared, net, journal, origins, clock, clock_step: 0, first_start, restored })
    }

    /// Where HTTPS is served.
    pub(super) fn https(&self) -> Vec<SocketAddr> {
        let served = self.net.listening().iter().filter(|it| it.transport == Transport::Wss);
        served.map(|it| it.address).collect()
    }

    /// From now on phones and browsers are given credentials for the relay.
    pub(super) fn hand_out_credentials(&self, turn: &TurnService) {
        let issuer = turn.issuer();
        self.shared
            .set_turn_credentials(Box::new(move |now, name| issuer.issue(now, name, None).to_json().to_string()));
    }

    /// What has to be done once a second: registrations that have ended go, and the store is told of the wall clock.
    pub(super) fn sweep(&mut self) {
        self.shared.location.sweep(self.clock.now(), SWEEP_BUDGET);
        self.follow_wall_clock(unix_ms());
    }

    /// Tells the store if the wall clock has stepped: what it keeps is for a process that will start by that clock.
    fn follow_wall_clock(&mut self, unix_ms: i64) {
        let step = unix_ms.saturating_sub(self.shared.clock.unix_ms(self.clock.now()));
        if step.abs_diff(self.clock_step) < STEP_MS {
            return;
        }
        tracing::warn!(by_ms = step.saturating_sub(self.clock_step), "the wall clock has stepped");
        // Not waited for twice: the store is full or gone, and says so by itself; the next tick tries again.
        if let Ok(Ok(())) = self.journal.handle().with_store(move |store| store.follow_clock(step)) {
            self.clock_step = step;
        }
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

/// Addresses looked at in one sweep: about a millisecond.
const SWEEP_BUDGET: usize = 1000;
/// Difference between the clocks, in milliseconds, that counts as a step.
const STEP_MS: u64 = 5000;

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
            transport: Transport::Tls,
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
