//! Transfers, blind and attended (RFC 3515, RFC 3891, RFC 5589): REFERs pass with what they name mapped.

use std::time::Duration;

use farspeak_sip::event::SubscriptionEvent;
use farspeak_sip::header::{ReferTo, Replaces};
use farspeak_sip::message::StatusCode;
use farspeak_sip::user_agent::Extra;

use crate::world::{ANSWER, OFFER, World, everywhere, sdp};

const CAROL: &str = "sip:carol@biloxi.example";

/// Bob is told by Alice whom to call, and does; Alice hears of it. Gives his new call and what Carol sees of it.
#[track_caller]
fn follows(world: &mut World) -> (farspeak_sip::session::SessionId, std::sync::Arc<farspeak_sip::message::Message>) {
    let (refer, refer_to) = loop {
        if let (id, SubscriptionEvent::Referred { refer_to, .. }) = world.hears_of_subscription("bob") {
            break (id, refer_to);
        }
    };
    world.at("bob", |agent| agent.accept_refer(refer)).unwrap();
    let mut extra = sdp(OFFER);
    if let Some(replaces) = refer_to.replaces().unwrap() {
        extra = extra.header(Replaces::NAME, replaces.to_string());
    }
    let target = refer_to.embedded().unwrap().target;
    let call = world.call_with("bob", &target, extra);
    let (at_carol, request) = world.is_called("carol");
    world.at("carol", |agent| agent.accept(at_carol, sdp(ANSWER))).unwrap();
    world.hears("bob", "Accepted");
    world.at("bob", |agent| agent.refer_progress(refer, StatusCode::OK)).unwrap();
    let done = loop {
        if let (_, SubscriptionEvent::Notified { state, request }) = world.hears_of_subscription("alice")
            && state.is_terminated()
        {
            break request;
        }
    };
    assert!(done.body().starts_with(b"SIP/2.0 200"), "{}", world.net);
    (call, request)
}

#[test]
fn a_blind_transfer_is_followed_and_reported() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let to = ReferTo::parse(&format!("<{CAROL}>")).unwrap();
        world.at("alice", |agent| agent.refer(caller, &to, true, Extra::new())).unwrap();
        let (new, _) = follows(world);
        world.hang_up("alice", caller, "bob");
        world.net.run_for(Duration::from_secs(20));
        world.hang_up("bob", new, "carol");
    });
}

#[test]
fn an_attended_transfer_replaces_the_dialog_that_the_target_knows() {
    everywhere(|world| {
        let (first, _) = world.connect("alice", "bob");
        let (second, at_carol) = world.connect("alice", "carol");
        // Alice names her own dialog with Carol, as she sees it: the node is at its other end.
        let hers = world.dialog("alice", second);
        let replaces = Replaces {
            call_id: hers.call_id.to_string(),
            to_tag: hers.remote_tag.to_string(),
            from_tag: hers.local_tag.to_string(),
            early_only: false,
        };
        let carols = world.dialog("carol", at_carol);
        assert_ne!(carols.call_id, hers.call_id);
        let to = ReferTo::replacing(CAROL, &replaces).unwrap();
        world.at("alice", |agent| agent.refer(first, &to, true, Extra::new())).unwrap();
        let (new, invite) = follows(world);
        let seen = Replaces::of(&invite).unwrap().expect("the INVITE replaces something");
        assert!(seen.matches(&carols.call_id, &carols.local_tag, Some(&carols.remote_tag)), "{seen}\n{}", world.net);
        // Carol has ended what was replaced; the far leg has ended with it.
        world.net.run_for(Duration::from_secs(20));
        assert!(world.at("alice", |agent| agent.hang_up(second, Extra::new())).is_err(), "{}", world.net);
        world.hang_up("alice", first, "bob");
        world.net.run_for(Duration::from_secs(20));
        world.hang_up("bob", new, "carol");
    });
}

#[test]
fn a_refused_transfer_is_refused() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        let to = ReferTo::parse(&format!("<{CAROL}>")).unwrap();
        world.at("alice", |agent| agent.refer(caller, &to, true, Extra::new())).unwrap();
        let (id, SubscriptionEvent::Referred { .. }) = world.hears_of_subscription("bob") else { panic!() };
        world.at("bob", |agent| agent.refuse_subscription(id, StatusCode::DECLINE, Extra::new())).unwrap();
        let (_, SubscriptionEvent::Ended(end)) = world.hears_of_subscription("alice") else { panic!("{}", world.net) };
        assert!(format!("{end:?}").contains("603"), "{end:?}");
        world.hang_up("alice", caller, "bob");
    });
}
