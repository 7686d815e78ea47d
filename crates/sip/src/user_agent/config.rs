//! Settings of a user agent, and where it sends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Transport};

use super::capabilities::{EXTENSIONS, METHODS};
use super::sips::SipsPolicy;
use crate::header::{Allow, OptionTags};
use crate::message::{Host, Method, Scheme, Uri};
use crate::registration::{Backoff, KeepAlive};

/// Settings of a user agent.
#[derive(Debug)]
#[non_exhaustive]
pub struct UserAgentConfig {
    /// User-Agent in requests and Server in responses. Default none: it helps attackers more than anybody else.
    pub product: Option<Arc<str>>,
    /// Extensions for Supported and, in requests outside dialogs, against Require. Default all that this layer has: taking
    /// one out switches it off for peers that cannot bear it.
    pub extensions: OptionTags,
    /// Methods of this layer for Allow. Default all; others get a 405.
    pub methods: Allow,
    /// Media types of bodies that the application understands, for Accept in the answer to OPTIONS. Default
    /// `application/sdp`.
    pub accept: Vec<Arc<str>>,
    /// Methods that the application handles besides those of this layer: for Allow. Default none.
    pub more_methods: Vec<Method>,
    /// Most sessions at once. Default 10,000. Beyond it, 503 to who calls; our own calls fail at once.
    pub max_sessions: usize,
    /// Most early dialogs that one INVITE of ours may open. Default 16. Further ones are ignored until they answer, and beyond
    /// four times as many also then.
    pub max_forks: usize,
    /// Info Packages that the application understands; INFO of others gets a 469 (RFC 6086 §4.2.2). Default none.
    pub info_packages: Vec<Arc<str>>,
    /// Event packages that the application notifies of, for Allow-Events; others get a 489. Default none.
    pub event_packages: Vec<Arc<str>>,
    /// Most subscriptions at once, at either end. Default 10,000. Beyond it 503, and our own fail at once.
    pub max_subscriptions: usize,
    /// Shortest subscription that a notifier grants, in seconds; 423 below it. Default 60.
    pub min_subscription: u32,
    /// Longest one. Default 3600.
    pub max_subscription: u32,
    /// Shortest time between two NOTIFYs of a subscription. Default 1 s; subscribers may ask for more (RFC 6446).
    pub notify_pause: Duration,
    /// Most registrations at once. Default 1000.
    pub max_registrations: usize,
    /// How long a lost flow waits before it is registered again.
    pub backoff: Backoff,
    /// How registered flows are kept alive.
    pub keep_alive: KeepAlive,
    /// How long a call of ours may ring before it is given up. Default 3 minutes (RFC 3261 §13.3.1.1).
    pub ring_timeout: Duration,
    /// How long who calls us may wait for an answer before 480. Default 3 minutes.
    pub answer_timeout: Duration,
    /// Session interval that our INVITEs ask for, and our 2xx if the peer did not, in seconds (RFC 4028). Default 1800;
    /// `None` to have no session timer unless the peer or a proxy wants one.
    pub session_interval: Option<u32>,
    /// Shortest session interval that we take, in seconds; 422 below it. Default 90, which is also the least (RFC 4028 §5).
    pub min_session_interval: u32,
    /// How long the application may take to answer the offer in an UPDATE, a PRACK or a response; then it is refused, or
    /// what it belongs to is ended. Default 10 s: the peer's Timer F leaves 32 s (RFC 3311 §5.2). A re-INVITE waits for
    /// `answer_timeout`, ours for `ring_timeout`.
    pub offer_timeout: Duration,
    /// Whether the application may put an offer into the PRACK of a response with the answer (RFC 3262 §5): it then calls
    /// [`Agent::prack`](super::Agent::prack) for each of these. Default no: every PRACK leaves at once.
    pub offers_in_prack: bool,
    /// The host in our Contact towards who reaches us over TLS and WSS, where certificates carry names. Default none: the
    /// address that the request came to.
    pub public_name: Option<Arc<str>>,
    /// Whether this is one half of a back-to-back user agent (RFC 7092), which leaves to the far end what need not be
    /// understood here: option tags in Require, the dialog that Replaces names, Info Packages, and requests of any method
    /// within a session, OPTIONS included, which all become [`Event::Within`](super::Event::Within). A 2xx may lack the
    /// answer that it owes, if the far end's does. Default no.
    pub relays: bool,
    /// Whether requests outside dialogs may, must or must not come to a `sips` URI. Default: they may.
    pub sips: SipsPolicy,
    /// Finds the flow for requests inside a dialog. Default [`FlowAlong`].
    pub next_hop: Box<dyn NextHop + Send>,
}

impl Default for UserAgentConfig {
    fn default() -> Self {
        Self {
            product: None,
            extensions: EXTENSIONS,
            methods: METHODS.into_iter().collect(),
            accept: vec!["application/sdp".into()],
            more_methods: Vec::new(),
            max_sessions: 10_000,
            max_forks: 16,
            max_registrations: 1000,
            backoff: Backoff::default(),
            keep_alive: KeepAlive::default(),
            info_packages: Vec::new(),
            event_packages: Vec::new(),
            max_subscriptions: 10_000,
            min_subscription: 60,
            max_subscription: 3600,
            notify_pause: Duration::from_secs(1),
            ring_timeout: Duration::from_secs(180),
            answer_timeout: Duration::from_secs(180),
            session_interval: Some(1800),
            min_session_interval: 90,
            offer_timeout: Duration::from_secs(10),
            offers_in_prack: false,
            public_name: None,
            relays: false,
            sips: SipsPolicy::default(),
            next_hop: Box::new(FlowAlong),
        }
    }
}

/// Finds the flow to a next hop. Locating servers by name (RFC 3263) is its business, and that of the driver behind it.
pub trait NextHop {
    /// The flow towards `uri`, for a dialog whose last request went or came over `along`.
    fn next_hop(&mut self, uri: &Uri<'_>, along: &Flow) -> Flow;
}

impl fmt::Debug for dyn NextHop + Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextHop")
    }
}

/// Goes where a URI with an address literally says, and along the dialog's flow otherwise: a connection is kept (RFC 5626),
/// a name is somebody behind the server that we already talk to.
#[derive(Clone, Copy, Debug)]
pub struct FlowAlong;

impl NextHop for FlowAlong {
    fn next_hop(&mut self, uri: &Uri<'_>, along: &Flow) -> Flow {
        let ip: IpAddr = match uri.host {
            Host::V4(ip) => ip.into(),
            Host::V6(ip) => ip.into(),
            Host::Name(_) => return *along,
        };
        let transport = match (uri.scheme, uri.transport_param()) {
            (Scheme::Sips, _) => Transport::Tls,
            (_, Some(name)) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            (_, Some(name)) if name.eq_ignore_ascii_case("tls") => Transport::Tls,
            (_, Some(name)) if name.eq_ignore_ascii_case("udp") => Transport::Udp,
            _ => along.transport,
        };
        if along.transport.is_reliable() {
            return *along;
        }
        let port = uri.port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 });
        let remote = SocketAddr::new(ip, port);
        if transport == along.transport {
            return Flow { remote, ..*along };
        }
        Flow { id: FlowId::UNBOUND, transport, local: along.local, remote }
    }
}
