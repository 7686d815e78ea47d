//! TCP to and from peers through the real program (RFC 6062).

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::relayed::{Relayed, Stream};
use common::{Node, Scratch};
use farspeak_sansio::Transport;

/// The node has several shards, so that a connection and its client's meet on different ones.
fn serve(turn: &str) -> (Scratch, Node) {
    let scratch = Scratch::new();
    scratch.configure("");
    let base = std::fs::read_to_string(scratch.config()).unwrap();
    std::fs::write(scratch.config(), base.replace("[turn]\n", &format!("[turn]\n{turn}"))).unwrap();
    let node = scratch.serve();
    (scratch, node)
}

fn address(node: &Node, transport: &str) -> SocketAddr {
    let all = node.ready["turn"].as_array().unwrap();
    all.iter().find(|it| it["transport"] == transport).unwrap()["address"].as_str().unwrap().parse().unwrap()
}

fn client(scratch: &Scratch, node: &Node) -> Relayed {
    let issued = scratch.json(&["turn", "credentials", "--user", "guest", "--ttl", "10m"]);
    let (name, password) = (issued["username"].as_str().unwrap(), issued["credential"].as_str().unwrap());
    Relayed::connect_for_streams(address(node, "TCP"), name, password)
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

/// A megabyte through `one`, which returns through the echo at the other end.
fn echoes(one: &mut dyn Stream, echo: TcpStream) {
    let returning = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let (mut echo, mut total) = (echo, 0);
        while total < MEGABYTE {
            let length = echo.read(&mut bytes).unwrap();
            assert_ne!(length, 0, "ended after {total}");
            echo.write_all(&bytes[..length]).unwrap();
            total += length;
        }
        echo
    });
    let sent: Vec<u8> = (0..MEGABYTE).map(|at| (at % 251) as u8).collect();
    let mut received = Vec::new();
    for part in sent.chunks(100_000) {
        one.write_all(part).unwrap();
        let before = received.len();
        received.resize(before + part.len(), 0);
        one.read_exact(&mut received[before..]).unwrap();
    }
    assert!(received == sent, "what came back is not what was sent");
    drop(returning.join().unwrap());
    assert_eq!(one.read(&mut [0; 10]).unwrap_or(0), 0, "the peer has closed");
}

#[test]
fn a_megabyte_passes_to_a_peer_and_back_over_tcp_and_tls() {
    let (scratch, node) = serve(ON);
    let mut client = client(&scratch, &node);
    let relayed = client.allocate().unwrap();
    let authority = scratch.run(&["ca"]).stdout;
    // Often enough that every pair of shards is likely to meet.
    for (transport, name) in [(Transport::Tcp, "TCP"), (Transport::Tls, "TLS")].repeat(4) {
        let (listener, there) = listener();
        let connection = client.reach(there).unwrap();
        let (echo, from) = listener.accept().unwrap();
        assert_eq!(from, relayed, "it leaves from the relayed address");
        let mut stream = client.join(connection, transport, address(&node, name), &authority);
        echoes(&mut *stream, patient(echo));
    }
    node.stop();
}

#[test]
fn what_passes_counts_for_the_session_and_waits_for_the_bandwidth() {
    let (scratch, node) = serve(&format!("{ON}bandwidth = 500000\n"));
    let mut client = client(&scratch, &node);
    client.allocate().unwrap();
    let (listener, there) = listener();
    let connection = client.reach(there).unwrap();
    let echo = patient(listener.accept().unwrap().0);
    let mut stream = client.join(connection, Transport::Tcp, address(&node, "TCP"), b"");
    let begun = Instant::now();
    echoes(&mut *stream, echo);
    // Two megabytes, of which half of one may come at once.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let sessions = scratch.json(&["turn", "sessions"]);
    let bytes = |which: &str| sessions["sessions"][0][which]["bytes"].as_u64();
    assert_eq!((bytes("sent"), bytes("received")), (Some(MEGABYTE as u64), Some(MEGABYTE as u64)), "{sessions}");
    node.stop();
}

#[test]
fn who_reads_slowly_holds_the_other_end_back_and_gets_everything() {
    let (scratch, node) = serve(ON);
    let mut client = client(&scratch, &node);
    client.allocate().unwrap();
    let authority = scratch.run(&["ca"]).stdout;
    for (transport, name) in [(Transport::Tcp, "TCP"), (Transport::Tls, "TLS")] {
        let (listener, there) = listener();
        let connection = client.reach(there).unwrap();
        let mut peer = patient(listener.accept().unwrap().0);
        let mut stream = client.join(connection, transport, address(&node, name), &authority);
        let (held, holding) = mpsc::channel();
        let peer = std::thread::spawn(move || {
            peer.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let mut written = 0;
            while written < MANY
                && let Ok(length) = peer.write(&vec![1; MANY - written])
            {
                written += length; // until it is held back, since nobody reads
            }
            held.send(written).unwrap();
            peer.set_write_timeout(None).unwrap();
            peer.write_all(&vec![1; MANY - written]).unwrap();
            let (mut bytes, mut total) = ([0; 1000], 0);
            while total < MANY {
                total += peer.read(&mut bytes).unwrap();
            }
            peer.read(&mut bytes).unwrap()
        });
        assert!(holding.recv().unwrap() < MANY);
        let mut received = vec![0; MANY];
        stream.read_exact(&mut received).unwrap();
        assert!(received.iter().all(|byte| *byte == 1));
        stream.write_all(&received).unwrap();
        drop(stream);
        assert_eq!(peer.join().unwrap(), 0);
    }
    node.stop();
}

#[test]
fn a_permitted_peer_connects_and_others_are_closed() {
    let (scratch, node) = serve(ON);
    let mut client = client(&scratch, &node);
    let relayed = client.allocate().unwrap();
    let mut refused = patient(TcpStream::connect(relayed).unwrap());
    assert_eq!(refused.read(&mut [0; 10]).unwrap_or(0), 0);
    client.permit(LOOPBACK).unwrap();
    let mut peer = patient(TcpStream::connect(relayed).unwrap());
    peer.write_all(b"early").unwrap();
    let (from, connection) = client.offered().unwrap();
    assert_eq!(from, peer.local_addr().unwrap());
    let mut stream = client.join(connection, Transport::Tcp, address(&node, "TCP"), b"");
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"early");
    // What is on its way still arrives when its sender has said its last; then both are closed.
    stream.write_all(b"reply").unwrap();
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"reply");
    peer.write_all(b"last!").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!((&bytes, stream.read(&mut [0; 10]).unwrap()), (b"last!", 0));
    drop(stream);
    assert_eq!(peer.read(&mut bytes).unwrap(), 0);
    node.stop();
}

#[test]
fn the_operator_ends_an_allocation_with_its_connections() {
    let (scratch, node) = serve(ON);
    let mut client = client(&scratch, &node);
    client.allocate().unwrap();
    let (listener, there) = listener();
    let connection = client.reach(there).unwrap();
    let mut peer = patient(listener.accept().unwrap().0);
    let mut stream = client.join(connection, Transport::Tcp, address(&node, "TCP"), b"");
    stream.write_all(b"hello").unwrap();
    peer.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(scratch.json(&["turn", "kick", "guest"])["kicked"], 1);
    assert_eq!(peer.read(&mut [0; 10]).unwrap_or(0), 0);
    assert_eq!(stream.read(&mut [0; 10]).unwrap_or(0), 0);
    node.stop();
}

#[test]
fn refuses_peers_by_policy_and_those_that_do_not_listen() {
    let (scratch, node) = serve(ON);
    let mut client = client(&scratch, &node);
    client.allocate().unwrap();
    let problem = client.reach("10.0.0.1:80".parse().unwrap()).unwrap_err();
    assert!(problem.contains("403"), "{problem}");
    let (_, nobody) = listener();
    let problem = client.reach(nobody).unwrap_err();
    assert!(problem.contains("447"), "{problem}");
    node.stop();
}

#[test]
fn refuses_tcp_unless_it_is_switched_on() {
    let (scratch, node) = serve("allow_peers = [\"127.0.0.1\"]\n");
    let problem = client(&scratch, &node).allocate().unwrap_err();
    assert!(problem.contains("442"), "{problem}");
    node.stop();
}

/// Peers on this very address may be reached.
const ON: &str = "tcp_relaying = true\nallow_peers = [\"127.0.0.1\"]\n";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MEGABYTE: usize = 1_000_000;
/// More than all buffers on the way hold.
const MANY: usize = 40_000_000;
