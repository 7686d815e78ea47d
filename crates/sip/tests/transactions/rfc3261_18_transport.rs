//! RFC 3261 §18: where responses go, what a failed transport does, and what cannot be read. RFC 3581: rport.

use std::net::SocketAddr;

use farspeak_sansio::{Flow, FlowId, Machine, Transport};
use farspeak_sip::endpoint::{Branch, EndpointConfig, Event, needs_stream};
use farspeak_sip::message::Method;

use crate::bench::{Bench, VIA, flow, incoming, response, secs, tcp, udp};

/// Where a response to a request with this Via goes.
fn response_flow(bench: &mut Bench, flow: Flow, via: &str) -> Flow {
    bench.receive(flow, &incoming("OPTIONS", via));
    let tx = bench.requested();
    bench.respond(tx, 200);
    bench.sent_one().flow
}

#[test]
fn rport_sends_the_response_to_the_source_port() {
    // RFC 3581 §4
    let mut bench = Bench::new();
    assert_eq!(response_flow(&mut bench, udp(), "UDP 10.0.0.1:5062;branch=z9hG4bKa;rport"), udp());
}

#[test]
fn without_rport_the_response_goes_to_the_source_address_and_the_port_of_sent_by() {
    // §18.2.2
    let mut bench = Bench::new();
    let to = |port| Flow { remote: SocketAddr::from(([192, 0, 2, 99], port)), ..udp() };
    assert_eq!(response_flow(&mut bench, udp(), "UDP 10.0.0.1:5062;branch=z9hG4bKa"), to(5062));
    assert_eq!(response_flow(&mut bench, udp(), "UDP 10.0.0.1;branch=z9hG4bKb"), to(5060));
    assert_eq!(response_flow(&mut bench, udp(), "UDP 10.0.0.1;received=203.0.113.9;branch=z9hG4bKc"), to(5060));
}

#[test]
fn never_sends_to_maddr_unless_the_operator_wants_it() {
    // §18.2.2 and the deviation in EndpointConfig::follow_maddr
    let via = "UDP 10.0.0.1:5062;branch=z9hG4bKa;maddr=203.0.113.77";
    let to = |address: [u8; 4]| Flow { remote: SocketAddr::from((address, 5062)), ..udp() };
    assert_eq!(response_flow(&mut Bench::new(), udp(), via), to([192, 0, 2, 99]));
    let mut config = EndpointConfig::default();
    config.follow_maddr = true;
    assert_eq!(response_flow(&mut Bench::with(config), udp(), via), to([203, 0, 113, 77]));
}

#[test]
fn a_stream_carries_its_responses_back() {
    // §18.2.2
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        let mut bench = Bench::new();
        let via = format!("{transport} df7jal23ls0d.invalid;branch=z9hG4bKa");
        assert_eq!(response_flow(&mut bench, flow(transport), &via), flow(transport));
    }
}

#[test]
fn requests_are_stamped_before_the_user_sees_them() {
    // §18.2.1, RFC 3581 §4
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    let events = bench.events();
    let [Event::Request { request, .. }] = &events[..] else { panic!("{events:?}") };
    let via = request.via().unwrap();
    assert_eq!((via.received(), via.rport()), (Some(udp().remote.ip()), Some(Some(40000))));
}

#[test]
fn a_lost_tcp_connection_is_replaced_for_the_response() {
    // §18.2.2: open one to the source address at the port of sent-by
    let mut bench = Bench::new();
    bench.receive(tcp(), &incoming("INVITE", "TCP 10.0.0.1:5062;branch=z9hG4bKa"));
    let tx = bench.requested();
    bench.endpoint.handle_flow_failed(bench.now, tcp());
    assert!(bench.event_names().is_empty());
    bench.respond(tx, 486);
    let expected = Flow { id: FlowId::UNBOUND, remote: SocketAddr::from(([192, 0, 2, 99], 5062)), ..tcp() };
    assert_eq!(bench.sent_one().flow, expected);
    // That fails as well: now the user hears of it, and the state stays (RFC 6026 §7.1).
    bench.endpoint.handle_flow_failed(bench.now, expected);
    assert_eq!(bench.event_names(), ["ServerTransportFailed"]);
    bench.receive(tcp(), &incoming("INVITE", "TCP 10.0.0.1:5062;branch=z9hG4bKa"));
    assert!(bench.event_names().is_empty());
    bench.assert_settles();
}

#[test]
fn a_lost_tls_connection_is_reported() {
    for transport in [Transport::Tls, Transport::Wss] {
        let mut bench = Bench::new();
        bench.receive(flow(transport), &incoming("INVITE", "TLS 10.0.0.1:5062;branch=z9hG4bKa"));
        let tx = bench.requested();
        bench.endpoint.handle_flow_failed(bench.now, flow(transport));
        assert_eq!(bench.event_names(), ["ServerTransportFailed"]);
        bench.respond(tx, 487);
        bench.assert_settles();
    }
}

#[test]
fn a_failed_flow_fails_its_own_transactions_and_no_others() {
    // §17.1.4, §18.4
    let mut bench = Bench::new();
    let other = Flow { id: FlowId::new(0, 8, 1), ..tcp() };
    let (a, _) = bench.request(tcp(), &Method::Invite);
    let (b, branch) = bench.request(tcp(), &Method::Invite);
    bench.receive(tcp(), &response(180, "INVITE", &branch, "b"));
    let (c, _) = bench.request(tcp(), &Method::Options);
    bench.request(other, &Method::Invite);
    bench.request(udp(), &Method::Options);
    bench.events();
    bench.endpoint.handle_flow_failed(bench.now, tcp());
    let mut failed: Vec<_> = bench
        .events()
        .iter()
        .filter_map(|event| if let Event::TransportFailed { tx } = event { Some(*tx) } else { None })
        .collect();
    failed.sort();
    let mut expected = vec![a, b, c];
    expected.sort();
    assert_eq!(failed, expected);
    assert_eq!(bench.endpoint.counts().transactions(), 2);
    bench.assert_settles();
}

#[test]
fn a_failed_datagram_flow_is_one_peer_not_the_socket() {
    let mut bench = Bench::new();
    let other = Flow { remote: SocketAddr::from(([192, 0, 2, 100], 5060)), ..udp() };
    bench.request(udp(), &Method::Options);
    bench.request(other, &Method::Options);
    bench.endpoint.handle_flow_failed(bench.now, other);
    assert_eq!(bench.event_names(), ["TransportFailed", "ClientTerminated"]);
    assert_eq!(bench.endpoint.counts().transactions(), 1);
}

#[test]
fn an_accepted_invite_survives_its_flow() {
    let mut bench = Bench::new();
    let (_, branch) = bench.request(tcp(), &Method::Invite);
    bench.receive(tcp(), &response(200, "INVITE", &branch, "b"));
    bench.endpoint.handle_flow_failed(bench.now, tcp());
    assert_eq!(bench.event_names(), ["Response 200"]);
    bench.assert_settles();
}

#[test]
fn a_connection_opened_for_a_request_is_used_from_then_on() {
    let mut bench = Bench::new();
    let unbound = Flow { id: FlowId::UNBOUND, ..tcp() };
    let (tx, branch) = bench.request(unbound, &Method::Invite);
    assert_eq!(bench.sent_one().flow, unbound);
    bench.receive(tcp(), &response(180, "INVITE", &branch, "b"));
    bench.endpoint.cancel(bench.now, tx);
    assert_eq!(bench.sent_one().flow, tcp());
    bench.events();
    bench.endpoint.handle_flow_failed(bench.now, tcp());
    assert_eq!(bench.event_names()[..], ["TransportFailed", "ClientTerminated"]);
    assert_eq!(bench.endpoint.counts().transactions(), 0, "the CANCEL went with it");
}

#[test]
fn a_request_that_found_no_connection_fails() {
    let mut bench = Bench::new();
    let unbound = Flow { id: FlowId::UNBOUND, ..tcp() };
    bench.request(unbound, &Method::Invite);
    bench.endpoint.handle_flow_failed(bench.now, unbound);
    assert_eq!(bench.event_names(), ["TransportFailed", "ClientTerminated"]);
    // The driver had already given the connection a handle when it broke.
    bench.request(unbound, &Method::Invite);
    bench.endpoint.handle_flow_failed(bench.now, tcp());
    assert_eq!(bench.event_names(), ["TransportFailed", "ClientTerminated"]);
    bench.assert_settles();
}

#[test]
fn responses_for_another_shard_are_handed_over() {
    let mut bench = Bench::new();
    let theirs = Branch::new(3, 1, 1).to_string();
    let text = response(200, "INVITE", &theirs, "b");
    bench.receive(udp(), &text);
    let events = bench.events();
    assert!(
        matches!(&events[..], [Event::Misrouted { shard: 3, bytes, .. }] if bytes == text.as_bytes()),
        "{events:?}"
    );
}

#[test]
fn malformed_requests_are_answered_and_other_bytes_are_not() {
    // §16.3, §18.3
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("OPTIONS", VIA).replace("Max-Forwards: 70", "Max Forwards 70"));
    let answer = bench.sent_one();
    assert!(answer.first_line().starts_with("SIP/2.0 400 "), "{}", answer.text);
    assert_eq!(answer.flow, udp());
    assert!(answer.text.contains(";rport=40000"), "{}", answer.text);
    bench.receive(udp(), &incoming("OPTIONS", "UDP 10.0.0.1").replace("CSeq: 2", "CSeq: two"));
    assert_eq!(bench.sent_one().first_line(), "SIP/2.0 400 Malformed CSeq");
    for text in [
        incoming("ACK", VIA).replace("Max-Forwards: 70", "Max Forwards 70"),
        incoming("OPTIONS", VIA).replace("Via:", "Wia:"),
        incoming("OPTIONS", "UDP ;branch=z9hG4bKx"),
        response(200, "INVITE", "z9hG4bKx", "b").replace("CSeq: 7 INVITE", "CSeq: x INVITE"),
        response(200, "INVITE", "z9hG4bKx", "b").replace("Via", "Wia"),
        "\r\n\r\n".to_owned(),
        String::new(),
        "INVITE".to_owned(),
    ] {
        bench.receive(udp(), &text);
        assert!(bench.sent().is_empty() && bench.event_names().is_empty(), "{text}");
    }
    let counts = bench.endpoint.counts();
    assert_eq!((counts.transactions(), counts.malformed), (0, 10));
}

#[test]
fn long_requests_between_servers_want_a_stream() {
    // §18.1.1
    assert!(!needs_stream(1300, None) && needs_stream(1301, None));
    assert!(!needs_stream(1300, Some(1500)) && needs_stream(1301, Some(1500)));
}

#[test]
fn acks_to_success_pass_without_a_transaction() {
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("ACK", "UDP 10.0.0.1;branch=z9hG4bKnew"));
    assert_eq!(bench.event_names(), ["Ack"]);
    assert_eq!(bench.endpoint.counts().transactions(), 0);
    let ack = incoming("ACK", VIA);
    bench.endpoint.send_stateless(bench.now, udp(), ack.as_bytes());
    assert_eq!(bench.sent_one().text, ack);
    assert!(bench.pass(secs(40.0)).is_empty());
}
