//! Sending: datagrams of one size from one socket to one destination leave in one system call (UDP segmentation offload).
//!
//! There is one buffer for all: the train that is being put together. A datagram that does not fit it sends it off.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use quinn_udp::{Transmit, UdpSocketState};

use super::counters::RelayCounters;
use super::os;
use super::sockets::{Sender, Sockets};

/// Which way a train goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    pub from: Sender,
    pub to: SocketAddr,
    /// The address to send from, where the socket has several.
    pub source: Option<IpAddr>,
    pub dont_fragment: bool,
}

/// The train that is being put together.
pub(super) struct Train {
    buffer: Vec<u8>,
    way: Option<Way>,
    /// Bytes of each datagram but the last.
    segment: usize,
    count: usize,
    kernel: UdpSocketState,
    /// What the kernel takes at once: 1 where it does no segmentation.
    most: usize,
}

impl Train {
    pub(super) fn new() -> io::Result<Self> {
        // What the kernel can do does not depend on the socket; this one sends nothing.
        let probe = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))
            .or_else(|_| std::net::UdpSocket::bind((std::net::Ipv6Addr::LOCALHOST, 0)))?;
        let kernel = UdpSocketState::new((&probe).into())?;
        let most = kernel.max_gso_segments();
        Ok(Self { buffer: Vec::with_capacity(LONGEST), way: None, segment: 0, count: 0, kernel, most })
    }

    /// Who receives: the same view of the kernel.
    pub(super) const fn kernel(&self) -> &UdpSocketState {
        &self.kernel
    }

    /// Sends a datagram, now or with those that follow; all have gone after [`Self::flush`].
    pub(super) fn push(&mut self, way: Way, bytes: &[u8], sockets: &mut Sockets, counters: &mut RelayCounters) {
        // An empty one would vanish behind others: the kernel counts bytes.
        let fits = self.way == Some(way)
            && (1..=self.segment).contains(&bytes.len())
            && self.count < self.most
            && self.buffer.len() + bytes.len() <= LONGEST;
        if !fits {
            self.flush(sockets, counters);
            self.way = Some(way);
            self.segment = bytes.len();
        }
        self.buffer.extend_from_slice(bytes);
        self.count += 1;
        // Only the last may be shorter; empty and long ones go alone.
        if bytes.len() < self.segment || bytes.is_empty() || bytes.len() > LONGEST_SEGMENT {
            self.flush(sockets, counters);
        }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, sockets: &mut Sockets, counters: &mut RelayCounters) {
        let Some(way) = self.way.take() else { return };
        if let Some((socket, trains)) = sockets.sender(way.from) {
            if way.dont_fragment {
                // Rare: two system calls more are cheaper than a second socket for each relayed address.
                let _ = os::allow_fragments(socket, way.to, false);
            }
            let sent = self.send(socket, trains, &way, counters);
            if way.dont_fragment {
                let _ = os::allow_fragments(socket, way.to, true);
            }
            match way.from {
                Sender::Listener(_) => counters.client_datagrams_sent += sent,
                Sender::Relay(_) => counters.peer_datagrams_sent += sent,
            }
        }
        self.buffer.clear();
        self.count = 0;
    }

    /// Gives how many datagrams the kernel took.
    fn send(&self, socket: &UdpSocket, trains: &mut Trains, way: &Way, counters: &mut RelayCounters) -> u64 {
        if self.count > 1 && trains.are_taken() {
            let (destination, src_ip, segment_size) = (way.to, way.source, Some(self.segment));
            let transmit = Transmit { destination, ecn: None, contents: &self.buffer, segment_size, src_ip };
            match twice(counters, || self.kernel.try_send(socket.into(), &transmit)) {
                Ok(()) => {
                    trains.taken();
                    return self.count as u64;
                }
                Err(error) if os::is_full(&error) => {
                    counters.send_buffer_full += self.count as u64;
                    return 0;
                }
                // Not that train, or no train at all: its network card cannot, or a datagram is too long for the path.
                Err(_) => {
                    counters.trains_refused += 1;
                    trains.refused();
                }
            }
        }
        if self.buffer.is_empty() {
            return self.send_one(socket, way, &[], counters);
        }
        self.buffer.chunks(self.segment).map(|datagram| self.send_one(socket, way, datagram, counters)).sum()
    }

    fn send_one(&self, socket: &UdpSocket, way: &Way, bytes: &[u8], counters: &mut RelayCounters) -> u64 {
        let send = || match way.source {
            None => socket.send_to(bytes, way.to).map(|_| ()),
            Some(_) => {
                let (destination, src_ip) = (way.to, way.source);
                let transmit = Transmit { destination, ecn: None, contents: bytes, segment_size: None, src_ip };
                self.kernel.try_send(socket.into(), &transmit)
            }
        };
        match twice(counters, send) {
            Ok(()) => return 1,
            Err(error) if os::is_full(&error) => counters.send_buffer_full += 1,
            Err(_) => counters.send_refused += 1,
        }
        0
    }
}

/// Sends, and once more if that fails: the first error may be that of an earlier datagram, which the error queue tells in
/// full.
fn twice(counters: &mut RelayCounters, send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    counters.send_calls += 1;
    send().or_else(|error| {
        if os::is_full(&error) {
            return Err(error);
        }
        counters.send_calls += 1;
        send()
    })
}

/// Whether trains out of one socket are worth trying: not after the kernel has refused several in a row.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Trains {
    refused: u8,
    /// Trains still to be sent piece by piece before one is tried again.
    pause: u16,
}

impl Trains {
    fn are_taken(&mut self) -> bool {
        match self.pause.checked_sub(1) {
            None => true,
            Some(less) => {
                self.pause = less;
                false
            }
        }
    }

    const fn taken(&mut self) {
        self.refused = 0;
    }

    const fn refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
        if self.refused >= MOST_REFUSALS {
            self.pause = PAUSE;
        }
    }
}

/// The most that a datagram over IPv4 can hold.
const LONGEST: usize = 65_507;
/// A datagram longer than what Ethernet carries is refused as part of a train.
const LONGEST_SEGMENT: usize = 1472;
/// Refusals in a row after which trains are not tried for a while: one far peer with a narrow path costs nobody else.
const MOST_REFUSALS: u8 = 8;
const PAUSE: u16 = 1000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farspeak_sansio::RelayId;

    use super::super::RelayUdpConfig;
    use super::*;

    #[test]
    fn what_became_of_an_earlier_datagram_is_not_held_against_trains() {
        let ip = std::net::Ipv4Addr::LOCALHOST;
        let peer = std::net::UdpSocket::bind((ip, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let gone = std::net::UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
        let poll = mio::Poll::new().unwrap();
        let mut sockets = Sockets::new(RelayUdpConfig::default());
        sockets.open(poll.registry(), RelayId::new(0, 1), (ip, 0).into()).unwrap();
        let (mut train, mut counters) = (Train::new().unwrap(), RelayCounters::default());
        let way = |to| Way { from: Sender::Relay(0), to, source: None, dont_fragment: false };
        for _ in 0..2 * MOST_REFUSALS {
            // Loopback brings word of it before the call returns.
            train.push(way(gone), b"anybody?", &mut sockets, &mut counters);
            for _ in 0..2 {
                train.push(way(peer.local_addr().unwrap()), b"hello", &mut sockets, &mut counters);
            }
            train.flush(&mut sockets, &mut counters);
            for _ in 0..2 {
                assert_eq!(peer.recv(&mut [0; 10]).unwrap(), 5);
            }
        }
        assert_eq!((counters.trains_refused, counters.send_refused), (0, 0));
        assert_eq!(counters.peer_datagrams_sent, 3 * 2 * u64::from(MOST_REFUSALS));
    }

    #[test]
    fn only_what_the_kernel_takes_counts_as_sent() {
        let poll = mio::Poll::new().unwrap();
        let mut sockets = Sockets::new(RelayUdpConfig::default());
        let ip = std::net::Ipv4Addr::LOCALHOST;
        sockets.open(poll.registry(), RelayId::new(0, 1), (ip, 0).into()).unwrap();
        let (mut train, mut counters) = (Train::new().unwrap(), RelayCounters::default());
        // From loopback nothing leaves the machine.
        let way =
            Way { from: Sender::Relay(0), to: "192.0.2.1:9".parse().unwrap(), source: None, dont_fragment: false };
        for _ in 0..3 {
            train.push(way, b"hello", &mut sockets, &mut counters);
        }
        train.flush(&mut sockets, &mut counters);
        assert_eq!((counters.peer_datagrams_sent, counters.send_refused), (0, 3));
    }

    #[test]
    fn every_mix_of_sizes_arrives_as_it_was_pushed() {
        let peer = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let poll = mio::Poll::new().unwrap();
        let mut sockets = Sockets::new(RelayUdpConfig::default());
        sockets.open(poll.registry(), RelayId::new(0, 1), (std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (mut train, mut counters) = (Train::new().unwrap(), RelayCounters::default());
        let to = peer.local_addr().unwrap();
        let way = Way { from: Sender::Relay(0), to, source: None, dont_fragment: false };
        let sizes = [0, 7, 1472, 2000];
        let mixes = (0..256).map(|mix| [mix / 64, mix / 16 % 4, mix / 4 % 4, mix % 4].map(|size| sizes[size]));
        for mix in mixes {
            for (number, size) in mix.into_iter().enumerate() {
                train.push(way, &vec![number as u8; size], &mut sockets, &mut counters);
            }
            train.flush(&mut sockets, &mut counters);
            for (number, size) in mix.into_iter().enumerate() {
                let mut buffer = [0; 4096];
                let length = peer.recv(&mut buffer).unwrap_or_else(|_| panic!("{number} of {mix:?} is lost"));
                assert_eq!(buffer[..length], vec![number as u8; size], "{number} of {mix:?}");
            }
        }
    }

    #[test]
    fn trains_are_tried_again_after_a_pause() {
        let mut trains = Trains::default();
        for _ in 0..MOST_REFUSALS {
            assert!(trains.are_taken());
            trains.refused();
        }
        assert_eq!((0..PAUSE).filter(|_| trains.are_taken()).count(), 0);
        assert!(trains.are_taken());
        trains.taken();
        trains.refused();
        assert!(trains.are_taken(), "one refusal is that train's");
    }
}
