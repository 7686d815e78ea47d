//! A connection that another part of the program has accepted and found to be ours: on the HTTPS port, by ALPN or by its
//! first byte.

use std::fmt;
use std::net::{SocketAddr, TcpStream};

use rustls::ServerConnection;

/// An accepted connection, TLS handshake done if there was one.
pub struct Handover {
    /// The connection; the loop makes it non-blocking.
    pub tcp: TcpStream,
    /// Its TLS, with whatever it has decrypted and nobody has read. `None` in clear text.
    pub tls: Option<Box<ServerConnection>>,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}
