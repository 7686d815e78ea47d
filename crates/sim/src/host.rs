//! A host: a machine of any type, its addresses and sockets, and what its user does with its events.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Transmit, Transport};

use crate::Framer;

/// A host, whatever runs on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(crate) usize);

/// A host that runs an `M`.
pub struct Host<M> {
    pub(crate) id: HostId,
    machine: PhantomData<fn() -> M>,
}

impl<M> Host<M> {
    pub(crate) const fn new(id: HostId) -> Self {
        Self { id, machine: PhantomData }
    }

    /// The host, whatever runs on it.
    pub const fn id(self) -> HostId {
        self.id
    }
}

impl<M> Clone for Host<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Host<M> {}

impl<M> fmt::Debug for Host<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.id.0)
    }
}

impl<M> From<Host<M>> for HostId {
    fn from(host: Host<M>) -> Self {
        host.id
    }
}

/// What an event handler may do besides calling its machine.
#[derive(Default)]
pub struct Context {
    now: Instant,
    pub(crate) sends: Vec<Transmit>,
    pub(crate) closes: Vec<Flow>,
    pub(crate) notes: Vec<String>,
}

impl Context {
    pub(crate) fn at(now: Instant) -> Self {
        Self { now, ..Self::default() }
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Sends bytes past the machine.
    pub fn send(&mut self, flow: Flow, bytes: impl Into<Arc<[u8]>>) {
        self.sends.push(Transmit { flow, bytes: bytes.into() });
    }

    /// Ends a stream once everything under way on it has arrived. Both ends are told that the flow failed.
    pub fn close(&mut self, flow: Flow) {
        self.closes.push(flow);
    }

    /// Writes a line into the ladder.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// A machine whose type has been forgotten.
pub(crate) trait App {
    fn receive(&mut self, now: Instant, received: Receive<'_>);
    fn timeout(&mut self, now: Instant);
    fn flow_failed(&mut self, now: Instant, flow: Flow);
    /// Drains transmits and events until there are neither.
    fn pump(&mut self, context: &mut Context);
    fn deadline(&self) -> Option<Instant>;
    /// What is left, in words; `None` if nothing is, or if nobody said how to tell.
    fn residue(&self) -> Option<String>;
    /// Whether somebody said how to tell what is left.
    fn tells_residue(&self) -> bool;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

pub(crate) type Handler<M> = Box<dyn FnMut(&mut M, &mut Context, <M as Machine>::Event)>;
pub(crate) type Residue<M> = Box<dyn Fn(&M) -> Option<String>>;

pub(crate) struct Hosted<M: Machine> {
    pub(crate) machine: M,
    pub(crate) handler: Option<Handler<M>>,
    pub(crate) residue: Option<Residue<M>>,
}

impl<M: Machine + 'static> App for Hosted<M> {
    fn receive(&mut self, now: Instant, received: Receive<'_>) {
        self.machine.handle_receive(now, received);
    }

    fn timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    fn flow_failed(&mut self, now: Instant, flow: Flow) {
        self.machine.handle_flow_failed(now, flow);
    }

    fn pump(&mut self, context: &mut Context) {
        loop {
            while let Some(transmit) = self.machine.poll_transmit() {
                context.sends.push(transmit);
            }
            let Some(event) = self.machine.poll_event() else { return };
            if let Some(handler) = &mut self.handler {
                handler(&mut self.machine, context, event);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn residue(&self) -> Option<String> {
        self.residue.as_ref().and_then(|residue| residue(&self.machine))
    }

    fn tells_residue(&self) -> bool {
        self.residue.is_some()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Takes messages before the machine sees them, and may send something instead.
pub(crate) type Interceptor = Box<dyn FnMut(&[u8]) -> Option<(Flow, Vec<u8>)>>;

/// A bound UDP socket, or a listener.
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
    pub(crate) id: FlowId,
}

/// Everything the network knows of a host.
pub(crate) struct HostState {
    pub(crate) name: String,
    /// 0 is the public network, n + 1 the inside of NAT n.
    pub(crate) realm: usize,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) app: Box<dyn App>,
    pub(crate) powered: bool,
    pub(crate) framer: Option<Box<dyn FnMut() -> Box<dyn Framer>>>,
    pub(crate) shard: u8,
    pub(crate) interceptor: Option<Interceptor>,
    slots: u32,
    free: Vec<FlowId>,
    next_port: u16,
}

impl HostState {
    pub(crate) fn new(name: String, addresses: Vec<IpAddr>, app: Box<dyn App>) -> Self {
        Self {
            name,
            realm: 0,
            addresses,
            sockets: Vec::new(),
            app,
            powered: true,
            framer: None,
            shard: 0,
            interceptor: None,
            slots: 0,
            free: Vec::new(),
            next_port: 40_000,
        }
    }

    /// A handle that no flow of this host has had: a free slot with its next generation, else a new slot.
    pub(crate) fn take_id(&mut self) -> FlowId {
        if let Some(old) = self.free.pop() {
            return FlowId::new(self.shard, old.slot(), old.generation() + 1);
        }
        self.slots += 1;
        FlowId::new(self.shard, self.slots - 1, 1)
    }

    pub(crate) fn free_id(&mut self, id: FlowId) {
        self.free.push(id);
    }

    pub(crate) fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == u16::MAX { 40_000 } else { port + 1 };
        port
    }

    /// An address of the host of the remote's family: the preferred one if it is the host's own.
    pub(crate) fn address_towards(&self, remote: SocketAddr, preferred: IpAddr) -> Option<IpAddr> {
        let fits = |address: &&IpAddr| address.is_ipv4() == remote.is_ipv4();
        let mut own = self.addresses.iter().filter(fits);
        own.clone().find(|address| **address == preferred).or_else(|| own.next()).copied()
    }

    pub(crate) fn socket_at(&self, transport: Transport, local: SocketAddr) -> Option<&Socket> {
        self.sockets.iter().find(|socket| socket.transport == transport && socket.local == local)
    }
}
