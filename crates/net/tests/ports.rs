//! Listeners that cannot be bound say why.

mod common;

use std::net::{SocketAddr, TcpListener, UdpSocket};

use common::*;
use farspeak_net::*;
use farspeak_sansio::Transport;

fn refusal(transport: Transport, address: SocketAddr) -> BindError {
    let mut config = NetConfig { shards: 2, ..quick() };
    config.listeners.push(Listener::plain(transport, address));
    let started = start(config, Clock::start(), |_: Birth<Echo>| -> Parts<Echo, Lines> { unreachable!() });
    match started.unwrap_err() {
        StartError::Bind(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_busy_port_names_its_owner() {
    let tcp = TcpListener::bind(loopback()).unwrap();
    let udp = UdpSocket::bind(loopback()).unwrap();
    let taken = [(Transport::Tcp, tcp.local_addr().unwrap()), (Transport::Udp, udp.local_addr().unwrap())];
    for (transport, address) in taken {
        let error = refusal(transport, address);
        let BindErrorKind::Busy { owner: Some(owner) } = &error.kind else { panic!("{error}") };
        assert_eq!(owner.pid, Some(std::process::id()));
        let words = error.to_string();
        assert!(
            words.starts_with(&format!("cannot listen on {transport} {address}: the port is taken by ")),
            "{words}"
        );
        assert!(words.contains(&format!("(process {})", std::process::id())), "{words}");
    }
}

#[test]
fn a_second_node_does_not_share_the_port_of_the_first() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let node = Node::one(transport, NetConfig { shards: 2, ..quick() });
        let error = refusal(transport, node.address(0));
        assert!(matches!(error.kind, BindErrorKind::Busy { owner: Some(_) }), "{error}");
    }
}

#[test]
fn a_foreign_address_is_named() {
    let error = refusal(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
    assert_eq!(
        error.to_string(),
        "cannot listen on UDP 192.0.2.1:5060: no interface of this machine has the address 192.0.2.1"
    );
}

#[test]
fn a_port_is_free_again_after_the_stop() {
    let mut node = Node::one(Transport::Tcp, NetConfig { shards: 2, ..quick() });
    let address = node.address(0);
    assert!(node.stop(std::time::Duration::ZERO).finished);
    let again = Node::start(&[(Transport::Tcp, address)], quick());
    assert_eq!(again.address(0), address);
}

#[test]
fn a_secure_listener_without_certificate_does_not_start() {
    let mut config = quick();
    config.listeners.push(Listener::plain(Transport::Tls, loopback()));
    let started = start(config, Clock::start(), |_: Birth<Echo>| -> Parts<Echo, Lines> { unreachable!() });
    assert!(matches!(started.unwrap_err(), StartError::NoCertificate(_)));
}
