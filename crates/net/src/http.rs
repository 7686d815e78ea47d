//! What the HTTPS port serves: the `/sip` WebSocket (RFC 7118), and whatever routes are handed in.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use crate::Framing;
use crate::accept::Ends;
use crate::admission::Seat;
use crate::shard::Shard;
use bytes::Bytes;
use farspeak_sansio::{Machine, Transport};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

/// Answers an HTTP request that is not the `/sip` upgrade. Runs on the shard's thread: it must not block.
pub type HttpHandler = Arc<dyn Fn(Request<Incoming>) -> HttpAnswer + Send + Sync>;

/// The answer, once it is there.
pub type HttpAnswer = Pin<Box<dyn Future<Output = Response<Full<Bytes>>>>>;

/// Serves an accepted connection, TLS included.
pub(crate) fn serve<M, F, S>(_shard: &Rc<Shard<M, F>>, _transport: Transport, _io: S, _ends: Ends, _seat: Seat)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
}
