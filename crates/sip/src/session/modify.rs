//! The answer to a change that the peer wants: to its re-INVITE, its UPDATE, its PRACK, or the offer in its response.

use super::offer::{Carrier, Exchange};
use super::reinvite::LaterInvite;
use super::{Done, HowEnded, LegId, LegState, Session, VerbError};
use crate::message::StatusCode;
use crate::user_agent::{Agent, Context, Event, Extra, TimerKind};

impl Agent<'_> {
    /// Answers what waits in the leg ([`Event::Offer`], [`Event::OfferWanted`]): a re-INVITE, UPDATE or PRACK by its 2xx,
    /// a reliable response by its PRACK, a 2xx by its ACK. `extra` holds the answer; or the offer, if a re-INVITE came
    /// without; or no description, if a re-INVITE's has gone out in a reliable response.
    pub fn accept_offer(&mut self, leg: impl Into<LegId>, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            match session.legs[index].offers.exchange() {
                Exchange::Received(Carrier::Prack | Carrier::Update) => session.answer_waiting(cx, index, &extra),
                Exchange::Received(Carrier::Reliable) => session.answer_in_prack(cx, index, extra),
                Exchange::Received(Carrier::Success) => session.answer_in_ack(cx, index, &extra),
                _ if matches!(session.legs[index].invite, Some(LaterInvite::Received(_))) => {
                    session.accept_reinvite(cx, index, &extra)
                }
                _ => Err(VerbError::WrongState),
            }
        })
    }

    /// Refuses the re-INVITE, UPDATE or PRACK that waits in the leg, with 488 or another final status: the session stays
    /// as it is. Offers in responses cannot be refused (RFC 6337 Table 2), nor re-INVITEs within which an offer has been
    /// answered (RFC 6141 §3.3): [`VerbError::WrongState`].
    pub fn reject_offer(&mut self, leg: impl Into<LegId>, status: StatusCode, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            if !status.is_final() || status.is_success() {
                return Err(VerbError::WrongState);
            }
            if session.legs[index].updates.received.is_some() {
                return session.refuse_answer(cx, index, status, &extra);
            }
            if session.has_executed_changes(index) || session.legs[index].reliable.success.is_some() {
                return Err(VerbError::WrongState);
            }
            session.refuse_reinvite(cx, index, status, &extra)
        })
    }

    /// Sets the Contact value that requests and responses in the leg have from now on. An UPDATE or re-INVITE tells the
    /// peer (RFC 6141 §4.4).
    pub fn set_contact(&mut self, leg: impl Into<LegId>, contact: &str) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            let dialog = cx.shared.dialogs.get_mut(session.legs[index].dialog).ok_or(VerbError::Gone)?;
            dialog.set_contact(contact.into());
            Ok(())
        })
    }
}

impl Session {
    fn answer_in_prack(&mut self, cx: &mut Context<'_>, index: usize, extra: Extra) -> Done {
        if !super::description::describes(&extra) {
            return Err(VerbError::NeedsDescription);
        }
        self.send_owed_prack(cx, index, extra);
        Ok(())
    }

    pub(super) fn answer_in_ack(&mut self, cx: &mut Context<'_>, index: usize, extra: &Extra) -> Done {
        if !super::description::describes(extra) {
            return Err(VerbError::NeedsDescription);
        }
        self.send_owed_ack(cx, index, extra)
    }

    /// Sends the ACK that waits for an answer.
    pub(super) fn send_owed_ack(&mut self, cx: &mut Context<'_>, index: usize, extra: &Extra) -> Done {
        let leg = &mut self.legs[index];
        let seq = match (&leg.state, &leg.invite) {
            (&LegState::OwesAck { seq }, _) => {
                leg.state = LegState::Confirmed;
                seq
            }
            (_, &Some(LaterInvite::OwesAck { seq })) => {
                leg.invite = None;
                seq
            }
            _ => return Err(VerbError::WrongState),
        };
        leg.ack_timer = None;
        leg.description.sent(extra, leg.offers.completed());
        leg.offers.ack_sent();
        self.send_ack(cx, index, seq, extra);
        Ok(())
    }

    /// The application has so long to answer the offer in a 2xx.
    pub(super) fn await_ack_answer(&mut self, cx: &mut Context<'_>, index: usize) {
        let timer = cx.arm(self.owner(), TimerKind::Unanswered, cx.shared.config.offer_timeout);
        self.legs[index].ack_timer = Some(timer);
    }

    /// The application has not answered in time, or the peer has not.
    pub(super) fn unanswered(&mut self, cx: &mut Context<'_>, serial: u64) {
        let Some(index) = self.legs.iter().position(|leg| leg.has_timer(serial)) else { return };
        let (leg, id) = (&self.legs[index], LegId::new(self.id, index));
        if leg.updates.timer() == Some(serial) {
            // RFC 3311 §5.2: 504 if the user had to be asked.
            if self.refuse_answer(cx, index, StatusCode::SERVER_TIMEOUT, &Extra::new()).is_ok() {
                cx.emit(Event::Withdrawn { leg: id });
            }
        } else if leg.pracks.timer() == Some(serial) {
            // Without the answer that the PRACK owes the session cannot be: it is not wanted any more.
            let owes_answer = leg.offers.exchange() == Exchange::Received(Carrier::Reliable);
            self.send_owed_prack(cx, index, Extra::new());
            if owes_answer && !self.cancel_reinvite(cx, index) {
                let _ = self.cancel(cx, None);
            }
        } else if leg.ack_timer == Some(serial) {
            let _ = self.send_owed_ack(cx, index, &Extra::new());
            self.end(cx, HowEnded::Local);
            self.send_bye(cx, index, &Extra::new());
        } else if matches!(leg.invite, Some(LaterInvite::Received(_))) {
            self.withdraw_reinvite(cx, index, StatusCode::NOT_ACCEPTABLE_HERE);
        } else {
            self.cancel_reinvite(cx, index);
        }
    }

    /// The leg ends: whatever waits in it is answered or given up (RFC 3261 §15.1.2).
    pub(super) fn finish_leg(&mut self, cx: &mut Context<'_>, index: usize) {
        self.cancel_reinvite(cx, index);
        let leg = &mut self.legs[index];
        leg.backoff = None;
        leg.ack_timer = None;
        leg.timer.stop();
        leg.pracks.stop();
        leg.reliable.stop();
        let dialog = Some(leg.dialog);
        if let Some(waiting) = leg.updates.received.take() {
            cx.respond(waiting.tx, StatusCode::REQUEST_TERMINATED, dialog, &Extra::new());
        }
        match leg.invite.take() {
            Some(LaterInvite::Received(received)) => {
                cx.respond(received.tx, StatusCode::REQUEST_TERMINATED, dialog, &Extra::new());
            }
            // Its 2xx still wants an ACK.
            sent @ Some(LaterInvite::Sent(_)) => leg.invite = sent,
            Some(LaterInvite::OwesAck { seq }) => self.send_ack(cx, index, seq, &Extra::new()),
            Some(LaterInvite::AwaitingAck(_)) | None => {}
        }
        // RFC 3261 §13.2.2.4: the 2xx gets its ACK, also if the answer that it should have had is of no use any more.
        if let LegState::OwesAck { seq } = self.legs[index].state {
            self.send_ack(cx, index, seq, &Extra::new());
        }
    }
}
