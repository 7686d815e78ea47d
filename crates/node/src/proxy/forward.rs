//! Forwarding: one copy of the request per target, spliced out of what was received (RFC 3261 §16.6).
//!
//! Only what a proxy must change changes: the Request-URI (from the Contact), our Route values, Max-Forwards,
//! Max-Breadth, Record-Route, Via, credentials that were for us, and identities that nobody vouched for. Every other byte
//! goes on as it came.

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::digest::Credentials;
use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::message::{Edit, HeaderName, Message, Method, StatusCode};

use crate::flow_token::{FlowToken, Side, user_hash};
use crate::fork::{Branch, Context, Outcome, Target, split_breadth};
use crate::route::RoutePlan;
use crate::shard::{Core, Timer};
use crate::shared::Counters;

/// What one copy differs in.
struct Copy<'a> {
    target: &'a Target,
    flow: Flow,
    breadth: u32,
}

impl Core {
    /// Sends the request to the next group of targets: all of the highest q, in parallel. Targets that cannot be sent to
    /// end at once. An error means that nothing was sent and the request is to be refused.
    pub(crate) fn forward_group(
        &mut self,
        now: Instant,
        tx: ServerTx,
        context: &mut Context,
    ) -> Result<(), StatusCode> {
        let group = context.targets.next_group();
        // RFC 5393 §5.3.3: not enough for the parallel fork that is wanted.
        let Some(shares) = split_breadth(context.breadth, group.len()) else {
            Counters::count(&self.shared.counters.loops);
            return Err(StatusCode::MAX_BREADTH_EXCEEDED);
        };
        for (target, breadth) in group.into_iter().zip(shares) {
            let index = context.branches.len();
            let Some(flow) = target.flow() else {
                let mut branch = Branch::new(target, None);
                branch.outcome = Some(Outcome::Unreachable);
                context.branches.push(branch);
                continue;
            };
            let copy = Copy { target: &target, flow, breadth };
            let branch = self.endpoint.new_branch(context.loop_key);
            self.write_copy(now, context, &copy, &branch);
            let method = context.request.method().unwrap_or(&Method::Options);
            let client = self.endpoint.request(now, flow, method, &branch, &self.scratch.bytes[..]);
            Counters::count(&self.shared.counters.forwarded);
            self.clients.insert(client, (tx, index));
            context.branches.push(Branch::new(target, Some(client)));
            if context.invite {
                self.timers.arm(now, self.settings.proxy.timer_c, Timer::C(tx, index, 0));
            }
        }
        if context.invite && !context.targets.is_empty() {
            let ring = self.settings.proxy.serial_ring;
            self.timers.arm(now, ring, Timer::SerialRing(tx, context.branches.len()));
        }
        Ok(())
    }

    /// Writes one copy into the scratch buffer.
    fn write_copy(&mut self, now: Instant, context: &Context, copy: &Copy<'_>, branch: &str) {
        let request = &*context.request;
        let plan = &context.plan;
        let mut edit = Edit::new(request);

        // §16.6 step 2.
        match copy.target {
            Target::Binding(binding) => {
                edit.set_request_uri(without_headers(binding.contact()));
            }
            _ => {
                if let Some(uri) = &plan.request_uri {
                    edit.set_request_uri(uri);
                }
            }
        }
        edit_routes(&mut edit, request, plan);
        if let Some(binding) = copy.target.binding().filter(|binding| !binding.path().is_empty()) {
            edit.prepend(HeaderName::Route, binding.path()); // RFC 3327 §5.4
        }

        // §16.6 step 3, RFC 5393 §5.3.3.
        let mut number = itoa();
        let hops = match request.max_forwards() {
            Ok(Some(hops)) => hops.saturating_sub(1),
            _ => self.settings.proxy.max_forwards,
        };
        edit.set(HeaderName::MaxForwards, number.write(hops));
        edit.set(HeaderName::MaxBreadth, number.write(copy.breadth));

        // §16.6 step 4.
        if begins_dialog(request) {
            let call_id = request.call_id().unwrap_or("");
            let secure = has_sips(request);
            self.scratch.token.clear();
            let key = &self.shared.keys.flow_token;
            let callee = copy.target.binding().map_or(0, |binding| user_hash(key, binding.aor().as_str()));
            let a = Side { flow: context.flow, user: context.caller };
            let since = self.shared.clock.unix_seconds(now);
            let token = FlowToken { a, b: Side { flow: copy.flow, user: callee }, since };
            token.encode(&self.shared.keys.flow_token, call_id, &mut self.scratch.token);
            self.scratch.route.clear();
            let route = &mut self.scratch.route;
            self.names.write_record_route(&context.flow, &copy.flow, &self.scratch.token, secure, route);
            edit.prepend(HeaderName::RecordRoute, route);
        }

        remove_our_credentials(&mut edit, request, self.shared.users.realm());
        remove_unproved_identities(&mut edit, request);

        // §16.6 step 8.
        self.scratch.via.clear();
        self.names.write_via(&copy.flow, branch, &mut self.scratch.via);
        edit.prepend(HeaderName::Via, &self.scratch.via);
        if copy.flow.transport.is_reliable() {
            edit.ensure_content_length(); // RFC 3261 §18.3
        }

        self.scratch.bytes.clear();
        edit.write(&mut self.scratch.bytes);
    }
}

/// Takes our Route values off, and the one that a strict router had moved (RFC 3261 §16.4). If the next one is a strict
/// router, it takes the place of the Request-URI (§16.6 step 6).
pub(super) fn edit_routes<'m>(edit: &mut Edit<'m>, request: &'m Message, plan: &RoutePlan) {
    let strict_before = plan.request_uri.is_some();
    if plan.own == 0 && !strict_before && plan.foreign == 0 {
        return;
    }
    let next = request.routes().nth(plan.own).and_then(Result::ok).filter(|_| plan.foreign > 0);
    let strict_next = next.as_ref().and_then(|next| next.uri().ok()).is_some_and(|uri| uri.param("lr").is_none());
    if !strict_before && !strict_next {
        if plan.foreign == 0 {
            edit.remove_all(HeaderName::Route);
            return;
        }
        for _ in 0..plan.own {
            edit.remove_first_value(HeaderName::Route);
        }
        return;
    }
    // Rare: a strict router before or behind us. The remaining values are written anew.
    let mut left: Vec<String> = Vec::new();
    for route in request.routes().skip(plan.own).take(plan.foreign).flatten() {
        left.push(format!("<{}>", route.uri_text));
    }
    if strict_next && let Some(next) = next {
        let uri = plan.request_uri.as_deref().or(request.request_uri()).unwrap_or("");
        left.remove(0); // `strict_next` implies a next
        left.push(format!("<{uri}>"));
        edit.set_request_uri(next.uri_text);
    }
    edit.remove_all(HeaderName::Route);
    if !left.is_empty() {
        edit.prepend(HeaderName::Route, &left.join(", "));
    }
}

/// RFC 3261 §22.3: what was for our realm ends here; the rest is for proxies farther on.
///
/// Inside a dialog, where a token has let the request in, nobody has verified what it carries: the other phone could
/// use it in the sender's name.
pub(super) fn remove_our_credentials(edit: &mut Edit<'_>, request: &Message, realm: &str) {
    if request.header(HeaderName::ProxyAuthorization).is_some() {
        edit.remove_where(HeaderName::ProxyAuthorization, |value| {
            Credentials::parse(value).is_ok_and(|credentials| credentials.realm == realm)
        });
    }
}

/// RFC 3325 §5, of requests and responses: a phone is not trusted to assert who it is. From has been checked, this has
/// not, and phones show it instead. Remote-Party-ID is what it was called before.
pub(super) fn remove_unproved_identities(edit: &mut Edit<'_>, message: &Message) {
    for name in [HeaderName::PAssertedIdentity, HeaderName::RemotePartyId] {
        if message.header(name).is_some() {
            edit.remove_all(name);
        }
    }
}

/// Whether the request may begin a dialog, which we then stay in the path of.
fn begins_dialog(request: &Message) -> bool {
    let begins = matches!(request.method(), Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Notify));
    begins && request.to_tag().is_none()
}

fn has_sips(request: &Message) -> bool {
    request.request_uri().and_then(|uri| uri.get(..5)).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"))
}

/// A Contact URI as a Request-URI: without the header part (RFC 3261 §19.1.1, table 1).
fn without_headers(contact: &str) -> &str {
    let host = contact.find('@').unwrap_or(0);
    contact[host..].find('?').map_or(contact, |at| &contact[..host + at])
}

/// Decimal digits without a formatter.
fn itoa() -> Digits {
    Digits { bytes: [0; 10] }
}

struct Digits {
    bytes: [u8; 10],
}

impl Digits {
    fn write(&mut self, mut number: u32) -> &str {
        let mut at = self.bytes.len();
        loop {
            at -= 1;
            self.bytes[at] = b'0' + (number % 10) as u8; // one digit
            number /= 10;
            if number == 0 {
                break;
            }
        }
        std::str::from_utf8(&self.bytes[at..]).unwrap_or("0")
    }
}
