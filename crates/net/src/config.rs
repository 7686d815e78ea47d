//! What the operator can choose about sockets, and the bounds on everything that a peer can grow.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Transport;
use rustls::{ClientConfig, ServerConfig};

use crate::http::HttpHandler;
use crate::relay::Handover;

/// Takes a connection of the shard of that number that is not for it.
pub type Divert = Arc<dyn Fn(u8, Handover) + Send + Sync>;

/// Everything that [`crate::start`] needs to know.
#[derive(Clone)]
pub struct NetConfig {
    /// How many shards, each a thread with its own sockets and its own machine. Default: one for each processor this
    /// process may use. Range 1–64.
    pub shards: u8,
    /// Whether shard n is tied to the n-th processor. Default `false`.
    pub pin_cores: bool,
    /// Where to listen.
    pub listeners: Vec<Listener>,
    /// Datagram sockets.
    pub udp: UdpConfig,
    /// Connections of all kinds.
    pub stream: StreamConfig,
    /// How TLS connections that *we* open check the peer, whose certificate must be for its IP address: a flow knows no
    /// name. Default `None`: sending to an unbound TLS flow without a connection fails the flow.
    pub client_tls: Option<Arc<ClientConfig>>,
    /// Serves what is not the `/sip` WebSocket on the `Ws` and `Wss` listeners. Default `None`: 404.
    pub http: Option<HttpHandler>,
    /// Takes connections to the `Wss` listeners that are for STUN or TURN, not HTTP: by ALPN `stun.turn` (RFC 7443), or
    /// because the client's first byte says so. Default `None`: all are HTTP.
    pub divert: Option<Divert>,
    /// Most commands and messages that wait for a shard. Default 16,384. Beyond it [`crate::ShardHandle::run`] refuses.
    pub command_queue: usize,
    /// How long a busy shard lets messages gather before it looks for them again. Default 500 µs; zero: not at all.
    ///
    /// Waking a thread costs more than handling a message, so that handling several at once halves their cost. A shard
    /// that is woken less than a thousand times a second answers at once.
    pub rest: Duration,
}

impl Default for NetConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shards: processors.min(MAX_SHARDS) as u8,
            pin_cores: false,
            listeners: Vec::new(),
            udp: UdpConfig::default(),
            stream: StreamConfig::default(),
            client_tls: None,
            http: None,
            divert: None,
            command_queue: 16_384,
            rest: Duration::from_micros(500),
        }
    }
}

impl fmt::Debug for NetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetConfig")
            .field("shards", &self.shards)
            .field("pin_cores", &self.pin_cores)
            .field("listeners", &self.listeners)
            .field("udp", &self.udp)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Most shards: a flow remembers who uses it in one 64-bit word.
pub const MAX_SHARDS: usize = 64;

/// One address to listen on.
#[derive(Clone)]
pub struct Listener {
    /// What is spoken there. `Ws` and `Wss` are HTTP servers whose path `/sip` upgrades (RFC 7118).
    pub transport: Transport,
    /// Where. Port 0 takes any free port, the same for all shards. An IPv6 wildcard does not take IPv4 in.
    pub address: SocketAddr,
    /// The certificates and versions. Needed for `Tls` and `Wss`, ignored otherwise; see [`crate::server_config`].
    pub tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    /// A listener in clear text.
    pub const fn plain(transport: Transport, address: SocketAddr) -> Self {
        Self { transport, address, tls: None }
    }

    /// A listener inside TLS.
    pub const fn secure(transport: Transport, address: SocketAddr, tls: Arc<ServerConfig>) -> Self {
        Self { transport, address, tls: Some(tls) }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport, self.address)
    }
}

/// Bounds on datagram sockets.
#[derive(Clone, Debug)]
pub struct UdpConfig {
    /// Kernel buffer for arriving datagrams, in bytes, for each socket. Default 4 MiB; the kernel may grant less
    /// (`net.core.rmem_max`).
    pub receive_buffer: usize,
    /// Kernel buffer for leaving datagrams, in bytes, for each socket. Default 2 MiB.
    pub send_buffer: usize,
    /// Most datagrams taken in one go before other work of the shard gets its turn. Default 64.
    pub batch: usize,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self { receive_buffer: 4 << 20, send_buffer: 2 << 20, batch: 64 }
    }
}

/// Bounds on connections. Each timeout ends the one connection and raises `handle_flow_failed`.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Most connections of one shard, those in their handshake included. Default 32,768. Beyond it the oldest stay and
    /// new ones are closed.
    pub max_connections: usize,
    /// Most connections from one source prefix (IPv4 address, IPv6 /64) on one shard. Default 1,024.
    pub max_connections_per_source: usize,
    /// Most TLS handshakes and HTTP requests under way on one shard. Default 512. Beyond it new connections wait in the
    /// kernel's queue.
    pub max_handshakes: usize,
    /// Most handshakes under way from one source prefix on one shard. Default 128. Beyond it new ones are closed.
    pub max_handshakes_per_source: usize,
    /// Whether loopback sources are exempt from the two bounds per source. Default `true`.
    pub spare_loopback: bool,
    /// From accepting to the end of the TLS handshake and of the WebSocket upgrade. Default 10 s.
    pub handshake_timeout: Duration,
    /// From sending SYN to the end of the TLS handshake of a connection that we open. Default 10 s.
    pub connect_timeout: Duration,
    /// From the handshake to the peer's first complete message or keep-alive. Default 30 s.
    pub first_message_timeout: Duration,
    /// From the first byte of a message to its last. Default 10 s.
    pub message_timeout: Duration,
    /// How long a peer may take nothing of what waits for it. Default 20 s.
    pub write_timeout: Duration,
    /// Most bytes that wait for one peer, 64 counted for each message besides its own. Default 1 MiB. One message more
    /// and the connection is cut.
    pub write_queue: usize,
    /// Most bytes that wait for all peers of one shard. Default 256 MiB. Beyond it a message for a peer for whom more
    /// than 16 KiB wait already cuts that connection.
    pub write_queues: usize,
    /// Silence of the peer after which we send a CRLF, which it ignores (RFC 3261 §7.5), to keep NATs open; not on
    /// WebSocket. Default 90 s.
    pub keep_alive: Duration,
    /// Between WebSocket pings. Default 25 s.
    pub websocket_ping: Duration,
    /// Silence of a WebSocket peer, pongs counted, after which it is gone. Default 60 s.
    pub websocket_silence: Duration,
    /// Silence of any peer after which its connection closes. Default 2 h.
    pub idle_timeout: Duration,
    /// Silence after which the kernel probes a peer (TCP keep-alive). Default 60 s, then every 15 s, 4 times.
    pub tcp_keep_alive: Duration,
    /// How long the kernel repeats what a peer does not acknowledge (`TCP_USER_TIMEOUT`). Default 60 s.
    pub tcp_user_timeout: Duration,
    /// Most bytes of one WebSocket message. Default 65,535.
    pub websocket_message: usize,
    /// How often the timeouts above are looked at: they end late by at most this. Default 1 s.
    pub sweep: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            max_connections: 32_768,
            max_connections_per_source: 1_024,
            max_handshakes: 512,
            max_handshakes_per_source: 128,
            spare_loopback: true,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            first_message_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            write_queue: 1 << 20,
            write_queues: 256 << 20,
            keep_alive: Duration::from_secs(90),
            websocket_ping: Duration::from_secs(25),
            websocket_silence: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(2 * 3600),
            tcp_keep_alive: Duration::from_secs(60),
            tcp_user_timeout: Duration::from_secs(60),
            websocket_message: 65_535,
            sweep: Duration::from_secs(1),
        }
    }
}
