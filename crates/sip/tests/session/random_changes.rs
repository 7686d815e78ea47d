//! Both ends do what comes to their minds, over a link that loses and reorders. Whatever they do: the CSeq of requests in
//! a dialog only rises, no end has two offers out, and once both have hung up nothing is left.

use std::collections::BTreeMap;
use std::time::Duration;

use farspeak_sansio::{Rng, SplitMix64, Transport};
use farspeak_sim::{Fate, Link};
use farspeak_sip::message::{HeaderName, Limits, Message, Method, StatusCode};
use farspeak_sip::session::{LegId, SessionId};
use farspeak_sip::user_agent::{Agent, Event, Extra};

use crate::world::{ANSWER, Conditions, OFFER, World, sdp};

#[test]
fn two_ends_at_random() {
    for seed in 0..300 {
        let link =
            Link::default().loss([0.0, 0.05, 0.2][seed as usize % 3]).reorder(0.1).jitter(Duration::from_millis(15));
        let transport = if seed % 10 == 9 { Transport::Tcp } else { Transport::Udp };
        let mut world = World::new(Conditions { transport, link, seed });
        let mut rng = SplitMix64::new(seed);
        for name in ["alice", "bob"] {
            world.configure(name, |config| config.offers_in_prack = seed % 2 == 0);
        }
        let offered = rng.below(3) > 0;
        let caller = world.call_with("alice", "bob", if offered { sdp(OFFER) } else { Extra::new() });
        let mut ends: Vec<(&'static str, SessionId)> = vec![("alice", caller)];
        for _ in 0..60 {
            world.net.run_for(Duration::from_millis(rng.below(120) * rng.below(12)));
            for name in ["alice", "bob"] {
                for event in world.news(name) {
                    if let Event::Incoming { session, .. } = &event {
                        ends.push((name, *session));
                    }
                    if let Some(leg) = waiting(&event)
                        && rng.below(4) > 0
                    {
                        let verb = rng.below(6);
                        world.at(name, |agent| react(agent, leg, verb));
                    }
                }
            }
            let (name, session) = ends[rng.below(ends.len() as u64) as usize];
            // Now and then somebody has enough; the other end may not know for a while.
            let verb = if rng.below(120) == 0 { 13 } else { rng.below(13) };
            world.at(name, |agent| act(agent, session, verb));
        }
        for _ in 0..3 {
            world.everybody_hangs_up();
            world.net.run_for(Duration::from_secs(40));
        }
        sequence_numbers_rise(&world);
        world.settles();
    }
}

/// The leg in which something waits for the application.
fn waiting(event: &Event) -> Option<LegId> {
    match event {
        Event::Offer { leg, .. } | Event::OfferWanted { leg, .. } | Event::Answer { leg, .. } => Some(*leg),
        Event::Accepted { leg, answer_owed: true, .. } => Some(*leg),
        _ => None,
    }
}

fn react(agent: &mut Agent<'_>, leg: LegId, verb: u64) {
    let _ = match verb {
        0..3 => agent.accept_offer(leg, sdp(ANSWER)),
        3 => agent.reject_offer(leg, StatusCode::NOT_ACCEPTABLE_HERE, Extra::new()),
        4 => agent.ring_reliably(leg, StatusCode::SESSION_PROGRESS, sdp(ANSWER)),
        _ => agent.prack(leg, sdp(OFFER)),
    };
}

fn act(agent: &mut Agent<'_>, session: SessionId, verb: u64) {
    let _ = match verb {
        0 | 1 => agent.reinvite(session, sdp(OFFER)),
        2 => agent.reinvite(session, Extra::new()),
        3 | 4 => agent.update(session, sdp(OFFER)),
        5 => agent.update(session, Extra::new()),
        6 => agent.cancel_modify(session),
        7 => agent.ring(session, StatusCode::RINGING, Extra::new()),
        8 => agent.ring_reliably(session, StatusCode::SESSION_PROGRESS, sdp(ANSWER)),
        9 | 10 => agent.accept(session, sdp(ANSWER)),
        11 => agent.accept_offer(session, sdp(ANSWER)),
        12 => agent.prack(session, Extra::new()),
        _ => agent.hang_up(session, Extra::new()),
    };
}

/// RFC 3261 §12.2.1.1, as the network saw it: a CSeq number that has been passed never begins a request again.
fn sequence_numbers_rise(world: &World) {
    let mut sent: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
    let mut sightings: Vec<_> = world.net.sightings().filter(|seen| seen.fate == Fate::Delivered).collect();
    sightings.sort_by_key(|seen| seen.sent);
    for seen in sightings {
        let Ok(message) = Message::parse(&seen.bytes, &Limits::default()) else { continue };
        let (Some(method), Some(from)) = (message.method(), message.header(HeaderName::From)) else { continue };
        if matches!(method, Method::Ack | Method::Cancel) {
            continue;
        }
        let branch = message.via().unwrap().branch().unwrap_or_default().to_owned();
        let number = message.cseq().unwrap().number;
        let numbers = sent.entry(from.to_owned()).or_default();
        if numbers.iter().any(|(_, known)| *known == branch) {
            continue; // a retransmission
        }
        assert!(numbers.iter().all(|(known, _)| *known != number), "CSeq {number} twice\n{}", world.net);
        numbers.push((number, branch));
    }
}
