//! How many connections and handshakes there may be, on the whole shard and from one source.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::{Counters, StreamConfig};

pub(crate) struct Admission {
    limits: Limits,
    connections: Cell<usize>,
    handshakes: Cell<usize>,
    sources: RefCell<HashMap<IpAddr, Source>>,
    freed: Notify,
    counters: Arc<Counters>,
}

struct Limits {
    connections: usize,
    connections_per_source: usize,
    handshakes: usize,
    handshakes_per_source: usize,
    spare_loopback: bool,
}

#[derive(Default)]
struct Source {
    connections: usize,
    handshakes: usize,
}

impl Admission {
    pub(crate) fn new(config: &StreamConfig, counters: &Arc<Counters>) -> Rc<Self> {
        Rc::new(Self {
            limits: Limits {
                connections: config.max_connections,
                connections_per_source: config.max_connections_per_source,
                handshakes: config.max_handshakes.max(1),
                handshakes_per_source: config.max_handshakes_per_source,
                spare_loopback: config.spare_loopback,
            },
            connections: Cell::new(0),
            handshakes: Cell::new(0),
            sources: RefCell::default(),
            freed: Notify::new(),
            counters: Arc::clone(counters),
        })
    }

    /// Whether one handshake more may be under way.
    pub(crate) fn has_room(&self) -> bool {
        self.handshakes.get() < self.limits.handshakes
    }

    /// Waits until one handshake more may be under way.
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            self.freed.notified().await;
        }
    }

    /// Takes a connection in, at the start of its handshake; `None` if there are too many.
    pub(crate) fn admit(self: &Rc<Self>, remote: SocketAddr) -> Option<Seat> {
        self.take(remote, self.is_crowded(remote))
    }

    /// The same for a load balancer, which is no source: [`Seat::pass_to`] will say who is.
    pub(crate) fn admit_balancer(self: &Rc<Self>, remote: SocketAddr) -> Option<Seat> {
        self.take(remote, false)
    }

    /// Whether three quarters of all connections that there may be are taken.
    pub(crate) fn is_filling(&self) -> bool {
        self.connections.get() >= self.limits.connections - self.limits.connections / 4
    }

    fn refuse(&self) {
        self.counters.connections_refused.increment();
    }

    /// Whether that source has all that it may have.
    fn is_crowded(&self, remote: SocketAddr) -> bool {
        let source = prefix(remote.ip());
        let spared = self.limits.spare_loopback && source.is_loopback();
        let full = |source: &Source| {
            source.connections >= self.limits.connections_per_source
                || source.handshakes >= self.limits.handshakes_per_source
        };
        !spared && self.sources.borrow().get(&source).is_some_and(full)
    }

    fn take(self: &Rc<Self>, remote: SocketAddr, crowded: bool) -> Option<Seat> {
        if crowded || self.connections.get() >= self.limits.connections {
            self.refuse();
            return None;
        }
        let source = prefix(remote.ip());
        self.enter(source);
        self.connections.set(self.connections.get() + 1);
        self.handshakes.set(self.handshakes.get() + 1);
        self.counters.connections.add(1);
        self.counters.handshakes.add(1);
        Some(Seat { admission: Rc::clone(self), source, in_handshake: true })
    }

    fn enter(&self, source: IpAddr) {
        let mut sources = self.sources.borrow_mut();
        let entry = sources.entry(source).or_default();
        entry.connections += 1;
        entry.handshakes += 1;
    }

    fn leave(&self, source: IpAddr, in_handshake: bool) {
        let mut sources = self.sources.borrow_mut();
        let Some(entry) = sources.get_mut(&source) else { return };
        entry.connections -= 1;
        entry.handshakes -= usize::from(in_handshake);
        if entry.connections == 0 {
            sources.remove(&source);
        }
    }
}

/// The place of one connection. Dropping it frees the place.
pub(crate) struct Seat {
    admission: Rc<Admission>,
    source: IpAddr,
    in_handshake: bool,
}

impl Seat {
    /// A load balancer, still in its handshake, has said whose connection it is. False if that source has too many.
    pub(crate) fn pass_to(&mut self, remote: SocketAddr) -> bool {
        let admission = &self.admission;
        if !self.in_handshake || admission.is_crowded(remote) {
            admission.refuse();
            return false;
        }
        admission.leave(self.source, true);
        self.source = prefix(remote.ip());
        admission.enter(self.source);
        true
    }

    /// The handshake is over.
    pub(crate) fn settle(&mut self) {
        if std::mem::take(&mut self.in_handshake) {
            let admission = &self.admission;
            admission.handshakes.set(admission.handshakes.get() - 1);
            admission.counters.handshakes.add(-1);
            if let Some(source) = admission.sources.borrow_mut().get_mut(&self.source) {
                source.handshakes -= 1;
            }
            admission.freed.notify_waiters();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.settle();
        let admission = &self.admission;
        admission.connections.set(admission.connections.get() - 1);
        admission.counters.connections.add(-1);
        admission.leave(self.source, false);
    }
}

/// What one peer can have many addresses of counts as one: an IPv6 /64.
fn prefix(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) if ip.is_loopback() => ip.into(),
        IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_source: usize) -> Rc<Admission> {
        let config = StreamConfig {
            max_connections: connections,
            max_connections_per_source: per_source,
            ..StreamConfig::default()
        };
        Admission::new(&config, &Arc::default())
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn refuses_one_source_too_much_and_forgets_it_when_it_leaves() {
        let admission = admission(10, 1);
        let seat = admission.admit(at("[2001:db8::1]:1")).unwrap();
        assert!(admission.admit(at("[2001:db8::2]:1")).is_none());
        assert!(admission.admit(at("[2001:db8:0:1::1]:1")).is_some());
        drop(seat);
        assert!(admission.sources.borrow().is_empty());
        assert!(admission.admit(at("[2001:db8::2]:1")).is_some());
    }

    #[test]
    fn refuses_whom_a_load_balancer_names_too_often_and_never_the_balancer() {
        let admission = admission(10, 1);
        let balancer = at("192.0.2.1:1");
        let mut seats = [0; 3].map(|_| admission.admit_balancer(balancer).unwrap());
        assert!(seats[0].pass_to(at("198.51.100.1:1")) && seats[1].pass_to(at("198.51.100.2:1")));
        assert!(!seats[2].pass_to(at("198.51.100.1:2")));
        assert_eq!(admission.counters.connections_refused.get(), 1);
        drop(seats);
        assert!(admission.sources.borrow().is_empty());
        assert_eq!((admission.connections.get(), admission.handshakes.get()), (0, 0));
    }

    #[test]
    fn refuses_more_than_the_shard_holds_even_from_loopback() {
        let admission = admission(1, 1);
        let _seat = admission.admit(at("127.0.0.1:1")).unwrap();
        assert!(admission.admit(at("127.0.0.1:2")).is_none());
        assert_eq!(admission.counters.connections_refused.get(), 1);
    }
}
