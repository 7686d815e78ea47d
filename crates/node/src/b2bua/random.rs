//! Randomness for tags and Call-IDs that nobody can foresee: SipHash-2-4 of a counter under a secret key.

use std::hash::Hasher;

use farspeak_sansio::Rng;
use siphasher::sip::SipHasher24;

/// A stream of random numbers that depends on 128 bits of secret randomness. What has been seen of it tells nothing
/// about the rest.
pub(super) struct Keyed {
    key: [u64; 2],
    count: u64,
}

impl Keyed {
    pub(super) const fn new(key: [u64; 2]) -> Self {
        Self { key, count: 0 }
    }
}

impl Rng for Keyed {
    fn next_u64(&mut self) -> u64 {
        self.count += 1;
        let mut hasher = SipHasher24::new_with_keys(self.key[0], self.key[1]);
        hasher.write_u64(self.count);
        hasher.finish()
    }
}
