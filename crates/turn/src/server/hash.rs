//! A fast hash for tables that are asked with every packet, keyed so that nobody outside can fill one bucket.

use std::hash::{BuildHasher, Hasher};

use farspeak_sansio::Rng;

/// Makes hashers with two secret numbers.
#[derive(Clone, Copy)]
pub(super) struct Keyed {
    start: u64,
    factor: u64,
}

impl Keyed {
    pub(super) fn random(rng: &mut dyn Rng) -> Self {
        // An odd factor loses nothing.
        Self { start: rng.next_u64(), factor: rng.next_u64() | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { state: self.start, factor: self.factor }
    }
}

/// Each word is mixed in by one multiplication to 128 bits, whose halves are folded onto each other.
pub(super) struct Folded {
    state: u64,
    factor: u64,
}

impl Hasher for Folded {
    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = (product >> 64) as u64 ^ product as u64 ^ self.factor.rotate_left(23);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64(number as u64);
        self.write_u64((number >> 64) as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use farspeak_sansio::SplitMix64;

    use super::*;

    #[test]
    fn neighbours_are_spread() {
        let keyed = Keyed::random(&mut SplitMix64::new(1));
        let hash = |ip: u64, port: u64| {
            let mut hasher = keyed.build_hasher();
            hasher.write_u64(ip);
            hasher.write_u64(port);
            hasher.finish()
        };
        let low: HashSet<u64> = (0..1024).map(|port| hash(0x0a00_0001, port) & 0xffff).collect();
        let high: HashSet<u64> = (0..1024).map(|ip| hash(ip, 5000) >> 48).collect();
        assert!(low.len() > 980 && high.len() > 980, "{} {}", low.len(), high.len());
    }
}
