//! The network: one clock, one queue of what is under way, and the hosts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, SplitMix64, Transmit, Transport};

use crate::disorder::{Reset, Swap};
use crate::host::{App, Context, Host, HostId, HostState, Hosted, Socket};
use crate::ladder::{Log, first_word};
use crate::link::Link;
use crate::nat::{Nat, NatTable};
use crate::stream::{Connection, Framer};

/// A translator in the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatId(pub(crate) usize);

/// Hosts, the links between them, and virtual time.
///
/// ```
/// use farspeak_sim::{Link, Network, Probe};
/// use farspeak_sansio::{Flow, Transport};
///
/// let mut net = Network::new(7);
/// let alice = net.host("alice", ["192.0.2.1"], Probe::new());
/// let bob = net.host("bob", ["192.0.2.2"], Probe::echo());
/// let from = net.bind(alice, Transport::Udp, 5060);
/// let to = net.bind(bob, Transport::Udp, 5060);
/// net.at(alice, |probe, _now| probe.send(Flow::unbound(Transport::Udp, from, to), *b"hello"));
/// net.expect("alice -> bob    hello");
/// net.expect("bob   -> alice  hello");
/// ```
pub struct Network {
    pub(crate) now: Instant,
    pub(crate) seed: u64,
    pub(crate) rng: SplitMix64,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) nats: Vec<Translator>,
    pub(crate) links: BTreeMap<(HostId, HostId), Link>,
    pub(crate) link: Link,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) next_connection: u64,
    pub(crate) stream_timeout: Duration,
    pub(crate) icmp: bool,
    pub(crate) log: Log,
    pub(crate) patience: Duration,
    pub(crate) swap: Option<Swap>,
    pub(crate) reset: Option<Reset>,
    queue: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
    steps_at_now: u32,
}

pub(crate) struct Translator {
    pub(crate) name: String,
    /// The realm that its outside addresses belong to.
    pub(crate) outer: usize,
    pub(crate) table: NatTable,
}

/// Something that will happen.
pub(crate) enum Happening {
    /// A datagram reaches the realm of its destination.
    Datagram {
        sent: Instant,
        sender: HostId,
        flow: Flow,
        realm: usize,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Arc<[u8]>,
    },
    /// A datagram that was to change places has waited in vain.
    HeldTooLong,
    /// A machine is told that a flow failed.
    FlowFailed { host: HostId, flow: Flow },
    /// A connection request arrives.
    Syn { connection: u64, realm: usize, from: SocketAddr, to: SocketAddr },
    /// The connecting end learns that it may send.
    Established { connection: u64 },
    /// An end learns that the connection is over.
    Ended { connection: u64, end: usize },
    /// Bytes arrive at the other end.
    Segment { connection: u64, from: usize, sent: Instant, bytes: Arc<[u8]> },
    /// A stall ends.
    Released { connection: u64, from: usize },
    /// Bytes that could not be delivered make the sending end give up, unless the stall has ended since.
    GivenUp { connection: u64, from: usize, stalls: u32 },
}

struct Queued {
    at: Instant,
    sequence: u64,
    happening: Happening,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// How often something may happen at one moment before the network says that machines chase each other.
const MOST_STEPS_AT_ONCE: u32 = 200_000;

/// Building the world.
impl Network {
    /// An empty network. All chance in it comes from `seed`, which every failure prints.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            seed,
            rng: SplitMix64::new(seed),
            hosts: Vec::new(),
            nats: Vec::new(),
            links: BTreeMap::new(),
            link: Link::default(),
            connections: BTreeMap::new(),
            next_connection: 1,
            stream_timeout: Duration::from_secs(60),
            icmp: false,
            log: Log::new(Box::new(first_word)),
            patience: Duration::from_secs(64),
            swap: None,
            reset: None,
            queue: BinaryHeap::new(),
            sequence: 0,
            steps_at_now: 0,
        }
    }

    /// How a message is called in the ladder. Default: its first word.
    pub fn label(mut self, label: impl Fn(&[u8]) -> String + 'static) -> Self {
        self.log.label = Box::new(label);
        self
    }

    /// How long [`expect`](Self::expect) waits. Default 64 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a stream tries to deliver before it fails, and how long a connection attempt waits. Default 60 s.
    pub fn stream_timeout(mut self, timeout: Duration) -> Self {
        self.stream_timeout = timeout;
        self
    }

    /// Whether a datagram to a closed port or an absent host is reported to its sender (ICMP). Default false.
    pub fn icmp(mut self, icmp: bool) -> Self {
        self.icmp = icmp;
        self
    }

    /// Adds a host. Its first address of each family is the one that it sends from by default.
    ///
    /// # Panics
    ///
    /// If an address cannot be read, or the name is taken or contains a space.
    pub fn host<'a, M: Machine + 'static>(
        &mut self,
        name: &str,
        addresses: impl IntoIterator<Item = &'a str>,
        machine: M,
    ) -> Host<M> {
        assert!(!name.contains(' ') && self.host_named(name).is_none(), "the name {name:?} is taken or has a space");
        let addresses = addresses.into_iter().map(read_address).collect();
        let app = Box::new(Hosted { machine, handler: None, residue: None });
        self.hosts.push(HostState::new(name.to_owned(), addresses, app));
        self.log.names.push(name.to_owned());
        let host = Host::new(HostId(self.hosts.len() - 1));
        self.settle(host.id);
        host
    }

    /// Binds a UDP socket, or a listener, on all addresses of the host. Returns the first of these.
    ///
    /// # Panics
    ///
    /// If the host has no address.
    pub fn bind(&mut self, host: impl Into<HostId>, transport: Transport, port: u16) -> SocketAddr {
        let host = &mut self.hosts[host.into().0];
        let locals: Vec<SocketAddr> = host.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        for local in &locals {
            let id = host.take_id();
            host.sockets.push(Socket { transport, local: *local, id });
        }
        *locals.first().expect("a host that binds has an address")
    }

    /// The flow of a bound UDP socket towards `remote`, as the host's machine would see it.
    ///
    /// # Panics
    ///
    /// If the host has no such socket.
    pub fn datagram_flow(&self, host: impl Into<HostId>, local: SocketAddr, remote: SocketAddr) -> Flow {
        let socket = self.hosts[host.into().0].socket_at(Transport::Udp, local).expect("the socket is bound");
        Flow { id: socket.id, transport: Transport::Udp, local, remote }
    }

    /// What to do with the machine's events. Without this they are dropped.
    pub fn on_event<M: Machine + 'static>(
        &mut self,
        host: Host<M>,
        handler: impl FnMut(&mut M, &mut Context, M::Event) + 'static,
    ) {
        self.hosted_mut(host).handler = Some(Box::new(handler));
    }

    /// How to tell what the machine has not finished, for [`settled_within`](Self::settled_within): `None` if nothing.
    pub fn residue_of<M: Machine + 'static>(
        &mut self,
        host: Host<M>,
        residue: impl Fn(&M) -> Option<String> + 'static,
    ) {
        self.hosted_mut(host).residue = Some(Box::new(residue));
    }

    /// Makes streams to this host deliver bytes in random chunks, several messages or half of one, to a framer each.
    /// Without this, a stream delivers what was sent, message by message.
    pub fn set_framer(&mut self, host: impl Into<HostId>, framer: impl FnMut() -> Box<dyn Framer> + 'static) {
        self.hosts[host.into().0].framer = Some(Box::new(framer));
    }

    /// The shard that the handles of this host's flows name. Default 0.
    pub fn set_shard(&mut self, host: impl Into<HostId>, shard: u8) {
        self.hosts[host.into().0].shard = shard;
    }

    /// Adds a translator with these outside addresses on the public network.
    pub fn nat<'a>(&mut self, name: &str, behaviour: Nat, outside: impl IntoIterator<Item = &'a str>) -> NatId {
        let seed = self.rng.next_u64();
        let table = NatTable::new(behaviour, outside.into_iter().map(read_address), seed);
        self.nats.push(Translator { name: name.to_owned(), outer: 0, table });
        NatId(self.nats.len() - 1)
    }

    /// Moves the outside of a translator behind another one (a carrier's translator before a home router).
    pub fn put_nat_behind(&mut self, nat: NatId, outer: NatId) {
        self.nats[nat.0].outer = outer.0 + 1;
    }

    /// Moves a host behind a translator. Hosts behind one translator reach each other directly.
    pub fn put_behind(&mut self, host: impl Into<HostId>, nat: NatId) {
        self.hosts[host.into().0].realm = nat.0 + 1;
    }

    /// The translator's table, to look at it or to reboot it.
    pub fn nat_table(&mut self, nat: NatId) -> &mut NatTable {
        &mut self.nats[nat.0].table
    }

    /// Sets all links that have not been set one by one.
    pub fn set_links(&mut self, link: Link) {
        self.link = link;
    }

    /// Sets the link between two hosts, in both directions.
    pub fn set_link(&mut self, one: impl Into<HostId>, other: impl Into<HostId>, link: Link) {
        let (one, other) = (one.into(), other.into());
        self.links.insert((one, other), link);
        self.links.insert((other, one), link);
    }

    /// Sets the link from one host to another, in this direction alone.
    pub fn set_link_from(&mut self, from: impl Into<HostId>, to: impl Into<HostId>, link: Link) {
        self.links.insert((from.into(), to.into()), link);
    }
}

/// Living in it.
impl Network {
    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Calls methods of a host's machine, then sends what it wants to send.
    pub fn at<M: Machine + 'static, R>(&mut self, host: Host<M>, act: impl FnOnce(&mut M, Instant) -> R) -> R {
        let now = self.now;
        let result = act(&mut self.hosted_mut(host).machine, now);
        self.settle(host.id);
        result
    }

    /// The machine of a host.
    pub fn machine<M: Machine + 'static>(&self, host: Host<M>) -> &M {
        let app = self.hosts[host.id.0].app.as_any().downcast_ref::<Hosted<M>>();
        &app.expect("a handle names the type that its host runs").machine
    }

    /// Sends bytes from a host past its machine.
    pub fn send_from(&mut self, host: impl Into<HostId>, flow: Flow, bytes: impl Into<Arc<[u8]>>) {
        self.dispatch(host.into(), Transmit { flow, bytes: bytes.into() });
    }

    /// Shows every message for the host to `take` first. If it returns something, that is sent and the machine sees
    /// nothing of the message.
    pub fn intercept(&mut self, host: impl Into<HostId>, take: impl FnMut(&[u8]) -> Option<(Flow, Vec<u8>)> + 'static) {
        self.hosts[host.into().0].interceptor = Some(Box::new(take));
    }

    /// Puts another machine on a host: the process died and was started again. Its streams are reset, its sockets bound
    /// again, its event handler kept. Returns the old machine.
    pub fn restart<M: Machine + 'static>(&mut self, host: Host<M>, machine: M) -> M {
        self.drop_streams_of(host.id, true);
        self.queue.retain(|Reverse(q)| !matches!(q.happening, Happening::FlowFailed { host: h, .. } if h == host.id));
        let state = &mut self.hosts[host.id.0];
        for at in 0..state.sockets.len() {
            state.sockets[at].id = state.take_id();
        }
        let old = std::mem::replace(&mut self.hosted_mut(host).machine, machine);
        self.settle(host.id);
        old
    }

    /// Switches a host off without a word to anybody, or on again. While it is off, its machine stands still.
    pub fn power(&mut self, host: impl Into<HostId>, on: bool) {
        let host = host.into();
        if !on {
            self.drop_streams_of(host, false);
        }
        self.hosts[host.0].powered = on;
        self.settle(host);
    }

    /// Runs everything that happens within the duration.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Runs everything that happens until the moment, inclusive.
    pub fn run_until(&mut self, until: Instant) {
        while self.step(until) {}
        self.advance(until);
    }

    /// Runs until nothing is under way any more, though timers may still run; at most for the duration.
    pub fn run_until_quiet(&mut self, at_most: Duration) {
        let until = self.now + at_most;
        while !self.queue.is_empty() && self.step(until) {}
    }

    /// Does the next thing that happens, if it happens until the moment.
    ///
    /// # Panics
    ///
    /// If machines keep each other busy without time passing.
    pub fn step(&mut self, until: Instant) -> bool {
        let queued = self.queue.peek().map(|Reverse(queued)| queued.at);
        let timer = self.next_deadline();
        let next = match (queued, timer) {
            (Some(queued), Some((timer, _))) => queued.min(timer),
            (Some(queued), None) => queued,
            (None, Some((timer, _))) => timer,
            (None, None) => return false,
        };
        if next > until {
            return false;
        }
        self.advance(next);
        self.steps_at_now += 1;
        if self.steps_at_now > MOST_STEPS_AT_ONCE {
            panic!(
                "time stands still at {}: machines chase each other, or a timer stays due\n{}",
                self.now,
                self.ladder()
            );
        }
        match (queued, timer) {
            (Some(at), _) if at <= self.now => self.happen(),
            (_, Some((_, host))) => {
                self.hosts[host.0].app.timeout(self.now);
                self.settle(host);
            }
            (_, None) => {}
        }
        true
    }

    /// Whether any message is under way.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many streams are open or being opened.
    pub fn streams(&self) -> usize {
        self.connections.len()
    }

    /// The host of this name.
    pub fn host_named(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().position(|host| host.name == name).map(HostId)
    }

    /// Writes a line into the ladder.
    pub fn note(&mut self, text: impl Into<String>) {
        self.log.note(self.now, text.into());
    }
}

/// The machinery.
impl Network {
    pub(crate) fn schedule(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), sequence: self.sequence, happening }));
    }

    /// Takes out further bytes of the same stream that arrive at this very moment.
    pub(crate) fn take_segment_now(&mut self, of: u64, by: usize) -> Option<Arc<[u8]>> {
        let next = self.queue.peek().filter(|Reverse(queued)| queued.at <= self.now)?;
        let Happening::Segment { connection, from, .. } = next.0.happening else { return None };
        if (connection, from) != (of, by) {
            return None;
        }
        match self.queue.pop() {
            Some(Reverse(Queued { happening: Happening::Segment { bytes, .. }, .. })) => Some(bytes),
            _ => None,
        }
    }

    /// Sends what the machine of the host wants to send and lets its user react, until it has nothing more to say.
    pub(crate) fn settle(&mut self, host: HostId) {
        if !self.hosts[host.0].powered {
            return;
        }
        let mut context = Context::at(self.now);
        self.hosts[host.0].app.pump(&mut context);
        for note in context.notes {
            let name = &self.hosts[host.0].name;
            self.log.note(self.now, format!("{name}: {note}"));
        }
        for transmit in context.sends {
            self.dispatch(host, transmit);
        }
        for flow in context.closes {
            self.close(host, flow);
        }
    }

    pub(crate) fn receive(&mut self, host: HostId, flow: Flow, bytes: &[u8]) {
        let taken = self.hosts[host.0].interceptor.as_mut().and_then(|interceptor| interceptor(bytes));
        if let Some((flow, bytes)) = taken {
            return self.dispatch(host, Transmit { flow, bytes: bytes.into() });
        }
        self.hosts[host.0].app.receive(self.now, Receive { flow, bytes });
        self.settle(host);
    }

    pub(crate) fn link_between(&self, from: HostId, to: Option<HostId>) -> Link {
        to.and_then(|to| self.links.get(&(from, to))).copied().unwrap_or(self.link)
    }

    fn dispatch(&mut self, host: HostId, transmit: Transmit) {
        if transmit.flow.transport.is_reliable() {
            self.send_on_stream(host, transmit.flow, transmit.bytes);
        } else {
            self.send_datagram(host, transmit.flow, transmit.bytes);
        }
    }

    fn happen(&mut self) {
        let Some(Reverse(queued)) = self.queue.pop() else { return };
        match queued.happening {
            Happening::Datagram { sent, sender, flow, realm, from, to, bytes } => {
                self.datagram_arrives(sent, sender, flow, realm, from, to, bytes);
            }
            Happening::HeldTooLong => self.release_held(),
            Happening::FlowFailed { host, flow } => {
                if self.hosts[host.0].powered {
                    self.hosts[host.0].app.flow_failed(self.now, flow);
                    self.settle(host);
                }
            }
            Happening::Syn { connection, realm, from, to } => self.syn_arrives(connection, realm, from, to),
            Happening::Established { connection } => self.established(connection),
            Happening::Ended { connection, end } => self.end_fails(connection, end),
            Happening::Segment { connection, from, sent, bytes } => self.segment_arrives(connection, from, sent, bytes),
            Happening::Released { connection, from } => self.release(connection, from),
            Happening::GivenUp { connection, from, stalls } => self.give_up(connection, from, stalls),
        }
    }

    fn advance(&mut self, to: Instant) {
        if to > self.now {
            self.now = to;
            self.steps_at_now = 0;
        }
    }

    fn next_deadline(&self) -> Option<(Instant, HostId)> {
        let powered = self.hosts.iter().enumerate().filter(|(_, host)| host.powered);
        powered.filter_map(|(at, host)| host.app.deadline().map(|deadline| (deadline, HostId(at)))).min()
    }

    fn hosted_mut<M: Machine + 'static>(&mut self, host: Host<M>) -> &mut Hosted<M> {
        let app: &mut dyn App = &mut *self.hosts[host.id.0].app;
        app.as_any_mut().downcast_mut().expect("a handle names the type that its host runs")
    }
}

fn read_address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no address"))
}
