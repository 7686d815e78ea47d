//! Ports held in reserve by EVEN-PORT for an allocation to come, RFC 8656 §7.2: opened at once, kept for 30 seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Instant, Rng};
use farspeak_stun::ErrorCode;

use super::Server;
use super::allocation::Allocation;
use super::lifetime::Timer;
use super::relay::Holder;
use super::slab::Slab;

/// How long a port is held (RFC 8656 §7.2: at least 30 s).
pub(super) const HOLD: Duration = Duration::from_secs(30);

/// Reserved ports by their tokens.
#[derive(Default)]
pub(super) struct Reservations(HashMap<[u8; 8], Reserved>);

struct Reserved {
    relay: u32,
    /// The slot of the allocation that made it.
    maker: u32,
    /// Deviation: RFC 8656 lets anybody use a token who knows it; here it has to be who made it.
    user: Arc<str>,
}

/// A new token: the shard's number, and 56 random bits.
pub(super) fn token(shard: u8, rng: &mut dyn Rng) -> [u8; 8] {
    let mut token = [0; 8];
    rng.fill(&mut token);
    token[0] = shard;
    token
}

/// The shard that made a token.
pub(super) const fn shard(token: [u8; 8]) -> u8 {
    token[0]
}

impl Reservations {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a port is reserved by this token, by this user.
    pub(super) fn is_for(&self, token: [u8; 8], user: &Arc<str>) -> bool {
        self.0.get(&token).is_some_and(|reserved| reserved.user == *user)
    }

    /// Whether one more may be reserved by this user: nobody may have more than an eighth, so that the others find some.
    pub(super) fn check(&self, user: &Arc<str>, most: usize) -> Result<(), ErrorCode<'static>> {
        if self.0.len() >= most {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let own = self.0.values().filter(|reserved| reserved.user == *user).count();
        if own < (most / 8).max(1) { Ok(()) } else { Err(ErrorCode::ALLOCATION_QUOTA_REACHED) }
    }

    pub(super) fn take(&mut self, token: [u8; 8]) -> Option<u32> {
        self.0.remove(&token).map(|reserved| reserved.relay)
    }

    pub(super) fn forget(&mut self, token: [u8; 8]) {
        self.0.remove(&token);
    }

    /// The allocation that waits for the reserved port's socket.
    pub(super) fn maker(&self, token: [u8; 8], allocations: &Slab<Allocation>) -> Option<u32> {
        let reserved = self.0.get(&token)?;
        let opening = allocations.get(reserved.maker)?.opening.as_ref()?;
        (opening.reserved == Some(reserved.relay)).then_some(reserved.maker)
    }
}

impl Server {
    /// Holds a port for whoever made the allocation in slot `maker`.
    pub(super) fn reserve(&mut self, now: Instant, token: [u8; 8], relay: u32, maker: u32, user: Arc<str>) {
        self.reservations.0.insert(token, Reserved { relay, maker, user });
        if let Some(generation) = self.relays.generation(relay) {
            self.arm(now, now + HOLD, Timer::Reservation { relay, generation });
        }
    }

    /// Nobody used it in time.
    pub(super) fn reservation_ends(&mut self, relay: u32) {
        let Some(Holder::Token(token)) = self.relays.get(relay).map(|relay| relay.holder) else { return };
        self.reservations.forget(token);
        self.release_relay(relay);
    }

    pub(super) fn release_reservations(&mut self) {
        let relays: Vec<u32> = self.reservations.0.drain().map(|(_, reserved)| reserved.relay).collect();
        relays.into_iter().for_each(|relay| self.release_relay(relay));
    }
}
