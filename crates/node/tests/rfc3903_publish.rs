//! PUBLISH of presence at the node, the event state compositor (RFC 3903 §6), as its publishers see it.

mod common;

use common::watcher::{Watcher, everywhere, status};
use common::{Conditions, World, secs};
use farspeak_sansio::Transport;
use farspeak_sip::event::package::presence::{Basic, Presence, Tuple};
use farspeak_sip::message::{HeaderName, Message, Method};
use farspeak_sip::user_agent::{Body, Extra};

fn document(id: &str, basic: Basic) -> Vec<u8> {
    let mut presence = Presence::new("sip:alice@biloxi.example");
    presence.tuples.push(Tuple::new(id, basic));
    presence.write()
}

fn tag(response: &Message) -> String {
    assert_eq!(status(response), 200);
    response.header(HeaderName::SipETag).expect("RFC 3903 §6: every 200 has one").to_owned()
}

/// What alice, who may, sees of herself.
#[track_caller]
fn seen(w: &mut World, alice: &mut Watcher) -> Vec<(String, Option<Basic>)> {
    let id = alice.subscribe_for(w, "presence", "alice", 0);
    let (_, body) = alice.notified(w, id);
    alice.ended(w, id);
    let document = Presence::parse(&body).expect("a document");
    assert_eq!(document.entity.as_deref(), Some("sip:alice@biloxi.example"));
    document.tuples.into_iter().map(|tuple| (tuple.id, tuple.basic)).collect()
}

/// RFC 3903 §4: initial, refreshed, modified, removed; each answer has a new entity-tag.
#[test]
fn a_publication_lives_by_its_entity_tag() {
    everywhere(|w| {
        let mut alice = w.watcher("alice", "alice", 31);
        let (open, closed) = (document("desk", Basic::Open), document("desk", Basic::Closed));
        let response = alice.publish(w, "alice", None, Some(&open), 600);
        assert_eq!(response.expires().ok().flatten(), Some(600));
        let first = tag(&response);
        assert_eq!(seen(w, &mut alice), [("desk".to_owned(), Some(Basic::Open))]);
        let second = tag(&alice.publish(w, "alice", Some(&first), None, 600));
        assert_ne!(first, second);
        assert_eq!(status(&alice.publish(w, "alice", Some(&first), None, 600)), 412, "a tag is good once");
        let third = tag(&alice.publish(w, "alice", Some(&second), Some(&closed), 600));
        assert_eq!(seen(w, &mut alice), [("desk".to_owned(), Some(Basic::Closed))]);
        let response = alice.publish(w, "alice", Some(&third), None, 0);
        assert_eq!(response.expires().ok().flatten(), Some(0));
        assert_eq!(seen(w, &mut alice), []);
        assert_eq!(status(&alice.publish(w, "alice", Some(&third), None, 600)), 412);
        assert_eq!(w.shared.published_bytes(), 0);
    });
}

#[test]
fn phones_of_one_user_publish_beside_each_other_over_any_shard() {
    everywhere(|w| {
        let (mut desk, mut mobile) = (w.watcher("desk", "alice", 31), w.watcher("mobile", "alice", 32));
        let one = tag(&desk.publish(w, "alice", None, Some(&document("desk", Basic::Open)), 600));
        let two = tag(&mobile.publish(w, "alice", None, Some(&document("mobile", Basic::Closed)), 600));
        let both = [("desk".to_owned(), Some(Basic::Open)), ("mobile".to_owned(), Some(Basic::Closed))];
        assert_eq!(seen(w, &mut desk), both);
        // RFC 3903 §8: the tag names the publication, whoever of the user's phones has it.
        let three = tag(&mobile.publish(w, "alice", Some(&one), None, 600));
        assert_eq!(seen(w, &mut mobile), both);
        desk.publish(w, "alice", Some(&three), None, 0);
        assert_eq!(seen(w, &mut mobile), both[1..]);
        desk.publish(w, "alice", Some(&two), None, 0);
        assert_eq!(w.shared.published_bytes(), 0);
    });
}

#[test]
fn what_is_not_refreshed_expires_by_itself() {
    let mut w = World::new(Conditions { shards: 3, ..Conditions::fair(Transport::Udp) });
    let mut alice = w.watcher("alice", "alice", 31);
    let first = tag(&alice.publish(&mut w, "alice", None, Some(&document("desk", Basic::Open)), 120));
    w.pass(secs(100));
    let second = tag(&alice.publish(&mut w, "alice", Some(&first), None, 120));
    w.pass(secs(100));
    assert!(w.shared.published_bytes() > 0, "refreshed");
    w.pass(secs(21));
    assert_eq!(w.shared.published_bytes(), 0);
    assert_eq!(status(&alice.publish(&mut w, "alice", Some(&second), None, 120)), 412);
    w.settle();
}

#[test]
fn who_says_no_time_gets_an_hour_and_nobody_gets_more_than_the_bound() {
    let mut w = World::new(Conditions::fair(Transport::Tcp));
    let mut alice = w.watcher("alice", "alice", 31);
    let body = |id: &str| Some(Body::new("application/pidf+xml", document(id, Basic::Open)));
    let response = alice.publish_as(&mut w, "alice", None, body("a"), None);
    assert_eq!(response.expires().ok().flatten(), Some(3600));
    let response = alice.publish_as(&mut w, "alice", None, body("b"), Some(86_400));
    assert_eq!(response.expires().ok().flatten(), Some(3600));
    w.pass(secs(3601));
    assert_eq!(w.shared.published_bytes(), 0);
    w.settle();
}

#[test]
fn refuses_to_publish_for_another_and_does_not_say_who_exists() {
    everywhere(|w| {
        let (mut bob, _alice) = (w.watcher("bob", "bob", 31), w.watcher("alice", "alice", 32));
        let body = document("a", Basic::Open);
        let real = bob.publish(w, "alice", None, Some(&body), 600);
        let unreal = bob.publish(w, "nobody-has-this", None, Some(&body), 600);
        assert_eq!((status(&real), status(&unreal)), (403, 403));
        assert_eq!(real.fields().count(), unreal.fields().count());
        assert_eq!(w.shared.published_bytes(), 0);
    });
}

#[test]
fn refuses_who_has_not_proved_who_it_is() {
    everywhere(|w| {
        let mut mallory = w.watcher("mallory", "mallory", 31);
        w.shared.users.remove("mallory");
        assert_eq!(status(&mallory.publish(w, "mallory", None, Some(&document("a", Basic::Open)), 600)), 407);
        assert_eq!(w.shared.published_bytes(), 0);
    });
}

/// RFC 3903 §6, steps 3 to 5.
#[test]
fn refuses_what_makes_no_sense() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    let mut alice = w.watcher("alice", "alice", 31);
    let open = document("a", Basic::Open);
    let pidf = |bytes: &[u8]| Some(Body::new("application/pidf+xml", bytes));
    assert_eq!(status(&alice.publish(&mut w, "alice", None, None, 600)), 400, "nothing");
    assert_eq!(status(&alice.publish(&mut w, "alice", Some("never-given"), None, 600)), 412);
    let brief = alice.publish(&mut w, "alice", None, Some(&open), 5);
    assert_eq!((status(&brief), brief.min_expires().ok().flatten()), (423, Some(60)));
    let plain = alice.publish_as(&mut w, "alice", None, Some(Body::new("text/plain", &b"in a meeting"[..])), None);
    assert_eq!((status(&plain), plain.header(HeaderName::Accept)), (415, Some("application/pidf+xml")));
    assert_eq!(status(&alice.publish_as(&mut w, "alice", None, pidf(b"<presence"), None)), 400);
    let bomb = b"<!DOCTYPE p [<!ENTITY a \"aaaa\">]><presence xmlns=\"urn:ietf:params:xml:ns:pidf\">&a;</presence>";
    assert_eq!(status(&alice.publish_as(&mut w, "alice", None, pidf(bomb), None)), 400);
    let mut long = open.clone();
    long.resize(17_000, b' ');
    assert_eq!(status(&alice.publish_as(&mut w, "alice", None, pidf(&long), None)), 413);
    let mut many = Presence::new("sip:alice@biloxi.example");
    many.tuples = (0..200).map(|number| Tuple::new(format!("t{number}"), Basic::Open)).collect();
    assert_eq!(status(&alice.publish_as(&mut w, "alice", None, pidf(&many.write()), None)), 413);
    for (name, value, expected) in [
        (HeaderName::SipIfMatch, "one, two", 400),
        (HeaderName::Expires, "soon", 400),
        (HeaderName::Require, "x-unheard-of", 420),
        (HeaderName::ContentEncoding, "gzip", 415),
    ] {
        let extra = Extra::new().header(HeaderName::Event, "presence").header(name, value);
        let extra = extra.body(Body::new("application/pidf+xml", open.as_slice()));
        assert_eq!(status(&alice.send(&mut w, Method::Publish, "alice", extra)), expected, "{name:?}: {value}");
    }
    assert_eq!(w.shared.published_bytes(), 0);
    w.settle();
}

#[test]
fn refuses_more_than_the_bound_of_all_documents() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    let mut settings = (*w.shared.settings()).clone();
    settings.events.max_published = 600;
    w.shared.replace_settings(settings);
    let mut alice = w.watcher("alice", "alice", 31);
    let mut last = None;
    for number in 0..8 {
        last = Some(alice.publish(&mut w, "alice", None, Some(&document(&format!("t{number}"), Basic::Open)), 600));
    }
    let last = last.expect("eight");
    assert_eq!(status(&last), 503);
    assert!(last.header(HeaderName::RetryAfter).is_some() && w.shared.published_bytes() <= 600);
    w.settle();
}

/// RFC 3903 §7.
#[test]
fn the_node_says_that_it_takes_publications() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    let mut alice = w.watcher("alice", "alice", 31);
    let mut opening = alice.opening("alice");
    opening.target = "sip:biloxi.example".into();
    let id = alice.at(&mut w, |agent| agent.send(Method::Options, opening, Extra::new())).unwrap();
    let response = alice.hears(&mut w, |event| match event {
        farspeak_sip::user_agent::Event::Answered { request, response } if *request == id => Some(response.clone()),
        _ => None,
    });
    assert!(response.header(HeaderName::Allow).is_some_and(|methods| methods.contains("PUBLISH")));
    assert_eq!(response.header(HeaderName::AllowEvents), Some("presence, presence.winfo, reg"));
    w.settle();
}
