//! RFC 3903 §6, on the table.

use std::time::Duration;

use farspeak_sip::event::package::presence::{Basic, Tuple};

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn alice() -> Aor {
    Aor::new("alice", "example.org")
}

fn body(id: &str, basic: Basic) -> Arc<[u8]> {
    let mut presence = Presence::new("sip:alice@example.org");
    presence.tuples.push(Tuple::new(id, basic));
    presence.write().into()
}

struct Desk {
    table: Publications,
    config: EventsConfig,
}

impl Desk {
    fn new() -> Self {
        Self { table: Publications::new(), config: EventsConfig::default() }
    }

    fn publish(
        &self,
        now: u64,
        tag: Option<&str>,
        body: Option<Arc<[u8]>>,
        expires: u64,
    ) -> Result<Published, Refused> {
        let expires_at = (expires > 0).then(|| at(now + expires));
        self.table.publish(&self.config, at(now), &alice(), Wish { if_match: tag.map(str::to_owned), body, expires_at })
    }

    fn tuples(&self, now: u64) -> Vec<(String, Option<Basic>)> {
        let document = self.table.document(at(now), &alice(), "sip:alice@example.org");
        let document = Presence::parse(&document).unwrap();
        document.tuples.into_iter().map(|tuple| (tuple.id, tuple.basic)).collect()
    }
}

#[test]
fn a_publication_is_made_refreshed_changed_and_removed() {
    let desk = Desk::new();
    let one = desk.publish(0, None, Some(body("a", Basic::Open)), 60).unwrap();
    assert!(one.changed);
    let two = desk.publish(50, Some(&one.etag), None, 60).unwrap();
    assert!(!two.changed && two.etag != one.etag, "each success has a tag of its own");
    assert_eq!(desk.publish(51, Some(&one.etag), None, 60), Err(Refused::NoMatch), "the old tag is spent");
    assert_eq!(desk.tuples(100), [("a".to_owned(), Some(Basic::Open))], "refreshed");
    let three = desk.publish(100, Some(&two.etag), Some(body("a", Basic::Closed)), 60).unwrap();
    assert!(three.changed);
    assert_eq!(desk.tuples(100), [("a".to_owned(), Some(Basic::Closed))]);
    assert!(desk.publish(101, Some(&three.etag), None, 0).unwrap().changed);
    assert_eq!(desk.tuples(101), []);
    assert_eq!(desk.table.bytes(), 0);
}

#[test]
fn what_is_not_refreshed_expires() {
    let desk = Desk::new();
    let one = desk.publish(0, None, Some(body("a", Basic::Open)), 60).unwrap();
    desk.publish(0, None, Some(body("b", Basic::Open)), 90).unwrap();
    assert_eq!(desk.tuples(59).len(), 2);
    assert_eq!(desk.publish(60, Some(&one.etag), None, 60), Err(Refused::NoMatch));
    assert_eq!(desk.tuples(60).len(), 1, "before anybody looked");
    assert!(desk.table.expire(at(60), &alice()) && !desk.table.expire(at(60), &alice()));
    assert_eq!(desk.tuples(60), [("b".to_owned(), Some(Basic::Open))]);
    assert_eq!(desk.tuples(90), []);
    assert!(desk.table.expire(at(90), &alice()));
    assert_eq!(desk.table.bytes(), 0);
}

#[test]
fn the_same_document_again_changes_nothing_for_watchers() {
    let desk = Desk::new();
    let one = desk.publish(0, None, Some(body("a", Basic::Open)), 60).unwrap();
    assert!(!desk.publish(1, Some(&one.etag), Some(body("a", Basic::Open)), 60).unwrap().changed);
}

#[test]
fn refuses_a_publication_of_nothing_and_keeps_none_that_ends_at_once() {
    let desk = Desk::new();
    assert_eq!(desk.publish(0, None, None, 60), Err(Refused::Nothing));
    assert!(!desk.publish(0, None, Some(body("a", Basic::Open)), 0).unwrap().changed);
    assert_eq!((desk.tuples(0).len(), desk.table.bytes()), (0, 0));
}

#[test]
fn refuses_more_bytes_than_the_bound_and_counts_them_back() {
    let mut desk = Desk::new();
    let one = body("a", Basic::Open);
    desk.config.max_published = one.len() * 3 - 1;
    let first = desk.publish(0, None, Some(Arc::clone(&one)), 60).unwrap();
    desk.publish(0, None, Some(body("b", Basic::Open)), 60).unwrap();
    assert_eq!(desk.publish(0, None, Some(body("c", Basic::Open)), 60), Err(Refused::Full));
    desk.publish(0, Some(&first.etag), None, 0).unwrap();
    desk.publish(0, None, Some(body("c", Basic::Open)), 60).unwrap();
    assert!(desk.table.remove_all(&alice()) && !desk.table.remove_all(&alice()));
    assert_eq!(desk.table.bytes(), 0);
}

#[test]
fn one_publication_too_many_takes_the_place_of_the_stalest() {
    let mut desk = Desk::new();
    desk.config.max_publications = 2;
    let one = desk.publish(0, None, Some(body("a", Basic::Open)), 60).unwrap();
    let two = desk.publish(1, None, Some(body("b", Basic::Open)), 60).unwrap();
    desk.publish(2, Some(&one.etag), None, 60).unwrap();
    desk.publish(3, None, Some(body("c", Basic::Open)), 60).unwrap();
    assert_eq!(desk.publish(4, Some(&two.etag), None, 60), Err(Refused::NoMatch));
    assert_eq!(desk.tuples(4).iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn one_users_documents_fit_into_one_together() {
    let mut desk = Desk::new();
    let one = body("a", Basic::Open);
    desk.config.max_publication = one.len();
    let first = desk.publish(0, None, Some(one), 60).unwrap();
    let second = desk.publish(1, None, Some(body("b", Basic::Open)), 60).unwrap();
    let long = body("a long name for a tuple", Basic::Open);
    assert_eq!(desk.publish(2, Some(&first.etag), Some(long), 60), Err(Refused::Full), "what is there stays");
    desk.publish(3, None, Some(body("c", Basic::Open)), 60).unwrap();
    assert_eq!(desk.publish(4, Some(&first.etag), None, 60), Err(Refused::NoMatch), "the stalest made room");
    assert!(desk.publish(4, Some(&second.etag), None, 60).is_ok());
}
