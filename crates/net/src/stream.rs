//! One TCP or TLS connection: reads into the shard's buffer and frames; writes what waits, many messages in one write.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use farspeak_sansio::{FlowId, Instant, Machine, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::accept::Ends;
use crate::admission::Seat;
use crate::connection::{self, BATCH, Base, Wire};
use crate::pulse::{End, Pulse};
use crate::shard::Shard;
use crate::{Framer, Framing, StreamConfig};

/// Serves an accepted connection whose handshake is over.
pub(crate) fn serve<M, F, S>(shard: &Rc<Shard<M, F>>, transport: Transport, io: S, ends: Ends, seat: Seat)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let flow = shard.flows.borrow_mut().insert(transport, ends.local, ends.remote);
    connection::start(shard, flow, Stream::new(shard, io), seat, Pulse::accepted(shard.clock.now()));
}

/// Serves a connection that we opened, under the handle that messages were queued for.
pub(crate) fn resume<M, F, S>(shard: &Rc<Shard<M, F>>, id: FlowId, io: S, ends: Ends, seat: Seat)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Some(flow) = shard.flows.borrow_mut().set_local(id, ends.local) else { return };
    connection::start(shard, flow, Stream::new(shard, io), seat, Pulse::opened(shard.clock.now()));
}

struct Stream<R, S> {
    io: S,
    framer: R,
    /// What one write did not take. Empty, and without memory, most of the time.
    rest: Vec<u8>,
    /// Bytes were written that TLS may still hold.
    flushing: bool,
}

impl<R: Framer, S> Stream<R, S> {
    fn new<M: Machine, F: Framing<Stream = R>>(shard: &Shard<M, F>, io: S) -> Self {
        Self { io, framer: shard.framing.stream(), rest: Vec::new(), flushing: false }
    }

    fn take<M, F>(&mut self, base: &mut Base<M, F>, now: Instant, bytes: &[u8])
    where
        M: Machine + 'static,
        F: Framing,
    {
        base.pulse.heard(now);
        self.framer.push(bytes);
        let mut complete = false;
        while base.is_open()
            && let Some(framed) = self.framer.next()
        {
            complete = true;
            base.take(now, framed);
        }
        base.pulse.framed(now, complete, self.framer.is_partial());
    }
}

impl<M, F, S> Wire<M, F> for Stream<F::Stream, S>
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn longest_silence(config: &StreamConfig) -> Duration {
        config.idle_timeout
    }

    fn keep_alive_after(config: &StreamConfig) -> Duration {
        config.keep_alive
    }

    fn read(&mut self, base: &mut Base<M, F>, now: Instant, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let shard = Rc::clone(&base.shard);
        let mut buffer = shard.read_buffer.borrow_mut();
        let mut room = ReadBuf::new(&mut buffer);
        if ready!(Pin::new(&mut self.io).poll_read(context, &mut room)).is_err() {
            return Poll::Ready(Err(End::Reset));
        }
        let bytes = room.filled();
        if bytes.is_empty() {
            return Poll::Ready(Err(End::Closed));
        }
        shard.counters.stream_bytes_received.add(bytes.len() as u64);
        if !shard.guard(|| self.take(base, now, bytes)) {
            base.close();
        }
        Poll::Ready(Ok(()))
    }

    fn keep_alive(&mut self, base: &mut Base<M, F>) {
        base.shard.counters.keep_alives_sent.increment();
        base.shard.queue(&base.flow, b"\r\n");
    }

    fn write(&mut self, base: &mut Base<M, F>, now: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.flushing {
                ready!(Pin::new(&mut self.io).poll_flush(context))?;
                self.flushing = false;
                base.pulse.written();
            }
            if self.rest.is_empty() {
                let mut batch = base.shard.write_buffer.take();
                batch.clear();
                base.shard.flows.borrow_mut().take_bytes(base.flow.id, BATCH, &mut batch);
                if batch.is_empty() {
                    base.shard.write_buffer.replace(batch);
                    return Poll::Ready(Ok(()));
                }
                base.pulse.waiting(now);
                let written = Pin::new(&mut self.io).poll_write(context, &batch);
                let count = if let Poll::Ready(Ok(count)) = written { count } else { 0 };
                self.rest.extend_from_slice(&batch[count..]);
                base.shard.write_buffer.replace(batch);
                wrote(base, now, ready!(written)?)?;
            } else {
                let count = ready!(Pin::new(&mut self.io).poll_write(context, &self.rest))?;
                self.rest.drain(..count);
                wrote(base, now, count)?;
            }
            if self.rest.is_empty() {
                self.rest = Vec::new();
                self.flushing = true;
            }
        }
    }

    fn close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.io).poll_shutdown(context).map(|_| ())
    }

    fn discard(&mut self, base: &Base<M, F>, context: &mut Context<'_>) -> Poll<bool> {
        let mut buffer = base.shard.read_buffer.borrow_mut();
        let mut room = ReadBuf::new(&mut buffer);
        let read = ready!(Pin::new(&mut self.io).poll_read(context, &mut room));
        Poll::Ready(read.is_ok() && !room.filled().is_empty())
    }
}

fn wrote<M: Machine, F: Framing>(base: &mut Base<M, F>, now: Instant, count: usize) -> io::Result<()> {
    if count == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    base.shard.counters.stream_bytes_sent.add(count as u64);
    base.pulse.progressed(now);
    Ok(())
}
