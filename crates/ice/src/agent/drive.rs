//! Packets to whom they belong, slots of Ta to who waits, and what all of it amounts to.

use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit, Transport};
use farspeak_stun::demultiplex::{Protocol, classify};
use farspeak_stun::{Class, Message, Method};

use super::{Agent, Data};
use crate::candidate::{is_plausible, unscoped};
use crate::session::{Foundations, Path, SessionEvent, Urgency};
use crate::{Event, Privacy, State};

impl Agent {
    /// Takes a packet. Returns the peer's data in it, if it holds any: without a copy, where
    /// [`handle_receive`](Machine::handle_receive) makes an event of it.
    pub fn receive<'a>(&mut self, now: Instant, received: Receive<'a>) -> Option<Data<'a>> {
        if self.is_from_relay(&received.flow) && !self.is_awaited(now, &received) {
            let data = self.relay_in(now, received).filter(|_| self.state != State::Closed);
            self.after(now);
            return data;
        }
        // Who is to know the relay alone gets no answer from elsewhere, either.
        let is_private = self.config.privacy == Privacy::RelayOnly;
        if self.state == State::Closed || received.flow.transport != Transport::Udp || is_private {
            return None;
        }
        let socket = self.locals.sockets.iter().find(|socket| socket.local == received.flow.local)?;
        let component = socket.component;
        let path = Path { local: unscoped(socket.local), remote: unscoped(received.flow.remote) };
        let data = self.deliver(now, component, path, Some(received.flow), received.bytes);
        self.after(now);
        data
    }

    /// Whether it answers a Binding request to a server that also relays.
    fn is_awaited(&mut self, now: Instant, received: &Receive<'_>) -> bool {
        let message = Message::parse(received.bytes).ok().filter(|message| message.method() == Method::BINDING);
        message.is_some_and(|message| self.gathered(now, received.flow, &message))
    }

    /// What has arrived at a base: STUN for the gatherer or a session, or data from a valid pair.
    pub(super) fn deliver<'a>(
        &mut self,
        now: Instant,
        component: u16,
        path: Path,
        flow: Option<Flow>,
        bytes: &'a [u8],
    ) -> Option<Data<'a>> {
        if classify(bytes) != Protocol::Stun {
            let of = self.components.iter().find(|of| of.id == component)?;
            // An empty datagram keeps a mapping alive (RFC 6263 §4.1) and says nothing.
            return (of.accepts(path) && !bytes.is_empty()).then_some(Data { component, bytes });
        }
        let message = Message::parse(bytes).ok()?;
        // RFC 8445 §7.3: FINGERPRINT is used; one that is wrong is another protocol's luck.
        let damaged = message.has_fingerprint() && !message.check_fingerprint();
        if damaged || message.method() != Method::BINDING || !is_plausible(path.remote) {
            return None;
        }
        if flow.is_some_and(|flow| self.gathered(now, flow, &message)) {
            return None;
        }
        let of = self.components.iter_mut().find(|of| of.id == component)?;
        match message.class() {
            Class::Request => {
                let (first, _) = message.username().ok().flatten()?.split_once(':')?;
                if first == of.ufrag {
                    of.session.handle_message(now, path, &message);
                } else if let Some(previous) = of.previous.as_mut().filter(|previous| first == previous.ufrag) {
                    previous.session.handle_message(now, path, &message);
                }
            }
            Class::Success | Class::Error => {
                let _ = of.sessions().any(|session| session.handle_message(now, path, &message));
            }
            // A keep-alive (RFC 8445 §11): it has done its work on the way.
            Class::Indication => {}
        }
        None
    }

    /// After everything: slots, packets and events of the sessions, and the state they make.
    pub(super) fn after(&mut self, now: Instant) {
        if self.state == State::Closed {
            return self.drain_relays(now);
        }
        self.drain_relays(now);
        self.share_successes();
        self.pace(now);
        for at in 0..self.components.len() {
            let mut packets = Vec::new();
            for session in self.components[at].sessions() {
                while let Some(packet) = session.poll_packet() {
                    packets.push(packet);
                }
            }
            for (path, bytes) in packets {
                self.transmit(now, path, bytes);
            }
            while let Some(event) = self.components[at].poll_event() {
                self.handle_session_event(now, at, event);
            }
        }
        self.update_state(now);
        self.tell_end(now);
        self.drain_relays(now);
    }

    /// One new transaction per Ta: checks and gathering take turns (RFC 8445 §14.2).
    fn pace(&mut self, now: Instant) {
        while now >= self.slot && self.wants_slot(now) {
            let gathered = !self.gathered_last && self.gather_next(now);
            let checked = !gathered && self.begin_check(now);
            if !gathered && !checked && !self.gather_next(now) {
                return;
            }
            self.gathered_last = !checked;
            self.slot = now + self.ta;
        }
    }

    fn gather_next(&mut self, now: Instant) -> bool {
        self.begin_gathering(now) || self.begin_allocation(now)
    }

    fn wants_slot(&self, now: Instant) -> bool {
        self.gatherer.is_waiting()
            || self.relays.wants_slot(now)
            || self.components.iter().any(|of| of.session.next_check().is_some())
    }

    /// The most urgent check of all components, of those alike the one of the best pair (RFC 8445 §6.1.4.2). Two symmetric
    /// translators bring up triggered checks for ever: after one of them, any other has its turn, and the other component's.
    fn begin_check(&mut self, now: Instant) -> bool {
        let last = self.triggered_last;
        let rank = |at: usize, urgency| match urgency {
            Urgency::Deciding => (4, true),
            Urgency::Triggered if last.is_none() => (3, true),
            Urgency::Waiting => (2, true),
            Urgency::Frozen => (1, true),
            Urgency::Triggered => (0, last != Some(at)),
        };
        let checks = self.components.iter().enumerate().filter_map(|(at, of)| Some((at, of.session.next_check()?)));
        let best = checks.max_by_key(|(at, (urgency, priority))| (rank(*at, *urgency), *priority));
        let Some((at, (urgency, _))) = best else { return false };
        self.components[at].session.begin_check(now);
        self.triggered_last = (urgency == Urgency::Triggered).then_some(at);
        true
    }

    /// What works for one component is tried by the others (RFC 8445 §7.2.5.3.3).
    fn share_successes(&mut self) {
        if self.components.len() < 2 {
            return;
        }
        let succeeded: Vec<Foundations> = self.components.iter_mut().flat_map(|of| of.session.succeeded()).collect();
        for foundations in &succeeded {
            self.components.iter_mut().for_each(|of| of.session.unfreeze(foundations));
        }
    }

    fn handle_session_event(&mut self, now: Instant, at: usize, event: SessionEvent) {
        let component = self.components[at].id;
        match event {
            SessionEvent::Valid => (self.components[at].valid, self.components[at].failed) = (true, false),
            SessionEvent::Selected(path) => {
                let of = &mut self.components[at];
                (of.valid, of.failed, of.consent_lost) = (true, false, false);
                of.replace_previous(now + self.config.timing.linger);
                self.bind_channel(now, path);
                let relayed = !self.locals.is_socket(path.local);
                self.emit(Event::Selected { component, local: path.local, remote: path.remote, relayed });
            }
            SessionEvent::RoleChanged { controlling, tie_breaker } => {
                self.tie_breaker = tie_breaker;
                if self.controlling != controlling {
                    self.controlling = controlling;
                    self.share_role(now);
                    self.emit(Event::RoleChanged { controlling });
                }
            }
            SessionEvent::ConsentLost => {
                let of = &mut self.components[at];
                (of.consent_lost, of.failed) = (true, true);
                self.emit(Event::ConsentLost { component });
            }
            SessionEvent::Failed => self.components[at].failed = true,
        }
    }

    fn update_state(&mut self, now: Instant) {
        if self.remote.credentials.is_none() {
            return;
        }
        let all = |test: &dyn Fn(&super::Component) -> bool| self.components.iter().all(test);
        let state = match () {
            () if self.components.iter().any(|of| of.failed) => State::Failed,
            () if all(&|of| of.session.selected().is_some()) => State::Completed,
            () if all(&|of| of.valid) => State::Connected,
            () => State::Checking,
        };
        if state == State::Completed && self.state != state {
            self.release_soon(now);
        }
        self.set_state(state);
    }

    pub(super) fn push_transmit(&mut self, transmit: Transmit) {
        if self.transmits.len() < self.config.limits.queue {
            self.transmits.push_back(transmit);
        }
    }
}

impl Machine for Agent {
    type Event = Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        if let Some(Data { component, bytes }) = self.receive(now, received) {
            self.emit(Event::Data { component, bytes: bytes.to_vec() });
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.relays_timeout(now);
        if self.state == State::Closed {
            return self.drain_relays(now);
        }
        self.gathering_timeout(now);
        for component in &mut self.components {
            component.drop_previous(now);
            for session in component.sessions() {
                if session.poll_timeout().is_some_and(|at| at <= now) {
                    session.handle_timeout(now);
                }
            }
        }
        self.after(now);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        self.relays_failed(now, flow);
        if self.state == State::Closed {
            return self.drain_relays(now);
        }
        self.gathering_unreachable(flow);
        let path = Path { local: unscoped(flow.local), remote: unscoped(flow.remote) };
        for component in &mut self.components {
            component.sessions().for_each(|session| session.handle_unreachable(now, path));
        }
        self.after(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return self.relays.deadline();
        }
        let allocation = self.relays.waiting().map(|from| from.max(self.slot));
        let slot = self.wants_slot(self.slot).then_some(self.slot);
        let sessions = self.components.iter().filter_map(|component| component.deadline());
        let gathering = [self.gatherer.deadline(), self.relays.deadline(), allocation];
        let others = [slot, self.locals.next_expiry()].into_iter().chain(gathering);
        sessions.chain(others.flatten()).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
