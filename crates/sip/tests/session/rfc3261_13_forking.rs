//! RFC 3261 §12.1.2 and §13.2.2.4 at the caller: an INVITE that forked, its early dialogs, its 2xx, and dialogs through
//! loose and strict routers (§12.2.1.1).

use farspeak_sip::message::{HeaderName, Limits, Message, ResponseBuilder, StatusCode};
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, World};

/// What a phone behind a forking proxy answers to alice's INVITE.
struct Fork {
    at: &'static str,
    tag: &'static str,
    record_route: &'static [&'static str],
}

const BOB: Fork = Fork { at: "bob", tag: "tag-of-bob", record_route: &[] };
const CAROL: Fork = Fork { at: "carol", tag: "tag-of-carol", record_route: &[] };

fn invite(world: &World) -> Message {
    let sent = world.net.last("alice -> bob  INVITE").expect("alice has called");
    Message::parse(&sent.bytes, &Limits::default()).unwrap()
}

fn answer(world: &mut World, fork: &Fork, status: StatusCode) {
    let invite = invite(world);
    let address = if fork.at == "bob" { "192.0.2.2" } else { "192.0.2.3" };
    let mut response = ResponseBuilder::new(&invite, status).to_tag(fork.tag);
    for value in fork.record_route {
        response = response.header(HeaderName::RecordRoute, value);
    }
    response = response.header(HeaderName::Contact, &format!("<sip:{}@{address}:5060>", fork.at));
    if status.is_success() {
        response = response.body("application/sdp", ANSWER);
    }
    world.send(fork.at, "alice", &response.to_vec());
}

/// What the last such request of alice's says.
fn last(world: &World, pattern: &str) -> Message {
    let sent = world.net.last(pattern).unwrap_or_else(|| panic!("no {pattern}\n{}", world.net));
    Message::parse(&sent.bytes, &Limits::default()).unwrap()
}

#[test]
fn each_fork_that_rings_is_a_leg_and_the_one_that_answers_is_the_session() {
    let mut world = World::new(Conditions::udp());
    let session = call_seen(&mut world);
    let mut legs = Vec::new();
    for fork in [&BOB, &CAROL] {
        answer(&mut world, fork, StatusCode::RINGING);
        let Event::Progress { leg, .. } = world.hears("alice", "Progress") else { unreachable!() };
        legs.push(leg);
    }
    assert_ne!(legs[0], legs[1]);
    answer(&mut world, &CAROL, StatusCode::OK);
    let Event::Accepted { leg, .. } = world.hears("alice", "Accepted") else { unreachable!() };
    assert_eq!(leg, legs[1]);
    world.net.expect("alice -> carol  ACK");
    world.at("alice", |agent| agent.hang_up(session, Extra::new())).unwrap();
    world.net.expect("alice -> carol  BYE");
    world.hears("alice", "Gone");
    world.net.never("alice -> bob  BYE");
    world.settles();
}

#[test]
fn a_second_2xx_gets_its_ack_and_a_bye_of_its_own() {
    let mut world = World::new(Conditions::udp());
    let session = call_seen(&mut world);
    answer(&mut world, &BOB, StatusCode::OK);
    world.hears("alice", "Accepted");
    answer(&mut world, &CAROL, StatusCode::OK);
    world.net.expect("alice -> carol  ACK");
    world.net.expect("alice -> carol  BYE");
    // Once more: the ACK was lost.
    answer(&mut world, &CAROL, StatusCode::OK);
    world.net.expect("alice -> carol  ACK");
    assert_eq!(world.heard("alice").iter().filter(|event| *event == "Accepted").count(), 1);
    assert_eq!(world.net.count("alice -> carol  BYE"), 1);
    world.at("alice", |agent| agent.hang_up(session, Extra::new())).unwrap();
    world.net.expect("alice -> bob  BYE");
    world.settles();
}

#[test]
fn a_fork_that_answers_a_cancelled_call_is_hung_up() {
    // RFC 3261 §9.1: the 2xx and the CANCEL have crossed.
    let mut world = World::new(Conditions::udp());
    let session = call_seen(&mut world);
    answer(&mut world, &BOB, StatusCode::RINGING);
    world.hears("alice", "Progress");
    world.at("alice", |agent| agent.cancel(session)).unwrap();
    answer(&mut world, &BOB, StatusCode::OK);
    world.net.expect("alice -> bob  ACK");
    world.net.expect("alice -> bob  BYE");
    assert!(matches!(world.hears("alice", "Ended"), Event::Ended { how: HowEnded::Local, .. }));
    world.settles();
}

#[test]
fn the_route_set_is_record_route_reversed_and_the_target_is_the_contact() {
    // RFC 3261 §12.1.2, §12.2.1.1
    let mut world = World::new(Conditions::udp());
    let session = call_seen(&mut world);
    let loose = Fork { record_route: &["<sip:p2.example.org;lr>", "<sip:192.0.2.3:5060;lr>"], ..BOB };
    answer(&mut world, &loose, StatusCode::OK);
    world.net.expect("alice -> carol  ACK");
    let ack = last(&world, "alice -> carol  ACK");
    assert_eq!(ack.request_uri(), Some("sip:bob@192.0.2.2:5060"));
    assert_eq!(routes(&ack), ["<sip:192.0.2.3:5060;lr>", "<sip:p2.example.org;lr>"]);
    world.at("alice", |agent| agent.hang_up(session, Extra::new())).unwrap();
    world.settles();
}

#[test]
fn a_strict_router_gets_its_own_uri_in_the_request_line() {
    // RFC 3261 §12.2.1.1: the first route has no lr.
    let mut world = World::new(Conditions::udp());
    let session = call_seen(&mut world);
    let strict = Fork { record_route: &["<sip:p2.example.org;lr>", "<sip:192.0.2.3:5060>"], ..BOB };
    answer(&mut world, &strict, StatusCode::OK);
    world.net.expect("alice -> carol  ACK");
    let ack = last(&world, "alice -> carol  ACK");
    assert_eq!(ack.request_uri(), Some("sip:192.0.2.3:5060"));
    assert_eq!(routes(&ack), ["<sip:p2.example.org;lr>", "<sip:bob@192.0.2.2:5060>"]);
    world.at("alice", |agent| agent.hang_up(session, Extra::new())).unwrap();
    world.settles();
}

#[test]
fn a_flood_of_forks_opens_a_bounded_number_of_dialogs() {
    let mut world = World::new(Conditions::udp());
    let session = call_seen(&mut world);
    let invite = invite(&world);
    for number in 0..2000 {
        let status = if number % 2 == 0 { StatusCode::RINGING } else { StatusCode::OK };
        let tag = format!("fork{number}");
        let response =
            ResponseBuilder::new(&invite, status).to_tag(&tag).header(HeaderName::Contact, "<sip:bob@192.0.2.2:5060>");
        world.send("bob", "alice", &response.to_vec());
    }
    world.hears("alice", "Accepted");
    world.net.run_for(std::time::Duration::from_secs(1));
    assert!(world.dialogs("alice") < 100, "{} dialogs", world.dialogs("alice"));
    world.at("alice", |agent| agent.hang_up(session, Extra::new())).unwrap();
    world.settles();
}

/// Alice calls, and the INVITE is seen by nobody but the test.
fn call_seen(world: &mut World) -> SessionId {
    let session = world.call("alice", "bob");
    world.is_called("bob");
    // The user agent at that address forgets it: the test answers in its place.
    world.restart("bob");
    session
}

fn routes(message: &Message) -> Vec<&str> {
    message.headers(HeaderName::Route).collect()
}
