//! Which peers may send to us, RFC 8656 §9 and §10: asked for, several in one request, and again before the five minutes
//! are over.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_stun::{Attribute, Method};

use super::{Asked, Client, Event, Failure, Outcome, PAUSE};

/// How long a permission lasts (RFC 8656 §9), and when it is refreshed: early enough for a request that times out and
/// one more.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);
const REFRESH: Duration = Duration::from_secs(240);
/// Most peers in one request: with the longest user name it passes every IPv6 path.
const MOST_IN_REQUEST: usize = 16;
/// How often a peer is asked for that gets no clear answer.
pub(super) const MOST_FAILURES: u8 = 3;

/// The peers that the owner wants.
#[derive(Debug)]
pub(super) struct Permissions {
    table: BTreeMap<IpAddr, Permission>,
    most: usize,
}

#[derive(Debug)]
struct Permission {
    next: Next,
    /// Until when the server lets it through, at the earliest.
    until: Option<Instant>,
    /// Whether the owner asked for it by name, not only for a channel.
    wanted: bool,
    /// Whether it is to be asked for in a request of its own, since one with others was refused.
    alone: bool,
    failures: u8,
}

/// What to do next about a permission or a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Ask the server, when this moment has come.
    Ask(Instant),
    /// Wait for its answer.
    Wait,
    /// Nothing: it refuses.
    Never,
}

impl Next {
    /// When to ask.
    pub(super) const fn at(self) -> Option<Instant> {
        match self {
            Self::Ask(at) => Some(at),
            Self::Wait | Self::Never => None,
        }
    }
}

impl Permissions {
    pub(super) fn new(most: usize) -> Self {
        Self { table: BTreeMap::new(), most }
    }

    /// Whether there is room for it.
    pub(super) fn want(&mut self, peer: IpAddr) -> bool {
        let Some(permission) = self.entry(peer, Next::Ask(Instant::ZERO)) else { return false };
        permission.wanted = true;
        true
    }

    /// As [`Self::want`]; the first time, ChannelBind brings it (RFC 8656 §9).
    pub(super) fn want_for_channel(&mut self, peer: IpAddr) -> bool {
        self.entry(peer, Next::Wait).is_some()
    }

    fn entry(&mut self, peer: IpAddr, next: Next) -> Option<&mut Permission> {
        if !self.table.contains_key(&peer) && self.table.len() >= self.most {
            return None;
        }
        let new = || Permission { next, until: None, wanted: false, alone: false, failures: 0 };
        Some(self.table.entry(peer).or_insert_with(new))
    }

    pub(super) fn remove(&mut self, peer: IpAddr) {
        self.table.remove(&peer);
    }

    /// Removes it unless somebody wants it.
    pub(super) fn release_unused(&mut self, peer: IpAddr, is_used: impl FnOnce(IpAddr) -> bool) {
        if self.table.get(&peer).is_some_and(|permission| !permission.wanted) && !is_used(peer) {
            self.table.remove(&peer);
        }
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
    }

    /// What was under way has been forgotten: ask again.
    pub(super) fn restart(&mut self) {
        for permission in self.table.values_mut().filter(|permission| permission.next == Next::Wait) {
            permission.next = Next::Ask(Instant::ZERO);
        }
    }

    /// Whether the owner wants it and the server has not refused it.
    pub(super) fn is_wanted(&self, peer: IpAddr) -> bool {
        self.table.get(&peer).is_some_and(|permission| permission.next != Next::Never)
    }

    /// Whether the server lets data through, as far as we know.
    pub(super) fn is_active(&self, now: Instant, peer: IpAddr) -> bool {
        self.table.get(&peer).is_some_and(|permission| permission.until.is_some_and(|until| now < until))
    }

    /// Whether data from this peer is to be believed: a permission is active, or is under way, since the server's answer
    /// may come behind the first data.
    pub(super) fn lets_in(&self, now: Instant, peer: IpAddr) -> bool {
        self.table.get(&peer).is_some_and(|permission| permission.next == Next::Wait) || self.is_active(now, peer)
    }

    /// The earliest moment at which something is to be asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.table.values().filter_map(|permission| permission.next.at()).min()
    }

    /// Takes out the peers of the next request.
    fn take_due(&mut self, now: Instant) -> Vec<IpAddr> {
        let is_due = |permission: &Permission| permission.next.at().is_some_and(|at| at <= now);
        let single = self.table.iter().find(|(_, permission)| permission.alone && is_due(permission));
        let mut peers: Vec<IpAddr> = single.map(|(peer, _)| *peer).into_iter().collect();
        if peers.is_empty() {
            let due = self.table.iter().filter(|(_, permission)| is_due(permission));
            peers.extend(due.map(|(peer, _)| *peer).take(MOST_IN_REQUEST));
        }
        for peer in &peers {
            if let Some(permission) = self.table.get_mut(peer) {
                permission.next = Next::Wait;
            }
        }
        peers
    }

    /// The server has granted it at `at` or later. Whether it is news.
    pub(super) fn granted(&mut self, now: Instant, peer: IpAddr, at: Instant) -> bool {
        let news = !self.is_active(now, peer);
        let Some(permission) = self.table.get_mut(&peer) else { return false };
        *permission = Permission {
            next: Next::Ask(at + REFRESH),
            until: Some(at + LIFETIME),
            alone: false,
            failures: 0,
            ..*permission
        };
        news
    }

    /// There is no clear answer: try again, a few times. Whether it is over.
    fn failed(&mut self, now: Instant, peer: IpAddr) -> bool {
        let Some(permission) = self.table.get_mut(&peer) else { return false };
        permission.failures += 1;
        permission.next = if permission.failures < MOST_FAILURES { Next::Ask(now + PAUSE) } else { Next::Never };
        permission.next == Next::Never
    }

    /// The server refuses it. Whether it was still wanted.
    pub(super) fn refused(&mut self, peer: IpAddr) -> bool {
        let Some(permission) = self.table.get_mut(&peer) else { return false };
        (permission.next, permission.until) = (Next::Never, None);
        true
    }

    /// Whether the channel that was to bring it is all that it waits for.
    pub(super) fn waits_for_channel(&self, peer: IpAddr) -> bool {
        let waits = |permission: &Permission| !permission.wanted && permission.until.is_none();
        self.table.get(&peer).is_some_and(|permission| permission.next == Next::Wait && waits(permission))
    }
}

impl Client {
    pub(super) fn ask_for_permissions(&mut self, now: Instant) {
        while self.has_room() && self.permissions.due().is_some_and(|at| at <= now) {
            let mut peers = self.permissions.take_due(now);
            // "the client MUST only include XOR-PEER-ADDRESS attributes with addresses of the same address family as that
            // of the relayed transport address", RFC 8656 §10.1: who cannot be reached is refused here.
            let relayed = self.relayed();
            let (fit, strange) =
                peers.drain(..).partition(|peer| relayed.iter().any(|r| r.is_ipv4() == peer.is_ipv4()));
            peers = fit;
            self.refuse_family(strange);
            if peers.is_empty() {
                continue;
            }
            let asked = Asked::Permissions(peers.clone(), now);
            let written = peers.clone();
            let sent = self.ask(now, Method::CREATE_PERMISSION, asked, move |writer| {
                for peer in &written {
                    // The port is ignored.
                    writer.push(Attribute::XorPeerAddress(SocketAddr::new(*peer, 0)));
                }
            });
            if let Err(failure) = sent {
                return self.permissions_failed(now, &peers, &failure);
            }
        }
    }

    fn refuse_family(&mut self, peers: Vec<IpAddr>) {
        for peer in peers {
            self.refuse_permission(peer, &Failure::family_mismatch());
        }
    }

    pub(super) fn permissions_ended(&mut self, now: Instant, peers: &[IpAddr], at: Instant, outcome: Outcome<'_>) {
        let failure = match outcome {
            Ok(_) => return peers.iter().for_each(|peer| self.permitted(now, *peer, at)),
            Err(failure) => failure,
        };
        match failure.code() {
            Some(437) => self.mismatched(now, failure),
            Some(441) => self.lose(failure),
            _ if failure.may_pass() => self.permissions_failed(now, peers, &failure),
            // All or nothing (RFC 8656 §10.2): one of them is the reason; each is asked for by itself.
            _ if peers.len() > 1 => {
                for peer in peers {
                    if let Some(permission) = self.permissions.table.get_mut(peer) {
                        (permission.next, permission.alone) = (Next::Ask(now), true);
                    }
                }
            }
            _ => peers.iter().for_each(|peer| self.refuse_permission(*peer, &failure)),
        }
    }

    fn permissions_failed(&mut self, now: Instant, peers: &[IpAddr], failure: &Failure) {
        for peer in peers {
            if self.permissions.failed(now, *peer) {
                self.refuse_permission(*peer, failure);
            }
        }
    }

    pub(super) fn permitted(&mut self, now: Instant, peer: IpAddr, at: Instant) {
        if self.permissions.granted(now, peer, at) {
            self.events.push_back(Event::Permitted { peer });
        }
        self.send_queued(now, peer);
    }

    pub(super) fn refuse_permission(&mut self, peer: IpAddr, failure: &Failure) {
        if self.permissions.refused(peer) {
            self.queue.remove(peer);
            self.events.push_back(Event::NotPermitted { peer, failure: failure.clone() });
        }
    }
}
