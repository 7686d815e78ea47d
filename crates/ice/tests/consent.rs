//! Consent (RFC 7675): kept while the peer answers, lost after thirty seconds of silence, and then not a packet more.

mod support;

use std::time::Duration;

use farspeak_ice::{Event, SendError, State};
use farspeak_sansio::Instant;
use farspeak_sim::{Fate, Nat};
use support::{End, World, put_behind};

fn connected() -> World {
    let mut world = World::new(1, End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]));
    world.start();
    world.connect();
    world
}

/// When the requests for consent of an end went out since a moment.
fn asked(world: &World, end: usize, since: Instant) -> Vec<Instant> {
    let from = world.ends[end].id();
    let of_end = world.net.sightings().filter(|seen| seen.from == from && seen.sent > since);
    of_end.filter(|seen| seen.label == "Binding-Request").map(|seen| seen.sent).collect()
}

#[test]
fn is_asked_for_every_four_to_six_seconds_and_kept_for_hours() {
    let mut world = connected();
    let since = world.net.now();
    world.run(Duration::from_secs(3600));
    assert_eq!(world.state(0), State::Completed);
    world.talk();
    let times = asked(&world, 0, since + Duration::from_secs(6));
    let gaps: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.iter().all(|gap| (Duration::from_secs(4)..=Duration::from_secs(6)).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().min() != gaps.iter().max(), "they are spread");
    assert!((550..800).contains(&times.len()), "{}", times.len());
}

#[test]
fn is_never_asked_for_more_often_however_it_is_configured() {
    let hasty = |config: &mut farspeak_ice::AgentConfig| config.timing.consent_interval = Duration::from_millis(100);
    let left = End::new(&["192.0.2.1"]).controlling().config(hasty);
    let mut world = World::new(1, left, End::new(&["192.0.2.2"]));
    world.start();
    world.connect();
    let since = world.net.now() + Duration::from_secs(6);
    world.run(Duration::from_secs(100));
    let times = asked(&world, 0, since);
    assert!(times.windows(2).all(|two| two[1] - two[0] >= Duration::from_secs(4)), "RFC 7675 §5.1");
}

#[test]
fn is_lost_after_thirty_seconds_and_nothing_is_sent_any_more() {
    let mut world = connected();
    world.run(Duration::from_secs(60));
    let silent = world.net.now();
    world.net.power(world.ends[1], false);
    world.run(Duration::from_secs(24));
    assert_eq!(world.state(0), State::Completed);
    world.agent(0, |agent, now| agent.send(now, 1, b"still")).unwrap();
    world.run(Duration::from_secs(20));
    let lost = world.when(0, |event| matches!(event, Event::ConsentLost { component: 1 })).expect("it is lost");
    let after = lost - silent;
    assert!(after <= Duration::from_secs(30) && after >= Duration::from_secs(24), "{after:?}");
    assert_eq!(world.state(0), State::Failed);
    assert_eq!(world.agent(0, |agent, now| agent.send(now, 1, b"late")), Err(SendError::NoConsent));
    world.run(Duration::from_secs(600));
    let from = world.ends[0].id();
    assert_eq!(world.net.sightings().filter(|seen| seen.from == from && seen.sent >= lost).count(), 0);
}

#[test]
fn survives_the_loss_of_answers() {
    let mut world = connected();
    let link = farspeak_sim::Link::default().loss(0.1);
    world.net.set_link(world.ends[0], world.ends[1], link);
    world.run(Duration::from_secs(1800));
    assert_eq!((world.state(0), world.state(1)), (State::Completed, State::Completed));
}

#[test]
fn keeps_the_mappings_of_impatient_translators_alive() {
    let impatient = Nat::home_router().udp_timeout(Duration::from_secs(20));
    let mut world = World::behind(2, End::new(&["10.0.0.2"]).controlling(), End::new(&["10.0.0.3"]), |net, [l, r]| {
        put_behind(net, l, "nat1", impatient, "203.0.113.1");
        put_behind(net, r, "nat2", impatient, "203.0.113.2");
    });
    world.start();
    world.connect();
    world.run(Duration::from_secs(600));
    let mark = world.net.mark();
    world.talk();
    assert!(world.net.sightings().skip(mark).all(|seen| seen.fate == Fate::Delivered));
}
