//! What moving packets costs when nothing is looked at: one socket for clients, one for each flow towards its peer, as a
//! relay has them.
//!
//! A client's first datagram is a *hello*: ChannelData whose six bytes are its peer's address and port. The answer is the
//! port of the flow's own socket. After that, channel 0x4000 + n is the nth flow.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use farspeak_stun::channel_data;
use libc::{cmsghdr, iovec, msghdr, sockaddr_in, socklen_t};

use crate::client::CHANNEL;
use crate::socket::{self, Poll};

const HEADER: usize = channel_data::HEADER;
const HELLO: usize = HEADER + 6;
/// As many segments as the kernel puts into a train.
const SEGMENTS: usize = 64;

struct Flow {
    relay: UdpSocket,
    client: sockaddr_in,
    peer: sockaddr_in,
}

/// Writes the hello of a flow.
pub fn hello(channel: u16, peer: SocketAddrV4) -> [u8; HELLO] {
    let mut bytes = [0; HELLO];
    bytes[..HEADER].copy_from_slice(&channel_data::header(channel, 6));
    bytes[HEADER..HEADER + 4].copy_from_slice(&peer.ip().octets());
    bytes[HEADER + 4..].copy_from_slice(&peer.port().to_be_bytes());
    bytes
}

pub fn run(listen: SocketAddrV4, trains: bool) -> io::Result<()> {
    let mut floor = Floor { listener: socket::bind(listen)?, trains, flows: Vec::new() };
    let mut poll = Poll::new()?;
    poll.add(&floor.listener, 0)?;
    if trains {
        socket::receive_trains(&floor.listener)?;
    }
    let mut train = Train::new();
    loop {
        let mut opened = 0;
        for ready in poll.wait(-1) {
            match (ready, trains) {
                (0, false) => opened += floor.packets_up(&mut train.buffer)?,
                (0, true) => opened += floor.trains_up(&mut train)?,
                (flow, false) => floor.packet_down(flow - 1, &mut train.buffer),
                (flow, true) => floor.train_down(flow - 1, &mut train),
            }
        }
        for flow in floor.flows.len() - opened..floor.flows.len() {
            poll.add(&floor.flows[flow].relay, flow + 1)?;
        }
    }
}

struct Floor {
    listener: UdpSocket,
    trains: bool,
    flows: Vec<Flow>,
}

impl Floor {
    /// One `recvfrom` and one `sendto` per packet. Says how many flows were opened.
    fn packets_up(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (listener, mut from, mut opened) = (self.listener.as_raw_fd(), nobody(), 0);
        while let Some(length) = socket::receive(listener, buffer, &mut from) {
            if length == HELLO {
                self.open(&buffer[HEADER..HELLO], from)?;
                opened += 1;
            } else if let Some(flow) = self.flow_of(buffer) {
                socket::send(flow.relay.as_raw_fd(), &buffer[HEADER..length], Some(&flow.peer));
            }
        }
        Ok(opened)
    }

    fn packet_down(&mut self, flow: usize, buffer: &mut [u8]) {
        let (channel, flow) = (CHANNEL + flow as u16, &self.flows[flow]);
        let Some(length) = socket::receive(flow.relay.as_raw_fd(), &mut buffer[HEADER..], &mut nobody()) else {
            return;
        };
        buffer[..HEADER].copy_from_slice(&channel_data::header(channel, length as u16));
        socket::send(self.listener.as_raw_fd(), &buffer[..HEADER + length], Some(&flow.client));
    }

    fn trains_up(&mut self, train: &mut Train) -> io::Result<usize> {
        let (listener, mut opened) = (self.listener.as_raw_fd(), 0);
        while train.receive(listener) {
            if train.length == HELLO {
                self.open(&train.buffer[HEADER..HELLO], train.from)?;
                opened += 1;
            } else if let Some(flow) = self.flow_of(&train.buffer) {
                train.send(flow.relay.as_raw_fd(), &flow.peer, None);
            }
        }
        Ok(opened)
    }

    fn train_down(&mut self, flow: usize, train: &mut Train) {
        let (channel, flow) = (CHANNEL + flow as u16, &self.flows[flow]);
        if train.receive(flow.relay.as_raw_fd()) {
            train.send(self.listener.as_raw_fd(), &flow.client, Some(channel));
        }
    }

    fn flow_of(&self, buffer: &[u8]) -> Option<&Flow> {
        let channel = u16::from_be_bytes([buffer[0], buffer[1]]);
        self.flows.get(usize::from(channel.wrapping_sub(CHANNEL)))
    }

    fn open(&mut self, peer: &[u8], client: sockaddr_in) -> io::Result<()> {
        let relay = socket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        if self.trains {
            socket::receive_trains(&relay)?;
        }
        let peer = SocketAddrV4::new(
            Ipv4Addr::new(peer[0], peer[1], peer[2], peer[3]),
            u16::from_be_bytes([peer[4], peer[5]]),
        );
        let port = socket::local(&relay)?.port().to_be_bytes();
        self.flows.push(Flow { relay, client, peer: socket::to_kernel(peer) });
        socket::send(self.listener.as_raw_fd(), &port, Some(&client));
        Ok(())
    }
}

/// One train on its way: received by GRO, sent by GSO, copied once without headers or with new ones (which costs less than
/// a list of pieces).
struct Train {
    buffer: Box<[u8]>,
    out: Vec<u8>,
    length: usize,
    segment: usize,
    from: sockaddr_in,
}

impl Train {
    fn new() -> Self {
        Self {
            buffer: vec![0; 65536].into_boxed_slice(),
            out: Vec::with_capacity(70_000),
            length: 0,
            segment: 0,
            from: nobody(),
        }
    }

    /// Whether there was one.
    fn receive(&mut self, socket: RawFd) -> bool {
        let mut piece = iovec { iov_base: self.buffer.as_mut_ptr().cast(), iov_len: self.buffer.len() };
        let mut control = Control([0; 64]);
        let mut message = control.message(&mut self.from, &mut piece);
        // SAFETY: everything that the message points to lives on this frame or in `self`.
        let got = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_DONTWAIT) };
        let Ok(length) = usize::try_from(got) else { return false };
        (self.length, self.segment) = (length, length);
        // SAFETY: the kernel has set the length of the control buffer; the value of UDP_GRO is an int.
        unsafe {
            let mut head = libc::CMSG_FIRSTHDR(&raw const message);
            while !head.is_null() {
                if (*head).cmsg_level == libc::SOL_UDP && (*head).cmsg_type == libc::UDP_GRO {
                    self.segment = libc::CMSG_DATA(head).cast::<libc::c_int>().read_unaligned() as usize;
                }
                head = libc::CMSG_NXTHDR(&raw const message, head);
            }
        }
        true
    }

    /// Sends it on: without each segment's header, or with one for `channel`.
    fn send(&mut self, socket: RawFd, to: &sockaddr_in, channel: Option<u16>) {
        self.out.clear();
        for bytes in self.buffer[..self.length].chunks(self.segment).take(SEGMENTS) {
            match channel {
                Some(channel) => {
                    self.out.extend_from_slice(&channel_data::header(channel, bytes.len() as u16));
                    self.out.extend_from_slice(bytes);
                }
                None => self.out.extend_from_slice(&bytes[HEADER..]),
            }
        }
        let size = if channel.is_some() { self.segment + HEADER } else { self.segment - HEADER };
        let (mut to, mut control) = (*to, Control([0; 64]));
        let mut piece = iovec { iov_base: self.out.as_mut_ptr().cast(), iov_len: self.out.len() };
        let mut message = control.message(&mut to, &mut piece);
        // SAFETY: as above; the control buffer has room for one header and a u16.
        unsafe {
            if self.out.len() > size {
                message.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as usize;
                let head: *mut cmsghdr = libc::CMSG_FIRSTHDR(&raw const message);
                (*head).cmsg_level = libc::SOL_UDP;
                (*head).cmsg_type = libc::UDP_SEGMENT;
                (*head).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as usize;
                libc::CMSG_DATA(head).cast::<u16>().write_unaligned(size as u16);
            } else {
                message.msg_controllen = 0;
            }
            libc::sendmsg(socket, &raw const message, libc::MSG_DONTWAIT);
        }
    }
}

/// Room for control messages, aligned as they want it.
#[repr(align(8))]
struct Control([u8; 64]);

impl Control {
    fn message(&mut self, address: &mut sockaddr_in, piece: &mut iovec) -> msghdr {
        // SAFETY: all zeros is a message without address, data and control.
        let mut message: msghdr = unsafe { zeroed() };
        message.msg_name = ptr::from_mut(address).cast();
        message.msg_namelen = size_of::<sockaddr_in>() as socklen_t;
        message.msg_iov = piece;
        message.msg_iovlen = 1;
        message.msg_control = self.0.as_mut_ptr().cast();
        message.msg_controllen = self.0.len();
        message
    }
}

fn nobody() -> sockaddr_in {
    socket::to_kernel(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))
}
