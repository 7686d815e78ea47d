//! A lane is a way through the relay: the socket that sends, what it sends, and the socket at which that arrives.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use clap::ValueEnum;
use farspeak_stun::channel_data;
use libc::sockaddr_in;

use crate::client::{CHANNEL, Client};
use crate::{Failure, Kind, Server, floor, socket};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// Client to peer.
    Up,
    /// Peer to client.
    Down,
    /// Client to client of the same relay.
    Between,
}

/// Where a lane begins.
pub struct Lane {
    pub from: RawFd,
    /// To whom; `None` if the socket is connected.
    pub to: Option<sockaddr_in>,
    pub datagram: Vec<u8>,
}

/// All lanes of a run, and where they end.
pub struct Lanes {
    pub lanes: Vec<Lane>,
    pub ends: Vec<UdpSocket>,
    /// How long what arrives is, and the bytes before the number of its lane.
    pub arrives: usize,
    pub head: usize,
    kept: Vec<UdpSocket>,
}

impl Lanes {
    /// The sockets that send.
    pub fn senders(&self) -> &[UdpSocket] {
        &self.kept
    }
}

/// Opens `flows` lanes for payloads of so many bytes.
pub fn open(server: &Server, direction: Direction, flows: usize, payload: usize) -> Result<Lanes, Failure> {
    let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    // Not the relay's address: some of its ports are the relay's own, whoever has bound them.
    let peer = socket::bind(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 3), 0))?;
    let peer_address = socket::local(&peer)?;
    let (mut lanes, mut ends, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for flow in 0..flows {
        let data: Vec<u8> = (flow as u32).to_be_bytes().into_iter().chain([b'x'; 4]).cycle().take(payload).collect();
        let framed = |channel| [&channel_data::header(channel, payload as u16), data.as_slice()].concat();
        if direction == Direction::Between {
            let mut here = Client::allocate(server, local)?;
            let mut there = Client::allocate(server, local)?;
            here.bind(there.relayed)?;
            there.bind(here.relayed)?;
            lanes.push(Lane { from: here.socket.as_raw_fd(), to: None, datagram: framed(CHANNEL) });
            kept.push(here.socket);
            ends.push(there.socket);
            continue;
        }
        let channel = if server.kind == Kind::Floor { CHANNEL + flow as u16 } else { CHANNEL };
        let (client, relayed) = match server.kind {
            Kind::Floor => greet(server, channel, peer_address)?,
            Kind::Turn => {
                let mut client = Client::allocate(server, local)?;
                client.bind(peer_address)?;
                (client.socket, client.relayed)
            }
        };
        if direction == Direction::Up {
            lanes.push(Lane { from: client.as_raw_fd(), to: None, datagram: framed(channel) });
            kept.push(client);
        } else {
            lanes.push(Lane { from: peer.as_raw_fd(), to: Some(socket::to_kernel(relayed)), datagram: data });
            ends.push(client);
        }
    }
    if direction == Direction::Up { &mut ends } else { &mut kept }.push(peer);
    let head = if direction == Direction::Up { 0 } else { channel_data::HEADER };
    Ok(Lanes { lanes, ends, arrives: payload + head, head, kept })
}

/// Opens a flow at the bare loop.
fn greet(server: &Server, channel: u16, peer: SocketAddrV4) -> io::Result<(UdpSocket, SocketAddrV4)> {
    let client = socket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    client.connect(server.server)?;
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    client.send(&floor::hello(channel, peer))?;
    let mut port = [0; 2];
    client.recv(&mut port)?;
    client.set_nonblocking(true)?;
    Ok((client, SocketAddrV4::new(*server.server.ip(), u16::from_be_bytes(port))))
}
