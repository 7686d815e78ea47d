use std::time::Duration;

use super::*;

const CLOCK: Clock = Clock { unix_at_origin_ms: 1_800_000_000_000 };

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn flow(transport: Transport, slot: u32) -> Flow {
    let remote = format!("192.0.2.{}:40000", slot % 250 + 1).parse().unwrap();
    Flow { id: FlowId::new(0, slot, 1), transport, local: "198.51.100.1:5061".parse().unwrap(), remote }
}

fn aor(user: &str) -> Aor {
    Aor::new(user, "example.org")
}

/// A binding to vary: `parts("alice", "sip:alice@192.0.2.1")`.
fn parts<'a>(user: &str, contact: &'a str) -> BindingParts<'a> {
    BindingParts {
        aor: aor(user),
        contact,
        params: "",
        instance: "",
        reg_id: None,
        q: 1000,
        call_id: "call",
        cseq: 1,
        path: "",
        user_agent: Arc::from("phone"),
        reach: Reach::Flow(flow(Transport::Tls, 1)),
        since: 1,
        updated_at: Instant::ZERO,
        expires_at: at(60),
        version: 0,
    }
}

/// Puts one binding; the change waits for the store.
fn put(location: &Location, now: Instant, parts: BindingParts<'_>) -> Updated<()> {
    let aor = parts.aor.clone();
    let decide = |_: &[Arc<Binding>], version| {
        let binding = Binding::new(&BindingParts { version, ..parts }).unwrap();
        Ok::<_, LocationError>((vec![Change::Put(Arc::new(binding))], ()))
    };
    location.update(now, CLOCK, &aor, decide).unwrap()
}

/// Puts one binding and confirms it.
fn add(location: &Location, now: Instant, parts: BindingParts<'_>) {
    let aor = parts.aor.clone();
    let updated = put(location, now, parts);
    location.confirm(&aor, updated.version);
}

fn contacts(bindings: &[Arc<Binding>]) -> Vec<&str> {
    bindings.iter().map(|binding| binding.contact()).collect()
}

fn by_contact(location: &Location, uri: &str) -> Option<Arc<Binding>> {
    location.by_contact(at(1), &Uri::parse(uri).unwrap())
}

#[test]
fn orders_by_q_then_by_the_most_recent() {
    let location = Location::default();
    add(&location, at(0), BindingParts { q: 500, ..parts("alice", "sip:a@192.0.2.1") });
    add(&location, at(0), parts("alice", "sip:b@192.0.2.1"));
    add(&location, at(1), BindingParts { updated_at: at(1), ..parts("alice", "sip:c@192.0.2.1") });
    let found = location.lookup(at(2), &aor("alice"));
    assert_eq!(contacts(&found), ["sip:c@192.0.2.1", "sip:b@192.0.2.1", "sip:a@192.0.2.1"]);
    assert!(location.lookup(at(2), &aor("Alice")).is_empty());
}

#[test]
fn expired_bindings_are_never_given_and_their_memory_returns() {
    let location = Location::default();
    for n in 0..100 {
        add(&location, at(0), parts(&format!("user{n}"), "sip:a@192.0.2.1"));
    }
    assert!(location.lookup(at(59), &aor("user7")).len() == 1 && location.lookup(at(60), &aor("user7")).is_empty());
    assert!(by_contact(&location, "sip:a@192.0.2.1").is_none(), "a contact of a hundred users means nobody");
    assert_eq!((location.len(), location.sweep(at(60), 1000)), (100, 0));
    assert_eq!(location.sweep(at(61), 30), 30);
    assert_eq!(location.sweep(at(61), 1000), 70);
    assert!(location.is_empty() && location.users() == 0 && location.pending() == 0);
    let empty = |location: &Location| {
        let no_contacts = location.contacts.iter().all(|stripe| lock(stripe).is_empty());
        let no_flows = location.flows.iter().all(|stripe| lock(stripe).is_empty());
        no_contacts && no_flows && location.records.iter().all(|stripe| lock(stripe).deadlines.is_empty())
    };
    assert!(empty(&location));
}

#[test]
fn a_refreshed_binding_outlives_the_first_sweep() {
    let location = Location::default();
    add(&location, at(0), parts("alice", "sip:a@192.0.2.1"));
    add(&location, at(30), BindingParts { expires_at: at(90), ..parts("alice", "sip:a@192.0.2.1") });
    assert_eq!(location.sweep(at(61), 1000), 0);
    assert_eq!(location.lookup(at(61), &aor("alice")).len(), 1);
    assert_eq!(location.sweep(at(91), 1000), 1);
}

#[test]
fn finds_a_live_contact_however_it_is_written() {
    let location = Location::default();
    add(&location, at(0), parts("alice", "sip:al%69ce@Phone.Invalid:5061;transport=ws;x=1"));
    for same in ["sip:alice@phone.invalid:5061;transport=ws", "sip:alice@PHONE.invalid:5061;transport=WS;x=1"] {
        assert!(by_contact(&location, same).is_some(), "{same}");
    }
    for other in
        ["sip:Alice@phone.invalid:5061;transport=ws", "sip:alice@phone.invalid;transport=ws", "sip:phone.invalid"]
    {
        assert!(by_contact(&location, other).is_none(), "{other}");
    }
}

#[test]
fn nobody_takes_over_a_contact_by_registering_it_too() {
    let location = Location::default();
    add(&location, at(0), parts("bob", "sip:bob@192.168.1.2"));
    add(&location, at(1), BindingParts { since: 2, ..parts("mallory", "sip:bob@192.168.1.2") });
    assert_eq!(*by_contact(&location, "sip:bob@192.168.1.2").unwrap().aor(), aor("bob"));
    assert_eq!(location.all_by_contact(at(1), &Uri::parse("sip:bob@192.168.1.2").unwrap()).len(), 2);
}

#[test]
fn nobody_takes_over_the_contact_of_a_phone_that_is_away() {
    let contact = "sip:bob@192.168.1.2";
    let location = Location::default();
    let (bobs, mallorys) = (flow(Transport::Tls, 1), Reach::Flow(flow(Transport::Tls, 2)));
    add(&location, at(0), parts("bob", contact));
    let later = BindingParts { since: 2, expires_at: at(90), ..parts("mallory", contact) };
    add(&location, at(1), BindingParts { reach: mallorys, ..later.clone() });
    location.flow_failed(at(1), &bobs);
    assert!(by_contact(&location, contact).is_none(), "bob is away");
    assert_eq!(location.all_by_contact(at(1), &Uri::parse(contact).unwrap()).len(), 1);
    add(&location, at(1), BindingParts { reach: Reach::Flow(flow(Transport::Tls, 3)), ..parts("bob", contact) });
    assert_eq!(*by_contact(&location, contact).unwrap().aor(), aor("bob"), "bob is back");

    // After a restart bob still is the first.
    let rows: Vec<_> = [aor("bob"), aor("mallory")]
        .iter()
        .flat_map(|aor| location.bindings(at(1), aor))
        .map(|binding| BindingRow { transport: Transport::Udp, ..binding.row(CLOCK) })
        .collect();
    let location = Location::default();
    assert_eq!(location.restore(at(1), CLOCK, 9, rows.clone()), 2);
    assert_eq!(*by_contact(&location, contact).unwrap().aor(), aor("bob"));

    // A store of former times cannot tell who was first: nobody is meant until one of them is gone.
    let rows = rows.into_iter().map(|row| BindingRow { since: 0, ..row });
    let location = Location::default();
    assert_eq!(location.restore(at(1), CLOCK, 9, rows), 2);
    assert!(by_contact(&location, contact).is_none());
    add(&location, at(1), BindingParts { reach: mallorys, since: 0, ..later });
    assert!(by_contact(&location, contact).is_none(), "who registers again has not been first for that");
    let uri = Uri::parse(contact).unwrap();
    assert_eq!(*location.by_contact(at(60), &uri).unwrap().aor(), aor("mallory"), "bob's time is over");
}

#[test]
fn a_dead_connection_leaves_its_bindings_unreachable_until_the_phone_is_back() {
    let location = Location::default();
    let (first, second) = (flow(Transport::Tls, 1), flow(Transport::Tls, 2));
    add(&location, at(0), parts("alice", "sip:alice@192.168.0.9:5061"));
    add(&location, at(0), BindingParts { reach: Reach::Flow(second), ..parts("bob", "sip:bob@192.168.0.9:5061") });
    location.flow_failed(at(1), &first);
    assert!(location.lookup(at(1), &aor("alice")).is_empty());
    assert_eq!(location.bindings(at(1), &aor("alice")).len(), 1);
    assert!(by_contact(&location, "sip:alice@192.168.0.9:5061").is_none());
    assert_eq!(location.lookup(at(1), &aor("bob")).len(), 1);

    let third = Reach::Flow(flow(Transport::Tls, 3));
    add(&location, at(2), BindingParts { reach: third, ..parts("alice", "sip:alice@192.168.0.9:5061") });
    assert_eq!(location.lookup(at(2), &aor("alice"))[0].flow(), Some(flow(Transport::Tls, 3)));
    location.flow_failed(at(3), &first); // late news of the old connection
    assert_eq!(location.lookup(at(3), &aor("alice")).len(), 1);
}

#[test]
fn one_peer_of_a_datagram_socket_does_not_take_the_others_along() {
    let location = Location::default();
    let socket = flow(Transport::Udp, 1);
    add(&location, at(0), BindingParts { reach: Reach::Flow(socket), ..parts("alice", "sip:a@192.0.2.2") });
    location.flow_failed(at(1), &socket);
    assert_eq!(location.lookup(at(1), &aor("alice")).len(), 1);
}

#[test]
fn a_phone_on_plain_tcp_that_is_behind_no_nat_is_called_back() {
    let location = Location::default();
    let stream = flow(Transport::Tcp, 1); // from 192.0.2.2:40000
    let reach = Reach::Flow(stream);
    add(&location, at(0), BindingParts { reach, ..parts("alice", "sip:a@192.0.2.2:5070;transport=tcp") });
    add(&location, at(0), BindingParts { reach, ..parts("bob", "sip:b@192.168.0.2:5070;transport=tcp") });
    location.flow_failed(at(1), &stream);
    let back = location.lookup(at(1), &aor("alice"))[0].flow().unwrap();
    assert_eq!((back.id, back.remote), (FlowId::UNBOUND, "192.0.2.2:5070".parse().unwrap()));
    assert!(location.lookup(at(1), &aor("bob")).is_empty());
}

#[test]
fn of_two_flows_of_one_phone_the_newer_is_given() {
    let location = Location::default();
    let phone = BindingParts { instance: "urn:uuid:1", reg_id: Some(1), ..parts("alice", "sip:a@192.0.2.1") };
    let second = Reach::Flow(flow(Transport::Tls, 2));
    add(&location, at(0), phone.clone());
    add(&location, at(1), BindingParts { reg_id: Some(2), updated_at: at(1), reach: second, ..phone });
    let found = location.lookup(at(2), &aor("alice"));
    assert_eq!(found.iter().map(|it| it.reg_id()).collect::<Vec<_>>(), [Some(2)]);
    assert_eq!(location.bindings(at(2), &aor("alice")).len(), 2);
    location.flow_failed(at(2), &flow(Transport::Tls, 2));
    assert_eq!(location.lookup(at(2), &aor("alice"))[0].reg_id(), Some(1));
}

#[test]
fn a_change_that_was_not_stored_is_undone() {
    let location = Location::default();
    add(&location, at(0), BindingParts { expires_at: at(60), ..parts("alice", "sip:a@192.0.2.1") });
    let refresh = put(&location, at(1), BindingParts { expires_at: at(90), ..parts("alice", "sip:a@192.0.2.1") });
    assert_eq!(location.lookup(at(1), &aor("alice"))[0].expires_at(), at(90));
    location.rollback(at(2), &aor("alice"), refresh.version);
    assert_eq!(location.lookup(at(2), &aor("alice"))[0].expires_at(), at(60));

    let first = put(&location, at(3), parts("bob", "sip:b@192.0.2.1"));
    location.rollback(at(3), &aor("bob"), first.version);
    assert!(location.lookup(at(3), &aor("bob")).is_empty() && location.len() == 1 && location.pending() == 0);
}

#[test]
fn undoing_one_change_leaves_later_ones() {
    let location = Location::default();
    let one = put(&location, at(0), parts("alice", "sip:one@192.0.2.1"));
    let two = put(&location, at(0), parts("alice", "sip:two@192.0.2.1"));
    location.rollback(at(1), &aor("alice"), one.version);
    assert_eq!(contacts(&location.lookup(at(1), &aor("alice"))), ["sip:two@192.0.2.1"]);
    location.confirm(&aor("alice"), two.version);
    assert_eq!((location.len(), location.pending()), (1, 0));
}

#[test]
fn two_failures_end_where_the_store_is_whatever_their_order() {
    for first_fails_first in [true, false] {
        let location = Location::default();
        add(&location, at(0), BindingParts { expires_at: at(60), ..parts("alice", "sip:a@192.0.2.1") });
        let one = put(&location, at(1), BindingParts { expires_at: at(70), ..parts("alice", "sip:a@192.0.2.1") });
        let two = put(&location, at(1), BindingParts { expires_at: at(80), ..parts("alice", "sip:a@192.0.2.1") });
        let order = if first_fails_first { [one.version, two.version] } else { [two.version, one.version] };
        order.iter().for_each(|version| location.rollback(at(2), &aor("alice"), *version));
        assert_eq!(location.lookup(at(2), &aor("alice"))[0].expires_at(), at(60));
        assert_eq!(location.pending(), 0);
    }
}

#[test]
fn a_connection_that_dies_meanwhile_stays_dead_after_an_undo() {
    let location = Location::default();
    add(&location, at(0), parts("alice", "sip:a@192.168.0.1"));
    let other = Reach::Flow(flow(Transport::Tls, 2));
    let change = put(&location, at(1), BindingParts { reach: other, ..parts("alice", "sip:a@192.168.0.1") });
    location.flow_failed(at(1), &flow(Transport::Tls, 2));
    location.flow_failed(at(1), &flow(Transport::Tls, 1));
    location.rollback(at(2), &aor("alice"), change.version);
    assert!(location.lookup(at(2), &aor("alice")).is_empty());
    assert_eq!(location.bindings(at(2), &aor("alice")).len(), 1);
}

#[test]
fn connections_that_a_phone_left_are_forgotten() {
    let location = Location::default();
    for slot in 1..100 {
        let reach = Reach::Flow(flow(Transport::Tls, slot));
        add(&location, at(0), BindingParts { reach, ..parts("alice", "sip:a@192.168.0.1") });
    }
    assert_eq!(location.flows.iter().map(|stripe| lock(stripe).len()).sum::<usize>(), 1);
}

#[test]
fn changes_that_are_refused_change_nothing() {
    let location = Location::default();
    add(&location, at(0), parts("alice", "sip:a@192.0.2.1"));
    let refused = location.update(at(1), CLOCK, &aor("alice"), |_, _| Err::<(Vec<Change>, ()), _>(LocationError::Busy));
    assert!(refused.is_err());
    assert_eq!(location.lookup(at(1), &aor("alice"))[0].updated_at(), at(0));
}

#[test]
fn bounds_hold() {
    let location = Location::new(LocationConfig { max_bindings: 2, max_pending: 2 });
    let try_put = |user: &str, contact: &str| {
        let decide = |_: &[Arc<Binding>], _| {
            let binding = Binding::new(&parts(user, contact)).unwrap();
            Ok::<_, LocationError>((vec![Change::Put(Arc::new(binding))], ()))
        };
        location.update(at(0), CLOCK, &aor(user), decide).map(|_| ())
    };
    assert_eq!(try_put("alice", "sip:a@192.0.2.1"), Ok(()));
    assert_eq!(try_put("bob", "sip:b@192.0.2.1"), Ok(()));
    assert_eq!(try_put("carol", "sip:c@192.0.2.1"), Err(LocationError::Full));
    assert_eq!(try_put("alice", "sip:a@192.0.2.1"), Ok(()), "a refresh always fits");
    assert_eq!(try_put("alice", "sip:a@192.0.2.1"), Err(LocationError::Busy));
}

#[test]
fn rows_remove_what_a_change_displaces() {
    let location = Location::default();
    let phone = BindingParts { instance: "urn:uuid:1", reg_id: Some(1), ..parts("alice", "sip:old@192.0.2.1") };
    add(&location, at(0), phone.clone());
    let moved = put(&location, at(1), BindingParts { contact: "sip:new@192.0.2.1", ..phone });
    let shown: Vec<_> = moved.rows.iter().map(|row| (row.contact.as_str(), row.is_removal())).collect();
    assert_eq!(shown, [("sip:old@192.0.2.1", true), ("sip:new@192.0.2.1", false)]);
    assert_eq!(moved.rows[1].expires_at_unix_ms, CLOCK.unix_ms(at(60)));
}

#[test]
fn a_restart_rings_who_can_be_reached() {
    let before = Location::default();
    let mut rows = Vec::new();
    let phones = [
        ("udp", Transport::Udp, "sip:udp@10.0.0.1:5060"),
        ("tcp", Transport::Tcp, "sip:tcp@192.0.2.8:5060;transport=tcp"),
        ("nat", Transport::Tcp, "sip:nat@10.0.0.1:5060;transport=tcp"),
        ("tls", Transport::Tls, "sip:tls@192.0.2.8:5061;transport=tls"),
        ("wss", Transport::Wss, "sip:wss@x.invalid;transport=ws"),
    ];
    for (user, transport, contact) in phones {
        let reach = Reach::Flow(flow(transport, 7)); // from 192.0.2.8:40000
        rows.extend(put(&before, at(0), BindingParts { reach, ..parts(user, contact) }).rows);
    }
    rows.extend(put(&before, at(0), BindingParts { expires_at: at(20), ..parts("gone", "sip:gone@192.0.2.1") }).rows);
    let last = rows.iter().map(|row| row.version).max().unwrap();

    // Thirty seconds later, another process with another origin.
    let clock = Clock { unix_at_origin_ms: CLOCK.unix_at_origin_ms + 30_000 };
    let after = Location::default();
    assert_eq!(after.restore(at(0), clock, last + 7, rows), 5);
    let reachable = |user: &str| after.lookup(at(0), &aor(user)).first().and_then(|binding| binding.flow());
    assert_eq!(reachable("udp").map(|it| (it.id, it.remote.port())), Some((FlowId::UNBOUND, 40000)));
    assert_eq!(reachable("tcp").map(|it| (it.id, it.remote.port())), Some((FlowId::UNBOUND, 5060)));
    for user in ["nat", "tls", "wss"] {
        assert_eq!(reachable(user), None, "{user}");
        assert_eq!(after.bindings(at(0), &aor(user))[0].remaining(at(0)), 30);
    }
    assert!(after.bindings(at(0), &aor("gone")).is_empty());
    assert!(put(&after, at(0), parts("alice", "sip:a@192.0.2.1")).version > last + 7);
}

#[test]
fn a_user_who_is_gone_leaves_nothing() {
    let location = Location::default();
    add(&location, at(0), parts("alice", "sip:a@192.0.2.1"));
    let pending = put(&location, at(0), parts("alice", "sip:b@192.0.2.1"));
    let rows = location.remove_all(at(1), &aor("alice"));
    assert!(rows.len() == 2 && rows.iter().all(BindingRow::is_removal));
    location.rollback(at(1), &aor("alice"), pending.version);
    assert!(location.is_empty() && location.pending() == 0);
}

#[test]
fn user_agents_are_shared_and_bounded() {
    let location = Location::default();
    assert!(Arc::ptr_eq(&location.intern_agent("phone/1"), &location.intern_agent("phone/1")));
    assert_eq!(location.intern_agent(&"é".repeat(100)).len(), 128);
    (0..5000).for_each(|n| drop(location.intern_agent(&format!("odd/{n}"))));
    assert!(location.agents.read().unwrap().len() <= MAX_AGENTS);
}

#[test]
fn random_histories_leave_the_indexes_in_step() {
    use farspeak_sansio::{Rng, SplitMix64};
    const USERS: [&str; 3] = ["alice", "bob", "carol"];
    const CONTACTS: [&str; 4] = ["sip:a@192.0.2.2", "sip:A@192.0.2.2", "sip:b@10.0.0.1;x=1", "sip:b@10.0.0.1"];
    for seed in 0..60 {
        let (location, mut rng) = (Location::default(), SplitMix64::new(seed));
        let mut waiting: Vec<(Aor, u64)> = Vec::new();
        let mut now = at(0);
        for _ in 0..100 {
            now += Duration::from_millis(rng.below(3000));
            let user = USERS[rng.below(3) as usize];
            let transport = [Transport::Tls, Transport::Tcp, Transport::Udp][rng.below(3) as usize];
            let used = flow(transport, rng.below(4) as u32);
            match rng.below(10) {
                0..5 => {
                    let numbered = rng.below(3) == 0;
                    let new = BindingParts {
                        instance: if numbered { "urn:uuid:1" } else { "" },
                        reg_id: numbered.then_some(1),
                        reach: Reach::Flow(used),
                        expires_at: now + Duration::from_secs(rng.below(60)),
                        ..parts(user, CONTACTS[rng.below(4) as usize])
                    };
                    waiting.push((aor(user), put(&location, now, new).version));
                }
                5 | 6 if !waiting.is_empty() => {
                    let (aor, version) = waiting.swap_remove(rng.below(waiting.len() as u64) as usize);
                    if rng.below(2) == 0 {
                        location.confirm(&aor, version)
                    } else {
                        location.rollback(now, &aor, version)
                    }
                }
                7 => location.flow_failed(now, &used),
                8 => drop(location.sweep(now, 2)),
                9 if rng.below(4) == 0 => drop(location.remove_all(now, &aor(user))),
                _ => {}
            }
            let held: Vec<_> = USERS.iter().flat_map(|user| location.bindings(now, &aor(user))).collect();
            assert!(location.len() >= held.len());
            for binding in held {
                let uri = Uri::parse(binding.contact()).unwrap();
                let found = location.all_by_contact(now, &uri).iter().any(|it| Arc::ptr_eq(it, &binding));
                assert_eq!(found, binding.is_reachable(), "seed {seed}");
            }
        }
        for (aor, version) in waiting {
            location.rollback(now, &aor, version);
        }
        location.sweep(now + Duration::from_secs(120), 1000);
        let flows: usize = location.flows.iter().map(|stripe| lock(stripe).len()).sum();
        let contacts: usize = location.contacts.iter().map(|stripe| lock(stripe).len()).sum();
        let left = (location.len(), location.users(), location.pending(), flows, contacts);
        assert_eq!(left, (0, 0, 0, 0, 0), "seed {seed}");
    }
}
