//! RFC 6062 §4 from the client's side: connections to and from peers.

#[path = "support/desk.rs"]
#[allow(dead_code)]
mod desk;

use desk::{Desk, address, config, secs};
use farspeak_sansio::{Flow, FlowId, Machine, Transport};
use farspeak_stun::{Attribute, Class, Method, TransactionId, Writer};
use farspeak_turn::client::{Config, Event, Failure};

const PEER: &str = "203.0.113.5:80";

fn desk() -> Desk {
    Desk::allocated_with(Config { streams: true, ..config() }, Transport::Tcp)
}

/// A second stream to the server.
fn stream(port: u16) -> Flow {
    Flow { local: std::net::SocketAddr::new(address(desk::LOCAL).ip(), port), ..desk::flow(Transport::Tcp) }
}

fn attempt(peer: &str, connection: u32) -> Vec<u8> {
    let mut buffer = [0; 128];
    let mut writer = Writer::new(&mut buffer, Class::Indication, Method::CONNECTION_ATTEMPT, TransactionId([5; 12]));
    writer.push(Attribute::ConnectionId(connection)).push(Attribute::XorPeerAddress(address(peer)));
    writer.finish().unwrap().to_vec()
}

fn failure(desk: &mut Desk) -> Failure {
    match desk.event() {
        Some(Event::NotConnected { failure, .. }) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn asks_for_tcp_and_for_nothing_that_only_udp_has() {
    let everything = Config {
        streams: true,
        dont_fragment: true,
        even_port: Some(Default::default()),
        reservation: Some([1; 8]),
        ..config()
    };
    let mut desk = Desk::new(everything, Transport::Tls);
    desk.client.allocate(desk.now);
    let request = desk.next();
    assert_eq!(request.read().requested_transport(), Ok(Some(6)));
    assert_eq!(request.read().attributes().count(), 1);
}

#[test]
fn connects_to_a_peer_over_a_stream_of_its_own() {
    let mut desk = desk();
    desk.client.connect(desk.now, address(PEER));
    desk.client.connect(desk.now, address(PEER));
    let request = desk.next();
    assert_eq!((request.method(), request.peers()), (Method::CONNECT, vec![address(PEER)]));
    assert!(desk.poll().is_none(), "not twice at the same time (RFC 6062 §4.3)");
    desk.grant(&request, |writer| {
        writer.push(Attribute::ConnectionId(77));
    });
    assert_eq!(desk.event(), Some(Event::Offered { peer: address(PEER), connection: 77 }));
    desk.client.accept(desk.now, 77, stream(4001));
    let request = desk.next();
    assert_eq!((request.method(), request.flow), (Method::CONNECTION_BIND, stream(4001)));
    assert!(desk.is_sealed(&request));
    assert_eq!(request.read().connection_id(), Ok(Some(77)));
    let opened = desk::Paper { flow: Flow { id: FlowId::new(0, 9, 1), ..stream(4001) }, ..request };
    desk.grant(&opened, |_| {});
    assert_eq!(desk.event(), Some(Event::Joined { peer: address(PEER), stream: opened.flow }));
    // The stream is the owner's now: its end is nothing to the allocation.
    assert!(!desk.client.is_from_server(&opened.flow) || desk.client.flow().id == FlowId::UNBOUND);
    desk.client.handle_flow_failed(desk.now, Flow { local: address("10.0.0.7:4001"), ..stream(4001) });
    assert!(desk.client.is_allocated());
}

#[test]
fn takes_what_permitted_peers_offer() {
    let mut desk = desk();
    desk.permit("203.0.113.5");
    desk.deliver(desk.flow, &attempt("203.0.113.66:1000", 1));
    assert_eq!(desk.event(), None, "not permitted");
    for _ in 0..2 {
        desk.deliver(desk.flow, &attempt("203.0.113.5:1000", 2));
    }
    assert_eq!(desk.event(), Some(Event::Offered { peer: address("203.0.113.5:1000"), connection: 2 }));
    assert_eq!(desk.event(), None, "told once");
    desk.client.accept(desk.now, 3, stream(4001));
    assert!(desk.poll().is_none(), "no such offer");
    desk.pass(secs(30));
    desk.client.accept(desk.now, 2, stream(4001));
    assert!(desk.poll().is_none(), "the server has given it up");
}

#[test]
fn refuses_more_offers_than_sixteen() {
    let mut desk = desk();
    desk.permit("203.0.113.5");
    for connection in 0..100 {
        desk.deliver(desk.flow, &attempt("203.0.113.5:1000", connection));
    }
    let offers = std::iter::from_fn(|| desk.event()).count();
    assert_eq!(offers, 16);
    for connection in 0..16 {
        desk.client.accept(desk.now, connection, stream(5000 + connection as u16));
    }
    let asked = std::iter::from_fn(|| desk.poll()).count();
    assert_eq!(asked, 7, "a refresh never waits for them");
    assert_eq!(std::iter::from_fn(|| desk.event()).count(), 16 - 7);
    for connection in 100..200 {
        desk.deliver(desk.flow, &attempt("203.0.113.5:1000", connection));
    }
    assert_eq!(std::iter::from_fn(|| desk.event()).count(), 16 - 7);
    desk.client.connect(desk.now, address("203.0.113.6:80"));
    assert_eq!(failure(&mut desk), Failure::Full);
}

#[test]
fn tells_why_there_is_no_connection() {
    for code in [403, 446, 447] {
        let mut desk = desk();
        desk.client.connect(desk.now, address(PEER));
        let request = desk.next();
        desk.refuse(&request, code);
        assert_eq!(failure(&mut desk).code(), Some(code));
        assert!(desk.client.is_allocated());
        desk.client.connect(desk.now, address(PEER));
        assert_eq!(desk.next().method(), Method::CONNECT);
    }
    let mut desk = desk();
    desk.client.connect(desk.now, address(PEER));
    let request = desk.next();
    desk.grant(&request, |_| {});
    assert_eq!(failure(&mut desk), Failure::Unusable);
    // The second stream cannot be opened, or the server has changed its mind.
    for refuses in [true, false] {
        desk.client.connect(desk.now, address(PEER));
        let request = desk.next();
        desk.grant(&request, |writer| {
            writer.push(Attribute::ConnectionId(5));
        });
        desk.event();
        desk.client.accept(desk.now, 5, stream(4002));
        let request = desk.next();
        if refuses {
            desk.refuse(&request, 400);
        } else {
            desk.client.handle_flow_failed(desk.now, stream(4002));
        }
        failure(&mut desk);
        assert!(desk.client.is_allocated());
    }
}

#[test]
fn refuses_offers_where_udp_is_relayed() {
    let mut desk = Desk::allocated_with(config(), Transport::Tcp);
    desk.permit("203.0.113.5");
    desk.deliver(desk.flow, &attempt("203.0.113.5:1000", 2));
    assert_eq!(desk.event(), None);
}
