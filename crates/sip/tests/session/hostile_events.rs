//! What the peers of subscriptions must not be able to do: fill our tables, keep them filled, or keep us busy.

use std::time::Duration;

use farspeak_sip::digest::Login;
use farspeak_sip::event::{Subscribe, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header;
use farspeak_sip::message::{HeaderName, Limits, Message, Method, ResponseBuilder, StatusCode};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{Conditions, World, header as field};

fn subscribe(world: &mut World, package: &str, expires: u32) -> SubscriptionId {
    let opening = world.opening("alice", "bob");
    let wanted = Subscribe { opening, event: header::Event::new(package), expires, extra: Extra::new() };
    let id = world.at("alice", |agent| agent.subscribe(wanted)).unwrap();
    world.net.expect("alice -> bob  SUBSCRIBE");
    id
}

/// A NOTIFY of Carol's for the subscription of Alice, as another fork of her SUBSCRIBE would send it.
fn notify(world: &mut World, tag: &str, seq: u32, state: &str) {
    let subscribe = world.net.last("alice -> bob  SUBSCRIBE").unwrap().bytes.to_vec();
    let (from, to) = (field(&subscribe, HeaderName::From), field(&subscribe, HeaderName::To));
    let (call_id, event) = (field(&subscribe, HeaderName::CallId), field(&subscribe, HeaderName::Event));
    let to = to.split(";tag").next().unwrap();
    let text = format!(
        "NOTIFY sip:alice@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bK{tag}n{seq}\r\n\
         Max-Forwards: 70\r\nFrom: {to};tag={tag}\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: {seq} NOTIFY\r\n\
         Contact: <sip:carol@192.0.2.3:5060>\r\nEvent: {event}\r\nSubscription-State: {state}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    world.send("carol", "alice", text.as_bytes());
}

fn forks(world: &mut World) -> usize {
    let forked = |event: &Event| matches!(event, Event::Subscription { event: SubscriptionEvent::Forked { .. }, .. });
    world.news("alice").iter().filter(|event| forked(event)).count()
}

#[test]
fn never_keeps_a_fork_whose_notification_makes_no_sense() {
    for first_makes_sense in [false, true] {
        let mut world = World::new(Conditions::udp());
        subscribe(&mut world, "presence", 100);
        if first_makes_sense {
            notify(&mut world, "first", 1, "active;expires=100");
        }
        for number in 0..50 {
            notify(&mut world, &format!("t{number}"), 1, ";;");
        }
        world.net.run_for(Duration::from_secs(1));
        assert_eq!(world.net.count("alice -> carol  400 NOTIFY"), 50);
        assert!(world.dialogs("alice") <= 2, "{}", world.dialogs("alice"));
        assert_eq!(forks(&mut world), 0);
        world.settles();
    }
}

#[test]
fn forks_of_a_subscription_are_bounded_and_do_not_come_late() {
    // RFC 6665 §4.1.2.4: until Timer N expires
    let mut world = World::new(Conditions::udp());
    subscribe(&mut world, "presence", 100);
    for number in 0..50 {
        notify(&mut world, &format!("t{number}"), 1, "active;expires=100");
    }
    world.net.run_for(Duration::from_secs(1));
    assert_eq!(forks(&mut world), 16);
    world.net.run_for(Duration::from_secs(32));
    notify(&mut world, "late", 1, "active;expires=100");
    world.net.run_for(Duration::from_secs(1));
    assert_eq!(forks(&mut world), 0);
    world.settles();
}

#[test]
fn a_notifier_that_names_no_end_or_a_far_one_cannot_hold_a_subscription_for_ever() {
    // RFC 6665 §4.1.2.1: never longer than was asked for
    for state in ["active", "active;expires=4294967295"] {
        let mut world = World::new(Conditions::udp());
        subscribe(&mut world, "presence", 120);
        notify(&mut world, "one", 1, state);
        notify(&mut world, "two", 1, state);
        world.net.run_for(Duration::from_secs(1));
        assert_eq!(forks(&mut world), 1);
        world.settles();
    }
}

#[test]
fn a_poll_ends_whatever_its_notifier_says() {
    for state in ["active", "active;expires=4294967295"] {
        let mut world = World::new(Conditions::udp());
        subscribe(&mut world, "presence", 0);
        notify(&mut world, "one", 1, state);
        world.settles();
    }
}

#[test]
fn notifications_without_end_arm_no_timers_without_end() {
    let mut world = World::new(Conditions::udp());
    subscribe(&mut world, "presence", 3600);
    for seq in 1..3000 {
        notify(&mut world, "one", seq, "active;expires=3600");
        if seq % 100 == 0 {
            world.net.run_for(Duration::from_millis(100));
        }
    }
    let counts = world.counts("alice");
    assert!(counts.timers < 600, "{counts:?}");
    notify(&mut world, "one", 3001, "terminated");
    world.settles();
}

#[test]
fn a_subscriber_cannot_put_the_last_notification_off_for_ever() {
    // Alice has been replaced by somebody who answers every NOTIFY with 500 and Retry-After: 0.
    let mut world = World::new(Conditions::udp());
    subscribe(&mut world, "presence", 600);
    let (id, _) = requested(&mut world);
    world.at("bob", |agent| agent.accept_subscription(id, false, 3600)).unwrap();
    world.at("bob", |agent| agent.notify(id, Extra::new())).unwrap();
    world.net.expect("alice -> bob  200 NOTIFY");
    let flow = world.flow("alice", "bob");
    world.intercept("alice", move |bytes| {
        let message = Message::parse(bytes, &Limits::default()).ok()?;
        let status = StatusCode::SERVER_INTERNAL_ERROR;
        let refused = ResponseBuilder::new(&message, status).header(HeaderName::RetryAfter, "0").to_vec();
        (message.method() == Some(&Method::Notify)).then_some((flow, refused))
    });
    let over = header::SubscriptionState::terminated(header::SubscriptionReason::NoResource);
    world.at("bob", |agent| agent.terminate(id, over, Extra::new())).unwrap();
    world.net.run_for(Duration::from_secs(60));
    assert_eq!(world.counts("bob").subscriptions, 0);
    assert!(world.net.count("bob -> alice  NOTIFY") < 10);
    world.restart("alice"); // she would wait for the end that she refuses to hear of
    world.settles();
}

fn requested(world: &mut World) -> (SubscriptionId, SubscriptionEvent) {
    match world.hears("bob", "Subscription") {
        Event::Subscription { subscription, event } => (subscription, event),
        _ => unreachable!("hears gave another event"),
    }
}

#[test]
fn a_subscription_given_up_does_not_answer_the_challenge() {
    let mut world = World::new(Conditions::udp());
    world.at("alice", |agent| agent.add_account(vec![Login::password("alice", "secret")]));
    let id = subscribe(&mut world, "presence", 600);
    world.at("alice", |agent| agent.unsubscribe(id)).unwrap();
    let (asked, _) = requested(&mut world);
    let challenge = r#"Digest realm="biloxi", nonce="84a4cc6f", qop="auth", algorithm=SHA-256"#;
    let challenge = Extra::new().header(HeaderName::WwwAuthenticate, challenge);
    world.at("bob", |agent| agent.refuse_subscription(asked, StatusCode::UNAUTHORIZED, challenge)).unwrap();
    world.settles();
    assert_eq!(world.net.count("alice -> bob  SUBSCRIBE"), 1);
}
