//! RFC 3326: why a call was cancelled or hung up.

use farspeak_sip::header::Reason;
use farspeak_sip::message::{HeaderName, StatusCode};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{World, everywhere};

fn elsewhere() -> Reason {
    Reason::sip(StatusCode::OK, "Call completed elsewhere")
}

fn why(world: &mut World, name: &str) -> Vec<Reason> {
    let Event::Ended { how, .. } = world.hears(name, "Ended") else { unreachable!() };
    how.reasons()
}

#[test]
fn a_call_taken_elsewhere_is_no_missed_call() {
    // §3.1
    everywhere(|world| {
        let call = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.hears("alice", "Progress");
        world.at("alice", |agent| agent.cancel_because(call, &elsewhere())).unwrap();
        assert_eq!(why(world, "bob"), [elsewhere()]);
        world.hears("alice", "Gone");
    });
}

#[test]
fn hanging_up_gives_its_reason_in_whatever_it_sends() {
    // §2: CANCEL while it rings, BYE later.
    let busy = || Extra::new().header(HeaderName::Reason, "Q.850;cause=16;text=\"Terminated\"");
    everywhere(|world| {
        let call = world.call("alice", "bob");
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.ring(called, StatusCode::RINGING, Extra::new())).unwrap();
        world.hears("alice", "Progress");
        world.at("alice", |agent| agent.hang_up(call, busy())).unwrap();
        assert_eq!(why(world, "bob")[0].cause, Some(16));
        world.hears("alice", "Gone");
    });
    everywhere(|world| {
        let (_, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.hang_up(called, busy())).unwrap();
        assert_eq!(why(world, "alice"), [Reason::q850(16, "Terminated")]);
        world.hears("bob", "Gone");
    });
}
