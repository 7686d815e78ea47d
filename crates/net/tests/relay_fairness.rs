//! Nobody's packets wait for many others': a listener, which all clients share, beside many busy relay sockets.

mod common;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::channel;

use common::{PATIENCE, loopback};
use farspeak_net::relay::{self, Action, Frame, PacketMachine, RelayBirth, RelayConfig, RelayCounters};
use farspeak_net::{Clock, Listener};
use farspeak_sansio::{Flow, Instant, Packet, RelayId, Transport, Verdict};

/// Counts what it is shown.
#[derive(Default)]
struct Count {
    actions: VecDeque<Action>,
    opened: usize,
    from_peers: usize,
    /// How many packets of peers came before each of a client.
    before: Vec<usize>,
}

impl PacketMachine for Count {
    fn handle_client(&mut self, _: Instant, _: Flow, _: Packet<'_>) -> Verdict {
        self.before.push(self.from_peers);
        Verdict::Nothing
    }

    fn handle_peer(&mut self, _: Instant, _: RelayId, _: SocketAddr, _: Packet<'_>) -> Verdict {
        self.from_peers += 1;
        Verdict::Nothing
    }

    fn handle_relayed(&mut self, _: Instant, _: SocketAddr, _: SocketAddr, _: Packet<'_>) -> Verdict {
        Verdict::Nothing
    }

    fn handle_icmp(&mut self, _: Instant, _: RelayId, _: SocketAddr, _: u8, _: u8, _: u32) {}

    fn relay_opened(&mut self, _: Instant, _: RelayId, result: Result<(), io::ErrorKind>) {
        self.opened += usize::from(result.is_ok());
    }

    fn handle_client_gone(&mut self, _: Instant, _: Flow) {}

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn close(&mut self, _: Instant) {}

    fn measure(_: &[u8]) -> Frame {
        Frame::Lost
    }
}

#[test]
fn clients_do_not_wait_for_many_busy_relay_sockets() {
    let listeners = vec![Listener::plain(Transport::Udp, loopback())];
    let config = RelayConfig { shards: 1, listeners, ..RelayConfig::default() };
    let relay = relay::start(config, Clock::start(), |_: RelayBirth| Count::default()).unwrap();
    let ask = |question: Box<dyn FnOnce(&mut Count) -> usize + Send>| {
        let (sender, receiver) = channel();
        relay.handle().run(0, move |count, _, _| sender.send(question(count)).unwrap()).unwrap();
        receiver.recv_timeout(PATIENCE).unwrap()
    };
    // Ports that were free a moment ago; one that is not any more is one less.
    let reserved: Vec<_> = (0..RELAYS).map(|_| UdpSocket::bind(loopback()).unwrap()).collect();
    let addresses: Vec<_> = reserved.iter().map(|socket| socket.local_addr().unwrap()).collect();
    drop(reserved);
    let open = addresses.clone();
    ask(Box::new(move |count| {
        let relays = (0..).map(|slot| RelayId::new(slot, 1));
        count.actions.extend(relays.zip(open).map(|(relay, address)| Action::Open { relay, address }));
        0
    }));
    assert!(ask(Box::new(|count| count.opened)) > RELAYS / 2);
    // While the loop is kept busy, packets gather everywhere.
    let (go, gate) = channel::<()>();
    let (entered, inside) = channel();
    let wait = move |_: &mut Count, _: &RelayCounters, _| {
        entered.send(()).unwrap();
        let _ = gate.recv();
    };
    relay.handle().run(0, wait).unwrap();
    inside.recv().unwrap();
    let sender = UdpSocket::bind(loopback()).unwrap();
    for _ in 0..PACKETS {
        for address in &addresses {
            let _ = sender.send_to(b"from a peer", address);
        }
    }
    for _ in 0..CLIENTS {
        sender.send_to(b"from a client", relay.listening()[0].address).unwrap();
    }
    drop(go);
    let begin = std::time::Instant::now();
    while ask(Box::new(|count| count.before.len())) < CLIENTS {
        assert!(begin.elapsed() < PATIENCE, "some of a client's are lost");
    }
    let before = ask(Box::new(|count| count.before[CLIENTS - 1]));
    assert!(before < 3 * RELAYS, "{before} packets of peers came before {CLIENTS} of clients");
}

const RELAYS: usize = 200;
/// For each relay socket.
const PACKETS: usize = 20;
/// As many as the smallest buffer of a listener holds.
const CLIENTS: usize = 150;
