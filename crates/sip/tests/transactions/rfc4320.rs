//! RFC 4320: what may be sent to a non-INVITE request, and when.

use crate::bench::{Bench, VIA, incoming, secs, tcp, udp};

#[test]
fn sends_100_when_timer_e_reaches_t2() {
    // §4.1: without regard to transport
    for flow in [udp(), tcp()] {
        let mut bench = Bench::new();
        bench.receive(flow, &incoming("REGISTER", VIA));
        assert_eq!(bench.pass(secs(10.0)), ["3.5 100"]);
        let tx = bench.requested();
        bench.respond(tx, 200);
        assert_eq!(bench.sent_one().brief(), "10 200");
        bench.assert_settles();
    }
}

#[test]
fn sends_no_early_100_on_datagrams() {
    // §4.1
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("REGISTER", VIA));
    let tx = bench.requested();
    bench.respond(tx, 100);
    assert!(bench.pass(secs(3.4)).is_empty());
    assert_eq!(bench.pass(secs(0.2)), ["3.5 100"]);
    bench.respond(tx, 100);
    assert_eq!(bench.sent().len(), 1, "from then on it may");
}

#[test]
fn may_send_100_at_any_time_on_a_stream() {
    // §4.1
    let mut bench = Bench::new();
    bench.receive(tcp(), &incoming("REGISTER", VIA));
    let tx = bench.requested();
    bench.respond(tx, 100);
    assert_eq!(bench.pass(secs(10.0)), ["0 100"]);
}

#[test]
fn never_sends_another_provisional_response() {
    // §4.1
    for flow in [udp(), tcp()] {
        let mut bench = Bench::new();
        bench.receive(flow, &incoming("REGISTER", VIA));
        let tx = bench.requested();
        bench.respond(tx, 183);
        assert!(bench.sent().is_empty());
    }
}

#[test]
fn never_sends_408_to_a_non_invite_request() {
    // §4.2
    for flow in [udp(), tcp()] {
        let mut bench = Bench::new();
        bench.receive(flow, &incoming("REGISTER", VIA));
        let tx = bench.requested();
        bench.respond(tx, 408);
        bench.respond(tx, 500);
        assert!(bench.pass(secs(3.0)).is_empty());
        if flow == udp() {
            bench.receive(flow, &incoming("REGISTER", VIA));
            assert!(bench.event_names().is_empty(), "retransmissions are still absorbed");
        }
        assert!(bench.pass(secs(40.0)).is_empty());
        bench.assert_settles();
    }
}

#[test]
fn invite_gets_its_408() {
    let mut bench = Bench::new();
    bench.receive(tcp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 408);
    assert_eq!(bench.sent_one().brief(), "0 408");
}

#[test]
fn never_answers_late() {
    // §4.2
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("REGISTER", VIA));
    let tx = bench.requested();
    bench.pass(secs(32.0));
    bench.respond(tx, 200);
    assert!(bench.sent().is_empty());
    bench.assert_settles();
    assert_eq!(bench.event_names(), ["ServerTerminated"]);
}
