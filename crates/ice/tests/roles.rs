//! Who controls: conflicts settled by tie-breakers, lite peers, nomination once, aggressive peers (RFC 8445 §7.3.1.1, §8).

mod support;

use std::time::Duration;

use farspeak_ice::{AgentConfig, Event, Mode, RemoteOptions, State};
use support::{End, World};

fn tie(controlling: bool, tie_breaker: u64) -> impl Fn(&mut AgentConfig) {
    move |config| (config.controlling, config.tie_breaker) = (controlling, Some(tie_breaker))
}

#[test]
fn two_with_the_same_role_settle_it_whoever_has_which_tie_breaker() {
    for both in [true, false] {
        for ties in [(1, 2), (2, 1), (7, 7)] {
            let left = End::new(&["192.0.2.1"]).config(tie(both, ties.0));
            let right = End::new(&["192.0.2.2"]).config(tie(both, ties.1));
            let mut world = World::new(1, left, right);
            world.start();
            world.connect();
            world.talk();
            let roles = [0, 1].map(|end| world.net.machine(world.ends[end]).is_controlling());
            assert_ne!(roles[0], roles[1], "{both} {ties:?}");
            match ties {
                (1, 2) => assert_eq!(roles, [false, true]),
                (2, 1) => assert_eq!(roles, [true, false]),
                _ => {}
            }
            let changed = |end: usize| world.events(end).iter().any(|event| matches!(event, Event::RoleChanged { .. }));
            assert!(changed(0) || changed(1));
        }
    }
}

#[test]
fn the_controlling_one_nominates_once() {
    for seed in 1..20 {
        let left = End::new(&["192.0.2.1", "2001:db8:a::1"]).controlling();
        let mut world = World::new(seed, left, End::new(&["192.0.2.2", "2001:db8:b::1"]));
        world.net.set_links(farspeak_sim::Link::default().loss(0.2).jitter(Duration::from_millis(80)));
        world.start();
        world.connect();
        world.run(Duration::from_secs(60));
        for end in 0..2 {
            let selected = world.events(end).iter().filter(|event| matches!(event, Event::Selected { .. })).count();
            assert_eq!(selected, 1, "seed {seed}");
        }
        assert_eq!(world.selected(0).unwrap().1, world.selected(1).unwrap().0);
    }
}

#[test]
fn a_peer_that_nominates_again_and_again_is_followed_to_the_best_pair() {
    let left = End::new(&["192.0.2.1", "2001:db8:a::1"]).controlling().config(|config| config.engine = support::is());
    let right = End::new(&["192.0.2.2", "2001:db8:b::1"]);
    let mut world = World::new(2, left, right);
    world.start();
    world.connect();
    world.run(Duration::from_secs(10));
    world.talk();
    assert_eq!(world.selected(0).unwrap().1, world.selected(1).unwrap().0);
    assert!(world.selected(1).unwrap().0.is_ipv6());
}

fn lite_world(seed: u64) -> World {
    // The lite one believes to control, and yields.
    let lite = End::new(&["192.0.2.1"]).config(|config| (config.mode, config.controlling) = (Mode::Lite, true));
    let mut world = World::new(seed, lite, End::new(&["192.0.2.2"]));
    world.gather();
    let credentials = [0, 1].map(|end| world.net.machine(world.ends[end]).credentials().clone());
    world.agent(0, |agent, now| agent.set_remote(now, &credentials[1], RemoteOptions::default()));
    let options = RemoteOptions { lite: true, trickle: true, ..RemoteOptions::default() };
    world.agent(1, |agent, now| agent.set_remote(now, &credentials[0], options));
    world
}

#[test]
fn a_lite_agent_is_connected_to_and_checks_nothing_itself() {
    let mut world = lite_world(3);
    world.connect();
    world.talk();
    world.run(Duration::from_secs(100));
    assert!(world.net.machine(world.ends[1]).is_controlling() && !world.net.machine(world.ends[0]).is_controlling());
    let stun = world.net.host_named("stun");
    let asked = world.net.sightings().filter(|seen| seen.from == world.ends[0].id() && seen.to != stun);
    assert_eq!(asked.filter(|seen| seen.label == "Binding-Request").count(), 0);
    assert_eq!((world.state(0), world.state(1)), (State::Completed, State::Completed));
}

#[test]
fn a_lite_agent_notices_that_its_peer_has_gone() {
    let mut world = lite_world(4);
    world.connect();
    world.run(Duration::from_secs(60));
    world.net.power(world.ends[1], false);
    world.run(Duration::from_secs(31));
    assert!(world.when(0, |event| matches!(event, Event::ConsentLost { .. })).is_some());
    assert_eq!(world.state(0), State::Failed);
}

/// Two lite agents that have told each other so.
fn both_lite(left: &[&'static str], right: &[&'static str]) -> World {
    let lite = |end: End| end.config(|config| config.mode = Mode::Lite);
    let mut world = World::new(6, lite(End::new(left).controlling()), lite(End::new(right)));
    world.gather();
    let credentials = [0, 1].map(|end| world.net.machine(world.ends[end]).credentials().clone());
    let options = RemoteOptions { lite: true, trickle: true, ..RemoteOptions::default() };
    for end in 0..2 {
        world.agent(end, |agent, now| agent.set_remote(now, &credentials[1 - end], options));
    }
    world
}

#[test]
fn two_lite_agents_select_the_same_pair_and_check_nothing() {
    let mut world = both_lite(&["192.0.2.1", "2001:db8:a::1"], &["192.0.2.2", "2001:db8:b::1"]);
    world.connect();
    world.talk();
    world.run(Duration::from_secs(300));
    world.talk();
    assert_eq!((world.state(0), world.state(1)), (State::Completed, State::Completed));
    let roles = [0, 1].map(|end| world.net.machine(world.ends[end]).is_controlling());
    assert_eq!(roles, [true, false], "who began controls (RFC 8445 §6.1.1)");
    let (selected, other) = (world.selected(0).unwrap(), world.selected(1).unwrap());
    assert_eq!((selected.0, selected.1), (other.1, other.0));
    assert!(selected.0.is_ipv6());
    assert_eq!(world.net.sightings().filter(|seen| seen.label == "Binding-Request").count(), 0);
    assert!(world.net.sightings().any(|seen| seen.label == "Binding-Indication"), "RFC 8445 §11");
}

#[test]
fn two_lite_agents_select_the_best_of_a_description_in_whatever_order_it_is_told() {
    let options = RemoteOptions { lite: true, ..RemoteOptions::default() };
    let config = AgentConfig { mode: Mode::Lite, ..AgentConfig::default() };
    let mut alone = support::alone::Alone::told(config, options);
    for (priority, port) in [(5, 7005), (9, 7009), (7, 7007)] {
        let line = format!("candidate:{port} 1 UDP {priority} 198.51.100.1 {port} typ host");
        alone.agent.add_remote_candidate(alone.now, line.parse().unwrap());
    }
    alone.pass(Duration::from_secs(1));
    assert_eq!(alone.agent.state(), State::Completed);
    assert_eq!(alone.agent.path(1).unwrap().0.remote.port(), 7009);
}

#[test]
fn two_lite_agents_without_a_family_in_common_fail() {
    let mut world = both_lite(&["192.0.2.1"], &["2001:db8:b::1"]);
    world.run(Duration::from_secs(5));
    assert_eq!((world.state(0), world.state(1)), (State::Failed, State::Failed));
}

#[test]
fn renomination_where_both_agree_moves_to_a_better_pair() {
    let renominating = |config: &mut AgentConfig| {
        config.nomination.renomination = true;
        config.nomination.patience = Duration::ZERO;
    };
    let left = End::new(&["192.0.2.1", "2001:db8:a::1"]).controlling().config(renominating);
    let right = End::new(&["192.0.2.2", "2001:db8:b::1"]).config(renominating);
    let mut world = World::new(5, left, right);
    world.gather();
    let credentials = [0, 1].map(|end| world.net.machine(world.ends[end]).credentials().clone());
    let told = [0, 1].map(|end| world.net.machine(world.ends[end]).local_candidates());
    let options = RemoteOptions { renomination: true, trickle: true, ..RemoteOptions::default() };
    // IPv4 first, and IPv6 when that has been selected.
    for v4 in [true, false] {
        for end in 0..2 {
            world.agent(end, |agent, now| {
                agent.set_remote(now, &credentials[1 - end], options);
                let fits = told[1 - end].iter().filter(|told| told.socket_address().unwrap().is_ipv4() == v4);
                fits.for_each(|told| agent.add_remote_candidate(now, told.clone()));
            });
        }
        world.net.run_for(Duration::from_secs(2));
        for end in 0..2 {
            assert_eq!(world.selected(end).unwrap().0.is_ipv4(), v4);
        }
        assert_eq!(world.selected(0).unwrap().1, world.selected(1).unwrap().0);
    }
    world.talk();
}
