//! Sessions: calls by the verbs of the protocol, at either end (RFC 3261 §13–15).
//!
//! ```text
//!          we call                                       we are called
//!
//!   invite ──> Calling ──1xx──> early legs        Incoming ──> Called ──ring──> early leg
//!                 │                                              │
//!                2xx: ACK                                     accept: 2xx until ACK
//!                 ▼                                              ▼
//!              one leg goes on  <──── re-INVITE, UPDATE … ────> the leg goes on
//!                 │ hang_up: CANCEL or BYE                       │ hang_up: 480 or BYE
//!                 ▼                                              ▼
//!               Ended, Gone                                    Ended, Gone
//! ```
//!
//! A session is what the application sees as a call. A *leg* of it is one dialog: the INVITE usage of RFC 5057. An
//! INVITE of ours that forks has several early legs, of which one is accepted; further ones that answer get their ACK
//! and a BYE. Each file below holds one verb, seen from both ends.
//!
//! ```text
//!   who may offer now, what a body is, 491 or 500   offer.rs       RFC 6337, RFC 3264 §4
//!   re-INVITE                                       reinvite.rs    RFC 3261 §14, RFC 6141
//!   UPDATE                                          update.rs      RFC 3311
//!   reliable responses, and their PRACKs            reliable.rs, prack.rs   RFC 3262
//!   accept_offer, reject_offer, what nobody answers modify.rs
//!   after a 491, after a 481                        glare.rs       RFC 3261 §14.1, RFC 5057
//! ```

mod ack;
mod answer;
mod bye;
mod cancel;
mod description;
mod glare;
mod identity;
mod interval;
mod invite;
mod leg;
mod modify;
mod offer;
mod peer;
mod prack;
mod redirect;
mod referred;
mod reinvite;
mod reliable;
mod replaces;
mod timer;
mod update;
mod within;

use std::fmt;
use std::sync::Arc;

use crate::dialog::{Dialog, DialogKey};
use crate::endpoint::{ClientTx, ServerTx};
use crate::message::{Message, Method, StatusCode};
use crate::slab::Key;
use crate::user_agent::{Agent, Context, Core, Event, Failure, HowEnded, Owner, Pending, Timer, TimerKind};
use answer::Called;
use invite::Calling;
pub use invite::Invite;
use leg::{Leg, LegState};
use offer::Misplaced;
pub use redirect::Redirection;

/// A session of a user agent. Dead once [`Event::Gone`] has named it; using it then does nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) Key);

/// One dialog of a session. Made of a [`SessionId`] it means the leg that was accepted, or the only one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId {
    /// The session.
    pub session: SessionId,
    /// Which of its legs; [`LegId::CURRENT`] for the one that counts.
    index: u16,
}

impl LegId {
    const CURRENT: u16 = u16::MAX;

    pub(crate) const fn new(session: SessionId, index: usize) -> Self {
        Self { session, index: index as u16 }
    }
}

impl From<SessionId> for LegId {
    fn from(session: SessionId) -> Self {
        Self { session, index: Self::CURRENT }
    }
}

/// Why a verb could not be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VerbError {
    /// There is no such session, or it is over.
    Gone,
    /// The session is in a state that does not allow it: accepting what was accepted, updating what has no dialog.
    WrongState,
    /// The message has to carry a session description: the answer to the peer's offer, or the offer it asked for.
    NeedsDescription,
    /// The bound on sessions is reached.
    TooMany,
    /// What was given cannot be read: a URI, an address.
    Malformed,
    /// The peer has not said that it can do this, or we cannot.
    Unsupported,
    /// The target is a `sips` URI, but the flow is not encrypted or Contact is no `sips` URI (RFC 5630 §5.1.1).
    NotSecure,
}

impl fmt::Display for VerbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the session is over",
            Self::WrongState => "the state of the session does not allow this",
            Self::NeedsDescription => "the message has to carry an offer or answer",
            Self::TooMany => "there are too many sessions",
            Self::Malformed => "what was given cannot be read",
            Self::Unsupported => "the peer does not support this",
            Self::NotSecure => "a sips target needs TLS and a sips Contact",
        })
    }
}

impl std::error::Error for VerbError {}

impl From<Misplaced> for VerbError {
    fn from(misplaced: Misplaced) -> Self {
        match misplaced {
            Misplaced::Missing => Self::NeedsDescription,
            Misplaced::Unexpected => Self::WrongState,
        }
    }
}

/// What a session verb gives.
pub type Done = Result<(), VerbError>;

/// One session: how it began, and its legs.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    opening: Opening,
    legs: Vec<Leg>,
    /// Whether the application knows that it ended or failed.
    ended: bool,
}

/// Which end of the INVITE we are.
#[derive(Debug)]
enum Opening {
    /// We called.
    Calling(Calling),
    /// We were called.
    Called(Called),
}

impl Session {
    const fn owner(&self) -> Owner {
        Owner::Session(self.id)
    }

    /// A request of the peer's in one of our dialogs, in order.
    pub fn request(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        dialog: DialogKey,
        method: &Method,
        request: &Arc<Message>,
    ) {
        let Some(leg) = self.leg_of(dialog) else { return cx.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST) };
        self.legs[leg].peer.learn(request);
        match method {
            Method::Bye => self.bye_received(cx, tx, leg, request),
            Method::Prack => self.prack_received(cx, tx, leg, request),
            // RFC 5407 §3.2: after a BYE there is nothing to change.
            _ if !self.is_alive(leg) => cx.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST),
            Method::Invite => self.reinvite_received(cx, tx, leg, request),
            Method::Update => self.update_received(cx, tx, leg, request),
            _ => self.request_within(cx, tx, leg, method, request),
        }
    }

    /// A response to a request of ours.
    pub fn response(&mut self, cx: &mut Context<'_>, tx: ClientTx, pending: &Pending, response: Arc<Message>) {
        if let Some(leg) = self.leg_of(pending.dialog) {
            self.legs[leg].peer.learn(&response);
        }
        match pending.method {
            Method::Invite if self.is_opening(tx) => self.invite_response(cx, pending.seq, response),
            Method::Invite => self.reinvite_response(cx, tx, pending, &response),
            Method::Update if response.status().is_some_and(StatusCode::is_final) => {
                self.update_response(cx, tx, &response);
            }
            Method::Prack if response.status().is_some_and(StatusCode::is_final) => {
                self.prack_response(cx, tx, &response);
            }
            Method::Bye if response.status().is_some_and(StatusCode::is_final) => {
                self.bye_answered(cx, tx, pending, &response);
            }
            Method::Info | Method::Message | Method::Options | Method::Other(_) => {
                self.answered_within(cx, tx, response)
            }
            _ => {}
        }
    }

    /// A request of ours got no answer or could not be sent.
    pub fn failed(&mut self, cx: &mut Context<'_>, tx: ClientTx, pending: &Pending, failure: Failure) {
        match pending.method {
            Method::Invite if self.is_opening(tx) => self.invite_failed(cx, failure),
            Method::Invite => self.reinvite_failed(cx, tx, failure),
            Method::Update => self.update_failed(cx, tx, failure),
            Method::Prack => self.prack_failed(cx, tx, failure),
            Method::Bye => self.bye_done(tx),
            Method::Info | Method::Message | Method::Options | Method::Other(_) => {
                self.unanswered_within(cx, tx, failure)
            }
            _ => {}
        }
    }

    /// Whether a challenge to a request is not worth answering: the application has given the call up.
    pub fn gave_up(&self, tx: ClientTx) -> bool {
        match &self.opening {
            Opening::Calling(calling) if calling.tx == tx => calling.cancelled || self.ended,
            _ => self.legs.iter().any(|leg| leg.gave_up(tx)),
        }
    }

    /// A timer that [`Self::wants`] confirmed.
    pub fn timeout(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer.kind {
            TimerKind::Ring => self.ring_timeout(cx),
            TimerKind::Answer => self.answer_timeout(cx),
            TimerKind::Retransmit2xx => self.retransmit_2xx(cx, timer.serial),
            TimerKind::RetransmitReliable => self.retransmit_reliable(cx, timer.serial),
            TimerKind::Unanswered => self.unanswered(cx, timer.serial),
            TimerKind::Backoff => self.backoff_timeout(cx, timer.serial),
            TimerKind::SessionRefresh => self.refresh_due(cx, timer.serial),
            TimerKind::SessionExpiry => self.session_expired(cx, timer.serial),
            _ => {} // not a session's
        }
    }

    /// Whether a timer still means something.
    pub fn wants(&self, timer: &Timer) -> bool {
        match (timer.kind, &self.opening) {
            (TimerKind::Ring, Opening::Calling(calling)) => calling.ring_timer == Some(timer.serial),
            (TimerKind::Answer, Opening::Called(called)) => called.answer_timer == Some(timer.serial),
            (TimerKind::Ring | TimerKind::Answer, _) => false,
            _ => self.legs.iter().any(|leg| leg.has_timer(timer.serial)),
        }
    }

    /// Tells the application, once.
    fn end(&mut self, cx: &mut Context<'_>, how: HowEnded) {
        if !std::mem::replace(&mut self.ended, true) {
            cx.emit(Event::Ended { session: self.id, how });
        }
    }

    fn fail(&mut self, cx: &mut Context<'_>, failure: Failure) {
        if !std::mem::replace(&mut self.ended, true) {
            cx.emit(Event::Failed { session: self.id, failure });
        }
    }

    /// Whether nothing is left to wait for.
    fn is_over(&self) -> bool {
        let opening = match &self.opening {
            Opening::Calling(calling) => calling.open,
            Opening::Called(called) => called.is_pending(),
        };
        !opening && self.legs.iter().all(Leg::is_over)
    }

    /// Whether the peer may still do something in that leg.
    fn is_alive(&self, index: usize) -> bool {
        !self.ended && !matches!(self.legs[index].state, LegState::Ending { .. } | LegState::Ended)
    }

    fn leg_of(&self, dialog: DialogKey) -> Option<usize> {
        self.legs.iter().position(|leg| leg.dialog == dialog)
    }

    /// The dialog of a leg.
    pub(crate) fn dialog_of(&self, id: LegId) -> Option<DialogKey> {
        self.leg_at(id).map(|index| self.legs[index].dialog)
    }

    /// The leg that a [`LegId`] means.
    fn leg_at(&self, id: LegId) -> Option<usize> {
        if id.index != LegId::CURRENT {
            return Some(usize::from(id.index)).filter(|index| *index < self.legs.len());
        }
        let accepted = self.legs.iter().position(|leg| !matches!(leg.state, LegState::Early | LegState::Ended));
        let mut left = (0..self.legs.len()).filter(|index| !matches!(self.legs[*index].state, LegState::Ended));
        let only = left.next().filter(|_| left.next().is_none());
        accepted.or(only).or((self.legs.len() == 1).then_some(0))
    }
}

impl Core {
    /// The dialog that a leg runs in, or the half one that our INVITE was built from; `None` once the session is gone.
    pub fn dialog(&self, leg: impl Into<LegId>) -> Option<&Dialog> {
        let leg = leg.into();
        let session = self.sessions.get(leg.session.0)?;
        let key = match (session.leg_at(leg), &session.opening) {
            (Some(index), _) => session.legs[index].dialog,
            (None, Opening::Calling(calling)) => calling.half,
            (None, Opening::Called(_)) => return None,
        };
        self.shared.dialogs.get(key)
    }
}

impl Agent<'_> {
    /// The dialog of a leg, for a new request in it: none may follow a BYE (RFC 3261 §15.1.1, §15.1.2).
    pub(crate) fn dialog_for_request(&self, leg: LegId) -> Result<DialogKey, VerbError> {
        let session = self.core.sessions.get(leg.session.0).ok_or(VerbError::Gone)?;
        let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
        if session.is_alive(index) { Ok(session.legs[index].dialog) } else { Err(VerbError::WrongState) }
    }

    /// Whether the session of a dialog has ended, though the dialog is still known (RFC 5407 §3.2, the Mortal state).
    pub(crate) fn is_mortal(&self, dialog: DialogKey) -> bool {
        self.core.shared.dialogs.users(dialog).iter().any(|owner| {
            let Owner::Session(id) = owner else { return false };
            let session = self.core.sessions.get(id.0);
            session.is_some_and(|session| session.leg_of(dialog).is_some_and(|index| !session.is_alive(index)))
        })
    }

    /// The leg that runs in a dialog.
    pub(crate) fn leg_of_dialog(&self, dialog: DialogKey) -> Option<LegId> {
        self.core.shared.dialogs.users(dialog).iter().find_map(|owner| {
            let Owner::Session(id) = owner else { return None };
            let session = self.core.sessions.get(id.0)?;
            session.leg_of(dialog).map(|index| LegId::new(*id, index))
        })
    }

    /// Does something to a session and sees whether that ended it.
    pub(crate) fn with_session<R>(
        &mut self,
        id: SessionId,
        act: impl FnOnce(&mut Session, &mut Context<'_>) -> Result<R, VerbError>,
    ) -> Result<R, VerbError> {
        let (sessions, mut context) = self.split();
        let session = sessions.get_mut(id.0).ok_or(VerbError::Gone)?;
        let result = act(session, &mut context);
        self.settle(id);
        result
    }

    /// Drops a session that nothing is left of, and its hold on its dialogs.
    pub(crate) fn settle(&mut self, id: SessionId) {
        self.end_replaced();
        if !self.core.sessions.get(id.0).is_some_and(Session::is_over) {
            return;
        }
        let Some(session) = self.core.sessions.remove(id.0) else { return };
        let (_, mut context) = self.split();
        if let Opening::Calling(calling) = &session.opening {
            context.shared.dialogs.release(calling.half, session.owner());
        }
        for leg in &session.legs {
            context.shared.dialogs.release(leg.dialog, session.owner());
        }
        if !session.ended {
            context.emit(Event::Ended { session: id, how: HowEnded::Local });
        }
        context.emit(Event::Gone { session: id });
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {:?}", self.0)
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Self::CURRENT => write!(f, "{:?}", self.session),
            index => write!(f, "{:?} leg {index}", self.session),
        }
    }
}
