//! INVITE from the called end: ring, accept, reject (RFC 3261 §13.3).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Flow;

use super::description::{describes, is_described};
use super::leg::AwaitingAck;
use super::offer::{Kind, Misplaced, Offers, Role};
use super::reinvite::LaterInvite;
use super::{Done, HowEnded, Leg, LegId, LegState, Opening, Session, SessionId, VerbError};
use crate::dialog::Dialog;
use crate::endpoint::ServerTx;
use crate::message::{Message, StatusCode};
use crate::user_agent::sips::is_inconsistent;
use crate::user_agent::{Agent, Context, Event, Extra, Owner, TimerKind};

/// The INVITE that opened the session.
#[derive(Debug)]
pub(super) struct Called {
    pub tx: ServerTx,
    pub request: Arc<Message>,
    /// Whether it has had its final response.
    pub answered: bool,
    pub answer_timer: Option<u64>,
    /// The leg of another session that this one takes the place of.
    pub replaces: Option<LegId>,
}

impl Called {
    pub fn is_pending(&self) -> bool {
        !self.answered
    }
}

impl Agent<'_> {
    /// Accepts the call with a 200; its ACK is [`Event::Confirmed`] (RFC 3261 §13.3.1.4). `extra` holds the answer, or
    /// the offer if the INVITE had none, unless a reliable response has brought it: then the 200 waits for the PRACK and
    /// goes without (RFC 3262 §5).
    pub fn accept(&mut self, session: SessionId, extra: Extra) -> Done {
        self.with_session(session, |session, cx| {
            let (tx, request) = session.pending_invite()?;
            session.accept_or_wait(cx, 0, tx, request, &extra)
        })
    }

    /// Refuses the call: 486, 603, 302 with Contact values, whatever the application decides (RFC 3261 §13.3.1.2–3).
    pub fn reject(&mut self, session: SessionId, status: StatusCode, extra: Extra) -> Done {
        if !status.is_final() || status.is_success() {
            return Err(VerbError::WrongState);
        }
        self.with_session(session, |session, cx| session.refuse_invite(cx, status, &extra, HowEnded::Local))
    }

    /// Somebody calls: RFC 3261 §8.2 has been gone through.
    pub(crate) fn incoming_invite(&mut self, tx: ServerTx, flow: Flow, request: Arc<Message>) {
        let replaces = match self.leg_to_replace(&request) {
            _ if self.core.shared.config.relays => None,
            Ok(replaces) => replaces,
            Err(status) => return self.split().1.refuse(tx, status),
        };
        let full = self.core.sessions.len() >= self.core.shared.config.max_sessions;
        let (sessions, mut cx) = self.split();
        if full {
            return cx.refuse(tx, StatusCode::SERVICE_UNAVAILABLE);
        }
        if is_inconsistent(&request) {
            return cx.refuse(tx, StatusCode::BAD_REQUEST);
        }
        if cx.refuse_interval(tx, None, &request) {
            return;
        }
        let (tag, seq, contact) = (cx.tag(), cx.first_seq(), cx.contact_for(&request, &flow));
        let dialog = match Dialog::accept(&request, tag, contact, seq, flow) {
            Ok(dialog) => dialog,
            Err(error) => return cx.refuse(tx, error.status()),
        };
        let id = SessionId(sessions.next_key());
        let owner = Owner::Session(id);
        let dialog = cx.shared.dialogs.insert(dialog, owner);
        cx.shared.servers.insert(tx, owner);
        let answer_timer = Some(cx.arm(owner, TimerKind::Answer, cx.shared.config.answer_timeout));
        let called = Called { tx, request: Arc::clone(&request), answered: false, answer_timer, replaces };
        let offers = Offers::called(is_described(&request));
        let mut leg = Leg::new(dialog, LegState::Early, offers);
        leg.peer.learn(&request);
        sessions.insert(Session { id, opening: Opening::Called(called), legs: vec![leg], ended: false });
        cx.emit(Event::Incoming { session: id, replaces, flow, request });
    }
}

impl Session {
    /// The INVITE that the session began with, while it waits for its final response.
    pub(super) fn pending_invite(&self) -> Result<(ServerTx, Arc<Message>), VerbError> {
        match &self.opening {
            Opening::Called(called) if called.is_pending() => Ok((called.tx, Arc::clone(&called.request))),
            _ => Err(VerbError::WrongState),
        }
    }

    /// The INVITE gets its final response now. Gives the leg to replace, if there is one.
    pub(super) fn answered(&mut self) -> Option<LegId> {
        let Opening::Called(called) = &mut self.opening else { return None };
        called.answered = true;
        called.answer_timer = None;
        called.replaces.take()
    }

    /// The INVITE of a leg, the first or a later one, that waits for our final response.
    pub(super) fn waiting_invite(&self, index: usize) -> Option<(ServerTx, Arc<Message>)> {
        match &self.legs[index].invite {
            Some(LaterInvite::Received(received)) => Some((received.tx, Arc::clone(&received.request))),
            _ => self.pending_invite().ok(),
        }
    }

    /// Accepts an INVITE, as soon as no offer or answer is on its way before the 2xx (RFC 3262 §5).
    pub(super) fn accept_or_wait(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        tx: ServerTx,
        request: Arc<Message>,
        extra: &Extra,
    ) -> Done {
        if self.legs[index].reliable.success.is_some() {
            return Err(VerbError::WrongState);
        }
        if self.must_wait_for_prack(index) {
            self.legs[index].reliable.success = Some(extra.clone());
            return Ok(());
        }
        self.accept_now(cx, index, tx, request, extra)
    }

    /// Sends a 2xx to an INVITE, until its ACK comes.
    pub(super) fn accept_now(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        tx: ServerTx,
        request: Arc<Message>,
        extra: &Extra,
    ) -> Done {
        let dialog = self.legs[index].dialog;
        let leg = &mut self.legs[index];
        let completed = leg.offers.completed();
        let role = match leg.offers.respond(Kind::Success, describes(extra)) {
            // What the far end does not say is not ours to say.
            Err(Misplaced::Missing) if cx.shared.config.relays => {
                leg.offers.invite_failed();
                Role::Absent
            }
            role => role?,
        };
        let without = (role == Role::Repeated).then(|| extra.clone().without_body());
        let extra = without.as_ref().unwrap_or(extra);
        leg.description.sent(extra, completed);
        if let Some(dialog) = cx.shared.dialogs.get_mut(dialog) {
            let _ = dialog.confirm(None);
        }
        self.accept_target(cx, index, &request);
        let extra = &self.grant_timer(cx, index, &request, extra);
        let response = cx.respond_to(tx, &request, StatusCode::OK, Some(dialog), extra).ok_or(VerbError::WrongState)?;
        let seq = request.cseq().map_or(0, |cseq| cseq.number);
        let interval = cx.shared.sip_timers.t1;
        let timer = cx.arm(self.owner(), TimerKind::Retransmit2xx, interval);
        let waiting = AwaitingAck {
            tx,
            response,
            seq,
            interval,
            elapsed: Duration::ZERO,
            timer,
            offers: role == Role::Offer,
            hang_up: false,
            superseded: false,
        };
        let is_first = self.pending_invite().is_ok_and(|(first, _)| first == tx);
        let leg = &mut self.legs[index];
        leg.reliable.stop();
        if is_first {
            leg.state = LegState::AwaitingAck(waiting);
            cx.shared.replaced.extend(self.answered());
        } else {
            leg.invite = Some(LaterInvite::AwaitingAck(waiting));
        }
        Ok(())
    }

    /// Refuses the INVITE that the session began with: the session is over.
    pub(super) fn refuse_invite(
        &mut self,
        cx: &mut Context<'_>,
        status: StatusCode,
        extra: &Extra,
        how: HowEnded,
    ) -> Done {
        let (tx, _) = self.pending_invite()?;
        self.answered();
        cx.respond(tx, status, Some(self.legs[0].dialog), extra);
        self.finish_leg(cx, 0);
        self.linger(cx, 0);
        self.legs[0].state = LegState::Ended;
        self.end(cx, how);
        Ok(())
    }

    pub(super) fn answer_timeout(&mut self, cx: &mut Context<'_>) {
        let _ = self.refuse_invite(cx, StatusCode::TEMPORARILY_UNAVAILABLE, &Extra::new(), HowEnded::Unanswered);
    }
}
