//! Peers that are slow, silent, broken or gone: each is cut off alone, and the machine hears of it.

mod common;

use std::time::Duration;

use common::*;
use farspeak_net::{MAX_SHARDS, NetConfig, StreamConfig};
use farspeak_sansio::{FlowId, Transport};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

fn with(change: impl FnOnce(&mut StreamConfig)) -> NetConfig {
    let mut config = quick();
    change(&mut config.stream);
    config
}

#[tokio::test]
async fn cuts_off_a_peer_that_does_not_read_and_nobody_else() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut node = Node::one(transport, with(|stream| stream.write_queue = 100_000));
        let mut good = node.tls_or_tcp(transport).await;
        good.say("hello\n").await;
        good.expect("0 echo: hello").await;
        let mut bad = node.tls_or_tcp(transport).await;
        bad.say("flood\n").await; // answered by 300 kB, at once
        let failed = node.failed().await;
        assert_eq!(failed.remote, bad.address);
        assert_eq!(node.counters().slow_readers_cut.get(), 1);
        good.say("still here\n").await;
        good.expect("0 echo: still here").await;
        assert_eq!(node.counters().queued_bytes.get(), 0);
    }
}

#[tokio::test]
async fn cuts_off_a_peer_that_takes_nothing_in_time() {
    let config = with(|stream| {
        stream.write_queue = usize::MAX;
        stream.write_timeout = Duration::from_millis(100);
    });
    let mut node = Node::one(Transport::Tcp, config);
    let client = TcpStream::connect(node.address(0)).await.unwrap();
    SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
    let mut client = Lined::new(client);
    client.say(&"flood\n".repeat(30)).await; // answered by 9 MB: more than the kernel takes
    assert_eq!(node.failed().await.remote, client.io.local_addr().unwrap());
    assert_eq!(node.counters().slow_readers_cut.get(), 1);
}

#[tokio::test]
async fn a_half_open_handshake_times_out() {
    let mut node = Node::one(Transport::Tls, with(|stream| stream.handshake_timeout = Duration::from_millis(50)));
    let mut client = node.tcp(0).await;
    client.io.write_all(b"\x16\x03\x01").await.unwrap();
    assert_eq!(client.hear().await, None);
    let counters = node.counters();
    assert!(node.stop(Duration::ZERO).finished);
    assert_eq!(counters.handshakes_timed_out.get(), 1);
}

#[tokio::test]
async fn what_is_not_tls_is_refused_and_counted() {
    let mut node = Node::one(Transport::Tls, quick());
    let mut client = node.tcp(0).await;
    client.say("REGISTER sip:localhost SIP/2.0\r\n\r\n").await;
    let mut alert = Vec::new();
    let _ = within(client.io.read_to_end(&mut alert)).await; // an alert, then the end or a reset
    let counters = node.counters();
    node.stop(Duration::ZERO);
    assert_eq!((counters.handshakes_failed.get(), counters.messages_received.get()), (1, 0));
}

#[tokio::test]
async fn an_http_request_that_does_not_end_times_out() {
    let node = Node::one(Transport::Ws, with(|stream| stream.handshake_timeout = Duration::from_millis(50)));
    let mut client = node.tcp(0).await;
    client.say("GET /sip HTTP/1.1\r\n").await;
    while client.hear().await.is_some() {}
}

#[tokio::test]
async fn handshakes_beyond_the_bound_wait_for_their_turn() {
    let node = Node::one(
        Transport::Tls,
        with(|stream| {
            stream.max_handshakes = 1;
            stream.handshake_timeout = PATIENCE;
        }),
    );
    let half_open = node.tcp(0).await;
    let waiting = async {
        let mut client = node.tls(0).await;
        assert_eq!(node.counters().connections_accepted.get(), 2);
        client.say("hello\n").await;
        client.expect("0 echo: hello").await;
    };
    let leaving = async {
        while node.counters().connections_accepted.get() < 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(node.counters().handshakes.get(), 1);
        drop(half_open);
    };
    tokio::join!(waiting, leaving);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_the_first_stay() {
    let node = Node::one(Transport::Tcp, with(|stream| stream.max_connections = 1));
    let mut first = node.tcp(0).await;
    first.say("hello\n").await;
    first.expect("0 echo: hello").await;
    assert_eq!(node.tcp(0).await.hear().await, None);
    assert_eq!(node.counters().connections_refused.get(), 1);
    first.say("still here\n").await;
    first.expect("0 echo: still here").await;
}

#[tokio::test]
async fn one_source_does_not_take_all_connections() {
    let config = with(|stream| {
        stream.max_connections_per_source = 1;
        stream.spare_loopback = false;
    });
    let node = Node::one(Transport::Tcp, config);
    let mut first = node.tcp(0).await;
    first.say("hello\n").await;
    first.expect("0 echo: hello").await;
    assert_eq!(node.tcp(0).await.hear().await, None);
}

#[tokio::test]
async fn a_peer_that_never_speaks_is_cut_off() {
    let mut node = Node::one(Transport::Tcp, with(|stream| stream.first_message_timeout = Duration::from_millis(50)));
    let mut client = node.tcp(0).await;
    assert_eq!(client.hear().await, None);
    node.failed().await;
    assert_eq!(node.counters().slow_senders_cut.get(), 1);
}

#[tokio::test]
async fn a_peer_that_does_not_finish_a_message_is_cut_off() {
    let mut node = Node::one(Transport::Tcp, with(|stream| stream.message_timeout = Duration::from_millis(50)));
    let mut client = node.tcp(0).await;
    client.say("hello\nhal").await;
    client.expect("0 echo: hello").await;
    assert_eq!(client.hear().await, None);
    node.failed().await;
    assert_eq!(node.counters().slow_senders_cut.get(), 1);
}

#[tokio::test]
async fn a_silent_websocket_peer_is_given_up() {
    let mut node = Node::one(Transport::Ws, with(|stream| stream.websocket_silence = Duration::from_millis(50)));
    let mut client = node.tcp(0).await;
    client
        .say(
            "GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        )
        .await;
    assert_eq!(node.failed().await.transport, Transport::Ws);
    assert_eq!(node.counters().idle_closed.get(), 1);
}

#[tokio::test]
async fn a_broken_stream_gets_its_reply_and_is_closed() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut node = Node::one(transport, quick());
        let mut client = node.tls_or_tcp(transport).await;
        client.say("hello\nbroken\nnever seen\n").await;
        client.expect("0 echo: hello").await;
        client.expect("that was broken").await;
        assert_eq!(client.hear().await, None);
        drop(client);
        node.failed().await;
        assert_eq!(node.counters().messages_received.get(), 1);
    }
}

#[tokio::test]
async fn a_reset_fails_the_flow() {
    let mut node = Node::one(Transport::Tcp, quick());
    let mut client = node.tcp(0).await;
    client.say("hello\n").await;
    let (flow, _) = node.received().await;
    SockRef::from(&client.io).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(node.failed().await, flow);
    node.send(0, flow, "too late\n");
    assert_eq!(node.failed().await, flow);
    assert_eq!(node.counters().dead_flows.get(), 1);
}

#[tokio::test]
async fn a_datagram_that_nobody_takes_fails_the_flow() {
    let mut node = Node::one(Transport::Udp, quick());
    let gone = UdpSocket::bind(loopback()).await.unwrap();
    gone.connect(node.address(0)).await.unwrap();
    gone.send(b"quiet").await.unwrap();
    let (flow, _) = node.received().await;
    drop(gone);
    node.send(0, flow, "anybody there?");
    assert_eq!(node.failed().await, flow);
    assert_eq!(node.failed().await.id, FlowId::UNBOUND);
}

#[tokio::test]
async fn an_unbound_flow_opens_a_connection_and_uses_it_again() {
    let server = TcpListener::bind(loopback()).await.unwrap();
    let mut node = Node::one(Transport::Tcp, quick());
    let flow = unbound(Transport::Tcp, node.address(0), server.local_addr().unwrap());
    node.send(0, flow, "first\n");
    node.send(0, flow, "second\n");
    let (tcp, _) = within(server.accept()).await.unwrap();
    let mut peer = Lined::new(tcp);
    peer.expect("first").await;
    peer.expect("second").await;
    peer.say("hello\n").await;
    peer.expect("0 echo: hello").await;
    let (bound, _) = node.received().await;
    drop(peer);
    assert_eq!(node.failed().await, bound);
    assert_eq!(node.failed().await, flow);
}

#[tokio::test]
async fn a_connection_that_cannot_be_opened_fails_the_flow_it_was_asked_for() {
    let server = TcpListener::bind(loopback()).await.unwrap();
    let mut node = Node::one(Transport::Tcp, quick());
    let flow = unbound(Transport::Tcp, node.address(0), server.local_addr().unwrap());
    drop(server);
    node.send(0, flow, "hello\n");
    while node.failed().await != flow {}
    assert_eq!(node.counters().connections_failed.get(), 1);
    node.send(0, unbound(Transport::Ws, flow.local, flow.remote), "hello\n");
    assert_eq!(node.failed().await.transport, Transport::Ws);
}

#[tokio::test]
async fn tls_is_opened_with_the_configuration_handed_in() {
    let mut server = Node::one(Transport::Tls, quick());
    let config = NetConfig { client_tls: Some(server.client_config().into()), ..quick() };
    let mut node = Node::one(Transport::Tcp, config);
    let flow = unbound(Transport::Tls, loopback(), server.address(0));
    node.send(0, flow, "hello\n");
    assert_eq!(server.received().await.1, "hello\n");
    assert_eq!(node.received().await.1, "0 echo: hello\n");
}

#[tokio::test]
async fn a_message_crosses_to_the_shard_that_owns_the_flow() {
    let mut node = Node::one(Transport::Tcp, NetConfig { shards: 2, ..quick() });
    let mut client = node.tcp(0).await;
    client.say("quiet\n").await;
    let (flow, _) = node.received().await;
    let (owner, other) = (flow.id.shard(), 1 - flow.id.shard());
    node.send(other, flow, "from the other shard\n");
    client.expect("from the other shard").await;
    drop(client);
    let mut told = [node.event().await, node.event().await].map(|event| match event {
        Event::Failed(shard, failed) => (shard, failed),
        Event::Received(..) => panic!("nothing was said"),
    });
    told.sort_by_key(|(shard, _)| *shard == other);
    assert_eq!(told, [(owner, flow), (other, flow)]);
    node.send(other, flow, "to nobody\n");
    assert_eq!(node.event().await, Event::Failed(other, flow));
    assert!(MAX_SHARDS > usize::from(other));
}

#[tokio::test]
async fn a_handler_closes_a_flow_after_the_answer() {
    let mut node = Node::one(Transport::Tls, quick());
    let mut client = node.tls(0).await;
    client.say("close me\n").await;
    client.expect("0 echo: close me").await;
    let mut rest = Vec::new();
    within(client.io.read_to_end(&mut rest)).await.unwrap(); // ends by close_notify, not by truncation
    drop(client);
    node.failed().await;
}

#[tokio::test]
async fn stopping_lets_the_machine_finish_and_says_goodbye() {
    let mut node = Node::one(Transport::Tls, quick());
    let mut client = node.tls(0).await;
    client.say("thrice\n").await;
    node.received().await;
    let stopping = tokio::task::spawn_blocking(move || node.stop(Duration::from_secs(5)));
    for line in ["1", "2", "3"] {
        client.expect(line).await;
    }
    let mut rest = Vec::new();
    within(client.io.read_to_end(&mut rest)).await.unwrap();
    drop(client);
    let stopped = within(stopping).await.unwrap();
    assert!(stopped.finished && !stopped.panicked);
}
