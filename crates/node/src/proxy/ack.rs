//! The ACK of a 2xx: it has no transaction and no answer, so it is passed along and forgotten (RFC 3261 §13.2.2.4,
//! §16.11).
//!
//! It goes where a request of its dialog goes: by flow token, or to the live phone whose Contact it names. Anything else
//! is dropped; there is nobody to tell.

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::endpoint::Branch;
use farspeak_sip::message::{Edit, HeaderName, Message, Uri};

use super::forward::{edit_routes, remove_our_credentials};
use crate::fork::Target;
use crate::loop_detection::loop_key;
use crate::shard::Core;
use crate::shared::Counters;

impl Core {
    /// Passes the ACK on, if it is known where to.
    pub(crate) fn forward_ack(&mut self, now: Instant, flow: Flow, request: &Message) {
        // For an answer of ours that left no transaction: it has the INVITE's branch and the tag that we made of it.
        if request.to_tag().is_some_and(|tag| tag.len() == 16 && tag == self.local_tag(request)) {
            return;
        }
        if self.try_forward_ack(now, flow, request).is_none() {
            Counters::count(&self.shared.counters.dropped);
        }
    }

    fn try_forward_ack(&mut self, now: Instant, flow: Flow, request: &Message) -> Option<()> {
        request.check_essential().ok()?;
        request.to_tag()?;
        let hops = match request.max_forwards().ok()? {
            Some(hops) => hops.checked_sub(1)?,
            None => self.settings.proxy.max_forwards,
        };
        let plan = self.route_plan(now, &flow, request).ok()?;
        let uri = Uri::parse(plan.request_uri.as_deref().or(request.request_uri())?).ok()?;
        let target = match &plan.token {
            Some(token) => self.dialog_target(now, &flow, &uri, token)?,
            // An ACK cannot be challenged: only a flow that has authenticated lately is believed without a token.
            None if plan.foreign == 0 && self.shared.throttle.is_spared(now, &flow) => {
                Target::Phone(self.shared.location.by_contact(now, &uri)?)
            }
            None => return None,
        };
        let out = target.flow()?;
        let key = loop_key(&self.shared.keys.branch, request);
        for via in request.vias() {
            if via.ok()?.branch().and_then(Branch::parse).is_some_and(|branch| branch.loop_key == key) {
                return None;
            }
        }

        let mut edit = Edit::new(request);
        if let Some(uri) = &plan.request_uri {
            edit.set_request_uri(uri);
        }
        edit_routes(&mut edit, request, &plan);
        remove_our_credentials(&mut edit, request, self.shared.users.realm());
        edit.set(HeaderName::MaxForwards, &hops.to_string());
        let branch = self.endpoint.new_branch(key);
        self.scratch.via.clear();
        self.names.write_via(&out, branch.as_ref(), &mut self.scratch.via);
        edit.prepend(HeaderName::Via, &self.scratch.via);
        if out.transport.is_reliable() {
            edit.ensure_content_length(); // RFC 3261 §18.3
        }
        self.scratch.bytes.clear();
        edit.write(&mut self.scratch.bytes);
        self.endpoint.send_stateless(now, out, &self.scratch.bytes[..]);
        Some(())
    }
}
