//! RFC 4475: every torture message through framer and parser, and what each of them is about.

#[path = "data/torture.rs"]
mod torture;

use farspeak_sip::framer::{self, Frame, FramingError, StreamFramer};
use farspeak_sip::message::{
    Contacts, Edit, HeaderErrorKind, HeaderName, Limits, Message, Method, ParseErrorKind, Scheme, unquote,
};
use torture::{Case, RFC4475, RFC4475_UNUSED, Verdict};

/// What the codec makes of a datagram: a message, or the code that refuses it.
fn judge(bytes: &[u8]) -> Result<Message, u16> {
    let limits = Limits::default();
    let Frame::Message(bytes) = framer::datagram(bytes, &limits) else { return Err(400) };
    let message = Message::parse(bytes, &limits).map_err(|error| error.status().code())?;
    message.check_essential().map_err(|error| error.status().code())?;
    Ok(message)
}

fn check(case: &Case) {
    let outcome = judge(case.bytes);
    let is_response = case.bytes.starts_with(b"SIP/");
    match (case.parser, &outcome) {
        (Verdict::Accept | Verdict::Either(_), Ok(_)) => {}
        (Verdict::Reject(_), Err(_)) if is_response => {}
        (Verdict::Reject(codes) | Verdict::Either(codes), Err(code)) if codes.contains(code) => {}
        _ => panic!("{} ({}): {outcome:?}; {}", case.file, case.section, case.why),
    }
}

fn case(file: &str) -> &'static [u8] {
    RFC4475.iter().find(|case| case.file == file).unwrap().bytes
}

fn message(file: &str) -> Message {
    judge(case(file)).unwrap()
}

fn refused(file: &str) -> HeaderErrorKind {
    let limits = Limits::default();
    let Frame::Message(bytes) = framer::datagram(case(file), &limits) else { panic!("{file} has no boundary") };
    Message::parse(bytes, &limits).unwrap().check_essential().unwrap_err().kind()
}

#[test]
fn every_message_gets_the_verdict_of_the_rfc() {
    assert_eq!(RFC4475.len(), 49);
    RFC4475.iter().chain(RFC4475_UNUSED).for_each(check);
}

#[test]
fn what_is_accepted_is_written_and_edited_byte_for_byte() {
    for case in RFC4475 {
        let Ok(message) = judge(case.bytes) else { continue };
        let written = message.to_vec();
        assert!(case.bytes.starts_with(&written), "{}", case.file);
        assert_eq!(Edit::new(&message).to_vec(), written, "{}", case.file);
        assert_eq!(Message::parse(&written, &Limits::default()).unwrap(), message, "{}", case.file);
    }
}

#[test]
fn a_short_tortuous_invite_reads_as_it_should() {
    // RFC 4475 §3.1.1.1
    let message = message("wsinv.dat");
    assert_eq!(message.method(), Some(&Method::Invite));
    assert_eq!(message.uri().unwrap().param("unknownparam"), Some(None));
    let to = message.to().unwrap();
    assert_eq!((to.uri_text, to.tag()), ("sip:vivekg@chair-dnrc.example.com", Some("1918181833n")));
    let from = message.from().unwrap();
    assert_eq!(from.display.map(unquote).as_deref(), Some(r#"J Rosenberg \""#));
    assert_eq!((from.uri_text, from.tag()), ("sip:jdrosen@example.com", Some("98asjd8")));
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    let cseq = message.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
    let vias: Vec<_> = message.vias().map(Result::unwrap).collect();
    assert_eq!(vias.len(), 3);
    assert_eq!((vias[0].transport, vias[0].sent_by, vias[0].branch()), ("UDP", "192.0.2.2", Some("390skdjuw")));
    assert_eq!(
        (vias[1].transport, vias[1].sent_by, vias[1].branch()),
        ("TCP", "spindle.example.com", Some("z9hG4bK9ikj8"))
    );
    assert_eq!(
        (vias[2].transport, vias[2].sent_by, vias[2].branch()),
        ("UDP", "192.168.255.111", Some("z9hG4bK30239"))
    );
    assert_eq!(message.header(HeaderName::Subject), Some(""));
    assert_eq!(message.header_named("unknownheaderwithunusualvalue"), Some(";;,,;;,;"));
    assert_eq!(message.content_type(), Some("application/sdp"));
    let routes: Vec<_> = message.routes().map(|route| route.unwrap().uri_text).collect();
    assert_eq!(routes, ["sip:services.example.com;lr;unknownwith=value;unknown-no-value"]);
    let Ok(Contacts::List(mut contacts)) = message.contacts() else { panic!("no contacts") };
    let contact = contacts.next().unwrap().unwrap();
    assert_eq!(contact.display_name().as_deref(), Some(r#"Quoted string """#));
    assert_eq!(contact.param("newparam"), Some(Some("newvalue")));
    assert_eq!(contact.param("secondparam"), Some(None));
    assert_eq!(contact.q(), Some(330));
    assert!(contacts.next().is_none());
}

#[test]
fn the_whole_range_of_token_characters_is_allowed() {
    // RFC 4475 §3.1.1.2
    let message = message("intmeth.dat");
    assert_eq!(message.method().unwrap().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(message.to().unwrap().display_name().as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(message.from().unwrap().tag(), Some("_token~1'+`*%!-."));
    assert_eq!(message.via().unwrap().branch(), Some("z9hG4bK-.!%66*_+`'~"));
    assert!(
        message.fields().any(|(name, written, _)| name == HeaderName::Other && written == "extensionHeader-!.%*+_`'~")
    );
}

#[test]
fn escapes_are_read_where_they_are_escapes_and_only_once() {
    // RFC 4475 §3.1.1.3–5
    let message = message("esc01.dat");
    let uri = message.uri().unwrap();
    assert_eq!(uri.user, Some("sips%3Auser%40example.com"));
    assert_eq!(uri.user_unescaped(), "sips:user@example.com");
    let Ok(Contacts::List(mut contacts)) = message.contacts() else { panic!("no contacts") };
    let contact = contacts.next().unwrap().unwrap().uri().unwrap();
    let params: Vec<_> = contact.params.iter().collect();
    assert_eq!(params, [("%6C%72", None), ("n%61me", Some("v%61lue%25%34%31"))]);
    assert_eq!(contact.param("lr"), Some(None));
    assert_eq!(contact.param("name"), Some(Some("v%61lue%25%34%31")));

    let register = self::message("escnull.dat");
    assert_eq!(register.to().unwrap().uri().unwrap().user_unescaped(), "null-\0-null");
    let Ok(Contacts::List(contacts)) = register.contacts() else { panic!("no contacts") };
    let users: Vec<_> = contacts.map(|contact| contact.unwrap().uri().unwrap().user_unescaped().into_owned()).collect();
    assert_eq!(users, ["\0", "\0\0"]);

    let odd = self::message("esc02.dat");
    assert_eq!(odd.method().unwrap().as_str(), "RE%47IST%45R");
    assert_eq!(odd.to().unwrap().display, Some("\"%Z%45\""));
    assert_eq!(odd.values(HeaderName::Contact).count(), 2);
}

#[test]
fn noise_behind_a_datagram_is_not_part_of_it() {
    // RFC 4475 §3.1.1.8
    let message = message("dblreq.dat");
    assert_eq!(message.method(), Some(&Method::Register));
    assert!(message.body().is_empty());
    // On a stream both are requests; the second one promises a body that never comes in full.
    let mut framer = StreamFramer::new(Limits::default());
    framer.push(case("dblreq.dat"));
    assert!(matches!(framer.next(), Some(Frame::Message(_))));
}

#[test]
fn a_semicolon_before_the_at_sign_is_the_users() {
    // RFC 4475 §3.1.1.9
    let message = message("semiuri.dat");
    let uri = message.uri().unwrap();
    assert_eq!(uri.user_unescaped(), "user;par=u@example.net");
    assert_eq!(uri.params.iter().count(), 0);
}

#[test]
fn a_binary_body_arrives_as_it_was_sent() {
    // RFC 4475 §3.1.1.11
    let message = message("mpart01.dat");
    assert_eq!(Some(message.body().len()), message.content_length().unwrap());
    assert!(message.body().contains(&0));
    assert!(message.content_type().unwrap().starts_with("multipart/mixed"));
}

#[test]
fn reason_phrases_are_opaque() {
    // RFC 4475 §3.1.1.12–13
    assert!(message("unreason.dat").first_line().starts_with("SIP/2.0 200 = 2**3 * 5**2 "));
    assert_eq!(message("noreason.dat").first_line(), "SIP/2.0 100 ");
}

#[test]
fn refusals_name_the_culprit() {
    assert_eq!(refused("mismatch01.dat"), HeaderErrorKind::MethodMismatch);
    assert_eq!(refused("multi01.dat"), HeaderErrorKind::Repeated);
    assert_eq!(refused("insuf.dat"), HeaderErrorKind::Missing);
    assert_eq!(refused("quotbal.dat"), HeaderErrorKind::Malformed);
    let error = Message::parse(case("badvers.dat"), &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ParseErrorKind::Version);
    // RFC 4475 §3.1.2.16: it is answered, so what a response needs has to be readable.
    assert_eq!(error.reply_to().unwrap().to().unwrap().uri_text, "sip:t.watson@example.org");
}

#[test]
fn two_lengths_end_a_stream_with_a_400() {
    // RFC 4475 §3.3.9, §3.1.2.3
    for file in ["mcl01.dat", "ncl.dat"] {
        let mut framer = StreamFramer::new(Limits::default());
        framer.push(case(file));
        let Some(Frame::Broken { reply: Some(reply), reason }) = framer.next() else { panic!("{file} was framed") };
        assert_eq!(reason, FramingError::BadContentLength);
        assert_eq!(Message::parse(&reply, &Limits::default()).unwrap().status().unwrap(), 400);
        framer.push(b"OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n");
        assert_eq!(framer.next(), None);
    }
}

#[test]
fn schemes_that_nobody_knows_are_well_formed() {
    // RFC 4475 §3.3.2–4
    assert_eq!(message("unkscm.dat").uri().unwrap().scheme, Scheme::Other("nobodyKnowsThisScheme"));
    assert!(matches!(message("novelsc.dat").uri().unwrap().scheme, Scheme::Other("soap.beep")));
    assert_eq!(message("unksm2.dat").to().unwrap().uri().unwrap().scheme, Scheme::Other("isbn"));
}

#[test]
fn contact_parameters_belong_to_whom_they_belong() {
    // RFC 4475 §3.3.12–14
    let outside = message("cparam01.dat");
    let Ok(Contacts::List(mut contacts)) = outside.contacts() else { panic!("no contacts") };
    let contact = contacts.next().unwrap().unwrap();
    assert_eq!((contact.param("unknownparam"), contact.uri().unwrap().param("unknownparam")), (Some(None), None));
    let inside = message("cparam02.dat");
    let Ok(Contacts::List(mut contacts)) = inside.contacts() else { panic!("no contacts") };
    let contact = contacts.next().unwrap().unwrap();
    assert_eq!((contact.param("unknownparam"), contact.uri().unwrap().param("unknownparam")), (None, Some(None)));
    let escaped = message("regescrt.dat");
    let Ok(Contacts::List(mut contacts)) = escaped.contacts() else { panic!("no contacts") };
    assert_eq!(contacts.next().unwrap().unwrap().uri().unwrap().headers, Some("Route=%3Csip:sip.example.com%3E"));
}

#[test]
fn a_contact_that_needs_brackets_is_not_bound_without() {
    // RFC 4475 §3.1.2.13
    let message = message("regbadct.dat");
    let Ok(Contacts::List(mut contacts)) = message.contacts() else { panic!("no contacts") };
    assert!(contacts.next().unwrap().is_err());
}
