//! A TURN server over UDP in forty lines, a thread for each socket: `turn_server ADDRESS:3478 USER PASSWORD`.
//!
//! Peers on the same machine or network are refused, as they should be; `--allow 127.0.0.1` (or `10.0.0.0/8`) after it lets
//! them pass, and `--rfc5766-channels` is for coturn's tools before 4.16:
//!
//! ```text
//! turnutils_peer -L 127.0.0.1 -p 3480 &
//! turn_server 127.0.0.1:3478 user pass --allow 127.0.0.1 --rfc5766-channels &
//! turnutils_uclient -u user -w pass -e 127.0.0.1 -r 3480 127.0.0.1
//! ```

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Rng, Transport};
use farspeak_turn::{
    Action, Packet, RelayAddress, RelayId, RelayRefused, Server, ServerConfig, StaticAccounts, Verdict,
};

// README: begin
struct Relay {
    listener: Arc<UdpSocket>,
    relays: Vec<Option<(RelayId, Arc<UdpSocket>)>>, // by RelayId::slot
    packets: Sender<(Option<RelayId>, SocketAddr, Vec<u8>)>,
}

fn serve(mut server: Server, mut io: Relay, inbox: Receiver<(Option<RelayId>, SocketAddr, Vec<u8>)>) {
    let start = std::time::Instant::now();
    let now = || Instant::ZERO + start.elapsed();
    let local = io.listener.local_addr().expect("it is bound");
    loop {
        let wait = server.poll_timeout().map_or(Duration::from_secs(60), |at| at - now());
        match inbox.recv_timeout(wait) {
            Ok((relay, from, mut buffer)) => {
                let data = farspeak_turn::HEADROOM..buffer.len() - farspeak_turn::TAILROOM;
                let packet = Packet { buffer: &mut buffer, data };
                let client = Flow::unbound(Transport::Udp, local, from);
                let verdict = match relay {
                    None => server.handle_client(now(), client, packet),
                    Some(relay) => server.handle_peer(now(), relay, from, packet),
                };
                match verdict {
                    Verdict::ToClient { client, data } => _ = io.listener.send_to(&buffer[data], client.remote),
                    Verdict::ToPeer { relay, peer, data, .. } => {
                        let socket = io.relays[relay.slot()].as_ref();
                        socket.into_iter().for_each(|(_, socket)| _ = socket.send_to(&buffer[data.clone()], peer));
                    }
                    _ => {} // dropped, or for another shard: there is none
                }
            }
            Err(RecvTimeoutError::Timeout) => server.handle_timeout(now()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(action) = server.poll_action() {
            match action {
                Action::Transmit(answer) => _ = io.listener.send_to(&answer.bytes, answer.flow.remote),
                Action::Open { relay, address, .. } => server.relay_opened(now(), relay, io.open(relay, address)),
                Action::Close { relay } => io.relays[relay.slot()] = None, // its thread ends within a second
                _ => {}                                                    // streams: there are none
            }
        }
    }
}
// README: end

impl Relay {
    fn open(&mut self, relay: RelayId, address: SocketAddr) -> Result<(), RelayRefused> {
        let socket = Arc::new(UdpSocket::bind(address).map_err(|_| RelayRefused::InUse)?);
        self.relays.resize(self.relays.len().max(relay.slot() + 1), None);
        self.relays[relay.slot()] = Some((relay, socket.clone()));
        read(socket, Some(relay), self.packets.clone());
        Ok(())
    }
}

/// Reads from a socket until nobody else holds it.
fn read(socket: Arc<UdpSocket>, relay: Option<RelayId>, packets: Sender<(Option<RelayId>, SocketAddr, Vec<u8>)>) {
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a second is no zero");
    std::thread::spawn(move || {
        let mut datagram = [0; 65_535];
        while Arc::strong_count(&socket) > 1 {
            let Ok((length, from)) = socket.recv_from(&mut datagram) else { continue };
            let (head, tail) = ([0; farspeak_turn::HEADROOM], [0; farspeak_turn::TAILROOM]);
            if packets.send((relay, from, [&head, &datagram[..length], &tail].concat())).is_err() {
                return;
            }
        }
    });
}

/// The system's randomness.
struct System;

impl Rng for System {
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill(&mut self, out: &mut [u8]) {
        let mut file = std::fs::File::open("/dev/urandom").expect("every Unix has it");
        std::io::Read::read_exact(&mut file, out).expect("it never ends");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, user, password, rest @ ..] = &arguments[..] else {
        return Err("turn_server ADDRESS:PORT USER PASSWORD [--allow PREFIX]".into());
    };
    let listener = Arc::new(UdpSocket::bind(address)?);
    let mut key = [0; 32];
    System.fill(&mut key);
    let relay = RelayAddress::plain(listener.local_addr()?.ip());
    let mut config = ServerConfig::new("example.org", vec![relay], key);
    config.rfc5766_channels = rest.iter().any(|argument| argument == "--rfc5766-channels");
    for prefix in rest.iter().filter(|argument| !argument.starts_with("--")) {
        config.policy.allow.push(prefix.parse()?);
    }
    let accounts = StaticAccounts::new("example.org").with(user, password)?;
    let server = Server::new(config, Box::new(accounts), Arc::default(), Box::new(System));
    let (packets, inbox) = channel();
    read(listener.clone(), None, packets.clone());
    serve(server, Relay { listener, relays: Vec::new(), packets }, inbox);
    Ok(())
}
