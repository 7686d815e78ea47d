//! One TCP or TLS connection: reads into the shard's buffer, frames, calls the shard; writes what waits, many messages
//! in one write. A hand-written future, because there are thousands of them and most of them rest.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::accept::Ends;
use crate::admission::Seat;
use crate::flows::Ending;
use crate::pulse::{End, Pulse};
use crate::shard::Shard;
use crate::{Framed, Framer, Framing};

/// Serves an accepted connection whose handshake is over.
pub(crate) fn serve<M, F, S>(shard: &Rc<Shard<M, F>>, transport: Transport, io: S, ends: Ends, seat: Seat)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let flow = shard.flows.borrow_mut().insert(transport, ends.local, ends.remote);
    start(shard, flow, io, seat, Pulse::accepted(shard.clock.now()));
}

/// Serves a connection that we opened, under the handle that messages were queued for.
pub(crate) fn resume<M, F, S>(shard: &Rc<Shard<M, F>>, id: FlowId, io: S, ends: Ends, seat: Seat)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Some(flow) = shard.flows.borrow_mut().set_local(id, ends.local) else { return };
    start(shard, flow, io, seat, Pulse::opened(shard.clock.now()));
}

fn start<M, F, S>(shard: &Rc<Shard<M, F>>, flow: Flow, io: S, mut seat: Seat, pulse: Pulse)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    seat.settle();
    tokio::task::spawn_local(Connection {
        shard: Rc::clone(shard),
        _seat: seat,
        flow,
        io,
        framer: shard.framing.stream(),
        rest: Vec::new(),
        flushing: false,
        state: State::Open,
        pulse,
    });
}

struct Connection<M: Machine, F: Framing, S> {
    shard: Rc<Shard<M, F>>,
    _seat: Seat,
    flow: Flow,
    io: S,
    framer: F::Stream,
    /// What one write did not take. Empty, and without memory, most of the time.
    rest: Vec<u8>,
    /// Bytes were written that TLS may still hold.
    flushing: bool,
    state: State,
    pulse: Pulse,
}

enum State {
    Open,
    /// No more reading; ends after what waits is written.
    Closing,
    /// We said goodbye. What the peer still sends is thrown away until it closes too: closing with unread bytes would
    /// reset the connection and could destroy the goodbye on its way.
    Lingering {
        until: Instant,
    },
}

impl<M, F, S> Future for Connection<M, F, S>
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now = this.shard.clock.now();
        let Poll::Ready(end) = this.turn(now, context) else { return Poll::Pending };
        end.count(&this.shard.counters);
        this.shard.end_flow(now, this.flow.id);
        Poll::Ready(())
    }
}

impl<M, F, S> Connection<M, F, S>
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Reads, writes, looks at the timeouts, then rests.
    fn turn(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = self.obey() {
            return Poll::Ready(end);
        }
        let mut ended = None;
        if let State::Open = self.state
            && let Poll::Ready(end) = self.read(now, context)
        {
            // The peer's last words may have answers: they get one chance to leave.
            ended = Some(end);
        }
        if let Some(end) = self.obey() {
            return Poll::Ready(end);
        }
        let written = self.write(now, context);
        if let Some(end) = ended {
            return Poll::Ready(end);
        }
        if let Poll::Ready(Err(_)) = written {
            return Poll::Ready(End::Reset);
        }
        if let (State::Closing, Poll::Ready(_)) = (&self.state, &written) {
            self.pulse.waiting(now);
            // An error here only means that the peer was faster.
            if Pin::new(&mut self.io).poll_shutdown(context).is_ready() {
                self.state = State::Lingering { until: now + LINGER };
            }
        }
        let late = match self.state {
            State::Lingering { until } => {
                if let Poll::Ready(()) = self.discard(context) {
                    return Poll::Ready(End::Closed);
                }
                (now >= until).then_some(End::Closed)
            }
            _ => self.pulse.late(now, &self.shard.config.stream, self.shard.config.stream.idle_timeout),
        };
        if let Some(end) = late {
            return Poll::Ready(end);
        }
        if self.keep_alive(now) {
            context.waker().wake_by_ref();
        }
        let deadline = match self.state {
            State::Lingering { until } => until,
            _ => {
                let config = &self.shard.config.stream;
                self.pulse.deadline(config, config.idle_timeout, config.keep_alive)
            }
        };
        self.shard.flows.borrow_mut().rest(self.flow.id, context.waker(), deadline);
        Poll::Pending
    }

    /// Does what the shard wants done with the connection.
    fn obey(&mut self) -> Option<End> {
        match self.shard.flows.borrow_mut().look(self.flow.id) {
            Ending::Cut => return Some(End::SlowReader),
            Ending::Flush if matches!(self.state, State::Open) => self.state = State::Closing,
            Ending::No | Ending::Flush => {}
        }
        None
    }

    /// Takes what has arrived. Ready when there will be no more.
    fn read(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<End> {
        let shard = Rc::clone(&self.shard);
        let mut buffer = shard.read_buffer.borrow_mut();
        for _ in 0..READS_IN_A_ROW {
            let mut room = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut self.io).poll_read(context, &mut room)) {
                Err(_) => return Poll::Ready(End::Reset),
                Ok(()) if room.filled().is_empty() => return Poll::Ready(End::Closed),
                Ok(()) => {
                    let bytes = room.filled();
                    shard.counters.stream_bytes_received.add(bytes.len() as u64);
                    if !shard.guard(|| self.take(now, bytes)) {
                        self.state = State::Closing;
                    }
                }
            }
            if !matches!(self.state, State::Open) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref(); // more may be there: let others have their turn first
        Poll::Pending
    }

    fn take(&mut self, now: Instant, bytes: &[u8]) {
        self.pulse.heard(now);
        self.framer.push(bytes);
        let mut complete = false;
        while let Some(framed) = self.framer.next() {
            complete = true;
            match framed {
                Framed::Message(message) => self.shard.receive(now, self.flow, &message),
                Framed::Ping => {
                    self.shard.counters.pings_answered.increment();
                    self.shard.queue(&self.flow, b"\r\n");
                }
                Framed::Pong => {}
                Framed::Broken { reply, reason } => {
                    self.shard.counters.streams_broken.increment();
                    tracing::debug!(%reason, transport = %self.flow.transport, "closing a stream that cannot be framed");
                    if let Some(reply) = reply {
                        self.shard.queue(&self.flow, &reply);
                    }
                    self.state = State::Closing;
                    break;
                }
            }
        }
        self.pulse.framed(now, complete, self.framer.is_partial());
    }

    /// Writes what waits. Ready when nothing waits any more.
    fn write(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.flushing {
                ready!(Pin::new(&mut self.io).poll_flush(context))?;
                self.flushing = false;
                self.pulse.written();
            }
            if self.rest.is_empty() {
                let mut batch = self.shard.write_buffer.take();
                batch.clear();
                self.shard.flows.borrow_mut().take_bytes(self.flow.id, BATCH, &mut batch);
                if batch.is_empty() {
                    self.shard.write_buffer.replace(batch);
                    return Poll::Ready(Ok(()));
                }
                self.pulse.waiting(now);
                let written = Pin::new(&mut self.io).poll_write(context, &batch);
                let count = if let Poll::Ready(Ok(count)) = written { count } else { 0 };
                self.rest.extend_from_slice(&batch[count..]);
                self.shard.write_buffer.replace(batch);
                self.wrote(now, ready!(written)?)?;
            } else {
                let count = ready!(Pin::new(&mut self.io).poll_write(context, &self.rest))?;
                self.rest.drain(..count);
                self.wrote(now, count)?;
            }
            if self.rest.is_empty() {
                self.rest = Vec::new();
                self.flushing = true;
            }
        }
    }

    fn wrote(&mut self, now: Instant, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.shard.counters.stream_bytes_sent.add(count as u64);
        self.pulse.progressed(now);
        Ok(())
    }

    /// Queues a CRLF if the peer has been silent long enough.
    fn keep_alive(&mut self, now: Instant) -> bool {
        let due =
            matches!(self.state, State::Open) && self.pulse.keep_alive_due(now, self.shard.config.stream.keep_alive);
        if due {
            self.shard.counters.keep_alives_sent.increment();
            self.shard.queue(&self.flow, b"\r\n");
        }
        due
    }

    fn discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let shard = Rc::clone(&self.shard);
        let mut buffer = shard.read_buffer.borrow_mut();
        for _ in 0..READS_IN_A_ROW {
            let mut room = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut self.io).poll_read(context, &mut room)) {
                Ok(()) if !room.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
        Poll::Ready(()) // a peer that goes on and on
    }
}

/// Reads of one connection before others get their turn.
const READS_IN_A_ROW: usize = 8;
/// Bytes after which a write is full: one TLS record.
const BATCH: usize = 16 << 10;
/// How long a peer may take to close after our goodbye.
const LINGER: Duration = Duration::from_secs(2);
