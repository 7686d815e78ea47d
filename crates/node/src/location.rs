//! The location table: which phones each user has, and over which flow each is reached (RFC 3261 §10, RFC 5626 §6).
//!
//! The registrar changes it, the proxy looks up in it, the journal gets a row for each change. It is shared between
//! shards: striped locks, held for a lookup or a swap.
//!
//! ```text
//!   by address-of-record   alice@example.org -> [binding, binding]     the truth
//!   by contact URI         hash              -> [binding]              RFC 3261 §19.1.4; a request to a live Contact
//!   by flow                connection        -> [alice@example.org]    what dies with a connection
//!   by deadline            second            -> [alice@example.org]    one entry per address-of-record
//! ```
//!
//! A change counts at once and waits for the store in `pending`; [`Location::confirm`] makes it final,
//! [`Location::rollback`] takes it out again and leaves what came before and after it.

mod contacts;
mod pending;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use farspeak_sansio::{Flow, FlowId, Instant, Transport};
use farspeak_sip::message::Uri;

use self::contacts::Contacts;
pub(crate) use self::pending::apply;
use self::pending::{Pending, rows};
use crate::binding::{Binding, BindingParts, BindingRow, Reach};
use crate::domain::Aor;
use crate::shared::Clock;

/// Bounds of the location table.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LocationConfig {
    /// Most bindings in all. Default 1,000,000 (about 1 GB).
    pub max_bindings: usize,
    /// Most changes of one address-of-record that wait for the store at once. Default 32.
    pub max_pending: usize,
}

impl Default for LocationConfig {
    fn default() -> Self {
        Self { max_bindings: 1_000_000, max_pending: 32 }
    }
}

/// Why the table did not take a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LocationError {
    /// [`LocationConfig::max_bindings`] is reached: us, 503.
    Full,
    /// [`LocationConfig::max_pending`] is reached: the store is slow, 503.
    Busy,
}

impl fmt::Display for LocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the location table is full: raise its bound on bindings",
            Self::Busy => "the store is too slow for the registrations of this address",
        })
    }
}

impl std::error::Error for LocationError {}

/// One change of one binding.
#[derive(Clone, Debug)]
pub enum Change {
    /// Takes the place of the binding at the same place (see [`Binding::is_same_place`]), or is added.
    Put(Arc<Binding>),
    /// Removes the binding at the same place.
    Remove(Arc<Binding>),
}

/// What [`Location::update`] did.
#[derive(Clone, Debug)]
pub struct Updated<T> {
    /// Which change it was; 0 if there was nothing to change (then there is nothing to confirm).
    pub version: u64,
    /// What the store has to write, in order.
    pub rows: Vec<BindingRow>,
    /// The bindings that hold now, in the order in which [`Location::bindings`] gives them.
    pub bindings: Vec<Arc<Binding>>,
    /// What the closure gave.
    pub value: T,
}

/// Which phones each user has. Shared between shards.
pub struct Location {
    config: LocationConfig,
    /// Keys the hashes of contacts: nobody can choose contacts that collide.
    hasher: RandomState,
    records: Box<[Mutex<Records>]>,
    contacts: Box<[Mutex<HashMap<u64, Contacts>>]>,
    flows: Box<[Mutex<FlowUsers>]>,
    agents: RwLock<HashSet<Arc<str>>>,
    version: AtomicU64,
    total: AtomicUsize,
    sweeper: AtomicUsize,
}

impl Location {
    /// An empty table.
    pub fn new(config: LocationConfig) -> Self {
        Self {
            config,
            hasher: RandomState::new(),
            records: (0..STRIPES).map(|_| Mutex::default()).collect(),
            contacts: (0..STRIPES).map(|_| Mutex::default()).collect(),
            flows: (0..STRIPES).map(|_| Mutex::default()).collect(),
            agents: RwLock::default(),
            version: AtomicU64::new(0),
            total: AtomicUsize::new(0),
            sweeper: AtomicUsize::new(0),
        }
    }

    /// Where a request to `aor` goes: current and reachable bindings, by q, then the most recently registered first.
    ///
    /// Of several flows of one phone (same instance) only the most recent is given (RFC 5626 §7).
    pub fn lookup(&self, now: Instant, aor: &Aor) -> Vec<Arc<Binding>> {
        let mut targets = self.bindings(now, aor);
        targets.retain(|binding| binding.is_reachable());
        if targets.len() > 1 {
            let all = targets.clone();
            targets.retain(|binding| !all.iter().any(|other| is_newer_flow_of_same_phone(other, binding)));
        }
        targets
    }

    /// All current bindings of `aor`, lost ones and every flow of a phone included, by q, then the most recent first.
    pub fn bindings(&self, now: Instant, aor: &Aor) -> Vec<Arc<Binding>> {
        let records = self.records(aor);
        records.by_aor.get(aor).map_or_else(Vec::new, |record| current(&record.bindings, now))
    }

    /// The live, reachable binding whose Contact equals `uri` (RFC 3261 §19.1.4).
    ///
    /// If users share a Contact (equal private addresses behind two NATs), the user who has held it longest is meant,
    /// whether that phone can be reached or not: nobody takes over a Contact by registering it too, nor by waiting until
    /// its holder's connection is lost. If nobody can tell who has held it longest (the store did not keep that in
    /// former times), nobody is meant. Ask [`Location::all_by_contact`] to choose otherwise.
    pub fn by_contact(&self, now: Instant, uri: &Uri<'_>) -> Option<Arc<Binding>> {
        let all = self.holders(now, uri);
        let since = all.iter().map(|binding| binding.since()).min()?;
        let mut first = all.iter().filter(|binding| binding.since() == since);
        let holder = first.next()?.aor().clone();
        if first.any(|binding| *binding.aor() != holder) {
            return None;
        }
        let mine = all.into_iter().filter(|binding| *binding.aor() == holder && binding.is_reachable());
        mine.max_by_key(|binding| binding.version())
    }

    /// All live, reachable bindings whose Contact equals `uri`, in no particular order; none if more than 64 share it
    /// (it means nobody then).
    pub fn all_by_contact(&self, now: Instant, uri: &Uri<'_>) -> Vec<Arc<Binding>> {
        let mut all = self.holders(now, uri);
        all.retain(|binding| binding.is_reachable());
        all
    }

    /// All live bindings whose Contact equals `uri`, lost ones included; none if more than 64 share it.
    fn holders(&self, now: Instant, uri: &Uri<'_>) -> Vec<Arc<Binding>> {
        let hash = contacts::hash(&self.hasher, uri);
        let found = lock(&self.contacts[stripe(hash)]).get(&hash).map_or_else(Vec::new, Contacts::holders);
        let equals = |binding: &Binding| Uri::parse(binding.contact()).is_ok_and(|contact| contact.equivalent(uri));
        found.into_iter().filter(|it| it.is_current(now) && equals(it)).collect()
    }

    /// Changes the bindings of `aor`, all changes or none: `decide` sees the current bindings and the new version number.
    ///
    /// # Errors
    /// What `decide` refused with, or that the table is full or the store is behind; then nothing has changed.
    pub fn update<T, E: From<LocationError>>(
        &self,
        now: Instant,
        clock: Clock,
        aor: &Aor,
        decide: impl FnOnce(&[Arc<Binding>], u64) -> Result<(Vec<Change>, T), E>,
    ) -> Result<Updated<T>, E> {
        let mut records = self.records(aor);
        let old = records.by_aor.get(aor).map_or_else(Vec::new, |record| current(&record.bindings, now));
        // Taken under the lock: versions of one address-of-record grow in the order of their changes.
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let (changes, value) = decide(&old, version)?;
        if changes.is_empty() {
            return Ok(Updated { version: 0, rows: Vec::new(), bindings: old, value });
        }
        let new = apply(&old, &changes);
        if new.len() > old.len()
            && self.total.load(Ordering::Relaxed) + (new.len() - old.len()) > self.config.max_bindings
        {
            return Err(LocationError::Full.into());
        }
        let pending = records.pending.entry(aor.clone()).or_insert_with(|| Pending::new(old.clone()));
        if pending.len() >= self.config.max_pending {
            return Err(LocationError::Busy.into());
        }
        let rows = rows(&old, &new, version, clock);
        pending.push(version, changes);
        self.replace(&mut records, aor, new.clone());
        drop(records);
        Ok(Updated { version, rows, bindings: current(&new, now), value })
    }

    /// The store has written change `version` of `aor`: it is final.
    pub fn confirm(&self, aor: &Aor, version: u64) {
        let mut records = self.records(aor);
        let before = records.connections(aor);
        let Some(pending) = records.pending.get_mut(aor) else { return };
        pending.confirm(version);
        if pending.is_empty() {
            records.pending.remove(aor);
        }
        self.prune_flows(&records, aor, &before);
    }

    /// The store could not write change `version` of `aor`: it is undone. What others changed before and since stays.
    pub fn rollback(&self, now: Instant, aor: &Aor, version: u64) {
        let mut records = self.records(aor);
        let before = records.connections(aor);
        let Some(pending) = records.pending.get_mut(aor) else { return };
        if !pending.remove(version) {
            return;
        }
        let left = pending.outcome();
        if pending.is_empty() {
            records.pending.remove(aor);
        }
        self.replace(&mut records, aor, current(&left, now));
        self.prune_flows(&records, aor, &before);
    }

    /// Removes all bindings of `aor` (the user is gone). Gives the rows for the store; nothing waits for them.
    pub fn remove_all(&self, now: Instant, aor: &Aor) -> Vec<BindingRow> {
        let mut records = self.records(aor);
        let old = records.by_aor.get(aor).map_or_else(Vec::new, |record| current(&record.bindings, now));
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let before = records.connections(aor);
        records.pending.remove(aor);
        self.replace(&mut records, aor, Vec::new());
        self.prune_flows(&records, aor, &before);
        old.iter().map(|binding| binding.removal_row(version)).collect()
    }

    /// The connection is gone: the bindings that used it stay until they expire, but cannot be reached until the phone
    /// registers again. A phone on plain TCP that wrote its true address as Contact can be called back, and is.
    ///
    /// Datagram sockets do not die with one peer: nothing happens.
    pub fn flow_failed(&self, now: Instant, flow: &Flow) {
        if !is_connection(flow) {
            return;
        }
        let users: Vec<Aor> = {
            let flows = lock(&self.flows[flow_stripe(flow.id)]);
            let users = flows.range((flow.id, None)..).take_while(|(id, _)| *id == flow.id);
            users.filter_map(|(_, aor)| aor.clone()).collect()
        };
        let lose = |binding: &Arc<Binding>| match binding.reach() {
            Reach::Flow(used) if used.id == flow.id => {
                Arc::new(binding.with_reach(without_connection(binding.contact(), used)))
            }
            _ => Arc::clone(binding),
        };
        for aor in users {
            let mut records = self.records(&aor);
            if let Some(pending) = records.pending.get_mut(&aor) {
                pending.for_each(|binding| *binding = lose(binding));
            }
            if let Some(record) = records.by_aor.get(&aor) {
                let new = current(&record.bindings, now).iter().map(lose).collect();
                self.replace(&mut records, &aor, new);
            }
            self.prune_flows(&records, &aor, &[flow.id]);
        }
    }

    /// Takes back what the store kept, at start. Rows that have expired are left out. Gives how many bindings hold.
    ///
    /// `newest` is the greatest version that the store has seen, in rows that it has dropped or that removed something
    /// too: what changes from now on is newer.
    ///
    /// Datagram flows are reached at the address last seen; a clear stream only if the phone's Contact is that address
    /// (then it listens there); TLS and WebSocket phones once they come back.
    pub fn restore(
        &self,
        now: Instant,
        clock: Clock,
        newest: u64,
        rows: impl IntoIterator<Item = BindingRow>,
    ) -> usize {
        let before = self.len();
        self.version.fetch_max(newest, Ordering::Relaxed);
        for row in rows {
            self.version.fetch_max(row.version, Ordering::Relaxed);
            let Some(aor) = Aor::from_stored(&row.aor) else { continue };
            let Some(binding) = self.binding_of(&row, aor.clone(), now, clock) else { continue };
            if self.len() >= self.config.max_bindings {
                break;
            }
            let mut records = self.records(&aor);
            let old = records.by_aor.get(&aor).map_or_else(Vec::new, |record| record.bindings.clone());
            self.replace(&mut records, &aor, apply(&old, &[Change::Put(Arc::new(binding))]));
        }
        self.len() - before
    }

    /// Forgets what has expired, looking at no more than `budget` addresses-of-record. Gives how many bindings went.
    ///
    /// What has expired is never given out even before; this returns its memory. Call it about once a second with a
    /// budget that keeps the pause short: 1000 take about a millisecond.
    pub fn sweep(&self, now: Instant, budget: usize) -> usize {
        let (mut gone, mut left) = (0, budget);
        for _ in 0..STRIPES {
            if left == 0 {
                break;
            }
            let turn = self.sweeper.fetch_add(1, Ordering::Relaxed) % STRIPES;
            let mut records = lock(&self.records[turn]);
            while left > 0 {
                let due = records.deadlines.first().filter(|(second, _)| *second <= seconds(now));
                let Some((_, aor)) = due.cloned() else { break };
                left -= 1;
                let before = records.by_aor.get(&aor).map_or(0, |record| record.bindings.len());
                let new = records.by_aor.get(&aor).map_or_else(Vec::new, |record| current(&record.bindings, now));
                gone += before - new.len();
                records.disarm(&aor);
                self.replace(&mut records, &aor, new);
            }
        }
        gone
    }

    /// How many bindings are held, expired ones that no sweep has seen yet included.
    pub fn len(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Whether no binding is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many addresses-of-record have a binding.
    pub fn users(&self) -> usize {
        self.records.iter().map(|stripe| lock(stripe).by_aor.len()).sum()
    }

    /// How many changes wait for the store.
    pub fn pending(&self) -> usize {
        let waiting = |records: &Records| records.pending.values().map(Pending::len).sum::<usize>();
        self.records.iter().map(|stripe| waiting(&lock(stripe))).sum()
    }

    /// One shared copy of a User-Agent: a thousand phones of one make cost its name once. Cut at 128 bytes.
    pub fn intern_agent(&self, agent: &str) -> Arc<str> {
        let mut end = agent.len().min(MAX_AGENT);
        while !agent.is_char_boundary(end) {
            end -= 1;
        }
        let agent = &agent[..end];
        if let Some(known) = self.agents.read().unwrap_or_else(PoisonError::into_inner).get(agent) {
            return Arc::clone(known);
        }
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if agents.len() >= MAX_AGENTS {
            agents.retain(|known| Arc::strong_count(known) > 1);
        }
        let new: Arc<str> = Arc::from(agent);
        if agents.len() < MAX_AGENTS {
            agents.insert(Arc::clone(&new));
        }
        new
    }

    fn binding_of(&self, row: &BindingRow, aor: Aor, now: Instant, clock: Clock) -> Option<Binding> {
        let expires_at = clock.instant(row.expires_at_unix_ms);
        if row.is_removal() || expires_at <= now {
            return None;
        }
        let flow = row.flow();
        let reach = match flow.transport {
            Transport::Udp => Reach::Flow(flow),
            _ => without_connection(&row.contact, flow),
        };
        Binding::new(&BindingParts {
            aor,
            contact: &row.contact,
            params: &row.params,
            instance: row.instance.as_deref().unwrap_or_default(),
            reg_id: row.reg_id,
            q: row.q,
            call_id: &row.call_id,
            cseq: row.cseq,
            path: &row.path,
            user_agent: self.intern_agent(&row.user_agent),
            reach,
            since: row.since,
            updated_at: now,
            expires_at,
            version: row.version,
        })
    }

    /// Puts `new` in the place of what `aor` has, and the indexes in step with it.
    fn replace(&self, records: &mut Records, aor: &Aor, new: Vec<Arc<Binding>>) {
        let before = records.connections(aor);
        self.swap(records, aor, new);
        self.prune_flows(records, aor, &before);
    }

    fn swap(&self, records: &mut Records, aor: &Aor, mut new: Vec<Arc<Binding>>) {
        new.shrink_to_fit();
        let old = records.by_aor.get(aor).map_or(&[][..], |record| &record.bindings[..]);
        let kept = |list: &[Arc<Binding>], it: &Arc<Binding>| list.iter().any(|other| Arc::ptr_eq(other, it));
        // In this order: a Contact that is refreshed is never missing from the index.
        for added in new.iter().filter(|it| !kept(old, it)) {
            self.index(added);
        }
        for gone in old.iter().filter(|it| !kept(&new, it)) {
            self.unindex(gone);
        }
        // Both lists are short (the registrar's bound), so this cannot wrap.
        self.total.fetch_add(new.len(), Ordering::Relaxed);
        self.total.fetch_sub(old.len(), Ordering::Relaxed);
        let Some(first) = new.iter().map(|it| it.expires_at()).min() else {
            records.disarm(aor);
            records.by_aor.remove(aor);
            return;
        };
        let due = seconds(first).saturating_add(1);
        let record = records.by_aor.entry(aor.clone()).or_insert_with(|| Record { bindings: Vec::new(), armed: NEVER });
        record.bindings = new;
        if due < record.armed {
            let armed = std::mem::replace(&mut record.armed, due);
            records.deadlines.remove(&(armed, aor.clone()));
            records.deadlines.insert((due, aor.clone()));
        }
    }

    fn index(&self, binding: &Arc<Binding>) {
        if let Some(hash) = self.hash_of(binding) {
            let mut contacts = lock(&self.contacts[stripe(hash)]);
            contacts
                .entry(hash)
                .and_modify(|it| it.push(binding))
                .or_insert_with(|| Contacts::One(Arc::clone(binding)));
        }
        if let Some(flow) = binding.flow().filter(is_connection) {
            lock(&self.flows[flow_stripe(flow.id)]).insert((flow.id, Some(binding.aor().clone())));
        }
    }

    fn unindex(&self, binding: &Arc<Binding>) {
        if let Some(hash) = self.hash_of(binding) {
            let mut contacts = lock(&self.contacts[stripe(hash)]);
            if contacts.get_mut(&hash).is_some_and(|it| it.remove(binding)) {
                contacts.remove(&hash);
            }
        }
    }

    /// Forgets that `aor` uses those of the connections `before` which it uses no longer.
    fn prune_flows(&self, records: &Records, aor: &Aor, before: &[FlowId]) {
        if before.is_empty() {
            return;
        }
        let after = records.connections(aor);
        for gone in before.iter().filter(|id| !after.contains(id)) {
            lock(&self.flows[flow_stripe(*gone)]).remove(&(*gone, Some(aor.clone())));
        }
    }

    fn hash_of(&self, binding: &Binding) -> Option<u64> {
        Uri::parse(binding.contact()).ok().map(|uri| contacts::hash(&self.hasher, &uri))
    }

    fn records(&self, aor: &Aor) -> MutexGuard<'_, Records> {
        lock(&self.records[stripe(self.hasher.hash_one(aor))])
    }
}

impl Default for Location {
    fn default() -> Self {
        Self::new(LocationConfig::default())
    }
}

/// Who uses which connection. `None` sorts before everybody, to find the first.
type FlowUsers = BTreeSet<(FlowId, Option<Aor>)>;

/// One stripe of the table.
#[derive(Default)]
struct Records {
    by_aor: HashMap<Aor, Record>,
    /// Changes that wait for the store.
    pending: HashMap<Aor, Pending>,
    /// When to look at whom, in seconds: one entry per address-of-record.
    deadlines: BTreeSet<(u32, Aor)>,
}

impl Records {
    /// The connections that `aor` uses, by what holds now and by what may hold again after an undo.
    fn connections(&self, aor: &Aor) -> Vec<FlowId> {
        let mut used = Vec::new();
        let mut add = |binding: &Arc<Binding>| used.extend(binding.flow().filter(is_connection).map(|flow| flow.id));
        self.by_aor.get(aor).into_iter().flat_map(|record| &record.bindings).for_each(&mut add);
        self.pending.get(aor).into_iter().flat_map(Pending::bindings).for_each(&mut add);
        used
    }

    fn disarm(&mut self, aor: &Aor) {
        if let Some(record) = self.by_aor.get_mut(aor) {
            let armed = std::mem::replace(&mut record.armed, NEVER);
            self.deadlines.remove(&(armed, aor.clone()));
        }
    }
}

/// What one user has.
struct Record {
    /// Never empty.
    bindings: Vec<Arc<Binding>>,
    /// The second of this record's deadline: no later than the first expiry.
    armed: u32,
}

/// The current ones, by q, then the most recent first.
fn current(bindings: &[Arc<Binding>], now: Instant) -> Vec<Arc<Binding>> {
    let mut current: Vec<_> = bindings.iter().filter(|binding| binding.is_current(now)).cloned().collect();
    current.sort_by_key(|it| (std::cmp::Reverse(it.q()), std::cmp::Reverse((it.updated_at(), it.version()))));
    current
}

/// Whether the flow is one peer's connection, which can die.
fn is_connection(flow: &Flow) -> bool {
    flow.transport.is_reliable() && flow.id != FlowId::UNBOUND
}

fn is_newer_flow_of_same_phone(other: &Binding, binding: &Binding) -> bool {
    let same_phone = other.instance().is_some() && other.instance() == binding.instance();
    let both_flows = other.reg_id().is_some() && binding.reg_id().is_some();
    same_phone && both_flows && (other.updated_at(), other.version()) > (binding.updated_at(), binding.version())
}

/// How a phone is reached whose connection is gone. Only one that is behind no NAT and speaks plain TCP listens at its
/// Contact; certificates of phones do not name them, and browsers do not listen.
fn without_connection(contact: &str, flow: Flow) -> Reach {
    if flow.transport != Transport::Tcp {
        return Reach::Lost(flow);
    }
    let Ok(uri) = Uri::parse(contact) else { return Reach::Lost(flow) };
    let same = uri.host.address().is_some_and(|address| address.to_canonical() == flow.remote.ip().to_canonical());
    if !same {
        return Reach::Lost(flow);
    }
    let remote = (flow.remote.ip(), uri.port.unwrap_or(5060)).into();
    Reach::Flow(Flow::unbound(Transport::Tcp, flow.local, remote))
}

/// Seconds since the origin, rounded down.
fn seconds(at: Instant) -> u32 {
    u32::try_from(at.since_origin().as_secs()).unwrap_or(NEVER - 1)
}

fn stripe(hash: u64) -> usize {
    (hash >> 58) as usize // 6 bits: STRIPES
}

fn flow_stripe(id: FlowId) -> usize {
    id.slot() as usize % STRIPES
}

/// A map whose holder panicked is still a map.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const STRIPES: usize = 64;
const NEVER: u32 = u32::MAX;
/// Most User-Agents kept for sharing; phones of further makes keep a copy each.
const MAX_AGENTS: usize = 1024;
/// Longest User-Agent kept, in bytes.
const MAX_AGENT: usize = 128;

#[cfg(test)]
mod tests;
