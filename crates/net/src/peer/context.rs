//! What a peer has besides its machine: the sockets, which connection is which, and who asked for the end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Transport};
use rustls::pki_types::ServerName;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::PeerConfig;
use super::connection::Outbox;
use crate::bind;
use crate::udp::UdpPort;
use crate::{Clock, Counters};

/// What commands and event handlers of a [`Peer`](super::Peer) can do besides calling the machine.
pub struct PeerContext(Rc<Edge>);

impl fmt::Debug for PeerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerContext")
    }
}

impl PeerContext {
    pub(crate) const fn new(edge: Rc<Edge>) -> Self {
        Self(edge)
    }

    /// Binds a UDP socket and gives its real address: port 0 takes a free one. The machine receives from it, and sends
    /// from it whatever it sends on flows with this local address.
    pub fn bind(&mut self, local: SocketAddr) -> io::Result<SocketAddr> {
        let socket = bind::socket(Transport::Udp, local, false)?;
        // The kernel grants what it allows; less is no reason not to start.
        let _ = socket.set_recv_buffer_size(self.0.config.receive_buffer);
        let _ = socket.set_send_buffer_size(self.0.config.send_buffer);
        self.adopt(socket.into())
    }

    /// Takes a UDP socket that its owner has bound and prepared, with options that [`Self::bind`] does not know, and
    /// gives its address.
    pub fn adopt(&mut self, socket: std::net::UdpSocket) -> io::Result<SocketAddr> {
        let edge = &self.0;
        let mut ports = edge.ports.borrow_mut();
        if ports.len() >= edge.config.max_sockets {
            return Err(io::Error::other("too many sockets (PeerConfig::max_sockets)"));
        }
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let bound = socket.local_addr()?;
        ports.push(Port { port: UdpPort::new(socket, FlowId::UNBOUND, bound), task: None });
        Ok(bound)
    }

    /// Closes the socket that is bound to `local`. Nothing happens if there is none. The machine is not told.
    pub fn unbind(&mut self, local: SocketAddr) {
        self.0.ports.borrow_mut().retain(|port| port.port.bound() != local);
    }

    /// The addresses of the sockets, in the order in which they were bound.
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.0.ports.borrow().iter().map(|port| port.port.bound()).collect()
    }

    /// The name that the certificate of the TLS server at `remote` must be for, and that is asked for (SNI). Holds for
    /// connections opened from now on.
    pub fn name_server(&mut self, remote: SocketAddr, name: ServerName<'static>) {
        self.0.names.borrow_mut().insert(remote, name);
    }

    /// Closes a connection after what waits for it is written; the machine gets `handle_flow_failed` then. Nothing
    /// happens if there is none.
    pub fn close(&mut self, flow: Flow) {
        let flow = Flow { id: FlowId::UNBOUND, ..flow };
        if let Some(outbox) = self.0.connections.borrow().get(&flow) {
            outbox.close();
        }
    }

    /// Bytes that wait to be written on connections, 64 counted for each message besides its own.
    pub fn waiting(&self) -> usize {
        self.0.connections.borrow().values().map(|outbox| outbox.queued()).sum()
    }

    /// Ends the peer: [`Peer::run`](super::Peer::run) returns soon.
    pub fn stop(&mut self) {
        self.0.stopping.set(true);
        self.0.wake.notify_one();
    }

    /// What the sockets counted.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}

/// The sockets and connections of a peer.
pub(crate) struct Edge {
    pub(crate) config: PeerConfig,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<Counters>,
    ports: RefCell<Vec<Port>>,
    connections: RefCell<HashMap<Flow, Rc<Outbox>>>,
    /// Those that no task serves yet.
    unopened: RefCell<Vec<(Flow, Rc<Outbox>)>>,
    names: RefCell<HashMap<SocketAddr, ServerName<'static>>>,
    stopping: Cell<bool>,
    /// Makes the peer look at its deadline, and whether it is to stop.
    pub(crate) wake: Notify,
}

struct Port {
    port: Rc<UdpPort>,
    task: Option<AbortHandle>,
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Edge {
    pub(crate) fn new(config: PeerConfig, clock: Clock) -> Self {
        Self {
            config,
            clock,
            counters: Arc::default(),
            ports: RefCell::default(),
            connections: RefCell::default(),
            unopened: RefCell::default(),
            names: RefCell::default(),
            stopping: Cell::new(false),
            wake: Notify::new(),
        }
    }

    /// `Err` if the remote address is unreachable or no socket is bound to the local one.
    pub(crate) fn send_datagram(&self, flow: &Flow, bytes: &[u8]) -> Result<(), ()> {
        let ports = self.ports.borrow();
        let wildcard = |bound: SocketAddr| {
            bound.ip().is_unspecified() && bound.port() == flow.local.port() && bound.is_ipv4() == flow.local.is_ipv4()
        };
        let exact = ports.iter().find(|port| port.port.bound() == flow.local);
        let Some(port) = exact.or_else(|| ports.iter().find(|port| wildcard(port.port.bound()))) else {
            self.counters.dead_flows.increment();
            return Err(());
        };
        port.port.send_counted(flow, bytes, &self.counters)
    }

    /// Queues for the connection of that flow, which is opened if there is none. `Err` if that cannot be.
    pub(crate) fn send_on_stream(&self, flow: Flow, bytes: Arc<[u8]>) -> Result<(), ()> {
        let mut connections = self.connections.borrow_mut();
        let full = connections.len() >= self.config.max_connections;
        let possible = match flow.transport {
            Transport::Tcp => true,
            Transport::Tls => self.config.tls.is_some(),
            Transport::Udp | Transport::Ws | Transport::Wss => false,
        };
        if let Some(outbox) = connections.get(&flow) {
            outbox.push(bytes, self.config.write_queue);
            return Ok(());
        }
        if full || !possible || self.stopping.get() {
            self.counters.connections_refused.increment();
            return Err(());
        }
        let outbox = Rc::new(Outbox::default());
        outbox.push(bytes, self.config.write_queue);
        connections.insert(flow, Rc::clone(&outbox));
        self.unopened.borrow_mut().push((flow, outbox));
        Ok(())
    }

    pub(crate) fn server_name(&self, remote: SocketAddr) -> ServerName<'static> {
        self.names.borrow().get(&remote).cloned().unwrap_or_else(|| ServerName::IpAddress(remote.ip().into()))
    }

    pub(crate) fn take_unserved_ports(&self) -> Vec<Rc<UdpPort>> {
        self.ports.borrow().iter().filter(|port| port.task.is_none()).map(|port| Rc::clone(&port.port)).collect()
    }

    pub(crate) fn served(&self, port: &Rc<UdpPort>, task: AbortHandle) {
        if let Some(served) = self.ports.borrow_mut().iter_mut().find(|known| Rc::ptr_eq(&known.port, port)) {
            served.task = Some(task);
        }
    }

    pub(crate) fn take_unopened(&self) -> Vec<(Flow, Rc<Outbox>)> {
        self.unopened.take()
    }

    pub(crate) fn forget(&self, flow: &Flow) {
        self.connections.borrow_mut().remove(flow);
    }

    pub(crate) fn has_connections(&self) -> bool {
        !self.connections.borrow().is_empty()
    }

    pub(crate) fn close_all(&self) {
        self.connections.borrow().values().for_each(|outbox| outbox.close());
    }

    pub(crate) const fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}
