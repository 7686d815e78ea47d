//! Branches of our own making (RFC 3261 §8.1.1.7): they name the shard that waits for the response, and carry the hash
//! by which a proxy finds its own loops (RFC 5393 §4.2).
//!
//! ```text
//! z9hG4bK fs 0a 9c41…(16 digits) 77e0…(16 digits)
//! cookie     shard   unique          loop key
//! ```

use std::fmt;
use std::ops::Deref;

const PREFIX: &str = "z9hG4bKfs";
const LEN: usize = PREFIX.len() + 2 + 16 + 16;

/// A branch made by [`Endpoint::new_branch`](crate::endpoint::Endpoint::new_branch). It derefs to its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Branch {
    text: [u8; LEN],
}

impl Branch {
    /// Puts the parts together. `unique` must not come twice.
    pub fn new(shard: u8, unique: u64, loop_key: u64) -> Self {
        let mut text = [0; LEN];
        let (prefix, rest) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        let (shard_digits, rest) = rest.split_at_mut(2);
        let (unique_digits, loop_digits) = rest.split_at_mut(16);
        write_hex(u64::from(shard), shard_digits);
        write_hex(unique, unique_digits);
        write_hex(loop_key, loop_digits);
        Self { text }
    }

    /// Reads a branch of ours, or of another node of our kind; `None` for anybody else's.
    pub fn parse(text: &str) -> Option<BranchParts> {
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == LEN - PREFIX.len())?;
        let (shard, unique, loop_key) = (digits.get(..2)?, digits.get(2..18)?, digits.get(18..)?);
        Some(BranchParts {
            shard: u8::from_str_radix(shard, 16).ok()?,
            unique: u64::from_str_radix(unique, 16).ok()?,
            loop_key: u64::from_str_radix(loop_key, 16).ok()?,
        })
    }

    /// The text as it stands in the Via.
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever written into it.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

/// What a [`Branch`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BranchParts {
    /// The shard whose client transaction it names.
    pub shard: u8,
    /// What makes it unique.
    pub unique: u64,
    /// The hash over all that routing depends on, as the proxy gave it.
    pub loop_key: u64,
}

impl Deref for Branch {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Branch {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn write_hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_tells_its_parts() {
        let branch = Branch::new(0xa7, u64::MAX - 1, 77);
        assert_eq!(&*branch, "z9hG4bKfsa7fffffffffffffffe000000000000004d");
        assert_eq!(Branch::parse(&branch), Some(BranchParts { shard: 0xa7, unique: u64::MAX - 1, loop_key: 77 }));
    }

    #[test]
    fn foreign_branches_have_no_parts() {
        for text in ["z9hG4bK776asdhds", "", "z9hG4bKfsa7+ffffffffffffffe000000000000004d0", "z9hG4bKfsé"] {
            assert_eq!(Branch::parse(text), None, "{text}");
        }
    }
}
