//! Two user agents driven by random commands over a link that loses, doubles, delays and reorders datagrams, or carries a
//! stream; now and then it falls silent or fails. Virtual time, seeded, and shrunk when something is wrong.
//!
//! Watched at every step, from the messages and from the events (`watch.rs`, `app.rs`, `world.rs`):
//!
//! - An end never has two offers outstanding in a dialog, nor offers while the peer's waits (RFC 3264 §4).
//! - The CSeq of its requests in a dialog counts up by one (RFC 3261 §12.2.1.1).
//! - No provisional response follows a final one, and an INVITE has one final response.
//! - A PRACK acknowledges a response that came (RFC 3262 §4).
//! - After the 2xx to a BYE an end sends nothing more in the session but ACKs and CANCELs; subscriptions in the same dialog
//!   go on (RFC 5057).
//! - A session ends once, then is gone, and is never heard of again; a subscription ends once.
//! - The user agent holds no session that the application does not know of, no more than two dialogs a usage, and few
//!   timers.
//!
//! After quiet, when everything has had time to come through:
//!
//! - The same calls stand at both ends, and both have agreed on the same offer and answer last, and nobody owes one. (Not
//!   checked of calls that were open when the link broke, nor of descriptions after a `ModifyFailed` that says `changed`.)
//! - Every 2xx to an INVITE that came has been acknowledged.
//!
//! And after both have ended everything: no session, dialog, transaction or timer is left.
//!
//! `./test` takes some ten thousand steps, `./test --full` a million (`FARSPEAK_FULL`). `FARSPEAK_SEED=7` begins with that
//! one, `FARSPEAK_STEPS=1` ends with it.

mod app;
mod plan;
mod shrink;
mod watch;
mod world;

use plan::{Plan, Verb, WEIGHTS};
use world::Steps;

/// Rounds of one plan, and the commands of a round.
const ROUNDS: usize = 5;
const COMMANDS: usize = 40;

#[test]
fn random_sessions_keep_every_promise() {
    let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    let number = |name| variable(name).and_then(|text| text.parse().ok());
    let usual: u64 = if variable("FARSPEAK_FULL").is_some() { 1_000_000 } else { 50_000 };
    let wanted = number("FARSPEAK_STEPS").unwrap_or(usual);
    let mut total = Steps::default();
    for seed in number("FARSPEAK_SEED").unwrap_or(1).. {
        let plan = Plan::new(seed, ROUNDS, COMMANDS);
        match shrink::run(&plan) {
            Ok(steps) => {
                total.all += steps.all;
                total.agreed += steps.agreed;
                for (verb, times) in steps.done {
                    *total.done.entry(verb).or_default() += times;
                }
            }
            Err(_) => panic!("{}", shrink::explain(&plan)),
        }
        if total.all as u64 >= wanted {
            println!("{} steps to seed {seed}: {total:?}", total.all);
            let verbs = WEIGHTS.map(|(verb, _)| verb).into_iter().chain([Verb::Silence, Verb::FlowFailure]);
            let never = verbs.filter(|verb| !total.done.contains_key(verb)).collect::<Vec<_>>();
            let few = (total.agreed as u64) < wanted / 1000;
            assert!(wanted < usual || (never.is_empty() && !few), "hardly a call stood, or {never:?} were never done");
            return;
        }
    }
}
