//! A flow again and again: with each pair of neighbouring datagrams swapped, with the stream reset after each message.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::time::Duration;

use crate::world::{Conditions, People, World};

/// The pairs of people between whom messages travel.
fn pairs(people: People) -> impl Iterator<Item = (&'static str, &'static str)> {
    people.iter().enumerate().flat_map(|(index, one)| people[index + 1..].iter().map(|other| (*one, *other)))
}

/// Runs a flow once for each datagram from one of them to another, which then arrives after its successor.
pub fn through_swaps(people: People, flow: impl Fn(&mut World)) {
    for (one, other) in pairs(people) {
        for (from, to) in [(one, other), (other, one)] {
            for nth in 0.. {
                let mut world = World::with_people(Conditions::udp(), people);
                let (from, to) = (world.host(from), world.host(to));
                world.net.swap(from, to, nth);
                world.net.note(format!("datagram {nth} is swapped with the next one"));
                flow(&mut world);
                world.settles();
                if !world.net.has_swapped() {
                    break;
                }
            }
        }
    }
}

/// Runs a flow once for each message on a stream, after which that stream is reset. What the flow expects may not come
/// about then; but whatever state it has reached, everybody hangs up and nothing is left.
pub fn through_resets(people: People, flow: impl Fn(&mut World)) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| match EXPECTED.get() {
            true => PLACE.set(info.location().map(|at| at.file().to_owned())),
            false => usual(info),
        }));
    });
    for (one, other) in pairs(people) {
        for nth in 0.. {
            let mut world = World::with_people(Conditions::tcp(), people);
            let (one, other) = (world.host(one), world.host(other));
            world.net.reset_after(one, other, nth);
            EXPECTED.set(true);
            let result = catch_unwind(AssertUnwindSafe(|| flow(&mut world)));
            EXPECTED.set(false);
            if result.is_err() {
                let place = PLACE.take().unwrap_or_default();
                assert!(place.contains("/tests/") || place.contains("/sim/"), "panic in {place}\n{}", world.net);
                assert!(world.net.has_reset(), "failed without a reset at {place}\n{}", world.net);
            }
            if world.has_registrations() {
                return; // they are meant to stay, and have tests of their own
            }
            // A BYE may have been lost with its connection: the other end hangs up too.
            for _ in 0..2 {
                world.everybody_hangs_up();
                world.net.run_for(Duration::from_secs(40));
            }
            world.settles();
            if !world.net.has_reset() {
                break;
            }
        }
    }
}

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}
