//! UDP sockets with what the standard library lacks: large buffers, many datagrams per call, GRO, GSO, epoll.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use libc::{c_int, c_void, iovec, mmsghdr, sockaddr_in, socklen_t};

/// What a socket may hold while its owner does something else. Beyond `net.core.rmem_max` for root alone.
const BUFFER: c_int = 16 << 20;

/// An IPv4 address as the kernel wants it.
pub fn to_kernel(address: SocketAddrV4) -> sockaddr_in {
    sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// A non-blocking socket with large buffers.
pub fn bind(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    for (force, polite) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        set(&socket, libc::SOL_SOCKET, force, BUFFER).or_else(|_| set(&socket, libc::SOL_SOCKET, polite, BUFFER))?;
    }
    Ok(socket)
}

pub fn local(socket: &UdpSocket) -> io::Result<SocketAddrV4> {
    match socket.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Trains arrive as one buffer (`UDP_GRO`).
pub fn receive_trains(socket: &UdpSocket) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Whatever is longer than `size` leaves as a train of datagrams of this size (`UDP_SEGMENT`).
pub fn send_trains(socket: &UdpSocket, size: usize) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, size as c_int)
}

fn set(socket: &UdpSocket, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let pointer = ptr::from_ref(&value).cast::<c_void>();
    // SAFETY: the value outlives the call and its length is the one given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, size_of::<c_int>() as socklen_t) })?;
    Ok(())
}

pub fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Sends without waiting; whether it went.
pub fn send(socket: RawFd, bytes: &[u8], to: Option<&sockaddr_in>) -> bool {
    let (address, length) = match to {
        Some(to) => (ptr::from_ref(to).cast(), size_of::<sockaddr_in>() as socklen_t),
        None => (ptr::null(), 0),
    };
    let data = bytes.as_ptr().cast();
    // SAFETY: both pointers come from references that outlive the call, with their lengths.
    unsafe { libc::sendto(socket, data, bytes.len(), libc::MSG_DONTWAIT, address, length) == bytes.len() as isize }
}

/// Receives one datagram without waiting; `None` if there is none.
pub fn receive(socket: RawFd, buffer: &mut [u8], from: &mut sockaddr_in) -> Option<usize> {
    let mut length = size_of::<sockaddr_in>() as socklen_t;
    let address = ptr::from_mut(from).cast();
    // SAFETY: buffer and address outlive the call, with their lengths.
    let got = unsafe {
        libc::recvfrom(
            socket,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            address,
            ptr::from_mut(&mut length),
        )
    };
    usize::try_from(got).ok()
}

/// Room for many datagrams, or trains, received at once.
pub struct Inbox {
    messages: Vec<mmsghdr>,
    buffers: Vec<Box<[u8]>>,
    /// `messages` points into it.
    _vectors: Box<[iovec]>,
}

impl Inbox {
    pub fn new(count: usize, size: usize) -> Self {
        let mut buffers: Vec<Box<[u8]>> = (0..count).map(|_| vec![0; size].into_boxed_slice()).collect();
        let vector = |buffer: &mut Box<[u8]>| iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut vectors: Box<[iovec]> = buffers.iter_mut().map(vector).collect();
        let message = |vector: &mut iovec| {
            // SAFETY: all zeros is a message without address, data and control.
            let mut message: mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message
        };
        let messages = vectors.iter_mut().map(message).collect();
        Self { messages, buffers, _vectors: vectors }
    }

    /// Takes what is there, without waiting; hands out the bytes of each.
    pub fn receive(&mut self, socket: RawFd) -> impl Iterator<Item = &[u8]> {
        let (messages, count) = (self.messages.as_mut_ptr(), self.messages.len() as u32);
        // SAFETY: each message points to a vector and a buffer that live as long as `self` and do not move.
        let got = unsafe { libc::recvmmsg(socket, messages, count, libc::MSG_DONTWAIT, ptr::null_mut()) };
        let got = usize::try_from(got).unwrap_or(0);
        let pairs = self.messages[..got].iter().zip(&self.buffers);
        pairs.map(|(message, buffer)| &buffer[..message.msg_len as usize])
    }
}

/// Which of many sockets have something.
pub struct Poll {
    epoll: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256] })
    }

    pub fn add(&self, socket: &UdpSocket, name: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: name as u64 };
        // SAFETY: the event outlives the call.
        check(unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    /// Waits for at most so many milliseconds (-1: for ever) and says who is ready.
    pub fn wait(&mut self, milliseconds: c_int) -> impl Iterator<Item = usize> {
        let (events, count) = (self.events.as_mut_ptr(), self.events.len() as c_int);
        // SAFETY: there is room for `count` events.
        let got = unsafe { libc::epoll_wait(self.epoll, events, count, milliseconds) };
        let got = usize::try_from(got).unwrap_or(0);
        self.events[..got].iter().map(|event| event.u64 as usize)
    }
}
