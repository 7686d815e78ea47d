//! What users have published, over all shards: the event state of RFC 3903 §6, in memory. It is soft state: after a
//! restart phones are told 412 and publish again.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farspeak_sansio::Instant;
use farspeak_sip::event::package::presence::{Presence, Publication as Composed, compose};

use super::EventsConfig;
use crate::domain::Aor;

/// What a PUBLISH asks for, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// SIP-If-Match: which publication is meant; `None` makes a new one.
    pub(crate) if_match: Option<String>,
    /// The document; `None` refreshes.
    pub(crate) body: Option<Arc<[u8]>>,
    /// When it ends; `None` ends it now.
    pub(crate) expires_at: Option<Instant>,
}

/// Why a PUBLISH is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// No publication has that entity-tag: 412.
    NoMatch,
    /// Nothing is published and nothing is meant: 400 (RFC 3903 §6 step 5).
    Nothing,
    /// [`EventsConfig::max_published`] is reached: 503.
    Full,
}

/// What a PUBLISH did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Published {
    /// The entity-tag from now on.
    pub(crate) etag: String,
    /// Whether watchers see something else now.
    pub(crate) changed: bool,
}

/// One publication (RFC 3903 §3).
struct Publication {
    etag: String,
    body: Arc<[u8]>,
    expires_at: Instant,
    /// Counts changes of documents: the latest person is the right one.
    changed: u64,
    /// Counts changes and refreshes.
    touched: u64,
}

/// What one user has published.
#[derive(Default)]
struct Record {
    /// In the order in which they were first made. Never empty in the table.
    publications: Vec<Publication>,
    /// The document for watchers, while it is up to date.
    composed: Option<Arc<[u8]>>,
}

/// What users have published. Shared between shards.
pub(crate) struct Publications {
    hasher: RandomState,
    stripes: Box<[Mutex<HashMap<Aor, Record>>]>,
    bytes: AtomicUsize,
    serial: AtomicU64,
}

impl Publications {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            bytes: AtomicUsize::new(0),
            serial: AtomicU64::new(0),
        }
    }

    /// Bytes of documents held, those composed for watchers included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Does what a PUBLISH asks for, whole or not at all.
    pub(crate) fn publish(
        &self,
        config: &EventsConfig,
        now: Instant,
        aor: &Aor,
        wish: Wish,
    ) -> Result<Published, Refused> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        // Never given twice by this process; who has one of a former process is told 412.
        let etag = format!("{:x}.{serial:x}", self.hasher.hash_one(serial));
        let mut records = self.records(aor);
        let done = self.publish_in(config, now, records.entry(aor.clone()).or_default(), serial, &etag, wish);
        if records.get(aor).is_some_and(|record| record.publications.is_empty()) {
            let left = records.remove(aor).and_then(|record| record.composed);
            self.bytes.fetch_sub(left.map_or(0, |body| body.len()), Ordering::Relaxed);
        }
        done.map(|changed| Published { etag, changed })
    }

    /// Gives whether the documents are others now.
    fn publish_in(
        &self,
        config: &EventsConfig,
        now: Instant,
        record: &mut Record,
        serial: u64,
        etag: &str,
        wish: Wish,
    ) -> Result<bool, Refused> {
        let Some(tag) = wish.if_match else {
            let Some(body) = wish.body else { return Err(Refused::Nothing) };
            let Some(expires_at) = wish.expires_at else { return Ok(false) };
            self.take(config, body.len())?;
            self.make_room(config, record, body.len(), config.max_publications.max(1));
            let etag = etag.to_owned();
            record.publications.push(Publication { etag, body, expires_at, changed: serial, touched: serial });
            self.outdate(record);
            return Ok(true);
        };
        let meant = |it: &Publication| it.etag == tag && it.expires_at > now;
        let at = record.publications.iter().position(meant).ok_or(Refused::NoMatch)?;
        let Some(expires_at) = wish.expires_at else {
            self.remove_at(record, at);
            return Ok(true);
        };
        let mut changed = false;
        if let Some(body) = &wish.body {
            let most = config.max_publication.saturating_mul(2);
            let others = record.publications.iter().enumerate().filter(|(index, _)| *index != at);
            if others.map(|(_, it)| it.body.len()).sum::<usize>() + body.len() > most {
                return Err(Refused::Full);
            }
        }
        if let Some(body) = wish.body.filter(|body| *body != record.publications[at].body) {
            self.take(config, body.len())?;
            let old = std::mem::replace(&mut record.publications[at].body, body);
            self.bytes.fetch_sub(old.len(), Ordering::Relaxed);
            record.publications[at].changed = serial;
            self.outdate(record);
            changed = true;
        }
        let publication = &mut record.publications[at];
        publication.etag = etag.to_owned();
        (publication.expires_at, publication.touched) = (expires_at, serial);
        Ok(changed)
    }

    /// Forgets what has expired; gives whether anything had. Nobody else does: whoever calls it tells the watchers.
    pub(crate) fn expire(&self, now: Instant, aor: &Aor) -> bool {
        let mut records = self.records(aor);
        let Some(record) = records.get_mut(aor) else { return false };
        let mut any = false;
        while let Some(at) = record.publications.iter().position(|it| it.expires_at <= now) {
            self.remove_at(record, at);
            any = true;
        }
        if record.publications.is_empty() {
            records.remove(aor);
        }
        any
    }

    /// Forgets all of a user's; gives whether there was any.
    pub(crate) fn remove_all(&self, aor: &Aor) -> bool {
        let Some(record) = self.records(aor).remove(aor) else { return false };
        let held = record.publications.iter().map(|it| it.body.len()).sum::<usize>();
        self.bytes.fetch_sub(held + record.composed.map_or(0, |body| body.len()), Ordering::Relaxed);
        true
    }

    /// The document for watchers: all publications composed, empty if there are none.
    pub(crate) fn document(&self, now: Instant, aor: &Aor, entity: &str) -> Arc<[u8]> {
        let mut records = self.records(aor);
        let Some(record) = records.get_mut(aor) else { return Presence::new(entity).write().into() };
        let all = record.publications.iter().all(|it| it.expires_at > now);
        if let Some(composed) = record.composed.as_ref().filter(|_| all) {
            return Arc::clone(composed);
        }
        let read = |it: &Publication| Presence::parse(&it.body).ok().map(|document| (document, it.changed));
        let documents: Vec<_> = record.publications.iter().filter(|it| it.expires_at > now).filter_map(read).collect();
        let list: Vec<_> =
            documents.iter().map(|(document, changed)| Composed { document, changed: *changed }).collect();
        let composed: Arc<[u8]> = compose(entity, &list).write().into();
        if all {
            self.bytes.fetch_add(composed.len(), Ordering::Relaxed);
            record.composed = Some(Arc::clone(&composed));
        }
        composed
    }

    /// Forgets the stalest until one more of so many bytes fits: watchers get all of a user's documents in one.
    fn make_room(&self, config: &EventsConfig, record: &mut Record, bytes: usize, most: usize) {
        let held = |record: &Record| record.publications.iter().map(|it| it.body.len()).sum::<usize>();
        while record.publications.len() >= most || held(record) + bytes > config.max_publication.saturating_mul(2) {
            let stalest = record.publications.iter().enumerate().min_by_key(|(_, it)| it.touched);
            let Some((at, _)) = stalest else { return };
            self.remove_at(record, at);
        }
    }

    fn remove_at(&self, record: &mut Record, at: usize) {
        let gone = record.publications.remove(at);
        self.bytes.fetch_sub(gone.body.len(), Ordering::Relaxed);
        self.outdate(record);
    }

    fn outdate(&self, record: &mut Record) {
        let old = record.composed.take();
        self.bytes.fetch_sub(old.map_or(0, |body| body.len()), Ordering::Relaxed);
    }

    fn take(&self, config: &EventsConfig, bytes: usize) -> Result<(), Refused> {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > config.max_published {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// A map whose holder panicked is still a map.
    fn records(&self, aor: &Aor) -> MutexGuard<'_, HashMap<Aor, Record>> {
        let stripe = (self.hasher.hash_one(aor.as_str()) >> 60) as usize; // 4 bits: STRIPES
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows how much there is, not what.
impl fmt::Debug for Publications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publications").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

const STRIPES: usize = 16;

#[cfg(test)]
mod tests;
