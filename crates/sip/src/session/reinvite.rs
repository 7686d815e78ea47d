//! re-INVITE: an INVITE within the dialog, from both ends (RFC 3261 §14, RFC 6141).
//!
//! ```text
//!   reinvite ──> Sent ──2xx──> (OwesAck, if the 2xx has the offer) ──> ACK          Modified
//!                 └─ 491: glare.rs; other failures: the session as it was           ModifyFailed
//!
//!   Offer, OfferWanted <── Received ──accept_offer──> AwaitingAck ──ACK──>          Confirmed
//!                              └─ reject_offer, CANCEL, BYE
//! ```

use std::sync::Arc;

use super::description::{describes, is_described};
use super::glare::Attempt;
use super::leg::AwaitingAck;
use super::offer::{Conflict, Kind, Role};
use super::{Done, HowEnded, LegId, LegState, Session, VerbError};
use crate::endpoint::{ClientTx, ServerTx};
use crate::message::{Message, Method, StatusCode};
use crate::user_agent::{Agent, Context, Event, Extra, Failure, Pending, TimerKind};

/// The INVITE in progress in a leg that stands.
#[derive(Debug)]
pub(super) enum LaterInvite {
    /// Ours is under way.
    Sent(SentInvite),
    /// Ours has its 2xx, whose offer the application has to answer in the ACK.
    OwesAck {
        /// CSeq of the INVITE.
        seq: u32,
    },
    /// The peer's waits for our final response.
    Received(ReceivedInvite),
    /// The peer's has our 2xx, which waits for its ACK.
    AwaitingAck(AwaitingAck),
}

/// A re-INVITE of ours.
#[derive(Debug)]
pub(super) struct SentInvite {
    pub tx: ClientTx,
    pub attempt: Attempt,
    /// When it has waited long enough for a final response.
    pub timer: Option<u64>,
}

/// A re-INVITE of the peer's.
#[derive(Debug)]
pub(super) struct ReceivedInvite {
    pub tx: ServerTx,
    pub request: Arc<Message>,
    /// When the application has had time enough.
    pub timer: u64,
    /// How many offers had been answered when it came.
    pub completed: u32,
}

impl LaterInvite {
    pub fn timer(&self) -> Option<u64> {
        match self {
            Self::Sent(sent) => sent.timer,
            Self::OwesAck { .. } => None,
            Self::Received(received) => Some(received.timer),
            Self::AwaitingAck(waiting) => Some(waiting.timer),
        }
    }
}

impl Agent<'_> {
    /// Changes the session by re-INVITE (RFC 3261 §14.1): with an offer in `extra`, or without one, and the peer makes
    /// it ([`Event::Offer`] with its 2xx or reliable response; answer by [`Agent::accept_offer`]). Hold and resume are
    /// what the offer says. [`Event::Modified`] or [`Event::ModifyFailed`] follows, and [`Event::Answer`] before that.
    ///
    /// A 491 is not reported at once: after the pause that RFC 3261 §14.1 asks for the same INVITE is sent again, unless
    /// the session has changed meanwhile.
    ///
    /// [`VerbError::WrongState`] while any INVITE, its ACK, an UPDATE of ours, or an offer is outstanding.
    pub fn reinvite(&mut self, leg: impl Into<LegId>, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            if !session.is_calm(index) || !session.may_reinvite(index) {
                return Err(VerbError::WrongState);
            }
            let attempt = session.first_attempt(index, Method::Invite, Arc::new(extra));
            session.send_reinvite(cx, index, attempt)
        })
    }
}

impl Session {
    /// RFC 3261 §14.1, RFC 6337 §4.3: UAC-II, UAC-UI.
    pub(super) fn may_reinvite(&self, index: usize) -> bool {
        let leg = &self.legs[index];
        let no_invite = matches!(leg.state, LegState::Confirmed) && leg.invite.is_none();
        let no_update = leg.updates.sent.as_ref().is_none_or(|sent| sent.attempt.refreshes);
        no_invite && !self.ended && no_update && leg.offers.is_idle()
    }

    /// Whether an INVITE of ours, the first or a later one, is under way and still wanted.
    pub(super) fn is_inviting(&self, index: usize) -> bool {
        let leg = &self.legs[index];
        match leg.state {
            LegState::Early => self.pending_invite().is_err(),
            _ => leg.is_up() && matches!(leg.invite, Some(LaterInvite::Sent(_))),
        }
    }

    pub(super) fn send_reinvite(&mut self, cx: &mut Context<'_>, index: usize, attempt: Attempt) -> Done {
        let owner = self.owner();
        let leg = &mut self.legs[index];
        leg.description.sent(&attempt.extra, leg.offers.completed());
        let extra = self.ask_for_timer(cx, index, &attempt.extra);
        let leg = &mut self.legs[index];
        let tx = cx.request(owner, leg.dialog, Method::Invite, extra).ok_or(VerbError::Gone)?;
        leg.offers.invite_sent(describes(&attempt.extra));
        leg.reliable.stop();
        let timer = Some(cx.arm(owner, TimerKind::Unanswered, cx.shared.config.ring_timeout));
        leg.invite = Some(LaterInvite::Sent(SentInvite { tx, attempt, timer }));
        Ok(())
    }

    /// Cancels a re-INVITE of ours. Its final response still comes.
    pub(super) fn cancel_reinvite(&mut self, cx: &mut Context<'_>, index: usize) -> bool {
        let Some(LaterInvite::Sent(sent)) = &mut self.legs[index].invite else { return false };
        sent.timer = None;
        cx.cancel(sent.tx, None);
        true
    }

    /// A response to a re-INVITE of ours, copies of its 2xx included.
    pub(super) fn reinvite_response(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        pending: &Pending,
        response: &Arc<Message>,
    ) {
        let Some(index) = self.leg_of(pending.dialog) else { return };
        let is_current = matches!(&self.legs[index].invite, Some(LaterInvite::Sent(sent)) if sent.tx == tx);
        match response.status().map_or(0, StatusCode::class) {
            1 if is_current => self.reinvite_progress(cx, index, response),
            2 if is_current => self.reinvite_accepted(cx, index, pending.seq, response),
            2 => self.repeat_ack(cx, index, pending.seq),
            3.. => self.reinvite_failed(cx, tx, Failure::Response(Arc::clone(response))),
            _ => {}
        }
    }

    fn reinvite_progress(&mut self, cx: &mut Context<'_>, index: usize, response: &Arc<Message>) {
        if response.status() == Some(StatusCode::TRYING) || !self.legs[index].is_up() {
            return;
        }
        if let Some(role) = self.provisional_received(cx, index, response) {
            cx.emit(Event::Progress { leg: LegId::new(self.id, index), response: Arc::clone(response) });
            self.tell_role(cx, index, role, response);
        }
    }

    fn reinvite_accepted(&mut self, cx: &mut Context<'_>, index: usize, seq: u32, response: &Arc<Message>) {
        let leg = &mut self.legs[index];
        let sent = leg.invite.take();
        leg.pracks.stop();
        if let Some(dialog) = cx.shared.dialogs.get_mut(leg.dialog) {
            dialog.refresh_target(response);
        }
        let role = leg.offers.response_received(Kind::Success, is_described(response));
        if !leg.is_up() {
            // RFC 5407 §3.2.3: the BYE is out already; the ACK is owed all the same.
            return self.send_ack(cx, index, seq, &Extra::new());
        }
        if role == Role::Offer {
            leg.invite = Some(LaterInvite::OwesAck { seq });
            self.await_ack_answer(cx, index);
        } else {
            self.send_ack(cx, index, seq, &Extra::new());
        }
        self.timer_agreed(cx, index, response);
        self.tell_role(cx, index, role, response);
        if !matches!(sent, Some(LaterInvite::Sent(sent)) if sent.attempt.refreshes) {
            cx.emit(Event::Modified { leg: LegId::new(self.id, index), response: Arc::clone(response) });
        }
    }

    /// A re-INVITE of ours failed: the session is as it was, but for offers that were answered within (RFC 6141 §3.4).
    pub(super) fn reinvite_failed(&mut self, cx: &mut Context<'_>, tx: ClientTx, failure: Failure) {
        let is_it = |leg: &super::Leg| matches!(&leg.invite, Some(LaterInvite::Sent(sent)) if sent.tx == tx);
        let Some(index) = self.legs.iter().position(is_it) else { return };
        let leg = &mut self.legs[index];
        let Some(LaterInvite::Sent(sent)) = leg.invite.take() else { return };
        leg.offers.invite_failed();
        leg.pracks.stop();
        let changed = leg.offers.completed() != sent.attempt.completed;
        self.modify_failed(cx, index, sent.attempt, failure, changed);
    }

    /// The peer's re-INVITE (RFC 3261 §14.2, RFC 6337 §4.3).
    pub(super) fn reinvite_received(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        index: usize,
        request: &Arc<Message>,
    ) {
        let dialog = Some(self.legs[index].dialog);
        if let Some(conflict) = self.reinvite_conflict(index) {
            return cx.refuse_for_now(tx, dialog, conflict);
        }
        if cx.refuse_interval(tx, dialog, request) {
            return;
        }
        let described = is_described(request);
        let leg = &mut self.legs[index];
        leg.offers.invite_received(described);
        leg.reliable = super::reliable::Reliable::default();
        let (owner, completed) = (super::Owner::Session(self.id), leg.offers.completed());
        let timer = cx.arm(owner, TimerKind::Unanswered, cx.shared.config.answer_timeout);
        // RFC 5407 §3.1.4: the ACK to an earlier 2xx may be late. That of a re-INVITE is not waited for any longer.
        if let LegState::AwaitingAck(waiting) = &mut leg.state {
            waiting.superseded = true;
        }
        leg.invite = Some(LaterInvite::Received(ReceivedInvite { tx, request: Arc::clone(request), timer, completed }));
        let (leg, message) = (LegId::new(self.id, index), Arc::clone(request));
        cx.emit(match described {
            true => Event::Offer { leg, message },
            false => Event::OfferWanted { leg, request: message },
        });
    }

    fn reinvite_conflict(&self, index: usize) -> Option<Conflict> {
        let leg = &self.legs[index];
        match (&leg.state, &leg.invite) {
            // The first INVITE is not through: UAS-IsI if it is the peer's, UAS-IcI if it is ours.
            (LegState::Early, _) if self.pending_invite().is_ok() => Some(Conflict::Theirs),
            (LegState::Early | LegState::OwesAck { .. }, _) => Some(Conflict::Ours),
            (_, Some(LaterInvite::Sent(_) | LaterInvite::OwesAck { .. })) => Some(Conflict::Ours),
            (_, Some(LaterInvite::Received(_))) => Some(Conflict::Theirs),
            // A 2xx without its ACK is in the way only if it holds an offer (RFC 5407 §3.1.4, §3.1.5), an UPDATE
            // likewise (RFC 5407 §3.3.2).
            _ => leg.offers.conflict(),
        }
    }

    /// Accepts the re-INVITE that waits: the 2xx has the answer, the offer if the INVITE had none, or nothing if that is
    /// settled already.
    pub(super) fn accept_reinvite(&mut self, cx: &mut Context<'_>, index: usize, extra: &Extra) -> Done {
        let (tx, request) = self.waiting_invite(index).ok_or(VerbError::WrongState)?;
        self.accept_or_wait(cx, index, tx, request, extra)
    }

    /// Refuses the re-INVITE that waits. Once an offer has been answered within, there is no way back but by another
    /// offer: the INVITE has to be accepted (RFC 6141 §3.3).
    pub(super) fn refuse_reinvite(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        status: StatusCode,
        extra: &Extra,
    ) -> Done {
        let leg = &mut self.legs[index];
        let Some(LaterInvite::Received(received)) = &leg.invite else { return Err(VerbError::WrongState) };
        cx.respond(received.tx, status, Some(leg.dialog), extra);
        leg.invite = None;
        leg.offers.invite_failed();
        self.linger(cx, index);
        Ok(())
    }

    /// Whether the session has been changed since the re-INVITE came (RFC 6141 §3.3).
    pub(super) fn has_executed_changes(&self, index: usize) -> bool {
        let leg = &self.legs[index];
        matches!(&leg.invite, Some(LaterInvite::Received(received)) if received.completed != leg.offers.completed())
    }

    /// The peer's re-INVITE is cancelled: 487, or a 2xx if its changes are in force (RFC 6141 §3.8).
    pub(super) fn reinvite_cancelled(&mut self, cx: &mut Context<'_>, tx: ServerTx) {
        let is_it =
            |leg: &super::Leg| matches!(&leg.invite, Some(LaterInvite::Received(received)) if received.tx == tx);
        let Some(index) = self.legs.iter().position(is_it) else { return };
        self.withdraw_reinvite(cx, index, StatusCode::REQUEST_TERMINATED);
    }

    /// Ends a re-INVITE of the peer's without the application.
    pub(super) fn withdraw_reinvite(&mut self, cx: &mut Context<'_>, index: usize, status: StatusCode) {
        let accepts = self.has_executed_changes(index) && self.accept_reinvite(cx, index, &Extra::new()).is_ok();
        if !accepts && self.refuse_reinvite(cx, index, status, &Extra::new()).is_err() {
            return;
        }
        cx.emit(Event::Withdrawn { leg: LegId::new(self.id, index) });
    }

    /// Refuses the first INVITE or a re-INVITE, whichever waits.
    pub(super) fn refuse_waiting(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        status: StatusCode,
        extra: &Extra,
        how: HowEnded,
    ) {
        if self.refuse_invite(cx, status, extra, how).is_err() && self.refuse_reinvite(cx, index, status, extra).is_ok()
        {
            cx.emit(Event::Withdrawn { leg: LegId::new(self.id, index) });
        }
    }
}
