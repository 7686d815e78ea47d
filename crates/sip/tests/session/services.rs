//! What the service examples of RFC 5359 share: hold and resume, transfers as their three parties do them.

use farspeak_sip::event::{SubscriptionEnd, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{ReferTo, Replaces};
use farspeak_sip::message::{HeaderName, Message, StatusCode};
use farspeak_sip::session::{Invite, SessionId};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{ANSWER, World, sdp};

pub const HOLD: &[u8] =
    b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n";
pub const HELD: &[u8] =
    b"v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\na=recvonly\r\n";
pub const RESUME: &[u8] =
    b"v=0\r\no=- 1 3 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// One changes the session by re-INVITE, the other agrees.
#[track_caller]
pub fn changes(world: &mut World, name: &str, session: SessionId, offer: &[u8], other: &str, answer: &[u8]) {
    world.at(name, |agent| agent.reinvite(session, sdp(offer))).unwrap();
    let Event::Offer { leg, message } = world.hears(other, "Offer") else { unreachable!() };
    assert_eq!(message.body(), offer);
    world.at(other, |agent| agent.accept_offer(leg, sdp(answer))).unwrap();
    let Event::Answer { message, .. } = world.hears(name, "Answer") else { unreachable!() };
    assert_eq!(message.body(), answer);
    world.hears(name, "Modified");
    world.hears(other, "Confirmed");
}

/// One puts the other on hold.
#[track_caller]
pub fn holds(world: &mut World, name: &str, session: SessionId, other: &str) {
    changes(world, name, session, HOLD, other, HELD);
}

/// One takes the other off hold.
#[track_caller]
pub fn resumes(world: &mut World, name: &str, session: SessionId, other: &str) {
    changes(world, name, session, RESUME, other, ANSWER);
}

/// One rings and accepts; the other hears it.
#[track_caller]
pub fn answers(world: &mut World, name: &str, caller: &str) -> SessionId {
    let called = world.is_called(name);
    accepts(world, name, called, caller);
    called
}

/// One rings and accepts a call that it has heard of.
#[track_caller]
pub fn accepts(world: &mut World, name: &str, called: SessionId, caller: &str) {
    world.at(name, |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
    world.at(name, |agent| agent.accept(called, sdp(ANSWER))).unwrap();
    world.hears(caller, "Accepted");
    world.hears(name, "Confirmed");
}

/// One ends a session, the other hears of it.
#[track_caller]
pub fn hangs_up(world: &mut World, name: &str, session: SessionId, other: &str) {
    world.at(name, |agent| agent.hang_up(session, Extra::new())).unwrap();
    world.hears(other, "Gone");
    world.hears(name, "Gone");
}

/// The dialog of somebody's session, as the other end of it is told to replace it.
#[track_caller]
pub fn replaces(world: &mut World, name: &str, session: SessionId) -> Replaces {
    world.at(name, |agent| agent.replaces(session)).unwrap()
}

/// One has been sent a REFER; it accepts. Gives the subscription and the REFER.
#[track_caller]
pub fn is_referred(world: &mut World, name: &str) -> (SubscriptionId, std::sync::Arc<Message>) {
    match world.hears(name, "Subscription") {
        Event::Subscription { subscription, event: SubscriptionEvent::Referred { request, .. } } => {
            world.at(name, |agent| agent.accept_refer(subscription)).unwrap();
            (subscription, request)
        }
        other => panic!("{other:?}\n{}", world.net),
    }
}

/// Who was referred calls whom the REFER names; `to` is who that is.
#[track_caller]
pub fn calls_as_referred(world: &mut World, name: &str, refer: &Message, to: &str, body: Extra) -> SessionId {
    let opening = world.opening(name, to);
    world.invites(name, Invite::referred(refer, opening, body).unwrap())
}

/// Refer-To for somebody.
pub fn refer_to(world: &World, name: &str) -> ReferTo {
    ReferTo::parse(&format!("<{}>", world.opening("bob", name).target)).unwrap()
}

/// Refer-To for somebody, in place of a dialog that it has.
pub fn refer_to_replacing(world: &World, name: &str, replaces: &Replaces) -> ReferTo {
    ReferTo::replacing(&world.opening("bob", name).target, replaces).unwrap()
}

/// Runs until the subscription of a REFER ends, which reports a success.
#[track_caller]
pub fn hears_success(world: &mut World, name: &str) {
    let mut last = String::new();
    loop {
        let Event::Subscription { event, .. } = world.hears(name, "Subscription") else { unreachable!() };
        match event {
            SubscriptionEvent::Notified { request, .. } => {
                last = String::from_utf8_lossy(request.body()).trim_end().to_owned();
            }
            SubscriptionEvent::Ended(SubscriptionEnd::Terminated(_)) => break,
            SubscriptionEvent::ReferAccepted { .. } => {}
            other => panic!("{other:?}\n{}", world.net),
        }
    }
    assert_eq!(last, "SIP/2.0 200 OK", "{}", world.net);
}

/// An INVITE's Replaces.
pub fn with_replaces(body: &[u8], replaces: &Replaces) -> Extra {
    sdp(body).header(HeaderName::Replaces, replaces.to_string()).header(HeaderName::Require, "replaces")
}
