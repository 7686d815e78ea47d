//! URI, name-addr, Via, parameters and lists on their own: no text makes them panic, and what they read holds together.

use farspeak_sip::message::{CSeq, HeaderName, Host, List, NameAddr, Params, Uri, Via, unquote};

/// Reads `data`, if it is text, as each of them.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    uri(text);
    if let Ok(address) = NameAddr::parse(HeaderName::Contact, text) {
        let _ = (address.display_name(), address.tag(), address.q(), address.expires());
        let _ = (address.instance(), address.reg_id());
        assert!(address.q().is_none_or(|q| q <= 1000));
        parameters(address.params);
        uri(address.uri_text);
        if address.uri().is_err() {
            return;
        }
        let written = match address.display {
            Some(display) => format!("{display} <{}>{}", address.uri_text, address.params.as_str()),
            None => format!("<{}>{}", address.uri_text, address.params.as_str()),
        };
        let read = NameAddr::parse(HeaderName::Contact, &written).expect("what was read can be written");
        assert_eq!((read.display, read.uri_text, read.params), (address.display, address.uri_text, address.params));
    }
    if let Ok(via) = Via::parse(text) {
        let _ = (via.branch(), via.received(), via.rport(), via.maddr(), via.ttl());
        parameters(via.params);
        let written = format!("SIP/2.0/{} {}{}", via.transport, via.sent_by, via.params.as_str());
        let read = Via::parse(&written).expect("what was read can be written");
        assert_eq!((read.sent_by, read.port, read.params), (via.sent_by, via.port, via.params));
    }
    if let Some(params) = Params::parse(text) {
        parameters(params);
    }
    let _ = CSeq::parse(text);
    let _ = unquote(text);
    assert!(List::new(text).all(|element| element.trim_matches([' ', '\t', '\r', '\n']) == element));
}

fn uri(text: &str) {
    let Ok(uri) = Uri::parse(text) else { return };
    assert_eq!(uri.text, text);
    assert!(uri.equivalent(&uri), "every URI is equivalent to itself");
    assert!(uri.user.is_none_or(|user| !user.is_empty()));
    for (name, _) in uri.params.iter() {
        assert!(uri.param(name).is_some());
    }
    let _ = (uri.user_unescaped(), uri.host_port(), uri.transport_param());
    if let Host::V4(_) | Host::V6(_) = uri.host {
        assert_eq!(Host::parse(&uri.host.to_string()), Some(uri.host));
    }
}

fn parameters(params: Params<'_>) {
    for (name, _) in params.iter() {
        assert!(!name.is_empty());
        assert_eq!(
            params.get(name),
            params.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        );
    }
    assert_eq!(Params::parse(params.as_str()), Some(params));
}
