//! User agents that call each other through a node whose back-to-back user agent joins all calls, and what each heard.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use farspeak_node::users::User;
use farspeak_sansio::{Flow, Instant, SplitMix64, Transport};
use farspeak_sim::{Host, Link, Network};
use farspeak_sip::dialog::Opening;
use farspeak_sip::digest::Login;
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::event::{SubscriptionEvent, SubscriptionId};
use farspeak_sip::message::{Message, Method, StatusCode};
use farspeak_sip::registration::{Register, RegistrationId};
use farspeak_sip::session::{Invite, SessionId};
use farspeak_sip::user_agent::{Agent, Body, Event, Extra, UserAgent, UserAgentConfig};

use crate::common::world::{DOMAIN, Node, PROXY, Rows, decide, join_all_calls, label, residue, secret_of, shared};

pub const OFFER: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
pub const ANSWER: &[u8] = b"v=0\r\no=- 2 1 IN IP4 192.0.2.21\r\ns=-\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

/// What the network between the phones and the node is like, and of how many shards the node is.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub transport: Transport,
    pub loss: f64,
    pub seed: u64,
    pub shards: usize,
}

/// Runs a flow over datagrams without loss, with 5 % and with 20 %, and over TLS, on one to three shards.
pub fn everywhere(flow: impl Fn(&mut World)) {
    let fair = |transport, shards| Conditions { transport, loss: 0.0, seed: 1, shards };
    let lossy = [0.05, 0.2].into_iter().flat_map(|loss| (1..=6).map(move |seed| (loss, seed)));
    let lossy = lossy.map(|(loss, seed)| Conditions { loss, seed, ..fair(Transport::Udp, 1 + seed as usize % 3) });
    let fair = (1..=3).flat_map(|shards| [fair(Transport::Udp, shards), fair(Transport::Tls, shards)]);
    for conditions in fair.chain(lossy) {
        let mut world = World::new(conditions);
        flow(&mut world);
        world.settles();
    }
}

struct Person {
    host: Host<UserAgent>,
    flow: Flow,
    heard: Rc<RefCell<Vec<Event>>>,
    seen: usize,
    registration: RegistrationId,
}

pub struct World {
    pub net: Network,
    pub conditions: Conditions,
    people: BTreeMap<&'static str, Person>,
}

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Whose phone one is: `desk` is Bob's second one.
fn user_of(name: &str) -> &str {
    if name == "desk" { "bob" } else { name }
}

impl World {
    pub fn new(conditions: Conditions) -> Self {
        Self::with(conditions, &NAMES)
    }

    /// The same with these phones.
    pub fn with(conditions: Conditions, names: &[&'static str]) -> Self {
        let Conditions { transport, loss, seed, shards } = conditions;
        let mut net = Network::new(seed).label(label).patience(Duration::from_secs(200));
        net.set_links(Link::default().loss(loss));
        let shared = shared(seed);
        join_all_calls(&shared);
        let rows = Rc::new(RefCell::new(Rows::default()));
        let node = net.host("proxy", [PROXY], Node::new(&shared, seed, shards, Instant::ZERO));
        let port = if transport == Transport::Tls { 5061 } else { 5060 };
        net.bind(node, transport, port);
        net.on_event(node, move |node, context, event| decide(node, context, event, &rows));
        net.residue_of(node, |node| node.shards.iter().find_map(residue));
        let mut people = BTreeMap::new();
        for (index, name) in names.iter().copied().enumerate() {
            let user_name = user_of(name);
            let secret = secret_of(user_name);
            if shared.users.get(user_name).is_none() {
                let mut user = User::new(user_name, DOMAIN, &secret);
                user.open_to_strangers = true;
                shared.users.insert(user);
            }
            let mut config = UserAgentConfig::default();
            config.keep_alive.pong = None; // the simulator answers no CRLF
            config.session_interval = None;
            let rng = Box::new(SplitMix64::new(seed * 100 + index as u64));
            let mut agent = UserAgent::new(config, EndpointConfig::default(), rng);
            agent.at(Instant::ZERO).add_account(vec![Login::password(user_name, secret.reveal())]);
            let address = format!("192.0.2.{}", 20 + index);
            let host = net.host(name, [address.as_str()], agent);
            let local = format!("{address}:5060").parse().unwrap();
            let remote = format!("{PROXY}:{port}").parse().unwrap();
            net.bind(host, transport, 5060);
            let flow = match transport {
                Transport::Udp => net.datagram_flow(host, local, remote),
                _ => Flow::unbound(transport, local, remote),
            };
            let heard = Rc::new(RefCell::new(Vec::new()));
            let sink = Rc::clone(&heard);
            net.on_event(host, move |_, _, event| sink.borrow_mut().push(event));
            net.residue_of(host, |agent: &UserAgent| {
                let counts = agent.counts();
                let left = counts.sessions + counts.subscriptions + counts.registrations + counts.dialogs;
                (left + counts.transactions > 0).then(|| format!("{counts:?}"))
            });
            let register = Register {
                registrar: format!("sip:{DOMAIN}").into(),
                aor: format!("<sip:{user_name}@{DOMAIN}>").into(),
                user: user_name.into(),
                instance: None,
                contact_params: "".into(),
                route_set: Vec::new(),
                flows: vec![vec![flow]],
                expires: 3600,
                account: None,
            };
            let registration = net.at(host, |agent, now| agent.at(now).register(register)).unwrap();
            people.insert(name, Person { host, flow, heard, seen: 0, registration });
        }
        let mut world = Self { net, conditions, people };
        for name in names {
            world.hears(name, "Registration");
        }
        world
    }

    /// Lets one of them do something.
    pub fn at<R>(&mut self, name: &str, act: impl FnOnce(&mut Agent<'_>) -> R) -> R {
        let host = self.people[name].host;
        self.net.at(host, |agent, now| act(&mut agent.at(now)))
    }

    /// Changes the settings of one of them.
    pub fn configure(&mut self, name: &str, set: impl FnOnce(&mut UserAgentConfig)) {
        let host = self.people[name].host;
        self.net.at(host, |agent, _| set(agent.config_mut()));
    }

    /// The Call-ID of a session, as one of them knows it.
    pub fn dialog(&self, name: &str, session: SessionId) -> farspeak_sip::dialog::DialogId {
        let agent = self.net.machine(self.people[name].host);
        agent.core().dialog(session).expect("it stands").id().clone()
    }

    pub fn call_with(&mut self, from: &str, target: &str, extra: Extra) -> SessionId {
        let (flow, transport) = (self.people[from].flow, self.conditions.transport);
        let parameter = if transport == Transport::Udp { "" } else { ";transport=tls" };
        let opening = Opening {
            target: target.into(),
            from: format!("\"{from}, as she writes it\" <sip:{from}@{DOMAIN}>").into(),
            to: format!("<{target}>").into(),
            contact: format!("<sip:{from}@{}{parameter}>", flow.local).into(),
            route_set: Vec::new(),
            flow,
            account: None,
        };
        self.at(from, |agent| agent.invite(Invite { opening, extra })).expect("a call can be made")
    }

    pub fn call(&mut self, from: &str, to: &str) -> SessionId {
        self.call_with(from, &format!("sip:{to}@{DOMAIN}"), sdp(OFFER))
    }

    #[track_caller]
    pub fn is_called(&mut self, name: &str) -> (SessionId, Arc<Message>) {
        match self.hears(name, "Incoming") {
            Event::Incoming { session, request, .. } => (session, request),
            _ => unreachable!("hears gave another event"),
        }
    }

    /// A call that stands, with an offer in its INVITE. Gives both ends.
    #[track_caller]
    pub fn connect(&mut self, from: &str, to: &str) -> (SessionId, SessionId) {
        let caller = self.call(from, to);
        let (called, _) = self.is_called(to);
        self.at(to, |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        self.at(to, |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        self.hears(from, "Accepted");
        self.hears(to, "Confirmed");
        self.net.run_for(Duration::from_secs(20));
        (caller, called)
    }

    /// Runs until one of them hears an event of that name and gives it; earlier ones of other names are passed over.
    #[track_caller]
    pub fn hears(&mut self, name: &str, event: &str) -> Event {
        let until = self.net.now() + Duration::from_secs(300);
        loop {
            let person = self.people.get_mut(name).unwrap();
            while let Some(heard) = person.heard.borrow().get(person.seen).cloned() {
                person.seen += 1;
                if event_name(&heard) == event {
                    return heard;
                }
            }
            let heard: Vec<String> = self.people[name].heard.borrow().iter().map(event_name).collect();
            assert!(self.net.step(until), "{name} never heard {event}, but {heard:?}\n{}", self.net);
        }
    }

    /// What everybody has heard so far is not waited for any more.
    pub fn pass_over(&mut self) {
        self.people.values_mut().for_each(|person| person.seen = person.heard.borrow().len());
    }

    /// Whether one of them has ever heard an event of that name.
    pub fn has_heard(&self, name: &str, event: &str) -> bool {
        self.people[name].heard.borrow().iter().any(|heard| event_name(heard) == event)
    }

    /// The next event of a subscription.
    #[track_caller]
    pub fn hears_of_subscription(&mut self, name: &str) -> (SubscriptionId, SubscriptionEvent) {
        match self.hears(name, "Subscription") {
            Event::Subscription { subscription, event } => (subscription, event),
            _ => unreachable!("hears gave another event"),
        }
    }

    /// Hangs up, and waits until both ends know.
    #[track_caller]
    pub fn hang_up(&mut self, one: &str, session: SessionId, other: &str) {
        let done = self.at(one, |agent| agent.hang_up(session, Extra::new()));
        assert_eq!(done, Ok(()), "{:?}\n{}", self.conditions, self.net);
        self.hears(other, "Ended");
    }

    /// Sends bytes past a user agent.
    pub fn send(&mut self, name: &str, bytes: &[u8]) {
        let (host, flow) = (self.people[name].host, self.people[name].flow);
        self.net.send_from(host, flow, bytes.to_vec());
    }

    /// Everything that the node has sent to one of them.
    pub fn sent_to(&self, name: &str) -> String {
        let (proxy, one) = (self.net.host_named("proxy"), self.net.host_named(name));
        let seen = self.net.sightings().filter(|seen| Some(seen.from) == proxy && seen.to == one);
        seen.map(|seen| String::from_utf8_lossy(&seen.bytes).into_owned()).collect()
    }

    /// Everything that one of them has sent.
    pub fn sent_by(&self, name: &str) -> Vec<Message> {
        let one = self.net.host_named(name);
        let seen = self.net.sightings().filter(|seen| Some(seen.from) == one);
        seen.filter_map(|seen| Message::parse(&seen.bytes, &Default::default()).ok()).collect()
    }

    /// Nobody is registered, and nothing is left anywhere.
    #[track_caller]
    pub fn settles(&mut self) {
        let names: Vec<&str> = self.people.keys().copied().collect();
        for name in names {
            let registration = self.people[name].registration;
            self.at(name, |agent| agent.unregister(registration)).unwrap();
        }
        self.net.settled_within(Duration::from_secs(600)).no_state_left();
    }
}

pub fn sdp(bytes: &[u8]) -> Extra {
    Extra::new().body(Body::sdp(bytes))
}

/// The body that an event brought.
pub fn body_of(event: &Event) -> Vec<u8> {
    match event {
        Event::Offer { message, .. } | Event::Answer { message, .. } => message.body().to_vec(),
        Event::Accepted { response, .. } | Event::Progress { response, .. } => response.body().to_vec(),
        Event::Incoming { request, .. } | Event::Within { request, .. } => request.body().to_vec(),
        other => panic!("no body in {other:?}"),
    }
}

fn event_name(event: &Event) -> String {
    let text = format!("{event:?}");
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

/// INFO, for requests that mean nothing to the node.
pub const INFO: Method = Method::Info;
