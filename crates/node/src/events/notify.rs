//! What watchers are told, and when: bodies for NOTIFYs, changes of permission, and the end of subscriptions
//! (RFC 6665 §4.2.2).

use farspeak_sansio::Instant;
use farspeak_sip::event::package::DocumentState;
use farspeak_sip::event::package::presence::Presence;
use farspeak_sip::event::package::reg::RegInfo;
use farspeak_sip::event::package::watcher::{self, WatcherInfo, WatcherList};
use farspeak_sip::event::{SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{SubscriptionReason, SubscriptionState};
use farspeak_sip::message::Uri;
use farspeak_sip::user_agent::{Body, Event, Extra};

use super::{Cause, News, Topic, View};
use crate::domain::Aor;
use crate::shard::{Core, Timer};

impl Core {
    /// Does what subscriptions and news ask for, until both are silent. Gives whether there was anything.
    pub(crate) fn attend(&mut self, now: Instant) -> bool {
        let mut any = false;
        loop {
            if let Some(event) = self.notifier.agent.poll_event() {
                if let Event::Subscription { subscription, event } = event {
                    self.subscription_event(now, subscription, &event);
                }
            } else if let Some(news) = self.notifier.news.pop_front() {
                self.heard(now, news);
            } else {
                return any;
            }
            any = true;
        }
    }

    fn subscription_event(&mut self, now: Instant, id: SubscriptionId, event: &SubscriptionEvent) {
        match event {
            SubscriptionEvent::StateOwed { .. } | SubscriptionEvent::StateDue => self.notify(now, id),
            SubscriptionEvent::Ended(_) => self.forget(id),
            _ => {}
        }
    }

    fn notify(&mut self, now: Instant, id: SubscriptionId) {
        self.follow(now, id);
        let bindings = match self.notifier.watchers.get(&id) {
            Some(watcher) if watcher.topic() == Topic::Registrations => {
                self.shared.location.bindings(now, &watcher.aor)
            }
            Some(_) => Vec::new(),
            None => return,
        };
        let Some(watcher) = self.notifier.watchers.get_mut(&id) else { return };
        let entity = || format!("sip:{}", watcher.aor.as_str());
        let body = match &mut watcher.view {
            // RFC 3856 §6.6.2: what is pending is told nothing; the first NOTIFY may be without a body.
            View::Presence { allowed: false } => None,
            View::Presence { allowed: true } => {
                let document = self.shared.publications.document(now, &watcher.aor, &entity());
                Some(Body::new(Presence::MIME, document))
            }
            View::Registrations(view) => {
                view.update(now, &bindings, Cause::Phone);
                let document = view.document(now, &watcher.aor, &self.shared.keys.branch);
                Some(Body::new(RegInfo::MIME, document.write()))
            }
            View::Watchers { version } => {
                let watches = self.shared.watches.list(&watcher.aor, Topic::Presence);
                let domain = &self.settings.domain;
                let own = watcher.aor.user();
                // RFC 3857 §4.7: oneself is no watcher that one has to decide about.
                let others = watches.iter().filter(|watch| *watch.user != *own);
                let list = others.map(|watch| {
                    let uri = format!("sip:{}", domain.aor_of_user(&watch.user).as_str());
                    let mut it = watcher::Watcher::new(format!("w{}", watch.id.0), watch.status, watch.event, uri);
                    it.duration_subscribed = Some(now.saturating_since(watch.since).as_secs());
                    it
                });
                let list = WatcherList::new(entity(), Topic::Presence.event_type(), list.collect());
                let document = WatcherInfo { version: *version, state: DocumentState::Full, lists: vec![list] };
                *version = version.wrapping_add(1);
                Some(Body::new(WatcherInfo::MIME, document.write()))
            }
        };
        let extra = body.map_or_else(Extra::new, |body| Extra::new().body(body));
        let _ = self.agent(now).notify(id, extra); // it has ended if it refuses
        self.arm_expiry(now, id);
    }

    /// If the connection of the watcher's phone is gone, its NOTIFYs go where the same user has registered the same
    /// Contact since.
    fn follow(&mut self, now: Instant, id: SubscriptionId) {
        let Some(watcher) = self.notifier.watchers.get(&id) else { return };
        if !self.shared.is_dead(&watcher.flow) {
            return;
        }
        let Ok(uri) = Uri::parse(&watcher.contact) else { return };
        let user = self.settings.domain.aor_of_user(&watcher.user);
        let phones = self.shared.location.all_by_contact(now, &uri);
        let own = phones.iter().filter(|phone| *phone.aor() == user).max_by_key(|phone| phone.version());
        let Some(flow) = own.and_then(|phone| phone.flow()).filter(|flow| !self.shared.is_dead(flow)) else { return };
        let old = watcher.flow;
        self.left_flow(&old);
        *self.notifier.flows.entry(super::flow_key(&flow)).or_default() += 1;
        if let Some(watcher) = self.notifier.watchers.get_mut(&id) {
            watcher.flow = flow;
        }
        let _ = self.agent(now).move_subscription(id, flow);
    }

    /// Watchers of registrations are told of an expiry at its time.
    fn arm_expiry(&mut self, now: Instant, id: SubscriptionId) {
        let Some(watcher) = self.notifier.watchers.get_mut(&id) else { return };
        let View::Registrations(view) = &watcher.view else { return };
        let Some(first) = view.first_expiry() else { return };
        if watcher.armed.is_none_or(|armed| first < armed) {
            watcher.armed = Some(first);
            self.timers.arm(now, first.saturating_since(now), Timer::Watched(id));
        }
    }

    /// A watched contact may have expired.
    pub(crate) fn watched_expiry(&mut self, now: Instant, id: SubscriptionId) {
        let Some(watcher) = self.notifier.watchers.get_mut(&id) else { return };
        if watcher.armed.is_none_or(|armed| now < armed) {
            return; // an earlier timer took over
        }
        watcher.armed = None;
        let bindings = self.shared.location.bindings(now, &watcher.aor);
        let View::Registrations(view) = &mut watcher.view else { return };
        if view.update(now, &bindings, Cause::Phone) {
            let _ = self.agent(now).state_changed(id);
        }
        self.arm_expiry(now, id);
    }

    /// Registrations have changed: each watcher's view finds out how.
    pub(super) fn registrations_moved(&mut self, now: Instant, aor: &Aor, cause: Cause) {
        let ids = self.notifier.ids(aor, Topic::Registrations);
        if ids.is_empty() {
            return;
        }
        let bindings = self.shared.location.bindings(now, aor);
        for id in ids {
            let Some(watcher) = self.notifier.watchers.get_mut(&id) else { continue };
            let View::Registrations(view) = &mut watcher.view else { continue };
            if view.update(now, &bindings, cause) {
                let _ = self.agent(now).state_changed(id);
            }
            self.arm_expiry(now, id);
        }
    }

    /// Whoever may be told of `aor`'s presence, or of who watches it, is told as soon as the pace allows.
    pub(super) fn state_changed(&mut self, now: Instant, aor: &Aor, topic: Topic) {
        for id in self.notifier.ids(aor, topic) {
            let view = self.notifier.watchers.get(&id).map(|watcher| &watcher.view);
            if !matches!(view, None | Some(View::Presence { allowed: false })) {
                let _ = self.agent(now).state_changed(id);
            }
        }
    }

    /// A user has changed who may see the user's presence, or has come or gone.
    pub(super) fn reconsider(&mut self, now: Instant, name: &str) {
        let aor = self.settings.domain.aor_of_user(name);
        for id in self.notifier.ids(&aor, Topic::Presence) {
            let Some(watcher) = self.notifier.watchers.get(&id) else { continue };
            let (before, after) =
                (matches!(watcher.view, View::Presence { allowed: true }), self.may_see(&aor, &watcher.user));
            match (before, after) {
                (false, true) => self.allow(now, id),
                // The watcher subscribes anew and is pending, as it would be had it never been allowed.
                (true, false) => {
                    let state = SubscriptionState::terminated(SubscriptionReason::Deactivated);
                    let _ = self.agent(now).terminate(id, state, Extra::new());
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    fn allow(&mut self, now: Instant, id: SubscriptionId) {
        let Some(watcher) = self.notifier.watchers.get_mut(&id) else { return };
        watcher.view = View::Presence { allowed: true };
        let (aor, watch) = (watcher.aor.clone(), watcher.watch);
        self.shared.watches.approve(&aor, watch);
        let mut agent = self.agent(now);
        let _ = agent.activate(id);
        let _ = agent.state_changed(id);
        self.watchers_changed(&aor);
    }

    /// Ends what a user watches: with a new password the user subscribes again, one who is gone does not.
    pub(super) fn end_subscriptions_of(&mut self, now: Instant, name: &str, gone: bool) {
        let theirs = |(id, watcher): (&SubscriptionId, &super::Watcher)| (*watcher.user == *name).then_some(*id);
        let ids: Vec<SubscriptionId> = self.notifier.watchers.iter().filter_map(theirs).collect();
        let reason = if gone { SubscriptionReason::Rejected } else { SubscriptionReason::Deactivated };
        for id in ids {
            let _ = self.agent(now).terminate(id, SubscriptionState::terminated(reason.clone()), Extra::new());
        }
    }

    /// The published presence of `aor` has changed.
    pub(super) fn presence_changed(&mut self, aor: &Aor) {
        self.tell(aor, Topic::Presence, &News::Presence { aor: aor.clone() });
    }

    /// A subscription has ended; its last NOTIFY is the user agent's.
    fn forget(&mut self, id: SubscriptionId) {
        let Some(watcher) = self.notifier.watchers.remove(&id) else { return };
        if let Some(ids) = self.notifier.by_aor.get_mut(&watcher.aor) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.notifier.by_aor.remove(&watcher.aor);
            }
        }
        self.left_flow(&watcher.flow);
        self.shared.watches.leave(&watcher.aor, watcher.watch);
        if watcher.topic() == Topic::Presence {
            self.watchers_changed(&watcher.aor);
        }
    }
}
