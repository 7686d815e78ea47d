//! What a forwarded message looks like and where it goes.

use farspeak_sip::digest::{Challenge, Identity};

use super::*;

#[test]
fn changes_only_what_a_proxy_must() {
    let forwarded = call(&mut Node::new());
    let vias = header(&forwarded, "Via");
    assert!(vias[0].starts_with("SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bK"), "{vias:?}");
    assert!(vias[1].contains("received=203.0.113.3;rport=5060") || vias[1].contains("rport=5060"), "{vias:?}");
    assert_eq!(header(&forwarded, "Max-Forwards"), ["69"]);
    assert_eq!(header(&forwarded, "Max-Breadth"), ["60"]);
    let routes = header(&forwarded, "Record-Route").join(", ");
    let routes: Vec<_> = routes.split(", ").collect();
    assert!(routes[0].ends_with("@192.0.2.1:5061;transport=tls;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@192.0.2.1:5060;transport=udp;lr>"), "{routes:?}");
    assert!(forwarded.contains("\r\nX-Odd:   kept  as it is\r\n"));
    assert!(forwarded.ends_with("\r\n\r\nbody"));
}

#[test]
fn a_phone_that_cannot_be_reached_is_offline() {
    let mut node = Node::new();
    call(&mut node);
    node.shard.handle_flow_failed(node.now, desk());
    let sent = node.sent();
    assert_eq!(lines(&sent), ["5060 SIP/2.0 480 Temporarily Unavailable"]);
    assert!(first_line(&refused(&mut node, &invite("").replace("bK1", "bK2"))).contains(" 480 "));
}

#[test]
fn a_path_becomes_the_route() {
    let mut node = Node::new();
    node.bind_behind(DESK, desk(), 1000, "<sip:edge.example;lr>, <sip:outer.example;lr>");
    let sent = node.receive(carol(), &invite(""));
    assert_eq!(header(&sent[1].1, "Route"), ["<sip:edge.example;lr>, <sip:outer.example;lr>"]);
}

#[test]
fn nobody_asserts_an_identity_that_was_not_checked() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let sent = node.receive(carol(), &invite("P-Asserted-Identity: <sip:president@biloxi.example>\r\n"));
    assert!(header(&sent[1].1, "P-Asserted-Identity").is_empty());
    let ringing = respond(&sent[1].1, "180 Ringing")
        .replacen("Contact:", "Remote-Party-ID: <sip:president@biloxi.example>\r\nContact:", 1)
        .replacen("Contact:", "P-Asserted-Identity: <sip:president@biloxi.example>\r\nContact:", 1);
    let sent = node.receive(desk(), &ringing);
    assert_eq!(lines(&sent), ["5060 SIP/2.0 180 Ringing"]);
    assert!(!sent[0].1.contains("president"), "{}", sent[0].1);
}

#[test]
fn a_response_for_another_shard_is_handed_over() {
    let mut node = Node::new();
    let response = respond(&call(&mut node), "180 Ringing").replacen("bKfs00", "bKfs07", 1);
    assert!(node.receive(desk(), &response).is_empty());
    let Some(Event::ToShard { shard: 7, flow, bytes }) = node.shard.poll_event() else { panic!("no hand-over") };
    assert_eq!((flow, bytes), (desk(), response.into_bytes()));
}

/// Sends alice's request, answers the challenge, gives what is sent then.
pub(super) fn as_alice(node: &mut Node, text: &str) -> Vec<(Flow, String)> {
    let text = text.replace("\"Carol\" <sip:carol@chicago.example>", "<sip:alice@biloxi.example>");
    let challenged = node.receive(carol(), &text);
    let challenges = header(&challenged[0].1, "Proxy-Authenticate");
    let challenge = Challenge::choose(challenges.into_iter()).expect("a challenge");
    let (method, uri) = text.split_once(' ').map(|(method, rest)| (method, rest.split(' ').next().unwrap())).unwrap();
    let identity = Identity { username: "alice", password: node.secret.reveal() };
    let answer = challenge.answer(&identity, method, uri, "0a4f113b", 1);
    let authorization = format!(
        "Proxy-Authorization: {answer}\r\nProxy-Authorization: Digest username=\"x\", realm=\"far.example\", nonce=\"n\", uri=\"sip:x\", response=\"00000000000000000000000000000000\"\r\nX-Odd:"
    );
    let text = text.replacen("branch=z9hG4bK", "branch=z9hG4bKauth", 1).replacen("1 INVITE", "2 INVITE", 1);
    node.receive(carol(), &text.replacen("X-Odd:", &authorization, 1))
}

#[test]
fn credentials_for_us_end_here_and_others_go_on() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let sent = as_alice(&mut node, &invite(""));
    assert_eq!(lines(&sent)[1], format!("40002 INVITE {DESK} SIP/2.0"));
    let left = header(&sent[1].1, "Proxy-Authorization");
    assert!(left.len() == 1 && left[0].contains("far.example"), "{left:?}");
}

#[test]
fn users_are_told_what_strangers_are_not() {
    let mut node = Node::new();
    let mut answer =
        |uri: &str, branch: &str| first_line(&as_alice(&mut node, &request("INVITE", uri, branch, ""))[0].1).to_owned();
    assert_eq!(answer("sip:nobody@biloxi.example", "n"), "SIP/2.0 404 Not Found");
    assert_eq!(answer("sip:bob@biloxi.example", "b"), "SIP/2.0 480 Temporarily Unavailable");
    assert!(answer("sip:x@evil.example", "e").starts_with("SIP/2.0 403 "));
}

#[test]
fn a_contact_that_is_called_directly_keeps_its_own_spelling() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let uri = "sip:bob@10.0.0.2:5061;TRANSPORT=tls;line=3";
    let sent = as_alice(&mut node, &request("INVITE", uri, "d", ""));
    assert_eq!(lines(&sent)[1], format!("40002 INVITE {uri} SIP/2.0"));
}

#[test]
fn a_phone_that_registered_over_udp_gets_long_requests_over_udp() {
    // It could not be reached over TCP: the 1300 bytes of RFC 3261 §18.1.1 hold between servers.
    let mut node = Node::new();
    let phone = flow(Transport::Udp, 4, "198.51.100.4:40004");
    node.bind("sip:bob@10.0.0.4", phone, 1000);
    let sent = node.receive(carol(), &invite(&format!("X-Long: {}\r\n", "x".repeat(3000))));
    assert!(sent[1].0 == phone && sent[1].1.len() > 3000, "{:?}", lines(&sent));
}
