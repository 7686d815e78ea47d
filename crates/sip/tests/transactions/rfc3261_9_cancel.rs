//! RFC 3261 §9: CANCEL.

use farspeak_sansio::FlowId;
use farspeak_sip::message::Method;

use crate::bench::{Bench, VIA, incoming, response, secs, tcp, udp};

#[test]
fn cancel_waits_for_a_provisional_response() {
    // §9.1
    let mut bench = Bench::new();
    let (tx, branch) = bench.request(udp(), &Method::Invite);
    bench.sent();
    bench.endpoint.cancel(bench.now, tx);
    assert!(bench.sent().is_empty());
    bench.receive(udp(), &response(100, "INVITE", &branch, "b"));
    let cancel = bench.sent_one();
    assert_eq!(
        cancel.text,
        format!(
            "CANCEL sip:bob@biloxi.example SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\n\
             Max-Forwards: 70\r\n\
             Route: <sip:ss1.example;lr>, <sip:ss2.example;lr>\r\n\
             From: Alice <sip:alice@atlanta.example>;tag=9fxced76sl\r\n\
             To: Bob <sip:bob@biloxi.example>\r\n\
             Call-ID: 3848276298220188511@atlanta.example\r\n\
             CSeq: 7 CANCEL\r\n\
             Content-Length: 0\r\n\r\n"
        )
    );
    assert_eq!(cancel.message().check_essential(), Ok(()));
}

#[test]
fn a_cancelled_invite_ends_with_its_487() {
    let mut bench = Bench::new();
    let (tx, branch) = bench.request(udp(), &Method::Invite);
    bench.receive(udp(), &response(180, "INVITE", &branch, "b"));
    bench.sent();
    bench.endpoint.cancel(bench.now, tx);
    bench.endpoint.cancel(bench.now, tx);
    assert_eq!(bench.sent_one().brief(), "0 CANCEL");
    bench.receive(udp(), &response(200, "CANCEL", &branch, "b"));
    bench.receive(udp(), &response(487, "INVITE", &branch, "b"));
    assert_eq!(bench.sent_one().brief(), "0 ACK");
    assert_eq!(bench.event_names(), ["Response 180", "Response 487"], "the CANCEL is not the user's business");
    bench.assert_settles();
    assert_eq!(bench.event_names(), ["ClientTerminated"]);
}

#[test]
fn a_cancel_is_retransmitted_like_any_request() {
    let mut bench = Bench::new();
    let (tx, branch) = bench.request(udp(), &Method::Invite);
    bench.receive(udp(), &response(180, "INVITE", &branch, "b"));
    bench.sent();
    bench.endpoint.cancel(bench.now, tx);
    assert_eq!(bench.pass(secs(2.0)), ["0 CANCEL", "0.5 CANCEL", "1.5 CANCEL"]);
}

#[test]
fn no_cancel_after_a_final_response_nor_for_another_method() {
    // §9.1
    let mut bench = Bench::new();
    let (tx, branch) = bench.request(udp(), &Method::Invite);
    bench.endpoint.cancel(bench.now, tx);
    bench.receive(udp(), &response(200, "INVITE", &branch, "b"));
    bench.endpoint.cancel(bench.now, tx);
    let (tx, branch) = bench.request(udp(), &Method::Options);
    bench.receive(udp(), &response(100, "OPTIONS", &branch, "b"));
    bench.endpoint.cancel(bench.now, tx);
    assert!(bench.sent().iter().all(|sent| !sent.first_line().starts_with("CANCEL")));
}

#[test]
fn a_cancelled_invite_without_answer_is_given_up_after_64_t1() {
    // §9.1
    let mut bench = Bench::new();
    let (tx, branch) = bench.request(tcp(), &Method::Invite);
    bench.receive(tcp(), &response(180, "INVITE", &branch, "b"));
    bench.endpoint.cancel(bench.now, tx);
    bench.receive(tcp(), &response(200, "CANCEL", &branch, "b"));
    bench.pass(secs(31.9));
    assert_eq!(bench.event_names(), ["Response 180"]);
    bench.pass(secs(0.2));
    assert_eq!(bench.event_names(), ["TimedOut", "ClientTerminated"]);
    bench.assert_settles();
}

#[test]
fn a_reason_travels_with_the_cancel() {
    // RFC 3326
    let mut bench = Bench::new();
    let (tx, branch) = bench.request(udp(), &Method::Invite);
    bench.endpoint.cancel_because(bench.now, tx, "SIP;cause=200;text=\"Call completed elsewhere\"");
    bench.sent();
    bench.receive(udp(), &response(180, "INVITE", &branch, "b"));
    let cancel = bench.sent_one();
    assert!(cancel.text.contains("\r\nReason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"), "{}", cancel.text);
}

#[test]
fn an_arriving_cancel_is_answered_and_reported() {
    // §9.2
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 180);
    bench.sent();
    bench.receive(udp(), &incoming("CANCEL", VIA));
    let ok = bench.sent_one();
    assert_eq!(ok.first_line(), "SIP/2.0 200 OK");
    assert!(ok.text.contains("CSeq: 1 CANCEL") && ok.message().to_tag().is_some());
    assert_eq!(bench.event_names(), ["Cancel"]);
    // A retransmission gets the same answer and is not reported again.
    bench.receive(udp(), &incoming("CANCEL", VIA));
    assert_eq!(bench.sent_one().text, ok.text);
    assert!(bench.event_names().is_empty());
    bench.respond(tx, 487);
    bench.receive(udp(), &incoming("ACK", VIA));
    bench.assert_settles();
    assert_eq!(bench.event_names(), ["ServerTerminated"], "that of the INVITE alone");
}

#[test]
fn a_cancel_after_the_final_response_changes_nothing() {
    // §9.2
    for code in [200, 486] {
        let mut bench = Bench::new();
        bench.receive(udp(), &incoming("INVITE", VIA));
        let tx = bench.requested();
        bench.respond(tx, code);
        bench.sent();
        bench.receive(udp(), &incoming("CANCEL", VIA));
        assert_eq!(bench.sent_one().first_line(), "SIP/2.0 200 OK");
        assert!(bench.event_names().is_empty());
    }
}

#[test]
fn a_cancel_for_nothing_is_left_to_the_user() {
    // §9.2: 481
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    bench.events();
    bench.receive(udp(), &incoming("CANCEL", VIA)); // the same branch, but no INVITE
    let events = bench.events();
    let [farspeak_sip::endpoint::Event::UnmatchedCancel { tx, .. }] = &events[..] else { panic!("{events:?}") };
    bench.respond(*tx, 481);
    assert_eq!(bench.sent_one().brief(), "0 481");
    bench.assert_settles();
}

#[test]
fn a_cancel_comes_from_where_its_invite_came_from() {
    // RFC 3261 §22.1: it cannot be challenged, so it has to come from the same hop.
    let from = |address: [u8; 4]| {
        let mut bench = Bench::new();
        bench.receive(tcp(), &incoming("INVITE", VIA));
        bench.events();
        let mut flow = tcp();
        flow.id = FlowId::new(0, 8, 1);
        flow.remote = (address, 40001).into();
        bench.receive(flow, &incoming("CANCEL", VIA));
        bench.event_names()
    };
    assert_eq!(from([203, 0, 113, 5]), ["UnmatchedCancel"]);
    assert_eq!(from([192, 0, 2, 99]), ["Cancel"], "over a new connection of the same peer");
}
