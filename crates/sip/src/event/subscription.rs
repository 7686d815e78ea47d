//! What subscribers and notifiers share: handles, what the application hears, and how a subscription is dropped.

use std::fmt;
use std::sync::Arc;

use super::notifier::Notifier;
use super::subscriber::Subscriber;
use crate::dialog::DialogKey;
use crate::endpoint::{ClientTx, ServerTx};
use crate::header::{self, ReferTo, SubscriptionState};
use crate::message::{Message, StatusCode};
use crate::session::LegId;
use crate::slab::Key;
use crate::user_agent::{Agent, Context, Core, Event, Failure, Owner, Pending, Timer};

/// A subscription at one of its ends. Dead once [`SubscriptionEvent::Ended`] has named it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(crate) Key);

/// What the application hears of a subscription.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// To the subscriber: a notification. It is answered already; [`Self::Ended`] follows if it was the last one.
    Notified {
        /// What it says about the subscription.
        state: SubscriptionState,
        /// The NOTIFY, with the body.
        request: Arc<Message>,
    },
    /// To the subscriber: another notifier of a forked SUBSCRIBE answers. Its notifications have this new subscription
    /// (RFC 6665 §4.4.1).
    Forked {
        /// The subscription that it is a fork of.
        original: SubscriptionId,
    },
    /// To the notifier: somebody subscribes. Accept or refuse.
    Requested {
        /// Package and parameters.
        event: header::Event,
        /// The SUBSCRIBE. Who sent it is the application's to judge.
        request: Arc<Message>,
    },
    /// To the notifier: a subscription was accepted, refreshed, or asked for once (RFC 6665 §4.2.2). Its complete state is
    /// owed at once: [`Agent::notify`].
    StateOwed {
        /// The SUBSCRIBE or REFER.
        request: Arc<Message>,
        /// Whether it is the last notification: the subscriber leaves, or only polled.
        last: bool,
    },
    /// To the notifier: the state has changed ([`Agent::state_changed`]) and may now be told: [`Agent::notify`].
    StateDue,
    /// We are asked to contact somebody: [`Agent::accept_refer`] or [`Agent::refuse_subscription`].
    Referred {
        /// The session that it came in, if any.
        leg: Option<LegId>,
        /// Whom to contact, and how.
        refer_to: ReferTo,
        /// The REFER, with Referred-By and Target-Dialog if there are.
        request: Arc<Message>,
    },
    /// Our REFER was accepted. Notifications follow, unless both sides agreed on none.
    ReferAccepted {
        /// The 2xx.
        response: Arc<Message>,
    },
    /// It is over; the last event that names it.
    Ended(SubscriptionEnd),
}

/// How a subscription ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriptionEnd {
    /// To the subscriber: the notifier ended it; its reason says whether to subscribe again
    /// ([`SubscriptionState::resubscribe`]).
    Terminated(SubscriptionState),
    /// To the subscriber: the SUBSCRIBE was refused or lost.
    Refused(Failure),
    /// To the subscriber: no NOTIFY came within 64 × T1 (Timer N, RFC 6665 §4.1.2.4).
    NoNotify,
    /// It was not refreshed in time.
    Expired,
    /// The application ended it.
    Local,
    /// To the notifier: the subscriber left, or no longer takes notifications.
    Left,
}

/// One end of a subscription.
#[derive(Debug)]
pub(crate) enum Subscription {
    Subscriber(Box<Subscriber>),
    Notifier(Box<Notifier>),
}

impl Subscription {
    pub fn response(&mut self, cx: &mut Context<'_>, tx: ClientTx, pending: &Pending, response: &Arc<Message>) {
        match self {
            Self::Subscriber(subscriber) => subscriber.response(cx, tx, pending, response),
            Self::Notifier(notifier) => notifier.response(cx, tx, response),
        }
    }

    pub fn failed(&mut self, cx: &mut Context<'_>, tx: ClientTx, failure: Failure) {
        match self {
            Self::Subscriber(subscriber) => subscriber.failed(cx, tx, failure),
            Self::Notifier(notifier) => notifier.failed(cx, tx),
        }
    }

    pub fn timeout(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match self {
            Self::Subscriber(subscriber) => subscriber.timeout(cx, timer),
            Self::Notifier(notifier) => notifier.timeout(cx, timer),
        }
    }

    pub fn wants(&self, timer: &Timer) -> bool {
        match self {
            Self::Subscriber(subscriber) => subscriber.wants(timer),
            Self::Notifier(notifier) => notifier.wants(timer),
        }
    }

    /// Whether a challenge to a request of it is not worth answering.
    pub fn gave_up(&self) -> bool {
        match self {
            Self::Subscriber(subscriber) => subscriber.is_terminated(),
            Self::Notifier(notifier) => notifier.is_terminated(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Subscriber(subscriber) => subscriber.is_over(),
            Self::Notifier(notifier) => notifier.is_over(),
        }
    }

    fn dialogs(&self) -> Vec<DialogKey> {
        match self {
            Self::Subscriber(subscriber) => subscriber.dialogs(),
            Self::Notifier(notifier) => vec![notifier.dialog],
        }
    }
}

impl Core {
    /// The subscription at this end that a SUBSCRIBE in a dialog means; `None` if there is no such dialog or subscription.
    pub fn subscription_of(&self, request: &Message) -> Option<SubscriptionId> {
        let event = header::Event::of(request).ok().flatten()?;
        let dialog = self.shared.dialogs.find(request)?;
        let meant = |owner: &Owner| match *owner {
            Owner::Subscription(id) => match self.subscriptions.get(id.0) {
                Some(Subscription::Notifier(notifier)) => notifier.event.same_subscription(&event).then_some(id),
                _ => None,
            },
            _ => None,
        };
        self.shared.dialogs.users(dialog).iter().find_map(meant)
    }
}

impl Agent<'_> {
    /// Drops a subscription that nothing is left of, and its hold on its dialogs.
    pub(crate) fn settle_subscription(&mut self, id: SubscriptionId) {
        if !self.core.subscriptions.get(id.0).is_some_and(Subscription::is_over) {
            return;
        }
        let Some(subscription) = self.core.subscriptions.remove(id.0) else { return };
        for dialog in subscription.dialogs() {
            self.core.shared.dialogs.release(dialog, Owner::Subscription(id));
        }
    }

    /// Gives a NOTIFY to the subscription in its dialog, or a SUBSCRIBE to the one that it refreshes; `false` if there is
    /// none.
    pub(crate) fn request_in_subscription(
        &mut self,
        tx: ServerTx,
        dialog: DialogKey,
        request: &Arc<Message>,
        is_notify: bool,
    ) -> bool {
        let Ok(Some(event)) = header::Event::of(request) else { return false };
        for owner in self.core.shared.dialogs.users(dialog).to_vec() {
            let Owner::Subscription(id) = owner else { continue };
            let (subscriptions, mut cx) = self.split_subscriptions();
            match subscriptions.get_mut(id.0) {
                Some(Subscription::Subscriber(subscriber)) if is_notify && subscriber.takes(&event) => {
                    subscriber.notified(&mut cx, tx, dialog, request);
                }
                Some(Subscription::Notifier(notifier)) if !is_notify && notifier.event.same_subscription(&event) => {
                    notifier.refreshed(&mut cx, tx, request);
                }
                _ => continue,
            }
            self.settle_subscription(id);
            return true;
        }
        false
    }
}

impl fmt::Debug for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscription {:?}", self.0)
    }
}

/// Whether a final response to SUBSCRIBE or NOTIFY means that there is no subscription (RFC 6665 §4.1.2.2, §4.2.2).
pub(super) fn ends_subscription(status: StatusCode) -> bool {
    matches!(status.code(), 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

/// Tells the application.
pub(super) fn emit(cx: &mut Context<'_>, subscription: SubscriptionId, event: SubscriptionEvent) {
    cx.emit(Event::Subscription { subscription, event });
}
