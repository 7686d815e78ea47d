//! A driver of one machine with the UDP sockets that its owner asked for.

mod common;

use std::time::Duration;

use common::talker::{Client, Heard, Talker};
use common::*;
use farspeak_net::*;
use farspeak_sansio::{Flow, Transport};
use tokio::net::UdpSocket;

async fn message(socket: &UdpSocket) -> (String, std::net::SocketAddr) {
    let mut buffer = [0; 100];
    let (length, from) = within(socket.recv_from(&mut buffer)).await.unwrap();
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
}

#[tokio::test]
async fn each_socket_sends_from_its_own_address_and_answers_come_under_the_flow_that_asked() {
    for any in [loopback(), loopback6()] {
        let mut client = Client::start(PeerConfig::default());
        let stranger = UdpSocket::bind(any).await.unwrap();
        let there = stranger.local_addr().unwrap();
        let (one, two) = (client.bind(any).await, client.bind(any).await);
        assert!(one.port() != 0 && two.port() != 0 && one != two);
        for local in [two, one] {
            let flow = Flow::unbound(Transport::Udp, local, there);
            client.say(flow, "hello");
            assert_eq!(message(&stranger).await, ("hello".into(), local));
            stranger.send_to(b"welcome", local).await.unwrap();
            client.expect_message(flow, "welcome").await;
        }
        client.stop();
    }
}

#[tokio::test]
async fn a_wildcard_socket_tells_which_address_was_meant() {
    let mut client = Client::start(PeerConfig::default());
    let mut here = client.bind("0.0.0.0:0".parse().unwrap()).await;
    let stranger = UdpSocket::bind(loopback()).await.unwrap();
    here.set_ip("127.0.0.9".parse().unwrap());
    stranger.send_to(b"hello", here).await.unwrap();
    let flow = Flow::unbound(Transport::Udp, here, stranger.local_addr().unwrap());
    client.expect_message(flow, "hello").await;
    client.say(flow, "back");
    assert_eq!(message(&stranger).await, ("back".into(), here));
}

#[tokio::test]
async fn refuses_to_send_from_an_address_that_no_socket_has() {
    let mut client = Client::start(PeerConfig::default());
    let stranger = UdpSocket::bind(loopback()).await.unwrap();
    let bound = client.bind(loopback()).await;
    let mut elsewhere = bound;
    elsewhere.set_ip("127.0.0.2".parse().unwrap());
    let flow = Flow::unbound(Transport::Udp, elsewhere, stranger.local_addr().unwrap());
    client.say(flow, "from nowhere");
    client.expect(Heard::Failed(flow)).await;
}

#[tokio::test]
async fn hears_that_a_datagram_was_undeliverable() {
    let mut client = Client::start(PeerConfig::default());
    let local = client.bind(loopback()).await;
    let gone = UdpSocket::bind(loopback()).await.unwrap().local_addr().unwrap();
    let flow = Flow::unbound(Transport::Udp, local, gone);
    client.say(flow, "hello?");
    client.expect(Heard::Failed(flow)).await;
}

#[tokio::test]
async fn an_unbound_socket_hears_no_more_and_its_port_is_free() {
    let mut client = Client::start(PeerConfig { max_sockets: 1, ..PeerConfig::default() });
    let local = client.bind(loopback()).await;
    let refused = client.handle.query(|context, _, _| context.bind(loopback())).await.unwrap();
    assert!(refused.is_err());
    let left = client.handle.query(move |context, _, _| {
        context.unbind(local);
        context.bound()
    });
    assert_eq!(left.await.unwrap(), []);
    let stranger = UdpSocket::bind(loopback()).await.unwrap();
    let _ = stranger.send_to(b"anybody?", local).await;
    client.expect_silence().await;
    client.bind(local).await;
}

#[tokio::test]
async fn timers_fire_when_they_are_due_also_after_an_earlier_one_was_set() {
    let mut client = Client::start(PeerConfig::default());
    for after in [3_600_000, 20, 1] {
        client.handle.run(move |_, talker, now| talker.wake_at(now + Duration::from_millis(after))).unwrap();
    }
    client.expect(Heard::Timer).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn what_was_asked_before_the_run_is_done_and_the_machine_comes_back() {
    let stranger = UdpSocket::bind(loopback()).await.unwrap();
    let there = stranger.local_addr().unwrap();
    let (mut peer, handle) =
        Peer::new(Talker::default(), Lines, PeerConfig::default(), Clock::start(), |context, _, _, event| {
            assert!(matches!(event, Heard::Message(..)));
            context.stop();
        });
    let local = peer.with(|context, talker, _| {
        let local = context.bind(loopback()).unwrap();
        talker.say(Flow::unbound(Transport::Udp, local, there), "first");
        local
    });
    let counters = peer.counters();
    let other = async {
        assert_eq!(message(&stranger).await, ("first".into(), local));
        stranger.send_to(b"enough", local).await.unwrap();
    };
    let (_talker, ()) = tokio::join!(within(peer.run()), other);
    assert_eq!((counters.datagrams_sent.get(), counters.datagrams_received.get()), (1, 1));
    assert!(!handle.is_running());
    assert_eq!(handle.stop(), Err(RunError::Stopped));
}

#[tokio::test]
async fn ends_when_nobody_holds_a_handle() {
    let (peer, handle) =
        Peer::new(Talker::default(), Lines, PeerConfig::default(), Clock::start(), |_, _, _, _: Heard| ());
    drop(handle);
    within(peer.run()).await;
}
