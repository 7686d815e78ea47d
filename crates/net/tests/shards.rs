//! Shards are reached from other threads, refuse when they are full, and are gone when they have stopped.

mod common;

use std::time::Duration;

use common::*;
use farspeak_net::{NetConfig, RunError};
use farspeak_sansio::Transport;

#[tokio::test]
async fn a_question_is_answered_on_the_shard_it_is_put_to() {
    let node = Node::one(Transport::Udp, NetConfig { shards: 3, pin_cores: true, ..quick() });
    for handle in node.net().handles().iter() {
        let answer = within(handle.query(|echo, _| (echo.shard, std::thread::current().name().map(str::to_owned))));
        let (shard, thread) = answer.await.unwrap();
        assert_eq!((shard, thread), (handle.shard(), Some(format!("shard-{shard}"))));
    }
}

#[test]
fn a_full_queue_refuses_and_a_patient_thread_waits() {
    let node = Node::one(Transport::Udp, NetConfig { command_queue: 1, ..quick() });
    let handle = node.net().handles().get(0).unwrap().clone();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = std::sync::mpsc::channel();
    handle
        .run(move |_, _| {
            entered.send(()).unwrap();
            let _ = gate.recv();
        })
        .unwrap();
    inside.recv().unwrap();
    handle.run(|_, _| ()).unwrap();
    assert_eq!(handle.run(|_, _| ()), Err(RunError::Busy));
    let waiting = std::thread::spawn({
        let handle = handle.clone();
        move || handle.run_blocking(|_, _| ())
    });
    go.send(()).unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(()));
}

#[tokio::test]
async fn a_stopped_shard_says_so() {
    let mut node = Node::one(Transport::Udp, quick());
    let handle = node.net().handles().get(0).unwrap().clone();
    assert!(handle.is_running());
    node.stop(Duration::ZERO);
    assert!(!handle.is_running());
    assert_eq!(handle.run(|_, _| ()), Err(RunError::Stopped));
    assert_eq!(within(handle.query(|_, _| ())).await, Err(RunError::Stopped));
}

#[tokio::test]
async fn a_panic_costs_its_own_connection_and_no_other() {
    let node = Node::one(Transport::Tcp, quick());
    let mut good = node.tcp(0).await;
    good.say("hello\n").await;
    good.expect("0 echo: hello").await;
    for (line, panics) in [("panic\n", 1), ("panic in the framer\n", 2)] {
        let mut bad = node.tcp(0).await;
        bad.say(line).await;
        assert_eq!(bad.hear().await, None);
        assert_eq!(node.counters().panics.get(), panics);
    }
    good.say("still here\n").await;
    good.expect("0 echo: still here").await;
}

#[tokio::test]
async fn a_panic_over_one_datagram_does_not_deafen_the_socket() {
    let node = Node::one(Transport::Udp, quick());
    let client = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    client.connect(node.address(0)).await.unwrap();
    for datagram in ["panic", "panic in the framer", "hello"] {
        client.send(datagram.as_bytes()).await.unwrap();
    }
    let mut buffer = [0; 100];
    let length = within(client.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..length], b"0 echo: hello");
}

#[tokio::test]
async fn a_shard_that_panics_on_and_on_dies_alone() {
    let mut node = Node::one(Transport::Udp, NetConfig { shards: 2, ..quick() });
    let [doomed, other] = [0, 1].map(|shard| node.net().handles().get(shard).unwrap().clone());
    for _ in 0..99 {
        let _ = within(doomed.query(|_, _| panic!("as the test wants"))).await;
    }
    assert_eq!(within(doomed.query(|echo, _| echo.shard)).await, Ok(0));
    let _ = within(doomed.query(|_, _| panic!("once too often"))).await;
    while within(doomed.query(|_, _| ())).await.is_ok() {}
    assert!(!doomed.is_running());
    assert_eq!(within(other.query(|echo, _| echo.shard)).await, Ok(1));
    assert!(node.stop(Duration::ZERO).panicked);
}
