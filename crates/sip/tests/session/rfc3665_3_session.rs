//! RFC 3665 §3 as the end points see it.

use farspeak_sip::message::StatusCode;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, everywhere, sdp};

#[test]
fn a_call_is_made_answered_and_ended_by_the_called() {
    // RFC 3665 §3.1
    everywhere(|world| {
        world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.net.expect("bob -> alice  180 INVITE");
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        world.hears("alice", "Accepted");
        world.hears("bob", "Confirmed");
        world.at("bob", |agent| agent.hang_up(called, Extra::new())).unwrap();
        let Event::Ended { how: HowEnded::Bye(_), .. } = world.hears("alice", "Ended") else { panic!("no BYE") };
        world.hears("alice", "Gone");
        world.hears("bob", "Gone");
    });
}

#[test]
fn the_caller_gives_up_while_it_rings() {
    // RFC 3665 §3.8
    everywhere(|world| {
        let call = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.hears("alice", "Progress");
        world.at("alice", |agent| agent.cancel(call)).unwrap();
        let Event::Ended { how: HowEnded::Cancelled(_), .. } = world.hears("bob", "Ended") else { panic!("no CANCEL") };
        world.hears("alice", "Gone");
    });
}

#[test]
fn a_busy_phone_refuses() {
    // RFC 3665 §3.9
    everywhere(|world| {
        world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.reject(called, StatusCode::BUSY_HERE, Extra::new())).unwrap();
        let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
        assert_eq!(failure.status(), StatusCode::BUSY_HERE);
    });
}
