//! The system's randomness, for keys, secrets and everything that peers must not foresee.

use farspeak_sansio::Rng;
use rustix::rand::{GetRandomFlags, getrandom};

/// Numbers from the kernel, fetched some at a time: a system call for every one would cost more than the number.
#[derive(Clone)]
pub struct SystemRng {
    pool: [u8; 512],
    used: usize,
}

impl SystemRng {
    /// With nothing fetched yet.
    pub const fn new() -> Self {
        Self { pool: [0; 512], used: 512 }
    }

    /// A new key.
    pub fn key<const N: usize>(&mut self) -> [u8; N] {
        let mut key = [0; N];
        self.fill(&mut key);
        key
    }

    fn refill(&mut self) {
        let mut filled = 0;
        while filled < self.pool.len() {
            match getrandom(&mut self.pool[filled..], GetRandomFlags::empty()) {
                Ok(more) => filled += more,
                Err(rustix::io::Errno::INTR) => {}
                // Without randomness every promise of this program is void; Linux has had it since 3.17.
                Err(error) => panic!("the system gives no randomness: {error}"),
            }
        }
        self.used = 0;
    }
}

impl Default for SystemRng {
    fn default() -> Self {
        Self::new()
    }
}

/// What was fetched is never printed.
impl std::fmt::Debug for SystemRng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemRng")
    }
}

impl Rng for SystemRng {
    fn next_u64(&mut self) -> u64 {
        if self.used + 8 > self.pool.len() {
            self.refill();
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.pool[self.used..self.used + 8]);
        // What was handed out is not kept.
        self.pool[self.used..self.used + 8].fill(0);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_across_refills() {
        let mut rng = SystemRng::new();
        let numbers: std::collections::HashSet<u64> = (0..1000).map(|_| rng.next_u64()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
