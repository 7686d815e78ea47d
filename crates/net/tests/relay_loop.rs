//! The packet loop with a small forwarder in it, over real sockets: datagrams there and back, trains, connections with TLS
//! and without, slow readers, ICMP, hand-over between shards.

mod common;
mod forwarder;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{certificates, client_config, localhost, loopback};
use farspeak_net::relay::{Handover, RelayConfig};
use farspeak_net::{CertificateStore, Listener, StreamConfig, server_config_for};
use farspeak_sansio::Transport;
use forwarder::{Running, message};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("something comes in time");
    buffer[..length].to_vec()
}

/// A client with a relay socket, its peer, and the peer's port.
fn pair(running: &Running) -> (UdpSocket, UdpSocket) {
    let (client, peer) = (socket(), socket());
    client.connect(running.address(Transport::Udp)).unwrap();
    client.send(&message(b"open")).unwrap();
    let answer = receive(&client);
    let port = u16::from_be_bytes(answer[answer.len() - 2..].try_into().unwrap());
    peer.connect(SocketAddr::new(loopback().ip(), port)).unwrap();
    client.send(&forwarder::to(peer.local_addr().unwrap().port(), b"hello")).unwrap();
    assert_eq!(receive(&peer), b"hello");
    (client, peer)
}

#[test]
fn relays_there_and_back() {
    let running = Running::start(1, &[Transport::Udp]);
    let (client, peer) = pair(&running);
    peer.send(b"and back").unwrap();
    assert_eq!(receive(&client), message(b"and back"));
    peer.send(b"").unwrap();
    assert_eq!(receive(&client), message(b""));
}

#[test]
fn trains_keep_order_and_boundaries() {
    let running = Running::start(1, &[Transport::Udp]);
    let (client, peer) = pair(&running);
    let port = peer.local_addr().unwrap().port();
    // Runs of one size, shorter last ones, single ones, long ones.
    let sizes: Vec<usize> =
        [vec![172; 40], vec![900; 9], vec![20, 1200, 1200, 7, 0, 1400, 1400, 1400, 3], vec![172; 30]].concat();
    for (number, size) in sizes.iter().enumerate() {
        client.send(&forwarder::to(port, &vec![number as u8; *size])).unwrap();
        if number % 16 == 15 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    for (number, size) in sizes.iter().enumerate() {
        assert_eq!(receive(&peer), vec![number as u8; *size], "datagram {number}");
    }
    for (number, size) in sizes.iter().enumerate() {
        peer.send(&vec![number as u8; *size]).unwrap();
    }
    for (number, size) in sizes.iter().enumerate() {
        assert_eq!(receive(&client), message(&vec![number as u8; *size]), "datagram {number}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_train_of_one_flow_is_sent_in_few_calls() {
    use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
    let running = Running::start(1, &[Transport::Udp]);
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
}

#[test]
fn a_wildcard_listener_answers_from_the_address_asked() {
    let running =
        Running::listen(1, vec![Listener::plain(Transport::Udp, "0.0.0.0:0".parse().unwrap())], RelayConfig::default());
    let client = socket();
    let asked = SocketAddr::new("127.0.0.9".parse().unwrap(), running.address(Transport::Udp).port());
    client.connect(asked).unwrap();
    client.send(&message(b"echo")).unwrap();
    assert_eq!(receive(&client), message(b"echo"));
}

#[test]
fn a_peer_that_is_not_there_is_reported() {
    let running = Running::start(1, &[Transport::Udp]);
    let (client, peer) = pair(&running);
    let port = peer.local_addr().unwrap().port();
    drop(peer);
    client.send(&forwarder::to(port, b"anybody?")).unwrap();
    assert_eq!(receive(&client), message(format!("icmp 3 3 {port}").as_bytes()));
}

#[test]
fn packets_for_another_shard_reach_it() {
    let running = Running::start(2, &[Transport::Udp]);
    // The kernel spreads clients over shards: whichever gets it hands it to the other.
    for _ in 0..8 {
        let client = socket();
        client.connect(running.address(Transport::Udp)).unwrap();
        client.send(&message(b"home")).unwrap();
        let answer = receive(&client);
        assert!(answer.ends_with(b"at home"), "{answer:?}");
    }
}

#[test]
fn connections_carry_messages_cut_anyhow() {
    let running = Running::start(1, &[Transport::Tcp]);
    let mut client = TcpStream::connect(running.address(Transport::Tcp)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    let all = [message(b"echo one"), message(b"echo two and more"), message(&[b'e'; 5000])].concat();
    for piece in all.chunks(1021) {
        client.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut answers = vec![0; all.len()];
    client.read_exact(&mut answers).unwrap();
    assert!(answers == all);
    running.client_is_gone_after(|| drop(client));
}

#[test]
fn tls_carries_them_too_and_says_goodbye() {
    let (root, identities) = certificates();
    let tls = server_config_for(CertificateStore::new(identities), &["stun.turn"]).unwrap();
    let listener = Listener::secure(Transport::Tls, loopback(), tls);
    let running = Running::listen(1, vec![listener], RelayConfig::default());
    let mut socket = TcpStream::connect(running.address(Transport::Tls)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
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
    let mut client = TcpStream::connect(running.address(Transport::Tcp)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&[0xff; 20]).unwrap();
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(running.counters().streams_broken, 1);
}

#[test]
fn a_reader_that_stalls_loses_media_and_nobody_else_does() {
    let running = Running::start(1, &[Transport::Udp, Transport::Tcp]);
    let mut stalled = TcpStream::connect(running.address(Transport::Tcp)).unwrap();
    stalled.set_read_timeout(Some(PATIENCE)).unwrap();
    stalled.write_all(&message(b"open")).unwrap();
    let mut answer = [0; 100];
    let length = stalled.read(&mut answer).unwrap();
    let port = u16::from_be_bytes(answer[length - 2..length].try_into().unwrap());
    let flood = socket();
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
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    while bytes.len() < 500_000 {
        let length = stalled.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..length]);
        let _ = flood.send(&[9; 1000]);
    }
    let expected = message(&[9; 1000]);
    assert!(bytes.chunks_exact(expected.len()).all(|one| one == expected));
}

#[test]
fn a_flood_does_not_starve_others() {
    let running = Running::start(1, &[Transport::Udp]);
    let (client, peer) = pair(&running);
    let address = running.address(Transport::Udp);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let socket = UdpSocket::bind(loopback()).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = socket.send_to(&message(b"quiet"), address);
            }
        }
    });
    for _ in 0..50 {
        peer.send(b"on time").unwrap();
        let begin = Instant::now();
        assert_eq!(receive(&client), message(b"on time"));
        assert!(begin.elapsed() < Duration::from_millis(500));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
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
    let mut client = TcpStream::connect(running.address(Transport::Tcp)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(running.counters().handshakes_timed_out, 1);
}

#[test]
fn a_load_balancer_tells_who_connects() {
    let config = RelayConfig { proxies: Arc::new(|source| source.is_loopback()), ..RelayConfig::default() };
    let running = Running::listen(1, vec![Listener::plain(Transport::Tcp, loopback())], config);
    let header =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb]].concat();
    let mut client = TcpStream::connect(running.address(Transport::Tcp)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&[header, message(b"who")].concat()).unwrap();
    let mut answer = [0; 100];
    let length = client.read(&mut answer).unwrap();
    assert_eq!(answer[..length], message(b"192.0.2.1:4660"));
    let mut liar = TcpStream::connect(running.address(Transport::Tcp)).unwrap();
    liar.set_read_timeout(Some(PATIENCE)).unwrap();
    liar.write_all(&message(b"echo: no header from me")).unwrap();
    assert!(matches!(liar.read(&mut answer), Ok(0) | Err(_)));
    assert_eq!(running.counters().proxy_headers_refused, 1);
}

#[test]
fn a_connection_accepted_elsewhere_is_taken_over() {
    let running = Running::start(1, &[Transport::Udp]);
    let elsewhere = std::net::TcpListener::bind(loopback()).unwrap();
    let mut client = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&message(b"echo, early")).unwrap();
    let (tcp, remote) = elsewhere.accept().unwrap();
    let local = tcp.local_addr().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    running.relay.handle().take_over(0, Handover { tcp, tls: None, local, remote }).unwrap();
    let mut answer = vec![0; message(b"echo, early").len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, message(b"echo, early"));
}

#[test]
fn contains_a_panic_of_the_machine() {
    let running = Running::start(1, &[Transport::Udp]);
    let client = socket();
    client.connect(running.address(Transport::Udp)).unwrap();
    client.send(&message(b"panic")).unwrap();
    client.send(&message(b"echo")).unwrap();
    assert_eq!(receive(&client), message(b"echo"));
    assert_eq!(running.counters().panics, 1);
}

const PATIENCE: Duration = Duration::from_secs(10);
