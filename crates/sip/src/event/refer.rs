//! REFER: asking somebody to contact a third party, and hearing how that went (RFC 3515, RFC 4488).
//!
//! A REFER implies a subscription to the package `refer` at its receiver; its notifications carry a `message/sipfrag` with
//! the status line of what the receiver was asked to do. With `Refer-Sub: false` there is none (RFC 4488).

use std::sync::Arc;

use farspeak_sansio::Flow;

use super::notifier::Notifier;
use super::subscriber::Subscriber;
use super::subscription::{Subscription, SubscriptionEnd, SubscriptionEvent, SubscriptionId, emit};
use crate::dialog::{Dialog, DialogKey, Opening};
use crate::endpoint::ServerTx;
use crate::header::{self, ReferSub, ReferTo, SubscriptionReason, SubscriptionState};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::session::{Done, LegId, VerbError};
use crate::user_agent::sips::secured;
use crate::user_agent::{Agent, Body, Extra, Owner};

/// How long the receiver of a REFER keeps its subscription, in seconds: as long as a call may ring, and then some
/// (RFC 3515 §2.4.4 leaves it to the receiver).
const LIFETIME: u32 = 300;

/// Most usages of a dialog to which a REFER may add one: a session, and more transfers at once than anybody makes. One peer
/// shall not use up what is there for all.
const MAX_USAGES: usize = 16;

impl Agent<'_> {
    /// Asks the peer of a session to contact somebody (RFC 3515 §2.4.1). `extra` may hold Referred-By (RFC 3892) or
    /// Target-Dialog. Without `subscribe` no notifications are wanted (RFC 4488); the receiver may send them all the same.
    pub fn refer(
        &mut self,
        leg: impl Into<LegId>,
        to: &ReferTo,
        subscribe: bool,
        extra: Extra,
    ) -> Result<SubscriptionId, VerbError> {
        let dialog = self.dialog_for_request(leg.into())?;
        let owner = Owner::Subscription(SubscriptionId(self.core.subscriptions.next_key()));
        self.core.shared.dialogs.share(dialog, owner);
        self.send_refer(dialog, None, to, subscribe, extra)
    }

    /// The same outside any session.
    pub fn refer_outside(
        &mut self,
        opening: Opening,
        to: &ReferTo,
        subscribe: bool,
        extra: Extra,
    ) -> Result<SubscriptionId, VerbError> {
        let opening = secured(opening)?;
        let (subscriptions, mut cx) = self.split_subscriptions();
        let owner = Owner::Subscription(SubscriptionId(subscriptions.next_key()));
        let (call_id, tag, seq) = (cx.call_id(), cx.tag(), cx.first_seq());
        let half = cx.shared.dialogs.insert(Dialog::open(opening, call_id, tag, seq), owner);
        self.send_refer(half, Some(half), to, subscribe, extra)
    }

    fn send_refer(
        &mut self,
        dialog: DialogKey,
        half: Option<DialogKey>,
        to: &ReferTo,
        subscribe: bool,
        extra: Extra,
    ) -> Result<SubscriptionId, VerbError> {
        let (subscriptions, mut cx) = self.split_subscriptions();
        let id = SubscriptionId(subscriptions.next_key());
        let owner = Owner::Subscription(id);
        if subscriptions.len() >= cx.shared.config.max_subscriptions {
            cx.shared.dialogs.release(dialog, owner);
            return Err(VerbError::TooMany);
        }
        let mut extra = extra.header(HeaderName::ReferTo, to.to_string());
        if !subscribe {
            extra = extra.header(HeaderName::ReferSub, ReferSub(false).to_string());
        }
        let Some(request) = cx.request(owner, dialog, Method::Refer, Arc::new(extra)) else {
            cx.shared.dialogs.release(dialog, owner);
            return Err(VerbError::Gone);
        };
        let seq = cx.shared.dialogs.get(dialog).map_or(0, Dialog::local_seq);
        // RFC 3515 §2.4.6
        let event = header::Event { id: Some(seq.to_string()), ..header::Event::new("refer") };
        let subscriber = Subscriber::implied(&mut cx, id, event, dialog, half, request);
        subscriptions.insert(Subscription::Subscriber(Box::new(subscriber)));
        Ok(id)
    }

    /// Accepts a REFER with a 202, and a first notification `100 Trying` unless none are wanted (RFC 3515 §2.4.2–4).
    /// Whether it does what it was asked, and says so by [`Self::refer_progress`], is the application's business.
    pub fn accept_refer(&mut self, id: SubscriptionId) -> Done {
        self.with_notifier(id, |notifier, cx| {
            let (tx, _) = notifier.requested()?;
            let request = cx.endpoint.server_request(tx).cloned().ok_or(VerbError::Gone)?;
            // RFC 4488 §4: the 2xx repeats that there is no subscription.
            let silent = matches!(ReferSub::of(&request), Ok(Some(ReferSub(false))));
            let mut extra = Extra::new();
            if silent {
                extra = extra.header(HeaderName::ReferSub, ReferSub(false).to_string());
            }
            cx.respond(tx, StatusCode::ACCEPTED, Some(notifier.dialog), &extra);
            if let Some(dialog) = cx.shared.dialogs.get_mut(notifier.dialog) {
                let _ = dialog.confirm(None);
            }
            if silent {
                notifier.cut(cx, SubscriptionEnd::Local);
                return Ok(());
            }
            notifier.begin(cx, LIFETIME);
            notifier.tell(cx, sipfrag(StatusCode::TRYING));
            Ok(())
        })
    }

    /// Tells who referred us how it goes; a final status is the last notification (RFC 3515 §2.4.5).
    pub fn refer_progress(&mut self, id: SubscriptionId, status: StatusCode) -> Done {
        if !status.is_final() {
            return self.notify(id, sipfrag(status));
        }
        let over = SubscriptionState::terminated(SubscriptionReason::NoResource);
        self.terminate(id, over, sipfrag(status))
    }

    /// A REFER, in the dialog of a session or outside any.
    pub(crate) fn incoming_refer(
        &mut self,
        tx: ServerTx,
        flow: Flow,
        request: Arc<Message>,
        dialog: Option<DialogKey>,
    ) {
        let leg = dialog.and_then(|dialog| self.leg_of_dialog(dialog));
        let (subscriptions, mut cx) = self.split_subscriptions();
        // RFC 3515 §2.4.2: exactly one Refer-To.
        let Ok(Some(refer_to)) = ReferTo::of(&request) else { return cx.refuse(tx, StatusCode::BAD_REQUEST) };
        if subscriptions.len() >= cx.shared.config.max_subscriptions {
            return cx.refuse(tx, StatusCode::SERVICE_UNAVAILABLE);
        }
        let id = SubscriptionId(subscriptions.next_key());
        let owner = Owner::Subscription(id);
        let dialog = match dialog {
            Some(dialog) if cx.shared.dialogs.users(dialog).len() >= MAX_USAGES => {
                return cx.refuse(tx, StatusCode::SERVICE_UNAVAILABLE);
            }
            Some(dialog) => {
                cx.shared.dialogs.share(dialog, owner);
                dialog
            }
            None => {
                let (tag, seq, contact) = (cx.tag(), cx.first_seq(), cx.contact_for(&request, &flow));
                match Dialog::accept(&request, tag, contact, seq, flow) {
                    Ok(dialog) => cx.shared.dialogs.insert(dialog, owner),
                    Err(error) => return cx.refuse(tx, error.status()),
                }
            }
        };
        cx.shared.servers.insert(tx, owner);
        let seq = request.cseq().map_or(0, |cseq| cseq.number);
        let event = header::Event { id: Some(seq.to_string()), ..header::Event::new("refer") };
        let mut notifier = Notifier::requested_by(id, event, dialog, tx, 0);
        notifier.await_decision(&mut cx);
        subscriptions.insert(Subscription::Notifier(Box::new(notifier)));
        emit(&mut cx, id, SubscriptionEvent::Referred { leg, refer_to, request });
    }
}

/// A notification's body: the status line (RFC 3515 §2.4.5, RFC 3420).
fn sipfrag(status: StatusCode) -> Extra {
    let line = format!("SIP/2.0 {} {}\r\n", status.code(), status.reason());
    Extra::new().body(Body::new("message/sipfrag;version=2.0", line.into_bytes()))
}
