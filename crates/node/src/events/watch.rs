//! Who watches whom, over all shards: bounds on subscriptions, which shards to tell of a change, and who is listed to a
//! user who asks who watches (RFC 3857).
//!
//! ```text
//!   by watched   alice@example.org -> [watch, watch]      bounded, whether anybody has that address or not
//!   by watcher   bob               -> 2                   bounded
//!   registrations                     1                   what a registration looks at: nearly always 0
//! ```
//!
//! A shard enters a watch before it accepts a SUBSCRIBE and takes it out when the subscription has ended.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farspeak_sansio::Instant;
use farspeak_sip::event::package::watcher::{WatcherEvent, WatcherStatus};

use super::{EventsConfig, Topic};
use crate::domain::Aor;

/// Names one watch. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct WatchId(pub(crate) u64);

/// A subscription, as all shards know it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) id: WatchId,
    /// Which shard notifies.
    pub(crate) shard: u8,
    pub(crate) topic: Topic,
    /// Who watches: a user of this node.
    pub(crate) user: Arc<str>,
    /// Whether it is allowed.
    pub(crate) status: WatcherStatus,
    /// What made it so.
    pub(crate) event: WatcherEvent,
    pub(crate) since: Instant,
}

/// A bound on subscriptions is reached: 503.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// Who watches whom. Shared between shards.
#[derive(Debug)]
pub(crate) struct Watches {
    hasher: RandomState,
    stripes: Box<[Mutex<ByWatched>]>,
    subscribers: Box<[Mutex<ByWatcher>]>,
    total: AtomicUsize,
    registrations: AtomicUsize,
    next: AtomicU64,
}

impl Watches {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            subscribers: (0..STRIPES).map(|_| Mutex::default()).collect(),
            total: AtomicUsize::new(0),
            registrations: AtomicUsize::new(0),
            next: AtomicU64::new(1),
        }
    }

    /// Whether anybody watches anybody's registrations: all that a registration asks where nobody does.
    pub(crate) fn any_of_registrations(&self) -> bool {
        self.registrations.load(Ordering::Relaxed) > 0
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Enters a watch, whose id is given.
    pub(crate) fn enter(&self, config: &EventsConfig, aor: &Aor, watch: Watch) -> Result<WatchId, Full> {
        let id = WatchId(self.next.fetch_add(1, Ordering::Relaxed));
        if self.total.fetch_add(1, Ordering::Relaxed) >= config.max_subscriptions {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        if let Err(full) = self.enter_both(config, aor, Watch { id, ..watch.clone() }) {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(full);
        }
        if watch.topic == Topic::Registrations {
            self.registrations.fetch_add(1, Ordering::Relaxed);
        }
        Ok(id)
    }

    fn enter_both(&self, config: &EventsConfig, aor: &Aor, watch: Watch) -> Result<(), Full> {
        let mut subscribers = self.subscribers(&watch.user);
        if subscribers.get(&watch.user).is_some_and(|count| *count >= config.max_per_subscriber) {
            return Err(Full);
        }
        let mut watches = self.watches(aor);
        if watches.get(aor).is_some_and(|list| list.len() >= config.max_per_watched) {
            return Err(Full);
        }
        *subscribers.entry(Arc::clone(&watch.user)).or_default() += 1;
        watches.entry(aor.clone()).or_default().push(watch);
        Ok(())
    }

    /// Takes a watch out.
    pub(crate) fn leave(&self, aor: &Aor, id: WatchId) {
        let mut watches = self.watches(aor);
        let Some(list) = watches.get_mut(aor) else { return };
        let Some(at) = list.iter().position(|watch| watch.id == id) else { return };
        let watch = list.remove(at);
        if list.is_empty() {
            watches.remove(aor);
        }
        drop(watches);
        let mut subscribers = self.subscribers(&watch.user);
        if let Some(count) = subscribers.get_mut(&watch.user) {
            *count -= 1;
            if *count == 0 {
                subscribers.remove(&watch.user);
            }
        }
        self.total.fetch_sub(1, Ordering::Relaxed);
        if watch.topic == Topic::Registrations {
            self.registrations.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The watch is allowed now.
    pub(crate) fn approve(&self, aor: &Aor, id: WatchId) {
        let mut watches = self.watches(aor);
        let watch = watches.get_mut(aor).and_then(|list| list.iter_mut().find(|watch| watch.id == id));
        if let Some(watch) = watch {
            (watch.status, watch.event) = (WatcherStatus::Active, WatcherEvent::Approved);
        }
    }

    /// Which shards have watches of `topic` at `aor`, each once.
    pub(crate) fn shards(&self, aor: &Aor, topic: Topic) -> Vec<u8> {
        let watches = self.watches(aor);
        let of_topic = watches.get(aor).into_iter().flatten().filter(|watch| watch.topic == topic);
        let mut shards: Vec<u8> = of_topic.map(|watch| watch.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// The watches of `topic` at `aor`, oldest first.
    pub(crate) fn list(&self, aor: &Aor, topic: Topic) -> Vec<Watch> {
        let watches = self.watches(aor);
        watches.get(aor).into_iter().flatten().filter(|watch| watch.topic == topic).cloned().collect()
    }

    // Locks are taken in this order: subscribers, watches. A map whose holder panicked is still a map.

    fn subscribers(&self, user: &str) -> MutexGuard<'_, ByWatcher> {
        self.subscribers[self.stripe(user)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self, aor: &Aor) -> MutexGuard<'_, ByWatched> {
        self.stripes[self.stripe(aor.as_str())].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stripe(&self, text: &str) -> usize {
        (self.hasher.hash_one(text) >> 60) as usize // 4 bits: STRIPES
    }
}

type ByWatched = HashMap<Aor, Vec<Watch>>;
type ByWatcher = HashMap<Arc<str>, usize>;

const STRIPES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(user: &str, shard: u8, topic: Topic) -> Watch {
        Watch {
            id: WatchId(0),
            shard,
            topic,
            user: user.into(),
            status: WatcherStatus::Pending,
            event: WatcherEvent::Subscribe,
            since: Instant::ZERO,
        }
    }

    fn aor(user: &str) -> Aor {
        Aor::new(user, "example.org")
    }

    #[test]
    fn shards_are_told_once_each_and_only_of_what_they_watch() {
        let (watches, config) = (Watches::new(), EventsConfig::default());
        let alice = aor("alice");
        assert!(!watches.any_of_registrations());
        let one = watches.enter(&config, &alice, watch("bob", 2, Topic::Presence)).unwrap();
        watches.enter(&config, &alice, watch("carol", 2, Topic::Presence)).unwrap();
        watches.enter(&config, &alice, watch("carol", 0, Topic::Presence)).unwrap();
        let reg = watches.enter(&config, &alice, watch("alice", 1, Topic::Registrations)).unwrap();
        assert_eq!(watches.shards(&alice, Topic::Presence), [0, 2]);
        assert_eq!(watches.shards(&alice, Topic::Registrations), [1]);
        assert!(watches.any_of_registrations());
        watches.approve(&alice, one);
        assert_eq!(watches.list(&alice, Topic::Presence)[0].status, WatcherStatus::Active);
        watches.leave(&alice, reg);
        watches.leave(&alice, reg);
        assert!(!watches.any_of_registrations() && watches.len() == 3);
    }

    #[test]
    fn refuses_beyond_each_bound_and_leaves_nothing_behind() {
        let mut config =
            EventsConfig { max_per_watched: 2, max_per_subscriber: 3, max_subscriptions: 5, ..Default::default() };
        let watches = Watches::new();
        let enter = |config: &EventsConfig, watched: &str, user: &str| {
            watches.enter(config, &aor(watched), watch(user, 0, Topic::Presence))
        };
        let first = enter(&config, "a", "bob").unwrap();
        enter(&config, "a", "carol").unwrap();
        assert_eq!(enter(&config, "a", "dave"), Err(Full), "watched by two");
        enter(&config, "b", "bob").unwrap();
        enter(&config, "c", "bob").unwrap();
        assert_eq!(enter(&config, "d", "bob"), Err(Full), "watching three");
        enter(&config, "d", "dave").unwrap();
        assert_eq!(enter(&config, "e", "erin"), Err(Full), "five in all");
        config.max_subscriptions = 6;
        watches.leave(&aor("a"), first);
        enter(&config, "a", "bob").unwrap();
        assert_eq!(watches.len(), 5);
    }
}
