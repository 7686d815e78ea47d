//! The allocation follows us when our address changes, RFC 8016.
//!
//! Three things show a change: the owner says so ([`Client::moved`]), the server does not know our address any more (437:
//! a NAT has given us another mapping), or a Binding shows another mapped address. A stream that breaks is a change, too.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant};
use farspeak_stun::{Attribute, Message, Method};

use super::allocation::{State, write_lifetime};
use super::{Asked, Client, Event, Failure, Outcome};

/// What is needed to move.
#[derive(Default, Debug)]
pub(super) struct Mobility {
    /// What the server gave us to show.
    ticket: Option<Box<[u8]>>,
    moving: Option<Move>,
    /// Where the server may still send from the time before the last move (RFC 8016 §3.2.2).
    old: Option<Flow>,
    /// Whom we last sent something.
    peer: Option<SocketAddr>,
    /// When a broken stream was last replaced, and whether it had a handle.
    replaced: Option<(Instant, bool)>,
}

#[derive(Debug)]
struct Move {
    to: Flow,
    why: Why,
}

/// What made us move.
#[derive(Debug)]
enum Why {
    /// The owner said so.
    Told,
    /// The stream ended.
    Ended,
    /// The server answered this: 437.
    Mismatch(Failure),
    /// A Binding response showed another address; it is not sealed.
    Suspicion,
}

/// How soon after a broken stream was replaced the next one may break without the allocation being given up.
const STEADY: Duration = Duration::from_secs(10);

impl Mobility {
    pub(super) const fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }

    pub(super) fn take_ticket(&mut self, message: &Message<'_>) {
        if let Ok(Some(ticket)) = message.mobility_ticket()
            && !ticket.is_empty()
        {
            self.ticket = Some(ticket.into());
        }
    }

    pub(super) const fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// Flows besides the client's own over which the server may be heard.
    pub(super) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.moving.as_ref().map(|moving| &moving.to).into_iter().chain(&self.old)
    }

    /// Whether the end of the stream is known already: drivers tell it twice, by the connection's handle and by the flow
    /// that we asked for.
    pub(super) fn knows_end(&self, now: Instant, flow: &Flow) -> bool {
        flow.transport.is_reliable() && flow.id == FlowId::UNBOUND && self.replaced == Some((now, true))
    }

    pub(super) const fn note_peer(&mut self, peer: SocketAddr) {
        self.peer = Some(peer);
    }
}

impl Client {
    /// Our address has changed, or will: from now on the server is to be spoken to over this flow.
    ///
    /// With a ticket the allocation follows, and [`Event::Moved`] comes when it has; until then data goes over the old
    /// flow. Without one, or if the server does not let it follow, [`Event::Lost`] comes and the client asks for a new
    /// allocation by itself.
    pub fn moved(&mut self, now: Instant, flow: Flow) {
        match self.state {
            State::Allocated(_) if self.mobility.has_ticket() => self.begin_move(now, flow, Why::Told),
            State::Allocated(_) => {
                let _ = self.ask_to_delete(now, Asked::Farewell);
                self.lose(Failure::Moved(None));
                self.flow = flow;
                self.allocate(now);
            }
            State::Allocating => {
                self.cancel(|asked| matches!(asked, Asked::Allocate(..)));
                self.state = State::Idle;
                self.flow = flow;
                self.allocate(now);
            }
            State::Idle | State::Releasing => self.flow = flow,
        }
    }

    /// The server says that we have no allocation. With a ticket we can ask whether it is only our address that it does
    /// not know.
    pub(super) fn mismatched(&mut self, now: Instant, failure: Failure) {
        match (self.mobility.is_moving(), self.mobility.has_ticket()) {
            (true, _) => {}
            (false, true) => self.begin_move(now, self.flow, Why::Mismatch(failure)),
            (false, false) => self.lose(failure),
        }
    }

    /// A Binding showed that the server sees us elsewhere.
    pub(super) fn suspected(&mut self, now: Instant) {
        if self.is_allocated() && self.mobility.has_ticket() && !self.mobility.is_moving() {
            self.begin_move(now, self.flow, Why::Suspicion);
        }
    }

    /// The stream that the allocation lived on has ended.
    pub(super) fn stream_ended(&mut self, now: Instant) {
        let again = Flow { id: FlowId::UNBOUND, ..self.flow };
        let unsteady = self.mobility.replaced.is_some_and(|(last, _)| now - last < STEADY);
        let had_handle = self.flow.id != FlowId::UNBOUND;
        match self.state {
            State::Allocated(_) if self.mobility.is_moving() => self.flow = again,
            State::Allocated(_) if self.mobility.has_ticket() && !unsteady => {
                self.flow = again;
                self.mobility.replaced = Some((now, had_handle));
                self.begin_move(now, again, Why::Ended);
            }
            State::Allocated(_) => {
                self.flow = again;
                self.lose(Failure::FlowFailed);
            }
            // What is under way has failed with the flow.
            State::Allocating | State::Releasing | State::Idle => self.flow = again,
        }
    }

    fn begin_move(&mut self, now: Instant, to: Flow, why: Why) {
        let Some(ticket) = self.mobility.ticket.clone() else { return };
        self.cancel(|asked| {
            matches!(asked, Asked::Move(_) | Asked::Refresh(_) | Asked::Permissions(..) | Asked::Channel(..))
        });
        self.permissions.restart();
        self.channels.restart();
        let lifetime = self.config.lifetime;
        self.mobility.moving = Some(Move { to, why });
        let asked = self.ask_over(now, to, Method::REFRESH, Asked::Move(now), move |writer| {
            write_lifetime(writer, lifetime);
            writer.push(Attribute::MobilityTicket(&ticket));
        });
        if let Err(failure) = asked {
            self.move_ended(now, None, now, Err(failure));
        }
    }

    pub(super) fn move_ended(&mut self, now: Instant, heard: Option<Flow>, at: Instant, outcome: Outcome<'_>) {
        let Some(Move { to, why }) = self.mobility.moving.take() else { return };
        match (outcome, why) {
            (Ok(message), _) => {
                self.mobility.old = Some(self.flow).filter(|old| *old != to);
                self.flow = to;
                self.adopt(heard);
                self.mobility.take_ticket(&message);
                self.keep_alive.moved(now, to);
                self.refreshed(at, &message);
                self.events.push_back(Event::Moved);
                self.show_up(now);
            }
            (Err(failure), Why::Told) => {
                self.lose(Failure::Moved(Some(Box::new(failure))));
                self.flow = to;
                self.allocate(now);
            }
            (Err(_), Why::Mismatch(mismatch)) => self.lose(mismatch),
            (Err(Failure::NoAnswer(_)), Why::Ended) => self.lose(Failure::FlowFailed),
            (Err(failure), Why::Ended) => self.lose(failure),
            // 400: the server sees us where we were (RFC 8016 §3.2.2), and somebody lied. Anything else the refresh will
            // tell.
            (Err(_), Why::Suspicion) => self.refresh_now(now),
        }
    }

    /// The server goes on sending to the old address until data comes from the new one (RFC 8016 §3.2.2): an empty
    /// datagram to a peer will do.
    fn show_up(&mut self, now: Instant) {
        let last = self.mobility.peer.filter(|peer| self.permissions.is_active(now, peer.ip()));
        if let Some(peer) = last.or_else(|| self.channels.any(now)) {
            // The queue is for those without permission; nothing can be refused here.
            let _ = self.send(now, peer, &[]);
        }
    }
}
