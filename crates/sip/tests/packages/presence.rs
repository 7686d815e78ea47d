//! Presence: RFC 3863 §4, RFC 4479 §5, RFC 4480 §4, and what a compositor makes of several publications.

use farspeak_sip::event::package::presence::{
    Activity, ActivityWord, Basic, Device, Note, Person, Presence, Publication, Tuple, compose,
};
use farspeak_sip::event::package::xml::Element;
use farspeak_sip::event::package::{BodyError, Timestamp};

use crate::{changed, example};

fn read(name: &str) -> Presence {
    Presence::parse(&example(name)).unwrap()
}

#[test]
fn prefixes_do_not_matter() {
    assert_eq!(read("rfc3863_01"), read("rfc3863_02")); // §4.2.2, the same document twice
}

#[test]
fn a_tuple_is_read_whole() {
    let presence = read("rfc3863_04"); // §4.3.1
    assert_eq!(presence.entity.as_deref(), Some("pres:someone@example.com"));
    let tuple = &presence.tuples[0];
    assert_eq!((tuple.id.as_str(), tuple.basic), ("bs35r9", Some(Basic::Open)));
    let contact = tuple.contact.as_ref().unwrap();
    assert_eq!((contact.uri.as_str(), contact.priority), ("im:someone@mobilecarrier.net", Some(800)));
    let languages: Vec<_> = tuple.notes.iter().map(|it| it.language.as_deref()).collect();
    assert_eq!(languages, [Some("en"), Some("fr")]);
    assert_eq!(tuple.timestamp, Timestamp::parse("2001-10-27T16:49:29Z"));
    let extensions: Vec<_> = tuple.status_extensions.iter().map(|it| (it.name.as_str(), it.text())).collect();
    assert_eq!(extensions, [("im", "busy".to_owned()), ("location", "home".to_owned())]);
    assert_eq!(presence.tuples[1].contact.as_ref().unwrap().priority, Some(1000));
    assert_eq!(presence.notes, [Note::new("I'll be in Tokyo next week")]);
    assert!(presence.is_open());
}

#[test]
fn extensions_pass_through() {
    let presence = read("rfc3863_06"); // §4.3.3
    let extension = &presence.tuples[0].extensions[0];
    assert!(extension.is("http://id.mycompany.com/presence/", "complexExtension"));
    let inner = extension.child("ex1").unwrap();
    assert_eq!(inner.attribute_in("urn:ietf:params:xml:ns:pidf", "mustUnderstand"), Some("1"));
    let again = Presence::parse(&presence.write()).unwrap();
    assert_eq!(again.tuples[0].extensions[0], *extension);
    assert_eq!(again.extensions[0].text(), "My extended presentity information");
}

#[test]
fn rich_presence_is_read() {
    let presence = read("rfc4480_01");
    assert_eq!(presence.tuples[0].device_ids, ["urn:device:0003ba4811e3"]);
    let person = &presence.persons[0];
    let activities = &person.activities[0];
    assert_eq!(activities.activities, [Activity::Word(ActivityWord::Away)]);
    assert_eq!(activities.from, Timestamp::parse("2005-05-30T07:00:00Z"));
    assert_eq!(activities.until, Timestamp::parse("2005-05-30T12:00:00Z"));
    assert_eq!(activities.notes, [Note::new("Far away")]);
    assert_eq!(person.notes, [Note::new("Scoring 120")]);
    assert_eq!(presence.notes_of(person), [Note::new("Scoring 120")]);
    assert_eq!(presence.notes_of(&Person::new("p2")), [Note::new("I'll be in Tokyo next week")]);
    let kept: Vec<_> = person.extensions.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(kept, ["class", "mood", "place-is", "place-type", "privacy", "sphere", "status-icon", "time-offset"]);
    let device = &presence.devices[0];
    assert_eq!(device.device_id.as_deref(), Some("urn:device:0003ba4811e3"));
    assert_eq!(device.extensions[0].attribute("idle-threshold"), Some("600"));
}

#[test]
fn what_is_not_valid_is_read_as_far_as_it_goes() {
    // RFC 4479 §5; its own example in §7.1 lacks the entity.
    let presence = read("rfc4479_01");
    assert_eq!(presence.entity, None);
    assert_eq!(presence.persons[0].activities[0].activities, [Activity::Word(ActivityWord::OnThePhone)]);
    let tuple = |from, to| Presence::parse(&changed("rfc3863_04", from, to)).map(|it| it.tuples[0].clone());
    assert_eq!(tuple("\"0.8\"", "\"1.8\"").unwrap().contact.unwrap().priority, None);
    assert_eq!(tuple("2001-10-27T16:49:29Z", "yesterday").unwrap().timestamp, None);
    assert_eq!(tuple("<basic>open</basic>", "<basic>ajar</basic>").unwrap().basic, None);
    assert_eq!(tuple("<tuple id=\"bs35r9\">", "<tuple>"), Err(BodyError::Missing("tuple@id")));
}

#[test]
fn priorities_have_three_digits() {
    for (text, priority) in [
        ("0", Some(0)),
        ("0.021", Some(21)),
        ("0.5", Some(500)),
        ("1.00", Some(1000)),
        ("1.", Some(1000)),
        ("1.001", None),
    ] {
        let read = Presence::parse(&changed("rfc3863_02", "0.8", text)).unwrap();
        assert_eq!(read.tuples[0].contact.as_ref().unwrap().priority, priority, "{text}");
    }
    for text in ["", "-1", "0.1234", ".5", "2", "0,5", "0.+5"] {
        let read = Presence::parse(&changed("rfc3863_02", "0.8", text)).unwrap();
        assert_eq!(read.tuples[0].contact.as_ref().unwrap().priority, None, "{text}");
    }
}

fn published(tuples: &[(&str, Basic)], person: Option<(&str, &str)>) -> Presence {
    let mut presence = Presence::new("sip:alice@example.com");
    presence.tuples = tuples.iter().map(|(id, basic)| Tuple::new(*id, *basic)).collect();
    presence.persons.extend(person.map(|(id, note)| Person { notes: vec![Note::new(note)], ..Person::new(id) }));
    presence
}

fn of(documents: &[(&Presence, u64)]) -> Presence {
    let publications: Vec<_> = documents.iter().map(|&(document, changed)| Publication { document, changed }).collect();
    compose("sip:alice@example.com", &publications)
}

#[test]
fn services_of_all_phones_add_up_under_ids_of_their_own() {
    let desk = published(&[("t1", Basic::Open), ("t2", Basic::Closed)], None);
    let soft = published(&[("t1", Basic::Closed), ("t1-2", Basic::Open)], None);
    let composed = of(&[(&desk, 1), (&soft, 2)]);
    let tuples: Vec<_> = composed.tuples.iter().map(|it| (it.id.as_str(), it.basic.unwrap())).collect();
    assert_eq!(tuples, [("t1", Basic::Open), ("t2", Basic::Closed), ("t1-2", Basic::Closed), ("t1-2-2", Basic::Open)]);
    assert_eq!(of(&[(&desk, 3), (&soft, 2)]).tuples, composed.tuples, "ids do not depend on who changed last");
    assert_eq!(Presence::parse(&composed.write()).unwrap(), composed);
}

#[test]
fn the_same_tuple_twice_is_one() {
    let desk = published(&[("t1", Basic::Open)], None);
    assert_eq!(of(&[(&desk, 1), (&desk.clone(), 2)]).tuples.len(), 1);
}

#[test]
fn the_person_is_the_latest_publications() {
    let desk = published(&[], Some(("p", "in the office")));
    let mobile = published(&[("p", Basic::Open)], Some(("p", "on the train")));
    let silent = published(&[("t", Basic::Open)], None);
    let person = |documents: &[(&Presence, u64)]| {
        let composed = of(documents);
        assert_eq!(composed.persons.len(), 1);
        (composed.persons[0].id.clone(), composed.persons[0].notes[0].text.clone())
    };
    assert_eq!(person(&[(&desk, 5), (&mobile, 9), (&silent, 12)]), ("p-2".to_owned(), "on the train".to_owned()));
    assert_eq!(person(&[(&desk, 10), (&mobile, 9)]), ("p-2".to_owned(), "in the office".to_owned()));
}

#[test]
fn a_device_appears_once() {
    let device = |id: &str, note: &str| Device {
        id: id.to_owned(),
        device_id: Some("urn:x-mac:0003ba4811e3".to_owned()),
        notes: vec![Note::new(note)],
        timestamp: None,
        extensions: vec![],
    };
    let mut one = published(&[], None);
    let mut other = one.clone();
    one.devices.push(device("d1", "idle"));
    other.devices.push(device("d7", "in use"));
    let notes = |composed: Presence| composed.devices.iter().map(|it| it.notes[0].text.clone()).collect::<Vec<_>>();
    assert_eq!(notes(of(&[(&one, 1), (&other, 2)])), ["in use"]);
    assert_eq!(notes(of(&[(&one, 2), (&other, 1)])), ["idle"]);
}

#[test]
fn composing_is_bounded() {
    let mut many = Presence::new("sip:alice@example.com");
    for number in 0..700 {
        many.tuples.push(Tuple { notes: vec![Note::new(number.to_string())], ..Tuple::new("t", Basic::Open) });
        many.extensions.push(Element::new("urn:x", "x").with("n", number.to_string()));
    }
    let composed = of(&[(&many, 1), (&many.clone(), 2)]);
    assert_eq!((composed.tuples.len(), composed.extensions.len()), (512, 512));
    let ids: std::collections::BTreeSet<_> = composed.tuples.iter().map(|it| &it.id).collect();
    assert_eq!(ids.len(), 512);
}

#[test]
fn nobody_publishes_and_nothing_is_told() {
    let composed = of(&[]);
    assert_eq!(composed, Presence::new("sip:alice@example.com"));
    assert!(!composed.is_open());
}
