//! RFC 6026: what happens after a 2xx to INVITE.

use farspeak_sansio::Machine;
use farspeak_sip::message::Method;

use crate::bench::{Bench, VIA, incoming, response, secs, tcp, udp};

#[test]
fn server_absorbs_retransmitted_invites_after_a_2xx() {
    // §7.1
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 200);
    bench.sent();
    bench.receive(udp(), &incoming("INVITE", VIA));
    assert!(bench.sent().is_empty() && bench.event_names().is_empty());
}

#[test]
fn server_sends_each_2xx_of_its_user_and_none_of_its_own() {
    // §7.1
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 200);
    assert_eq!(bench.pass(secs(5.0)), ["0 200"]);
    bench.respond(tx, 200);
    bench.respond(tx, 486);
    bench.respond(tx, 180);
    assert_eq!(bench.pass(secs(5.0)), ["5 200"]);
}

#[test]
fn server_hands_acks_to_its_user_after_a_2xx() {
    // §7.1: MUST be passed to the TU and not absorbed
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 200);
    bench.receive(udp(), &incoming("ACK", VIA));
    bench.receive(udp(), &incoming("ACK", VIA));
    assert_eq!(bench.event_names(), ["Ack", "Ack"]);
}

#[test]
fn server_ends_by_timer_l_on_every_transport() {
    // §8.7
    for flow in [udp(), tcp()] {
        let mut bench = Bench::new();
        bench.receive(flow, &incoming("INVITE", VIA));
        let tx = bench.requested();
        bench.respond(tx, 200);
        bench.pass(secs(31.9));
        assert!(bench.event_names().is_empty());
        bench.pass(secs(0.2));
        assert_eq!(bench.event_names(), ["ServerTerminated"]);
        bench.sent();
        // §8.3: a response without a transaction is discarded.
        bench.respond(tx, 200);
        assert!(bench.sent().is_empty());
        bench.assert_settles();
    }
}

#[test]
fn server_state_survives_a_transport_failure() {
    // §7.1
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.endpoint.handle_flow_failed(bench.now, udp());
    bench.respond(tx, 200);
    bench.endpoint.handle_flow_failed(bench.now, udp());
    assert_eq!(bench.event_names(), ["ServerTransportFailed", "ServerTransportFailed"]);
    bench.receive(udp(), &incoming("INVITE", VIA));
    assert!(bench.event_names().is_empty(), "still absorbed");
    bench.assert_settles();
}

#[test]
fn client_passes_every_2xx_and_acknowledges_none() {
    // §7.2: retransmissions, and those of other forks
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    bench.sent();
    bench.receive(udp(), &response(200, "INVITE", &branch, "fork1"));
    bench.receive(udp(), &response(200, "INVITE", &branch, "fork1"));
    bench.receive(udp(), &response(200, "INVITE", &branch, "fork2"));
    assert_eq!(bench.event_names(), ["Response 200", "Response 200", "Response 200"]);
    assert!(bench.pass(secs(31.0)).is_empty());
}

#[test]
fn client_ignores_other_responses_after_a_2xx() {
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    bench.receive(udp(), &response(200, "INVITE", &branch, "b"));
    bench.events();
    bench.sent();
    bench.receive(udp(), &response(180, "INVITE", &branch, "b"));
    bench.receive(udp(), &response(486, "INVITE", &branch, "c"));
    assert!(bench.event_names().is_empty() && bench.sent().is_empty());
}

#[test]
fn client_ends_by_timer_m_and_then_a_2xx_is_a_stray() {
    // §7.2, §7.3
    for flow in [udp(), tcp()] {
        let mut bench = Bench::new();
        let (_, branch) = bench.request(flow, &Method::Invite);
        bench.receive(flow, &response(200, "INVITE", &branch, "b"));
        bench.pass(secs(31.9));
        bench.receive(flow, &response(200, "INVITE", &branch, "b"));
        bench.pass(secs(0.2));
        bench.receive(flow, &response(200, "INVITE", &branch, "b"));
        assert_eq!(bench.event_names(), ["Response 200", "Response 200", "ClientTerminated", "StrayResponse"]);
        bench.assert_settles();
    }
}
