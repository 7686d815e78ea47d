//! The four transactions of RFC 3261 §17, as amended by RFC 6026 and RFC 4320: pure state machines.
//!
//! [`Endpoint`](crate::endpoint::Endpoint) hands each machine events and carries out the actions it lists. A machine
//! knows no message, no flow and no clock; what it must know of the wire is in [`Wire`].

pub(crate) mod branch;
pub(crate) mod client_invite;
pub(crate) mod client_non_invite;
pub(crate) mod matching;
pub(crate) mod routing;
pub(crate) mod server_invite;
pub(crate) mod server_non_invite;
pub(crate) mod table;

use std::time::Duration;

use crate::timer::{Timer, Timers};

/// What a machine knows of the world: how long its timers run and whether the transport retransmits by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub timers: Timers,
    pub reliable: bool,
}

/// What a machine wants done, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Client: send the request, or send it again.
    SendRequest,
    /// Client: send the ACK to the 300–699 response at hand, or send it again.
    SendAck,
    /// Client: send a CANCEL for the request, as a transaction of its own.
    SendCancel,
    /// Server: send the response that the transaction user gave.
    SendResponse,
    /// Server: send the last response again, if there was one.
    Resend,
    /// Server: make a 100 and send it.
    SendTrying,
    /// Hand the message at hand to the transaction user.
    ToUser,
    /// Tell the transaction user that nobody answered.
    ReportTimeout,
    /// Tell the transaction user that the transport failed.
    ReportTransportError,
    /// Start a timer.
    Arm(Timer, Duration),
}

/// The state × event table of a machine, as its test prints it.
#[cfg(test)]
pub(crate) mod print {
    use std::fmt::{Debug, Write as _};

    use super::{Action, Wire};
    use crate::timer::Timers;

    /// Prints every cell of the table, on datagrams and, where it differs, on streams.
    pub(crate) fn table<S: Copy + Debug + PartialEq, E: Copy + Debug>(
        start: impl Fn(&Wire, &mut Vec<Action>) -> S,
        states: &[S],
        events: &[E],
        step: impl Fn(S, E, &Wire, &mut Vec<Action>) -> S,
    ) -> String {
        let wires = [false, true].map(|reliable| Wire { timers: Timers::default(), reliable });
        let mut out = String::new();
        for wire in &wires {
            let mut actions = Vec::new();
            let state = start(wire, &mut actions);
            let name = if wire.reliable { "stream" } else { "datagrams" };
            writeln!(out, "start on {name} -> {}", cell(None, state, &actions)).unwrap();
        }
        for state in states {
            writeln!(out, "\n{state:?}").unwrap();
            for event in events {
                let cells = wires.map(|wire| {
                    let mut actions = Vec::new();
                    let next = step(*state, *event, &wire, &mut actions);
                    cell(Some(*state), next, &actions)
                });
                writeln!(out, "  {:<24} {}", format!("{event:?}"), cells[0]).unwrap();
                if cells[0] != cells[1] {
                    writeln!(out, "  {:<24} {}", "  on a stream:", cells[1]).unwrap();
                }
            }
        }
        out
    }

    fn cell<S: Debug + PartialEq>(before: Option<S>, after: S, actions: &[Action]) -> String {
        let mut parts: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
        if before.is_none_or(|before| before != after) {
            parts.push(format!("=> {after:?}"));
        }
        if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
    }
}
