//! Channels, RFC 8656 §12: a number for a peer, bound again before the ten minutes are over, and not given to another peer
//! until five minutes after it has expired.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_stun::channel_data::CHANNELS;
use farspeak_stun::{Attribute, Method};

use super::permission::{MOST_FAILURES, Next};
use super::{Asked, Client, Event, Failure, Outcome, PAUSE};

/// How long a binding lasts, when it is refreshed, and how long after its end neither number nor peer may be bound
/// otherwise (RFC 8656 §12).
const LIFETIME: Duration = Duration::from_secs(600);
const REFRESH: Duration = Duration::from_secs(540);
const QUARANTINE: Duration = Duration::from_secs(300);

/// All channels of an allocation; the place in the list says the number.
#[derive(Debug)]
pub(super) struct Channels {
    list: Vec<Channel>,
    numbers: BTreeMap<SocketAddr, u16>,
    most: usize,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    wanted: bool,
    next: Next,
    /// Until when the server knows it, at the earliest; `None`: it has not said so.
    good: Option<Instant>,
    /// Until when the server may know it, at the latest.
    held: Instant,
    failures: u8,
}

impl Channel {
    const fn new(peer: SocketAddr) -> Self {
        Self { peer, wanted: true, next: Next::Ask(Instant::ZERO), good: None, held: Instant::ZERO, failures: 0 }
    }
}

impl Channels {
    pub(super) fn new(most: usize) -> Self {
        Self { list: Vec::new(), numbers: BTreeMap::new(), most: most.min(CHANNELS.len()) }
    }

    /// Whether there is room for it. A peer whose channel has not been free for long enough gets the same one again.
    pub(super) fn want(&mut self, now: Instant, peer: SocketAddr) -> bool {
        if let Some(channel) = self.numbers.get(&peer).and_then(|number| self.list.get_mut(place(*number))) {
            if !channel.wanted {
                (channel.wanted, channel.failures) = (true, 0);
                if channel.next != Next::Wait {
                    channel.next = Next::Ask(Instant::ZERO);
                }
            }
            return true;
        }
        let is_free =
            |channel: &Channel| !channel.wanted && channel.next != Next::Wait && channel.held + QUARANTINE <= now;
        let at = match self.list.iter().position(is_free) {
            Some(at) => {
                self.numbers.remove(&self.list[at].peer);
                self.list[at] = Channel::new(peer);
                at
            }
            None if self.list.len() < self.most => {
                self.list.push(Channel::new(peer));
                self.list.len() - 1
            }
            None => return false,
        };
        self.numbers.insert(peer, CHANNELS.start() + at as u16);
        true
    }

    pub(super) fn unwant(&mut self, peer: SocketAddr) {
        if let Some(channel) = self.numbers.get(&peer).and_then(|number| self.list.get_mut(place(*number))) {
            channel.wanted = false;
        }
    }

    pub(super) fn unwant_ip(&mut self, peer: IpAddr) {
        self.list.iter_mut().filter(|channel| channel.peer.ip() == peer).for_each(|channel| channel.wanted = false);
    }

    /// Whether a channel leads to this address.
    pub(super) fn use_ip(&self, peer: IpAddr) -> bool {
        self.list.iter().any(|channel| channel.wanted && channel.peer.ip() == peer)
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.numbers.clear();
    }

    /// What was under way has been forgotten: ask again.
    pub(super) fn restart(&mut self) {
        for channel in self.list.iter_mut().filter(|channel| channel.next == Next::Wait) {
            channel.next = Next::Ask(Instant::ZERO);
        }
    }

    /// The channel on which data to this peer can go.
    pub(super) fn number_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let number = *self.numbers.get(&peer)?;
        let channel = self.list.get(place(number))?;
        (channel.wanted && channel.good.is_some_and(|good| now < good)).then_some(number)
    }

    /// Whose data comes on this channel. As soon as it has been asked for, it may (RFC 8656 §12).
    pub(super) fn peer_of(&self, number: u16) -> Option<SocketAddr> {
        let channel = self.list.get(place(number)).filter(|channel| channel.wanted && channel.next != Next::Never)?;
        Some(channel.peer)
    }

    /// Somebody to whom a channel leads.
    pub(super) fn any(&self, now: Instant) -> Option<SocketAddr> {
        let peers = self.list.iter().map(|channel| channel.peer);
        peers.into_iter().find(|peer| self.number_of(now, *peer).is_some())
    }

    /// The earliest moment at which something is to be asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.list.iter().filter(|channel| channel.wanted).filter_map(|channel| channel.next.at()).min()
    }

    fn take_due(&mut self, now: Instant) -> Option<(u16, SocketAddr)> {
        let is_due = |channel: &Channel| channel.wanted && channel.next.at().is_some_and(|at| at <= now);
        let at = self.list.iter().position(is_due)?;
        self.list[at].next = Next::Wait;
        Some((CHANNELS.start() + at as u16, self.list[at].peer))
    }
}

/// Where a channel stands in the list; beyond its end for what is no channel of ours.
const fn place(number: u16) -> usize {
    number.wrapping_sub(*CHANNELS.start()) as usize
}

impl Client {
    pub(super) fn ask_for_channels(&mut self, now: Instant) {
        while self.has_room() {
            let Some((number, peer)) = self.channels.take_due(now) else { return };
            if self.relayed().iter().all(|relayed| relayed.is_ipv4() != peer.is_ipv4()) {
                self.refuse_channel(number, &Failure::family_mismatch());
                continue;
            }
            let sent = self.ask(now, Method::CHANNEL_BIND, Asked::Channel(number, now), move |writer| {
                writer.push(Attribute::ChannelNumber(number)).push(Attribute::XorPeerAddress(peer));
            });
            if let Err(failure) = sent {
                return self.channel_failed(now, number, &failure);
            }
        }
    }

    pub(super) fn channel_ended(&mut self, now: Instant, number: u16, at: Instant, outcome: Outcome<'_>) {
        let failure = match outcome {
            Ok(_) => return self.bound(now, number, at),
            Err(failure) => failure,
        };
        match failure.code() {
            Some(437) => self.mismatched(now, failure),
            // "the channel information is out of sync [..] immediately delete the allocation", RFC 8656 §12.3.
            Some(400) => {
                let _ = self.ask_to_delete(now, Asked::Farewell);
                self.lose(failure);
            }
            Some(441) => self.lose(failure),
            _ if failure.may_pass() => self.channel_failed(now, number, &failure),
            _ => self.refuse_channel(number, &failure),
        }
    }

    fn bound(&mut self, now: Instant, number: u16, at: Instant) {
        let Some(channel) = self.channels.list.get_mut(place(number)) else { return };
        let news = channel.good.is_none_or(|good| good <= now);
        (channel.good, channel.held) = (Some(at + LIFETIME), now + LIFETIME);
        (channel.next, channel.failures) = (Next::Ask(at + REFRESH), 0);
        let (peer, wanted) = (channel.peer, channel.wanted);
        if !wanted {
            return;
        }
        if news {
            self.events.push_back(Event::Bound { peer, channel: number });
        }
        // "also updates [..] that the corresponding permission has been installed or refreshed", RFC 8656 §12.3.
        self.permitted(now, peer.ip(), at);
    }

    /// There is no clear answer; the server may have bound it all the same. Tried again, a few times.
    fn channel_failed(&mut self, now: Instant, number: u16, failure: &Failure) {
        let Some(channel) = self.channels.list.get_mut(place(number)) else { return };
        channel.held = now + LIFETIME;
        channel.failures += 1;
        channel.next = Next::Ask(now + PAUSE);
        if channel.failures >= MOST_FAILURES {
            self.refuse_channel(number, failure);
        }
    }

    fn refuse_channel(&mut self, number: u16, failure: &Failure) {
        let Some(channel) = self.channels.list.get_mut(place(number)) else { return };
        (channel.next, channel.good) = (Next::Never, None);
        let (peer, wanted) = (channel.peer, channel.wanted);
        if wanted {
            self.events.push_back(Event::NotBound { peer, failure: failure.clone() });
        }
        if self.permissions.waits_for_channel(peer.ip()) {
            self.refuse_permission(peer.ip(), failure);
        }
    }

    /// When a permission or channel is to be asked for, if anything could be sent then.
    pub(super) fn peers_due(&self) -> Option<Instant> {
        if !self.is_allocated() || self.mobility.is_moving() || !self.has_room() {
            return None;
        }
        [self.permissions.due(), self.channels.due()].into_iter().flatten().min()
    }
}
