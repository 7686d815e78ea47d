//! Presence at the node (RFC 3856): nobody's business by default, shown to whom its user names, and who watches it
//! (RFC 3857).

mod common;

use common::watcher::{Watcher, everywhere};
use common::{Conditions, World, secs};
use farspeak_node::events::News;
use farspeak_node::users::{PresenceTo, User};
use farspeak_sansio::Transport;
use farspeak_sip::event::package::presence::{Basic, Presence, Tuple};
use farspeak_sip::event::package::watcher::WatcherInfo;
use farspeak_sip::event::{Subscribe, SubscriptionEnd, SubscriptionId};
use farspeak_sip::header::{Resubscribe, SubscriptionStatus};
use farspeak_sip::message::HeaderName;
use farspeak_sip::user_agent::Extra;

fn document(id: &str, basic: Basic) -> Vec<u8> {
    let mut presence = Presence::new("sip:alice@biloxi.example");
    presence.tuples.push(Tuple::new(id, basic));
    presence.write()
}

/// `farspeak user set alice --presence-to …`, live.
fn shows_to(w: &mut World, name: &str, whom: &str) {
    let user = w.shared.users.get(name).expect("a user");
    let presence_to = PresenceTo::read(&[whom], common::world::DOMAIN).expect("somebody");
    w.shared.users.insert(User { presence_to, ..User::clone(&user) });
    everybody_hears(w, &News::User { name: name.to_owned() });
}

fn everybody_hears(w: &mut World, news: &News) {
    let proxy = w.proxy;
    w.net.at(proxy, |node, now| node.shards.iter_mut().for_each(|shard| shard.hear(now, news.clone())));
}

#[track_caller]
fn is_pending(w: &mut World, watcher: &mut Watcher, id: SubscriptionId) {
    let (state, body) = watcher.notified(w, id);
    assert_eq!((state.state, body.as_slice()), (SubscriptionStatus::Pending, &b""[..]), "{}", w.net);
}

/// Waits until the watcher sees those tuples.
#[track_caller]
fn sees(w: &mut World, watcher: &mut Watcher, id: SubscriptionId, wanted: &[(&str, Basic)]) {
    let mut last = Vec::new();
    for _ in 0..5 {
        let (state, body) = watcher.notified(w, id);
        assert_eq!(state.state, SubscriptionStatus::Active, "{}", w.net);
        let document = Presence::parse(&body).expect("a document");
        last = document.tuples.into_iter().map(|tuple| (tuple.id, tuple.basic.expect("open or closed"))).collect();
        if last.iter().map(|(id, basic)| (id.as_str(), *basic)).eq(wanted.iter().copied()) {
            return;
        }
    }
    panic!("it sees {last:?}\n{}", w.net);
}

/// Waits until the user sees those watchers: who, in which state, by what.
#[track_caller]
fn is_watched_by(w: &mut World, user: &mut Watcher, id: SubscriptionId, wanted: &[&str]) {
    let mut last = Vec::new();
    for _ in 0..5 {
        let (_, body) = user.notified(w, id);
        let document = WatcherInfo::parse(&body).expect("a document");
        assert_eq!(document.lists[0].resource, "sip:alice@biloxi.example");
        let one =
            |it: &farspeak_sip::event::package::watcher::Watcher| format!("{} {} {}", it.uri, it.status, it.event);
        last = document.lists[0].watchers.iter().map(one).collect();
        if last == wanted {
            return;
        }
    }
    panic!("it is watched by {last:?}\n{}", w.net);
}

#[test]
fn whom_the_user_names_sees_what_the_user_publishes() {
    everywhere(|w| {
        let (mut alice, mut bob) = (w.watcher("alice", "alice", 31), w.watcher("bob", "bob", 32));
        shows_to(w, "alice", "bob");
        let id = bob.subscribe(w, "presence", "alice");
        sees(w, &mut bob, id, &[]);
        let first = alice.publish(w, "alice", None, Some(&document("desk", Basic::Open)), 600);
        sees(w, &mut bob, id, &[("desk", Basic::Open)]);
        let tag = first.header(HeaderName::SipETag).expect("a tag").to_owned();
        let second = alice.publish(w, "alice", Some(&tag), Some(&document("desk", Basic::Closed)), 600);
        sees(w, &mut bob, id, &[("desk", Basic::Closed)]);
        alice.publish(w, "alice", None, Some(&document("mobile", Basic::Open)), 60);
        sees(w, &mut bob, id, &[("desk", Basic::Closed), ("mobile", Basic::Open)]);
        // The second is never refreshed; the first is removed.
        sees(w, &mut bob, id, &[("desk", Basic::Closed)]);
        let tag = second.header(HeaderName::SipETag).expect("a tag").to_owned();
        alice.publish(w, "alice", Some(&tag), None, 0);
        sees(w, &mut bob, id, &[]);
        bob.leave(w, id);
    });
}

#[test]
fn presence_is_nobodys_business() {
    everywhere(|w| {
        let (mut alice, mut bob) = (w.watcher("alice", "alice", 31), w.watcher("bob", "bob", 32));
        alice.publish(w, "alice", None, Some(&document("desk", Basic::Open)), 60);
        let id = bob.subscribe(w, "presence", "alice");
        is_pending(w, &mut bob, id);
        alice.publish(w, "alice", None, Some(&document("mobile", Basic::Open)), 60);
        bob.hears_nothing_for(w, secs(100));
        bob.leave(w, id);
    });
}

/// Message by message, what a watcher gets who is not allowed is what one gets who watches nobody.
#[test]
fn never_tells_who_exists() {
    let transcript = |watched: &str, expires: u32| {
        let mut w = World::new(Conditions::fair(Transport::Udp));
        let (mut alice, mut bob) = (w.watcher("alice", "alice", 31), w.watcher("bob", "bob", 32));
        alice.publish(&mut w, "alice", None, Some(&document("desk", Basic::Open)), 600);
        let since = w.net.mark();
        let id = bob.subscribe_for(&mut w, "presence", watched, expires);
        if expires > 0 {
            bob.notified(&mut w, id);
            w.pass(secs(30));
            bob.unsubscribe(&mut w, id);
        }
        bob.ended(&mut w, id);
        w.settle();
        let told: Vec<String> = w
            .net
            .sightings()
            .skip(since)
            .map(|it| String::from_utf8_lossy(&it.bytes).replace(watched, "WATCHED"))
            .map(|text| text.lines().map(shape).collect::<Vec<_>>().join("\n"))
            .collect();
        assert!(told.len() > 4);
        told
    };
    for expires in [600, 0] {
        assert_eq!(transcript("alice", expires), transcript("ghost", expires), "expires {expires}");
    }
}

/// A line without what is random.
fn shape(line: &str) -> String {
    let random = |it: &char| it.is_ascii_hexdigit();
    match line.split_once(": ") {
        Some((
            name @ ("Via" | "From" | "To" | "Call-ID" | "CSeq" | "Proxy-Authenticate" | "Proxy-Authorization"),
            value,
        )) => {
            format!("{name}: {}", value.chars().filter(|it| !random(it)).collect::<String>())
        }
        _ => line.to_owned(),
    }
}

#[test]
fn permission_counts_at_once_in_both_directions() {
    everywhere(|w| {
        let (mut alice, mut bob) = (w.watcher("alice", "alice", 31), w.watcher("bob", "bob", 32));
        alice.publish(w, "alice", None, Some(&document("desk", Basic::Open)), 60);
        let id = bob.subscribe(w, "presence", "alice");
        is_pending(w, &mut bob, id);
        shows_to(w, "alice", "everybody-here");
        sees(w, &mut bob, id, &[("desk", Basic::Open)]);
        shows_to(w, "alice", "nobody");
        let SubscriptionEnd::Terminated(state) = bob.ended(w, id) else { panic!("{}", w.net) };
        assert_eq!(state.resubscribe(), Some(Resubscribe::Now), "as if it had never been allowed");
        let id = bob.subscribe(w, "presence", "alice");
        is_pending(w, &mut bob, id);
        bob.leave(w, id);
        w.pass(secs(60));
    });
}

#[test]
fn a_user_sees_who_watches_and_who_waits() {
    everywhere(|w| {
        let (mut alice, mut bob) = (w.watcher("alice", "alice", 31), w.watcher("bob", "bob", 32));
        let mut carol = w.watcher("carol", "carol", 33);
        let winfo = alice.subscribe(w, "presence.winfo", "alice");
        is_watched_by(w, &mut alice, winfo, &[]);
        let of_bob = bob.subscribe(w, "presence", "alice");
        is_watched_by(w, &mut alice, winfo, &["sip:bob@biloxi.example pending subscribe"]);
        shows_to(w, "alice", "bob");
        is_watched_by(w, &mut alice, winfo, &["sip:bob@biloxi.example active approved"]);
        let of_carol = carol.subscribe(w, "presence", "alice");
        let both = ["sip:bob@biloxi.example active approved", "sip:carol@biloxi.example pending subscribe"];
        is_watched_by(w, &mut alice, winfo, &both);
        bob.leave(w, of_bob);
        is_watched_by(w, &mut alice, winfo, &both[1..]);
        carol.leave(w, of_carol);
        is_watched_by(w, &mut alice, winfo, &[]);
        alice.leave(w, winfo);
    });
}

#[test]
fn refuses_to_say_who_watches_another() {
    everywhere(|w| {
        let (mut bob, _alice) = (w.watcher("bob", "bob", 31), w.watcher("alice", "alice", 32));
        let (real, unreal) = (bob.refused(w, "presence.winfo", "alice"), bob.refused(w, "presence.winfo", "ghost"));
        assert_eq!((real.0, unreal.0), (403, 403));
        assert_eq!(real.1.fields().count(), unreal.1.fields().count());
    });
}

#[test]
fn refuses_watchers_without_a_name_and_in_the_name_of_others() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    let (mut bob, _alice) = (w.watcher("bob", "bob", 31), w.watcher("alice", "alice", 32));
    for (from, expected) in [("<sip:anonymous@anonymous.invalid>", 433), ("<sip:alice@biloxi.example>", 403)] {
        let mut opening = bob.opening("alice");
        opening.from = from.into();
        let event = common::watcher::event("presence");
        let wish = Subscribe { opening, event, expires: 600, extra: Extra::new() };
        let id = bob.at(&mut w, |agent| agent.subscribe(wish)).unwrap();
        let SubscriptionEnd::Refused(failure) = bob.ended(&mut w, id) else { panic!("{}", w.net) };
        assert_eq!(failure.status().code(), expected, "{from}");
    }
    assert_eq!(w.shared.subscriptions(), 0);
    w.settle();
}

/// `farspeak user remove`, `user reset`: what a user watched and published is over at once.
#[test]
fn who_is_removed_neither_watches_nor_is_seen() {
    let mut w = World::new(Conditions { shards: 3, ..Conditions::fair(Transport::Tls) });
    let (mut alice, mut bob) = (w.watcher("alice", "alice", 31), w.watcher("bob", "bob", 32));
    shows_to(&mut w, "alice", "everybody-here");
    shows_to(&mut w, "bob", "everybody-here");
    alice.publish(&mut w, "alice", None, Some(&document("desk", Basic::Open)), 600);
    let (of_alice, of_bob) = (bob.subscribe(&mut w, "presence", "alice"), alice.subscribe(&mut w, "presence", "bob"));
    sees(&mut w, &mut bob, of_alice, &[("desk", Basic::Open)]);
    sees(&mut w, &mut alice, of_bob, &[]);
    w.pass(secs(10));
    w.shared.users.remove("alice");
    everybody_hears(&mut w, &News::UserEnded { name: "alice".to_owned(), gone: true });
    let SubscriptionEnd::Terminated(state) = alice.ended(&mut w, of_bob) else { panic!("{}", w.net) };
    assert_eq!(state.resubscribe(), Some(Resubscribe::Never));
    let SubscriptionEnd::Terminated(state) = bob.ended(&mut w, of_alice) else { panic!("{}", w.net) };
    assert_eq!(state.resubscribe(), Some(Resubscribe::Now));
    assert_eq!((w.shared.published_bytes(), w.shared.subscriptions()), (0, 0));
    w.settle();
}

#[test]
fn refuses_to_refresh_the_subscription_of_another() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    let (mut bob, _alice) = (w.watcher("bob", "bob", 31), w.watcher("alice", "alice", 32));
    let id = bob.subscribe(&mut w, "presence", "alice");
    is_pending(&mut w, &mut bob, id);
    // Mallory knows Call-ID and tags, and her own password.
    let notify = w.net.last("proxy -> bob  NOTIFY").expect("there was one").bytes.clone();
    let notify = String::from_utf8_lossy(&notify).into_owned();
    let line = |name: &str| notify.lines().find_map(|line| line.strip_prefix(name)).expect("it is there").to_owned();
    w.phone_at("mallory", "mallory", Transport::Udp, "192.0.2.34");
    let (theirs, tag) = (line("To: "), line("To: ").split(";tag=").nth(1).expect("a tag").to_owned());
    let own = format!("<sip:mallory@biloxi.example>;tag={tag}");
    for (from, expected) in [(theirs, "403 SUBSCRIBE"), (own, "481 SUBSCRIBE")] {
        w.at("mallory").press(|phone, now| {
            phone.extra = vec![
                ("From".to_owned(), from),
                ("To".to_owned(), line("From: ")),
                ("Call-ID".to_owned(), line("Call-ID: ")),
                ("Event".to_owned(), "presence".to_owned()),
                ("Expires".to_owned(), "0".to_owned()),
            ];
            phone.request_bare(now, farspeak_sip::message::Method::Subscribe, "sip:alice@192.0.2.10:5060");
        });
        w.pass(secs(5));
        assert_eq!(w.is("mallory").finals.last().map(String::as_str), Some(expected), "{}", w.net);
    }
    assert_eq!(w.shared.subscriptions(), 1);
    bob.leave(&mut w, id);
    w.settle();
}
