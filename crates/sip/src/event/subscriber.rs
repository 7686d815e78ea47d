//! The subscriber's end of a subscription (RFC 6665 §4.1).
//!
//! ```text
//!                 SUBSCRIBE              NOTIFY pending
//!   subscribe ──> NotifyWait ──────────────> Pending
//!                    │    \                    │ NOTIFY active
//!            Timer N │     \  NOTIFY active    ▼
//!                    │      `──────────────> Active <── refresh before it expires
//!                    ▼                         │ NOTIFY terminated, expiry, 481, unsubscribe
//!                Terminated <──────────────────┘
//! ```
//!
//! A notification makes the dialog, not the 2xx (RFC 6665 §4.4.1): NOTIFYs may overtake it, and a forked SUBSCRIBE has
//! several notifiers. Each further one is a subscription of its own.

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Instant;

use super::subscription::{Subscription, SubscriptionEnd, SubscriptionEvent, SubscriptionId, emit, ends_subscription};
use crate::dialog::{Dialog, DialogKey, Opening};
use crate::endpoint::{ClientTx, ServerTx};
use crate::header::{self, ReferSub, SubscriptionState, SubscriptionStatus};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::session::{Done, VerbError};
use crate::user_agent::sips::secured;
use crate::user_agent::{Agent, Context, Extra, Failure, Owner, Pending, Timer, TimerKind};

/// A subscription to make.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// To whom, as whom, over which flow.
    pub opening: Opening,
    /// The event package with its parameters.
    pub event: header::Event,
    /// How long, in seconds; 0 asks once (RFC 6665 §4.1.2.3). Default of the packages: mostly 3600.
    pub expires: u32,
    /// Accept, and a body if the package has filters.
    pub extra: Extra,
}

/// The state of RFC 6665 figure 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    NotifyWait,
    Pending,
    Active,
    Terminated,
}

/// One subscription, at the subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    id: SubscriptionId,
    event: header::Event,
    /// The dialog with the notifier, once a NOTIFY came; before that the half dialog of the SUBSCRIBE.
    dialog: DialogKey,
    /// The half dialog, where NOTIFYs of other forks arrive.
    half: Option<DialogKey>,
    state: State,
    /// What we ask for, in seconds; 423 raises it.
    expires: u32,
    extra: Extra,
    /// The SUBSCRIBE that waits for its response.
    request: Option<ClientTx>,
    /// Whether it is our wish that it ends.
    leaving: bool,
    /// Whether a 423 has raised what we ask for: a second one in a row is a refusal.
    raised: bool,
    /// Until when other forks of the first SUBSCRIBE may answer (RFC 6665 §4.1.2.4).
    forks_until: Instant,
    /// How many have.
    forks: usize,
    /// Timer N.
    notify_wait: Option<u64>,
    refresh: Option<u64>,
    expiry: Option<u64>,
}

impl Agent<'_> {
    /// Subscribes (RFC 6665 §4.1.2).
    pub fn subscribe(&mut self, subscribe: Subscribe) -> Result<SubscriptionId, VerbError> {
        let opening = secured(subscribe.opening)?;
        let (subscriptions, mut cx) = self.split_subscriptions();
        if subscriptions.len() >= cx.shared.config.max_subscriptions {
            return Err(VerbError::TooMany);
        }
        let id = SubscriptionId(subscriptions.next_key());
        let (call_id, tag, seq) = (cx.call_id(), cx.tag(), cx.first_seq());
        let half = Dialog::open(opening, call_id, tag, seq);
        let half = cx.shared.dialogs.insert(half, Owner::Subscription(id));
        let mut subscriber = Subscriber {
            expires: subscribe.expires,
            leaving: subscribe.expires == 0,
            extra: subscribe.extra,
            half: Some(half),
            forks_until: cx.now + cx.shared.sip_timers.patience(),
            ..Subscriber::new(id, subscribe.event, half)
        };
        subscriber.send(&mut cx);
        subscriptions.insert(Subscription::Subscriber(Box::new(subscriber)));
        Ok(id)
    }

    /// Ends a subscription at the subscriber's end: SUBSCRIBE with Expires 0, whose last NOTIFY is still reported
    /// (RFC 6665 §4.1.2.3).
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) -> Done {
        let (subscriptions, mut cx) = self.split_subscriptions();
        let Some(Subscription::Subscriber(subscriber)) = subscriptions.get_mut(subscription.0) else {
            return Err(VerbError::Gone);
        };
        subscriber.leave(&mut cx);
        self.settle_subscription(subscription);
        Ok(())
    }

    /// A NOTIFY that names the half dialog of a SUBSCRIBE, from a notifier not heard before; `false` if nobody waits for
    /// it.
    pub(crate) fn notify_from_new_dialog(&mut self, tx: ServerTx, half: DialogKey, request: &Arc<Message>) -> bool {
        let Ok(Some(event)) = header::Event::of(request) else { return false };
        for owner in self.core.shared.dialogs.users(half).to_vec() {
            let Owner::Subscription(id) = owner else { continue };
            let (subscriptions, mut cx) = self.split_subscriptions();
            let full = subscriptions.len() >= cx.shared.config.max_subscriptions;
            let next = SubscriptionId(subscriptions.next_key());
            let Some(Subscription::Subscriber(subscriber)) = subscriptions.get_mut(id.0) else { continue };
            if !subscriber.takes(&event) {
                continue;
            }
            // Looked at before anything is made of it, or what was made would wait for ever.
            if !matches!(SubscriptionState::of(request), Ok(Some(_))) {
                cx.refuse(tx, StatusCode::BAD_REQUEST);
                return true;
            }
            let Some(Ok(dialog)) = cx.shared.dialogs.get(half).map(|half| half.fork_by_request(request)) else {
                cx.refuse(tx, StatusCode::BAD_REQUEST);
                return true;
            };
            if subscriber.state == State::NotifyWait {
                let dialog = cx.shared.dialogs.insert(dialog, owner);
                subscriber.dialog = dialog;
                subscriber.notified(&mut cx, tx, dialog, request);
                self.settle_subscription(id);
                return true;
            }
            // RFC 6665 §4.1.2.4, §4.4.1: a fork that comes late, or that the package or the bounds do not allow, gets a 481.
            let late = cx.now >= subscriber.forks_until || subscriber.forks >= cx.shared.config.max_forks;
            if full || late || subscriber.leaving || !forks(&subscriber.event) {
                cx.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST);
                return true;
            }
            subscriber.forks += 1;
            let dialog = cx.shared.dialogs.insert(dialog, Owner::Subscription(next));
            let mut fork = Subscriber {
                expires: subscriber.expires,
                extra: subscriber.extra.clone(),
                ..Subscriber::new(next, subscriber.event.clone(), dialog)
            };
            emit(&mut cx, next, SubscriptionEvent::Forked { original: id });
            fork.notified(&mut cx, tx, dialog, request);
            subscriptions.insert(Subscription::Subscriber(Box::new(fork)));
            self.settle_subscription(next);
            return true;
        }
        false
    }
}

impl Subscriber {
    fn new(id: SubscriptionId, event: header::Event, dialog: DialogKey) -> Self {
        Self {
            id,
            event,
            dialog,
            half: None,
            state: State::NotifyWait,
            expires: 0,
            extra: Extra::new(),
            request: None,
            leaving: false,
            raised: false,
            forks_until: Instant::ZERO,
            forks: 0,
            notify_wait: None,
            refresh: None,
            expiry: None,
        }
    }

    /// The subscription that a REFER of ours implies (RFC 3515 §2.4.4), in a session's dialog or, with `half`, in the one
    /// that the first NOTIFY makes. It is not refreshed; the notifier ends it.
    pub fn implied(
        cx: &mut Context<'_>,
        id: SubscriptionId,
        event: header::Event,
        dialog: DialogKey,
        half: Option<DialogKey>,
        refer: ClientTx,
    ) -> Self {
        let mut subscriber = Self { half, request: Some(refer), ..Self::new(id, event, dialog) };
        subscriber.wait_for_notify(cx);
        subscriber
    }

    /// Whether a NOTIFY with that Event is for this subscription. The first REFER of a dialog may leave the id out, and so
    /// may its NOTIFYs (RFC 3515 §2.4.6).
    pub fn takes(&self, event: &header::Event) -> bool {
        self.state != State::Terminated
            && (self.event.same_subscription(event)
                || (event.package == "refer" && self.event.package == "refer" && event.id.is_none()))
    }

    pub fn dialogs(&self) -> Vec<DialogKey> {
        [Some(self.dialog), self.half].into_iter().flatten().collect()
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Terminated && self.request.is_none()
    }

    pub fn wants(&self, timer: &Timer) -> bool {
        let armed = match timer.kind {
            TimerKind::NotifyWait => self.notify_wait,
            TimerKind::SubscriptionRefresh => self.refresh,
            TimerKind::SubscriptionExpiry => self.expiry,
            _ => None,
        };
        self.state != State::Terminated && armed == Some(timer.serial)
    }

    const fn owner(&self) -> Owner {
        Owner::Subscription(self.id)
    }

    /// Sends a SUBSCRIBE: the first, a refresh, or the last.
    fn send(&mut self, cx: &mut Context<'_>) {
        let expires = if self.leaving { 0 } else { self.expires };
        let extra = self
            .extra
            .clone()
            .header(HeaderName::Event, self.event.to_string())
            .header(HeaderName::Expires, expires.to_string());
        self.request = cx.request(self.owner(), self.dialog, Method::Subscribe, Arc::new(extra));
        self.wait_for_notify(cx);
    }

    /// Arms Timer N: every SUBSCRIBE is followed by a NOTIFY (RFC 6665 §4.1.2.4).
    fn wait_for_notify(&mut self, cx: &mut Context<'_>) {
        self.notify_wait = Some(cx.arm(self.owner(), TimerKind::NotifyWait, cx.shared.sip_timers.patience()));
    }

    fn leave(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Terminated || self.leaving {
            return;
        }
        self.leaving = true;
        self.refresh = None;
        // A first SUBSCRIBE still under way, or one without a dialog, cannot be taken back: its NOTIFY will be refused.
        if self.request.is_some() || Some(self.dialog) == self.half {
            self.end(cx, SubscriptionEnd::Local);
        } else {
            self.send(cx);
        }
    }

    pub fn response(&mut self, cx: &mut Context<'_>, tx: ClientTx, pending: &Pending, response: &Arc<Message>) {
        let Some(status) = response.status().filter(|status| status.is_final()) else { return };
        if self.request != Some(tx) {
            return;
        }
        self.request = None;
        if self.state == State::Terminated {
            return;
        }
        if status.is_success() {
            self.raised = false;
            if pending.method == Method::Refer {
                return self.referred(cx, response);
            }
            // RFC 6665 §4.1.2.1: what the 2xx grants holds until a NOTIFY says otherwise.
            let granted = response.expires().ok().flatten().unwrap_or(self.expires);
            if !self.leaving {
                self.lasts(cx, granted);
            }
            return;
        }
        if status == StatusCode::INTERVAL_TOO_BRIEF
            && let Ok(Some(least)) = response.min_expires()
            && least > self.expires
            && !std::mem::replace(&mut self.raised, true)
        {
            self.expires = least;
            return self.send(cx);
        }
        self.refused(cx, Failure::Response(Arc::clone(response)));
    }

    /// A REFER was accepted; without a subscription nothing more comes (RFC 4488 §4).
    fn referred(&mut self, cx: &mut Context<'_>, response: &Arc<Message>) {
        emit(cx, self.id, SubscriptionEvent::ReferAccepted { response: Arc::clone(response) });
        if matches!(ReferSub::of(response), Ok(Some(ReferSub(false)))) {
            self.end(cx, SubscriptionEnd::Local);
        }
    }

    pub fn failed(&mut self, cx: &mut Context<'_>, tx: ClientTx, failure: Failure) {
        if self.request == Some(tx) {
            self.request = None;
            self.refused(cx, failure);
        }
    }

    /// A SUBSCRIBE failed. A refresh that did leaves the subscription as it was until it expires, unless the notifier no
    /// longer knows it (RFC 6665 §4.1.2.2, RFC 5057 §5.1).
    fn refused(&mut self, cx: &mut Context<'_>, failure: Failure) {
        let lost = ends_subscription(failure.status()) || failure.status() == StatusCode::REQUEST_TIMEOUT;
        let established = matches!(self.state, State::Pending | State::Active);
        if self.state != State::Terminated && (!established || lost || self.leaving || self.expiry.is_none()) {
            self.end(cx, SubscriptionEnd::Refused(failure));
        }
        self.notify_wait = None;
    }

    /// A NOTIFY for this subscription, in order (RFC 6665 §4.1.3).
    pub fn notified(&mut self, cx: &mut Context<'_>, tx: ServerTx, dialog: DialogKey, request: &Arc<Message>) {
        let Ok(Some(state)) = SubscriptionState::of(request) else {
            return cx.refuse(tx, StatusCode::BAD_REQUEST);
        };
        if let Some(dialog) = cx.shared.dialogs.get_mut(dialog) {
            dialog.refresh_target(request);
            let _ = dialog.confirm(None);
        }
        cx.respond(tx, StatusCode::OK, Some(dialog), &Extra::new());
        emit(cx, self.id, SubscriptionEvent::Notified { state: state.clone(), request: Arc::clone(request) });
        match state.state {
            SubscriptionStatus::Terminated => return self.end(cx, SubscriptionEnd::Terminated(state)),
            SubscriptionStatus::Pending => self.state = State::Pending,
            SubscriptionStatus::Active | SubscriptionStatus::Other(_) => self.state = State::Active,
        }
        if self.leaving {
            return; // not the last one: Timer N ends it if that does not come
        }
        self.notify_wait = None;
        match state.expires {
            Some(expires) => self.lasts(cx, expires),
            // It ought to say (RFC 6665 §4.1.3): nothing lasts for ever.
            None if self.expiry.is_none() => self.lasts(cx, u32::MAX),
            None => {}
        }
    }

    /// It ends in `seconds` unless it is refreshed before; never later than asked for (RFC 6665 §4.1.2.1).
    fn lasts(&mut self, cx: &mut Context<'_>, seconds: u32) {
        let most = if self.expires > 0 { self.expires } else { LONGEST_IMPLIED };
        let seconds = seconds.min(most);
        let whole = Duration::from_secs(seconds.into());
        self.expiry = Some(cx.arm(self.owner(), TimerKind::SubscriptionExpiry, whole));
        // An implied subscription is the notifier's to keep (RFC 3515 §2.4.7).
        self.refresh = (self.expires > 0 && !self.leaving)
            .then(|| cx.arm(self.owner(), TimerKind::SubscriptionRefresh, refresh_after(whole)));
    }

    pub fn timeout(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer.kind {
            TimerKind::NotifyWait => {
                self.notify_wait = None;
                self.end(cx, if self.leaving { SubscriptionEnd::Local } else { SubscriptionEnd::NoNotify });
            }
            TimerKind::SubscriptionExpiry => self.end(cx, SubscriptionEnd::Expired),
            TimerKind::SubscriptionRefresh if self.request.is_none() => {
                self.refresh = None;
                self.send(cx);
            }
            _ => {}
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, how: SubscriptionEnd) {
        if self.state != State::Terminated {
            self.state = State::Terminated;
            emit(cx, self.id, SubscriptionEvent::Ended(how));
        }
    }
}

/// Longest life of a subscription that a REFER implies, in seconds: a day. The receiver says how long (RFC 3515 §2.4.7).
const LONGEST_IMPLIED: u32 = 86_400;

/// When to refresh what lasts so long: early enough for a lost SUBSCRIBE to be repeated for 32 s, if that leaves half.
pub(crate) fn refresh_after(whole: Duration) -> Duration {
    (whole / 2).max(whole.saturating_sub(Duration::from_secs(40)))
}

/// Whether a SUBSCRIBE of that package may reach several notifiers (RFC 6665 §5.4.9); `refer` may not (RFC 3515 §2.4.6),
/// nor may those whose state is one resource's.
fn forks(event: &header::Event) -> bool {
    matches!(event.package.as_str(), "dialog" | "presence" | "message-summary")
}
