//! INVITE server transaction (RFC 3261 §17.2.1 as amended by RFC 6026 §8.5–8.7).
//!
//! ```text
//! Proceeding ──2xx──────> Accepted ──────────────────Timer L──────> Terminated
//!     └────300–699──────> Completed ──ACK──> Confirmed ──Timer I──────┘
//! ```

use std::time::Duration;

use super::{Action, Wire};
use crate::timer::Timer;

/// INVITE server transaction, RFC 3261 figure 7 as amended by RFC 6026.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The INVITE is with the user.
    Proceeding {
        /// Any response has left; the automatic 100 is no longer needed.
        answered: bool,
    },
    /// A 2xx has left; retransmissions of the INVITE are absorbed, the user retransmits the 2xx.
    Accepted,
    /// A 300–699 has left and waits for its ACK.
    Completed {
        /// The interval that Timer G runs with.
        g: Duration,
    },
    /// The ACK has come; further ones are absorbed.
    Confirmed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// The INVITE arrived again.
    Invite,
    /// An ACK arrived.
    Ack,
    /// The user sends a 1xx.
    Provisional,
    /// The user sends a 2xx.
    Success,
    /// The user sends a 300–699.
    Failure,
    /// A timer fired.
    Timer(Timer),
    /// The transport failed.
    TransportError,
}

impl State {
    /// The INVITE has arrived.
    pub(crate) fn start(wire: &Wire, actions: &mut Vec<Action>) -> Self {
        actions.extend([Action::ToUser, Action::Arm(Timer::Trying, wire.timers.trying_invite())]);
        Self::Proceeding { answered: false }
    }

    /// Takes one event; lists what is to be done.
    pub(crate) fn on(self, event: Event, wire: &Wire, actions: &mut Vec<Action>) -> Self {
        match (self, event) {
            (Self::Proceeding { answered: false }, Event::Timer(Timer::Trying)) => {
                actions.push(Action::SendTrying);
                Self::Proceeding { answered: true }
            }
            (Self::Proceeding { .. } | Self::Completed { .. }, Event::Invite) => {
                actions.push(Action::Resend);
                self
            }
            (Self::Proceeding { .. }, Event::Provisional) => {
                actions.push(Action::SendResponse);
                Self::Proceeding { answered: true }
            }
            (Self::Proceeding { .. }, Event::Success) => {
                actions.extend([Action::SendResponse, Action::Arm(Timer::L, wire.timers.patience())]);
                Self::Accepted
            }
            (Self::Proceeding { .. }, Event::Failure) => {
                let g = wire.timers.t1;
                actions.push(Action::SendResponse);
                if !wire.reliable {
                    actions.push(Action::Arm(Timer::G, g));
                }
                actions.push(Action::Arm(Timer::H, wire.timers.patience()));
                Self::Completed { g }
            }
            (Self::Accepted, Event::Success) => {
                actions.push(Action::SendResponse);
                self
            }
            (Self::Accepted, Event::Ack) => {
                actions.push(Action::ToUser);
                self
            }
            (Self::Completed { g }, Event::Timer(Timer::G)) if !wire.reliable => {
                let g = (g * 2).min(wire.timers.t2);
                actions.extend([Action::Resend, Action::Arm(Timer::G, g)]);
                Self::Completed { g }
            }
            (Self::Completed { .. }, Event::Timer(Timer::H)) => {
                actions.push(Action::ReportTimeout);
                Self::Terminated
            }
            (Self::Completed { .. }, Event::Ack) => {
                if wire.reliable {
                    return Self::Terminated; // Timer I is zero
                }
                actions.push(Action::Arm(Timer::I, wire.timers.t4));
                Self::Confirmed
            }
            (Self::Accepted, Event::Timer(Timer::L)) | (Self::Confirmed, Event::Timer(Timer::I)) => Self::Terminated,
            // RFC 6026 §7.1: the state stays, so that retransmissions are still absorbed.
            (Self::Proceeding { .. } | Self::Accepted | Self::Completed { .. }, Event::TransportError) => {
                actions.push(Action::ReportTransportError);
                self
            }
            (Self::Proceeding { .. }, Event::Ack)
            | (Self::Accepted, Event::Invite | Event::Provisional | Event::Failure)
            | (Self::Completed { .. }, Event::Provisional | Event::Success | Event::Failure)
            | (Self::Confirmed | Self::Terminated, _)
            | (_, Event::Timer(_)) => self,
        }
    }

    /// Whether the timer still matters in this state.
    pub(crate) fn wants(self, timer: Timer) -> bool {
        match self {
            Self::Proceeding { answered } => !answered && timer == Timer::Trying,
            Self::Accepted => timer == Timer::L,
            Self::Completed { .. } => matches!(timer, Timer::G | Timer::H),
            Self::Confirmed => timer == Timer::I,
            Self::Terminated => false,
        }
    }

    /// The name in the figure.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Proceeding { .. } => "Proceeding",
            Self::Accepted => "Accepted",
            Self::Completed { .. } => "Completed",
            Self::Confirmed => "Confirmed",
            Self::Terminated => "Terminated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_event_table() {
        let states = [
            State::Proceeding { answered: false },
            State::Proceeding { answered: true },
            State::Accepted,
            State::Completed { g: Duration::from_millis(500) },
            State::Completed { g: Duration::from_secs(4) },
            State::Confirmed,
            State::Terminated,
        ];
        let events = [
            Event::Invite,
            Event::Ack,
            Event::Provisional,
            Event::Success,
            Event::Failure,
            Event::Timer(Timer::Trying),
            Event::Timer(Timer::G),
            Event::Timer(Timer::H),
            Event::Timer(Timer::I),
            Event::Timer(Timer::L),
            Event::TransportError,
        ];
        insta::assert_snapshot!(crate::transaction::print::table(State::start, &states, &events, State::on));
    }
}
