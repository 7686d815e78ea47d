//! The set-up of a joined call: INVITE, provisional responses, 2xx and refusals (RFC 3261 §13).

use std::sync::Arc;

use farspeak_sansio::Instant;
use farspeak_sip::dialog::Opening;
use farspeak_sip::header::OptionTag;
use farspeak_sip::message::{HeaderName, Message, Scheme, StatusCode, Uri};
use farspeak_sip::session::{Invite, LegId, SessionId, VerbError};
use farspeak_sip::user_agent::{Extra, Failure};

use super::join::{Half, Join, Side};
use super::{B2bua, MAX_JOINS, headers};
use crate::domain::Domain;

impl B2bua {
    /// Somebody calls, and the proxy has let it in: the same call goes out on leg B.
    pub(super) fn incoming(&mut self, now: Instant, domain: &Domain, session: SessionId, request: &Arc<Message>) {
        if let Err(status) = self.join(now, domain, session, request) {
            let extra = match status {
                StatusCode::SERVICE_UNAVAILABLE => Extra::new().header(HeaderName::RetryAfter, "10"),
                _ => Extra::new(),
            };
            let _ = self.at(now).reject(session, status, extra);
        }
    }

    fn join(
        &mut self,
        now: Instant,
        domain: &Domain,
        session: SessionId,
        request: &Arc<Message>,
    ) -> Result<(), StatusCode> {
        if self.joins.len() >= MAX_JOINS {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        if request.max_forwards().is_ok_and(|hops| hops == Some(0)) {
            return Err(StatusCode::TOO_MANY_HOPS);
        }
        let parent = self.parent_of(request);
        self.check_loop(request, parent)?;
        let text = |name| request.header(name).ok_or(StatusCode::BAD_REQUEST);
        let (from, to) = (text(HeaderName::From)?, text(HeaderName::To)?);
        let target = request.request_uri().ok_or(StatusCode::BAD_REQUEST)?;
        let called = request.uri().ok();
        let caller = request.from().ok();
        let caller = caller.as_ref().and_then(|from| from.uri().ok());
        // RFC 5630 §5.1.1.1
        let secure = called.as_ref().is_some_and(|uri| uri.scheme == Scheme::Sips);
        let opening = Opening {
            target: target.into(),
            from: without_tag(from).into(),
            to: to.into(),
            contact: self.contact(domain, caller.as_ref(), secure).into(),
            route_set: Vec::new(),
            flow: self.flow,
            account: None,
        };
        let mut extra = headers::of_invite(request);
        if let Some(replaces) = self.dialogs.replaces_for_the_other_side(request)? {
            extra = extra.header(HeaderName::Replaces, replaces.to_string());
        }
        let contact = self.contact(domain, called.as_ref(), secure);
        let mut agent = self.at(now);
        let _ = agent.set_contact(session, &contact);
        let out = agent.invite(Invite { opening, extra }).map_err(|error| match error {
            VerbError::TooMany => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::SERVER_INTERNAL_ERROR,
        })?;
        self.next_join += 1;
        let key = self.next_join;
        self.sides.insert(session, (key, Side::Caller));
        self.sides.insert(out, (key, Side::Called));
        let call_id = self.core.dialog(out).map_or_else(|| "".into(), |dialog| Arc::clone(&dialog.id().call_id));
        self.calls.insert(Arc::clone(&call_id), key);
        let mut caller = Half::new(session);
        caller.learn(request);
        let join = Join {
            request: Arc::clone(request),
            caller,
            called: Half::new(out),
            call_id,
            dialogs: Vec::new(),
            promised: None,
            differs: None,
            accepted: false,
            change: None,
            owed: None,
            parent,
        };
        self.joins.insert(key, join);
        Ok(())
    }

    /// A provisional response of the called side's. It is reliable on leg A if it was on leg B and the caller can take it;
    /// the PRACK of each leg is its own (RFC 3262).
    pub(super) fn progress(&mut self, now: Instant, leg: LegId, response: &Arc<Message>) {
        let Some((key, side, join)) = self.join_of(leg.session) else { return };
        let (accepted, body) = (join.accepted, headers::body_of(response));
        let half = join.half_mut(side);
        if half.ended {
            return;
        }
        half.learn(response);
        if !accepted && (half.leg.is_none() || body.is_some()) {
            half.leg = Some(leg);
        }
        if let Some(body) = body {
            half.keep_answer(leg, body);
        }
        let other = match (accepted, join.change) {
            (false, _) => join.half(side.other()).leg(),
            (true, Some(change)) if change.from == side.other() => change.leg,
            _ => return,
        };
        let wanted = accepted || headers::supports_100rel(&join.request);
        let reliable = wanted && response.require().any(|tag| tag.eq_ignore_ascii_case(OptionTag::Rel100.as_str()));
        let Some(status) = response.status() else { return };
        let extra = headers::of_response(response);
        self.remember_dialogs(key);
        let mut agent = self.at(now);
        if reliable && agent.ring_reliably(other, status, extra.clone()).is_ok() {
            if !accepted
                && let Some((_, _, join)) = self.join_of(leg.session)
                && let Some(body) = extra.get_body()
            {
                join.promised.get_or_insert_with(|| (leg, body.clone()));
            }
            return;
        }
        // Where an offer cannot go, the news still can.
        if agent.ring(other, status, extra.clone()).is_err() {
            let _ = agent.ring(other, status, extra.without_body());
        }
    }

    /// The called side has answered.
    pub(super) fn accepted(&mut self, now: Instant, leg: LegId, response: &Message, answer_owed: bool) {
        let Some((key, side, join)) = self.join_of(leg.session) else { return };
        join.accepted = true;
        let half = join.half_mut(side);
        half.leg = Some(leg);
        half.learn(response);
        let mut extra = headers::of_response(response);
        if extra.get_body().is_none()
            && let Some(body) = half.answer_of(leg)
        {
            // It has said so in a reliable response, which may have reached the caller as a preview only.
            extra = extra.body(body.clone());
        }
        half.answers.clear();
        if let (Some((promised, told)), Some(body)) = (join.promised.take(), extra.get_body())
            && promised != leg
            && told != *body
            && !answer_owed
        {
            join.differs = Some(body.clone());
        }
        let caller = join.caller.session;
        if answer_owed {
            join.owed = Some(leg);
        }
        if self.at(now).accept(caller, extra).is_ok() {
            self.remember_dialogs(key);
            return;
        }
        // An answer without a description, or a caller that has just gone.
        let _ = self.at(now).reject(caller, StatusCode::BAD_GATEWAY, Extra::new());
        let _ = self.at(now).hang_up(leg.session, Extra::new());
    }

    /// The caller's ACK is here. If one phone has promised the caller something and another one has answered, the caller
    /// is asked to agree with that one now; what it says to it goes there as an offer of its own.
    pub(super) fn confirmed(&mut self, now: Instant, leg: LegId) {
        let Some((_, side, join)) = self.join_of(leg.session) else { return };
        let (Some(body), Side::Caller) = (join.differs.take(), side) else { return };
        let _ = self.at(now).reinvite(leg, Extra::new().body(body));
    }

    /// The call was refused, redirected, or nobody answered.
    pub(super) fn failed(&mut self, now: Instant, session: SessionId, failure: &Failure) {
        let Some((_, side, join)) = self.join_of(session) else { return };
        join.half_mut(side).ended = true;
        let other = join.half(side.other());
        if other.ended {
            return;
        }
        let other = other.session;
        let extra = match failure {
            Failure::Response(response) => headers::of_response(response),
            _ => Extra::new(),
        };
        let _ = self.at(now).reject(other, failure.status(), extra);
    }

    /// Our Contact value towards one leg: whom the other end is, at our domain. Whoever calls it from outside the dialog
    /// reaches that user; nobody learns where the phone is.
    fn contact(&self, domain: &Domain, other: Option<&Uri<'_>>, secure: bool) -> String {
        let user = other.filter(|uri| domain.aor(uri, &self.flow).is_some()).and_then(|uri| uri.user);
        let host = domain.name();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let scheme = if secure { "sips" } else { "sip" };
        format!("<{scheme}:{}@{host}>", user.unwrap_or("anonymous"))
    }

    /// The call whose leg B an INVITE was, which comes back here.
    fn parent_of(&self, request: &Message) -> Option<u64> {
        self.calls.get(request.call_id().ok()?).copied()
    }

    /// A call that comes back for somebody whom it was for before runs in circles (RFC 5393 §4.2); for somebody else it
    /// has been forwarded.
    fn check_loop(&self, request: &Message, mut parent: Option<u64>) -> Result<(), StatusCode> {
        while let Some(join) = parent.and_then(|key| self.joins.get(&key)) {
            if join.request.request_uri() == request.request_uri() {
                return Err(StatusCode::LOOP_DETECTED);
            }
            parent = join.parent;
        }
        Ok(())
    }
}

/// A From value without its tag, every other byte as it was.
pub(super) fn without_tag(from: &str) -> String {
    let params = from.rfind('>').map_or(0, |at| at + 1);
    let mut out = from[..params].to_owned();
    for (index, part) in from[params..].split(';').enumerate() {
        let name = part.split('=').next().unwrap_or("").trim();
        if index > 0 && name.eq_ignore_ascii_case("tag") {
            continue;
        }
        if index > 0 {
            out.push(';');
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_is_taken_off() {
        assert_eq!(without_tag("\"A; tag=1\" <sip:a@b;tag=2>;x=1;Tag=3;y"), "\"A; tag=1\" <sip:a@b;tag=2>;x=1;y");
        assert_eq!(without_tag("sip:a@b;tag=3"), "sip:a@b");
        assert_eq!(without_tag("<sip:a@b> ; tag = 3"), "<sip:a@b> ");
    }
}
