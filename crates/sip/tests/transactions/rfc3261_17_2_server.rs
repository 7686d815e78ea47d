//! RFC 3261 §17.2: server transactions, and which requests belong to them.

use farspeak_sip::endpoint::Event;

use crate::bench::{Bench, VIA, incoming, incoming_with, secs, tcp, udp};

#[test]
fn sends_100_after_200_ms_if_its_user_is_silent() {
    // §17.2.1
    for flow in [udp(), tcp()] {
        let mut bench = Bench::new();
        bench.receive(flow, &incoming("INVITE", VIA));
        assert_eq!(bench.pass(secs(1.0)), ["0.2 100"]);
        let tx = bench.requested();
        bench.respond(tx, 486);
        bench.assert_settles();
    }
}

#[test]
fn sends_no_100_of_its_own_after_its_user_spoke() {
    // §17.2.1
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 100);
    bench.respond(tx, 180);
    assert_eq!(bench.pass(secs(1.0)), ["0 100", "0 180"]);
    bench.respond(tx, 603);
    bench.assert_settles();
}

#[test]
fn answers_a_retransmitted_invite_with_the_last_provisional_response() {
    // §17.2.1
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    bench.receive(udp(), &incoming("INVITE", VIA));
    assert!(bench.sent().is_empty(), "nothing to send again yet");
    let tx = bench.requested();
    bench.respond(tx, 100);
    bench.respond(tx, 183);
    bench.sent();
    bench.receive(udp(), &incoming("INVITE", VIA));
    assert_eq!(bench.sent_one().brief(), "0 183");
    assert!(bench.event_names().is_empty(), "the user hears of it once");
}

#[test]
fn retransmits_a_failure_up_to_t2_until_the_ack_never_came() {
    // §17.2.1: Timers G and H
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 486);
    let expected = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5];
    assert_eq!(bench.pass(secs(40.0)), expected.map(|at| format!("{at} 486")));
    assert_eq!(bench.event_names(), ["ServerTimedOut", "ServerTerminated"]);
    bench.assert_settles();
}

#[test]
fn never_retransmits_a_failure_on_a_stream_but_waits_for_the_ack() {
    // §17.2.1
    let mut bench = Bench::new();
    bench.receive(tcp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 486);
    assert_eq!(bench.pass(secs(31.0)), ["0 486"]);
    bench.receive(tcp(), &incoming("ACK", VIA));
    assert_eq!(bench.event_names(), ["ServerTerminated"]); // Timer I is zero
    bench.assert_settles();
}

#[test]
fn the_ack_ends_the_retransmission_and_further_ones_are_absorbed() {
    // §17.2.1: Confirmed, Timer I
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.respond(tx, 486);
    bench.pass(secs(0.6));
    for _ in 0..3 {
        bench.receive(udp(), &incoming("ACK", VIA));
    }
    assert!(bench.pass(secs(4.9)).is_empty());
    assert!(bench.event_names().is_empty());
    bench.pass(secs(0.2));
    assert_eq!(bench.event_names(), ["ServerTerminated"]);
    bench.assert_settles();
}

#[test]
fn an_ack_before_any_final_response_does_nothing() {
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.receive(udp(), &incoming("ACK", VIA));
    assert!(bench.event_names().is_empty());
    bench.respond(tx, 200);
    assert_eq!(bench.sent_one().brief(), "0 200");
}

#[test]
fn answers_retransmissions_of_other_requests_for_timer_j() {
    // §17.2.2
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    let tx = bench.requested();
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    assert!(bench.sent().is_empty(), "discarded in Trying");
    bench.respond(tx, 200);
    bench.respond(tx, 404); // a second final response is discarded
    bench.pass(secs(31.0));
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    assert_eq!(bench.sent_one().brief(), "31 200");
    bench.pass(secs(1.1));
    assert_eq!(bench.event_names(), ["ServerTerminated"]);
    // From then on it is a new request.
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    assert_eq!(bench.event_names(), ["Request OPTIONS"]);
    bench.assert_settles();
}

#[test]
fn other_requests_on_a_stream_are_over_when_answered() {
    // §17.2.2: Timer J is zero
    let mut bench = Bench::new();
    bench.receive(tcp(), &incoming("REGISTER", VIA));
    let tx = bench.requested();
    bench.respond(tx, 200);
    assert_eq!(bench.event_names(), ["ServerTerminated"]);
    assert_eq!(bench.endpoint.counts().transactions(), 0);
}

#[test]
fn requests_match_by_branch_sent_by_and_method() {
    // §17.2.3
    let mut bench = Bench::new();
    let mut fresh = |method: &str, via: &str| {
        bench.receive(udp(), &incoming(method, via));
        !bench.event_names().is_empty()
    };
    assert!(fresh("OPTIONS", "UDP 10.0.0.1:5062;branch=z9hG4bKabc"));
    assert!(!fresh("OPTIONS", "UDP 10.0.0.1:5062;branch=z9hG4bKabc"));
    assert!(!fresh("OPTIONS", "UDP 10.0.0.1:5062;rport;BRANCH=Z9HG4BKABC"), "case does not matter");
    assert!(fresh("OPTIONS", "UDP 10.0.0.1;branch=z9hG4bKabc"), "another port");
    assert!(fresh("OPTIONS", "UDP 10.0.0.2:5062;branch=z9hG4bKabc"), "another host");
    assert!(fresh("OPTIONS", "UDP 10.0.0.1:5062;branch=z9hG4bKabd"), "another branch");
    assert!(fresh("MESSAGE", "UDP 10.0.0.1:5062;branch=z9hG4bKabc"), "another method");
    assert!(fresh("options", "UDP 10.0.0.1:5062;branch=z9hG4bKabc"), "methods tell case apart");
}

#[test]
fn merged_requests_are_told_apart_and_left_to_the_user() {
    // §8.2.2.2: the same request over two paths; the UAS answers 482 by From tag, Call-ID and CSeq
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("INVITE", "UDP 10.0.0.1;branch=z9hG4bKpath1"));
    bench.receive(udp(), &incoming("INVITE", "UDP 10.0.0.1;branch=z9hG4bKpath2"));
    let events = bench.events();
    let [Event::Request { tx: a, request: one, .. }, Event::Request { tx: b, request: two, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_ne!(a, b);
    assert_eq!((one.from_tag(), one.call_id(), one.cseq()), (two.from_tag(), two.call_id(), two.cseq()));
}

// RFC 2543 clients: no branch, or one without the cookie

const OLD_VIA: &str = "UDP 10.0.0.1:5062";

#[test]
fn requests_without_the_cookie_match_by_their_fields() {
    // §17.2.3
    for via in [OLD_VIA, "UDP 10.0.0.1:5062;branch=1", "UDP 10.0.0.1:5062;branch=z9hG4bK"] {
        let mut bench = Bench::new();
        let mut fresh = |text: &str| {
            bench.receive(udp(), text);
            !bench.event_names().is_empty()
        };
        assert!(fresh(&incoming_with("INVITE", via, "", 1)));
        assert!(!fresh(&incoming_with("INVITE", via, "", 1)), "{via}");
        assert!(fresh(&incoming_with("INVITE", via, "", 2)), "another CSeq");
        assert!(fresh(&incoming_with("INVITE", via, ";tag=x", 1)), "another To tag");
        assert!(fresh(&incoming_with("INVITE", via, "", 1).replace(";tag=1", ";tag=2")), "another From tag");
        assert!(fresh(&incoming_with("INVITE", via, "", 1).replace("sip:bob@b", "sip:carol@b")), "another URI");
        assert!(fresh(&incoming_with("INVITE", via, "", 1).replace("2xTb9", "3xTb9")), "another Call-ID");
        assert!(fresh(&incoming_with("OPTIONS", via, "", 1)), "another method");
        assert!(fresh(&incoming_with("INVITE", "UDP 10.0.0.3", "", 1)), "another Via");
    }
}

#[test]
fn an_ack_without_the_cookie_matches_by_the_to_tag_of_our_response() {
    // §17.2.3
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming_with("INVITE", OLD_VIA, "", 1));
    let tx = bench.requested();
    bench.respond(tx, 486); // To tag "ours"
    bench.sent();
    bench.receive(udp(), &incoming_with("ACK", OLD_VIA, ";tag=another", 1));
    assert_eq!(bench.event_names(), ["Ack"], "it belongs to another response");
    assert!(!bench.pass(secs(2.0)).is_empty(), "the response is still retransmitted");
    bench.receive(udp(), &incoming_with("ACK", OLD_VIA, ";tag=ours", 1));
    assert!(bench.pass(secs(4.0)).is_empty());
    assert!(bench.event_names().is_empty());
    bench.assert_settles();
}

#[test]
fn an_ack_in_a_dialog_without_the_cookie_matches_by_its_to_tag() {
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming_with("INVITE", OLD_VIA, ";tag=d", 2));
    let tx = bench.requested();
    bench.respond(tx, 488);
    bench.receive(udp(), &incoming_with("ACK", OLD_VIA, ";tag=d", 2));
    assert!(bench.event_names().is_empty());
    bench.assert_settles();
}

#[test]
fn a_cancel_without_the_cookie_finds_its_invite() {
    // §9.2
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming_with("INVITE", OLD_VIA, "", 1));
    let tx = bench.requested();
    bench.receive(udp(), &incoming_with("CANCEL", OLD_VIA, "", 1));
    assert_eq!(bench.event_names(), ["Cancel"]);
    bench.respond(tx, 487);
    bench.assert_settles();
}

#[test]
fn a_user_that_never_answers_leaves_no_state() {
    let mut bench = Bench::new();
    for flow in [udp(), tcp()] {
        bench.receive(flow, &incoming("MESSAGE", VIA));
        let tx = bench.requested();
        bench.pass(secs(33.0));
        bench.respond(tx, 200);
        assert!(bench.sent().is_empty(), "RFC 4320 §4.2: nobody waits for it any more");
        bench.assert_settles();
        bench.events();
    }
}

#[test]
fn the_request_is_kept_until_its_final_response() {
    let mut bench = Bench::new();
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    let tx = bench.requested();
    assert!(bench.endpoint.server_request(tx).is_some());
    bench.respond(tx, 200);
    assert!(bench.endpoint.server_request(tx).is_none());
}

#[test]
fn counts_tell_what_a_shutdown_has_to_wait_for() {
    let mut bench = Bench::new();
    let unanswered = |bench: &Bench| bench.endpoint.counts().unanswered;
    bench.receive(udp(), &incoming("INVITE", VIA));
    let invite = bench.requested();
    bench.receive(udp(), &incoming("OPTIONS", VIA));
    let options = bench.requested();
    assert_eq!(unanswered(&bench), 2);
    bench.respond(invite, 180);
    bench.respond(options, 200);
    assert_eq!((unanswered(&bench), bench.endpoint.counts().transactions()), (1, 2));
    bench.respond(invite, 200);
    assert_eq!(unanswered(&bench), 0);
    bench.receive(udp(), &incoming("OPTIONS", &VIA.replace("branch=", "branch=z9hG4bKx")));
    let abandoned = bench.events().into_iter().find_map(|event| match event {
        Event::Request { tx, .. } => Some(tx),
        _ => None,
    });
    bench.endpoint.abandon(abandoned.expect("a new request"));
    assert_eq!(unanswered(&bench), 0, "nobody waits for an answer that is not to come");
}
