//! What of a message passes to the other leg: everything that is not about the leg itself (RFC 7092 §3.1.3, RFC 5853
//! §3.1).
//!
//! Names and values stay as they came, in their order; a name written in its compact form is written out. From, To,
//! Date and the body, which RFC 8224 has under signature, are the same on both sides but for the tags.

use farspeak_sip::header::OptionTag;
use farspeak_sip::message::{HeaderName, Message};
use farspeak_sip::user_agent::{Body, Extra};

/// What belongs to a leg: its dialog, its transaction, its hop, its transfers. Each leg has its own.
const OF_THE_LEG: [HeaderName; 32] = [
    // Each leg takes what the session layer takes; how it goes on is its own business.
    HeaderName::Allow,
    HeaderName::CallId,
    HeaderName::Contact,
    HeaderName::ContentDisposition,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::CSeq,
    HeaderName::Event,
    HeaderName::FlowTimer,
    HeaderName::From,
    // Call-IDs and tags of the other side's; Replaces is mapped by `dialogs`.
    HeaderName::InReplyTo,
    HeaderName::Join,
    HeaderName::MaxForwards,
    HeaderName::MinSe,
    HeaderName::Path,
    HeaderName::ProxyRequire,
    HeaderName::RAck,
    HeaderName::RecordRoute,
    HeaderName::ReferSub,
    HeaderName::ReferTo,
    HeaderName::Replaces,
    HeaderName::Require,
    HeaderName::Route,
    HeaderName::RSeq,
    HeaderName::ServiceRoute,
    HeaderName::SessionExpires,
    HeaderName::SubscriptionState,
    HeaderName::Supported,
    HeaderName::TargetDialog,
    HeaderName::Timestamp,
    HeaderName::To,
    HeaderName::Via,
];

/// The header fields and the body of a request, for the other leg.
pub(super) fn of_request(request: &Message) -> Extra {
    let hops = request.max_forwards().ok().flatten().map(|hops| hops.saturating_sub(1));
    let extra = options(request, pass(request), false);
    match hops {
        Some(hops) => extra.header(HeaderName::MaxForwards, hops.to_string()),
        None => extra,
    }
}

/// The same of the INVITE that begins a call. Reliable responses are wanted if the caller wants them and has made the
/// offer: otherwise each phone that rings would make one in its 180, and the caller can answer one alone.
pub(super) fn of_invite(request: &Message) -> Extra {
    let reliable = supports_100rel(request) && !request.body().is_empty();
    let hops = request.max_forwards().ok().flatten().unwrap_or(70).saturating_sub(1);
    options(request, pass(request), reliable).header(HeaderName::MaxForwards, hops.to_string())
}

/// The header fields and the body of a response, for the other leg.
pub(super) fn of_response(response: &Message) -> Extra {
    let mut extra = options(response, pass(response), true);
    let status = response.status().map_or(0, |status| status.code());
    // Where to go instead is what these are about (RFC 3261 §21.3, §21.4.23).
    if matches!(status, 300..=399 | 485) {
        for contact in response.headers(HeaderName::Contact) {
            extra = extra.header(HeaderName::Contact, contact);
        }
    }
    extra
}

/// The body of a message, if it has one.
pub(super) fn body_of(message: &Message) -> Option<Body> {
    if message.body().is_empty() {
        return None;
    }
    let mut body = Body::new(message.content_type().unwrap_or("application/octet-stream"), message.body());
    body.disposition = message.header(HeaderName::ContentDisposition).map(Into::into);
    Some(body)
}

/// Whether the sender of a request takes reliable provisional responses (RFC 3262 §3).
pub(super) fn supports_100rel(message: &Message) -> bool {
    let mut tags = message.supported().chain(message.require());
    tags.any(|tag| tag.eq_ignore_ascii_case(OptionTag::Rel100.as_str()))
}

fn pass(message: &Message) -> Extra {
    let mut extra = Extra::new();
    for (name, written, value) in message.fields() {
        extra = match name {
            HeaderName::Other => extra.header_named(written, value),
            _ if OF_THE_LEG.contains(&name) => extra,
            _ => extra.header(name, value),
        };
    }
    match body_of(message) {
        Some(body) => extra.body(body),
        None => extra,
    }
}

/// Option tags are the other end's, but for those that each leg settles for itself: reliable responses, session timers,
/// changes of identity, and what is about registrations.
fn options(message: &Message, extra: Extra, reliable: bool) -> Extra {
    const OURS: [&str; 6] = ["100rel", "timer", "from-change", "outbound", "path", "gruu"];
    let passed = |name| {
        let tags = message.tokens(name).filter(|tag| !OURS.iter().any(|ours| tag.eq_ignore_ascii_case(ours)));
        tags.collect::<Vec<_>>()
    };
    let mut supported = passed(HeaderName::Supported);
    supported.extend([OptionTag::Timer.as_str(), OptionTag::FromChange.as_str()]);
    if reliable && supports_100rel(message) {
        supported.push(OptionTag::Rel100.as_str());
    }
    let extra = extra.header(HeaderName::Supported, supported.join(", "));
    match passed(HeaderName::Require) {
        required if required.is_empty() => extra,
        required => extra.header(HeaderName::Require, required.join(", ")),
    }
}
