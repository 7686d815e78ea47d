//! The timers of the transaction layer (RFC 3261 §17 and Table 4, RFC 6026 §8.11, RFC 4320 §4.1).

use std::fmt;
use std::time::Duration;

/// A timer of a transaction, by its name in the RFC. Timer C is the proxy's and lives there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Timer {
    /// INVITE request retransmission, datagrams only. T1, doubling. RFC 3261 §17.1.1.2.
    A,
    /// Longest wait for any response to an INVITE. 64 × T1. RFC 3261 §17.1.1.2.
    B,
    /// How long a client answers retransmitted 300–699 responses with ACK. 32 s or 64 × T1 if that is longer, zero on
    /// streams. RFC 3261 §17.1.1.2.
    D,
    /// Non-INVITE request retransmission, datagrams only. T1, doubling up to T2. RFC 3261 §17.1.2.2.
    E,
    /// Longest wait for a final response to a non-INVITE request. 64 × T1. RFC 3261 §17.1.2.2.
    F,
    /// Retransmission of a 300–699 response to an INVITE, datagrams only. T1, doubling up to T2. RFC 3261 §17.2.1.
    G,
    /// Longest wait for the ACK to a 300–699 response. 64 × T1. RFC 3261 §17.2.1.
    H,
    /// How long a server absorbs further ACKs. T4, zero on streams. RFC 3261 §17.2.1.
    I,
    /// How long a server answers retransmitted non-INVITE requests. 64 × T1, zero on streams. RFC 3261 §17.2.2.
    J,
    /// How long a client absorbs further responses to a non-INVITE request. T4, zero on streams. RFC 3261 §17.1.2.2.
    K,
    /// How long a server absorbs retransmissions of an accepted INVITE. 64 × T1. RFC 6026 §7.1.
    L,
    /// How long a client passes further 2xx responses to its user. 64 × T1. RFC 6026 §7.2.
    M,
    /// When the server sends 100 by itself. INVITE: 200 ms (RFC 3261 §17.2.1). Others: when the client's Timer E
    /// reaches T2, 3.5 s by default (RFC 4320 §4.1). The RFCs give it no name.
    Trying,
    /// Longest wait for the final response to an INVITE that we cancelled. 64 × T1. RFC 3261 §9.1 gives it no name.
    Cancelled,
    /// When a non-INVITE request left unanswered by our user is given up, for the client no longer waits. 64 × T1, its
    /// Timer F. RFC 4320 §4.2 gives it no name.
    Unanswered,
}

impl Timer {
    /// "Timer A", as the ladder log shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "Timer A",
            Self::B => "Timer B",
            Self::D => "Timer D",
            Self::E => "Timer E",
            Self::F => "Timer F",
            Self::G => "Timer G",
            Self::H => "Timer H",
            Self::I => "Timer I",
            Self::J => "Timer J",
            Self::K => "Timer K",
            Self::L => "Timer L",
            Self::M => "Timer M",
            Self::Trying => "Timer Trying",
            Self::Cancelled => "Timer Cancelled",
            Self::Unanswered => "Timer Unanswered",
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The estimates that all timers are made of (RFC 3261 §17.1.1.1, Table 4).
///
/// The defaults suit the public internet; smaller values of T1 belong into closed networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// Round trip time. Default 500 ms.
    pub t1: Duration,
    /// Longest interval of retransmissions other than INVITE's. Default 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network. Default 5 s.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// 64 × T1: Timers B, F, H, J, L and M, and how long anybody waits for anything.
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D on datagrams: 64 × T1, but at least 32 s, for we do not know the server's T1.
    pub fn d(&self) -> Duration {
        self.patience().max(Duration::from_secs(32))
    }

    /// When a server sends 100 to an INVITE by itself: 200 ms (RFC 3261 §17.2.1).
    pub const fn trying_invite(&self) -> Duration {
        Duration::from_millis(200)
    }

    /// When a server sends 100 to another request by itself: as long as a client's Timer E takes to be set to T2
    /// (RFC 4320 §4.1): 0.5 + 1 + 2 s by default.
    pub fn trying_non_invite(&self) -> Duration {
        let (mut elapsed, mut interval) = (Duration::ZERO, self.t1.max(Duration::from_millis(1)));
        while interval < self.t2 {
            elapsed += interval;
            interval *= 2;
        }
        elapsed
    }

    /// Every duration that timers are armed with, so that a table can keep a queue for each.
    pub(crate) fn durations(&self) -> Vec<Duration> {
        let retransmissions = (0..7).map(|doubling| self.t1 * (1 << doubling));
        let others = [self.t2, self.t4, self.d(), self.trying_invite(), self.trying_non_invite()];
        retransmissions.chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_invite_100_waits_until_timer_e_reaches_t2() {
        assert_eq!(Timers::default().trying_non_invite(), Duration::from_millis(3500));
    }

    #[test]
    fn timer_d_is_never_below_32_seconds() {
        let fast = Timers { t1: Duration::from_millis(10), ..Timers::default() };
        assert_eq!((fast.d(), fast.patience()), (Duration::from_secs(32), Duration::from_millis(640)));
    }
}
