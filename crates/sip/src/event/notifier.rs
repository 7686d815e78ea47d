//! The notifier's end of a subscription (RFC 6665 §4.2): one NOTIFY at a time, the newest state only, not too often.

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant};

use super::subscription::{Subscription, SubscriptionEnd, SubscriptionEvent, SubscriptionId, emit, ends_subscription};
use crate::dialog::{Dialog, DialogKey};
use crate::endpoint::{ClientTx, ServerTx};
use crate::header::{self, Rate, RetryAfter, SubscriptionReason, SubscriptionState};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::session::{Done, VerbError};
use crate::user_agent::{Agent, Context, Extra, Owner, Timer, TimerKind};

/// One subscription, at the notifier.
#[derive(Debug)]
pub(crate) struct Notifier {
    id: SubscriptionId,
    pub event: header::Event,
    pub dialog: DialogKey,
    state: State,
    /// When it ends unless it is refreshed.
    expires: Instant,
    expiry: Option<u64>,
    /// The NOTIFY under way.
    in_flight: Option<InFlight>,
    /// The state that the next NOTIFY carries; older ones are forgotten.
    waiting: Option<Extra>,
    /// There is newer state, and the application shall be asked for it when a NOTIFY may leave.
    stale: bool,
    /// It has been asked, and has not answered yet.
    asked: bool,
    /// When the last NOTIFY left.
    last: Option<Instant>,
    /// How often in a row the subscriber has put a NOTIFY off.
    refusals: u32,
    /// Shortest time between two (RFC 6446 §4: `max-rate`, and our own bound).
    pause: Duration,
    throttle: Option<u64>,
    /// Longest time between two (RFC 6446 §6: `min-rate`).
    silence: Option<Duration>,
    reminder: Option<u64>,
    /// The last SUBSCRIBE, for the reminder.
    request: Option<Arc<Message>>,
}

/// A NOTIFY that waits for its response.
#[derive(Debug)]
struct InFlight {
    tx: ClientTx,
    /// What it carries, in case that it has to be said again.
    extra: Extra,
    /// Whether it says that the subscription is over.
    last: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// The application has not decided about the SUBSCRIBE.
    Requested(ServerTx, u32),
    /// Accepted, but the authorisation is open.
    Pending,
    Active,
    /// The last NOTIFY, with this reason, is still to leave.
    Ending(SubscriptionState),
    Terminated,
}

impl Agent<'_> {
    /// Accepts a subscription with a 200. `pending` holds it back until somebody authorises it (RFC 6665 §4.2.1);
    /// [`Self::activate`] does. `most` bounds its life in seconds. The application owes its state at once.
    pub fn accept_subscription(&mut self, id: SubscriptionId, pending: bool, most: u32) -> Done {
        self.with_notifier(id, |notifier, cx| {
            let (tx, wanted) = notifier.requested()?;
            let Some(request) = cx.endpoint.server_request(tx).cloned() else { return Err(VerbError::Gone) };
            let granted = wanted.min(most);
            notifier.state = if pending { State::Pending } else { State::Active };
            notifier.granted(cx, tx, granted);
            notifier.owe_state(cx, &request, granted == 0);
            Ok(())
        })
    }

    /// Refuses a subscription: 403, 489, 404, whatever the application decides.
    pub fn refuse_subscription(&mut self, id: SubscriptionId, status: StatusCode, extra: Extra) -> Done {
        self.with_notifier(id, |notifier, cx| {
            let (tx, _) = notifier.requested()?;
            cx.respond(tx, status, Some(notifier.dialog), &extra);
            notifier.cut(cx, SubscriptionEnd::Local);
            Ok(())
        })
    }

    /// A pending subscription is authorised: its state is owed.
    pub fn activate(&mut self, id: SubscriptionId) -> Done {
        self.with_notifier(id, |notifier, _| match notifier.state {
            State::Pending => {
                notifier.state = State::Active;
                Ok(())
            }
            State::Active => Ok(()),
            _ => Err(VerbError::WrongState),
        })
    }

    /// Notifies the subscriber of the state in `extra`, as soon as the pace allows; a newer state replaces one that still
    /// waits (RFC 6665 §4.2.2).
    pub fn notify(&mut self, id: SubscriptionId, extra: Extra) -> Done {
        self.with_notifier(id, |notifier, cx| {
            if matches!(notifier.state, State::Requested(..) | State::Terminated) {
                return Err(VerbError::WrongState);
            }
            notifier.tell(cx, extra);
            Ok(())
        })
    }

    /// The state has changed: as soon as the pace allows a NOTIFY, [`SubscriptionEvent::StateDue`] asks for it, once for
    /// all changes until then. For packages whose documents are numbered: no number is spent on one that is never sent.
    pub fn state_changed(&mut self, id: SubscriptionId) -> Done {
        self.with_notifier(id, |notifier, cx| {
            if !matches!(notifier.state, State::Pending | State::Active) {
                return Err(VerbError::WrongState);
            }
            notifier.stale = true;
            notifier.push(cx);
            Ok(())
        })
    }

    /// Sends the further requests of a subscription's dialog over that flow: the peer has come back over another one, as
    /// the application knows for sure.
    pub fn move_subscription(&mut self, id: SubscriptionId, flow: Flow) -> Done {
        self.with_notifier(id, |notifier, cx| {
            cx.shared.dialogs.get_mut(notifier.dialog).ok_or(VerbError::Gone)?.set_flow(flow);
            Ok(())
        })
    }

    /// Ends a subscription at the notifier's end, with a last NOTIFY (RFC 6665 §4.2.2).
    pub fn terminate(&mut self, id: SubscriptionId, state: SubscriptionState, extra: Extra) -> Done {
        self.with_notifier(id, |notifier, cx| {
            if matches!(notifier.state, State::Requested(..) | State::Terminated | State::Ending(_)) {
                return Err(VerbError::WrongState);
            }
            notifier.finish(cx, state, Some(extra));
            emit(cx, id, SubscriptionEvent::Ended(SubscriptionEnd::Local));
            Ok(())
        })
    }

    pub(super) fn with_notifier(
        &mut self,
        id: SubscriptionId,
        act: impl FnOnce(&mut Notifier, &mut Context<'_>) -> Done,
    ) -> Done {
        let (subscriptions, mut cx) = self.split_subscriptions();
        let Some(Subscription::Notifier(notifier)) = subscriptions.get_mut(id.0) else { return Err(VerbError::Gone) };
        let done = act(notifier, &mut cx);
        self.settle_subscription(id);
        done
    }

    /// A SUBSCRIBE outside any dialog: 489 for packages that the application does not have (RFC 6665 §4.2.1.1).
    pub(crate) fn incoming_subscribe(&mut self, tx: ServerTx, flow: Flow, request: Arc<Message>) {
        let (subscriptions, mut cx) = self.split_subscriptions();
        let event = match header::Event::of(&request) {
            Ok(Some(event)) => event,
            _ => return cx.refuse(tx, StatusCode::BAD_REQUEST),
        };
        if !cx.shared.config.event_packages.iter().any(|known| **known == *event.event_type()) {
            let allowed = cx.shared.config.event_packages.join(", ");
            let extra = Extra::new().header(HeaderName::AllowEvents, allowed);
            cx.respond(tx, StatusCode::BAD_EVENT, None, &extra);
            return;
        }
        if subscriptions.len() >= cx.shared.config.max_subscriptions {
            return cx.refuse(tx, StatusCode::SERVICE_UNAVAILABLE);
        }
        let wanted = match wanted(&mut cx, tx, &request) {
            Some(wanted) => wanted,
            None => return,
        };
        let (tag, seq, contact) = (cx.tag(), cx.first_seq(), cx.contact_for(&request, &flow));
        let dialog = match Dialog::accept(&request, tag, contact, seq, flow) {
            Ok(dialog) => dialog,
            Err(error) => return cx.refuse(tx, error.status()),
        };
        let id = SubscriptionId(subscriptions.next_key());
        let dialog = cx.shared.dialogs.insert(dialog, Owner::Subscription(id));
        cx.shared.servers.insert(tx, Owner::Subscription(id));
        let pace = cx.shared.config.notify_pause;
        let mut notifier = Notifier::new(id, event.clone(), dialog, State::Requested(tx, wanted), pace);
        notifier.await_decision(&mut cx);
        subscriptions.insert(Subscription::Notifier(Box::new(notifier)));
        emit(&mut cx, id, SubscriptionEvent::Requested { event, request });
    }
}

impl Notifier {
    fn new(id: SubscriptionId, event: header::Event, dialog: DialogKey, state: State, pace: Duration) -> Self {
        let pause = pause(&event).max(pace);
        let silence = rate(&event, Rate::MIN).map(|silence| silence.max(pause));
        Self {
            id,
            event,
            dialog,
            state,
            expires: Instant::ZERO,
            expiry: None,
            in_flight: None,
            waiting: None,
            stale: false,
            asked: false,
            last: None,
            refusals: 0,
            pause,
            throttle: None,
            silence,
            reminder: None,
            request: None,
        }
    }

    /// One that waits for the application to decide, unpaced.
    pub fn requested_by(
        id: SubscriptionId,
        event: header::Event,
        dialog: DialogKey,
        tx: ServerTx,
        wanted: u32,
    ) -> Self {
        Self::new(id, event, dialog, State::Requested(tx, wanted), Duration::ZERO)
    }

    /// The request that waits for a decision, and how long it asks for.
    pub fn requested(&self) -> Result<(ServerTx, u32), VerbError> {
        match self.state {
            State::Requested(tx, wanted) => Ok((tx, wanted)),
            _ => Err(VerbError::WrongState),
        }
    }

    /// The application must decide before the subscriber gives up.
    pub fn await_decision(&mut self, cx: &mut Context<'_>) {
        self.expiry = Some(cx.arm(self.owner(), TimerKind::SubscriptionExpiry, cx.shared.config.offer_timeout));
    }

    /// It is active for `seconds`.
    pub fn begin(&mut self, cx: &mut Context<'_>, seconds: u32) {
        self.state = State::Active;
        self.lasts(cx, seconds);
    }

    /// The state for the next notification.
    pub fn tell(&mut self, cx: &mut Context<'_>, extra: Extra) {
        self.waiting = Some(extra);
        (self.stale, self.asked) = (false, false);
        self.push(cx);
    }

    /// It is over without a notification.
    pub fn cut(&mut self, cx: &mut Context<'_>, end: SubscriptionEnd) {
        self.state = State::Terminated;
        emit(cx, self.id, SubscriptionEvent::Ended(end));
    }

    const fn owner(&self) -> Owner {
        Owner::Subscription(self.id)
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Terminated && self.in_flight.is_none()
    }

    pub fn wants(&self, timer: &Timer) -> bool {
        let armed = match timer.kind {
            TimerKind::SubscriptionExpiry => self.expiry,
            TimerKind::NotifyPause => self.throttle,
            TimerKind::NotifyReminder => self.reminder,
            _ => None,
        };
        self.state != State::Terminated && armed == Some(timer.serial)
    }

    /// A SUBSCRIBE in the dialog: a refresh, or the end with Expires 0 (RFC 6665 §4.2.1.4).
    pub fn refreshed(&mut self, cx: &mut Context<'_>, tx: ServerTx, request: &Arc<Message>) {
        match self.state {
            State::Pending | State::Active => {}
            // Over, or refreshed before the first answer.
            _ => return cx.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST),
        }
        let Some(wanted) = wanted(cx, tx, request) else { return };
        if let Some(dialog) = cx.shared.dialogs.get_mut(self.dialog) {
            dialog.refresh_target(request);
        }
        let granted = wanted.min(cx.shared.config.max_subscription);
        self.granted(cx, tx, granted);
        self.owe_state(cx, request, granted == 0);
    }

    fn granted(&mut self, cx: &mut Context<'_>, tx: ServerTx, seconds: u32) {
        let extra = Extra::new().header(HeaderName::Expires, seconds.to_string());
        cx.respond(tx, StatusCode::OK, Some(self.dialog), &extra);
        if let Some(dialog) = cx.shared.dialogs.get_mut(self.dialog) {
            let _ = dialog.confirm(None);
        }
        self.lasts(cx, seconds);
    }

    fn lasts(&mut self, cx: &mut Context<'_>, seconds: u32) {
        let whole = Duration::from_secs(seconds.into());
        self.expires = cx.now + whole;
        self.expiry = (seconds > 0).then(|| cx.arm(self.owner(), TimerKind::SubscriptionExpiry, whole));
    }

    /// Asks the application for the complete state. The last one ends the subscription whether or not it comes.
    fn owe_state(&mut self, cx: &mut Context<'_>, request: &Arc<Message>, last: bool) {
        self.request = self.silence.map(|_| Arc::clone(request));
        emit(cx, self.id, SubscriptionEvent::StateOwed { request: Arc::clone(request), last });
        if last {
            self.state = State::Ending(SubscriptionState::terminated(SubscriptionReason::Timeout));
            // The pace gives the application its turn to hand in the state.
            self.throttle = Some(cx.arm(self.owner(), TimerKind::NotifyPause, Duration::from_millis(100)));
            emit(cx, self.id, SubscriptionEvent::Ended(SubscriptionEnd::Left));
        }
    }

    /// The last NOTIFY shall leave.
    fn finish(&mut self, cx: &mut Context<'_>, state: SubscriptionState, extra: Option<Extra>) {
        self.state = State::Ending(state);
        self.waiting = extra.or(self.waiting.take());
        self.expiry = None;
        self.send(cx);
    }

    /// Sends what waits, unless a NOTIFY is under way or the last one is too recent.
    fn push(&mut self, cx: &mut Context<'_>) {
        let ending = matches!(self.state, State::Ending(_));
        let nothing = self.waiting.is_none() && (!self.stale || self.asked);
        if self.in_flight.is_some() || nothing || (self.throttle.is_some() && !ending) {
            return;
        }
        let since = self.last.map(|last| cx.now.saturating_since(last));
        match since {
            Some(since) if since < self.pause && !ending => {
                self.throttle = Some(cx.arm(self.owner(), TimerKind::NotifyPause, self.pause - since));
            }
            _ if self.waiting.is_none() => {
                self.asked = true;
                emit(cx, self.id, SubscriptionEvent::StateDue);
            }
            _ => self.send(cx),
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        if self.in_flight.is_some() {
            return; // its end sends the rest
        }
        let left = self.expires.saturating_since(cx.now).as_secs() as u32;
        let state = match &self.state {
            State::Pending => SubscriptionState::pending(left),
            State::Active => SubscriptionState::active(left),
            State::Ending(state) => state.clone(),
            State::Requested(..) | State::Terminated => return,
        };
        let content = self.waiting.take().unwrap_or_default();
        let extra = content
            .clone()
            .header(HeaderName::Event, self.event.to_string())
            .header(HeaderName::SubscriptionState, state.to_string());
        self.last = Some(cx.now);
        self.throttle = None;
        self.reminder = self.silence.map(|silence| cx.arm(self.owner(), TimerKind::NotifyReminder, silence));
        let last = matches!(self.state, State::Ending(_));
        let tx = cx.request(self.owner(), self.dialog, Method::Notify, Arc::new(extra));
        self.in_flight = tx.map(|tx| InFlight { tx, extra: content, last });
        if self.in_flight.is_none() {
            self.lost(cx);
        }
    }

    /// RFC 6665 §4.2.2: a NOTIFY that the subscriber does not know, or does not answer, or puts off again and again, ends
    /// the subscription.
    pub fn response(&mut self, cx: &mut Context<'_>, tx: ClientTx, response: &Message) {
        let Some(status) = response.status().filter(|status| status.is_final()) else { return };
        let Some(sent) = self.in_flight.take_if(|sent| sent.tx == tx) else { return };
        if status.is_success() {
            self.refusals = 0;
            if sent.last {
                self.state = State::Terminated;
            }
            return self.next(cx);
        }
        self.refusals += 1;
        let put_off = retry_after(response).filter(|_| !ends_subscription(status) && self.refusals <= MAX_REFUSALS);
        let Some(seconds) = put_off else { return self.lost(cx) };
        // What could not be taken now is said again, unless there is newer state by then.
        self.waiting.get_or_insert(sent.extra);
        self.throttle = Some(cx.arm(self.owner(), TimerKind::NotifyPause, Duration::from_secs(seconds.into())));
    }

    pub fn failed(&mut self, cx: &mut Context<'_>, tx: ClientTx) {
        if self.in_flight.take_if(|sent| sent.tx == tx).is_some() {
            self.lost(cx);
        }
    }

    fn lost(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.state, State::Terminated | State::Ending(_)) {
            emit(cx, self.id, SubscriptionEvent::Ended(SubscriptionEnd::Left));
        }
        self.state = State::Terminated;
    }

    fn next(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Ending(_) => self.send(cx),
            _ => self.push(cx),
        }
    }

    pub fn timeout(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer.kind {
            TimerKind::NotifyPause => {
                self.throttle = None;
                self.next(cx);
            }
            TimerKind::NotifyReminder if matches!(self.state, State::Pending | State::Active) => {
                self.reminder = None;
                if let Some(request) = self.request.clone() {
                    self.owe_state(cx, &request, false);
                }
            }
            TimerKind::SubscriptionExpiry if matches!(self.state, State::Requested(..)) => {
                if let Ok((tx, _)) = self.requested() {
                    cx.respond(tx, StatusCode::TEMPORARILY_UNAVAILABLE, Some(self.dialog), &Extra::new());
                }
                self.cut(cx, SubscriptionEnd::Expired);
            }
            TimerKind::SubscriptionExpiry if !matches!(self.state, State::Ending(_)) => {
                emit(cx, self.id, SubscriptionEvent::Ended(SubscriptionEnd::Expired));
                self.finish(cx, SubscriptionState::terminated(SubscriptionReason::Timeout), None);
            }
            _ => {}
        }
    }
}

/// How long the subscriber asks for, 3600 s if it does not say; `None` after a 400 or 423 (RFC 6665 §4.2.1.1).
fn wanted(cx: &mut Context<'_>, tx: ServerTx, request: &Message) -> Option<u32> {
    let (least, default) = (cx.shared.config.min_subscription, 3600);
    match request.expires() {
        Err(_) => {
            cx.refuse(tx, StatusCode::BAD_REQUEST);
            None
        }
        // RFC 6665 §4.2.1.1: only what is below an hour may be too brief.
        Ok(Some(seconds)) if seconds > 0 && seconds < least.min(3600) => {
            let extra = Extra::new().header(HeaderName::MinExpires, least.to_string());
            cx.respond(tx, StatusCode::INTERVAL_TOO_BRIEF, None, &extra);
            None
        }
        Ok(seconds) => Some(seconds.unwrap_or(default).min(cx.shared.config.max_subscription)),
    }
}

/// When a refused NOTIFY may be sent again, in seconds; not beyond a minute.
fn retry_after(response: &Message) -> Option<u32> {
    let retry = RetryAfter::of(response).ok().flatten()?;
    Some(retry.seconds).filter(|seconds| *seconds <= 60)
}

/// The pause that the subscriber asks for by `max-rate` (RFC 6446 §5.1).
fn pause(event: &header::Event) -> Duration {
    rate(event, Rate::MAX).unwrap_or_default()
}

/// The time between two notifications at a rate of the Event's parameters.
fn rate(event: &header::Event, name: &str) -> Option<Duration> {
    Rate::of(&event.params, name)?.interval().map(|interval| interval.min(LONGEST_PAUSE))
}

/// Most times in a row that a subscriber may put a NOTIFY off by a Retry-After.
const MAX_REFUSALS: u32 = 4;

/// Nobody is kept waiting longer than this between two notifications.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
