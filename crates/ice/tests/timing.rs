//! How soon data flows: one round trip, and Ta for each pair ahead.

mod support;

use std::time::Duration;

use farspeak_ice::{AgentConfig, Candidate, Event, Mode, RemoteOptions, State};
use farspeak_sansio::Instant;
use farspeak_sim::Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use farspeak_sim::{HostId, Link, Nat, Network};
use support::alone::Alone;
use support::{End, World, put_behind};

const TA: Duration = Duration::from_millis(50);
const ONE_WAY: Duration = Duration::from_millis(40);

/// Lets both gather, then tells each all of the other. When that was.
fn introduce(world: &mut World) -> Instant {
    world.gather();
    world.run(Duration::from_secs(2));
    let told = [0, 1].map(|end| {
        let of_end = world.events(end).into_iter();
        let told = of_end.filter_map(|event| if let Event::LocalCandidate(told) = event { Some(told) } else { None });
        told.collect::<Vec<Candidate>>()
    });
    let credentials = [0, 1].map(|end| world.net.machine(world.ends[end]).credentials().clone());
    let begun = world.net.now();
    for end in 0..2 {
        world.agent(end, |agent, now| {
            agent.set_remote(now, &credentials[1 - end], RemoteOptions { trickle: true, ..RemoteOptions::default() });
            told[1 - end].iter().for_each(|candidate| agent.add_remote_candidate(now, candidate.clone()));
            agent.end_of_remote_candidates(now);
        });
    }
    begun
}

/// Both ends gather first and get each other's credentials and candidates at one moment. How long until each can send.
fn until_data(left: End, right: End, place: impl FnOnce(&mut Network, [HostId; 2])) -> Duration {
    let mut world = World::behind(1, left, right, |net, hosts| {
        net.set_links(Link::default().delay(ONE_WAY));
        place(net, hosts);
    });
    let begun = introduce(&mut world);
    world.run(Duration::from_secs(5));
    let connected = |event: &Event| matches!(event, Event::StateChanged(State::Connected | State::Completed));
    let when = [0, 1].map(|end| world.when(end, connected).expect("it connects"));
    when[0].max(when[1]) - begun
}

#[test]
fn in_the_open_after_one_round_trip() {
    let took = until_data(End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]), |_, _| ());
    assert_eq!(took, ONE_WAY * 2);
}

#[test]
fn both_families_after_one_round_trip_over_ipv6() {
    let left = End::new(&["192.0.2.1", "2001:db8:a::1"]).controlling();
    let took = until_data(left, End::new(&["192.0.2.2", "2001:db8:b::1"]), |_, _| ());
    assert_eq!(took, ONE_WAY * 2);
}

#[test]
fn through_two_home_routers_after_one_round_trip_and_ta_for_the_pair_ahead() {
    let took = until_data(End::new(&["10.0.0.2"]).controlling(), End::new(&["10.0.0.3"]), |net, [left, right]| {
        put_behind(net, left, "nat1", Nat::home_router(), "203.0.113.1");
        put_behind(net, right, "nat2", Nat::home_router(), "203.0.113.2");
    });
    // Host to host is ahead; host to reflexive is it.
    assert_eq!(took, TA + ONE_WAY * 2);
}

#[test]
fn two_components_hold_up_the_first_one_by_nothing() {
    let end = |ip| End::new(&[ip]).config(|config| config.components = 2);
    let mut world = World::behind(1, end("10.0.0.2").controlling(), end("10.0.0.3"), |net, [left, right]| {
        net.set_links(Link::default().delay(ONE_WAY));
        put_behind(net, left, "nat1", Nat::home_router(), "203.0.113.1");
        put_behind(net, right, "nat2", Nat::home_router(), "203.0.113.2");
    });
    let begun = introduce(&mut world);
    let mut first = [None; 2];
    while world.net.now() < begun + Duration::from_secs(2) {
        world.run(Duration::from_millis(1));
        for component in 1..=2 {
            let ready = (0..2).all(|end| world.net.machine(world.ends[end]).path(component).is_some());
            let at = &mut first[usize::from(component) - 1];
            *at = at.or(ready.then(|| world.net.now() - begun));
        }
    }
    // Its own pair host to host is ahead; and both are ahead of the second component's two, which are frozen till then.
    let slack = Duration::from_millis(1);
    let [rtp, rtcp] = first.map(Option::unwrap);
    assert!(rtp <= TA + ONE_WAY * 2 + slack, "{rtp:?}");
    assert!(rtcp <= TA * 3 + ONE_WAY * 2 + slack, "{rtcp:?}");
}

#[test]
fn from_behind_a_home_router_to_the_open_after_one_round_trip() {
    let took = until_data(End::new(&["10.0.0.2"]).controlling(), End::new(&["192.0.2.2"]), |net, [left, _]| {
        put_behind(net, left, "nat1", Nat::home_router(), "203.0.113.1");
    });
    // The other end has to hear from it first: it checks back on hearing, at the next slot.
    assert!(took <= ONE_WAY * 3 + TA, "{took:?}");
}

#[test]
fn a_mapping_that_has_to_be_learnt_takes_one_way_more() {
    let took = until_data(End::new(&["10.0.0.2"]).controlling(), End::new(&["10.0.0.3"]), |net, [left, right]| {
        put_behind(net, left, "nat1", Nat::new(EndpointIndependent, AddressDependent), "203.0.113.1");
        put_behind(net, right, "nat2", Nat::new(AddressAndPortDependent, AddressAndPortDependent), "203.0.113.2");
    });
    assert!(took <= TA * 2 + ONE_WAY * 3, "{took:?}");
}

/// How far apart the checks to many candidates begin, at least; some of them of a second component.
fn pace(own: Duration, peer: Option<Duration>) -> Duration {
    let mut config = AgentConfig { controlling: true, components: 2, ..AgentConfig::default() };
    config.timing.ta = own;
    let options = RemoteOptions { trickle: true, pacing: peer, ..RemoteOptions::default() };
    let mut alone = Alone::told(config, options);
    (1..30).for_each(|n| alone.host_of(1 + n % 2, &format!("198.51.100.{n}:7000")));
    let mut first = std::collections::BTreeMap::new();
    for _ in 0..10_000 {
        for (to, _) in alone.sent() {
            first.entry(to).or_insert(alone.now);
        }
        alone.pass(Duration::from_millis(1));
    }
    assert_eq!(first.len(), 29);
    let mut times: Vec<_> = first.into_values().collect();
    times.sort_unstable();
    times.windows(2).map(|two| two[1] - two[0]).min().unwrap()
}

#[test]
fn the_slower_end_sets_the_pace_of_all_components_together() {
    let ms = Duration::from_millis;
    for (own, peer, both) in [(50, None, 50), (20, None, 50), (20, Some(20), 20), (20, Some(200), 200), (1, Some(0), 5)]
    {
        assert_eq!(pace(ms(own), peer.map(ms)), ms(both), "{own} {peer:?}");
    }
}

#[test]
fn a_full_agent_tells_its_pace_and_a_lite_one_must_not() {
    let pacing = |mode| Alone::with(AgentConfig { mode, ..AgentConfig::default() }).agent.pacing();
    assert_eq!((pacing(Mode::Full), pacing(Mode::Lite)), (Some(TA), None));
}
