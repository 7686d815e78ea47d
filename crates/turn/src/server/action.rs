//! What the server asks of its driver besides moving packets. Packets and verdicts are [`farspeak_sansio`]'s.

use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, HEADROOM, RelayId, Transmit};

use super::meter::Meter;
use super::tcp::ConnectionId;

// What is written before data fits where drivers leave room.
const _: () = assert!(farspeak_stun::indication::MOST <= HEADROOM);

/// What the driver is asked to do, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send this to a client. The flow may be of another shard's connection ([`farspeak_sansio::FlowId::shard`]) if the
    /// client moved.
    Transmit(Transmit),
    /// Bind a UDP socket to this address and report by [`Server::relay_opened`](super::Server::relay_opened). IPv6
    /// sockets are for IPv6 alone (`IPV6_V6ONLY`).
    Open {
        /// What the socket will be called.
        relay: RelayId,
        /// Address and port to bind.
        address: SocketAddr,
        /// Whether datagrams with the DF bit may be asked for.
        dont_fragment_capable: bool,
    },
    /// Close a relay socket, or stop listening (RFC 6062).
    Close {
        /// Which.
        relay: RelayId,
    },
    /// Close a client's stream, or forget its datagrams.
    CloseClient(Flow),
    /// RFC 6062: listen for TCP at this address and report by [`Server::relay_opened`](super::Server::relay_opened);
    /// hand connections to [`Server::accepted`](super::Server::accepted). `SO_REUSEADDR` and `SO_REUSEPORT` are needed,
    /// since [`Action::Connect`] leaves from the same address.
    Listen {
        /// What the listener will be called.
        relay: RelayId,
        /// Address and port to bind.
        address: SocketAddr,
    },
    /// RFC 6062 §5.2: connect to the peer from this relay's address, and report by
    /// [`Server::connected`](super::Server::connected). Nothing is read from it before [`Action::Splice`].
    Connect {
        /// What the connection will be called.
        connection: ConnectionId,
        /// The listener whose address it leaves from.
        relay: RelayId,
        /// Our end.
        address: SocketAddr,
        /// The other end.
        peer: SocketAddr,
    },
    /// RFC 6062 §5.4: from now on, all bytes of this client's stream go to the connection, and back. Everything sent to
    /// the client before this leaves first. Ends are reported by
    /// [`Server::connection_closed`](super::Server::connection_closed).
    Splice {
        /// The peer data connection.
        connection: ConnectionId,
        /// The client data connection.
        client: Flow,
        /// To be asked how much may be moved, and told how much was.
        meter: Arc<Meter>,
    },
    /// RFC 6062: close a connection to a peer, and the client's stream that is spliced to it.
    CloseConnection(ConnectionId),
}

/// Why a relay socket could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RelayRefused {
    /// Somebody else has this port: another one is tried.
    InUse,
    /// No socket of this address at all: the address is not ours, or the process has too many open files.
    Unavailable,
}
