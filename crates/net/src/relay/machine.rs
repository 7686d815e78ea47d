//! What the packet loop drives: a machine that looks at each packet where it lies and says where it goes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Packet, RelayId, Transmit, Verdict};

/// What a machine wants done besides moving packets.
#[derive(Debug)]
pub enum Action {
    /// Send this to a client.
    Transmit(Transmit),
    /// Open a relay socket; [`PacketMachine::relay_opened`] hears how it went.
    Open {
        /// Which.
        relay: RelayId,
        /// The address and port to bind to.
        address: SocketAddr,
    },
    /// Close a relay socket, or stop listening on it.
    Close {
        /// Which.
        relay: RelayId,
    },
    /// Close a client's connection.
    CloseClient(Flow),
    /// Listen for peers' TCP connections; [`PacketMachine::relay_opened`] hears how it went, and
    /// [`PacketMachine::accepted`] of each.
    Listen {
        /// Which.
        relay: RelayId,
        /// The address and port to bind to.
        address: SocketAddr,
    },
    /// Connect to a peer by TCP; [`PacketMachine::connected`] hears how it went.
    Connect {
        /// The machine's number for it.
        connection: u32,
        /// The address and port to leave from: one that is listened on.
        address: SocketAddr,
        /// The other end.
        peer: SocketAddr,
    },
    /// Join a connection with a client's: from now on, bytes pass both ways as they come, those behind the packet that is
    /// being looked at included. [`PacketMachine::connection_closed`] hears of the end.
    Splice {
        /// Which.
        connection: u32,
        /// The client.
        client: Flow,
        /// How fast, and who hears of it.
        meter: Arc<dyn Meter>,
    },
    /// Close a connection, and the client's that is joined with it.
    CloseConnection {
        /// Which.
        connection: u32,
    },
}

/// How much may pass through joined connections, and who counts it. Asked on the thread that moves the bytes, which may be
/// another shard's than the machine's.
pub trait Meter: Send + Sync + fmt::Debug {
    /// How many bytes may be read from each end now; `Err`: none before then. A TLS record is read whole, even if that is
    /// more: the next answer is to make up for it.
    fn room(&self, now: Instant) -> Result<usize, Instant>;
    /// So many have passed.
    fn moved(&self, now: Instant, to_peer: usize, to_client: usize);
}

/// What the next message of a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A message of `length` bytes; the stream goes on behind `total`, all of which have come.
    Whole {
        /// What the machine gets.
        length: usize,
        /// With padding.
        total: usize,
    },
    /// Not all of it has come.
    NeedMore,
    /// No message of this protocol: the connection is to be closed.
    Lost,
}

/// A protocol that relays packets, without I/O. The loop calls it for each packet; it allocates nothing there.
///
/// After a verdict of [`Verdict::Nothing`], and after every other call, the loop drains [`Self::poll_action`].
pub trait PacketMachine: 'static {
    /// A packet from a client has come.
    fn handle_client(&mut self, now: Instant, client: Flow, packet: Packet<'_>) -> Verdict;
    /// A packet from a peer has come to a relay socket.
    fn handle_peer(&mut self, now: Instant, relay: RelayId, peer: SocketAddr, packet: Packet<'_>) -> Verdict;
    /// A packet from a relayed address of another shard has come for one of this shard.
    fn handle_relayed(&mut self, now: Instant, to: SocketAddr, from: SocketAddr, packet: Packet<'_>) -> Verdict;
    /// Something sent to `peer` out of a relay socket came back undeliverable. The numbers are those of ICMP, or of
    /// ICMPv6 if the peer's address is IPv6; `data` is the next-hop MTU where there is one, else 0.
    fn handle_icmp(&mut self, now: Instant, relay: RelayId, peer: SocketAddr, icmp_type: u8, icmp_code: u8, data: u32);
    /// How [`Action::Open`] or [`Action::Listen`] went.
    fn relay_opened(&mut self, now: Instant, relay: RelayId, result: Result<(), io::ErrorKind>);
    /// A peer has connected to a relay socket: the machine's number for it, or `None` to close it at once. Nothing is read
    /// from it before [`Action::Splice`].
    fn accepted(&mut self, _now: Instant, _relay: RelayId, _peer: SocketAddr) -> Option<u32> {
        None
    }
    /// How [`Action::Connect`] went. There is no time-out but the kernel's: the machine has its own.
    fn connected(&mut self, _now: Instant, _connection: u32, _result: Result<(), io::ErrorKind>) {}
    /// A connection to or from a peer has ended, and not by [`Action::CloseConnection`].
    fn connection_closed(&mut self, _now: Instant, _connection: u32) {}
    /// Whether a client has anything here. Who connects and has nothing makes room when connections get scarce. Default: all
    /// have.
    fn serves(&self, _client: &Flow) -> bool {
        true
    }
    /// A client's connection is gone.
    fn handle_client_gone(&mut self, now: Instant, client: Flow);
    /// The deadline of [`Self::poll_timeout`] has come.
    fn handle_timeout(&mut self, now: Instant);
    /// When to call [`Self::handle_timeout`], if ever.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next thing to do, if any.
    fn poll_action(&mut self) -> Option<Action>;
    /// The loop is about to end: what is to be said to clients is to be said now.
    fn close(&mut self, now: Instant);
    /// Measures the message at the beginning of what a stream has brought.
    fn measure(bytes: &[u8]) -> Frame;
    /// The longest message that [`Self::measure`] lets come together, padding included. Default 65,552: what
    /// ChannelData can say.
    const LONGEST_MESSAGE: usize = 65_552;
}
