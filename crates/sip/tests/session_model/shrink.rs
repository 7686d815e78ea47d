//! Makes a failing plan as short as it gets.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::plan::Plan;
use crate::world::{Steps, World};

/// How often a failing plan is tried again at most.
const TRIES: usize = 1000;

/// How many fates of the messages are tried with each.
const LUCKS: u64 = 8;

/// Runs a plan; a panic of the machines is a failure like another.
pub fn run(plan: &Plan) -> Result<Steps, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| World::new(plan, false).run(plan)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default())
    })
}

/// Leaves rounds out, then commands, halves first and single ones last, while the plan still fails.
pub fn shrink(plan: &Plan) -> Plan {
    let (mut best, mut tries) = (plan.clone(), 0);
    best.rounds = drop_parts(plan.rounds.clone(), &mut tries, |rounds| Plan { rounds, ..plan.clone() });
    for at in 0..best.rounds.len() {
        let commands = best.rounds[at].clone();
        best.rounds[at] = drop_parts(commands, &mut tries, |commands| {
            let mut shorter = best.clone();
            shorter.rounds[at] = commands;
            shorter
        });
    }
    // The luck with which it failed.
    failing(&best).unwrap_or(best)
}

fn drop_parts<T: Clone>(mut parts: Vec<T>, tries: &mut usize, plan: impl Fn(Vec<T>) -> Plan) -> Vec<T> {
    let mut size = parts.len();
    while size > 0 && *tries < TRIES {
        let mut at = 0;
        while at < parts.len() && *tries < TRIES {
            let mut shorter = parts.clone();
            shorter.drain(at..(at + size).min(parts.len()));
            *tries += 1;
            match failing(&plan(shorter.clone())) {
                Some(_) => parts = shorter,
                None => at += size,
            }
        }
        size /= 2;
    }
    parts
}

/// The plan with one of a few lucks on the link by which it fails: fewer messages meet other fates.
fn failing(plan: &Plan) -> Option<Plan> {
    (0..LUCKS).map(|luck| Plan { luck: plan.luck ^ luck, ..plan.clone() }).find(|plan| run(plan).is_err())
}

/// What went wrong, what led to it, and the ladder of it.
pub fn explain(plan: &Plan) -> String {
    let short = shrink(plan);
    let mut world = World::new(&short, true);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(&short)));
    let what = match outcome {
        Ok(Err(what)) => what,
        Ok(Ok(_)) => "it no longer fails".to_owned(),
        Err(_) => "a panic".to_owned(),
    };
    let commands: Vec<String> = short.rounds.iter().flatten().map(|command| format!("  {command:?}")).collect();
    let (seed, weather) = (short.seed, short.weather);
    format!("{what}\nseed {seed}, {weather:?}\n{}\n{}", commands.join("\n"), world.ladder())
}
