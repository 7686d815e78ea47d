//! Route sets, for loose routers and for strict ones of RFC 2543 (RFC 3261 §12.2.1.1).

use std::sync::Arc;

use super::DialogError;
use crate::message::{HeaderName, Message, NameAddr};

/// Most elements of a route set. Nobody's call passes more proxies than Max-Forwards allows.
const MAX_ROUTES: usize = 70;

/// The values of Record-Route in the order in which they stand.
pub(super) fn record_route(message: &Message) -> Result<Vec<Arc<str>>, DialogError> {
    let mut routes = Vec::new();
    for value in message.values(HeaderName::RecordRoute) {
        if routes.len() == MAX_ROUTES || NameAddr::parse(HeaderName::RecordRoute, value).is_err() {
            return Err(DialogError::Malformed);
        }
        routes.push(value.into());
    }
    Ok(routes)
}

/// The Request-URI, the Route values, and the URI that goes below them if the first hop routes strictly.
pub(super) fn plan<'a>(target: &'a str, set: &'a [Arc<str>]) -> (&'a str, &'a [Arc<str>], Option<&'a str>) {
    let Some(first) = set.first().and_then(|value| NameAddr::parse(HeaderName::Route, value).ok()) else {
        return (target, set, None);
    };
    match first.uri() {
        Ok(uri) if uri.param("lr").is_none() => (first.uri_text, &set[1..], Some(target)),
        _ => (target, set, None),
    }
}
