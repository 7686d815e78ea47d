//! Binding the listeners of all shards, and saying what is wrong when one cannot be bound.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use farspeak_sansio::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use tokio::runtime::Runtime;

use crate::NetConfig;
use crate::port_owner::port_owner;

/// Connections that wait in the kernel until a shard accepts them.
pub(crate) const BACKLOG: i32 = 4096;

/// A bound listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    /// What is spoken there.
    pub transport: Transport,
    /// Where: with the real port where the configuration said 0; the IP may be a wildcard.
    pub address: SocketAddr,
}

/// The sockets of one shard: for each listener of the configuration one, in its order.
pub(crate) struct Sockets(pub Vec<BoundSocket>);

pub(crate) enum BoundSocket {
    /// With the address as bound, perhaps a wildcard.
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpListener),
}

pub(crate) struct Bound {
    pub listening: Vec<Listening>,
    pub sockets: Vec<Sockets>,
}

/// Binds every listener once for each shard's runtime.
pub(crate) fn bind_all(config: &NetConfig, runtimes: &[Runtime]) -> Result<Bound, BindError> {
    let mut bound = Bound { listening: Vec::new(), sockets: runtimes.iter().map(|_| Sockets(Vec::new())).collect() };
    for listener in &config.listeners {
        let transport = listener.transport;
        let fail = |error: io::Error| BindError::new(transport, listener.address, error);
        let (sockets, address) = bind_shared(transport, listener.address, runtimes.len())?;
        for ((of_shard, runtime), socket) in bound.sockets.iter_mut().zip(runtimes).zip(sockets) {
            let _registers_with = runtime.enter();
            let tune = |socket: &Socket| {
                // The kernel grants what it allows; less is no reason not to start.
                let _ = socket.set_recv_buffer_size(config.udp.receive_buffer);
                let _ = socket.set_send_buffer_size(config.udp.send_buffer);
            };
            of_shard.0.push(if transport == Transport::Udp {
                tune(&socket);
                BoundSocket::Udp(UdpSocket::from_std(socket.into()).map_err(fail)?, address)
            } else {
                socket.listen(BACKLOG).map_err(fail)?;
                BoundSocket::Tcp(TcpListener::from_std(socket.into()).map_err(fail)?)
            });
        }
        bound.listening.push(Listening { transport, address });
    }
    Ok(bound)
}

/// Binds `count` sockets to one address; gives them and the address, with the port that was free if it said 0.
pub(crate) fn bind_shared(
    transport: Transport,
    mut address: SocketAddr,
    count: usize,
) -> Result<(Vec<Socket>, SocketAddr), BindError> {
    let wanted = address;
    let fail = |error: io::Error| BindError::new(transport, wanted, error);
    if address.port() != 0 {
        // SO_REUSEPORT lets a second process of the same user share the port without a word: ask without it first.
        socket(transport, address, false).map_err(fail)?;
    }
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(transport, address, true).map_err(fail)?;
        if address.port() == 0 {
            let local = socket.local_addr().map_err(fail)?;
            address.set_port(local.as_socket().map_or(0, |local| local.port()));
        }
        sockets.push(socket);
    }
    Ok((sockets, address))
}

pub(crate) fn socket(transport: Transport, address: SocketAddr, share: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        _ => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if transport != Transport::Udp {
        // Connections of an earlier process in TIME_WAIT do not keep the port.
        socket.set_reuse_address(true)?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if !share && transport != Transport::Udp {
        // With SO_REUSEADDR only `listen` notices another listener.
        socket.listen(1)?;
    }
    Ok(socket)
}

/// A listener that could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// What was to be spoken there.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub kind: BindErrorKind,
}

/// Why a listener could not be bound.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindErrorKind {
    /// Somebody else has the port.
    Busy {
        /// Who, where the system lets us see it.
        owner: Option<PortOwner>,
    },
    /// Not allowed, as with ports below 1024.
    Denied,
    /// No interface of this machine has the address.
    NoSuchAddress,
    /// Anything else.
    Other(io::Error),
}

/// The process that has a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortOwner {
    /// Process number, where the process is ours to look into.
    pub pid: Option<u32>,
    /// Its name, likewise.
    pub name: Option<String>,
    /// The number of the user who owns it.
    pub uid: u32,
}

impl BindError {
    fn new(transport: Transport, address: SocketAddr, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::AddrInUse => BindErrorKind::Busy { owner: port_owner(transport, address) },
            io::ErrorKind::PermissionDenied => BindErrorKind::Denied,
            io::ErrorKind::AddrNotAvailable => BindErrorKind::NoSuchAddress,
            _ => BindErrorKind::Other(error),
        };
        Self { transport, address, kind }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {} {}: ", self.transport, self.address)?;
        match &self.kind {
            BindErrorKind::Busy { owner: Some(owner) } => {
                write!(f, "the port is taken by {owner}; stop it, or choose another port")
            }
            BindErrorKind::Busy { owner: None } => {
                f.write_str("the port is taken by another process; choose another port")
            }
            BindErrorKind::Denied if self.address.port() < 1024 => f.write_str(
                "not allowed; ports below 1024 need the capability CAP_NET_BIND_SERVICE \
                 (or a lower net.ipv4.ip_unprivileged_port_start), or choose a port above 1023",
            ),
            BindErrorKind::Denied => f.write_str("the system does not allow it"),
            BindErrorKind::NoSuchAddress => {
                write!(f, "no interface of this machine has the address {}", self.address.ip())
            }
            BindErrorKind::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.pid) {
            (Some(name), Some(pid)) => write!(f, "{name} (process {pid})"),
            (None, Some(pid)) => write!(f, "process {pid}"),
            (_, None) => write!(f, "a process of user {}", self.uid),
        }
    }
}
