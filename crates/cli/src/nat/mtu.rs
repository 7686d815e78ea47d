//! How long a packet may be on the way to a server: Binding requests filled up to certain lengths, from a socket that
//! forbids routers to cut them.
//!
//! They are filled with an attribute that every server passes over, not with PADDING (RFC 5780 §7.6): its answer is as long
//! as the server's own link allows, and gets lost where the way back is narrower, whatever the request's length.

use std::collections::VecDeque;

use farspeak_sansio::{Flow, Instant, Rng, Transmit};
use farspeak_stun::attribute::AttributeType;
use farspeak_stun::{Class, Message, Method, Schedule, Step, Transaction, TransactionId, Writer};

/// Lengths of IP packets that links are known for, all multiples of four: Ethernet, PPPoE, tunnels in tunnels, the least
/// of IPv6, the least that IPv4 hosts take.
pub const LENGTHS: [usize; 12] = [1500, 1492, 1480, 1460, 1440, 1420, 1400, 1360, 1320, 1280, 1024, 576];

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The longest packet that got through, in bytes, IP header and all; `None`: none of the lengths did.
    pub passes: Option<usize>,
    /// The shortest one above it that did not; `None` if even Ethernet's got through.
    pub fails: Option<usize>,
}

/// Tries all lengths at once.
pub struct Search {
    pending: Vec<(usize, Transaction)>,
    answered: Vec<usize>,
    transmits: VecDeque<Transmit>,
}

impl Search {
    /// Begins, from a socket that nobody else uses.
    pub fn begin(now: Instant, flow: Flow, schedule: Schedule, rng: &mut dyn Rng) -> Self {
        let (mut pending, mut transmits) = (Vec::new(), VecDeque::new());
        for length in LENGTHS {
            let request = filled(length, flow.remote.is_ipv4(), TransactionId::random(rng));
            let begun = Transaction::begin(now, flow, request.into(), schedule);
            let (transaction, transmit) = begun.expect("a request was just written");
            pending.push((length, transaction));
            transmits.push_back(transmit);
        }
        Self { pending, answered: Vec::new(), transmits }
    }

    /// A datagram has come to the socket. Also an error is an answer: the request has arrived.
    pub fn receive(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        let Some(at) = self.pending.iter().position(|(_, transaction)| transaction.is_answered_by(&message)) else {
            return;
        };
        let (length, _) = self.pending.swap_remove(at);
        self.answered.push(length);
        // What is shorter gets through as well.
        self.pending.retain(|(other, _)| *other > length);
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant) {
        let transmits = &mut self.transmits;
        self.pending.retain_mut(|(_, transaction)| match transaction.handle_timeout(now) {
            Step::Wait => true,
            Step::Send(transmit) => {
                transmits.push_back(transmit);
                true
            }
            Step::TimedOut => false,
        });
    }

    /// When to call [`Self::timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|(_, transaction)| transaction.deadline()).min()
    }

    /// The next thing to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What has been found, once nothing is awaited any more.
    pub fn found(&self) -> Option<Found> {
        if !self.pending.is_empty() {
            return None;
        }
        let passes = self.answered.iter().max().copied();
        let fails = LENGTHS.into_iter().filter(|length| Some(*length) > passes).min();
        Some(Found { passes, fails })
    }
}

/// Assigned to nobody, comprehension-optional (RFC 8489 §18.3).
const FILLER: AttributeType = AttributeType(0xbfff);

/// A Binding request that makes an IP packet of that length.
fn filled(length: usize, is_ipv4: bool, id: TransactionId) -> Vec<u8> {
    // IP and UDP headers, STUN header, and the attribute's own.
    let padding = length - if is_ipv4 { 28 } else { 48 } - 20 - 4;
    let mut buffer = [0; 1500];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
    writer.push_raw(FILLER, &[0; 1500][..padding]);
    writer.finish().expect("every length is one that fits").to_vec()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farspeak_sansio::{SplitMix64, Transport};

    use super::*;

    /// Runs against a path that lets packets of so many bytes through, the `lost`th try of each being lost.
    fn search(local: &str, passes: usize, lost: u32) -> Found {
        let flow = Flow::unbound(Transport::Udp, local.parse().unwrap(), local.parse().unwrap());
        let schedule = Schedule { rto: Duration::from_millis(500), rc: 3, rm: 3, ..Schedule::default() };
        let mut search = Search::begin(Instant::ZERO, flow, schedule, &mut SplitMix64::new(1));
        let headers = if flow.remote.is_ipv4() { 28 } else { 48 };
        let mut sent = std::collections::BTreeMap::new();
        loop {
            while let Some(transmit) = search.poll_transmit() {
                let length = transmit.bytes.len() + headers;
                assert!(LENGTHS.contains(&length), "{length}");
                *sent.entry(length).or_insert(0) += 1;
                if length <= passes && sent[&length] != lost {
                    let request = Message::parse(&transmit.bytes).unwrap();
                    let mut buffer = [0; 64];
                    let answer = Writer::respond(&mut buffer, Class::Error, &request).finish().unwrap().to_vec();
                    search.receive(&answer);
                }
            }
            match search.deadline() {
                Some(at) => search.timeout(at),
                None => return search.found().unwrap(),
            }
        }
    }

    #[test]
    fn the_longest_that_gets_through_is_found_though_some_are_lost() {
        for (passes, found, fails) in
            [(1500, Some(1500), None), (1450, Some(1440), Some(1460)), (1280, Some(1280), Some(1320))]
        {
            for lost in [0, 1, 2] {
                assert_eq!(search("192.0.2.1:1", passes, lost), Found { passes: found, fails });
                assert_eq!(search("[2001:db8::1]:1", passes, lost), Found { passes: found, fails });
            }
        }
        assert_eq!(search("192.0.2.1:1", 0, 0), Found { passes: None, fails: Some(576) });
    }
}
