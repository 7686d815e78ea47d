//! `sips`: a promise that every hop is encrypted (RFC 5630, RFC 3261 §26.2.2).
//!
//! A `sips` target leaves over TLS with a `sips` Contact or not at all, and who is called by one answers with one. Nobody
//! changes `sips` into `sip`.

use std::fmt::Write as _;
use std::sync::Arc;

use farspeak_sansio::{Flow, Transport};

use crate::dialog::Opening;
use crate::header::Warning;
use crate::message::{Contacts, HeaderName, Message, NameAddr, Scheme, Uri};
use crate::session::VerbError;

/// Which requests a user agent takes, by the scheme of the Request-URI (RFC 5630 §5.1.2). Others get a 480.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SipsPolicy {
    /// Both: `sips` where the caller asks for it.
    #[default]
    BestEffort,
    /// `sips` alone, for who promises that nobody listens. Warning 381.
    Always,
    /// No `sips`, where the last hop cannot keep its promise. Warning 380.
    Never,
}

impl SipsPolicy {
    /// The Warning of the 480 that a request outside any dialog gets, if it does.
    pub(super) fn refuses(self, request: &Message, flow: &Flow) -> Option<Warning> {
        let sips = request.uri().is_ok_and(|uri| uri.scheme == Scheme::Sips);
        let (code, text) = match (self, sips) {
            (Self::Always, false) => (381, "SIPS Required"),
            (Self::Never, true) => (380, "SIPS Not Allowed"),
            _ => return None,
        };
        Some(Warning { code, agent: flow.local.to_string(), text: text.to_owned() })
    }
}

/// Whether a request may open a dialog so (RFC 5630 §5.1.1): `sip` Routes become `sips` ones.
pub(crate) fn secured(mut opening: Opening) -> Result<Opening, VerbError> {
    let target = Uri::parse(&opening.target).map_err(|_| VerbError::Malformed)?;
    let first_hop = opening.route_set.first().is_some_and(|route| is_sips(HeaderName::Route, route));
    if (target.scheme == Scheme::Sips || first_hop) && !opening.flow.transport.is_secure() {
        return Err(VerbError::NotSecure);
    }
    if target.scheme != Scheme::Sips {
        return Ok(opening);
    }
    if !is_sips(HeaderName::Contact, &opening.contact) {
        return Err(VerbError::NotSecure);
    }
    for route in &mut opening.route_set {
        if !is_sips(HeaderName::Route, route) {
            *route = route.replacen("sip:", "sips:", 1).into();
        }
    }
    Ok(opening)
}

/// Whether a request to that URI may take that flow.
pub(super) fn permits(uri: &Uri<'_>, flow: &Flow) -> bool {
    uri.scheme != Scheme::Sips || flow.transport.is_secure()
}

/// Our Contact value towards whoever sent a request: the user that it is for, at the address that it came to; `sips` if
/// the sender used it (RFC 3261 §12.1.1). Over TLS the public name stands for the address, if there is one.
pub(super) fn contact_for(request: &Message, flow: &Flow, public_name: Option<&str>) -> Arc<str> {
    let sips = demands_sips(request);
    let mut text = String::from(if sips { "<sips:" } else { "<sip:" });
    if let Some(user) = request.uri().ok().and_then(|uri| uri.user) {
        let _ = write!(text, "{user}@");
    }
    let _ = match public_name {
        Some(name) if flow.transport.is_secure() => write!(text, "{name}:{}", flow.local.port()),
        _ => write!(text, "{}", flow.local),
    };
    // RFC 5630 §5.1.2: no `transport=tls` where the scheme says it.
    let transport = match flow.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls if sips => "",
        Transport::Tls => ";transport=tls",
        // RFC 7118 §5.2: `ws`, over TLS or not.
        Transport::Ws | Transport::Wss => ";transport=ws",
    };
    text.push_str(transport);
    text.push('>');
    text.into()
}

/// Request-URI, the topmost Record-Route, or Contact if there is no Record-Route (RFC 3261 §12.1.1).
fn demands_sips(request: &Message) -> bool {
    let to_sips = request.uri().is_ok_and(|uri| uri.scheme == Scheme::Sips);
    let via_sips = match (request.values(HeaderName::RecordRoute).next(), request.contacts()) {
        (Some(route), _) => is_sips(HeaderName::RecordRoute, route),
        (None, Ok(Contacts::List(mut contacts))) => {
            contacts.next().is_some_and(|contact| contact.is_ok_and(|contact| has_sips(&contact)))
        }
        _ => false,
    };
    to_sips || via_sips
}

/// Whether a request to a `sips` URI names a Contact that is none: 400 (RFC 5630 §5.1.2).
pub(crate) fn is_inconsistent(request: &Message) -> bool {
    let to_sips = request.uri().is_ok_and(|uri| uri.scheme == Scheme::Sips);
    let sip = |contact: &NameAddr<'_>| contact.uri().is_ok_and(|uri| uri.scheme == Scheme::Sip);
    let from_sip = match request.contacts() {
        Ok(Contacts::List(mut contacts)) => contacts.any(|contact| contact.is_ok_and(|contact| sip(&contact))),
        _ => false,
    };
    to_sips && from_sip
}

fn is_sips(name: HeaderName, value: &str) -> bool {
    NameAddr::parse(name, value).is_ok_and(|address| has_sips(&address))
}

fn has_sips(address: &NameAddr<'_>) -> bool {
    address.uri().is_ok_and(|uri| uri.scheme == Scheme::Sips)
}
