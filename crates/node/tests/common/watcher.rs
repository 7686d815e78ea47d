//! A user agent that watches and publishes, for the node's event flows: the session layer's own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use farspeak_node::users::User;
use farspeak_sansio::{Flow, SplitMix64, Transport};
use farspeak_sim::Host;
use farspeak_sip::dialog::Opening;
use farspeak_sip::digest::Login;
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::event::{Subscribe, SubscriptionEnd, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{self, SubscriptionState};
use farspeak_sip::message::{HeaderName, Message, Method};
use farspeak_sip::user_agent::{Agent, Body, Event, Extra, UserAgent, UserAgentConfig};

use super::World;
use super::world::{Conditions, DOMAIN, PROXY, Watch, secret_of};

/// One of them.
pub struct Watcher {
    pub host: Host<UserAgent>,
    user: String,
    address: String,
    flow: Flow,
    transport: Transport,
    heard: Rc<RefCell<Vec<Event>>>,
    seen: usize,
}

/// Over datagrams and streams, with one to three shards, and with a fifth of all datagrams lost.
pub fn everywhere(scenario: fn(&mut World)) {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        for shards in 1..=3 {
            super::world::run(Conditions { shards, ..Conditions::fair(transport) }, scenario);
        }
    }
    for seed in 0..12 {
        let shards = 1 + seed as usize % 3;
        let lossy = Conditions { loss: 0.2, seed, shards, watch: Watch::Outcome, ..Conditions::fair(Transport::Udp) };
        super::world::run(lossy, scenario);
    }
}

impl World {
    /// A user with a user agent at `192.0.2.{octet}`: with several shards, the octet decides which one it meets.
    pub fn watcher(&mut self, name: &str, user: &str, octet: u8) -> Watcher {
        if self.shared.users.get(user).is_none() {
            self.shared.users.insert(User::new(user, DOMAIN, &secret_of(user)));
        }
        let transport = self.conditions.transport;
        let (address, port) = (format!("192.0.2.{octet}"), if transport == Transport::Tls { 5061 } else { 5060 });
        let local = format!("{address}:5060").parse().expect("an address");
        let remote = format!("{PROXY}:{port}").parse().expect("an address");
        let flow = Flow::unbound(transport, local, remote);
        let rng = Box::new(SplitMix64::new(self.conditions.seed * 100 + u64::from(octet)));
        let mut agent = UserAgent::new(UserAgentConfig::default(), EndpointConfig::default(), rng);
        agent.at(self.net.now()).add_account(vec![Login::password(user, secret_of(user).reveal())]);
        let host = self.net.host(name, [address.as_str()], agent);
        if transport == Transport::Udp {
            self.net.bind(host, transport, 5060);
        }
        let heard = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&heard);
        self.net.on_event(host, move |_, _, event| sink.borrow_mut().push(event));
        self.net.residue_of(host, |agent| {
            let (counts, transactions) = (agent.counts(), agent.endpoint().counts().transactions());
            let left = counts.subscriptions + counts.dialogs + counts.transactions + transactions;
            (left > 0).then(|| format!("{counts:?}"))
        });
        Watcher { host, user: user.to_owned(), address, flow, transport, heard, seen: 0 }
    }
}

/// The buttons.
impl Watcher {
    pub fn at<R>(&self, w: &mut World, act: impl FnOnce(&mut Agent<'_>) -> R) -> R {
        w.net.at(self.host, |agent, now| act(&mut agent.at(now)))
    }

    pub fn opening(&self, to: &str) -> Opening {
        let parameter = match self.transport {
            Transport::Udp => String::new(),
            transport => format!(";transport={}", transport.as_str().to_ascii_lowercase()),
        };
        Opening {
            target: format!("sip:{to}@{DOMAIN}").into(),
            from: format!("<sip:{}@{DOMAIN}>", self.user).into(),
            to: format!("<sip:{to}@{DOMAIN}>").into(),
            contact: format!("<sip:{}@{}:5060{parameter}>", self.user, self.address).into(),
            route_set: Vec::new(),
            flow: self.flow,
            account: None,
        }
    }

    pub fn subscribe(&self, w: &mut World, package: &str, to: &str) -> SubscriptionId {
        self.subscribe_for(w, package, to, 600)
    }

    pub fn subscribe_for(&self, w: &mut World, package: &str, to: &str, expires: u32) -> SubscriptionId {
        let wish = Subscribe { opening: self.opening(to), event: event(package), expires, extra: Extra::new() };
        self.at(w, |agent| agent.subscribe(wish)).expect("there is room")
    }

    pub fn unsubscribe(&self, w: &mut World, id: SubscriptionId) {
        self.at(w, |agent| agent.unsubscribe(id)).expect("it is there");
    }

    /// Ends it and waits for its end.
    #[track_caller]
    pub fn leave(&mut self, w: &mut World, id: SubscriptionId) {
        if w.conditions.loss > 0.0 {
            // A SUBSCRIBE that still waits for its response cannot be taken back.
            w.pass(Duration::from_secs(40));
        }
        self.unsubscribe(w, id);
        self.ended(w, id);
    }

    /// PUBLISH, and the answer.
    #[track_caller]
    pub fn publish(
        &mut self,
        w: &mut World,
        to: &str,
        tag: Option<&str>,
        body: Option<&[u8]>,
        expires: u32,
    ) -> Arc<Message> {
        let body = body.map(|bytes| Body::new("application/pidf+xml", bytes));
        self.publish_as(w, to, tag, body, Some(expires))
    }

    #[track_caller]
    pub fn publish_as(
        &mut self,
        w: &mut World,
        to: &str,
        tag: Option<&str>,
        body: Option<Body>,
        expires: Option<u32>,
    ) -> Arc<Message> {
        let mut extra = Extra::new().header(HeaderName::Event, "presence");
        if let Some(expires) = expires {
            extra = extra.header(HeaderName::Expires, expires.to_string());
        }
        if let Some(tag) = tag {
            extra = extra.header(HeaderName::SipIfMatch, tag);
        }
        if let Some(body) = body {
            extra = extra.body(body);
        }
        self.send(w, Method::Publish, to, extra)
    }

    /// Any request outside a dialog, and the answer.
    #[track_caller]
    pub fn send(&mut self, w: &mut World, method: Method, to: &str, extra: Extra) -> Arc<Message> {
        let opening = self.opening(to);
        let id = self.at(w, |agent| agent.send(method, opening, extra)).expect("it stands alone");
        self.hears(w, |event| match event {
            Event::Answered { request, response } if *request == id => Some(Arc::clone(response)),
            _ => None,
        })
    }
}

/// The ears.
impl Watcher {
    /// Waits for the next event of which `wanted` makes something; those before it are passed over.
    #[track_caller]
    pub fn hears<T>(&mut self, w: &mut World, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let until = w.net.now() + Duration::from_secs(4000);
        loop {
            while let Some(event) = self.next() {
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            assert!(w.net.step(until), "it was never heard\n{}", w.net);
        }
    }

    fn next(&mut self) -> Option<Event> {
        let event = self.heard.borrow().get(self.seen).cloned()?;
        self.seen += 1;
        Some(event)
    }

    /// The next NOTIFY of that subscription: what it says of it, and the body.
    #[track_caller]
    pub fn notified(&mut self, w: &mut World, id: SubscriptionId) -> (SubscriptionState, Vec<u8>) {
        self.hears(w, |event| match event {
            Event::Subscription { subscription, event: SubscriptionEvent::Notified { state, request } }
                if *subscription == id =>
            {
                Some((state.clone(), request.body().to_vec()))
            }
            _ => None,
        })
    }

    /// How the subscription ends.
    #[track_caller]
    pub fn ended(&mut self, w: &mut World, id: SubscriptionId) -> SubscriptionEnd {
        self.hears(w, |event| match event {
            Event::Subscription { subscription, event: SubscriptionEvent::Ended(end) } if *subscription == id => {
                Some(end.clone())
            }
            _ => None,
        })
    }

    /// The status with which a SUBSCRIBE is refused, and the whole response.
    #[track_caller]
    pub fn refused(&mut self, w: &mut World, package: &str, to: &str) -> (u16, Arc<Message>) {
        let id = self.subscribe(w, package, to);
        match self.ended(w, id) {
            SubscriptionEnd::Refused(farspeak_sip::user_agent::Failure::Response(response)) => {
                (response.status().expect("a response").code(), response)
            }
            other => panic!("{other:?}\n{}", w.net),
        }
    }

    /// Asserts that nothing is heard for so long.
    #[track_caller]
    pub fn hears_nothing_for(&mut self, w: &mut World, duration: Duration) {
        while self.next().is_some() {}
        w.pass(duration);
        let heard = self.next();
        assert!(heard.is_none(), "{heard:?}\n{}", w.net);
    }
}

pub fn event(package: &str) -> header::Event {
    header::Event::parse(package).expect("a package")
}

pub fn status(response: &Message) -> u16 {
    response.status().expect("a response").code()
}
