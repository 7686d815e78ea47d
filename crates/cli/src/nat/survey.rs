//! Looks at a network from all sides at once, as one machine without I/O: who wants to know hands it sockets and servers.
//!
//! ```text
//!   for each server    behaviour (RFC 5780)        sockets x, y         discovery::Behaviour
//!                      the same socket everywhere  socket z             Client   what two servers see of it
//!                      TCP, TLS                    connections          Client
//!                      longest packet              socket big           mtu::Search, once UDP is known to work
//!   for each router    PCP, NAT-PMP, UPnP          a socket each        PortMapper, for one way alone
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_ice::port_mapping::{Config, Event as MapperEvent, PortMapper, Protocol, Reason, Way};
use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, Transmit, Transport};
use farspeak_stun::discovery::Behaviour;
use farspeak_stun::framing::{Framed, StreamFramer};
use farspeak_stun::{
    Authentication, Client, ClientConfig, Event as StunEvent, Failure, Message, Request, RequestId, Schedule,
};

use super::mtu::Search;
use super::report::{PortMapping, Reach, Server};

/// A server, and the sockets to ask it from: all bound to addresses of this host that lead there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// As it was typed.
    pub name: String,
    /// For UDP and TCP.
    pub server: SocketAddr,
    pub tls: SocketAddr,
    /// Two sockets for behaviour discovery.
    pub x: SocketAddr,
    pub y: SocketAddr,
    /// One for all servers of the family.
    pub z: SocketAddr,
    /// One that forbids fragments; `None`: the longest packet is not looked for.
    pub big: Option<SocketAddr>,
}

/// A router, one way to ask it, and the socket to ask from, whose port the trial mapping is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Router {
    pub way: Way,
    pub gateway: SocketAddr,
    pub socket: SocketAddr,
}

/// What the survey says while it works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Something is known.
    Progress(String),
    /// Everything is.
    Done,
}

/// The machine.
pub struct Survey {
    servers: Vec<Asked>,
    routers: Vec<Tried>,
    client: Client,
    requests: Vec<(RequestId, usize, What)>,
    schedule: Schedule,
    rng: fn() -> Box<dyn Rng + Send>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    done: bool,
}

/// A server and what it has been asked.
struct Asked {
    target: Target,
    behaviour: Behaviour,
    behaviour_done: bool,
    search: Option<Search>,
    streams: [Stream; 2],
    report: Server,
}

/// A connection to a server.
struct Stream {
    flow: Flow,
    framer: StreamFramer,
}

/// What a request of the client's is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Seen,
    Tcp,
    Tls,
}

/// A router and what it has said.
struct Tried {
    router: Router,
    mapper: PortMapper,
    result: Option<Result<farspeak_ice::port_mapping::Mapping, Reason>>,
    /// How long to wait for the mapping to be given back.
    until: Option<Instant>,
}

/// How long a router may take to take back what it gave.
const GIVING_BACK: Duration = Duration::from_secs(3);
/// What the trial mapping is asked for; it is given back at once.
const TRIAL: Duration = Duration::from_secs(120);

impl Survey {
    /// Asks nobody yet. No single answer will be waited for longer than about `patience`.
    pub fn new(patience: Duration, rng: fn() -> Box<dyn Rng + Send>) -> Self {
        // Sent at 0, 1, 3 and 7, given up at 16 sixteenths.
        let rto = (patience / 16).max(Duration::from_millis(50));
        let schedule = Schedule { rto, rc: 4, rm: 9, ti: patience };
        let config = ClientConfig { schedule, outstanding: 64, ..ClientConfig::default() };
        let client = Client::new(config, Authentication::None, rng());
        Self {
            servers: Vec::new(),
            routers: Vec::new(),
            client,
            requests: Vec::new(),
            schedule,
            rng,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            done: false,
        }
    }

    /// Begins with everything. [`Event::Done`] follows.
    pub fn begin(&mut self, now: Instant, targets: Vec<Target>, routers: Vec<Router>) {
        let (schedule, rng) = (self.schedule, self.rng);
        self.servers = targets.into_iter().map(|target| Asked::begin(now, target, schedule, rng())).collect();
        self.routers = routers.into_iter().map(|router| Tried::begin(now, router, schedule.ti, rng())).collect();
        for at in 0..self.servers.len() {
            self.ask(now, at);
        }
        self.proceed(now);
    }

    /// What is known of the servers.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().map(|asked| &asked.report)
    }

    /// What is known of the routers.
    pub fn port_mapping(&self) -> impl Iterator<Item = PortMapping> + '_ {
        self.routers.iter().map(|tried| PortMapping {
            by: tried.router.way,
            gateway: tried.router.gateway.ip(),
            result: tried.result.unwrap_or(Err(Reason::NoAnswer)),
        })
    }

    fn ask(&mut self, now: Instant, at: usize) {
        let asked = &self.servers[at];
        let seen = Flow::unbound(Transport::Udp, asked.target.z, asked.target.server);
        let flows = [(What::Seen, seen), (What::Tcp, asked.streams[0].flow), (What::Tls, asked.streams[1].flow)];
        for (what, flow) in flows {
            if let Ok(request) = self.client.request(now, flow, Request::binding()) {
                self.requests.push((request, at, what));
            }
        }
    }

    /// Takes what the parts have found out.
    fn proceed(&mut self, now: Instant) {
        while let Some(event) = self.client.poll_event() {
            self.answered(event);
        }
        for at in 0..self.servers.len() {
            self.look_at_behaviour(now, at);
            let asked = &mut self.servers[at];
            if let Some(found) = asked.search.as_ref().and_then(Search::found) {
                asked.search = None;
                asked.report.mtu = Some(found);
                let name = &asked.target.name;
                self.events.push_back(Event::Progress(match found.passes {
                    Some(length) => format!("{name}: packets of {length} bytes get through"),
                    None => format!("{name}: no long packet gets through"),
                }));
            }
        }
        for tried in &mut self.routers {
            if let Some(news) = tried.proceed(now) {
                self.events.push_back(Event::Progress(news));
            }
        }
        if !self.done && self.is_settled() {
            self.done = true;
            self.events.push_back(Event::Done);
        }
    }

    fn is_settled(&self) -> bool {
        self.requests.is_empty()
            && self.servers.iter().all(|asked| asked.behaviour_done && asked.search.is_none())
            && self.routers.iter().all(|tried| tried.result.is_some() && tried.until.is_none())
    }

    fn look_at_behaviour(&mut self, now: Instant, at: usize) {
        let asked = &mut self.servers[at];
        let Some(report) = asked.behaviour.poll_event() else { return };
        asked.behaviour_done = true;
        asked.report.behaviour = report;
        asked.report.udp = if report.answered { Reach::Open } else { Reach::Silent };
        let (name, server) = (&asked.target.name, asked.target.server);
        self.events.push_back(Event::Progress(match report.mapped {
            Some(mapped) => format!("{name}: UDP gets through; {server} sees {mapped}"),
            None if report.answered => format!("{name}: UDP gets through; {server} does not tell what it sees"),
            None => format!("{name}: UDP to {server} gets no answer"),
        }));
        if let (Some(big), Some(_)) = (asked.target.big, report.mapped) {
            let flow = Flow::unbound(Transport::Udp, big, asked.target.server);
            let schedule = Schedule { rc: 3, rm: 4, ..self.schedule };
            asked.search = Some(Search::begin(now, flow, schedule, &mut *(self.rng)()));
        }
    }

    fn answered(&mut self, event: StunEvent) {
        let (request, seen, reach) = match &event {
            StunEvent::Response { request, bytes, .. } => {
                let message = Message::parse(bytes).ok();
                (*request, message.and_then(|message| message.xor_mapped_address().ok().flatten()), Reach::Open)
            }
            StunEvent::Failed { request, reason: Failure::FlowFailed } => (*request, None, Reach::Refused),
            StunEvent::Failed { request, .. } => (*request, None, Reach::Silent),
        };
        let Some(at) = self.requests.iter().position(|(known, ..)| *known == request) else { return };
        let (_, server, what) = self.requests.swap_remove(at);
        let report = &mut self.servers[server].report;
        let transport = match what {
            What::Seen => {
                report.seen = seen;
                return;
            }
            What::Tcp => {
                report.tcp = reach;
                "TCP"
            }
            What::Tls => {
                report.tls = reach;
                "TLS"
            }
        };
        let means = match reach {
            Reach::Open => "gets through",
            Reach::Refused => "is refused",
            Reach::Silent | Reach::Untried => "gets no answer",
        };
        let address = if what == What::Tls { report.tls_address } else { report.address };
        self.events.push_back(Event::Progress(format!("{}: {transport} to {address} {means}", report.name)));
    }

    fn drain(&mut self) {
        for asked in &mut self.servers {
            self.transmits.extend(std::iter::from_fn(|| asked.behaviour.poll_transmit()));
            if let Some(search) = &mut asked.search {
                self.transmits.extend(std::iter::from_fn(|| search.poll_transmit()));
            }
        }
        for tried in &mut self.routers {
            self.transmits.extend(std::iter::from_fn(|| tried.mapper.poll_transmit()));
        }
        self.transmits.extend(std::iter::from_fn(|| self.client.poll_transmit()));
    }

    /// Bytes of a connection to a server: cut into messages. `false` if it is none of ours.
    fn stream(&mut self, now: Instant, received: &Receive<'_>) -> bool {
        let is_it = |stream: &&mut Stream| {
            (stream.flow.transport, stream.flow.remote) == (received.flow.transport, received.flow.remote)
        };
        let Some(stream) = self.servers.iter_mut().flat_map(|asked| &mut asked.streams).find(is_it) else {
            return false;
        };
        stream.framer.push(received.bytes);
        while let Some(Framed::Stun(bytes) | Framed::ChannelData(bytes)) = stream.framer.next() {
            self.client.handle_receive(now, Receive { flow: received.flow, bytes });
        }
        true
    }
}

impl Asked {
    fn begin(now: Instant, target: Target, schedule: Schedule, rng: Box<dyn Rng + Send>) -> Self {
        let udp = |local| Flow::unbound(Transport::Udp, local, target.server);
        let behaviour = Behaviour::begin(now, udp(target.x), Some(udp(target.y)), schedule, rng);
        let local = SocketAddr::new(target.x.ip(), 0);
        let stream = |transport, remote| Stream {
            flow: Flow::unbound(transport, local, remote),
            framer: StreamFramer::default(),
        };
        let streams = [stream(Transport::Tcp, target.server), stream(Transport::Tls, target.tls)];
        let report = Server {
            name: target.name.clone(),
            address: target.server,
            tls_address: target.tls,
            udp: Reach::Untried,
            tcp: Reach::Untried,
            tls_port: Reach::Untried,
            tls: Reach::Untried,
            certificate: None,
            behaviour: farspeak_stun::discovery::BehaviourReport::default(),
            seen: None,
            mtu: None,
        };
        Self { target, behaviour, behaviour_done: false, search: None, streams, report }
    }
}

impl Tried {
    fn begin(now: Instant, router: Router, patience: Duration, rng: Box<dyn Rng + Send>) -> Self {
        let config = Config { ways: vec![router.way], patience, lifetime: TRIAL, ..Config::default() };
        let mut mapper = PortMapper::new(config, router.socket, router.gateway, rng);
        // There is room for one.
        let _ = mapper.map(now, Protocol::Udp, router.socket.port());
        Self { router, mapper, result: None, until: None }
    }

    /// Takes what the router has said, and gives back what it gave.
    fn proceed(&mut self, now: Instant) -> Option<String> {
        let mut news = None;
        while let Some(event) = self.mapper.poll_event() {
            let result = match event {
                MapperEvent::Mapped(mapping) => Ok(mapping),
                MapperEvent::Unavailable { reason, .. } => Err(reason),
                MapperEvent::Lost { .. } => continue,
            };
            if self.result.is_none() {
                self.result = Some(result);
                self.until = Some(now + GIVING_BACK);
                self.mapper.close(now);
                let (way, gateway) = (self.router.way, self.router.gateway.ip());
                news = Some(match result {
                    Ok(mapping) => format!("router {gateway} opens {} by {way}", mapping.external),
                    Err(reason) => format!("{way} at router {gateway}: {reason}"),
                });
            }
        }
        if self.mapper.is_idle() || self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
        news
    }
}

impl Machine for Survey {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let local = received.flow.local;
        if received.flow.transport == Transport::Udp {
            for asked in &mut self.servers {
                if [asked.target.x, asked.target.y].contains(&local) {
                    asked.behaviour.handle_receive(now, received);
                } else if let Some(search) = asked.search.as_mut().filter(|_| asked.target.big == Some(local)) {
                    search.receive(received.bytes);
                } else if asked.target.z == local {
                    // One client asks for all servers.
                    self.client.handle_receive(now, received);
                }
            }
            for tried in self.routers.iter_mut().filter(|tried| tried.router.socket == local) {
                tried.mapper.handle_receive(now, received);
            }
        } else if !self.stream(now, &received) {
            self.routers.iter_mut().for_each(|tried| tried.mapper.handle_receive(now, received));
        }
        self.proceed(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now);
        for asked in &mut self.servers {
            asked.behaviour.handle_timeout(now);
            if let Some(search) = &mut asked.search {
                search.timeout(now);
            }
        }
        self.routers.iter_mut().for_each(|tried| tried.mapper.handle_timeout(now));
        self.proceed(now);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        // A datagram that came back says little; each test has its own end.
        if flow.transport.is_reliable() {
            self.client.handle_flow_failed(now, flow);
        }
        self.routers
            .iter_mut()
            .filter(|tried| flow.transport.is_reliable() || tried.router.socket == flow.local)
            .for_each(|tried| tried.mapper.handle_flow_failed(now, flow));
        self.proceed(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.transmits.is_empty() {
            self.drain();
        }
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.done {
            return None;
        }
        let servers = self.servers.iter().flat_map(|asked| {
            [asked.behaviour.poll_timeout(), asked.search.as_ref().and_then(Search::deadline)].into_iter().flatten()
        });
        let routers =
            self.routers.iter().flat_map(|tried| [tried.mapper.poll_timeout(), tried.until].into_iter().flatten());
        servers.chain(routers).chain(self.client.poll_timeout()).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
