//! The table of a shard's connections: what waits for each peer, who waits for the task to do something, and when the
//! task wants to look at its timeouts.
//!
//! The shard ([`crate::shard`]) puts messages in; the connection's task ([`crate::stream`], [`crate::websocket`]) takes
//! them out.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use farspeak_sansio::{Flow, FlowId, Instant, Transport};

use crate::{Counters, StreamConfig};

pub(crate) type SharedFlows = Rc<RefCell<Flows>>;

pub(crate) struct Flows {
    shard: u8,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The youngest connection to each remote address.
    by_remote: HashMap<(Transport, SocketAddr), FlowId>,
    first_generation: u32,
    write_queue: usize,
    write_queues: usize,
    /// Bytes in all queues.
    queued: usize,
    counters: Arc<Counters>,
}

struct Slot {
    generation: u32,
    /// When the task wants to look at its timeouts. Here, so that a sweep reads one array.
    deadline: Instant,
    connection: Option<Box<Connection>>,
}

/// What the rest of the shard knows of a connection. Boxed: the table grows by doubling.
struct Connection {
    flow: Flow,
    queue: VecDeque<Arc<[u8]>>,
    queued: usize,
    waker: Option<Waker>,
    ending: Ending,
    /// Which shards have sent on it, as bits: they hear when it is gone.
    users: u64,
    /// The flow without a handle under which a machine asked for this connection, if one did.
    asked_as: Option<Box<Flow>>,
}

/// Whether and how the task is to end the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Not at all.
    No,
    /// After what waits is written.
    Flush,
    /// At once: the peer does not read.
    Cut,
}

/// A connection that is gone.
pub(crate) struct Gone {
    pub flow: Flow,
    pub asked_as: Option<Box<Flow>>,
    pub users: u64,
}

impl Flows {
    /// `first_generation` differs from process to process: a handle kept in a journal is then dead, not another's.
    pub(crate) fn new(shard: u8, first_generation: u32, config: &StreamConfig, counters: Arc<Counters>) -> Self {
        Self {
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            by_remote: HashMap::new(),
            first_generation,
            write_queue: config.write_queue,
            write_queues: config.write_queues,
            queued: 0,
            counters,
        }
    }

    pub(crate) fn insert(&mut self, transport: Transport, local: SocketAddr, remote: SocketAddr) -> Flow {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: self.first_generation,
                deadline: Instant::FAR_FUTURE,
                connection: None,
            });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        let id = FlowId::new(self.shard, slot, entry.generation);
        entry.generation = id.generation(); // never 0
        entry.deadline = Instant::FAR_FUTURE;
        let flow = Flow { id, transport, local, remote };
        entry.connection = Some(Box::new(Connection {
            flow,
            queue: VecDeque::new(),
            queued: 0,
            waker: None,
            ending: Ending::No,
            users: 1 << self.shard,
            asked_as: None,
        }));
        self.by_remote.insert((transport, remote), id);
        flow
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Gone> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        let connection = slot.connection.take_if(|connection| connection.flow.id == id)?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot());
        let key = (connection.flow.transport, connection.flow.remote);
        if self.by_remote.get(&key) == Some(&id) {
            self.by_remote.remove(&key);
        }
        self.queued -= connection.queued;
        self.counters.queued_bytes.add(-(connection.queued as i64));
        Some(Gone { flow: connection.flow, asked_as: connection.asked_as, users: connection.users })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(crate) fn find(&self, transport: Transport, remote: SocketAddr) -> Option<FlowId> {
        self.by_remote.get(&(transport, remote)).copied()
    }

    /// Queues a message from the machine of shard `from`; false if the flow is dead. A message too many for the peer's
    /// queue cuts the connection, whose end is then reported like any other.
    pub(crate) fn send(&mut self, flow: &Flow, from: u8, bytes: Arc<[u8]>) -> bool {
        let cost = cost(&bytes);
        let (limit, all_full) = (self.write_queue, self.queued + cost > self.write_queues);
        let Some(connection) = self.get(flow.id) else { return false };
        if connection.flow.transport != flow.transport || connection.flow.remote != flow.remote {
            return false;
        }
        connection.users |= 1 << from;
        if connection.ending == Ending::Cut {
            return true;
        }
        connection.wake();
        // When all queues together are full, those pay who have let much pile up.
        if connection.queued + cost > limit || all_full && connection.queued > SMALL_QUEUE {
            connection.ending = Ending::Cut;
            return true;
        }
        connection.queued += cost;
        connection.queue.push_back(bytes);
        self.queued += cost;
        self.counters.queued_bytes.add(cost as i64);
        true
    }

    /// Remembers under which flow without handle the machine knows this connection.
    pub(crate) fn ask_as(&mut self, id: FlowId, flow: Flow) {
        if let Some(connection) = self.get(id)
            && connection.asked_as.is_none()
        {
            connection.asked_as = Some(Box::new(flow));
        }
    }

    pub(crate) fn set_local(&mut self, id: FlowId, local: SocketAddr) -> Option<Flow> {
        let connection = self.get(id)?;
        connection.flow.local = local;
        Some(connection.flow)
    }

    /// Takes messages out for one write: all that wait, but not many more than `limit` bytes.
    pub(crate) fn take_bytes(&mut self, id: FlowId, limit: usize, out: &mut Vec<u8>) -> u64 {
        let mut messages = 0;
        while out.len() < limit
            && let Some(bytes) = self.take_message(id)
        {
            out.extend_from_slice(&bytes);
            messages += 1;
        }
        messages
    }

    pub(crate) fn take_message(&mut self, id: FlowId) -> Option<Arc<[u8]>> {
        let connection = self.get(id)?;
        let bytes = connection.queue.pop_front()?;
        let cost = cost(&bytes);
        connection.queued -= cost;
        if connection.queue.is_empty() {
            connection.queue = VecDeque::new(); // thousands of idle connections: no spare room
        }
        self.queued -= cost;
        self.counters.queued_bytes.add(-(cost as i64));
        Some(bytes)
    }

    /// From the task, when it starts to look: what it is to do. Until [`Self::rest`] nobody wakes it.
    pub(crate) fn look(&mut self, id: FlowId) -> Ending {
        self.get(id).map_or(Ending::Cut, |connection| {
            connection.waker = None;
            connection.ending
        })
    }

    /// From the task, before it rests: how to wake it, and when at the latest.
    pub(crate) fn rest(&mut self, id: FlowId, waker: &Waker, deadline: Instant) {
        if let Some(connection) = self.get(id) {
            connection.waker = Some(waker.clone());
            self.slots[id.slot() as usize].deadline = deadline;
        }
    }

    pub(crate) fn close(&mut self, id: FlowId) {
        if let Some(connection) = self.get(id)
            && connection.ending == Ending::No
        {
            connection.ending = Ending::Flush;
            connection.wake();
        }
    }

    pub(crate) fn close_all(&mut self) {
        let ids: Vec<_> = self.live().map(|connection| connection.flow.id).collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Wakes every task whose deadline has come.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for slot in self.slots.iter_mut().filter(|slot| slot.deadline <= now) {
            slot.deadline = Instant::FAR_FUTURE;
            if let Some(connection) = &mut slot.connection {
                connection.wake();
            }
        }
    }

    fn live(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().filter_map(|slot| slot.connection.as_deref_mut())
    }

    fn get(&mut self, id: FlowId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.slot() as usize)?.connection.as_deref_mut()?;
        (connection.flow.id == id).then_some(connection)
    }
}

impl Connection {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What a waiting message counts: its bytes, and the memory around them, lest a million line ends count as nothing.
fn cost(bytes: &[u8]) -> usize {
    bytes.len() + 64
}

/// What may wait for a peer even while all queues together are full.
const SMALL_QUEUE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn flows() -> (Flows, Flow) {
        let config = StreamConfig { write_queue: 164, ..StreamConfig::default() };
        let mut flows = Flows::new(3, 0xff_ffff, &config, Arc::default());
        let local = "127.0.0.1:5061".parse().unwrap();
        let flow = flows.insert(Transport::Tls, local, "127.0.0.1:40000".parse().unwrap());
        (flows, flow)
    }

    #[test]
    fn the_next_tenant_of_a_slot_is_another_flow() {
        let (mut flows, first) = flows();
        flows.remove(first.id).unwrap();
        assert!(flows.is_empty());
        let second = flows.insert(first.transport, first.local, first.remote);
        assert_eq!(second.id.slot(), first.id.slot());
        assert!(!flows.send(&first, 3, Arc::from(*b"late")));
        assert!(flows.send(&second, 3, Arc::from(*b"in time")));
    }

    #[test]
    fn a_handle_with_another_remote_address_is_dead() {
        let (mut flows, mut flow) = flows();
        flow.remote = "127.0.0.2:40000".parse().unwrap();
        assert!(!flows.send(&flow, 3, Arc::from(*b"to a stranger")));
    }

    #[test]
    fn a_message_too_many_cuts_the_flow() {
        let (mut flows, flow) = flows();
        assert!(flows.send(&flow, 3, Arc::from([0; 100])));
        assert_eq!(flows.look(flow.id), Ending::No);
        assert!(flows.send(&flow, 3, Arc::from([0; 1])));
        assert_eq!(flows.look(flow.id), Ending::Cut);
    }

    #[test]
    fn when_all_queues_are_full_the_longest_pay() {
        let config = StreamConfig { write_queues: 41_000, ..StreamConfig::default() };
        let mut flows = Flows::new(0, 1, &config, Arc::default());
        let remote = |port| ([127, 0, 0, 1], port).into();
        let [hoarder, modest] = [1, 2].map(|port| flows.insert(Transport::Tcp, remote(9), remote(port)));
        for _ in 0..4 {
            assert!(flows.send(&hoarder, 0, Arc::from([0; 10_000])));
        }
        flows.send(&modest, 0, Arc::from([0; 10_000]));
        assert_eq!(flows.look(modest.id), Ending::No);
        flows.send(&hoarder, 0, Arc::from([0; 10_000]));
        assert_eq!(flows.look(hoarder.id), Ending::Cut);
        flows.remove(hoarder.id);
        flows.remove(modest.id);
        assert_eq!((flows.queued, flows.counters.queued_bytes.get()), (0, 0));
    }

    #[test]
    fn several_messages_leave_in_one_write() {
        let (mut flows, flow) = flows();
        for message in [&b"one "[..], b"two"] {
            flows.send(&flow, 3, message.into());
        }
        let mut out = Vec::new();
        assert_eq!(flows.take_bytes(flow.id, 1000, &mut out), 2);
        assert_eq!(out, b"one two");
        assert_eq!(flows.counters.queued_bytes.get(), 0);
    }
}
