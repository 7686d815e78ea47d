//! Another server than the one that was asked, RFC 8489 §10: `client.rs` shows each answer here before it is reported.

use farspeak_sansio::{Flow, FlowId, Instant};

use super::{Client, Event, Failure};
use crate::Message;
use crate::attribute::ErrorCode;

impl Client {
    /// Where a sealed response sends the request on to, if that is to be followed.
    pub(super) fn redirection(&self, at: usize, message: &Message<'_>) -> Option<Flow> {
        let pending = &self.pending[at];
        let flow = pending.transaction.flow();
        let is_300 = matches!(message.error_code(), Ok(Some(error)) if error.code == ErrorCode::TRY_ALTERNATE.code);
        // What was sealed and has been accepted was answered with a seal.
        let sealed = Message::parse(pending.transaction.bytes()).is_ok_and(|request| request.has_integrity());
        let may = pending.redirected.len() < self.config.redirections && !flow.transport.is_secure();
        let server = message.alternate_server().ok().flatten().filter(|_| is_300 && sealed && may)?;
        // In circles there is nothing to be found: "it MUST ignore the redirection".
        let new = server != flow.remote && !pending.redirected.contains(&server);
        let possible = server.is_ipv4() == flow.remote.is_ipv4() && server.port() != 0 && !server.ip().is_unspecified();
        (new && possible).then_some(Flow { id: FlowId::UNBOUND, remote: server, ..flow })
    }

    /// The same request to another server, with the same credentials.
    pub(super) fn redirect(&mut self, now: Instant, at: usize, flow: Flow) {
        let mut pending = self.pending.swap_remove(at);
        pending.redirected.push(pending.transaction.flow().remote);
        match self.send(now, flow, &pending.what) {
            Ok(transaction) => {
                (pending.challenges, pending.doubt, pending.transaction) = (0, None, transaction);
                self.pending.push(pending);
            }
            Err(error) => {
                let reason = Failure::Unwritable(error);
                self.events.push_back(Event::Failed { request: pending.request, reason });
            }
        }
    }
}
