//! Trickle (RFC 8838): in whatever order things come, half trickle, what comes too late, names, mapped addresses.

mod support;

use std::time::Duration;

use farspeak_ice::port_mapping::{self, Mapping, Protocol, Way};
use farspeak_ice::{Address, Agent, Candidate, CandidateType, Event, Interface, RemoteOptions, State, Trickle};
use farspeak_sansio::SplitMix64;
use farspeak_sim::Nat;
use support::{End, World, put_behind};

fn routers(seed: u64, left: End, right: End) -> World {
    World::behind(seed, left, right, |net, [left, right]| {
        put_behind(net, left, "nat1", Nat::home_router(), "203.0.113.1");
        put_behind(net, right, "nat2", Nat::home_router(), "203.0.113.2");
    })
}

fn told(world: &World, end: usize) -> Vec<Candidate> {
    let of_end = world.events(end).into_iter();
    of_end.filter_map(|event| if let Event::LocalCandidate(told) = event { Some(told) } else { None }).collect()
}

#[test]
fn candidates_may_come_before_the_credentials() {
    let mut world = routers(1, End::new(&["10.0.0.2"]).controlling(), End::new(&["10.0.0.3"]));
    world.signalling = Duration::ZERO;
    world.gather();
    world.run(Duration::from_secs(3));
    assert_eq!(world.state(0), State::New);
    world.exchange_credentials();
    world.connect();
    world.talk();
}

#[test]
fn signalling_may_be_slow() {
    let mut world = routers(2, End::new(&["10.0.0.2"]).controlling(), End::new(&["10.0.0.3"]));
    world.signalling = Duration::from_secs(20);
    world.start();
    let took = world.connect();
    assert!(took < Duration::from_secs(22), "{took:?}");
    world.talk();
}

#[test]
fn one_end_may_know_the_other_long_before() {
    // The offerer hears checks before it knows any credentials (RFC 8445 §7.3).
    let mut world = World::new(3, End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]));
    world.gather();
    let credentials = [0, 1].map(|end| world.net.machine(world.ends[end]).credentials().clone());
    let options = RemoteOptions { trickle: true, ..RemoteOptions::default() };
    world.agent(1, |agent, now| agent.set_remote(now, &credentials[0], options));
    world.run(Duration::from_secs(2));
    assert_eq!(world.state(1), State::Connected, "it was answered at once");
    world.agent(0, |agent, now| agent.set_remote(now, &credentials[1], options));
    world.connect();
    world.talk();
}

#[test]
fn half_trickle_tells_everything_at_once() {
    let half = |config: &mut farspeak_ice::AgentConfig| config.trickle = Trickle::Half;
    let mut world = routers(4, End::new(&["10.0.0.2"]).controlling().config(half), End::new(&["10.0.0.3"]));
    world.start();
    world.connect();
    let first = world.when(0, |event| matches!(event, Event::LocalCandidate(_)));
    assert_eq!(first, world.when(0, |event| *event == Event::EndOfCandidates));
    assert_eq!(told(&world, 0).len(), 2);
    assert!(world.when(1, |event| matches!(event, Event::LocalCandidate(_))) < first);
}

#[test]
fn what_belongs_to_another_session_or_comes_after_the_end_is_passed_over() {
    let mut world = World::new(5, End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]));
    world.signalling = Duration::from_secs(1000);
    world.start();
    world.run(Duration::from_secs(1));
    let own = told(&world, 1).remove(0);
    let stale = Candidate { ufrag: Some("stale".into()), ..own.clone() };
    world.agent(0, |agent, now| agent.add_remote_candidate(now, stale));
    world.run(Duration::from_secs(1));
    world.agent(0, |agent, now| {
        agent.add_remote_candidate(now, Candidate { component: 2, ..own.clone() });
        agent.add_remote_candidate(now, Candidate { address: Address::Ip([224, 0, 0, 1].into()), ..own.clone() });
        agent.end_of_remote_candidates(now);
    });
    let mark = world.net.mark();
    world.run(Duration::from_secs(20));
    let checks = world.net.sightings().skip(mark).filter(|seen| seen.from == world.ends[0].id());
    assert_eq!(checks.filter(|seen| seen.label == "Binding-Request").count(), 1, "a keep-alive at the STUN server");
}

#[test]
fn candidates_of_a_description_may_be_added_after_its_credentials() {
    let options = RemoteOptions::default(); // no trickle: they are all
    let mut alone = support::alone::Alone::told(farspeak_ice::AgentConfig::default(), options);
    (1..=3).for_each(|n| alone.host(&format!("198.51.100.{n}:7000")));
    alone.pass(Duration::from_secs(1));
    let checked: std::collections::BTreeSet<_> = alone.sent().into_iter().map(|(to, _)| to).collect();
    assert_eq!(checked.len(), 3);
}

#[test]
fn failure_is_declared_when_patience_ends_and_not_before() {
    let mut world = World::new(6, End::new(&["192.0.2.1"]).controlling(), End::new(&["2001:db8::2"]));
    world.start();
    world.run(Duration::from_millis(39_400));
    assert_eq!(world.state(0), State::Checking, "RFC 8863");
    world.run(Duration::from_millis(200));
    assert_eq!(world.state(0), State::Failed);
}

#[test]
fn names_stand_for_addresses_of_the_local_network() {
    let named = |config: &mut farspeak_ice::AgentConfig| config.names = true;
    let left = End::new(&["10.0.0.2"]).controlling().config(named);
    let right = End::new(&["10.0.0.3"]).config(named);
    let mut world = World::behind(7, left, right, |net, hosts| {
        let nat = net.nat("nat", Nat::home_router().hairpin(false), ["203.0.113.1"]);
        hosts.into_iter().for_each(|host| net.put_behind(host, nat));
    });
    world.start();
    world.run(Duration::from_secs(1));
    assert_eq!(world.state(0), State::Checking);
    for end in 0..2 {
        for candidate in told(&world, end) {
            let text = candidate.to_string();
            assert!(!text.contains("10.0.0."), "{text}");
            if candidate.kind == CandidateType::Host {
                let Address::Name(name) = &candidate.address else { panic!("{text}") };
                assert_eq!(name.len(), 36 + 6);
            }
        }
    }
    for end in 0..2 {
        let announced = world.events(1 - end).into_iter().find_map(|event| match event {
            Event::Announce { name, address } => Some((name, address)),
            _ => None,
        });
        let (name, address) = announced.unwrap();
        assert!(world.events(end).contains(&Event::Resolve { name: name.clone() }));
        world.agent(end, |agent, now| agent.resolved(now, &name, &[address]));
    }
    world.connect();
    world.talk();
}

#[test]
fn a_host_behind_a_name_and_no_translator_is_reached() {
    let left = End::new(&["9.9.9.9"]).controlling().config(|config| config.names = true);
    let mut world = World::behind(10, left, End::new(&["10.0.0.3"]), |net, [_, right]| {
        put_behind(net, right, "nat", Nat::home_router(), "203.0.113.2");
    });
    world.start();
    world.connect();
    world.talk();
    let told: Vec<String> = told(&world, 0).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains(".local ") && told[1].contains(" 9.9.9.9 6000 typ srflx raddr 0.0.0.0 rport 9"),
        "{told:?}"
    );
}

#[test]
fn a_name_that_nobody_knows_is_no_harm() {
    let mut world = World::new(8, End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]));
    world.start();
    let line = "candidate:1 1 UDP 2130706431 0f8fad5b-d9cb-469f-a165-70867728950e.local 6001 typ host";
    world.agent(0, |agent, now| agent.add_remote_candidate(now, line.parse().unwrap()));
    let name = "0f8fad5b-d9cb-469f-a165-70867728950e.local".to_owned();
    assert!(world.events(0).contains(&Event::Resolve { name: name.clone() }));
    world.agent(0, |agent, now| agent.resolved(now, &name, &[]));
    world.connect();
}

#[test]
fn a_mapped_address_is_a_candidate_while_the_mapping_lives() {
    let mut agent = Agent::new(farspeak_ice::AgentConfig::default(), Box::new(SplitMix64::new(1)));
    let now = farspeak_sansio::Instant::ZERO;
    let base = "10.0.0.2:6000".parse().unwrap();
    agent.add_socket(now, 1, base, Interface::default());
    agent.add_mapped_address(now, base, "203.0.113.9:6000".parse().unwrap(), Duration::from_secs(120));
    let mapped = agent.local_candidates().remove(1);
    assert_eq!((mapped.kind, mapped.related), (CandidateType::ServerReflexive, Some(base)));
    assert_eq!(agent.default_candidate(1), Some("203.0.113.9:6000".parse().unwrap()));
    farspeak_sansio::Machine::handle_timeout(&mut agent, now + Duration::from_secs(121));
    assert_eq!(agent.local_candidates().len(), 1);
}

#[test]
fn a_mapping_is_a_candidate_until_the_router_takes_it_back_or_gives_another() {
    let mut agent = Agent::new(farspeak_ice::AgentConfig::default(), Box::new(SplitMix64::new(1)));
    let now = farspeak_sansio::Instant::ZERO;
    let internal = "10.0.0.2:6000".parse().unwrap();
    agent.add_socket(now, 1, internal, Interface::default());
    let mapped = |protocol, external: &str| {
        let (external, lifetime) = (external.parse().unwrap(), Some(Duration::from_secs(120)));
        port_mapping::Event::Mapped(Mapping { protocol, internal, external, lifetime, by: Way::NatPmp })
    };
    let outside = |agent: &Agent| {
        let all = agent.local_candidates();
        all.iter().filter_map(|one| one.socket_address()).filter(|at| *at != internal).collect::<Vec<_>>()
    };
    agent.port_mapping(now, &mapped(Protocol::Tcp, "203.0.113.9:6000"));
    assert!(outside(&agent).is_empty(), "connections are none of its business");
    agent.port_mapping(now, &mapped(Protocol::Udp, "203.0.113.9:6000"));
    // Renewals are the mapper's: nobody tells of them.
    let later = now + Duration::from_secs(3600);
    farspeak_sansio::Machine::handle_timeout(&mut agent, later);
    assert_eq!(outside(&agent), ["203.0.113.9:6000".parse().unwrap()]);
    agent.port_mapping(later, &mapped(Protocol::Udp, "203.0.113.10:7000"));
    assert_eq!(outside(&agent), ["203.0.113.10:7000".parse().unwrap()]);
    agent.port_mapping(later, &port_mapping::Event::Lost { protocol: Protocol::Udp, internal });
    assert!(outside(&agent).is_empty());
    agent.port_mapping(later, &port_mapping::Event::Lost { protocol: Protocol::Udp, internal });
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    let run = || {
        let mut world = routers(9, End::new(&["10.0.0.2"]).controlling(), End::new(&["10.0.0.3"]));
        world.start();
        world.connect();
        world.net.sightings().map(|seen| (seen.sent, seen.bytes.clone())).collect::<Vec<_>>()
    };
    assert!(run() == run());
}
