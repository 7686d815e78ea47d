//! RFC 5359 §2.1–2.3: call hold, consultation hold, music on hold.

use farspeak_sip::message::HeaderName;
use farspeak_sip::user_agent::Extra;

use crate::services::{
    accepts, answers, calls_as_referred, hangs_up, hears_success, holds, is_referred, refer_to_replacing, replaces,
    resumes, with_replaces,
};
use crate::world::{ANSWER, OFFER, everywhere, sdp};

#[test]
fn call_hold() {
    // §2.1
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        holds(world, "bob", called, "alice");
        resumes(world, "bob", called, "alice");
        hangs_up(world, "alice", caller, "bob");
    });
}

#[test]
fn consultation_hold() {
    // §2.2: Bob asks Carol something while Alice waits.
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        holds(world, "bob", called, "alice");
        let question = world.call("bob", "carol");
        answers(world, "carol", "bob");
        hangs_up(world, "bob", question, "carol");
        resumes(world, "bob", called, "alice");
        hangs_up(world, "alice", caller, "bob");
    });
}

#[test]
fn music_on_hold() {
    // §2.3: Carol is the music server, which takes Bob's place and gives it back.
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        holds(world, "bob", called, "alice");
        let at_alice = replaces(world, "bob", called);
        let music = refer_to_replacing(world, "alice", &at_alice);
        let opening = world.opening("bob", "carol");
        world.at("bob", |agent| agent.refer_outside(opening, &music, true, Extra::new())).unwrap();
        let (report, refer) = is_referred(world, "carol");
        let plays = calls_as_referred(world, "carol", &refer, "alice", sdp(OFFER));
        let hears_music = world.is_called("alice");
        world.at("alice", |agent| agent.accept(hears_music, sdp(ANSWER))).unwrap();
        world.hears("carol", "Accepted");
        world.at("carol", |agent| agent.refer_progress(report, farspeak_sip::message::StatusCode::OK)).unwrap();
        // Alice ends what was replaced.
        hears_success(world, "bob");
        world.hears("alice", "Gone");
        assert!(world.at("alice", |agent| agent.hang_up(caller, Extra::new())).is_err());
        // Bob takes Alice back. The dialog that Alice has with Carol he knows from Carol's dialog state (RFC 4235).
        let at_alice = replaces(world, "carol", plays);
        let back = world.call_with("bob", "alice", with_replaces(OFFER, &at_alice));
        let again = world.is_called("alice");
        accepts(world, "alice", again, "bob");
        world.hears("carol", "Gone");
        hangs_up(world, "bob", back, "alice");
        let refused = world.net.last("carol -> alice  INVITE").unwrap();
        assert!(!crate::world::header(&refused.bytes, HeaderName::Replaces).is_empty());
    });
}
