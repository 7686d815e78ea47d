//! A proxy as some services need one: it forwards by name, to several at once or one after the other, and refuses what it
//! is told to. It keeps to RFC 3261 §16 as far as these flows see it; it stands in for a real one.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, TimerTable, Transmit, Transport};
use farspeak_sip::endpoint::{ClientTx, Endpoint, EndpointConfig, Event, ServerTx};
use farspeak_sip::message::{Edit, HeaderName, Message, Method, ResponseBuilder, StatusCode, Uri};

/// A refusal, and a header field for it.
pub type Refusal = (StatusCode, Option<(HeaderName, &'static str)>);

/// Says which requests are refused.
type Screen = Box<dyn Fn(&Message) -> Option<Refusal>>;

/// Names that are tried at the same time, and if none of them answers, the next ones.
type Stages = Vec<Vec<&'static str>>;

pub struct Proxy {
    endpoint: Endpoint,
    flows: BTreeMap<&'static str, Flow>,
    stages: BTreeMap<String, Stages>,
    screen: Option<Screen>,
    /// How long a stage may ring.
    pub patience: Duration,
    calls: Vec<Call>,
    timers: TimerTable<ServerTx>,
}

/// A request that was forwarded.
struct Call {
    tx: ServerTx,
    request: Arc<Message>,
    left: VecDeque<Vec<&'static str>>,
    open: Vec<ClientTx>,
    /// The last refusal.
    refusal: Option<Arc<Message>>,
    /// Whether a 2xx has gone back.
    answered: bool,
}

impl Proxy {
    pub fn new(seed: u64) -> Self {
        Self {
            endpoint: Endpoint::new(EndpointConfig::default(), Box::new(SplitMix64::new(seed * 100 + 99))),
            flows: BTreeMap::new(),
            stages: BTreeMap::new(),
            screen: None,
            patience: Duration::from_secs(20),
            calls: Vec::new(),
            timers: TimerTable::new(&[]),
        }
    }

    /// How to reach somebody.
    pub fn learn(&mut self, name: &'static str, flow: Flow) {
        self.flows.insert(name, flow);
    }

    /// Where requests for a name go. Default: to who has that name.
    pub fn route(&mut self, name: &str, stages: Stages) {
        self.stages.insert(name.to_owned(), stages);
    }

    /// Refuses requests by name.
    pub fn screen(&mut self, screen: impl Fn(&Message) -> Option<Refusal> + 'static) {
        self.screen = Some(Box::new(screen));
    }

    pub fn residue(&self) -> Option<String> {
        let left = self.calls.len() + self.endpoint.counts().transactions();
        (left > 0).then(|| format!("{} calls, {:?}", self.calls.len(), self.endpoint.counts()))
    }

    fn pump(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { tx, request, .. } => self.request(now, tx, request),
                Event::Ack { request, .. } => {
                    if let Some((uri, flow)) = self.literal(&request) {
                        let bytes = self.forwarded(&request, &uri, &flow).1;
                        self.endpoint.send_stateless(now, flow, bytes);
                    }
                }
                Event::Cancel { tx, .. } => {
                    if let Some(call) = self.calls.iter_mut().find(|call| call.tx == tx) {
                        call.left.clear();
                        call.open.clone().into_iter().for_each(|tx| self.endpoint.cancel(now, tx));
                    }
                }
                Event::Response { tx, response, .. } => self.response(now, tx, &response),
                Event::TimedOut { tx } | Event::TransportFailed { tx } => self.branch_over(now, tx, None),
                Event::ClientTerminated { tx } => {
                    self.calls.iter_mut().for_each(|call| call.open.retain(|open| *open != tx));
                    self.calls.retain(|call| !call.open.is_empty());
                }
                _ => {}
            }
        }
    }

    fn request(&mut self, now: Instant, tx: ServerTx, request: Arc<Message>) {
        let outside = request.to_tag().is_none();
        if let Some(refusal) = self.screen.as_ref().filter(|_| outside).and_then(|screen| screen(&request)) {
            return self.answer(now, tx, &request, refusal);
        }
        let mut call = Call { tx, request, left: VecDeque::new(), open: Vec::new(), refusal: None, answered: false };
        if let Some((uri, flow)) = self.literal(&call.request) {
            self.forward(now, &mut call, &uri, flow);
        } else {
            let name = call.request.uri().ok().and_then(|uri| uri.user).unwrap_or_default().to_owned();
            let known = self.flows.keys().copied().find(|known| *known == name);
            let itself = || known.map(|known| vec![vec![known]]).unwrap_or_default();
            call.left = self.stages.get(&name).cloned().unwrap_or_else(itself).into();
            self.next_stage(now, &mut call);
        }
        self.keep(now, call);
    }

    /// The next targets that the call has not tried.
    fn next_stage(&mut self, now: Instant, call: &mut Call) {
        let Some(names) = call.left.pop_front() else { return };
        if call.refusal.is_some() {
            let forwarded = StatusCode::new(181).unwrap();
            self.answer(now, call.tx, &call.request, (forwarded, None));
        }
        for name in names {
            let flow = self.flows[name];
            let transport = if flow.transport == Transport::Udp { "" } else { ";transport=tcp" };
            let uri = format!("sip:{name}@{}{transport}", flow.remote);
            self.forward(now, call, &uri, flow);
        }
        if call.request.method() == Some(&Method::Invite) {
            self.timers.arm(now, self.patience, call.tx);
        }
    }

    fn forward(&mut self, now: Instant, call: &mut Call, uri: &str, flow: Flow) {
        let (branch, bytes) = self.forwarded(&call.request, uri, &flow);
        let method = call.request.method().cloned().unwrap();
        call.open.push(self.endpoint.request(now, flow, &method, &branch, bytes));
    }

    /// Branch and bytes (RFC 3261 §16.6).
    fn forwarded(&mut self, request: &Message, uri: &str, flow: &Flow) -> (String, Vec<u8>) {
        let branch = self.endpoint.new_branch(0).as_str().to_owned();
        let via = format!("SIP/2.0/{} {};branch={branch}", flow.transport, flow.local);
        let mut edit = Edit::new(request);
        edit.set_request_uri(uri).prepend(HeaderName::Via, &via);
        (branch, edit.to_vec())
    }

    /// Where a request goes whose Request-URI has an address.
    fn literal(&self, request: &Message) -> Option<(String, Flow)> {
        let text = request.request_uri()?;
        let address: IpAddr = Uri::parse(text).ok()?.host_port().rsplit_once(':')?.0.parse().ok()?;
        let flow = self.flows.values().find(|flow| flow.remote.ip() == address)?;
        Some((text.to_owned(), *flow))
    }

    fn response(&mut self, now: Instant, tx: ClientTx, response: &Arc<Message>) {
        let status = response.status().unwrap();
        let Some(call) = self.calls.iter_mut().find(|call| call.open.contains(&tx)) else {
            return;
        };
        if status == StatusCode::TRYING {
            return;
        }
        if status.is_final() && !status.is_success() {
            return self.branch_over(now, tx, Some(Arc::clone(response)));
        }
        let mut edit = Edit::new(response);
        edit.remove_first_value(HeaderName::Via);
        let (server, bytes) = (call.tx, edit.to_vec());
        self.endpoint.respond(now, server, status, bytes);
        if status.is_success() {
            call.answered = true;
            call.left.clear();
            let others: Vec<_> = call.open.iter().copied().filter(|other| *other != tx).collect();
            let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
            others.into_iter().for_each(|other| self.endpoint.cancel_because(now, other, reason));
            if call.request.method() != Some(&Method::Invite) {
                call.open.clear();
            }
        }
        self.calls.retain(|call| !call.open.is_empty());
    }

    /// A branch was refused, or nobody answered in it.
    fn branch_over(&mut self, now: Instant, tx: ClientTx, refusal: Option<Arc<Message>>) {
        let Some(at) = self.calls.iter().position(|call| call.open.contains(&tx)) else { return };
        let mut call = self.calls.swap_remove(at);
        call.open.retain(|open| *open != tx);
        call.refusal = refusal.or(call.refusal.take());
        if call.open.is_empty() {
            self.next_stage(now, &mut call);
        }
        self.keep(now, call);
    }

    /// Keeps a call as long as it has branches; refuses it after the last one.
    fn keep(&mut self, now: Instant, call: Call) {
        if !call.open.is_empty() {
            return self.calls.push(call);
        }
        if call.answered {
            return;
        }
        let Some(refusal) = call.refusal else {
            return self.answer(now, call.tx, &call.request, (StatusCode::TEMPORARILY_UNAVAILABLE, None));
        };
        let mut edit = Edit::new(&refusal);
        edit.remove_first_value(HeaderName::Via);
        self.endpoint.respond(now, call.tx, refusal.status().unwrap(), edit.to_vec());
    }

    fn answer(&mut self, now: Instant, tx: ServerTx, request: &Message, (status, field): Refusal) {
        let mut response = ResponseBuilder::new(request, status).to_tag("proxy");
        if let Some((name, value)) = field {
            response = response.header(name, value);
        }
        self.endpoint.respond(now, tx, status, response.to_vec());
    }
}

impl Machine for Proxy {
    type Event = ();

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        self.endpoint.handle_receive(now, received);
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.pump(now);
        while let Some(tx) = self.timers.pop_due(now) {
            let rings = self.calls.iter().find(|call| call.tx == tx && !call.left.is_empty());
            rings.map(|call| call.open.clone()).into_iter().flatten().for_each(|tx| self.endpoint.cancel(now, tx));
        }
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        self.endpoint.handle_flow_failed(now, flow);
        self.pump(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let own = self.timers.next();
        self.endpoint.poll_timeout().map_or(own, |at| Some(own.map_or(at, |own| own.min(at))))
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }
}
