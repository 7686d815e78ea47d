//! UPDATE, from both ends (RFC 3311): an offer that is answered at once, or none at all, in early dialogs and later.

use std::sync::Arc;

use super::description::{describes, is_described};
use super::glare::Attempt;
use super::offer::{Carrier, Conflict, Exchange, Role};
use super::{Done, LegId, LegState, Opening, Session, VerbError};
use crate::dialog::DialogKey;
use crate::endpoint::{ClientTx, ServerTx};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::user_agent::{Agent, Context, Event, Extra, Failure, TimerKind};

/// The UPDATEs of a leg, at both ends.
#[derive(Debug, Default)]
pub(super) struct Updates {
    /// Ours, under way.
    pub sent: Option<SentUpdate>,
    /// The peer's, or its PRACK, whose offer waits for the application.
    pub received: Option<Waiting>,
}

/// An UPDATE of ours.
#[derive(Debug)]
pub(super) struct SentUpdate {
    pub tx: ClientTx,
    pub attempt: Attempt,
}

/// An UPDATE or PRACK whose offer waits for an answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub tx: ServerTx,
    pub request: Arc<Message>,
    pub timer: u64,
    pub is_prack: bool,
}

impl Updates {
    pub fn timer(&self) -> Option<u64> {
        self.received.as_ref().map(|waiting| waiting.timer)
    }

    pub fn is_prack_waiting(&self) -> bool {
        self.received.as_ref().is_some_and(|waiting| waiting.is_prack)
    }
}

impl Agent<'_> {
    /// Changes the session by UPDATE, early or later (RFC 3311 §5.1): with an offer in `extra`, or without one, which
    /// tells the peer of a new Contact or other header fields only. [`Event::Modified`] or [`Event::ModifyFailed`]
    /// follows, and [`Event::Answer`] before that if there was an offer.
    ///
    /// [`VerbError::WrongState`] while another UPDATE of ours, or any offer, is outstanding.
    pub fn update(&mut self, leg: impl Into<LegId>, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            if !session.is_calm(index) || !session.may_update(cx, index, describes(&extra)) {
                return Err(VerbError::WrongState);
            }
            let attempt = session.first_attempt(index, Method::Update, Arc::new(extra));
            session.send_update(cx, index, attempt)
        })
    }
}

impl Session {
    /// RFC 3311 §5.1 and what RFC 6337 §4.3 makes of it: UAC-UU, UAC-IU.
    pub(super) fn may_update(&self, cx: &Context<'_>, index: usize, described: bool) -> bool {
        let leg = &self.legs[index];
        let alive = leg.is_up() || matches!(leg.state, LegState::Early);
        let quiet = leg.offers.is_idle() && !leg.reliable.is_description_open() && !leg.pracks.is_description_open();
        let given_up = self.ended || matches!(&self.opening, Opening::Calling(calling) if calling.cancelled);
        let may_offer = !described || quiet;
        alive && !given_up && leg.updates.sent.is_none() && may_offer && self.is_known_to_peer(cx, index)
    }

    /// Whether the peer can match a request in the dialog. Who was called knows that only from a PRACK, another request,
    /// or the ACK: until then it may be that no response has come through, and the request would get a 481.
    fn is_known_to_peer(&self, cx: &Context<'_>, index: usize) -> bool {
        let Opening::Called(called) = &self.opening else { return true };
        let leg = &self.legs[index];
        let first = called.request.cseq().map_or(0, |cseq| cseq.number);
        let last = cx.shared.dialogs.get(leg.dialog).and_then(|dialog| dialog.remote_seq());
        matches!(leg.state, LegState::Confirmed) || last.is_some_and(|last| last > first)
    }

    pub(super) fn send_update(&mut self, cx: &mut Context<'_>, index: usize, attempt: Attempt) -> Done {
        let owner = self.owner();
        let leg = &mut self.legs[index];
        leg.description.sent(&attempt.extra, leg.offers.completed());
        let extra = self.ask_for_timer(cx, index, &attempt.extra);
        let leg = &mut self.legs[index];
        let tx = cx.request(owner, leg.dialog, Method::Update, extra).ok_or(VerbError::Gone)?;
        leg.offers.update_sent(describes(&attempt.extra));
        leg.updates.sent = Some(SentUpdate { tx, attempt });
        Ok(())
    }

    /// A final response to an UPDATE of ours (RFC 3311 §5.3).
    pub(super) fn update_response(&mut self, cx: &mut Context<'_>, tx: ClientTx, response: &Arc<Message>) {
        if !response.status().is_some_and(StatusCode::is_success) {
            return self.update_failed(cx, tx, Failure::Response(Arc::clone(response)));
        }
        let Some((index, sent)) = self.take_update(tx) else { return };
        let leg = &mut self.legs[index];
        if let Some(dialog) = cx.shared.dialogs.get_mut(leg.dialog) {
            dialog.refresh_target(response);
        }
        let role = leg.offers.update_accepted(is_described(response));
        if matches!(leg.state, LegState::Ending { .. } | LegState::Ended) {
            return;
        }
        if self.legs[index].is_up() {
            self.timer_agreed(cx, index, response);
        }
        self.tell_role(cx, index, role, response);
        if !sent.attempt.refreshes {
            cx.emit(Event::Modified { leg: LegId::new(self.id, index), response: Arc::clone(response) });
        }
    }

    /// An UPDATE of ours failed: the session is as it was (RFC 3311 §5.3).
    pub(super) fn update_failed(&mut self, cx: &mut Context<'_>, tx: ClientTx, failure: Failure) {
        let Some((index, sent)) = self.take_update(tx) else { return };
        self.legs[index].offers.refused(Exchange::Sent(Carrier::Update));
        self.modify_failed(cx, index, sent.attempt, failure, false);
    }

    fn take_update(&mut self, tx: ClientTx) -> Option<(usize, SentUpdate)> {
        let is_it = |sent: &SentUpdate| sent.tx == tx;
        let index = self.legs.iter().position(|leg| leg.updates.sent.as_ref().is_some_and(is_it))?;
        Some((index, self.legs[index].updates.sent.take()?))
    }

    /// The peer's UPDATE (RFC 3311 §5.2).
    pub(super) fn update_received(&mut self, cx: &mut Context<'_>, tx: ServerTx, index: usize, request: &Arc<Message>) {
        let leg = &mut self.legs[index];
        let dialog = Some(leg.dialog);
        if leg.updates.received.as_ref().is_some_and(|waiting| !waiting.is_prack) {
            return cx.refuse_for_now(tx, dialog, Conflict::Theirs); // UAS-UsU
        }
        if cx.refuse_interval(tx, dialog, request) {
            return;
        }
        let described = is_described(request);
        // RFC 6337 §4.3: UAS-IsU and UAS-IcU also while the answer of the INVITE waits for its PRACK.
        let conflict = match (leg.reliable.is_description_open(), leg.pracks.is_description_open()) {
            (true, _) => Some(Conflict::Theirs),
            (_, true) => Some(Conflict::Ours),
            _ => None,
        };
        let role = match (described, leg.offers.conflict().or(conflict)) {
            (true, Some(conflict)) => return cx.refuse_for_now(tx, dialog, conflict),
            _ => leg.offers.update_received(described),
        };
        let id = LegId::new(self.id, index);
        if role != Ok(Role::Offer) {
            self.accept_update(cx, tx, index, request, &Extra::new());
            return cx.emit(Event::Refreshed { leg: id, request: Arc::clone(request) });
        }
        let waiting = self.await_answer(cx, tx, request);
        self.legs[index].updates.received = Some(waiting);
        cx.emit(Event::Offer { leg: id, message: Arc::clone(request) });
    }

    /// The application has so long to answer an UPDATE or PRACK, to which the peer waits without patience (RFC 3311 §5.2).
    pub(super) fn await_answer(&self, cx: &mut Context<'_>, tx: ServerTx, request: &Arc<Message>) -> Waiting {
        let timer = cx.arm(self.owner(), TimerKind::Unanswered, cx.shared.config.offer_timeout);
        Waiting { tx, request: Arc::clone(request), timer, is_prack: false }
    }

    /// Answers the UPDATE or PRACK that waits.
    pub(super) fn answer_waiting(&mut self, cx: &mut Context<'_>, index: usize, extra: &Extra) -> Done {
        if !describes(extra) && !cx.shared.config.relays {
            return Err(VerbError::NeedsDescription);
        }
        let waiting = self.legs[index].updates.received.take().ok_or(VerbError::WrongState)?;
        let leg = &mut self.legs[index];
        leg.description.sent(extra, leg.offers.completed());
        leg.offers.answer_sent();
        if waiting.is_prack {
            cx.respond(waiting.tx, StatusCode::OK, Some(leg.dialog), extra);
            self.prack_answered(cx, index, true);
        } else {
            self.accept_update(cx, waiting.tx, index, &waiting.request, extra);
        }
        Ok(())
    }

    /// The 2xx to an UPDATE.
    fn accept_update(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        index: usize,
        request: &Arc<Message>,
        extra: &Extra,
    ) {
        self.accept_target(cx, index, request);
        let dialog = Some(self.legs[index].dialog);
        if self.legs[index].is_up() {
            let extra = self.grant_timer(cx, index, request, extra);
            cx.respond(tx, StatusCode::OK, dialog, &extra);
        } else {
            cx.respond(tx, StatusCode::OK, dialog, extra);
        }
    }

    /// Refuses the UPDATE or PRACK that waits: nothing has changed.
    pub(super) fn refuse_answer(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        status: StatusCode,
        extra: &Extra,
    ) -> Done {
        let waiting = self.legs[index].updates.received.take().ok_or(VerbError::WrongState)?;
        let carrier = if waiting.is_prack { Carrier::Prack } else { Carrier::Update };
        self.legs[index].offers.refused(Exchange::Received(carrier));
        cx.respond(waiting.tx, status, Some(self.legs[index].dialog), extra);
        if waiting.is_prack {
            self.prack_answered(cx, index, false);
        }
        Ok(())
    }

    /// A 2xx to the peer's request leaves: its Contact counts from now on (RFC 6141 §4.6).
    pub(super) fn accept_target(&self, cx: &mut Context<'_>, index: usize, request: &Message) {
        if let Some(dialog) = cx.shared.dialogs.get_mut(self.legs[index].dialog) {
            dialog.refresh_target(request);
        }
        self.accept_identity(cx, index, request);
    }
}

impl Context<'_> {
    /// Refuses a request that meets another one: 491, or 500 with a Retry-After between 0 and 10 s (RFC 3261 §14.2,
    /// RFC 3311 §5.2).
    pub(super) fn refuse_for_now(&mut self, tx: ServerTx, dialog: Option<DialogKey>, conflict: Conflict) {
        let extra = match conflict {
            Conflict::Ours => Extra::new(),
            Conflict::Theirs => Extra::new().header(HeaderName::RetryAfter, self.shared.rng.below(11).to_string()),
        };
        self.respond(tx, conflict.status(), dialog, &extra);
    }
}
