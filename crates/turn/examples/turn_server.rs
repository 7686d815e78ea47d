//! A TURN server over UDP, a thread for each socket: `turn_server 192.0.2.1:3478 alice secret`.
//!
//! Peers on the same machine or network are refused, as they should be; prefixes behind the password let them pass:
//! `turn_server 127.0.0.1:3478 alice secret 127.0.0.1`. This is the example of the README.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Rng, Transport};
use farspeak_turn::{
    Action, HEADROOM, Packet, RelayAddress, RelayId, RelayRefused, Server, ServerConfig, StaticAccounts, TAILROOM,
    Verdict,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, user, password, allow @ ..] = &arguments[..] else { return Err("ADDRESS:PORT USER PASSWORD".into()) };
    let listener = Arc::new(UdpSocket::bind(address)?);
    let (local, mut relays) = (listener.local_addr()?, HashMap::<_, Arc<UdpSocket>>::new());
    let mut key = [0; 32];
    System.fill(&mut key);
    let mut config = ServerConfig::new("example.org", vec![RelayAddress::plain(local.ip())], key);
    config.policy.allow = allow.iter().map(|prefix| prefix.parse()).collect::<Result<_, _>>()?;
    let accounts = StaticAccounts::new("example.org").with(user, password)?;
    let mut server = Server::new(config, Box::new(accounts), Arc::default(), Box::new(System));
    let (sender, inbox) = mpsc::sync_channel(1000);
    read(&listener, None, &sender);
    let start = std::time::Instant::now();
    let now = || Instant::ZERO + start.elapsed();
    loop {
        let wait = server.poll_timeout().map_or(Duration::from_secs(60), |at| at - now());
        if let Ok((relay, from, mut buffer)) = inbox.recv_timeout(wait) {
            let packet = Packet { data: HEADROOM..buffer.len() - TAILROOM, buffer: &mut buffer };
            match match relay {
                None => server.handle_client(now(), Flow::unbound(Transport::Udp, local, from), packet),
                Some(relay) => server.handle_peer(now(), relay, from, packet),
            } {
                Verdict::ToClient { client, data } => _ = listener.send_to(&buffer[data], client.remote),
                Verdict::ToPeer { relay, peer, data, .. } => _ = relays[&relay].send_to(&buffer[data], peer),
                _ => {} // dropped; or for another shard, of which there is none
            }
        }
        server.handle_timeout(now());
        while let Some(action) = server.poll_action() {
            match action {
                Action::Transmit(answer) => _ = listener.send_to(&answer.bytes, answer.flow.remote),
                Action::Open { relay, address, .. } => {
                    let opened = UdpSocket::bind(address).map(|socket| relays.insert(relay, Arc::new(socket)));
                    relays.get(&relay).into_iter().for_each(|socket| read(socket, Some(relay), &sender));
                    server.relay_opened(now(), relay, opened.map(drop).map_err(|_| RelayRefused::InUse));
                }
                Action::Close { relay } => drop(relays.remove(&relay)),
                _ => {} // about streams, of which there are none
            }
        }
    }
}

/// From which socket, from whom, what; with the room around it.
type Received = (Option<RelayId>, SocketAddr, Vec<u8>);

/// Reads a socket for as long as somebody else has it.
fn read(socket: &Arc<UdpSocket>, relay: Option<RelayId>, inbox: &mpsc::SyncSender<Received>) {
    let (socket, inbox) = (Arc::downgrade(socket), inbox.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; HEADROOM + 65_535 + TAILROOM];
        while let Some(socket) = socket.upgrade() {
            let _ = socket.set_read_timeout(Some(Duration::from_secs(1)));
            let Ok((length, from)) = socket.recv_from(&mut buffer[HEADROOM..]) else { continue };
            // Who sends more than is read loses it, as in a socket's own buffer.
            let _ = inbox.try_send((relay, from, buffer[..HEADROOM + length + TAILROOM].to_vec()));
        }
    });
}

/// The system's randomness.
struct System;

impl Rng for System {
    fn next_u64(&mut self) -> u64 {
        let (mut bytes, file) = ([0; 8], std::fs::File::open("/dev/urandom"));
        file.and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes)).expect("every Unix has it");
        u64::from_ne_bytes(bytes)
    }
}
