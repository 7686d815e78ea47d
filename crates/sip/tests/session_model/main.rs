//! Two user agents driven by random commands over a link that loses, doubles, delays and reorders datagrams, or carries a
//! stream; now and then it falls silent or fails. Virtual time, seeded, and shrunk when something is wrong.
//!
//! Watched at every step, from the messages and from the events (`watch.rs`, `app.rs`, `world.rs`):
//!
//! - An end never has two offers outstanding in a dialog, nor offers while the peer's waits (RFC 3264 §4).
//! - The CSeq of its requests in a dialog counts up by one (RFC 3261 §12.2.1.1).
//! - A request has one final response, and no provisional one after it.
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
//!   checked of calls that were open when the link broke.)
//! - Every 2xx to an INVITE that came has been acknowledged.
//!
//! And after both have ended everything: no session, dialog, transaction or timer is left.
//!
//! `./test` takes some ten thousand steps, `./test --full` a million (`FARSPEAK_FULL`). `FARSPEAK_SEED=7` runs that one.

mod app;
mod plan;
mod shrink;
mod watch;
mod world;

use plan::Plan;
use world::Steps;

/// Rounds of one plan, and the commands of a round.
const ROUNDS: usize = 5;
const COMMANDS: usize = 40;

#[test]
fn random_sessions_keep_every_promise() {
    let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    let seeds = match variable("FARSPEAK_SEED").and_then(|text| text.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 1..u64::MAX,
    };
    let wanted = if variable("FARSPEAK_FULL").is_some() { 1_000_000 } else { 50_000 };
    let mut total = Steps::default();
    for seed in seeds {
        let plan = Plan::new(seed, ROUNDS, COMMANDS);
        match shrink::run(&plan) {
            Ok(steps) => {
                total.all += steps.all;
                total.agreed += steps.agreed;
            }
            Err(_) => panic!("{}", shrink::explain(&plan)),
        }
        if total.all >= wanted {
            println!("{} steps with {seed} seeds; {} calls that both ends agreed on", total.all, total.agreed);
            assert!(total.agreed > wanted / 1000, "hardly a call stood: {total:?}");
            return;
        }
    }
}
