//! Packets to and fro when a way is selected: each end sends some, and echoes those of the other.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use farspeak_ice::Agent;
use farspeak_net::PeerHandle;
use farspeak_sansio::Instant;
use tokio::time::sleep;

use crate::User;

/// What was sent and what came back, by component and number.
#[derive(Default)]
pub(crate) struct Talk {
    sent: BTreeMap<(u16, u32), Instant>,
    echoed: BTreeMap<(u16, u32), Instant>,
    /// Packets of another kind, by component.
    pub(crate) others: BTreeMap<u16, u32>,
}

impl Talk {
    /// What to answer.
    pub(crate) fn hear(&mut self, now: Instant, component: u16, bytes: &[u8]) -> Option<Vec<u8>> {
        if let Some(rest) = bytes.strip_prefix(b"ping ") {
            return Some([b"echo ", rest].concat());
        }
        let Some(number) = bytes.strip_prefix(b"echo ") else {
            *self.others.entry(component).or_default() += 1;
            return None;
        };
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        self.echoed.entry((component, number)).or_insert(now);
        None
    }

    /// The round trips of a component, shortest first.
    fn round_trips(&self, component: u16) -> Vec<Duration> {
        let of = self.sent.iter().filter(|((of, _), _)| *of == component);
        let mut times: Vec<_> = of.filter_map(|(key, sent)| Some(*self.echoed.get(key)? - *sent)).collect();
        times.sort();
        times
    }

    fn is_complete(&self) -> bool {
        self.sent.keys().all(|key| self.echoed.contains_key(key))
    }
}

/// Each time when every component has its way: sends `packets` packets on each, then tells how many came back.
pub(crate) async fn talk(handle: PeerHandle<Agent>, user: Rc<User>, packets: u32) {
    loop {
        user.ready.notified().await;
        round(&handle, &user, packets).await;
    }
}

async fn round(handle: &PeerHandle<Agent>, user: &User, packets: u32) {
    let others = std::mem::take(&mut user.talk.borrow_mut().others);
    user.talk.replace(Talk { others, ..Talk::default() });
    for number in 0..packets {
        for component in 1..=user.components {
            let sent = handle.query(move |_, agent, now| {
                let sent = agent.send(now, component, format!("ping {number}").as_bytes());
                (sent.is_ok(), now)
            });
            if let Ok((true, now)) = sent.await {
                user.talk.borrow_mut().sent.insert((component, number), now);
            }
        }
        sleep(BETWEEN).await;
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while !user.talk.borrow().is_complete() && tokio::time::Instant::now() < end {
        sleep(BETWEEN).await;
    }
    let Ok(now) = handle.query(|_, _, now| now).await else { return };
    for component in 1..=user.components {
        let times = user.talk.borrow().round_trips(component);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let details = [
            ("component", component.to_string()),
            ("sent", packets.to_string()),
            ("echoed", times.len().to_string()),
            ("round_trip_us", median.as_micros().to_string()),
        ];
        user.tell("data", now, &details);
    }
}

/// As often as a voice codec sends.
const BETWEEN: Duration = Duration::from_millis(20);
/// How long to wait for the last echoes.
const PATIENCE: Duration = Duration::from_secs(2);
