//! Relayed candidates: over UDP, TCP and TLS, both ends through one server, and given back.

mod support;

use std::time::Duration;

use farspeak_ice::{AgentConfig, CandidateType, Event, Privacy};
use farspeak_sansio::Transport;
use farspeak_sim::{Host, Nat};
use support::relay::{self, Relay};
use support::{End, World, put_behind, turn};

const TURN: &str = "198.51.100.9";

fn through(transports: &'static [Transport]) -> impl Fn(&mut AgentConfig) {
    move |config| config.servers.extend(transports.iter().map(|transport| turn(*transport, TURN)))
}

fn allocations(world: &World, relay: Host<Relay>) -> usize {
    world.net.machine(relay).server.sessions(world.net.now()).count()
}

fn world(seed: u64, left: End, right: End) -> (World, Host<Relay>) {
    let mut host = None;
    let world = World::behind(seed, left, right, |net, [left, right]| {
        host = Some(relay::host(net, "turn", [TURN], |_| ()));
        put_behind(net, left, "nat1", Nat::symmetric(), "203.0.113.1");
        put_behind(net, right, "nat2", Nat::symmetric(), "203.0.113.2");
    });
    (world, host.unwrap())
}

#[test]
fn two_symmetric_translators_are_crossed_by_a_relay() {
    for transports in [&[Transport::Udp][..], &[Transport::Tcp], &[Transport::Tls]] {
        let left = End::new(&["10.0.0.2"]).controlling().config(through(transports));
        let right = End::new(&["10.0.0.3"]);
        let (mut world, turn) = world(1, left, right);
        world.start();
        let took = world.connect();
        world.talk();
        assert!(took < Duration::from_secs(4), "{transports:?} took {took:?}");
        assert!(world.selected(0).unwrap().2);
        assert_eq!(allocations(&world, turn), 1);
    }
}

#[test]
fn two_that_tell_only_their_relay_meet_inside_the_server() {
    let private = |config: &mut AgentConfig| {
        through(&[Transport::Udp])(config);
        config.privacy = Privacy::RelayOnly;
    };
    let left = End::new(&["10.0.0.2"]).controlling().config(private);
    let right = End::new(&["10.0.0.3"]).config(private);
    let (mut world, turn) = world(2, left, right);
    world.start();
    world.connect();
    world.talk();
    for end in 0..2 {
        for event in world.events(end) {
            if let Event::LocalCandidate(candidate) = event {
                assert_eq!(candidate.kind, CandidateType::Relayed);
                assert_eq!(candidate.related, Some("0.0.0.0:9".parse().unwrap()));
            }
        }
        world.agent(end, |agent, now| agent.close(now));
    }
    world.run(Duration::from_secs(2));
    assert_eq!(allocations(&world, turn), 0);
}

#[test]
fn refuses_to_tell_where_it_is_whatever_it_has_found_out() {
    let inside = "10.0.0.2:6000".parse().unwrap();
    for (names, privacy) in [(true, Privacy::All), (false, Privacy::RelayOnly), (true, Privacy::RelayOnly)] {
        let left = End::new(&["10.0.0.2"]).controlling().config(|config| {
            through(&[Transport::Udp, Transport::Tls])(config);
            (config.names, config.privacy) = (names, privacy);
        });
        let (mut world, turn) = world(8, left, End::new(&["10.0.0.3"]));
        world.agent(0, |agent, now| {
            agent.add_socket(now, 1, inside, farspeak_ice::Interface::default());
            agent.add_mapped_address(now, inside, "9.9.9.9:6000".parse().unwrap(), Duration::from_secs(600));
        });
        world.start();
        world.connect();
        world.talk();
        let mut told: Vec<String> = world.events(0).iter().filter_map(candidate).collect();
        let agent = world.net.machine(world.ends[0]);
        told.extend(agent.local_candidates().iter().map(ToString::to_string));
        told.extend(agent.default_candidate(1).map(|at| at.to_string()));
        assert!(told.iter().any(|told| told.contains("typ relay")));
        assert!(!told.iter().any(|told| told.contains("10.0.0.2")), "{told:?}");
        if privacy == Privacy::RelayOnly {
            assert!(!told.iter().any(|told| told.contains("203.0.113.1") || told.contains("9.9.9.9")), "{told:?}");
            let others =
                world.net.sightings().filter(|seen| seen.from == world.ends[0].id() && seen.to != Some(turn.id()));
            assert_eq!(others.count(), 0, "all that it sends goes to its relay");
        }
    }
}

fn candidate(event: &Event) -> Option<String> {
    if let Event::LocalCandidate(candidate) = event { Some(candidate.to_string()) } else { None }
}

#[test]
fn where_the_peer_was_in_former_sessions_is_let_in_no_longer() {
    let left = End::new(&["10.0.0.2"]).controlling().config(through(&[Transport::Udp]));
    let (mut world, turn) = world(7, left, End::new(&["10.0.0.3"]));
    world.start();
    world.connect();
    for round in 0..20 {
        world.drop_mail();
        for end in 0..2 {
            world.agent(end, farspeak_ice::Agent::restart);
        }
        world.exchange_credentials();
        for n in 1..=10 {
            let line = format!("candidate:9{n} 1 UDP 1 9.9.{round}.{n} 7000 typ host");
            world.agent(0, |agent, now| agent.add_remote_candidate(now, line.parse().unwrap()));
        }
        world.connect();
        world.talk();
        world.run(Duration::from_secs(40));
    }
    // Those that nobody wants any more end by themselves (RFC 8656 §9).
    world.run(Duration::from_secs(600));
    world.talk();
    let sessions: Vec<_> = world.net.machine(turn).server.sessions(world.net.now()).collect();
    let counts: Vec<_> = sessions.iter().map(|session| (session.permissions, session.channels)).collect();
    assert_eq!(counts, [(11, 1)], "those of the last session, and its one channel");
}

#[test]
fn the_better_way_to_a_relay_is_the_only_one_taken_and_an_unused_relay_is_given_back() {
    let all = through(&[Transport::Udp, Transport::Tcp, Transport::Tls]);
    let left = End::new(&["192.0.2.1"]).controlling().config(&all);
    let right = End::new(&["192.0.2.2"]).config(&all);
    let mut host = None;
    let mut world = World::behind(3, left, right, |net, _| host = Some(relay::host(net, "turn", [TURN], |_| ())));
    world.start();
    world.run(Duration::from_secs(2));
    assert_eq!(allocations(&world, host.unwrap()), 2);
    world.connect();
    world.run(Duration::from_secs(5));
    assert_eq!(allocations(&world, host.unwrap()), 0);
    assert!(!world.selected(0).unwrap().2);
    world.talk();
}

#[test]
fn two_components_get_a_relay_each() {
    for transports in [&[Transport::Udp][..], &[Transport::Tls]] {
        let private = |config: &mut AgentConfig| {
            through(transports)(config);
            (config.privacy, config.components) = (Privacy::RelayOnly, 2);
        };
        let left = End::new(&["10.0.0.2"]).controlling().config(private);
        let right = End::new(&["10.0.0.3"]).config(private);
        let (mut world, turn) = world(4, left, right);
        world.start();
        world.connect();
        world.talk();
        assert_eq!(allocations(&world, turn), 4);
    }
}

#[test]
fn a_relay_that_dies_takes_consent_with_it_and_a_restart_finds_another_way() {
    let left = End::new(&["10.0.0.2"]).controlling().config(through(&[Transport::Tcp]));
    let right = End::new(&["192.0.2.2"]).config(|config| config.privacy = Privacy::All);
    let mut host = None;
    let mut world = World::behind(5, left, right, |net, [left, _]| {
        host = Some(relay::host(net, "turn", [TURN], |_| ()));
        put_behind(net, left, "firewall", Nat::home_router().without_udp(None), "203.0.113.1");
    });
    let turn = host.unwrap();
    world.start();
    world.connect();
    world.talk();
    world.net.restart(turn, Relay::new(&[TURN], 9, |_| ()));
    world.run(Duration::from_secs(40));
    assert_eq!(world.state(1), farspeak_ice::State::Failed);
    for end in 0..2 {
        world.agent(end, farspeak_ice::Agent::restart);
    }
    world.exchange_credentials();
    world.connect();
    world.talk();
}

#[test]
fn what_was_asked_for_is_given_back_even_if_nobody_waits_for_the_answer() {
    for transports in [&[Transport::Udp][..], &[Transport::Tls]] {
        let left = End::new(&["10.0.0.2"]).controlling().config(through(transports));
        let (mut world, turn) = world(6, left, End::new(&["10.0.0.3"]));
        world.start();
        // The server has granted it, and the answer is on the way.
        while allocations(&world, turn) == 0 {
            world.run(Duration::from_millis(1));
        }
        world.agent(0, |agent, now| agent.close(now));
        world.run(Duration::from_secs(5));
        assert_eq!(allocations(&world, turn), 0);
    }
}
