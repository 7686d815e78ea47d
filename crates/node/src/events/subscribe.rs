//! SUBSCRIBE: who may watch what, and how many (RFC 6665 §4.2.1, RFC 3680 §4.6, RFC 3856 §6.6, RFC 3857 §4.6).

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::event::package::watcher::{WatcherEvent, WatcherStatus};
use farspeak_sip::event::{SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::Accept;
use farspeak_sip::message::{Contacts, HeaderName, Message, StatusCode};
use farspeak_sip::user_agent;

use super::registrations::RegistrationView;
use super::watch::{Watch, WatchId};
use super::{Topic, View, Watcher, flow_key};
use crate::domain::Aor;
use crate::policy::Originator;
use crate::proxy::Refusal;
use crate::shard::Core;
use crate::shared::Counters;
use crate::users::User;

impl Core {
    /// A SUBSCRIBE that begins a subscription.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        tx: ServerTx,
        flow: Flow,
        request: &Arc<Message>,
        aor: Aor,
        topic: Topic,
    ) -> Result<(), Refusal> {
        let user = self.prove_user(now, &flow, request)?;
        let status = self.authorise(topic, &aor, &user).map_err(Refusal::kept)?;
        check_accept(request, topic).map_err(Refusal::kept)?;
        let watch = Watch {
            id: WatchId(0),
            shard: self.id,
            topic,
            user: user.name.as_str().into(),
            status,
            event: if status == WatcherStatus::Active { WatcherEvent::Approved } else { WatcherEvent::Subscribe },
            since: now,
        };
        let on_flow = self.notifier.flows.get(&flow_key(&flow)).copied().unwrap_or(0);
        let crowded = on_flow >= self.settings.events.max_per_flow;
        let entered = if crowded { None } else { self.shared.watches.enter(&self.settings.events, &aor, watch).ok() };
        let Some(id) = entered else {
            Counters::count(&self.shared.counters.overloaded);
            return Err(Refusal::overloaded().kept());
        };
        self.agent(now).request(tx, flow, Arc::clone(request));
        let Some(subscription) = self.requested() else {
            // Answered already: 400, 420 or 423.
            self.shared.watches.leave(&aor, id);
            return Ok(());
        };
        let allowed = status == WatcherStatus::Active;
        let view = match topic {
            Topic::Registrations => View::Registrations(RegistrationView::default()),
            Topic::Presence => View::Presence { allowed },
            Topic::Watchers => View::Watchers { version: 0 },
        };
        let watcher = Watcher {
            aor: aor.clone(),
            user: user.name.as_str().into(),
            watch: id,
            view,
            flow,
            contact: contact(request).into(),
            armed: None,
        };
        self.notifier.watchers.insert(subscription, watcher);
        self.notifier.by_aor.entry(aor.clone()).or_default().push(subscription);
        *self.notifier.flows.entry(flow_key(&flow)).or_default() += 1;
        Counters::count(&self.shared.counters.subscriptions);
        let most = self.settings.events.max_seconds();
        // It was asked for a moment ago.
        let _ = self.agent(now).accept_subscription(subscription, !allowed, most);
        if topic == Topic::Presence {
            self.watchers_changed(&aor);
        }
        Ok(())
    }

    /// A SUBSCRIBE in a dialog: it refreshes a subscription or ends it. Only who made it may, over whatever flow; who
    /// refreshes one that is not here (it was made before a restart, or ended) is told so.
    pub(super) fn resubscribe(
        &mut self,
        now: Instant,
        tx: ServerTx,
        flow: Flow,
        request: &Arc<Message>,
    ) -> Result<(), Refusal> {
        let user = self.prove_user(now, &flow, request)?;
        let id = self.notifier.agent.subscription_of(request);
        let watcher = id.and_then(|id| self.notifier.watchers.get_mut(&id));
        let (Some(id), Some(watcher)) = (id, watcher.filter(|it| *it.user == *user.name)) else {
            return Err(Refusal::new(StatusCode::CALL_DOES_NOT_EXIST).kept());
        };
        if watcher.flow != flow {
            let old = std::mem::replace(&mut watcher.flow, flow);
            self.left_flow(&old);
            *self.notifier.flows.entry(flow_key(&flow)).or_default() += 1;
            let _ = self.agent(now).move_subscription(id, flow);
        }
        if let Some(watcher) = self.notifier.watchers.get_mut(&id) {
            watcher.contact = contact(request).into();
        }
        self.agent(now).request(tx, flow, Arc::clone(request));
        Ok(())
    }

    /// Whose request it is. Nobody watches or publishes namelessly.
    pub(super) fn prove_user(&self, now: Instant, flow: &Flow, request: &Message) -> Result<Arc<User>, Refusal> {
        let user = self.prove(now, flow, request, crate::policy::Target::User { open_to_strangers: false })?;
        let Some(user) = user else { return Err(Refusal::new(StatusCode::FORBIDDEN).kept()) };
        if self.authenticator().originator(flow, request, Some(&user)) != Originator::Authenticated {
            return Err(Refusal::new(StatusCode::ANONYMITY_DISALLOWED).kept());
        }
        Ok(user)
    }

    /// Whether the watcher may be told anything, is left waiting, or is refused. What users of this node may not know of
    /// each other does not show in it: neither who exists nor who allows whom.
    fn authorise(&self, topic: Topic, aor: &Aor, user: &User) -> Result<WatcherStatus, Refusal> {
        if *aor == self.settings.domain.aor_of_user(&user.name) {
            return Ok(WatcherStatus::Active);
        }
        match topic {
            Topic::Presence if self.may_see(aor, &user.name) => Ok(WatcherStatus::Active),
            Topic::Presence => Ok(WatcherStatus::Pending),
            Topic::Registrations if self.settings.events.registrations_to.contains(&user.name) => {
                match self.shared.users.get(aor.user()) {
                    Some(_) => Ok(WatcherStatus::Active),
                    None => Err(Refusal::new(StatusCode::NOT_FOUND)),
                }
            }
            Topic::Registrations | Topic::Watchers => Err(Refusal::new(StatusCode::FORBIDDEN)),
        }
    }

    /// Whether `name` may see the presence at `aor`.
    pub(super) fn may_see(&self, aor: &Aor, name: &str) -> bool {
        aor.user() == name || self.shared.users.get(aor.user()).is_some_and(|user| user.presence_to.allows(name))
    }

    /// The subscription that the SUBSCRIBE handed over just now has made, unless the user agent refused it.
    fn requested(&mut self) -> Option<SubscriptionId> {
        match self.notifier.agent.poll_event()? {
            user_agent::Event::Subscription { subscription, event: SubscriptionEvent::Requested { .. } } => {
                Some(subscription)
            }
            _ => None,
        }
    }

    /// One subscription less goes over that flow.
    pub(super) fn left_flow(&mut self, flow: &Flow) {
        let key = flow_key(flow);
        if let Some(count) = self.notifier.flows.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.notifier.flows.remove(&key);
            }
        }
    }
}

/// Who says what it understands has to understand what we say (RFC 6665 §4.2.1.1 by RFC 3261 §21.4.7).
fn check_accept(request: &Message, topic: Topic) -> Result<(), Refusal> {
    if request.header(HeaderName::Accept).is_none() {
        return Ok(());
    }
    let ours = topic.package().accept;
    match Accept::of(request) {
        Ok(accept) if ours.iter().any(|body| accept.accepts(body)) => Ok(()),
        Ok(_) => Err(Refusal::new(StatusCode::NOT_ACCEPTABLE).header(HeaderName::Accept, ours.join(", "))),
        Err(error) => Err(Refusal::new(error.status()).reason(error.reason())),
    }
}

fn contact(request: &Message) -> String {
    match request.contacts() {
        Ok(Contacts::List(mut contacts)) => {
            contacts.next().and_then(Result::ok).map_or_else(String::new, |contact| contact.uri_text.to_owned())
        }
        _ => String::new(),
    }
}
