//! Registration information: RFC 3680 §5 and §6, RFC 5628.

use farspeak_sip::event::package::Applied;
use farspeak_sip::event::package::reg::{
    Contact, ContactEvent, ContactState, DocumentState, RegInfo, Registration, RegistrationState, RegistrationTable,
};

use crate::{changed, example};

fn document(version: u32, state: DocumentState, contacts: Vec<Contact>) -> RegInfo {
    let registration = Registration {
        aor: "sip:joe@example.com".to_owned(),
        id: "a7".to_owned(),
        state: RegistrationState::Active,
        contacts,
    };
    RegInfo { version, state, registrations: vec![registration] }
}

fn contact(id: &str, event: ContactEvent) -> Contact {
    Contact::new(id, event, format!("sip:joe@{id}.example.com"))
}

fn ids(table: &RegistrationTable) -> Vec<&str> {
    table.registrations().iter().flat_map(|it| &it.contacts).map(|it| it.id.as_str()).collect()
}

#[test]
fn a_subscriber_learns_of_the_first_contact() {
    // After RFC 3680 §6: nothing is registered, then joe's phone is.
    let mut table = RegistrationTable::default();
    assert_eq!(table.apply(RegInfo::parse(&example("rfc3680_02")).unwrap()), Applied::Complete);
    assert_eq!(table.registrations()[0].state, RegistrationState::Init);
    assert!(ids(&table).is_empty());

    assert_eq!(table.apply(RegInfo::parse(&example("rfc3680_03")).unwrap()), Applied::Complete);
    let joe = &table.registrations()[0];
    assert_eq!((joe.aor.as_str(), joe.state), ("sip:joe@example.com", RegistrationState::Active));
    assert_eq!(joe.contacts[0].uri, "sip:joe@pc34.example.com");
    assert_eq!(joe.contacts[0].duration_registered, Some(0));
    assert_eq!(table.version(), Some(1));
}

#[test]
fn all_attributes_of_a_contact_are_read() {
    let read = RegInfo::parse(&example("rfc3680_01")).unwrap();
    let [active, gone] = read.registrations[0].contacts.as_slice() else { panic!("two contacts: {read:?}") };
    assert_eq!(
        (active.event, active.state, active.q.as_deref()),
        (ContactEvent::Registered, ContactState::Active, Some("0.8"))
    );
    assert_eq!(
        (gone.event, gone.state, gone.duration_registered),
        (ContactEvent::Expired, ContactState::Terminated, Some(3600))
    );

    let read = RegInfo::parse(&example("rfc5628_style")).unwrap();
    let contact = &read.registrations[0].contacts[0];
    assert_eq!(
        (contact.expires, contact.cseq, contact.call_id.as_deref()),
        (Some(3600), Some(54301), Some("87ad2@pc887"))
    );
    let name = contact.display_name.as_ref().unwrap();
    assert_eq!((name.text.as_str(), name.language.as_deref()), ("Desk & lab", Some("en")));
    let instance = "\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
    let params: Vec<_> = contact.unknown_params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(params, [("+sip.instance", instance), ("audio", "")]);
    assert_eq!(contact.pub_gruu.as_deref(), Some("sip:user@example.com;gr=hha9s8d-999a"));
    let temporary = contact.temp_gruu.as_ref().unwrap();
    assert_eq!((temporary.uri.as_str(), temporary.first_cseq), ("sip:8ffkas08af7fasklzi9@example.com;gr", 54301));
}

#[test]
fn partial_documents_add_change_and_end_contacts() {
    use ContactEvent::{Refreshed, Registered, Unregistered};
    let mut table = RegistrationTable::default();
    let both = vec![contact("1", Registered), contact("2", Registered)];
    assert_eq!(table.apply(document(0, DocumentState::Full, both)), Applied::Complete);
    let change = vec![contact("3", Registered), contact("1", Refreshed)];
    assert_eq!(table.apply(document(1, DocumentState::Partial, change)), Applied::Complete);
    assert_eq!(ids(&table), ["1", "2", "3"]);
    assert_eq!(table.registrations()[0].contacts[0].event, Refreshed);

    assert_eq!(table.apply(document(2, DocumentState::Partial, vec![contact("2", Unregistered)])), Applied::Complete);
    assert_eq!(ids(&table), ["1", "2", "3"], "an ended contact is seen once");
    assert_eq!(table.apply(document(3, DocumentState::Partial, vec![])), Applied::Complete);
    assert_eq!(ids(&table), ["1", "3"]);
}

#[test]
fn a_lost_document_asks_for_a_refresh() {
    let mut table = RegistrationTable::default();
    let registered = |id| vec![contact(id, ContactEvent::Registered)];
    assert_eq!(table.apply(document(0, DocumentState::Full, registered("1"))), Applied::Complete);
    assert_eq!(table.apply(document(2, DocumentState::Partial, registered("3"))), Applied::NeedsRefresh);
    assert_eq!(ids(&table), ["1", "3"], "what did arrive is used all the same");
    assert_eq!(table.apply(document(1, DocumentState::Partial, registered("2"))), Applied::Stale);
    assert!(!table.is_complete());
    assert_eq!(table.apply(document(3, DocumentState::Full, registered("2"))), Applied::Complete);
    assert_eq!(ids(&table), ["2"]);
}

#[test]
fn a_table_never_grows_beyond_its_rows() {
    let mut table = RegistrationTable::new(4);
    let many = |from: u32| (from..from + 3).map(|id| contact(&id.to_string(), ContactEvent::Registered)).collect();
    assert_eq!(table.apply(document(0, DocumentState::Full, many(0))), Applied::Complete);
    assert_eq!(table.apply(document(1, DocumentState::Partial, many(2))), Applied::NeedsRefresh);
    assert_eq!(ids(&table), ["0", "1", "2"]);
    let mut other = document(2, DocumentState::Partial, vec![]);
    other.registrations[0].id = "b8".to_owned();
    assert_eq!(table.apply(other), Applied::NeedsRefresh);
    assert_eq!(table.registrations().len(), 1);
}

#[test]
fn what_is_mandatory_must_be_there() {
    let error = |from, to| RegInfo::parse(&changed("rfc3680_03", from, to)).unwrap_err().to_string();
    assert_eq!(error("version=\"1\"", ""), "reginfo@version is missing");
    assert_eq!(error("version=\"1\"", "version=\"4294967296\""), "reginfo@version has a value that does not exist");
    assert_eq!(error("state=\"partial\"", "state=\"some\""), "reginfo@state has a value that does not exist");
    assert_eq!(error("id=\"a7\"", ""), "registration@id is missing");
    assert_eq!(error("event=\"registered\"", "event=\"invited\""), "contact@event has a value that does not exist");
    assert_eq!(error("<uri>sip:joe@pc34.example.com</uri>", ""), "contact/uri is missing");
    assert_eq!(error("reginfo", "watcherinfo"), "the root is not <reginfo> of its namespace");
    assert_eq!(error("urn:ietf:params:xml:ns:reginfo", "urn:other"), "the root is not <reginfo> of its namespace");
}

#[test]
fn unknown_elements_and_attributes_are_ignored() {
    let plain = RegInfo::parse(&example("rfc3680_03")).unwrap();
    let extended = changed(
        "rfc3680_03",
        "<uri>",
        "<x:uri xmlns:x=\"urn:x\">sip:not@this</x:uri><later deep=\"yes\"><uri>sip:nor@this</uri></later><uri>",
    );
    assert_eq!(RegInfo::parse(&extended).unwrap(), plain);
    let attributes = changed("rfc3680_03", "id=\"76\"", "xmlns:x=\"urn:x\" x:id=\"77\" id=\"76\" more=\"\"");
    assert_eq!(RegInfo::parse(&attributes).unwrap(), plain);
}
