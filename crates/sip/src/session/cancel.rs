//! CANCEL: the caller gives up (RFC 3261 §9), and the races with a 2xx.

use std::sync::Arc;

use super::{Done, HowEnded, Opening, Session, SessionId, VerbError};
use crate::endpoint::ServerTx;
use crate::header::Reason;
use crate::message::{Message, StatusCode};
use crate::user_agent::{Agent, Context, Extra};

impl Agent<'_> {
    /// Gives a call of ours up before it is answered. If a 2xx is under way already, it gets its ACK and a BYE.
    pub fn cancel(&mut self, session: SessionId) -> Done {
        self.with_session(session, |session, cx| session.cancel(cx, None))
    }

    /// The same with a reason (RFC 3326): `SIP;cause=200;text="Call completed elsewhere"` and the phone shows no missed call.
    pub fn cancel_because(&mut self, session: SessionId, reason: &Reason) -> Done {
        let reason = reason.to_string();
        self.with_session(session, |session, cx| session.cancel(cx, Some(&reason)))
    }
}

impl Session {
    pub(super) fn cancel(&mut self, cx: &mut Context<'_>, reason: Option<&str>) -> Done {
        let Opening::Calling(calling) = &mut self.opening else { return Err(VerbError::WrongState) };
        if !calling.open || self.legs.iter().any(super::Leg::is_up) || self.ended {
            return Err(VerbError::WrongState);
        }
        calling.cancelled = true;
        calling.ring_timer = None;
        cx.cancel(calling.tx, reason);
        Ok(())
    }

    /// The caller gave up. The CANCEL has its 200 from the transaction layer; the INVITE gets a 487 (RFC 3261 §9.2).
    pub fn cancelled(&mut self, cx: &mut Context<'_>, tx: ServerTx, request: Arc<Message>) {
        if self.pending_invite().is_ok_and(|(invite, _)| invite == tx) {
            let how = HowEnded::Cancelled(request);
            let _ = self.refuse_invite(cx, StatusCode::REQUEST_TERMINATED, &Extra::new(), how);
        } else {
            self.reinvite_cancelled(cx, tx);
        }
    }
}
