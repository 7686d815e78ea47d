//! Bodies of event packages: no bytes make them panic or grow beyond their bounds, and what they read they can write.

use farspeak_sip::event::package::conference::{ConferenceInfo, ConferenceTable};
use farspeak_sip::event::package::dialog::{DialogInfo, DialogTable};
use farspeak_sip::event::package::message_summary::MessageSummary;
use farspeak_sip::event::package::presence::{Presence, Publication, compose};
use farspeak_sip::event::package::reg::{RegInfo, RegistrationTable};
use farspeak_sip::event::package::watcher::{WatcherInfo, WatcherTable};
use farspeak_sip::event::package::xml::{Element, Limits};

/// Reads `data` as each body, applies it to a table, and writes it again. A blank line parts two documents, of which the
/// second is applied after the first.
pub fn fuzz(data: &[u8]) {
    summary(data);
    let parts: Vec<&[u8]> = match data.windows(2).position(|it| it == b"\n\n") {
        Some(at) => vec![&data[..at], &data[at + 2..]],
        None => vec![data],
    };
    let roots: Vec<Element> = parts.into_iter().filter_map(element).collect();
    let presences: Vec<Presence> = roots.iter().filter_map(|root| Presence::read(root).ok()).collect();
    for presence in &presences {
        assert_eq!(Presence::parse(&presence.write()).as_ref(), Ok(presence));
    }
    let publications: Vec<_> = presences.iter().map(|document| Publication { document, changed: 1 }).collect();
    let composed = compose("sip:a@b", &publications);
    assert_eq!(Presence::parse(&composed.write()).as_ref(), Ok(&composed));
    tables(&roots);
}

fn element(data: &[u8]) -> Option<Element> {
    let element = Element::parse(data, &Limits::default()).ok()?;
    assert_eq!(Element::parse(&element.to_bytes(), &Limits::default()).as_ref(), Ok(&element));
    Some(element)
}

fn tables(roots: &[Element]) {
    const ROWS: usize = 8;
    let mut registrations = RegistrationTable::new(ROWS);
    let mut dialogs = DialogTable::new(ROWS);
    let mut conference = ConferenceTable::new(ROWS);
    let mut watchers = WatcherTable::new(ROWS);
    for root in roots {
        if let Ok(read) = RegInfo::read(root) {
            assert_eq!(RegInfo::parse(&read.write()).as_ref(), Ok(&read));
            let _ = registrations.apply(read);
            let rows: usize = registrations.registrations().iter().map(|it| 1 + it.contacts.len()).sum();
            assert!(rows <= ROWS);
        }
        if let Ok(read) = DialogInfo::read(root) {
            assert_eq!(DialogInfo::parse(&read.write()).as_ref(), Ok(&read));
            let _ = dialogs.apply(read);
            assert!(dialogs.dialogs().len() <= ROWS);
        }
        if let Ok(read) = ConferenceInfo::read(root) {
            assert_eq!(ConferenceInfo::parse(&read.write()).as_ref(), Ok(&read));
            let _ = conference.apply(read);
            if let Some(known) = conference.conference() {
                let written = String::from_utf8(known.write()).expect("it is text");
                assert!(!written.contains("state=\"partial\""), "a table knows full state alone");
                assert_eq!(ConferenceInfo::parse(written.as_bytes()).as_ref(), Ok(known));
            }
        }
        if let Ok(read) = WatcherInfo::read(root) {
            assert_eq!(WatcherInfo::parse(&read.write()).as_ref(), Ok(&read));
            let _ = watchers.apply(read);
            let rows: usize = watchers.lists().iter().map(|it| 1 + it.watchers.len()).sum();
            assert!(rows <= ROWS);
        }
    }
}

fn summary(data: &[u8]) {
    let Ok(read) = MessageSummary::parse(data) else { return };
    assert_eq!(MessageSummary::parse(&read.write()).as_ref(), Ok(&read));
    let merged = MessageSummary::merge([&read, &read]);
    assert_eq!(merged.waiting, read.waiting);
}
