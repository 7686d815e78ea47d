//! The client side: requests go out, responses come in (RFC 3261 §17.1, §18.1).

use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant};

use super::{Action, Branch, ClientTx, Endpoint, Event, Transaction};
use crate::message::{HeaderName, Message, Method};
use crate::timer::Timer;
use crate::transaction::table::Slot;
use crate::transaction::{client_invite, client_non_invite};

/// A client transaction and what it keeps.
pub(super) struct Client {
    pub(super) machine: Machine,
    pub(super) flow: Flow,
    /// Kept as long as it may have to be sent again, or an ACK or CANCEL made of it.
    request: Option<Arc<[u8]>>,
    /// The ACK that answers every further 300–699.
    ack: Option<Arc<[u8]>>,
    /// A CANCEL of our own: the user hears nothing of it.
    hidden: bool,
    /// What a CANCEL that still waits will say in Reason.
    cancel_reason: Option<Box<str>>,
    pub(super) subject: Arc<str>,
}

/// One of the two machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Machine {
    Invite(client_invite::State),
    NonInvite(client_non_invite::State),
}

/// What can happen to either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    /// A response of this class arrived.
    Response(u8),
    /// The user cancels.
    Cancel,
    /// A timer fired.
    Timer(Timer),
    /// The transport failed.
    TransportError,
}

impl Machine {
    pub(super) fn wants(self, timer: Timer) -> bool {
        match self {
            Self::Invite(state) => state.wants(timer),
            Self::NonInvite(state) => state.wants(timer),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Invite(state) => state.name(),
            Self::NonInvite(state) => state.name(),
        }
    }

    const fn is_terminated(self) -> bool {
        matches!(
            self,
            Self::Invite(client_invite::State::Terminated) | Self::NonInvite(client_non_invite::State::Terminated)
        )
    }

    /// Whether the request may still be needed.
    const fn needs_request(self) -> bool {
        matches!(
            self,
            Self::Invite(client_invite::State::Calling { .. } | client_invite::State::Proceeding { .. })
                | Self::NonInvite(client_non_invite::State::Trying { .. } | client_non_invite::State::Proceeding)
        )
    }
}

impl Endpoint {
    /// Opens a client transaction and sends its request. `bytes` is the whole request with our Via, that carries
    /// `branch`, on top. An ACK opens none: it is sent, and the transaction returned is dead (RFC 3261 §17.1).
    ///
    /// Not bound by [`EndpointConfig::max_transactions`](super::EndpointConfig::max_transactions): requests are
    /// forwarded on behalf of ones that were.
    pub fn request(
        &mut self,
        now: Instant,
        flow: Flow,
        method: &Method,
        branch: &str,
        bytes: impl Into<Arc<[u8]>>,
    ) -> ClientTx {
        let bytes = bytes.into();
        if *method == Method::Ack {
            self.send_stateless(now, flow, bytes);
            return ClientTx(u64::MAX);
        }
        let subject = match &self.ladder {
            Some(_) => self.subject(Message::parse(&bytes, &super::own_limits()).ok().as_ref()),
            None => Arc::default(),
        };
        self.start_client(now, flow, method, branch, bytes, subject, false)
    }

    /// Cancels an INVITE: at once if a provisional response has come, else when it does, never after the final one
    /// (RFC 3261 §9.1). The user still gets the final response, or [`Event::TimedOut`].
    pub fn cancel(&mut self, now: Instant, tx: ClientTx) {
        self.step_client(now, Slot::from_bits(tx.0), Input::Cancel, None);
    }

    /// The same, with a Reason header field value for the CANCEL (RFC 3326), such as
    /// `SIP;cause=200;text="Call completed elsewhere"`, so that a phone shows no missed call.
    pub fn cancel_because(&mut self, now: Instant, tx: ClientTx, reason: &str) {
        if let Some(Transaction::Client(client)) = self.table.get_mut(Slot::from_bits(tx.0)) {
            client.cancel_reason = Some(reason.into());
        }
        self.cancel(now, tx);
    }

    #[expect(clippy::too_many_arguments, reason = "two callers, and no part of it means anything alone")]
    fn start_client(
        &mut self,
        now: Instant,
        flow: Flow,
        method: &Method,
        branch: &str,
        bytes: Arc<[u8]>,
        subject: Arc<str>,
        hidden: bool,
    ) -> ClientTx {
        let key = self.matcher.client(branch, method);
        let wire = self.wire(&flow);
        let mut actions = std::mem::take(&mut self.actions);
        let machine = if *method == Method::Invite {
            self.counts.client_invite += 1;
            Machine::Invite(client_invite::State::start(&wire, &mut actions))
        } else {
            self.counts.client_non_invite += 1;
            Machine::NonInvite(client_non_invite::State::start(&wire, &mut actions))
        };
        let client = Client {
            machine,
            flow,
            request: Some(Arc::clone(&bytes)),
            ack: None,
            hidden,
            cancel_reason: None,
            subject: Arc::clone(&subject),
        };
        // A branch that comes twice is the user's mistake; the older transaction ends as if it had failed.
        if let Some(taken) = self.table.find(key) {
            self.step_client(now, taken, Input::TransportError, None);
            self.end_client(taken);
        }
        let slot = self.table.insert(key, &flow, Transaction::Client(client));
        for action in actions.drain(..) {
            match action {
                Action::Arm(timer, after) => self.arm(now, slot, timer, after),
                // The only other one.
                _ => self.transmit(now, flow, Arc::clone(&bytes), &subject),
            }
        }
        self.actions = actions;
        self.record_state(now, slot, machine.name());
        ClientTx(slot.to_bits())
    }

    /// Finds the transaction of a response (RFC 3261 §17.1.3).
    pub(super) fn handle_response(&mut self, now: Instant, flow: Flow, response: Message, bytes: &[u8]) {
        let (Some(key), Some(status)) = (self.matcher.response(&response), response.status()) else {
            self.counts.malformed += 1;
            return;
        };
        let Some(slot) = self.table.find(key) else {
            self.handle_unmatched(flow, response, bytes);
            return;
        };
        self.bind(slot, flow);
        self.step_client(now, slot, Input::Response(status.class()), Some((flow, response)));
    }

    fn handle_unmatched(&mut self, flow: Flow, response: Message, bytes: &[u8]) {
        let branch = response.via().ok().and_then(|via| via.branch()).and_then(Branch::parse);
        match branch {
            Some(parts) if parts.shard != self.config.shard => {
                self.events.push_back(Event::Misrouted { shard: parts.shard, flow, bytes: bytes.to_vec() });
            }
            _ => {
                self.counts.stray_responses += 1;
                self.events.push_back(Event::StrayResponse { flow, response: Arc::new(response) });
            }
        }
    }

    /// A transaction that waited for a connection now has one: ACK, CANCEL and its failure follow that.
    fn bind(&mut self, slot: Slot, flow: Flow) {
        let Some(Transaction::Client(client)) = self.table.get_mut(slot) else { return };
        let is_same_peer = client.flow.remote == flow.remote && client.flow.transport == flow.transport;
        if client.flow.id == FlowId::UNBOUND && flow.id != FlowId::UNBOUND && is_same_peer {
            client.flow = flow;
            self.table.move_to(slot, &flow);
        }
    }

    /// Runs one step of a client transaction.
    pub(super) fn step_client(&mut self, now: Instant, slot: Slot, input: Input, carried: Option<(Flow, Message)>) {
        let Some(Transaction::Client(client)) = self.table.get_mut(slot) else { return };
        let (flow, hidden, before) = (client.flow, client.hidden, client.machine);
        let wire = super::Wire { timers: self.config.timers, reliable: flow.transport.is_reliable() };
        let mut actions = std::mem::take(&mut self.actions);
        let after = step(before, input, &wire, &mut actions);
        client.machine = after;
        let subject = Arc::clone(&client.subject);
        let tx = ClientTx(slot.to_bits());
        let mut carried = carried;
        let mut cancel = false;
        for action in actions.drain(..) {
            match action {
                Action::SendRequest => self.resend_request(now, slot, &subject),
                Action::SendAck => {
                    let response = carried.as_ref().map(|(_, response)| response);
                    self.send_ack(now, slot, response, &subject);
                }
                // Opens a transaction, which wants the list of actions for itself.
                Action::SendCancel => cancel = true,
                Action::ToUser => {
                    if let Some((flow, response)) = carried.take().filter(|_| !hidden) {
                        self.events.push_back(Event::Response { tx, flow, response: Arc::new(response) });
                    }
                }
                Action::ReportTimeout => {
                    self.counts.timed_out += 1;
                    if !hidden {
                        self.events.push_back(Event::TimedOut { tx });
                    }
                }
                Action::ReportTransportError => {
                    self.counts.transport_failed += 1;
                    if !hidden {
                        self.events.push_back(Event::TransportFailed { tx });
                    }
                }
                Action::Arm(timer, duration) => self.arm(now, slot, timer, duration),
                Action::SendResponse | Action::Resend | Action::SendTrying => {}
            }
        }
        self.actions = actions;
        if cancel {
            self.send_cancel(now, slot, &subject);
        }
        if before != after {
            self.enter_client(now, slot, before, after);
        }
    }

    /// Tidies up after a change of state.
    fn enter_client(&mut self, now: Instant, slot: Slot, before: Machine, after: Machine) {
        if before.name() != after.name() {
            self.record_state(now, slot, after.name());
        }
        let Some(Transaction::Client(client)) = self.table.get_mut(slot) else { return };
        if !after.needs_request() {
            client.request = None;
            client.cancel_reason = None;
        }
        if after.is_terminated() {
            self.end_client(slot);
        }
    }

    fn end_client(&mut self, slot: Slot) {
        let Some(Transaction::Client(client)) = self.table.remove(slot) else { return };
        match client.machine {
            Machine::Invite(_) => self.counts.client_invite -= 1,
            Machine::NonInvite(_) => self.counts.client_non_invite -= 1,
        }
        if !client.hidden {
            self.events.push_back(Event::ClientTerminated { tx: ClientTx(slot.to_bits()) });
        }
    }

    fn resend_request(&mut self, now: Instant, slot: Slot, subject: &str) {
        let Some(Transaction::Client(client)) = self.table.get(slot) else { return };
        if let Some(bytes) = client.request.clone() {
            let flow = client.flow;
            self.counts.retransmissions_sent += 1;
            self.transmit(now, flow, bytes, subject);
        }
    }

    /// Sends the ACK to a 300–699 response, making it at the first (RFC 3261 §17.1.1.3).
    fn send_ack(&mut self, now: Instant, slot: Slot, response: Option<&Message>, subject: &str) {
        let Some(Transaction::Client(client)) = self.table.get_mut(slot) else { return };
        let flow = client.flow;
        if let Some(ack) = client.ack.clone() {
            self.counts.retransmissions_sent += 1;
            self.transmit(now, flow, ack, subject);
            return;
        }
        let Some(request) = client.request.as_deref() else { return };
        let Ok(request) = Message::parse(request, &super::own_limits()) else { return };
        let to = response.and_then(|response| response.header(HeaderName::To));
        self.buffer.clear();
        write_follower(&request, &Method::Ack, to, None, &mut self.buffer);
        let ack: Arc<[u8]> = Arc::from(&self.buffer[..]);
        client.ack = Some(Arc::clone(&ack));
        self.transmit(now, flow, ack, subject);
    }

    /// Sends the CANCEL for an INVITE, as a transaction of its own (RFC 3261 §9.1).
    fn send_cancel(&mut self, now: Instant, slot: Slot, subject: &Arc<str>) {
        let Some(Transaction::Client(client)) = self.table.get(slot) else { return };
        let (flow, reason) = (client.flow, client.cancel_reason.clone());
        let Some(request) = client.request.as_deref() else { return };
        let Ok(request) = Message::parse(request, &super::own_limits()) else { return };
        let Some(branch) = request.via().ok().and_then(|via| via.branch().map(str::to_owned)) else { return };
        self.buffer.clear();
        write_follower(&request, &Method::Cancel, request.header(HeaderName::To), reason.as_deref(), &mut self.buffer);
        let bytes = Arc::from(&self.buffer[..]);
        self.start_client(now, flow, &Method::Cancel, &branch, bytes, Arc::clone(subject), true);
    }
}

/// Writes the ACK or CANCEL that follows an INVITE on its branch (RFC 3261 §9.1, §17.1.1.3): Request-URI, top Via,
/// From, Call-ID, CSeq number and Route of the INVITE.
fn write_follower(invite: &Message, method: &Method, to: Option<&str>, reason: Option<&str>, out: &mut Vec<u8>) {
    let mut line = |parts: &[&str]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    };
    let method = method.as_str();
    line(&[method, " ", invite.request_uri().unwrap_or_default(), " SIP/2.0"]);
    line(&["Via: ", invite.values(HeaderName::Via).next().unwrap_or_default()]);
    line(&["Max-Forwards: 70"]);
    for route in invite.headers(HeaderName::Route) {
        line(&["Route: ", route]);
    }
    line(&["From: ", invite.header(HeaderName::From).unwrap_or_default()]);
    line(&["To: ", to.unwrap_or_default()]);
    line(&["Call-ID: ", invite.call_id().unwrap_or_default()]);
    let number = invite.cseq().map(|cseq| cseq.number).unwrap_or_default().to_string();
    line(&["CSeq: ", &number, " ", method]);
    if let Some(reason) = reason {
        line(&["Reason: ", reason]);
    }
    line(&["Content-Length: 0"]);
    line(&[]);
}

fn step(machine: Machine, input: Input, wire: &super::Wire, actions: &mut Vec<Action>) -> Machine {
    match machine {
        Machine::Invite(state) => {
            use client_invite::Event;
            let event = match input {
                Input::Response(1) => Event::Provisional,
                Input::Response(2) => Event::Success,
                Input::Response(_) => Event::Failure,
                Input::Cancel => Event::Cancel,
                Input::Timer(timer) => Event::Timer(timer),
                Input::TransportError => Event::TransportError,
            };
            Machine::Invite(state.on(event, wire, actions))
        }
        Machine::NonInvite(state) => {
            use client_non_invite::Event;
            let event = match input {
                Input::Response(1) => Event::Provisional,
                Input::Response(_) => Event::Final,
                // RFC 3261 §9.1: only INVITE is cancelled.
                Input::Cancel => return machine,
                Input::Timer(timer) => Event::Timer(timer),
                Input::TransportError => Event::TransportError,
            };
            Machine::NonInvite(state.on(event, wire, actions))
        }
    }
}
