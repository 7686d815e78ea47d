//! Non-INVITE client transaction (RFC 3261 §17.1.2).
//!
//! ```text
//! Trying ──1xx──> Proceeding ──200–699──> Completed ──Timer K──> Terminated
//! ```

use std::time::Duration;

use super::{Action, Wire};
use crate::timer::Timer;

/// Non-INVITE client transaction, RFC 3261 figure 6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The request is out and nothing has come back.
    Trying {
        /// The interval that Timer E runs with.
        e: Duration,
    },
    /// A provisional response has come.
    Proceeding,
    /// The final response has come; further ones are absorbed.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A 1xx response arrived.
    Provisional,
    /// A 200–699 response arrived.
    Final,
    /// A timer fired.
    Timer(Timer),
    /// The transport failed.
    TransportError,
}

impl State {
    /// The request leaves.
    pub(crate) fn start(wire: &Wire, actions: &mut Vec<Action>) -> Self {
        actions.push(Action::SendRequest);
        let e = wire.timers.t1;
        if !wire.reliable {
            actions.push(Action::Arm(Timer::E, e));
        }
        actions.push(Action::Arm(Timer::F, wire.timers.patience()));
        Self::Trying { e }
    }

    /// Takes one event; lists what is to be done.
    pub(crate) fn on(self, event: Event, wire: &Wire, actions: &mut Vec<Action>) -> Self {
        match (self, event) {
            (Self::Trying { e }, Event::Timer(Timer::E)) if !wire.reliable => {
                let e = (e * 2).min(wire.timers.t2);
                actions.extend([Action::SendRequest, Action::Arm(Timer::E, e)]);
                Self::Trying { e }
            }
            (Self::Proceeding, Event::Timer(Timer::E)) if !wire.reliable => {
                actions.extend([Action::SendRequest, Action::Arm(Timer::E, wire.timers.t2)]);
                self
            }
            (Self::Trying { .. } | Self::Proceeding, Event::Timer(Timer::F)) => {
                actions.push(Action::ReportTimeout);
                Self::Terminated
            }
            (Self::Trying { .. } | Self::Proceeding, Event::TransportError) => {
                actions.push(Action::ReportTransportError);
                Self::Terminated
            }
            (Self::Trying { .. } | Self::Proceeding, Event::Provisional) => {
                actions.push(Action::ToUser);
                Self::Proceeding
            }
            (Self::Trying { .. } | Self::Proceeding, Event::Final) => {
                actions.push(Action::ToUser);
                if wire.reliable {
                    return Self::Terminated; // Timer K is zero
                }
                actions.push(Action::Arm(Timer::K, wire.timers.t4));
                Self::Completed
            }
            (Self::Completed, Event::Timer(Timer::K)) => Self::Terminated,
            (Self::Completed, Event::Provisional | Event::Final | Event::TransportError)
            | (Self::Terminated, _)
            | (_, Event::Timer(_)) => self,
        }
    }

    /// Whether the timer still matters in this state.
    pub(crate) fn wants(self, timer: Timer) -> bool {
        match self {
            Self::Trying { .. } | Self::Proceeding => matches!(timer, Timer::E | Timer::F),
            Self::Completed => timer == Timer::K,
            Self::Terminated => false,
        }
    }

    /// The name in the figure.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Trying { .. } => "Trying",
            Self::Proceeding => "Proceeding",
            Self::Completed => "Completed",
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
            State::Trying { e: Duration::from_millis(500) },
            State::Trying { e: Duration::from_secs(4) },
            State::Proceeding,
            State::Completed,
            State::Terminated,
        ];
        let events = [
            Event::Provisional,
            Event::Final,
            Event::Timer(Timer::E),
            Event::Timer(Timer::F),
            Event::Timer(Timer::K),
            Event::TransportError,
        ];
        insta::assert_snapshot!(crate::transaction::print::table(State::start, &states, &events, State::on));
    }
}
