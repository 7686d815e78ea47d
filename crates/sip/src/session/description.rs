//! Which bodies are session descriptions: those with the disposition `session`, which is SDP's default (RFC 3261 §20.11),
//! as a whole or as a part (RFC 5621).

use crate::body::{MAX_DEPTH, Part};
use crate::header::{ContentDisposition, Disposition, MediaType};
use crate::message::{HeaderName, Message};
use crate::user_agent::{Body, Extra};

/// Whether a message carries an offer, an answer, or what looks like one.
pub(super) fn is_described(message: &Message) -> bool {
    if message.body().is_empty() {
        return false;
    }
    let is_plain =
        message.content_type().is_some_and(is_sdp) && message.header(HeaderName::ContentDisposition).is_none();
    is_plain || Part::of(message).ok().flatten().is_some_and(|body| holds_description(&body, 0))
}

/// The same of what the application wants to send.
pub(super) fn describes(extra: &Extra) -> bool {
    let Some(body) = extra.get_body() else { return false };
    if body.disposition.is_none() && is_sdp(&body.content_type) {
        return true;
    }
    let Ok(content_type) = MediaType::parse(&body.content_type) else { return false };
    let disposition = body.disposition.as_deref().and_then(|text| ContentDisposition::parse(text).ok());
    let disposition = disposition.unwrap_or_else(|| ContentDisposition::default_of(Some(&content_type)));
    let (content_id, encoding, fields) = (None, None, Vec::new());
    holds_description(&Part { content_type, disposition, content_id, encoding, fields, content: &body.bytes }, 0)
}

fn is_sdp(content_type: &str) -> bool {
    content_type.eq_ignore_ascii_case("application/sdp")
}

fn holds_description(part: &Part<'_>, depth: usize) -> bool {
    if part.content_type.is_multipart() {
        let parts = if depth < MAX_DEPTH { part.parts().unwrap_or_default() } else { Vec::new() };
        return parts.iter().any(|part| holds_description(part, depth + 1));
    }
    part.disposition.disposition == Disposition::Session
}

/// The session description of ours that holds, for a re-INVITE that shall change nothing (RFC 4028 §7.4).
#[derive(Debug, Default)]
pub(super) struct LocalDescription {
    agreed: Option<Body>,
    /// The last that left, and how many offers had been answered before.
    sent: Option<(Body, u32)>,
}

impl LocalDescription {
    /// An offer or answer leaves, before which so many offers had been answered.
    pub fn sent(&mut self, extra: &Extra, completed: u32) {
        if let Some(body) = extra.get_body().filter(|_| describes(extra)) {
            self.agree(completed);
            self.sent = Some((body.clone(), completed));
        }
    }

    /// What holds after so many offers were answered.
    pub fn agreed(&mut self, completed: u32) -> Option<Body> {
        self.agree(completed);
        self.agreed.clone()
    }

    fn agree(&mut self, completed: u32) {
        if let Some((body, _)) = self.sent.take_if(|(_, before)| *before < completed) {
            self.agreed = Some(body);
        }
    }
}
