//! The stateful proxy (RFC 3261 §16): what becomes of a request, from its validation to its first branch.
//!
//! ```text
//! request ─▶ validate §16.3 ─▶ Route §16.4 ─▶ whom is it for? ─▶ admission ─▶ targets §16.5 ─▶ forward §16.6
//!                                              │ REGISTER ─▶ registration     │
//!                                              ├ SUBSCRIBE, PUBLISH ─▶ events │
//!                                              └ to the node itself ─▶ local  └ refused: 403 404 407 480 …
//! ```
//!
//! [`forward`] writes and sends the copies, [`response`] handles what comes back (§16.7–16.10), [`ack`] passes the ACK of
//! a 2xx along, [`local`] answers for the node itself, [`admission`] is throttle, digest and policy.

mod ack;
mod admission;
mod forward;
mod local;
mod response;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant};
use farspeak_sip::endpoint::{Branch, ServerTx};
use farspeak_sip::message::{HeaderErrorKind, HeaderName, Host, Message, Method, Scheme, StatusCode, Uri};

use crate::b2bua::hairpin;
use crate::binding::Binding;
use crate::domain::Aor;
use crate::event::Event;
use crate::events::Asked;
use crate::flow_token::{FlowToken, OtherSide, Side, same_flow, user_hash};
use crate::fork::{Context, Target, TargetSet};
use crate::loop_detection::loop_key;
use crate::route::{BadRoute, RoutePlan};
use crate::shard::{Core, Shard};
use crate::shared::Counters;
use crate::users::User;

pub(crate) use local::Refusal;

/// Whom a request is for, before anybody asks whether it may get there.
pub(crate) enum Destination {
    /// The other side of a dialog that went through here.
    Dialog(FlowToken),
    /// A phone, by its Contact.
    Phone(Arc<Binding>),
    /// A name in our domain, whether anybody has it or not.
    User(Aor),
    /// This node.
    Node,
    /// Another domain, or another URI scheme.
    Elsewhere,
}

impl Shard {
    /// A request that began a server transaction.
    pub(crate) fn request(&mut self, now: Instant, tx: ServerTx, flow: Flow, request: Arc<Message>) {
        Counters::count(&self.core.shared.counters.requests);
        if self.contexts.len() >= self.core.settings.proxy.max_contexts {
            Counters::count(&self.core.shared.counters.overloaded);
            self.core.refuse(now, tx, &request, Refusal::overloaded());
            return self.core.endpoint.abandon(tx);
        }
        match self.core.consider(now, tx, flow, &request) {
            Ok(Some(context)) => {
                self.contexts.insert(tx, Box::new(context));
                self.advance(now, tx);
            }
            Ok(None) => {}
            Err(refusal) => {
                if refusal.is_silence() && flow.transport.is_reliable() {
                    self.core.events.push_back(Event::CloseFlow { flow });
                }
                let keep = refusal.is_kept();
                self.core.refuse(now, tx, &request, refusal);
                if !keep {
                    self.core.endpoint.abandon(tx);
                }
            }
        }
    }
}

impl Core {
    /// Everything up to the forwarding. `None` if the request needs none: it has been or will be answered here.
    fn consider(
        &mut self,
        now: Instant,
        tx: ServerTx,
        flow: Flow,
        request: &Arc<Message>,
    ) -> Result<Option<Context>, Refusal> {
        check_syntax(request)?;
        let plan = self.route_plan(now, &flow, request).map_err(|BadRoute(name)| bad_header(name))?;
        let uri_text = plan.request_uri.as_deref().or(request.request_uri()).unwrap_or("");
        let uri = Uri::parse(uri_text).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST).reason("Bad Request-URI"))?;
        // RFC 3261 §16.3 step 2.
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_URI_SCHEME));
        }
        let destination = self.destination(now, &flow, &uri, &plan);

        let method = request.method().unwrap_or(&Method::Options);
        if *method == Method::Register && matches!(destination, Destination::Node | Destination::User(_)) {
            self.register(now, tx, flow, request)?;
            return Ok(None);
        }
        if matches!(destination, Destination::Node) {
            return self.answer_for_node(now, tx, &flow, request).map(|()| None);
        }
        // Who asks for an address of ours asks us; in a dialog by a token of ours, whoever is at the other end.
        if let (Destination::User(aor), Some(asked)) = (&destination, Asked::of(request)) {
            self.asked(now, tx, flow, request, aor.clone(), asked)?;
            return Ok(None);
        }
        if self.check_hops(request)? {
            self.answer_options(now, tx, request);
            return Ok(None);
        }
        let loop_key = loop_key(&self.shared.keys.branch, request);
        self.check_loop(request, loop_key)?;
        let breadth = self.breadth(request)?;
        check_proxy_require(request)?;
        // Values of others are followed only behind a token of ours (RFC 3261 §16.4 leaves open which; never a relay).
        if plan.foreign > 0 && plan.token.is_none() {
            return Err(Refusal::new(StatusCode::FORBIDDEN).reason("Route Was Not Issued Here"));
        }
        // The back-to-back user agent behind us calls for whom we have let in before.
        let internal = hairpin::is_internal(&flow);
        let user = if internal { None } else { self.admit(now, &flow, request, &destination)? };
        let joined = *method == Method::Invite && !internal && self.joins(user.as_deref(), &destination);
        let targets = match joined {
            true => TargetSet::new([Target::Dialog(hairpin::flow(self.id))], 1),
            false => self.targets(now, &flow, &uri, destination).map_err(Refusal::kept)?,
        };
        Ok(Some(Context {
            request: Arc::clone(request),
            flow,
            invite: *method == Method::Invite,
            plan,
            loop_key,
            breadth,
            targets,
            branches: Vec::with_capacity(1),
            cancelled: false,
            finished: false,
            server_gone: false,
            caller: user.map_or(0, |user| {
                user_hash(&self.shared.keys.flow_token, self.settings.domain.aor_of_user(&user.name).as_str())
            }),
        }))
    }

    /// Whom the request is for (RFC 3261 §16.5, first half).
    fn destination(&self, now: Instant, flow: &Flow, uri: &Uri<'_>, plan: &RoutePlan) -> Destination {
        if let Some(token) = plan.token {
            return Destination::Dialog(token);
        }
        let phone = || self.shared.location.by_contact(now, uri).map(Destination::Phone);
        if !self.settings.domain.is_ours(uri, flow) {
            return phone().unwrap_or(Destination::Elsewhere);
        }
        let Some(aor) = self.settings.domain.aor(uri, flow) else { return Destination::Node };
        // A local user comes first: nobody takes over a user's address by registering it as a Contact. Then a phone's
        // Contact: it may well name an address of this host (a name of ours is nobody's).
        let nobody = !matches!(uri.host, Host::Name(_)) && self.shared.users.get(aor.user()).is_none();
        nobody.then(phone).flatten().unwrap_or(Destination::User(aor))
    }

    /// Whether the back-to-back user agent takes the call.
    fn joins(&self, caller: Option<&User>, destination: &Destination) -> bool {
        let called = match destination {
            Destination::User(aor) => aor.clone(),
            Destination::Phone(binding) => binding.aor().clone(),
            Destination::Dialog(_) | Destination::Node | Destination::Elsewhere => return false,
        };
        self.settings.proxy.joining.joins(caller.map(|user| &*user.name), Some(called.user()))
    }

    /// Where the request goes (RFC 3261 §16.5, second half), now that it may.
    fn targets(
        &mut self,
        now: Instant,
        flow: &Flow,
        uri: &Uri<'_>,
        destination: Destination,
    ) -> Result<TargetSet, Refusal> {
        let max = self.settings.proxy.max_targets.max(1);
        let secure = uri.scheme == Scheme::Sips;
        match destination {
            // One more than the one: if its connection is gone, the phone may have another by now.
            Destination::Dialog(token) => {
                let target = self.dialog_target(now, flow, uri, &token);
                Ok(TargetSet::new(target, 2))
            }
            Destination::Phone(binding) => {
                if secure && !is_secure(&binding) {
                    return Err(not_secure());
                }
                Ok(TargetSet::new([Target::Phone(binding)], 1))
            }
            Destination::User(aor) => {
                let mut bindings = self.shared.location.lookup(now, &aor);
                let found = !bindings.is_empty();
                if secure {
                    bindings.retain(|binding| is_secure(binding));
                }
                if bindings.is_empty() && found {
                    return Err(not_secure());
                }
                if bindings.is_empty() {
                    return Err(Refusal::new(StatusCode::TEMPORARILY_UNAVAILABLE));
                }
                Ok(TargetSet::new(bindings.into_iter().map(Target::Binding), max))
            }
            Destination::Node | Destination::Elsewhere => Err(Refusal::new(StatusCode::FORBIDDEN)),
        }
    }

    /// What the Route of `request` says.
    pub(crate) fn route_plan(&self, now: Instant, flow: &Flow, request: &Message) -> Result<RoutePlan, BadRoute> {
        let lifetime = u32::try_from(self.settings.proxy.dialog_lifetime.as_secs()).unwrap_or(u32::MAX);
        let oldest = self.shared.clock.unix_seconds(now).saturating_sub(lifetime);
        RoutePlan::of(request, flow, &self.settings, &self.shared.keys.flow_token, oldest)
    }

    /// Where a request inside a dialog goes: to the side it did not come from. If the phone there has moved to another
    /// connection or, on UDP, another mapping of its NAT, the location table knows.
    pub(crate) fn dialog_target(
        &self,
        now: Instant,
        source: &Flow,
        uri: &Uri<'_>,
        token: &FlowToken,
    ) -> Option<Target> {
        // Nobody else is at an internal flow, and it never fails: where a phone has gone does not matter.
        if !hairpin::is_internal(source)
            && let Some(side) = [token.a, token.b].iter().find(|side| hairpin::is_internal(&side.flow))
        {
            return Some(Target::Dialog(side.flow));
        }
        let side = match token.other_side(source) {
            OtherSide::Known(side) => side,
            OtherSide::Unknown => {
                let there = |side| self.phone_of(now, uri, side).map(Target::Phone);
                return there(&token.a).or_else(|| there(&token.b));
            }
        };
        let mut flow = side.flow;
        // Handles of a process before this one mean nothing, or another connection by now.
        let stale = token.since < self.shared.clock.unix_seconds(Instant::ZERO);
        let lost = flow.transport.is_reliable() && (stale || self.shared.is_dead(&flow));
        if flow.transport.is_reliable() && !lost {
            return Some(Target::Dialog(flow));
        }
        let newer = |phone: &Arc<Binding>| lost || self.shared.clock.unix_seconds(phone.updated_at()) > token.since;
        if let Some(phone) = self.phone_of(now, uri, &side).filter(newer) {
            return Some(Target::Phone(phone));
        }
        if stale {
            flow.id = FlowId::UNBOUND;
        }
        (!lost).then_some(Target::Dialog(flow))
    }

    /// The live registration of that Contact by the user of that side: if several, the one over its flow, else the
    /// latest. A stranger has none: nobody can register a stranger's Contact to get at the dialog.
    pub(crate) fn phone_of(&self, now: Instant, uri: &Uri<'_>, side: &Side) -> Option<Arc<Binding>> {
        if side.user == 0 {
            return None;
        }
        let key = &self.shared.keys.flow_token;
        let mut phones = self.shared.location.all_by_contact(now, uri);
        phones.retain(|phone| user_hash(key, phone.aor().as_str()) == side.user);
        let over_flow = |phone: &Binding| phone.flow().is_some_and(|flow| same_flow(&flow, &side.flow));
        phones.into_iter().max_by_key(|phone| (over_flow(phone), phone.version()))
    }

    /// Max-Forwards (RFC 3261 §16.3 step 3). `true` if it is used up and the request is an OPTIONS, which we answer.
    fn check_hops(&self, request: &Message) -> Result<bool, Refusal> {
        match request.max_forwards() {
            Err(_) => Err(bad_header(HeaderName::MaxForwards)),
            Ok(Some(0)) if request.method() == Some(&Method::Options) => Ok(true),
            Ok(Some(0)) => {
                Counters::count(&self.shared.counters.loops);
                Err(Refusal::new(StatusCode::TOO_MANY_HOPS))
            }
            Ok(_) => Ok(false),
        }
    }

    /// RFC 5393 §4.2.2.
    fn check_loop(&self, request: &Message, loop_key: u64) -> Result<(), Refusal> {
        for via in request.vias() {
            let via = via.map_err(|_| bad_header(HeaderName::Via))?;
            if via.branch().and_then(Branch::parse).is_some_and(|branch| branch.loop_key == loop_key) {
                Counters::count(&self.shared.counters.loops);
                return Err(Refusal::new(StatusCode::LOOP_DETECTED));
            }
        }
        Ok(())
    }

    /// The Max-Breadth that the request may use (RFC 5393 §5.3.3).
    fn breadth(&self, request: &Message) -> Result<u32, Refusal> {
        let max = self.settings.proxy.max_breadth.max(1);
        let given = request.max_breadth().map_err(|_| bad_header(HeaderName::MaxBreadth))?;
        Ok(given.map_or(max, |given| given.min(max)))
    }
}

/// RFC 3261 §16.3 step 1, as far as the proxy and its answers depend on it.
fn check_syntax(request: &Message) -> Result<(), Refusal> {
    request.check_essential().map_err(|error| match (error.kind(), request.method()) {
        // RFC 4475 §3.1.2.18: of an unknown method nobody knows what its CSeq should say.
        (HeaderErrorKind::MethodMismatch, Some(Method::Other(_))) => Refusal::new(StatusCode::NOT_IMPLEMENTED),
        _ => Refusal::new(error.status()).reason(error.reason()),
    })
}

/// RFC 3261 §16.3 step 5: we know no extension that a proxy must know.
fn check_proxy_require(request: &Message) -> Result<(), Refusal> {
    let mut unknown = String::new();
    for option in request.proxy_require() {
        if !unknown.is_empty() {
            unknown.push_str(", ");
        }
        unknown.push_str(option);
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::BAD_EXTENSION).header(HeaderName::Unsupported, unknown))
}

/// RFC 5630 §5.3: a `sips` request goes only to a phone that registered a `sips` Contact, over a secure flow.
fn is_secure(binding: &Binding) -> bool {
    let sips = binding.contact().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
    sips && binding.flow().is_some_and(|flow| flow.transport.is_secure())
}

fn not_secure() -> Refusal {
    Refusal::new(StatusCode::TEMPORARILY_UNAVAILABLE).reason("Not Reachable By sips")
}

fn bad_header(name: HeaderName) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST).reason(format!("Malformed {}", name.as_str()))
}
