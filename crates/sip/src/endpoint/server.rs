//! The server side: requests come in, responses go out (RFC 3261 §17.2, §18.2).

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant};

use super::{Action, Endpoint, Event, ServerTx, Transaction};
use crate::message::{Message, Method, ResponseBuilder, StatusCode, Via};
use crate::timer::Timer;
use crate::transaction::table::{FlowKey, MatchKey, Slot};
use crate::transaction::{routing, server_invite, server_non_invite};

/// A server transaction and what it keeps.
pub(super) struct Server {
    pub(super) machine: Machine,
    /// Where responses go.
    pub(super) route: Flow,
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

/// A request that has arrived, and what its top Via says.
struct Arrival {
    flow: Flow,
    /// Of the transaction that it belongs to or opens.
    key: MatchKey,
    /// What an ACK acknowledges and a CANCEL cancels.
    invite: Option<Slot>,
    /// Where responses go.
    route: Flow,
    /// The port to connect to once that has failed.
    fallback: Option<u16>,
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
            self.counts.unanswered -= 1;
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
        let Some(arrival) = self.read_arrival(flow, &request) else {
            // Without a Via nobody can be answered; without CSeq an old client's request belongs to nothing.
            self.counts.malformed += 1;
            if request.method() != Some(&Method::Ack) {
                self.refuse(now, &flow, &request, StatusCode::BAD_REQUEST, Some("Malformed CSeq"));
            }
            return;
        };
        match request.method() {
            Some(Method::Ack) => self.handle_ack(now, &arrival, request),
            Some(Method::Cancel) => self.handle_cancel(now, &arrival, request),
            _ => {
                let opened = self.open_server(now, &arrival, request, true);
                self.events.extend(opened.map(|(tx, request)| Event::Request { tx, flow, request }));
            }
        }
    }

    /// Reads the top Via, once.
    fn read_arrival(&mut self, flow: Flow, request: &Message) -> Option<Arrival> {
        let via = request.via().ok()?;
        let method = request.method()?;
        let invite = match method {
            Method::Ack => self.find_acked(request, &via),
            Method::Cancel => {
                let key = self.matcher.server(request, &via, &Method::Invite, None)?;
                self.table.find(key).filter(|invite| self.is_same_hop(*invite, &flow))
            }
            _ => None,
        };
        Some(Arrival {
            flow,
            key: self.matcher.server(request, &via, method, None)?,
            invite,
            route: routing::response_route(&flow, &via, self.config.follow_maddr),
            fallback: routing::fallback_port(&flow, &via),
        })
    }

    /// Whether a CANCEL comes from where its INVITE came from: it cannot be challenged, and the callee, who has read
    /// the INVITE's Via, could end the call on the other phones (RFC 3261 §22.1).
    fn is_same_hop(&self, invite: Slot, flow: &Flow) -> bool {
        let Some(Transaction::Server(server)) = self.table.get(invite) else { return false };
        let source = |flow: &Flow| flow.remote.ip().to_canonical();
        // A `maddr` that is followed hides the source.
        self.config.follow_maddr || source(&server.route) == source(flow)
    }

    /// The INVITE transaction that an ACK belongs to.
    fn find_acked(&mut self, ack: &Message, via: &Via<'_>) -> Option<Slot> {
        let key = self.matcher.server(ack, via, &Method::Invite, None)?;
        let found = self.table.find(key);
        if found.is_some() || via.rfc3261_branch().is_some() {
            return found;
        }
        // RFC 2543: the INVITE had no To tag, the ACK has the one of our response.
        let key = self.matcher.server(ack, via, &Method::Invite, Some(""))?;
        let slot = self.table.find(key)?;
        let Some(Transaction::Server(server)) = self.table.get(slot) else { return None };
        let response = Message::parse(server.response.as_deref()?, &super::own_limits()).ok()?;
        (response.to_tag() == ack.to_tag()).then_some(slot)
    }

    fn handle_ack(&mut self, now: Instant, arrival: &Arrival, mut ack: Message) {
        let flow = arrival.flow;
        ack.stamp_source(flow.remote);
        let ack = Arc::new(ack);
        match arrival.invite {
            Some(slot) => self.step_server(now, slot, Input::Ack, Some(Carried::Ack(flow, ack))),
            None => self.events.push_back(Event::Ack { flow, request: ack }),
        }
    }

    /// RFC 3261 §9.2: a CANCEL has a transaction of its own and acts upon that of its INVITE.
    fn handle_cancel(&mut self, now: Instant, arrival: &Arrival, request: Message) {
        // One that frees a transaction finds room always: there can be but one for each INVITE.
        let Some((tx, request)) = self.open_server(now, arrival, request, arrival.invite.is_none()) else { return };
        let Some(invite) = arrival.invite else {
            self.events.push_back(Event::UnmatchedCancel { tx, flow: arrival.flow, request });
            return;
        };
        if let Some(Transaction::Server(server)) = self.table.get_mut(Slot::from_bits(tx.0)) {
            server.hidden = true;
        }
        // Whether there is still something to cancel or not, the answer is 200 (RFC 3261 §9.2).
        let tag = format!("{:016x}", self.matcher.tag(&request));
        self.buffer.clear();
        ResponseBuilder::new(&request, StatusCode::OK).to_tag(&tag).write(&mut self.buffer);
        let bytes: Arc<[u8]> = Arc::from(&self.buffer[..]);
        self.respond(now, tx, StatusCode::OK, bytes);
        let Some(Transaction::Server(server)) = self.table.get(invite) else { return };
        if server.machine.is_open() {
            self.events.push_back(Event::Cancel { tx: ServerTx(invite.to_bits()), request });
        }
    }

    /// Opens a server transaction; `None` if the request was a retransmission or found no room.
    fn open_server(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        mut request: Message,
        bounded: bool,
    ) -> Option<(ServerTx, Arc<Message>)> {
        if let Some(slot) = self.table.find(arrival.key) {
            self.counts.retransmissions_absorbed += 1;
            self.step_server(now, slot, Input::Request, None);
            return None;
        }
        let flow = arrival.flow;
        if bounded && self.is_full(&flow) {
            self.counts.refused += 1;
            self.refuse(now, &flow, &request, StatusCode::SERVICE_UNAVAILABLE, None);
            return None;
        }
        request.stamp_source(flow.remote);
        let subject = self.subject(Some(&request));
        let wire = self.wire(&arrival.route);
        let mut actions = std::mem::take(&mut self.actions);
        let machine = if request.method() == Some(&Method::Invite) {
            self.counts.server_invite += 1;
            Machine::Invite(server_invite::State::start(&wire, &mut actions))
        } else {
            self.counts.server_non_invite += 1;
            Machine::NonInvite(server_non_invite::State::start(&wire, &mut actions))
        };
        let request = Arc::new(request);
        let server = Server {
            machine,
            route: arrival.route,
            fallback: arrival.fallback,
            request: Some(Arc::clone(&request)),
            response: None,
            open: true,
            hidden: false,
            subject,
        };
        let slot = self.table.insert(arrival.key, &flow, Transaction::Server(server));
        self.table.count_open(slot, true);
        self.counts.unanswered += 1;
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
            self.counts.unanswered -= 1;
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
