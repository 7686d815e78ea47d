//! Requests outside any dialog: OPTIONS and whatever the application handles (RFC 3261 §11, §8.2).

use std::sync::Arc;

use farspeak_sansio::Flow;

use super::{Agent, Event, Extra, Failure, Pending};
use crate::endpoint::{ClientTx, ServerTx};
use crate::message::{HeaderName, Message, Method, StatusCode};

impl Agent<'_> {
    /// Answers a request of [`Event::Request`].
    pub fn respond(&mut self, tx: ServerTx, status: StatusCode, extra: Extra) {
        self.split().1.respond(tx, status, None, &extra);
    }

    pub(super) fn request_outside(&mut self, tx: ServerTx, flow: Flow, method: &Method, request: Arc<Message>) {
        let (_, mut context) = self.split();
        let ours = matches!(method, Method::Message | Method::Refer | Method::Subscribe | Method::Notify);
        match method {
            Method::Options => {
                // RFC 3261 §11.2
                let extra = Extra::new().header(HeaderName::Accept, "application/sdp");
                context.respond(tx, StatusCode::OK, None, &extra);
            }
            _ if ours || context.shared.config.more_methods.contains(method) => {
                context.emit(Event::Request { tx, flow, request });
            }
            // Those that only live in a dialog (RFC 3261 §15.1.2, §12.2.2).
            Method::Bye | Method::Prack | Method::Update | Method::Info => {
                context.refuse(tx, StatusCode::CALL_DOES_NOT_EXIST);
            }
            _ => {
                // RFC 3261 §8.2.1
                let extra = Extra::new().header(HeaderName::Allow, context.allow());
                context.respond(tx, StatusCode::METHOD_NOT_ALLOWED, None, &extra);
            }
        }
    }

    pub(super) fn response_outside(&mut self, _tx: ClientTx, _pending: &Pending, _response: Arc<Message>) {}

    pub(super) fn failed_outside(&mut self, _tx: ClientTx, _pending: &Pending, _failure: Failure) {}
}
