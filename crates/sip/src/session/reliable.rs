//! Provisional responses of ours, those that wait for a PRACK among them (RFC 3262 §3).
//!
//! ```text
//!   ring_reliably ──1xx, RSeq──> unacknowledged ──PRACK──> next in the queue, or the 2xx that waited
//!                                    │ T1, doubling             (RFC 3262 §3: not before its description is safe)
//!                                    └─ 64 × T1: 504 to the INVITE
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::description::{describes, is_described};
use super::offer::{Carrier, Exchange, Kind, Role};
use super::update::Waiting;
use super::{Done, HowEnded, LegId, Session, VerbError};
use crate::endpoint::ServerTx;
use crate::header::{OptionTag, RAck};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::user_agent::{Agent, Context, Event, Extra, TimerKind};

/// The reliable provisional responses to the INVITE in progress, or to the last one.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    /// RSeq of the last one.
    last: Option<u32>,
    unacknowledged: Option<Unacknowledged>,
    /// Those that wait for its PRACK: RFC 3262 §3 recommends one at a time, and demands it of the first.
    queue: VecDeque<(StatusCode, Extra)>,
    /// The 2xx that waits for its PRACK.
    pub success: Option<Extra>,
}

/// A reliable provisional response without its PRACK.
#[derive(Debug)]
struct Unacknowledged {
    tx: ServerTx,
    status: StatusCode,
    rseq: u32,
    /// CSeq of the INVITE.
    seq: u32,
    response: Arc<[u8]>,
    /// Whether it carries an offer or an answer.
    described: bool,
    /// Whether that is an offer.
    offers: bool,
    /// The next interval, doubled each time (RFC 3262 §3: without a cap).
    interval: Duration,
    elapsed: Duration,
    timer: Option<u64>,
    /// The INVITE has its final response: the PRACK is still answered, the response no longer sent.
    lingers: bool,
}

/// Most reliable responses that wait for their turn.
const MAX_QUEUE: usize = 4;

impl Reliable {
    pub fn has_timer(&self, serial: Option<u64>) -> bool {
        self.unacknowledged.as_ref().is_some_and(|waiting| waiting.timer == serial)
    }

    /// Whether the INVITE has failed and a PRACK may still come.
    pub fn lingers(&self) -> bool {
        self.unacknowledged.as_ref().is_some_and(|waiting| waiting.lingers && waiting.timer.is_some())
    }

    /// Whether an offer or answer of ours is still to be acknowledged.
    pub fn is_description_open(&self) -> bool {
        self.unacknowledged.as_ref().is_some_and(|waiting| waiting.described && !waiting.lingers)
    }

    /// The INVITE has its 2xx: PRACKs are still answered.
    pub fn stop(&mut self) {
        self.queue.clear();
        self.success = None;
        if let Some(waiting) = &mut self.unacknowledged {
            waiting.timer = None;
            waiting.lingers = true;
        }
    }
}

impl Agent<'_> {
    /// Tells the caller how it goes: 180, 183 and the like (RFC 3261 §13.3.1.1). For a re-INVITE that waits, name its
    /// leg. Reliable if the INVITE requires it (RFC 3262 §3).
    pub fn ring(&mut self, leg: impl Into<LegId>, status: StatusCode, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| session.provisional(cx, leg, status, extra, false))
    }

    /// The same, sent until its PRACK comes (RFC 3262). The first one to an INVITE without an offer must carry ours;
    /// one to an INVITE with an offer may carry the answer, and the 2xx then needs none. Further ones wait for the PRACK
    /// of the one before. Whoever calls must support `100rel`.
    pub fn ring_reliably(&mut self, leg: impl Into<LegId>, status: StatusCode, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| session.provisional(cx, leg, status, extra, true))
    }
}

impl Session {
    fn provisional(
        &mut self,
        cx: &mut Context<'_>,
        leg: LegId,
        status: StatusCode,
        extra: Extra,
        reliable: bool,
    ) -> Done {
        let index = self.leg_at(leg).ok_or(VerbError::Gone)?;
        let (tx, request) = self.waiting_invite(index).ok_or(VerbError::WrongState)?;
        let has = |name| request.tokens(name).any(|tag| tag.eq_ignore_ascii_case(OptionTag::Rel100.as_str()));
        let required = has(HeaderName::Require);
        let reliable = reliable || required;
        let leg = &mut self.legs[index];
        // RFC 3262 §3: never a 100, never to who does not know PRACK.
        let allowed = status.is_provisional() && status != StatusCode::TRYING && leg.reliable.success.is_none();
        if !allowed || (reliable && !required && !has(HeaderName::Supported)) {
            return Err(VerbError::WrongState);
        }
        let described = describes(&extra);
        if reliable {
            let waits = leg.reliable.unacknowledged.as_ref().is_some_and(|waiting| !waiting.lingers);
            if !waits {
                return self.send_reliable(cx, index, tx, &request, status, extra);
            }
            if leg.reliable.queue.len() == MAX_QUEUE {
                return Err(VerbError::WrongState);
            }
            leg.offers.response_role(Kind::Reliable, described)?;
            leg.reliable.queue.push_back((status, extra));
            return Ok(());
        }
        let extra = match leg.offers.respond(Kind::Unreliable, described)? {
            Role::Repeated => extra.without_body(),
            _ => extra,
        };
        cx.respond(tx, status, Some(leg.dialog), &extra);
        Ok(())
    }

    fn send_reliable(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        tx: ServerTx,
        request: &Message,
        status: StatusCode,
        extra: Extra,
    ) -> Done {
        let leg = &mut self.legs[index];
        let completed = leg.offers.completed();
        let role = leg.offers.respond(Kind::Reliable, describes(&extra))?;
        let extra = if role == Role::Repeated { extra.without_body() } else { extra };
        leg.description.sent(&extra, completed);
        // RFC 3262 §3: the first one from 1 to 2^31 − 1, then by one.
        let rseq = leg.reliable.last.map_or_else(|| 1 + cx.shared.rng.below((1 << 31) - 1) as u32, |last| last + 1);
        leg.reliable.last = Some(rseq);
        // RFC 3311 §4: who gets an answer early shall know whether it may send UPDATE.
        let extra = extra
            .header(HeaderName::Require, OptionTag::Rel100.as_str())
            .header(HeaderName::RSeq, rseq.to_string())
            .header(HeaderName::Allow, cx.allow().to_string());
        let response = cx.respond(tx, status, Some(leg.dialog), &extra).ok_or(VerbError::WrongState)?;
        let seq = request.cseq().map_or(0, |cseq| cseq.number);
        let interval = cx.shared.sip_timers.t1;
        let dialog = leg.dialog;
        let timer = Some(cx.arm(self.owner(), TimerKind::RetransmitReliable, interval));
        let waiting = Unacknowledged {
            tx,
            status,
            rseq,
            seq,
            response,
            described: matches!(role, Role::Offer | Role::Answer),
            offers: role == Role::Offer,
            interval,
            elapsed: Duration::ZERO,
            timer,
            lingers: false,
        };
        self.legs[index].reliable.unacknowledged = Some(waiting);
        // RFC 6141 §4.6
        if let Some(dialog) = cx.shared.dialogs.get_mut(dialog) {
            dialog.refresh_target(request);
        }
        Ok(())
    }

    /// Sends the response again; after 64 × T1 without a PRACK the INVITE is refused (RFC 3262 §3).
    pub(super) fn retransmit_reliable(&mut self, cx: &mut Context<'_>, serial: u64) {
        let Some(index) = self.legs.iter().position(|leg| leg.reliable.has_timer(Some(serial))) else { return };
        let patience = cx.shared.sip_timers.patience();
        let owner = self.owner();
        let Some(waiting) = &mut self.legs[index].reliable.unacknowledged else { return };
        waiting.elapsed += waiting.interval;
        if waiting.lingers {
            self.legs[index].reliable.unacknowledged = None;
            return;
        }
        if waiting.elapsed >= patience {
            waiting.timer = None;
            return self.refuse_waiting(cx, index, StatusCode::SERVER_TIMEOUT, &Extra::new(), HowEnded::NoPrack);
        }
        cx.endpoint.respond(cx.now, waiting.tx, waiting.status, Arc::clone(&waiting.response));
        waiting.interval = (waiting.interval * 2).min(patience - waiting.elapsed);
        waiting.timer = Some(cx.arm(owner, TimerKind::RetransmitReliable, waiting.interval));
    }

    /// A PRACK of the peer's.
    pub(super) fn prack_received(&mut self, cx: &mut Context<'_>, tx: ServerTx, index: usize, request: &Arc<Message>) {
        let dialog = Some(self.legs[index].dialog);
        let Ok(Some(rack)) = RAck::of(request) else {
            return drop(cx.respond(tx, StatusCode::BAD_REQUEST, dialog, &Extra::new()));
        };
        let is_alive = self.is_alive(index);
        let leg = &mut self.legs[index];
        let waiting =
            leg.reliable.unacknowledged.as_ref().filter(|waiting| {
                (waiting.rseq, waiting.seq) == (rack.rseq, rack.cseq) && rack.method == Method::Invite
            });
        // RFC 3262 §3
        let Some(waiting) = waiting.filter(|_| !leg.updates.is_prack_waiting()) else {
            return drop(cx.respond(tx, StatusCode::CALL_DOES_NOT_EXIST, dialog, &Extra::new()));
        };
        // Our offer went with the INVITE that was refused: the answer to it changes nothing. Nor does anything in a session
        // that is over, of which only the 2xx to this PRACK is left.
        let is_void = !is_alive || (waiting.lingers && waiting.offers);
        let role = match leg.offers.prack_received(is_described(request) && !is_void) {
            Ok(role) => role,
            Err(conflict) => return cx.refuse_for_now(tx, dialog, conflict),
        };
        let id = LegId::new(self.id, index);
        if role == Role::Offer {
            // Its answer goes into the 2xx; until then the response counts as unacknowledged.
            if let Some(waiting) = &mut self.legs[index].reliable.unacknowledged {
                waiting.timer = None;
            }
            let waiting = self.await_answer(cx, tx, request);
            self.legs[index].updates.received = Some(Waiting { is_prack: true, ..waiting });
            return cx.emit(Event::Offer { leg: id, message: Arc::clone(request) });
        }
        self.legs[index].reliable.unacknowledged = None;
        cx.respond(tx, StatusCode::OK, dialog, &Extra::new());
        if role == Role::Answer {
            cx.emit(Event::Answer { leg: id, message: Arc::clone(request) });
        }
        self.acknowledged(cx, index);
    }

    /// The application has answered the offer in a PRACK.
    pub(super) fn prack_answered(&mut self, cx: &mut Context<'_>, index: usize, accepted: bool) {
        let reliable = &mut self.legs[index].reliable;
        if accepted {
            reliable.unacknowledged = None;
            return self.acknowledged(cx, index);
        }
        // RFC 6337 §2.3: the peer may send another PRACK, without the offer.
        if let Some(waiting) = reliable.unacknowledged.as_mut().filter(|waiting| !waiting.lingers) {
            let interval = waiting.interval;
            waiting.timer =
                Some(cx.arm(crate::user_agent::Owner::Session(self.id), TimerKind::RetransmitReliable, interval));
        }
    }

    /// The last reliable response has its PRACK: the next one may leave, or the 2xx.
    pub(super) fn acknowledged(&mut self, cx: &mut Context<'_>, index: usize) {
        let Some((tx, request)) = self.waiting_invite(index) else { return };
        while let Some((status, extra)) = self.legs[index].reliable.queue.pop_front() {
            if self.send_reliable(cx, index, tx, &request, status, extra).is_ok() {
                return;
            }
        }
        self.accept_if_waiting(cx, index);
    }

    /// Sends the 2xx that waited for PRACKs and answers.
    pub(super) fn accept_if_waiting(&mut self, cx: &mut Context<'_>, index: usize) {
        if self.legs[index].reliable.success.is_none() || self.must_wait_for_prack(index) {
            return;
        }
        let Some((tx, request)) = self.waiting_invite(index) else { return };
        let Some(extra) = self.legs[index].reliable.success.take() else { return };
        if self.accept_now(cx, index, tx, request, &extra).is_err() {
            // It lacks a description that has become due since: nothing better can be said.
            self.refuse_waiting(cx, index, StatusCode::SERVER_INTERNAL_ERROR, &Extra::new(), HowEnded::Local);
        }
    }

    /// Whether a 2xx would overtake an offer or answer (RFC 3262 §3, §5).
    pub(super) fn must_wait_for_prack(&self, index: usize) -> bool {
        let leg = &self.legs[index];
        leg.reliable.is_description_open() || leg.offers.exchange() == Exchange::Received(Carrier::Prack)
    }

    /// The INVITE is refused: PRACKs are answered for as long as its reliable responses would have been sent, and
    /// nothing else remains (RFC 3262 §3).
    pub(super) fn linger(&mut self, cx: &mut Context<'_>, index: usize) {
        let (patience, owner) = (cx.shared.sip_timers.patience(), self.owner());
        let reliable = &mut self.legs[index].reliable;
        let timed_out = reliable.unacknowledged.as_ref().is_some_and(|waiting| waiting.elapsed >= patience);
        reliable.stop();
        if timed_out {
            reliable.unacknowledged = None;
        } else if let Some(waiting) = &mut reliable.unacknowledged {
            waiting.timer = Some(cx.arm(owner, TimerKind::RetransmitReliable, patience - waiting.elapsed));
        }
    }
}
