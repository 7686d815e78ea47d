//! Requests inside a call that change nothing in it: INFO, MESSAGE, OPTIONS and methods that nobody here knows. Each goes
//! on to the other leg, and its response comes back.

use std::sync::Arc;

use farspeak_sansio::Instant;
use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::message::{Message, StatusCode};
use farspeak_sip::session::{LegId, VerbError};
use farspeak_sip::user_agent::{Extra, Failure, RequestId};

use super::{B2bua, Relayed, headers};

impl B2bua {
    pub(super) fn pass_within(&mut self, now: Instant, leg: LegId, tx: ServerTx, request: &Arc<Message>) {
        let sent = match (self.other_leg(leg), request.method()) {
            (Some(other), Some(method)) => {
                let extra = headers::of_request(request);
                self.at(now).send_within(other, method.clone(), extra).map(|id| (id, other.session))
            }
            _ => Err(VerbError::Gone),
        };
        match sent {
            Ok((id, to)) => {
                self.relayed.insert(id, Relayed { tx, to });
            }
            // A method that has a meaning in sessions, but not this one.
            Err(VerbError::WrongState) => self.at(now).respond(tx, StatusCode::NOT_IMPLEMENTED, Extra::new()),
            Err(_) => self.at(now).respond(tx, StatusCode::CALL_DOES_NOT_EXIST, Extra::new()),
        }
    }

    pub(super) fn pass_answer(&mut self, now: Instant, request: RequestId, response: &Message) {
        let Some(relayed) = self.relayed.remove(&request) else { return };
        let status = response.status().unwrap_or(StatusCode::BAD_GATEWAY);
        self.at(now).respond(relayed.tx, status, headers::of_response(response));
    }

    pub(super) fn pass_failure(&mut self, now: Instant, request: RequestId, failure: &Failure) {
        let Some(relayed) = self.relayed.remove(&request) else { return };
        self.at(now).respond(relayed.tx, failure.status(), Extra::new());
    }
}
