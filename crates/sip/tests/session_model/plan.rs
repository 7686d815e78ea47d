//! What the two applications are told to do, and when: made from a seed, and independent of what becomes of it, so that
//! commands can be left out and the rest still means the same.

use std::fmt;
use std::time::Duration;

use farspeak_sansio::{Rng, SplitMix64};

/// One course of things.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// What decides about each message on the link.
    pub luck: u64,
    pub weather: Weather,
    /// In rounds: after each comes quiet, and then the end of all calls.
    pub rounds: Vec<Vec<Command>>,
}

/// What the link does, and how rough the run is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Whether messages arrive at all and in order.
    pub reliable: bool,
    /// Per cent of the datagrams that are lost.
    pub loss: u64,
    /// Per cent that come twice.
    pub doubled: u64,
    /// Most milliseconds on the way: what differs in it overtakes.
    pub delay: u64,
    /// Whether the link fails, or falls silent for a while.
    pub breaks: bool,
}

/// What one application does, after a pause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command {
    pub pause: Duration,
    pub who: usize,
    pub verb: Verb,
    /// Which of its sessions, or of the things that it owes.
    pub pick: u64,
    /// In which way.
    pub how: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verb {
    /// Deals with what waits for the application longest.
    Due,
    Invite,
    Ring,
    RingReliably,
    Accept,
    Reject,
    Cancel,
    HangUp,
    Reinvite,
    Update,
    AcceptOffer,
    RejectOffer,
    Acknowledge,
    Prack,
    CancelModify,
    SetIdentity,
    Refer,
    Info,
    Subscribe,
    Notify,
    EndSubscription,
    /// Nothing reaches either end for some seconds.
    Silence,
    /// The driver reports that the flow is gone, with all that was on the way.
    FlowFailure,
}

/// How often each verb is chosen.
pub const WEIGHTS: [(Verb, u64); 21] = [
    (Verb::Due, 30),
    (Verb::Invite, 7),
    (Verb::Ring, 5),
    (Verb::RingReliably, 7),
    (Verb::Accept, 7),
    (Verb::Reject, 1),
    (Verb::Cancel, 2),
    (Verb::HangUp, 3),
    (Verb::Reinvite, 10),
    (Verb::Update, 10),
    (Verb::AcceptOffer, 4),
    (Verb::RejectOffer, 3),
    (Verb::Acknowledge, 1),
    (Verb::Prack, 2),
    (Verb::CancelModify, 2),
    (Verb::SetIdentity, 1),
    (Verb::Refer, 2),
    (Verb::Info, 2),
    (Verb::Subscribe, 1),
    (Verb::Notify, 2),
    (Verb::EndSubscription, 1),
];

impl Plan {
    pub fn new(seed: u64, rounds: usize, length: usize) -> Self {
        let mut rng = SplitMix64::new(seed);
        let weather = Weather {
            reliable: seed % 8 == 7,
            loss: [0, 0, 5, 5, 20, 20, 5, 0][(seed % 8) as usize],
            doubled: 2 * rng.below(6),
            delay: [20, 400, 1500][rng.below(3) as usize],
            breaks: rng.below(4) == 0,
        };
        let mut round = || (0..length).map(|_| Command::random(&mut rng, weather.breaks)).collect();
        let rounds = (0..rounds).map(|_| round()).collect();
        Self { seed, luck: !seed, weather, rounds }
    }
}

impl Command {
    fn random(rng: &mut SplitMix64, breaks: bool) -> Self {
        let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut point = rng.below(total);
        let mut verb = Verb::Due;
        for (choice, weight) in WEIGHTS {
            if point < weight {
                verb = choice;
                break;
            }
            point -= weight;
        }
        if breaks && rng.below(60) == 0 {
            verb = if rng.below(2) == 0 { Verb::Silence } else { Verb::FlowFailure };
        }
        // Mostly while something is on its way; now and then nobody does anything for a while.
        let pause = match rng.below(20) {
            0..6 => 0,
            6..16 => rng.below(300),
            16..19 => rng.below(3000),
            _ => rng.below(40_000),
        };
        let who = rng.below(2) as usize;
        Self { pause: Duration::from_millis(pause), who, verb, pick: rng.below(1 << 16), how: rng.below(1 << 16) }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} later {} {:?} {} {}", self.pause, self.who, self.verb, self.pick, self.how)
    }
}
