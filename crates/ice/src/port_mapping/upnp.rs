//! Asking by UPnP (IGD:1 and :2): the router is looked for by SSDP, says in a description where it is controlled, and is
//! told there by SOAP what to map. One exchange at a time, each over a connection of its own.
//!
//! Whoever answers first could send us anywhere; so nobody but the gateway is heard, and nothing is fetched from or
//! posted to any host but it, at its private address.

mod description;
mod http;
mod soap;
mod ssdp;
mod url;
mod xml;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Receive, Transport};

use self::description::Service;
use self::http::{Page, Progress, Response};
use self::soap::Action;
use self::url::Url;
use super::Refusal;
use super::address::is_of_the_house;
use super::ask::{Ask, Context, Key, Outcome};
use super::lease::{self, Backoff, Lease, Renewal};

/// The client.
#[derive(Debug, Default)]
pub(super) struct Upnp {
    leases: Vec<Lease>,
    search: Option<Backoff>,
    /// Where ports may be mapped: the first is used.
    services: Vec<Service>,
    address: Option<Ipv4Addr>,
    /// What the router turned out to want, or to lack.
    permanent: bool,
    no_add_any: bool,
    queue: VecDeque<Task>,
    current: Option<Exchange>,
    /// When the last connection is surely closed.
    free: Instant,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Task {
    Describe(Url),
    Address,
    Map(Key),
    Delete(Key, u16),
}

/// A request and its response.
#[derive(Debug)]
struct Exchange {
    task: Task,
    flow: Flow,
    id: FlowId,
    request: Arc<[u8]>,
    response: Response,
    /// How often it may still be sent: a connection may break before anything has come.
    left: u32,
    sent: bool,
    /// When to send it, or when to give up.
    at: Instant,
}

/// How long a router may take for one answer (UPnP Device Architecture 1.1 §3.2.1 has 30 s).
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection that is to close is waited for.
const CLOSING: Duration = Duration::from_secs(1);
/// A driver may tell of one end twice: under its handle, and under the flow that was asked for.
const MOMENT: Duration = Duration::from_millis(1);
/// How often a request is sent, and how long a broken connection is mourned.
const SENDINGS: u32 = 3;
const AGAIN: Duration = Duration::from_millis(200);
/// How many external ports are tried if the first belongs to somebody else.
const MOST_CONFLICTS: u32 = 5;

impl Upnp {
    fn enqueue(&mut self, task: Task) {
        if self.current.as_ref().is_none_or(|current| current.task != task) && !self.queue.contains(&task) {
            self.queue.push_back(task);
        }
    }

    fn lease(&mut self, key: Key) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.key == key)
    }

    /// Does whatever is due.
    fn proceed(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.look(now, cx);
        self.renew(now, cx);
        if self.current.as_ref().is_some_and(|current| current.sent && now >= current.at) {
            self.finish(now, None, cx);
        }
        while self.current.is_none() && now >= self.free {
            let Some(task) = self.queue.pop_front() else { break };
            self.current = self.begin(now, task, cx);
        }
        if let Some(current) = self.current.as_mut().filter(|current| !current.sent && now >= current.at) {
            (current.sent, current.at) = (true, now + PATIENCE);
            current.left -= 1;
            cx.send(current.flow, Arc::clone(&current.request));
        }
    }

    /// Looks for the router: everybody, and the gateway by its address, since some networks lose multicast.
    fn look(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Some(search) = self.search.as_mut() else { return };
        match search.is_due(now, cx.rng) {
            Some(true) => {
                for target in ssdp::TARGETS {
                    cx.send(Flow::unbound(Transport::Udp, cx.local, ssdp::GROUP), ssdp::search(ssdp::GROUP, target));
                }
                let router = SocketAddr::new(cx.gateway.ip(), ssdp::PORT);
                cx.send_to_gateway(ssdp::PORT, ssdp::search(router, ssdp::TARGETS[0]));
            }
            Some(false) => self.search = None,
            None => {}
        }
    }

    fn renew(&mut self, now: Instant, cx: &mut Context<'_>) {
        for key in lease::renew(&mut self.leases, now, cx) {
            self.enqueue(Task::Address);
            self.enqueue(Task::Map(key));
        }
    }

    fn begin(&self, now: Instant, task: Task, cx: &Context<'_>) -> Option<Exchange> {
        let lease = |key| self.leases.iter().find(move |lease| lease.key == key);
        let (server, request) = match &task {
            Task::Describe(url) => (url.server, http::get(url)),
            task => {
                let service = self.services.first()?;
                let action = match *task {
                    Task::Map(key) => self.action(lease(key)?, cx),
                    Task::Delete(key, external) => Action::Delete { key, external },
                    Task::Address | Task::Describe(_) => Action::Address,
                };
                (service.control.server, action.request(service, cx.local.ip(), &cx.config.description))
            }
        };
        let flow = Flow::unbound(Transport::Tcp, SocketAddr::new(cx.local.ip(), 0), server);
        let (request, response) = (request.into(), Response::default());
        Some(Exchange { task, flow, id: FlowId::UNBOUND, request, response, left: SENDINGS, sent: false, at: now })
    }

    fn action(&self, lease: &Lease, cx: &Context<'_>) -> Action {
        let (key, external) = (lease.key, lease.external);
        let seconds = if self.permanent { 0 } else { cx.lifetime() };
        let any = self.services.first().is_some_and(|service| soap::has_add_any(service.kind)) && !self.no_add_any;
        match lease.held {
            None if any => Action::AddAny { key, external, lease: seconds },
            _ => Action::Add { key, external, lease: seconds },
        }
    }

    /// The exchange is over: with a page, or without.
    fn finish(&mut self, now: Instant, page: Option<Page>, cx: &mut Context<'_>) {
        let Some(exchange) = self.current.take() else { return };
        self.free = now + CLOSING;
        match (exchange.task, page) {
            (Task::Describe(url), Some(page)) if page.status == 200 => self.described(&page, &url, cx),
            // Whoever answers the next search may do better.
            (Task::Describe(_) | Task::Delete(..), _) => {}
            (Task::Address, page) => self.addressed(page.as_ref().map_or(Err(Refusal::Malformed), soap::address), cx),
            (Task::Map(key), Some(page)) => self.mapped(now, key, &page, cx),
            (Task::Map(key), None) => self.refuse(key, Refusal::Malformed, cx),
        }
    }

    fn described(&mut self, page: &Page, url: &Url, cx: &mut Context<'_>) {
        self.services = description::services(&page.body, url);
        self.search = None;
        if self.services.is_empty() {
            return cx.report(Outcome::Absent { why: Some(Refusal::Unsupported) });
        }
        self.enqueue(Task::Address);
    }

    fn addressed(&mut self, address: Result<Ipv4Addr, Refusal>, cx: &mut Context<'_>) {
        let address = match address {
            Ok(address) => address,
            // Perhaps another of its connections is up.
            Err(_) if self.address.is_none() && self.services.len() > 1 => {
                self.services.remove(0);
                return self.enqueue(Task::Address);
            }
            Err(why) => {
                let keys: Vec<Key> = self.leases.iter().map(|lease| lease.key).collect();
                return keys.into_iter().for_each(|key| self.refuse(key, why, cx));
            }
        };
        let changed = self.address.replace(address) != Some(address);
        let mut waiting = Vec::new();
        for lease in &self.leases {
            match lease.held {
                Some(_) if changed => self.tell(lease, cx),
                Some(_) => {}
                None => waiting.push(lease.key),
            }
        }
        waiting.into_iter().for_each(|key| self.enqueue(Task::Map(key)));
    }

    fn mapped(&mut self, now: Instant, key: Key, page: &Page, cx: &mut Context<'_>) {
        let done = soap::done(page);
        let permanent = self.permanent;
        let any = soap::reserved_port(page);
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.key == key) else {
            // Nobody wants it any more.
            return;
        };
        match done {
            Ok(()) => {
                lease.external = any.unwrap_or(lease.external);
                lease.held = Some(Renewal::new(now, cx.config.lifetime, cx.rng));
                let at = self.leases.iter().position(|lease| lease.key == key);
                if let Some(at) = at {
                    self.tell(&self.leases[at], cx);
                }
            }
            Err(soap::ONLY_PERMANENT) if !permanent => {
                self.permanent = true;
                self.enqueue(Task::Map(key));
            }
            Err(soap::INVALID_ACTION | soap::OPTIONAL_ACTION) if !self.no_add_any => {
                self.no_add_any = true;
                self.enqueue(Task::Map(key));
            }
            Err(soap::CONFLICT) if lease.held.is_none() && lease.conflicts < MOST_CONFLICTS => {
                lease.conflicts += 1;
                lease.external = 1024 + cx.rng.below(65_536 - 1024) as u16;
                self.enqueue(Task::Map(key));
            }
            Err(code) => self.refuse(key, soap::refusal(code), cx),
        }
    }

    fn tell(&self, lease: &Lease, cx: &mut Context<'_>) {
        let Some(address) = self.address else { return };
        let external = SocketAddr::new(address.into(), lease.external);
        let lifetime = (!self.permanent).then_some(cx.config.lifetime);
        cx.report(Outcome::Granted { key: lease.key, external, lifetime });
    }

    /// What is held stays until its end.
    fn refuse(&mut self, key: Key, why: Refusal, cx: &mut Context<'_>) {
        let held = self.lease(key).is_some_and(|lease| lease.held.is_some());
        if !held {
            self.leases.retain(|lease| lease.key != key);
            cx.report(Outcome::Refused { key, why, hold: None });
        }
    }

    /// Whether an answer leads to a description that may be fetched.
    fn found(&mut self, answer: &[u8], cx: &Context<'_>) {
        let known = !self.services.is_empty() || self.search.is_none();
        let busy = self.current.is_some() || !self.queue.is_empty();
        let Some(url) = ssdp::location(answer).and_then(Url::parse).filter(|_| !known && !busy) else { return };
        let host = url.server.ip();
        if host == cx.gateway.ip() && is_of_the_house(host) {
            self.enqueue(Task::Describe(url));
        }
    }
}

impl Ask for Upnp {
    fn ask(&mut self, now: Instant, key: Key, hint: u16, cx: &mut Context<'_>) {
        self.leases.retain(|lease| lease.key != key);
        self.leases.push(Lease::new(key, hint));
        if self.address.is_some() {
            self.enqueue(Task::Map(key));
        } else if self.services.is_empty() && self.search.is_none() {
            self.search = Some(Backoff::ssdp(now));
        }
        self.proceed(now, cx);
    }

    fn delete(&mut self, now: Instant, key: Key, cx: &mut Context<'_>) {
        let Some(at) = self.leases.iter().position(|lease| lease.key == key) else { return };
        let lease = self.leases.swap_remove(at);
        let asked = self.current.as_ref().is_some_and(|current| current.task == Task::Map(key));
        self.queue.retain(|task| *task != Task::Map(key));
        if lease.held.is_some() || asked {
            self.enqueue(Task::Delete(key, lease.external));
        }
        if self.leases.is_empty() {
            self.search = None;
            self.queue.retain(|task| matches!(task, Task::Delete(..)));
            self.current.take_if(|current| matches!(current.task, Task::Describe(_) | Task::Address));
        }
        self.proceed(now, cx);
    }

    fn receive(&mut self, now: Instant, received: &Receive<'_>, cx: &mut Context<'_>) {
        if received.flow.transport == Transport::Udp {
            self.found(received.bytes, cx);
        } else if let Some(current) =
            self.current.as_mut().filter(|it| it.sent && it.flow.remote == received.flow.remote)
        {
            current.id = received.flow.id;
            match current.response.push(received.bytes) {
                Progress::Partial => {}
                Progress::Whole(page) => self.finish(now, Some(page), cx),
                Progress::Broken => self.finish(now, None, cx),
            }
        }
        self.proceed(now, cx);
    }

    fn timeout(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.proceed(now, cx);
    }

    fn flow_failed(&mut self, now: Instant, flow: Flow, cx: &mut Context<'_>) {
        if flow.transport != Transport::Tcp {
            return;
        }
        match self.current.as_mut().filter(|current| current.sent && current.flow.remote == flow.remote) {
            None => self.free = self.free.min(now + MOMENT),
            // Another connection's end.
            Some(current) if ![FlowId::UNBOUND, current.id].contains(&flow.id) && current.id != FlowId::UNBOUND => {}
            Some(current) if current.response.is_empty() && current.left > 0 => {
                (current.sent, current.at, current.id) = (false, now + AGAIN, FlowId::UNBOUND);
            }
            Some(current) => {
                let page = match current.response.end() {
                    Progress::Whole(page) => Some(page),
                    Progress::Partial | Progress::Broken => None,
                };
                self.finish(now, page, cx);
                self.free = now + MOMENT;
            }
        }
        self.proceed(now, cx);
    }

    fn deadline(&self) -> Option<Instant> {
        let search = self.search.map(|search| search.at());
        let exchange = match &self.current {
            Some(current) => Some(current.at),
            None => (!self.queue.is_empty()).then_some(self.free),
        };
        let renewals = self.leases.iter().filter_map(|lease| lease.held.map(|held| held.at()));
        renewals.chain(search).chain(exchange).min()
    }

    fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.current.is_none() && self.queue.is_empty()
    }
}
