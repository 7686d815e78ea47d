//! RFC 5359 §2.7–2.9: calls forwarded always, when busy, when nobody answers; by a proxy, and by a phone that redirects.

use farspeak_sip::header::{HistoryInfo, HistoryTarget};
use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::session::{Invite, Redirection, SessionId};
use farspeak_sip::user_agent::{Event, Extra};

use crate::services::{accepts, answers, hangs_up};
use crate::world::{OFFER, People, World, everywhere, everywhere_among, sdp};

const PEOPLE: People = &["alice", "proxy", "bob", "carol"];

/// Calls for Bob go to these, one after the other.
fn forwards(world: &mut World, stages: Vec<Vec<&'static str>>) -> SessionId {
    world.at_proxy(|proxy| proxy.route("bob", stages));
    world.call_by_name("alice", "bob")
}

fn refuses(world: &mut World, name: &str, status: StatusCode) {
    let called = world.is_called(name);
    world.at(name, |agent| agent.reject(called, status, Extra::new())).unwrap();
}

#[test]
fn call_forwarding_unconditional() {
    // §2.7
    everywhere_among(PEOPLE, |world| {
        let call = forwards(world, vec![vec!["carol"]]);
        answers(world, "carol", "alice");
        hangs_up(world, "alice", call, "carol");
        assert!(world.heard("bob").is_empty());
    });
}

#[test]
fn call_forwarding_when_busy() {
    // §2.8
    everywhere_among(PEOPLE, |world| {
        let call = forwards(world, vec![vec!["bob"], vec!["carol"]]);
        refuses(world, "bob", StatusCode::BUSY_HERE);
        answers(world, "carol", "alice");
        hangs_up(world, "alice", call, "carol");
    });
}

#[test]
fn call_forwarding_when_nobody_answers() {
    // §2.9
    everywhere_among(PEOPLE, |world| {
        let call = forwards(world, vec![vec!["bob"], vec!["carol"]]);
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.hears("bob", "Gone");
        answers(world, "carol", "alice");
        hangs_up(world, "alice", call, "carol");
    });
}

#[test]
fn a_forwarded_call_is_given_up() {
    everywhere_among(PEOPLE, |world| {
        let call = forwards(world, vec![vec!["bob"], vec!["carol"]]);
        refuses(world, "bob", StatusCode::BUSY_HERE);
        world.is_called("carol");
        world.at("alice", |agent| agent.cancel(call)).unwrap();
        world.hears("carol", "Gone");
        world.hears("alice", "Gone");
    });
}

#[test]
fn a_phone_that_forwards_by_itself_redirects() {
    // §2.7–2.9 without a proxy: Bob answers 302, Alice calls Carol and tells her by History-Info why.
    everywhere(|world| {
        let invite = Invite { opening: world.opening("alice", "bob"), extra: sdp(OFFER) };
        let mut redirection = Redirection::new(invite.clone());
        world.invites("alice", invite);
        let called = world.is_called("bob");
        let contacts = format!("<{}>;q=0.5, <tel:+49>", world.opening("alice", "carol").target);
        let moved = Extra::new().header(HeaderName::Contact, contacts);
        world.at("bob", |agent| agent.reject(called, StatusCode::new(302).unwrap(), moved)).unwrap();
        let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
        let farspeak_sip::user_agent::Failure::Response(response) = failure else { panic!("{failure:?}") };
        assert_eq!(redirection.follow(&response), 1);
        let mut next = redirection.next().unwrap();
        next.opening.flow = world.flow("alice", "carol");
        let call = world.invites("alice", next);
        let Event::Incoming { session, request, .. } = world.hears("carol", "Incoming") else { unreachable!() };
        let history: Vec<_> = HistoryInfo::all(&request).collect::<Result<_, _>>().unwrap();
        assert_eq!((history[0].reasons()[0].cause, history[0].index.as_str()), (Some(302), "1"));
        assert_eq!(history[1].target, Some((HistoryTarget::Mapped, "1".to_owned())));
        accepts(world, "carol", session, "alice");
        hangs_up(world, "alice", call, "carol");
        assert!(redirection.next().is_none());
    });
}
