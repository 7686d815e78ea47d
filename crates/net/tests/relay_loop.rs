//! The packet loop with a small forwarder in it, over real sockets: datagrams there and back, trains, connections with TLS
//! and without, slow readers, ICMP, hand-over between shards.

mod common;
mod forwarder;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{PATIENCE, certificates, client_config, each_family, localhost, loopback};
use farspeak_net::relay::{Handover, RelayConfig};
use farspeak_net::{CertificateStore, Listener, StreamConfig, server_config_for};
use farspeak_sansio::Transport;
use forwarder::{Running, message};

fn socket(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("something comes in time");
    buffer[..length].to_vec()
}

/// A client with a relay socket, its peer, and the peer's port.
fn pair(running: &Running) -> (UdpSocket, UdpSocket) {
    let listening = running.address(Transport::Udp);
    let any = SocketAddr::new(listening.ip(), 0);
    let (client, peer) = (socket(any), socket(any));
    client.connect(listening).unwrap();
    client.send(&message(b"open")).unwrap();
    let answer = receive(&client);
    let port = u16::from_be_bytes(answer[answer.len() - 2..].try_into().unwrap());
    peer.connect(SocketAddr::new(listening.ip(), port)).unwrap();
    client.send(&forwarder::to(peer.local_addr().unwrap().port(), b"hello")).unwrap();
    assert_eq!(receive(&peer), b"hello");
    (client, peer)
}

#[test]
fn relays_there_and_back() {
    each_family(|address| {
        let running = Running::at(address, 1, &[Transport::Udp]);
        let (client, peer) = pair(&running);
        peer.send(b"and back").unwrap();
        assert_eq!(receive(&client), message(b"and back"));
        peer.send(b"").unwrap();
        assert_eq!(receive(&client), message(b""));
    });
}

#[test]
fn trains_keep_order_and_boundaries() {
    // Runs of one size, shorter last ones, single ones, long ones.
    let sizes: Vec<usize> =
        [vec![172; 40], vec![900; 9], vec![20, 1200, 1200, 7, 0, 1400, 1400, 1400, 3], vec![172; 30]].concat();
    let datagrams: Vec<Vec<u8>> = sizes.iter().zip(0..).map(|(size, number)| vec![number; *size]).collect();
    each_family(|address| {
        let running = Running::at(address, 1, &[Transport::Udp]);
        let (client, peer) = pair(&running);
        let port = peer.local_addr().unwrap().port();
        // Never more at once than each socket on the way has room for.
        for some in datagrams.chunks(20) {
            some.iter().for_each(|one| assert!(client.send(&forwarder::to(port, one)).is_ok()));
            some.iter().for_each(|one| assert_eq!(receive(&peer), *one));
        }
        for some in datagrams.chunks(20) {
            some.iter().for_each(|one| assert!(peer.send(one).is_ok()));
            some.iter().for_each(|one| assert_eq!(receive(&client), message(one)));
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_train_of_one_flow_is_sent_in_few_calls() {
    use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
    each_family(|address| {
        let running = Running::at(address, 1, &[Transport::Udp]);
        let (client, peer) = pair(&running);
        let before = running.counters();
        let one = forwarder::to(peer.local_addr().unwrap().port(), &[7; 200]);
        setsockopt(&client, UdpGsoSegment, &(one.len() as i32)).unwrap();
        client.send(&one.repeat(40)).unwrap();
        for _ in 0..40 {
            assert_eq!(receive(&peer), [7; 200]);
        }
        let after = running.counters();
        assert_eq!(after.peer_datagrams_sent - before.peer_datagrams_sent, 40);
        assert!(after.send_calls - before.send_calls <= 4, "{} calls", after.send_calls - before.send_calls);
    });
}

#[test]
fn a_wildcard_listener_answers_from_the_address_asked() {
    each_family(|address| {
        let (any, asked) = if address.is_ipv4() { ("0.0.0.0:0", "127.0.0.9") } else { ("[::]:0", "::1") };
        let running = Running::at(any.parse().unwrap(), 1, &[Transport::Udp]);
        let client = socket(address);
        client.connect(SocketAddr::new(asked.parse().unwrap(), running.address(Transport::Udp).port())).unwrap();
        client.send(&message(b"echo")).unwrap();
        assert_eq!(receive(&client), message(b"echo"));
    });
}

#[test]
fn a_peer_that_is_not_there_is_reported() {
    each_family(|address| {
        let running = Running::at(address, 1, &[Transport::Udp]);
        let (client, peer) = pair(&running);
        let port = peer.local_addr().unwrap().port();
        drop(peer);
        client.send(&forwarder::to(port, b"anybody?")).unwrap();
        let unreachable = if address.is_ipv4() { "3 3" } else { "1 4" }; // RFC 792, RFC 4443 §3.1
        assert_eq!(receive(&client), message(format!("icmp {unreachable} {port}").as_bytes()));
        // What was told once does not keep the loop awake.
        let before = running.counters().turns;
        client.send(&message(b"echo")).unwrap();
        assert_eq!(receive(&client), message(b"echo"));
        assert!(running.counters().turns - before <= 8);
    });
}

#[test]
fn packets_for_another_shard_reach_it() {
    let running = Running::start(2, &[Transport::Udp]);
    // The kernel spreads clients over shards: whichever gets it hands it to the other.
    for _ in 0..8 {
        let client = socket(loopback());
        client.connect(running.address(Transport::Udp)).unwrap();
        client.send(&message(b"home")).unwrap();
        let answer = receive(&client);
        assert!(answer.ends_with(b"at home"), "{answer:?}");
    }
}

#[test]
fn connections_carry_messages_cut_anyhow() {
    each_family(|address| {
        let running = Running::at(address, 1, &[Transport::Tcp]);
        let mut client = connect(running.address(Transport::Tcp));
        client.set_nodelay(true).unwrap();
        let all = [message(b"echo one"), message(b"echo two and more"), message(&[b'e'; 5000])].concat();
        for piece in all.chunks(1021) {
            client.write_all(piece).unwrap();
        }
        let mut answers = vec![0; all.len()];
        client.read_exact(&mut answers).unwrap();
        assert!(answers == all);
        running.client_is_gone_after(|| drop(client));
    });
}

#[test]
fn tls_carries_them_too_and_says_goodbye() {
    each_family(tls_carries_them_at);
}

fn tls_carries_them_at(address: SocketAddr) {
    let (root, identities) = certificates();
    let tls = server_config_for(CertificateStore::new(identities), &["stun.turn"]).unwrap();
    let listener = Listener::secure(Transport::Tls, address, tls);
    let running = Running::listen(1, vec![listener], RelayConfig::default());
    let mut socket = connect(running.address(Transport::Tls));
    let mut connection = rustls::ClientConnection::new(Arc::new(client_config(&root)), localhost()).unwrap();
    let mut tls = rustls::Stream::new(&mut connection, &mut socket);
    let all: Vec<u8> = (0..60).flat_map(|number| message(&[b'e', number, 3, 4])).collect();
    tls.write_all(&all).unwrap();
    let mut answers = vec![0; all.len()];
    tls.read_exact(&mut answers).unwrap();
    assert!(answers == all);
    let long = message(&[b'e'; 40_000]);
    tls.write_all(&long).unwrap();
    let mut answers = vec![0; long.len()];
    tls.read_exact(&mut answers).unwrap();
    assert!(answers == long);
    drop(running);
    assert_eq!(tls.read(&mut [0; 10]).unwrap(), 0, "a goodbye, not a broken stream");
}

#[test]
fn a_connection_out_of_step_is_closed() {
    let running = Running::start(1, &[Transport::Tcp]);
    let mut client = connect(running.address(Transport::Tcp));
    client.write_all(&[0xff; 20]).unwrap();
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(running.counters().streams_broken, 1);
}

#[test]
fn a_reader_that_stalls_loses_media_and_nobody_else_does() {
    let running = Running::start(1, &[Transport::Udp, Transport::Tcp]);
    let mut stalled = connect(running.address(Transport::Tcp));
    stalled.write_all(&message(b"open")).unwrap();
    let mut answer = [0; 100];
    let length = stalled.read(&mut answer).unwrap();
    let port = u16::from_be_bytes(answer[length - 2..length].try_into().unwrap());
    let flood = socket(loopback());
    flood.connect(SocketAddr::new(loopback().ip(), port)).unwrap();
    let (client, peer) = pair(&running);
    let begin = Instant::now();
    while running.counters().stream_messages_dropped < 1000 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", running.counters());
        for _ in 0..200 {
            let _ = flood.send(&[9; 1000]);
        }
        peer.send(b"on time").unwrap();
        assert_eq!(receive(&client), message(b"on time"));
    }
    // What it gets when it reads again is whole messages.
    let stop = AtomicBool::new(false);
    let mut bytes = vec![0; 500_000];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = flood.send(&[9; 1000]);
            }
        });
        let read = stalled.read_exact(&mut bytes);
        stop.store(true, Ordering::Relaxed);
        read.unwrap();
    });
    let expected = message(&[9; 1000]);
    assert!(bytes.chunks_exact(expected.len()).all(|one| one == expected));
}

#[test]
fn a_flood_does_not_starve_others() {
    let running = Running::start(1, &[Transport::Udp]);
    let (client, peer) = pair(&running);
    let address = running.address(Transport::Udp);
    let stop = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let socket = UdpSocket::bind(loopback()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let _ = socket.send_to(&message(b"quiet"), address);
            }
        }
    });
    // Starved would mean never: how long a round takes is the machine's affair, which may have much else to do.
    for _ in 0..50 {
        peer.send(b"not lost").unwrap();
        assert_eq!(receive(&client), message(b"not lost"));
    }
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}

#[test]
fn who_says_nothing_is_cut_off() {
    let config = RelayConfig {
        stream: StreamConfig {
            first_message_timeout: Duration::from_millis(50),
            sweep: Duration::from_millis(20),
            ..StreamConfig::default()
        },
        ..RelayConfig::default()
    };
    let running = Running::listen(1, vec![Listener::plain(Transport::Tcp, loopback())], config);
    let mut client = connect(running.address(Transport::Tcp));
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(running.counters().handshakes_timed_out, 1);
}

/// What a load balancer says before the client does.
fn proxy_header(source: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &source[..], &[198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb]].concat()
}

fn behind_a_balancer(stream: StreamConfig) -> Running {
    let config = RelayConfig { proxies: Arc::new(|source| source.is_loopback()), stream, ..RelayConfig::default() };
    Running::listen(1, vec![Listener::plain(Transport::Tcp, loopback())], config)
}

fn hears(client: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

#[test]
fn a_load_balancer_tells_who_connects() {
    let running = behind_a_balancer(StreamConfig::default());
    let mut client = connect(running.address(Transport::Tcp));
    client.write_all(&[proxy_header([192, 0, 2, 1]), message(b"who")].concat()).unwrap();
    hears(&mut client, &message(b"192.0.2.1:4660"));
    let mut liar = connect(running.address(Transport::Tcp));
    liar.write_all(&message(b"echo: no header from me")).unwrap();
    assert!(matches!(liar.read(&mut [0; 100]), Ok(0) | Err(_)));
    assert_eq!(running.counters().proxy_headers_refused, 1);
}

#[test]
fn clients_behind_a_load_balancer_count_by_themselves_and_only_their_handshakes_as_handshakes() {
    let running = behind_a_balancer(StreamConfig {
        max_handshakes: 1,
        max_connections_per_source: 1,
        spare_loopback: false,
        ..StreamConfig::default()
    });
    let mut served = Vec::new();
    for last in 1..=3 {
        let mut client = connect(running.address(Transport::Tcp));
        client.write_all(&[proxy_header([192, 0, 2, last]), message(b"echo")].concat()).unwrap();
        hears(&mut client, &message(b"echo"));
        served.push(client);
    }
    let mut again = connect(running.address(Transport::Tcp));
    again.write_all(&[proxy_header([192, 0, 2, 1]), message(b"echo")].concat()).unwrap();
    assert!(matches!(again.read(&mut [0; 100]), Ok(0) | Err(_)));
    assert_eq!(running.relay.connections()[0].connections_refused.get(), 1);
}

#[test]
fn a_connection_accepted_elsewhere_is_taken_over() {
    let running = Running::start(1, &[Transport::Udp]);
    let elsewhere = std::net::TcpListener::bind(loopback()).unwrap();
    let mut client = connect(elsewhere.local_addr().unwrap());
    client.write_all(&message(b"echo, early")).unwrap();
    let (tcp, remote) = elsewhere.accept().unwrap();
    let local = tcp.local_addr().unwrap();
    assert_eq!(tcp.peek(&mut [0; 1]).unwrap(), 1); // the bytes are there before the loop sees the socket
    running.relay.handle().take_over(0, Handover { tcp, tls: None, local, remote }).unwrap();
    let mut answer = vec![0; message(b"echo, early").len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, message(b"echo, early"));
}

#[test]
fn tls_accepted_elsewhere_is_taken_over_with_what_it_has_read_already() {
    let (root, identities) = certificates();
    let config = server_config_for(CertificateStore::new(identities), &["stun.turn"]).unwrap();
    let running = Running::start(1, &[Transport::Udp]);
    let elsewhere = std::net::TcpListener::bind(loopback()).unwrap();
    let socket = connect(elsewhere.local_addr().unwrap());
    let (early, late) = (message(b"echo, early"), message(b"echo, late"));
    let client = std::thread::spawn({
        let all = [early.clone(), late.clone()].concat();
        move || {
            let connection = rustls::ClientConnection::new(Arc::new(client_config(&root)), localhost()).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, socket);
            tls.write_all(&early).unwrap();
            let mut answers = vec![0; early.len()];
            tls.read_exact(&mut answers).unwrap();
            tls.write_all(&late).unwrap();
            answers.resize(all.len(), 0);
            tls.read_exact(&mut answers[early.len()..]).unwrap();
            assert_eq!(answers, all);
        }
    });
    let (mut tcp, remote) = elsewhere.accept().unwrap();
    let mut tls = Box::new(rustls::ServerConnection::new(config).unwrap());
    while tls.process_new_packets().unwrap().plaintext_bytes_to_read() == 0 {
        while tls.wants_write() {
            tls.write_tls(&mut tcp).unwrap();
        }
        tls.read_tls(&mut tcp).unwrap();
    }
    let local = tcp.local_addr().unwrap();
    running.relay.handle().take_over(0, Handover { tcp, tls: Some(tls), local, remote }).unwrap();
    client.join().unwrap();
}

#[test]
fn contains_a_panic_of_the_machine() {
    let running = Running::start(1, &[Transport::Udp]);
    let client = socket(loopback());
    client.connect(running.address(Transport::Udp)).unwrap();
    client.send(&message(b"panic")).unwrap();
    client.send(&message(b"echo")).unwrap();
    assert_eq!(receive(&client), message(b"echo"));
    assert_eq!(running.counters().panics, 1);
}
