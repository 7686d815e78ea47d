//! RFC 6665 §4 at both ends: subscriptions that are accepted, refreshed, polled, ended and lost.

use std::time::Duration;

use farspeak_sip::event::{Subscribe, SubscriptionEnd, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{self, SubscriptionReason, SubscriptionState, SubscriptionStatus};
use farspeak_sip::message::StatusCode;
use farspeak_sip::user_agent::{Body, Event, Extra, Failure};

use crate::world::{World, everywhere};

fn subscribe(world: &mut World, package: &str, expires: u32) -> SubscriptionId {
    let opening = world.opening("alice", "bob");
    let event = header::Event::new(package);
    let wanted = Subscribe { opening, event, expires, extra: Extra::new() };
    world.at("alice", |agent| agent.subscribe(wanted)).unwrap()
}

#[track_caller]
fn hears(world: &mut World, name: &str) -> (SubscriptionId, SubscriptionEvent) {
    match world.hears(name, "Subscription") {
        Event::Subscription { subscription, event } => (subscription, event),
        _ => unreachable!("hears gave another event"),
    }
}

#[track_caller]
fn accepted(world: &mut World, pending: bool) -> SubscriptionId {
    let (id, SubscriptionEvent::Requested { .. }) = hears(world, "bob") else { panic!("{:?}", world.heard("bob")) };
    world.at("bob", |agent| agent.accept_subscription(id, pending, 3600)).unwrap();
    state_owed(world);
    id
}

#[track_caller]
fn state_owed(world: &mut World) {
    let (id, SubscriptionEvent::StateOwed { .. }) = hears(world, "bob") else { panic!("{}", world.net) };
    world.at("bob", |agent| agent.notify(id, body("open"))).unwrap();
}

fn body(text: &str) -> Extra {
    Extra::new().body(Body::new("application/pidf+xml", text.as_bytes()))
}

#[track_caller]
fn notified(world: &mut World) -> (SubscriptionState, Vec<u8>) {
    match hears(world, "alice") {
        (_, SubscriptionEvent::Notified { state, request }) => (state, request.body().to_vec()),
        other => panic!("{other:?}\n{}", world.net),
    }
}

#[track_caller]
fn ended(world: &mut World, name: &str) -> SubscriptionEnd {
    loop {
        match hears(world, name).1 {
            SubscriptionEvent::Ended(end) => return end,
            SubscriptionEvent::Notified { .. } => {}
            other => panic!("{other:?}\n{}", world.net),
        }
    }
}

#[test]
fn a_subscription_is_accepted_notified_and_left() {
    everywhere(|world| {
        let alice = subscribe(world, "presence", 600);
        let bob = accepted(world, false);
        let (state, text) = notified(world);
        assert_eq!((state.state, text.as_slice()), (SubscriptionStatus::Active, b"open".as_slice()));
        world.net.run_for(Duration::from_secs(40));
        world.at("bob", |agent| agent.notify(bob, body("closed"))).unwrap();
        assert_eq!(notified(world).1, b"closed");
        world.at("alice", |agent| agent.unsubscribe(alice)).unwrap();
        let (_, SubscriptionEvent::StateOwed { last: true, .. }) = hears(world, "bob") else { panic!("{}", world.net) };
        world.at("bob", |agent| agent.notify(bob, body("last"))).unwrap();
        assert_eq!(notified(world).0.state, SubscriptionStatus::Terminated);
        assert!(matches!(ended(world, "alice"), SubscriptionEnd::Terminated(_)));
        assert!(matches!(ended(world, "bob"), SubscriptionEnd::Left));
    });
}

#[test]
fn a_subscription_is_refreshed_before_it_expires() {
    let mut world = World::new(crate::world::Conditions::udp());
    let alice = subscribe(&mut world, "presence", 120);
    accepted(&mut world, false);
    for _ in 0..5 {
        notified(&mut world);
        state_owed(&mut world);
    }
    assert!(world.net.now().since_origin() > Duration::from_secs(300));
    world.at("alice", |agent| agent.unsubscribe(alice)).unwrap();
    world.settles();
}

#[test]
fn a_subscriber_that_vanishes_expires() {
    let mut world = World::new(crate::world::Conditions::udp());
    subscribe(&mut world, "presence", 120);
    accepted(&mut world, false);
    notified(&mut world);
    world.power("alice", false);
    assert!(matches!(ended(&mut world, "bob"), SubscriptionEnd::Expired));
    world.power("alice", true);
    ended(&mut world, "alice");
    world.settles();
}

#[test]
fn a_pending_subscription_waits_for_authorisation() {
    everywhere(|world| {
        subscribe(world, "presence", 600);
        let bob = accepted(world, true);
        assert_eq!(notified(world).0.state, SubscriptionStatus::Pending);
        world.at("bob", |agent| agent.activate(bob)).unwrap();
        world.at("bob", |agent| agent.notify(bob, body("open"))).unwrap();
        assert_eq!(notified(world).0.state, SubscriptionStatus::Active);
        let rejected = SubscriptionState::terminated(SubscriptionReason::Rejected);
        world.at("bob", |agent| agent.terminate(bob, rejected, Extra::new())).unwrap();
        assert_eq!(notified(world).0.reason, Some(SubscriptionReason::Rejected));
    });
}

#[test]
fn a_poll_gets_one_notification() {
    // RFC 6665 §4.1.2.3
    everywhere(|world| {
        subscribe(world, "presence", 0);
        accepted(world, false);
        assert_eq!(notified(world).0.state, SubscriptionStatus::Terminated);
    });
}

#[test]
fn an_unknown_package_is_refused_with_those_that_are_known() {
    everywhere(|world| {
        subscribe(world, "unheard-of", 600);
        let SubscriptionEnd::Refused(Failure::Response(response)) = ended(world, "alice") else {
            panic!("{}", world.net)
        };
        assert_eq!(response.status(), Some(StatusCode::BAD_EVENT));
        assert_eq!(response.header_named("Allow-Events"), Some("presence, dialog"));
    });
}

#[test]
fn a_subscription_too_brief_is_asked_for_again() {
    // RFC 6665 §4.2.1.1
    everywhere(|world| {
        let alice = subscribe(world, "presence", 10);
        accepted(world, false);
        assert!(notified(world).0.expires.is_some_and(|seconds| seconds > 20));
        world.at("alice", |agent| agent.unsubscribe(alice)).unwrap();
    });
}

#[test]
fn notifications_keep_their_pace_and_only_the_newest_state_travels() {
    let mut world = World::new(crate::world::Conditions::udp());
    let alice = subscribe(&mut world, "dialog", 600);
    let bob = accepted(&mut world, false);
    notified(&mut world);
    for state in 0..100 {
        world.at("bob", |agent| agent.notify(bob, body(&state.to_string()))).unwrap();
    }
    assert_eq!(notified(&mut world).1, b"99");
    assert_eq!(world.net.count("bob -> alice  NOTIFY"), 2);
    world.at("alice", |agent| agent.unsubscribe(alice)).unwrap();
    world.settles();
}

#[test]
fn a_notification_out_of_nowhere_is_refused() {
    // RFC 6665 §4.1.3: 481
    let mut world = World::new(crate::world::Conditions::udp());
    let alice = subscribe(&mut world, "presence", 600);
    let bob = accepted(&mut world, false);
    notified(&mut world);
    world.restart("alice");
    world.at("bob", |agent| agent.notify(bob, body("open"))).unwrap();
    world.net.expect("alice -> bob  481 NOTIFY");
    assert!(matches!(ended(&mut world, "bob"), SubscriptionEnd::Left));
    assert!(world.at("alice", |agent| agent.unsubscribe(alice)).is_err());
    world.settles();
}

#[test]
fn a_subscription_that_the_application_never_decides_is_refused() {
    let mut world = World::new(crate::world::Conditions::udp());
    subscribe(&mut world, "presence", 600);
    let (_, SubscriptionEvent::Requested { .. }) = hears(&mut world, "bob") else { panic!("{}", world.net) };
    let SubscriptionEnd::Refused(failure) = ended(&mut world, "alice") else { panic!("{}", world.net) };
    assert_eq!(failure.status(), StatusCode::TEMPORARILY_UNAVAILABLE);
    assert!(matches!(ended(&mut world, "bob"), SubscriptionEnd::Expired));
    world.settles();
}

#[test]
fn a_subscriber_that_wants_to_hear_something_is_told_at_that_rate_and_no_faster_than_it_wants() {
    // RFC 6446 §5, §6
    let mut world = World::new(crate::world::Conditions::udp());
    let opening = world.opening("alice", "bob");
    let event = header::Event::parse("presence;max-rate=0.1;min-rate=0.05").unwrap();
    let wanted = Subscribe { opening, event, expires: 600, extra: Extra::new() };
    let alice = world.at("alice", |agent| agent.subscribe(wanted)).unwrap();
    let bob = accepted(&mut world, false);
    notified(&mut world);
    let start = world.net.now();
    state_owed(&mut world);
    notified(&mut world);
    assert_eq!((world.net.now() - start).as_secs(), 20);
    world.at("bob", |agent| agent.notify(bob, body("news"))).unwrap();
    notified(&mut world);
    assert_eq!((world.net.now() - start).as_secs(), 30);
    world.at("alice", |agent| agent.unsubscribe(alice)).unwrap();
    world.settles();
}

#[test]
fn changes_are_asked_for_once_the_pace_allows() {
    everywhere(|world| {
        let alice = subscribe(world, "presence", 600);
        let bob = accepted(world, false);
        notified(world);
        world.net.run_for(Duration::from_secs(40));
        for _ in 0..3 {
            world.at("bob", |agent| agent.state_changed(bob)).unwrap();
        }
        let (_, SubscriptionEvent::StateDue) = hears(world, "bob") else { panic!("{}", world.net) };
        world.at("bob", |agent| agent.notify(bob, body("first"))).unwrap();
        // While that NOTIFY is under way, and within the pause after it, nothing is asked for.
        world.at("bob", |agent| agent.state_changed(bob)).unwrap();
        world.at("bob", |agent| agent.state_changed(bob)).unwrap();
        assert_eq!(notified(world).1, b"first");
        let (_, SubscriptionEvent::StateDue) = hears(world, "bob") else { panic!("{}", world.net) };
        world.at("bob", |agent| agent.notify(bob, body("second"))).unwrap();
        assert_eq!(notified(world).1, b"second");
        world.at("alice", |agent| agent.unsubscribe(alice)).unwrap();
        let (_, SubscriptionEvent::StateOwed { last: true, .. }) = hears(world, "bob") else { panic!("{}", world.net) };
        assert!(matches!(ended(world, "alice"), SubscriptionEnd::Terminated(_)));
        assert!(matches!(ended(world, "bob"), SubscriptionEnd::Left));
    });
}
