//! How a joined call ends: BYE as BYE, CANCEL as CANCEL, each with its Reason (RFC 3261 §9, §15, RFC 3326); and whatever
//! else ends one leg ends the other.

use farspeak_sansio::Instant;
use farspeak_sip::header::Reason;
use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Extra, HowEnded};

use super::join::Side;
use super::{B2bua, headers};

impl B2bua {
    /// One leg has ended: the other one ends in the way that its state asks for.
    pub(super) fn ended(&mut self, now: Instant, session: SessionId, how: &HowEnded) {
        let Some((_, side, join)) = self.join_of(session) else { return };
        join.half_mut(side).ended = true;
        join.change = None;
        let accepted = join.accepted;
        let other = join.half_mut(side.other());
        if std::mem::replace(&mut other.ended, true) {
            return;
        }
        let other = other.session;
        let (status, extra) = match how {
            HowEnded::Bye(request) | HowEnded::Cancelled(request) => {
                (StatusCode::REQUEST_TERMINATED, headers::of_request(request))
            }
            HowEnded::PeerLost(failure) => lost(failure.status()),
            HowEnded::Unanswered | HowEnded::Expired | HowEnded::Local => lost(StatusCode::REQUEST_TIMEOUT),
            HowEnded::NoAck | HowEnded::NoPrack => lost(StatusCode::SERVER_TIMEOUT),
            _ => lost(StatusCode::SERVER_INTERNAL_ERROR),
        };
        let mut agent = self.at(now);
        if side == Side::Called && !accepted && agent.reject(other, status, extra.clone()).is_ok() {
            return;
        }
        let _ = agent.hang_up(other, extra);
    }

    /// Nothing is left of one leg.
    pub(super) fn gone(&mut self, now: Instant, session: SessionId) {
        // Who waits for the other side's response to a request will not get one.
        let unanswered: Vec<_> =
            self.relayed.iter().filter(|(_, relayed)| relayed.to == session).map(|(id, _)| *id).collect();
        for id in unanswered {
            if let Some(relayed) = self.relayed.remove(&id) {
                self.at(now).respond(relayed.tx, StatusCode::CALL_DOES_NOT_EXIST, Extra::new());
            }
        }
        let Some((key, side)) = self.sides.remove(&session) else { return };
        let Some(join) = self.joins.get_mut(&key) else { return };
        let half = join.half_mut(side);
        (half.ended, half.gone) = (true, true);
        let other = join.half(side.other());
        if !other.gone {
            let other = other.session;
            let _ = self.at(now).hang_up(other, Extra::new());
            return;
        }
        if let Some(join) = self.joins.remove(&key) {
            self.calls.remove(&join.call_id);
            self.dialogs.forget(&join.dialogs);
        }
    }
}

/// A leg that was lost: what the other side is told.
fn lost(status: StatusCode) -> (StatusCode, Extra) {
    let reason = Reason::sip(status, status.reason());
    (status, Extra::new().header(HeaderName::Reason, reason.to_string()))
}
