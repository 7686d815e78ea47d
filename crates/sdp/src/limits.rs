//! Bounds on what a peer may send.

/// Bounds on one session description; beyond them [`Description::parse`](crate::Description::parse) says which one it was.
///
/// Everything that a description holds, and every list that an accessor makes, is bounded by these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest description in bytes. Default 64 KiB: a browser's offer with a dozen streams has some 20 KiB.
    pub max_bytes: usize,
    /// Most lines. Default 4096.
    pub max_lines: usize,
    /// Most media descriptions. Default 64.
    pub max_media: usize,
    /// Most formats in one `m=` line. Default 128: there are no more RTP payload types.
    pub max_formats: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024, max_lines: 4096, max_media: 64, max_formats: 128 }
    }
}
