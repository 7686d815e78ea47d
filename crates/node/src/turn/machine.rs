//! The TURN server as the packet loop wants it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_net::relay::{Action, Frame, Meter, PacketMachine};
use farspeak_sansio::{Flow, Instant, Packet, RelayId, Verdict};
use farspeak_stun::channel_data::RFC5766_CHANNELS;
use farspeak_stun::framing;
use farspeak_turn::{self as turn, ConnectionId, RefusedByPeer, RelayRefused, Server};

/// One shard of the TURN server.
#[derive(Debug)]
pub struct TurnMachine {
    /// The server.
    pub server: Server,
}

/// What an allocation's connections carry.
#[derive(Debug)]
struct Metered(Arc<turn::Meter>);

impl Meter for Metered {
    fn room(&self, now: Instant) -> Result<usize, Instant> {
        self.0.room(now)
    }

    fn moved(&self, now: Instant, to_peer: usize, to_client: usize) {
        self.0.moved(now, to_peer, to_client);
    }
}

impl PacketMachine for TurnMachine {
    fn handle_client(&mut self, now: Instant, client: Flow, packet: Packet<'_>) -> Verdict {
        self.server.handle_client(now, client, packet)
    }

    fn handle_peer(&mut self, now: Instant, relay: RelayId, peer: SocketAddr, packet: Packet<'_>) -> Verdict {
        self.server.handle_peer(now, relay, peer, packet)
    }

    fn handle_relayed(&mut self, now: Instant, to: SocketAddr, from: SocketAddr, packet: Packet<'_>) -> Verdict {
        self.server.handle_relayed(now, to, from, packet)
    }

    fn handle_icmp(&mut self, now: Instant, relay: RelayId, peer: SocketAddr, icmp_type: u8, icmp_code: u8, data: u32) {
        self.server.handle_icmp(now, relay, peer, icmp_type, icmp_code, data);
    }

    fn relay_opened(&mut self, now: Instant, relay: RelayId, result: Result<(), io::ErrorKind>) {
        let result = result.map_err(|kind| match kind {
            io::ErrorKind::AddrInUse => RelayRefused::InUse,
            _ => RelayRefused::Unavailable,
        });
        self.server.relay_opened(now, relay, result);
    }

    fn accepted(&mut self, now: Instant, relay: RelayId, peer: SocketAddr) -> Option<u32> {
        self.server.accepted(now, relay, peer).map(ConnectionId::number)
    }

    fn connected(&mut self, now: Instant, connection: u32, result: Result<(), io::ErrorKind>) {
        self.server.connected(now, ConnectionId::new(connection), result.map_err(|_| RefusedByPeer));
    }

    fn connection_closed(&mut self, now: Instant, connection: u32) {
        self.server.connection_closed(now, ConnectionId::new(connection));
    }

    fn serves(&self, client: &Flow) -> bool {
        self.server.serves(client)
    }

    fn handle_client_gone(&mut self, now: Instant, client: Flow) {
        self.server.handle_client_gone(now, client);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout()
    }

    fn poll_action(&mut self) -> Option<Action> {
        Some(match self.server.poll_action()? {
            turn::Action::Transmit(transmit) => Action::Transmit(transmit),
            turn::Action::Open { relay, address, .. } => Action::Open { relay, address },
            turn::Action::Close { relay } => Action::Close { relay },
            turn::Action::CloseClient(client) => Action::CloseClient(client),
            turn::Action::Listen { relay, address } => Action::Listen { relay, address },
            turn::Action::Connect { connection, address, peer, .. } => {
                Action::Connect { connection: connection.number(), address, peer }
            }
            turn::Action::Splice { connection, client, meter } => {
                Action::Splice { connection: connection.number(), client, meter: Arc::new(Metered(meter)) }
            }
            turn::Action::CloseConnection(connection) => Action::CloseConnection { connection: connection.number() },
        })
    }

    fn close(&mut self, now: Instant) {
        self.server.close(now);
    }

    fn measure(bytes: &[u8]) -> Frame {
        // Wider than most servers bind: the server drops what is bound to nobody, and the stream stays in step.
        match framing::measure_among(bytes, LONGEST, &RFC5766_CHANNELS) {
            framing::Frame::Stun(length) => Frame::Whole { length, total: length },
            framing::Frame::ChannelData { length, total } => Frame::Whole { length, total },
            framing::Frame::NeedMore(_) => Frame::NeedMore,
            framing::Frame::Lost => Frame::Lost,
        }
    }
}

/// What ChannelData can say.
const LONGEST: usize = 4 + 65_535;
