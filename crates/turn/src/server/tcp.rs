//! TCP connections to peers, RFC 6062. Off by default. Their bytes never pass through here: the driver splices.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, RelayId, Transmit};
use farspeak_stun::attribute::{Attribute, ErrorCode};
use farspeak_stun::{Class, Message, Method, TransactionId, Writer};

use super::Server;
use super::action::Action;
use super::allocate::NOT_FOR_TCP;
use super::bandwidth::Rate;
use super::lifetime::Timer;
use super::meter::Meter;
use super::relay::{Holder, Place};
use super::request::{Asker, Fault, Request};

/// A connection between a relayed address and a peer: the value of CONNECTION-ID (RFC 6062 §6.2.1). Its first byte is the
/// shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(u32);

impl ConnectionId {
    /// The name that a driver has kept as a number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number in messages.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The shard that made it.
    pub const fn shard(self) -> u8 {
        Self::shard_of(self.0)
    }

    pub(super) const fn shard_of(number: u32) -> u8 {
        (number >> 24) as u8
    }
}

/// How long a peer may take to answer, and then a client to bind the connection (RFC 6062 §5.2, §5.3).
const PATIENCE: Duration = Duration::from_secs(30);

/// The connections of one allocation.
#[derive(Debug)]
pub(super) struct Connections {
    ids: Vec<ConnectionId>,
    /// Of all that there are and were.
    pub(super) meter: Arc<Meter>,
}

impl Connections {
    pub(super) fn new(rate: Rate) -> Self {
        Self { ids: Vec::new(), meter: Arc::new(Meter::new(rate)) }
    }
}

/// All connections of this shard.
#[derive(Default)]
pub(super) struct TcpRelays {
    connections: HashMap<ConnectionId, Connection>,
    /// Client data connections by the driver's handle.
    data: HashMap<FlowId, ConnectionId>,
    next: u32,
}

struct Connection {
    /// The allocation.
    slot: u32,
    peer: SocketAddr,
    state: State,
}

/// RFC 6062 §5.2–5.4.
enum State {
    /// The driver connects; until then.
    Connecting(Box<Asker>, Instant),
    /// The client has been told and has to bind it; until then.
    Pending(Instant),
    /// Bytes flow between it and this client data connection.
    Bound(Flow),
}

impl TcpRelays {
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether a timer still concerns it.
    pub(super) fn waits(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| !matches!(connection.state, State::Bound(_)))
    }

    /// The allocation of a connection.
    pub(super) fn slot(&self, number: u32) -> Option<u32> {
        self.connections.get(&ConnectionId(number)).map(|connection| connection.slot)
    }

    fn insert(&mut self, shard: u8, connection: Connection) -> ConnectionId {
        loop {
            self.next = self.next.wrapping_add(1) & 0xff_ffff;
            let id = ConnectionId(u32::from(shard) << 24 | self.next);
            if let Entry::Vacant(place) = self.connections.entry(id) {
                place.insert(connection);
                return id;
            }
        }
    }
}

/// Whether an Allocate for TCP came over UDP, or with what only UDP has (RFC 6062 §5.1).
pub(super) fn is_malformed(message: &Message<'_>, flow: &Flow) -> bool {
    !flow.transport.is_reliable() || NOT_FOR_TCP.iter().any(|kind| message.has(*kind))
}

impl Server {
    /// Connect, RFC 6062 §5.2.
    pub(super) fn connect(&mut self, now: Instant, request: &Request<'_>) -> Result<(), Fault> {
        let slot = self.allocation_of(request)?;
        let peer = request.message.xor_peer_address()?.ok_or(ErrorCode::BAD_REQUEST)?;
        let allocation = self.allocations.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let connections = allocation.tcp.as_ref().ok_or(ErrorCode::BAD_REQUEST)?;
        let count = connections.ids.len();
        let to_same = |id: &ConnectionId| self.tcp.connections.get(id).is_some_and(|one| one.peer == peer);
        if connections.ids.iter().any(to_same) {
            return Err(ErrorCode::CONNECTION_ALREADY_EXISTS.into());
        }
        let peer = self.reachable(now, slot, peer)?;
        // Streams are not joined inside, and nothing of ours is reached through a socket.
        if self.place(peer) != Place::Outside {
            return Err(ErrorCode::FORBIDDEN.into());
        }
        if count >= self.config.quotas.connections {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        let relay = self.allocations.get(slot).and_then(|one| one.relay(now, peer.is_ipv6()));
        let relay = relay.ok_or(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH)?;
        let (Some(id), Some(address)) = (self.relay_id(relay), self.bound_address(relay)) else {
            return Err(ErrorCode::SERVER_ERROR.into());
        };
        let state = State::Connecting(Box::new(request.asker.clone()), now + PATIENCE);
        let connection = self.begin(now, Connection { slot, peer, state });
        self.actions.push_back(Action::Connect { connection, relay: id, address, peer });
        Ok(())
    }

    fn begin(&mut self, now: Instant, connection: Connection) -> ConnectionId {
        let slot = connection.slot;
        let id = self.tcp.insert(self.config.shard, connection);
        if let Some(connections) = self.allocations.get_mut(slot).and_then(|one| one.tcp.as_mut()) {
            connections.ids.push(id);
        }
        self.arm(now, now + PATIENCE, Timer::Connection(id));
        id
    }

    /// The driver's answer to [`Action::Connect`]; `Err` if the peer did not accept.
    pub fn connected(&mut self, now: Instant, connection: ConnectionId, result: Result<(), RefusedByPeer>) {
        let Some(known) = self.tcp.connections.get_mut(&connection) else { return };
        let State::Connecting(asker, _) = &known.state else { return };
        let asker = asker.clone();
        if result.is_err() {
            self.forget_connection(connection);
            return self.fail_with(&asker, ErrorCode::CONNECTION_TIMEOUT);
        }
        known.state = State::Pending(now + PATIENCE);
        self.arm(now, now + PATIENCE, Timer::Connection(connection));
        self.succeed(&asker, |writer| {
            writer.push(Attribute::ConnectionId(connection.0));
        });
    }

    /// A peer has connected to a relayed address (RFC 6062 §5.3). `None`: close it.
    ///
    /// Nothing is read from it before [`Action::Splice`].
    pub fn accepted(&mut self, now: Instant, relay: RelayId, peer: SocketAddr) -> Option<ConnectionId> {
        let Holder::Allocation(slot) = self.relay_of(relay)?.holder else { return None };
        let peer = SocketAddr::new(peer.ip(), peer.port());
        let allocation = self.allocations.get(slot)?;
        let full = allocation.tcp.as_ref()?.ids.len() >= self.config.quotas.connections;
        allocation.relay(now, peer.is_ipv6())?;
        if full || !allocation.peers.permits(now, peer.ip()) {
            self.counters.unpermitted += 1;
            return None;
        }
        let flow = allocation.client;
        let id = self.begin(now, Connection { slot, peer, state: State::Pending(now + PATIENCE) });
        let mut buffer = [0; 64];
        let transaction = TransactionId::random(&mut self.ids);
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::CONNECTION_ATTEMPT, transaction);
        writer.push(Attribute::ConnectionId(id.0)).push(Attribute::XorPeerAddress(peer));
        let bytes = writer.finish().ok()?.into();
        self.actions.push_back(Action::Transmit(Transmit { flow, bytes }));
        Some(id)
    }

    /// ConnectionBind, RFC 6062 §5.4: this stream carries that connection's data from now on.
    pub(super) fn connection_bind(&mut self, now: Instant, request: &Request<'_>) -> Result<(), Fault> {
        let flow = request.asker.flow;
        let id = request.message.connection_id()?.map(ConnectionId).ok_or(ErrorCode::BAD_REQUEST)?;
        let connection = self.tcp.connections.get(&id).ok_or(ErrorCode::BAD_REQUEST)?;
        let State::Pending(until) = connection.state else { return Err(ErrorCode::BAD_REQUEST.into()) };
        let taken = request.slot.is_some() || self.tcp.data.contains_key(&flow.id);
        if !flow.transport.is_reliable() || taken || until <= now {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let allocation = self.allocations.get(connection.slot).ok_or(ErrorCode::BAD_REQUEST)?;
        if !allocation.is_owned_by(&request.owner) {
            return Err(ErrorCode::WRONG_CREDENTIALS.into());
        }
        let meter = Arc::clone(&allocation.tcp.as_ref().ok_or(ErrorCode::BAD_REQUEST)?.meter);
        if let Some(connection) = self.tcp.connections.get_mut(&id) {
            connection.state = State::Bound(flow);
        }
        self.tcp.data.insert(flow.id, id);
        self.succeed(&request.asker, |_| ());
        self.actions.push_back(Action::Splice { connection: id, client: flow, meter });
        Ok(())
    }

    /// A connection to a peer has ended, and the client's stream that was spliced to it (RFC 6062 §5.5).
    pub fn connection_closed(&mut self, now: Instant, connection: ConnectionId) {
        match self.tcp.connections.get(&connection).map(|known| &known.state) {
            Some(State::Connecting(..)) => self.connected(now, connection, Err(RefusedByPeer)),
            _ => self.forget_connection(connection),
        }
    }

    /// A client's stream has ended: if it carried data, so does its connection.
    pub(super) fn data_connection_gone(&mut self, client: &Flow) {
        if let Some(id) = self.tcp.data.get(&client.id).copied() {
            self.close_connection(id);
        }
    }

    pub(super) fn connection_timed_out(&mut self, now: Instant, id: ConnectionId) {
        match self.tcp.connections.get(&id).map(|connection| &connection.state) {
            Some(State::Connecting(asker, until)) if *until <= now => {
                let asker = asker.clone();
                self.close_connection(id);
                self.fail_with(&asker, ErrorCode::CONNECTION_TIMEOUT);
            }
            Some(State::Pending(until)) if *until <= now => self.close_connection(id),
            _ => {}
        }
    }

    /// Ends an allocation's connections to peers of one family.
    pub(super) fn end_connections_of(&mut self, slot: u32, v6: bool) {
        let Some(connections) = self.allocations.get(slot).and_then(|one| one.tcp.as_ref()) else { return };
        let concerned = |id: &&ConnectionId| self.tcp.connections.get(id).is_some_and(|one| one.peer.is_ipv6() == v6);
        let gone: Vec<ConnectionId> = connections.ids.iter().filter(concerned).copied().collect();
        gone.into_iter().for_each(|id| self.close_connection(id));
    }

    /// Ends all connections of an allocation (RFC 6062 §5.5).
    pub(super) fn end_connections(&mut self, slot: u32) {
        let connections = self.allocations.get_mut(slot).and_then(|one| one.tcp.as_mut());
        let all = connections.map(|connections| std::mem::take(&mut connections.ids)).unwrap_or_default();
        all.into_iter().for_each(|id| self.close_connection(id));
    }

    /// Ends allocations for TCP, since that has been switched off.
    pub(super) fn end_tcp(&mut self) {
        let all = self.allocations.iter().filter(|(_, one)| one.tcp.is_some());
        let all: Vec<u32> = all.map(|(slot, _)| slot).collect();
        all.into_iter().for_each(|slot| self.dismiss(slot));
    }

    /// Ends connections to peers that may no longer be reached.
    pub(super) fn judge_connections(&mut self) {
        let refused = |(_, one): &(&ConnectionId, &Connection)| self.judge(one.peer).is_err();
        let gone: Vec<ConnectionId> = self.tcp.connections.iter().filter(refused).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.close_connection(id));
    }

    fn close_connection(&mut self, id: ConnectionId) {
        self.forget_connection(id);
        self.actions.push_back(Action::CloseConnection(id));
    }

    fn forget_connection(&mut self, id: ConnectionId) {
        let Some(connection) = self.tcp.connections.remove(&id) else { return };
        if let State::Bound(flow) = connection.state {
            self.tcp.data.remove(&flow.id);
        }
        if let Some(connections) = self.allocations.get_mut(connection.slot).and_then(|one| one.tcp.as_mut()) {
            connections.ids.retain(|other| *other != id);
        }
    }
}

/// A peer did not accept a connection: refused, unreachable, or no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusedByPeer;
