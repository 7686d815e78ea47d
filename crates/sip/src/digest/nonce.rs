//! Nonces that cost no memory until they are used with success, and refuse every replay after that.
//!
//! A nonce is its time of issue, a number and a MAC over both (RFC 7616 §3.3 suggests the form). A stranger who asks
//! for a million challenges makes us remember nothing. The first request that authenticates with a nonce gives it a
//! window of counts: each count is good once, in any order within [`NonceConfig::WINDOW`] of the highest, since
//! requests overtake each other on datagrams and forked connections.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use farspeak_sansio::Instant;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::algorithm::constant_time_eq;

/// Bounds of the nonces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NonceConfig {
    /// How long a nonce is good. Default 300 s; then the client is told `stale` and comes back by itself.
    pub lifetime: Duration,
    /// Most nonces whose counts are remembered. Default 262,144 (about 16 MB).
    ///
    /// Only requests that authenticate fill the table. Over the bound the older half is forgotten and with it every
    /// nonce of its age: those clients get `stale` early, and no replay passes.
    pub max_used: usize,
}

impl NonceConfig {
    /// How far below the highest count a count may lie and still be new.
    pub const WINDOW: u32 = 128;
}

impl Default for NonceConfig {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(300), max_used: 262_144 }
    }
}

/// What a nonce is worth before the response has been verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceCheck {
    /// Ours and not expired.
    Current,
    /// Ours, but expired. If the response verifies, challenge again with `stale=true` (RFC 7616 §3.3).
    Expired,
    /// Not made with our key: by another server, by this one before its restart, or by a forger.
    Foreign,
}

/// Why a verified response was not accepted all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceRefusal {
    /// The nonce has expired, or its counts have been forgotten: `stale=true`.
    Expired,
    /// The count was used before, is 0, or lies below the window: a replay, or a phone that does not count. `stale=true`
    /// heals the phone and gives a replay nothing.
    Replayed,
    /// The nonce is not ours.
    Foreign,
}

/// Makes nonces and remembers the counts of those that were used. Share it between shards by reference.
///
/// The key must be new in each process, since the time in a nonce counts from the process's origin.
pub struct Nonces {
    mac: Hmac<Sha256>,
    config: NonceConfig,
    number: AtomicU64,
    stripes: Box<[Mutex<Stripe>]>,
}

impl Nonces {
    /// Nonces under `key`, which nobody else may know.
    pub fn new(key: [u8; 32], config: NonceConfig) -> Self {
        // `new_from_slice` fails for no length of key.
        let mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&key).expect("HMAC takes keys of any length");
        let stripes = (0..STRIPES).map(|_| Mutex::new(Stripe::default())).collect();
        Self { mac, config, number: AtomicU64::new(0), stripes }
    }

    /// A nonce, good from `now` on: 56 hexadecimal digits, all different.
    pub fn issue(&self, now: Instant) -> String {
        self.issue_to(now, &[])
    }

    /// A nonce that is ours only together with `bound`: whoever shows it there has received it there.
    ///
    /// `bound` may be any bytes, such as the address that it is sent to; it goes into the MAC (RFC 7616 §3.3).
    pub fn issue_to(&self, now: Instant, bound: &[u8]) -> String {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let issued = Issued { at: now, number };
        let mut text = String::with_capacity(NONCE_LEN);
        for byte in issued.head().iter().chain(&self.tag(&issued, bound)) {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }

    /// What the nonce is worth. Changes nothing.
    pub fn check(&self, now: Instant, nonce: &str) -> NonceCheck {
        self.check_from(now, nonce, &[])
    }

    /// As [`Nonces::check`], for what [`Nonces::issue_to`] bound: with anything else beside it, it is foreign.
    pub fn check_from(&self, now: Instant, nonce: &str, bound: &[u8]) -> NonceCheck {
        match self.open(nonce, bound) {
            None => NonceCheck::Foreign,
            Some(issued) if self.is_expired(now, &issued) => NonceCheck::Expired,
            Some(_) => NonceCheck::Current,
        }
    }

    /// Takes the count `nc` of a request **whose response has been verified**. Each count is good once.
    pub fn accept(&self, now: Instant, nonce: &str, nc: u32) -> Result<(), NonceRefusal> {
        self.accept_from(now, nonce, nc, &[])
    }

    /// As [`Nonces::accept`], for what [`Nonces::issue_to`] bound.
    pub fn accept_from(&self, now: Instant, nonce: &str, nc: u32, bound: &[u8]) -> Result<(), NonceRefusal> {
        let issued = self.open(nonce, bound).ok_or(NonceRefusal::Foreign)?;
        if self.is_expired(now, &issued) {
            return Err(NonceRefusal::Expired);
        }
        if nc == 0 {
            return Err(NonceRefusal::Replayed);
        }
        let index = issued.number as usize % self.stripes.len();
        // A stripe is changed by single insertions: whatever a panic left behind is a valid table.
        let mut stripe = self.stripes[index].lock().unwrap_or_else(PoisonError::into_inner);
        stripe.accept(now, &issued, nc, &self.config)
    }

    /// How many nonces have counts remembered.
    pub fn remembered(&self) -> usize {
        let len = |stripe: &Mutex<Stripe>| {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            stripe.young.len() + stripe.old.len()
        };
        self.stripes.iter().map(len).sum()
    }

    fn is_expired(&self, now: Instant, issued: &Issued) -> bool {
        // A nonce from the future was made before the clock stepped back: it gets no longer life from that.
        issued.at > now || now.saturating_since(issued.at) > self.config.lifetime
    }

    fn open(&self, nonce: &str, bound: &[u8]) -> Option<Issued> {
        let digits: &[u8; NONCE_LEN] = nonce.as_bytes().try_into().ok()?;
        let mut bytes = [0; NONCE_LEN / 2];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = unhex(pair[0])? << 4 | unhex(pair[1])?;
        }
        let (head, tag) = bytes.split_at(HEAD_LEN);
        let (at, number) = head.split_at(8);
        // Both halves are 8 bytes by the constants above.
        let issued = Issued {
            at: Instant::from_nanos(u64::from_be_bytes(at.try_into().ok()?)),
            number: u64::from_be_bytes(number.try_into().ok()?),
        };
        constant_time_eq(tag, &self.tag(&issued, bound)).then_some(issued)
    }

    fn tag(&self, issued: &Issued, bound: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = self.mac.clone();
        mac.update(&issued.head()); // of fixed length: where `bound` begins is never in doubt
        mac.update(bound);
        let full = mac.finalize().into_bytes();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&full[..TAG_LEN]);
        tag
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("config", &self.config).finish_non_exhaustive()
    }
}

/// When a nonce was made, and which one it is.
struct Issued {
    at: Instant,
    number: u64,
}

impl Issued {
    fn head(&self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..8].copy_from_slice(&self.at.as_nanos().to_be_bytes());
        head[8..].copy_from_slice(&self.number.to_be_bytes());
        head
    }
}

/// The counts of one part of the nonces, in two generations: the old one is dropped whole.
#[derive(Default)]
struct Stripe {
    young: HashMap<u64, Window>,
    old: HashMap<u64, Window>,
    /// When the young generation began.
    since: Instant,
    /// The latest issue among the nonces of the young and the old generation.
    latest: (Instant, Instant),
    /// Nonces issued at or before it, and not in the table, may have been forgotten.
    forgotten_until: Option<Instant>,
}

impl Stripe {
    fn accept(&mut self, now: Instant, issued: &Issued, nc: u32, config: &NonceConfig) -> Result<(), NonceRefusal> {
        let known = self.young.get_mut(&issued.number).or_else(|| self.old.get_mut(&issued.number));
        if let Some(window) = known {
            return if window.take(nc) { Ok(()) } else { Err(NonceRefusal::Replayed) };
        }
        if self.forgotten_until.is_some_and(|until| issued.at <= until) {
            return Err(NonceRefusal::Expired);
        }
        let bound = (config.max_used / STRIPES / 2).max(1);
        if self.young.len() >= bound || now.saturating_since(self.since) > config.lifetime {
            self.turn(now);
        }
        self.latest.0 = self.latest.0.max(issued.at);
        self.young.insert(issued.number, Window { highest: nc, used: 1 });
        Ok(())
    }

    /// Drops the old generation; the young one becomes old.
    fn turn(&mut self, now: Instant) {
        if !self.old.is_empty() {
            self.forgotten_until = self.forgotten_until.max(Some(self.latest.1));
        }
        self.old = std::mem::take(&mut self.young);
        self.latest = (Instant::ZERO, self.latest.0);
        self.since = now;
    }
}

/// Which of the counts up to `highest` have been used. Bit n stands for `highest - n`.
struct Window {
    highest: u32,
    used: u128,
}

impl Window {
    /// Takes the count; false if it was used or lies below the window.
    fn take(&mut self, nc: u32) -> bool {
        if nc > self.highest {
            let shift = nc - self.highest;
            self.used = if shift < NonceConfig::WINDOW { self.used << shift } else { 0 };
            self.used |= 1;
            self.highest = nc;
            return true;
        }
        let below = self.highest - nc;
        if below >= NonceConfig::WINDOW || self.used >> below & 1 == 1 {
            return false;
        }
        self.used |= 1 << below;
        true
    }
}

fn unhex(digit: u8) -> Option<u8> {
    // Only what we write ourselves: a nonce has one spelling.
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const HEAD_LEN: usize = 16;
/// 96 bits: guessing one nonce takes longer than its lifetime by any measure.
const TAG_LEN: usize = 12;
const NONCE_LEN: usize = 2 * (HEAD_LEN + TAG_LEN);
const STRIPES: usize = 64;
