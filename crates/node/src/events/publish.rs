//! PUBLISH: users say how they are, each of their phones for itself (RFC 3903 §6).

use std::sync::Arc;

use std::time::Duration;

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::event::package::presence::Presence;
use farspeak_sip::event::package::xml::{Element, Limits};
use farspeak_sip::header::{MediaType, SipIfMatch};
use farspeak_sip::message::{HeaderError, HeaderName, Message, StatusCode};

use super::EventsConfig;
use super::publications::{Refused, Wish};
use crate::domain::Aor;
use crate::proxy::Refusal;
use crate::shard::Core;
use crate::shared::Counters;

/// How long a publication holds whose PUBLISH does not say (RFC 3903 §6 step 4).
const DEFAULT_EXPIRES: u32 = 3600;

impl Core {
    /// A PUBLISH of presence for an address of ours.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        tx: ServerTx,
        flow: Flow,
        request: &Arc<Message>,
        aor: &Aor,
    ) -> Result<(), Refusal> {
        let user = self.prove_user(now, &flow, request)?;
        // Nobody speaks for another; who exists does not show.
        if *aor != self.settings.domain.aor_of_user(&user.name) {
            return Err(Refusal::new(StatusCode::FORBIDDEN).kept());
        }
        self.publish_own(now, tx, request, aor).map_err(Refusal::kept)
    }

    fn publish_own(&mut self, now: Instant, tx: ServerTx, request: &Message, aor: &Aor) -> Result<(), Refusal> {
        let config = &self.settings.events;
        check_require(request)?;
        let if_match = SipIfMatch::of(request).map_err(malformed)?.map(|tag| tag.0);
        let expires = granted(config, request)?;
        let body = document(config, request)?;
        let expires_at = (expires > 0).then(|| now + Duration::from_secs(expires.into()));
        let wish = Wish { if_match, body, expires_at };
        let published = self.shared.publications.publish(config, now, aor, wish).map_err(|refused| match refused {
            Refused::NoMatch => Refusal::new(StatusCode::CONDITIONAL_REQUEST_FAILED),
            Refused::Nothing => Refusal::new(StatusCode::BAD_REQUEST).reason("Nothing Is Published"),
            Refused::Full => {
                Counters::count(&self.shared.counters.overloaded);
                Refusal::overloaded()
            }
        })?;
        if let Some(at) = expires_at {
            self.notifier.deadlines.insert((at, aor.clone()));
        }
        Counters::count(&self.shared.counters.publications);
        let expires = expires.to_string();
        let headers = [(HeaderName::Expires, expires.as_str()), (HeaderName::SipETag, published.etag.as_str())];
        self.answer(now, tx, request, StatusCode::OK, None, headers);
        if published.changed {
            self.presence_changed(aor);
        }
        Ok(())
    }
}

/// RFC 3261 §8.2.2.3: as a compositor we know no extension that a request could require.
fn check_require(request: &Message) -> Result<(), Refusal> {
    let required: Vec<&str> = request.require().collect();
    if required.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::BAD_EXTENSION).header(HeaderName::Unsupported, required.join(", ")))
}

/// RFC 3903 §6 step 4.
fn granted(config: &EventsConfig, request: &Message) -> Result<u32, Refusal> {
    let wanted = request.expires().map_err(malformed)?.unwrap_or(DEFAULT_EXPIRES);
    let least = config.min_seconds();
    if wanted > 0 && wanted < least {
        return Err(Refusal::new(StatusCode::INTERVAL_TOO_BRIEF).header(HeaderName::MinExpires, least.to_string()));
    }
    Ok(wanted.min(config.max_seconds()))
}

/// The document in the body, looked at; `None` without a body. RFC 3903 §6 step 5.
fn document(config: &EventsConfig, request: &Message) -> Result<Option<Arc<[u8]>>, Refusal> {
    let body = request.body();
    if body.is_empty() {
        return Ok(None);
    }
    let encoding = request.header(HeaderName::ContentEncoding).unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        return Err(refusal.header(HeaderName::AcceptEncoding, "identity".to_owned()));
    }
    if !MediaType::of(request).map_err(malformed)?.is_some_and(|media| media.is(Presence::MIME)) {
        let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        return Err(refusal.header(HeaderName::Accept, Presence::MIME.to_owned()));
    }
    if body.len() > config.max_publication {
        return Err(Refusal::new(StatusCode::REQUEST_ENTITY_TOO_LARGE));
    }
    let mut limits = Limits::default();
    (limits.bytes, limits.elements) = (config.max_publication, MAX_ELEMENTS);
    let readable = Element::parse(body, &limits).and_then(|root| Presence::read(&root));
    readable.map_err(|error| Refusal::new(error.status()).reason("Presence Document Cannot Be Read"))?;
    Ok(Some(body.into()))
}

fn malformed(error: HeaderError) -> Refusal {
    Refusal::new(error.status()).reason(error.reason())
}

/// Most elements of a published document: a phone's has some twenty.
const MAX_ELEMENTS: usize = 512;
