//! A driver of one machine opens connections when the machine sends on them.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::talker::{Client, Heard};
use common::*;
use farspeak_net::*;
use farspeak_sansio::{Flow, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn trusting(node: &Node) -> PeerConfig {
    PeerConfig { tls: Some(Arc::new(node.client_config())), ..PeerConfig::default() }
}

#[tokio::test]
async fn opens_tcp_and_tls_on_demand_and_answers_come_under_the_flow_that_asked() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let node = Node::start(&[(Transport::Tcp, loopback()), (Transport::Tls, loopback())], quick());
        let mut client = Client::start(trusting(&node));
        let there = node.address(usize::from(transport == Transport::Tls));
        let flow = Flow::unbound(transport, local(0), there);
        client.say(flow, "hello\n");
        client.say(flow, "again\n");
        client.expect_message(flow, "0 echo: hello").await;
        client.expect_message(flow, "0 echo: again").await;
        assert_eq!(node.counters().connections_accepted.get(), 1);
        client.stop();
    }
}

#[tokio::test]
async fn flows_of_different_local_ports_are_different_connections_from_the_same_address() {
    let mut node = Node::one(Transport::Tcp, quick());
    let mut client = Client::start(PeerConfig::default());
    let mut seen = Vec::new();
    for port in [5000, 5001] {
        let flow = Flow::unbound(Transport::Tcp, SocketAddr::new([127, 0, 0, 3].into(), port), node.address(0));
        client.say(flow, "hello\n");
        client.expect_message(flow, "0 echo: hello").await;
        seen.push(node.received().await.0.remote);
    }
    assert!(seen.iter().all(|from| from.ip() == SocketAddr::from(([127, 0, 0, 3], 0)).ip()));
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn the_certificate_must_be_for_the_name_that_was_given() {
    let node = Node::one(Transport::Tls, quick());
    for (name, good) in [("localhost", true), ("elsewhere.example", false)] {
        let mut client = Client::start(trusting(&node));
        let there = node.address(0);
        let named = client.handle.query(move |context, _, _| context.name_server(there, name.try_into().unwrap()));
        named.await.unwrap();
        let flow = Flow::unbound(Transport::Tls, local(0), there);
        client.say(flow, "hello\n");
        match good {
            true => client.expect_message(flow, "0 echo: hello").await,
            false => client.expect(Heard::Failed(flow)).await,
        }
    }
}

#[tokio::test]
async fn never_speaks_tls_to_a_server_that_it_cannot_check() {
    let node = Node::one(Transport::Tls, quick());
    let mut client = Client::start(PeerConfig::default());
    let flow = Flow::unbound(Transport::Tls, local(0), node.address(0));
    client.say(flow, "hello\n");
    client.expect(Heard::Failed(flow)).await;
    assert_eq!(node.counters().connections_accepted.get(), 0);
}

#[tokio::test]
async fn a_connection_that_ends_or_cannot_be_opened_fails_its_flow_and_may_be_opened_again() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let there = listener.local_addr().unwrap();
    let mut client = Client::start(PeerConfig::default());
    let flow = Flow::unbound(Transport::Tcp, local(0), there);
    for _ in 0..2 {
        client.say(flow, "hello\n");
        let (mut io, _) = within(listener.accept()).await.unwrap();
        let mut heard = [0; 6];
        within(io.read_exact(&mut heard)).await.unwrap();
        within(io.write_all(b"welcome\nping\n")).await.unwrap();
        client.expect_message(flow, "welcome").await;
        let mut pong = [0; 2];
        within(io.read_exact(&mut pong)).await.unwrap();
        assert_eq!((&heard, &pong), (b"hello\n", b"\r\n"));
        drop(io);
        client.expect(Heard::Failed(flow)).await;
    }
    drop(listener);
    client.say(flow, "anybody?\n");
    client.expect(Heard::Failed(flow)).await;
}

#[tokio::test]
async fn a_stream_that_cannot_be_framed_ends_after_telling_why() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let mut client = Client::start(PeerConfig::default());
    let flow = Flow::unbound(Transport::Tcp, local(0), listener.local_addr().unwrap());
    client.say(flow, "hello\n");
    let (mut io, _) = within(listener.accept()).await.unwrap();
    within(io.write_all(b"broken\nnever read\n")).await.unwrap();
    let mut heard = String::new();
    within(io.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "hello\nthat was broken\n");
    client.expect(Heard::Failed(flow)).await;
}

#[tokio::test]
async fn what_waits_is_written_before_the_end() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let client = Client::start(PeerConfig::default());
    client.say(Flow::unbound(Transport::Tcp, local(0), listener.local_addr().unwrap()), "last words\n");
    let stopped = tokio::task::spawn_blocking(|| client.stop());
    let (mut io, _) = within(listener.accept()).await.unwrap();
    let mut heard = String::new();
    within(io.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "last words\n");
    stopped.await.unwrap();
}

#[tokio::test]
async fn refuses_more_connections_than_allowed() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let mut client = Client::start(PeerConfig { max_connections: 2, ..PeerConfig::default() });
    let flows = [1, 2, 3].map(|port| Flow::unbound(Transport::Tcp, local(port), listener.local_addr().unwrap()));
    for flow in flows {
        client.say(flow, "hello\n");
    }
    client.expect(Heard::Failed(flows[2])).await;
    let closed = client.handle.query(move |context, _, _| context.close(flows[0]));
    closed.await.unwrap();
    client.expect(Heard::Failed(flows[0])).await;
    client.say(flows[2], "hello\n");
    for _ in 0..3 {
        within(listener.accept()).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_costs_a_bounded_queue_and_then_the_connection() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let config =
        PeerConfig { write_timeout: Duration::from_millis(300), write_queue: 64 << 10, ..PeerConfig::default() };
    let mut client = Client::start(config);
    let flow = Flow::unbound(Transport::Tcp, local(0), listener.local_addr().unwrap());
    client.say(flow, "hello\n");
    let (io, _) = within(listener.accept()).await.unwrap();
    let line = "x".repeat(60_000);
    let failed = loop {
        client.say(flow, &line);
        let waiting = client.handle.query(|context, _, _| context.waiting()).await.unwrap();
        assert!(waiting <= 64 << 10, "{waiting} bytes wait");
        if let Some(heard) = client.heard_within(Duration::from_millis(1)).await {
            break heard;
        }
    };
    assert_eq!(failed, Heard::Failed(flow));
    drop(io);
}
