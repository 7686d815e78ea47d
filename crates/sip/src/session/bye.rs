//! BYE: the end of a leg, and with it of the session (RFC 3261 §15).

use std::sync::Arc;

use super::{Done, HowEnded, LegState, Opening, Session, SessionId, VerbError};
use crate::dialog::Dialog;
use crate::endpoint::{ClientTx, ServerTx};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::user_agent::{Agent, Context, Extra, Pending};

impl Agent<'_> {
    /// Ends the session in the way that its state asks for: CANCEL while our INVITE rings (of `extra` the Reason goes along),
    /// 480 to one that rings here, BYE once it stands. Who was called and still waits for the ACK sends the BYE when that has come (RFC 3261 §15).
    pub fn hang_up(&mut self, session: SessionId, extra: Extra) -> Done {
        self.with_session(session, |session, cx| session.hang_up(cx, &extra))
    }
}

impl Session {
    pub(super) fn hang_up(&mut self, cx: &mut Context<'_>, extra: &Extra) -> Done {
        let Some(index) = self.legs.iter().position(super::Leg::is_up) else {
            return match &self.opening {
                Opening::Calling(_) => self.cancel(cx, extra.value(HeaderName::Reason)),
                Opening::Called(_) => {
                    self.refuse_invite(cx, StatusCode::TEMPORARILY_UNAVAILABLE, extra, HowEnded::Local)
                }
            };
        };
        match &mut self.legs[index].state {
            LegState::AwaitingAck(waiting) => {
                waiting.hang_up = true;
                self.end(cx, HowEnded::Local);
            }
            LegState::OwesAck { .. } => {
                let _ = self.send_owed_ack(cx, index, &Extra::new());
                self.send_bye(cx, index, extra);
            }
            LegState::Confirmed => self.send_bye(cx, index, extra),
            _ => return Err(VerbError::WrongState),
        }
        Ok(())
    }

    /// Sends a BYE in a leg; the application hears that the session ended if this was the last one.
    pub(super) fn send_bye(&mut self, cx: &mut Context<'_>, index: usize, extra: &Extra) {
        self.finish_leg(cx, index);
        let leg = &mut self.legs[index];
        let bye = cx.request(super::Owner::Session(self.id), leg.dialog, Method::Bye, Arc::new(extra.clone()));
        leg.state = bye.map_or(LegState::Ended, |bye| LegState::Ending { bye });
        if !self.legs.iter().any(super::Leg::is_up) {
            self.end(cx, HowEnded::Local);
        }
    }

    /// The answer to our BYE. If a later request in the dialog, one of a subscription, has overtaken the BYE, the peer has
    /// not looked at it (RFC 3261 §12.2.2): the same again.
    pub(super) fn bye_answered(&mut self, cx: &mut Context<'_>, tx: ClientTx, pending: &Pending, response: &Message) {
        let last = cx.shared.dialogs.get(pending.dialog).map_or(0, Dialog::local_seq);
        let is_overtaken = response.status() == Some(StatusCode::SERVER_INTERNAL_ERROR) && last > pending.seq;
        let ending = |leg: &super::Leg| matches!(leg.state, LegState::Ending { bye } if bye == tx);
        if is_overtaken
            && let Some(index) = self.legs.iter().position(ending)
            && let Some(bye) = cx.request(self.owner(), pending.dialog, Method::Bye, Arc::clone(&pending.extra))
        {
            self.legs[index].state = LegState::Ending { bye };
            return;
        }
        self.bye_done(tx);
    }

    /// Whatever the answer, or none: the leg is over (RFC 3261 §15.1.1).
    pub(super) fn bye_done(&mut self, tx: ClientTx) {
        let done = |state: &LegState| matches!(state, LegState::Ending { bye } if *bye == tx);
        for leg in self.legs.iter_mut().filter(|leg| done(&leg.state)) {
            leg.state = LegState::Ended;
        }
    }

    /// The peer hangs up. A BYE in an early dialog also ends the INVITE, with a 487 (RFC 3261 §15.1.2).
    pub(super) fn bye_received(&mut self, cx: &mut Context<'_>, tx: ServerTx, leg: usize, request: &Arc<Message>) {
        cx.respond(tx, StatusCode::OK, Some(self.legs[leg].dialog), &Extra::new());
        let how = HowEnded::Bye(Arc::clone(request));
        if self.pending_invite().is_ok() {
            let _ = self.refuse_invite(cx, StatusCode::REQUEST_TERMINATED, &Extra::new(), how);
            return;
        }
        let was_up = self.legs[leg].is_up();
        self.finish_leg(cx, leg);
        self.legs[leg].state = LegState::Ended;
        if was_up {
            self.end(cx, how);
        }
    }
}
