//! Connections to the packet loop that end, or stop, at each stage: none keeps its place, and nobody else notices.

mod common;
mod forwarder;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, certificates, client_config, localhost, loopback};
use farspeak_net::relay::{RelayConfig, RelayError};
use farspeak_net::{CertificateStore, Listener, StreamConfig, server_config_for};
use farspeak_sansio::Transport;
use forwarder::{Running, message};
use socket2::SockRef;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Listeners with TLS and without.
fn start(stream: StreamConfig) -> Running {
    let (_, identities) = certificates();
    let tls = server_config_for(CertificateStore::new(identities), &["stun.turn"]).unwrap();
    let listeners =
        vec![Listener::plain(Transport::Tcp, loopback()), Listener::secure(Transport::Tls, loopback(), tls)];
    Running::listen(1, listeners, RelayConfig { stream, ..RelayConfig::default() })
}

fn is_served(stream: &mut (impl Read + Write)) {
    stream.write_all(&message(b"echo")).unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..], message(b"echo"));
}

fn secure(address: SocketAddr) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let config = Arc::new(client_config(&certificates().0));
    rustls::StreamOwned::new(rustls::ClientConnection::new(config, localhost()).unwrap(), connect(address))
}

/// Ends a connection by a reset.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Waits until that many connections are left, and no handshake.
fn left(running: &Running, connections: i64) {
    let counters = Arc::clone(&running.relay.connections()[0]);
    let begin = Instant::now();
    while (counters.connections.get(), counters.handshakes.get()) != (connections, 0) {
        running.counters(); // gives the loop its turn
        assert!(begin.elapsed() < PATIENCE, "{} {}", counters.connections.get(), counters.handshakes.get());
    }
}

#[test]
fn a_reset_or_an_end_at_any_stage_frees_the_place() {
    let running = start(StreamConfig::default());
    let (tcp, tls) = (running.address(Transport::Tcp), running.address(Transport::Tls));
    let mut other = connect(tcp);
    is_served(&mut other);
    for by_reset in [false, true] {
        let finish = |stream: &TcpStream| {
            if by_reset {
                reset(stream)
            }
        };
        for address in [tcp, tls] {
            finish(&connect(address)); // at once
        }
        for (address, beginning) in [(tcp, &b"\0"[..]), (tcp, &message(b"half a message")[..9]), (tls, b"\x16\x03\x01")]
        {
            let mut stream = connect(address);
            stream.write_all(beginning).unwrap();
            finish(&stream);
        }
        let mut stream = connect(tcp);
        is_served(&mut stream);
        finish(&stream);
        drop(stream);
        let mut stream = secure(tls);
        is_served(&mut stream);
        finish(&stream.sock);
        drop(stream);
    }
    left(&running, 1);
    is_served(&mut other);
}

#[test]
fn handshakes_and_messages_that_do_not_end_are_cut_off() {
    let (short, sweep) = (Duration::from_millis(50), Duration::from_millis(10));
    let running = start(StreamConfig {
        handshake_timeout: short,
        first_message_timeout: short,
        sweep,
        ..StreamConfig::default()
    });
    for (transport, beginning) in [(Transport::Tls, &b"\x16\x03\x01"[..]), (Transport::Tcp, b"\0")] {
        let mut stream = connect(running.address(transport));
        stream.write_all(beginning).unwrap();
        assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    }
    assert_eq!(running.counters().handshakes_timed_out, 2);
    left(&running, 0);
    let running = start(StreamConfig { message_timeout: short, sweep, ..StreamConfig::default() });
    let mut stream = connect(running.address(Transport::Tcp));
    stream.write_all(&[message(b"quiet"), vec![0]].concat()).unwrap();
    assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    assert_eq!(running.counters().stalled_cut, 1);
    left(&running, 0);
}

#[test]
fn handshakes_beyond_the_bound_wait_for_their_turn_and_nobody_else_does() {
    let running = start(StreamConfig { max_handshakes: 1, handshake_timeout: PATIENCE, ..StreamConfig::default() });
    let (tcp, tls) = (running.address(Transport::Tcp), running.address(Transport::Tls));
    let half_open = connect(tls);
    let counters = Arc::clone(&running.relay.connections()[0]);
    while counters.handshakes.get() < 1 {
        running.counters(); // gives the loop its turn
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || is_served(&mut secure(tls)));
        is_served(&mut connect(tcp));
        assert_eq!(counters.handshakes.get(), 1);
        drop(half_open);
        waiting.join().unwrap();
    });
    assert_eq!(counters.connections_refused.get(), 0);
}

#[test]
fn what_is_no_tls_is_refused() {
    let running = start(StreamConfig::default());
    let mut stream = connect(running.address(Transport::Tls));
    stream.write_all(&message(b"echo, in clear text")).unwrap();
    let _ = stream.read_to_end(&mut Vec::new()); // an alert, then the end or a reset
    assert_eq!(running.counters().handshakes_failed, 1);
    left(&running, 0);
}

#[test]
fn a_loop_that_has_stopped_says_so_to_who_waits_and_who_comes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let running = start(StreamConfig::default());
    let handle = running.relay.handle();
    let (entered, inside) = std::sync::mpsc::channel();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    handle
        .run(0, move |_, _, _| {
            entered.send(()).unwrap();
            let _ = gate.recv();
        })
        .unwrap();
    inside.recv().unwrap();
    let stopping = std::thread::spawn(move || running.relay.stop());
    // Behind the order to stop, or not taken any more.
    let waiting = std::iter::repeat_with(|| {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let _ = handle.run(0, move |_, _, _| drop(sender));
        receiver
    });
    let waiting: Vec<_> = waiting.take(100).collect();
    drop(go);
    assert!(stopping.join().unwrap());
    for receiver in waiting {
        assert!(receiver.recv().is_err());
    }
    assert_eq!(handle.run(0, |_, _, _| ()), Err(RelayError::Stopped));
    assert_eq!(runtime.block_on(handle.query(0, |_, _, _| ())), Err(RelayError::Stopped));
}

#[test]
fn a_loop_that_gives_up_is_known_to_have_died() {
    let running = Running::start(1, &[Transport::Udp]);
    let handle = running.relay.handle();
    let client = UdpSocket::bind(loopback()).unwrap();
    client.connect(running.address(Transport::Udp)).unwrap();
    let begin = Instant::now();
    while handle.run(0, |_, _, _| ()) != Err(RelayError::Stopped) {
        let _ = client.send(&message(b"panic"));
        assert!(begin.elapsed() < PATIENCE);
    }
    assert!(!running.relay.stop());
}
