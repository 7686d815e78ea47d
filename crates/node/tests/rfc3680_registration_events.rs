//! The event package `reg` (RFC 3680) at the node: who may watch where a user's phones are, and what they are told.

mod common;

use std::time::Duration;

use common::watcher::{Watcher, everywhere};
use common::{Conditions, World, secs};
use farspeak_node::events::{EventsConfig, News};
use farspeak_node::shard::Shard;
use farspeak_sansio::Transport;
use farspeak_sip::event::package::Applied;
use farspeak_sip::event::package::reg::{RegInfo, RegistrationTable};
use farspeak_sip::event::{SubscriptionEnd, SubscriptionId};
use farspeak_sip::header::{Resubscribe, SubscriptionStatus};
use farspeak_sip::message::{HeaderName, Method};

/// What a watcher's table shows: the registration's state, and each contact's event.
#[track_caller]
fn told(w: &mut World, watcher: &mut Watcher, id: SubscriptionId, table: &mut RegistrationTable) -> String {
    let (state, body) = watcher.notified(w, id);
    assert_eq!(state.state, SubscriptionStatus::Active, "{}", w.net);
    let document = RegInfo::parse(&body).expect("a document");
    assert_eq!(table.apply(document), Applied::Complete, "no version is left out\n{}", w.net);
    let registration = &table.registrations()[0];
    assert_eq!(registration.aor, "sip:alice@biloxi.example");
    let mut events: Vec<&str> = registration.contacts.iter().map(|contact| contact.event.as_str()).collect();
    events.sort_unstable();
    format!("{} {}", registration.state, events.join(" ")).trim().to_owned()
}

/// Waits until the watcher has been told that, changes that came in one NOTIFY or several.
#[track_caller]
fn comes_to(w: &mut World, watcher: &mut Watcher, id: SubscriptionId, table: &mut RegistrationTable, wanted: &str) {
    for _ in 0..5 {
        if told(w, watcher, id, table) == wanted {
            return;
        }
    }
    panic!("`{wanted}` was never told\n{}", w.net);
}

fn press(w: &mut World, contact: &str, expires: u32) {
    let contact = format!("<{contact}>");
    w.at("alice").press(|phone, now| phone.register_with(now, &[&contact], Some(expires)));
}

#[test]
fn a_user_is_told_of_every_change_of_the_users_phones() {
    everywhere(|w| {
        w.phone("alice");
        let mut desk = w.watcher("desk", "alice", 31);
        let id = desk.subscribe(w, "reg", "alice");
        let mut table = RegistrationTable::default();
        assert_eq!(told(w, &mut desk, id, &mut table), "init");
        w.at("alice").register();
        comes_to(w, &mut desk, id, &mut table, "active registered");
        let contact = table.registrations()[0].contacts[0].clone();
        assert!(contact.expires.is_some_and(|left| (3500..=3600).contains(&left)) && contact.call_id.is_some());
        w.pass(secs(10));
        w.at("alice").register();
        comes_to(w, &mut desk, id, &mut table, "active refreshed");
        assert_eq!(table.registrations()[0].contacts[0].id, contact.id, "the same contact");
        w.pass(secs(10));
        press(w, "sip:alice@192.0.2.77:5060", 600);
        comes_to(w, &mut desk, id, &mut table, "active refreshed registered");
        w.pass(secs(10));
        w.at("alice").unregister();
        comes_to(w, &mut desk, id, &mut table, "terminated unregistered unregistered");
        desk.leave(w, id);
    });
}

#[test]
fn an_expiry_is_told_at_its_time() {
    everywhere(|w| {
        w.phone("alice");
        let mut desk = w.watcher("desk", "alice", 31);
        let id = desk.subscribe(w, "reg", "alice");
        let mut table = RegistrationTable::default();
        assert_eq!(told(w, &mut desk, id, &mut table), "init");
        let contact = w.is("alice").account.contact.clone();
        press(w, &contact, 60);
        comes_to(w, &mut desk, id, &mut table, "active registered");
        let since = w.net.now();
        comes_to(w, &mut desk, id, &mut table, "terminated expired");
        assert!(w.net.now() - since < secs(100), "{}", w.net);
        desk.leave(w, id);
    });
}

/// RFC 3680 §4.10: not more often than every five seconds, and then all that has changed.
#[test]
fn a_storm_of_changes_is_told_at_a_steady_pace() {
    let mut w = World::new(Conditions { shards: 3, ..Conditions::fair(Transport::Udp) });
    w.phone("alice");
    let mut desk = w.watcher("desk", "alice", 31);
    let id = desk.subscribe(&mut w, "reg", "alice");
    let mut table = RegistrationTable::default();
    told(&mut w, &mut desk, id, &mut table);
    for _ in 0..100 {
        w.at("alice").register();
        w.pass(Duration::from_millis(250));
    }
    w.pass(secs(10));
    assert!((6..=8).contains(&w.net.count("proxy -> desk  NOTIFY")), "{}", w.net);
    desk.leave(&mut w, id);
    w.settle();
}

#[test]
fn refuses_to_tell_others_and_does_not_say_who_exists() {
    everywhere(|w| {
        w.phone("alice");
        let mut bob = w.watcher("bob", "bob", 31);
        let (real, unreal) = (bob.refused(w, "reg", "alice"), bob.refused(w, "reg", "nobody-has-this"));
        assert_eq!((real.0, unreal.0), (403, 403));
        assert_eq!(real.1.fields().count(), unreal.1.fields().count());
        assert_eq!(w.shared.subscriptions(), 0);
    });
}

#[test]
fn refuses_who_cannot_prove_anything_and_keeps_nothing() {
    everywhere(|w| {
        let mut stranger = w.watcher("stranger", "mallory", 31);
        w.shared.users.remove("mallory");
        for package in ["reg", "presence", "presence.winfo"] {
            assert_eq!(stranger.refused(w, package, "alice").0, 407, "{package}");
        }
        assert_eq!(w.shared.subscriptions(), 0);
        let node = w.net.machine(w.proxy);
        assert!(node.shards.iter().all(|shard| shard.counts().subscriptions == 0));
    });
}

#[test]
fn who_is_configured_may_watch_everybody_who_exists() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    let mut settings = (*w.shared.settings()).clone();
    settings.events.registrations_to = vec!["console".to_owned()];
    w.shared.replace_settings(settings);
    w.registered("alice");
    let mut console = w.watcher("console", "console", 31);
    assert_eq!(console.refused(&mut w, "reg", "nobody-has-this").0, 404);
    assert_eq!(console.refused(&mut w, "presence.winfo", "alice").0, 403);
    let id = console.subscribe(&mut w, "reg", "alice");
    let mut table = RegistrationTable::default();
    assert_eq!(told(&mut w, &mut console, id, &mut table), "active registered");
    console.leave(&mut w, id);
    w.settle();
}

fn everybody_hears(w: &mut World, news: &News) {
    let proxy = w.proxy;
    w.net.at(proxy, |node, now| node.shards.iter_mut().for_each(|shard: &mut Shard| shard.hear(now, news.clone())));
}

/// `farspeak user reset`: phones and subscriptions of the user end and shall begin anew; others are told why.
#[test]
fn what_the_operator_takes_away_is_told_as_that() {
    for (gone, event) in [(false, "terminated deactivated"), (true, "terminated rejected")] {
        let mut w = World::new(Conditions { shards: 3, ..Conditions::fair(Transport::Tls) });
        let mut settings = (*w.shared.settings()).clone();
        settings.events.registrations_to = vec!["console".to_owned()];
        w.shared.replace_settings(settings);
        w.registered("alice");
        let mut console = w.watcher("console", "console", 31);
        let mut desk = w.watcher("desk", "alice", 32);
        let id = console.subscribe(&mut w, "reg", "alice");
        let own = desk.subscribe(&mut w, "reg", "alice");
        let mut table = RegistrationTable::default();
        assert_eq!(told(&mut w, &mut console, id, &mut table), "active registered");
        desk.notified(&mut w, own);
        w.pass(secs(10));
        let aor = w.shared.settings().domain.aor_of_user("alice");
        w.shared.location.remove_all(w.net.now(), &aor);
        everybody_hears(&mut w, &News::UserEnded { name: "alice".to_owned(), gone });
        assert_eq!(told(&mut w, &mut console, id, &mut table), event);
        let SubscriptionEnd::Terminated(state) = desk.ended(&mut w, own) else { panic!("{}", w.net) };
        let again = if gone { Resubscribe::Never } else { Resubscribe::Now };
        assert_eq!(state.resubscribe(), Some(again));
        console.leave(&mut w, id);
        w.settle();
    }
}

#[test]
fn registrations_that_nobody_watches_are_told_to_nobody() {
    let mut w = World::new(Conditions { shards: 3, ..Conditions::fair(Transport::Udp) });
    let mut desk = w.watcher("desk", "bob", 31);
    let id = desk.subscribe(&mut w, "presence", "bob");
    desk.notified(&mut w, id);
    w.registered("alice");
    w.registered("carol");
    assert_eq!(w.net.machine(w.proxy).told, 0);
    desk.leave(&mut w, id);
    w.settle();
}

/// Restart: the node knows nothing of the subscription, says so, and the phone begins anew.
#[test]
fn a_refresh_after_a_restart_is_refused_and_subscribing_again_works() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        let mut desk = w.watcher("desk", "alice", 31);
        let id = desk.subscribe_for(&mut w, "reg", "alice", 120);
        desk.notified(&mut w, id);
        w.restart_node();
        let SubscriptionEnd::Refused(failure) = desk.ended(&mut w, id) else { panic!("{}", w.net) };
        assert_eq!(failure.status().code(), 481, "{}", w.net);
        let id = desk.subscribe(&mut w, "reg", "alice");
        desk.notified(&mut w, id);
        desk.leave(&mut w, id);
        w.settle();
    }
}

#[test]
fn a_subscription_is_refreshed_for_hours_and_ends_when_nobody_refreshes_it() {
    let mut w = World::new(Conditions { shards: 2, ..Conditions::fair(Transport::Tls) });
    let mut desk = w.watcher("desk", "alice", 31);
    let id = desk.subscribe(&mut w, "reg", "alice");
    for _ in 0..20 {
        desk.notified(&mut w, id);
    }
    assert!(w.net.now().since_origin() > secs(3600));
    assert_eq!(w.shared.subscriptions(), 1);
    w.net.power(desk.host, false);
    w.pass(secs(700));
    assert_eq!(w.shared.subscriptions(), 0, "{}", w.net);
}

/// The phone's connection is gone; it registers over another one and is told there.
#[test]
fn notifications_follow_a_phone_to_its_new_connection() {
    for shards in 1..=2 {
        let mut w = World::new(Conditions { shards, ..Conditions::fair(Transport::Tls) });
        w.registered("alice");
        w.at("alice").press(|phone, now| {
            let contact = format!("<{}>", phone.account.contact);
            phone.extra = vec![("Event".to_owned(), "reg".to_owned()), ("Contact".to_owned(), contact)];
            phone.extra.push(("Expires".to_owned(), "60".to_owned()));
            phone.request(now, Method::Subscribe, "sip:alice@biloxi.example");
        });
        w.expect("proxy -> alice  200 SUBSCRIBE");
        w.expect("proxy -> alice  NOTIFY");
        w.pass(secs(10));
        w.net.reset(w.host("alice"), w.proxy);
        w.pass(secs(1));
        w.at("alice").register();
        w.expect("proxy -> alice  200 REGISTER");
        w.expect("proxy -> alice  NOTIFY");
        w.expect("alice -> proxy  200 NOTIFY");
        assert_eq!(w.shared.subscriptions(), 1);
        w.pass(secs(60));
        assert_eq!(w.shared.subscriptions(), 0);
        w.settle();
    }
}

#[test]
fn refuses_more_subscriptions_than_each_bound_allows() {
    type Bound = fn(&mut EventsConfig);
    let bounds: [(&str, Bound); 4] = [
        ("in all", |events| events.max_subscriptions = 2),
        ("to one user", |events| events.max_per_watched = 2),
        ("of one user", |events| events.max_per_subscriber = 2),
        ("over one flow", |events| events.max_per_flow = 2),
    ];
    for (bound, set) in bounds {
        let mut w = World::new(Conditions { shards: 2, ..Conditions::fair(Transport::Tcp) });
        let mut settings = (*w.shared.settings()).clone();
        set(&mut settings.events);
        w.shared.replace_settings(settings);
        let mut desk = w.watcher("desk", "alice", 31);
        let ids: Vec<SubscriptionId> = (0..2).map(|_| desk.subscribe(&mut w, "presence", "alice")).collect();
        for id in &ids {
            desk.notified(&mut w, *id);
        }
        let (status, response) = desk.refused(&mut w, "presence", "alice");
        assert_eq!(status, 503, "{bound}");
        assert!(response.header(HeaderName::RetryAfter).is_some(), "{bound}");
        assert_eq!(w.shared.subscriptions(), 2);
        desk.leave(&mut w, ids[0]);
        let id = desk.subscribe(&mut w, "presence", "alice");
        desk.notified(&mut w, id);
        desk.leave(&mut w, id);
        desk.leave(&mut w, ids[1]);
        assert_eq!(w.shared.subscriptions(), 0, "{bound}");
        w.settle();
    }
}

#[test]
fn refuses_what_is_too_brief_or_not_understood() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    let mut desk = w.watcher("desk", "alice", 31);
    let extra = |name, value: &str| farspeak_sip::user_agent::Extra::new().header(name, value);
    let mut wish = farspeak_sip::event::Subscribe {
        opening: desk.opening("alice"),
        event: common::watcher::event("reg"),
        expires: 600,
        extra: extra(HeaderName::Accept, "application/cpim-pidf+xml"),
    };
    let id = desk.at(&mut w, |agent| agent.subscribe(wish.clone())).unwrap();
    let SubscriptionEnd::Refused(failure) = desk.ended(&mut w, id) else { panic!("{}", w.net) };
    assert_eq!(failure.status().code(), 406);
    wish.extra = extra(HeaderName::Require, "x-unheard-of");
    let id = desk.at(&mut w, |agent| agent.subscribe(wish)).unwrap();
    let SubscriptionEnd::Refused(failure) = desk.ended(&mut w, id) else { panic!("{}", w.net) };
    assert_eq!(failure.status().code(), 420);
    // The subscriber takes 423 for an answer and asks for what is granted.
    let id = desk.subscribe_for(&mut w, "reg", "alice", 5);
    w.net.expect_within(secs(5), "proxy -> desk  423 SUBSCRIBE");
    desk.notified(&mut w, id);
    desk.leave(&mut w, id);
    w.settle();
    assert_eq!(w.shared.subscriptions(), 0);
}

/// Other packages are the phones' business.
#[test]
fn subscriptions_to_a_phone_go_through_as_before() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    w.registered("alice");
    let desk = w.watcher("desk", "bob", 31);
    let id = desk.subscribe(&mut w, "message-summary", "alice");
    w.net.expect_within(secs(5), "proxy -> alice  SUBSCRIBE");
    let _ = desk.at(&mut w, |agent| agent.unsubscribe(id));
    w.settle();
}
