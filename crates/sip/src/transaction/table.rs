//! Where transactions are kept: a slab, an index by what they match, and a list for each flow.
//!
//! An index entry is a 128-bit keyed hash: nobody can choose two that collide, so nothing is compared after it. The
//! list answers "what ran over this connection?" when it breaks, and bounds what one flow can open.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;

use farspeak_sansio::{Flow, FlowId, Transport};
use siphasher::sip::SipHasher13;

/// What a message matches, hashed (RFC 3261 §17.1.3, §17.2.3).
pub(crate) type MatchKey = u128;

/// Where a transaction sits, and which tenant of the slot it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Slot {
    pub index: u32,
    pub generation: u32,
}

impl Slot {
    pub(crate) const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// What identifies a flow to the lists: the connection, or the pair of socket and peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FlowKey {
    id: FlowId,
    peer: Option<(Transport, SocketAddr)>,
}

impl FlowKey {
    /// A bound stream is its handle; datagrams and unbound flows are told apart by the peer.
    pub(crate) fn of(flow: &Flow) -> Self {
        let by_peer = flow.id == FlowId::UNBOUND || !flow.transport.is_reliable();
        Self { id: flow.id, peer: by_peer.then_some((flow.transport, flow.remote)) }
    }
}

/// Transactions of type `T`.
pub(crate) struct Table<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    index: HashMap<MatchKey, u32, HashedAlready>,
    flows: HashMap<FlowKey, List, Seeded>,
}

struct Entry<T> {
    generation: u32,
    tenant: Option<Tenant<T>>,
}

struct Tenant<T> {
    key: MatchKey,
    flow: FlowKey,
    previous: u32,
    next: u32,
    value: T,
}

/// The transactions of one flow, linked through their entries.
struct List {
    first: u32,
    /// How many of them count against the bound of the flow.
    open: u32,
}

const NONE: u32 = u32::MAX;

impl<T> Table<T> {
    /// An empty table; `seed` keeps peers from choosing flows that collide.
    pub(crate) fn new(seed: (u64, u64)) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashMap::with_hasher(HashedAlready),
            flows: HashMap::with_hasher(Seeded(seed.0, seed.1)),
        }
    }

    /// How many transactions there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many flows have transactions.
    pub(crate) fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Adds a transaction. The caller has looked the key up: it is not taken, or its tenant gives way.
    pub(crate) fn insert(&mut self, key: MatchKey, flow: &Flow, value: T) -> Slot {
        if let Some(taken) = self.find(key) {
            self.remove(taken);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, tenant: None });
            // 2^32 transactions do not fit into memory.
            (self.entries.len() - 1) as u32
        });
        let flow = FlowKey::of(flow);
        let entry = &mut self.entries[index as usize];
        entry.tenant = Some(Tenant { key, flow, previous: NONE, next: NONE, value });
        let slot = Slot { index, generation: entry.generation };
        self.index.insert(key, index);
        self.link(index, flow);
        slot
    }

    /// The transaction that matches.
    pub(crate) fn find(&self, key: MatchKey) -> Option<Slot> {
        let index = *self.index.get(&key)?;
        let entry = self.entries.get(index as usize)?;
        Some(Slot { index, generation: entry.generation })
    }

    /// The transaction in the slot, if it still lives there.
    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        let entry = self.entries.get(slot.index as usize).filter(|entry| entry.generation == slot.generation)?;
        entry.tenant.as_ref().map(|tenant| &tenant.value)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let entry = self.entries.get_mut(slot.index as usize).filter(|entry| entry.generation == slot.generation)?;
        entry.tenant.as_mut().map(|tenant| &mut tenant.value)
    }

    /// Takes the transaction out.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<T> {
        self.get(slot)?;
        self.unlink(slot.index);
        let entry = self.entries.get_mut(slot.index as usize)?;
        let tenant = entry.tenant.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.index.remove(&tenant.key);
        self.free.push(slot.index);
        Some(tenant.value)
    }

    /// Puts the transaction onto another flow's list.
    pub(crate) fn move_to(&mut self, slot: Slot, flow: &Flow) {
        if self.get(slot).is_none() {
            return;
        }
        self.unlink(slot.index);
        let flow = FlowKey::of(flow);
        if let Some(tenant) = self.entries[slot.index as usize].tenant.as_mut() {
            tenant.flow = flow;
        }
        self.link(slot.index, flow);
    }

    /// Every transaction on the flow.
    pub(crate) fn on_flow(&self, flow: FlowKey) -> Vec<Slot> {
        let mut slots = Vec::new();
        let mut next = self.flows.get(&flow).map_or(NONE, |list| list.first);
        while let Some(entry) = self.entries.get(next as usize) {
            let Some(tenant) = &entry.tenant else { break };
            slots.push(Slot { index: next, generation: entry.generation });
            next = tenant.next;
        }
        slots
    }

    /// How many transactions count against the bound of the flow.
    pub(crate) fn open_on(&self, flow: FlowKey) -> u32 {
        self.flows.get(&flow).map_or(0, |list| list.open)
    }

    /// Counts the transaction's flow up or down.
    pub(crate) fn count_open(&mut self, slot: Slot, up: bool) {
        let tenant = self.entries.get(slot.index as usize).and_then(|entry| entry.tenant.as_ref());
        let list = tenant.and_then(|tenant| self.flows.get_mut(&tenant.flow));
        if let Some(list) = list {
            list.open = if up { list.open.saturating_add(1) } else { list.open.saturating_sub(1) };
        }
    }

    fn link(&mut self, index: u32, flow: FlowKey) {
        let list = self.flows.entry(flow).or_insert(List { first: NONE, open: 0 });
        let next = std::mem::replace(&mut list.first, index);
        if let Some(tenant) = self.tenant_mut(index) {
            tenant.previous = NONE;
            tenant.next = next;
        }
        if let Some(tenant) = self.tenant_mut(next) {
            tenant.previous = index;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(tenant) = self.tenant_mut(index) else { return };
        let (flow, previous, next) = (tenant.flow, tenant.previous, tenant.next);
        if let Some(after) = self.tenant_mut(next) {
            after.previous = previous;
        }
        match self.tenant_mut(previous) {
            Some(before) => before.next = next,
            None if next == NONE => {
                self.flows.remove(&flow);
            }
            None => {
                if let Some(list) = self.flows.get_mut(&flow) {
                    list.first = next;
                }
            }
        }
    }

    fn tenant_mut(&mut self, index: u32) -> Option<&mut Tenant<T>> {
        self.entries.get_mut(index as usize)?.tenant.as_mut()
    }
}

/// For keys that are keyed hashes themselves.
#[derive(Clone, Copy)]
struct HashedAlready;

impl BuildHasher for HashedAlready {
    type Hasher = TakeHash;
    fn build_hasher(&self) -> TakeHash {
        TakeHash(0)
    }
}

struct TakeHash(u64);

impl Hasher for TakeHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// SipHash under a key that the machine's randomness gave: a core draws none from the system.
#[derive(Clone, Copy)]
struct Seeded(u64, u64);

impl BuildHasher for Seeded {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        let local = SocketAddr::from(([127, 0, 0, 1], 5060));
        let remote = SocketAddr::from(([127, 0, 0, 1], port));
        Flow { id: FlowId::new(0, 1, 1), transport: Transport::Udp, local, remote }
    }

    #[test]
    fn lists_of_flows_follow_their_transactions() {
        let mut table = Table::new((1, 2));
        let slots: Vec<Slot> = (0..6_u16).map(|n| table.insert(u128::from(n), &flow(1 + n % 2), n)).collect();
        for slot in &slots {
            table.count_open(*slot, true);
        }
        let on = |table: &Table<u16>, port| {
            let mut found: Vec<u16> =
                table.on_flow(FlowKey::of(&flow(port))).iter().filter_map(|slot| table.get(*slot).copied()).collect();
            found.sort_unstable();
            found
        };
        assert_eq!((on(&table, 1), on(&table, 2)), (vec![0, 2, 4], vec![1, 3, 5]));
        assert_eq!(table.open_on(FlowKey::of(&flow(1))), 3);
        table.remove(slots[2]);
        table.move_to(slots[3], &flow(1));
        assert_eq!((on(&table, 1), on(&table, 2)), (vec![0, 3, 4], vec![1, 5]));
        for slot in &slots {
            table.remove(*slot);
        }
        assert_eq!((table.len(), table.flows()), (0, 0));
    }

    #[test]
    fn a_slot_is_dead_once_its_tenant_has_gone() {
        let mut table = Table::new((1, 2));
        let first = table.insert(1, &flow(1), 'a');
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert(2, &flow(1), 'b');
        assert_eq!((table.get(first), table.get(second), first.index), (None, Some(&'b'), second.index));
        assert_eq!(Slot::from_bits(second.to_bits()), second);
    }
}
