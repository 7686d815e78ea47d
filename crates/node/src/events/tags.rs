//! Tags and Call-IDs of the notifier's dialogs: whoever sees one cannot tell the next.

use std::hash::Hasher as _;

use farspeak_sansio::Rng;
use siphasher::sip::SipHasher24;

/// A keyed count. The key comes from the shard's randomness.
pub(super) struct Tags {
    key: [u8; 16],
    count: u64,
}

impl Tags {
    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        let mut key = [0; 16];
        rng.fill(&mut key);
        Self { key, count: 0 }
    }
}

impl Rng for Tags {
    fn next_u64(&mut self) -> u64 {
        self.count += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.count);
        hasher.finish()
    }
}
