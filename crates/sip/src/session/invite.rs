//! INVITE from the caller's end: forks, their early dialogs and their 2xx (RFC 3261 §13.2).

use std::sync::Arc;

use super::description::{describes, is_described};
use super::offer::{Kind, Offers, Role};
use super::timer::SessionTimer;
use super::{Leg, LegId, LegState, Opening, Session, SessionId, VerbError};
use crate::dialog::{Dialog, DialogKey, Opening as DialogOpening};
use crate::endpoint::ClientTx;
use crate::message::{Message, Method, StatusCode};
use crate::user_agent::sips::secured;
use crate::user_agent::{Agent, Context, Event, Extra, Failure, HowEnded, Owner, TimerKind};

/// A call to make.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Whom to call, as whom, over which flow.
    pub opening: DialogOpening,
    /// Header fields and the offer. Without a body the called end makes the offer.
    pub extra: Extra,
}

/// Our INVITE.
#[derive(Debug)]
pub(super) struct Calling {
    pub tx: ClientTx,
    /// The dialog without a remote tag that the INVITE was built from.
    pub half: DialogKey,
    /// What the INVITE carries, but for the session timer.
    pub extra: Extra,
    /// What it asks of the session timer, and how often it had to ask for more.
    pub timer: SessionTimer,
    pub raises: u32,
    /// Whether the application has given up.
    pub cancelled: bool,
    /// Whether its transaction lives: further 2xx may come (RFC 6026 §7.2).
    pub open: bool,
    pub ring_timer: Option<u64>,
}

impl Agent<'_> {
    /// Calls somebody (RFC 3261 §13.2.1).
    ///
    /// [`VerbError::NotSecure`] if the target is a `sips` URI and the flow is not encrypted, or Contact is no `sips` URI.
    pub fn invite(&mut self, invite: Invite) -> Result<SessionId, VerbError> {
        if self.core.sessions.len() >= self.core.shared.config.max_sessions {
            return Err(VerbError::TooMany);
        }
        let opening = secured(invite.opening)?;
        let (sessions, mut cx) = self.split();
        let id = SessionId(sessions.next_key());
        let owner = Owner::Session(id);
        let (call_id, tag, seq) = (cx.call_id(), cx.tag(), cx.first_seq());
        let half = cx.shared.dialogs.insert(Dialog::open(opening, call_id, tag, seq), owner);
        let mut timer = SessionTimer::default();
        let extra = Arc::new(timer.ask(cx.wish(), &invite.extra));
        let tx = cx.request(owner, half, Method::Invite, extra).ok_or(VerbError::Gone)?;
        let ring_timer = Some(cx.arm(owner, TimerKind::Ring, cx.shared.config.ring_timeout));
        let extra = invite.extra;
        let calling = Calling { tx, half, extra, timer, raises: 0, cancelled: false, open: true, ring_timer };
        sessions.insert(Session { id, opening: Opening::Calling(calling), legs: Vec::new(), ended: false });
        Ok(id)
    }
}

impl Session {
    /// Whether `tx` is the INVITE that the session began with.
    pub(super) fn is_opening(&self, tx: ClientTx) -> bool {
        matches!(&self.opening, Opening::Calling(calling) if calling.tx == tx)
    }

    pub(super) fn invite_response(&mut self, cx: &mut Context<'_>, seq: u32, response: Arc<Message>) {
        let Some(status) = response.status() else { return };
        match status.class() {
            1 => self.progress(cx, &response),
            2 => self.accepted(cx, seq, &response),
            _ if self.invite_with_longer_interval(cx, &response) => {}
            _ => self.invite_failed(cx, Failure::Response(response)),
        }
    }

    fn progress(&mut self, cx: &mut Context<'_>, response: &Arc<Message>) {
        if response.status() == Some(StatusCode::TRYING) || self.ended {
            return;
        }
        let Some(leg) = self.leg_for(cx, response) else { return };
        if matches!(self.legs[leg].state, LegState::Early)
            && let Some(role) = self.provisional_received(cx, leg, response)
        {
            cx.emit(Event::Progress { leg: LegId::new(self.id, leg), response: Arc::clone(response) });
            self.tell_role(cx, leg, role, response);
        }
    }

    /// A 2xx: the first one is the session's, further ones get an ACK and a BYE (RFC 3261 §13.2.2.4).
    fn accepted(&mut self, cx: &mut Context<'_>, seq: u32, response: &Arc<Message>) {
        let Some(index) = self.leg_for(cx, response) else { return };
        let Opening::Calling(calling) = &mut self.opening else { return };
        calling.ring_timer = None;
        let cancelled = calling.cancelled;
        if self.legs[index].ack_to(seq).is_some() || !matches!(self.legs[index].state, LegState::Early) {
            return self.repeat_ack(cx, index, seq);
        }
        let confirmed = cx.shared.dialogs.get_mut(self.legs[index].dialog).map(|dialog| dialog.confirm(Some(response)));
        let unwanted =
            cancelled || self.ended || self.legs.iter().any(Leg::is_up) || !matches!(confirmed, Some(Ok(())));
        if unwanted {
            // The offer in it, if any, is refused by ending the session.
            self.send_ack(cx, index, seq, &Extra::new());
            self.send_bye(cx, index, &Extra::new());
            return self.end_if_unused(cx);
        }
        self.legs[index].pracks.stop();
        let role = self.legs[index].offers.response_received(Kind::Success, is_described(response));
        let answer_owed = role == Role::Offer;
        if answer_owed {
            self.legs[index].state = LegState::OwesAck { seq };
            self.await_ack_answer(cx, index);
        } else {
            self.legs[index].state = LegState::Confirmed;
            self.send_ack(cx, index, seq, &Extra::new());
        }
        self.timer_agreed_at_first(cx, index, response);
        let leg = LegId::new(self.id, index);
        cx.emit(Event::Accepted { leg, response: Arc::clone(response), answer_owed });
    }

    fn end_if_unused(&mut self, cx: &mut Context<'_>) {
        if !self.legs.iter().any(Leg::is_up) {
            self.end(cx, HowEnded::Local);
        }
    }

    pub(super) fn invite_failed(&mut self, cx: &mut Context<'_>, failure: Failure) {
        let Opening::Calling(calling) = &mut self.opening else { return };
        calling.ring_timer = None;
        let cancelled = calling.cancelled;
        self.drop_early_legs(cx);
        if self.legs.iter().any(Leg::is_up) {
            return; // a 2xx came before: the failure concerns nobody
        }
        if cancelled {
            self.end(cx, HowEnded::Local);
        } else {
            self.fail(cx, failure);
        }
    }

    /// The transaction is gone: no other fork can answer any more.
    pub fn client_terminated(&mut self, cx: &mut Context<'_>, tx: ClientTx) {
        if self.is_opening(tx)
            && let Opening::Calling(calling) = &mut self.opening
        {
            calling.open = false;
            calling.ring_timer = None;
            self.drop_early_legs(cx);
        }
    }

    pub(super) fn drop_early_legs(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.legs.len() {
            if matches!(self.legs[index].state, LegState::Early) {
                self.finish_leg(cx, index);
                self.legs[index].state = LegState::Ended;
            }
        }
    }

    /// A request of ours has had a challenge and gone out again. The early dialogs of an INVITE end with that
    /// (RFC 3261 §13.2.2.3); it may open others.
    pub fn repeated(&mut self, cx: &mut Context<'_>, tx: ClientTx) {
        if self.is_opening(tx) {
            self.drop_early_legs(cx);
        }
    }

    pub(super) fn ring_timeout(&mut self, cx: &mut Context<'_>) {
        let _ = self.cancel(cx, None);
    }

    /// The leg that a response belongs to; a new one for a tag not seen before.
    fn leg_for(&mut self, cx: &mut Context<'_>, response: &Message) -> Option<usize> {
        let Opening::Calling(calling) = &self.opening else { return None };
        let tag = response.to_tag().unwrap_or_default();
        let seq = response.cseq().ok()?.number;
        let has_tag =
            |leg: &Leg| cx.shared.dialogs.get(leg.dialog).is_some_and(|dialog| *dialog.id().remote_tag == *tag);
        let known = self.legs.iter().position(|leg| leg.opened_by == seq && has_tag(leg));
        if let Some(index) = known {
            self.legs[index].peer.learn(response);
            return known;
        }
        // RFC 3261 §12.1: a provisional response without a tag opens no dialog. Those that answer get more room, to be
        // acknowledged and hung up.
        let is_final = response.status().is_some_and(StatusCode::is_final);
        let room = cx.shared.config.max_forks * if is_final { 4 } else { 1 };
        if (tag.is_empty() && !is_final) || self.legs.iter().filter(|leg| leg.opened_by == seq).count() >= room {
            return None;
        }
        let dialog = cx.shared.dialogs.get(calling.half)?.fork(response).ok()?;
        let dialog = cx.shared.dialogs.insert(dialog, self.owner());
        let mut leg = Leg::new(dialog, LegState::Early, Offers::calling(describes(&calling.extra)));
        leg.opened_by = seq;
        leg.description.sent(&calling.extra, 0);
        leg.peer.learn(response);
        self.legs.push(leg);
        Some(self.legs.len() - 1)
    }
}
