//! What an agent tells its user.

use std::net::{IpAddr, SocketAddr};

use crate::Candidate;

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A candidate of ours, for the peer (RFC 8838 §9).
    LocalCandidate(Candidate),
    /// No more candidates of ours will come in this generation (RFC 8838 §13), unless a socket or a mapping is added.
    EndOfCandidates,
    /// Answer with [`Agent::resolved`](crate::Agent::resolved): the address behind a name for multicast DNS.
    Resolve {
        /// The name, with `.local`.
        name: String,
    },
    /// Announce the name in the local network by multicast DNS; queries about it are answered with this address.
    Announce {
        /// The name, with `.local`.
        name: String,
        /// What it stands for.
        address: IpAddr,
    },
    /// The state is another one now.
    StateChanged(State),
    /// Data of the component goes this way from now on.
    Selected {
        /// 1 or 2.
        component: u16,
        /// From this socket, or from this relayed address.
        local: SocketAddr,
        /// To this address.
        remote: SocketAddr,
        /// Whether the local end is at a relay of ours. (Whether the remote one is, its candidate says.)
        relayed: bool,
    },
    /// The peer has sent something that is not ICE.
    Data {
        /// 1 or 2.
        component: u16,
        /// What.
        bytes: Vec<u8>,
    },
    /// A role conflict made this agent change its role (RFC 8445 §7.3.1.1).
    RoleChanged {
        /// What it is now.
        controlling: bool,
    },
    /// The peer no longer agrees to be sent to: nothing is sent any more on this component (RFC 7675). Restart, or end
    /// the session.
    ConsentLost {
        /// 1 or 2.
        component: u16,
    },
    /// A server gave nothing. The others go on.
    ServerFailed {
        /// Which.
        server: SocketAddr,
        /// Why.
        reason: ServerFailure,
    },
}

/// Why a server gave nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerFailure {
    /// Nobody answered, or the way to it broke.
    Unreachable,
    /// It answered with an error.
    Refused,
}

/// How far a session is (RFC 8445 §6.1.3, in the words of browsers).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// The peer's credentials are not known yet.
    New,
    /// Checks run; nothing valid for each component yet.
    Checking,
    /// Data can be sent on every component; nomination is pending.
    Connected,
    /// Every component has its selected pair.
    Completed,
    /// A component has no way left (RFC 8445 §8.1.2), or has lost consent.
    Failed,
    /// Ended by [`Agent::close`](crate::Agent::close).
    Closed,
}
