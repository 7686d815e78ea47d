//! Random scripts for a user agent: an application that does whatever it likes, and a peer that answers, asks, repeats
//! itself and mangles bytes. The peer builds its messages from those that the user agent sent, so that dialogs match.
//!
//! Promised after every step: sessions and subscriptions are within their bounds, each session is gone once and never
//! named again. After the script, once the application has ended everything and an hour has passed: nothing is left.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::dialog::Opening;
use farspeak_sip::digest::Login;
use farspeak_sip::endpoint::{EndpointConfig, ServerTx};
use farspeak_sip::event::{Subscribe, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{Event as Package, ReferTo, SubscriptionReason, SubscriptionState};
use farspeak_sip::message::{HeaderName, Limits, Message, Method, ResponseBuilder, StatusCode};
use farspeak_sip::registration::{Register, RegistrationId};
use farspeak_sip::session::{Invite, SessionId};
use farspeak_sip::user_agent::{Agent, Body, Event, Extra, UserAgent, UserAgentConfig};

use crate::input::Input;

/// A script for a user agent.
pub fn fuzz(data: &[u8]) {
    let mut script = Script::new(data);
    while let Some(operation) = script.input.byte() {
        script.step(operation);
        script.drain();
        script.bounded();
    }
    script.settle();
}

struct Script<'a> {
    input: Input<'a>,
    agent: UserAgent,
    now: Instant,
    flow: Flow,
    /// What the user agent sent lately, newest first.
    sent: VecDeque<Arc<[u8]>>,
    /// What the peer sent lately.
    received: VecDeque<Vec<u8>>,
    sessions: Vec<SessionId>,
    gone: BTreeSet<SessionId>,
    subscriptions: BTreeSet<SubscriptionId>,
    registrations: Vec<RegistrationId>,
    /// Requests that the application has to answer.
    waiting: Vec<ServerTx>,
    count: u32,
}

/// Most sessions, and most subscriptions.
const MOST: usize = 8;

const METHODS: [&str; 16] = [
    "INVITE",
    "INVITE",
    "INVITE",
    "BYE",
    "UPDATE",
    "UPDATE",
    "PRACK",
    "PRACK",
    "NOTIFY",
    "NOTIFY",
    "SUBSCRIBE",
    "REFER",
    "INFO",
    "MESSAGE",
    "OPTIONS",
    "X-OTHER",
];

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

impl<'a> Script<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut input = Input::new(data);
        let choice = input.small();
        let mut config = UserAgentConfig::default();
        config.max_sessions = MOST;
        config.max_subscriptions = MOST;
        config.max_registrations = 2;
        config.max_forks = 4;
        config.offers_in_prack = choice & 1 != 0;
        config.event_packages = vec!["presence".into(), "dialog".into()];
        config.more_methods = vec![Method::Other("X-OTHER".into())];
        let mut agent = UserAgent::new(config, EndpointConfig::default(), Box::new(SplitMix64::new(1)));
        if choice & 2 != 0 {
            agent.at(Instant::ZERO).add_account(vec![Login::password("alice", "secret")]);
        }
        let transport = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Udp][choice / 4 % 4];
        let address = |host| SocketAddr::from(([192, 0, 2, host], 5060));
        let flow = Flow { id: FlowId::new(0, 1, 1), transport, local: address(1), remote: address(2) };
        let (sent, received, sessions) = (VecDeque::new(), VecDeque::new(), Vec::new());
        let (gone, subscriptions, registrations) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let (now, waiting, count) = (Instant::ZERO, Vec::new(), 0);
        Self { input, agent, now, flow, sent, received, sessions, gone, subscriptions, registrations, waiting, count }
    }

    fn step(&mut self, operation: u8) {
        match operation % 16 {
            0..=4 => self.act(),
            5..=7 => self.answer(),
            8..=10 => self.ask(),
            11 => self.acknowledge(),
            12 => {
                let at = self.input.small();
                if let Some(bytes) = self.received.get(at % self.received.len().max(1)).cloned() {
                    self.receive(bytes);
                }
            }
            13 => {
                let pause = Duration::from_millis(100 * self.input.small() as u64);
                self.now += pause;
                self.agent.handle_timeout(self.now);
            }
            14 => {
                self.now = self.agent.poll_timeout().unwrap_or(self.now).max(self.now);
                self.agent.handle_timeout(self.now);
            }
            _ => match self.input.small() % 4 {
                0 => self.agent.handle_flow_failed(self.now, self.flow),
                1 => {
                    let raw = self.input.raw().to_vec();
                    self.receive(raw);
                }
                // What it sent comes back.
                _ => {
                    let at = self.input.small();
                    if let Some(bytes) = self.sent.get(at % self.sent.len().max(1)).map(|bytes| bytes.to_vec()) {
                        self.receive(bytes);
                    }
                }
            },
        }
    }

    fn receive(&mut self, mut bytes: Vec<u8>) {
        // Some bytes change on the way: how many and which, the input says.
        for _ in 0..self.input.small().saturating_sub(244) {
            let (at, byte) = (self.input.small() << 2, self.input.small() as u8);
            if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
        }
        self.agent.handle_receive(self.now, Receive { flow: self.flow, bytes: &bytes });
        self.received.push_front(bytes);
        self.received.truncate(8);
    }

    fn opening(&self) -> Opening {
        Opening {
            target: "sip:bob@192.0.2.2".into(),
            from: "<sip:alice@example.org>".into(),
            to: "<sip:bob@example.org>".into(),
            contact: "<sip:alice@192.0.2.1>".into(),
            route_set: Vec::new(),
            flow: self.flow,
            account: None,
        }
    }

    fn extra(&mut self) -> Extra {
        match self.input.small() % 4 {
            0 => Extra::new(),
            1 => Extra::new().header(HeaderName::Require, "100rel").body(Body::sdp(SDP.as_bytes())),
            _ => Extra::new().body(Body::sdp(SDP.as_bytes())),
        }
    }

    /// The application does something: what it may not do is refused, and nothing more.
    fn act(&mut self) {
        let (verb, pick, extra) = (self.input.small(), self.input.small(), self.extra());
        let (opening, now) = (self.opening(), self.now);
        let session = self.sessions.get(pick % self.sessions.len().max(1)).copied();
        let subscription = self.subscriptions.iter().nth(pick % self.subscriptions.len().max(1)).copied();
        let mut agent = self.agent.at(now);
        match (verb % 28, session, subscription) {
            (0..=2, ..) => self.sessions.extend(agent.invite(Invite { opening, extra })),
            (3, ..) => {
                let expires = [0, 60, 3600][pick % 3];
                let subscribe = Subscribe { opening, event: Package::new("presence"), expires, extra };
                self.subscriptions.extend(agent.subscribe(subscribe));
            }
            (4, ..) => {
                let register = Register {
                    registrar: "sip:example.org".into(),
                    aor: "<sip:alice@example.org>".into(),
                    user: "alice".into(),
                    instance: Some("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into()),
                    contact_params: "".into(),
                    route_set: Vec::new(),
                    flows: vec![vec![self.flow; 1 + pick % 2]; 1 + pick / 2 % 2],
                    expires: 600,
                    account: None,
                };
                self.registrations.extend(agent.register(register));
            }
            (5, ..) => drop(agent.send(Method::Options, opening, extra)),
            (6, ..) => {
                if let Some(id) = self.registrations.pop() {
                    let _ = agent.unregister(id);
                }
            }
            (7, ..) => {
                if let Some(tx) = self.waiting.pop() {
                    agent.respond(tx, StatusCode::OK, extra);
                }
            }
            (verb @ 8..=22, Some(session), _) => {
                self.subscriptions.extend(session_verb(&mut agent, verb, session, pick, extra));
            }
            (verb, _, Some(id)) => subscription_verb(&mut agent, verb, id, pick, extra),
            _ => {}
        }
    }

    /// The peer answers something that it was sent.
    fn answer(&mut self) {
        let (at, choice, shape) = (self.input.small(), self.input.small(), self.input.small());
        let Some(bytes) = self.sent.get(at % self.sent.len().max(1)).cloned() else { return };
        let Ok(request) = Message::parse(&bytes, &Limits::default()) else { return };
        let code = [100, 180, 183, 183, 200, 200, 200, 202, 401, 407, 408, 422, 423, 481, 486, 487, 491, 500, 503]
            .get(choice % 24)
            .copied()
            .unwrap_or(300 + choice as u16);
        let Some(status) = StatusCode::new(code).filter(|_| request.is_request()) else { return };
        // Forks have tags of their own.
        let tag = ["one", "one", "one", "two", "three"][shape % 5];
        let mut response = ResponseBuilder::new(&request, status).to_tag(tag);
        if shape & 8 == 0 {
            response = response.header(HeaderName::Contact, "<sip:bob@192.0.2.2>;expires=600");
        }
        if shape & 16 != 0 && code < 200 {
            let rseq = (1 + self.input.small() % 3).to_string();
            response = response.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, &rseq);
        }
        response = match code {
            401 => response.header(HeaderName::WwwAuthenticate, "Digest realm=\"r\", nonce=\"n\", qop=\"auth\""),
            407 => response.header(HeaderName::ProxyAuthenticate, "Digest realm=\"p\", nonce=\"n\""),
            422 | 423 => response.header(HeaderName::MinExpires, "700"),
            500 | 503 => response.header(HeaderName::RetryAfter, "3"),
            _ => response.header(HeaderName::Expires, ["0", "60", "3600"][shape % 3]),
        };
        if shape & 32 != 0 {
            response = response.body("application/sdp", SDP.as_bytes());
        }
        let bytes = response.to_vec();
        self.receive(bytes);
    }

    /// The peer sends a request, most often in a dialog: From and To are what the user agent's own messages say.
    fn ask(&mut self) {
        let (at, choice, shape) = (self.input.small(), self.input.small(), self.input.small());
        let method = METHODS[choice % METHODS.len()];
        self.count += 1;
        let count = self.count;
        let known = self.sent.get(at % self.sent.len().max(1)).and_then(|bytes| {
            let message = Message::parse(bytes, &Limits::default()).ok()?;
            let names = |name| message.header(name).map(str::to_owned);
            let (from, to, call) = (names(HeaderName::From)?, names(HeaderName::To)?, names(HeaderName::CallId)?);
            let with_tag = |value: String| if value.contains(";tag=") { value } else { format!("{value};tag=one") };
            let rseq = names(HeaderName::RSeq).unwrap_or_else(|| "1".to_owned());
            let seq = message.cseq().map_or(1, |cseq| cseq.number);
            let event = names(HeaderName::Event);
            // Responses of the user agent name the peer in From, its requests in To.
            let (from, to) = if message.is_request() { (with_tag(to), from) } else { (from, to) };
            Some((from, to, call, format!("{rseq} {seq} INVITE"), event, seq))
        });
        let fresh = shape & 1 != 0 && matches!(method, "INVITE" | "SUBSCRIBE" | "REFER" | "OPTIONS" | "MESSAGE");
        let (from, to, call, rack, event, seq) = known.filter(|_| !fresh).unwrap_or_else(|| {
            let (from, to) = (format!("<sip:bob@b>;tag=b{count}"), "<sip:alice@example.org>".to_owned());
            (from, to, format!("call-{}", count % 16), "1 1 INVITE".to_owned(), None, count)
        });
        let seq = if shape & 2 == 0 { seq + 1000 + count } else { seq };
        let event = event.unwrap_or_else(|| ["presence", "refer", "dialog", "nothing"][shape / 4 % 4].to_owned());
        let state = ["active;expires=60", "pending", "terminated;reason=timeout", "active"][shape / 16 % 4];
        let mut text = format!(
            "{method} sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/{} 192.0.2.2;branch=z9hG4bKp{count};rport\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {seq} {method}\r\n\
             Contact: <sip:bob@192.0.2.2>\r\nRAck: {rack}\r\nEvent: {event}\r\nSubscription-State: {state}\r\n\
             Supported: 100rel\r\n",
            self.flow.transport,
        );
        match shape % 8 {
            0 => text.push_str("Refer-To: <sip:carol@example.org>\r\nRecord-Route: <sip:192.0.2.2;lr>\r\n"),
            1 => text.push_str("Refer-To: <sip:carol@example.org>\r\nRefer-Sub: false\r\nExpires: 0\r\n"),
            2 if !fresh => text.push_str("Require: 100rel\r\n"),
            3 => text.push_str(&format!("Replaces: {call};to-tag=x;from-tag=one\r\n")),
            _ => {}
        }
        let body = if shape & 64 != 0 { SDP } else { "" };
        text.push_str(&format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        self.receive(text.into_bytes());
    }

    /// The peer acknowledges, or cancels, an INVITE that it sent.
    fn acknowledge(&mut self) {
        let (at, shape) = (self.input.small(), self.input.small());
        let Some(bytes) = self.received.get(at % self.received.len().max(1)) else { return };
        let Ok(invite) = Message::parse(bytes, &Limits::default()) else { return };
        let (Some(Method::Invite), Ok(cseq)) = (invite.method(), invite.cseq()) else { return };
        let header = |name| invite.header(name).unwrap_or_default();
        // The tag is in a response of the user agent's.
        let to = self.sent.iter().find_map(|bytes| {
            let response = Message::parse(bytes, &Limits::default()).ok()?;
            let same = !response.is_request() && response.call_id().ok() == invite.call_id().ok();
            response.header(HeaderName::To).filter(|_| same).map(str::to_owned)
        });
        let (method, via) = match shape % 3 {
            0 => ("CANCEL", header(HeaderName::Via).to_owned()),
            1 => ("ACK", format!("{}x", header(HeaderName::Via))),
            _ => ("ACK", header(HeaderName::Via).to_owned()),
        };
        let to = to.filter(|_| method == "ACK").unwrap_or_else(|| header(HeaderName::To).to_owned());
        let body = if shape & 64 != 0 { SDP } else { "" };
        let text = format!(
            "{method} sip:alice@192.0.2.1 SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {to}\r\n\
             Call-ID: {}\r\nCSeq: {} {method}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            header(HeaderName::From),
            header(HeaderName::CallId),
            cseq.number,
            body.len(),
        );
        self.receive(text.into_bytes());
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.agent.poll_transmit() {
            self.sent.push_front(transmit.bytes);
            self.sent.truncate(8);
        }
        while let Some(event) = self.agent.poll_event() {
            match event {
                Event::Incoming { session, .. } => self.sessions.push(session),
                Event::Accepted { leg, .. } | Event::Offer { leg, .. } => assert!(!self.gone.contains(&leg.session)),
                Event::Ended { session, .. } | Event::Failed { session, .. } => {
                    assert!(!self.gone.contains(&session), "it ends before it is gone");
                }
                Event::Gone { session } => {
                    assert!(self.gone.insert(session), "it is gone once");
                    self.sessions.retain(|other| *other != session);
                }
                Event::Within { tx, .. } | Event::Request { tx, .. } => self.waiting.push(tx),
                Event::Subscription { subscription, event: SubscriptionEvent::Ended(_) } => {
                    self.subscriptions.remove(&subscription);
                }
                Event::Subscription { subscription, .. } => drop(self.subscriptions.insert(subscription)),
                _ => {}
            }
        }
    }

    fn bounded(&self) {
        let counts = self.agent.counts();
        assert!(counts.sessions <= MOST && counts.subscriptions <= MOST && counts.registrations <= 2, "{counts:?}");
        assert_eq!(counts.sessions, self.sessions.len(), "the application knows of each session");
        assert!(counts.dialogs <= 300 && counts.timers <= 4096, "{counts:?}");
    }

    /// The application ends everything and answers everybody, and an hour passes without a word from the peer.
    fn settle(&mut self) {
        self.drain();
        for tx in std::mem::take(&mut self.waiting) {
            self.agent.at(self.now).respond(tx, StatusCode::OK, Extra::new());
        }
        for session in self.sessions.clone() {
            let _ = self.agent.at(self.now).hang_up(session, Extra::new());
        }
        for id in std::mem::take(&mut self.registrations) {
            let _ = self.agent.at(self.now).unregister(id);
        }
        for id in self.subscriptions.clone() {
            for verb in [24, 25, 26] {
                subscription_verb(&mut self.agent.at(self.now), verb, id, 0, Extra::new());
            }
        }
        self.drain();
        let (end, mut steps) = (self.now + Duration::from_secs(3700), 0);
        while let Some(next) = self.agent.poll_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.agent.handle_timeout(self.now);
            self.drain();
            steps += 1;
            assert!(steps < 100_000, "a timer stays due");
        }
        let (counts, endpoint) = (self.agent.counts(), self.agent.endpoint().counts());
        let left = counts.sessions
            + counts.subscriptions
            + counts.registrations
            + counts.dialogs
            + counts.transactions
            + counts.timers
            + endpoint.transactions();
        assert_eq!(left, 0, "{counts:?} {endpoint:?}");
    }
}

fn session_verb(
    agent: &mut Agent<'_>,
    verb: usize,
    session: SessionId,
    pick: usize,
    extra: Extra,
) -> Option<SubscriptionId> {
    let ringing = [StatusCode::RINGING, StatusCode::SESSION_PROGRESS][pick % 2];
    let done = match verb {
        8 => agent.ring(session, ringing, extra),
        9 | 10 => agent.ring_reliably(session, ringing, extra),
        11 | 12 => agent.accept(session, extra),
        13 => agent.reject(session, StatusCode::BUSY_HERE, extra),
        14 => agent.hang_up(session, extra),
        15 => agent.reinvite(session, extra),
        16 => agent.update(session, extra),
        17 => agent.accept_offer(session, extra),
        18 => agent.reject_offer(session, StatusCode::NOT_ACCEPTABLE_HERE, extra),
        19 => agent.prack(session, extra),
        20 => agent.cancel_modify(session).or_else(|_| agent.cancel(session)),
        21 => {
            let to = ReferTo::parse("<sip:carol@example.org>").expect("it is one");
            return agent.refer(session, &to, pick.is_multiple_of(2), Extra::new()).ok();
        }
        _ => agent.send_within(session, Method::Info, extra).map(drop),
    };
    let _ = done;
    None
}

fn subscription_verb(agent: &mut Agent<'_>, verb: usize, id: SubscriptionId, pick: usize, extra: Extra) {
    let over = SubscriptionState::terminated(SubscriptionReason::NoResource);
    let _ = match verb {
        8..=12 => agent.accept_subscription(id, pick.is_multiple_of(2), 3600),
        13..=15 => agent.accept_refer(id),
        16..=18 => agent.notify(id, extra),
        19..=20 => agent.refer_progress(id, [StatusCode::RINGING, StatusCode::OK][pick % 2]),
        21..=22 => agent.activate(id),
        24 => agent.unsubscribe(id),
        25 => agent.terminate(id, over, extra),
        26 => agent.refuse_subscription(id, StatusCode::FORBIDDEN, extra),
        _ => Ok(()),
    };
}
