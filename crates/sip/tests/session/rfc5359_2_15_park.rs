//! RFC 5359 §2.15–2.17: call park, call pickup, automatic redial. Who takes a call over learns of it from dialog state
//! (RFC 4235).

use farspeak_sip::event::package::dialog::{Dialog, DialogInfo, DialogState, DocumentState};
use farspeak_sip::event::{Subscribe, SubscriptionEvent, SubscriptionId};
use farspeak_sip::header::{self, Replaces};
use farspeak_sip::message::StatusCode;
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Body, Event, Extra, HowEnded};

use crate::services::{
    accepts, answers, calls_as_referred, hangs_up, hears_success, is_referred, refer_to_replacing, replaces,
    with_replaces,
};
use crate::world::{ANSWER, OFFER, People, World, everywhere, everywhere_among, sdp};

const WITH_PARK: People = &["alice", "bob", "park", "carol"];

#[track_caller]
fn hears(world: &mut World, name: &str) -> (SubscriptionId, SubscriptionEvent) {
    match world.hears(name, "Subscription") {
        Event::Subscription { subscription, event } => (subscription, event),
        _ => unreachable!("hears gave another event"),
    }
}

/// One asks for the dialog state of another, for so many seconds; 0 for once.
fn watches(world: &mut World, name: &str, other: &str, expires: u32) -> SubscriptionId {
    let wanted = Subscribe {
        opening: world.opening(name, other),
        event: header::Event::new("dialog"),
        expires,
        extra: Extra::new(),
    };
    world.at(name, |agent| agent.subscribe(wanted)).unwrap()
}

/// Who is asked accepts and tells its state.
#[track_caller]
fn tells(world: &mut World, name: &str, info: &DialogInfo) -> SubscriptionId {
    loop {
        match hears(world, name) {
            (id, SubscriptionEvent::Requested { .. }) => {
                world.at(name, |agent| agent.accept_subscription(id, false, 3600)).unwrap();
            }
            (id, SubscriptionEvent::StateOwed { .. }) => {
                world.at(name, |agent| agent.notify(id, body(info))).unwrap();
                return id;
            }
            // What else it has: the report of a REFER.
            _ => {}
        }
    }
}

fn body(info: &DialogInfo) -> Extra {
    Extra::new().body(Body::new(DialogInfo::MIME, info.write()))
}

/// What somebody's sessions are, as its watchers read it.
fn state(world: &mut World, name: &str, version: u32, sessions: &[(SessionId, DialogState)]) -> DialogInfo {
    let dialog = |(session, state): &(SessionId, DialogState)| {
        // As the peer knows it: what is local to it is remote here.
        let known = replaces(world, name, *session);
        let mut dialog = Dialog::new("1", *state);
        dialog.call_id = Some(known.call_id);
        dialog.local_tag = Some(known.from_tag);
        dialog.remote_tag = Some(known.to_tag);
        dialog
    };
    let dialogs = sessions.iter().map(dialog).collect();
    DialogInfo { version, state: DocumentState::Full, entity: format!("sip:{name}@example.org"), dialogs }
}

/// What a watcher reads next.
#[track_caller]
fn reads(world: &mut World, name: &str) -> DialogInfo {
    loop {
        if let SubscriptionEvent::Notified { request, .. } = hears(world, name).1
            && !request.body().is_empty()
        {
            return DialogInfo::parse(request.body()).unwrap();
        }
    }
}

/// How the other end of a dialog that somebody watched is told to replace it.
fn to_replace(dialog: &Dialog, early_only: bool) -> Replaces {
    let text = |text: &Option<String>| text.clone().unwrap();
    let (to_tag, from_tag) = (text(&dialog.remote_tag), text(&dialog.local_tag));
    Replaces { call_id: text(&dialog.call_id), to_tag, from_tag, early_only }
}

#[test]
fn call_park() {
    // §2.15: Bob parks Alice, Carol fetches her.
    everywhere_among(WITH_PARK, |world| {
        let (_, called) = world.connect("alice", "bob");
        let at_alice = replaces(world, "bob", called);
        let alice = refer_to_replacing(world, "alice", &at_alice);
        let opening = world.opening("bob", "park");
        world.at("bob", |agent| agent.refer_outside(opening, &alice, true, Extra::new())).unwrap();
        let (report, refer) = is_referred(world, "park");
        let parked = calls_as_referred(world, "park", &refer, "alice", sdp(OFFER));
        let session = world.is_called("alice");
        world.at("alice", |agent| agent.accept(session, sdp(ANSWER))).unwrap();
        world.hears("park", "Accepted");
        world.hears("alice", "Confirmed");
        world.at("park", |agent| agent.refer_progress(report, StatusCode::OK)).unwrap();
        hears_success(world, "bob");
        world.hears("alice", "Gone");
        watches(world, "carol", "park", 0);
        let info = state(world, "park", 0, &[(parked, DialogState::Confirmed)]);
        tells(world, "park", &info);
        let read = reads(world, "carol");
        let fetch = with_replaces(OFFER, &to_replace(&read.dialogs[0], false));
        let call = world.call_with("carol", "alice", fetch);
        let session = world.is_called("alice");
        accepts(world, "alice", session, "carol");
        world.hears("park", "Gone");
        hangs_up(world, "carol", call, "alice");
    });
}

#[test]
fn call_pickup() {
    // §2.16: Bob's phone rings, Carol (Bill in the RFC) takes the call.
    everywhere(|world| {
        world.call("alice", "bob");
        let rings = world.is_called("bob");
        world.at("bob", |agent| agent.ring(rings, StatusCode::RINGING, Extra::new())).unwrap();
        world.hears("alice", "Progress");
        watches(world, "carol", "bob", 0);
        let info = state(world, "bob", 0, &[(rings, DialogState::Early)]);
        tells(world, "bob", &info);
        let read = reads(world, "carol");
        assert_eq!(read.dialogs[0].state, DialogState::Early);
        let pickup = with_replaces(OFFER, &to_replace(&read.dialogs[0], true));
        let call = world.call_with("carol", "alice", pickup);
        let session = world.is_called("alice");
        world.at("alice", |agent| agent.accept(session, sdp(ANSWER))).unwrap();
        world.hears("carol", "Accepted");
        let Event::Ended { how, .. } = world.hears("bob", "Ended") else { unreachable!() };
        assert!(matches!(how, HowEnded::Cancelled(_)), "{how:?}");
        world.hears("alice", "Confirmed");
        hangs_up(world, "alice", session, "carol");
        assert!(world.at("carol", |agent| agent.hang_up(call, Extra::new())).is_err());
    });
}

#[test]
fn automatic_redial() {
    // §2.17: Bob is busy; Alice is told when he no longer is.
    everywhere(|world| {
        let (at_carol, busy) = world.connect("carol", "bob");
        world.call("alice", "bob");
        let refused = world.is_called("bob");
        world.at("bob", |agent| agent.reject(refused, StatusCode::BUSY_HERE, Extra::new())).unwrap();
        world.hears("alice", "Failed");
        let watch = watches(world, "alice", "bob", 3600);
        let info = state(world, "bob", 0, &[(busy, DialogState::Confirmed)]);
        let watcher = tells(world, "bob", &info);
        assert_eq!(reads(world, "alice").dialogs.len(), 1);
        hangs_up(world, "carol", at_carol, "bob");
        let free = state(world, "bob", 1, &[]);
        world.at("bob", |agent| agent.notify(watcher, body(&free))).unwrap();
        while !reads(world, "alice").dialogs.is_empty() {}
        let call = world.call("alice", "bob");
        let session = answers(world, "bob", "alice");
        let again = state(world, "bob", 2, &[(session, DialogState::Confirmed)]);
        world.at("bob", |agent| agent.notify(watcher, body(&again))).unwrap();
        assert_eq!(reads(world, "alice").dialogs.len(), 1);
        world.at("alice", |agent| agent.unsubscribe(watch)).unwrap();
        tells(world, "bob", &again);
        hangs_up(world, "alice", call, "bob");
    });
}
