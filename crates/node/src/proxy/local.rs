//! What the node answers by itself: refusals, 100, and OPTIONS about itself (RFC 3261 §11.2, §16.3).
//!
//! No answer names the software or tells why in more words than its receiver needs.

use std::borrow::Cow;
use std::hash::Hasher;

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::message::{HeaderName, Message, Method, ResponseBuilder, StatusCode};
use siphasher::sip::SipHasher24;

use crate::answer::Answer;
use crate::events::ALLOW_EVENTS;
use crate::shard::Core;
use crate::shared::Counters;
use crate::throttle::Gate;

/// A final answer of our own.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    reason: Option<Cow<'static, str>>,
    headers: Vec<(HeaderName, String)>,
    body: Option<(&'static str, String)>,
    silent: bool,
    kept: bool,
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        let headers = answer.headers.into_iter().map(|(name, value)| (HeaderName::parse(name), value)).collect();
        Self { reason: answer.reason.map(Cow::Borrowed), headers, ..Self::new(answer.status) }
    }
}

impl Refusal {
    /// With the status' own reason phrase and no further header field.
    pub(crate) fn new(status: StatusCode) -> Self {
        Self { status, reason: None, headers: Vec::new(), body: None, silent: false, kept: false }
    }

    /// A table of ours is full.
    pub(crate) fn overloaded() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE).header(HeaderName::RetryAfter, "10".to_owned())
    }

    /// No answer at all: the source is cut off.
    pub(crate) fn silence() -> Self {
        Self { silent: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE) }
    }

    /// With a transaction that repeats it and absorbs the request's retransmissions: for those who have been let in.
    ///
    /// Anybody else is answered once and forgotten. The answer is not repeated to a source that may be forged, and no
    /// flood fills our tables; who has missed it repeats the request (RFC 3261 §26.3.2.4, §8.2.7).
    pub(crate) fn kept(self) -> Self {
        Self { kept: true, ..self }
    }

    /// Whether the transaction stays after the answer.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether there is to be no answer.
    pub(crate) fn is_silence(&self) -> bool {
        self.silent
    }

    /// With this reason phrase. It becomes one line of plain ASCII.
    pub(crate) fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        let plain = |character: char| character == ' ' || character.is_ascii_graphic();
        self.reason = Some(if reason.chars().all(plain) {
            reason
        } else {
            Cow::Owned(reason.chars().map(|it| if plain(it) { it } else { '?' }).collect())
        });
        self
    }

    /// With this header field.
    pub(crate) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a body of this type.
    pub(crate) fn body(mut self, content_type: &'static str, body: String) -> Self {
        self.body = Some((content_type, body));
        self
    }
}

/// The methods that the node itself answers.
const ALLOW: &str = "OPTIONS, REGISTER";
/// The same, with what it answers for its users (RFC 3903 §7).
const ALLOW_IN_ALL: &str = "OPTIONS, REGISTER, SUBSCRIBE, PUBLISH";

impl Core {
    /// Answers the request finally.
    pub(crate) fn refuse(&mut self, now: Instant, tx: ServerTx, request: &Message, refusal: Refusal) {
        if refusal.silent {
            Counters::count(&self.shared.counters.dropped);
            return self.endpoint.abandon(tx);
        }
        if matches!(refusal.status.code(), 401 | 403 | 407) {
            Counters::count(&self.shared.counters.refused);
        }
        let headers = refusal.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let body = refusal.body.as_ref().map(|(content_type, body)| (*content_type, body.as_bytes()));
        self.answer_in_full(now, tx, request, (refusal.status, refusal.reason.as_deref()), headers, body);
    }

    /// Answers the request with a response of our own.
    pub(crate) fn answer<'h>(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Message,
        status: StatusCode,
        reason: Option<&str>,
        headers: impl IntoIterator<Item = (HeaderName, &'h str)>,
    ) {
        self.answer_in_full(now, tx, request, (status, reason), headers, None);
    }

    fn answer_in_full<'h>(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Message,
        (status, reason): (StatusCode, Option<&str>),
        headers: impl IntoIterator<Item = (HeaderName, &'h str)>,
        body: Option<(&str, &[u8])>,
    ) {
        let mut builder = ResponseBuilder::new(request, status);
        if let Some(reason) = reason {
            builder = builder.reason(reason);
        }
        let tag = (status != StatusCode::TRYING && request.to_tag().is_none()).then(|| self.local_tag(request));
        if let Some(tag) = &tag {
            builder = builder.to_tag(tag);
        }
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        if let Some((content_type, body)) = body {
            builder = builder.body(content_type, body);
        }
        self.scratch.bytes.clear();
        builder.write(&mut self.scratch.bytes);
        self.endpoint.respond(now, tx, status, &self.scratch.bytes[..]);
    }

    /// 100, at once (RFC 3261 §16.2; for INVITE alone, RFC 4320 §4.1).
    pub(crate) fn trying(&mut self, now: Instant, tx: ServerTx, request: &Message) {
        self.answer(now, tx, request, StatusCode::TRYING, None, []);
    }

    /// A CANCEL for nothing that we know (RFC 3261 §9.2).
    pub(crate) fn refuse_cancel(&mut self, now: Instant, tx: ServerTx, request: &Message) {
        self.refuse(now, tx, request, Refusal::new(StatusCode::CALL_DOES_NOT_EXIST));
        self.endpoint.abandon(tx);
    }

    /// A request for this node itself that is not a REGISTER.
    ///
    /// It needs no credentials: what it tells is the same for everybody, and nothing about anybody.
    pub(crate) fn answer_for_node(
        &mut self,
        now: Instant,
        tx: ServerTx,
        flow: &Flow,
        request: &Message,
    ) -> Result<(), Refusal> {
        match self.shared.throttle.admit(now, flow, false) {
            Gate::Open => {}
            Gate::Closed => return Err(Refusal::silence()),
            Gate::Slow { .. } => return Err(Refusal::overloaded()),
        }
        match request.method() {
            Some(Method::Options) => {}
            // RFC 3261 §21.5.2: nobody here would know it.
            Some(Method::Other(_)) => return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED)),
            // RFC 3261 §12.2.2: we are in no dialog.
            _ if request.to_tag().is_some() => return Err(Refusal::new(StatusCode::CALL_DOES_NOT_EXIST)),
            _ => {
                let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED);
                return Err(refusal.header(HeaderName::Allow, ALLOW.to_owned()));
            }
        }
        // RFC 3261 §8.2.2.3: as a server we know no extension that a request could require.
        let required: Vec<&str> = request.require().filter(|it| !SUPPORTED_TAGS.contains(it)).collect();
        if !required.is_empty() {
            return Err(Refusal::new(StatusCode::BAD_EXTENSION).header(HeaderName::Unsupported, required.join(", ")));
        }
        self.answer_options(now, tx, request);
        Ok(())
    }

    /// 200 to an OPTIONS, with what is true of this node (RFC 3261 §11.2). It reads no body, so it accepts none.
    pub(crate) fn answer_options(&mut self, now: Instant, tx: ServerTx, request: &Message) {
        let headers = [
            (HeaderName::Allow, ALLOW_IN_ALL),
            (HeaderName::AllowEvents, ALLOW_EVENTS),
            (HeaderName::Supported, SUPPORTED),
            (HeaderName::Accept, ""),
            (HeaderName::AcceptEncoding, "identity"),
        ];
        self.answer(now, tx, request, StatusCode::OK, None, headers);
    }

    /// A To tag for responses of our own: unforeseeable, and the same for a retransmission of the same request.
    pub(super) fn local_tag(&self, request: &Message) -> String {
        let mut hasher = SipHasher24::new_with_key(&self.shared.keys.branch);
        let via = request.via().ok();
        let branch = via.as_ref().and_then(|via| via.branch());
        for part in [branch, request.call_id().ok(), request.from_tag(), Some("to tag")] {
            hasher.write(part.unwrap_or("").as_bytes());
            hasher.write_u8(0xff);
        }
        format!("{:016x}", hasher.finish())
    }
}

/// What the registrar side of the node supports.
const SUPPORTED: &str = "path, outbound";
const SUPPORTED_TAGS: [&str; 2] = ["path", "outbound"];
