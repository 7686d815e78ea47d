//! Conference information: RFC 4575 §4.6 and §7.

use farspeak_sip::event::package::Applied;
use farspeak_sip::event::package::conference::{
    ConferenceInfo, ConferenceTable, DisconnectionMethod, Endpoint, EndpointStatus, JoiningMethod, Media, MediaStatus,
    Part, Sidebars, UriEntry, UriList, User, Users,
};
use farspeak_sip::event::package::{BodyError, Timestamp};

use crate::{changed, example};

const FOCUS: &str = "sips:conf233@example.com";

fn partial(version: u32, users: Vec<User>) -> ConferenceInfo {
    let users = Some(Users { state: Part::Partial, users });
    ConferenceInfo { users, ..ConferenceInfo::new(FOCUS, version, Part::Partial) }
}

fn user(entity: &str, state: Part, endpoints: Vec<Endpoint>) -> User {
    User { state, endpoints, ..User::new(entity) }
}

fn endpoint(entity: &str, state: Part, status: EndpointStatus) -> Endpoint {
    Endpoint { state, ..Endpoint::new(entity, status) }
}

/// The basic example of §7.1, version 1.
fn table() -> ConferenceTable {
    let mut table = ConferenceTable::default();
    assert_eq!(table.apply(ConferenceInfo::parse(&example("rfc4575_01")).unwrap()), Applied::Complete);
    table
}

fn users(table: &ConferenceTable) -> &[User] {
    table.conference().and_then(|it| it.users.as_ref()).map_or(&[], |it| &it.users)
}

fn entities(table: &ConferenceTable) -> Vec<&str> {
    users(table).iter().map(|it| it.entity.as_str()).collect()
}

#[test]
fn all_of_the_basic_example_is_read() {
    let table = table();
    let conference = table.conference().unwrap();
    assert_eq!(conference.description.as_ref().unwrap().subject.as_deref(), Some("Agenda: This month's goals"));
    assert_eq!(conference.conference_state.as_ref().unwrap().user_count, Some(33));
    let [bob, alice] = users(&table) else { panic!("two users") };
    let left = &bob.endpoints[0];
    assert_eq!(
        (left.status, left.disconnection_method),
        (Some(EndpointStatus::Disconnected), Some(DisconnectionMethod::Departed))
    );
    let info = left.disconnection_info.as_ref().unwrap();
    assert_eq!(info.when, Timestamp::parse("2005-03-04T20:00:00Z"));
    assert_eq!((info.reason.as_deref(), info.by.as_deref()), (Some("bad voice quality"), Some("sip:mike@example.com")));
    assert_eq!(left.media[0].src_id.as_deref(), Some("432424"));
    assert_eq!(alice.endpoints[0].joining_method, Some(JoiningMethod::DialedOut));
    assert_eq!(alice.endpoints[0].media[0].status, Some(MediaStatus::Sendrecv));
}

#[test]
fn all_of_the_rich_example_is_read() {
    let info = ConferenceInfo::parse(&example("rfc4575_02")).unwrap();
    assert_eq!((info.state, info.version), (Part::Partial, Some(5)));
    let description = info.description.as_ref().unwrap();
    assert_eq!(description.keywords, ["sales", "meeting", "weekly"]);
    assert_eq!(description.conf_uris.as_ref().unwrap().entries.len(), 3);
    assert_eq!(description.maximum_user_count, Some(100));
    assert_eq!(description.available_media[1].status, Some(MediaStatus::Inactive));
    assert_eq!(info.host.as_ref().unwrap().web_page.as_deref(), Some("http://sharepoint/salesgroup/hosts/"));
    let state = info.conference_state.as_ref().unwrap();
    assert_eq!((state.user_count, state.active, state.locked), (Some(32), Some(true), Some(false)));
    let bob = &info.users.as_ref().unwrap().users[0];
    assert_eq!(bob.roles.as_deref(), Some(["participant".to_owned()].as_slice()));
    assert_eq!(bob.languages.as_deref(), Some(["en".to_owned()].as_slice()));
    let call = bob.endpoints[0].call.as_ref().unwrap();
    assert_eq!((call.call_id.as_str(), call.to_tag.as_str()), ("hsjh8980vhsb78", "8954jgjg8432"));
    let sidebar = &info.sidebars_by_val.as_ref().unwrap().entries[0];
    assert_eq!((sidebar.state, sidebar.version, sidebar.users.as_ref().unwrap().users.len()), (Part::Partial, None, 3));
}

#[test]
fn a_partial_document_after_a_gap_is_not_applied() {
    let mut table = table();
    let before = table.conference().cloned();
    assert_eq!(table.apply(ConferenceInfo::parse(&example("rfc4575_02")).unwrap()), Applied::NeedsRefresh);
    assert_eq!((table.conference().cloned(), table.version()), (before, Some(1)));
    assert_eq!(table.apply(partial(2, vec![])), Applied::NeedsRefresh, "late, after the gap was seen");
    assert_eq!(table.apply(ConferenceInfo::new(FOCUS, 5, Part::Full)), Applied::Complete);
    assert_eq!(table.apply(partial(6, vec![])), Applied::Complete);
}

#[test]
fn the_rich_example_follows_the_basic_one() {
    let mut table = table();
    let rich = changed("rfc4575_02", "state=\"partial\" version=\"5\"", "state=\"partial\" version=\"2\"");
    assert_eq!(table.apply(ConferenceInfo::parse(&rich).unwrap()), Applied::Complete);
    let conference = table.conference().unwrap();
    assert_eq!(entities(&table), ["sip:bob@example.com"], "<users> without a state is full");
    assert_eq!(conference.description.as_ref().unwrap().display_text.as_deref(), Some("Weekly Sales Meeting"));
    assert_eq!(conference.sidebars_by_ref.as_ref().unwrap().entries.len(), 2);
    let sidebar = &conference.sidebars_by_val.as_ref().unwrap().entries[0];
    assert_eq!((sidebar.state, sidebar.users.as_ref().unwrap().users.len()), (Part::Full, 3));
}

#[test]
fn an_old_document_is_dropped() {
    let mut table = table();
    assert_eq!(table.apply(ConferenceInfo::new(FOCUS, 1, Part::Full)), Applied::Stale);
    assert_eq!(table.apply(ConferenceInfo::new(FOCUS, 0, Part::Deleted)), Applied::Stale);
    assert_eq!(entities(&table).len(), 2);
}

#[test]
fn changes_before_any_full_state_ask_for_it() {
    let mut table = ConferenceTable::default();
    assert_eq!(table.apply(partial(0, vec![User::new("sip:a@b")])), Applied::NeedsRefresh);
    assert_eq!(table.conference(), None);
    assert!(!table.is_complete());
}

#[test]
fn users_join_and_leave_by_their_own_state() {
    let mut table = table();
    let carol = user("sip:carol@example.com", Part::Full, vec![endpoint("c1", Part::Full, EndpointStatus::Connected)]);
    let gone = user("sip:bob@example.com", Part::Deleted, vec![]);
    let never_there = user("sip:dan@example.com", Part::Deleted, vec![]);
    assert_eq!(table.apply(partial(2, vec![carol, gone, never_there])), Applied::Complete);
    assert_eq!(entities(&table), ["sip:alice@example.com", "sip:carol@example.com"]);
    assert_eq!(
        table.conference().unwrap().conference_state.as_ref().unwrap().user_count,
        Some(33),
        "not told, so as before"
    );
}

#[test]
fn an_endpoint_changes_in_part() {
    let mut table = table();
    let laptop = "sip:bob@pc33.example.com";
    let mut update = endpoint(laptop, Part::Partial, EndpointStatus::OnHold);
    update.media = vec![Media { id: "2".to_owned(), kind: Some("video".to_owned()), ..Media::default() }];
    let phone = endpoint("sip:bob@phone", Part::Partial, EndpointStatus::Alerting);
    let bob = || user("sip:bob@example.com", Part::Partial, vec![]);
    let update = User { endpoints: vec![update, phone], ..bob() };
    assert_eq!(table.apply(partial(2, vec![update])), Applied::Complete);
    let [known, new] = users(&table)[0].endpoints.as_slice() else { panic!("two endpoints") };
    assert_eq!((known.state, known.status), (Part::Full, Some(EndpointStatus::OnHold)));
    assert_eq!(known.display_text.as_deref(), Some("Bob's Laptop"), "not told, so as before");
    let media: Vec<_> = known.media.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(media, ["1", "2"]);
    assert_eq!((new.state, new.status), (Part::Full, Some(EndpointStatus::Alerting)));

    let update = User { endpoints: vec![endpoint(laptop, Part::Deleted, EndpointStatus::Disconnected)], ..bob() };
    assert_eq!(table.apply(partial(3, vec![update])), Applied::Complete);
    assert_eq!(users(&table)[0].endpoints.len(), 1);

    let replaced = user("sip:bob@example.com", Part::Full, vec![]);
    assert_eq!(table.apply(partial(4, vec![replaced])), Applied::Complete);
    assert!(users(&table)[0].endpoints.is_empty() && users(&table)[0].display_text.is_none());
}

#[test]
fn sidebars_come_and_go() {
    let mut table = table();
    let mut update = ConferenceInfo::new(FOCUS, 2, Part::Partial);
    update.sidebars_by_ref =
        Some(UriList { state: Part::Partial, entries: vec![UriEntry::new("sips:1"), UriEntry::new("sips:2")] });
    let sidebar = |state, users| ConferenceInfo {
        version: None,
        users: Some(Users { state: Part::Partial, users }),
        ..ConferenceInfo::new("sips:side", 0, state)
    };
    let entries = vec![sidebar(Part::Partial, vec![User::new("sip:bob@example.com")])];
    update.sidebars_by_val = Some(Sidebars { state: Part::Partial, entries });
    assert_eq!(table.apply(update), Applied::Complete);

    let mut update = ConferenceInfo::new(FOCUS, 3, Part::Partial);
    let named = UriEntry { display_text: Some("with Carol".to_owned()), ..UriEntry::new("sips:2") };
    update.sidebars_by_ref = Some(UriList { state: Part::Partial, entries: vec![named] });
    let entries = vec![sidebar(Part::Partial, vec![User::new("sip:dan@example.com")])];
    update.sidebars_by_val = Some(Sidebars { state: Part::Partial, entries });
    assert_eq!(table.apply(update), Applied::Complete);
    let conference = table.conference().unwrap();
    let references = &conference.sidebars_by_ref.as_ref().unwrap().entries;
    assert_eq!((references.len(), references[1].display_text.as_deref()), (2, Some("with Carol")));
    assert_eq!(conference.sidebars_by_val.as_ref().unwrap().entries[0].users.as_ref().unwrap().users.len(), 2);

    let mut update = ConferenceInfo::new(FOCUS, 4, Part::Partial);
    update.sidebars_by_ref = Some(UriList { state: Part::Deleted, entries: vec![] });
    let entries = vec![sidebar(Part::Deleted, vec![])];
    update.sidebars_by_val = Some(Sidebars { state: Part::Partial, entries });
    assert_eq!(table.apply(update), Applied::Complete);
    let conference = table.conference().unwrap();
    assert_eq!(conference.sidebars_by_ref, None);
    assert!(conference.sidebars_by_val.as_ref().unwrap().entries.is_empty());
}

#[test]
fn a_conference_ends() {
    let mut table = table();
    let mut end = ConferenceInfo::parse(&example("rfc4575_01")).unwrap();
    (end.state, end.version) = (Part::Deleted, Some(7));
    assert_eq!(table.apply(end), Applied::Complete);
    assert!(table.has_ended());
    assert!(users(&table).is_empty(), "what a deleted part contains is ignored (§4.4)");
}

#[test]
fn a_table_never_grows_beyond_its_rows() {
    let mut table = ConferenceTable::new(8);
    assert_eq!(table.apply(ConferenceInfo::parse(&example("rfc4575_01")).unwrap()), Applied::Complete);
    let many = (0..3).map(|number| User::new(format!("sip:{number}@b"))).collect();
    assert_eq!(table.apply(partial(2, many)), Applied::NeedsRefresh);
    assert_eq!(users(&table).len(), 2);
}

#[test]
fn keys_and_the_version_are_mandatory() {
    let error = |from, to| ConferenceInfo::parse(&changed("rfc4575_01", from, to)).unwrap_err();
    assert_eq!(error(" version=\"1\"", ""), BodyError::Missing("conference-info@version"));
    assert_eq!(error("user entity=\"sip:bob@example.com\"", "user"), BodyError::Missing("user@entity"));
    assert_eq!(error("<media id=\"1\">", "<media>"), BodyError::Missing("media@id"));
    assert_eq!(error("state=\"full\">", "state=\"half\">"), BodyError::Invalid("@state"));
}
