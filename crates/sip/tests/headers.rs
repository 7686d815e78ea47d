//! Typed header fields and bodies from the outside: values of any content are read back as they were written, and
//! texts close to the grammar break no promise of the fuzz targets.

#[path = "../../../fuzz/src/headers.rs"]
mod headers;
#[path = "../../../fuzz/src/multipart.rs"]
mod multipart;

use farspeak_sip::header::{
    Address, Allow, ContentDisposition, Disposition, Event, HistoryInfo, HistoryTarget, MediaType, OptionTags,
    ParamList, Reason, ReferTo, ReferredBy, Refresher, Replaces, RetryAfter, SessionExpires, SubscriptionReason,
    SubscriptionState, Warning,
};
use farspeak_sip::message::{HeaderName, Limits, Message, Method};
use proptest::prelude::*;

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

/// A token that no enum has a name for.
fn strange() -> impl Strategy<Value = String> {
    "x-[a-z0-9]{1,8}"
}

/// Text of one line, with all that needs quoting.
fn text() -> impl Strategy<Value = String> {
    "[ -~äé€]{0,20}"
}

fn params() -> impl Strategy<Value = ParamList> {
    prop::collection::vec(("p[a-z]{0,4}", prop::option::of(text())), 0..4)
        .prop_map(|pairs| pairs.iter().fold(ParamList::new(), |list, (name, value)| list.with(name, value.as_deref())))
}

fn address() -> impl Strategy<Value = Address> {
    ("sips?:[a-z0-9._-]{1,8}@[a-z][a-z0-9]{0,8}(:[1-9][0-9]{0,3})?(;[a-z]{1,4}=[a-z0-9]{1,4})?", text(), params())
        .prop_map(|(uri, name, params)| {
            let mut address = Address::new(&uri).unwrap().with_display_name(&name);
            address.params = params;
            address
        })
}

fn replaces() -> impl Strategy<Value = Replaces> {
    ("[A-Za-z0-9.?\"<>:{}-]{1,12}(@[a-z0-9.]{1,8})?", token(), token(), any::<bool>())
        .prop_map(|(call_id, to_tag, from_tag, early_only)| Replaces { call_id, to_tag, from_tag, early_only })
}

proptest! {
    // The fuzz targets go through many more.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn dialogs_in_uris_are_read_back(replaces in replaces()) {
        prop_assert_eq!(Replaces::parse(&replaces.to_string()), Ok(replaces.clone()));
        let refer = ReferTo::replacing("sip:bob@b;gr=1", &replaces).unwrap();
        let read = ReferTo::parse(&refer.to_string()).unwrap();
        prop_assert_eq!(read.replaces(), Ok(Some(replaces)));
    }

    #[test]
    fn referrers_are_read_back(address in address(), cid in prop::option::of("[ -~]{1,20}")) {
        let by = ReferredBy { address, cid };
        prop_assert_eq!(ReferredBy::parse(&by.to_string()), Ok(by));
    }

    #[test]
    fn subscriptions_are_read_back(
        package in "[a-z-]{1,8}(\\.winfo)?", id in prop::option::of(token()), params in params(),
        expires in prop::option::of(any::<u32>()), retry_after in prop::option::of(any::<u32>()), reason in strange(),
    ) {
        let event = Event { id, params: params.clone(), ..Event::new(&package) };
        prop_assert_eq!(Event::parse(&event.to_string()), Ok(event));
        let reason = SubscriptionReason::Other(reason);
        let state = SubscriptionState { expires, retry_after, params, ..SubscriptionState::terminated(reason) };
        prop_assert_eq!(SubscriptionState::parse(&state.to_string()), Ok(state));
    }

    #[test]
    fn reasons_and_warnings_are_read_back(
        protocol in token(), cause in prop::option::of(any::<u32>()), words in text(), params in params(), code in 100_u16..1000,
    ) {
        let reason = Reason { protocol, cause, text: Some(words.clone()), params: params.clone() };
        prop_assert_eq!(Reason::parse(&reason.to_string()), Ok(reason));
        let warning = Warning { code, agent: "isi.edu:5060".to_owned(), text: words.clone() };
        prop_assert_eq!(Warning::parse(&warning.to_string()), Ok(warning));
        let retry = RetryAfter { comment: Some(words), duration: Some(u32::from(code)), params, ..RetryAfter::new(7) };
        prop_assert_eq!(RetryAfter::parse(&retry.to_string()), Ok(retry));
    }

    #[test]
    fn histories_are_read_back(address in address(), index in "[1-9](\\.[1-9][0-9]?){0,4}", kind in 0..4) {
        let kinds = [HistoryTarget::Contact, HistoryTarget::Mapped, HistoryTarget::NoChange];
        let target = kinds.get(kind as usize).map(|kind| (*kind, "1.1".to_owned()));
        let entry = HistoryInfo { address, index, target };
        prop_assert_eq!(HistoryInfo::parse(&entry.to_string()), Ok(entry));
    }

    #[test]
    fn sets_are_read_back(names in prop::collection::vec(token(), 0..20), delta in any::<u32>(), refresher in any::<bool>()) {
        let list = names.join(", ");
        let tags = OptionTags::parse(HeaderName::Supported, &list).unwrap();
        prop_assert!(names.iter().all(|name| tags.contains_name(name)));
        prop_assert_eq!(OptionTags::parse(HeaderName::Supported, &tags.to_string()), Ok(tags));
        let allow: Allow = names.iter().map(|name| Method::parse(name).unwrap()).chain([Method::Bye]).collect();
        prop_assert_eq!(Allow::parse(&allow.to_string()), Ok(allow));
        let expires = SessionExpires { delta, refresher: refresher.then_some(Refresher::Uas) };
        prop_assert_eq!(SessionExpires::parse(&expires.to_string()), Ok(expires));
    }

    #[test]
    fn types_and_dispositions_are_read_back(top in token(), subtype in token(), params in params(), name in strange()) {
        let media = MediaType { top, subtype, params: params.clone() };
        prop_assert_eq!(MediaType::parse(&media.to_string()), Ok(media));
        let disposition = ContentDisposition { params, ..ContentDisposition::new(Disposition::Other(name)).optional() };
        prop_assert_eq!(ContentDisposition::parse(&disposition.to_string()), Ok(disposition));
    }

    #[test]
    fn texts_close_to_the_grammar_hold(
        text in "([a-z0-9]{1,4}|[;=,<>\"()?&%/. \\\\:@\r\n]|;(q|id|index|rc|info|expires|reason|cause|text|to-tag|from-tag|cid)=|sip:a@b|<sip:a@b\\?c=d>|SIP|%3B){0,16}"
    ) {
        headers::fuzz(text.as_bytes());
    }

    #[test]
    fn bodies_close_to_the_grammar_hold(
        text in "multipart/(mixed|alternative);boundary=b\n(--b\r\n|--b--|\r\n|c: application/sdp\r\n|Content-Disposition: x;handling=optional\r\n|[a-z:; -]{1,8}){0,24}"
    ) {
        multipart::fuzz(text.as_bytes());
    }
}

#[test]
fn a_field_that_stands_twice_is_an_error() {
    // RFC 3261 §7.3.1
    let text = "INVITE sip:a SIP/2.0\r\nx: 90\r\nSession-Expires: 1800\r\nRSeq: 1\r\n\r\n";
    let message = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(SessionExpires::of(&message).unwrap_err().reason(), "Repeated Session-Expires");
    assert_eq!(farspeak_sip::header::RSeq::of(&message), Ok(Some(farspeak_sip::header::RSeq(1))));
    assert_eq!(Replaces::of(&message), Ok(None));
}
