//! One shard: a thread, a runtime, a machine. Every task of the shard calls the machine through [`Shard::drive`], which
//! sends what the machine has to send, hands its events to the handler and arms the one timer.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Transmit, Transport};
use futures_util::future::{Either, select};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::{sleep, sleep_until};

use crate::admission::Admission;
use crate::bind::{BoundSocket, Sockets};
use crate::flows::{Flows, SharedFlows};
use crate::handle::{Mail, ShardHandles};
use crate::net::{Handler, Parts, ShardContext, Stopping};
use crate::udp::UdpSockets;
use crate::{Clock, Counters, Framing, NetConfig, accept, connect, udp};

/// What a shard's thread is born with.
pub(crate) struct ShardSetup<M: Machine> {
    pub shard: u8,
    pub runtime: Runtime,
    pub clock: Clock,
    pub config: Arc<NetConfig>,
    pub sockets: Sockets,
    pub mailbox: mpsc::Receiver<Mail<M>>,
    pub handles: ShardHandles<M>,
    pub counters: Arc<Counters>,
    pub stop: Arc<Notify>,
    pub grace: Arc<Grace>,
    /// The generation of each slot's first tenant, drawn for this process.
    pub first_generation: u32,
}

/// How the shards agree on when to end: a flow may live on one shard and its transaction on another, so that none
/// closes its connections before all are idle.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    nanos: AtomicU64,
    /// One bit for each shard that is stopping and has nothing in flight.
    idle: AtomicU64,
}

impl Grace {
    pub(crate) fn set(&self, grace: Duration) {
        self.nanos.store(u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Acquire))
    }

    fn set_idle(&self, shard: u8, idle: bool) {
        match idle {
            true => self.idle.fetch_or(1 << shard, Ordering::AcqRel),
            false => self.idle.fetch_and(!(1 << shard), Ordering::AcqRel),
        };
    }

    fn all_idle(&self, shards: u8) -> bool {
        self.idle.load(Ordering::Acquire).count_ones() == u32::from(shards)
    }
}

pub(crate) struct Shard<M: Machine, F: Framing> {
    pub shard: u8,
    pub clock: Clock,
    pub config: Arc<NetConfig>,
    pub counters: Arc<Counters>,
    pub framing: F,
    pub flows: SharedFlows,
    pub admission: Rc<Admission>,
    /// Where streams are read into: one for all, so that an idle connection holds none.
    pub read_buffer: RefCell<Box<[u8]>>,
    /// Where several messages are put together for one write, likewise.
    pub write_buffer: RefCell<Vec<u8>>,
    udp: UdpSockets,
    core: RefCell<Core<M>>,
    handles: ShardHandles<M>,
    stop: Arc<Notify>,
    /// When the timer fires.
    armed: Cell<Option<Instant>>,
    rearm: Notify,
}

struct Core<M: Machine> {
    machine: M,
    handler: Handler<M>,
    context: ShardContext<M>,
    failed: Vec<Flow>,
}

/// The body of a shard's thread. Returns whether the machine was idle at the end.
pub(crate) fn run<M: Machine + 'static, F: Framing>(setup: ShardSetup<M>, parts: Parts<M, F>) -> bool {
    let ShardSetup { shard: number, runtime, clock, config, sockets, mailbox, handles, counters, stop, grace, .. } =
        setup;
    if config.pin_cores {
        pin_to_core(usize::from(number));
    }
    let flows = Flows::new(number, setup.first_generation, &config.stream, Arc::clone(&counters));
    let flows = Rc::new(RefCell::new(flows));
    let Parts { machine, framing, handler, stopping, is_idle } = parts;
    let context = ShardContext {
        shard: number,
        handles: handles.clone(),
        counters: Arc::clone(&counters),
        flows: Rc::clone(&flows),
    };
    let mut udp_sockets = UdpSockets::default();
    let mut streams = Vec::new();
    for (socket, listener) in sockets.0.into_iter().zip(&config.listeners) {
        match socket {
            BoundSocket::Udp(socket, bound) => udp_sockets.add(number, setup.first_generation, socket, bound),
            BoundSocket::Tcp(socket) => streams.push((socket, listener.clone())),
        }
    }
    let shard = Rc::new(Shard {
        shard: number,
        clock,
        admission: Admission::new(&config.stream, &counters),
        config,
        counters,
        framing,
        flows,
        read_buffer: RefCell::new(vec![0; READ_BUFFER].into()),
        write_buffer: RefCell::default(),
        udp: udp_sockets,
        core: RefCell::new(Core { machine, handler, context, failed: Vec::new() }),
        handles,
        stop: Arc::clone(&stop),
        armed: Cell::new(None),
        rearm: Notify::new(),
    });
    let local = LocalSet::new();
    let finished = local.block_on(&runtime, async {
        let mut acceptors = Vec::new();
        for (socket, listener) in streams {
            acceptors.push(tokio::task::spawn_local(accept::run(Rc::clone(&shard), socket, listener)));
        }
        for socket in shard.udp.iter() {
            tokio::task::spawn_local(udp::run(Rc::clone(&shard), socket));
        }
        tokio::task::spawn_local(keep_time(Rc::clone(&shard)));
        tokio::task::spawn_local(sweep(Rc::clone(&shard)));
        shard.drive(clock.now(), |_, _| ());
        let mut mailbox = mailbox;
        let mut stop = pin!(stop.notified());
        while let Either::Left((Some(mail), _)) = select(pin!(mailbox.recv()), stop.as_mut()).await {
            shard.open(mail);
        }
        assert!(shard.counters.panics.get() < MOST_PANICS, "gave up after {MOST_PANICS} panics");
        for acceptor in acceptors {
            acceptor.abort();
        }
        shard.stop(mailbox, stopping, is_idle, &grace).await
    });
    drop(local);
    finished
}

impl<M: Machine + 'static, F: Framing> Shard<M, F> {
    /// Calls the machine, then does all that follows from it. Returns whether that went without a panic.
    pub(crate) fn drive(self: &Rc<Self>, now: Instant, call: impl FnOnce(&mut M, Instant)) -> bool {
        self.guard(|| self.drive_unguarded(now, call))
    }

    /// Contains a panic of the machine or its framing: it costs what was just being done, not the calls of everybody
    /// else. That the state is whole is then no longer sure: after [`MOST_PANICS`] the shard gives up.
    pub(crate) fn guard(&self, act: impl FnOnce()) -> bool {
        let whole = catch_unwind(AssertUnwindSafe(act)).is_ok();
        if !whole {
            self.counters.panics.increment();
            tracing::error!(shard = self.shard, "a machine panicked; this is a bug, please report what stands above");
            if self.counters.panics.get() >= MOST_PANICS {
                self.stop.notify_one();
            }
        }
        whole
    }

    fn drive_unguarded(self: &Rc<Self>, now: Instant, call: impl FnOnce(&mut M, Instant)) {
        let core = &mut *self.core.borrow_mut();
        call(&mut core.machine, now);
        loop {
            while let Some(transmit) = core.machine.poll_transmit() {
                if let Err(flow) = self.transmit(transmit) {
                    core.failed.push(flow);
                }
            }
            if let Some(flow) = core.failed.pop() {
                core.machine.handle_flow_failed(now, flow);
            } else if let Some(event) = core.machine.poll_event() {
                (core.handler)(&mut core.context, &mut core.machine, now, event);
            } else {
                break;
            }
        }
        let next = core.machine.poll_timeout();
        // A timer armed too early fires for nothing, once; that is cheaper than moving it each time.
        if let Some(next) = next
            && self.armed.get().is_none_or(|armed| next < armed)
        {
            self.armed.set(Some(next));
            self.rearm.notify_one();
        }
    }

    /// A message has arrived.
    pub(crate) fn receive(self: &Rc<Self>, now: Instant, flow: Flow, bytes: &[u8]) {
        self.counters.messages_received.increment();
        if !self.drive(now, |machine, now| machine.handle_receive(now, Receive { flow, bytes })) {
            self.flows.borrow_mut().close(flow.id); // if it is a connection
        }
    }

    /// Sends on a connection what is the edge's own: keep-alives, and replies to what cannot be framed.
    pub(crate) fn queue(&self, flow: &Flow, bytes: &[u8]) {
        self.flows.borrow_mut().send(flow, self.shard, bytes.into());
    }

    /// A connection has ended, or could not be opened: tells every machine that may have used it.
    pub(crate) fn end_flow(self: &Rc<Self>, now: Instant, id: FlowId) {
        let Some(gone) = self.flows.borrow_mut().remove(id) else { return };
        for handle in self.handles.iter().filter(|handle| gone.users & (1 << handle.shard()) != 0) {
            if handle.shard() != self.shard {
                let _ = handle.post(Mail::Failed(gone.flow)); // full or stopped: its own timers find out
            }
        }
        self.drive(now, |machine, now| {
            machine.handle_flow_failed(now, gone.flow);
            if let Some(flow) = gone.asked_as {
                machine.handle_flow_failed(now, *flow);
            }
        });
    }

    /// Sends, queues or hands over; the flow comes back if that cannot be.
    fn transmit(self: &Rc<Self>, transmit: Transmit) -> Result<(), Flow> {
        let flow = transmit.flow;
        self.counters.messages_sent.increment();
        if flow.transport == Transport::Udp {
            // Every shard has a socket of its own on each address: the handle does not matter, the local address does.
            return self.udp.send(&flow, &transmit.bytes, &self.counters).map_err(|()| flow);
        }
        if flow.id == FlowId::UNBOUND {
            return self.transmit_unbound(transmit);
        }
        if flow.id.shard() != self.shard {
            let handle = self.handles.get(flow.id.shard()).ok_or(flow)?;
            self.counters.handed_over.increment();
            return handle.post(Mail::Transmit { from: self.shard, transmit }).map_err(|_| {
                self.counters.handed_over_lost.increment();
                flow
            });
        }
        match self.flows.borrow_mut().send(&flow, self.shard, transmit.bytes) {
            true => Ok(()),
            false => {
                self.counters.dead_flows.increment();
                Err(flow)
            }
        }
    }

    /// Over the connection that there is to the remote address, else over a new one.
    fn transmit_unbound(self: &Rc<Self>, transmit: Transmit) -> Result<(), Flow> {
        let asked = transmit.flow;
        let known = self.flows.borrow().find(asked.transport, asked.remote);
        let id = match known {
            Some(id) => id,
            None => connect::open(self, &asked).ok_or(asked)?,
        };
        let mut flows = self.flows.borrow_mut();
        flows.ask_as(id, asked);
        match flows.send(&Flow { id, ..asked }, self.shard, transmit.bytes) {
            true => Ok(()),
            false => Err(asked),
        }
    }

    /// Does what a message to this shard asks for.
    fn open(self: &Rc<Self>, mail: Mail<M>) {
        let now = self.clock.now();
        match mail {
            Mail::Run(command) => {
                self.drive(now, command);
            }
            Mail::Transmit { from, transmit } => {
                let flow = transmit.flow;
                if !self.flows.borrow_mut().send(&flow, from, transmit.bytes) {
                    self.counters.dead_flows.increment();
                    if let Some(handle) = self.handles.get(from) {
                        let _ = handle.post(Mail::Failed(flow)); // full or stopped: its own timers find out
                    }
                }
            }
            Mail::Failed(flow) => {
                self.drive(now, |machine, now| machine.handle_flow_failed(now, flow));
            }
            Mail::Close(flow) => self.flows.borrow_mut().close(flow.id),
        }
    }

    async fn stop(
        self: &Rc<Self>,
        mut mailbox: mpsc::Receiver<Mail<M>>,
        mut stopping: Stopping<M>,
        is_idle: Box<dyn Fn(&M) -> bool>,
        grace: &Grace,
    ) -> bool {
        let end = self.clock.now() + grace.get();
        self.drive(self.clock.now(), |machine, now| stopping(machine, now));
        loop {
            let idle = is_idle(&self.core.borrow().machine);
            grace.set_idle(self.shard, idle);
            if grace.all_idle(self.handles.count()) || self.clock.now() >= end {
                break;
            }
            let tick = pin!(sleep(STOP_TICK));
            if let Either::Left((Some(mail), _)) = select(pin!(mailbox.recv()), tick).await {
                self.open(mail);
            }
        }
        while let Ok(mail) = mailbox.try_recv() {
            self.open(mail);
        }
        let finished = is_idle(&self.core.borrow().machine);
        let goodbye = self.clock.now() + GOODBYE;
        while !self.flows.borrow().is_empty() && self.clock.now() < goodbye {
            self.flows.borrow_mut().close_all(); // each time: a handshake may just have ended
            sleep(STOP_TICK).await;
        }
        finished
    }
}

impl<M: Machine + 'static, F: Framing> udp::Owner for Shard<M, F> {
    type Framing = F;

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn framing(&self) -> &F {
        &self.framing
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn batch(&self) -> usize {
        self.config.udp.batch
    }

    fn receive(self: &Rc<Self>, now: Instant, flow: Flow, bytes: &[u8]) {
        Self::receive(self, now, flow, bytes);
    }

    /// RFC 3261 §18.4.
    fn datagram_failed(self: &Rc<Self>, now: Instant, flow: Flow) {
        self.counters.datagrams_failed.increment();
        self.drive(now, |machine, now| {
            machine.handle_flow_failed(now, flow);
            machine.handle_flow_failed(now, Flow { id: FlowId::UNBOUND, ..flow });
        });
    }

    fn answer(&self, flow: &Flow, bytes: &[u8]) {
        let _ = self.udp.send(flow, bytes, &self.counters); // nobody waits for it
    }

    fn guard(&self, act: impl FnOnce()) -> bool {
        Self::guard(self, act)
    }
}

/// Calls `handle_timeout` when the machine's deadline has come.
async fn keep_time<M: Machine + 'static, F: Framing>(shard: Rc<Shard<M, F>>) {
    loop {
        let Some(at) = shard.armed.get() else {
            shard.rearm.notified().await;
            continue;
        };
        let due = pin!(sleep_until(shard.clock.to_tokio(at)));
        if let Either::Left(_) = select(due, pin!(shard.rearm.notified())).await {
            shard.armed.set(None);
            shard.drive(shard.clock.now(), |machine, now| {
                if machine.poll_timeout().is_some_and(|at| at <= now) {
                    machine.handle_timeout(now);
                }
            });
        }
    }
}

/// Lets connections look at their timeouts.
async fn sweep<M: Machine + 'static, F: Framing>(shard: Rc<Shard<M, F>>) {
    loop {
        sleep(shard.config.stream.sweep).await;
        let now = shard.clock.now();
        shard.flows.borrow_mut().sweep(now);
    }
}

#[cfg(target_os = "linux")]
pub(crate) fn pin_to_core(index: usize) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    let this_thread = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this_thread) else { return };
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect();
    if cores.is_empty() {
        return;
    }
    let mut only = CpuSet::new();
    if only.set(cores[index % cores.len()]).is_ok() && sched_setaffinity(this_thread, &only).is_err() {
        tracing::warn!(shard = index, "cannot tie the shard to a processor");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_to_core(_: usize) {}

/// One TLS record.
const READ_BUFFER: usize = 16 << 10;
/// Panics after which a shard is dead rather than doubtful.
const MOST_PANICS: u64 = 100;
/// How often a stopping shard looks whether it is done.
const STOP_TICK: Duration = Duration::from_millis(5);
/// How long a stopping shard writes what waits and says goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
