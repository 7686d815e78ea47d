//! ICE restart (RFC 8445 §9): other credentials, the old pair carries the data meanwhile.

mod support;

use std::time::Duration;

use farspeak_ice::{Agent, Event, Interface, RemoteOptions, State};
use farspeak_sansio::Transport;
use farspeak_sim::Nat;
use support::{End, World, put_behind};

fn trickle() -> RemoteOptions {
    RemoteOptions { trickle: true, ..RemoteOptions::default() }
}

fn connected() -> World {
    let mut world = World::new(1, End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]));
    world.start();
    world.connect();
    world.talk();
    world
}

#[test]
fn data_flows_all_the_time_and_a_new_pair_is_selected() {
    let mut world = connected();
    let old = world.net.machine(world.ends[0]).credentials().clone();
    world.agent(0, Agent::restart);
    let new = world.net.machine(world.ends[0]).credentials().clone();
    assert!(old.ufrag() != new.ufrag() && old.password() != new.password());
    world.talk();
    world.run(Duration::from_secs(40));
    world.talk();
    // The offer arrives: the other end restarts as well, and answers.
    world.agent(1, |agent, now| agent.set_remote(now, &new, trickle()));
    world.talk();
    let answer = world.net.machine(world.ends[1]).credentials().clone();
    world.agent(0, |agent, now| agent.set_remote(now, &answer, trickle()));
    world.connect();
    world.talk();
    let selected = world.events(0).iter().filter(|event| matches!(event, Event::Selected { .. })).count();
    assert_eq!(selected, 2);
}

#[test]
fn in_the_midst_of_checks_begins_anew() {
    // Whenever it happens: nothing asked yet, checks under way, valid, nominated.
    for moment in (0..900).step_by(37) {
        let slow = farspeak_sim::Link::default().delay(Duration::from_millis(100));
        let mut world =
            World::behind(2, End::new(&["10.0.0.2"]).controlling(), End::new(&["10.0.0.3"]), |net, [l, r]| {
                net.set_links(slow);
                put_behind(net, l, "nat1", Nat::home_router(), "203.0.113.1");
                put_behind(net, r, "nat2", Nat::home_router(), "203.0.113.2");
            });
        world.signalling = Duration::ZERO;
        world.start();
        world.run(Duration::from_millis(moment));
        world.drop_mail();
        world.agent(0, Agent::restart);
        let offer = world.net.machine(world.ends[0]).credentials().clone();
        world.agent(1, |agent, now| agent.set_remote(now, &offer, trickle()));
        let answer = world.net.machine(world.ends[1]).credentials().clone();
        world.run(Duration::from_millis(60));
        world.agent(0, |agent, now| agent.set_remote(now, &answer, trickle()));
        world.connect();
        world.talk();
        assert_eq!(world.selected(0).unwrap().1.ip().to_string(), "203.0.113.2", "{moment} ms");
    }
}

#[test]
fn brings_a_lost_session_back() {
    let mut world = connected();
    world.net.power(world.ends[1], false);
    world.run(Duration::from_secs(40));
    assert_eq!(world.state(0), State::Failed);
    world.net.power(world.ends[1], true);
    world.run(Duration::from_secs(40));
    assert_eq!(world.state(1), State::Failed, "nobody has answered it either");
    for end in 0..2 {
        world.agent(end, Agent::restart);
    }
    world.exchange_credentials();
    world.connect();
    world.talk();
}

#[test]
fn moves_a_session_to_another_network() {
    let mut world = World::new(3, End::new(&["192.0.2.1", "192.0.2.77"]).controlling(), End::new(&["192.0.2.2"]));
    world.start();
    world.connect();
    let (before, ..) = world.selected(0).unwrap();
    let other = if before.ip().to_string() == "192.0.2.1" { "192.0.2.77:6000" } else { "192.0.2.1:6000" };
    world.agent(0, |agent, now| agent.remove_socket(now, before));
    assert!(world.agent(0, |agent, now| agent.send(now, 1, b"lost")).is_err());
    world.agent(0, Agent::restart);
    let new = world.net.machine(world.ends[0]).credentials().clone();
    world.agent(1, |agent, now| agent.set_remote(now, &new, trickle()));
    let answer = world.net.machine(world.ends[1]).credentials().clone();
    world.agent(0, |agent, now| agent.set_remote(now, &answer, trickle()));
    world.connect();
    world.talk();
    assert_eq!(world.selected(0).unwrap().0, other.parse().unwrap());
}

#[test]
fn a_socket_that_comes_later_is_told_in_the_next_generation() {
    let mut world = connected();
    let mark = world.events(0).len();
    let late = world.net.bind(world.ends[0], Transport::Udp, 7777);
    world.agent(0, |agent, now| agent.add_socket(now, 1, late, Interface::default()));
    let told = |event: &Event| matches!(event, Event::LocalCandidate(candidate) if candidate.port == 7777);
    assert!(!world.events(0)[mark..].iter().any(told), "not after the end (RFC 8838 §13)");
    world.agent(0, Agent::restart);
    assert!(world.events(0)[mark..].iter().any(told), "at once: it is trickled");
}
