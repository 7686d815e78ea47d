//! The packet path: a machine that relays looks at each packet in the driver's buffer, changes it there, and says where it
//! goes. Nothing is copied or allocated, so what passes is a [`Verdict`] and no [`Transmit`](crate::Transmit).

use std::net::SocketAddr;
use std::ops::Range;

use crate::Flow;

/// Room before every packet: the longest head that a machine writes before data (a Data indication of TURN over IPv6).
pub const HEADROOM: usize = 48;

/// Room behind every packet: what pads data on a stream.
pub const TAILROOM: usize = 4;

/// A datagram, or a framed message of a stream, inside a larger buffer.
///
/// At least [`HEADROOM`] bytes lie before it and [`TAILROOM`] behind it. The machine may write there and into the packet,
/// and nowhere else in the buffer. With less room, packets that would need it are dropped.
#[derive(Debug)]
pub struct Packet<'a> {
    /// All of the buffer.
    pub buffer: &'a mut [u8],
    /// Where the packet lies in it.
    pub data: Range<usize>,
}

/// A relay socket: the machine names it, the driver opens it.
///
/// A slot is used again after the socket was closed, with another generation: what comes for an earlier one is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayId {
    slot: u32,
    generation: u32,
}

impl RelayId {
    /// A name that no relay ever has: for an empty place in a table.
    pub const NONE: Self = Self { slot: u32::MAX, generation: 0 };

    /// Slot 0–2^32−2, and its tenant.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// From 0, without large gaps: the place in the driver's table of sockets.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// Which tenant of the slot.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// What to do with a packet. Ranges are into [`Packet::buffer`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing: it was dropped, or the machine has something else to be done, which is to be polled.
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
    /// Send the data to this client, whichever shard its connection is on.
    ToClient {
        /// To this client.
        client: Flow,
        /// The message, padded on streams.
        data: Range<usize>,
    },
    /// The peer is a relayed address of another shard: hand the data to the machine there, as come from one relayed address
    /// for another.
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
    /// The whole packet, as it came, belongs to a client that another shard serves: hand it to the machine there, as come from
    /// the same flow. Its [`FlowId`](crate::FlowId) has to name the shard whose socket it came to: what was handed over once is
    /// not handed on.
    ToHome {
        /// Who serves the client.
        shard: u8,
        /// Whether what comes behind it on a connection has to wait for the answer: it may no longer be messages.
        waits: bool,
    },
}
