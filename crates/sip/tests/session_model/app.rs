//! The application at one end: does what it is told, and keeps count of what it hears.

use std::collections::{BTreeMap, BTreeSet};

use farspeak_sip::dialog::Opening;
use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::event::{Subscribe, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{Event as Package, ReferTo, SubscriptionReason, SubscriptionState};
use farspeak_sip::message::{HeaderName, Method, StatusCode};
use farspeak_sip::session::{Done, Invite, LegId, SessionId, VerbError};
use farspeak_sip::user_agent::{Agent, Body, Event, Extra};

use crate::plan::{Command, Verb};
use crate::watch::Watch;
use crate::world::Check;

/// One end's application.
pub struct App {
    opening: Opening,
    sessions: BTreeMap<SessionId, Call>,
    /// Those that are gone: nothing may name them again.
    gone: BTreeSet<SessionId>,
    /// Subscriptions, and whether they have ended.
    subscriptions: BTreeMap<SubscriptionId, bool>,
    /// What waits for the application, oldest first.
    due: Vec<Due>,
    bodies: u64,
}

#[derive(Default)]
struct Call {
    call_id: Option<String>,
    ended: bool,
}

/// Something that the application owes an answer.
#[derive(Clone, Copy, Debug)]
enum Due {
    Incoming(SessionId),
    Offer(LegId),
    Within(ServerTx),
    Requested(SubscriptionId),
    Referred(SubscriptionId),
    State(SubscriptionId),
}

/// Who somebody may turn out to be.
const IDENTITIES: [&str; 2] = ["<sip:carol@example.org>", "\"Reception\" <sip:desk@example.org>"];

/// Most sessions and subscriptions of an end at once: few enough to meet often.
const MOST: usize = 3;

impl App {
    pub fn new(opening: Opening) -> Self {
        // Descriptions of the two ends differ.
        let bodies = if opening.from.contains("alice") { 1000 } else { 2000 } * 1_000_000;
        let (sessions, gone, subscriptions) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { opening, sessions, gone, subscriptions, due: Vec::new(), bodies }
    }

    /// Sessions that are not gone.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The Call-IDs of sessions that have not ended.
    pub fn calls(&self) -> impl Iterator<Item = &str> {
        self.sessions.values().filter(|call| !call.ended).filter_map(|call| call.call_id.as_deref())
    }

    pub fn call_id(&self, session: SessionId) -> Option<&str> {
        self.sessions.get(&session)?.call_id.as_deref()
    }

    /// Call-IDs of calls that this end opened are seen on the wire first.
    pub fn learn_call_id(&mut self, watch: &Watch, who: usize) {
        for call in self.sessions.values_mut().filter(|call| call.call_id.is_none()) {
            call.call_id = watch.opened[who].clone();
        }
    }

    pub fn nothing_left(&mut self) -> Check {
        let standing = self.subscriptions.values().filter(|ended| !**ended).count();
        if !self.sessions.is_empty() || standing > 0 {
            return Err(format!("{} sessions and {standing} subscriptions were never ended", self.sessions.len()));
        }
        self.subscriptions.clear();
        self.due.clear();
        Ok(())
    }

    fn body(&mut self, how: u64) -> Extra {
        if how % 5 == 4 {
            return Extra::new(); // none
        }
        self.bodies += 1;
        Extra::new().body(Body::sdp(format!("v=0\r\ns={}\r\n", self.bodies).into_bytes()))
    }

    /// Does what it is told, if there is what it needs: that is `Ok(true)`. That it cannot be done now is no failure.
    pub fn command(&mut self, agent: &mut Agent<'_>, command: &Command) -> Result<bool, VerbError> {
        let Command { verb, pick, how, .. } = *command;
        if verb == Verb::Due {
            return self.serve(agent, pick, how);
        }
        if verb == Verb::Invite && self.sessions.len() < MOST {
            let extra = self.body(how);
            let session = agent.invite(Invite { opening: self.opening.clone(), extra })?;
            self.sessions.insert(session, Call::default());
            return Ok(true);
        }
        let live = self.subscriptions.iter().filter(|(_, ended)| !**ended).map(|(id, _)| *id);
        let subscription = nth(live, pick);
        match (verb, subscription) {
            (Verb::Subscribe, _) if self.subscriptions.len() < MOST => {
                let (event, extra) = (Package::new("presence"), Extra::new());
                let expires = [0, 60, 3600][(how % 3) as usize];
                let id = agent.subscribe(Subscribe { opening: self.opening.clone(), event, expires, extra })?;
                self.subscriptions.insert(id, false);
                return Ok(true);
            }
            (Verb::Notify, Some(id)) => return agent.notify(id, Extra::new()).map(|()| true),
            (Verb::EndSubscription, Some(id)) => return end_subscription(agent, id).map(|()| true),
            _ => {}
        }
        let Some(session) = nth(self.sessions.keys().copied(), pick) else { return Ok(false) };
        self.session_verb(agent, verb, session, how)
    }

    fn session_verb(
        &mut self,
        agent: &mut Agent<'_>,
        verb: Verb,
        session: SessionId,
        how: u64,
    ) -> Result<bool, VerbError> {
        let ringing = [StatusCode::RINGING, StatusCode::SESSION_PROGRESS][(how % 2) as usize];
        let done = match verb {
            Verb::Ring => agent.ring(session, ringing, self.body(how / 2)),
            Verb::RingReliably => agent.ring_reliably(session, ringing, self.body(how / 2)),
            Verb::Accept => agent.accept(session, self.body(how)),
            Verb::Reject => agent.reject(session, refusal(how), Extra::new()),
            Verb::Cancel => agent.cancel(session),
            Verb::HangUp => agent.hang_up(session, Extra::new()),
            Verb::Reinvite => agent.reinvite(session, self.body(how)),
            Verb::Update => agent.update(session, self.body(how)),
            Verb::AcceptOffer => agent.accept_offer(session, self.body(how)),
            Verb::RejectOffer => agent.reject_offer(session, refusal(how), Extra::new()),
            Verb::Acknowledge => agent.acknowledge(session, self.body(how)),
            Verb::Prack => agent.prack(session, self.body(how)),
            Verb::CancelModify => agent.cancel_modify(session),
            Verb::SetIdentity => agent.set_identity(session, IDENTITIES[(how % 2) as usize], self.body(how / 2)),
            Verb::Refer if self.subscriptions.len() < MOST => {
                let to = ReferTo::parse("<sip:carol@example.org>").expect("it is one");
                let id = agent.refer(session, &to, !how.is_multiple_of(3), Extra::new())?;
                self.subscriptions.insert(id, false);
                Ok(())
            }
            Verb::Info => {
                let (method, package) = [(Method::Info, "model"), (Method::Info, "other"), (Method::Message, "none")]
                    [(how % 3) as usize]
                    .clone();
                let extra = Extra::new().header(HeaderName::InfoPackage, package);
                agent.send_within(session, method, extra).map(drop)
            }
            _ => return Ok(false),
        };
        done.map(|()| true)
    }

    /// Deals with one thing that waits.
    fn serve(&mut self, agent: &mut Agent<'_>, pick: u64, how: u64) -> Result<bool, VerbError> {
        if self.due.is_empty() {
            return Ok(false);
        }
        let at = if pick.is_multiple_of(4) { (pick / 4) as usize % self.due.len() } else { 0 };
        let due = self.due.remove(at);
        // Mostly with what it needs.
        let extra = self.body(how % 16);
        let done = match due {
            Due::Incoming(session) => match how % 8 {
                0 => agent.reject(session, refusal(how), Extra::new()),
                1 | 2 => {
                    self.due.insert(0, due);
                    agent.ring_reliably(session, StatusCode::RINGING, extra)
                }
                _ => agent.accept(session, extra),
            },
            Due::Offer(leg) if how.is_multiple_of(8) => agent.reject_offer(leg, refusal(how), Extra::new()),
            Due::Offer(leg) => agent.accept_offer(leg, extra),
            Due::Within(tx) => {
                agent.respond(tx, [StatusCode::OK, StatusCode::NOT_FOUND][(how % 2) as usize], Extra::new());
                Ok(())
            }
            Due::Requested(id) if how.is_multiple_of(4) => {
                agent.refuse_subscription(id, StatusCode::FORBIDDEN, Extra::new())
            }
            Due::Requested(id) => agent.accept_subscription(id, how % 4 == 1, 3600),
            Due::Referred(id) if how.is_multiple_of(4) => {
                agent.refuse_subscription(id, StatusCode::FORBIDDEN, Extra::new())
            }
            Due::Referred(id) => {
                agent.accept_refer(id)?;
                match how % 4 {
                    1 => agent.refer_progress(id, StatusCode::OK).or(Ok(())), // none may be wanted
                    _ => Ok(()),
                }
            }
            Due::State(id) => agent.notify(id, Extra::new()),
        };
        done.map(|()| true)
    }

    /// Ends whatever there is.
    pub fn end_all(&mut self, agent: &mut Agent<'_>) -> Check {
        for (session, call) in &self.sessions {
            let done = agent.hang_up(*session, Extra::new());
            if !call.ended && done.is_err() {
                return Err(format!("{session:?} cannot be hung up: {done:?}"));
            }
        }
        for (id, _) in self.subscriptions.iter().filter(|(_, ended)| !**ended) {
            let _ = end_subscription(agent, *id);
        }
        for due in std::mem::take(&mut self.due) {
            if let Due::Within(tx) = due {
                agent.respond(tx, StatusCode::OK, Extra::new());
            }
        }
        Ok(())
    }

    /// Something happened: is it in order?
    pub fn hear(&mut self, event: Event) -> Check {
        if let Some(session) = session_of(&event) {
            if let Event::Incoming { request, .. } = &event {
                let call_id = request.call_id().ok().map(str::to_owned);
                self.sessions.insert(session, Call { call_id, ended: false });
            }
            if self.gone.contains(&session) {
                return Err(format!("{session:?} is gone, but {event:?}"));
            }
            let Some(call) = self.sessions.get_mut(&session) else {
                return Err(format!("{session:?} is not known: {event:?}"));
            };
            match &event {
                Event::Ended { .. } | Event::Failed { .. } if std::mem::replace(&mut call.ended, true) => {
                    return Err(format!("{session:?} ends twice: {event:?}"));
                }
                Event::Gone { .. } if !call.ended => return Err(format!("{session:?} is gone without an end")),
                Event::Gone { .. } => {
                    self.sessions.remove(&session);
                    self.gone.insert(session);
                    self.due.retain(|due| match due {
                        Due::Incoming(of) => *of != session,
                        Due::Offer(leg) => leg.session != session,
                        _ => true,
                    });
                }
                _ => {}
            }
        }
        match event {
            Event::Incoming { session, .. } => self.due.push(Due::Incoming(session)),
            Event::Offer { leg, .. } | Event::OfferWanted { leg, .. } => self.due.push(Due::Offer(leg)),
            Event::Accepted { leg, answer_owed: true, .. } => self.due.push(Due::Offer(leg)),
            Event::Within { tx, .. } | Event::Request { tx, .. } => self.due.push(Due::Within(tx)),
            Event::Subscription { subscription, event } => return self.hear_of_subscription(subscription, &event),
            _ => {}
        }
        Ok(())
    }

    fn hear_of_subscription(&mut self, id: SubscriptionId, event: &SubscriptionEvent) -> Check {
        let ended = self.subscriptions.entry(id).or_default();
        if *ended {
            return Err(format!("{id:?} has ended, but {event:?}"));
        }
        match event {
            SubscriptionEvent::Requested { .. } => self.due.push(Due::Requested(id)),
            SubscriptionEvent::Referred { .. } => self.due.push(Due::Referred(id)),
            SubscriptionEvent::StateOwed { .. } => self.due.push(Due::State(id)),
            SubscriptionEvent::Ended(_) => {
                *ended = true;
                self.due
                    .retain(|due| !matches!(due, Due::Requested(of) | Due::Referred(of) | Due::State(of) if *of == id));
            }
            _ => {}
        }
        Ok(())
    }
}

fn end_subscription(agent: &mut Agent<'_>, id: SubscriptionId) -> Done {
    let over = SubscriptionState::terminated(SubscriptionReason::NoResource);
    agent
        .unsubscribe(id)
        .or_else(|_: VerbError| agent.terminate(id, over, Extra::new()))
        .or_else(|_| agent.refuse_subscription(id, StatusCode::FORBIDDEN, Extra::new()))
}

fn refusal(how: u64) -> StatusCode {
    [StatusCode::BUSY_HERE, StatusCode::NOT_ACCEPTABLE_HERE, StatusCode::DECLINE][(how / 8 % 3) as usize]
}

fn nth<T>(items: impl Iterator<Item = T> + Clone, pick: u64) -> Option<T> {
    let count = items.clone().count() as u64;
    items.into_iter().nth(pick.checked_rem(count)? as usize)
}

fn session_of(event: &Event) -> Option<SessionId> {
    match event {
        Event::Incoming { session, .. }
        | Event::Failed { session, .. }
        | Event::Ended { session, .. }
        | Event::Gone { session } => Some(*session),
        Event::Progress { leg, .. }
        | Event::Accepted { leg, .. }
        | Event::Confirmed { leg, .. }
        | Event::Offer { leg, .. }
        | Event::OfferWanted { leg, .. }
        | Event::Answer { leg, .. }
        | Event::Refreshed { leg, .. }
        | Event::PeerChanged { leg, .. }
        | Event::Modified { leg, .. }
        | Event::ModifyFailed { leg, .. }
        | Event::Withdrawn { leg }
        | Event::Within { leg, .. } => Some(leg.session),
        _ => None,
    }
}

/// The event's name and whose it is, for the ladder.
pub fn name(event: &Event) -> String {
    let text = format!("{event:?}");
    let word = |text: &str| text.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
    match event {
        Event::Subscription { subscription, event } => format!("{subscription:?} {}", word(&format!("{event:?}"))),
        _ => format!("{} {:?}", word(&text), session_of(event)),
    }
}
