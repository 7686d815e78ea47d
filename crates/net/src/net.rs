//! Starting and stopping: binds the listeners, starts a thread for each shard, and ends them in good order.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine};
use tokio::sync::{Notify, mpsc};

use crate::bind::{self, BindError, Listening};
use crate::config::MAX_SHARDS;
use crate::flows::SharedFlows;
use crate::handle::{ShardHandle, ShardHandles};
use crate::rest;
use crate::shard::{self, ShardSetup};
use crate::{Clock, Counters, Framing, NetConfig};

/// Takes a machine's events. It may call methods of the machine: what these send leaves afterwards. It must not block.
pub type Handler<M> = Box<dyn FnMut(&mut ShardContext<M>, &mut M, Instant, <M as Machine>::Event)>;

/// Tells a machine that its shard is to stop: it may refuse new work from now on.
pub type Stopping<M> = Box<dyn FnMut(&mut M, Instant)>;

/// What a factory makes for each shard, on the shard's own thread.
pub struct Parts<M: Machine, F: Framing> {
    /// The machine.
    pub machine: M,
    /// Where its messages begin and end.
    pub framing: F,
    /// Takes its events.
    pub handler: Handler<M>,
    /// Called once when the shard is to stop, before waiting for [`Self::is_idle`]. Does nothing by default.
    pub stopping: Stopping<M>,
    /// Whether the machine has nothing in flight. A stopping shard ends as soon as it has. Always `true` by default.
    pub is_idle: Box<dyn Fn(&M) -> bool>,
}

impl<M: Machine + 'static, F: Framing> Parts<M, F> {
    /// A machine with its framing and its handler of events.
    pub fn new(
        machine: M,
        framing: F,
        handler: impl FnMut(&mut ShardContext<M>, &mut M, Instant, M::Event) + 'static,
    ) -> Self {
        Self {
            machine,
            framing,
            handler: Box::new(handler),
            stopping: Box::new(|_, _| ()),
            is_idle: Box::new(|_| true),
        }
    }

    /// Sets [`Self::stopping`] and [`Self::is_idle`].
    pub fn on_stop(mut self, stopping: impl FnMut(&mut M, Instant) + 'static, is_idle: fn(&M) -> bool) -> Self {
        self.stopping = Box::new(stopping);
        self.is_idle = Box::new(is_idle);
        self
    }
}

impl<M: Machine, F: Framing> fmt::Debug for Parts<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

/// What a factory is told about the shard it builds for.
#[derive(Debug)]
pub struct Birth<M: Machine> {
    /// Which shard, from 0.
    pub shard: u8,
    /// How many shards.
    pub shards: u8,
    /// Now.
    pub now: Instant,
    /// What all shards listen on, with the ports that were free where the configuration said 0.
    pub listening: Arc<[Listening]>,
    /// Ways to all shards, this one included.
    pub handles: ShardHandles<M>,
}

/// What an event handler can do besides calling its machine.
pub struct ShardContext<M: Machine> {
    pub(crate) shard: u8,
    pub(crate) handles: ShardHandles<M>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) flows: SharedFlows,
}

impl<M: Machine> fmt::Debug for ShardContext<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context of shard {}", self.shard)
    }
}

impl<M: Machine> ShardContext<M> {
    /// Which shard.
    pub const fn shard(&self) -> u8 {
        self.shard
    }

    /// Ways to all shards. Running something on one's own shard is fine: it happens after this event.
    pub const fn handles(&self) -> &ShardHandles<M> {
        &self.handles
    }

    /// This shard's counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Closes a connection after what waits for it is written; the machine gets `handle_flow_failed` then. Nothing
    /// happens if the flow is gone, is a datagram flow, or its shard's queue is full.
    pub fn close(&self, flow: Flow) {
        if flow.id.shard() == self.shard {
            self.flows.borrow_mut().close(flow.id);
        } else if let Some(handle) = self.handles.get(flow.id.shard()) {
            let _ = handle.close(flow); // a full queue: documented above
        }
    }
}

/// The running shards. Dropping it stops them without grace.
pub struct Net<M: Machine> {
    handles: ShardHandles<M>,
    counters: Arc<[Arc<Counters>]>,
    listening: Arc<[Listening]>,
    threads: Vec<(JoinHandle<bool>, Arc<Notify>)>,
    grace: Arc<shard::Grace>,
}

impl<M: Machine> fmt::Debug for Net<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("listening", &self.listening).finish_non_exhaustive()
    }
}

/// Binds, builds and runs. `factory` is called once on each shard's thread.
///
/// When this returns, every listener accepts. All or nothing: on an error no thread runs and no port is taken.
pub fn start<M, F>(
    config: NetConfig,
    clock: Clock,
    factory: impl Fn(Birth<M>) -> Parts<M, F> + Send + Sync + 'static,
) -> Result<Net<M>, StartError>
where
    M: Machine + 'static,
    F: Framing,
{
    let shards = config.shards.clamp(1, MAX_SHARDS as u8);
    for listener in &config.listeners {
        if listener.transport.is_secure() && listener.tls.is_none() {
            return Err(StartError::NoCertificate(listener.address));
        }
    }
    let runtimes: io::Result<Vec<_>> = (0..shards).map(|_| rest::runtime(config.rest)).collect();
    let runtimes = runtimes.map_err(StartError::System)?;
    let bound = bind::bind_all(&config, &runtimes).map_err(StartError::Bind)?;
    let listening: Arc<[Listening]> = bound.listening.into();
    let config = Arc::new(config);
    let factory = Arc::new(factory);
    let (senders, mailboxes): (Vec<_>, Vec<_>) =
        (0..shards).map(|_| mpsc::channel(config.command_queue.max(1))).unzip();
    let handles: Vec<_> =
        senders.into_iter().enumerate().map(|(shard, sender)| ShardHandle::new(shard as u8, sender)).collect();
    let handles = ShardHandles::new(handles);
    let counters: Arc<[Arc<Counters>]> = (0..shards).map(|_| Arc::default()).collect();
    // Handles outlive the process in journals and tokens: those of an earlier one must not name our connections.
    let first_generation = RandomState::new().hash_one(clock.unix_at_origin_ms()) as u32;
    let mut net = Net {
        handles: handles.clone(),
        counters: Arc::clone(&counters),
        listening: Arc::clone(&listening),
        threads: Vec::new(),
        grace: Arc::default(),
    };
    let shards_to_be = bound.sockets.into_iter().zip(mailboxes).zip(runtimes);
    for (shard, ((sockets, mailbox), runtime)) in shards_to_be.enumerate() {
        let stop = Arc::new(Notify::new());
        let setup = ShardSetup {
            shard: shard as u8,
            runtime,
            first_generation,
            clock,
            config: Arc::clone(&config),
            sockets,
            mailbox,
            handles: handles.clone(),
            counters: Arc::clone(&counters[shard]),
            stop: Arc::clone(&stop),
            grace: Arc::clone(&net.grace),
        };
        let (factory, listening) = (Arc::clone(&factory), Arc::clone(&listening));
        let thread = std::thread::Builder::new().name(format!("shard-{shard}")).spawn(move || {
            let birth =
                Birth { shard: setup.shard, shards, now: setup.clock.now(), listening, handles: setup.handles.clone() };
            shard::run(setup, factory(birth))
        });
        net.threads.push((thread.map_err(StartError::System)?, stop));
    }
    Ok(net)
}

impl<M: Machine> Net<M> {
    /// What is listened on.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Ways to the shards.
    pub const fn handles(&self) -> &ShardHandles<M> {
        &self.handles
    }

    /// The counters of each shard, in order.
    pub fn counters(&self) -> Arc<[Arc<Counters>]> {
        Arc::clone(&self.counters)
    }

    /// Stops: accepts nothing new, lets the machines finish for at most `grace`, writes what waits, says goodbye
    /// (close_notify) and joins the threads. Blocks the calling thread for at most `grace` and 2 s: hand it to
    /// `spawn_blocking` where other tasks must go on.
    pub fn stop(mut self, grace: Duration) -> Stopped {
        self.end(grace)
    }

    fn end(&mut self, grace: Duration) -> Stopped {
        self.grace.set(grace);
        let mut stopped = Stopped { finished: true, panicked: false };
        for (_, stop) in &self.threads {
            stop.notify_one();
        }
        for (thread, _) in self.threads.drain(..) {
            match thread.join() {
                Ok(finished) => stopped.finished &= finished,
                Err(_) => stopped.panicked = true,
            }
        }
        stopped
    }
}

impl<M: Machine> Drop for Net<M> {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// How the shards ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// Whether every machine had nothing in flight.
    pub finished: bool,
    /// Whether a shard had died before.
    pub panicked: bool,
}

/// Why [`start`] did not.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be bound.
    Bind(BindError),
    /// This secure listener was given no certificate.
    NoCertificate(std::net::SocketAddr),
    /// The system refused a thread or its means of waiting.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::NoCertificate(address) => write!(f, "the secure listener {address} has no certificate"),
            Self::System(error) => write!(f, "cannot start a shard: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
