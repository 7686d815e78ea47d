//! To whom a message belongs: to a session, by its dialog or transaction, or to nobody yet (RFC 3261 §8.2, §12.2.2).

use std::sync::Arc;

use farspeak_sansio::Flow;

use super::{Agent, Extra, Failure, Owner, Pending, Timer, Unwanted};
use crate::endpoint::{ClientTx, Event, ServerTx};
use crate::message::{HeaderName, Message, Method, StatusCode};

impl Agent<'_> {
    /// Handles what the transaction layer has to say; gives back what belongs to nobody here: responses to, and the ends
    /// of, transactions that this user agent did not open.
    pub fn handle_event(&mut self, event: Event) -> Unwanted {
        match event {
            Event::Request { tx, flow, request } => self.request(tx, flow, request),
            Event::Ack { request, .. } => self.ack(&request),
            Event::Cancel { tx, request } => match self.core.shared.servers.get(&tx).copied() {
                Some(owner) => self.cancelled(owner, tx, request),
                None => return Some(Event::Cancel { tx, request }),
            },
            // RFC 3261 §9.2
            Event::UnmatchedCancel { tx, .. } => self.split().1.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST),
            Event::Response { tx, flow, response } => match self.core.shared.clients.get(&tx).cloned() {
                Some(pending) if self.answer_challenge(tx, &pending, &response) => {}
                Some(pending) => self.response(pending.first, flow, pending, response),
                None => return Some(Event::Response { tx, flow, response }),
            },
            Event::TimedOut { tx } => return self.failed(tx, Failure::TimedOut, event),
            Event::TransportFailed { tx } => return self.failed(tx, Failure::Unreachable, event),
            Event::ClientTerminated { tx } => match self.core.shared.clients.remove(&tx) {
                Some(pending) if pending.superseded => {}
                Some(pending) => {
                    self.core.shared.current.remove(&pending.first);
                    self.client_terminated(pending.first, &pending);
                }
                None => return Some(event),
            },
            Event::ServerTransportFailed { .. } | Event::ServerTimedOut { .. } => return Some(event),
            Event::ServerTerminated { tx } => match self.core.shared.servers.remove(&tx) {
                Some(_) => self.core.shared.ongoing.forget(tx),
                None => return Some(event),
            },
            Event::StrayResponse { .. } | Event::Misrouted { .. } => return Some(event),
        }
        None
    }

    /// A request that opened a transaction. Whoever shares the endpoint with a proxy calls this for those that the user
    /// agent shall answer.
    pub fn request(&mut self, tx: ServerTx, flow: Flow, request: Arc<Message>) {
        let Some(method) = request.method().cloned() else { return };
        let (_, mut cx) = self.split();
        if !cx.shared.config.relays && !cx.answers(&method) {
            // RFC 3261 §8.2.1
            let extra = Extra::new().header(HeaderName::Allow, cx.allow().to_string());
            cx.respond(tx, StatusCode::METHOD_NOT_ALLOWED, None, &extra);
            return;
        }
        if request.to_tag().is_some() {
            return self.request_in_dialog(tx, flow, &method, request);
        }
        if !self.core.shared.ongoing.begin(tx, &request) {
            // RFC 3261 §8.2.2.2: the other copy is being answered.
            return self.split().1.refuse(tx, StatusCode::LOOP_DETECTED);
        }
        let lacking = self.split().1.lacking(&request);
        if !lacking.is_empty() {
            // RFC 3261 §8.2.2.3
            let extra = Extra::new().header(HeaderName::Unsupported, lacking.join(", "));
            self.split().1.respond(tx, StatusCode::BAD_EXTENSION, None, &extra);
            return;
        }
        if let Some(warning) = self.core.shared.config.sips.refuses(&request, &flow) {
            let extra = Extra::new().header(HeaderName::Warning, warning.to_string());
            self.split().1.respond(tx, StatusCode::TEMPORARILY_UNAVAILABLE, None, &extra);
            return;
        }
        match method {
            Method::Invite => self.incoming_invite(tx, flow, request),
            Method::Subscribe => self.incoming_subscribe(tx, flow, request),
            Method::Refer => self.incoming_refer(tx, flow, request, None),
            _ => self.request_outside(tx, flow, &method, request),
        }
    }

    fn request_in_dialog(&mut self, tx: ServerTx, flow: Flow, method: &Method, request: Arc<Message>) {
        let (_, mut context) = self.split();
        let Some(dialog) = context.shared.dialogs.find(&request) else {
            let half = (*method == Method::Notify).then(|| context.shared.dialogs.find_half(&request)).flatten();
            if !half.is_some_and(|half| self.notify_from_new_dialog(tx, half, &request)) {
                // RFC 3261 §12.2.2
                self.split().1.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST);
            }
            return;
        };
        let received = context.shared.dialogs.get_mut(dialog).map(|dialog| dialog.receive(&request, flow));
        if let Some(Err(error)) = received {
            // A request that a later one overtook may come again at once, with the next CSeq.
            let extra = Extra::new().header(HeaderName::RetryAfter, "0");
            context.respond(tx, error.status(), None, &extra);
            return;
        }
        // RFC 3261 §8.2.2.3. What a NOTIFY demands was offered by the Supported of our SUBSCRIBE, which is the application's.
        let lacking = if *method == Method::Notify { Vec::new() } else { context.lacking(&request) };
        if !lacking.is_empty() {
            let extra = Extra::new().header(HeaderName::Unsupported, lacking.join(", "));
            context.respond(tx, StatusCode::BAD_EXTENSION, Some(dialog), &extra);
            return;
        }
        if matches!(method, Method::Notify | Method::Subscribe) {
            if !self.request_in_subscription(tx, dialog, &request, *method == Method::Notify) {
                // RFC 6665 §4.1.3
                self.split().1.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST);
            }
            return;
        }
        if *method == Method::Refer && self.is_mortal(dialog) {
            return self.split().1.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST); // RFC 5407 §3.3.3
        }
        if *method == Method::Refer {
            return self.incoming_refer(tx, flow, request, Some(dialog));
        }
        let (sessions, mut context) = self.split();
        match context.shared.dialogs.session(dialog).and_then(|id| Some((id, sessions.get_mut(id.0)?))) {
            Some((id, session)) => {
                context.shared.servers.insert(tx, Owner::Session(id));
                session.request(&mut context, tx, dialog, method, &request);
                self.settle(id);
            }
            None => context.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST),
        }
    }

    /// An ACK for a 2xx: it names the dialog.
    fn ack(&mut self, request: &Arc<Message>) {
        let (sessions, mut context) = self.split();
        let Some(dialog) = context.shared.dialogs.find(request) else { return };
        let Some(id) = context.shared.dialogs.session(dialog) else { return };
        let Some(session) = sessions.get_mut(id.0) else { return };
        session.ack(&mut context, dialog, request);
        self.settle(id);
    }

    fn cancelled(&mut self, owner: Owner, tx: ServerTx, request: Arc<Message>) {
        let (sessions, mut context) = self.split();
        if let Owner::Session(id) = owner
            && let Some(session) = sessions.get_mut(id.0)
        {
            session.cancelled(&mut context, tx, request);
            self.settle(id);
        }
    }

    fn response(&mut self, tx: ClientTx, flow: Flow, pending: Pending, response: Arc<Message>) {
        let (sessions, mut context) = self.split();
        match pending.owner {
            Owner::Session(id) => {
                let Some(session) = sessions.get_mut(id.0) else { return };
                session.response(&mut context, tx, &pending, response);
                self.settle(id);
            }
            Owner::Subscription(id) => {
                let (subscriptions, mut context) = self.split_subscriptions();
                let Some(subscription) = subscriptions.get_mut(id.0) else { return };
                subscription.response(&mut context, tx, &pending, &response);
                self.settle_subscription(id);
            }
            Owner::Registration(id) => {
                let (registrations, mut context) = self.split_registrations();
                let Some(registration) = registrations.get_mut(id.0) else { return };
                registration.response(&mut context, tx, flow, &response);
                self.settle_registration(id);
            }
            Owner::Outside => self.response_outside(tx, &pending, response),
        }
    }

    fn failed(&mut self, tx: ClientTx, failure: Failure, event: Event) -> Unwanted {
        let Some(pending) = self.core.shared.clients.get(&tx).cloned() else { return Some(event) };
        if pending.superseded {
            return None;
        }
        let tx = pending.first;
        let (sessions, mut context) = self.split();
        match pending.owner {
            Owner::Session(id) => {
                let session = sessions.get_mut(id.0)?;
                session.failed(&mut context, tx, &pending, failure);
                self.settle(id);
            }
            Owner::Subscription(id) => {
                let (subscriptions, mut context) = self.split_subscriptions();
                subscriptions.get_mut(id.0)?.failed(&mut context, tx, failure);
                self.settle_subscription(id);
            }
            Owner::Registration(id) => {
                let (registrations, mut context) = self.split_registrations();
                registrations.get_mut(id.0)?.failed(&mut context, tx, failure);
                self.settle_registration(id);
            }
            Owner::Outside => self.failed_outside(tx, &pending, failure),
        }
        None
    }

    fn client_terminated(&mut self, tx: ClientTx, pending: &Pending) {
        let (sessions, mut context) = self.split();
        if let Owner::Session(id) = pending.owner
            && let Some(session) = sessions.get_mut(id.0)
        {
            session.client_terminated(&mut context, tx);
            self.settle(id);
        }
    }

    pub(super) fn fire(&mut self, timer: Timer) {
        match timer.owner {
            Owner::Session(id) => {
                let (sessions, mut context) = self.split();
                let Some(session) = sessions.get_mut(id.0).filter(|session| session.wants(&timer)) else { return };
                session.timeout(&mut context, timer);
                self.settle(id);
            }
            Owner::Subscription(id) => {
                let (subscriptions, mut context) = self.split_subscriptions();
                let subscription = subscriptions.get_mut(id.0).filter(|subscription| subscription.wants(&timer));
                let Some(subscription) = subscription else { return };
                subscription.timeout(&mut context, timer);
                self.settle_subscription(id);
            }
            Owner::Registration(id) => {
                let (registrations, mut context) = self.split_registrations();
                let Some(registration) = registrations.get_mut(id.0) else { return };
                registration.timeout(&mut context, timer);
                self.settle_registration(id);
            }
            Owner::Outside => {}
        }
    }
}
