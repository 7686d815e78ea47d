//! Dialog information: RFC 4235 §4 and §6, RFC 7463 §6.

use farspeak_sip::event::package::Applied;
use farspeak_sip::event::package::dialog::{
    Dialog, DialogEvent, DialogInfo, DialogState, DialogTable, Direction, DocumentState, SharedAppearance,
};

use crate::{changed, example};

fn read(name: &str) -> DialogInfo {
    DialogInfo::parse(&example(name)).unwrap()
}

fn states(table: &DialogTable) -> Vec<(&str, DialogState)> {
    table.dialogs().iter().map(|it| (it.id.as_str(), it.state)).collect()
}

#[test]
fn a_caller_shows_a_call_that_forks() {
    // RFC 4235 §6.1; both dialogs there have the same id, where §4.1.1 wants two: the later one is the row.
    let mut table = DialogTable::default();
    for (name, state) in [("05", DialogState::Trying), ("06", DialogState::Early)] {
        assert_eq!(table.apply(read(&format!("rfc4235_{name}"))), Applied::Complete);
        assert_eq!(states(&table), [("as7d900as8", state)]);
    }
    assert_eq!(table.apply(read("rfc4235_07")), Applied::Complete);
    assert_eq!(table.dialogs()[0].remote_tag.as_deref(), Some("hh76a"));
    assert_eq!(table.apply(read("rfc4235_08")), Applied::Complete);
    assert_eq!(states(&table), [("as7d900as8", DialogState::Confirmed)]);
    assert_eq!(table.apply(read("rfc4235_09")), Applied::Complete);
    assert_eq!(
        (table.dialogs()[0].state, table.dialogs()[0].event),
        (DialogState::Terminated, Some(DialogEvent::Cancelled))
    );
}

#[test]
fn a_shared_line_shows_each_step_of_a_transfer() {
    // RFC 4235 §6.2, one document after the other.
    use DialogState::{Confirmed, Early, Terminated, Trying};
    let mut table = DialogTable::default();
    let mut apply = |name: &str| {
        assert_eq!(table.apply(read(name)), Applied::Complete, "{name}");
        table.clone()
    };
    assert!(states(&apply("rfc4235_10")).is_empty());
    assert_eq!(states(&apply("rfc4235_11")), [("as7d900as8", Trying)]);
    let dialing = apply("rfc4235_12");
    let local = dialing.dialogs()[0].local.as_ref().unwrap();
    assert_eq!(local.identities[0].display.as_deref(), Some("Alice Smith"));
    assert_eq!(local.identities[0].uri, "sip:alice@example.com");

    let ringing = apply("rfc4235_13");
    let dialog = &ringing.dialogs()[0];
    assert_eq!((dialog.state, dialog.code, dialog.direction), (Early, Some(180), Some(Direction::Initiator)));
    let remote = dialog.remote.as_ref().unwrap();
    assert_eq!(remote.identities[0].uri, "sip:bob@example.net", "not repeated, so as before (§4.1.6.1)");
    assert_eq!(remote.target.as_ref().unwrap().uri, "sip:bobster@host2.example.net");
    assert!(dialog.local.as_ref().is_some_and(|it| it.target.is_some()), "nor is the local end");

    let answered = apply("rfc4235_14");
    assert_eq!(states(&answered), [("as7d900as8", Terminated), ("zxcvbnm3", Confirmed)]);
    assert_eq!(answered.dialogs()[0].event, Some(DialogEvent::Cancelled));
    let voicemail = answered.dialogs()[1].remote.as_ref().unwrap().target.as_ref().unwrap();
    assert_eq!(voicemail.params[2], ("+sip.byeless".to_owned(), "true".to_owned()));

    let transferred = apply("rfc4235_15");
    assert_eq!(states(&transferred), [("zxcvbnm3", Terminated), ("sfhjsjk12", Confirmed)]);
    let dialog = &transferred.dialogs()[1];
    assert_eq!(dialog.direction, Some(Direction::Recipient), "the example says `receiver`");
    assert_eq!(dialog.replaces.as_ref().unwrap().remote_tag, "8736347");
    assert_eq!(dialog.referred_by.as_ref().unwrap().uri, "sip:bob-is-not-here@vm.example.net");

    apply("rfc4235_16");
    let held = changed(
        "rfc4235_17",
        "<target uri=\"sip:alice@pc33.example.com\"/>",
        "<target uri=\"sip:alice@pc33.example.com\">",
    );
    assert_eq!(table.apply(DialogInfo::parse(&held).unwrap()), Applied::Complete);
    let target = table.dialogs()[0].local.as_ref().unwrap().target.as_ref().unwrap();
    assert_eq!(target.params, [("+sip.rendering".to_owned(), "no".to_owned())]);

    assert_eq!(table.apply(read("rfc4235_18")), Applied::Complete);
    assert_eq!(states(&table), [("sfhjsjk12", Terminated), ("08hjh1345", Trying)]);
    assert_eq!(table.dialogs()[0].event, Some(DialogEvent::RemoteBye));
    assert_eq!(table.apply(read("rfc4235_19")), Applied::Complete);
    assert!(table.dialogs().is_empty());
}

#[test]
fn a_gap_in_the_versions_asks_for_a_refresh() {
    let mut table = DialogTable::default();
    assert_eq!(table.apply(read("rfc4235_10")), Applied::Complete);
    assert_eq!(table.apply(read("rfc4235_12")), Applied::NeedsRefresh);
    assert_eq!(table.dialogs().len(), 1);
    assert_eq!(table.apply(read("rfc4235_11")), Applied::Stale);
    assert_eq!(table.apply(read("rfc4235_19")), Applied::Complete);
    assert!(table.is_complete());
}

#[test]
fn all_of_the_sample_is_read() {
    let sample = read("rfc4235_04"); // §4.2
    let dialog = &sample.dialogs[0];
    assert_eq!((sample.version, sample.state), (1, DocumentState::Full));
    assert_eq!((dialog.id.as_str(), dialog.duration), ("123456", Some(274)));
    let bob = dialog.remote.as_ref().unwrap();
    assert_eq!(
        (bob.identities[0].display.as_deref(), bob.identities[0].uri.as_str()),
        (Some("Bob"), "sip:bob@example.org")
    );
}

#[test]
fn a_seized_appearance_is_kept() {
    let info = read("rfc7463_05"); // §11.2
    let shared = &info.dialogs[0].shared;
    assert_eq!((shared.appearance, shared.exclusive), (Some(1), Some(false)));
    let info = read("rfc7463_07");
    assert_eq!(info.dialogs[0].remote.as_ref().unwrap().identities[0].uri, "sip:carol@example.com");
}

#[test]
fn a_private_dialog_shows_nobody() {
    let mut dialog = read("rfc4235_04").dialogs.remove(0);
    dialog.shared = SharedAppearance { appearance: Some(2), exclusive: Some(true), ..SharedAppearance::default() };
    let told = dialog.without_participants();
    assert_eq!(told, Dialog { shared: dialog.shared.clone(), ..Dialog::new("123456", DialogState::Confirmed) });
    let body =
        DialogInfo { version: 0, state: DocumentState::Full, entity: "sip:a@b".into(), dialogs: vec![told] }.write();
    let text = String::from_utf8(body).unwrap();
    assert!(!text.contains("example.com") && !text.contains("example.org"), "{text}");
}

#[test]
fn a_table_never_grows_beyond_its_rows() {
    let mut table = DialogTable::new(2);
    let dialogs = ["1", "2", "3"].map(|id| Dialog::new(id, DialogState::Trying)).to_vec();
    let info = DialogInfo { version: 0, state: DocumentState::Full, entity: "sip:a@b".into(), dialogs };
    assert_eq!(table.apply(info), Applied::NeedsRefresh);
    assert_eq!(table.dialogs().len(), 2);
}
