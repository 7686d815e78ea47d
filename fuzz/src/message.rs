//! The message parser: no bytes make it panic, what it reads it writes as it was, and what is edited still reads.

use std::net::SocketAddr;

use farspeak_sip::message::{Contacts, Edit, HeaderName, Limits, Message, ResponseBuilder, StatusCode};

/// Reads `data` as one message.
pub fn fuzz(data: &[u8]) {
    let limits = Limits::default();
    let message = match Message::parse(data, &limits) {
        Ok(message) => message,
        Err(error) => {
            if let Some(request) = error.reply_to() {
                answer(request);
            }
            return;
        }
    };
    assert_eq!(message.to_vec(), data, "written as it was read");
    assert_eq!(Edit::new(&message).to_vec(), data, "an edit without changes changes nothing");
    read_everything(&message);
    if message.is_request() && message.check_essential().is_ok() {
        answer(&message);
        stamp(&message);
    }
    edit(&message);
}

/// Every typed accessor.
fn read_everything(message: &Message) {
    assert_eq!(message.is_request(), message.method().is_some());
    assert_ne!(message.is_request(), message.status().is_some());
    let _ = (message.request_uri(), message.uri(), message.first_line(), message.head().len(), message.body().len());
    for (name, written, value) in message.fields() {
        assert_eq!(HeaderName::parse(written), name);
        assert!(message.header_named(written).is_some());
        assert!(message.headers_named(written).any(|candidate| candidate == value));
        for address in message.name_addrs(name).flatten() {
            let _ = (address.uri(), address.display_name());
        }
        let _ = message.tokens(name).count();
        let (lists, addresses) = (message.values(name).count(), message.name_addrs(name).count());
        assert_eq!(lists, addresses, "two ways to find the commas");
    }
    assert_eq!(message.vias().count(), message.values(HeaderName::Via).count());
    for via in message.vias().flatten() {
        let _ = (via.branch(), via.rfc3261_branch(), via.received(), via.rport(), via.maddr(), via.ttl());
        let _ = via.params.iter().count();
    }
    let _ = (message.via(), message.from(), message.to(), message.from_tag(), message.to_tag());
    let _ = (message.call_id(), message.cseq(), message.max_forwards(), message.max_breadth(), message.expires());
    let _ = (message.min_expires(), message.content_type(), message.content_length());
    if let Ok(Contacts::List(contacts)) = message.contacts() {
        for contact in contacts.flatten() {
            let _ = (contact.q(), contact.expires(), contact.instance(), contact.reg_id(), contact.tag());
            if let Ok(uri) = contact.uri() {
                let _ = (uri.user_unescaped(), uri.host_port(), uri.transport_param());
                assert!(uri.equivalent(&uri));
            }
        }
    }
    let _ = message.routes().chain(message.record_routes()).chain(message.paths()).count();
    let _ = message.require().chain(message.proxy_require()).chain(message.supported()).count();
    let _ = message.authorization().chain(message.proxy_authorization()).count();
}

fn unbounded() -> Limits {
    Limits { max_message: usize::MAX, max_header_bytes: usize::MAX, max_headers: usize::MAX, max_line: usize::MAX }
}

/// A response to what is well formed is well formed, and goes back the same way.
fn answer(request: &Message) {
    let bytes = ResponseBuilder::new(request, StatusCode::NOT_FOUND).to_tag("fuzz").to_vec();
    let response = Message::parse(&bytes, &unbounded()).expect("our own response reads");
    response.check_essential().expect("and is well formed");
    assert!(request.values(HeaderName::Via).eq(response.values(HeaderName::Via)));
    assert!(response.to_tag().is_some());
}

/// Stamping changes the top Via alone, and to what it should.
fn stamp(request: &Message) {
    for source in ["192.0.2.9:4711", "[2001:db8::9]:4711"] {
        let source: SocketAddr = source.parse().expect("it is an address");
        let mut stamped = request.clone();
        stamped.stamp_source(source);
        let read = Message::parse(&stamped.to_vec(), &unbounded()).expect("a stamped request reads");
        assert_eq!(read, stamped, "its table of lines is right");
        let via = read.via().expect("its Via too");
        assert!(via.received().is_none_or(|received| received == source.ip()));
        assert!(via.rport().is_none_or(|port| port == Some(source.port())));
        assert!(read.values(HeaderName::Via).skip(1).eq(request.values(HeaderName::Via).skip(1)));
        assert_eq!(read.body(), request.body());
    }
}

/// What a proxy does to a message leaves one that reads, with the rest as it was.
fn edit(message: &Message) {
    let mut edit = Edit::new(message);
    edit.set_request_uri("sip:fuzz@192.0.2.1")
        .remove_first_value(HeaderName::Route)
        .replace_first_value(HeaderName::RecordRoute, "<sip:192.0.2.1;lr>")
        .prepend(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKfuzz")
        .set(HeaderName::MaxForwards, "69")
        .remove_all(HeaderName::ProxyAuthorization)
        .append_named("X-Fuzz", "a\r\nX-Smuggled: b")
        .ensure_content_length();
    let read = Message::parse(&edit.to_vec(), &unbounded()).expect("an edited message reads");
    assert_eq!(read.body(), message.body());
    assert_eq!(read.header_named("X-Smuggled").is_some(), message.header_named("X-Smuggled").is_some());
    let untouched = |name: HeaderName| {
        let touched = [
            HeaderName::Route,
            HeaderName::RecordRoute,
            HeaderName::Via,
            HeaderName::MaxForwards,
            HeaderName::ProxyAuthorization,
            HeaderName::ContentLength,
            HeaderName::Other,
        ];
        !touched.contains(&name)
    };
    let rest = |message: &Message| -> Vec<String> {
        message
            .fields()
            .filter(|(name, ..)| untouched(*name))
            .map(|(_, written, value)| format!("{written}:{value}"))
            .collect()
    };
    assert_eq!(rest(&read), rest(message), "the others keep order and spelling");
}
