//! Keeping the mapping of a NAT and a connection alive, and noticing their end (RFC 5626 §4.4).

use std::time::Duration;

use farspeak_sansio::{Flow, Rng};

/// Settings of the keep-alives of registered flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Longest time between two on a stream, unless the registrar's Flow-Timer says less. Default 120 s (RFC 5626 §4.4.1).
    pub stream: Duration,
    /// Longest time between two datagrams. Default 29 s (RFC 5626 §4.4.2): most NATs forget after 30.
    pub datagram: Duration,
    /// How long a pong may take on a stream before the flow counts as dead, if the registrar's response has said that there
    /// are any, by Flow-Timer or `Require: outbound`; `None` expects none, for drivers that do not report them. Default 10 s (RFC 5626 §4.4.1).
    pub pong: Option<Duration>,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            stream: Duration::from_secs(120),
            datagram: Duration::from_secs(29),
            pong: Some(Duration::from_secs(10)),
        }
    }
}

/// Double CRLF: the ping of RFC 5626 §3.5.1.
///
/// Deviation: also for datagrams, where RFC 5626 §4.4.2 wants STUN. It keeps the mapping of a NAT, and every server drops it;
/// that a mapping has changed is noticed with the next REGISTER.
pub(super) const PING: &[u8] = b"\r\n\r\n";

impl KeepAlive {
    /// The time to the next one: 80 to 100 % of the longest (RFC 5626 §4.4). `flow_timer` is the registrar's, in seconds.
    pub(super) fn next(&self, flow: &Flow, flow_timer: Option<u32>, rng: &mut dyn Rng) -> Duration {
        let longest = match (flow.transport.is_reliable(), flow_timer) {
            (true, Some(seconds)) => self.stream.min(Duration::from_secs(seconds.max(10).into())),
            (true, None) => self.stream,
            (false, _) => self.datagram,
        };
        longest * 4 / 5 + Duration::from_millis(rng.below(longest.as_millis() as u64 / 5 + 1))
    }
}
