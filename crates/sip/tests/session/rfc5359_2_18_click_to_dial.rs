//! RFC 5359 §2.18: somebody clicks on a web page, and a phone is asked to call.

use farspeak_sip::message::Method;
use farspeak_sip::user_agent::Extra;

use crate::services::{answers, calls_as_referred, hangs_up, is_referred, refer_to};
use crate::world::{OFFER, everywhere, sdp};

#[test]
fn click_to_dial() {
    // Alice stands for her browser, Bob for her phone. Nobody is told how it went (RFC 4488).
    everywhere(|world| {
        let opening = world.opening("alice", "bob");
        let carol = refer_to(world, "carol");
        assert_eq!(carol.method(), Some(Method::Invite));
        world.at("alice", |agent| agent.refer_outside(opening, &carol, false, Extra::new())).unwrap();
        let (_, refer) = is_referred(world, "bob");
        let call = calls_as_referred(world, "bob", &refer, "carol", sdp(OFFER));
        answers(world, "carol", "bob");
        hangs_up(world, "bob", call, "carol");
        world.net.never("bob -> alice  NOTIFY");
    });
}
