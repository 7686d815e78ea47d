//! Route preprocessing (RFC 3261 §16.4): which Route values are ours, what they say, and whether others remain.
//!
//! A Route value that names us and carries a valid [`FlowToken`] is one we wrote into Record-Route: it leads to the other
//! side of the dialog. One that names us without a token was configured in the phone as its outbound proxy: it is taken
//! off and says nothing. Values of others are followed only behind a token, because then the dialog put them there.
//!
//! `maddr` needs no treatment: a Request-URI is ours or not by its host alone, and we never send to a `maddr`.

use farspeak_sansio::Flow;
use farspeak_sip::message::{HeaderName, Message, NameAddr, Uri};

use crate::flow_token::FlowToken;
use crate::shared::Settings;

/// What the Route header field says about a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoutePlan {
    /// How many Route values, from the top, are ours and come off.
    pub own: usize,
    /// How many remain, put there by others.
    pub foreign: usize,
    /// The dialog's two sides, if one of our values (or the Request-URI, see `request_uri`) proves them.
    pub token: Option<FlowToken>,
    /// The request came through a strict router: this is its real Request-URI, and the last Route value comes off.
    pub request_uri: Option<String>,
}

/// A Route or Request-URI that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRoute(pub HeaderName);

impl RoutePlan {
    /// Reads the Route of `request`, which came over `flow`. `oldest` is when the oldest dialog began that may still go on,
    /// in seconds since 1970.
    ///
    /// A token counts only inside a dialog (with a To tag): outside one it would be a way past authentication.
    pub fn of(
        request: &Message,
        flow: &Flow,
        settings: &Settings,
        key: &[u8; 16],
        oldest: u32,
    ) -> Result<Self, BadRoute> {
        let mut plan = Self::default();
        if request.header(HeaderName::Route).is_none() {
            return Ok(plan);
        }
        let in_dialog = request.to_tag().is_some();
        let call_id = request.call_id().map_err(|_| BadRoute(HeaderName::CallId))?;
        let token_in = |uri: &Uri<'_>| {
            let user = uri.user.filter(|_| in_dialog)?;
            FlowToken::decode(key, call_id, user).filter(|token| token.since >= oldest)
        };

        // RFC 3261 §16.4, first paragraph: a strict router put our Record-Route URI where the Request-URI was.
        let uri = request.uri().map_err(|_| BadRoute(HeaderName::Route))?;
        let strict = token_in(&uri);
        let mut routes: Vec<NameAddr<'_>> = Vec::with_capacity(2);
        for route in request.routes() {
            routes.push(route.map_err(|_| BadRoute(HeaderName::Route))?);
        }
        if let Some(token) = strict {
            plan.token = Some(token);
            plan.request_uri = routes.pop().map(|last| last.uri_text.to_owned());
        }

        for route in &routes {
            let uri = route.uri().map_err(|_| BadRoute(HeaderName::Route))?;
            let token = token_in(&uri);
            if plan.foreign > 0 || (token.is_none() && !names_us(&uri, flow, settings)) {
                plan.foreign += 1;
                continue;
            }
            plan.own += 1;
            plan.token = plan.token.or(token);
        }
        Ok(plan)
    }
}

/// Whether `uri` names this node as a proxy: like [`Domain::is_ours`](crate::domain::Domain::is_ours), and the name we
/// give ourselves over TLS.
pub fn names_us(uri: &Uri<'_>, flow: &Flow, settings: &Settings) -> bool {
    let public_name = settings.public_name.as_deref();
    settings.domain.is_ours(uri, flow)
        || matches!((&uri.host, public_name), (farspeak_sip::message::Host::Name(host), Some(name)) if host.eq_ignore_ascii_case(name))
}
