//! User agents that call each other over a simulated network, and what each of them heard.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, SplitMix64, Transport};
use farspeak_sim::{Host, HostId, Link, Network};
use farspeak_sip::dialog::Opening;
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::header::{SubscriptionReason, SubscriptionState};
use farspeak_sip::message::{HeaderName, Limits, Message, Method, StatusCode};
use farspeak_sip::session::{Invite, SessionId};
use farspeak_sip::user_agent::{Agent, Body, Counts, Event, Extra, UserAgent, UserAgentConfig};

use crate::disorder::{through_resets, through_swaps};
use crate::proxy::Proxy;

pub const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
pub const ANSWER: &[u8] =
    b"v=0\r\no=- 2 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

/// What the network between the user agents does to messages.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub transport: Transport,
    pub link: Link,
    pub seed: u64,
}

impl Conditions {
    pub fn udp() -> Self {
        Self { transport: Transport::Udp, link: Link::default(), seed: 1 }
    }

    pub fn tcp() -> Self {
        Self { transport: Transport::Tcp, ..Self::udp() }
    }

    pub fn lossy(loss: f64, seed: u64) -> Self {
        Self { link: Link::default().loss(loss), seed, ..Self::udp() }
    }
}

/// Runs a flow under every condition that it must stand: no loss, 5 % and 20 % with several seeds, a stream, every two
/// neighbouring datagrams swapped, and a stream that is reset after each message.
pub fn everywhere(flow: impl Fn(&mut World)) {
    everywhere_among(&THREE, flow);
}

/// The same with other people. Who is called `proxy` is no person but a [`Proxy`].
pub fn everywhere_among(people: People, flow: impl Fn(&mut World)) {
    with_loss(people, &flow);
    through_swaps(people, &flow);
    through_resets(people, &flow);
}

/// Without swaps and resets.
fn with_loss(people: People, flow: impl Fn(&mut World)) {
    let lossy = [0.05, 0.2].into_iter().flat_map(|loss| (1..=8).map(move |seed| Conditions::lossy(loss, seed)));
    for conditions in [Conditions::udp(), Conditions::tcp()].into_iter().chain(lossy) {
        let mut world = World::with_people(conditions, people);
        flow(&mut world);
        world.settles();
    }
}

/// One user agent of a [`World`].
struct Person {
    host: Host<UserAgent>,
    flow_to: BTreeMap<&'static str, Flow>,
    /// Every event so far.
    heard: Rc<RefCell<Vec<Event>>>,
    /// How many of them a test has looked at.
    seen: usize,
    /// The calls that it has made.
    calls: Vec<SessionId>,
}

pub struct World {
    pub net: Network,
    conditions: Conditions,
    /// Who is there, in the order of their addresses: the first has 192.0.2.1.
    names: People,
    people: BTreeMap<&'static str, Person>,
    proxy: Option<Host<Proxy>>,
}

/// Names of user agents.
pub type People = &'static [&'static str];

/// Those of most flows.
pub const THREE: [&str; 3] = ["alice", "bob", "carol"];

impl World {
    pub fn new(conditions: Conditions) -> Self {
        Self::with_people(conditions, &THREE)
    }

    /// One with these people; `proxy` among them is a [`Proxy`].
    pub fn with_people(conditions: Conditions, names: People) -> Self {
        let mut net = Network::new(conditions.seed).label(label).patience(Duration::from_secs(200));
        net.set_links(conditions.link);
        let mut people = BTreeMap::new();
        for (index, name) in names.iter().copied().enumerate().filter(|(_, name)| *name != PROXY) {
            let address = &*address(index);
            let rng = Box::new(SplitMix64::new(conditions.seed * 100 + index as u64));
            let mut config = UserAgentConfig::default();
            config.more_methods = vec![Method::Register];
            config.keep_alive.pong = None; // the simulator answers no CRLF
            config.event_packages = vec!["presence".into(), "dialog".into()];
            let agent = UserAgent::new(config, EndpointConfig::default(), rng);
            let host = net.host(name, [address], agent);
            net.bind(host, conditions.transport, 5060);
            let heard = Rc::new(RefCell::new(Vec::new()));
            let sink = Rc::clone(&heard);
            net.on_event(host, move |_, _, event| sink.borrow_mut().push(event));
            net.residue_of(host, residue);
            people.insert(name, Person { host, flow_to: BTreeMap::new(), heard, seen: 0, calls: Vec::new() });
        }
        let proxy = names.iter().position(|name| *name == PROXY).map(|index| {
            let host = net.host(PROXY, [&*address(index)], Proxy::new(conditions.seed));
            net.bind(host, conditions.transport, 5060);
            net.residue_of(host, Proxy::residue);
            host
        });
        for (from_index, from) in names.iter().enumerate() {
            for (to_index, to) in names.iter().enumerate() {
                let local = format!("{}:5060", address(from_index)).parse().unwrap();
                let remote = format!("{}:5060", address(to_index)).parse().unwrap();
                let host: HostId = people.get(from).map_or_else(|| proxy.unwrap().into(), |person| person.host.into());
                let flow = match conditions.transport {
                    Transport::Udp => net.datagram_flow(host, local, remote),
                    transport => Flow::unbound(transport, local, remote),
                };
                match (people.get_mut(from), proxy) {
                    (Some(person), _) => drop(person.flow_to.insert(to, flow)),
                    (None, Some(proxy)) => net.at(proxy, |proxy, _| proxy.learn(to, flow)),
                    (None, None) => {}
                }
            }
        }
        Self { net, conditions, names, people, proxy }
    }

    /// Tells the proxy what to do.
    pub fn at_proxy(&mut self, act: impl FnOnce(&mut Proxy)) {
        let proxy = self.proxy.expect("there is a proxy");
        self.net.at(proxy, |proxy, _| act(proxy));
    }

    /// Changes the settings of one of them.
    pub fn configure(&mut self, name: &str, set: impl FnOnce(&mut UserAgentConfig)) {
        let host = self.people[name].host;
        self.net.at(host, |agent, _| set(agent.config_mut()));
    }

    /// The host of one of them.
    pub fn host(&self, name: &str) -> HostId {
        match self.people.get(name) {
            Some(person) => person.host.into(),
            None => self.proxy.expect("nobody of that name").into(),
        }
    }

    /// Whether anybody is registered, or trying to be.
    pub fn has_registrations(&self) -> bool {
        self.people.values().any(|person| self.net.machine(person.host).counts().registrations > 0)
    }

    /// Ends every session and subscription that anybody has, in whatever state.
    pub fn everybody_hangs_up(&mut self) {
        for name in self.names.iter().copied().filter(|name| *name != PROXY) {
            let events = self.people[name].heard.borrow().clone();
            let calls = self.people[name].calls.clone();
            let called = events.iter().filter_map(|event| match event {
                Event::Incoming { session, .. } => Some(*session),
                _ => None,
            });
            for session in calls.into_iter().chain(called) {
                let _ = self.at(name, |agent| agent.hang_up(session, Extra::new()));
            }
            for event in events {
                if let Event::Subscription { subscription, .. } = event {
                    let ended = SubscriptionState::terminated(SubscriptionReason::NoResource);
                    let _ = self.at(name, |agent| agent.terminate(subscription, ended, Extra::new()));
                    let _ = self.at(name, |agent| agent.unsubscribe(subscription));
                    let refused = StatusCode::FORBIDDEN;
                    let _ = self.at(name, |agent| agent.refuse_subscription(subscription, refused, Extra::new()));
                }
            }
        }
    }

    /// Lets one of them do something.
    pub fn at<R>(&mut self, name: &str, act: impl FnOnce(&mut Agent<'_>) -> R) -> R {
        let host = self.people[name].host;
        self.net.at(host, |agent, now| act(&mut agent.at(now)))
    }

    /// How one calls another.
    pub fn opening(&self, from: &str, to: &str) -> Opening {
        let address = |name: &str| address(self.names.iter().position(|known| *known == name).unwrap());
        let transport = match self.conditions.transport {
            Transport::Udp => String::new(),
            transport => format!(";transport={}", transport.as_str().to_lowercase()),
        };
        Opening {
            target: format!("sip:{to}@{}{transport}", address(to)).into(),
            from: format!("<sip:{from}@example.org>").into(),
            to: format!("<sip:{to}@example.org>").into(),
            contact: format!("<sip:{from}@{}:5060{transport}>", address(from)).into(),
            route_set: Vec::new(),
            flow: self.people[from].flow_to[to],
            account: None,
        }
    }

    /// How one calls another by name, through the proxy.
    pub fn opening_by_name(&self, from: &str, to: &str) -> Opening {
        Opening {
            target: format!("sip:{to}@example.org").into(),
            to: format!("<sip:{to}@example.org>").into(),
            ..self.opening(from, PROXY)
        }
    }

    /// One calls another by name, through the proxy.
    pub fn call_by_name(&mut self, from: &str, to: &str) -> SessionId {
        let opening = self.opening_by_name(from, to);
        self.invites(from, Invite { opening, extra: sdp(OFFER) })
    }

    /// One makes a call.
    pub fn invites(&mut self, from: &str, invite: Invite) -> SessionId {
        let call = self.at(from, |agent| agent.invite(invite)).expect("a call can be made");
        self.people.get_mut(from).unwrap().calls.push(call);
        call
    }

    /// One calls another, with an offer.
    pub fn call(&mut self, from: &str, to: &str) -> SessionId {
        self.call_with(from, to, Extra::new().body(Body::sdp(OFFER)))
    }

    pub fn call_with(&mut self, from: &str, to: &str, extra: Extra) -> SessionId {
        let opening = self.opening(from, to);
        self.invites(from, Invite { opening, extra })
    }

    /// Runs until one of them hears an event of that name (`Incoming`, `Progress` …) and gives it; earlier ones of other
    /// names are passed over.
    #[track_caller]
    pub fn hears(&mut self, name: &str, event: &str) -> Event {
        let until = self.net.now() + Duration::from_secs(3600);
        loop {
            let person = self.people.get_mut(name).unwrap();
            while let Some(heard) = person.heard.borrow().get(person.seen).cloned() {
                person.seen += 1;
                if event_name(&heard) == event {
                    return heard;
                }
            }
            assert!(self.net.step(until), "{name} never heard {event}, but {:?}\n{}", self.heard(name), self.net);
        }
    }

    /// Runs until one of them has heard events of all these names, in whatever order, and gives them.
    #[track_caller]
    pub fn hears_all<const N: usize>(&mut self, name: &str, events: [&str; N]) -> [Event; N] {
        let start = self.people[name].seen;
        let mut furthest = start;
        let found = events.map(|event| {
            self.people.get_mut(name).unwrap().seen = start;
            let heard = self.hears(name, event);
            furthest = furthest.max(self.people[name].seen);
            heard
        });
        self.people.get_mut(name).unwrap().seen = furthest;
        found
    }

    /// The names of all events so far.
    pub fn heard(&self, name: &str) -> Vec<String> {
        self.people[name].heard.borrow().iter().map(event_name).collect()
    }

    /// The session that one of them was called in last.
    pub fn session(&self, name: &str) -> SessionId {
        let heard = self.people[name].heard.borrow();
        let called = heard.iter().rev().find_map(|event| match event {
            Event::Incoming { session, .. } => Some(*session),
            _ => None,
        });
        called.expect("somebody called")
    }

    /// Runs until one of them is called, and gives the session.
    #[track_caller]
    pub fn is_called(&mut self, name: &str) -> SessionId {
        match self.hears(name, "Incoming") {
            Event::Incoming { session, .. } => session,
            _ => unreachable!("hears gave another event"),
        }
    }

    /// Runs until there is a session between the two: called, rung, accepted, confirmed. Gives both ends of it.
    #[track_caller]
    pub fn connect(&mut self, from: &str, to: &str) -> (SessionId, SessionId) {
        let caller = self.call(from, to);
        let called = self.is_called(to);
        self.at(to, |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        self.at(to, |agent| agent.accept(called, Extra::new().body(Body::sdp(ANSWER)))).unwrap();
        self.hears(from, "Accepted");
        self.hears(to, "Confirmed");
        (caller, called)
    }

    /// The flow from one to another.
    pub fn flow(&self, from: &str, to: &str) -> Flow {
        self.people[from].flow_to[to]
    }

    /// Breaks the connections between two.
    pub fn reset(&mut self, one: &str, other: &str) {
        self.net.reset(self.people[one].host, self.people[other].host);
    }

    /// One calls another, who rings reliably with the answer; the PRACK is through. Gives both ends.
    #[track_caller]
    pub fn ring_with_answer(&mut self, from: &str, to: &str) -> (SessionId, SessionId) {
        let caller = self.call(from, to);
        let called = self.is_called(to);
        self.at(to, |agent| agent.ring_reliably(called, StatusCode::SESSION_PROGRESS, sdp(ANSWER))).unwrap();
        self.hears(from, "Answer");
        self.net.expect(&format!("{to} -> {from}  200 PRACK"));
        (caller, called)
    }

    /// One of them hangs up, if the session is not over already.
    pub fn hang_up(&mut self, name: &str, session: SessionId) {
        let _ = self.at(name, |agent| agent.hang_up(session, Extra::new()));
    }

    /// Sends bytes from one to another past the sender's user agent.
    pub fn send(&mut self, from: &str, to: &str, bytes: &[u8]) {
        let (host, flow) = (self.people[from].host, self.people[from].flow_to[to]);
        self.net.send_from(host, flow, bytes.to_vec());
    }

    /// Sends a request again as if it were the next one of its dialog: another branch, a CSeq ten higher.
    pub fn forge(&mut self, from: &str, to: &str, request: &[u8], method: &str) {
        let text = String::from_utf8(request.to_vec()).unwrap();
        let number = Message::parse(request, &Limits::default()).unwrap().cseq().unwrap().number;
        let (old, new) = (format!("CSeq: {number} "), format!("CSeq: {} ", number + 10));
        assert!(text.starts_with(method) && text.contains(&old), "{text}");
        self.send(from, to, text.replace(&old, &new).replace("z9hG4bK", "z9hG4bKforged").as_bytes());
    }

    /// A request with a body such as Alice's next one to Bob would be, made of what she has sent him last.
    pub fn next_of_alice(&self, method: &str, body: &[u8]) -> Vec<u8> {
        let sent =
            ["BYE", "UPDATE", "PRACK", "ACK"].map(|name| self.net.last(&format!("alice -> bob  {name}")).cloned());
        let last = sent.into_iter().flatten().max_by_key(|seen| seen.at).expect("Alice has sent something in a dialog");
        let message = Message::parse(&last.bytes, &Limits::default()).unwrap();
        let field = |name| message.header(name).unwrap_or_default();
        let number = message.cseq().unwrap().number + 50;
        let via = field(HeaderName::Via).replace("z9hG4bK", "z9hG4bKforged");
        let mut text = format!("{method} {} SIP/2.0\r\nVia: {via}\r\n", message.request_uri().unwrap());
        for name in [HeaderName::From, HeaderName::To, HeaderName::CallId] {
            text += &format!("{name}: {}\r\n", field(name));
        }
        text += &format!("CSeq: {number} {method}\r\nMax-Forwards: 70\r\nContact: <sip:alice@192.0.2.1:5060>\r\n");
        text += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", body.len());
        [text.as_bytes(), body].concat()
    }

    /// Runs until the 2xx to a PRACK has arrived.
    #[track_caller]
    pub fn until_acknowledged(&mut self, by: &str, to: &str) {
        let pattern = format!("{by} -> {to}  200 PRACK");
        let until = self.net.now() + Duration::from_secs(60);
        while self.net.count(&pattern) == 0 {
            assert!(self.net.step(until), "no {pattern}\n{}", self.net);
        }
    }

    /// Loses everything that one sends to another, or nothing any more.
    pub fn cut(&mut self, from: &str, to: &str, on: bool) {
        let (from, to) = (self.people[from].host, self.people[to].host);
        let link = if on { Link::default().loss(1.0) } else { self.conditions.link };
        self.net.set_link_from(from, to, link);
    }

    /// What one of them has heard since a test looked last.
    pub fn news(&mut self, name: &str) -> Vec<Event> {
        let person = self.people.get_mut(name).unwrap();
        let news = person.heard.borrow()[person.seen..].to_vec();
        person.seen += news.len();
        news
    }

    /// Switches one of them off without a word, or on again.
    pub fn power(&mut self, name: &str, on: bool) {
        let host = self.people[name].host;
        self.net.power(host, on);
    }

    /// Starts one of them anew: it has forgotten everything.
    pub fn restart(&mut self, name: &str) {
        let agent =
            UserAgent::new(UserAgentConfig::default(), EndpointConfig::default(), Box::new(SplitMix64::new(77)));
        self.net.restart(self.people[name].host, agent);
    }

    /// How much one of them holds.
    pub fn counts(&self, name: &str) -> Counts {
        self.net.machine(self.people[name].host).counts()
    }

    /// Changes what one of them sends; `None` lets it pass.
    pub fn intercept(&mut self, name: &str, take: impl FnMut(&[u8]) -> Option<(Flow, Vec<u8>)> + 'static) {
        let host = self.people[name].host;
        self.net.intercept(host, take);
    }

    /// How many dialogs one of them holds.
    pub fn dialogs(&self, name: &str) -> usize {
        self.net.machine(self.people[name].host).counts().dialogs
    }

    /// Nothing is left: no dialog, session, timer or transaction anywhere.
    #[track_caller]
    pub fn settles(&mut self) {
        self.net.settled_within(Duration::from_secs(300)).no_state_left();
    }
}

/// The name of who is no person.
const PROXY: &str = "proxy";

fn address(index: usize) -> String {
    format!("192.0.2.{}", index + 1)
}

fn residue(agent: &UserAgent) -> Option<String> {
    let (core, endpoint) = (agent.counts(), agent.endpoint().counts());
    let left = core.sessions
        + core.subscriptions
        + core.registrations
        + core.dialogs
        + core.transactions
        + core.timers
        + endpoint.transactions();
    (left > 0).then(|| format!("{core:?}, {} transactions", endpoint.transactions()))
}

/// The event's name in the source: `Incoming`.
pub fn event_name(event: &Event) -> String {
    let text = format!("{event:?}");
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

fn label(bytes: &[u8]) -> String {
    let Ok(message) = Message::parse(bytes, &Limits::default()) else { return "?".to_owned() };
    match (message.method(), message.status(), message.cseq()) {
        (Some(method), ..) => method.to_string(),
        (_, Some(status), Ok(cseq)) => format!("{} {}", status.code(), cseq.method),
        _ => "?".to_owned(),
    }
}

pub fn sdp(bytes: &[u8]) -> Extra {
    Extra::new().body(Body::sdp(Arc::<[u8]>::from(bytes)))
}

/// A header field of a message, or nothing.
pub fn header(bytes: &[u8], name: HeaderName) -> String {
    let message = Message::parse(bytes, &Limits::default()).unwrap();
    message.header(name).unwrap_or_default().to_owned()
}

/// A flow to an address that nobody has.
pub fn nowhere() -> Flow {
    Flow::unbound(Transport::Udp, "192.0.2.1:5060".parse().unwrap(), "192.0.2.99:9".parse().unwrap())
}
