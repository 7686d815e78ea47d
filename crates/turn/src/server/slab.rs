//! A table with numbered places that are used again; a generation tells tenants of one place apart.

/// Places for `T`.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    /// Of the last tenant; no two of the last 2^32 have the same.
    generation: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), generation: 0 }
    }

    /// A place for the tenant, and which generation it is there. Bounds are the caller's; there are never 2^32.
    pub(super) fn insert(&mut self, tenant: T) -> (u32, u32) {
        self.generation = self.generation.wrapping_add(1);
        let place = Place { generation: self.generation, tenant: Some(tenant) };
        if let Some(slot) = self.free.pop() {
            self.places[slot as usize] = place;
            return (slot, self.generation);
        }
        // A quarter more: of large tenants, doubling would leave too much empty.
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact((self.places.len() / 4).max(16));
        }
        self.places.push(place);
        (self.places.len() as u32 - 1, self.generation)
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.places.get(slot as usize)?.tenant.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.tenant.as_mut()
    }

    /// Whether this tenant is still there.
    pub(super) fn is_current(&self, slot: u32, generation: u32) -> bool {
        self.generation(slot) == Some(generation)
    }

    /// Which tenant is there.
    pub(super) fn generation(&self, slot: u32) -> Option<u32> {
        self.places.get(slot as usize).filter(|place| place.tenant.is_some()).map(|place| place.generation)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let tenant = self.places.get_mut(slot as usize)?.tenant.take()?;
        self.free.push(slot);
        if self.free.len() == self.places.len() {
            // What was needed once at its busiest is given back.
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
        Some(tenant)
    }

    /// How many tenants there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let tenants = self.places.iter().enumerate();
        tenants.filter_map(|(slot, place)| place.tenant.as_ref().map(|tenant| (slot as u32, tenant)))
    }
}
