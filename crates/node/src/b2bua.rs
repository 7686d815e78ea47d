//! A back-to-back user agent (RFC 7092: signalling-plane B2BUA): two sessions joined into one call, where a proxy is not
//! enough.
//!
//! ```text
//!             ┌────────────────────────── shard ──────────────────────────┐
//!  alice ───▶ │ proxy ──hairpin──▶ leg A │ join │ leg B ──hairpin──▶ proxy │ ───▶ bob
//!             └───────────────────────────────────────────────────────────┘
//! ```
//!
//! It is a user agent *behind* the proxy of its own shard: what it sends and receives travels over an internal flow
//! ([`hairpin`]) that no socket stands for. So location, forking, policy, flow tokens and Record-Route stay the proxy's,
//! and each leg is a call of its own to it. [`Joining`] says which calls take this way; all others never see it.
//!
//! Nothing of one side's Via, Record-Route, Contact, Call-ID or tags shows on the other. Everything that need not be
//! understood passes: bodies byte for byte, header fields in their order ([`headers`]), failures with what they say.
//! Each file below is one thing that passes between the legs, in both directions: [`call`] the set-up, [`change`] offers
//! and answers later on, [`end`] hanging up, [`within`] other requests, [`refer`] transfers, [`dialogs`] names of dialogs.

mod call;
mod change;
mod choice;
mod dialogs;
mod end;
pub(crate) mod hairpin;
mod headers;
mod join;
mod random;
mod refer;
mod within;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine as _, Receive, Transmit};
use farspeak_sip::endpoint::{Endpoint, EndpointConfig, ServerTx};
use farspeak_sip::event::SubscriptionId;
use farspeak_sip::message::StatusCode;
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Agent, Core, Event, Extra, RequestId, UserAgentConfig};

use crate::domain::Domain;
use crate::shared::Settings;
pub use choice::{Joining, Which};
pub(crate) use dialogs::Dialogs;
use join::{Join, Side};
use random::Keyed;

/// The back-to-back user agent of one shard.
pub(crate) struct B2bua {
    core: Core,
    endpoint: Endpoint,
    flow: Flow,
    /// The joined calls, by a number that is never used again.
    joins: HashMap<u64, Join>,
    next_join: u64,
    /// Which half of which call a session is.
    sides: HashMap<SessionId, (u64, Side)>,
    /// The calls by the Call-ID of their leg B, to know them again if they come back.
    calls: HashMap<Arc<str>, u64>,
    /// Requests passed on inside sessions, by what was sent.
    relayed: HashMap<RequestId, Relayed>,
    /// Subscriptions that REFERs made, each with the one on the other side.
    refers: HashMap<SubscriptionId, SubscriptionId>,
    /// The dialogs of all shards that are joined.
    dialogs: Arc<Dialogs>,
}

/// A request that waits for the other side's response.
struct Relayed {
    /// To answer it.
    tx: ServerTx,
    /// The session it was sent on in.
    to: SessionId,
}

/// Most calls that are joined at once in a shard; further ones get a 503.
const MAX_JOINS: usize = 10_000;

/// How long an answer may take to come from the other side. Below Timer F (32 s), which the peer waits for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

impl B2bua {
    /// One without calls. `shard` is the number that branches and the internal flow have, `seed` is secret randomness.
    pub(crate) fn new(shard: u8, seed: [u64; 4], settings: &Settings, dialogs: Arc<Dialogs>) -> Self {
        let mut config = UserAgentConfig::default();
        config.relays = true;
        config.max_sessions = 2 * MAX_JOINS;
        config.max_subscriptions = 2 * MAX_JOINS;
        // The proxy's Timer C ends what rings too long, at both legs.
        config.ring_timeout = settings.proxy.timer_c * 2;
        config.answer_timeout = settings.proxy.timer_c * 2;
        config.offer_timeout = ANSWER_WITHIN;
        // The notifier has its own pace.
        config.notify_pause = Duration::ZERO;
        let mut endpoint = EndpointConfig::default();
        endpoint.shard = shard;
        endpoint.limits = settings.limits.clone();
        let core = Core::new(config, endpoint.timers, Box::new(Keyed::new([seed[0], seed[1]])));
        Self {
            core,
            endpoint: Endpoint::new(endpoint, Box::new(Keyed::new([seed[2], seed[3]]))),
            flow: hairpin::flow(shard),
            joins: HashMap::new(),
            next_join: 0,
            sides: HashMap::new(),
            calls: HashMap::new(),
            relayed: HashMap::new(),
            refers: HashMap::new(),
            dialogs,
        }
    }

    /// A message from the proxy.
    pub(crate) fn receive(&mut self, now: Instant, domain: &Domain, bytes: &[u8]) {
        self.endpoint.handle_receive(now, Receive { flow: self.flow, bytes });
        self.pump(now, domain);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, domain: &Domain) {
        self.endpoint.handle_timeout(now);
        self.pump(now, domain);
        self.at(now).handle_timeout();
        self.pump(now, domain);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match (self.endpoint.poll_timeout(), self.core.poll_timeout()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next message for the proxy.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    /// How many calls are joined, and how much else is held.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let core = self.core.counts();
        let tables = self.sides.len() + self.calls.len() + self.relayed.len() + self.refers.len() + self.dialogs.len();
        let held = core.sessions + core.subscriptions + core.dialogs + core.transactions;
        (self.joins.len(), held + tables + self.endpoint.counts().transactions())
    }

    fn at(&mut self, now: Instant) -> Agent<'_> {
        self.core.at(now, &mut self.endpoint)
    }

    fn pump(&mut self, now: Instant, domain: &Domain) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.core.at(now, &mut self.endpoint).handle_event(event);
            }
            let Some(event) = self.core.poll_event() else { return };
            self.handle(now, domain, event);
        }
    }

    /// To whom in the other leg an event goes.
    fn handle(&mut self, now: Instant, domain: &Domain, event: Event) {
        match event {
            Event::Incoming { session, request, .. } => self.incoming(now, domain, session, &request),
            Event::Progress { leg, response } => self.progress(now, leg, &response),
            Event::Accepted { leg, response, answer_owed } => self.accepted(now, leg, &response, answer_owed),
            Event::Confirmed { leg, .. } => self.confirmed(now, leg),
            Event::Failed { session, failure } => self.failed(now, session, &failure),
            Event::Offer { leg, message } => self.offered(now, leg, &message),
            Event::OfferWanted { leg, request } => self.change(now, leg, &request),
            Event::Answer { leg, message } => self.answered(now, leg, &message),
            Event::Modified { leg, response } => self.modified(now, leg, &response),
            Event::ModifyFailed { leg, failure, .. } => self.modify_failed(now, leg, &failure),
            Event::PeerChanged { leg, from } => self.peer_changed(now, leg, &from),
            Event::Withdrawn { leg } => self.withdrawn(now, leg),
            Event::Ended { session, how } => self.ended(now, session, &how),
            Event::Gone { session } => self.gone(now, session),
            Event::Within { leg, tx, request } => self.pass_within(now, leg, tx, &request),
            Event::Answered { request, response } => self.pass_answer(now, request, &response),
            Event::Unanswered { request, failure } => self.pass_failure(now, request, &failure),
            Event::Subscription { subscription, event } => self.subscription(now, subscription, event),
            // The proxy sends INVITEs here and what belongs to their dialogs.
            Event::Request { tx, .. } => self.at(now).respond(tx, StatusCode::FORBIDDEN, Extra::new()),
            _ => {}
        }
    }
}
