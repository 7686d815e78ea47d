//! What the HTTPS port serves: the `/sip` WebSocket (RFC 7118), and whatever routes are handed in.
//!
//! Work comes from [`crate::accept`]; an upgraded connection goes on in [`crate::websocket`].

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farspeak_sansio::{Machine, Transport};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::accept::Ends;
use crate::admission::Seat;
use crate::shard::Shard;
use crate::{Framing, websocket};

/// Answers an HTTP request that is not the `/sip` upgrade. Runs on the shard's thread: it must not block.
pub type HttpHandler = Arc<dyn Fn(Request<Incoming>) -> HttpAnswer + Send + Sync>;

/// Between whom a request came: among its extensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpPeer {
    /// `Wss` inside TLS, `Ws` in clear text.
    pub transport: Transport,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

/// The answer, once it is there.
pub type HttpAnswer = Pin<Box<dyn Future<Output = Response<Full<Bytes>>>>>;

/// Serves an accepted connection whose TLS handshake, if any, is over.
pub(crate) fn serve<M, F, S>(shard: &Rc<Shard<M, F>>, transport: Transport, io: S, ends: Ends, seat: Seat)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let door = Rc::new(Door { shard: Rc::clone(shard), transport, ends, seat: RefCell::new(Some(seat)) });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(shard.config.stream.handshake_timeout)
        .max_buf_size(LONGEST_HEAD)
        .half_close(false);
    let service = service_fn({
        let door = Rc::clone(&door);
        move |request| answer::<M, F, S>(Rc::clone(&door), request)
    });
    let connection = server.serve_connection(TokioIo::new(io), service).with_upgrades();
    tokio::task::spawn_local(async move {
        // How it ended does not matter: an upgraded connection lives on in a task of its own.
        if let Ok(Err(error)) = timeout(LONGEST_VISIT, connection).await {
            tracing::debug!(%error, "HTTP connection ended");
        }
    });
}

/// One HTTP connection, until it becomes a WebSocket.
struct Door<M: Machine, F: Framing> {
    shard: Rc<Shard<M, F>>,
    transport: Transport,
    ends: Ends,
    seat: RefCell<Option<Seat>>,
}

async fn answer<M, F, S>(
    door: Rc<Door<M, F>>,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if request.uri().path() != SIP_PATH {
        if let Some(seat) = door.seat.borrow_mut().as_mut() {
            seat.settle();
        }
        return Ok(match &door.shard.config.http {
            Some(handler) => {
                let Ends { local, remote } = door.ends;
                request.extensions_mut().insert(HttpPeer { transport: door.transport, local, remote });
                handler(request).await
            }
            None => text(StatusCode::NOT_FOUND, "There is nothing here.\n"),
        });
    }
    Ok(match accept_key(request.method(), request.headers()) {
        Ok(key) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::task::spawn_local(change_over::<M, F, S>(door, upgrade));
            switching_protocols(&key)
        }
        Err((status, why)) => {
            door.shard.counters.handshakes_failed.increment();
            let mut response = text(status, why);
            if status == StatusCode::UPGRADE_REQUIRED {
                response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            response
        }
    })
}

/// Waits for the 101 to leave, then goes on as a WebSocket.
async fn change_over<M, F, S>(door: Rc<Door<M, F>>, upgrade: OnUpgrade)
where
    M: Machine + 'static,
    F: Framing,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Ok(upgraded) = upgrade.await else { return };
    let Some(seat) = door.seat.borrow_mut().take() else { return };
    // What was put in at `serve` comes out again.
    let Ok(parts) = upgraded.downcast::<TokioIo<S>>() else { return };
    websocket::serve(&door.shard, door.transport, parts.io.into_inner(), parts.read_buf, door.ends, seat).await;
}

/// The value of `Sec-WebSocket-Accept`, if the request is an opening handshake for SIP (RFC 6455 §4.2.1, RFC 7118 §4.1).
fn accept_key(method: &Method, headers: &HeaderMap) -> Result<String, (StatusCode, &'static str)> {
    if method != Method::GET
        || !has_token(headers, &UPGRADE, "websocket")
        || !has_token(headers, &CONNECTION, "upgrade")
    {
        return Err((StatusCode::UPGRADE_REQUIRED, "This is a WebSocket for SIP (RFC 7118).\n"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is needed.\n"));
    }
    if !has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SIP_PROTOCOL) {
        return Err((StatusCode::BAD_REQUEST, "The WebSocket subprotocol must be sip (RFC 7118).\n"));
    }
    match headers.get(SEC_WEBSOCKET_KEY) {
        Some(key) if key.len() == WEBSOCKET_KEY_LENGTH => Ok(derive_accept_key(key.as_bytes())),
        _ => Err((StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed.\n")),
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn switching_protocols(key: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SIP_PROTOCOL));
    if let Ok(key) = HeaderValue::from_str(key) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, key); // base64: always a valid value
    }
    response
}

fn text(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(words));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

const SIP_PATH: &str = "/sip";
const SIP_PROTOCOL: &str = "sip";
/// 16 bytes in base64 (RFC 6455 §4.1).
const WEBSOCKET_KEY_LENGTH: usize = 24;
const LONGEST_HEAD: usize = 16 << 10;
/// A plain HTTP connection ends after this, whatever it does.
const LONGEST_VISIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(change: (&'static str, &'static str)) -> Result<String, (StatusCode, &'static str)> {
        let mut headers = HeaderMap::new();
        let usual = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "xmpp, sip"),
        ];
        for (name, value) in usual.into_iter().chain([change]) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        accept_key(&Method::GET, &headers)
    }

    #[test]
    fn accepts_the_handshake_of_the_rfc() {
        // RFC 6455 §1.3
        assert_eq!(handshake(("x", "y")).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn refuses_other_subprotocols_versions_and_keys() {
        assert_eq!(handshake(("sec-websocket-protocol", "xmpp")).unwrap_err().0, StatusCode::BAD_REQUEST);
        assert_eq!(handshake(("sec-websocket-version", "8")).unwrap_err().0, StatusCode::UPGRADE_REQUIRED);
        assert_eq!(handshake(("sec-websocket-key", "short")).unwrap_err().0, StatusCode::BAD_REQUEST);
        assert_eq!(handshake(("upgrade", "h2c")).unwrap_err().0, StatusCode::UPGRADE_REQUIRED);
    }
}
