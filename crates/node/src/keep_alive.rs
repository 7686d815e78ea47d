//! Keeps the NAT mappings of phones that registered over UDP: a CRLF CRLF to each, every 25 s or as configured.
//!
//! A phone on UDP may send nothing for an hour; its NAT forgets it after half a minute (RFC 4787 §4.3, RFC 5626 §3.5).
//! Each registration over UDP puts its flow here until it expires; each has its own timer, so that the datagrams spread
//! over time as the registrations did.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Transmit, Transport};

use crate::shard::{Core, Timer};

/// The datagram flows that are kept alive.
#[derive(Debug, Default)]
pub(crate) struct KeepAlive {
    slots: Vec<Option<Kept>>,
    free: Vec<u32>,
    by_remote: HashMap<(SocketAddr, u16), u32>,
    due: VecDeque<Flow>,
    bytes: Option<Arc<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    flow: Flow,
    until: Instant,
}

/// Most flows kept alive by one shard.
const MAX_KEPT: usize = 1 << 20;

impl KeepAlive {
    /// How many flows are kept alive.
    pub(crate) fn len(&self) -> usize {
        self.by_remote.len()
    }

    /// Keeps `flow` alive until then; gives its slot if it is new.
    fn keep(&mut self, flow: Flow, until: Instant) -> Option<u32> {
        let key = (flow.remote, flow.local.port());
        if let Some(slot) = self.by_remote.get(&key) {
            if let Some(Some(kept)) = self.slots.get_mut(*slot as usize) {
                *kept = Kept { flow, until };
            }
            return None;
        }
        if self.by_remote.len() >= MAX_KEPT {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32 // below MAX_KEPT
        });
        self.slots[slot as usize] = Some(Kept { flow, until });
        self.by_remote.insert(key, slot);
        Some(slot)
    }

    /// Whether the flow of that slot wants a CRLF; it is forgotten if its time is over.
    fn fire(&mut self, now: Instant, slot: u32) -> bool {
        let Some(Some(kept)) = self.slots.get(slot as usize).copied() else { return false };
        if now >= kept.until {
            self.slots[slot as usize] = None;
            self.free.push(slot);
            self.by_remote.remove(&(kept.flow.remote, kept.flow.local.port()));
            return false;
        }
        self.due.push_back(kept.flow);
        true
    }

    /// The next CRLF CRLF to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        let flow = self.due.pop_front()?;
        let bytes = self.bytes.get_or_insert_with(|| Arc::from(&b"\r\n\r\n"[..]));
        Some(Transmit { flow, bytes: Arc::clone(bytes) })
    }
}

impl Core {
    /// A phone has registered over `flow` until then.
    pub(crate) fn keep_flow_alive(&mut self, now: Instant, flow: Flow, until: Instant) {
        self.arm_keep_alive(now, flow, until, |every, _| every);
    }

    /// The same for one of many flows taken back at a start: their datagrams are spread over the interval.
    pub(crate) fn restore_keep_alive(&mut self, now: Instant, flow: Flow, until: Instant) {
        self.arm_keep_alive(now, flow, until, |every, slot| every / 64 * (slot % 64 + 1));
    }

    fn arm_keep_alive(&mut self, now: Instant, flow: Flow, until: Instant, first: impl Fn(Duration, u32) -> Duration) {
        let every = self.settings.proxy.udp_keep_alive;
        if flow.transport != Transport::Udp || every.is_zero() {
            return;
        }
        if let Some(slot) = self.keep_alive.keep(flow, until) {
            self.timers.arm(now, first(every, slot), Timer::KeepAlive(slot));
        }
    }

    /// The timer of that slot has fired.
    pub(crate) fn keep_alive_due(&mut self, now: Instant, slot: u32) {
        let every = self.settings.proxy.udp_keep_alive;
        if self.keep_alive.fire(now, slot) && !every.is_zero() {
            self.timers.arm(now, every, Timer::KeepAlive(slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        let remote = SocketAddr::from(([192, 0, 2, 1], port));
        Flow::unbound(Transport::Udp, SocketAddr::from(([192, 0, 2, 9], 5060)), remote)
    }

    #[test]
    fn ends_with_the_registration() {
        let mut keep = KeepAlive::default();
        let end = Instant::ZERO + Duration::from_secs(60);
        let slot = keep.keep(flow(1), end).unwrap();
        assert!(keep.fire(Instant::ZERO + Duration::from_secs(25), slot));
        assert_eq!(&*keep.poll_transmit().unwrap().bytes, b"\r\n\r\n");
        assert!(!keep.fire(end, slot));
        assert_eq!(keep.len(), 0);
        assert_eq!(keep.keep(flow(2), end), Some(slot), "the slot is used again");
    }

    #[test]
    fn a_refresh_arms_no_second_timer() {
        let mut keep = KeepAlive::default();
        let end = Instant::ZERO + Duration::from_secs(60);
        assert!(keep.keep(flow(1), end).is_some());
        assert!(keep.keep(flow(1), end + Duration::from_secs(60)).is_none());
        assert_eq!(keep.len(), 1);
    }
}
