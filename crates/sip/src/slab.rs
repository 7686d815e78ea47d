//! Where dialogs, sessions and subscriptions are kept: slots that are used again, and keys that notice it.

/// Where an entry sits, and which tenant of the slot it is. A key whose tenant has gone finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Entries of type `T`, found by [`Key`].
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// The key that the next entry will have: for what must name its owner before that stands.
    pub(crate) fn next_key(&self) -> Key {
        let index = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        Key { index, generation: self.slots.get(index as usize).map_or(0, |slot| slot.generation) }
    }

    /// Puts an entry in, under [`Self::next_key`].
    pub(crate) fn insert(&mut self, tenant: T) -> Key {
        let key = self.next_key();
        match self.free.pop() {
            Some(index) => self.slots[index as usize].tenant = Some(tenant),
            None => self.slots.push(Slot { generation: 0, tenant: Some(tenant) }),
        }
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)?.tenant.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?.tenant.as_mut()
    }

    /// Takes the entry out for good: its key is dead.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let tenant = slot.tenant.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(tenant)
    }

    /// The keys of all entries.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let tenants = self.slots.iter().enumerate().filter(|(_, slot)| slot.tenant.is_some());
        tenants.map(|(index, slot)| Key { index: index as u32, generation: slot.generation }).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_dies_with_its_tenant() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(slab.remove(first), None);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
        assert_eq!(slab.len(), 1);
    }
}
