//! Writing down where a request came from: `received` and `rport` in the top Via (RFC 3261 §18.2.1, RFC 3581 §4).

use std::fmt::Write;
use std::net::SocketAddr;

use super::{HeaderName, Message, lex};

impl Message {
    /// Adds `received` if the top Via's host is not `source`'s address or if it asks for `rport`, and answers `rport`.
    /// What the peer wrote there itself is replaced. Does nothing if there is no Via that can be read.
    pub fn stamp_source(&mut self, source: SocketAddr) {
        let Some(index) = self.first.get(HeaderName::Via) else { return };
        let field = self.fields[index];
        let list = &self.head[field.value()];
        let element = lex::trim_end(&list[..lex::element_end(list)]);
        let Ok(via) = super::Via::parse(element) else { return };
        let address = source.ip().to_canonical();
        let asked = via.rport().is_some();
        let host_matches = via.host.address().is_some_and(|host| host.to_canonical() == address);
        if host_matches && !asked && via.received().is_none() && via.param("received").is_none() {
            return;
        }
        let mut stamped = String::with_capacity(element.len() + STAMP);
        stamped.push_str(&element[..element.len() - via.params.as_str().len()]);
        let mut answered = false;
        for (name, value) in via.params.iter() {
            if name.eq_ignore_ascii_case("received") || (name.eq_ignore_ascii_case("rport") && answered) {
                continue;
            }
            stamped.push(';');
            stamped.push_str(name);
            if name.eq_ignore_ascii_case("rport") {
                answered = true;
                let _infallible = write!(stamped, "={}", source.port());
            } else if let Some(value) = value {
                stamped.push('=');
                stamped.push_str(value);
            }
        }
        if asked || !host_matches {
            // RFC 3581 §4: with rport, received stands there even if it says the same as sent-by.
            // RFC 3261 §25.1 writes IPv6 here without brackets.
            let _infallible = write!(stamped, ";received={address}");
        }
        let start = field.value_start as usize;
        self.splice(index, start, element.len(), &stamped);
    }

    /// Puts `text` in place of `length` bytes of the value of the field at `index`, and moves what follows.
    fn splice(&mut self, index: usize, start: usize, length: usize, text: &str) {
        let moved = |offset: u32| (offset as usize - length + text.len()) as u32;
        // Not `replace_range`: that goes byte by byte.
        self.head.drain(start..start + length);
        self.head.insert_str(start, text);
        let field = &mut self.fields[index];
        field.value_end = moved(field.value_end);
        field.end = moved(field.end);
        for field in &mut self.fields[index + 1..] {
            field.start = moved(field.start);
            field.name_end = moved(field.name_end);
            field.value_start = moved(field.value_start);
            field.value_end = moved(field.value_end);
            field.end = moved(field.end);
        }
    }
}

/// Room for what a stamp adds: `;received=` with the longest address, `=` with the longest port.
pub(super) const STAMP: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    fn stamped(via: &str, source: &str) -> String {
        let text = format!("OPTIONS sip:a SIP/2.0\r\nv: {via}\r\nVia: SIP/2.0/UDP second\r\nSubject: kept\r\n\r\nbody");
        let mut message = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
        message.stamp_source(source.parse().unwrap());
        assert_eq!(Message::parse(&message.to_vec(), &Limits::default()).unwrap(), message);
        assert_eq!(message.header(HeaderName::Subject), Some("kept"));
        message.header(HeaderName::Via).unwrap().to_owned()
    }

    #[test]
    fn received_is_added_where_sent_by_is_not_the_source() {
        // RFC 3261 §18.2.1
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1:5060;branch=1", "192.0.2.1:9"),
            "SIP/2.0/UDP 192.0.2.1:5060;branch=1"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP 10.0.0.1;branch=1", "192.0.2.1:9"),
            "SIP/2.0/UDP 10.0.0.1;branch=1;received=192.0.2.1"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP host, SIP/2.0/UDP b", "[2001:db8::1]:9"),
            "SIP/2.0/UDP host;received=2001:db8::1, SIP/2.0/UDP b"
        );
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1", "[::ffff:192.0.2.1]:9"), "SIP/2.0/UDP 192.0.2.1");
    }

    #[test]
    fn rport_is_answered_and_brings_received() {
        // RFC 3581 §4
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1;rport;branch=1", "192.0.2.1:4711"),
            "SIP/2.0/UDP 192.0.2.1;rport=4711;branch=1;received=192.0.2.1"
        );
    }

    #[test]
    fn what_the_peer_claims_about_itself_is_replaced() {
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.1;received=10.9.9.9;rport=1;rport", "192.0.2.7:5"),
            "SIP/2.0/UDP 192.0.2.1;rport=5;received=192.0.2.7"
        );
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1;received=10.9.9.9", "192.0.2.1:5"), "SIP/2.0/UDP 192.0.2.1");
    }
}
