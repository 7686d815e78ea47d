//! A scripted telephone: registers with digest, calls, rings, answers, redirects, cancels and hangs up when told to.
//!
//! A user agent without I/O over the transaction layer of `farspeak-sip`. Messages are written out by hand, so that a
//! flaw of our own builders cannot hide itself. A button that makes no sense in the moment does nothing: chaotic runs
//! press them anyway.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, SplitMix64, TimerTable, Transmit};
use farspeak_sip::digest::{Challenge, Identity};
use farspeak_sip::endpoint::{ClientTx, Endpoint, Event, ServerTx};
use farspeak_sip::message::{HeaderName, Message, Method, StatusCode};

use super::call::{Call, State};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// What a phone is set up with.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: String,
    pub password: String,
    pub domain: String,
    /// Over what and to where it talks: unbound, so that the network finds or opens the connection.
    pub flow: Flow,
    /// What it says in its Contact: `sip:bob@192.0.2.20:5060`.
    pub contact: String,
    pub user_agent: String,
}

pub struct Phone {
    pub account: Account,
    /// Everything that ended somehow, oldest first: `200 REGISTER`, `487 INVITE`, `408 BYE`.
    pub finals: Vec<String>,
    pub calls: Vec<Call>,
    /// The bindings that the last 200 to a REGISTER listed, as written.
    pub bindings: Vec<String>,
    /// The last response of any kind.
    pub last_response: Option<Arc<Message>>,
    /// Header fields for the next new request outside a dialog.
    pub extra: Vec<(String, String)>,
    /// Whom the next new request claims to come from (in a REGISTER: whom it is for), instead of the truth.
    pub claims: Option<String>,
    /// How often nobody acknowledged its answer for 32 s (RFC 3261 §13.3.1.4).
    pub gave_up: u32,
    /// What its requests say in Max-Forwards.
    pub hops: u32,
    /// Registers anew, a second after its flow has failed.
    pub comes_back: bool,
    /// Answers a challenge. Attackers and strangers do not.
    pub answers_challenges: bool,
    /// Sends the credentials that worked before without being asked.
    pub remembers_nonce: bool,
    keep_alive_every: Duration,
    endpoint: Endpoint,
    rng: SplitMix64,
    timers: TimerTable<Timer>,
    jobs: BTreeMap<ClientTx, Job>,
    /// The calls that INVITE transactions belong to, until these end.
    invites: BTreeMap<ClientTx, usize>,
    registration: (String, u32),
    known: BTreeMap<&'static str, Known>,
}

#[derive(Clone, Copy)]
enum Timer {
    /// Retransmits the 2xx of that call; valid for that many repetitions (RFC 3261 §13.3.1.4).
    Accepted {
        call: usize,
        invite: u32,
        repetition: u32,
    },
    ComeBack,
    KeepAlive,
}

/// A challenge that was answered, and how often.
struct Known {
    challenge: String,
    count: u32,
}

/// A request and why it is sent.
#[derive(Clone)]
struct Job {
    method: Method,
    uri: String,
    /// From, To, Call-ID and everything else but Via, Max-Forwards, CSeq, credentials and Content-Length.
    headers: Vec<(String, String)>,
    body: String,
    cseq: u32,
    call: Option<usize>,
    challenged: u8,
}

/// The buttons.
impl Phone {
    pub fn new(account: Account, endpoint: Endpoint, seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed);
        let registration = (format!("reg-{:016x}", rng.next_u64()), 0);
        Self {
            account,
            finals: Vec::new(),
            calls: Vec::new(),
            bindings: Vec::new(),
            last_response: None,
            extra: Vec::new(),
            claims: None,
            gave_up: 0,
            hops: 70,
            comes_back: false,
            answers_challenges: true,
            remembers_nonce: true,
            keep_alive_every: Duration::ZERO,
            endpoint,
            rng,
            timers: TimerTable::new(&[]),
            jobs: BTreeMap::new(),
            invites: BTreeMap::new(),
            registration,
            known: BTreeMap::new(),
        }
    }

    pub fn aor(&self) -> String {
        format!("sip:{}@{}", self.account.user, self.account.domain)
    }

    pub fn register(&mut self, now: Instant) {
        let contact = format!("<{}>", self.account.contact);
        self.register_with(now, &[&contact], Some(3600));
    }

    pub fn unregister(&mut self, now: Instant) {
        self.register_with(now, &["*"], Some(0));
    }

    pub fn fetch_bindings(&mut self, now: Instant) {
        self.register_with(now, &[], None);
    }

    pub fn register_with(&mut self, now: Instant, contacts: &[&str], expires: Option<u32>) {
        self.registration.1 += 1;
        let (call_id, cseq) = self.registration.clone();
        let aor = self.claims.take().unwrap_or_else(|| self.aor());
        let mut headers = vec![
            ("From".to_owned(), format!("<{aor}>;tag={}", self.token())),
            ("To".to_owned(), format!("<{aor}>")),
            ("Call-ID".to_owned(), call_id),
        ];
        headers.extend(contacts.iter().map(|contact| ("Contact".to_owned(), (*contact).to_owned())));
        headers.extend(expires.map(|expires| ("Expires".to_owned(), expires.to_string())));
        headers.append(&mut self.extra);
        let uri = format!("sip:{}", self.account.domain);
        let job = Job { method: Method::Register, uri, headers, body: String::new(), cseq, call: None, challenged: 0 };
        self.send(now, job);
    }

    pub fn invite(&mut self, now: Instant, uri: &str) {
        self.invite_saying(now, uri, "v=0\r\n");
    }

    /// An INVITE with this body; none if it is empty.
    pub fn invite_saying(&mut self, now: Instant, uri: &str, body: &str) {
        let call = Call::outgoing(uri, &self.claimed(), self.token(), self.token());
        let mut headers = call.headers();
        headers.push(("Contact".to_owned(), format!("<{}>", self.account.contact)));
        headers.append(&mut self.extra);
        self.calls.push(call);
        let job = Job {
            method: Method::Invite,
            uri: uri.to_owned(),
            headers,
            body: body.to_owned(),
            cseq: 1,
            call: Some(self.calls.len() - 1),
            challenged: 0,
        };
        self.send(now, job);
    }

    /// A request outside a dialog that is no INVITE.
    pub fn request(&mut self, now: Instant, method: Method, uri: &str) {
        let mut headers = vec![
            ("From".to_owned(), format!("<{}>;tag={}", self.claimed(), self.token())),
            ("To".to_owned(), format!("<{uri}>")),
            ("Call-ID".to_owned(), self.token()),
        ];
        headers.append(&mut self.extra);
        let job = Job { method, uri: uri.to_owned(), headers, body: String::new(), cseq: 1, call: None, challenged: 0 };
        self.send(now, job);
    }

    /// A request that says of itself what `extra` says, From, To and Call-ID included, and no more.
    pub fn request_bare(&mut self, now: Instant, method: Method, uri: &str) {
        let headers = std::mem::take(&mut self.extra);
        let job =
            Job { method, uri: uri.to_owned(), headers, body: String::new(), cseq: 77, call: None, challenged: 0 };
        self.send(now, job);
    }

    /// 180 for the last call that came in.
    pub fn ring(&mut self, now: Instant) {
        self.provisional(now, 180);
    }

    pub fn provisional(&mut self, now: Instant, status: u16) {
        let Some(at) = self.last_call(|call| matches!(call.state, State::Incoming(_))) else { return };
        self.respond_to_invite(now, at, status, &[]);
    }

    /// 200 for the last call that came in.
    pub fn answer(&mut self, now: Instant) {
        let Some(at) = self.last_call(|call| matches!(call.state, State::Incoming(_))) else { return };
        self.accept(now, at);
    }

    /// A final refusal of the last call that came in.
    pub fn refuse(&mut self, now: Instant, status: u16) {
        self.refuse_with(now, status, &[]);
    }

    pub fn refuse_with(&mut self, now: Instant, status: u16, headers: &[(&str, &str)]) {
        let Some(at) = self.last_call(|call| matches!(call.state, State::Incoming(_))) else { return };
        self.respond_to_invite(now, at, status, headers);
        self.calls[at].state = State::Ended;
    }

    /// CANCEL for the last call that is being set up.
    pub fn cancel(&mut self, now: Instant) {
        let Some(at) = self.last_call(|call| matches!(call.state, State::Calling)) else { return };
        self.stop_calling(now, at);
    }

    /// BYE for the last call that is up, on either side.
    pub fn bye(&mut self, now: Instant) {
        let Some(at) = self.last_call(|call| matches!(call.state, State::Up | State::Accepted { .. })) else { return };
        self.hang_up(now, at);
    }

    /// A new offer in the last call that is up.
    pub fn reinvite(&mut self, now: Instant) {
        let Some(at) = self.last_call(|call| matches!(call.state, State::Up)) else { return };
        let contact = format!("<{}>", self.account.contact);
        self.send_in_dialog(now, at, Method::Invite, vec![("Contact".to_owned(), contact)], "v=0 again\r\n");
    }

    /// Any other request in the last call that is up.
    pub fn in_dialog(&mut self, now: Instant, method: Method) {
        let Some(at) = self.last_call(|call| matches!(call.state, State::Up)) else { return };
        self.send_in_dialog(now, at, method, Vec::new(), "");
    }

    /// Hangs up or refuses whatever is left.
    pub fn end_everything(&mut self, now: Instant) {
        for at in 0..self.calls.len() {
            match self.calls[at].state {
                State::Up | State::Accepted { .. } => self.hang_up(now, at),
                State::Incoming(_) => {
                    self.respond_to_invite(now, at, 480, &[]);
                    self.calls[at].state = State::Ended;
                }
                State::Calling => self.stop_calling(now, at),
                State::Ended => {}
            }
        }
    }

    /// CRLF CRLF now and then every so often; never again if that is zero.
    pub fn keep_alive(&mut self, now: Instant, every: Duration) {
        self.keep_alive_every = every;
        if !every.is_zero() {
            self.endpoint.send_stateless(now, self.account.flow, *b"\r\n\r\n");
            self.timers.arm(now, every, Timer::KeepAlive);
        }
    }

    /// Whether its last call is up.
    pub fn is_talking(&self) -> bool {
        self.calls.last().is_some_and(|call| matches!(call.state, State::Up))
    }

    /// What it has not finished.
    pub fn residue(&self) -> Option<String> {
        let calls = self.calls.iter().filter(|call| !matches!(call.state, State::Ended)).count();
        let transactions = self.endpoint.counts().transactions();
        (calls + transactions + self.jobs.len() > 0)
            .then(|| format!("{calls} calls, {transactions} transactions, {} requests", self.jobs.len()))
    }

    /// What it has not finished, calls that are up aside.
    pub fn residue_but_calls(&self) -> Option<String> {
        let transactions = self.endpoint.counts().transactions();
        (transactions > 0).then(|| format!("{transactions} transactions"))
    }
}

/// Sending.
impl Phone {
    fn claimed(&mut self) -> String {
        self.claims.take().unwrap_or_else(|| self.aor())
    }

    fn token(&mut self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    fn last_call(&self, which: impl Fn(&Call) -> bool) -> Option<usize> {
        self.calls.iter().rposition(which)
    }

    fn send(&mut self, now: Instant, job: Job) {
        let credentials = self.credentials(&job);
        let branch = self.endpoint.new_branch(0).to_string();
        let bytes = self.write(&job, &branch, credentials.as_deref());
        let tx = self.endpoint.request(now, self.account.flow, &job.method, &branch, bytes.into_bytes());
        if let (Method::Invite, Some(call)) = (&job.method, job.call) {
            self.invites.insert(tx, call);
        }
        self.jobs.insert(tx, job);
    }

    fn credentials(&mut self, job: &Job) -> Option<String> {
        let (header, _) = credentials_of(&job.method);
        // In a dialog nobody asks, unless somebody does.
        let in_dialog = job.headers.iter().any(|(name, value)| name == "To" && value.contains(";tag="));
        if job.challenged == 0 && (!self.remembers_nonce || in_dialog) {
            return None;
        }
        let cnonce = self.token();
        let known = self.known.get_mut(header)?;
        known.count += 1;
        let challenge = Challenge::parse(&known.challenge).ok()?;
        let identity = Identity { username: &self.account.user, password: &self.account.password };
        let answer = challenge.answer(&identity, job.method.as_str(), &job.uri, &cnonce, known.count);
        Some(format!("{header}: {answer}\r\n"))
    }

    fn write(&self, job: &Job, branch: &str, credentials: Option<&str>) -> String {
        let mut text = format!("{} {} SIP/2.0\r\n", job.method, job.uri);
        let (transport, local) = (self.account.flow.transport, self.account.flow.local);
        let _ =
            write!(text, "Via: SIP/2.0/{transport} {local};branch={branch};rport\r\nMax-Forwards: {}\r\n", self.hops);
        for (name, value) in &job.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "CSeq: {} {}\r\n", job.cseq, job.method);
        text.push_str(credentials.unwrap_or_default());
        let _ = write!(text, "User-Agent: {}\r\n", self.account.user_agent);
        if !job.body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", job.body.len(), job.body);
        text
    }

    fn send_in_dialog(&mut self, now: Instant, at: usize, method: Method, extra: Vec<(String, String)>, body: &str) {
        let call = &mut self.calls[at];
        call.local_cseq += 1;
        let mut headers = call.headers();
        headers.extend(extra);
        let (uri, cseq, body) = (call.remote_target.clone(), call.local_cseq, body.to_owned());
        self.send(now, Job { method, uri, headers, body, cseq, call: Some(at), challenged: 0 });
    }

    fn stop_calling(&mut self, now: Instant, at: usize) {
        let waiting = self.jobs.iter().find(|(_, job)| job.method == Method::Invite && job.call == Some(at));
        if let Some((tx, _)) = waiting {
            self.endpoint.cancel(now, *tx);
        }
    }

    fn hang_up(&mut self, now: Instant, at: usize) {
        self.calls[at].state = State::Ended;
        self.send_in_dialog(now, at, Method::Bye, Vec::new(), "");
    }

    fn respond(&mut self, now: Instant, tx: ServerTx, status: u16, to_tag: &str, headers: &[(&str, &str)]) {
        let Some(request) = self.endpoint.server_request(tx).cloned() else { return };
        let bytes = write_response(&request, status, to_tag, headers);
        self.endpoint.respond(now, tx, code(status), bytes.into_bytes());
    }

    fn respond_to_invite(&mut self, now: Instant, at: usize, status: u16, headers: &[(&str, &str)]) {
        let State::Incoming(tx) = self.calls[at].state else { return };
        let tag = self.calls[at].local_tag.clone();
        let contact = format!("<{}>", self.account.contact);
        let mut all = vec![];
        if !headers.iter().any(|(name, _)| *name == "Contact") {
            all.push(("Contact", contact.as_str()));
        }
        all.extend_from_slice(headers);
        self.respond(now, tx, status, &tag, &all);
    }

    fn accept(&mut self, now: Instant, at: usize) {
        let State::Incoming(tx) = self.calls[at].state else { return };
        let Some(request) = self.endpoint.server_request(tx).cloned() else { return };
        let contact = format!("<{}>", self.account.contact);
        let answer = write_response(&request, 200, &self.calls[at].local_tag, &[("Contact", &contact)]);
        let answer: Arc<[u8]> = answer.into_bytes().into();
        self.endpoint.respond(now, tx, StatusCode::OK, Arc::clone(&answer));
        self.calls[at].answer = Some(answer);
        let invite = self.calls[at].remote_cseq;
        self.calls[at].state = State::Accepted { tx };
        self.timers.arm(now, T1, Timer::Accepted { call: at, invite, repetition: 1 });
    }

    fn acknowledge(&mut self, now: Instant, at: usize, cseq: u32) {
        let headers = self.calls[at].headers();
        let uri = self.calls[at].remote_target.clone();
        let job = Job { method: Method::Ack, uri, headers, body: String::new(), cseq, call: None, challenged: 0 };
        let branch = self.endpoint.new_branch(0).to_string();
        let ack: Arc<[u8]> = self.write(&job, &branch, None).into_bytes().into();
        self.calls[at].ack = Some(Arc::clone(&ack));
        self.calls[at].acked_cseq = cseq;
        self.endpoint.send_stateless(now, self.account.flow, ack);
    }
}

/// Receiving.
impl Phone {
    fn pump(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { tx, request, .. } => self.requested(now, tx, &request),
                Event::Ack { request, .. } => self.acknowledged(now, &request),
                Event::Cancel { tx, .. } => self.cancelled(now, tx),
                Event::UnmatchedCancel { tx, .. } => self.respond(now, tx, 481, "none", &[]),
                Event::Response { tx, response, .. } => self.responded(now, tx, &response),
                Event::TimedOut { tx } => self.failed(tx, 408),
                Event::TransportFailed { tx } => self.failed(tx, 503),
                Event::ClientTerminated { tx } => {
                    self.invites.remove(&tx);
                }
                Event::ServerTerminated { .. }
                | Event::ServerTransportFailed { .. }
                | Event::ServerTimedOut { .. }
                | Event::StrayResponse { .. }
                | Event::Misrouted { .. } => {}
            }
        }
    }

    fn requested(&mut self, now: Instant, tx: ServerTx, request: &Arc<Message>) {
        let method = request.method().expect("a request has a method").clone();
        let known = self.calls.iter().rposition(|call| call.is_of(request));
        match (method, known, request.to_tag()) {
            (Method::Invite, _, None) => {
                let tag = self.token();
                self.calls.push(Call::incoming(request, tx, tag));
            }
            (Method::Invite, Some(at), Some(_)) => {
                self.calls[at].refresh(request);
                self.calls[at].state = State::Incoming(tx);
                self.accept(now, at);
            }
            (Method::Bye, Some(at), Some(_)) => {
                let tag = self.calls[at].local_tag.clone();
                // RFC 3261 §15.1.2: a call that is still being set up ends with it.
                if let State::Incoming(_) = self.calls[at].state {
                    self.respond_to_invite(now, at, 487, &[]);
                }
                self.calls[at].state = State::Ended;
                self.respond(now, tx, 200, &tag, &[]);
            }
            // It takes whatever it is told.
            (Method::Notify, None, Some(tag)) => self.respond(now, tx, 200, tag, &[]),
            (_, None, Some(_)) => self.respond(now, tx, 481, "none", &[]),
            (_, _, _) => {
                let tag = self.token();
                self.respond(now, tx, 200, &tag, &[]);
            }
        }
    }

    fn acknowledged(&mut self, _now: Instant, ack: &Message) {
        let Some(at) = self.calls.iter().rposition(|call| call.is_of(ack)) else { return };
        if let State::Accepted { .. } = self.calls[at].state {
            self.calls[at].state = State::Up;
        }
        self.calls[at].acks += 1;
    }

    fn cancelled(&mut self, now: Instant, tx: ServerTx) {
        let is_it = |call: &Call| matches!(call.state, State::Incoming(of) if of == tx);
        let Some(at) = self.calls.iter().position(is_it) else { return };
        self.respond_to_invite(now, at, 487, &[]);
        self.calls[at].state = State::Ended;
    }

    fn responded(&mut self, now: Instant, tx: ClientTx, response: &Arc<Message>) {
        let status = response.status().expect("a response has a status").code();
        self.last_response = Some(Arc::clone(response));
        let method = response.cseq().expect("our own CSeq comes back").method;
        if status < 200 {
            return;
        }
        if let (Method::Invite, 200..=299, Some(at)) = (&method, status, self.invites.get(&tx).copied()) {
            if self.jobs.remove(&tx).is_some() {
                self.finals.push(format!("{status} {method}"));
            }
            return self.invite_accepted(now, at, response);
        }
        let Some(mut job) = self.jobs.remove(&tx) else { return };
        if (status == 401 || status == 407) && self.answers_challenges && job.challenged < 2 {
            let (_, asks) = credentials_of(&job.method);
            let (header, _) = credentials_of(&job.method);
            let challenge = response.headers(asks).find(|value| Challenge::parse(value).is_ok()).map(str::to_owned);
            let again = job.challenged == 0 || challenge.as_deref().is_some_and(|value| value.contains("stale=true"));
            if let Some(challenge) = challenge.filter(|_| again) {
                self.known.insert(header, Known { challenge, count: 0 });
                job.challenged += 1;
                job.cseq += 1;
                match (job.call, &job.method) {
                    (Some(at), _) => self.calls[at].local_cseq = job.cseq,
                    (None, Method::Register) => self.registration.1 = job.cseq,
                    (None, _) => {}
                }
                return self.send(now, job);
            }
        }
        self.finals.push(format!("{status} {method}"));
        match (&method, job.call) {
            (Method::Register, _) if status == 200 => {
                self.bindings = response.headers(HeaderName::Contact).map(str::to_owned).collect();
            }
            // A refused re-INVITE leaves the call as it was.
            (Method::Invite, Some(at)) if matches!(self.calls[at].state, State::Calling) => {
                self.calls[at].state = State::Ended;
            }
            // RFC 3261 §12.2.1.2.
            (_, Some(at)) if status == 481 || status == 408 => self.calls[at].state = State::Ended,
            _ => {}
        }
    }

    fn invite_accepted(&mut self, now: Instant, at: usize, response: &Arc<Message>) {
        let cseq = response.cseq().expect("our own CSeq comes back").number;
        let tag = response.to_tag().unwrap_or_default().to_owned();
        let call = &mut self.calls[at];
        if call.remote_tag.as_deref().is_some_and(|known| known != tag) {
            // Another branch of a fork was answered too: take that call and end it (RFC 3261 §13.2.2.4).
            let twin = self.calls.iter().position(|call| call.is_twin_of(at, &tag, response));
            if let Some(twin) = twin {
                if let Some(ack) = self.calls[twin].ack.clone() {
                    self.endpoint.send_stateless(now, self.account.flow, ack);
                }
                return;
            }
            let mut second = self.calls[at].clone();
            second.establish(response);
            self.calls.push(second);
            let second = self.calls.len() - 1;
            self.acknowledge(now, second, cseq);
            return self.hang_up(now, second);
        }
        if let (Some(ack), true) = (call.ack.clone(), call.acked_cseq == cseq) {
            return self.endpoint.send_stateless(now, self.account.flow, ack);
        }
        let wanted = !matches!(call.state, State::Ended);
        call.establish(response);
        call.acked_cseq = cseq;
        if wanted {
            call.state = State::Up;
        }
        self.acknowledge(now, at, cseq);
        if !wanted {
            self.hang_up(now, at);
        }
    }

    fn failed(&mut self, tx: ClientTx, status: u16) {
        let Some(job) = self.jobs.remove(&tx) else { return };
        self.finals.push(format!("{status} {}", job.method));
        if let Some(at) = job.call {
            self.calls[at].state = State::Ended;
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Accepted { call, invite, repetition } => {
                let State::Accepted { tx } = self.calls[call].state else { return };
                if self.calls[call].remote_cseq != invite {
                    return;
                }
                let after = T1 * 2_u32.pow(repetition.min(3));
                // 64 × T1 are over after the eleventh.
                if repetition > 10 {
                    self.gave_up += 1;
                    return self.hang_up(now, call);
                }
                if let Some(answer) = self.calls[call].answer.clone() {
                    self.endpoint.respond(now, tx, StatusCode::OK, answer);
                }
                self.timers.arm(now, after.min(T2), Timer::Accepted { call, invite, repetition: repetition + 1 });
            }
            Timer::ComeBack => self.register(now),
            Timer::KeepAlive => self.keep_alive(now, self.keep_alive_every),
        }
    }
}

impl Machine for Phone {
    type Event = Infallible;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        self.endpoint.handle_receive(now, received);
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.pump(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.fire(now, timer);
            self.pump(now);
        }
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        self.endpoint.handle_flow_failed(now, flow);
        self.pump(now);
        if self.comes_back {
            self.timers.arm(now, Duration::from_secs(1), Timer::ComeBack);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let own = self.timers.next();
        self.endpoint.poll_timeout().into_iter().chain(own).min()
    }

    fn poll_event(&mut self) -> Option<Infallible> {
        None
    }
}

/// Where credentials for a method go, and where its challenge stands.
const fn credentials_of(method: &Method) -> (&'static str, HeaderName) {
    match method {
        Method::Register => ("Authorization", HeaderName::WwwAuthenticate),
        _ => ("Proxy-Authorization", HeaderName::ProxyAuthenticate),
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::new(status).expect("tests use real codes")
}

fn write_response(request: &Message, status: u16, to_tag: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("SIP/2.0 {status} {}\r\n", code(status).reason());
    for (name, written, value) in request.fields() {
        match name {
            HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq | HeaderName::RecordRoute => {
                let _ = write!(text, "{written}: {value}\r\n");
            }
            HeaderName::To if request.to_tag().is_some() || status == 100 => {
                let _ = write!(text, "{written}: {value}\r\n");
            }
            HeaderName::To => {
                let _ = write!(text, "{written}: {value};tag={to_tag}\r\n");
            }
            _ => {}
        }
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text
}
