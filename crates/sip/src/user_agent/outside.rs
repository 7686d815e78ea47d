//! Requests outside any dialog, at both ends: OPTIONS, MESSAGE and whatever the application handles (RFC 3261 §8, §11;
//! RFC 3428).

use std::sync::Arc;

use farspeak_sansio::Flow;

use super::sips::secured;
use super::{Agent, Event, Extra, Failure, Owner, Pending};
use crate::dialog::{Dialog, Opening};
use crate::endpoint::{ClientTx, ServerTx};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::session::VerbError;

/// A request of the application's: [`Agent::send`], [`Agent::send_within`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(ClientTx);

impl RequestId {
    pub(crate) const fn new(tx: ClientTx) -> Self {
        Self(tx)
    }
}

impl Agent<'_> {
    /// Sends a request outside any dialog: OPTIONS, MESSAGE, PUBLISH. What comes of it is [`Event::Answered`] or
    /// [`Event::Unanswered`]. Methods that open a dialog or end one have verbs of their own: [`VerbError::WrongState`].
    pub fn send(&mut self, method: Method, opening: Opening, extra: Extra) -> Result<RequestId, VerbError> {
        if !stands_alone(&method) {
            return Err(VerbError::WrongState);
        }
        let opening = secured(opening)?;
        let (_, mut cx) = self.split();
        let (call_id, tag, seq) = (cx.call_id(), cx.tag(), cx.first_seq());
        let half = cx.shared.dialogs.insert(Dialog::open(opening, call_id, tag, seq), Owner::Outside);
        let tx = cx.request(Owner::Outside, half, method, Arc::new(extra)).ok_or(VerbError::Gone)?;
        Ok(RequestId(tx))
    }

    /// Answers a request of [`Event::Request`] or [`Event::Within`]. After 64 × T1 nobody waits for the answer any more, and
    /// the request is forgotten.
    pub fn respond(&mut self, tx: ServerTx, status: StatusCode, extra: Extra) {
        let (_, mut cx) = self.split();
        let request = cx.endpoint.server_request(tx).cloned();
        cx.respond(tx, status, None, &extra);
        if let Some(request) = request.filter(|_| status.is_success()) {
            self.accept_identity_within(&request);
        }
    }

    pub(super) fn request_outside(&mut self, tx: ServerTx, flow: Flow, method: &Method, request: Arc<Message>) {
        let (_, mut context) = self.split();
        match method {
            Method::Options => {
                // RFC 3261 §11.2
                let extra = context.accepts();
                context.respond(tx, StatusCode::OK, None, &extra);
            }
            Method::Message => {
                context.shared.servers.insert(tx, Owner::Outside);
                context.emit(Event::Request { tx, flow, request });
            }
            _ if context.shared.config.more_methods.contains(method) => {
                context.shared.servers.insert(tx, Owner::Outside);
                context.emit(Event::Request { tx, flow, request });
            }
            // Those that only live in a dialog (RFC 3261 §15.1.2, §12.2.2).
            Method::Bye | Method::Prack | Method::Update | Method::Info | Method::Notify => {
                context.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST);
            }
            _ => {
                // RFC 3261 §8.2.1
                let extra = Extra::new().header(HeaderName::Allow, context.allow().to_string());
                context.respond(tx, StatusCode::METHOD_NOT_ALLOWED, None, &extra);
            }
        }
    }

    pub(super) fn response_outside(&mut self, tx: ClientTx, pending: &Pending, response: Arc<Message>) {
        if response.status().is_some_and(StatusCode::is_final) {
            let (_, mut cx) = self.split();
            cx.shared.dialogs.release(pending.dialog, Owner::Outside);
            cx.emit(Event::Answered { request: RequestId(tx), response });
        }
    }

    pub(super) fn failed_outside(&mut self, tx: ClientTx, pending: &Pending, failure: Failure) {
        let (_, mut cx) = self.split();
        cx.shared.dialogs.release(pending.dialog, Owner::Outside);
        cx.emit(Event::Unanswered { request: RequestId(tx), failure });
    }
}

/// Whether a request of that method neither opens a dialog nor needs one.
fn stands_alone(method: &Method) -> bool {
    matches!(method, Method::Options | Method::Message | Method::Publish | Method::Other(_))
}
