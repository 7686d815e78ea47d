//! Watcher information: RFC 3857 §5, RFC 3858 §4 and §5.

use farspeak_sip::event::package::Applied;
use farspeak_sip::event::package::watcher::{WatcherEvent, WatcherInfo, WatcherStatus, WatcherTable};

use crate::{changed, example};

#[test]
fn joe_learns_who_asks_and_that_he_allowed_it() {
    // RFC 3857 §5.
    let mut table = WatcherTable::default();
    let [first, second, third] =
        [1, 2, 3].map(|number| WatcherInfo::parse(&example(&format!("rfc3857_{number:02}"))).unwrap());
    assert_eq!(table.apply(first), Applied::Complete);
    assert_eq!(table.apply(second), Applied::Complete, "full state again, though the version did not change");
    let asking: Vec<_> = table.undecided().map(|it| (it.uri.as_str(), it.event)).collect();
    assert_eq!(asking, [("sip:A@example.com", WatcherEvent::Subscribe)]);
    assert_eq!(table.apply(third), Applied::Complete);
    assert_eq!(table.undecided().count(), 0);
    let allowed = &table.lists()[0].watchers[0];
    assert_eq!((allowed.status, allowed.event), (WatcherStatus::Active, WatcherEvent::Approved));
}

#[test]
fn all_attributes_of_a_watcher_are_read() {
    let info = WatcherInfo::parse(&example("rfc3858_01")).unwrap();
    let list = &info.lists[0];
    assert_eq!((list.resource.as_str(), list.package.as_str()), ("sip:professor@example.net", "presence"));
    assert_eq!(list.watchers[0].duration_subscribed, Some(509));
    assert_eq!(list.watchers[1].display_name.as_deref(), Some("Mr. Subscriber"));
    assert_eq!(list.watchers[1].uri, "sip:userB@example.org");
}

#[test]
fn an_ended_watcher_is_seen_once() {
    let mut table = WatcherTable::default();
    let _ = table.apply(WatcherInfo::parse(&example("rfc3857_02")).unwrap());
    let rejected = changed(
        "rfc3857_03",
        "event=\"approved\"\n             status=\"active\"",
        "event=\"rejected\" status=\"terminated\"",
    );
    assert_eq!(table.apply(WatcherInfo::parse(&rejected).unwrap()), Applied::Complete);
    assert_eq!(table.lists()[0].watchers[0].status, WatcherStatus::Terminated);
    let next = WatcherInfo { version: 2, ..WatcherInfo::parse(&changed("rfc3857_03", "77ajsyy76", "9")).unwrap() };
    assert_eq!(table.apply(next), Applied::Complete);
    let ids: Vec<_> = table.lists()[0].watchers.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["9"]);
}
