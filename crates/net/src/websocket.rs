//! One WebSocket connection, in clear text or inside TLS: each message is one SIP message (RFC 7118 §5).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use farspeak_sansio::{Flow, Instant, Machine, Transport};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::accept::Ends;
use crate::admission::Seat;
use crate::flows::Ending;
use crate::pulse::{End, Pulse};
use crate::shard::Shard;
use crate::{Framed, Framing};

/// Serves a connection after its upgrade; `early` is what came with it.
pub(crate) async fn serve<M, F, S>(
    shard: &Rc<Shard<M, F>>,
    transport: Transport,
    io: S,
    early: Bytes,
    ends: Ends,
    mut seat: Seat,
) where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let longest = shard.config.stream.websocket_message;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(BATCH)
        .max_write_buffer_size(BATCH + 2 * longest.max(shard.config.stream.write_queue))
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest));
    let socket = WebSocketStream::from_partially_read(io, early.into(), Role::Server, Some(config)).await;
    let flow = shard.flows.borrow_mut().insert(transport, ends.local, ends.remote);
    seat.settle();
    tokio::task::spawn_local(Connection {
        shard: Rc::clone(shard),
        _seat: seat,
        flow,
        socket,
        flushing: false,
        state: State::Open,
        pulse: Pulse::accepted(shard.clock.now()),
    });
}

struct Connection<M: Machine, F: Framing, S> {
    shard: Rc<Shard<M, F>>,
    _seat: Seat,
    flow: Flow,
    socket: WebSocketStream<S>,
    flushing: bool,
    state: State,
    pulse: Pulse,
}

enum State {
    Open,
    /// No more reading; ends after what waits is written.
    Closing,
    /// Our Close is sent; the peer's is awaited (RFC 6455 §7.1.1).
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
            ended = Some(end);
        }
        if let Some(end) = self.obey() {
            return Poll::Ready(end);
        }
        self.ping(now);
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
            if Pin::new(&mut self.socket).poll_close(context).is_ready() {
                self.state = State::Lingering { until: now + LINGER };
            }
        }
        let config = &self.shard.config.stream;
        let (late, deadline) = match self.state {
            State::Lingering { until } => {
                if let Poll::Ready(()) = self.discard(context) {
                    return Poll::Ready(End::Closed);
                }
                ((now >= until).then_some(End::Closed), until)
            }
            _ => {
                let silence = config.websocket_silence.min(config.idle_timeout);
                (self.pulse.late(now, config, silence), self.pulse.deadline(config, silence, config.websocket_ping))
            }
        };
        if let Some(end) = late {
            return Poll::Ready(end);
        }
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
        for _ in 0..READS_IN_A_ROW {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if !shard.guard(|| self.take(now, &message.into_data())) {
                        self.state = State::Closing;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Close(_))) => {
                    self.pulse.heard(now);
                    self.flushing = true; // the library has put the answer in its buffer
                }
                Some(Ok(_)) => {
                    self.pulse.heard(now);
                    self.pulse.framed(now, true, false);
                }
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return Poll::Ready(End::Closed),
                Some(Err(Error::Io(_))) => return Poll::Ready(End::Reset),
                Some(Err(error)) => {
                    self.shard.counters.streams_broken.increment();
                    tracing::debug!(%error, "closing a WebSocket that breaks the rules");
                    self.state = State::Closing;
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
        let shard = Rc::clone(&self.shard);
        shard.counters.stream_bytes_received.add(bytes.len() as u64);
        self.pulse.heard(now);
        self.pulse.framed(now, true, false);
        match shard.framing.websocket(bytes) {
            Framed::Message(message) => shard.receive(now, self.flow, &message),
            Framed::Ping => {
                shard.counters.pings_answered.increment();
                shard.queue(&self.flow, b"\r\n");
            }
            Framed::Pong => {}
            Framed::Broken { reply, reason } => {
                shard.counters.streams_broken.increment();
                tracing::debug!(%reason, "closing a WebSocket whose message cannot be framed");
                if let Some(reply) = reply {
                    shard.queue(&self.flow, &reply);
                }
                self.state = State::Closing;
            }
        }
    }

    /// Writes what waits. Ready when nothing waits any more.
    fn write(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.flushing {
                self.pulse.waiting(now);
                ready!(Pin::new(&mut self.socket).poll_flush(context)).map_err(failure)?;
                self.flushing = false;
                self.pulse.written();
            }
            let mut batch = 0;
            while batch < BATCH
                && let Some(bytes) = self.shard.flows.borrow_mut().take_message(self.flow.id)
            {
                batch += bytes.len();
                self.shard.counters.stream_bytes_sent.add(bytes.len() as u64);
                Pin::new(&mut self.socket).start_send(message(bytes)).map_err(failure)?;
                self.flushing = true;
            }
            if !self.flushing {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn ping(&mut self, now: Instant) {
        let silence = self.shard.config.stream.websocket_ping;
        if matches!(self.state, State::Open) && !self.flushing && self.pulse.keep_alive_due(now, silence) {
            self.shard.counters.keep_alives_sent.increment();
            // A failure shows at the next write.
            if Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())).is_ok() {
                self.flushing = true;
            }
        }
    }

    fn discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..READS_IN_A_ROW {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Poll::Ready(()),
            }
        }
        Poll::Ready(()) // a peer that goes on and on
    }
}

/// Text if it is UTF-8, as browsers expect it, else binary (RFC 7118 §4.2).
fn message(bytes: Arc<[u8]>) -> Message {
    let bytes = Bytes::from_owner(bytes);
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

fn failure(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Messages of one connection before others get their turn.
const READS_IN_A_ROW: usize = 8;
/// Bytes after which a write is full: one TLS record.
const BATCH: usize = 16 << 10;
/// Grows for longer messages.
const READ_BUFFER: usize = 2 << 10;
/// How long a peer may take to close after our goodbye.
const LINGER: Duration = Duration::from_secs(2);
