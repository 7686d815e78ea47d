//! INVITE from the called end: ring, accept, reject (RFC 3261 §13.3).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Flow;

use super::leg::AwaitingAck;
use super::{Done, HowEnded, Leg, LegId, LegState, Opening, Session, SessionId, VerbError};
use crate::dialog::Dialog;
use crate::endpoint::ServerTx;
use crate::message::{Message, StatusCode};
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
    /// Tells the caller how it goes: 180, 183 and the like (RFC 3261 §13.3.1.1).
    pub fn ring(&mut self, session: SessionId, status: StatusCode, extra: Extra) -> Done {
        self.with_session(session, |session, cx| {
            let (tx, _) = session.pending_invite()?;
            if !status.is_provisional() || status == StatusCode::TRYING {
                return Err(VerbError::WrongState);
            }
            cx.respond(tx, status, Some(session.legs[0].dialog), &extra);
            Ok(())
        })
    }

    /// Accepts the call with a 200; its ACK is [`Event::Confirmed`] (RFC 3261 §13.3.1.4).
    pub fn accept(&mut self, session: SessionId, extra: Extra) -> Done {
        let replaced = self.with_session(session, |session, cx| {
            let (tx, request) = session.pending_invite()?;
            let replaced = session.answered();
            session.send_2xx(cx, 0, tx, request, &extra)?;
            Ok(replaced)
        })?;
        if let Some(leg) = replaced {
            self.end_replaced(leg);
        }
        Ok(())
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
            Ok(replaces) => replaces,
            Err(status) => return self.split().1.refuse(tx, status),
        };
        let full = self.core.sessions.len() >= self.core.shared.config.max_sessions;
        let (sessions, mut cx) = self.split();
        if full {
            return cx.refuse(tx, StatusCode::SERVICE_UNAVAILABLE);
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
        let legs = vec![Leg::new(dialog, LegState::Early)];
        sessions.insert(Session { id, opening: Opening::Called(called), legs, ended: false });
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

    /// Sends a 2xx to an INVITE, until its ACK comes.
    pub(super) fn send_2xx(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        tx: ServerTx,
        request: Arc<Message>,
        extra: &Extra,
    ) -> Done {
        let dialog = self.legs[index].dialog;
        if let Some(dialog) = cx.shared.dialogs.get_mut(dialog) {
            let _ = dialog.confirm(None);
        }
        let response = cx.respond_to(tx, &request, StatusCode::OK, Some(dialog), extra).ok_or(VerbError::WrongState)?;
        let seq = request.cseq().map_or(0, |cseq| cseq.number);
        let interval = cx.shared.sip_timers.t1;
        let timer = cx.arm(self.owner(), TimerKind::Retransmit2xx, interval);
        let elapsed = Duration::ZERO;
        let waiting = AwaitingAck { tx, request, response, seq, interval, elapsed, timer, hang_up: false };
        self.legs[index].state = LegState::AwaitingAck(waiting);
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
        self.legs[0].state = LegState::Ended;
        self.end(cx, how);
        Ok(())
    }

    pub(super) fn answer_timeout(&mut self, cx: &mut Context<'_>) {
        let _ = self.refuse_invite(cx, StatusCode::TEMPORARILY_UNAVAILABLE, &Extra::new(), HowEnded::Unanswered);
    }
}
