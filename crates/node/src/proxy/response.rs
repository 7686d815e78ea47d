//! What comes back: responses, timeouts, failures, and the caller's CANCEL (RFC 3261 §16.7–16.10).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_sip::endpoint::{ClientTx, ServerTx};
use farspeak_sip::message::{Contacts, Edit, HeaderName, Message, Scheme, StatusCode, Uri};

use super::Refusal;
use super::forward::remove_unproved_identities;
use crate::b2bua::hairpin;
use crate::fork::{Best, Context, Outcome, Target, choose_best};
use crate::shard::{Core, Shard, Timer};
use crate::shared::Counters;

impl Shard {
    /// Goes on with a request whose pending branches have all ended: to the next group of targets, or to the end.
    pub(crate) fn advance(&mut self, now: Instant, tx: ServerTx) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let core = &mut self.core;
        while !context.finished && !context.is_pending() {
            if context.cancelled || context.targets.is_empty() {
                core.finish(now, tx, context);
                break;
            }
            // The caller hears at once that we are at it; once is enough (RFC 3261 §16.2).
            if context.invite && context.branches.is_empty() {
                core.trying(now, tx, &context.request);
                if context.request.to_tag().is_none() && !hairpin::is_internal(&context.flow) {
                    Counters::count(&core.shared.counters.calls);
                }
            }
            if let Err(status) = core.forward_group(now, tx, context) {
                context.finished = true;
                core.refuse(now, tx, &context.request, Refusal::new(status));
            }
        }
    }

    /// A response to one of our branches (RFC 3261 §16.7).
    pub(crate) fn response(&mut self, now: Instant, client: ClientTx, response: Arc<Message>) {
        let Some((tx, index)) = self.core.clients.get(&client).copied() else {
            return Counters::count(&self.core.shared.counters.dropped);
        };
        let (Some(context), Some(status)) = (self.contexts.get_mut(&tx), response.status()) else { return };
        let core = &mut self.core;
        // Step 3: without a Via below ours it answers nothing that we forwarded, and there is no way to go on with it. A
        // final one ends the branch all the same: the caller must not wait for ever.
        if response.values(HeaderName::Via).nth(1).is_none() {
            Counters::count(&core.shared.counters.dropped);
            if !status.is_provisional() {
                self.branch_ended(now, client, Outcome::Unreachable);
            }
            return;
        }
        if status.is_provisional() {
            return core.provisional(now, tx, context, index, status, &response);
        }
        let Some(branch) = context.branches.get_mut(index) else { return };
        let first = branch.outcome.is_none();
        if first {
            branch.outcome = Some(Outcome::Response(Arc::clone(&response)));
        }
        if status.is_success() {
            // Step 5: a 2xx to an INVITE always goes on, be it the second or a retransmission.
            if context.invite || !context.finished {
                let is_new = context.request.to_tag().is_none() && !hairpin::is_internal(&context.flow);
                if context.invite && !context.finished && is_new {
                    Counters::count(&core.shared.counters.answered);
                }
                context.finished = true;
                core.pass_on(now, tx, status, &response, &[]);
            }
            context.targets.clear();
            core.cancel_pending(now, context, Why::Answered);
            return;
        }
        if !first {
            return;
        }
        if status.class() == 6 {
            // Step 5: everybody else is told to stop; the 6xx itself waits for them.
            context.targets.clear();
            core.cancel_pending(now, context, Why::Declined);
        }
        if status.is_redirection() && core.settings.proxy.recurse {
            core.recurse(now, context, &response);
        }
        self.advance(now, tx);
    }

    /// No final response in time: Timer B or F (RFC 3261 §16.8, as if a 408 had come).
    pub(crate) fn timed_out(&mut self, now: Instant, client: ClientTx) {
        self.branch_ended(now, client, Outcome::TimedOut);
    }

    /// The request could not be delivered (RFC 3261 §16.9).
    pub(crate) fn transport_failed(&mut self, now: Instant, client: ClientTx) {
        self.branch_ended(now, client, Outcome::Unreachable);
    }

    fn branch_ended(&mut self, now: Instant, client: ClientTx, outcome: Outcome) {
        let Some((tx, index)) = self.core.clients.remove(&client) else { return };
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let Some(branch) = context.branches.get_mut(index) else { return };
        branch.client = None;
        if branch.outcome.is_none() {
            if matches!((&outcome, &branch.target), (Outcome::Unreachable, Target::Dialog(_))) {
                self.core.look_again(now, context);
            }
            context.branches[index].outcome = Some(outcome);
            self.advance(now, tx);
        }
        self.forget_if_over(tx);
    }

    /// The caller has cancelled; the transaction layer has answered the CANCEL (RFC 3261 §16.10).
    pub(crate) fn cancelled(&mut self, now: Instant, tx: ServerTx, cancel: &Message) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        if context.finished {
            return;
        }
        context.cancelled = true;
        context.targets.clear();
        // RFC 3326 §2: with the Reason that it came with.
        let why = cancel.header(HeaderName::Reason).map_or(Why::Caller, Why::Said);
        self.core.cancel_pending(now, context, why);
        self.advance(now, tx);
    }

    /// Nothing can be sent back to the caller any more: nobody needs to be rung for it.
    pub(crate) fn caller_lost(&mut self, now: Instant, tx: ServerTx) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        if !context.finished && context.invite {
            context.cancelled = true;
            context.targets.clear();
            self.core.cancel_pending(now, context, Why::Caller);
        }
    }

    /// Timer C (RFC 3261 §16.8): a phone that rings is cancelled, one that says nothing has timed out.
    pub(crate) fn timer_c(&mut self, now: Instant, tx: ServerTx, index: usize, number: u32) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let Some(branch) = context.branches.get_mut(index) else { return };
        if !branch.is_pending() || branch.timer_c != number {
            return;
        }
        if let Some(client) = branch.client {
            self.core.endpoint.note_timer(now, client, "Timer C");
        }
        if branch.proceeding && !branch.expired {
            branch.expired = true;
            branch.timer_c += 1;
            let (client, again) = (branch.client, branch.timer_c);
            if let Some(client) = client
                && !branch.cancelled
            {
                branch.cancelled = true;
                self.core.endpoint.cancel(now, client);
            }
            // If not even the CANCEL brings an end (RFC 3261 §9.1: after 64 × T1), that is the end.
            self.core.timers.arm(now, self.core.settings.proxy.timer_c, Timer::C(tx, index, again));
            return;
        }
        branch.outcome = Some(Outcome::TimedOut);
        self.advance(now, tx);
    }

    /// A group of targets has rung long enough, others wait for their turn.
    pub(crate) fn serial_ring(&mut self, now: Instant, tx: ServerTx, branches: usize) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        if context.finished || context.branches.len() != branches || context.targets.is_empty() {
            return;
        }
        self.core.cancel_pending(now, context, Why::TooLong);
    }

    /// The server transaction has ended.
    pub(crate) fn server_terminated(&mut self, tx: ServerTx) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        context.server_gone = true;
        self.forget_if_over(tx);
    }

    /// A client transaction has ended.
    pub(crate) fn client_terminated(&mut self, now: Instant, client: ClientTx) {
        // One that ended with a final response has had its say; any other has timed out.
        self.branch_ended(now, client, Outcome::TimedOut);
    }

    fn forget_if_over(&mut self, tx: ServerTx) {
        if self.contexts.get(&tx).is_some_and(|context| context.is_over()) {
            self.contexts.remove(&tx);
        }
    }
}

/// Why a branch is cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why<'a> {
    /// The caller has hung up, or is gone.
    Caller,
    /// The caller has hung up, and said why.
    Said(&'a str),
    /// Another phone has answered.
    Answered,
    /// Another phone has declined for all of them.
    Declined,
    /// It has rung for too long.
    TooLong,
}

impl<'a> Why<'a> {
    /// The Reason for the CANCEL (RFC 3326 §2): a phone told so shows no missed call.
    const fn reason(self) -> Option<&'a str> {
        match self {
            Self::Said(reason) => Some(reason),
            Self::Answered => Some("SIP;cause=200;text=\"Call completed elsewhere\""),
            Self::Declined => Some("SIP;cause=603;text=\"Declined elsewhere\""),
            Self::Caller | Self::TooLong => None,
        }
    }
}

impl Core {
    /// Steps 1, 2 and 5 for a provisional response.
    fn provisional(
        &mut self,
        now: Instant,
        tx: ServerTx,
        context: &mut Context,
        index: usize,
        status: StatusCode,
        response: &Message,
    ) {
        let Some(branch) = context.branches.get_mut(index) else { return };
        branch.proceeding = true;
        if status == StatusCode::TRYING {
            return;
        }
        // Once a second is enough, and a phone that repeats itself without end fills no table of ours.
        let lately = branch.timer_c_at.is_some_and(|at| now.saturating_since(at) < Duration::from_secs(1));
        if context.invite && branch.is_pending() && !branch.expired && !lately {
            // Step 2: Timer C begins anew with every 101–199.
            branch.timer_c += 1;
            branch.timer_c_at = Some(now);
            self.timers.arm(now, self.settings.proxy.timer_c, Timer::C(tx, index, branch.timer_c));
        }
        if !context.finished {
            self.pass_on(now, tx, status, response, &[]);
        }
    }

    /// Takes our Via off and passes the response upstream (steps 3 and 9), with the challenges of `others` added
    /// (step 7).
    fn pass_on(&mut self, now: Instant, tx: ServerTx, status: StatusCode, response: &Message, others: &[Arc<Message>]) {
        // Step 3: without another Via it was meant for us, who never asked.
        if response.vias().nth(1).is_none() {
            return Counters::count(&self.shared.counters.dropped);
        }
        let mut edit = Edit::new(response);
        edit.remove_first_value(HeaderName::Via);
        remove_unproved_identities(&mut edit, response);
        for other in others {
            for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
                for challenge in other.headers(name) {
                    edit.append(name, challenge);
                }
            }
        }
        self.scratch.bytes.clear();
        edit.write(&mut self.scratch.bytes);
        self.endpoint.respond(now, tx, status, &self.scratch.bytes[..]);
    }

    /// Every branch has ended without a 2xx: the best response goes upstream (step 6).
    fn finish(&mut self, now: Instant, tx: ServerTx, context: &mut Context) {
        context.finished = true;
        match choose_best(&context.branches) {
            Best::Forward(response, others) => {
                let status = response.status().unwrap_or(StatusCode::SERVER_INTERNAL_ERROR);
                self.pass_on(now, tx, status, &response, &others);
            }
            // Who has hung up is not told that nobody answered.
            Best::Own(_) if context.cancelled && context.invite => {
                self.refuse(now, tx, &context.request, Refusal::new(StatusCode::REQUEST_TERMINATED));
            }
            // RFC 4320 §4.2: no 408 to a non-INVITE; the transaction layer ends it in silence.
            Best::Own(status) => self.refuse(now, tx, &context.request, Refusal::new(status)),
        }
    }

    /// Cancels what is pending (steps 5 and 10).
    fn cancel_pending(&mut self, now: Instant, context: &mut Context, why: Why<'_>) {
        if !context.invite {
            return; // RFC 3261 §9.1: CANCEL is for INVITE alone
        }
        for branch in &mut context.branches {
            if !branch.is_pending() || branch.cancelled {
                continue;
            }
            branch.cancelled = true;
            branch.expired |= why == Why::TooLong;
            let Some(client) = branch.client else { continue };
            match why.reason() {
                Some(reason) => self.endpoint.cancel_because(now, client, reason),
                None => self.endpoint.cancel(now, client),
            }
        }
    }

    /// The connection inside a dialog is gone: perhaps the phone has registered again over another.
    fn look_again(&mut self, now: Instant, context: &mut Context) {
        let uri_text = context.plan.request_uri.as_deref().or(context.request.request_uri()).unwrap_or("");
        let Ok(uri) = Uri::parse(uri_text) else { return };
        let Some(token) = context.plan.token else { return };
        let phone = self.phone_of(now, &uri, &token.a).or_else(|| self.phone_of(now, &uri, &token.b));
        let Some(phone) = phone.filter(|phone| phone.flow().is_some_and(|flow| !self.shared.is_dead(&flow))) else {
            return;
        };
        context.targets.add(Target::Phone(phone), &context.branches);
    }

    /// Step 4: follows a redirection if every Contact of it is a local target.
    fn recurse(&mut self, now: Instant, context: &mut Context, response: &Message) {
        let Ok(Contacts::List(contacts)) = response.contacts() else { return };
        let secure = context.request.uri().is_ok_and(|uri| uri.scheme == Scheme::Sips);
        let mut found = Vec::new();
        for contact in contacts {
            let Some(uri) = contact.ok().and_then(|contact| contact.uri().ok()) else { return };
            if secure && uri.scheme != Scheme::Sips {
                return;
            }
            if let Some(binding) = self.shared.location.by_contact(now, &uri) {
                found.push(binding);
            } else if let Some(aor) = self.settings.domain.aor(&uri, &context.flow) {
                found.extend(self.shared.location.lookup(now, &aor));
            } else {
                return;
            }
        }
        // Who lets strangers in cannot let them in to others.
        let open = |user: &str| self.shared.users.get(user).is_some_and(|user| user.open_to_strangers);
        if context.caller == 0 && !found.iter().all(|binding| open(binding.aor().user())) {
            return;
        }
        for binding in found {
            context.targets.add(Target::Binding(binding), &context.branches);
        }
    }
}
