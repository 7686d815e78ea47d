//! Accepting connections on one listener of a loop.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use mio::net::TcpListener;
use rustls::{ServerConfig, ServerConnection};

use super::stream::Stage;
use super::streams::Arrival;
use crate::accept::Ends;
use crate::admission::Admission;

pub(super) struct Acceptor {
    pub socket: TcpListener,
    pub address: SocketAddr,
    pub tls: Option<Arc<ServerConfig>>,
    /// Which sources begin with a PROXY header.
    pub proxies: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// The system refused a connection, for want of descriptors or memory: nothing will tell that there are some again.
    pub failing: bool,
    /// Connections may wait in the kernel's queue until there is room for their handshakes.
    pub crowded: bool,
    /// Whether more connections wait than the last turn took.
    pub postponed: bool,
}

impl Acceptor {
    pub(super) const fn new(
        socket: TcpListener,
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        proxies: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    ) -> Self {
        Self { socket, address, tls, proxies, failing: false, crowded: false, postponed: false }
    }

    /// The next connection. `Ok(None)`: one that is closed at once, because there are too many.
    pub(super) fn accept(&mut self, admission: &Rc<Admission>) -> io::Result<Option<Arrival>> {
        if self.tls.is_some() && !admission.has_room() {
            self.crowded = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (socket, remote) = match self.socket.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                let passing = matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
                );
                if passing {
                    return Ok(None);
                }
                if error.kind() != io::ErrorKind::WouldBlock && !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(address = %self.address, %error, "cannot accept connections; trying again");
                }
                return Err(error);
            }
        };
        self.failing = false;
        let balanced = (self.proxies)(remote.ip());
        let seat = if balanced { admission.admit_balancer(remote) } else { admission.admit(remote) };
        let Some(seat) = seat else { return Ok(None) };
        let Ok(local) = socket.local_addr() else { return Ok(None) };
        let tls = match &self.tls {
            Some(config) => match ServerConnection::new(Arc::clone(config)) {
                Ok(connection) => Some(Box::new(connection)),
                Err(error) => {
                    tracing::warn!(%error, "TLS cannot be set up");
                    return Ok(None);
                }
            },
            None => None,
        };
        let stage = match &tls {
            _ if balanced => Stage::ProxyHeader,
            Some(_) => Stage::Handshake,
            None => Stage::FirstMessage,
        };
        Ok(Some(Arrival { socket, tls, ends: Ends { local, remote }, seat, stage }))
    }

    pub(super) const fn is_to_try_again(&self) -> bool {
        self.failing
    }
}
