//! Loop detection by the second part of our branches (RFC 5393 §4.2, which replaces RFC 3261 §16.3 step 4).
//!
//! The second part is a keyed hash of all that decides where a request goes: Request-URI, Route, and what tells one
//! transaction from another (Call-ID, From tag, CSeq number). The method is left out, as the RFC demands. If the request
//! comes back with the same hash in one of its Via values, nothing has changed since: it is a loop. If something has,
//! it is a spiral and goes on.

use std::hash::Hasher;

use farspeak_sip::message::{HeaderName, Message};
use siphasher::sip::SipHasher24;

/// The second part of the branches under which `request`, as received, is forwarded.
pub fn loop_key(key: &[u8; 16], request: &Message) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    let mut add = |text: &str| {
        hasher.write(text.as_bytes());
        hasher.write_u8(0xff); // no UTF-8 text holds it: the parts cannot run into each other
    };
    add(request.request_uri().unwrap_or(""));
    for route in request.headers(HeaderName::Route) {
        add(route);
    }
    add(request.call_id().unwrap_or(""));
    add(request.from_tag().unwrap_or(""));
    hasher.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use farspeak_sip::message::Limits;

    use super::*;

    fn key(method: &str, uri: &str, more: &str) -> u64 {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\n\
             Call-ID: c\r\nCSeq: 7 {method}\r\n{more}Content-Length: 0\r\n\r\n"
        );
        loop_key(&[1; 16], &Message::parse(text.as_bytes(), &Limits::default()).expect("a request"))
    }

    #[test]
    fn varies_with_what_decides_the_way() {
        let plain = key("INVITE", "sip:b@b", "");
        assert_ne!(plain, key("INVITE", "sip:c@b", ""));
        assert_ne!(plain, key("INVITE", "sip:b@b", "Route: <sip:r;lr>\r\n"));
        assert_ne!(
            key("INVITE", "sip:b@b", "Route: <sip:r;lr>\r\n"),
            key("INVITE", "sip:b@b", "Route: <sip:s;lr>\r\n")
        );
    }

    #[test]
    fn does_not_vary_with_the_method_or_the_hops() {
        let plain = key("INVITE", "sip:b@b", "");
        assert_eq!(plain, key("CANCEL", "sip:b@b", ""));
        assert_eq!(plain, key("INVITE", "sip:b@b", "Max-Forwards: 3\r\n"));
    }
}
