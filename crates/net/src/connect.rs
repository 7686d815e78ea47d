//! Opening connections to where a machine sends without having a flow.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use farspeak_sansio::{Flow, FlowId, Machine, Transport};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Framing;
use crate::accept::{Ends, prepare};
use crate::admission::Seat;
use crate::shard::Shard;
use crate::stream;

/// Starts to connect; messages may be queued at once. `None` if that transport cannot be opened from here, or there are
/// too many connections already.
pub(crate) fn open<M: Machine + 'static, F: Framing>(shard: &Rc<Shard<M, F>>, asked: &Flow) -> Option<FlowId> {
    let possible = match asked.transport {
        Transport::Tcp => true,
        Transport::Tls => shard.config.client_tls.is_some(),
        // A browser cannot be called; a datagram needs no connection.
        Transport::Ws | Transport::Wss | Transport::Udp => false,
    };
    if !possible {
        return None;
    }
    let seat = shard.admission.admit(asked.remote)?;
    let flow = shard.flows.borrow_mut().insert(asked.transport, asked.local, asked.remote);
    tokio::task::spawn_local(connect(Rc::clone(shard), flow, seat));
    Some(flow.id)
}

async fn connect<M: Machine + 'static, F: Framing>(shard: Rc<Shard<M, F>>, flow: Flow, seat: Seat) {
    let attempt = async {
        let tcp = TcpStream::connect(flow.remote).await?;
        let local = prepare(&tcp, &shard.config.stream)?;
        established(&shard, flow, tcp, local, seat).await
    };
    let error = match timeout(shard.config.stream.connect_timeout, attempt).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    shard.counters.connections_failed.increment();
    tracing::debug!(%error, transport = %flow.transport, "cannot connect");
    shard.end_flow(shard.clock.now(), flow.id);
}

async fn established<M: Machine + 'static, F: Framing>(
    shard: &Rc<Shard<M, F>>,
    flow: Flow,
    tcp: TcpStream,
    local: SocketAddr,
    seat: Seat,
) -> io::Result<()> {
    let ends = Ends { local, remote: flow.remote };
    match &shard.config.client_tls {
        Some(config) if flow.transport == Transport::Tls => {
            let name = ServerName::IpAddress(flow.remote.ip().into());
            let tls = Box::pin(TlsConnector::from(config.clone()).connect(name, tcp)).await?;
            stream::resume(shard, flow.id, tls, ends, seat);
        }
        _ => stream::resume(shard, flow.id, tcp, ends, seat),
    }
    shard.counters.connections_opened.increment();
    Ok(())
}
