//! What has happened so far, in numbers.

use std::fmt;

use farspeak_sansio::Transport;
use farspeak_stun::{Counters as BindingCounters, Method};

use crate::ledger::Traffic;

/// Counts of one shard since it began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// What was done with Binding requests.
    pub binding: BindingCounters,
    /// TURN requests answered.
    pub requests: Requests,
    /// Allocations made.
    pub allocated: u64,
    /// Allocations ended by their clients.
    pub released: u64,
    /// Allocations that nobody refreshed.
    pub expired: u64,
    /// Allocations ended because the client's stream ended, by the operator, or at shutdown.
    pub ended: u64,
    /// Refresh requests granted, those that release not counted.
    pub refreshed: u64,
    /// Clients that took their allocation to another address (RFC 8016).
    pub moved: u64,
    /// Requests answered with success.
    pub succeeded: u64,
    /// Requests refused after their sender had proved who it is.
    pub refused: u64,
    /// Challenges: 401 and 438.
    pub challenged: u64,
    /// Answers to strangers not given because their prefix had used up its share, or the answer was too long.
    pub limited: u64,
    /// Allocate requests refused with 486.
    pub over_quota: u64,
    /// Requests and data refused because the peer may not be reached.
    pub forbidden: u64,
    /// Packets from clients that were no message, or not understood.
    pub malformed: u64,
    /// Packets from clients without an allocation or channel that they would need.
    pub stray: u64,
    /// Data dropped, from either side, because there was no permission.
    pub unpermitted: u64,
    /// Data dropped because the allocation's bandwidth was used up.
    pub over_bandwidth: u64,
    /// Payload from clients to peers.
    pub sent: Traffic,
    /// Payload from peers to clients.
    pub received: Traffic,
    /// Payload joined inside the server, from one relayed address to another; counted above as well.
    pub joined: Traffic,
    /// ICMP errors passed on to clients.
    pub icmp: u64,
}

/// TURN requests that were answered, by how they came, what they asked, and what they were told: a table of fixed size.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests([[[u64; RESULTS.len()]; METHODS.len()]; TRANSPORTS.len()]);

impl Requests {
    /// Counts one more; `code` is 0 for success.
    pub(super) fn count(&mut self, transport: Transport, method: Method, code: u16) {
        let at = |known: Option<usize>, others: usize| known.unwrap_or(others);
        let transport = at(TRANSPORTS.iter().position(|(known, _)| *known == transport), TRANSPORTS.len() - 1);
        let Some(method) = METHODS.iter().position(|(known, _)| *known == method) else { return };
        let result = at(RESULTS.iter().position(|(known, _)| *known == code), RESULTS.len() - 1);
        self.0[transport][method][result] += 1;
    }

    /// Each transport (`udp`, `tcp`, `tls`) with each method (`allocate` …), the result (`success`, an error code, or
    /// `other`), and how often it was.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> + '_ {
        TRANSPORTS.iter().zip(&self.0).flat_map(|((_, transport), of_transport)| {
            METHODS.iter().zip(of_transport).flat_map(move |((_, method), of_method)| {
                RESULTS.iter().zip(of_method).map(move |((_, result), count)| (*transport, *method, *result, *count))
            })
        })
    }
}

/// Those that happened.
impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().filter(|(.., count)| *count > 0)).finish()
    }
}

/// The last stands for all that are encrypted.
const TRANSPORTS: [(Transport, &str); 3] = [(Transport::Udp, "udp"), (Transport::Tcp, "tcp"), (Transport::Tls, "tls")];

const METHODS: [(Method, &str); 6] = [
    (Method::ALLOCATE, "allocate"),
    (Method::REFRESH, "refresh"),
    (Method::CREATE_PERMISSION, "create_permission"),
    (Method::CHANNEL_BIND, "channel_bind"),
    (Method::CONNECT, "connect"),
    (Method::CONNECTION_BIND, "connection_bind"),
];

/// RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3, RFC 8016 §4.
const RESULTS: [(u16, &str); 20] = [
    (0, "success"),
    (300, "300"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (405, "405"),
    (420, "420"),
    (437, "437"),
    (438, "438"),
    (440, "440"),
    (441, "441"),
    (442, "442"),
    (443, "443"),
    (446, "446"),
    (447, "447"),
    (486, "486"),
    (487, "487"),
    (500, "500"),
    (508, "508"),
    (u16::MAX, "other"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_counted_once_by_transport_method_and_result() {
        let mut requests = Requests::default();
        requests.count(Transport::Tls, Method::REFRESH, 0);
        requests.count(Transport::Wss, Method::REFRESH, 0);
        requests.count(Transport::Udp, Method::ALLOCATE, 401);
        requests.count(Transport::Udp, Method::ALLOCATE, 699);
        let seen: Vec<_> = requests.iter().filter(|(.., count)| *count > 0).collect();
        let wanted = [("udp", "allocate", "401", 1), ("udp", "allocate", "other", 1), ("tls", "refresh", "success", 2)];
        assert_eq!(seen, wanted);
        assert_eq!(requests.iter().count(), 3 * 6 * 20, "whatever peers send");
    }
}
