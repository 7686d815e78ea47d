//! TCP connections to and from peers, RFC 6062 §4: asked for and offered over the allocation's stream, each carried by a
//! stream of its own.
//!
//! ```text
//!   connect(peer) ── Connect ──> server ──> peer         Offered { peer, connection }
//!   (permitted peer) ──> server ── ConnectionAttempt ──> Offered { peer, connection }
//!   accept(connection, stream) ── ConnectionBind, over `stream` ──> Joined { peer, stream }: from now on, `stream` is the peer's
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant};
use farspeak_stun::{Attribute, AttributeType, Message, Method};

use super::{Asked, Client, Event, Failure, Outcome, canonical, is_same};

/// Connections that are not joined so far.
#[derive(Default, Debug)]
pub(super) struct Connections(Vec<Connection>);

#[derive(Debug)]
struct Connection {
    peer: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The server connects.
    Connecting,
    /// The server waits for us to bind it, until then.
    Offered(u32, Instant),
    /// We have asked, over this stream.
    Binding(Flow),
}

/// Most connections that are asked for, offered or being bound at one time. What comes on top is refused, and the server
/// gives it up after a while.
const MOST: usize = 16;
/// How long the server waits (RFC 6062 §5.2, §5.3).
const PATIENCE: Duration = Duration::from_secs(30);

impl Connections {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The streams over which a connection is being bound.
    pub(super) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.0.iter().filter_map(|connection| match &connection.state {
            State::Binding(flow) => Some(flow),
            State::Connecting | State::Offered(..) => None,
        })
    }

    fn offer(&mut self, now: Instant, peer: SocketAddr, id: u32) {
        self.expire(now);
        self.0.push(Connection { peer, state: State::Offered(id, now + PATIENCE) });
    }

    fn expire(&mut self, now: Instant) {
        self.0.retain(|connection| !matches!(connection.state, State::Offered(_, until) if until <= now));
    }

    fn take(&mut self, wanted: impl Fn(&Connection) -> bool) -> Option<Connection> {
        let at = self.0.iter().position(wanted)?;
        Some(self.0.swap_remove(at))
    }
}

impl Client {
    /// Has the relay connect to this peer. [`Event::Offered`] or [`Event::NotConnected`] follows, after half a minute at
    /// most. For allocations with [`Config::streams`](super::Config::streams).
    pub fn connect(&mut self, now: Instant, peer: SocketAddr) {
        let peer = canonical(peer);
        self.connections.expire(now);
        // "Connect requests with the same XOR-PEER-ADDRESS parameter MUST NOT be sent simultaneously", RFC 6062 §4.3.
        let is_under_way = |one: &Connection| one.peer == peer && matches!(one.state, State::Connecting);
        if self.connections.0.iter().any(is_under_way) {
            return;
        }
        if !self.is_allocated() || self.connections.0.len() >= MOST || !self.has_room() {
            return self.events.push_back(Event::NotConnected { peer, failure: Failure::Full });
        }
        self.connections.0.push(Connection { peer, state: State::Connecting });
        let asked = self.ask(now, Method::CONNECT, Asked::Connect(peer), move |writer| {
            writer.push(Attribute::XorPeerAddress(peer));
        });
        if let Err(failure) = asked {
            self.connect_ended(now, peer, Err(failure));
        }
    }

    pub(super) fn connect_ended(&mut self, now: Instant, peer: SocketAddr, outcome: Outcome<'_>) {
        self.connections.take(|one| one.peer == peer && matches!(one.state, State::Connecting));
        let failure = match outcome.map(|message| message.connection_id()) {
            Ok(Ok(Some(connection))) => {
                self.connections.offer(now, peer, connection);
                return self.events.push_back(Event::Offered { peer, connection });
            }
            Ok(_) => Failure::Unusable,
            Err(failure) if failure.code() == Some(437) => return self.mismatched(now, failure),
            Err(failure) => failure,
        };
        self.events.push_back(Event::NotConnected { peer, failure });
    }

    /// A peer has connected to the relayed address.
    pub(super) fn attempted(&mut self, now: Instant, message: &Message<'_>) {
        let (Ok(Some(peer)), Ok(Some(connection))) = (message.xor_peer_address(), message.connection_id()) else {
            return;
        };
        let peer = canonical(peer);
        let understood = message.not_understood(AttributeType::is_known).next().is_none();
        self.connections.expire(now);
        let known = |one: &Connection| matches!(one.state, State::Offered(id, _) if id == connection);
        let full = self.connections.0.len() >= MOST || self.connections.0.iter().any(known);
        if understood && !full && self.config.streams && self.lets_in(now, peer) {
            self.connections.offer(now, peer, connection);
            self.events.push_back(Event::Offered { peer, connection });
        }
    }

    /// Takes an offered connection, over a new stream to the same server: unbound, with another local address than the
    /// allocation's. [`Event::Joined`] or [`Event::NotConnected`] follows; then the stream is the owner's, and what it
    /// carries the peer's, from the first byte behind the answer.
    ///
    /// Nothing happens if there is no such offer any more; it lasts 30 s.
    pub fn accept(&mut self, now: Instant, connection: u32, stream: Flow) {
        self.connections.expire(now);
        let is_it = |one: &Connection| matches!(one.state, State::Offered(id, _) if id == connection);
        let Some(one) = self.connections.take(is_it) else { return };
        if !self.has_room() {
            return self.events.push_back(Event::NotConnected { peer: one.peer, failure: Failure::Full });
        }
        self.connections.0.push(Connection { peer: one.peer, state: State::Binding(stream) });
        let asked = self.ask_over(now, stream, Method::CONNECTION_BIND, Asked::Accept(stream), move |writer| {
            writer.push(Attribute::ConnectionId(connection));
        });
        if let Err(failure) = asked {
            self.accept_ended(None, stream, Err(failure));
        }
    }

    pub(super) fn accept_ended(&mut self, heard: Option<Flow>, stream: Flow, outcome: Outcome<'_>) {
        let is_it = |one: &Connection| matches!(&one.state, State::Binding(flow) if is_same(flow, &stream));
        let Some(Connection { peer, .. }) = self.connections.take(is_it) else { return };
        match outcome {
            Ok(_) => self.events.push_back(Event::Joined { peer, stream: heard.unwrap_or(stream) }),
            Err(failure) => self.events.push_back(Event::NotConnected { peer, failure }),
        }
    }
}
