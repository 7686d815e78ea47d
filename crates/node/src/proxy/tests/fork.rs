//! Forking, and what comes back: best response, CANCEL, Timer C, redirection.

use super::*;

#[test]
fn forks_in_parallel_and_cancels_the_losers() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    node.bind(CELL, cell(), 1000);
    let sent = node.receive(carol(), &invite(""));
    assert_eq!(sent.len(), 3);
    for (_, copy) in &sent[1..] {
        assert_eq!(header(copy, "Max-Breadth"), ["30"]);
        assert_eq!(header(copy, "Max-Forwards"), ["70"], "added where there was none");
    }
    let (to_desk, to_cell) = if sent[1].0 == desk() { (1, 2) } else { (2, 1) };
    node.receive(desk(), &respond(&sent[to_desk].1, "180 Ringing"));
    node.receive(cell(), &respond(&sent[to_cell].1, "180 Ringing"));
    let after = node.receive(desk(), &respond(&sent[to_desk].1, "200 OK"));
    assert_eq!(lines(&after), ["5060 SIP/2.0 200 OK", &format!("40003 CANCEL {CELL} SIP/2.0")]);
    // A second 2xx is forwarded too (RFC 3261 §16.7 step 5).
    let after = node.receive(cell(), &respond(&sent[to_cell].1, "200 OK"));
    assert_eq!(lines(&after), ["5060 SIP/2.0 200 OK"]);
}

#[test]
fn forks_serially_by_q() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 900);
    node.bind(CELL, cell(), 100);
    let sent = node.receive(carol(), &invite(""));
    assert_eq!(lines(&sent)[1..], [format!("40002 INVITE {DESK} SIP/2.0")]);
    let after = node.receive(desk(), &respond(&sent[1].1, "486 Busy Here"));
    assert_eq!(lines(&after), [format!("40002 ACK {DESK} SIP/2.0"), format!("40003 INVITE {CELL} SIP/2.0")]);
    assert_eq!(header(&after[1].1, "Max-Breadth"), ["60"], "used again (RFC 5393 §5.3.3.1)");
    let after = node.receive(cell(), &respond(&after[1].1, "480 Temporarily Unavailable"));
    assert_eq!(lines(&after)[1], "5060 SIP/2.0 486 Busy Here");
}

#[test]
fn a_phone_of_lower_q_gets_its_turn_when_nobody_answers() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 900);
    node.bind(CELL, cell(), 100);
    let sent = node.receive(carol(), &invite(""));
    node.receive(desk(), &respond(&sent[1].1, "180 Ringing"));
    let after = node.pass(Duration::from_secs(31));
    assert_eq!(lines(&after), [format!("40002 CANCEL {DESK} SIP/2.0")]);
    node.receive(desk(), &respond(&after[0].1, "200 OK"));
    let after = node.receive(desk(), &respond(&sent[1].1, "487 Request Terminated"));
    assert_eq!(lines(&after), [format!("40002 ACK {DESK} SIP/2.0"), format!("40003 INVITE {CELL} SIP/2.0")]);
}

#[test]
fn a_decline_everywhere_stops_all() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    node.bind(CELL, cell(), 1000);
    let sent = node.receive(carol(), &invite(""));
    for (at, copy) in &sent[1..] {
        node.receive(*at, &respond(copy, "180 Ringing"));
    }
    let declined = node.receive(sent[1].0, &respond(&sent[1].1, "603 Decline"));
    assert_eq!(lines(&declined).len(), 2, "ACK and CANCEL; the caller waits: {:?}", lines(&declined));
    let after = node.receive(sent[2].0, &respond(&sent[2].1, "487 Request Terminated"));
    assert_eq!(lines(&after)[1], "5060 SIP/2.0 603 Decline");
}

#[test]
fn too_little_max_breadth_for_the_fork_is_440() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    node.bind(CELL, cell(), 1000);
    assert!(first_line(&refused(&mut node, &invite("Max-Breadth: 1\r\n"))).contains(" 440 "));
    assert!(
        first_line(&refused(&mut node, &invite("Max-Breadth: x\r\n").replace("bK1", "bK2")))
            .contains(" 400 Malformed Max-Breadth")
    );
}

#[test]
fn cancel_rings_off() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    let cancel =
        invite("").replace("INVITE", "CANCEL").replace("Content-Length: 4", "Content-Length: 0").replace("body", "");
    let sent = node.receive(carol(), &cancel);
    assert_eq!(lines(&sent), ["5060 SIP/2.0 200 OK", &format!("40002 CANCEL {DESK} SIP/2.0")]);
    let sent = node.receive(desk(), &respond(&forwarded, "487 Request Terminated"));
    assert_eq!(lines(&sent), [format!("40002 ACK {DESK} SIP/2.0"), "5060 SIP/2.0 487 Request Terminated".to_owned()]);
}

#[test]
fn a_cancel_for_nothing_is_481() {
    let mut node = Node::new();
    assert!(first_line(&refused(&mut node, &request("CANCEL", "sip:bob@biloxi.example", "77", ""))).contains(" 481 "));
}

#[test]
fn timer_c_ends_a_call_that_rings_for_ever() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    assert!(node.pass(Duration::from_secs(100)).is_empty());
    node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    assert!(node.pass(Duration::from_secs(180)).is_empty(), "each provisional response begins it anew");
    let sent = node.pass(Duration::from_secs(10));
    assert_eq!(lines(&sent), [format!("40002 CANCEL {DESK} SIP/2.0")]);
    let sent = node.receive(desk(), &respond(&forwarded, "487 Request Terminated"));
    assert_eq!(lines(&sent)[1], "5060 SIP/2.0 408 Request Timeout");
}

#[test]
fn the_ladder_log_tells_of_timer_c() {
    struct Timers(std::sync::mpsc::Sender<(String, String)>);
    impl farspeak_sansio::Ladder for Timers {
        fn record(&mut self, record: farspeak_sansio::Record<'_>) {
            if let farspeak_sansio::RecordKind::Timer(name) = record.kind {
                let peer = record.flow.map_or_else(String::new, |flow| flow.remote.to_string());
                self.0.send((name.to_owned(), peer)).unwrap();
            }
        }
    }
    let mut node = Node::new();
    let (sender, fired) = std::sync::mpsc::channel();
    node.shard.set_ladder(Some(Box::new(Timers(sender))));
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    node.pass(Duration::from_secs(190));
    let timer_c: Vec<_> = fired.try_iter().filter(|(name, _)| name == "Timer C").collect();
    assert_eq!(timer_c, [("Timer C".to_owned(), desk().remote.to_string())]);
}

#[test]
fn a_redirect_is_passed_on_or_followed_as_configured() {
    for recurse in [false, true] {
        let mut node = Node::with(ProxyConfig { recurse, ..ProxyConfig::default() });
        let forwarded = call(&mut node);
        node.bind(CELL, cell(), 1000);
        let moved = respond(&forwarded, "302 Moved Temporarily")
            .replace("<sip:bob@10.0.0.2:5061;transport=tls>", &format!("<{CELL}>"));
        let sent = node.receive(desk(), &moved);
        let expected = if recurse {
            format!("40003 INVITE {CELL} SIP/2.0")
        } else {
            "5060 SIP/2.0 302 Moved Temporarily".to_owned()
        };
        assert_eq!(lines(&sent)[1], expected);
    }
}

#[test]
fn a_redirect_to_elsewhere_is_never_followed() {
    let mut node = Node::with(ProxyConfig { recurse: true, ..ProxyConfig::default() });
    let forwarded = call(&mut node);
    let moved = respond(&forwarded, "302 Moved Temporarily")
        .replace("sip:bob@10.0.0.2:5061;transport=tls", "sip:x@evil.example");
    let sent = node.receive(desk(), &moved);
    assert_eq!(lines(&sent)[1], "5060 SIP/2.0 302 Moved Temporarily");
}

#[test]
fn a_503_of_a_phone_is_not_a_503_of_ours() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let sent = node.receive(desk(), &respond(&forwarded, "503 Service Unavailable"));
    assert_eq!(lines(&sent)[1], "5060 SIP/2.0 500 Server Internal Error");
}

#[test]
fn nobody_is_rung_for_a_caller_who_is_gone() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let caller = flow(Transport::Tls, 8, "203.0.113.8:41008");
    let text = invite("").replace("SIP/2.0/UDP", "SIP/2.0/TLS");
    let sent = node.receive(caller, &text);
    node.receive(desk(), &respond(&sent[1].1, "180 Ringing"));
    node.shard.handle_flow_failed(node.now, caller);
    assert_eq!(lines(&node.sent()), [format!("40002 CANCEL {DESK} SIP/2.0")]);
}

#[test]
fn nobody_hears_a_late_408_to_a_non_invite() {
    let mut node = Node::new();
    let udp = flow(Transport::Udp, 4, "198.51.100.4:5060");
    node.bind("sip:bob@10.0.0.4", udp, 1000);
    let sent = node.receive(carol(), &request("MESSAGE", "sip:bob@biloxi.example", "1", ""));
    assert_eq!(sent.len(), 1);
    let sent = node.pass(Duration::from_secs(70));
    // A late 100 stops the caller's retransmissions (RFC 4320 §4.1); nothing more.
    let heard: Vec<_> = sent.into_iter().filter(|(to, _)| *to != udp).collect();
    assert_eq!(lines(&heard), ["5060 SIP/2.0 100 Trying"]);
    assert_eq!(node.shard.counts().contexts, 0);
}

#[test]
fn a_phone_that_rings_without_end_fills_no_timer_table() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let before = node.shard.core.timers.len();
    for _ in 0..1000 {
        node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    }
    assert!(node.shard.core.timers.len() <= before + 1);
}

#[test]
fn a_redirect_lets_no_stranger_in_to_who_is_closed() {
    let mut node = Node::with(ProxyConfig { recurse: true, ..ProxyConfig::default() });
    let forwarded = call(&mut node);
    node.bind(CELL, cell(), 500);
    node.shard.shared().users.insert(User::new("bob", "biloxi.example", &node.secret));
    let moved = respond(&forwarded, "302 Moved Temporarily").replace("sip:bob@10.0.0.2:5061;transport=tls", CELL);
    let sent = node.receive(desk(), &moved);
    assert_eq!(lines(&sent), [format!("40002 ACK {DESK} SIP/2.0"), "5060 SIP/2.0 302 Moved Temporarily".to_owned()]);
}
