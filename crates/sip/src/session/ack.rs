//! ACK to a 2xx: sent by the caller, again for each copy of the 2xx; awaited by the called end (RFC 3261 §13.2.2.4,
//! §13.3.1.4).

use std::sync::Arc;

use super::description::is_described;
use super::leg::SentAck;
use super::offer::{Carrier, Exchange, Role};
use super::{Done, HowEnded, LegId, LegState, Session, VerbError};
use crate::dialog::DialogKey;
use crate::message::Message;
use crate::user_agent::{Agent, Context, Event, Extra, TimerKind};

impl Agent<'_> {
    /// Sends the ACK that waited for an answer to the offer in the 2xx. The same as [`Agent::accept_offer`].
    pub fn acknowledge(&mut self, leg: impl Into<LegId>, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            if session.legs[index].offers.exchange() != Exchange::Received(Carrier::Success) {
                return Err(VerbError::WrongState);
            }
            session.answer_in_ack(cx, index, &extra)
        })
    }
}

impl Session {
    pub(super) fn send_ack(&mut self, cx: &mut Context<'_>, index: usize, seq: u32, extra: &Extra) {
        let leg = &mut self.legs[index];
        if let Some((flow, bytes)) = cx.acknowledge(leg.dialog, seq, extra) {
            leg.keep_ack(SentAck { seq, flow, bytes });
        }
    }

    /// The 2xx came again: its ACK was lost. None goes out while the application still owes the answer.
    pub(super) fn repeat_ack(&mut self, cx: &mut Context<'_>, index: usize, seq: u32) {
        if let Some(ack) = self.legs[index].ack_to(seq) {
            cx.endpoint.send_stateless(cx.now, ack.flow, Arc::clone(&ack.bytes));
        }
    }

    /// The peer's ACK.
    pub fn ack(&mut self, cx: &mut Context<'_>, dialog: DialogKey, request: &Arc<Message>) {
        let Some(index) = self.leg_of(dialog) else { return };
        let Ok(seq) = request.cseq().map(|cseq| cseq.number) else { return };
        let leg = &mut self.legs[index];
        let Some(waiting) = leg.awaiting(|waiting| waiting.seq == seq) else { return };
        let (hang_up, answers) = (waiting.hang_up, waiting.offers);
        match &leg.state {
            LegState::AwaitingAck(waiting) if waiting.seq == seq => leg.state = LegState::Confirmed,
            _ => leg.invite = None,
        }
        // The ACK to an earlier 2xx may be late: it has nothing to do with an offer in a later one.
        let role = if answers { leg.offers.ack_received(is_described(request)) } else { Role::Absent };
        self.tell_role(cx, index, role, request);
        cx.emit(Event::Confirmed { leg: LegId::new(self.id, index), ack: Arc::clone(request) });
        if hang_up {
            self.send_bye(cx, index, &Extra::new());
        }
    }

    /// Sends the 2xx again; after 64 × T1 without an ACK the session ends (RFC 3261 §13.3.1.4).
    pub(super) fn retransmit_2xx(&mut self, cx: &mut Context<'_>, serial: u64) {
        let Some(index) =
            self.legs.iter_mut().position(|leg| leg.awaiting(|waiting| waiting.timer == serial).is_some())
        else {
            return;
        };
        let timers = cx.shared.sip_timers;
        let owner = self.owner();
        let Some(waiting) = self.legs[index].awaiting(|waiting| waiting.timer == serial) else { return };
        waiting.elapsed += waiting.interval;
        if waiting.elapsed >= timers.patience() {
            if waiting.superseded && !waiting.hang_up {
                self.legs[index].state = LegState::Confirmed;
                return;
            }
            self.end(cx, HowEnded::NoAck);
            return self.send_bye(cx, index, &Extra::new());
        }
        let status = crate::message::StatusCode::OK;
        cx.endpoint.respond(cx.now, waiting.tx, status, Arc::clone(&waiting.response));
        waiting.interval = (waiting.interval * 2).min(timers.t2).min(timers.patience() - waiting.elapsed);
        waiting.timer = cx.arm(owner, TimerKind::Retransmit2xx, waiting.interval);
    }
}
