//! What follows when a re-INVITE or UPDATE of ours fails: a second attempt after 491 (RFC 3261 §14.1, RFC 3311 §5.3), the
//! end of the leg (RFC 3261 §12.2.1.2, RFC 5057 §5.1), or the session as it was.

use std::sync::Arc;
use std::time::Duration;

use super::description::describes;
use super::{Done, HowEnded, LegId, LegState, Opening, Session, VerbError};
use crate::header::RetryAfter;
use crate::message::{Message, Method, StatusCode};
use crate::user_agent::{Agent, Context, Event, Extra, Failure, TimerKind};

/// A re-INVITE or UPDATE, as often as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub method: Method,
    pub extra: Arc<Extra>,
    /// How often it has been sent, this time included.
    pub count: u32,
    /// How many offers had been answered when it was made.
    pub completed: u32,
    /// Whether it does nothing but refresh the session (RFC 4028): then nobody waits to hear of it.
    pub refreshes: bool,
}

impl Attempt {
    pub fn refreshing(self) -> Self {
        Self { refreshes: true, ..self }
    }
}

/// An attempt that waits for its turn.
#[derive(Debug)]
pub(super) struct Backoff {
    pub attempt: Attempt,
    failure: Failure,
    pub timer: u64,
}

/// Most attempts until a 491 counts as an answer.
const MAX_ATTEMPTS: u32 = 8;

/// Longest Retry-After of a 500 that is waited for: what RFC 3261 §14.2 tells servers to say at most.
const MAX_RETRY_AFTER: u64 = 10;

impl Agent<'_> {
    /// Takes a change back that has not been answered: the re-INVITE is cancelled, and nothing is sent again after a
    /// 491. [`Event::ModifyFailed`] follows, or [`Event::Modified`] if it is too late. An UPDATE cannot be cancelled.
    pub fn cancel_modify(&mut self, leg: impl Into<LegId>) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            if let Some(backoff) = session.legs[index].backoff.take() {
                let leg = LegId::new(session.id, index);
                cx.emit(Event::ModifyFailed { leg, failure: backoff.failure, changed: false });
                return Ok(());
            }
            if session.cancel_reinvite(cx, index) { Ok(()) } else { Err(VerbError::WrongState) }
        })
    }
}

impl Session {
    pub(super) fn first_attempt(&self, index: usize, method: Method, extra: Arc<Extra>) -> Attempt {
        Attempt { method, extra, count: 1, completed: self.legs[index].offers.completed(), refreshes: false }
    }

    /// Whether no change of the application's waits to be sent again. A refresh makes room for it.
    pub(super) fn is_calm(&mut self, index: usize) -> bool {
        let backoff = &mut self.legs[index].backoff;
        backoff.take_if(|backoff| backoff.attempt.refreshes);
        backoff.is_none()
    }

    /// A re-INVITE or UPDATE has failed. `changed` says whether offers were answered within it all the same.
    pub(super) fn modify_failed(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        attempt: Attempt,
        failure: Failure,
        changed: bool,
    ) {
        if matches!(self.legs[index].state, LegState::Ending { .. } | LegState::Ended) {
            return;
        }
        if is_fatal(&attempt.method, &failure) {
            return self.lose_leg(cx, index, failure);
        }
        if !changed
            && attempt.count < MAX_ATTEMPTS
            && let Some(pause) = self.pause_after(cx, index, &failure)
        {
            let timer = cx.arm(self.owner(), TimerKind::Backoff, pause);
            self.legs[index].backoff = Some(Backoff { attempt, failure, timer });
            return;
        }
        self.give_up(cx, index, &attempt, failure, changed);
    }

    /// Tells the application that its change has come to nothing.
    fn give_up(&mut self, cx: &mut Context<'_>, index: usize, attempt: &Attempt, failure: Failure, changed: bool) {
        match attempt.refreshes {
            true => self.refresh_failed(cx, index, &attempt.method, &failure),
            false => cx.emit(Event::ModifyFailed { leg: LegId::new(self.id, index), failure, changed }),
        }
    }

    /// How long to wait before the request is sent again; `None` if it is not to be.
    fn pause_after(&mut self, cx: &mut Context<'_>, index: usize, failure: &Failure) -> Option<Duration> {
        let Failure::Response(response) = failure else { return None };
        match response.status()? {
            StatusCode::REQUEST_PENDING => {
                // RFC 3261 §14.1: who made the Call-ID waits 2.1 to 4 s, the other end 0 to 2 s, in steps of 10 ms.
                let (least, steps) = match self.opening {
                    Opening::Calling(_) => (2100, 191),
                    Opening::Called(_) => (0, 201),
                };
                Some(Duration::from_millis(least + 10 * cx.shared.rng.below(steps)))
            }
            StatusCode::SERVER_INTERNAL_ERROR => retry_after(response).map(Duration::from_secs),
            // RFC 4028 §7.3: at once, with the interval that is asked for.
            StatusCode::SESSION_INTERVAL_TOO_SMALL => {
                self.legs[index].timer.refused(response).then_some(Duration::ZERO)
            }
            _ => None,
        }
    }

    /// The pause is over. What was offered is offered again unless another offer has been answered since: then the
    /// application has to say what it wants now.
    pub(super) fn backoff_timeout(&mut self, cx: &mut Context<'_>, serial: u64) {
        let owns = |leg: &super::Leg| leg.backoff.as_ref().is_some_and(|backoff| backoff.timer == serial);
        let Some(index) = self.legs.iter().position(owns) else { return };
        let leg = &mut self.legs[index];
        let Some(Backoff { mut attempt, failure, .. }) = leg.backoff.take() else { return };
        let described = describes(&attempt.extra);
        let changed = described && attempt.completed != leg.offers.completed();
        attempt.count += 1;
        let may = match attempt.method {
            Method::Update => self.may_update(cx, index, described),
            _ => self.may_reinvite(index),
        };
        if changed || (!may && attempt.count >= MAX_ATTEMPTS) {
            return self.give_up(cx, index, &attempt, failure, changed);
        }
        if !may {
            // The peer's own change is under way: the same pause again.
            let pause = self.pause_after(cx, index, &failure).unwrap_or_default();
            let timer = cx.arm(self.owner(), TimerKind::Backoff, pause.max(cx.shared.sip_timers.t1));
            self.legs[index].backoff = Some(Backoff { attempt, failure, timer });
            return;
        }
        let _ = match attempt.method {
            Method::Update => self.send_update(cx, index, attempt),
            _ => self.send_reinvite(cx, index, attempt),
        };
    }

    /// The peer has lost the session, or cannot be reached in it.
    pub(super) fn lose_leg(&mut self, cx: &mut Context<'_>, index: usize, failure: Failure) {
        // RFC 3261 §12.2.1.2: a BYE ends it, unless the peer says that there is nothing to end.
        let is_known = failure.status() != StatusCode::CALL_DOES_NOT_EXIST;
        let how = HowEnded::PeerLost(failure);
        if self.legs[index].is_up() {
            self.end(cx, how);
            if is_known {
                return self.send_bye(cx, index, &Extra::new());
            }
            self.finish_leg(cx, index);
            self.legs[index].state = LegState::Ended;
        } else if self.pending_invite().is_ok() {
            let _ = self.refuse_invite(cx, StatusCode::SERVER_INTERNAL_ERROR, &Extra::new(), how);
        } else if self.legs.iter().enumerate().all(|(at, leg)| at == index || leg.is_over()) {
            // The only early dialog of our INVITE.
            let _ = self.cancel(cx, None);
        }
    }
}

/// What ends the INVITE usage, or its dialog (RFC 5057 Table 1; §5.2 for requests that nobody answered).
fn is_fatal(method: &Method, failure: &Failure) -> bool {
    match failure {
        Failure::TimedOut => true,
        Failure::Response(response) => match response.status().map_or(0, StatusCode::code) {
            404 | 408 | 410 | 416 | 480 | 481 | 482 | 483 | 484 | 485 | 502 | 604 => true,
            // Note 3: not integral to the usage. A peer may know no UPDATE.
            405 | 501 => *method == Method::Invite,
            _ => false,
        },
        // A 503 in the usage: the transaction only.
        Failure::Unreachable => false,
    }
}

/// Seconds of a Retry-After that is worth waiting for.
fn retry_after(response: &Message) -> Option<u64> {
    let retry = RetryAfter::of(response).ok().flatten()?;
    Some(retry.seconds.into()).filter(|seconds| *seconds <= MAX_RETRY_AFTER)
}
