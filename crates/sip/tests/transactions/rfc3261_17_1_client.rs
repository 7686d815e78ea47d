//! RFC 3261 §17.1: client transactions.

use farspeak_sip::message::{HeaderName, Method};

use crate::bench::{Bench, response, secs, tcp, udp};

#[test]
fn retransmits_invite_with_doubling_intervals_until_timer_b() {
    // §17.1.1.2
    let mut bench = Bench::new();
    bench.request(udp(), &Method::Invite);
    let expected = ["0 INVITE", "0.5 INVITE", "1.5 INVITE", "3.5 INVITE", "7.5 INVITE", "15.5 INVITE", "31.5 INVITE"];
    assert_eq!(bench.pass(secs(40.0)), expected);
    assert_eq!(bench.event_names(), ["TimedOut", "ClientTerminated"]);
    bench.assert_settles();
}

#[test]
fn never_retransmits_on_a_stream_but_times_out_as_well() {
    // §17.1.1.2, §17.1.2.2
    for method in [Method::Invite, Method::Register] {
        let mut bench = Bench::new();
        bench.request(tcp(), &method);
        assert_eq!(bench.pass(secs(31.9)).len(), 1);
        assert!(bench.event_names().is_empty());
        bench.pass(secs(0.1));
        assert_eq!(bench.event_names(), ["TimedOut", "ClientTerminated"]);
        bench.assert_settles();
    }
}

#[test]
fn a_provisional_response_stops_the_retransmission_of_invite() {
    // §17.1.1.2
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    bench.pass(secs(0.6));
    bench.receive(udp(), &response(180, "INVITE", &branch, "b"));
    assert!(bench.pass(secs(100.0)).is_empty());
    bench.receive(udp(), &response(183, "INVITE", &branch, "b"));
    bench.receive(udp(), &response(486, "INVITE", &branch, "b"));
    assert_eq!(bench.event_names(), ["Response 180", "Response 183", "Response 486"]);
    bench.assert_settles();
}

#[test]
fn acknowledges_a_failure_as_the_rfc_builds_it() {
    // §17.1.1.3
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    bench.sent();
    bench.receive(udp(), &response(486, "INVITE", &branch, "theirs"));
    let ack = bench.sent_one();
    assert_eq!(ack.flow, udp());
    assert_eq!(
        ack.text,
        format!(
            "ACK sip:bob@biloxi.example SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\n\
             Max-Forwards: 70\r\n\
             Route: <sip:ss1.example;lr>, <sip:ss2.example;lr>\r\n\
             From: Alice <sip:alice@atlanta.example>;tag=9fxced76sl\r\n\
             To: Bob <sip:bob@biloxi.example>;tag=theirs\r\n\
             Call-ID: 3848276298220188511@atlanta.example\r\n\
             CSeq: 7 ACK\r\n\
             Content-Length: 0\r\n\r\n"
        )
    );
    assert_eq!(ack.message().check_essential(), Ok(()));
}

#[test]
fn acknowledges_every_retransmission_of_a_failure_and_tells_its_user_once() {
    // §17.1.1.2
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    for _ in 0..3 {
        bench.receive(udp(), &response(486, "INVITE", &branch, "b"));
        bench.now += secs(1.0);
    }
    let acks = bench.sent().iter().filter(|sent| sent.first_line().starts_with("ACK")).count();
    assert_eq!((acks, bench.event_names()), (3, vec!["Response 486".to_owned()]));
    // Timer D, 32 s after the first.
    bench.pass(secs(28.9));
    assert!(bench.event_names().is_empty());
    bench.pass(secs(0.2));
    assert_eq!(bench.event_names(), ["ClientTerminated"]);
    bench.assert_settles();
}

#[test]
fn a_failure_over_a_stream_is_acknowledged_and_the_transaction_over() {
    // §17.1.1.2: ACK even if the transport is reliable; Timer D is zero
    let mut bench = Bench::new();
    let (_, branch) = bench.request(tcp(), &Method::Invite);
    bench.sent();
    bench.receive(tcp(), &response(603, "INVITE", &branch, "b"));
    assert!(bench.sent_one().first_line().starts_with("ACK "));
    assert_eq!(bench.event_names(), ["Response 603", "ClientTerminated"]);
    assert_eq!(bench.endpoint.counts().transactions(), 0);
}

#[test]
fn retransmits_other_requests_up_to_t2_until_timer_f() {
    // §17.1.2.2
    let mut bench = Bench::new();
    bench.request(udp(), &Method::Options);
    let expected = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5];
    assert_eq!(bench.pass(secs(40.0)), expected.map(|at| format!("{at} OPTIONS")));
    assert_eq!(bench.event_names(), ["TimedOut", "ClientTerminated"]);
    bench.assert_settles();
}

#[test]
fn other_requests_are_retransmitted_every_t2_after_a_provisional_response() {
    // §17.1.2.2
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Options);
    bench.sent();
    bench.receive(udp(), &response(100, "OPTIONS", &branch, "b"));
    assert_eq!(bench.pass(secs(10.0)), ["0.5 OPTIONS", "4.5 OPTIONS", "8.5 OPTIONS"]);
    bench.receive(udp(), &response(200, "OPTIONS", &branch, "b"));
    assert!(bench.pass(secs(4.9)).is_empty());
    assert_eq!(bench.event_names(), ["Response 100", "Response 200"]);
    // Timer K
    bench.pass(secs(0.2));
    assert_eq!(bench.event_names(), ["ClientTerminated"]);
    bench.assert_settles();
}

#[test]
fn absorbs_further_responses_to_other_requests_for_timer_k() {
    // §17.1.2.2
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Bye);
    for _ in 0..3 {
        bench.receive(udp(), &response(200, "BYE", &branch, "b"));
    }
    assert_eq!(bench.event_names(), ["Response 200"]);
    bench.assert_settles();
}

#[test]
fn responses_match_by_branch_and_method() {
    // §17.1.3
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    bench.receive(udp(), &response(200, "BYE", &branch, "b"));
    bench.receive(udp(), &response(200, "INVITE", "z9hG4bKother", "b"));
    assert_eq!(bench.event_names(), ["StrayResponse", "StrayResponse"]);
    bench.receive(udp(), &response(200, "INVITE", &branch.to_uppercase(), "b"));
    assert_eq!(bench.event_names(), ["Response 200"]);
    assert_eq!(bench.endpoint.counts().stray_responses, 2);
}

#[test]
fn two_transactions_on_one_flow_do_not_mix() {
    let mut bench = Bench::new();
    let (first, _) = bench.request(udp(), &Method::Options);
    let (second, branch) = bench.request(udp(), &Method::Options);
    assert_ne!(first, second);
    bench.receive(udp(), &response(200, "OPTIONS", &branch, "b"));
    let events = bench.events();
    assert!(matches!(&events[..], [farspeak_sip::endpoint::Event::Response { tx, .. }] if *tx == second), "{events:?}");
    bench.assert_settles();
}

#[test]
fn an_ack_is_sent_without_a_transaction() {
    // §17.1
    let mut bench = Bench::new();
    bench.request(udp(), &Method::Ack);
    assert!(bench.sent_one().first_line().starts_with("ACK "));
    assert_eq!(bench.endpoint.counts().transactions(), 0);
}

#[test]
fn a_branch_used_twice_ends_the_older_transaction() {
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    bench.receive(udp(), &response(200, "INVITE", &branch, "b"));
    let bytes = crate::bench::outgoing(&Method::Invite, &branch);
    bench.endpoint.request(bench.now, udp(), &Method::Invite, &branch, bytes.as_bytes());
    assert_eq!(bench.event_names(), ["Response 200", "ClientTerminated"]);
    assert_eq!(bench.endpoint.counts().client_invite, 1);
    bench.assert_settles();
}

#[test]
fn the_ack_names_the_to_of_the_response_only() {
    let mut bench = Bench::new();
    let (_, branch) = bench.request(udp(), &Method::Invite);
    bench.sent();
    bench.receive(udp(), &response(404, "INVITE", &branch, "x").replace("To: Bob", "t:\r\n Robert"));
    let ack = bench.sent_one().message();
    assert_eq!(ack.to_tag(), Some("x"));
    assert_eq!(ack.headers(HeaderName::Via).count(), 1);
}
