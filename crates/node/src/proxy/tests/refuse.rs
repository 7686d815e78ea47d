//! What is refused, and what is answered here.

use super::*;

#[test]
fn more_requests_than_there_is_room_for_are_503() {
    let mut node = Node::with(ProxyConfig { max_contexts: 1, ..ProxyConfig::default() });
    call(&mut node);
    let answer = refused(&mut node, &invite("").replace("bK1", "bK2"));
    assert!(first_line(&answer).contains(" 503 "));
    assert_eq!(header(&answer, "Retry-After"), ["10"]);
}

#[test]
fn a_looped_request_is_482_and_a_spiral_is_not() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    // The phone sends back what it got, unchanged but for its own Via: the Request-URI is another now, a spiral.
    let own = "Via: SIP/2.0/UDP 203.0.113.3:5060;branch=z9hG4bKloop\r\nVia: ";
    let looped = forwarded.replacen("Via: ", own, 1).replacen(DESK, "sip:bob@biloxi.example", 1);
    assert!(first_line(&refused(&mut node, &looped)).contains(" 482 "));
    let spiral = forwarded.replacen("Via: ", &own.replace("loop", "spiral"), 1);
    let sent = node.receive(carol(), &spiral);
    assert!(!lines(&sent).iter().any(|line| line.contains(" 482 ")), "{:?}", lines(&sent));
}

#[test]
fn max_forwards_runs_out() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    assert!(first_line(&refused(&mut node, &invite("Max-Forwards: 0\r\n"))).contains(" 483 "));
    let options = request("OPTIONS", "sip:bob@biloxi.example", "5", "Max-Forwards: 0\r\n");
    let answer = refused(&mut node, &options);
    assert!(first_line(&answer).contains(" 200 "));
    assert_eq!(header(&answer, "Allow"), ["OPTIONS, REGISTER, SUBSCRIBE, PUBLISH"]);
}

#[test]
fn requests_for_the_node_itself_are_answered() {
    let mut node = Node::new();
    assert!(first_line(&refused(&mut node, &request("OPTIONS", "sip:biloxi.example", "1", ""))).contains(" 200 "));
    let answer = refused(&mut node, &request("MESSAGE", "sip:biloxi.example", "2", ""));
    assert!(first_line(&answer).contains(" 405 "));
    assert_eq!(header(&answer, "Allow"), ["OPTIONS, REGISTER"]);
    assert!(!answer.contains("Server:"));
    // RFC 3261 §21.5.2: a method that nobody knows is another matter, to the node and with a CSeq that does not match.
    let unknown = request("NEWMETHOD", "sip:biloxi.example", "3", "");
    assert!(first_line(&refused(&mut node, &unknown)).contains(" 501 "));
    let mismatch = request("NEWMETHOD", "sip:bob@biloxi.example", "4", "").replace("1 NEWMETHOD", "1 INVITE");
    assert!(first_line(&refused(&mut node, &mismatch)).contains(" 501 "));
}

#[test]
fn refuses_what_it_cannot_do() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let answer = refused(&mut node, &invite("Proxy-Require: teleport, gin\r\n"));
    assert!(first_line(&answer).contains(" 420 "));
    assert_eq!(header(&answer, "Unsupported"), ["teleport, gin"]);
    assert!(first_line(&refused(&mut node, &request("INVITE", "tel:+15551212", "2", ""))).contains(" 416 "));
    let missing = invite("").replace("bK1", "bK3").replace("Call-ID: call-1@chicago.example\r\n", "");
    assert!(first_line(&refused(&mut node, &missing)).contains("400 Missing Call-ID"));
    let mismatch = invite("").replace("bK1", "bK4").replace("1 INVITE", "1 BYE");
    assert!(first_line(&refused(&mut node, &mismatch)).contains(" 400 "));
}

#[test]
fn sips_reaches_only_sips() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let text = invite("").replace("INVITE sip:bob", "INVITE sips:bob");
    assert!(first_line(&refused(&mut node, &text)).contains(" 480 "));
}

#[test]
fn a_live_contact_is_reached_over_its_flow_but_not_by_strangers() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    assert!(first_line(&refused(&mut node, &request("INVITE", DESK, "1", ""))).contains(" 407 "));
}

#[test]
fn never_an_open_relay() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    for (at, uri) in
        ["sip:x@evil.example", "sip:x@203.0.113.99", "sip:alice@biloxi.example", "sip:nobody@biloxi.example"]
            .iter()
            .enumerate()
    {
        let answer = refused(&mut node, &request("INVITE", uri, &format!("r{at}"), ""));
        assert!(first_line(&answer).contains(" 407 "), "{uri}: {answer}");
    }
}

#[test]
fn asks_for_credentials_identically_whether_a_user_exists() {
    let mut node = Node::new();
    let answer = |node: &mut Node, user: &str, branch: &str| {
        let text = refused(node, &request("INVITE", &format!("sip:{user}@biloxi.example"), branch, ""));
        let plain = |line: &&str| !["Via", "Proxy-Authenticate", "To"].iter().any(|name| line.starts_with(name));
        text.split("\r\n").filter(plain).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(answer(&mut node, "alice", "1"), answer(&mut node, "nobody", "2"));
}

#[test]
fn a_stranger_is_refused_once_and_leaves_nothing() {
    // RFC 3261 §26.3.2.4: a challenge that repeats itself would amplify what a forged source sends.
    let mut node = Node::new();
    for (branch, more) in [("c", ""), ("h", "Max-Forwards: 0\r\n"), ("x", "Proxy-Require: magic\r\n")] {
        let invite = request("INVITE", "sip:alice@biloxi.example", branch, more);
        let answer = refused(&mut node, &invite);
        assert_eq!(node.shard.counts().transactions, 0, "{answer}");
        let tag = header(&answer, "To")[0].split_once("tag=").expect("a tag").1.to_owned();
        let ack = request("ACK", "sip:alice@biloxi.example", branch, "")
            .replace("To: <sip:bob@biloxi.example>", &format!("To: <sip:bob@biloxi.example>;tag={tag}"));
        assert!(node.receive(carol(), &ack).is_empty());
        let again = refused(&mut node, &invite);
        assert_eq!(header(&again, "To"), header(&answer, "To"), "who repeats it hears the same");
    }
    assert!(node.pass(Duration::from_secs(64)).is_empty(), "nothing is repeated");
    assert_eq!(node.shard.shared().counters.dropped.load(std::sync::atomic::Ordering::Relaxed), 0);
}
