//! One WebSocket connection, in clear text or inside TLS: each message is one SIP message (RFC 7118 §5).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use farspeak_sansio::{Instant, Machine, Transport};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::accept::Ends;
use crate::admission::Seat;
use crate::connection::{self, BATCH, Base, Wire};
use crate::pulse::{End, Pulse};
use crate::shard::Shard;
use crate::{Framing, StreamConfig};

/// Serves a connection after its upgrade; `early` is what came with it.
pub(crate) async fn serve<M, F, S>(
    shard: &Rc<Shard<M, F>>,
    transport: Transport,
    io: S,
    early: Bytes,
    ends: Ends,
    seat: Seat,
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
    let wire = WebSocket { socket, flushing: false };
    connection::start(shard, flow, wire, seat, Pulse::accepted(shard.clock.now()));
}

struct WebSocket<S> {
    socket: WebSocketStream<S>,
    /// The library holds something that is to be written.
    flushing: bool,
}

impl<M, F, S> Wire<M, F> for WebSocket<S>
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn longest_silence(config: &StreamConfig) -> Duration {
        config.websocket_silence.min(config.idle_timeout)
    }

    fn keep_alive_after(config: &StreamConfig) -> Duration {
        config.websocket_ping
    }

    fn read(&mut self, base: &mut Base<M, F>, now: Instant, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        match ready!(Pin::new(&mut self.socket).poll_next(context)) {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                let shard = Rc::clone(&base.shard);
                if !shard.guard(|| take(base, now, &message.into_data())) {
                    base.close();
                }
            }
            Some(Ok(Message::Ping(_) | Message::Close(_))) => {
                base.pulse.heard(now);
                self.flushing = true; // the library has put the answer in its buffer
            }
            Some(Ok(_)) => {
                base.pulse.heard(now);
                base.pulse.framed(now, true, false);
            }
            None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return Poll::Ready(Err(End::Closed)),
            Some(Err(Error::Io(_))) => return Poll::Ready(Err(End::Reset)),
            Some(Err(error)) => {
                base.shard.counters.streams_broken.increment();
                tracing::debug!(%error, "closing a WebSocket that breaks the rules");
                base.close();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn keep_alive(&mut self, base: &mut Base<M, F>) {
        if self.flushing {
            return; // what is on its way keeps the connection alive as well
        }
        base.shard.counters.keep_alives_sent.increment();
        // A failure shows at the next write.
        self.flushing = Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())).is_ok();
    }

    fn write(&mut self, base: &mut Base<M, F>, now: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.flushing {
                base.pulse.waiting(now);
                ready!(Pin::new(&mut self.socket).poll_flush(context)).map_err(failure)?;
                self.flushing = false;
                base.pulse.written();
            }
            let mut batch = 0;
            while batch < BATCH
                && let Some(bytes) = base.shard.flows.borrow_mut().take_message(base.flow.id)
            {
                batch += bytes.len();
                base.shard.counters.stream_bytes_sent.add(bytes.len() as u64);
                Pin::new(&mut self.socket).start_send(message(bytes)).map_err(failure)?;
                self.flushing = true;
            }
            if !self.flushing {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.socket).poll_close(context).map(|_| ())
    }

    fn discard(&mut self, _: &Base<M, F>, context: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.socket).poll_next(context).map(|next| matches!(next, Some(Ok(_))))
    }
}

fn take<M, F>(base: &mut Base<M, F>, now: Instant, bytes: &[u8])
where
    M: Machine + 'static,
    F: Framing,
{
    let shard = Rc::clone(&base.shard);
    shard.counters.stream_bytes_received.add(bytes.len() as u64);
    base.pulse.heard(now);
    base.pulse.framed(now, true, false);
    base.take(now, shard.framing.websocket(bytes));
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

/// Grows for longer messages.
const READ_BUFFER: usize = 2 << 10;
