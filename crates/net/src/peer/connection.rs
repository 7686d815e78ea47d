//! One TCP or TLS connection of a peer: opens it, reads and frames, writes what waits, and tells the machine of its end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use farspeak_sansio::{Flow, Machine, Transport};
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Driver;
use super::context::Edge;
use crate::accept::prepare;
use crate::{Framed, Framer, Framing, StreamConfig};

/// What waits to be written.
#[derive(Default)]
pub(crate) struct Outbox {
    messages: RefCell<VecDeque<Arc<[u8]>>>,
    /// Bytes in `messages`, and the memory around them.
    queued: Cell<usize>,
    closing: Cell<bool>,
    changed: Notify,
}

impl Outbox {
    /// Drops the message if more than `most` bytes would wait, unless it is the only one.
    pub(crate) fn push(&self, bytes: Arc<[u8]>, most: usize) {
        let queued = self.queued.get() + cost(&bytes);
        let mut messages = self.messages.borrow_mut();
        if queued <= most || messages.is_empty() {
            messages.push_back(bytes);
            self.queued.set(queued);
            self.changed.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.changed.notify_one();
    }

    pub(crate) const fn queued(&self) -> usize {
        self.queued.get()
    }

    /// Takes messages for one write.
    fn take(&self, out: &mut Vec<u8>) {
        let mut messages = self.messages.borrow_mut();
        while out.len() < BATCH
            && let Some(bytes) = messages.pop_front()
        {
            self.queued.set(self.queued.get() - cost(&bytes));
            out.extend_from_slice(&bytes);
        }
    }
}

/// Lives as long as the connection; then the machine hears that the flow failed.
pub(super) async fn serve<M: Machine + 'static, F: Framing>(driver: Rc<Driver<M, F>>, flow: Flow, outbox: Rc<Outbox>) {
    let edge = &driver.edge;
    let opened = timeout(edge.config.connect_timeout, open(edge, &flow)).await;
    let ended = match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(io) => {
            edge.counters.connections_opened.increment();
            edge.counters.connections.add(1);
            let ended = match io {
                Io::Plain(io) => converse(&driver, flow, &outbox, io).await,
                Io::Secure(io) => converse(&driver, flow, &outbox, *io).await,
            };
            edge.counters.connections.add(-1);
            ended
        }
        Err(error) => {
            edge.counters.connections_failed.increment();
            Err(error)
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, transport = %flow.transport, "a connection of ours failed");
    }
    edge.forget(&flow);
    driver.fail(flow);
}

enum Io {
    Plain(TcpStream),
    Secure(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn open(edge: &Edge, flow: &Flow) -> io::Result<Io> {
    let socket = if flow.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !flow.local.ip().is_unspecified() {
        // The port is the kernel's choice: the local port of the flow is a name, and may be that of a UDP socket.
        let mut local = flow.local;
        local.set_port(0);
        socket.bind(local)?;
    }
    let tcp = socket.connect(flow.remote).await?;
    let _local: SocketAddr = prepare(&tcp, &StreamConfig::default())?;
    match &edge.config.tls {
        Some(config) if flow.transport == Transport::Tls => {
            let tls = TlsConnector::from(Arc::clone(config)).connect(edge.server_name(flow.remote), tcp).await?;
            Ok(Io::Secure(Box::new(tls)))
        }
        _ => Ok(Io::Plain(tcp)),
    }
}

/// Both directions at once, until one ends.
async fn converse<M, F, S>(driver: &Rc<Driver<M, F>>, flow: Flow, outbox: &Outbox, io: S) -> io::Result<()>
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = tokio::io::split(io);
    let reading = pin!(read(driver, flow, outbox, reader));
    match select(reading, pin!(write(&driver.edge, outbox, writer))).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}

async fn read<M, F, R>(driver: &Rc<Driver<M, F>>, flow: Flow, outbox: &Outbox, mut io: R) -> io::Result<()>
where
    M: Machine + 'static,
    F: Framing,
    R: AsyncRead + Unpin,
{
    let edge = &driver.edge;
    let mut framer = driver.framing.stream();
    let mut buffer = vec![0; BATCH];
    loop {
        let length = io.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        edge.counters.stream_bytes_received.add(length as u64);
        let now = edge.clock.now();
        framer.push(&buffer[..length]);
        while let Some(framed) = framer.next() {
            match framed {
                Framed::Message(message) => driver.take(now, flow, &message),
                Framed::Ping => {
                    edge.counters.pings_answered.increment();
                    outbox.push(Arc::from(*b"\r\n"), edge.config.write_queue);
                }
                Framed::Pong => {}
                Framed::Broken { reply, reason } => {
                    edge.counters.streams_broken.increment();
                    tracing::debug!(%reason, transport = %flow.transport, "closing a connection that cannot be framed");
                    if let Some(reply) = reply {
                        outbox.push(reply.into(), edge.config.write_queue);
                    }
                    outbox.close();
                    return std::future::pending().await; // the writer ends it
                }
            }
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(edge: &Edge, outbox: &Outbox, mut io: W) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        outbox.take(&mut batch);
        if batch.is_empty() {
            if outbox.closing.get() {
                let _ = timeout(edge.config.write_timeout, io.shutdown()).await; // it may be gone already
                return Ok(());
            }
            outbox.changed.notified().await;
            continue;
        }
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let count = timeout(edge.config.write_timeout, io.write(rest)).await??;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[count..];
        }
        timeout(edge.config.write_timeout, io.flush()).await??;
        edge.counters.stream_bytes_sent.add(batch.len() as u64);
        batch.clear();
    }
}

/// What a waiting message counts: its bytes, and the memory around them.
fn cost(bytes: &[u8]) -> usize {
    bytes.len() + 64
}

/// Bytes of one read, and after which a write is full: one TLS record.
const BATCH: usize = 16 << 10;
