//! RFC 3261 §10.2 and RFC 5626 §4: registered, refreshed, repaired, taken back.

use std::sync::Arc;
use std::time::Duration;

use farspeak_sip::header::Gruus;
use farspeak_sip::message::{Contacts, HeaderName, Message, Method, StatusCode};
use farspeak_sip::registration::{Register, RegistrationEvent, RegistrationId};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{Conditions, World, everywhere};

const INSTANCE: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

fn register(world: &mut World, targets: &[&[&str]]) -> RegistrationId {
    let flows = targets.iter().map(|targets| targets.iter().map(|to| world.flow("alice", to)).collect()).collect();
    let register = Register {
        registrar: "sip:example.org".into(),
        aor: "<sip:alice@example.org>".into(),
        user: "alice".into(),
        instance: Some(INSTANCE.into()),
        contact_params: "".into(),
        route_set: Vec::new(),
        flows,
        expires: 600,
        account: None,
    };
    world.at("alice", |agent| agent.register(register)).unwrap()
}

#[track_caller]
fn hears(world: &mut World) -> RegistrationEvent {
    match world.hears("alice", "Registration") {
        Event::Registration { event, .. } => event,
        _ => unreachable!("hears gave another event"),
    }
}

/// Plays the registrar: answers the next REGISTER with its Contact and a GRUU, or with `status`.
#[track_caller]
fn answer(world: &mut World, registrar: &str, status: StatusCode, extra: Extra) -> Arc<Message> {
    let Event::Request { tx, request, .. } = world.hears(registrar, "Request") else { unreachable!() };
    assert_eq!(request.method(), Some(&Method::Register));
    let mut extra = extra;
    if status == StatusCode::OK {
        for value in request.headers(HeaderName::Contact) {
            extra = extra.header(
                HeaderName::Contact,
                format!("{value};expires=600;pub-gruu=\"sip:alice@example.org;gr={INSTANCE}\""),
            );
        }
    }
    world.at(registrar, |agent| agent.respond(tx, status, extra));
    request
}

fn ok(world: &mut World, registrar: &str) -> Arc<Message> {
    answer(world, registrar, StatusCode::OK, Extra::new())
}

fn expires(request: &Message) -> u32 {
    request.expires().unwrap().unwrap()
}

#[test]
fn a_phone_registers_learns_its_gruu_and_leaves() {
    // RFC 3261 §10.2.1, §10.2.2; RFC 5627 §4.2
    everywhere(|world| {
        let id = register(world, &[&["bob"]]);
        let request = ok(world, "bob");
        let Ok(Contacts::List(mut contacts)) = request.contacts() else { panic!("no Contact") };
        let contact = contacts.next().unwrap().unwrap();
        assert_eq!((contact.instance(), contact.reg_id()), (Some(INSTANCE), Some(1)));
        let RegistrationEvent::Registered { expires: granted, gruus, .. } = hears(world) else {
            panic!("{}", world.net)
        };
        let gruu = Gruus { public: Some(format!("sip:alice@example.org;gr={INSTANCE}")), temporary: None };
        assert_eq!((granted, gruus), (600, gruu));
        world.at("alice", |agent| agent.unregister(id)).unwrap();
        assert_eq!(expires(&ok(world, "bob")), 0);
        assert!(matches!(hears(world), RegistrationEvent::Ended));
    });
}

#[test]
fn a_registration_is_refreshed_in_time_with_rising_cseq() {
    let mut world = World::new(Conditions::udp());
    let id = register(&mut world, &[&["bob"]]);
    let mut last = (0, String::new());
    for round in 0..5 {
        let request = ok(&mut world, "bob");
        let now = (request.cseq().unwrap().number, request.call_id().unwrap().to_owned());
        assert!(round == 0 || (now.0 > last.0 && now.1 == last.1));
        last = now;
        assert!(matches!(hears(&mut world), RegistrationEvent::Registered { .. }));
    }
    let elapsed = world.net.now().since_origin();
    assert!(elapsed > Duration::from_secs(4 * 300) && elapsed < Duration::from_secs(4 * 600));
    world.at("alice", |agent| agent.unregister(id)).unwrap();
    ok(&mut world, "bob");
    world.settles();
}

#[test]
fn an_interval_too_brief_is_raised() {
    // RFC 3261 §10.2.8
    everywhere(|world| {
        let id = register(world, &[&["bob"]]);
        let least = Extra::new().header(HeaderName::MinExpires, "1800");
        answer(world, "bob", StatusCode::INTERVAL_TOO_BRIEF, least);
        assert_eq!(expires(&ok(world, "bob")), 1800);
        hears(world);
        world.at("alice", |agent| agent.unregister(id)).unwrap();
        ok(world, "bob");
        hears(world);
    });
}

#[test]
fn a_first_hop_without_outbound_is_registered_at_without_it() {
    // RFC 5626 §11.6
    everywhere(|world| {
        let id = register(world, &[&["bob"]]);
        let request = answer(world, "bob", StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT, Extra::new());
        assert!(request.header(HeaderName::Contact).unwrap().contains(";reg-id=1"));
        let request = ok(world, "bob");
        assert!(!request.header(HeaderName::Contact).unwrap().contains("reg-id"));
        hears(world);
        world.at("alice", |agent| agent.unregister(id)).unwrap();
        ok(world, "bob");
        hears(world);
    });
}

#[test]
fn the_next_target_is_tried_when_one_is_down() {
    let mut world = World::new(Conditions::udp());
    world.power("bob", false);
    let id = register(&mut world, &[&["bob", "carol"]]);
    assert!(matches!(hears(&mut world), RegistrationEvent::Lost { retry_in: Duration::ZERO, .. }));
    ok(&mut world, "carol");
    assert!(matches!(hears(&mut world), RegistrationEvent::Registered { .. }));
    world.at("alice", |agent| agent.unregister(id)).unwrap();
    ok(&mut world, "carol");
    world.settles();
}

#[test]
fn a_server_that_is_down_is_asked_again_with_growing_pauses() {
    // RFC 5626 §4.5
    let mut world = World::new(Conditions::udp());
    world.power("bob", false);
    let id = register(&mut world, &[&["bob"]]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let RegistrationEvent::Lost { retry_in, .. } = hears(&mut world) else { panic!("{}", world.net) };
        pauses.push(retry_in.as_secs());
    }
    assert!((30..=60).contains(&pauses[0]) && pauses[3] >= 240, "{pauses:?}");
    world.power("bob", true);
    ok(&mut world, "bob");
    assert!(matches!(hears(&mut world), RegistrationEvent::Registered { .. }));
    world.at("alice", |agent| agent.unregister(id)).unwrap();
    ok(&mut world, "bob");
    world.settles();
}

#[test]
fn a_connection_that_breaks_is_replaced() {
    // RFC 5626 §4.5
    let mut world = World::new(Conditions::tcp());
    let id = register(&mut world, &[&["bob"], &["carol"]]);
    ok(&mut world, "bob");
    ok(&mut world, "carol");
    hears(&mut world);
    hears(&mut world);
    world.reset("alice", "bob");
    assert!(matches!(hears(&mut world), RegistrationEvent::Lost { index: 0, .. }));
    let request = ok(&mut world, "bob");
    assert!(request.header(HeaderName::Contact).unwrap().contains(";reg-id=1"));
    assert!(matches!(hears(&mut world), RegistrationEvent::Registered { index: 0, .. }));
    world.at("alice", |agent| agent.unregister(id)).unwrap();
    ok(&mut world, "bob");
    ok(&mut world, "carol");
    world.settles();
}

#[test]
fn a_refusal_is_reported_and_tried_again_no_sooner_than_asked() {
    let mut world = World::new(Conditions::udp());
    let id = register(&mut world, &[&["bob"]]);
    let later = Extra::new().header(HeaderName::RetryAfter, "3000");
    answer(&mut world, "bob", StatusCode::FORBIDDEN, later);
    let RegistrationEvent::Lost { failure, retry_in, .. } = hears(&mut world) else { panic!("{}", world.net) };
    assert_eq!((failure.status(), retry_in), (StatusCode::FORBIDDEN, Duration::from_secs(3000)));
    world.at("alice", |agent| agent.unregister(id)).unwrap();
    world.settles();
}

#[test]
fn leaving_while_a_register_is_under_way_takes_it_back_afterwards() {
    everywhere(|world| {
        let id = register(world, &[&["bob"]]);
        world.at("alice", |agent| agent.unregister(id)).unwrap();
        assert_eq!(expires(&ok(world, "bob")), 600);
        assert_eq!(expires(&ok(world, "bob")), 0);
        assert!(matches!(hears(world), RegistrationEvent::Ended));
    });
}

#[test]
fn a_registrar_that_wants_more_and_more_time_is_not_asked_without_end() {
    let mut world = World::new(Conditions::udp());
    register(&mut world, &[&["bob"]]);
    for least in [601, 602] {
        let more = Extra::new().header(HeaderName::MinExpires, least.to_string());
        answer(&mut world, "bob", StatusCode::INTERVAL_TOO_BRIEF, more);
    }
    let RegistrationEvent::Lost { retry_in, .. } = hears(&mut world) else { panic!("{}", world.net) };
    assert!(retry_in >= Duration::from_secs(30));
    assert_eq!(world.net.count("alice -> bob  REGISTER"), 2);
}

#[test]
fn only_a_registrar_that_knows_of_keep_alives_must_answer_them() {
    // RFC 5626 §4.4, §6: the simulator answers no CRLF.
    for (says, lost) in [(None, false), (Some((HeaderName::Require, "outbound")), true)] {
        let mut world = World::new(Conditions::tcp());
        world.configure("alice", |config| config.keep_alive.pong = Some(Duration::from_secs(10)));
        register(&mut world, &[&["bob"]]);
        let extra = says.map_or(Extra::new(), |(name, value)| Extra::new().header(name, value));
        answer(&mut world, "bob", StatusCode::OK, extra);
        world.net.run_for(Duration::from_secs(200));
        let news = world.news("alice");
        let is_lost =
            |event: &Event| matches!(event, Event::Registration { event: RegistrationEvent::Lost { .. }, .. });
        assert_eq!(news.iter().any(is_lost), lost);
    }
}
