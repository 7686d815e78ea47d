//! What has happened so far, in numbers.

use farspeak_stun::Counters as BindingCounters;

use crate::ledger::Traffic;

/// Counts of one shard since it began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// What was done with Binding requests.
    pub binding: BindingCounters,
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
