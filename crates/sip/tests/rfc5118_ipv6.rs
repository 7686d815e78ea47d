//! RFC 5118: the IPv6 torture messages through framer and parser.

#[path = "data/torture.rs"]
mod torture;

use farspeak_sip::framer::{self, Frame};
use farspeak_sip::message::{Host, Limits, Message};
use torture::{RFC4475, RFC4475_UNUSED, RFC5118, Verdict};

fn read(file: &str) -> Message {
    let case = RFC5118.iter().find(|case| case.file == file).unwrap();
    let limits = Limits::default();
    let Frame::Message(bytes) = framer::datagram(case.bytes, &limits) else { panic!("{file} has no boundary") };
    Message::parse(bytes, &limits).unwrap()
}

#[test]
fn every_message_gets_the_verdict_of_the_rfc() {
    assert_eq!((RFC5118.len(), RFC4475.len(), RFC4475_UNUSED.len()), (12, 49, 1));
    for case in RFC5118 {
        let outcome = read(case.file).check_essential();
        match case.parser {
            Verdict::Accept => assert_eq!(outcome, Ok(()), "{} ({}): {}", case.file, case.section, case.why),
            Verdict::Reject(codes) => assert!(codes.contains(&outcome.unwrap_err().status().code()), "{}", case.file),
            Verdict::Either(_) => unreachable!("RFC 5118 leaves nothing open"),
        }
    }
}

#[test]
fn bare_line_feeds_are_not_wire_form() {
    let bytes = include_bytes!("data/torture/rfc5118/ipv6-good");
    assert!(Message::parse(bytes, &Limits::default()).is_err());
}

#[test]
fn a_port_inside_the_brackets_is_part_of_the_address() {
    // RFC 5118 §4.3–4
    let ambiguous = read("port-ambiguous");
    let uri = ambiguous.uri().unwrap();
    assert_eq!((uri.host, uri.port), (Host::V6("2001:db8::10:5070".parse().unwrap()), None));
    let unambiguous = read("port-unambiguous");
    let uri = unambiguous.uri().unwrap();
    assert_eq!((uri.host, uri.port), (Host::V6("2001:db8::10".parse().unwrap()), Some(5070)));
}

#[test]
fn received_reads_with_and_without_brackets() {
    // RFC 5118 §4.5
    for file in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        assert_eq!(read(file).via().unwrap().received(), Some("2001:db8::9:255".parse().unwrap()), "{file}");
    }
}

#[test]
fn a_third_colon_before_ipv4_is_overlooked() {
    // RFC 5118 §4.10
    let (bug, correct) = (read("ipv6-bug-abnf-3-colons"), read("ipv6-correct-abnf-2-colons"));
    assert_eq!(bug.uri().unwrap().host, correct.uri().unwrap().host);
    assert!(bug.uri().unwrap().equivalent(&correct.uri().unwrap()));
}
