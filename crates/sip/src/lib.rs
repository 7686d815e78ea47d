//! SIP without I/O: message codec, framing, transactions, digest.

pub mod digest;
