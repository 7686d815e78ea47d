//! Accepting connections, and the TLS handshake of those that want it. Hands over to [`crate::stream`], to
//! [`crate::http`], or, on the HTTPS port, to the packet loop ([`crate::relay`]).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use farspeak_sansio::{Machine, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncBufReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::Seat;
use crate::relay::Handover;
use crate::shard::Shard;
use crate::{Framing, Listener, StreamConfig, http, stream};

/// Accepts until it is aborted.
pub(crate) async fn run<M: Machine + 'static, F: Framing>(
    shard: Rc<Shard<M, F>>,
    socket: TcpListener,
    listener: Listener,
) {
    let acceptor = listener.tls.clone().map(TlsAcceptor::from);
    let mut complained = false;
    loop {
        shard.admission.room().await;
        let (tcp, remote) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(address = %listener.address, %error, "cannot accept connections; trying again");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        complained = false;
        let Some(seat) = shard.admission.admit(remote) else { continue };
        shard.counters.connections_accepted.increment();
        let Ok(local) = prepare(&tcp, &shard.config.stream) else { continue };
        let ends = Ends { local, remote };
        match (listener.transport, &acceptor) {
            (Transport::Tls | Transport::Wss, Some(acceptor)) => {
                let secured = secure(Rc::clone(&shard), acceptor.clone(), listener.transport, tcp, ends, seat);
                tokio::task::spawn_local(secured);
            }
            (Transport::Ws, _) => http::serve(&shard, Transport::Ws, tcp, ends, seat),
            _ => stream::serve(&shard, Transport::Tcp, tcp, ends, seat),
        }
    }
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// The options that every connection wants; gives our end.
pub(crate) fn prepare(tcp: &TcpStream, config: &StreamConfig) -> io::Result<SocketAddr> {
    tcp.set_nodelay(true)?; // without it a TLS handshake takes 44 ms longer
    let socket = SockRef::from(tcp);
    let keep_alive =
        TcpKeepalive::new().with_time(config.tcp_keep_alive).with_interval(TCP_PROBE_INTERVAL).with_retries(TCP_PROBES);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(config.tcp_user_timeout))?;
    tcp.local_addr()
}

async fn secure<M: Machine + 'static, F: Framing>(
    shard: Rc<Shard<M, F>>,
    acceptor: TlsAcceptor,
    transport: Transport,
    tcp: TcpStream,
    ends: Ends,
    seat: Seat,
) {
    match timeout(shard.config.stream.handshake_timeout, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) if transport == Transport::Wss && shard.config.divert.is_some() => {
            tokio::task::spawn_local(sort(shard, tls, ends, seat));
        }
        // The connection gets a task of its own: this one is as large as a handshake.
        Ok(Ok(tls)) if transport == Transport::Wss => http::serve(&shard, transport, tls, ends, seat),
        Ok(Ok(tls)) => stream::serve(&shard, transport, tls, ends, seat),
        Ok(Err(error)) => {
            shard.counters.handshakes_failed.increment();
            tracing::debug!(%error, "TLS handshake failed");
        }
        Err(_) => shard.counters.handshakes_timed_out.increment(),
    }
}

/// Tells connections for STUN and TURN from those for HTTP, by protocol name or by the first byte, and passes them on.
async fn sort<M: Machine + 'static, F: Framing>(
    shard: Rc<Shard<M, F>>,
    mut tls: TlsStream<TcpStream>,
    ends: Ends,
    seat: Seat,
) {
    let is_stun = match tls.get_ref().1.alpn_protocol() {
        Some(protocol) => protocol.starts_with(b"stun."),
        None => match timeout(shard.config.stream.handshake_timeout, tls.fill_buf()).await {
            // The bytes stay where they are: whoever serves the connection reads them.
            Ok(Ok([first, ..])) => *first < 0x40, // STUN (RFC 7983 §7); HTTP begins with a letter
            Ok(_) => return,
            Err(_) => return shard.counters.handshakes_timed_out.increment(),
        },
    };
    match &shard.config.divert {
        Some(divert) if is_stun => {
            let (tcp, tls) = tls.into_inner();
            drop(seat); // whoever takes it counts it
            let Ok(tcp) = tcp.into_std() else { return };
            let Ends { local, remote } = ends;
            divert(shard.shard, Handover { tcp, tls: Some(Box::new(tls)), local, remote });
        }
        _ => http::serve(&shard, Transport::Wss, tls, ends, seat),
    }
}

/// After an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
pub(crate) const TCP_PROBE_INTERVAL: Duration = Duration::from_secs(15);
pub(crate) const TCP_PROBES: u32 = 4;
