//! The system's own randomness, for the examples of all crates.

use std::fs::File;
use std::io::{self, Read};

use farspeak_sansio::Rng;

/// What the kernel gives.
pub struct SystemRandom(File);

impl SystemRandom {
    /// Fails where there is no `/dev/urandom`.
    pub fn new() -> io::Result<Self> {
        File::open("/dev/urandom").map(Self)
    }
}

impl Rng for SystemRandom {
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes).expect("the system's randomness never ends");
        u64::from_le_bytes(bytes)
    }
}
