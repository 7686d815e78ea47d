//! Slows down, then cuts off, a source that guesses secrets or floods; it heals by itself.
//!
//! Counted per source prefix (IPv4 /32, IPv6 /64), never per user: whoever could make a user's failures count could lock
//! that user out. Nor does a failure count over datagrams unless its nonce was issued to that very source: anybody can
//! write any source into a datagram. A flow that has authenticated is spared, so that one bad phone, or an attacker inside, does not cost an
//! office behind one NAT its telephones.
//!
//! The shard asks [`Throttle::admit`] before it looks at credentials, and tells [`Throttle::failed`] and
//! [`Throttle::succeeded`] what came of them.
//!
//! ```text
//!   failures    0 … free      free …                     cut_off …, or as many requests
//!                                                        that do not wait
//!               Open          Slow (503, Retry-After)    Closed (no answer)
//!                             for 1, 2, 4, … seconds     until the wait is over
//!               one failure is forgotten every `heal`
//! ```

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farspeak_sansio::{Flow, Instant};

/// What a source is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ThrottleConfig {
    /// Failures of a prefix that cost nothing. Default 10: a mistyped secret is tried a few times by several phones.
    pub free_failures: u32,
    /// Failures from which a prefix gets no answer at all while it should wait. Default 25. So many requests that do
    /// not wait have the same effect.
    pub cut_off_failures: u32,
    /// The wait after the first failure that costs something; it doubles with each further one. Default 1 s.
    pub first_penalty: Duration,
    /// The longest wait. Default 5 minutes.
    pub max_penalty: Duration,
    /// How long it takes to forget one failure. Default 30 s.
    pub heal: Duration,
    /// Requests without credentials that a prefix may send at once. Default 1000: an office behind one address comes
    /// back after a power cut.
    pub flood_burst: u32,
    /// Requests without credentials per second that a prefix gets back. Default 50, at most 1,000,000.
    pub flood_rate: u32,
    /// Whether the flood budget binds loopback addresses too. Default no: behind a reverse proxy on this host everybody
    /// is loopback. Failures always count.
    pub flood_binds_loopback: bool,
    /// How long a flow that authenticated is spared, at least (at most twice as long). Default 2 h, as long as the
    /// longest registration.
    pub spare: Duration,
    /// Most prefixes remembered. Default 65,536 (about 5 MB); then those not seen for longest are forgotten.
    pub max_prefixes: usize,
    /// Most flows spared. Default 1,048,576 (about 16 MB); then those that authenticated longest ago are forgotten.
    pub max_spared: usize,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            free_failures: 10,
            cut_off_failures: 25,
            first_penalty: Duration::from_secs(1),
            max_penalty: Duration::from_secs(300),
            heal: Duration::from_secs(30),
            flood_burst: 1000,
            flood_rate: 50,
            flood_binds_loopback: false,
            spare: Duration::from_secs(7200),
            max_prefixes: 65_536,
            max_spared: 1 << 20,
        }
    }
}

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// Go on with it.
    Open,
    /// Answer 503 with `Retry-After` (in seconds) and look no further.
    Slow {
        /// Whole seconds until it is worth trying again, at least 1.
        retry_after: u32,
    },
    /// Do not answer. A stream may be closed.
    Closed,
}

/// Counts of a [`Throttle`], for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ThrottleCounts {
    /// Prefixes remembered.
    pub prefixes: usize,
    /// Flows spared.
    pub spared: usize,
}

/// Who has guessed too often, and who has proved to be honest. Shared between shards.
pub struct Throttle {
    config: ThrottleConfig,
    /// Keys the flow hashes, so that nobody can choose a flow that collides with a spared one.
    hasher: RandomState,
    prefixes: Box<[Mutex<Prefixes>]>,
    spared: Box<[Mutex<Spared>]>,
}

impl Throttle {
    /// A throttle that remembers nobody.
    pub fn new(config: ThrottleConfig) -> Self {
        let stripes = || 0..STRIPES;
        Self {
            config,
            hasher: RandomState::new(),
            prefixes: stripes().map(|_| Mutex::new(Prefixes::default())).collect(),
            spared: stripes().map(|_| Mutex::new(Spared::default())).collect(),
        }
    }

    /// Whether a request from `flow` is looked at. One without credentials (of any kind) draws on the flood budget.
    pub fn admit(&self, now: Instant, flow: &Flow, has_credentials: bool) -> Gate {
        if self.is_spared(now, flow) {
            return Gate::Open;
        }
        let prefix = Prefix::of(flow.remote.ip());
        let mut prefixes = self.prefixes(&prefix);
        let binds = self.config.flood_binds_loopback || !flow.remote.ip().to_canonical().is_loopback();
        let draws = !has_credentials && binds;
        let Some(source) = prefixes.get(&prefix, self.stripe_bound(), draws) else {
            return Gate::Open; // never failed, draws nothing
        };
        if now < source.blocked_until {
            let left = source.blocked_until.saturating_since(now);
            source.impatient = source.impatient.saturating_add(1);
            let worst = source.failures(now, &self.config).max(source.impatient);
            let cut_off = worst >= self.config.cut_off_failures;
            return if cut_off { Gate::Closed } else { Gate::Slow { retry_after: whole_seconds(left) } };
        }
        if draws && !source.draw(now, &self.config) {
            return Gate::Slow { retry_after: 1 };
        }
        Gate::Open
    }

    /// Credentials from `flow` were wrong. The flow is no longer spared; its prefix waits once it has failed too often.
    pub fn failed(&self, now: Instant, flow: &Flow) {
        let key = self.flow_key(flow);
        lock(&self.spared[stripe(key)]).remove(key);
        let prefix = Prefix::of(flow.remote.ip());
        let mut prefixes = self.prefixes(&prefix);
        if let Some(source) = prefixes.get(&prefix, self.stripe_bound(), true) {
            source.fail(now, &self.config);
        }
    }

    /// Credentials from `flow` were right: it is spared from now on. Its prefix's failures still count.
    pub fn succeeded(&self, now: Instant, flow: &Flow) {
        let key = self.flow_key(flow);
        let bound = (self.config.max_spared / STRIPES / 2).max(1);
        lock(&self.spared[stripe(key)]).insert(key, now, self.config.spare, bound);
    }

    /// Whether `flow` has authenticated lately and not failed since.
    pub fn is_spared(&self, now: Instant, flow: &Flow) -> bool {
        let key = self.flow_key(flow);
        lock(&self.spared[stripe(key)]).contains(key, now, self.config.spare)
    }

    /// Forgets a flow that is gone (a stream that closed).
    pub fn forget(&self, flow: &Flow) {
        let key = self.flow_key(flow);
        lock(&self.spared[stripe(key)]).remove(key);
    }

    /// How much is remembered.
    pub fn counts(&self) -> ThrottleCounts {
        ThrottleCounts {
            prefixes: self.prefixes.iter().map(|stripe| lock(stripe).len()).sum(),
            spared: self.spared.iter().map(|stripe| lock(stripe).len()).sum(),
        }
    }

    /// A socket carries many peers, a connection one: both parts count.
    fn flow_key(&self, flow: &Flow) -> u64 {
        self.hasher.hash_one((flow.id, flow.remote))
    }

    fn prefixes(&self, prefix: &Prefix) -> MutexGuard<'_, Prefixes> {
        lock(&self.prefixes[stripe(self.hasher.hash_one(prefix))])
    }

    fn stripe_bound(&self) -> usize {
        (self.config.max_prefixes / STRIPES / 2).max(1)
    }
}

/// The source that an address belongs to: a host of IPv4, or what one subscriber gets of IPv6 (its first address).
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    Prefix::of(address).0
}

/// A host of IPv4, or what one subscriber gets of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Prefix(IpAddr);

impl Prefix {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

/// What one prefix has done.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// Failures not yet forgotten, as of `failed_at`.
    failures: u32,
    failed_at: Instant,
    blocked_until: Instant,
    /// Requests that came although they should wait, since the wait began.
    impatient: u32,
    /// Flood budget used up, in millionths of a request, as of `drew_at`.
    drawn: u64,
    drew_at: Instant,
}

impl Source {
    const NEW: Self = Self {
        failures: 0,
        failed_at: Instant::ZERO,
        blocked_until: Instant::ZERO,
        impatient: 0,
        drawn: 0,
        drew_at: Instant::ZERO,
    };

    /// How many heal intervals have passed since the last failure: so many are forgotten.
    fn forgotten(&self, now: Instant, config: &ThrottleConfig) -> u32 {
        let heal = config.heal.as_nanos().max(1);
        u32::try_from(now.saturating_since(self.failed_at).as_nanos() / heal).unwrap_or(u32::MAX)
    }

    fn failures(&self, now: Instant, config: &ThrottleConfig) -> u32 {
        self.failures.saturating_sub(self.forgotten(now, config))
    }

    fn fail(&mut self, now: Instant, config: &ThrottleConfig) {
        let forgotten = self.forgotten(now, config);
        if forgotten >= self.failures {
            (self.failures, self.failed_at) = (0, now);
        } else {
            self.failures -= forgotten;
            self.failed_at += config.heal.saturating_mul(forgotten); // what is left of an interval still counts
        }
        // The ceiling leaves something to heal within an hour or so, however long the attack went on.
        self.failures = self.failures.saturating_add(1).min(config.cut_off_failures.saturating_mul(4));
        let Some(over) = self.failures.checked_sub(config.free_failures.saturating_add(1)) else { return };
        if self.blocked_until <= now {
            self.impatient = 0;
        }
        let penalty = config.first_penalty.saturating_mul(1u32 << over.min(20)).min(config.max_penalty);
        self.blocked_until = self.blocked_until.max(now + penalty);
    }

    /// Takes one request out of the flood budget, if one is left.
    fn draw(&mut self, now: Instant, config: &ThrottleConfig) -> bool {
        const REQUEST: u64 = 1_000_000;
        let micros = u64::try_from(now.saturating_since(self.drew_at).as_micros()).unwrap_or(u64::MAX);
        self.drawn = self.drawn.saturating_sub(micros.saturating_mul(u64::from(config.flood_rate)));
        self.drew_at = now;
        if self.drawn.saturating_add(REQUEST) > u64::from(config.flood_burst).saturating_mul(REQUEST) {
            return false;
        }
        self.drawn += REQUEST;
        true
    }
}

/// Two generations of sources: when the young one is full the old one is forgotten. Whoever is seen becomes young.
#[derive(Default)]
struct Prefixes {
    young: HashMap<Prefix, Source>,
    old: HashMap<Prefix, Source>,
}

impl Prefixes {
    fn get(&mut self, prefix: &Prefix, bound: usize, make: bool) -> Option<&mut Source> {
        if !self.young.contains_key(prefix) {
            let known = self.old.remove(prefix);
            let source = known.or_else(|| make.then_some(Source::NEW))?;
            if self.young.len() >= bound {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(*prefix, source);
        }
        self.young.get_mut(prefix)
    }

    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// Two generations of spared flows, turned over when the young one is full or old enough.
#[derive(Default)]
struct Spared {
    young: HashSet<u64>,
    old: HashSet<u64>,
    turned_at: Instant,
}

impl Spared {
    fn insert(&mut self, key: u64, now: Instant, spare: Duration, bound: usize) {
        self.turn(now, spare);
        if self.young.len() >= bound && !self.young.contains(&key) {
            self.old = std::mem::take(&mut self.young);
            self.turned_at = now;
        }
        self.old.remove(&key);
        self.young.insert(key);
    }

    fn contains(&mut self, key: u64, now: Instant, spare: Duration) -> bool {
        self.turn(now, spare);
        self.young.contains(&key) || self.old.contains(&key)
    }

    fn remove(&mut self, key: u64) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    fn turn(&mut self, now: Instant, spare: Duration) {
        let age = now.saturating_since(self.turned_at);
        if age < spare {
            return;
        }
        let young = std::mem::take(&mut self.young);
        self.old = if age < spare.saturating_mul(2) { young } else { HashSet::new() };
        self.turned_at = now;
    }

    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

fn whole_seconds(left: Duration) -> u32 {
    u32::try_from(left.as_secs() + u64::from(left.subsec_nanos() > 0)).unwrap_or(u32::MAX).max(1)
}

fn stripe(hash: u64) -> usize {
    (hash >> 58) as usize // the map inside uses the low bits of its own hash; 6 bits are STRIPES
}

/// A map whose holder panicked is still a map.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const STRIPES: usize = 64;

#[cfg(test)]
mod tests {
    use farspeak_sansio::{FlowId, Transport};

    use super::*;

    fn flow(remote: &str, slot: u32) -> Flow {
        let local = "192.0.2.1:5061".parse().unwrap();
        Flow { id: FlowId::new(0, slot, 1), transport: Transport::Tls, local, remote: remote.parse().unwrap() }
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn fail(throttle: &Throttle, now: Instant, flow: &Flow, times: u32) {
        (0..times).for_each(|_| throttle.failed(now, flow));
    }

    #[test]
    fn a_few_mistakes_cost_nothing() {
        let throttle = Throttle::new(ThrottleConfig::default());
        let phone = flow("203.0.113.9:4000", 1);
        fail(&throttle, at(0), &phone, 10);
        assert_eq!(throttle.admit(at(0), &phone, true), Gate::Open);
    }

    #[test]
    fn slows_down_then_cuts_off_then_heals() {
        let throttle = Throttle::new(ThrottleConfig::default());
        let guesser = flow("203.0.113.9:4000", 1);
        fail(&throttle, at(0), &guesser, 11);
        assert_eq!(throttle.admit(at(0), &guesser, true), Gate::Slow { retry_after: 1 });
        assert_eq!(throttle.admit(at(1000), &guesser, true), Gate::Open);
        fail(&throttle, at(1000), &guesser, 2);
        assert_eq!(throttle.admit(at(1000), &guesser, true), Gate::Slow { retry_after: 4 });
        fail(&throttle, at(1000), &guesser, 12);
        assert_eq!(throttle.admit(at(1000), &guesser, true), Gate::Closed);
        assert_eq!(throttle.admit(at(301_000), &guesser, true), Gate::Open);
        // Another failure soon after is dear; an hour later it is free again.
        fail(&throttle, at(301_000), &guesser, 1);
        assert_eq!(throttle.admit(at(301_000), &guesser, true), Gate::Slow { retry_after: 32 });
        fail(&throttle, at(4_000_000), &guesser, 1);
        assert_eq!(throttle.admit(at(4_000_000), &guesser, true), Gate::Open);
    }

    #[test]
    fn whoever_does_not_wait_is_cut_off_until_the_wait_is_over() {
        let throttle = Throttle::new(ThrottleConfig::default());
        let guesser = flow("203.0.113.9:4000", 1);
        fail(&throttle, at(0), &guesser, 15); // 16 s
        let answers: Vec<_> = (0..40).map(|n| throttle.admit(at(n * 100), &guesser, true)).collect();
        assert!(answers[..24].iter().all(|gate| matches!(gate, Gate::Slow { .. })));
        assert!(answers[24..].iter().all(|gate| *gate == Gate::Closed));
        assert_eq!(throttle.admit(at(16_000), &guesser, true), Gate::Open);
        throttle.failed(at(16_000), &guesser);
        assert!(matches!(throttle.admit(at(16_000), &guesser, true), Gate::Slow { .. }));
    }

    #[test]
    fn counts_the_prefix_not_the_port_or_the_host_of_ipv6() {
        let throttle = Throttle::new(ThrottleConfig::default());
        fail(&throttle, at(0), &flow("[2001:db8:1:2::1]:1", 1), 11);
        assert_ne!(throttle.admit(at(0), &flow("[2001:db8:1:2:ffff::9]:9", 2), true), Gate::Open);
        assert_eq!(throttle.admit(at(0), &flow("[2001:db8:1:3::1]:1", 3), true), Gate::Open);
        fail(&throttle, at(0), &flow("203.0.113.9:1", 1), 11);
        assert_ne!(throttle.admit(at(0), &flow("[::ffff:203.0.113.9]:2", 2), true), Gate::Open);
        assert_eq!(throttle.admit(at(0), &flow("203.0.113.10:1", 3), true), Gate::Open);
    }

    #[test]
    fn spares_flows_that_authenticated_behind_the_same_prefix() {
        let throttle = Throttle::new(ThrottleConfig::default());
        let (honest, guesser) = (flow("203.0.113.9:1", 1), flow("203.0.113.9:2", 2));
        throttle.succeeded(at(0), &honest);
        fail(&throttle, at(0), &guesser, 100);
        assert_eq!(throttle.admit(at(0), &guesser, true), Gate::Closed);
        assert_eq!(throttle.admit(at(0), &honest, true), Gate::Open);
        assert_eq!(throttle.admit(at(0), &honest, false), Gate::Open);
        // On one datagram socket, the peer's address tells flows apart.
        assert_eq!(throttle.admit(at(0), &flow("203.0.113.9:3", 1), true), Gate::Closed);
    }

    #[test]
    fn a_spared_flow_that_guesses_is_no_longer_spared() {
        let throttle = Throttle::new(ThrottleConfig::default());
        let insider = flow("203.0.113.9:1", 1);
        let mut verified = 0;
        for _ in 0..1000 {
            if throttle.admit(at(0), &insider, true) != Gate::Open {
                continue;
            }
            verified += 1;
            if verified % 2 == 0 { throttle.succeeded(at(0), &insider) } else { throttle.failed(at(0), &insider) }
        }
        assert_eq!(verified, 21); // eleven guesses, ten successes between them
    }

    #[test]
    fn sparing_ends_some_time_after_the_last_success() {
        let throttle = Throttle::new(ThrottleConfig::default());
        let phone = flow("203.0.113.9:1", 1);
        throttle.succeeded(at(0), &phone);
        assert!(throttle.is_spared(at(7_199_000), &phone));
        throttle.succeeded(at(7_199_000), &phone);
        assert!(throttle.is_spared(at(14_000_000), &phone));
        assert!(!throttle.is_spared(at(30_000_000), &phone));
        throttle.succeeded(at(30_000_000), &phone);
        throttle.forget(&phone);
        assert!(!throttle.is_spared(at(30_000_000), &phone));
    }

    #[test]
    fn a_flood_without_credentials_has_its_own_budget() {
        let config = ThrottleConfig { flood_burst: 3, flood_rate: 2, ..ThrottleConfig::default() };
        let throttle = Throttle::new(config);
        let stranger = flow("203.0.113.9:1", 1);
        let admit = |now| throttle.admit(now, &stranger, false);
        assert_eq!([admit(at(0)), admit(at(0)), admit(at(0))], [Gate::Open; 3]);
        assert_eq!(admit(at(0)), Gate::Slow { retry_after: 1 });
        assert_eq!(throttle.admit(at(0), &stranger, true), Gate::Open);
        assert_eq!(admit(at(500)), Gate::Open);
        assert_eq!(admit(at(500)), Gate::Slow { retry_after: 1 });
    }

    #[test]
    fn the_flood_budget_leaves_loopback_alone() {
        let config = ThrottleConfig { flood_burst: 1, ..ThrottleConfig::default() };
        let throttle = Throttle::new(config);
        let local = flow("127.0.0.1:1", 1);
        assert!((0..100).all(|_| throttle.admit(at(0), &local, false) == Gate::Open));
        fail(&throttle, at(0), &local, 11);
        assert_ne!(throttle.admit(at(0), &local, false), Gate::Open);
    }

    #[test]
    fn remembers_a_bounded_number_of_prefixes_and_flows() {
        let config = ThrottleConfig { max_prefixes: 1280, max_spared: 1280, ..ThrottleConfig::default() };
        let throttle = Throttle::new(config);
        for n in 0..20_000u32 {
            let remote = format!("[2001:db8:{:x}:{:x}::1]:1", n >> 8, n & 0xff);
            throttle.failed(at(0), &flow(&remote, n));
            throttle.succeeded(at(0), &flow(&remote, n));
        }
        let counts = throttle.counts();
        assert!(counts.prefixes <= 1280 && counts.prefixes > 100, "{counts:?}");
        assert!(counts.spared <= 1280 && counts.spared > 100, "{counts:?}");
    }

    #[test]
    fn an_active_guesser_is_not_forgotten_because_others_come() {
        let config = ThrottleConfig { max_prefixes: 1280, ..ThrottleConfig::default() };
        let throttle = Throttle::new(config);
        let guesser = flow("203.0.113.9:1", 1);
        fail(&throttle, at(0), &guesser, 40);
        for n in 0..5_000u32 {
            throttle.failed(at(0), &flow(&format!("[2001:db8:{:x}:{:x}::1]:1", n >> 8, n & 0xff), n));
            assert_eq!(throttle.admit(at(0), &guesser, true), Gate::Closed);
        }
    }
}
