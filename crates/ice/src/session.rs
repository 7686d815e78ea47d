//! One component's checks, behind a trait so that the implementation can be exchanged.
//!
//! The agent hands in candidates, packets and time; the session hands out packets and says which pair is good for what.
//! It knows no sockets, servers or relays: a base is an address, be it a socket's or a relay's.

pub mod check_list;
pub mod is;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_stun::Message;

use crate::{Candidate, Credentials};

/// From where to where a packet goes: a base of ours, an address of the peer's. Zones are left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Path {
    /// The base: a socket's address, or a relayed address.
    pub local: SocketAddr,
    /// The peer's address as seen from there.
    pub remote: SocketAddr,
}

/// A candidate of ours with its base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalCandidate {
    /// What the peer is told.
    pub candidate: Candidate,
    /// Its transport address, even where the peer is told a name.
    pub address: SocketAddr,
    /// From where its packets are sent (RFC 8445 §4 "base").
    pub base: SocketAddr,
}

/// What follows from what both ends have said of themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// Nominations are numbered, and the last one counts.
    pub renomination: bool,
    /// Neither end checks: what is best is selected unseen when all candidates are known (RFC 8445 §8.2).
    pub both_lite: bool,
    /// Between two new checks (Ta).
    pub ta: Duration,
}

/// Of a pair: its local and its remote candidate's. Pairs with the same will probably work or fail together.
pub type Foundations = (String, String);

/// How urgent a check is (RFC 8445 §6.1.4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// A frozen pair's, which nobody has found reason to unfreeze.
    Frozen,
    /// A waiting pair's.
    Waiting,
    /// A triggered one.
    Triggered,
    /// A nomination, or what has been nominated.
    Deciding,
}

/// What a session tells its agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionEvent {
    /// The first pair is valid: data can be sent (RFC 8445 §12.1).
    Valid,
    /// This pair is selected.
    Selected(Path),
    /// The role is the other one now (RFC 8445 §7.2.5.1, §7.3.1.1). With a new tie-breaker, if it changed.
    RoleChanged {
        /// What it is now.
        controlling: bool,
        /// The tie-breaker from now on.
        tie_breaker: u64,
    },
    /// Consent has expired or was revoked on the selected pair (RFC 7675).
    ConsentLost,
    /// No pair is left (RFC 8445 §8.1.2).
    Failed,
}

/// The checks of one component, from credentials to consent.
///
/// After any call, fetch packets and events and read the deadline. Nothing that comes from the network makes a call fail.
pub trait IceSession: Send {
    /// Tells the role and tie-breaker, if another session of the agent has changed them.
    fn set_role(&mut self, now: Instant, controlling: bool, tie_breaker: u64);

    /// The peer's user fragment and password, and what has been agreed on. Checks begin.
    fn set_remote(&mut self, now: Instant, remote: &Credentials, agreed: Agreed);

    /// A candidate of ours.
    fn add_local(&mut self, now: Instant, local: &LocalCandidate);

    /// A base is gone, and all that stood on it.
    fn remove_local(&mut self, now: Instant, base: SocketAddr);

    /// A candidate of the peer's, with a transport address.
    fn add_remote(&mut self, now: Instant, remote: &Candidate);

    /// Whether more candidates may come, ours or the peer's. While they may, failure is not declared (RFC 8838 §8).
    fn set_complete(&mut self, now: Instant, complete: bool);

    /// A Binding message has arrived at a base. Returns whether it was this session's.
    fn handle_message(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool;

    /// What was sent this way could not be delivered (ICMP).
    fn handle_unreachable(&mut self, now: Instant, path: Path);

    /// Time has passed: repetitions, consent, failure.
    fn handle_timeout(&mut self, now: Instant);

    /// When to call [`handle_timeout`](Self::handle_timeout).
    fn poll_timeout(&self) -> Option<Instant>;

    /// How urgent the check is that waits for the agent's next slot of Ta, if there is one, and its pair's priority.
    fn next_check(&self) -> Option<(Urgency, u64)>;

    /// Begins that check.
    fn begin_check(&mut self, now: Instant);

    /// Foundations that have succeeded since this was asked last, for the stream's other components.
    fn succeeded(&mut self) -> Vec<Foundations>;

    /// In another component such a pair has succeeded (RFC 8445 §7.2.5.3.3).
    fn unfreeze(&mut self, foundations: &Foundations);

    /// The next packet to send.
    fn poll_packet(&mut self) -> Option<(Path, Arc<[u8]>)>;

    /// The next event.
    fn poll_event(&mut self) -> Option<SessionEvent>;

    /// The selected pair, while there is consent.
    fn selected(&self) -> Option<Path>;

    /// Where data may be sent now: the selected pair, else the best valid one.
    fn sendable(&self) -> Option<Path>;

    /// Whether data from there is the peer's: that way is, or was, valid.
    fn accepts(&self, path: Path) -> bool;
}
