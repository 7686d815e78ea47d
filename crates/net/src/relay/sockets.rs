//! The datagram sockets of a loop: listeners that clients reach, and relay sockets, which the machine has opened.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use farspeak_sansio::{Flow, FlowId, HEADROOM, RelayId, TAILROOM, Transport};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use super::train::Trains;
use super::{RelayUdpConfig, os, token};

/// Which socket sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sender {
    /// The listener of that number.
    Listener(u16),
    /// The relay socket in that slot.
    Relay(u32),
}

/// All datagram sockets of a loop.
pub(super) struct Sockets {
    listeners: Vec<Listener>,
    relays: Vec<Option<RelaySocket>>,
    config: RelayUdpConfig,
}

pub(super) struct Listener {
    pub socket: UdpSocket,
    /// As bound: perhaps a wildcard.
    pub bound: SocketAddr,
    /// Datagrams asked for at once.
    pub appetite: Appetite,
    /// Whether more waits in the kernel than the last turn took.
    pub postponed: bool,
    trains: Trains,
}

/// Small: there are ten thousands of them.
pub(super) struct RelaySocket {
    pub socket: UdpSocket,
    pub generation: u32,
    /// Datagrams asked for at once: more for those that have many.
    pub appetite: Appetite,
    /// Whether more waits in the kernel than the last turn took.
    pub postponed: bool,
    trains: Trains,
}

/// How many buffers a receiving system call is given.
///
/// More than there are datagrams tells that no more are there, and saves the call that would only say so: listeners begin so.
/// Of a voice call one packet waits at a time: relay sockets begin with one, and now and then look whether there are more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Appetite {
    /// One, and after so many the next will be four.
    One(u8),
    Four,
    Eight,
    All,
}

impl Appetite {
    /// What relay sockets begin with.
    pub(super) const SMALL: Self = Self::One(PATIENCE);

    /// What to ask for after so many came; `least` is what the socket began with.
    pub(super) const fn after(self, count: usize, least: Self) -> Self {
        match (self, count) {
            (Self::One(0), _) => Self::Four,
            (Self::One(left), _) => Self::One(left - 1),
            (Self::Four, 0..=1) => least,
            (Self::Four, 4..) => Self::Eight,
            (Self::Eight, 8..) => Self::All,
            (Self::Eight | Self::All, 0..=1) => Self::Four,
            (Self::All, 2..=4) => Self::Eight,
            (same, _) => same,
        }
    }

    /// How many buffers that is.
    pub(super) const fn count(self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Four => 4,
            Self::Eight => 8,
            Self::All => BUFFERS,
        }
    }
}

impl Sockets {
    pub(super) const fn new(config: RelayUdpConfig) -> Self {
        Self { listeners: Vec::new(), relays: Vec::new(), config }
    }

    pub(super) fn listen(&mut self, registry: &Registry, socket: Socket, bound: SocketAddr) -> io::Result<()> {
        // The kernel grants what it allows; less is no reason not to start.
        let _ = socket.set_recv_buffer_size(self.config.listener_buffer);
        let _ = socket.set_send_buffer_size(self.config.listener_buffer);
        os::receive_trains(&socket, true);
        if bound.ip().is_unspecified() {
            os::tell_destination(&socket, bound)?;
        }
        let _ = os::allow_fragments(&socket, bound, true);
        let mut socket = UdpSocket::from_std(socket.into());
        let index = self.listeners.len() as u32;
        registry.register(&mut socket, token::new(token::UDP_LISTENER, index), Interest::READABLE)?;
        self.listeners.push(Listener {
            socket,
            bound,
            appetite: Appetite::Four,
            postponed: false,
            trains: Trains::default(),
        });
        Ok(())
    }

    pub(super) fn listener(&mut self, index: u32) -> Option<&mut Listener> {
        self.listeners.get_mut(index as usize)
    }

    /// The listener's number and the address to send from, where the socket has several.
    pub(super) fn listener_of(&self, flow: &Flow) -> Option<(u16, Option<std::net::IpAddr>)> {
        let serves = |listener: &Listener| {
            listener.bound.port() == flow.local.port()
                && (listener.bound.ip() == flow.local.ip()
                    || listener.bound.ip().is_unspecified() && listener.bound.is_ipv4() == flow.remote.is_ipv4())
        };
        let known = u32::MAX - flow.id.slot();
        let index = match self.listeners.get(known as usize) {
            Some(listener) if serves(listener) => known as usize,
            // An answer from another address than was asked (RFC 5780), or over a flow of another shard.
            _ => self.listeners.iter().position(serves)?,
        };
        let wildcard = self.listeners[index].bound.ip().is_unspecified() && !flow.local.ip().is_unspecified();
        Some((index as u16, wildcard.then(|| flow.local.ip())))
    }

    pub(super) fn open(&mut self, registry: &Registry, relay: RelayId, address: SocketAddr) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        let _ = socket.set_recv_buffer_size(self.config.relay_buffer);
        let _ = socket.set_send_buffer_size(self.config.relay_buffer);
        socket.bind(&address.into())?;
        os::receive_trains(&socket, true);
        os::tell_errors(&socket, address)?;
        let _ = os::allow_fragments(&socket, address, true);
        let mut socket = UdpSocket::from_std(socket.into());
        os::watch(registry, &mut socket, token::new(token::RELAY, relay.slot()))?;
        let slot = relay.slot() as usize;
        if self.relays.len() <= slot {
            self.relays.resize_with(slot + 1, || None);
        }
        self.relays[slot] = Some(RelaySocket {
            socket,
            generation: relay.generation(),
            appetite: Appetite::SMALL,
            postponed: false,
            trains: Trains::default(),
        });
        Ok(())
    }

    /// Closing takes the socket out of the loop's interest.
    pub(super) fn close(&mut self, relay: RelayId) {
        if let Some(slot) = self.relays.get_mut(relay.slot() as usize) {
            slot.take_if(|socket| socket.generation == relay.generation());
        }
    }

    pub(super) fn is_open(&self, relay: RelayId) -> bool {
        self.relay(relay.slot()).is_some_and(|socket| socket.generation == relay.generation())
    }

    pub(super) fn relay(&self, slot: u32) -> Option<&RelaySocket> {
        self.relays.get(slot as usize)?.as_ref()
    }

    pub(super) fn relay_mut(&mut self, slot: u32) -> Option<&mut RelaySocket> {
        self.relays.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn sender(&mut self, sender: Sender) -> Option<(&UdpSocket, &mut Trains)> {
        match sender {
            Sender::Listener(index) => {
                let listener = self.listeners.get_mut(usize::from(index))?;
                Some((&listener.socket, &mut listener.trains))
            }
            Sender::Relay(slot) => {
                let relay = self.relay_mut(slot)?;
                Some((&relay.socket, &mut relay.trains))
            }
        }
    }
}

/// The flow of a client of the listener of that number.
pub(super) fn client(shard: u8, listener: u32, bound: SocketAddr, meta: &RecvMeta) -> Flow {
    let mut local = bound;
    if let Some(ip) = meta.dst_ip.filter(|_| bound.ip().is_unspecified()) {
        local.set_ip(ip);
    }
    // Slots from the top: connections have theirs from the bottom.
    let id = FlowId::new(shard, u32::MAX - listener, 1);
    Flow { id, transport: Transport::Udp, local, remote: plain(meta.addr) }
}

/// Without flow label and scope: those are not part of who a client or peer is.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.flowinfo() != 0 => {
            std::net::SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        same => same,
    }
}

/// Where datagrams and streams are received: one for the whole loop.
pub(super) struct Arena {
    pub bytes: Box<[u8]>,
    pub metas: [RecvMeta; BUFFERS],
}

impl Arena {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFERS * STRIDE].into(), metas: [RecvMeta::default(); BUFFERS] }
    }

    /// Receives into the first buffers; gives how many were filled.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        kernel: &UdpSocketState,
        appetite: Appetite,
    ) -> io::Result<usize> {
        match appetite {
            Appetite::One(_) => {
                self.metas[0] = os::receive_one(socket, &mut self.bytes[HEADROOM..HEADROOM + LONGEST])?;
                Ok(1)
            }
            Appetite::Four => self.receive_into::<{ Appetite::Four.count() }>(socket, kernel),
            Appetite::Eight => self.receive_into::<{ Appetite::Eight.count() }>(socket, kernel),
            Appetite::All => self.receive_into::<BUFFERS>(socket, kernel),
        }
    }

    fn receive_into<const N: usize>(&mut self, socket: &UdpSocket, kernel: &UdpSocketState) -> io::Result<usize> {
        let mut buffers = self.bytes.chunks_exact_mut(STRIDE);
        let mut slices: [IoSliceMut<'_>; N] = std::array::from_fn(|_| {
            let buffer = buffers.next().expect("there are BUFFERS of them");
            IoSliceMut::new(&mut buffer[HEADROOM..HEADROOM + LONGEST])
        });
        kernel.recv(socket.into(), &mut slices, &mut self.metas)
    }

    /// The buffer of that number.
    pub(super) fn buffer(&mut self, index: usize) -> &mut [u8] {
        &mut self.bytes[index * STRIDE..(index + 1) * STRIDE]
    }
}

/// Datagrams received one by one before it is asked for more at once.
const PATIENCE: u8 = 15;
/// Datagrams or trains received in one system call.
pub(super) const BUFFERS: usize = 32;
/// The longest datagram or train there can be.
const LONGEST: usize = 65_535;
const STRIDE: usize = (HEADROOM + LONGEST + TAILROOM).next_multiple_of(64);

/// The slot that a token names.
pub(super) const fn slot(token: Token) -> u32 {
    token.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appetite_follows_what_comes() {
        let of_listener = |appetite: Appetite, count| appetite.after(count, Appetite::Four);
        let grown = of_listener(of_listener(Appetite::Four, 4), 8);
        assert_eq!(grown, Appetite::All);
        assert_eq!(of_listener(grown, 20), Appetite::All);
        assert_eq!(of_listener(grown, 3), Appetite::Eight);
        assert_eq!(of_listener(grown, 1), Appetite::Four);
        assert_eq!(of_listener(Appetite::Four, 1), Appetite::Four);
    }

    #[test]
    fn relay_sockets_look_for_more_now_and_then() {
        let mut appetite = Appetite::SMALL;
        for _ in 0..PATIENCE {
            appetite = appetite.after(1, Appetite::SMALL);
            assert_eq!(appetite.count(), 1);
        }
        appetite = appetite.after(1, Appetite::SMALL);
        assert_eq!(appetite, Appetite::Four);
        assert_eq!(appetite.after(2, Appetite::SMALL), Appetite::Four, "it has more");
        assert_eq!(appetite.after(1, Appetite::SMALL), Appetite::SMALL);
    }
}
