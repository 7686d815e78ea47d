//! A Binding server for strangers, RFC 8489 §12, with NAT behaviour discovery if it has two addresses (RFC 5780 §6).
//!
//! It keeps no state of anybody. An answer is never more than 2.5 times as long as its request, IP and UDP headers
//! counted, and each source prefix gets only so many per second, so that forging requests in somebody's name gains
//! nothing.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Transmit, Transport};

use crate::attribute::{Attribute, AttributeType, ErrorCode, UnknownAttributes};
use crate::limit::{Limits, RateLimit, longest_answer};
use crate::{Class, Message, Method, Writer};

/// How a Binding server behaves.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// How many answers each source prefix gets.
    pub limits: Limits,
    /// Value of SOFTWARE in answers. Default none. Deviation: RFC 8489 §6.3.1.1 would have it, but it makes answers
    /// longer and tells attackers what to try (§16.1.2).
    pub software: Option<String>,
    /// The pairs of addresses for RFC 5780, one per family. Default none: CHANGE-REQUEST gets a 420 then.
    pub alternates: Vec<Alternate>,
    /// What makes the table of limits unpredictable: random and secret in production.
    pub seed: u64,
}

/// Two addresses and two ports, every one of the four combinations a socket of ours (RFC 5780 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alternate {
    /// A1:P1, where clients ask first.
    pub primary: SocketAddr,
    /// A2:P2, of the same family, with another address and another port.
    pub other: SocketAddr,
}

/// What has been done with requests so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Answered with success.
    pub answered: u64,
    /// Answered with an error: 400 or 420.
    pub refused: u64,
    /// Not answered: no STUN, no Binding request, or not from where an answer could go.
    pub dropped: u64,
    /// Not answered because the source's prefix had used up its share.
    pub limited: u64,
    /// Not answered because the answer would have been too long for so short a request.
    pub too_long: u64,
}

/// Where an answer goes, and from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Bytes of it in the caller's buffer.
    pub length: usize,
    /// Our address that it leaves from.
    pub from: SocketAddr,
    /// Whom it goes to.
    pub to: SocketAddr,
}

/// The server: a machine without timers or events.
///
/// ```no_run
/// # use farspeak_sansio::{Flow, Instant, Transport};
/// # use farspeak_stun::{BindingServer, ServerConfig};
/// # let seed = 1; // random and secret
/// let mut server = BindingServer::new(ServerConfig { seed, ..ServerConfig::default() });
/// let socket = std::net::UdpSocket::bind("192.0.2.1:3478")?;
/// let (origin, mut request, mut answer) = (std::time::Instant::now(), [0; 2048], [0; 1500]);
/// loop {
///     let (length, client) = socket.recv_from(&mut request)?;
///     let now = Instant::ZERO + origin.elapsed();
///     let flow = Flow::unbound(Transport::Udp, socket.local_addr()?, client);
///     if let Some(sent) = server.answer(now, &flow, &request[..length], &mut answer) {
///         socket.send_to(&answer[..sent.length], sent.to)?;
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BindingServer {
    config: ServerConfig,
    limit: RateLimit,
    counters: Counters,
    transmits: VecDeque<Transmit>,
}

/// Most bytes of an answer. No path that carries 1280 bytes fragments it, unless PADDING asked for more.
const LONGEST_ANSWER: usize = 1500;
/// Most types in UNKNOWN-ATTRIBUTES; nobody needs more to mend a request.
const MOST_UNKNOWN: usize = 16;

impl BindingServer {
    /// A server without history. Pairs of addresses that do not differ in address and port, or are not of one family,
    /// are left out.
    pub fn new(mut config: ServerConfig) -> Self {
        config.alternates.retain(|pair| {
            let (one, other) = (pair.primary, pair.other);
            one.is_ipv4() == other.is_ipv4() && one.ip() != other.ip() && one.port() != other.port()
        });
        let limit = RateLimit::new(config.limits, config.seed);
        Self { config, limit, counters: Counters::default(), transmits: VecDeque::new() }
    }

    /// What has been done so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers a request, without allocating.
    ///
    /// `flow.local` is the address that the request came to: with several, the driver must know it (`IP_PKTINFO`). 1,500
    /// bytes of `buffer` are enough. `None`: nothing is sent.
    pub fn answer(&mut self, now: Instant, flow: &Flow, request: &[u8], buffer: &mut [u8]) -> Option<Answer> {
        let message = Message::parse(request).ok().filter(|message| message.is(Class::Request, Method::BINDING));
        let Some(message) = message.filter(|_| is_answerable(flow.remote)) else {
            self.counters.dropped += 1;
            return None;
        };
        let streamed = flow.transport.is_reliable();
        if !streamed && !self.limit.admit(now, flow.remote.ip()) {
            self.counters.limited += 1;
            return None;
        }
        let room =
            buffer.len().min(if streamed { usize::MAX } else { longest_answer(request.len(), flow.remote.ip()) });
        let mut writer = Writer::respond(&mut buffer[..room], Class::Success, &message);
        let written = match self.success(flow, &message, room, &mut writer) {
            Ok((from, to)) => {
                if message.has_fingerprint() {
                    writer.fingerprint();
                }
                writer.finish().ok().map(|bytes| Answer { length: bytes.len(), from, to })
            }
            Err(refusal) => {
                let length = refuse(&message, refusal, &mut buffer[..room]);
                length.map(|length| Answer { length, from: flow.local, to: flow.remote })
            }
        };
        let counter = match &written {
            None => &mut self.counters.too_long,
            // The class is in the first byte (RFC 8489 figure 3): 0x0101 and 0x0111.
            Some(_) if buffer[1] == 0x01 => &mut self.counters.answered,
            Some(_) => &mut self.counters.refused,
        };
        *counter += 1;
        written
    }

    /// Writes the attributes of a success (RFC 5780 §6.1); from where and whither it goes.
    fn success(
        &self,
        flow: &Flow,
        message: &Message<'_>,
        room: usize,
        writer: &mut Writer<'_>,
    ) -> Result<(SocketAddr, SocketAddr), Refusal> {
        let pair = self.pair_of(flow);
        let understands = |kind: AttributeType| understands(kind, pair.is_some());
        if message.not_understood(understands).next().is_some() {
            return Err(Refusal::Unknown { changes: pair.is_some() });
        }
        let bad = |_| Refusal::Bad;
        let change = message.change_request().map_err(bad)?.unwrap_or_default();
        let response_port = message.response_port().map_err(bad)?;
        let padding = message.find(AttributeType::PADDING);
        // "The server MUST NOT process a request containing a RESPONSE-PORT and a PADDING attribute", RFC 5780 §7.5.
        if padding.is_some() && response_port.is_some() || response_port == Some(0) {
            return Err(Refusal::Bad);
        }
        let (other_ip, other_port) = pair.unwrap_or((flow.local.ip(), flow.local.port()));
        let from = SocketAddr::new(
            if change.ip { other_ip } else { flow.local.ip() },
            if change.port { other_port } else { flow.local.port() },
        );
        let to = SocketAddr::new(flow.remote.ip(), response_port.unwrap_or(flow.remote.port()));
        // What a socket of both families calls v4-mapped has travelled as IPv4.
        let mapped = SocketAddr::new(flow.remote.ip().to_canonical(), flow.remote.port());
        writer.push(Attribute::XorMappedAddress(mapped));
        if pair.is_some() {
            writer
                .push(Attribute::MappedAddress(mapped))
                .push(Attribute::ResponseOrigin(from))
                .push(Attribute::OtherAddress(SocketAddr::new(other_ip, other_port)));
        }
        // Only where it fits, a FINGERPRINT behind it.
        let software = self.config.software.as_deref();
        if let Some(software) = software.filter(|name| writer.len() + name.len().next_multiple_of(4) + 12 <= room) {
            writer.push(Attribute::Software(software));
        }
        if let Some(padding) = padding {
            // Deviation: as long as the request's, not as the MTU (RFC 5780 §6.1): nobody gets more than was sent.
            let length = padding.len().min(LONGEST_ANSWER - writer.len() - 12) & !3;
            writer.push(Attribute::Padding(&[0; LONGEST_ANSWER][..length]));
        }
        Ok((from, to))
    }

    /// Ca and Cp of RFC 5780 table 1, for a datagram that came to one of the pairs' four sockets.
    fn pair_of(&self, flow: &Flow) -> Option<(IpAddr, u16)> {
        if flow.transport != Transport::Udp {
            return None;
        }
        let (ip, port) = (flow.local.ip(), flow.local.port());
        self.config.alternates.iter().find_map(|pair| {
            let (one, two) = (pair.primary, pair.other);
            let ip = if ip == one.ip() { two.ip() } else { Some(one.ip()).filter(|_| ip == two.ip())? };
            let port = if port == one.port() { two.port() } else { Some(one.port()).filter(|_| port == two.port())? };
            Some((ip, port))
        })
    }
}

/// Why there is no success.
#[derive(Clone, Copy)]
enum Refusal {
    Bad,
    Unknown { changes: bool },
}

fn refuse(message: &Message<'_>, refusal: Refusal, buffer: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::respond(buffer, Class::Error, message);
    match refusal {
        Refusal::Bad => {
            writer.push(Attribute::ErrorCode(ErrorCode::BAD_REQUEST));
        }
        Refusal::Unknown { changes } => {
            let (mut types, mut length) = ([0; MOST_UNKNOWN * 2], 0);
            let unknown = message.not_understood(|kind| understands(kind, changes));
            for (kind, room) in unknown.zip(types.chunks_exact_mut(2)) {
                room.copy_from_slice(&kind.0.to_be_bytes());
                length += 2;
            }
            let list = UnknownAttributes::from_bytes(&types[..length]).expect("two bytes each");
            writer.push(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE)).push(Attribute::UnknownAttributes(list));
        }
    }
    if message.has_fingerprint() {
        writer.fingerprint();
    }
    writer.finish().ok().map(<[u8]>::len)
}

/// What a Binding request may carry. Credentials are ignored (RFC 8489 §12), as is what concerns other usages.
fn understands(kind: AttributeType, changes: bool) -> bool {
    match kind {
        AttributeType::CHANGE_REQUEST | AttributeType::RESPONSE_PORT => changes,
        kind => kind.is_known(),
    }
}

/// Whether an answer can go there at all; what claims to come from nowhere or everywhere is forged.
fn is_answerable(remote: SocketAddr) -> bool {
    let forged = match remote.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    remote.port() != 0 && !forged
}

impl Machine for BindingServer {
    type Event = std::convert::Infallible;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let mut buffer = [0; LONGEST_ANSWER];
        let Some(answer) = self.answer(now, &received.flow, received.bytes, &mut buffer) else { return };
        let mut flow = received.flow;
        if (answer.from, answer.to) != (flow.local, flow.remote) {
            // Another socket of ours.
            flow = Flow { id: FlowId::UNBOUND, local: answer.from, remote: answer.to, ..flow };
        }
        self.transmits.push_back(Transmit { flow, bytes: buffer[..answer.length].into() });
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn handle_flow_failed(&mut self, _now: Instant, _flow: Flow) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }
}
