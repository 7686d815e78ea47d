//! The packet loop: one thread per shard that moves media between sockets, apart from the signalling runtime.
//!
//! Its machine ([`PacketMachine`]) is handed each packet where it lies and says where it goes; nothing is allocated on
//! the way. Listeners are shared between shards by `SO_REUSEPORT`; trains of datagrams are received whole (GRO) and sent
//! whole (GSO). Connections, with TLS or without, are framed by the machine's measure. Other threads reach a machine
//! through a [`RelayHandle`].
//!
//! ```text
//!  UDP listeners ──┐                     ┌──> train ──> UDP, to clients or out of relay sockets
//!  relay sockets ──┼──> worker: machine ─┤
//!  TCP, TLS ───────┘        ^            └──> stream (bounded; media is dropped, answers are not)
//!            other shards, commands: inbox
//!  peers by TCP <── splice ──> TCP, TLS of clients: bytes, no messages (RFC 6062)
//! ```

mod acceptor;
mod connections;
mod counters;
mod cut;
mod errands;
mod handover;
mod inbox;
mod machine;
mod os;
mod pace;
mod peers;
mod proxy_protocol;
// Not for use: what fuzz targets and tests try without sockets.
#[doc(hidden)]
pub mod rehearsal;
mod sockets;
mod splice;
mod stream;
mod streams;
mod tcp;
mod train;
mod worker;

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use farspeak_sansio::{Instant, Transport};
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use socket2::Socket;
use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::bind::{self, Listening};
use crate::{Clock, Counters, Listener, MAX_SHARDS, StartError, StreamConfig};

pub use counters::RelayCounters;
pub use handover::Handover;
pub use machine::{Action, Frame, Meter, PacketMachine};

use acceptor::Acceptor;
use inbox::{Closing, Inbox, Mail};
use peers::TcpPeers;
use sockets::Sockets;
use streams::Streams;
use train::Train;
use worker::Worker;

/// Everything that [`start`] needs to know.
#[derive(Clone)]
pub struct RelayConfig {
    /// How many shards, each a thread. Default: one for each processor this process may use. Range 1–64.
    pub shards: u8,
    /// Whether shard n is tied to the n-th processor. Default `false`.
    pub pin_cores: bool,
    /// Where to listen: `Udp`, `Tcp` and `Tls`.
    pub listeners: Vec<Listener>,
    /// Datagram sockets.
    pub udp: RelayUdpConfig,
    /// Connections: the bounds on their number, and the timeouts. What concerns WebSocket and keep-alives does not count.
    pub stream: StreamConfig,
    /// Most TCP connections to and from peers, on each shard; they count as connections besides. Default 10,000.
    pub peer_connections: usize,
    /// Which sources are load balancers whose connections begin with a PROXY header, version 2. Default: none.
    pub proxies: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shards: processors.min(MAX_SHARDS) as u8,
            pin_cores: false,
            listeners: Vec::new(),
            udp: RelayUdpConfig::default(),
            stream: StreamConfig::default(),
            peer_connections: 10_000,
            proxies: Arc::new(|_| false),
        }
    }
}

impl fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayConfig")
            .field("shards", &self.shards)
            .field("listeners", &self.listeners)
            .field("udp", &self.udp)
            .finish_non_exhaustive()
    }
}

/// Kernel buffers of datagram sockets, in bytes each way; the kernel may grant less (`net.core.rmem_max`).
#[derive(Clone, Debug)]
pub struct RelayUdpConfig {
    /// Of each listener. Default 4 MiB: a burst of all clients at once.
    pub listener_buffer: usize,
    /// Of each relay socket. Default 256 kB: a burst of one peer.
    pub relay_buffer: usize,
}

impl Default for RelayUdpConfig {
    fn default() -> Self {
        Self { listener_buffer: 4 << 20, relay_buffer: 256_000 }
    }
}

/// What a factory is told about the shard it builds for.
#[derive(Clone, Debug)]
pub struct RelayBirth {
    /// Which shard, from 0.
    pub shard: u8,
    /// How many shards.
    pub shards: u8,
    /// Now.
    pub now: Instant,
    /// What all shards listen on, with the ports that were free where the configuration said 0.
    pub listening: Arc<[Listening]>,
}

/// Something to be done by a loop, on its thread, between packets.
pub type RelayCommand<M> = Box<dyn FnOnce(&mut M, &RelayCounters, Instant) + Send>;

/// The running loops. Dropping it stops them.
pub struct Relay<M> {
    inboxes: Arc<[Inbox<M>]>,
    connections: Arc<[Arc<Counters>]>,
    listening: Arc<[Listening]>,
    /// Each says whether its loop ended because it was told to.
    threads: Vec<JoinHandle<bool>>,
}

impl<M> fmt::Debug for Relay<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("listening", &self.listening).finish_non_exhaustive()
    }
}

/// A way to the loops for other threads. Cheap to clone.
pub struct RelayHandle<M>(Arc<[Inbox<M>]>);

impl<M> Clone for RelayHandle<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for RelayHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handle of {} packet loops", self.0.len())
    }
}

/// Why something did not reach a loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RelayError {
    /// Too much waits for it.
    Busy,
    /// There is no such loop, or it has ended.
    Stopped,
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the packet loop's queue is full",
            Self::Stopped => "the packet loop has stopped",
        })
    }
}

impl std::error::Error for RelayError {}

/// Binds, builds and runs. `factory` is called once on each shard's thread.
///
/// # Errors
/// [`StartError`]; no thread runs then and no port is taken.
pub fn start<M: PacketMachine>(
    config: RelayConfig,
    clock: Clock,
    factory: impl Fn(RelayBirth) -> M + Send + Sync + 'static,
) -> Result<Relay<M>, StartError> {
    let shards = config.shards.clamp(1, MAX_SHARDS as u8);
    let mut sockets: Vec<Vec<(Socket, Listening)>> = (0..shards).map(|_| Vec::new()).collect();
    let mut listening = Vec::new();
    for listener in &config.listeners {
        if listener.transport.is_secure() && listener.tls.is_none() {
            return Err(StartError::NoCertificate(listener.address));
        }
        let (bound, address) =
            bind::bind_shared(listener.transport, listener.address, usize::from(shards)).map_err(StartError::Bind)?;
        let known = Listening { transport: listener.transport, address };
        listening.push(known);
        sockets.iter_mut().zip(bound).for_each(|(of_shard, socket)| of_shard.push((socket, known)));
    }
    let polls: io::Result<Vec<_>> = (0..shards).map(|_| Poll::new()).collect();
    let polls = polls.map_err(StartError::System)?;
    let inboxes: io::Result<Vec<Inbox<M>>> =
        polls.iter().map(|poll| Ok(Inbox::new(Waker::new(poll.registry(), token::new(token::WAKER, 0))?))).collect();
    let listening: Arc<[Listening]> = listening.into();
    let mut relay = Relay {
        inboxes: inboxes.map_err(StartError::System)?.into(),
        connections: (0..shards).map(|_| Arc::default()).collect(),
        listening: Arc::clone(&listening),
        threads: Vec::new(),
    };
    // Handles may outlive the process in tokens: those of an earlier one must not name our connections.
    let first_generation = RandomState::new().hash_one(clock.unix_at_origin_ms()) as u32;
    let factory = Arc::new(factory);
    for (index, (sockets, poll)) in sockets.into_iter().zip(polls).enumerate() {
        let shard = index as u8; // at most MAX_SHARDS
        let (config, inboxes, factory) = (config.clone(), Arc::clone(&relay.inboxes), Arc::clone(&factory));
        let (listening, connections) = (Arc::clone(&listening), Arc::clone(&relay.connections[index]));
        // Whatever can fail is done here: the thread only runs.
        let train = Train::new().map_err(StartError::System)?;
        let (listeners, acceptors) = register(&poll, sockets, &config).map_err(StartError::System)?;
        let body = move || {
            let _closing = Closing { inboxes: Arc::clone(&inboxes), shard };
            if config.pin_cores {
                crate::shard::pin_to_core(index);
            }
            let now = clock.now();
            let worker = Worker {
                shard,
                clock,
                poll,
                machine: factory(RelayBirth { shard, shards, now, listening }),
                sockets: listeners,
                streams: Streams::new(
                    shard,
                    first_generation,
                    config.stream.clone(),
                    Admission::new(&config.stream, &connections),
                ),
                acceptors,
                tcp: TcpPeers::new(config.peer_connections),
                train,
                inboxes,
                counters: RelayCounters::default(),
                now,
                postponed: VecDeque::new(),
                sweep: now + config.stream.sweep,
            };
            worker.run()
        };
        let thread = std::thread::Builder::new().name(format!("relay-{shard}")).spawn(body);
        relay.threads.push(thread.map_err(StartError::System)?);
    }
    Ok(relay)
}

/// Hands the sockets of one shard to its poll.
fn register(
    poll: &Poll,
    sockets: Vec<(Socket, Listening)>,
    config: &RelayConfig,
) -> io::Result<(Sockets, Vec<Acceptor>)> {
    let mut listeners = Sockets::new(config.udp.clone());
    let mut acceptors = Vec::new();
    for ((socket, known), listener) in sockets.into_iter().zip(&config.listeners) {
        if known.transport == Transport::Udp {
            listeners.listen(poll.registry(), socket, known.address)?;
            continue;
        }
        socket.listen(bind::BACKLOG)?;
        let mut socket = TcpListener::from_std(socket.into());
        let token = token::new(token::TCP_LISTENER, acceptors.len() as u32);
        poll.registry().register(&mut socket, token, Interest::READABLE)?;
        let (tls, proxies) = (listener.tls.clone(), Arc::clone(&config.proxies));
        acceptors.push(Acceptor::new(socket, known.address, tls, proxies));
    }
    Ok((listeners, acceptors))
}

impl<M: PacketMachine> Relay<M> {
    /// What is listened on.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// A way to the loops.
    pub fn handle(&self) -> RelayHandle<M> {
        RelayHandle(Arc::clone(&self.inboxes))
    }

    /// What each shard counted of connections, in order: how many there are, how many were refused.
    pub fn connections(&self) -> Arc<[Arc<Counters>]> {
        Arc::clone(&self.connections)
    }

    /// Ends the loops in good order: machines say goodbye, connections are closed, threads are joined. False if one had
    /// died before.
    pub fn stop(mut self) -> bool {
        self.end()
    }
}

impl<M> Relay<M> {
    fn end(&mut self) -> bool {
        for inbox in &*self.inboxes {
            let _ = inbox.post(Mail::Stop); // refused only if the loop has ended
        }
        let joined: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        joined.iter().all(|ended| matches!(ended, Ok(true)))
    }
}

impl<M> Drop for Relay<M> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<M: PacketMachine> RelayHandle<M> {
    /// How many shards there are.
    pub fn count(&self) -> u8 {
        self.0.len() as u8 // at most MAX_SHARDS
    }

    /// Runs something on a shard, between packets, soon. It must not block.
    ///
    /// # Errors
    /// [`RelayError`].
    pub fn run(
        &self,
        shard: u8,
        command: impl FnOnce(&mut M, &RelayCounters, Instant) + Send + 'static,
    ) -> Result<(), RelayError> {
        self.post(shard, Mail::Run(Box::new(command)))
    }

    /// Asks a shard something.
    ///
    /// # Errors
    /// [`RelayError`], also if the question panicked.
    pub async fn query<R: Send + 'static>(
        &self,
        shard: u8,
        question: impl FnOnce(&mut M, &RelayCounters, Instant) -> R + Send + 'static,
    ) -> Result<R, RelayError> {
        let (sender, receiver) = oneshot::channel();
        self.run(shard, move |machine, counters, now| {
            let _ = sender.send(question(machine, counters, now)); // whoever asked may have gone
        })?;
        receiver.await.map_err(|_| RelayError::Stopped)
    }

    /// Gives a shard a connection that was accepted elsewhere.
    ///
    /// # Errors
    /// [`RelayError`]; the connection is closed then.
    pub fn take_over(&self, shard: u8, handover: Handover) -> Result<(), RelayError> {
        self.post(shard, Mail::TakeOver(Box::new(handover)))
    }

    fn post(&self, shard: u8, mail: Mail<M>) -> Result<(), RelayError> {
        self.0.get(usize::from(shard)).ok_or(RelayError::Stopped)?.post(mail)
    }
}

/// What an event is about: a kind in the upper half of the token, a slot in the lower.
mod token {
    use mio::Token;

    pub(super) const WAKER: usize = 0;
    pub(super) const UDP_LISTENER: usize = 1;
    pub(super) const TCP_LISTENER: usize = 2;
    pub(super) const RELAY: usize = 3;
    pub(super) const STREAM: usize = 4;
    pub(super) const RELAY_LISTENER: usize = 5;
    pub(super) const PEER: usize = 6;

    pub(super) const fn new(kind: usize, slot: u32) -> Token {
        Token(kind << 32 | slot as usize)
    }

    pub(super) const fn kind(token: Token) -> usize {
        token.0 >> 32
    }
}
