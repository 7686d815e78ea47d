//! What all shards share: the location table, the users, the throttle, the nonces, the settings and the keys.
//!
//! Everything in it is synchronous: striped locks held for a lookup or a swap, never across a message. The edge builds
//! it once ([`Shared::new`]), hands an `Arc` of it to each [`Shard`](crate::shard::Shard), and swaps the settings when
//! the operator reloads the configuration.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant};
use farspeak_sip::digest::Nonces;
use farspeak_sip::message::Limits;

use crate::authentication::AuthenticationConfig;
use crate::b2bua::{Dialogs, Joining};
use crate::domain::Domain;
use crate::events::{EventsConfig, Publications, Watches};
use crate::location::Location;
use crate::registrar::RegistrarConfig;
use crate::throttle::Throttle;
use crate::users::Users;

/// What all shards share.
pub struct Shared {
    /// Who is reachable where.
    pub location: Location,
    /// Who exists.
    pub users: Arc<Users>,
    /// Who watches whom.
    pub(crate) watches: Watches,
    /// What users have published about themselves.
    pub(crate) publications: Publications,
    /// Who has guessed too often.
    pub throttle: Throttle,
    /// Digest nonces, one window for all shards.
    pub nonces: Nonces,
    /// The secrets of this node.
    pub keys: Keys,
    /// What happened, for metrics.
    pub counters: Counters,
    /// Turns the machine's time into the time of day.
    pub clock: Clock,
    /// Dialogs that a back-to-back user agent joins, whichever shard's.
    pub(crate) joined: Arc<Dialogs>,
    /// Makes credentials for the TURN service, if one runs.
    turn: OnceLock<TurnCredentials>,
    /// Streams that failed lately, on whichever shard: a flow token that names one is out of date.
    failed: RwLock<FailedFlows>,
    settings: RwLock<Arc<Settings>>,
    generation: AtomicU64,
}

/// Makes the JSON of a time-limited credential for a user of that name.
pub type TurnCredentials = Box<dyn Fn(Instant, &str) -> String + Send + Sync>;

/// The parts that [`Shared::new`] puts together.
pub struct SharedParts {
    /// Who is reachable where.
    pub location: Location,
    /// Who exists.
    pub users: Users,
    /// Who has guessed too often.
    pub throttle: Throttle,
    /// Digest nonces.
    pub nonces: Nonces,
    /// The secrets of this node.
    pub keys: Keys,
    /// Turns the machine's time into the time of day.
    pub clock: Clock,
    /// The first settings.
    pub settings: Settings,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(parts: SharedParts) -> Arc<Self> {
        Arc::new(Self {
            location: parts.location,
            users: Arc::new(parts.users),
            watches: Watches::new(),
            publications: Publications::new(),
            throttle: parts.throttle,
            nonces: parts.nonces,
            keys: parts.keys,
            counters: Counters::default(),
            clock: parts.clock,
            joined: Arc::default(),
            turn: OnceLock::new(),
            failed: RwLock::default(),
            settings: RwLock::new(Arc::new(parts.settings)),
            generation: AtomicU64::new(1),
        })
    }

    /// The settings now in force.
    pub fn settings(&self) -> Arc<Settings> {
        // A writer only swaps a pointer, so the lock is never poisoned in the middle of a change.
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts new settings into force; shards see them with their next message.
    pub fn replace_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// From now on, credentials for the TURN service can be had. Counts once.
    pub fn set_turn_credentials(&self, make: TurnCredentials) {
        let _ = self.turn.set(make); // the first one stays
    }

    /// A time-limited credential of that user for the TURN service, as JSON; `None` if none runs.
    pub(crate) fn turn_credential(&self, now: Instant, user: &str) -> Option<String> {
        self.turn.get().map(|make| make(now, user))
    }

    /// A stream has failed.
    pub(crate) fn flow_failed(&self, id: FlowId) {
        self.failed.write().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// Whether the flow is a stream that is known to have failed.
    pub(crate) fn is_dead(&self, flow: &Flow) -> bool {
        flow.transport.is_reliable() && self.failed.read().unwrap_or_else(PoisonError::into_inner).contains(flow.id)
    }

    /// How many subscriptions this node notifies.
    pub fn subscriptions(&self) -> usize {
        self.watches.len()
    }

    /// Bytes of presence documents held.
    pub fn published_bytes(&self) -> usize {
        self.publications.bytes()
    }

    /// Changes with every [`Shared::replace_settings`], so that a shard can keep its own `Arc` until then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// All settings that the core reads. The edge makes it from the configuration file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain and its names and addresses.
    pub domain: Domain,
    /// The name that peers reach us by over TLS and WSS, in Via and Record-Route of those transports (RFC 5922).
    ///
    /// Default none: the local address.
    pub public_name: Option<String>,
    /// The proxy's bounds and timers.
    pub proxy: ProxyConfig,
    /// The registrar's bounds.
    pub registrar: RegistrarConfig,
    /// How users prove who they are.
    pub authentication: AuthenticationConfig,
    /// Bounds and choices of the notifier and the event state compositor.
    pub events: EventsConfig,
    /// Bounds of a single message.
    pub limits: Limits,
}

/// Bounds and timers of the proxy (RFC 3261 §16).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Most targets that one request is forwarded to, over all rounds of forking. Default 16.
    ///
    /// Targets beyond it are left out, the lowest q first.
    pub max_targets: usize,
    /// Most requests that a shard has under way at once. Default 100 000. Beyond it new ones get 503.
    pub max_contexts: usize,
    /// Greatest Max-Breadth that a request may bring (RFC 5393 §5.3.3), and the one given to a request without.
    /// Default 60.
    pub max_breadth: u32,
    /// Max-Forwards given to a request without (RFC 3261 §16.6 step 3). Default 70.
    pub max_forwards: u32,
    /// Timer C: longest wait for a final response to a forwarded INVITE after its last provisional one
    /// (RFC 3261 §16.6 step 11). Default 185 s; the RFC wants more than 3 minutes.
    pub timer_c: Duration,
    /// Longest that a branch rings while others of lower q wait (serial forking). Default 30 s.
    pub serial_ring: Duration,
    /// Whether a 3xx that names only local targets is followed here instead of passed on (RFC 3261 §16.7 step 4).
    /// Default no.
    pub recurse: bool,
    /// How often a phone that registered over UDP gets a CRLF, so that its NAT keeps the mapping. Default 25 s, zero
    /// for never. RFC 4787 §4.3 lets a NAT forget a mapping after 2 minutes; many do so after 30 s.
    pub udp_keep_alive: Duration,
    /// How long after its first request a dialog may go on by its flow token. Default 30 days: longer than any call or
    /// subscription that was not renewed. Beyond it a request inside the dialog is treated as one without Route.
    pub dialog_lifetime: Duration,
    /// Which calls a back-to-back user agent joins instead. Default none.
    pub joining: Joining,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            max_targets: 16,
            max_contexts: 100_000,
            max_breadth: 60,
            max_forwards: 70,
            timer_c: Duration::from_secs(185),
            serial_ring: Duration::from_secs(30),
            recurse: false,
            udp_keep_alive: Duration::from_secs(25),
            dialog_lifetime: Duration::from_hours(30 * 24),
            joining: Joining::default(),
        }
    }
}

/// The secrets of this node. Made at first start, kept in the store: a flow token written before a restart is still
/// known after it.
#[derive(Clone)]
pub struct Keys {
    /// Keys the flow tokens of Record-Route.
    pub flow_token: [u8; 16],
    /// Keys the loop-detection part of branches, the tags and whatever else peers must not foresee.
    pub branch: [u8; 16],
}

/// Keys are never printed.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Turns the machine's time into the time of day: the cores have no clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    /// Milliseconds between 1970-01-01 00:00 UTC and the driver's origin.
    pub unix_at_origin_ms: i64,
}

impl Clock {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    pub fn unix_ms(self, now: Instant) -> i64 {
        let since = i64::try_from(now.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        self.unix_at_origin_ms.saturating_add(since)
    }

    /// Seconds since 1970-01-01 00:00 UTC; wraps in 2106.
    pub(crate) fn unix_seconds(self, now: Instant) -> u32 {
        (self.unix_ms(now) / 1000) as u32
    }

    /// The moment of that time of day, the origin if it lies before it.
    pub fn instant(self, unix_ms: i64) -> Instant {
        let since = u64::try_from(unix_ms.saturating_sub(self.unix_at_origin_ms)).unwrap_or(0);
        Instant::from_nanos(since.saturating_mul(1_000_000))
    }
}

/// What happened, counted over all shards.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that the proxy accepted for processing, INVITE or not, REGISTER included.
    pub requests: AtomicU64,
    /// Branches on which a request was forwarded.
    pub forwarded: AtomicU64,
    /// INVITEs outside dialogs that were forwarded at least once.
    pub calls: AtomicU64,
    /// INVITEs outside dialogs that were answered with 2xx.
    pub answered: AtomicU64,
    /// REGISTERs that ended with 200.
    pub registrations: AtomicU64,
    /// Subscriptions accepted, pending ones included; refreshes do not count.
    pub subscriptions: AtomicU64,
    /// PUBLISHes that ended with 200.
    pub publications: AtomicU64,
    /// Requests refused for want of (valid) credentials: 401, 407 and 403.
    pub refused: AtomicU64,
    /// Messages that could not be parsed.
    pub malformed: AtomicU64,
    /// Messages dropped without an answer: strays, and what a throttle cut off.
    pub dropped: AtomicU64,
    /// Loops found (RFC 5393) and requests out of Max-Forwards or Max-Breadth.
    pub loops: AtomicU64,
    /// Requests refused because a table was full.
    pub overloaded: AtomicU64,
}

impl Counters {
    /// Adds one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The last few streams that failed. Handles are never used again (their generation counts up), so an old entry does no
/// harm, and a forgotten one costs only a detour: the driver says that the flow is gone.
#[derive(Debug, Default)]
struct FailedFlows {
    known: HashSet<FlowId>,
    order: VecDeque<FlowId>,
}

impl FailedFlows {
    const MAX: usize = 4096;

    fn insert(&mut self, id: FlowId) {
        if !self.known.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > Self::MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn contains(&self, id: FlowId) -> bool {
        !self.known.is_empty() && self.known.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_a_bounded_number_of_failed_flows() {
        let mut failed = FailedFlows::default();
        for slot in 0..10_000 {
            failed.insert(FlowId::new(0, slot, 1));
        }
        assert_eq!(failed.known.len(), FailedFlows::MAX);
        assert!(failed.contains(FlowId::new(0, 9_999, 1)) && !failed.contains(FlowId::new(0, 0, 1)));
    }

    #[test]
    fn the_clock_goes_both_ways() {
        let clock = Clock { unix_at_origin_ms: 1_700_000_000_000 };
        let now = Instant::ZERO + Duration::from_millis(1234);
        assert_eq!(clock.unix_ms(now), 1_700_000_001_234);
        assert_eq!(clock.instant(1_700_000_001_234), now);
        assert_eq!(clock.instant(0), Instant::ZERO);
    }

    #[test]
    fn keys_are_not_printed() {
        let keys = Keys { flow_token: [7; 16], branch: [8; 16] };
        assert_eq!(format!("{keys:?}"), "Keys(..)");
    }
}
