//! The client's end of an allocation, RFC 8656 §5–§12 and RFC 8016, as a machine.
//!
//! The owner (an ICE agent, a tunnel) says which peers it wants to talk to; the client asks the server and keeps what it
//! got alive: the allocation, permissions and channels, each before it ends. Requests go through
//! [`farspeak_stun::Client`], which repeats them, answers challenges and believes nothing that is not sealed.
//!
//! ```text
//!   allocate  permit  bind  release  moved          send              receive
//!       │        │      │      │       │              │                  ▲
//!   allocation permission channel  allocation  mobility │   relay.rs     │  ChannelData, Data indications
//!       └────────┴──┬───┴──────┴───────┘              └──────┬───────────┘
//!            stun::Client (requests)                   the server's flow
//! ```

mod allocation;
mod channel;
mod config;
mod connect;
mod event;
mod keep_alive;
mod mobility;
mod permission;
mod relay;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Rng, SplitMix64, Transmit};
use farspeak_stun::long_term::Credentials;
use farspeak_stun::{Authentication, ClientConfig, Message, Method, Request, RequestId, Writer};

use allocation::{Extras, State};
use channel::Channels;
pub use config::{Config, Families};
use connect::Connections;
pub use event::{Allocated, Event, Failure, SendError};
use permission::Permissions;
pub use relay::Data;
use relay::Queue;

/// One allocation at one server over one flow.
///
/// ```
/// # use farspeak_sansio::{Flow, Instant, Machine, SplitMix64, Transport};
/// use farspeak_turn::client::{Client, Config, Event};
/// # let socket = "192.0.2.7:4000".parse().unwrap();
/// # let server = "198.51.100.1:3478".parse().unwrap();
/// # let peer: std::net::SocketAddr = "203.0.113.5:5000".parse().unwrap();
/// # let now = Instant::ZERO;
///
/// let flow = Flow::unbound(Transport::Udp, socket, server);
/// let mut client = Client::new(Config::for_user("alice", "secret"), flow, Box::new(SplitMix64::new(1)));
/// client.allocate(now);
/// client.bind(now, peer); // asked for as soon as there is an allocation
/// while let Some(transmit) = client.poll_transmit() {
///     // to the socket
/// }
/// while let Some(event) = client.poll_event() {
///     match event {
///         Event::Allocated(allocation) => println!("peers reach us at {:?}", allocation.relayed),
///         Event::Bound { peer, .. } => client.send(now, peer, b"hello").unwrap(),
///         Event::Failed(reason) | Event::Lost(reason) => println!("no relay: {reason}"),
///         _ => {}
///     }
/// }
/// ```
///
/// What was asked for before there is an allocation is kept and asked when there is one. An allocation that is
/// [lost](Event::Lost) takes all permissions and channels with it.
///
/// Nothing is believed that comes from elsewhere than the server's flow; of what comes from there, answers only if they
/// are sealed with our credentials (once the server has challenged us), and data only from peers that are permitted. Data
/// itself is not sealed: over UDP and TCP, who can write to the way between us can write data (RFC 8656 §21.1.4).
pub struct Client {
    config: Config,
    flow: Flow,
    state: State,
    requests: farspeak_stun::Client,
    /// What each request under way is about.
    asked: Vec<(RequestId, Asked)>,
    permissions: Permissions,
    channels: Channels,
    queue: Queue,
    connections: Connections,
    mobility: mobility::Mobility,
    keep_alive: keep_alive::KeepAlive,
    /// Makes the transaction IDs of indications: nobody answers these, so they need to be unique and not secret.
    indications: SplitMix64,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// What a request was sent for, and when: what it grants is counted from then.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    /// An allocation.
    Allocate(Instant, Extras),
    /// That the allocation lives on.
    Refresh(Instant),
    /// That the allocation follows us (RFC 8016).
    Move(Instant),
    /// That it ends.
    Release,
    /// The same, when nobody waits for the answer.
    Farewell,
    /// Permissions for these peers.
    Permissions(Vec<IpAddr>, Instant),
    /// This channel.
    Channel(u16, Instant),
    /// A connection to this peer (RFC 6062).
    Connect(SocketAddr),
    /// That this stream carries a connection.
    Accept(Flow),
}

/// How a request ended: a success response, or none.
type Outcome<'a> = Result<Message<'a>, Failure>;

/// Most requests that may be under way to the server, and how many of them permissions and channels may take: a refresh
/// never waits for them.
const MOST_REQUESTS: usize = 10;
const MOST_FOR_PEERS: usize = 7;

/// How long after a failure the same thing is tried again.
const PAUSE: Duration = Duration::from_secs(2);

impl Client {
    /// A client that has asked for nothing so far. `server` is the flow to the server: on UDP its local address names our
    /// socket; on TCP and TLS it may be unbound, for the driver to open. `rng` makes transaction IDs, which have to be
    /// unpredictable: a secure one in production.
    pub fn new(config: Config, server: Flow, mut rng: Box<dyn Rng + Send>) -> Self {
        let credentials = Credentials::new(&config.username, &config.password);
        let indications = SplitMix64::new(rng.next_u64());
        let keep_alive = keep_alive::KeepAlive::new(&config, server, SplitMix64::new(rng.next_u64()));
        let requests =
            ClientConfig { schedule: config.schedule, outstanding: MOST_REQUESTS, ..ClientConfig::default() };
        Self {
            requests: farspeak_stun::Client::new(requests, Authentication::LongTerm(credentials), rng),
            permissions: Permissions::new(config.peers),
            channels: Channels::new(config.channels),
            queue: Queue::new(config.queued),
            connections: Connections::default(),
            mobility: mobility::Mobility::default(),
            config,
            flow: server,
            state: State::Idle,
            asked: Vec::new(),
            keep_alive,
            indications,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Over which flow the server is spoken to.
    pub const fn flow(&self) -> Flow {
        self.flow
    }

    /// Whether there is an allocation.
    pub const fn is_allocated(&self) -> bool {
        matches!(self.state, State::Allocated(_))
    }

    /// The relayed addresses; empty without an allocation.
    pub fn relayed(&self) -> &[SocketAddr] {
        match &self.state {
            State::Allocated(allocation) => &allocation.relayed,
            _ => &[],
        }
    }

    /// How often the server has challenged us so far: once, and for each nonce that has expired.
    pub const fn challenges(&self) -> u64 {
        self.requests.challenges()
    }

    /// Lets this peer send to us, from any port, and us to it; kept alive until [`Self::forget`]. Calling it again does
    /// nothing. [`Event::Permitted`] or [`Event::NotPermitted`] follows.
    pub fn permit(&mut self, now: Instant, peer: IpAddr) {
        let peer = peer.to_canonical();
        if !self.permissions.want(peer) {
            self.events.push_back(Event::NotPermitted { peer, failure: Failure::Full });
        }
        self.ask_for_peers(now);
    }

    /// Gives data to and from this peer a channel, which saves 32 bytes or more on each datagram, and permits the peer;
    /// kept alive until [`Self::unbind`]. Calling it again does nothing. [`Event::Bound`] or [`Event::NotBound`] follows.
    pub fn bind(&mut self, now: Instant, peer: SocketAddr) {
        let peer = canonical(peer);
        let bound = self.permissions.want_for_channel(peer.ip()) && self.channels.want(now, peer);
        if !bound {
            self.permissions.release_unused(peer.ip(), |ip| self.channels.use_ip(ip));
            self.events.push_back(Event::NotBound { peer, failure: Failure::Full });
        }
        self.ask_for_peers(now);
    }

    /// Gives the peer's channel up: it is not kept alive any more, and data goes in indications. The permission stays if
    /// [`Self::permit`] asked for it.
    pub fn unbind(&mut self, peer: SocketAddr) {
        let peer = canonical(peer);
        self.channels.unwant(peer);
        self.permissions.release_unused(peer.ip(), |ip| self.channels.use_ip(ip));
    }

    /// Gives the peer's permission and channels up, and forgets that the server refused it. From now on nothing from it
    /// is passed on, though the server may let it send for up to 5 minutes (RFC 8656 §9).
    pub fn forget(&mut self, peer: IpAddr) {
        let peer = peer.to_canonical();
        self.channels.unwant_ip(peer);
        self.permissions.remove(peer);
        self.queue.remove(peer);
    }

    /// Sends what permissions and channels want, as far as there is room.
    fn ask_for_peers(&mut self, now: Instant) {
        if self.is_allocated() && !self.mobility.is_moving() {
            self.ask_for_permissions(now);
            self.ask_for_channels(now);
        }
    }

    /// Whether another request about peers may go out.
    fn has_room(&self) -> bool {
        self.asked.len() < MOST_FOR_PEERS
    }

    fn ask(
        &mut self,
        now: Instant,
        method: Method,
        asked: Asked,
        write: impl Fn(&mut Writer<'_>) + Send + 'static,
    ) -> Result<(), Failure> {
        self.ask_over(now, self.flow, method, asked, write)
    }

    fn ask_over(
        &mut self,
        now: Instant,
        flow: Flow,
        method: Method,
        asked: Asked,
        write: impl Fn(&mut Writer<'_>) + Send + 'static,
    ) -> Result<(), Failure> {
        match self.requests.request(now, flow, Request::new(method, write)) {
            Ok(request) => {
                self.asked.push((request, asked));
                self.keep_alive.sent(now);
                Ok(())
            }
            Err(farspeak_stun::Busy::Unwritable(error)) => {
                Err(Failure::NoAnswer(farspeak_stun::Failure::Unwritable(error)))
            }
            Err(_) => Err(Failure::Full),
        }
    }

    /// Forgets the requests under way that were sent for these things.
    fn cancel(&mut self, which: impl Fn(&Asked) -> bool) {
        let requests = &mut self.requests;
        self.asked.retain(|(request, asked)| {
            let cancelled = which(asked);
            if cancelled {
                requests.cancel(*request);
            }
            !cancelled
        });
    }

    /// Acts on what became of requests. `heard` is the flow on which something has just arrived.
    fn settle(&mut self, now: Instant, heard: Option<Flow>) {
        while let Some(event) = self.requests.poll_event() {
            let (request, ended) = match event {
                farspeak_stun::Event::Response { request, bytes, .. } => (request, Ok(bytes)),
                farspeak_stun::Event::Failed { request, reason } => (request, Err(Failure::NoAnswer(reason))),
            };
            let Some(at) = self.asked.iter().position(|(known, _)| *known == request) else { continue };
            let (_, asked) = self.asked.swap_remove(at);
            match ended {
                Err(failure) => self.ended(now, heard, asked, Err(failure)),
                Ok(bytes) => {
                    let message = Message::parse(&bytes).expect("the requests' client has read it");
                    let failure = Failure::of(&message, self.requests.is_challenged());
                    self.ended(now, heard, asked, failure.map_or(Ok(message), Err));
                }
            }
        }
        self.ask_for_peers(now);
    }

    fn ended(&mut self, now: Instant, heard: Option<Flow>, asked: Asked, outcome: Outcome<'_>) {
        match asked {
            Asked::Allocate(at, extras) => self.allocate_ended(now, heard, at, extras, outcome),
            Asked::Refresh(at) => self.refresh_ended(now, at, outcome),
            Asked::Move(at) => self.move_ended(now, heard, at, outcome),
            Asked::Release => self.release_ended(),
            Asked::Farewell => {}
            Asked::Permissions(peers, at) => self.permissions_ended(now, &peers, at, outcome),
            Asked::Channel(channel, at) => self.channel_ended(now, channel, at, outcome),
            Asked::Connect(peer) => self.connect_ended(now, peer, outcome),
            Asked::Accept(stream) => self.accept_ended(heard, stream, outcome),
        }
    }

    /// Whether something that came over this flow is the server's: for who has several clients.
    pub fn is_from_server(&self, flow: &Flow) -> bool {
        let mut others = self.mobility.flows().chain(self.connections.flows());
        is_same(&self.flow, flow) || others.any(|known| is_same(known, flow))
    }

    /// Drops the allocation and all that belongs to it.
    fn lose(&mut self, failure: Failure) {
        self.clear();
        self.events.push_back(Event::Lost(failure));
    }

    fn clear(&mut self) {
        self.cancel(|asked| *asked != Asked::Farewell);
        self.state = State::Idle;
        self.permissions.clear();
        self.channels.clear();
        self.queue.clear();
        self.connections.clear();
        self.mobility = mobility::Mobility::default();
        self.keep_alive.stop();
    }
}

/// Whether a flow is the one that we know: on datagrams by our socket's address, on streams by the connection. One that the
/// driver has opened for us has a handle that we do not know so far, and perhaps another port than we said.
fn is_same(own: &Flow, flow: &Flow) -> bool {
    let any = own.local.ip().is_unspecified() && [0, flow.local.port()].contains(&own.local.port());
    let local = own.local == flow.local || any;
    let end = match (own.transport.is_reliable(), own.id, flow.id) {
        (true, own, id) if id != FlowId::UNBOUND => own == id || own == FlowId::UNBOUND,
        _ => local,
    };
    own.transport == flow.transport && own.remote == flow.remote && end
}

/// An IPv4 address that came in IPv6's clothes means the IPv4 address.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("flow", &self.flow).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Machine for Client {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        if let Some(Data { peer, bytes }) = self.receive(now, received) {
            self.events.push_back(Event::Data { peer, bytes: bytes.to_vec() });
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.requests.handle_timeout(now);
        self.settle(now, None);
        self.refresh_if_due(now);
        self.ask_for_peers(now);
        self.keep_awake(now);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        if !self.is_from_server(&flow) || self.mobility.knows_end(now, &flow) {
            return;
        }
        self.requests.handle_flow_failed(now, flow);
        if flow.transport.is_reliable() && is_same(&self.flow, &flow) {
            self.stream_ended(now);
        }
        self.settle(now, None);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front().or_else(|| self.requests.poll_transmit()).or_else(|| self.keep_alive.poll_transmit())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let own = [self.requests.poll_timeout(), self.keep_alive.deadline(), self.refresh_at(), self.peers_due()];
        own.into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
