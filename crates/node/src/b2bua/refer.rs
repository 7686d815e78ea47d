//! Transfers: a REFER inside a call goes on to the other leg, the notifications about it come back (RFC 3515, RFC 5589).
//!
//! Each leg has a subscription of its own. A Refer-To that names a dialog by Replaces is rewritten: who is sent there
//! knows that dialog, if it knows it at all, by its name on the far side ([`super::dialogs`]).

use std::sync::Arc;

use farspeak_sansio::Instant;
use farspeak_sip::event::{SubscriptionEnd, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{ReferSub, ReferTo, SubscriptionReason, SubscriptionState};
use farspeak_sip::message::{Message, StatusCode};
use farspeak_sip::session::LegId;
use farspeak_sip::user_agent::{Extra, Failure};

use super::{B2bua, headers};

impl B2bua {
    pub(super) fn subscription(&mut self, now: Instant, id: SubscriptionId, event: SubscriptionEvent) {
        match event {
            SubscriptionEvent::Referred { leg, refer_to, request } => self.refer(now, id, leg, &refer_to, &request),
            SubscriptionEvent::ReferAccepted { .. } => {
                if let Some(asker) = self.refers.get(&id).copied() {
                    let _ = self.at(now).accept_refer(asker);
                }
            }
            SubscriptionEvent::Notified { state, request } => self.notified(now, id, state, &request),
            SubscriptionEvent::Ended(end) => self.refer_ended(now, id, &end),
            _ => {}
        }
    }

    fn refer(
        &mut self,
        now: Instant,
        id: SubscriptionId,
        leg: Option<LegId>,
        refer_to: &ReferTo,
        request: &Arc<Message>,
    ) {
        let Some(other) = leg.and_then(|leg| self.other_leg(leg)) else {
            let _ = self.at(now).refuse_subscription(id, StatusCode::CALL_DOES_NOT_EXIST, Extra::new());
            return;
        };
        let mapped = self.dialogs.refer_to_for_the_other_side(refer_to);
        let subscribe = !matches!(ReferSub::of(request), Ok(Some(ReferSub(false))));
        let extra = headers::of_request(request);
        match self.at(now).refer(other, mapped.as_ref().unwrap_or(refer_to), subscribe, extra) {
            Ok(asked) => {
                self.refers.insert(asked, id);
                self.refers.insert(id, asked);
            }
            Err(_) => {
                let _ = self.at(now).refuse_subscription(id, StatusCode::SERVICE_UNAVAILABLE, Extra::new());
            }
        }
    }

    fn notified(&mut self, now: Instant, id: SubscriptionId, state: SubscriptionState, request: &Message) {
        let Some(asker) = self.refers.get(&id).copied() else { return };
        let extra = headers::of_request(request);
        let mut agent = self.at(now);
        // The notification may be here before the 202.
        let _ = agent.accept_refer(asker);
        let _ = match state.is_terminated() {
            true => agent.terminate(asker, state, extra),
            false => agent.notify(asker, extra),
        };
    }

    fn refer_ended(&mut self, now: Instant, id: SubscriptionId, end: &SubscriptionEnd) {
        let Some(other) = self.refers.remove(&id) else { return };
        self.refers.remove(&other);
        let mut agent = self.at(now);
        if let SubscriptionEnd::Refused(failure) = end {
            let extra = match failure {
                Failure::Response(response) => headers::of_response(response),
                _ => Extra::new(),
            };
            let _ = agent.refuse_subscription(other, failure.status(), extra);
        }
        // Whichever end of a subscription the other one is, it has no purpose any more; what is over already stays so.
        let over = SubscriptionState::terminated(SubscriptionReason::NoResource);
        let _ = agent.terminate(other, over, Extra::new());
    }
}
