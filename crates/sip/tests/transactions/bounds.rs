//! Nothing that a peer does grows without bound.

use farspeak_sansio::{Flow, FlowId, Machine};
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::message::{HeaderName, Limits};

use crate::bench::{Bench, incoming, secs, tcp, udp};

fn via(n: usize) -> String {
    format!("UDP 10.0.0.1;rport;branch=z9hG4bK{n}")
}

#[test]
fn a_full_table_answers_503_without_state() {
    let mut config = EndpointConfig::default();
    config.max_transactions = 3;
    let mut bench = Bench::with(config);
    for n in 0..3 {
        bench.receive(udp(), &incoming("INVITE", &via(n)));
    }
    bench.sent();
    assert_eq!(bench.events().len(), 3);
    for _ in 0..2 {
        bench.receive(udp(), &incoming("INVITE", &via(4)));
        let refusal = bench.sent_one();
        assert_eq!(refusal.first_line(), "SIP/2.0 503 Service Unavailable");
        assert_eq!(refusal.message().header(HeaderName::RetryAfter), Some("5"));
        assert!(refusal.message().to_tag().is_some());
        assert_eq!(refusal.flow, udp());
    }
    assert!(bench.event_names().is_empty());
    assert_eq!((bench.endpoint.counts().transactions(), bench.endpoint.counts().refused), (3, 2));
    // What belongs to one that is there passes: its retransmission, its CANCEL.
    bench.receive(udp(), &incoming("INVITE", &via(1)));
    bench.receive(udp(), &incoming("CANCEL", &via(1)));
    assert_eq!(bench.event_names(), ["Cancel"]);
    // The ACK to a 503 leaves nothing either.
    bench.receive(udp(), &incoming("ACK", &via(4)));
    assert_eq!(bench.event_names(), ["Ack"]);
}

#[test]
fn one_flow_cannot_take_all_the_room() {
    let mut config = EndpointConfig::default();
    config.max_open_per_flow = 2;
    let mut bench = Bench::with(config);
    let other = Flow { id: FlowId::new(0, 9, 1), ..tcp() };
    for n in 0..3 {
        bench.receive(tcp(), &incoming("OPTIONS", &via(n)));
    }
    assert_eq!(bench.sent_one().brief(), "0 503");
    bench.receive(other, &incoming("OPTIONS", &via(3)));
    assert!(bench.sent().is_empty(), "another flow is not affected");
    // An answered request counts no longer.
    let events = bench.events();
    let farspeak_sip::endpoint::Event::Request { tx, .. } = &events[0] else { panic!("{events:?}") };
    bench.respond(*tx, 200);
    bench.receive(tcp(), &incoming("OPTIONS", &via(5)));
    assert_eq!(bench.sent_one().brief(), "0 200");
    bench.assert_settles();
}

#[test]
fn a_flow_that_failed_gives_its_room_back() {
    let mut config = EndpointConfig::default();
    config.max_open_per_flow = 1;
    let mut bench = Bench::with(config);
    for _ in 0..3 {
        bench.receive(tcp(), &incoming("INVITE", &via(1)));
        let tx = bench.requested();
        bench.endpoint.handle_flow_failed(bench.now, tcp());
        bench.respond(tx, 487);
        bench.assert_settles();
        bench.events();
    }
}

#[test]
fn finished_transactions_do_not_count_against_their_flow() {
    let mut config = EndpointConfig::default();
    config.max_open_per_flow = 1;
    let mut bench = Bench::with(config);
    for n in 0..100 {
        bench.receive(udp(), &incoming("OPTIONS", &via(n)));
        let tx = bench.requested();
        bench.respond(tx, 200);
        assert_eq!(bench.sent_one().brief(), "0 200");
    }
    bench.assert_settles();
}

#[test]
fn bounds_change_while_running() {
    let mut bench = Bench::new();
    bench.endpoint.set_bounds(Limits::default(), 0, 1);
    bench.receive(udp(), &incoming("OPTIONS", &via(1)));
    assert_eq!(bench.sent_one().brief(), "0 503");
}

#[test]
fn answered_calls_leave_few_timers_behind() {
    // 20 calls answered at once: what fires later is what still matters.
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.receive(udp(), &incoming("INVITE", &via(n)));
        let tx = bench.requested();
        bench.respond(tx, 200);
        bench.pass(secs(1.0));
    }
    assert!(bench.endpoint.counts().timers <= 20, "{:?}", bench.endpoint.counts());
    bench.assert_settles();
}
