//! Typed header fields: no text makes their parsers panic, and what they read they write on one line and read back.

use std::fmt::{Debug, Display};

use farspeak_sansio::SplitMix64;
use farspeak_sip::digest::{Answerer, Attempt, Credentials, Login};
use farspeak_sip::header::{
    Accept, Address, Allow, AllowEvents, ContentDisposition, ContentId, Diversion, Embedded, EmbeddedUse, Event,
    FlowTimer, Geolocation, GeolocationRouting, Gruus, HistoryInfo, Identity, InfoPackage, Join, MAX_EMBEDDED,
    MediaType, MinSe, OptionTags, PAssertedIdentity, PPreferredIdentity, Path, Privacy, RAck, RSeq, Rate, Reason,
    RecvInfo, ReferSub, ReferTo, ReferredBy, Replaces, RetryAfter, ServiceRoute, SessionExpires, SipETag, SipIfMatch,
    SubscriptionState, SuppressIfMatch, TargetDialog, Warning, escape_header, gruu_instance,
};
use farspeak_sip::message::{HeaderError, HeaderName, Limits, Message, Method, NameAddr, Uri};

/// Reads `data`, if it is text, as the value of each header field.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    macro_rules! round_trips {
        ($($type:ident)*) => { $(round_trip(text, $type::parse);)* };
    }
    round_trips! {
        Accept Allow AllowEvents ContentDisposition ContentId Diversion Event FlowTimer Geolocation GeolocationRouting
        HistoryInfo Identity InfoPackage Join MediaType MinSe PAssertedIdentity PPreferredIdentity Path Privacy RAck RSeq
        Reason RecvInfo ReferSub ReferTo ReferredBy Replaces RetryAfter ServiceRoute SessionExpires SipETag SipIfMatch
        SubscriptionState SuppressIfMatch TargetDialog Warning
    }
    round_trip(text, |text| Address::parse(HeaderName::ReplyTo, text));
    round_trip(text, |text| OptionTags::parse(HeaderName::Supported, text));
    if let Some(rate) = Rate::parse(text) {
        assert_eq!(Rate::parse(&rate.to_string()), Some(rate));
        let _ = rate.interval();
    }
    if let Ok(state) = SubscriptionState::parse(text) {
        assert_eq!(state.resubscribe().is_some(), state.is_terminated());
    }
    if let Ok(entry) = HistoryInfo::parse(text) {
        let _ = (entry.reasons(), entry.is_private());
    }
    if let Ok(refer) = ReferTo::parse(text) {
        let _ = (refer.method(), refer.replaces());
    }
    if let Ok(contact) = NameAddr::parse(HeaderName::Contact, text) {
        let gruus = Gruus::of(&contact);
        assert!(gruus.public.is_none_or(|uri| Uri::parse(&uri).is_ok()));
    }
    if let Ok(uri) = Uri::parse(text) {
        embedded(&uri);
    }
    let escaped = format!("sip:a?Subject={}", escape_header(text));
    let uri = Uri::parse(&escaped).expect("what is escaped may stand in a URI");
    if !text.contains(['\r', '\n', '\0', '%']) {
        let read = Embedded::of(&uri).expect("one line of text");
        assert_eq!(read.value(HeaderName::Subject), Some(text.trim_matches([' ', '\t'])));
    }
    challenge(text);
}

fn round_trip<T: PartialEq + Debug + Display>(text: &str, parse: impl Fn(&str) -> Result<T, HeaderError>) {
    let Ok(value) = parse(text) else { return };
    let written = value.to_string();
    assert!(!written.contains(['\r', '\n']), "{written:?} is one line");
    assert_eq!(parse(&written).as_ref(), Ok(&value), "{written:?}");
}

fn embedded(uri: &Uri<'_>) {
    let _ = (Replaces::of_uri(uri), gruu_instance(uri));
    let Some(read) = Embedded::of(uri) else { return };
    let target = Uri::parse(&read.target).expect("what is left is a URI");
    assert!(target.headers.is_none() && target.param("method").is_none());
    assert!(read.fields.len() <= MAX_EMBEDDED);
    for field in read.honored() {
        assert!(field.use_of() == EmbeddedUse::Honor && !field.value.contains(['\r', '\n']));
        assert!(!matches!(field.name, HeaderName::Other | HeaderName::From | HeaderName::Route | HeaderName::Contact));
    }
}

/// Whatever a server asks, the answer is one header field that a server can read, and its number has an end.
fn challenge(text: &str) {
    let head =
        format!("SIP/2.0 401 X\r\nCall-ID: c\r\nWWW-Authenticate: {text}\r\nProxy-Authenticate: Digest {text}\r\n\r\n");
    let Ok(response) = Message::parse(head.as_bytes(), &Limits::default()) else { return };
    let mut answerer = Answerer::new(vec![Login::password("alice", "secret"), Login::token("r", "t")]);
    let mut attempt = Attempt::default();
    let answered = (0..100).take_while(|_| answerer.challenged(&mut attempt, &response).is_ok()).count();
    assert!(answered <= 4, "two realms at most, twice each at most");
    for (name, value) in answerer.authorize(&mut SplitMix64::new(1), "c", &Method::Register, "sip:a") {
        assert!(matches!(name, HeaderName::Authorization | HeaderName::ProxyAuthorization));
        assert!(!value.contains(['\r', '\n']) && !value.contains("secret"));
        assert!(value == "Bearer t" || Credentials::parse(&value).is_ok(), "{value}");
    }
}
