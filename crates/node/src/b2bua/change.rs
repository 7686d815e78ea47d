//! Offers and answers once a call is under way: re-INVITE and UPDATE, hold and resume, and the answers in PRACK and ACK
//! (RFC 3261 §14, RFC 3311, RFC 3262 §5).
//!
//! One change at a time passes through: whoever comes while another one is on its way is told 491 (RFC 3261 §14.2). A 491
//! from the far end is settled in that leg by the session layer; the side that asked waits meanwhile.

use std::sync::Arc;

use farspeak_sansio::Instant;
use farspeak_sip::message::{Message, Method, StatusCode};
use farspeak_sip::session::LegId;
use farspeak_sip::user_agent::{Extra, Failure};

use super::call::without_tag;
use super::join::Change;
use super::{B2bua, headers};

impl B2bua {
    /// An offer, in a request of the peer's or a response to ours. Those in responses have gone on with the response;
    /// what remains is to know who is owed the answer.
    pub(super) fn offered(&mut self, now: Instant, leg: LegId, message: &Arc<Message>) {
        if message.is_request() {
            return self.change(now, leg, message);
        }
        if let Some((_, _, join)) = self.join_of(leg.session) {
            join.owed = Some(leg);
        }
    }

    /// One side wants another session, or an offer for one: the other side is asked.
    pub(super) fn change(&mut self, now: Instant, leg: LegId, request: &Arc<Message>) {
        let Some((_, side, join)) = self.join_of(leg.session) else { return };
        let (busy, accepted) = (join.change.is_some(), join.accepted);
        let far = join.half(side.other());
        let (other, far_ended) = (far.leg(), far.ended);
        let extra = headers::of_request(request);
        let by_update = match request.method() {
            Some(Method::Invite) => false,
            // Before the call is answered there is nothing but UPDATE.
            _ => !accepted || self.allows_update(other),
        };
        let mut agent = self.at(now);
        let sent = match by_update {
            _ if busy || far_ended => false,
            true => agent.update(other, extra).is_ok(),
            false => agent.reinvite(other, extra).is_ok(),
        };
        if !sent {
            let _ = agent.reject_offer(leg, StatusCode::REQUEST_PENDING, Extra::new());
            return;
        }
        if let Some((_, _, join)) = self.join_of(leg.session) {
            join.change = Some(Change { from: side, leg });
        }
    }

    /// An answer. In a PRACK or ACK it goes to whoever made the offer; in a response it waits for the 2xx.
    pub(super) fn answered(&mut self, now: Instant, leg: LegId, message: &Message) {
        let Some(body) = headers::body_of(message) else { return };
        let Some((_, side, join)) = self.join_of(leg.session) else { return };
        if !message.is_request() {
            return join.half_mut(side).keep_answer(leg, body);
        }
        if let Some(owed) = join.owed.take() {
            let _ = self.at(now).accept_offer(owed, Extra::new().body(body));
        }
    }

    /// The other side has agreed.
    pub(super) fn modified(&mut self, now: Instant, leg: LegId, response: &Message) {
        let Some((_, side, join)) = self.join_of(leg.session) else { return };
        let Some(change) = join.change.take_if(|change| change.from == side.other()) else {
            return self.agreed(now, leg, response);
        };
        let mut extra = headers::of_response(response);
        let half = join.half_mut(side);
        if extra.get_body().is_none()
            && let Some(body) = half.answer_of(leg)
        {
            extra = extra.body(body.clone());
        }
        half.answers.clear();
        let mut agent = self.at(now);
        if agent.accept_offer(change.leg, extra).is_err() {
            let _ = agent.reject_offer(change.leg, StatusCode::BAD_GATEWAY, Extra::new());
        }
    }

    /// The caller agrees with who has answered ([`Self::confirmed`]): its description goes there, unless it is the one that
    /// the INVITE had.
    fn agreed(&mut self, now: Instant, leg: LegId, response: &Message) {
        let Some((_, side, join)) = self.join_of(leg.session) else { return };
        let other = join.half(side.other()).leg();
        let Some(body) = headers::body_of(response).filter(|body| *body.bytes != *join.request.body()) else { return };
        let _ = self.at(now).reinvite(other, Extra::new().body(body));
    }

    /// The other side has refused: the session is as it was.
    pub(super) fn modify_failed(&mut self, now: Instant, leg: LegId, failure: &Failure) {
        let Some((_, side, join)) = self.join_of(leg.session) else { return };
        let Some(change) = join.change.take_if(|change| change.from == side.other()) else { return };
        join.half_mut(side).answers.clear();
        let extra = match failure {
            Failure::Response(response) => headers::of_response(response),
            _ => Extra::new(),
        };
        let mut agent = self.at(now);
        if agent.reject_offer(change.leg, failure.status(), extra).is_err() {
            // RFC 6141 §3.3: what has been answered within cannot be refused any more.
            let _ = agent.accept_offer(change.leg, Extra::new());
        }
    }

    /// Who wanted the change has given it up.
    pub(super) fn withdrawn(&mut self, now: Instant, leg: LegId) {
        let Some((_, side, join)) = self.join_of(leg.session) else { return };
        if join.change.take_if(|change| change.from == side).is_none() {
            return;
        }
        let other = join.half(side.other()).leg();
        let _ = self.at(now).cancel_modify(other);
    }

    /// Who is at the other end has changed: this end hears of it if it can (RFC 4916).
    pub(super) fn peer_changed(&mut self, now: Instant, leg: LegId, from: &str) {
        if let Some(other) = self.other_leg(leg) {
            let _ = self.at(now).set_identity(other, &without_tag(from), Extra::new());
        }
    }

    /// Whether the peer of a leg says that it knows UPDATE.
    fn allows_update(&mut self, leg: LegId) -> bool {
        let Some((_, side, join)) = self.join_of(leg.session) else { return false };
        join.half(side).updates
    }
}
