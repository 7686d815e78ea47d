//! What the loop asks of the kernel besides receiving and sending: socket options and the error queue.

use std::io;
use std::net::SocketAddr;

use super::pace::Backlog;

/// One entry of a socket's error queue: an ICMP message about something sent to `peer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Icmp {
    pub peer: SocketAddr,
    pub icmp_type: u8,
    pub icmp_code: u8,
    /// The next-hop MTU of "fragmentation needed" and "packet too big".
    pub data: u32,
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io::{self, IoSliceMut};
    use std::net::SocketAddr;
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use mio::net::UdpSocket;
    use mio::{Registry, Token};
    use nix::libc;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
    use quinn_udp::RecvMeta;

    use super::{Backlog, Icmp};

    /// Whether a watched socket is told of for as long as something waits in it.
    pub(in super::super) const TELLS_AGAIN: bool = true;

    /// Has the loop told of what can be received, and of errors, for as long as there is any.
    ///
    /// `mio` tells of changes only. A voice call has one packet at a time: to be told once more is cheaper than to ask each time
    /// whether that was all. Closing the socket ends it.
    #[expect(unsafe_code, reason = "mio cannot watch levels")]
    pub(in super::super) fn watch(registry: &Registry, socket: &mut UdpSocket, token: Token) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token.0 as u64 };
        let (epoll, fd) = (registry.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: both descriptors are open, since their owners are borrowed; the kernel reads `event`, which lives.
        let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Receives one datagram or train: for one, cheaper than `recvmmsg`.
    pub(in super::super) fn receive_one(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut control = Control([0; 64]);
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control.0), MsgFlags::MSG_DONTWAIT)?;
        let mut meta = RecvMeta::default();
        meta.addr = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
        meta.len = message.bytes;
        meta.stride = meta.len;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::UdpGroSegments(size) = part {
                meta.stride = size.try_into().unwrap_or(meta.len);
            }
        }
        Ok(meta)
    }

    /// Aligned as control messages have to be.
    #[repr(align(8))]
    struct Control([u8; 64]);

    /// Trains of datagrams of one flow arrive as one.
    pub(in super::super) fn receive_trains(socket: &impl AsFd, on: bool) {
        let _ = set_int(socket, libc::SOL_UDP, libc::UDP_GRO, i32::from(on)); // an old kernel: one by one then
    }

    /// Tells which of our addresses each datagram was sent to.
    pub(in super::super) fn tell_destination(socket: &impl AsFd, bound: SocketAddr) -> io::Result<()> {
        match bound {
            SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        Ok(())
    }

    /// Has ICMP errors queued.
    pub(in super::super) fn tell_errors(socket: &impl AsFd, bound: SocketAddr) -> io::Result<()> {
        match bound {
            SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(())
    }

    /// Whether the network may cut what is sent from now on in pieces.
    pub(in super::super) fn allow_fragments(socket: &impl AsFd, local: SocketAddr, allow: bool) -> io::Result<()> {
        if local.is_ipv4() {
            // PROBE, not DO: what one client made the kernel believe of a path is not for another.
            let how = if allow { libc::IP_PMTUDISC_DONT } else { libc::IP_PMTUDISC_PROBE };
            return set_int(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, how);
        }
        let how = if allow { libc::IPV6_PMTUDISC_DONT } else { libc::IPV6_PMTUDISC_PROBE };
        set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, how)?;
        set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, i32::from(!allow))
    }

    /// Most bytes that the kernel takes of a stream beyond what it may send at once.
    pub(in super::super) fn bound_unsent(socket: &impl AsFd, bytes: i32) -> io::Result<()> {
        set_int(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)
    }

    /// Has what is lost repeated each second at least, however often it was before. Linux 6.15 and later.
    pub(in super::super) fn bound_repetition(socket: &impl AsFd) {
        let _ = set_int(socket, libc::IPPROTO_TCP, TCP_RTO_MAX_MS, 1000); // an older kernel: as it likes
    }

    const TCP_RTO_MAX_MS: i32 = 44;

    /// How much of what a connection was given waits to be sent. `None` if the kernel does not tell.
    #[expect(unsafe_code, reason = "no crate that we use offers this option whole")]
    pub(in super::super) fn backlog(socket: &impl AsFd) -> Option<Backlog> {
        let mut info = [0_u8; 192]; // struct tcp_info, as far as it is known here
        let (mut size, fd) = (info.len() as libc::socklen_t, socket.as_fd().as_raw_fd());
        // SAFETY: the descriptor is open, since it is borrowed; the kernel writes at most `size` bytes to `info`.
        let result =
            unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size) };
        let number = |at: usize| Some(u32::from_ne_bytes(*info.get(at..size as usize)?.first_chunk()?));
        if result != 0 {
            return None;
        }
        let (round_trip, unsent) = (number(TCPI_RTT)?, number(TCPI_NOTSENT_BYTES)?);
        Some(Backlog { unsent: unsent.into(), round_trip: Duration::from_micros(round_trip.into()) })
    }

    /// Where `struct tcp_info` has these; the second since Linux 4.6.
    const TCPI_RTT: usize = 68;
    const TCPI_NOTSENT_BYTES: usize = 144;

    /// The next entry of the error queue; `Ok(None)` for one that is no ICMP message, `WouldBlock` at its end.
    pub(in super::super) fn next_error(socket: &impl AsFd) -> io::Result<Option<Icmp>> {
        let mut start_of_datagram = [0; 64];
        let mut parts = [IoSliceMut::new(&mut start_of_datagram)];
        let mut control = [0_u8; 256];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_fd().as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)?;
        let Some(peer) = message.address.as_ref().and_then(address) else { return Ok(None) };
        let error = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => Some(error),
            _ => None,
        });
        let from_network = |origin| matches!(origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
        Ok(error.filter(|error| from_network(error.ee_origin)).map(|error| Icmp {
            peer,
            icmp_type: error.ee_type,
            icmp_code: error.ee_code,
            data: error.ee_info,
        }))
    }

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
    }

    #[expect(unsafe_code, reason = "no crate that we use offers these options")]
    fn set_int(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
        let (size, fd) = (size_of::<i32>() as libc::socklen_t, socket.as_fd().as_raw_fd());
        // SAFETY: the descriptor is open, since it is borrowed; the kernel reads `size` bytes of `value`, which lives.
        let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::net::SocketAddr;

    use mio::net::UdpSocket;
    use mio::{Interest, Registry, Token};
    use quinn_udp::RecvMeta;

    use super::{Backlog, Icmp};

    pub(in super::super) const TELLS_AGAIN: bool = false;

    pub(in super::super) fn watch(registry: &Registry, socket: &mut UdpSocket, token: Token) -> io::Result<()> {
        registry.register(socket, token, Interest::READABLE)
    }
    pub(in super::super) fn receive_one(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        let mut meta = RecvMeta::default();
        (meta.len, meta.addr) = socket.recv_from(buffer)?;
        meta.stride = meta.len;
        Ok(meta)
    }
    pub(in super::super) fn receive_trains<S>(_: &S, _: bool) {}
    pub(in super::super) fn tell_destination<S>(_: &S, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
    pub(in super::super) fn tell_errors<S>(_: &S, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
    pub(in super::super) fn allow_fragments<S>(_: &S, _: SocketAddr, _: bool) -> io::Result<()> {
        Ok(())
    }
    pub(in super::super) fn bound_unsent<S>(_: &S, _: i32) -> io::Result<()> {
        Ok(())
    }
    pub(in super::super) fn bound_repetition<S>(_: &S) {}
    pub(in super::super) fn backlog<S>(_: &S) -> Option<Backlog> {
        None
    }
    pub(in super::super) fn next_error<S>(_: &S) -> io::Result<Option<Icmp>> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

pub(super) use imp::{
    TELLS_AGAIN, allow_fragments, backlog, bound_repetition, bound_unsent, next_error, receive_one, receive_trains,
    tell_destination, tell_errors, watch,
};

/// A socket's error that ends nothing: it is that of an earlier datagram, or of a full buffer.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(ENOBUFS)
}

/// Linux: the device's queue is full.
const ENOBUFS: i32 = 105;
