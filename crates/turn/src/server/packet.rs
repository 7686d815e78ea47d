//! What passes between the server and its driver: packets in their buffers, verdicts about them, actions.

use std::net::SocketAddr;
use std::ops::Range;

use farspeak_sansio::{Flow, Transmit};

use super::tcp::ConnectionId;

/// Room before every packet: the longest prefix of a Data indication ([`farspeak_stun::indication::MOST`]).
pub const HEADROOM: usize = farspeak_stun::indication::MOST;

/// Room behind every packet: what pads data on a stream.
pub const TAILROOM: usize = 4;

/// A datagram, or a framed message of a stream, inside a larger buffer.
///
/// At least [`HEADROOM`] bytes lie before it and [`TAILROOM`] behind it. The server may write there and into the packet,
/// and nowhere else in the buffer. With less room, packets that would need it are dropped.
#[derive(Debug)]
pub struct Packet<'a> {
    /// All of the buffer.
    pub buffer: &'a mut [u8],
    /// Where the packet lies in it.
    pub data: Range<usize>,
}

/// A relay socket. [`Self::slot`] indexes the driver's table of sockets; a slot is used again after
/// [`Action::Close`], with another generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayId {
    slot: u32,
    generation: u32,
}

impl RelayId {
    /// A name that no relay ever has: for an empty place in a table.
    pub const NONE: Self = Self { slot: u32::MAX, generation: 0 };

    /// The name that a driver has kept as two numbers.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// From 0, without large gaps: the place in a table.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Which tenant of the slot.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// What to do with a packet. Ranges are into [`Packet::buffer`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing: it was dropped, or the answer waits in [`Server::poll_action`](super::Server::poll_action).
    Nothing,
    /// Send the data from this relay socket to the peer.
    ToPeer {
        /// From this socket.
        relay: RelayId,
        /// To this address.
        peer: SocketAddr,
        /// The peer's datagram.
        data: Range<usize>,
        /// With the DF bit set (RFC 8656 §14); else as the system does by default, fragmenting.
        dont_fragment: bool,
    },
    /// Send the data to this client: ChannelData or a Data indication, padded on streams.
    ToClient {
        /// To this client.
        client: Flow,
        /// The message.
        data: Range<usize>,
    },
    /// The peer is a relayed address of another shard: hand the data over, and there call
    /// [`Server::handle_relayed`](super::Server::handle_relayed).
    ToShard {
        /// The shard that owns the port.
        shard: u8,
        /// The relayed address that it is for.
        to: SocketAddr,
        /// The relayed address that it is from.
        from: SocketAddr,
        /// What the peer would have got.
        data: Range<usize>,
    },
    /// The whole packet belongs to a client whose allocation lives on another shard, because it moved there or used a
    /// reservation (RFC 8016, RFC 8656 §7.2): hand it over, and there call
    /// [`Server::handle_client`](super::Server::handle_client) with the same flow. Its [`FlowId`](farspeak_sansio::FlowId)
    /// has to name the shard whose socket it came to: what was handed over once is not handed on.
    ToHome {
        /// Where the allocation lives.
        shard: u8,
    },
}

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
