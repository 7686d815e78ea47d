//! Whether a request may get where it is going: throttle, digest, policy (RFC 3261 §16.3 step 6, §22.3).
//!
//! Gathers the [`Facts`] and asks [`decide`]; the verdict of the policy becomes the answer here. A request inside a dialog
//! with a valid flow token needs nothing more than a From that is not another's.

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::message::{Message, StatusCode};

use super::{Destination, Refusal};
use crate::authentication::{Authenticator, Checked, Role, Verdict, is_anonymous};
use crate::flow_token::{FlowToken, OtherSide, same_flow, user_hash};
use crate::policy::{Decision, Facts, Target, decide};
use crate::shard::Core;
use crate::users::User;

impl Core {
    /// Lets the request pass or says how it is refused. Gives who authenticated, if anybody had to.
    pub(super) fn admit(
        &self,
        now: Instant,
        flow: &Flow,
        request: &Message,
        destination: &Destination,
    ) -> Result<Option<Arc<User>>, Refusal> {
        if let Destination::Dialog(token) = destination {
            if self.is_still_the_caller(flow, request, token) {
                return Ok(None);
            }
            return Err(Refusal::new(StatusCode::FORBIDDEN).reason("From Is Not Who Began The Dialog"));
        }
        self.prove(now, flow, request, self.target_of(destination))
    }

    /// Lets a request that is in no dialog of ours pass to `target`, or says how it is refused.
    pub(crate) fn prove(
        &self,
        now: Instant,
        flow: &Flow,
        request: &Message,
        target: Target,
    ) -> Result<Option<Arc<User>>, Refusal> {
        let authenticator = self.authenticator();
        let verdict = match authenticator.check(now, flow, request, Role::Proxy) {
            Checked::CutOff => return Err(Refusal::silence()),
            Checked::Slow(answer) => return Err(answer.into()),
            Checked::Verdict(verdict) => verdict,
        };
        let user = verdict.user();
        let facts = Facts {
            in_dialog: false,
            credentials: verdict.credentials(),
            originator: authenticator.originator(flow, request, user.map(AsRef::as_ref)),
            target,
        };
        match decide(&facts) {
            Decision::Allow => Ok(user.cloned()),
            Decision::Challenge => {
                let stale = verdict == Verdict::Stale;
                Err(authenticator.challenge(now, flow, request, Role::Proxy, stale).into())
            }
            Decision::Refuse { status, reason } => Err(Refusal::new(status).reason(reason).kept()),
        }
    }

    /// Whether From, inside a dialog, names no other local user than the one who began it: a token is no way to speak
    /// in the name of another.
    ///
    /// Only the caller can be held to it. The callee's From is what the caller wrote into To.
    fn is_still_the_caller(&self, flow: &Flow, request: &Message, token: &FlowToken) -> bool {
        let from_caller = token.other_side(flow) == OtherSide::Known(token.b) && !same_flow(&token.b.flow, flow);
        if !from_caller {
            return true;
        }
        let domain = &self.settings.domain;
        let Ok(from) = request.from() else { return false };
        if is_anonymous(&from, |uri| domain.is_ours(uri, flow)) {
            return true;
        }
        let named = from.uri().ok().and_then(|uri| domain.claimed(&uri, flow));
        named.is_none_or(|aor| user_hash(&self.shared.keys.flow_token, aor.as_str()) == token.a.user)
    }

    /// Puts together what verifies credentials.
    pub(crate) fn authenticator(&self) -> Authenticator<'_> {
        Authenticator {
            config: &self.settings.authentication,
            users: &self.shared.users,
            nonces: &self.shared.nonces,
            throttle: &self.shared.throttle,
            domain: &self.settings.domain,
        }
    }

    fn target_of(&self, destination: &Destination) -> Target {
        match destination {
            Destination::User(aor) => match self.shared.users.get(aor.user()) {
                Some(user) => Target::User { open_to_strangers: user.open_to_strangers },
                None => Target::Nobody,
            },
            // A stranger who knows a Contact has not come by the address that its user opened.
            Destination::Phone(_) => Target::User { open_to_strangers: false },
            Destination::Node => Target::Node,
            Destination::Dialog(_) | Destination::Elsewhere => Target::Elsewhere,
        }
    }
}
