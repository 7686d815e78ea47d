//! The table of a loop's TCP connections with peers, and of its listeners on relayed addresses.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, RelayId, TimerTable};
use mio::net::TcpListener;
use mio::{Interest, Registry};

use super::machine::Meter;
use super::splice::Splice;
use super::token;
use crate::admission::Seat;

/// The listeners on relayed addresses, and the connections to peers.
pub(super) struct TcpPeers {
    pub listeners: HashMap<u32, Listener>,
    slots: Vec<Option<Box<Peer>>>,
    free: Vec<u32>,
    /// By the shard that made it, and its number there.
    pub names: HashMap<(u8, u32), u32>,
    pub clients: HashMap<FlowId, u32>,
    /// Our machine's, joined on that other shard.
    pub away: HashMap<u32, u8>,
    /// When those may go on that have moved as much as they may.
    pub pauses: TimerTable<u32>,
    most: usize,
}

pub(super) struct Listener {
    pub socket: TcpListener,
    pub generation: u32,
    /// The system refused a connection, for want of descriptors or memory: the next sweep tries again.
    pub failing: bool,
    pub postponed: bool,
}

pub(super) struct Peer {
    pub name: (u8, u32),
    pub stage: Stage,
    pub splice: Splice,
    pub seat: Seat,
    pub postponed: bool,
    /// It has moved as much as it may for now.
    pub paused: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Stage {
    Connecting,
    /// Nothing is read before it is joined.
    Waiting,
    Joined(FlowId, Arc<dyn Meter>),
}

/// A peer's connection on its way to the shard of the client that it is to be joined with.
pub(super) struct Join {
    /// Whose machine made it.
    pub home: u8,
    pub connection: u32,
    pub socket: std::net::TcpStream,
    pub remote: SocketAddr,
    pub client: Flow,
    pub meter: Arc<dyn Meter>,
    /// What the client is told first.
    pub answer: Option<Arc<[u8]>>,
}

impl TcpPeers {
    pub(super) fn new(most: usize) -> Self {
        Self {
            listeners: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            clients: HashMap::new(),
            away: HashMap::new(),
            pauses: TimerTable::new(&[]),
            most,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.names.len() + self.away.len() >= self.most
    }

    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Peer> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Whether what is left of the last turn is to be done in the next.
    pub(super) fn postponed_peer(&mut self, slot: u32) -> Option<&mut bool> {
        self.get(slot).map(|peer| &mut peer.postponed)
    }

    pub(super) fn postponed_listener(&mut self, slot: u32) -> Option<&mut bool> {
        self.listeners.get_mut(&slot).map(|listener| &mut listener.postponed)
    }

    pub(super) fn insert(&mut self, registry: &Registry, mut peer: Box<Peer>) -> io::Result<u32> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut peer.splice.socket, token::new(token::PEER, slot), interest) {
            self.free.push(slot);
            return Err(error);
        }
        self.names.insert(peer.name, slot);
        self.slots[slot as usize] = Some(peer);
        Ok(slot)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Peer>> {
        let peer = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.names.remove(&peer.name);
        if let Stage::Joined(client, _) = peer.stage {
            self.clients.remove(&client);
        }
        Some(peer) // dropping the socket takes it out of the loop's interest
    }

    /// Stops listening.
    pub(super) fn close(&mut self, relay: RelayId) {
        if self.listeners.get(&relay.slot()).is_some_and(|listener| listener.generation == relay.generation()) {
            self.listeners.remove(&relay.slot());
        }
    }

    /// Gives memory back that idle connections do not need.
    pub(super) fn shrink(&mut self) {
        self.slots.iter_mut().flatten().for_each(|peer| peer.splice.shrink());
    }

    /// Half-closed for too long.
    pub(super) fn overdue(&self, now: Instant) -> Vec<u32> {
        let silent = |peer: &Peer| !peer.paused && now - peer.splice.moved >= HALF_CLOSED;
        let overdue = |peer: &Peer| peer.splice.is_half_closed() && silent(peer);
        let each = self.slots.iter().zip(0..);
        each.filter(|(peer, _)| peer.as_deref().is_some_and(overdue)).map(|(_, slot)| slot).collect()
    }
}

/// How long one end may be silent after the other has said its last.
const HALF_CLOSED: Duration = Duration::from_secs(30);
