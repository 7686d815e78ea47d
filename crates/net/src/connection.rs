//! What every connection does, whatever it speaks: it reads and calls the shard, writes what waits, looks at the timeouts,
//! then rests. A [`Wire`] says how bytes move: `stream.rs` or `websocket.rs`. A hand-written future, because there are
//! thousands of them and most of them rest.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine};

use crate::admission::Seat;
use crate::flows::Ending;
use crate::pulse::{End, Pulse};
use crate::shard::Shard;
use crate::{Framed, Framing, StreamConfig};

/// Serves a connection from now on, in a task of its own.
pub(crate) fn start<M, F, W>(shard: &Rc<Shard<M, F>>, flow: Flow, wire: W, mut seat: Seat, pulse: Pulse)
where
    M: Machine + 'static,
    F: Framing,
    W: Wire<M, F> + 'static,
{
    seat.settle();
    let base = Base { shard: Rc::clone(shard), _seat: seat, flow, state: State::Open, pulse };
    tokio::task::spawn_local(Connection { base, wire });
}

/// How the bytes of a connection move.
pub(crate) trait Wire<M: Machine, F: Framing>: Unpin {
    /// How long the peer may say nothing at all.
    fn longest_silence(config: &StreamConfig) -> Duration;

    /// After which silence the peer gets a keep-alive.
    fn keep_alive_after(config: &StreamConfig) -> Duration;

    /// Takes some of what has arrived. An error ends the connection.
    fn read(&mut self, base: &mut Base<M, F>, now: Instant, context: &mut Context<'_>) -> Poll<Result<(), End>>;

    /// Puts a keep-alive where the next write finds it.
    fn keep_alive(&mut self, base: &mut Base<M, F>);

    /// Writes what waits. Ready when nothing waits any more.
    fn write(&mut self, base: &mut Base<M, F>, now: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says goodbye. An error only means that the peer was faster.
    fn close(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Throws some of what has arrived away; ready with `false` when there will be no more.
    fn discard(&mut self, base: &Base<M, F>, context: &mut Context<'_>) -> Poll<bool>;
}

/// What a connection is besides its [`Wire`].
pub(crate) struct Base<M: Machine, F: Framing> {
    pub(crate) shard: Rc<Shard<M, F>>,
    _seat: Seat,
    pub(crate) flow: Flow,
    state: State,
    pub(crate) pulse: Pulse,
}

enum State {
    Open,
    /// No more reading; ends after what waits is written.
    Closing,
    /// We said goodbye. What the peer still sends is thrown away until it closes too (WebSocket: RFC 6455 §7.1.1): closing
    /// with unread bytes would reset the connection and could destroy the goodbye on its way.
    Lingering {
        until: Instant,
    },
}

impl<M, F> Base<M, F>
where
    M: Machine + 'static,
    F: Framing,
{
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Reads no more, and ends when what waits is written.
    pub(crate) const fn close(&mut self) {
        self.state = State::Closing;
    }

    /// Does what a piece of what the peer sent asks for.
    pub(crate) fn take(&mut self, now: Instant, framed: Framed<'_>) {
        match framed {
            Framed::Message(message) => self.shard.receive(now, self.flow, &message),
            Framed::Ping => {
                self.shard.counters.pings_answered.increment();
                self.shard.queue(&self.flow, b"\r\n");
            }
            Framed::Pong => {}
            Framed::Broken { reply, reason } => {
                self.shard.counters.streams_broken.increment();
                tracing::debug!(%reason, transport = %self.flow.transport, "closing a connection that cannot be framed");
                if let Some(reply) = reply {
                    self.shard.queue(&self.flow, &reply);
                }
                self.close();
            }
        }
    }

    /// Does what the shard wants done with the connection.
    fn obey(&mut self) -> Option<End> {
        let ending = self.shard.flows.borrow_mut().look(self.flow.id);
        match ending {
            Ending::Cut => return Some(End::SlowReader),
            Ending::Flush if self.is_open() => self.close(),
            Ending::No | Ending::Flush => {}
        }
        None
    }
}

struct Connection<M: Machine, F: Framing, W> {
    base: Base<M, F>,
    wire: W,
}

impl<M, F, W> Future for Connection<M, F, W>
where
    M: Machine + 'static,
    F: Framing,
    W: Wire<M, F>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now = this.base.shard.clock.now();
        let end = ready!(this.turn(now, context));
        end.count(&this.base.shard.counters);
        this.base.shard.end_flow(now, this.base.flow.id);
        Poll::Ready(())
    }
}

impl<M, F, W> Connection<M, F, W>
where
    M: Machine + 'static,
    F: Framing,
    W: Wire<M, F>,
{
    /// Reads, writes, looks at the timeouts, then rests.
    fn turn(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = self.base.obey() {
            return Poll::Ready(end);
        }
        let mut ended = None;
        if self.base.is_open()
            && let Poll::Ready(end) = self.read(now, context)
        {
            // The peer's last words may have answers: they get one chance to leave.
            ended = Some(end);
        }
        if let Some(end) = self.base.obey() {
            return Poll::Ready(end);
        }
        self.keep_alive(now);
        let written = self.wire.write(&mut self.base, now, context);
        if let Some(end) = ended {
            return Poll::Ready(end);
        }
        if let Poll::Ready(Err(_)) = written {
            return Poll::Ready(End::Reset);
        }
        if let (State::Closing, Poll::Ready(_)) = (&self.base.state, &written) {
            self.base.pulse.waiting(now);
            if self.wire.close(context).is_ready() {
                self.base.state = State::Lingering { until: now + LINGER };
            }
        }
        let config = &self.base.shard.config.stream;
        let (late, deadline) = match self.base.state {
            State::Lingering { until } => {
                if let Poll::Ready(()) = self.discard(context) {
                    return Poll::Ready(End::Closed);
                }
                ((now >= until).then_some(End::Closed), until)
            }
            _ => {
                let silence = W::longest_silence(config);
                let deadline = self.base.pulse.deadline(config, silence, W::keep_alive_after(config));
                (self.base.pulse.late(now, config, silence), deadline)
            }
        };
        if let Some(end) = late {
            return Poll::Ready(end);
        }
        self.base.shard.flows.borrow_mut().rest(self.base.flow.id, context.waker(), deadline);
        Poll::Pending
    }

    /// Takes what has arrived. Ready when there will be no more.
    fn read(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<End> {
        for _ in 0..READS_IN_A_ROW {
            if let Err(end) = ready!(self.wire.read(&mut self.base, now, context)) {
                return Poll::Ready(end);
            }
            if !self.base.is_open() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref(); // more may be there: let others have their turn first
        Poll::Pending
    }

    fn keep_alive(&mut self, now: Instant) {
        let after = W::keep_alive_after(&self.base.shard.config.stream);
        if self.base.is_open() && self.base.pulse.keep_alive_due(now, after) {
            self.wire.keep_alive(&mut self.base);
        }
    }

    fn discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..READS_IN_A_ROW {
            if !ready!(self.wire.discard(&self.base, context)) {
                return Poll::Ready(());
            }
        }
        Poll::Ready(()) // a peer that goes on and on
    }
}

/// Reads of one connection before others get their turn.
const READS_IN_A_ROW: usize = 8;
/// Bytes after which a write is full: one TLS record.
pub(crate) const BATCH: usize = 16 << 10;
/// How long a peer may take to close after our goodbye.
const LINGER: Duration = Duration::from_secs(2);
