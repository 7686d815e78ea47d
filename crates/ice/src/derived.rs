//! Randomness for parts of an agent: HMAC-SHA1 of a counter under a key that the agent's own source gave.
//!
//! Transaction IDs prove consent and have to be as hard to guess as that source (RFC 7675 §8); a session or a relay cannot
//! borrow it, so each gets a stream of its own that nobody can continue without the key.

use farspeak_sansio::Rng;
use farspeak_stun::hmac_sha1;

pub(crate) struct Derived {
    key: [u8; 32],
    counter: u64,
}

impl Derived {
    pub(crate) fn new(source: &mut (impl Rng + ?Sized)) -> Self {
        let mut key = [0; 32];
        source.fill(&mut key);
        Self { key, counter: 0 }
    }
}

impl Rng for Derived {
    fn next_u64(&mut self) -> u64 {
        self.counter += 1;
        let tag = hmac_sha1(&self.key, &[&self.counter.to_be_bytes()]);
        u64::from_be_bytes(*tag.first_chunk().expect("a tag has 20 bytes"))
    }
}
