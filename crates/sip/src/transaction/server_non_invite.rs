//! Non-INVITE server transaction (RFC 3261 §17.2.2 as amended by RFC 4320 §4).
//!
//! ```text
//! Trying ──100──> Proceeding ──200–699──> Completed ──Timer J──> Terminated
//! ```

use super::{Action, Wire};
use crate::timer::Timer;

/// Non-INVITE server transaction, RFC 3261 figure 8 as amended by RFC 4320.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The request is with the user.
    Trying,
    /// A 100 has left.
    Proceeding,
    /// The final response has left, or it is too late for one.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// The request arrived again.
    Request,
    /// The user sends a 100.
    Trying,
    /// The user sends another 1xx.
    Provisional,
    /// The user sends a 200–699 other than 408.
    Final,
    /// The user sends a 408.
    RequestTimeout,
    /// A timer fired.
    Timer(Timer),
    /// The transport failed.
    TransportError,
}

impl State {
    /// The request has arrived.
    pub(crate) fn start(wire: &Wire, actions: &mut Vec<Action>) -> Self {
        actions.extend([
            Action::ToUser,
            Action::Arm(Timer::Trying, wire.timers.trying_non_invite()),
            Action::Arm(Timer::Unanswered, wire.timers.patience()),
        ]);
        Self::Trying
    }

    /// Takes one event; lists what is to be done.
    pub(crate) fn on(self, event: Event, wire: &Wire, actions: &mut Vec<Action>) -> Self {
        match (self, event) {
            // RFC 4320 §4.1: not before the client's Timer E has reached T2, except on a stream.
            (Self::Trying, Event::Timer(Timer::Trying)) => {
                actions.push(Action::SendTrying);
                Self::Proceeding
            }
            (Self::Trying, Event::Trying) if wire.reliable => {
                actions.push(Action::SendResponse);
                Self::Proceeding
            }
            (Self::Proceeding, Event::Trying) => {
                actions.push(Action::SendResponse);
                self
            }
            (Self::Proceeding | Self::Completed, Event::Request) => {
                actions.push(Action::Resend);
                self
            }
            (Self::Trying | Self::Proceeding, Event::Final) => {
                actions.push(Action::SendResponse);
                complete(wire, actions)
            }
            // RFC 4320 §4.2: no 408, and nothing at all once the client has stopped waiting.
            (Self::Trying | Self::Proceeding, Event::RequestTimeout | Event::Timer(Timer::Unanswered)) => {
                complete(wire, actions)
            }
            (Self::Completed, Event::Timer(Timer::J)) => Self::Terminated,
            // RFC 6026 §8.8: the state stays, so that retransmissions are still absorbed.
            (Self::Trying | Self::Proceeding | Self::Completed, Event::TransportError) => {
                actions.push(Action::ReportTransportError);
                self
            }
            // RFC 4320 §4.1: no provisional response but 100.
            (Self::Trying | Self::Proceeding, Event::Provisional)
            | (Self::Trying, Event::Request | Event::Trying)
            | (Self::Completed, Event::Trying | Event::Provisional | Event::Final | Event::RequestTimeout)
            | (Self::Terminated, _)
            | (_, Event::Timer(_)) => self,
        }
    }

    /// Whether the timer still matters in this state.
    pub(crate) fn wants(self, timer: Timer) -> bool {
        match self {
            Self::Trying => matches!(timer, Timer::Trying | Timer::Unanswered),
            Self::Proceeding => timer == Timer::Unanswered,
            Self::Completed => timer == Timer::J,
            Self::Terminated => false,
        }
    }

    /// The name in the figure.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Trying => "Trying",
            Self::Proceeding => "Proceeding",
            Self::Completed => "Completed",
            Self::Terminated => "Terminated",
        }
    }
}

fn complete(wire: &Wire, actions: &mut Vec<Action>) -> State {
    if wire.reliable {
        return State::Terminated; // Timer J is zero
    }
    actions.push(Action::Arm(Timer::J, wire.timers.patience()));
    State::Completed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_event_table() {
        let states = [State::Trying, State::Proceeding, State::Completed, State::Terminated];
        let events = [
            Event::Request,
            Event::Trying,
            Event::Provisional,
            Event::Final,
            Event::RequestTimeout,
            Event::Timer(Timer::Trying),
            Event::Timer(Timer::Unanswered),
            Event::Timer(Timer::J),
            Event::TransportError,
        ];
        insta::assert_snapshot!(crate::transaction::print::table(State::start, &states, &events, State::on));
    }
}
