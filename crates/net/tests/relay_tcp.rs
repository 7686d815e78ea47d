//! The packet loop joins clients' connections with those of peers (RFC 6062), on whichever shards they are: with a small
//! machine in it, over real sockets.

mod common;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use common::{PATIENCE, each_family, loopback};
use farspeak_net::relay::{
    self, Action, Frame, Meter, PacketMachine, Relay, RelayBirth, RelayConfig, RelayCounters, RelayError,
};
use farspeak_net::{Clock, Listener};
use farspeak_sansio::{Flow, Instant, Packet, RelayId, Transmit, Transport, Verdict};

/// Messages are four bytes. `who?`: the shard. `c`, 0, port: connects to a peer; `con` and number. `b`, 0, shard, number:
/// joins this connection with that, which that shard has made; `bnd!`.
struct Joiner {
    shard: u8,
    actions: VecDeque<Action>,
    /// Who has asked for which connection.
    askers: Vec<Flow>,
    /// Who has asked for the shard.
    clients: Vec<Flow>,
    /// Of all connections that it joins.
    meter: Arc<Pace>,
}

/// Lets so many bytes pass in a second; 0: as many as come. Counts them each way.
#[derive(Default, Debug)]
struct Pace {
    bytes_per_second: usize,
    to_peer: AtomicUsize,
    to_client: AtomicUsize,
}

impl Pace {
    fn passed(&self) -> (usize, usize) {
        (self.to_peer.load(Ordering::SeqCst), self.to_client.load(Ordering::SeqCst))
    }
}

impl Meter for Pace {
    fn room(&self, now: Instant) -> Result<usize, Instant> {
        if self.bytes_per_second == 0 {
            return Ok(usize::MAX);
        }
        let (to_peer, to_client) = self.passed();
        let due = Duration::from_secs_f64((to_peer + to_client) as f64 / self.bytes_per_second as f64);
        if now.since_origin() < due { Err(Instant::ZERO + due) } else { Ok(1) }
    }

    fn moved(&self, _: Instant, to_peer: usize, to_client: usize) {
        self.to_peer.fetch_add(to_peer, Ordering::SeqCst);
        self.to_client.fetch_add(to_client, Ordering::SeqCst);
    }
}

impl Joiner {
    fn say(&mut self, flow: Flow, text: [u8; 4]) {
        self.actions.push_back(Action::Transmit(Transmit { flow, bytes: text.into() }));
    }
}

impl PacketMachine for Joiner {
    fn handle_client(&mut self, _: Instant, client: Flow, Packet { buffer, data }: Packet<'_>) -> Verdict {
        match buffer[data] {
            [b'w', ..] => {
                self.clients.push(client);
                self.say(client, [b'o', b'n', b' ', b'0' + self.shard]);
            }
            [b'c', _, high, low] => {
                let address = SocketAddr::new(client.local.ip(), 0);
                let peer = SocketAddr::new(client.local.ip(), u16::from_be_bytes([high, low]));
                self.actions.push_back(Action::Connect { connection: self.askers.len() as u32, address, peer });
                self.askers.push(client);
            }
            [b'b', _, shard, _] if shard != self.shard => return Verdict::ToHome { shard, waits: true },
            [b'b', _, _, number] => {
                self.say(client, *b"bnd!");
                self.actions.push_back(Action::Splice { connection: number.into(), client, meter: self.meter.clone() });
            }
            _ => {}
        }
        Verdict::Nothing
    }

    fn handle_peer(&mut self, _: Instant, _: RelayId, _: SocketAddr, _: Packet<'_>) -> Verdict {
        Verdict::Nothing
    }

    fn handle_relayed(&mut self, _: Instant, _: SocketAddr, _: SocketAddr, _: Packet<'_>) -> Verdict {
        Verdict::Nothing
    }

    fn handle_icmp(&mut self, _: Instant, _: RelayId, _: SocketAddr, _: u8, _: u8, _: u32) {}

    fn relay_opened(&mut self, _: Instant, _: RelayId, _: Result<(), io::ErrorKind>) {}

    fn connected(&mut self, _: Instant, connection: u32, result: Result<(), io::ErrorKind>) {
        result.unwrap();
        let asker = self.askers[connection as usize];
        self.say(asker, [b'c', b'o', b'n', connection as u8]);
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

    fn measure(bytes: &[u8]) -> Frame {
        match bytes {
            [0xff, ..] => Frame::Lost,
            [_, _, _, _, ..] => Frame::Whole { length: 4, total: 4 },
            _ => Frame::NeedMore,
        }
    }
}

fn start(address: SocketAddr, shards: u8) -> Relay<Joiner> {
    start_with(address, shards, Arc::default())
}

fn start_with(address: SocketAddr, shards: u8, meter: Arc<Pace>) -> Relay<Joiner> {
    let listeners = vec![Listener::plain(Transport::Tcp, address)];
    let config = RelayConfig { shards, listeners, ..RelayConfig::default() };
    let make = move |birth: RelayBirth| Joiner {
        shard: birth.shard,
        actions: VecDeque::new(),
        askers: Vec::new(),
        clients: Vec::new(),
        meter: meter.clone(),
    };
    relay::start(config, Clock::start(), make).unwrap()
}

fn hears(stream: &mut TcpStream) -> [u8; 4] {
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer comes");
    answer
}

/// A client's connection, and the shard that the kernel gave it to.
fn client(relay: &Relay<Joiner>) -> (TcpStream, u8) {
    let mut client = TcpStream::connect(relay.listening()[0].address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"who?").unwrap();
    let [b'o', b'n', b' ', shard] = hears(&mut client) else { panic!("no shard") };
    (client, shard - b'0')
}

/// A client's connection on that shard.
fn client_on(relay: &Relay<Joiner>, wanted: u8) -> TcpStream {
    std::iter::repeat_with(|| client(relay)).find(|(_, shard)| *shard == wanted).unwrap().0
}

/// A peer that the client of that shard's has connected to, and the number of the connection.
fn peer(relay: &Relay<Joiner>, shard: u8) -> (TcpStream, u8) {
    let listener = TcpListener::bind((relay.listening()[0].address.ip(), 0)).unwrap();
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    let mut control = client_on(relay, shard);
    control.write_all(&[b'c', 0, high, low]).unwrap();
    let [b'c', b'o', b'n', number] = hears(&mut control) else { panic!("not connected") };
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (peer, number)
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Keeps a shard busy until what it returns is dropped.
fn occupy(relay: &Relay<Joiner>, shard: u8) -> Sender<()> {
    let (go, gate) = channel();
    let (entered, inside) = channel();
    let wait = move |_: &mut Joiner, _: &RelayCounters, _| {
        entered.send(()).unwrap();
        let _ = gate.recv();
    };
    relay.handle().run(shard, wait).unwrap();
    inside.recv().unwrap();
    go
}

/// Asks a shard something. What was left for it before it came to that is done then.
fn ask<R: Send + 'static>(
    relay: &Relay<Joiner>,
    shard: u8,
    question: impl FnOnce(&mut Joiner, &RelayCounters) -> R + Send + 'static,
) -> R {
    let (sender, receiver) = channel();
    relay.handle().run(shard, move |joiner, counters, _| sender.send(question(joiner, counters)).unwrap()).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn what_a_client_sends_before_the_answer_reaches_the_peer_whichever_shard_has_the_connection() {
    // No messages of the machine's: taken for such, they would end the connection.
    let early = [0xff; 3001];
    each_family(|address| {
        let relay = start(address, 2);
        for home in [0, 1] {
            for shard in [0, 1] {
                let (mut peer, number) = peer(&relay, home);
                let mut data = client_on(&relay, shard);
                data.write_all(&[&[b'b', 0, home, number][..], &early].concat()).unwrap();
                assert_eq!(hears(&mut data), *b"bnd!");
                peer.write_all(b"from the peer").unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_all(&mut data), b"from the peer");
                data.write_all(b"and later").unwrap();
                data.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_all(&mut peer), [&early[..], b"and later"].concat());
            }
        }
    });
}

#[test]
fn a_full_inbox_does_not_keep_a_client_from_its_peer() {
    let relay = start(loopback(), 2);
    let (mut peer, number) = peer(&relay, 0);
    let mut data = client_on(&relay, 1);
    let home_is_busy = occupy(&relay, 0);
    data.write_all(&[b'b', 0, 0, number]).unwrap();
    while ask(&relay, 1, |_, counters| counters.handed_over) == 0 {}
    let other_is_busy = occupy(&relay, 1);
    while relay.handle().run(1, |_, _, _| ()) != Err(RelayError::Busy) {}
    drop(home_is_busy);
    ask(&relay, 0, |_, _| ()); // it has given the peer's connection away by then
    drop(other_is_busy);
    assert_eq!(hears(&mut data), *b"bnd!");
    data.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

#[test]
fn a_machine_closes_a_client_of_another_shard() {
    let relay = start(loopback(), 2);
    let mut there = client_on(&relay, 1);
    let flow = ask(&relay, 1, |joiner, _| joiner.clients.pop().unwrap());
    ask(&relay, 0, move |joiner, _| joiner.actions.push_back(Action::CloseClient(flow)));
    assert_eq!(read_all(&mut there), b"");
}

#[test]
fn a_client_whose_peer_has_gone_learns_it_by_the_end_of_its_connection() {
    let relay = start(loopback(), 2);
    for shard in [0, 1] {
        let mut data = client_on(&relay, shard);
        data.write_all(&[b'b', 0, 0, 200]).unwrap(); // no such connection
        assert!(matches!(&read_all(&mut data)[..], b"" | b"bnd!"));
    }
}

#[test]
fn connections_wait_for_their_meter_and_it_hears_of_every_byte() {
    const MEGABYTE: usize = 1 << 20;
    for shard in [0, 1] {
        let begun = std::time::Instant::now();
        let meter = Arc::new(Pace { bytes_per_second: MEGABYTE, ..Pace::default() });
        let relay = start_with(loopback(), 2, meter.clone());
        let (mut peer, number) = peer(&relay, 0);
        let mut data = client_on(&relay, shard);
        data.write_all(&[b'b', 0, 0, number]).unwrap();
        assert_eq!(hears(&mut data), *b"bnd!");
        let (mut reads, mut writes) = (data.try_clone().unwrap(), peer.try_clone().unwrap());
        let there = std::thread::spawn(move || {
            data.write_all(&[1; MEGABYTE]).unwrap();
            data.shutdown(Shutdown::Write).unwrap();
        });
        let back = std::thread::spawn(move || {
            writes.write_all(&[2; MEGABYTE]).unwrap();
            writes.shutdown(Shutdown::Write).unwrap();
        });
        let reads = std::thread::spawn(move || read_all(&mut reads));
        assert!(read_all(&mut peer) == [1; MEGABYTE]);
        assert!(reads.join().unwrap() == [2; MEGABYTE]);
        there.join().unwrap();
        back.join().unwrap();
        assert_eq!(meter.passed(), (MEGABYTE, MEGABYTE));
        // Counted from the relay's start, and all but what is read at once.
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
