//! Streams: connect, deliver in order, stall, reset, and ends that do not know that the other has gone.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Rng, Transport};

use crate::ladder::Fate;
use crate::nat::Protocol;
use crate::network::Happening;
use crate::{HostId, Network};

/// What a framer found in a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Framed {
    /// A whole message, for the machine.
    Message(Vec<u8>),
    /// Something that is answered below the machine, such as a keep-alive.
    Reply(Vec<u8>),
    /// Something that ends the stream, after these last bytes.
    Broken(Option<Vec<u8>>),
}

/// Finds messages in the bytes of one stream.
pub trait Framer {
    /// Takes what has arrived and returns what is complete.
    fn push(&mut self, bytes: &[u8]) -> Vec<Framed>;
}

pub(crate) struct Connection {
    /// The one that connected, and the one that accepted (once the request has arrived).
    ends: [Option<End>; 2],
    open: bool,
    /// What was sent before the connection was open.
    waiting: Vec<Arc<[u8]>>,
    /// When the last bytes from each end arrive.
    last: [Instant; 2],
    /// How often each end's direction has been stalled; whether it is now; what has arrived meanwhile.
    stalls: [u32; 2],
    stalled: [bool; 2],
    held: [VecDeque<(Instant, Arc<[u8]>)>; 2],
    /// The translators between the ends, seen from the end that connected.
    crossed: Vec<(usize, SocketAddr, SocketAddr)>,
}

struct End {
    host: HostId,
    flow: Flow,
    /// The flow without a handle under which the machine asked for this connection first, if it did.
    asked_as: Option<Flow>,
    /// Whether this end believes that the connection lives.
    alive: bool,
    framer: Option<Box<dyn Framer>>,
}

impl Connection {
    fn is_over(&self) -> bool {
        !self.ends.iter().flatten().any(|end| end.alive)
    }

    fn end_of(&self, host: HostId, id: FlowId) -> Option<usize> {
        let is_it =
            |end: &Option<End>| end.as_ref().is_some_and(|end| end.host == host && end.flow.id == id && end.alive);
        self.ends.iter().position(is_it)
    }

    fn is_between(&self, one: HostId, other: HostId) -> Option<usize> {
        match &self.ends {
            [Some(a), Some(b)] if (a.host, b.host) == (one, other) => Some(0),
            [Some(a), Some(b)] if (a.host, b.host) == (other, one) => Some(1),
            _ => None,
        }
    }
}

/// What a test does to streams.
impl Network {
    /// Lets nothing through on the streams from one host to another for this long, then everything.
    pub fn stall(&mut self, from: impl Into<HostId>, to: impl Into<HostId>, duration: Duration) {
        let (from, to) = (from.into(), to.into());
        for (key, end) in self.streams_between(from, to) {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            connection.stalled[end] = true;
            connection.stalls[end] += 1;
            self.schedule(self.now + duration, Happening::Released { connection: key, from: end });
        }
    }

    /// Resets all streams between two hosts. What is under way is gone; both are told at once.
    pub fn reset(&mut self, one: impl Into<HostId>, other: impl Into<HostId>) {
        for (key, _) in self.streams_between(one.into(), other.into()) {
            self.end_fails(key, 0);
            self.end_fails(key, 1);
        }
    }

    /// Makes one host forget its streams to the other, which learns of it only when it sends.
    pub fn half_open(&mut self, forgetful: impl Into<HostId>, unaware: impl Into<HostId>) {
        for (key, end) in self.streams_between(forgetful.into(), unaware.into()) {
            self.end_fails(key, end);
        }
    }

    /// The flows of all streams that the host believes to be alive, oldest first.
    pub fn streams_of(&self, host: impl Into<HostId>) -> Vec<Flow> {
        let host = host.into();
        let ends = self.connections.values().flat_map(|connection| connection.ends.iter().flatten());
        ends.filter(|end| end.host == host && end.alive).map(|end| end.flow).collect()
    }

    /// Ends a stream once everything under way on it has arrived, and tells both ends that the flow failed.
    pub fn close(&mut self, host: impl Into<HostId>, flow: Flow) {
        let Some((key, end)) = self.connection_of(host.into(), flow) else { return };
        let Some(connection) = self.connections.get(&key) else { return };
        let after = connection.last[end].max(self.now + self.delay(key, end));
        self.end_fails(key, end);
        self.schedule(after, Happening::Ended { connection: key, end: 1 - end });
    }
}

/// What the network does with them.
impl Network {
    pub(crate) fn send_on_stream(&mut self, host: HostId, flow: Flow, bytes: Arc<[u8]>) {
        let known = self.connection_of(host, flow);
        let (key, end) = match known {
            Some(known) => known,
            None if flow.id == FlowId::UNBOUND => match self.connect(host, flow) {
                Some(key) => (key, 0),
                None => return self.schedule(self.now, Happening::FlowFailed { host, flow }),
            },
            None => return self.schedule(self.now, Happening::FlowFailed { host, flow }),
        };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if let (FlowId::UNBOUND, Some(end)) = (flow.id, connection.ends[end].as_mut()) {
            end.asked_as.get_or_insert(flow);
        }
        if connection.open {
            self.write(key, end, bytes);
        } else {
            connection.waiting.push(bytes);
        }
    }

    pub(crate) fn syn_arrives(&mut self, key: u64, realm: usize, from: SocketAddr, to: SocketAddr) {
        let found = self.enter(realm, Protocol::Tcp, from, to);
        let Some(connection) = self.connections.get(&key) else { return };
        let Some(client) = &connection.ends[0] else { return };
        let (client_host, transport) = (client.host, client.flow.transport);
        let Ok((host, local)) = found else {
            // Nobody answers: the attempt runs into its timeout.
            return self.schedule(self.now + self.stream_timeout, Happening::Ended { connection: key, end: 0 });
        };
        if !self.hosts[host.0].powered {
            return self.schedule(self.now + self.stream_timeout, Happening::Ended { connection: key, end: 0 });
        }
        let back = self.link_between(host, Some(client_host)).segment(&mut self.rng);
        if self.hosts[host.0].socket_at(transport, local).is_none() {
            return self.schedule(self.now + back, Happening::Ended { connection: key, end: 0 });
        }
        let state = &mut self.hosts[host.0];
        let flow = Flow { id: state.take_id(), transport, local, remote: from };
        let framer = state.framer.as_mut().map(|framer| framer());
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.ends[1] = Some(End { host, flow, asked_as: None, alive: true, framer });
        }
        // TLS 1.3 takes one round trip more, the WebSocket handshake another.
        let round_trips = match transport {
            Transport::Udp | Transport::Tcp => 0,
            Transport::Tls | Transport::Ws => 1,
            Transport::Wss => 2,
        };
        self.schedule(self.now + back + back * 2 * round_trips, Happening::Established { connection: key });
    }

    pub(crate) fn established(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.open = true;
        for bytes in std::mem::take(&mut connection.waiting) {
            self.write(key, 0, bytes);
        }
    }

    pub(crate) fn segment_arrives(&mut self, key: u64, from: usize, sent: Instant, bytes: Arc<[u8]>) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.stalled[from] {
            connection.held[from].push_back((sent, bytes));
            let stalls = connection.stalls[from];
            return self.schedule(self.now + self.stream_timeout, Happening::GivenUp { connection: key, from, stalls });
        }
        let Some((sender, receiver)) = self.hosts_of(key, from) else { return };
        let Some(end) = self.connections.get_mut(&key).and_then(|connection| connection.ends[1 - from].as_mut()) else {
            return;
        };
        let flow = end.flow;
        if !end.alive {
            self.saw(sender, Some(receiver), flow, sent, &bytes, Fate::Unreachable);
            if self.hosts[receiver.0].powered {
                let back = self.delay(key, 1 - from);
                return self.schedule(self.now + back, Happening::Ended { connection: key, end: from });
            }
            let stalls = self.connections.get(&key).map_or(0, |connection| connection.stalls[from]);
            return self.schedule(self.now + self.stream_timeout, Happening::GivenUp { connection: key, from, stalls });
        }
        let Some(mut framer) = end.framer.take() else {
            self.saw(sender, Some(receiver), flow, sent, &bytes, Fate::Delivered);
            self.receive(receiver, flow, &bytes);
            return self.count_towards_reset(sender, receiver);
        };
        let mut together = bytes.to_vec();
        while let Some(more) = self.take_segment_now(key, from) {
            together.extend_from_slice(&more);
        }
        let found = framer.push(&together);
        if let Some(end) = self.connections.get_mut(&key).and_then(|connection| connection.ends[1 - from].as_mut()) {
            end.framer = Some(framer);
        }
        for framed in found {
            match framed {
                Framed::Message(message) => {
                    self.saw(sender, Some(receiver), flow, sent, &message, Fate::Delivered);
                    self.receive(receiver, flow, &message);
                }
                Framed::Reply(reply) => self.write(key, 1 - from, reply.into()),
                Framed::Broken(reply) => {
                    if let Some(reply) = reply {
                        self.write(key, 1 - from, reply.into());
                    }
                    return self.close(receiver, flow);
                }
            }
        }
    }

    pub(crate) fn release(&mut self, key: u64, from: usize) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.stalled[from] = false;
        connection.stalls[from] += 1;
        for (sent, bytes) in std::mem::take(&mut connection.held[from]) {
            self.segment_arrives(key, from, sent, bytes);
        }
    }

    /// The sending end has waited too long for what it sent during that stall.
    pub(crate) fn give_up(&mut self, key: u64, from: usize, stalls: u32) {
        let Some(connection) = self.connections.get(&key) else { return };
        let deaf = connection.ends[1 - from].as_ref().is_some_and(|end| !end.alive);
        if deaf || connection.stalls[from] == stalls {
            self.end_fails(key, from);
        }
    }

    /// One end learns that the connection is over; the other does not.
    pub(crate) fn end_fails(&mut self, key: u64, end: usize) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(side) = connection.ends[end].as_mut().filter(|side| side.alive) else { return };
        side.alive = false;
        let (host, flow, asked_as) = (side.host, side.flow, side.asked_as);
        if connection.is_over() || connection.ends[1].is_none() {
            self.connections.remove(&key);
        }
        self.hosts[host.0].free_id(flow.id);
        // Who sent without a handle may know the connection only by the flow that it named.
        for flow in [Some(flow), asked_as].into_iter().flatten() {
            self.schedule(self.now, Happening::FlowFailed { host, flow });
        }
    }

    /// All streams of a host end without its knowing; the others are told, or not.
    pub(crate) fn drop_streams_of(&mut self, host: HostId, tell: bool) {
        let is_it = |end: &Option<End>| end.as_ref().is_some_and(|end| end.host == host && end.alive);
        let mine: Vec<(u64, usize)> = self
            .connections
            .iter()
            .flat_map(|(key, connection)| {
                [(*key, 0), (*key, 1)].map(|(key, end)| (key, end, is_it(&connection.ends[end])))
            })
            .filter_map(|(key, end, mine)| mine.then_some((key, end)))
            .collect();
        for (key, end) in mine {
            let delay = self.delay(key, end);
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            connection.waiting.clear();
            if let Some(side) = &mut connection.ends[end] {
                side.alive = false;
                let id = side.flow.id;
                self.hosts[host.0].free_id(id);
            }
            if self.connections.get(&key).is_some_and(|c| c.is_over() || c.ends[1].is_none()) {
                self.connections.remove(&key);
            } else if tell {
                self.schedule(self.now + delay, Happening::Ended { connection: key, end: 1 - end });
            }
        }
    }

    fn connect(&mut self, host: HostId, flow: Flow) -> Option<u64> {
        let state = &mut self.hosts[host.0];
        let address = state.address_towards(flow.remote, flow.local.ip())?;
        let local = SocketAddr::new(address, state.take_port());
        let framer = state.framer.as_mut().map(|framer| framer());
        let own = Flow { id: state.take_id(), transport: flow.transport, local, remote: flow.remote };
        let departed = self.depart(host, Protocol::Tcp, local, flow.remote);
        let key = self.next_connection;
        self.next_connection += 1;
        let crossed = departed.as_ref().map(|departed| departed.crossed.clone()).unwrap_or_default();
        let connection = Connection {
            ends: [Some(End { host, flow: own, asked_as: None, alive: true, framer }), None],
            open: false,
            waiting: Vec::new(),
            last: [Instant::ZERO; 2],
            stalls: [0; 2],
            stalled: [false; 2],
            held: [VecDeque::new(), VecDeque::new()],
            crossed,
        };
        self.connections.insert(key, connection);
        match departed {
            Err(_) => self.schedule(self.now + self.stream_timeout, Happening::Ended { connection: key, end: 0 }),
            Ok(departed) => {
                let receiver = self.who_owns(departed.realm, Protocol::Tcp, flow.remote);
                let delay = self.link_between(host, receiver).segment(&mut self.rng);
                let (realm, from, to) = (departed.realm, departed.from, flow.remote);
                self.schedule(self.now + delay, Happening::Syn { connection: key, realm, from, to });
            }
        }
        Some(key)
    }

    fn write(&mut self, key: u64, from: usize, bytes: Arc<[u8]>) {
        let Some((sender, receiver)) = self.hosts_of(key, from) else { return };
        let Some(connection) = self.connections.get(&key) else { return };
        let Some(flow) = connection.ends[from].as_ref().map(|end| end.flow) else { return };
        // A translator that has forgotten the connection resets who is inside and swallows what comes from outside.
        for (nat, inside, remote) in connection.crossed.clone() {
            if self.nats[nat].table.touch_connection(self.now, inside, remote) {
                continue;
            }
            self.saw(sender, Some(receiver), flow, self.now, &bytes, Fate::Filtered(self.nats[nat].name.clone()));
            if from == 0 {
                return self.end_fails(key, 0);
            }
            let stalls = self.connections.get(&key).map_or(0, |connection| connection.stalls[from]);
            return self.schedule(self.now + self.stream_timeout, Happening::GivenUp { connection: key, from, stalls });
        }
        let delay = self.delay(key, from);
        let chunks = self.chunks_for(key, 1 - from, bytes);
        let Some(connection) = self.connections.get(&key) else { return };
        let (sent, mut at) = (self.now, connection.last[from].max(self.now + delay));
        for bytes in chunks {
            self.schedule(at, Happening::Segment { connection: key, from, sent, bytes });
            // Half of the chunks arrive together with what follows them.
            at += Duration::from_micros(self.rng.below(2));
        }
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.last[from] = at;
        }
    }

    /// What the receiving end gets in one piece: the whole, unless it has a framer to put pieces together.
    fn chunks_for(&mut self, key: u64, to: usize, bytes: Arc<[u8]>) -> Vec<Arc<[u8]>> {
        let framed =
            self.connections.get(&key).and_then(|c| c.ends[to].as_ref()).is_some_and(|end| end.framer.is_some());
        if !framed || bytes.len() < 2 {
            return vec![bytes];
        }
        let mut chunks = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(1 + self.rng.below(rest.len() as u64) as usize);
            chunks.push(chunk.into());
            rest = later;
        }
        chunks
    }

    /// How long a segment from this end takes now.
    fn delay(&mut self, key: u64, from: usize) -> Duration {
        let Some((sender, receiver)) = self.hosts_of(key, from) else { return self.link.delay };
        self.link_between(sender, Some(receiver)).segment(&mut self.rng)
    }

    fn hosts_of(&self, key: u64, from: usize) -> Option<(HostId, HostId)> {
        let connection = self.connections.get(&key)?;
        let (from, to) = (connection.ends[from].as_ref()?, connection.ends[1 - from].as_ref()?);
        Some((from.host, to.host))
    }

    fn connection_of(&self, host: HostId, flow: Flow) -> Option<(u64, usize)> {
        let mut all = self.connections.iter();
        if flow.id != FlowId::UNBOUND {
            return all.find_map(|(key, connection)| connection.end_of(host, flow.id).map(|end| (*key, end)));
        }
        let fits = |end: &Option<End>| {
            let fits = |end: &End| end.host == host && end.alive && end.flow.transport == flow.transport;
            // As with the real driver, flows whose local ports differ are two connections to one server.
            let port = |asked: Flow| asked.local.port();
            let other = |end: &End| {
                end.asked_as.is_some_and(|asked| port(asked) != port(flow) && port(asked) != 0 && port(flow) != 0)
            };
            end.as_ref().is_some_and(|end| fits(end) && end.flow.remote == flow.remote && !other(end))
        };
        // The youngest, if there are several.
        all.rev().find_map(|(key, connection)| connection.ends.iter().position(fits).map(|end| (*key, end)))
    }

    fn streams_between(&self, one: HostId, other: HostId) -> Vec<(u64, usize)> {
        let between = self.connections.iter().map(|(key, connection)| (*key, connection.is_between(one, other)));
        between.filter_map(|(key, end)| end.map(|end| (key, end))).collect()
    }
}
