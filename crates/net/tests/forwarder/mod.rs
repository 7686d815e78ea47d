//! A machine that relays: messages are a length of two bytes and as many bytes; what they begin with says what to do.
#![allow(dead_code)] // each test file uses its part

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use farspeak_net::relay::{self, Action, Frame, PacketMachine, Relay, RelayBirth, RelayConfig, RelayCounters};
use farspeak_net::{Clock, Listener};
use farspeak_sansio::{Flow, Instant, Packet, RelayId, Transmit, Transport, Verdict};

use crate::common::{PATIENCE, loopback};

/// `length bytes`.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// Data for a peer at that port.
pub fn to(port: u16, bytes: &[u8]) -> Vec<u8> {
    message(&[&b"p"[..], &port.to_be_bytes(), bytes].concat())
}

/// `open`: a relay socket for this client. `p`, port, data: to a peer at the address that the client has reached. `home`: to the other shard. Else an echo. What a peer
/// sends goes to the client as a message.
pub struct Forwarder {
    shard: u8,
    shards: u8,
    actions: VecDeque<Action>,
    /// Those that have a relay socket, or will have one, and its port.
    clients: Vec<(Flow, u16)>,
    gone: Sender<Flow>,
}

impl Forwarder {
    fn say(&mut self, flow: Flow, text: &[u8]) {
        self.actions.push_back(Action::Transmit(Transmit { flow, bytes: message(text).into() }));
    }

    /// Opens a relay socket of the client's family, at any free port: found by binding to it once.
    fn open(&mut self, slot: usize) {
        let (client, port) = &mut self.clients[slot];
        let free = std::net::UdpSocket::bind((client.local.ip(), 0)).unwrap();
        *port = free.local_addr().unwrap().port();
        let address = SocketAddr::new(client.local.ip(), *port);
        self.actions.push_back(Action::Open { relay: RelayId::new(slot as u32, 7), address });
    }

    fn at_home(&mut self, client: Flow) -> Verdict {
        self.say(client, b"at home");
        Verdict::Nothing
    }
}

impl PacketMachine for Forwarder {
    fn handle_client(&mut self, _: Instant, client: Flow, packet: Packet<'_>) -> Verdict {
        let Packet { buffer, data } = packet;
        let body = data.start + 2..data.end;
        match &buffer[body.clone()] {
            b"open" => {
                self.clients.push((client, 0));
                self.open(self.clients.len() - 1);
                Verdict::Nothing
            }
            b"home" if client.id.shard() == self.shard && self.shards > 1 => {
                Verdict::ToHome { shard: 1 - self.shard, waits: false }
            }
            b"home" => self.at_home(client),
            b"who" => {
                self.say(client, client.remote.to_string().as_bytes());
                Verdict::Nothing
            }
            b"quiet" => Verdict::Nothing,
            b"panic" => panic!("as the test wants"),
            [b'p', high, low, ..] => {
                let peer = SocketAddr::new(client.local.ip(), u16::from_be_bytes([*high, *low]));
                let Some(slot) = self.clients.iter().position(|(known, _)| *known == client) else {
                    return Verdict::Nothing;
                };
                let relay = RelayId::new(slot as u32, 7);
                Verdict::ToPeer { relay, peer, data: body.start + 3..body.end, dont_fragment: false }
            }
            _ => Verdict::ToClient { client, data },
        }
    }

    fn handle_peer(&mut self, _: Instant, relay: RelayId, _: SocketAddr, packet: Packet<'_>) -> Verdict {
        let Packet { buffer, data } = packet;
        let start = data.start - 2;
        buffer[start..data.start].copy_from_slice(&(data.len() as u16).to_be_bytes());
        buffer[data.end..data.end + 4].fill(0xee); // as padding would be
        Verdict::ToClient { client: self.clients[relay.slot() as usize].0, data: start..data.end }
    }

    fn handle_relayed(&mut self, _: Instant, _: SocketAddr, _: SocketAddr, _: Packet<'_>) -> Verdict {
        Verdict::Nothing
    }

    fn handle_icmp(&mut self, _: Instant, relay: RelayId, peer: SocketAddr, icmp_type: u8, icmp_code: u8, _: u32) {
        let text = format!("icmp {icmp_type} {icmp_code} {}", peer.port());
        self.say(self.clients[relay.slot() as usize].0, text.as_bytes());
    }

    fn relay_opened(&mut self, _: Instant, relay: RelayId, result: Result<(), io::ErrorKind>) {
        let (client, port) = self.clients[relay.slot() as usize];
        match result {
            Ok(()) => self.say(client, &[&b"opened "[..], &port.to_be_bytes()].concat()),
            Err(_) => self.open(relay.slot() as usize), // another process was quicker
        }
    }

    fn handle_client_gone(&mut self, _: Instant, client: Flow) {
        let _ = self.gone.send(client);
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn close(&mut self, _: Instant) {}

    fn measure(bytes: &[u8]) -> Frame {
        let Some(head) = bytes.first_chunk::<2>() else { return Frame::NeedMore };
        let length = 2 + usize::from(u16::from_be_bytes(*head));
        match length {
            50_000.. => Frame::Lost,
            _ if bytes.len() < length => Frame::NeedMore,
            _ => Frame::Whole { length, total: length },
        }
    }
}

/// A running loop.
pub struct Running {
    pub relay: Relay<Forwarder>,
    gone: Receiver<Flow>,
}

impl Running {
    pub fn start(shards: u8, transports: &[Transport]) -> Self {
        Self::at(loopback(), shards, transports)
    }

    pub fn at(address: SocketAddr, shards: u8, transports: &[Transport]) -> Self {
        let listeners = transports.iter().map(|transport| Listener::plain(*transport, address)).collect();
        Self::listen(shards, listeners, RelayConfig::default())
    }

    pub fn listen(shards: u8, listeners: Vec<Listener>, config: RelayConfig) -> Self {
        let (sender, gone) = channel();
        let config = RelayConfig { shards, listeners, ..config };
        let relay = relay::start(config, Clock::start(), move |birth: RelayBirth| Forwarder {
            shard: birth.shard,
            shards: birth.shards,
            actions: VecDeque::new(),
            clients: Vec::new(),
            gone: sender.clone(),
        });
        Self { relay: relay.unwrap(), gone }
    }

    pub fn address(&self, transport: Transport) -> SocketAddr {
        self.relay.listening().iter().find(|it| it.transport == transport).unwrap().address
    }

    /// Of the first shard.
    pub fn counters(&self) -> RelayCounters {
        let (sender, receiver) = channel();
        self.relay.handle().run(0, move |_, counters, _| sender.send(*counters).unwrap()).unwrap();
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    pub fn client_is_gone_after(&self, act: impl FnOnce()) {
        act();
        self.gone.recv_timeout(PATIENCE).unwrap();
    }
}
