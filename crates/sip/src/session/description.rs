//! Which bodies are session descriptions: those with the disposition `session`, which is SDP's default (RFC 3261 §20.11).

use crate::header::{ContentDisposition, Disposition, MediaType};
use crate::message::Message;
use crate::user_agent::Extra;

/// Whether a message carries an offer, an answer, or what looks like one.
pub(super) fn is_described(message: &Message) -> bool {
    !message.body().is_empty() && is_session(message.content_type(), ContentDisposition::of(message).ok().flatten())
}

/// The same of what the application wants to send.
pub(super) fn describes(extra: &Extra) -> bool {
    extra.get_body().is_some_and(|body| {
        let disposition = body.disposition.as_deref().and_then(|text| ContentDisposition::parse(text).ok());
        is_session(Some(&body.content_type), disposition)
    })
}

fn is_session(content_type: Option<&str>, disposition: Option<ContentDisposition>) -> bool {
    let media_type = content_type.and_then(|text| MediaType::parse(text).ok());
    let disposition = disposition.unwrap_or_else(|| ContentDisposition::default_of(media_type.as_ref()));
    disposition.disposition == Disposition::Session
}
