//! Where a response goes (RFC 3261 §18.2.2, RFC 3581 §4), and when a request is too long for a datagram (§18.1.1).

use std::net::{IpAddr, SocketAddr};

use farspeak_sansio::{Flow, FlowId, Transport};

use crate::message::Via;

/// The longest request that may leave as a datagram if the path's MTU is unknown (RFC 3261 §18.1.1).
pub const LONGEST_DATAGRAM: usize = 1300;

/// Whether a request of `len` bytes towards another server belongs onto a stream: within 200 bytes of the path's MTU,
/// or over 1300 bytes if that is unknown (RFC 3261 §18.1.1).
///
/// Deviation: never ask it for a phone that registered over datagrams; it could not be reached over anything else.
pub fn needs_stream(len: usize, path_mtu: Option<usize>) -> bool {
    path_mtu.map_or(len > LONGEST_DATAGRAM, |mtu| len + 200 > mtu)
}

/// The way of the responses to a request that arrived over `flow` with `via` on top.
///
/// On a stream: the connection. On datagrams: the source address, with the source port if the client asked for it by
/// `rport` (RFC 3581 §4), else the port of sent-by. The address is the one seen on the wire, whatever `received` says.
pub(crate) fn response_route(flow: &Flow, via: &Via<'_>, follow_maddr: bool) -> Flow {
    if flow.transport.is_reliable() {
        return *flow;
    }
    let default_port = 5060;
    if let Some(address) = via.maddr().and_then(parse_ip).filter(|_| follow_maddr) {
        return Flow { remote: SocketAddr::new(address, via.port.unwrap_or(default_port)), ..*flow };
    }
    if via.rport().is_some() {
        return *flow;
    }
    let mut remote = flow.remote;
    remote.set_port(via.port.unwrap_or(default_port));
    Flow { remote, ..*flow }
}

/// The port to connect to, at the source address, if the TCP connection of the request has gone: that of sent-by
/// (RFC 3261 §18.2.2).
///
/// Deviation: not for TLS, whose client proved no name that we could ask for, and not for WebSocket, which a browser
/// cannot accept (RFC 7118 §5).
pub(crate) fn fallback_port(flow: &Flow, via: &Via<'_>) -> Option<u16> {
    let port = via.port.unwrap_or(5060);
    (flow.transport == Transport::Tcp && port != 0).then_some(port)
}

/// A new connection to the peer of `flow`, at `port`.
pub(crate) fn fallback_route(flow: &Flow, port: u16) -> Flow {
    let mut remote = flow.remote;
    remote.set_port(port);
    Flow { id: FlowId::UNBOUND, remote, ..*flow }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}
