//! Asking by NAT-PMP, RFC 6886: one request at a time over UDP, each repeated until it is answered.

pub(super) mod message;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Receive};

use self::message::{Body, Heard, Response};
use super::Refusal;
use super::ask::{Ask, Context, Key, Outcome, SERVER_PORT};
use super::epoch::Epoch;
use super::lease::{self, Backoff, Lease, Renewal};
use super::pcp::message as pcp;

/// The client.
#[derive(Debug, Default)]
pub(super) struct NatPmp {
    leases: Vec<Lease>,
    address: Option<Ipv4Addr>,
    epoch: Option<Epoch>,
    /// What is being asked; what is to be asked next: at most one of each kind and mapping.
    current: Option<(Task, Backoff)>,
    queue: VecDeque<Task>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    Address,
    Map(Key),
    Delete(Key),
}

/// How often a deletion is sent.
const DELETIONS: u32 = 3;

impl NatPmp {
    fn enqueue(&mut self, task: Task) {
        let busy = self.current.is_some_and(|(current, _)| current == task);
        if !busy && !self.queue.contains(&task) {
            self.queue.push_back(task);
        }
    }

    /// The current request has been answered.
    fn settle(&mut self, task: Task) {
        self.queue.retain(|queued| *queued != task);
        self.current.take_if(|(current, _)| *current == task);
    }

    fn proceed(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.renew(now, cx);
        loop {
            let next = || self.queue.pop_front().map(|task| (task, Self::backoff(task, now)));
            let Some((task, mut backoff)) = self.current.take().or_else(next) else { return };
            match backoff.is_due(now, cx.rng) {
                // Nobody answers: the next in turn. What is held is renewed again before it ends.
                Some(false) => continue,
                Some(true) => self.send(task, cx),
                None => {}
            }
            self.current = Some((task, backoff));
            return;
        }
    }

    const fn backoff(task: Task, now: Instant) -> Backoff {
        match task {
            Task::Delete(_) => Backoff::nat_pmp(now).times(DELETIONS),
            Task::Address | Task::Map(_) => Backoff::nat_pmp(now),
        }
    }

    fn renew(&mut self, now: Instant, cx: &mut Context<'_>) {
        for key in lease::renew(&mut self.leases, now, cx) {
            // The address may have changed since.
            self.enqueue(Task::Address);
            self.enqueue(Task::Map(key));
        }
    }

    fn send(&mut self, task: Task, cx: &mut Context<'_>) {
        let map =
            |(protocol, internal), external, lifetime| message::map_request(protocol, internal, external, lifetime);
        match task {
            Task::Address => cx.send_to_gateway(SERVER_PORT, message::ADDRESS_REQUEST),
            Task::Map(key) => {
                let lease = self.leases.iter().find(|lease| lease.key == key);
                let external = lease.map_or(0, |lease| lease.external);
                cx.send_to_gateway(SERVER_PORT, map(key, external, cx.lifetime()));
            }
            // "the suggested external port MUST be set to zero", RFC 6886 §3.4.
            Task::Delete(key) => cx.send_to_gateway(SERVER_PORT, map(key, 0, 0)),
        }
    }

    fn heard(&mut self, now: Instant, response: &Response, cx: &mut Context<'_>) {
        if !Epoch::fits_nat_pmp(&mut self.epoch, now, response.epoch) {
            // All at once: the queue asks one by one anyway (RFC 6886 §3.7).
            let keys: Vec<Key> = self.leases.iter().map(|lease| lease.key).collect();
            self.enqueue(Task::Address);
            keys.into_iter().for_each(|key| self.enqueue(Task::Map(key)));
        }
        match response.body {
            Body::Address(address) => self.addressed(address, cx),
            Body::Map { protocol, internal, external, lifetime } => {
                self.granted(now, (protocol, internal), external, lifetime, cx);
            }
            Body::Refused { protocol, internal, why } => self.refused(protocol.zip(internal), why, cx),
        }
    }

    fn addressed(&mut self, address: Ipv4Addr, cx: &mut Context<'_>) {
        self.settle(Task::Address);
        if address.is_unspecified() {
            return self.refused(None, Refusal::NoExternalAddress, cx);
        }
        self.address = Some(address);
        for lease in self.leases.iter().filter(|lease| lease.held.is_some()) {
            tell(lease, address, cx);
        }
    }

    fn granted(&mut self, now: Instant, key: Key, external: u16, lifetime: u32, cx: &mut Context<'_>) {
        self.settle(if lifetime == 0 { Task::Delete(key) } else { Task::Map(key) });
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.key == key) else { return };
        if lifetime == 0 || external == 0 {
            return;
        }
        lease.external = external;
        lease.held = Some(Renewal::new(now, Duration::from_secs(lifetime.into()), cx.rng));
        match self.address {
            Some(address) => tell(lease, address, cx),
            None => self.enqueue(Task::Address),
        }
    }

    /// An error to a mapping; without one, to whatever is being asked.
    fn refused(&mut self, key: Option<Key>, why: Refusal, cx: &mut Context<'_>) {
        let task = match key {
            Some(key) => Task::Map(key),
            None => self.current.map_or(Task::Address, |(task, _)| task),
        };
        self.settle(task);
        let of_task = |lease: &Lease| match task {
            Task::Address => true,
            Task::Map(key) => lease.key == key,
            Task::Delete(_) => false,
        };
        // What is held stays until its end.
        self.leases.retain(|lease| {
            let refused = lease.held.is_none() && of_task(lease);
            if refused {
                cx.report(Outcome::Refused { key: lease.key, why, hold: None });
            }
            !refused
        });
        let leases = &self.leases;
        self.queue.retain(|task| match task {
            Task::Map(key) => leases.iter().any(|lease| lease.key == *key),
            Task::Address | Task::Delete(_) => true,
        });
    }
}

fn tell(lease: &Lease, address: Ipv4Addr, cx: &mut Context<'_>) {
    let external = SocketAddr::new(address.into(), lease.external);
    let lifetime = lease.held.map(|held| held.lifetime());
    cx.report(Outcome::Granted { key: lease.key, external, lifetime });
}

impl Ask for NatPmp {
    fn ask(&mut self, now: Instant, key: Key, hint: u16, cx: &mut Context<'_>) {
        self.leases.retain(|lease| lease.key != key);
        self.leases.push(Lease::new(key, hint));
        if self.address.is_none() {
            self.enqueue(Task::Address);
        }
        self.enqueue(Task::Map(key));
        self.proceed(now, cx);
    }

    fn delete(&mut self, now: Instant, key: Key, cx: &mut Context<'_>) {
        self.leases.retain(|lease| lease.key != key);
        self.settle(Task::Map(key));
        self.enqueue(Task::Delete(key));
        self.proceed(now, cx);
    }

    fn receive(&mut self, now: Instant, received: &Receive<'_>, cx: &mut Context<'_>) {
        if received.flow.transport.is_reliable() || received.flow.remote.port() != SERVER_PORT {
            return;
        }
        match message::parse(received.bytes) {
            Some(Heard::Response(response)) => self.heard(now, &response, cx),
            Some(Heard::OtherVersion) if self.epoch.is_none() => {
                *self = Self::default();
                cx.report(Outcome::Absent { why: Some(Refusal::Unsupported) });
            }
            // Routers of both versions announce a restart by PCP alone: the answer to a question of ours tells the rest.
            None if pcp::is_announcement(received.bytes) && self.epoch.is_some() => self.enqueue(Task::Address),
            Some(Heard::OtherVersion) | None => {}
        }
        self.proceed(now, cx);
    }

    fn timeout(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.proceed(now, cx);
    }

    /// Nobody listens there (ICMP), as far as one can tell.
    fn flow_failed(&mut self, _now: Instant, flow: Flow, cx: &mut Context<'_>) {
        if flow.remote.port() == SERVER_PORT && !flow.transport.is_reliable() && self.epoch.is_none() {
            *self = Self::default();
            cx.report(Outcome::Absent { why: None });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let current = self.current.map(|(_, backoff)| backoff.at());
        let renewals = self.leases.iter().filter_map(|lease| lease.held.map(|held| held.at()));
        renewals.chain(current).min()
    }

    fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.current.is_none() && self.queue.is_empty()
    }
}
