//! One machine with sockets of its own choosing, for programs that are clients: an ICE agent, a TURN client, a probe.
//!
//! Where [`start`](crate::start) serves strangers on listeners, a [`Peer`] binds the UDP sockets that its owner asks for
//! and opens a TCP or TLS connection when its machine sends on one. It runs as a future on the caller's current-thread
//! runtime.
//!
//! ```text
//!   owner ──> PeerHandle ──┐                     ┌──> UDP sockets, by local address
//!   owner <── handler <────┴── Peer: one machine ┤
//!                                                └──> connections (peer/connection.rs), by both addresses
//! ```
//!
//! **Flows have no handle here**: transport, local and remote address name them. What the machine sends on
//! `Flow::unbound(Tls, local, remote)` opens a connection from the IP of `local`; what comes back on it, and word of its
//! end, arrive under that very flow, whatever port the kernel chose. Two flows whose `local` differs in the port are
//! two connections, as two TURN allocations at one server need (RFC 8656 §3.1).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Transport};
use futures_util::future::{Either, select};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{sleep, sleep_until};

use crate::udp::{self, Owner};
use crate::{Clock, Counters, Framing};

mod connection;
mod context;
mod handle;

pub use context::PeerContext;
pub use handle::PeerHandle;

use context::Edge;
use handle::Command;

/// What a [`Peer`] may use.
#[derive(Clone)]
pub struct PeerConfig {
    /// How TLS connections check the server. Default `None`: sending on a TLS flow fails the flow. The name that the
    /// certificate must be for is the remote IP address unless [`PeerContext::name_server`] said otherwise.
    pub tls: Option<Arc<ClientConfig>>,
    /// Kernel buffer of each UDP socket for arriving datagrams, in bytes. Default 512 KiB: a second of video.
    pub receive_buffer: usize,
    /// Kernel buffer of each UDP socket for leaving datagrams, in bytes. Default 256 KiB.
    pub send_buffer: usize,
    /// Most datagrams taken from one socket before others get their turn. Default 64.
    pub batch: usize,
    /// Most UDP sockets. Default 256. Beyond it [`PeerContext::bind`] fails.
    pub max_sockets: usize,
    /// Most connections, those being opened included. Default 64. Beyond it sending on a new flow fails the flow: a
    /// stranger's candidates may make a machine connect.
    pub max_connections: usize,
    /// From sending SYN to the end of the TLS handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// How long the other end may take nothing of what waits for it. Default 20 s; then the flow fails.
    pub write_timeout: Duration,
    /// Most bytes that wait for one connection, 64 counted for each message besides its own. Default 256 KiB. A message
    /// more is dropped, as a router would drop it: what waits longer is of no use in a call.
    pub write_queue: usize,
    /// Most commands that wait. Default 1,024. Beyond it [`PeerHandle::run`] refuses.
    pub commands: usize,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            tls: None,
            receive_buffer: 512 << 10,
            send_buffer: 256 << 10,
            batch: 64,
            max_sockets: 256,
            max_connections: 64,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            write_queue: 256 << 10,
            commands: 1_024,
        }
    }
}

impl fmt::Debug for PeerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConfig").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// Takes the machine's events. It may call methods of the machine: what these send leaves afterwards. It must not block.
type Handler<M> = Box<dyn FnMut(&mut PeerContext, &mut M, Instant, <M as Machine>::Event)>;

/// A machine and its sockets, ready to [run](Self::run).
pub struct Peer<M: Machine, F: Framing> {
    driver: Rc<Driver<M, F>>,
    commands: mpsc::Receiver<Command<M>>,
}

impl<M: Machine, F: Framing> fmt::Debug for Peer<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

impl<M: Machine + 'static, F: Framing> Peer<M, F> {
    /// A driver for `machine`, and a way to it for others. `framing` cuts connections, and judges datagrams.
    pub fn new(
        machine: M,
        framing: F,
        config: PeerConfig,
        clock: Clock,
        handler: impl FnMut(&mut PeerContext, &mut M, Instant, M::Event) + 'static,
    ) -> (Self, PeerHandle<M>) {
        let (sender, commands) = mpsc::channel(config.commands.max(1));
        let edge = Rc::new(Edge::new(config, clock));
        let context = PeerContext::new(Rc::clone(&edge));
        let core = Core { machine, handler: Box::new(handler), context, failed: VecDeque::new() };
        let core = RefCell::new(core);
        let driver = Driver { core, framing, edge, armed: Cell::new(None) };
        (Self { driver: Rc::new(driver), commands }, PeerHandle::new(sender))
    }

    /// Calls the machine before [`run`](Self::run): to bind sockets and say what to do first. Needs a runtime to be
    /// entered, as binding registers with it.
    pub fn with<R>(&mut self, act: impl FnOnce(&mut PeerContext, &mut M, Instant) -> R) -> R {
        let core = &mut *self.driver.core.borrow_mut();
        act(&mut core.context, &mut core.machine, self.driver.edge.clock.now())
    }

    /// What the sockets counted. Stays valid when the peer has ended.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.driver.edge.counters)
    }

    /// Runs until [`PeerHandle::stop`] or [`PeerContext::stop`], or until nobody holds a handle. Then writes for at most
    /// a second what waits for connections, closes everything and gives the machine back.
    ///
    /// Dropping the future closes everything at once. Needs a current-thread runtime with I/O and time.
    pub async fn run(self) -> M {
        let Self { driver, mut commands } = self;
        let tasks = LocalSet::new();
        tasks.run_until(driver.live(&mut commands)).await;
        drop(tasks); // the tasks' references to the driver go with them
        match Rc::try_unwrap(driver) {
            Ok(driver) => driver.core.into_inner().machine,
            Err(_) => unreachable!("only tasks, now ended, and this function hold the driver"),
        }
    }
}

pub(crate) struct Driver<M: Machine, F: Framing> {
    core: RefCell<Core<M>>,
    framing: F,
    edge: Rc<Edge>,
    /// When the timer fires.
    armed: Cell<Option<Instant>>,
}

struct Core<M: Machine> {
    machine: M,
    handler: Handler<M>,
    context: PeerContext,
    failed: VecDeque<Flow>,
}

impl<M: Machine + 'static, F: Framing> Driver<M, F> {
    async fn live(self: &Rc<Self>, commands: &mut mpsc::Receiver<Command<M>>) {
        self.drive(self.edge.clock.now(), |_, _, _| ());
        while !self.edge.is_stopping() {
            let due = pin!(async {
                match self.armed.get() {
                    Some(at) => sleep_until(self.edge.clock.to_tokio(at)).await,
                    None => std::future::pending().await,
                }
            });
            // Woken also for an earlier deadline, and for the end.
            let woken = pin!(self.edge.wake.notified());
            match select(select(pin!(commands.recv()), due), woken).await {
                Either::Left((Either::Left((Some(command), _)), _)) => self.drive(self.edge.clock.now(), command),
                Either::Left((Either::Left((None, _)), _)) => break, // no handle is left
                Either::Left((Either::Right(_), _)) => self.tick(),
                Either::Right(_) => {}
            }
        }
        self.edge.close_all();
        let goodbye = self.edge.clock.now() + GOODBYE;
        while self.edge.has_connections() && self.edge.clock.now() < goodbye {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn tick(self: &Rc<Self>) {
        self.armed.set(None);
        self.drive(self.edge.clock.now(), |_, machine, now| {
            if machine.poll_timeout().is_some_and(|at| at <= now) {
                machine.handle_timeout(now);
            }
        });
    }

    /// Calls the machine, then does all that follows from it.
    fn drive(self: &Rc<Self>, now: Instant, call: impl FnOnce(&mut PeerContext, &mut M, Instant)) {
        let core = &mut *self.core.borrow_mut();
        call(&mut core.context, &mut core.machine, now);
        loop {
            while let Some(transmit) = core.machine.poll_transmit() {
                let flow = Flow { id: FlowId::UNBOUND, ..transmit.flow };
                self.edge.counters.messages_sent.increment();
                let sent = match flow.transport {
                    Transport::Udp => self.edge.send_datagram(&flow, &transmit.bytes),
                    _ => self.edge.send_on_stream(flow, transmit.bytes),
                };
                if sent.is_err() {
                    core.failed.push_back(flow);
                }
            }
            if let Some(flow) = core.failed.pop_front() {
                core.machine.handle_flow_failed(now, flow);
            } else if let Some(event) = core.machine.poll_event() {
                (core.handler)(&mut core.context, &mut core.machine, now, event);
            } else {
                break;
            }
        }
        for port in self.edge.take_unserved_ports() {
            let task = tokio::task::spawn_local(udp::run(Rc::clone(self), Rc::clone(&port)));
            self.edge.served(&port, task.abort_handle());
        }
        for (flow, outbox) in self.edge.take_unopened() {
            tokio::task::spawn_local(connection::serve(Rc::clone(self), flow, outbox));
        }
        // A timer armed too early fires for nothing, once; that is cheaper than moving it each time.
        let next = core.machine.poll_timeout();
        if let Some(next) = next
            && self.armed.get().is_none_or(|armed| next < armed)
        {
            self.armed.set(Some(next));
            self.edge.wake.notify_one();
        }
    }

    fn take(self: &Rc<Self>, now: Instant, flow: Flow, bytes: &[u8]) {
        self.edge.counters.messages_received.increment();
        self.drive(now, |_, machine, now| machine.handle_receive(now, Receive { flow, bytes }));
    }

    fn fail(self: &Rc<Self>, flow: Flow) {
        self.drive(self.edge.clock.now(), |_, machine, now| machine.handle_flow_failed(now, flow));
    }
}

impl<M: Machine + 'static, F: Framing> Owner for Driver<M, F> {
    type Framing = F;

    fn now(&self) -> Instant {
        self.edge.clock.now()
    }

    fn framing(&self) -> &F {
        &self.framing
    }

    fn counters(&self) -> &Counters {
        &self.edge.counters
    }

    fn batch(&self) -> usize {
        self.edge.config.batch.max(1)
    }

    fn receive(self: &Rc<Self>, now: Instant, flow: Flow, bytes: &[u8]) {
        self.take(now, flow, bytes);
    }

    fn datagram_failed(self: &Rc<Self>, _: Instant, flow: Flow) {
        self.edge.counters.datagrams_failed.increment();
        self.fail(flow);
    }

    fn answer(&self, flow: &Flow, bytes: &[u8]) {
        let _ = self.edge.send_datagram(flow, bytes); // nobody waits for it
    }

    /// A panic is the owner's, who has one machine and asked for it.
    fn guard(&self, act: impl FnOnce()) -> bool {
        act();
        true
    }
}

/// How long connections may take to write what waits when the peer ends.
const GOODBYE: Duration = Duration::from_secs(1);
