//! Every XML document in the RFCs of the packages is read, and what is written of it reads back the same.

use farspeak_sip::event::package::BodyError;
use farspeak_sip::event::package::conference::ConferenceInfo;
use farspeak_sip::event::package::dialog::DialogInfo;
use farspeak_sip::event::package::presence::Presence;
use farspeak_sip::event::package::reg::RegInfo;
use farspeak_sip::event::package::watcher::WatcherInfo;

use crate::example;

macro_rules! reads_back {
    ($type:ty, $name:expr) => {{
        let name: String = $name;
        let read = <$type>::parse(&example(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = read.write();
        let again = <$type>::parse(&written);
        assert_eq!(again.as_ref(), Ok(&read), "{name}: {}", String::from_utf8_lossy(&written));
    }};
}

#[test]
fn reginfo_examples_are_read() {
    (1..=3).for_each(|number| reads_back!(RegInfo, format!("rfc3680_{number:02}")));
    reads_back!(RegInfo, "rfc5628_style".to_owned());
}

#[test]
fn dialog_info_examples_are_read() {
    for number in (1..=22).filter(|number| ![2, 3, 17].contains(number)) {
        reads_back!(DialogInfo, format!("rfc4235_{number:02}"));
    }
    (1..=15).for_each(|number| reads_back!(DialogInfo, format!("rfc7463_{number:02}")));
}

#[test]
fn dialog_info_examples_with_mistakes_are_refused() {
    let parse = |name| DialogInfo::parse(&example(name));
    // RFC 4235 §4.1 calls the attribute `notify-state`, §4.1.1 abbreviates with dots, §6.2 ends an empty element.
    assert_eq!(parse("rfc4235_02"), Err(BodyError::Missing("dialog-info@state")));
    assert_eq!(parse("rfc4235_03"), Err(BodyError::Missing("dialog/state")));
    assert!(matches!(parse("rfc4235_17"), Err(BodyError::Malformed { .. })));
}

#[test]
fn conference_info_examples_are_read() {
    (1..=2).for_each(|number| reads_back!(ConferenceInfo, format!("rfc4575_{number:02}")));
}

#[test]
fn presence_examples_are_read() {
    (1..=6).for_each(|number| reads_back!(Presence, format!("rfc3863_{number:02}")));
    reads_back!(Presence, "rfc4479_01".to_owned());
    reads_back!(Presence, "rfc4480_01".to_owned());
}

#[test]
fn watcherinfo_examples_are_read() {
    (1..=3).for_each(|number| reads_back!(WatcherInfo, format!("rfc3857_{number:02}")));
    reads_back!(WatcherInfo, "rfc3858_01".to_owned());
}
