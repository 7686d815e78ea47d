//! PRACK from the end that sent the INVITE (RFC 3262 §4). The other end is [`reliable`](super::reliable).
//!
//! A PRACK leaves by itself, unless the response brought an offer: then it waits for the application's answer
//! ([`Agent::accept_offer`]). With [`offers_in_prack`](crate::user_agent::UserAgentConfig::offers_in_prack) it also waits
//! where it may carry a new offer.

use std::sync::Arc;

use super::description::{describes, is_described};
use super::offer::{Carrier, Exchange, Kind, Role};
use super::{Done, LegId, Session, VerbError};
use crate::endpoint::ClientTx;
use crate::header::{OptionTag, RAck, RSeq};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::user_agent::{Agent, Context, Event, Extra, Failure, TimerKind};

/// What is acknowledged of the peer's reliable responses.
#[derive(Debug, Default)]
pub(super) struct Pracks {
    /// CSeq of the INVITE, and the RSeq of the last response in order.
    last: Option<(u32, u32)>,
    sent: Vec<Sent>,
    owed: Option<Owed>,
}

/// A PRACK under way.
#[derive(Debug)]
struct Sent {
    tx: ClientTx,
    rack: RAck,
    /// Whether it or its response has to do with an offer (RFC 6337 §4.3).
    described: bool,
    extra: Arc<Extra>,
    /// How often it has been sent.
    count: u32,
}

/// A PRACK that waits for the application.
#[derive(Debug)]
struct Owed {
    rack: RAck,
    timer: u64,
}

/// Most PRACKs of a leg under way: who sends more reliable responses before it answers them is not heard.
const MAX_SENT: usize = 16;

/// Most attempts of one PRACK.
const MAX_ATTEMPTS: u32 = 4;

/// Whether a response waits for a PRACK (RFC 3262 §4).
pub(super) fn is_reliable(response: &Message) -> bool {
    let status = response.status().filter(|status| status.is_provisional() && *status != StatusCode::TRYING);
    status.is_some() && response.require().any(|tag| tag.eq_ignore_ascii_case(OptionTag::Rel100.as_str()))
}

impl Pracks {
    pub fn timer(&self) -> Option<u64> {
        self.owed.as_ref().map(|owed| owed.timer)
    }

    /// Whether a PRACK that has to do with an offer is still to leave, or without its response.
    pub fn is_description_open(&self) -> bool {
        self.owed.is_some() || self.sent.iter().any(|sent| sent.described)
    }

    /// The INVITE has its final response.
    pub fn stop(&mut self) {
        self.owed = None;
    }
}

impl Agent<'_> {
    /// Sends the PRACK that [`offers_in_prack`](crate::user_agent::UserAgentConfig::offers_in_prack) holds back, with an
    /// offer or without. The answer is [`Event::Answer`]. If the application takes longer than the peer's first
    /// retransmission, the PRACK leaves by itself.
    pub fn prack(&mut self, leg: impl Into<LegId>, extra: Extra) -> Done {
        let leg = leg.into();
        self.with_session(leg.session, |session, cx| {
            let index = session.leg_at(leg).ok_or(VerbError::Gone)?;
            let answers = session.legs[index].offers.exchange() == Exchange::Received(Carrier::Reliable);
            if session.legs[index].pracks.owed.is_none() || answers {
                return Err(VerbError::WrongState);
            }
            if describes(&extra) && !session.legs[index].offers.is_idle() {
                return Err(VerbError::WrongState);
            }
            session.send_owed_prack(cx, index, extra);
            Ok(())
        })
    }
}

impl Session {
    /// A provisional response to our INVITE, the first or a later one. Says what its description is; `None` if it came
    /// before or out of order, and is nobody's business.
    pub(super) fn provisional_received(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        response: &Arc<Message>,
    ) -> Option<Role> {
        let described = is_described(response);
        if !is_reliable(response) {
            return Some(self.legs[index].offers.response_received(Kind::Unreliable, described));
        }
        let (RSeq(rseq), seq) = (RSeq::of(response).ok()??, response.cseq().ok()?.number);
        let pracks = &mut self.legs[index].pracks;
        match pracks.last {
            Some((of, last)) if of == seq && last == rseq => {
                // It came again. The application had its time, if it was not an answer that it owes.
                if self.legs[index].offers.exchange() != Exchange::Received(Carrier::Reliable) {
                    self.send_owed_prack(cx, index, Extra::new());
                }
                return None;
            }
            // RFC 3262 §4: not one higher: no PRACK, no further processing.
            Some((of, last)) if of == seq && last.checked_add(1) != Some(rseq) => return None,
            _ if pracks.sent.len() >= MAX_SENT || pracks.owed.is_some() => return None,
            _ => {}
        }
        pracks.last = Some((seq, rseq));
        if let Some(dialog) = cx.shared.dialogs.get_mut(self.legs[index].dialog) {
            dialog.refresh_target(response); // RFC 6141 §4.7
        }
        let role = self.legs[index].offers.response_received(Kind::Reliable, described);
        let rack = RAck { rseq, cseq: seq, method: Method::Invite };
        let may_offer = role == Role::Answer && cx.shared.config.offers_in_prack;
        if role == Role::Offer || may_offer {
            let timer = cx.arm(self.owner(), TimerKind::Unanswered, cx.shared.config.offer_timeout);
            self.legs[index].pracks.owed = Some(Owed { rack, timer });
        } else {
            self.send_prack(cx, index, rack, role == Role::Answer, Extra::new());
        }
        Some(role)
    }

    /// Tells the application of an offer or answer in a reliable response.
    pub(super) fn tell_role(&self, cx: &mut Context<'_>, index: usize, role: Role, message: &Arc<Message>) {
        let (leg, message) = (LegId::new(self.id, index), Arc::clone(message));
        match role {
            Role::Offer => cx.emit(Event::Offer { leg, message }),
            Role::Answer => cx.emit(Event::Answer { leg, message }),
            _ => {}
        }
    }

    /// Sends the PRACK that waits, if one does.
    pub(super) fn send_owed_prack(&mut self, cx: &mut Context<'_>, index: usize, extra: Extra) {
        if let Some(owed) = self.legs[index].pracks.owed.take() {
            self.send_prack(cx, index, owed.rack, true, extra);
        }
    }

    fn send_prack(&mut self, cx: &mut Context<'_>, index: usize, rack: RAck, described: bool, extra: Extra) {
        let leg = &mut self.legs[index];
        leg.description.sent(&extra, leg.offers.completed());
        leg.offers.prack_sent(describes(&extra));
        let extra = Arc::new(extra.header(HeaderName::RAck, rack.to_string()));
        self.request_prack(cx, index, rack, described, extra, 1);
    }

    fn request_prack(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        rack: RAck,
        described: bool,
        extra: Arc<Extra>,
        count: u32,
    ) {
        let owner = self.owner();
        let leg = &mut self.legs[index];
        if let Some(tx) = cx.request(owner, leg.dialog, Method::Prack, Arc::clone(&extra)) {
            leg.pracks.sent.push(Sent { tx, rack, described, extra, count });
        }
    }

    /// A final response to a PRACK of ours.
    pub(super) fn prack_response(&mut self, cx: &mut Context<'_>, tx: ClientTx, response: &Arc<Message>) {
        if !response.status().is_some_and(StatusCode::is_success) {
            return self.prack_failed(cx, tx, Failure::Response(Arc::clone(response)));
        }
        let Some((index, _)) = self.take_prack(tx) else { return };
        let role = self.legs[index].offers.prack_accepted(is_described(response));
        self.tell_role(cx, index, role, response);
    }

    /// A PRACK of ours failed. An offer in it is refused; a PRACK without it follows, for the response is still
    /// unacknowledged (RFC 6337 §2.3).
    pub(super) fn prack_failed(&mut self, cx: &mut Context<'_>, tx: ClientTx, failure: Failure) {
        let Some((index, sent)) = self.take_prack(tx) else { return };
        // RFC 3261 §12.2.2: a later request has overtaken it. It has not been looked at: the same again.
        let overtaken = failure.status() == StatusCode::SERVER_INTERNAL_ERROR && sent.count < MAX_ATTEMPTS;
        if overtaken && self.is_inviting(index) {
            return self.request_prack(cx, index, sent.rack, sent.described, sent.extra, sent.count + 1);
        }
        let offers = &mut self.legs[index].offers;
        if offers.exchange() != Exchange::Sent(Carrier::Prack) {
            return; // the INVITE's own end will tell
        }
        offers.refused(Exchange::Sent(Carrier::Prack));
        let status = failure.status();
        if !matches!(status, StatusCode::CALL_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT) && self.is_inviting(index) {
            self.send_prack(cx, index, sent.rack, true, Extra::new());
        }
        cx.emit(Event::ModifyFailed { leg: LegId::new(self.id, index), failure, changed: false });
    }

    fn take_prack(&mut self, tx: ClientTx) -> Option<(usize, Sent)> {
        self.legs.iter_mut().enumerate().find_map(|(index, leg)| {
            let at = leg.pracks.sent.iter().position(|sent| sent.tx == tx)?;
            Some((index, leg.pracks.sent.swap_remove(at)))
        })
    }
}
