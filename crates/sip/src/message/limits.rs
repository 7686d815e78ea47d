//! Bounds on what a peer may send.

/// Bounds on one message. Whatever exceeds them is refused before it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest message in bytes, body included. Default 65,535: what fits a UDP datagram fits every transport.
    /// Beyond it 513 (the head alone) or 413 (with its body).
    pub max_message: usize,
    /// Longest start line and header fields together, in bytes, blank line included. Default 32,768. Beyond it 513.
    pub max_header_bytes: usize,
    /// Most header field lines. Default 256: 70 hops of Via and Record-Route and room to spare. Beyond it 513.
    pub max_headers: usize,
    /// Longest start line or single header field in bytes, its folded lines included. Default 16,384. Beyond it 513
    /// (414 for the request line, RFC 3261 §21.4.11).
    pub max_line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message: 65_535, max_header_bytes: 32_768, max_headers: 256, max_line: 16_384 }
    }
}
