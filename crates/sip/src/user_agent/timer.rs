//! The timers of a user agent that are not a transaction's.

use super::Owner;

/// An armed timer. Nothing cancels it: its owner knows by the serial number whether it still wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timer {
    pub owner: Owner,
    pub kind: TimerKind,
    pub serial: u64,
}

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimerKind {
    /// Our INVITE has rung long enough.
    Ring,
    /// The application has not answered an INVITE.
    Answer,
    /// Our 2xx goes out again until its ACK comes (RFC 3261 §13.3.1.4).
    Retransmit2xx,
    /// Our reliable provisional response goes out again until its PRACK comes (RFC 3262 §3).
    RetransmitReliable,
    /// An offer, or a re-INVITE of ours, has waited for its answer long enough.
    Unanswered,
    /// A change of ours met the peer's and is to be tried again (RFC 3261 §14.1).
    Backoff,
    /// A session wants to be refreshed (RFC 4028 §7.2).
    SessionRefresh,
    /// A session was not refreshed in time (RFC 4028 §10).
    SessionExpiry,
    /// No NOTIFY followed a SUBSCRIBE: Timer N (RFC 6665 §4.1.2.4).
    NotifyWait,
    /// A subscription wants its next SUBSCRIBE.
    SubscriptionRefresh,
    /// A subscription was not refreshed in time.
    SubscriptionExpiry,
    /// The next NOTIFY may leave.
    NotifyPause,
    /// A subscriber has heard nothing for as long as it wants to (RFC 6446 §6).
    NotifyReminder,
    /// A flow wants its next REGISTER.
    Register,
    /// A registered flow wants a keep-alive.
    KeepAlive,
    /// The answer to a keep-alive is overdue.
    Pong,
}
