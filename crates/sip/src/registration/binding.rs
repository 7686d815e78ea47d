//! One flow of a registration: REGISTER, refresh, repair (RFC 3261 §10.2.4, RFC 5626 §4.2, §4.5).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Transport};

use super::keep_alive::PING;
use super::{Register, Registration, RegistrationEvent, RegistrationId, emit};
use crate::dialog::{Dialog, DialogKey, Opening};
use crate::endpoint::ClientTx;
use crate::event::refresh_after;
use crate::header::{FlowTimer, Gruus, RetryAfter};
use crate::message::{Contacts, HeaderName, Message, Method, NameAddr, StatusCode};
use crate::user_agent::{Context, Extra, Failure, Owner, Timer, TimerKind};

/// One flow.
#[derive(Debug)]
pub(super) struct Binding {
    /// The half dialog that its REGISTERs are built from: one Call-ID, rising CSeq (RFC 3261 §10.2).
    pub dialog: DialogKey,
    state: State,
    /// Which of its targets is in use.
    target: usize,
    /// The flow in use.
    flow: Flow,
    /// Failures since it last stood.
    failures: u32,
    /// Seconds to ask for; a 423 raises it.
    expires: u32,
    /// Whether a 423 just has: a second one in a row is a refusal.
    raised: bool,
    /// Whether reg-id and outbound are asked for (RFC 5626 §4.2.1).
    outbound: bool,
    /// The registrar's Flow-Timer.
    flow_timer: Option<u32>,
    /// Whether the other end of the flow has said that it answers keep-alives (RFC 5626 §5.4, §6).
    answers_pings: bool,
    /// The next REGISTER.
    refresh: Option<u64>,
    keep_alive: Option<u64>,
    /// The pong that must come before then.
    pong: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing is registered; an attempt is due when the timer fires.
    Waiting,
    /// A REGISTER waits for its response. `stands`: an earlier one is still good. `last`: it takes the binding back.
    Trying {
        tx: ClientTx,
        stands: bool,
        last: bool,
    },
    Registered,
}

impl Binding {
    pub fn new(cx: &mut Context<'_>, id: RegistrationId, register: &Register, index: usize) -> Self {
        let (call_id, tag, seq) = (cx.call_id(), cx.tag(), cx.first_seq());
        let flow = register.flows[index][0];
        let opening = Opening {
            target: Arc::clone(&register.registrar),
            from: Arc::clone(&register.aor),
            to: Arc::clone(&register.aor),
            contact: Arc::from(""),
            route_set: register.route_set.clone(),
            flow,
            account: register.account,
        };
        let dialog = cx.shared.dialogs.insert(Dialog::open(opening, call_id, tag, seq), Owner::Registration(id));
        Self {
            dialog,
            state: State::Waiting,
            target: 0,
            flow,
            failures: 0,
            expires: register.expires,
            raised: false,
            outbound: register.instance.is_some(),
            flow_timer: None,
            answers_pings: false,
            refresh: None,
            keep_alive: None,
            pong: None,
        }
    }

    pub fn request(&self) -> Option<ClientTx> {
        match self.state {
            State::Trying { tx, .. } => Some(tx),
            _ => None,
        }
    }

    /// Whether that is a REGISTER of it that does not take it back.
    pub fn is_binding_by(&self, of: ClientTx) -> bool {
        matches!(self.state, State::Trying { tx, last: false, .. } if tx == of)
    }

    /// Whether no response is awaited.
    pub fn is_idle(&self) -> bool {
        self.request().is_none()
    }

    fn stands(&self) -> bool {
        matches!(self.state, State::Registered | State::Trying { stands: true, .. })
    }

    pub fn wants(&self, timer: &Timer) -> bool {
        let armed = match timer.kind {
            TimerKind::Register => self.refresh,
            TimerKind::KeepAlive => self.keep_alive,
            TimerKind::Pong => self.pong,
            _ => None,
        };
        armed == Some(timer.serial)
    }

    fn quiet(&mut self) {
        (self.refresh, self.keep_alive, self.pong) = (None, None, None);
    }
}

impl Registration {
    const fn owner(&self) -> Owner {
        Owner::Registration(self.id)
    }

    /// Sends the REGISTER of a flow.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, index: usize) {
        let owner = self.owner();
        let contact = contact(&self.register, &self.bindings[index], index);
        let binding = &mut self.bindings[index];
        let stands = binding.stands();
        let expires = if self.leaving { 0 } else { binding.expires };
        let mut extra = Extra::new().header(HeaderName::Expires, expires.to_string());
        if binding.outbound {
            extra = extra.header(HeaderName::Supported, "path, outbound, gruu");
        } else {
            extra = extra.header(HeaderName::Supported, "path");
        }
        if let Some(dialog) = cx.shared.dialogs.get_mut(binding.dialog) {
            dialog.set_contact(contact.into());
            dialog.set_flow(binding.flow);
        }
        binding.refresh = None;
        let tx = cx.request(owner, binding.dialog, Method::Register, Arc::new(extra));
        let last = self.leaving;
        binding.state = tx.map_or(State::Waiting, |tx| State::Trying { tx, stands, last });
    }

    /// The registrar answered.
    pub(super) fn answered(&mut self, cx: &mut Context<'_>, index: usize, flow: Flow, response: &Arc<Message>) {
        let Some(status) = response.status().filter(|status| status.is_final()) else { return };
        let binding = &mut self.bindings[index];
        if self.leaving {
            let known = status.is_success() || binding.stands();
            let last = matches!(binding.state, State::Trying { last: true, .. });
            binding.state = State::Waiting;
            if known && !last {
                self.send(cx, index);
            }
            return;
        }
        if status.is_success() {
            return self.registered(cx, index, flow, response);
        }
        // RFC 3261 §10.2.8
        if status == StatusCode::INTERVAL_TOO_BRIEF
            && let Ok(Some(least)) = response.min_expires()
            && least > binding.expires
            && !std::mem::replace(&mut binding.raised, true)
        {
            binding.expires = least;
            return self.send(cx, index);
        }
        // RFC 5626 §11.6: the first hop cannot keep a flow.
        if status == StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT && binding.outbound {
            binding.outbound = false;
            return self.send(cx, index);
        }
        self.lost(cx, index, Failure::Response(Arc::clone(response)));
    }

    fn registered(&mut self, cx: &mut Context<'_>, index: usize, flow: Flow, response: &Arc<Message>) {
        let owner = self.owner();
        let ours = contact(&self.register, &self.bindings[index], index);
        let binding = &mut self.bindings[index];
        (binding.failures, binding.raised) = (0, false);
        binding.state = State::Registered;
        binding.flow = flow;
        binding.flow_timer = FlowTimer::of(response).ok().flatten().map(|timer| timer.0);
        binding.answers_pings =
            binding.flow_timer.is_some() || response.require().any(|tag| tag.eq_ignore_ascii_case("outbound"));
        let bound = our_contact(response, &ours);
        let granted = bound.as_ref().and_then(|bound| bound.expires());
        let granted = granted.or_else(|| response.expires().ok().flatten()).unwrap_or(binding.expires);
        let after = refresh_after(Duration::from_secs(granted.into())).max(Duration::from_secs(1));
        binding.refresh = Some(cx.arm(owner, TimerKind::Register, after));
        let gruus = bound.map(|bound| Gruus::of(&bound)).unwrap_or_default();
        let service_route = response.values(HeaderName::ServiceRoute).take(MAX_ROUTES).map(Arc::from).collect();
        let event = RegistrationEvent::Registered {
            index,
            flow,
            expires: granted,
            gruus,
            service_route,
            response: Arc::clone(response),
        };
        emit(cx, self.id, event);
        if self.bindings[index].keep_alive.is_none() {
            self.next_keep_alive(cx, index);
        }
    }

    fn next_keep_alive(&mut self, cx: &mut Context<'_>, index: usize) {
        let owner = self.owner();
        let binding = &mut self.bindings[index];
        let after = cx.shared.config.keep_alive.next(&binding.flow, binding.flow_timer, &mut *cx.shared.rng);
        binding.keep_alive = Some(cx.arm(owner, TimerKind::KeepAlive, after));
    }

    /// An attempt failed, or the flow did: the next target at once, and after the last one a pause (RFC 5626 §4.5).
    pub(super) fn lost(&mut self, cx: &mut Context<'_>, index: usize, failure: Failure) {
        let owner = self.owner();
        self.bindings[index].quiet();
        self.bindings[index].state = State::Waiting;
        if self.leaving {
            return;
        }
        let any_stands = self.bindings.iter().any(Binding::stands);
        let targets = &self.register.flows[index];
        let binding = &mut self.bindings[index];
        binding.target += 1;
        let unreachable = is_unreachable(&failure);
        if unreachable && binding.target < targets.len() {
            binding.flow = targets[binding.target];
            emit(cx, self.id, RegistrationEvent::Lost { index, failure, retry_in: Duration::ZERO });
            return self.send(cx, index);
        }
        binding.target = 0;
        binding.flow = targets[0];
        binding.failures += 1;
        let wait = cx.shared.config.backoff.wait(binding.failures, any_stands, &mut *cx.shared.rng);
        let retry_in = wait.max(wanted_pause(&failure));
        binding.refresh = Some(cx.arm(owner, TimerKind::Register, retry_in));
        emit(cx, self.id, RegistrationEvent::Lost { index, failure, retry_in });
    }

    pub(super) fn flow_failed(&mut self, cx: &mut Context<'_>, flow: &Flow) {
        for index in 0..self.bindings.len() {
            let binding = &self.bindings[index];
            let same = binding.flow.id == flow.id && binding.flow.remote == flow.remote;
            if same && flow.transport.is_reliable() && binding.state == State::Registered {
                self.lost(cx, index, Failure::Unreachable);
            }
        }
    }

    pub(super) fn pong(&mut self, flow: &Flow) {
        for binding in self.bindings.iter_mut().filter(|binding| binding.flow.id == flow.id) {
            binding.pong = None;
        }
    }

    pub(super) fn due(&mut self, cx: &mut Context<'_>, index: usize, timer: Timer) {
        match timer.kind {
            TimerKind::Register => self.send(cx, index),
            TimerKind::Pong => self.lost(cx, index, Failure::TimedOut),
            TimerKind::KeepAlive => {
                let owner = self.owner();
                let flow = self.bindings[index].flow;
                cx.endpoint.send_stateless(cx.now, flow, PING);
                let may_wait = flow.transport.is_reliable() && self.bindings[index].answers_pings;
                if let Some(patience) = cx.shared.config.keep_alive.pong.filter(|_| may_wait) {
                    self.bindings[index].pong = Some(cx.arm(owner, TimerKind::Pong, patience));
                }
                self.next_keep_alive(cx, index);
            }
            _ => {}
        }
    }

    /// Unregisters a flow, if the registrar may know it.
    pub(super) fn take_back(&mut self, cx: &mut Context<'_>, index: usize) {
        let binding = &mut self.bindings[index];
        binding.quiet();
        // RFC 3261 §10.2: one REGISTER at a time; the answer to the one under way brings us back here.
        if binding.state == State::Registered {
            self.send(cx, index);
        } else if binding.is_idle() {
            binding.state = State::Waiting;
        }
    }
}

/// Most Service-Route values that are kept.
const MAX_ROUTES: usize = 16;

/// The Contact value of a flow (RFC 5626 §4.2).
fn contact(register: &Register, binding: &Binding, index: usize) -> String {
    let flow = &binding.flow;
    let transport = match flow.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        // RFC 7118 §5.2: `ws`, over TLS or not.
        Transport::Ws | Transport::Wss => ";transport=ws",
    };
    let ob = if binding.outbound { ";ob" } else { "" };
    let mut text = format!("<sip:{}@{}{transport}{ob}>{}", register.user, flow.local, register.contact_params);
    if let Some(instance) = &register.instance {
        text.push_str(&format!(";+sip.instance=\"<{instance}>\""));
        if binding.outbound {
            text.push_str(&format!(";reg-id={}", index + 1));
        }
    }
    text
}

/// Our Contact among those of the response: by its URI, or by instance and reg-id.
fn our_contact<'m>(response: &'m Message, ours: &str) -> Option<NameAddr<'m>> {
    let ours = NameAddr::parse(HeaderName::Contact, ours).ok()?;
    let uri = ours.uri().ok()?;
    let Ok(Contacts::List(contacts)) = response.contacts() else { return None };
    contacts.flatten().find(|contact| {
        let same_flow = contact.instance().is_some() && contact.instance() == ours.instance();
        (same_flow && contact.reg_id() == ours.reg_id()) || contact.uri().is_ok_and(|other| other.equivalent(&uri))
    })
}

/// Whether another target may do better: nobody answered, or a server that cannot serve (RFC 3263 §4.3, RFC 5626 §4.5).
fn is_unreachable(failure: &Failure) -> bool {
    matches!(
        failure.status(),
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::SERVER_TIMEOUT
            | StatusCode::FLOW_FAILED
    )
}

/// The Retry-After of a refusal (RFC 3261 §20.33), bounded by a day.
fn wanted_pause(failure: &Failure) -> Duration {
    let Failure::Response(response) = failure else { return Duration::ZERO };
    let seconds = RetryAfter::of(response).ok().flatten().map_or(0, |retry| retry.seconds);
    Duration::from_secs(seconds.min(86_400).into())
}
