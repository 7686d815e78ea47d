//! The server side: requests come in, responses go out (RFC 3261 §17.2, §18.2).

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant};

use super::{Action, Endpoint, Event, ServerTx, Transaction};
use crate::message::{Message, Method, ResponseBuilder, StatusCode};
use crate::timer::Timer;
use crate::transaction::matching::{Matcher, Rule};
use crate::transaction::table::{FlowKey, MatchKey, Slot};
use crate::transaction::{routing, server_invite, server_non_invite};

/// A server transaction and what it keeps.
pub(super) struct Server {
    pub(super) machine: Machine,
    /// Where responses go.
    route: Flow,
    /// The port to connect to once that has failed (RFC 3261 §18.2.2).
    fallback: Option<u16>,
    /// Kept until the final response has left.
    request: Option<Arc<Message>>,
    /// The last response, as long as it may have to be sent again.
    response: Option<Arc<[u8]>>,
    /// Counts against the bound of its flow.
    open: bool,
    /// A CANCEL that was answered here: the user hears nothing more of it.
    hidden: bool,
    pub(super) subject: Arc<str>,
}

/// One of the two machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Machine {
    Invite(server_invite::State),
    NonInvite(server_non_invite::State),
}

/// What can happen to either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    /// The request arrived again.
    Request,
    /// An ACK arrived.
    Ack,
    /// The user responds.
    Respond(StatusCode),
    /// A timer fired.
    Timer(Timer),
    /// The transport failed.
    TransportError,
}

/// The message that an input came with.
pub(super) enum Carried {
    Response(Arc<[u8]>),
    Ack(Flow, Arc<Message>),
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
            Self::Invite(server_invite::State::Terminated) | Self::NonInvite(server_non_invite::State::Terminated)
        )
    }

    /// Whether the final response is still to come.
    const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Invite(server_invite::State::Proceeding { .. })
                | Self::NonInvite(server_non_invite::State::Trying | server_non_invite::State::Proceeding)
        )
    }

    /// Whether the last response may have to be sent again.
    const fn may_resend(self) -> bool {
        !matches!(self, Self::Invite(server_invite::State::Accepted | server_invite::State::Confirmed))
    }
}

impl Endpoint {
    /// Sends a response of the user: one of its own or a forwarded one. `bytes` is the whole response, with the Via of
    /// the request on top.
    ///
    /// Dropped if the transaction has ended (RFC 6026 §8.3), after a final response (but for each further 2xx to an
    /// INVITE), and where RFC 4320 §4 forbids it: 408 and provisional responses other than 100 to a non-INVITE request,
    /// and an early 100 on datagrams. A 408 ends such a transaction without a word.
    pub fn respond(&mut self, now: Instant, tx: ServerTx, status: StatusCode, bytes: impl Into<Arc<[u8]>>) {
        let carried = Carried::Response(bytes.into());
        self.step_server(now, Slot::from_bits(tx.0), Input::Respond(status), Some(carried));
    }

    /// Ends the transaction without a response: whoever sent the request is not to hear from us. A retransmission of it
    /// is a new request then.
    pub fn abandon(&mut self, tx: ServerTx) {
        let slot = Slot::from_bits(tx.0);
        let Some(Transaction::Server(server)) = self.table.get_mut(slot) else { return };
        if std::mem::take(&mut server.open) {
            self.table.count_open(slot, false);
        }
        self.end_server(slot);
    }

    /// The request of the transaction, until its final response has left.
    pub fn server_request(&self, tx: ServerTx) -> Option<&Arc<Message>> {
        match self.table.get(Slot::from_bits(tx.0)) {
            Some(Transaction::Server(server)) => server.request.as_ref(),
            _ => None,
        }
    }

    /// Finds the transaction of a request, or opens one (RFC 3261 §17.2.3).
    pub(super) fn handle_request(&mut self, now: Instant, flow: Flow, request: Message) {
        let Some(rule) = Matcher::rule(&request) else {
            self.counts.malformed += 1; // without a Via nobody can be answered
            return;
        };
        // Handled by value: `request` is stamped below.
        match request.method() {
            Some(Method::Ack) => self.handle_ack(now, flow, request, rule),
            Some(Method::Cancel) => self.handle_cancel(now, flow, request, rule),
            Some(method) => {
                let method = method.clone();
                self.open_server(now, flow, request, rule, &method);
            }
            None => {}
        }
    }

    fn handle_ack(&mut self, now: Instant, flow: Flow, mut ack: Message, rule: Rule) {
        let found = self.find_acked(&ack, rule);
        ack.stamp_source(flow.remote);
        let ack = Arc::new(ack);
        match found {
            Some(slot) => self.step_server(now, slot, Input::Ack, Some(Carried::Ack(flow, ack))),
            None => self.events.push_back(Event::Ack { flow, request: ack }),
        }
    }

    /// The INVITE transaction that an ACK belongs to.
    fn find_acked(&mut self, ack: &Message, rule: Rule) -> Option<Slot> {
        let to_tag = ack.to_tag().unwrap_or_default();
        let key = self.matcher.server(ack, rule, &Method::Invite, to_tag)?;
        let found = self.table.find(key);
        if rule == Rule::Branch || found.is_some() {
            return found;
        }
        // RFC 2543: the INVITE had no To tag, the ACK has the one of our response.
        let key = self.matcher.server(ack, rule, &Method::Invite, "")?;
        let slot = self.table.find(key)?;
        let Some(Transaction::Server(server)) = self.table.get(slot) else { return None };
        let response = Message::parse(server.response.as_deref()?, &self.config.limits).ok()?;
        (response.to_tag() == Some(to_tag)).then_some(slot)
    }

    /// RFC 3261 §9.2: a CANCEL has a transaction of its own and acts upon that of its INVITE.
    fn handle_cancel(&mut self, now: Instant, flow: Flow, request: Message, rule: Rule) {
        let to_tag = request.to_tag().unwrap_or_default();
        let key = self.matcher.server(&request, rule, &Method::Invite, to_tag);
        let invite = key.and_then(|key| self.table.find(key));
        // One that frees a transaction finds room always: there can be but one for each INVITE.
        let bounded = invite.is_none();
        let Some((tx, request)) = self.start_server(now, flow, request, rule, &Method::Cancel, bounded) else { return };
        let Some(invite) = invite else {
            self.events.push_back(Event::UnmatchedCancel { tx, flow, request });
            return;
        };
        // Whether there is still something to cancel or not, the answer is 200 (RFC 3261 §9.2).
        let tag = format!("{:016x}", self.matcher.tag(&request));
        self.buffer.clear();
        ResponseBuilder::new(&request, StatusCode::OK).to_tag(&tag).write(&mut self.buffer);
        let bytes: Arc<[u8]> = Arc::from(&self.buffer[..]);
        if let Some(Transaction::Server(server)) = self.table.get_mut(Slot::from_bits(tx.0)) {
            server.hidden = true;
        }
        self.respond(now, tx, StatusCode::OK, bytes);
        let Some(Transaction::Server(server)) = self.table.get(invite) else { return };
        if server.machine.is_open() {
            self.events.push_back(Event::Cancel { tx: ServerTx(invite.to_bits()), request });
        }
    }

    fn open_server(&mut self, now: Instant, flow: Flow, request: Message, rule: Rule, method: &Method) {
        if let Some((tx, request)) = self.start_server(now, flow, request, rule, method, true) {
            self.events.push_back(Event::Request { tx, flow, request });
        }
    }

    /// Opens a server transaction; `None` if the request was a retransmission or found no room.
    fn start_server(
        &mut self,
        now: Instant,
        flow: Flow,
        mut request: Message,
        rule: Rule,
        method: &Method,
        bounded: bool,
    ) -> Option<(ServerTx, Arc<Message>)> {
        let key = self.server_key(&request, rule, method)?;
        if let Some(slot) = self.table.find(key) {
            self.counts.retransmissions_absorbed += 1;
            self.step_server(now, slot, Input::Request, None);
            return None;
        }
        if bounded && self.is_full(&flow) {
            self.counts.refused += 1;
            self.refuse(now, &flow, &request, StatusCode::SERVICE_UNAVAILABLE, None);
            return None;
        }
        request.stamp_source(flow.remote);
        let via = request.via().ok()?;
        let route = routing::response_route(&flow, &via, self.config.follow_maddr);
        let fallback = routing::fallback_port(&flow, &via);
        let subject = self.subject(Some(&request));
        let request = Arc::new(request);
        let wire = self.wire(&route);
        let mut actions = std::mem::take(&mut self.actions);
        let machine = if *method == Method::Invite {
            self.counts.server_invite += 1;
            Machine::Invite(server_invite::State::start(&wire, &mut actions))
        } else {
            self.counts.server_non_invite += 1;
            Machine::NonInvite(server_non_invite::State::start(&wire, &mut actions))
        };
        let server = Server {
            machine,
            route,
            fallback,
            request: Some(Arc::clone(&request)),
            response: None,
            open: true,
            hidden: false,
            subject,
        };
        let slot = self.table.insert(key, &flow, Transaction::Server(server));
        self.table.count_open(slot, true);
        for action in actions.drain(..) {
            // The other one is `ToUser`, which the caller does.
            if let Action::Arm(timer, after) = action {
                self.arm(now, slot, timer, after);
            }
        }
        self.actions = actions;
        self.record_state(now, slot, machine.name());
        Some((ServerTx(slot.to_bits()), request))
    }

    fn is_full(&self, flow: &Flow) -> bool {
        self.table.len() >= self.config.max_transactions
            || self.table.open_on(FlowKey::of(flow)) as usize >= self.config.max_open_per_flow
    }

    fn server_key(&mut self, request: &Message, rule: Rule, method: &Method) -> Option<MatchKey> {
        let to_tag = request.to_tag().unwrap_or_default();
        let key = self.matcher.server(request, rule, method, to_tag);
        if key.is_none() {
            self.counts.malformed += 1;
        }
        key
    }

    /// Runs one step of a server transaction.
    pub(super) fn step_server(&mut self, now: Instant, slot: Slot, input: Input, carried: Option<Carried>) {
        let Some(Transaction::Server(server)) = self.table.get_mut(slot) else { return };
        let route = server.route;
        let before = server.machine;
        let wire = super::Wire { timers: self.config.timers, reliable: route.transport.is_reliable() };
        let mut actions = std::mem::take(&mut self.actions);
        let after = step(before, input, &wire, &mut actions);
        server.machine = after;
        let subject = Arc::clone(&server.subject);
        let hidden = server.hidden;
        let tx = ServerTx(slot.to_bits());
        let mut carried = carried;
        for action in actions.drain(..) {
            match action {
                Action::SendResponse => {
                    if let Some(Carried::Response(bytes)) = carried.take() {
                        self.send_response(now, slot, route, bytes, &subject);
                    }
                }
                Action::Resend => self.resend(now, slot, &subject),
                Action::SendTrying => self.send_trying(now, slot, route, &subject),
                Action::ToUser => {
                    if let Some(Carried::Ack(flow, request)) = carried.take() {
                        self.events.push_back(Event::Ack { flow, request });
                    }
                }
                Action::ReportTimeout => {
                    self.counts.timed_out += 1;
                    self.events.push_back(Event::ServerTimedOut { tx });
                }
                Action::ReportTransportError => {
                    self.counts.transport_failed += 1;
                    if !hidden {
                        self.events.push_back(Event::ServerTransportFailed { tx });
                    }
                }
                Action::Arm(timer, duration) => self.arm(now, slot, timer, duration),
                Action::SendRequest | Action::SendAck | Action::SendCancel => {}
            }
        }
        self.actions = actions;
        if input == Input::Ack && carried.is_some() {
            self.counts.retransmissions_absorbed += 1;
        }
        if before != after {
            self.enter_server(now, slot, before, after);
        }
    }

    /// Tidies up after a change of state.
    fn enter_server(&mut self, now: Instant, slot: Slot, before: Machine, after: Machine) {
        if before.name() != after.name() {
            self.record_state(now, slot, after.name());
        }
        let Some(Transaction::Server(server)) = self.table.get_mut(slot) else { return };
        if !after.is_open() {
            server.request = None;
        }
        if !after.may_resend() {
            server.response = None;
        }
        if !after.is_open() && std::mem::take(&mut server.open) {
            self.table.count_open(slot, false);
        }
        if after.is_terminated() {
            self.end_server(slot);
        }
    }

    fn end_server(&mut self, slot: Slot) {
        let Some(Transaction::Server(server)) = self.table.remove(slot) else { return };
        match server.machine {
            Machine::Invite(_) => self.counts.server_invite -= 1,
            Machine::NonInvite(_) => self.counts.server_non_invite -= 1,
        }
        if !server.hidden {
            self.events.push_back(Event::ServerTerminated { tx: ServerTx(slot.to_bits()) });
        }
    }

    /// The flow of the request has failed: on TCP responses may still reach the client over a new connection.
    pub(super) fn fail_server(&mut self, now: Instant, slot: Slot) {
        let Some(Transaction::Server(server)) = self.table.get_mut(slot) else { return };
        let Some(port) = server.fallback.take() else {
            self.step_server(now, slot, Input::TransportError, None);
            return;
        };
        let fallback = routing::fallback_route(&server.route, port);
        server.route = fallback;
        let open = server.open;
        if open {
            self.table.count_open(slot, false);
        }
        self.table.move_to(slot, &fallback);
        if open {
            self.table.count_open(slot, true);
        }
    }

    fn send_response(&mut self, now: Instant, slot: Slot, route: Flow, bytes: Arc<[u8]>, subject: &str) {
        if let Some(Transaction::Server(server)) = self.table.get_mut(slot) {
            server.response = server.machine.may_resend().then(|| Arc::clone(&bytes));
        }
        self.transmit(now, route, bytes, subject);
    }

    fn resend(&mut self, now: Instant, slot: Slot, subject: &str) {
        let Some(Transaction::Server(server)) = self.table.get(slot) else { return };
        if let Some(bytes) = server.response.clone() {
            let route = server.route;
            self.counts.retransmissions_sent += 1;
            self.transmit(now, route, bytes, subject);
        }
    }

    fn send_trying(&mut self, now: Instant, slot: Slot, route: Flow, subject: &str) {
        let Some(Transaction::Server(server)) = self.table.get(slot) else { return };
        let Some(request) = &server.request else { return };
        self.buffer.clear();
        ResponseBuilder::new(request, StatusCode::TRYING).write(&mut self.buffer);
        let bytes = Arc::from(&self.buffer[..]);
        self.send_response(now, slot, route, bytes, subject);
    }
}

fn step(machine: Machine, input: Input, wire: &super::Wire, actions: &mut Vec<Action>) -> Machine {
    match machine {
        Machine::Invite(state) => {
            use server_invite::Event;
            let event = match input {
                Input::Request => Event::Invite,
                Input::Ack => Event::Ack,
                Input::Respond(status) if status.is_provisional() => Event::Provisional,
                Input::Respond(status) if status.is_success() => Event::Success,
                Input::Respond(_) => Event::Failure,
                Input::Timer(timer) => Event::Timer(timer),
                Input::TransportError => Event::TransportError,
            };
            Machine::Invite(state.on(event, wire, actions))
        }
        Machine::NonInvite(state) => {
            use server_non_invite::Event;
            let event = match input {
                Input::Request | Input::Ack => Event::Request,
                Input::Respond(StatusCode::TRYING) => Event::Trying,
                Input::Respond(StatusCode::REQUEST_TIMEOUT) => Event::RequestTimeout,
                Input::Respond(status) if status.is_provisional() => Event::Provisional,
                Input::Respond(_) => Event::Final,
                Input::Timer(timer) => Event::Timer(timer),
                Input::TransportError => Event::TransportError,
            };
            Machine::NonInvite(state.on(event, wire, actions))
        }
    }
}
