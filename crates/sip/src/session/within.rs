//! Requests inside a session that are the application's: INFO with its packages, MESSAGE, and methods of its own
//! (RFC 6086, RFC 3428 §4). OPTIONS is answered here (RFC 3261 §11).

use std::sync::Arc;

use super::{LegId, Session, VerbError};
use crate::endpoint::{ClientTx, ServerTx};
use crate::header::InfoPackage;
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::user_agent::{Agent, Context, Event, Extra, Failure, Owner, RequestId};

impl Agent<'_> {
    /// Sends a request of the application's in a leg: INFO, MESSAGE, OPTIONS or a method of its own. What comes of it is
    /// [`Event::Answered`] or [`Event::Unanswered`]. Those with a meaning for the session have verbs of their own:
    /// [`VerbError::WrongState`].
    pub fn send_within(&mut self, leg: impl Into<LegId>, method: Method, extra: Extra) -> Result<RequestId, VerbError> {
        if !matches!(method, Method::Info | Method::Message | Method::Options | Method::Other(_)) {
            return Err(VerbError::WrongState);
        }
        let leg = leg.into();
        let dialog = self.dialog_for_request(leg)?;
        let (_, mut cx) = self.split();
        let tx = cx.request(Owner::Session(leg.session), dialog, method, Arc::new(extra)).ok_or(VerbError::Gone)?;
        Ok(RequestId::new(tx))
    }
}

impl Session {
    /// What became of a request of the application's.
    pub(super) fn answered_within(&mut self, cx: &mut Context<'_>, tx: ClientTx, response: Arc<Message>) {
        if response.status().is_some_and(StatusCode::is_final) {
            cx.emit(Event::Answered { request: RequestId::new(tx), response });
        }
    }

    /// The same without a response.
    pub(super) fn unanswered_within(&mut self, cx: &mut Context<'_>, tx: ClientTx, failure: Failure) {
        cx.emit(Event::Unanswered { request: RequestId::new(tx), failure });
    }

    pub(super) fn request_within(
        &mut self,
        cx: &mut Context<'_>,
        tx: ServerTx,
        leg: usize,
        method: &Method,
        request: &Arc<Message>,
    ) {
        let dialog = Some(self.legs[leg].dialog);
        match method {
            _ if cx.shared.config.relays => {}
            Method::Options => {
                let extra = cx.accepts();
                cx.respond(tx, StatusCode::OK, dialog, &extra);
                return;
            }
            Method::Info if !known_package(cx, request) => {
                // RFC 6086 §4.2.2
                let packages = cx.shared.config.info_packages.join(", ");
                let extra = Extra::new().header(HeaderName::RecvInfo, packages);
                cx.respond(tx, StatusCode::new(469).unwrap_or(StatusCode::BAD_EVENT), dialog, &extra);
                return;
            }
            Method::Info | Method::Message => {}
            _ if cx.shared.config.more_methods.contains(method) => {}
            _ => {
                let extra = Extra::new().header(HeaderName::Allow, cx.allow().to_string());
                cx.respond(tx, StatusCode::METHOD_NOT_ALLOWED, dialog, &extra);
                return;
            }
        }
        cx.emit(Event::Within { leg: LegId::new(self.id, leg), tx, request: Arc::clone(request) });
    }
}

/// INFO without a package is the legacy use of RFC 2976, which the application judges by its body (RFC 6086 §9.1).
fn known_package(cx: &Context<'_>, request: &Message) -> bool {
    match InfoPackage::of(request) {
        Ok(None) => true,
        Ok(Some(package)) => {
            cx.shared.config.info_packages.iter().any(|known| known.eq_ignore_ascii_case(&package.name))
        }
        Err(_) => false,
    }
}
