use std::fs;

use farspeak_sansio::Transport;

use super::*;
use crate::scratch::Scratch;

impl Store {
    /// Makes the file as full as a disk can be.
    pub(crate) fn limit_pages_for_test(&mut self, pages: u32) {
        self.execute(sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))).unwrap();
    }
}

fn row(aor: &str, version: u64) -> BindingRow {
    BindingRow {
        aor: aor.to_owned(),
        contact: "sip:alice@192.0.2.4:5061;transport=tls".to_owned(),
        instance: Some("urn:uuid:1".to_owned()),
        reg_id: None,
        q: 700,
        expires_at_unix_ms: 1000,
        call_id: "c1@phone".to_owned(),
        cseq: u32::MAX,
        path: String::new(),
        params: ";reg-id=1".to_owned(),
        user_agent: "phone/1".to_owned(),
        transport: Transport::Wss,
        local: "[2001:db8::1]:443".parse().unwrap(),
        remote: "192.0.2.4:40123".parse().unwrap(),
        flow_bits: u64::MAX,
        since: u64::MAX,
        version,
    }
}

fn alice() -> UserRow {
    UserRow {
        name: "alice".to_owned(),
        ha1_md5: "1".repeat(32),
        ha1_sha256: "2".repeat(64),
        ha1_md5_with_realm: "3".repeat(32),
        ha1_sha256_with_realm: "4".repeat(64),
        open_to_strangers: false,
        presence_to: "nobody".to_owned(),
        created_at_unix_ms: 7,
    }
}

fn open(scratch: &Scratch) -> Store {
    Store::open(scratch.path(), Durability::Process).unwrap()
}

#[test]
fn a_step_of_the_wall_clock_neither_ends_a_binding_nor_keeps_it_for_ever() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    let removed = BindingRow { expires_at_unix_ms: 0, ..row("carol@example.org", 2) };
    store.commit(&[row("alice@example.org", 1), removed]).unwrap();
    let ends = |store: &mut Store| -> Vec<i64> {
        store.bindings(0).unwrap().0.iter().map(|row| row.expires_at_unix_ms).collect()
    };
    for step in [1_700_000_000_000, -500, 86_400_000, 86_400_000] {
        store.follow_clock(step).unwrap();
        store.commit(&[row("bob@example.org", 3)]).unwrap();
        assert_eq!(ends(&mut store), [1000 + step, 1000 + step]);
    }
    // What is written later follows too, and a removal stays one.
    store
        .commit(&[row("bob@example.org", 4), BindingRow { expires_at_unix_ms: 0, ..row("alice@example.org", 5) }])
        .unwrap();
    assert_eq!(ends(&mut store), [86_401_000]);
    drop(store);
    assert_eq!(ends(&mut open(&scratch)), [86_401_000]);
}

#[test]
fn gives_back_what_it_was_given_after_reopening() {
    let scratch = Scratch::new();
    let rows: Vec<BindingRow> = (0..1000).map(|n| row(&format!("user{n:04}@example.org"), n + 1)).collect();
    let mut store = open(&scratch);
    store.commit(&rows).unwrap();
    store.add_user(&alice()).unwrap();
    drop(store);
    let mut store = open(&scratch);
    let (found, newest) = store.bindings(999).unwrap();
    assert!(found == rows, "every field of every row");
    assert_eq!(newest, 1000);
    assert_eq!(store.users().unwrap(), [alice()]);
    assert!(store.bindings(1000).unwrap().0.is_empty(), "an ended binding is not given back");
}

#[test]
fn an_older_change_never_wins() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    store.commit([&row("a@b", 5)]).unwrap();
    store.commit([&BindingRow { q: 1, ..row("a@b", 4) }]).unwrap();
    assert_eq!(store.bindings(0).unwrap().0[0].q, 700);
    store.commit([&BindingRow { q: 1, ..row("a@b", 6) }]).unwrap();
    assert_eq!(store.bindings(0).unwrap().0[0].q, 1);
}

#[test]
fn a_removal_outlives_late_older_changes() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    let removal = |version| BindingRow { expires_at_unix_ms: 0, ..row("a@b", version) };
    store.commit([&removal(5)]).unwrap();
    store.purge(2000).unwrap();
    store.commit([&row("a@b", 4)]).unwrap();
    assert!(store.bindings(0).unwrap().0.is_empty());
    // Two purges later nothing of it is left.
    store.purge(2000).unwrap();
    drop(store);
    assert_eq!(open(&scratch).bindings(0).unwrap(), (Vec::new(), 0));
}

#[test]
fn users_come_and_go() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    assert!(store.add_user(&alice()).unwrap());
    assert!(!store.add_user(&alice()).unwrap(), "a name is taken once");
    assert!(store.update_user(&UserRow { open_to_strangers: true, ..alice() }).unwrap());
    assert!(store.users().unwrap()[0].open_to_strangers);
    assert!(store.update_user(&UserRow { presence_to: "bob,carol".to_owned(), ..alice() }).unwrap());
    assert_eq!(store.users().unwrap()[0].presence_to, "bob,carol");
    assert!(store.remove_user("alice").unwrap());
    assert!(!store.remove_user("alice").unwrap());
    assert!(!store.update_user(&alice()).unwrap());
}

#[test]
fn what_is_fixed_at_first_start_stays() {
    let scratch = Scratch::new();
    assert_eq!(open(&scratch).meta_or_insert("realm", b"one").unwrap(), b"one");
    assert_eq!(open(&scratch).meta_or_insert("realm", b"two").unwrap(), b"one");
    assert_eq!(open(&scratch).meta("other").unwrap(), None);
}

#[test]
fn refuses_a_corrupt_file_and_leaves_it_as_it_is() {
    let scratch = Scratch::new();
    for garbage in [b"this is no database at all, whatever its name says".repeat(100), {
        let mut store = open(&scratch);
        store.commit(&(0..500).map(|n| row(&format!("{n}@b"), n + 1)).collect::<Vec<_>>()).unwrap();
        store.close().unwrap();
        let mut bytes = fs::read(scratch.path().join(FILE_NAME)).unwrap();
        let middle = bytes.len() / 2;
        bytes[4096..middle].fill(0xa5);
        bytes
    }] {
        let file = scratch.path().join(FILE_NAME);
        fs::write(&file, &garbage).unwrap();
        let error = Store::open(scratch.path(), Durability::Process).expect_err("damaged");
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("left as it is"));
        assert!(fs::read(&file).unwrap() == garbage, "not a byte has changed");
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn refuses_a_newer_file() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    store.execute(sqlx::query("PRAGMA user_version = 99")).unwrap();
    store.close().unwrap();
    let error = Store::open(scratch.path(), Durability::Process).expect_err("newer");
    assert!(matches!(error, StoreError::Newer { found: 99, known: 3, .. }), "{error:?}");
}

#[test]
fn reads_a_file_of_the_first_schema() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    store.commit([&row("alice@example.org", 1)]).unwrap();
    assert!(store.add_user(&alice()).unwrap());
    store.execute(sqlx::query("ALTER TABLE bindings DROP COLUMN since")).unwrap();
    store.execute(sqlx::query("ALTER TABLE users DROP COLUMN presence_to")).unwrap();
    store.execute(sqlx::query("PRAGMA user_version = 1")).unwrap();
    store.close().unwrap();
    let unknown = BindingRow { since: 0, ..row("alice@example.org", 1) };
    let mut store = open(&scratch);
    assert!(store.bindings(0).unwrap().0 == [unknown]);
    assert!(store.users().unwrap() == [alice()]);
}

#[test]
fn refuses_a_file_of_another_program() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    store.execute(sqlx::query("PRAGMA application_id = 5")).unwrap();
    store.close().unwrap();
    let error = Store::open(scratch.path(), Durability::Process).expect_err("foreign");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
}

#[test]
fn says_so_when_the_folder_is_not_there() {
    let scratch = Scratch::new();
    let error = Store::open(&scratch.path().join("missing"), Durability::Process).expect_err("no folder");
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
}

#[test]
fn a_full_disk_fails_the_whole_batch_and_harms_nothing_before_it() {
    let scratch = Scratch::new();
    let mut store = open(&scratch);
    store.commit([&row("first@b", 1)]).unwrap();
    store.limit_pages_for_test(10);
    let many: Vec<BindingRow> = (0..5000).map(|n| row(&format!("{n}@b"), n + 2)).collect();
    let error = store.commit(&many).expect_err("full");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(store.bindings(0).unwrap().0.len(), 1);
    store.commit([&row("second@b", 9000)]).expect("small things still fit");
}
