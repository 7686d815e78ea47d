//! With whom one allocation may exchange data, and by which names: permissions (RFC 8656 §9) and channels (§12).
//!
//! Both expire without a timer: what has expired is as good as not there, and makes room when something new comes. The
//! lists are sorted and bounded, so a lookup is a few comparisons in memory that lies together.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_sansio::Instant;

/// How long a permission lasts (RFC 8656 §9: exactly).
pub(super) const PERMISSION: Duration = Duration::from_secs(300);
/// How long a channel lasts (RFC 8656 §12).
pub(super) const CHANNEL: Duration = Duration::from_secs(600);

/// Permissions and channels of one allocation.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Until when.
    permissions: Sorted<IpAddr, Instant>,
    channels: Sorted<u16, Channel>,
    /// The same channels by their peers.
    numbers: Sorted<SocketAddr, u16>,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    peer: SocketAddr,
    until: Instant,
}

/// Why a channel was not bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotBound {
    /// Number or peer are bound otherwise: 400.
    Conflict,
    /// As many as there may be: 508.
    Full,
}

impl Peers {
    /// Installs or refreshes permissions for all of these, each named once; for none if there would be more than `most`.
    pub(super) fn permit(&mut self, now: Instant, peers: &[IpAddr], most: usize) -> bool {
        let new = |known: &Sorted<IpAddr, Instant>| peers.iter().filter(|ip| known.get(*ip).is_none()).count();
        if self.permissions.len() + new(&self.permissions) > most {
            self.permissions.retain(|_, until| *until > now);
            if self.permissions.len() + new(&self.permissions) > most {
                return false;
            }
        }
        for ip in peers {
            self.permissions.insert(*ip, now + PERMISSION);
        }
        true
    }

    /// Whether data may be exchanged with this address now.
    #[inline]
    pub(super) fn permits(&self, now: Instant, peer: IpAddr) -> bool {
        self.permissions.get(&peer).is_some_and(|until| *until > now)
    }

    /// Binds a channel, or binds it again to the same peer (RFC 8656 §12.2), and permits the peer.
    pub(super) fn bind(
        &mut self,
        now: Instant,
        number: u16,
        peer: SocketAddr,
        most_channels: usize,
        most_permissions: usize,
    ) -> Result<(), NotBound> {
        let bound = self.peer_of(now, number);
        if bound.is_some_and(|bound| bound != peer) || self.channel_of(now, peer).is_some_and(|other| other != number) {
            return Err(NotBound::Conflict);
        }
        if bound.is_none() {
            // What has expired of either must not be found by the other.
            self.forget(|_, channel| channel.until <= now);
            if self.channels.len() >= most_channels {
                return Err(NotBound::Full);
            }
        }
        if !self.permit(now, &[peer.ip()], most_permissions) {
            return Err(NotBound::Full);
        }
        self.channels.insert(number, Channel { peer, until: now + CHANNEL });
        self.numbers.insert(peer, number);
        Ok(())
    }

    /// The peer that a channel is bound to.
    #[inline]
    pub(super) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        self.channels.get(&number).filter(|channel| channel.until > now).map(|channel| channel.peer)
    }

    /// The channel that is bound to a peer.
    #[inline]
    pub(super) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let number = *self.numbers.get(&peer)?;
        self.peer_of(now, number).map(|_| number)
    }

    /// Ends what is no longer allowed.
    pub(super) fn retain(&mut self, allowed: impl Fn(IpAddr) -> bool, reachable: impl Fn(SocketAddr) -> bool) {
        self.permissions.retain(|ip, _| allowed(*ip));
        self.forget(|_, channel| !allowed(channel.peer.ip()) || !reachable(channel.peer));
    }

    /// How many permissions and channels last.
    pub(super) fn count(&self, now: Instant) -> (usize, usize) {
        let permissions = self.permissions.iter().filter(|(_, until)| *until > now).count();
        let channels = self.channels.iter().filter(|(_, channel)| channel.until > now).count();
        (permissions, channels)
    }

    fn forget(&mut self, gone: impl Fn(u16, &Channel) -> bool) {
        self.channels.retain(|number, channel| !gone(*number, channel));
        let channels = &self.channels;
        self.numbers.retain(|_, number| channels.get(number).is_some());
    }
}

/// A small map in one piece of memory.
#[derive(Debug)]
struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Sorted<K, V> {
    #[inline]
    fn get(&self, key: &K) -> Option<&V> {
        let at = self.0.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    fn insert(&mut self, key: K, value: V) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                // Most allocations have one or two.
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(self.0.len().max(1));
                }
                self.0.insert(at, (key, value));
            }
        }
    }

    fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }

    fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.0.iter()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::new([8, 8, (n >> 8) as u8, n as u8].into(), 1000 + n)
    }

    #[test]
    fn a_permission_lasts_five_minutes_and_a_channel_ten() {
        let mut peers = Peers::default();
        peers.bind(Instant::ZERO, 0x4000, peer(1), 4, 4).unwrap();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert!(peers.permits(at(299), peer(1).ip()) && !peers.permits(at(300), peer(1).ip()));
        assert_eq!(peers.peer_of(at(599), 0x4000), Some(peer(1)));
        assert_eq!(peers.channel_of(at(599), peer(1)), Some(0x4000));
        assert_eq!((peers.peer_of(at(600), 0x4000), peers.channel_of(at(600), peer(1))), (None, None));
        assert_eq!(peers.count(at(300)), (0, 1));
    }

    #[test]
    fn a_channel_has_one_peer_and_a_peer_one_channel() {
        let mut peers = Peers::default();
        let mut bind =
            |seconds, number, n| peers.bind(Instant::ZERO + Duration::from_secs(seconds), number, peer(n), 2, 9);
        assert_eq!(bind(0, 0x4000, 1), Ok(()));
        assert_eq!(bind(1, 0x4000, 1), Ok(()));
        assert_eq!(bind(1, 0x4000, 2), Err(NotBound::Conflict));
        assert_eq!(bind(1, 0x4001, 1), Err(NotBound::Conflict));
        assert_eq!(bind(1, 0x4fff, 2), Ok(()));
        assert_eq!(bind(1, 0x4002, 3), Err(NotBound::Full));
        assert_eq!(bind(700, 0x4000, 2), Ok(()));
        assert_eq!(bind(700, 0x4001, 1), Ok(()));
        assert_eq!(peers.channels.len(), 2);
        assert_eq!(peers.numbers.len(), 2);
    }

    #[test]
    fn what_has_expired_makes_room_and_what_lives_does_not() {
        let mut peers = Peers::default();
        for n in 0..8 {
            assert!(peers.permit(Instant::ZERO, &[peer(n).ip()], 8));
        }
        assert!(!peers.permit(Instant::ZERO, &[peer(8).ip()], 8));
        assert!(peers.permit(Instant::ZERO, &[peer(7).ip()], 8));
        let late = Instant::ZERO + PERMISSION;
        assert!(!peers.permit(late, &[10, 11, 12, 13, 14, 15, 16, 17, 18].map(|n| peer(n).ip()), 8));
        assert!(peers.permit(late, &[peer(8).ip()], 8));
        assert_eq!(peers.permissions.len(), 1);
    }
}
