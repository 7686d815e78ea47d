//! The node as notifier and event state compositor: SUBSCRIBE to registrations (RFC 3680), to presence (RFC 3856) and to
//! who watches one's presence (RFC 3857), and PUBLISH of presence (RFC 3903), for addresses of our domain.
//!
//! ```text
//!                SUBSCRIBE ┌───────────┐ Requested, StateOwed, StateDue, Ended
//!  proxy ─ asked ─────────▶│ subscribe │──▶ user_agent::Core ──▶ notify ──▶ NOTIFY
//!        │                 └───────────┘                           ▲
//!        │       PUBLISH   ┌───────────┐        News               │ looks into
//!        └────────────────▶│  publish  │──▶ every shard that has   │
//!  registration ──────────────────────────▶ watchers of it ────────┘
//!                                             Shared { watches · publications · location · users }
//! ```
//!
//! A shard notifies who subscribed through it. What is watched is shared; [`news`] say what has changed. Subscriptions and
//! publications are soft state: they do not survive the process. A phone that refreshes one of a former process is told
//! 481 or 412 and begins anew (RFC 6665 §4.1.2.2, RFC 3903 §4.4).
//!
//! Presence is nobody's business: a watcher whom the user has not allowed is `pending` for ever, without a body, and so is
//! one who watches somebody who does not exist. Nothing is kept for whoever has not proved to be a user of this node.

mod config;
mod news;
mod notify;
mod publications;
mod publish;
mod registrations;
mod subscribe;
mod tags;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant, Rng};
use farspeak_sip::endpoint::{self, ServerTx};
use farspeak_sip::event::SubscriptionId;
use farspeak_sip::event::package::Package;
use farspeak_sip::header;
use farspeak_sip::message::{Message, Method, Uri};
use farspeak_sip::timer::Timers;
use farspeak_sip::user_agent::{self, NextHop, UserAgentConfig};

pub use config::EventsConfig;
pub use news::{Cause, News};
pub(crate) use publications::Publications;
pub(crate) use watch::Watches;

use self::registrations::RegistrationView;
use self::tags::Tags;
use self::watch::WatchId;
use crate::domain::Aor;
use crate::proxy::Refusal;
use crate::shard::Core;
use crate::shared::Settings;

/// What can be watched here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Topic {
    /// Where a user's phones are: `reg`.
    Registrations,
    /// How a user is: `presence`.
    Presence,
    /// Who watches a user's presence: `presence.winfo`.
    Watchers,
}

impl Topic {
    const ALL: [Self; 3] = [Self::Registrations, Self::Presence, Self::Watchers];

    /// Package and template, as in Event and Allow-Events.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Registrations => "reg",
            Self::Presence => "presence",
            Self::Watchers => "presence.winfo",
        }
    }

    fn package(self) -> &'static Package {
        match self {
            Self::Registrations => &Package::REG,
            Self::Presence => &Package::PRESENCE,
            Self::Watchers => &Package::WINFO,
        }
    }

    fn of(request: &Message) -> Option<Self> {
        let event = header::Event::of(request).ok().flatten()?.event_type();
        Self::ALL.into_iter().find(|topic| topic.event_type() == event)
    }
}

/// Allow-Events of this node.
pub(crate) const ALLOW_EVENTS: &str = "presence, presence.winfo, reg";

/// What one shard notifies.
pub(crate) struct Notifier {
    agent: user_agent::Core,
    watchers: HashMap<SubscriptionId, Watcher>,
    by_aor: HashMap<Aor, Vec<SubscriptionId>>,
    flows: HashMap<FlowKey, usize>,
    news: news::Queue,
    /// When to look which publications have expired: of those that came in here.
    deadlines: BTreeSet<(Instant, Aor)>,
}

/// One subscription that this shard notifies.
#[derive(Debug)]
struct Watcher {
    /// Whom it watches.
    aor: Aor,
    /// Who watches.
    user: Arc<str>,
    watch: WatchId,
    view: View,
    /// Over which flow its NOTIFYs go.
    flow: Flow,
    /// The subscriber's Contact.
    contact: Box<str>,
    /// When its timer is due: no later than the first expiry in its view.
    armed: Option<Instant>,
}

/// What a watcher has been told.
#[derive(Debug)]
enum View {
    Registrations(RegistrationView),
    /// Whether it may be told anything.
    Presence {
        allowed: bool,
    },
    /// The next document's version.
    Watchers {
        version: u32,
    },
}

impl Watcher {
    const fn topic(&self) -> Topic {
        match self.view {
            View::Registrations(_) => Topic::Registrations,
            View::Presence { .. } => Topic::Presence,
            View::Watchers { .. } => Topic::Watchers,
        }
    }
}

/// What counts as one flow: a connection, or a peer's address.
type FlowKey = Result<FlowId, SocketAddr>;

fn flow_key(flow: &Flow) -> FlowKey {
    if flow.transport.is_reliable() && flow.id != FlowId::UNBOUND { Ok(flow.id) } else { Err(flow.remote) }
}

/// Phones are reached by the way they came: their Contact may be an address behind a NAT.
#[derive(Debug)]
struct TheWayItCame;

impl NextHop for TheWayItCame {
    fn next_hop(&mut self, _: &Uri<'_>, along: &Flow) -> Flow {
        *along
    }
}

impl Notifier {
    /// Nothing watched yet.
    pub(crate) fn new(settings: &Settings, timers: Timers, rng: &mut dyn Rng) -> Self {
        let mut config = UserAgentConfig::default();
        config.event_packages = Topic::ALL.map(|topic| topic.event_type().into()).to_vec();
        config.next_hop = Box::new(TheWayItCame);
        let agent = user_agent::Core::new(config, timers, Box::new(Tags::new(rng)));
        let (watchers, by_aor, flows) = Default::default();
        let mut notifier =
            Self { agent, watchers, by_aor, flows, news: Default::default(), deadlines: BTreeSet::new() };
        notifier.configure(settings);
        notifier
    }

    /// Takes over settings.
    pub(crate) fn configure(&mut self, settings: &Settings) {
        let config = self.agent.config_mut();
        config.max_subscriptions = settings.events.max_subscriptions;
        config.min_subscription = settings.events.min_seconds();
        config.max_subscription = settings.events.max_seconds();
        config.notify_pause = settings.events.notify_interval;
        config.public_name = settings.public_name.as_deref().map(Arc::from);
    }

    /// How many subscriptions this shard notifies, those that are ending included.
    pub(crate) fn len(&self) -> usize {
        self.agent.counts().subscriptions
    }

    /// What is left to do at a time.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        self.agent.poll_timeout().into_iter().chain(deadline).min()
    }

    /// Whether a subscription is still there.
    pub(crate) fn has(&self, id: SubscriptionId) -> bool {
        self.watchers.contains_key(&id)
    }

    fn ids(&self, aor: &Aor, topic: Topic) -> Vec<SubscriptionId> {
        let of_topic = |id: &&SubscriptionId| self.watchers.get(id).is_some_and(|it| it.topic() == topic);
        self.by_aor.get(aor).into_iter().flatten().filter(of_topic).copied().collect()
    }
}

/// A request that the node answers itself, as far as it can be told before anybody is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// To watch.
    Subscribe(Topic),
    /// To publish presence.
    Publish,
}

impl Asked {
    /// What of a request to an address of our domain is for us: everything else is for the user's phones.
    pub(crate) fn of(request: &Message) -> Option<Self> {
        match request.method()? {
            Method::Subscribe => Topic::of(request).map(Self::Subscribe),
            Method::Publish if request.to_tag().is_none() => {
                (Topic::of(request)? == Topic::Presence).then_some(Self::Publish)
            }
            _ => None,
        }
    }
}

impl Core {
    /// Does or refuses what is asked.
    pub(crate) fn asked(
        &mut self,
        now: Instant,
        tx: ServerTx,
        flow: Flow,
        request: &Arc<Message>,
        aor: Aor,
        asked: Asked,
    ) -> Result<(), Refusal> {
        match asked {
            Asked::Subscribe(_) if request.to_tag().is_some() => self.resubscribe(now, tx, flow, request),
            Asked::Subscribe(topic) => self.subscribe(now, tx, flow, request, aor, topic),
            Asked::Publish => self.publish(now, tx, flow, request, &aor),
        }
    }

    /// The notifier's part of what the transaction layer has to say; gives back what is the proxy's.
    pub(crate) fn for_notifier(&mut self, now: Instant, event: endpoint::Event) -> Option<endpoint::Event> {
        use endpoint::Event as Sip;
        let agent = &self.notifier.agent;
        let ours = match &event {
            Sip::Response { tx, .. }
            | Sip::TimedOut { tx }
            | Sip::TransportFailed { tx }
            | Sip::ClientTerminated { tx } => agent.owns_client(*tx),
            Sip::ServerTransportFailed { tx } | Sip::ServerTimedOut { tx } | Sip::ServerTerminated { tx } => {
                agent.owns_server(*tx)
            }
            _ => false,
        };
        if !ours {
            return Some(event);
        }
        self.agent(now).handle_event(event);
        None
    }

    /// What is due in the notifier.
    pub(crate) fn notifier_timeout(&mut self, now: Instant) {
        self.agent(now).handle_timeout();
        while self.notifier.deadlines.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, aor)) = self.notifier.deadlines.pop_first() else { break };
            if self.shared.publications.expire(now, &aor) {
                self.presence_changed(&aor);
            }
        }
    }

    fn agent(&mut self, now: Instant) -> user_agent::Agent<'_> {
        self.notifier.agent.at(now, &mut self.endpoint)
    }
}
