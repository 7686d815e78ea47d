//! Datagrams: takes as many as are ready, hands each to the machine, and sends directly.
//!
//! A socket bound to a wildcard address learns from the kernel which address a datagram was sent to (`IP_PKTINFO`) and
//! answers from there, so that a flow's local end is never a wildcard. What comes back undeliverable by ICMP is read
//! from the socket's error queue (`IP_RECVERR`).

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use farspeak_sansio::{Flow, FlowId, Instant, Transport};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::{Counters, Framed, Framing};

/// Whom the datagrams of a socket are for: a shard, or a driver of one machine.
pub(crate) trait Owner: 'static {
    type Framing: Framing;

    fn now(&self) -> Instant;
    fn framing(&self) -> &Self::Framing;
    fn counters(&self) -> &Counters;
    /// Most datagrams taken in one go.
    fn batch(&self) -> usize;
    /// A message has arrived.
    fn receive(self: &Rc<Self>, now: Instant, flow: Flow, bytes: &[u8]);
    /// A datagram to the flow's remote address came back undeliverable.
    fn datagram_failed(self: &Rc<Self>, now: Instant, flow: Flow);
    /// Sends what is the edge's own: replies to keep-alives and to what holds no message.
    fn answer(&self, flow: &Flow, bytes: &[u8]);
    /// Contains a panic, where the owner wants that.
    fn guard(&self, act: impl FnOnce()) -> bool;
}

/// The datagram sockets of an owner.
#[derive(Default)]
pub(crate) struct UdpSockets(Vec<Rc<UdpPort>>);

pub(crate) struct UdpPort {
    socket: UdpSocket,
    id: FlowId,
    /// As bound: perhaps a wildcard.
    bound: SocketAddr,
}

impl UdpSockets {
    pub(crate) fn add(&mut self, shard: u8, generation: u32, socket: UdpSocket, bound: SocketAddr) {
        // Slots from the top: connections have theirs from the bottom.
        let id = FlowId::new(shard, u32::MAX - self.0.len() as u32, generation);
        self.0.push(UdpPort::new(socket, id, bound));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Rc<UdpPort>> {
        self.0.iter().map(Rc::clone)
    }

    /// Sends from the flow's local address. `Err` if the peer is unreachable or nothing here has that address.
    pub(crate) fn send(&self, flow: &Flow, bytes: &[u8], counters: &Counters) -> Result<(), ()> {
        let Some(port) = self.find(flow.local, flow.remote) else {
            counters.dead_flows.increment();
            return Err(());
        };
        port.send_counted(flow, bytes, counters)
    }

    /// The socket bound to `local`; else a wildcard one with its port; else any of the family.
    fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<&UdpPort> {
        let family = || self.0.iter().filter(|port| port.bound.is_ipv4() == remote.is_ipv4());
        family()
            .find(|port| port.bound.ip() == local.ip() && port.bound.port() == local.port())
            .or_else(|| family().find(|port| port.bound.ip().is_unspecified() && port.bound.port() == local.port()))
            .or_else(|| family().next())
            .map(Rc::as_ref)
    }
}

impl UdpPort {
    /// `id` is what its flows are called.
    pub(crate) fn new(socket: UdpSocket, id: FlowId, bound: SocketAddr) -> Rc<Self> {
        if let Err(error) = os::prepare(&socket, bound) {
            tracing::warn!(%bound, %error, "unreachable peers will go unnoticed");
        }
        Rc::new(Self { socket, id, bound })
    }

    /// Where it is bound: perhaps a wildcard.
    pub(crate) const fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// `Err` if the peer is unreachable.
    pub(crate) fn send_counted(&self, flow: &Flow, bytes: &[u8], counters: &Counters) -> Result<(), ()> {
        // The first error may be that of an earlier datagram (`IP_RECVERR`), which the error queue tells in full.
        let sent = self.send(flow, bytes).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Err(error),
            _ => self.send(flow, bytes),
        });
        match sent {
            Ok(()) => {
                counters.datagrams_sent.increment();
                Ok(())
            }
            Err(error) => {
                counters.datagrams_failed.increment();
                // A full buffer is a lost datagram: the protocol above repeats it.
                if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(()) }
            }
        }
    }

    fn send(&self, flow: &Flow, bytes: &[u8]) -> io::Result<()> {
        let from = self.bound.ip().is_unspecified().then_some(flow.local.ip());
        os::send(&self.socket, from.filter(|from| !from.is_unspecified()), flow.remote, bytes)
    }

    fn flow(&self, local: SocketAddr, remote: SocketAddr) -> Flow {
        Flow { id: self.id, transport: Transport::Udp, local, remote }
    }
}

/// Serves one socket until the task is aborted.
pub(crate) async fn run<O: Owner>(owner: Rc<O>, port: Rc<UdpPort>) {
    let mut buffer = vec![0; LONGEST_DATAGRAM];
    let mut control = os::control_buffer();
    loop {
        let Ok(ready) = port.socket.ready(Interest::READABLE | Interest::ERROR).await else { return };
        let now = owner.now();
        if ready.is_error() {
            for _ in 0..owner.batch() {
                let told = port.socket.try_io(Interest::ERROR, || os::undeliverable(&port.socket));
                let Ok(remote) = told else { break };
                let Some(remote) = remote else { continue };
                owner.datagram_failed(now, port.flow(local_towards(port.bound, remote), remote));
            }
        }
        let mut more = true;
        for _ in 0..owner.batch() {
            let taken = port
                .socket
                .try_io(Interest::READABLE, || os::receive(&port.socket, port.bound, &mut buffer, &mut control));
            match taken {
                Ok((length, local, remote)) => {
                    owner.counters().datagrams_received.increment();
                    let flow = port.flow(local, remote);
                    owner.guard(|| take(&owner, now, flow, &buffer[..length]));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                Err(_) => {} // an earlier datagram came back: the error queue tells which
            }
        }
        if more {
            tokio::task::yield_now().await; // let others have their turn first
        }
    }
}

fn take<O: Owner>(owner: &Rc<O>, now: Instant, flow: Flow, bytes: &[u8]) {
    match owner.framing().datagram(bytes) {
        Framed::Message(message) => owner.receive(now, flow, &message),
        Framed::Ping => {
            owner.counters().pings_answered.increment();
            owner.answer(&flow, b"\r\n");
        }
        Framed::Pong => {}
        Framed::Broken { reply, reason } => {
            owner.counters().datagrams_broken.increment();
            tracing::debug!(%reason, "dropped a datagram");
            if let Some(reply) = reply {
                owner.answer(&flow, &reply);
            }
        }
    }
}

/// The longest there can be.
const LONGEST_DATAGRAM: usize = 65_535;

#[cfg(target_os = "linux")]
mod os {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::fd::AsRawFd;

    use nix::libc;
    use nix::sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
    };
    use tokio::net::UdpSocket;

    pub(super) fn prepare(socket: &UdpSocket, bound: SocketAddr) -> io::Result<()> {
        match bound {
            SocketAddr::V4(_) => {
                setsockopt(socket, sockopt::Ipv4PacketInfo, &bound.ip().is_unspecified())?;
                setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
            }
            SocketAddr::V6(_) => {
                setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &bound.ip().is_unspecified())?;
                setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
            }
        }
        Ok(())
    }

    /// Room for the local address of one datagram, or for one error.
    pub(super) fn control_buffer() -> Vec<u8> {
        vec![0; 256]
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        bound: SocketAddr,
        buffer: &mut [u8],
        control: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, SocketAddr)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let wildcard = bound.ip().is_unspecified();
        let message = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            wildcard.then_some(control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let remote = message.address.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
        let mut local = bound;
        if wildcard {
            for part in message.cmsgs()? {
                match part {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        local.set_ip(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                    }
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        local.set_ip(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    }
                    _ => {}
                }
            }
        }
        Ok((message.bytes, local, remote))
    }

    pub(super) fn send(socket: &UdpSocket, from: Option<IpAddr>, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(bytes)];
        let to = SockaddrStorage::from(to);
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL, Some(&to))
        };
        match from {
            None => send(&[]),
            Some(IpAddr::V4(from)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])
            }
            Some(IpAddr::V6(from)) => {
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
                send(&[ControlMessage::Ipv6PacketInfo(&info)])
            }
        }?;
        Ok(())
    }

    /// The next entry of the error queue: whom an undeliverable datagram was sent to, if the error is the peer's.
    pub(super) fn undeliverable(socket: &UdpSocket) -> io::Result<Option<SocketAddr>> {
        let mut start_of_datagram = [0; 64];
        let mut parts = [IoSliceMut::new(&mut start_of_datagram)];
        let mut control = control_buffer();
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let remote = message.address.as_ref().and_then(address);
        let failed = message.cmsgs()?.any(|part| match part {
            ControlMessageOwned::Ipv4RecvErr(error, _) => error.ee_errno != libc::EMSGSIZE as u32,
            ControlMessageOwned::Ipv6RecvErr(error, _) => error.ee_errno != libc::EMSGSIZE as u32,
            _ => false,
        });
        Ok(remote.filter(|_| failed))
    }

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use std::io;
    use std::net::{IpAddr, SocketAddr};

    use tokio::net::UdpSocket;

    pub(super) fn prepare(_: &UdpSocket, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn control_buffer() -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn receive(
        socket: &UdpSocket,
        bound: SocketAddr,
        buffer: &mut [u8],
        _: &mut [u8],
    ) -> io::Result<(usize, SocketAddr, SocketAddr)> {
        let (length, remote) = socket.try_recv_from(buffer)?;
        Ok((length, local_towards(bound, remote), remote))
    }

    pub(super) fn send(socket: &UdpSocket, _: Option<IpAddr>, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        socket2::SockRef::from(socket).send_to(bytes, &to.into()).map(|_| ())
    }

    pub(super) fn undeliverable(_: &UdpSocket) -> io::Result<Option<SocketAddr>> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    use super::local_towards;
}

/// Our address as the kernel would choose it towards `remote`, where the socket is bound to a wildcard.
fn local_towards(bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let chosen = std::net::UdpSocket::bind(SocketAddr::new(bound.ip(), 0)).and_then(|socket| {
        socket.connect(remote)?; // sends nothing
        socket.local_addr()
    });
    chosen.map_or(bound, |chosen| SocketAddr::new(chosen.ip(), bound.port()))
}
