//! INVITE client transaction (RFC 3261 §17.1.1 as amended by RFC 6026 §8.4).
//!
//! ```text
//! Calling ──1xx──> Proceeding ──2xx──> Accepted ──Timer M──> Terminated
//!    └──300–699────────┴─────────────> Completed ──Timer D──────┘
//! ```

use std::time::Duration;

use super::{Action, Wire};
use crate::timer::Timer;

/// INVITE client transaction, RFC 3261 figure 5 as amended by RFC 6026.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The INVITE is out and nothing has come back.
    Calling {
        /// The interval that Timer A runs with.
        a: Duration,
        /// A CANCEL waits for the first provisional response (RFC 3261 §9.1).
        cancel: bool,
    },
    /// A provisional response has come.
    Proceeding {
        /// The CANCEL is out.
        cancelled: bool,
    },
    /// A 2xx has come; more may follow.
    Accepted,
    /// A 300–699 has come; each further one is answered with the ACK.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A 1xx response arrived.
    Provisional,
    /// A 2xx response arrived.
    Success,
    /// A 300–699 response arrived.
    Failure,
    /// The user wants the INVITE cancelled.
    Cancel,
    /// A timer fired.
    Timer(Timer),
    /// The transport failed.
    TransportError,
}

impl State {
    /// The INVITE leaves.
    pub(crate) fn start(wire: &Wire, actions: &mut Vec<Action>) -> Self {
        actions.push(Action::SendRequest);
        let a = wire.timers.t1;
        if !wire.reliable {
            actions.push(Action::Arm(Timer::A, a));
        }
        actions.push(Action::Arm(Timer::B, wire.timers.patience()));
        Self::Calling { a, cancel: false }
    }

    /// Takes one event; lists what is to be done.
    pub(crate) fn on(self, event: Event, wire: &Wire, actions: &mut Vec<Action>) -> Self {
        match (self, event) {
            (Self::Calling { a, cancel }, Event::Timer(Timer::A)) if !wire.reliable => {
                let a = a * 2;
                actions.extend([Action::SendRequest, Action::Arm(Timer::A, a)]);
                Self::Calling { a, cancel }
            }
            (Self::Calling { .. }, Event::Timer(Timer::B)) => {
                actions.push(Action::ReportTimeout);
                Self::Terminated
            }
            // RFC 3261 §9.1: no CANCEL before a provisional response has come.
            (Self::Calling { a, .. }, Event::Cancel) => Self::Calling { a, cancel: true },
            (Self::Calling { cancel, .. }, Event::Provisional) => {
                actions.push(Action::ToUser);
                if cancel { send_cancel(wire, actions) } else { Self::Proceeding { cancelled: false } }
            }
            (Self::Proceeding { .. }, Event::Provisional) => {
                actions.push(Action::ToUser);
                self
            }
            (Self::Proceeding { cancelled: false }, Event::Cancel) => send_cancel(wire, actions),
            // RFC 3261 §9.1: no final response within 64 × T1 of the CANCEL: the INVITE counts as cancelled.
            (Self::Proceeding { cancelled: true }, Event::Timer(Timer::Cancelled)) => {
                actions.push(Action::ReportTimeout);
                Self::Terminated
            }
            (Self::Calling { .. } | Self::Proceeding { .. }, Event::Success) => {
                actions.extend([Action::ToUser, Action::Arm(Timer::M, wire.timers.patience())]);
                Self::Accepted
            }
            (Self::Calling { .. } | Self::Proceeding { .. }, Event::Failure) => {
                actions.extend([Action::SendAck, Action::ToUser]);
                if wire.reliable {
                    return Self::Terminated; // Timer D is zero
                }
                actions.push(Action::Arm(Timer::D, wire.timers.d()));
                Self::Completed
            }
            (Self::Accepted, Event::Success) => {
                actions.push(Action::ToUser);
                self
            }
            (Self::Accepted, Event::Timer(Timer::M)) | (Self::Completed, Event::Timer(Timer::D)) => Self::Terminated,
            (Self::Completed, Event::Failure) => {
                actions.push(Action::SendAck);
                self
            }
            // Figure 5 shows it for Calling and Completed. In Proceeding the way of the response is gone as well
            // (RFC 3261 §17.1.4), and the user would wait for Timer C.
            (Self::Calling { .. } | Self::Proceeding { .. } | Self::Completed, Event::TransportError) => {
                actions.push(Action::ReportTransportError);
                Self::Terminated
            }
            (Self::Accepted | Self::Completed, Event::Provisional | Event::Cancel)
            | (Self::Accepted, Event::Failure | Event::TransportError)
            | (Self::Completed, Event::Success)
            | (Self::Proceeding { cancelled: true }, Event::Cancel)
            | (Self::Terminated, _)
            | (_, Event::Timer(_)) => self,
        }
    }

    /// Whether the timer still matters in this state.
    pub(crate) fn wants(self, timer: Timer) -> bool {
        match self {
            Self::Calling { .. } => matches!(timer, Timer::A | Timer::B),
            Self::Proceeding { cancelled } => cancelled && timer == Timer::Cancelled,
            Self::Accepted => timer == Timer::M,
            Self::Completed => timer == Timer::D,
            Self::Terminated => false,
        }
    }

    /// The name in the figure.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Calling { .. } => "Calling",
            Self::Proceeding { .. } => "Proceeding",
            Self::Accepted => "Accepted",
            Self::Completed => "Completed",
            Self::Terminated => "Terminated",
        }
    }
}

fn send_cancel(wire: &Wire, actions: &mut Vec<Action>) -> State {
    actions.extend([Action::SendCancel, Action::Arm(Timer::Cancelled, wire.timers.patience())]);
    State::Proceeding { cancelled: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_event_table() {
        let a = Duration::from_millis(500);
        let states = [
            State::Calling { a, cancel: false },
            State::Calling { a, cancel: true },
            State::Proceeding { cancelled: false },
            State::Proceeding { cancelled: true },
            State::Accepted,
            State::Completed,
            State::Terminated,
        ];
        let events = [
            Event::Provisional,
            Event::Success,
            Event::Failure,
            Event::Cancel,
            Event::Timer(Timer::A),
            Event::Timer(Timer::B),
            Event::Timer(Timer::D),
            Event::Timer(Timer::M),
            Event::Timer(Timer::Cancelled),
            Event::TransportError,
        ];
        insta::assert_snapshot!(crate::transaction::print::table(State::start, &states, &events, State::on));
    }
}
