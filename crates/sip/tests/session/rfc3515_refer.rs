//! RFC 3515 and RFC 4488: REFER in a session and outside, with notifications and without.

use farspeak_sip::event::{SubscriptionEnd, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::ReferTo;
use farspeak_sip::message::StatusCode;
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{World, everywhere};

fn carol() -> ReferTo {
    ReferTo::parse("<sip:carol@192.0.2.3>").unwrap()
}

#[track_caller]
fn hears(world: &mut World, name: &str) -> (SubscriptionId, SubscriptionEvent) {
    match world.hears(name, "Subscription") {
        Event::Subscription { subscription, event } => (subscription, event),
        _ => unreachable!("hears gave another event"),
    }
}

#[track_caller]
fn referred(world: &mut World, name: &str) -> SubscriptionId {
    match hears(world, name) {
        (id, SubscriptionEvent::Referred { refer_to, .. }) => {
            assert_eq!(refer_to, carol());
            id
        }
        other => panic!("{other:?}\n{}", world.net),
    }
}

/// The status lines of the notifications until the subscription ends, without repetitions.
fn notifications(world: &mut World, name: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    loop {
        match hears(world, name).1 {
            SubscriptionEvent::Notified { request, .. } => {
                lines.push(String::from_utf8_lossy(request.body()).trim_end().to_owned());
            }
            SubscriptionEvent::Ended(_) => return lines,
            SubscriptionEvent::ReferAccepted { .. } => {}
            other => panic!("{other:?}\n{}", world.net),
        }
    }
}

#[test]
fn a_refer_in_a_session_is_reported_to_the_end() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.refer(called, &carol(), true, Extra::new())).unwrap();
        let id = referred(world, "alice");
        world.at("alice", |agent| agent.accept_refer(id)).unwrap();
        let trying = hears(world, "bob").1;
        assert!(matches!(trying, SubscriptionEvent::ReferAccepted { .. } | SubscriptionEvent::Notified { .. }));
        world.at("alice", |agent| agent.refer_progress(id, StatusCode::OK)).unwrap();
        assert_eq!(notifications(world, "bob").last().unwrap(), "SIP/2.0 200 OK");
        // The session outlives the subscription that shared its dialog (RFC 5057).
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("bob", "Gone");
    });
}

#[test]
fn a_subscription_outlives_the_session_whose_dialog_it_shares() {
    // RFC 5057 §4.1
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.refer(called, &carol(), true, Extra::new())).unwrap();
        let id = referred(world, "alice");
        world.at("alice", |agent| agent.accept_refer(id)).unwrap();
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("bob", "Gone");
        world.at("alice", |agent| agent.refer_progress(id, StatusCode::BUSY_HERE)).unwrap();
        assert_eq!(notifications(world, "bob").last().unwrap(), "SIP/2.0 486 Busy Here");
    });
}

#[test]
fn a_refer_without_subscription_sends_no_notification() {
    // RFC 4488 §4
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.refer(called, &carol(), false, Extra::new())).unwrap();
        let id = referred(world, "alice");
        world.at("alice", |agent| agent.accept_refer(id)).unwrap();
        assert!(notifications(world, "bob").is_empty());
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("bob", "Gone");
        world.net.never("alice -> bob  NOTIFY");
    });
}

#[test]
fn a_refer_outside_a_session_opens_its_dialog_by_the_first_notification() {
    everywhere(|world| {
        let opening = world.opening("bob", "alice");
        world.at("bob", |agent| agent.refer_outside(opening, &carol(), true, Extra::new())).unwrap();
        let id = referred(world, "alice");
        world.at("alice", |agent| agent.accept_refer(id)).unwrap();
        world.at("alice", |agent| agent.refer_progress(id, StatusCode::OK)).unwrap();
        assert_eq!(notifications(world, "bob").last().unwrap(), "SIP/2.0 200 OK");
    });
}

#[test]
fn a_refused_refer_leaves_nothing() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.refer(called, &carol(), true, Extra::new())).unwrap();
        let id = referred(world, "alice");
        world.at("alice", |agent| agent.refuse_subscription(id, StatusCode::DECLINE, Extra::new())).unwrap();
        let end = hears(world, "bob").1;
        assert!(matches!(end, SubscriptionEvent::Ended(SubscriptionEnd::Refused(_))), "{end:?}");
        world.at("alice", |agent| agent.hang_up(caller, Extra::new())).unwrap();
        world.hears("bob", "Gone");
    });
}
