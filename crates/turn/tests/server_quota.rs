//! How much one user, one source and all together may have.

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;

use farspeak_stun::Attribute;
use farspeak_stun::attribute::EvenPort;
use farspeak_turn::{Ledger, Quota, Quotas, RestAccounts, ServerConfig, StaticAccounts};
use world::*;

fn with(quotas: Quotas) -> World {
    World::new(ServerConfig { quotas, ..config() })
}

#[test]
fn a_user_has_a_quota_wherever_it_is() {
    let quotas = Quotas { allocations_per_credential: 3, ..Quotas::default() };
    let mut world = with(quotas);
    let mut clients: Vec<Client> = (0..4).map(|n| Client::at(&format!("203.0.113.{n}:4000"))).collect();
    for client in &mut clients[..3] {
        client.allocate(&mut world);
    }
    assert_eq!(clients[3].allocate_with(&mut world, &|_| ()).code(), Some(486));
    Client::at("203.0.113.9:4000").named("bob", "password").allocate(&mut world);
    clients[0].refresh(&mut world, 0).ok();
    clients[3].allocate(&mut world);
    assert_eq!(world.server.counters().over_quota, 1);
    world.pass(seconds(600));
    assert_eq!((world.ledger.usage("alice").allocations, world.ledger.sources()), (0, 0));
}

#[test]
fn a_user_has_one_quota_under_all_its_time_limited_names() {
    let quotas = Quotas { allocations_per_credential: 2, ..Quotas::default() };
    let rest = RestAccounts::new(b"north");
    let mut world = World::with(ServerConfig { quotas, ..config() }, Box::new(rest.clone()), Arc::default());
    for n in 0..2 {
        Client::at(&format!("203.0.113.{n}:4000")).rest(&rest, 1000 + n, "alice").allocate(&mut world);
    }
    let mut third = Client::at("203.0.113.7:4000").rest(&rest, 2000, "alice");
    assert_eq!(third.allocate_with(&mut world, &|_| ()).code(), Some(486));
}

#[test]
fn a_user_may_have_a_quota_of_its_own() {
    let mut accounts = StaticAccounts::new(REALM);
    accounts.insert("alice", "secret", Some(Quota { allocations: 1 })).unwrap();
    let mut world = World::with(config(), Box::new(accounts), Arc::default());
    Client::at("203.0.113.1:4000").allocate(&mut world);
    assert_eq!(Client::at("203.0.113.2:4000").allocate_with(&mut world, &|_| ()).code(), Some(486));
}

#[test]
fn a_source_has_a_quota_whoever_it_is() {
    let quotas = Quotas { allocations_per_source: 2, ..Quotas::default() };
    let mut world = with(quotas);
    let v6 = |n: u16| Client::at(&format!("[2001:db8:7:1{n:02x}::1]:4000"));
    for mut client in [Client::at("203.0.113.7:1"), Client::at("203.0.113.7:2"), v6(1), v6(2)] {
        client.allocate(&mut world);
    }
    let mut bob = Client::at("203.0.113.7:3").named("bob", "password");
    assert_eq!(bob.allocate_with(&mut world, &|_| ()).code(), Some(486));
    assert_eq!(v6(3).allocate_with(&mut world, &|_| ()).code(), Some(486));
    Client::at("203.0.113.8:3").allocate(&mut world);
}

#[test]
fn all_together_are_bounded() {
    let mut world = with(Quotas { allocations: 5, ..Quotas::default() });
    for n in 0..5 {
        Client::at(&format!("203.0.113.{n}:4000")).allocate(&mut world);
    }
    assert_eq!(Client::at("203.0.113.9:4000").allocate_with(&mut world, &|_| ()).code(), Some(508));
}

#[test]
fn reservations_are_bounded_and_nobody_has_more_than_an_eighth() {
    let rest = RestAccounts::new(b"north");
    let config = ServerConfig { quotas: Quotas { reservations: 16, ..Quotas::default() }, ..config() };
    let mut world = World::with(config, Box::new(rest.clone()), Arc::default());
    let pair = |world: &mut World, n: usize, user: &str| {
        let mut client = Client::at(&format!("203.0.113.{n}:4000")).rest(&rest, 9999, user);
        let answer = client.allocate_with(world, &|writer| {
            writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
        });
        // What it reserved outlives its allocation.
        client.refresh(world, 0);
        answer.code()
    };
    let greedy: Vec<_> = (0..4).map(|n| pair(&mut world, n, "greedy")).collect();
    assert_eq!(greedy, [None, None, Some(486), Some(486)]);
    let others: Vec<_> = (10..26).map(|n| pair(&mut world, n, &format!("user{n}"))).collect();
    assert_eq!(others.iter().filter(|code| code.is_none()).count(), 14);
    assert!(others[14..].iter().all(|code| *code == Some(508)));
    assert_eq!((world.server.residue().relays, world.server.allocations()), (16, 0));
    world.pass(seconds(30));
    assert_eq!(pair(&mut world, 30, "greedy"), None);
}

#[test]
fn shards_count_together() {
    let quotas = Quotas { allocations_per_credential: 1, ..Quotas::default() };
    let ledger: Arc<Ledger> = Arc::default();
    let shard = |shard| {
        let config = ServerConfig { shard, shards: 2, quotas, ..config() };
        World::with(config, Box::new(accounts()), ledger.clone())
    };
    let (mut one, mut two) = (shard(0), shard(1));
    let mut alice = Client::at("203.0.113.1:4000");
    alice.allocate(&mut one);
    assert_eq!(Client::at("203.0.113.2:4000").allocate_with(&mut two, &|_| ()).code(), Some(486));
    alice.refresh(&mut one, 0).ok();
    Client::at("203.0.113.2:4000").allocate(&mut two);
}

#[test]
fn counts_what_each_user_relays() {
    let mut world = with(Quotas::default());
    let mut alice = Client::at("203.0.113.1:4000");
    let relayed = alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, PEER).ok();
    for _ in 0..3 {
        alice.channel_data(&mut world, 0x4000, &[0; 100]);
        world.peer_sends(relayed, PEER, &[0; 50]);
    }
    world.take_out();
    assert_eq!(world.ledger.usage("alice").sent.packets, 0, "the ledger is told at the next refresh");
    alice.refresh(&mut world, 600).ok();
    let usage = world.ledger.usage("alice");
    assert_eq!((usage.sent.packets, usage.sent.bytes, usage.received.bytes), (3, 300, 150));
    alice.channel_data(&mut world, 0x4000, &[0; 100]);
    world.take_out();
    alice.refresh(&mut world, 0).ok();
    let usage = world.ledger.usage("alice");
    assert_eq!((usage.sent.bytes, usage.allocations, usage.total_allocations), (400, 0, 1));
}

#[test]
fn five_thousand_cycles_leave_nothing_behind() {
    let mut world = with(Quotas::default());
    for n in 0..5000_u32 {
        let mut client = Client::at(&format!("203.0.{}.{}:4000", n / 250, n % 250));
        client.allocate(&mut world);
        client.refresh(&mut world, 600).ok();
        client.refresh(&mut world, 0).ok();
    }
    let residue = world.server.residue();
    assert_eq!((residue.allocations, residue.relays, residue.flows), (0, 0, 0));
    assert!(residue.timers < 1100, "{}", residue.timers);
    assert!(world.sockets.is_empty());
}
