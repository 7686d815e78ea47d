//! Requests inside dialogs: flow tokens, Route, strict routers, phones that reconnect.

use super::*;

#[test]
fn ack_and_bye_find_phones_behind_nats_by_token() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let sent = node.receive(desk(), &respond(&forwarded, "180 Ringing"));
    assert_eq!(lines(&sent), ["5060 SIP/2.0 180 Ringing"]);
    let sent = node.receive(desk(), &respond(&forwarded, "200 OK"));
    assert_eq!(lines(&sent), ["5060 SIP/2.0 200 OK"]);
    assert_eq!(header(&sent[0].1, "Via").len(), 1);

    // The caller's route set is the Record-Route in reverse.
    let routes = header(&sent[0].1, "Record-Route").join(", ");
    let reversed: Vec<&str> = routes.split(", ").collect::<Vec<_>>().into_iter().rev().collect();
    let route = format!("Route: {}\r\n", reversed.join(", "));
    let sent = node.receive(carol(), &request("ACK", "sip:bob@10.0.0.2:5061;transport=tls", "2", &route));
    assert_eq!(lines(&sent), [format!("40002 ACK {DESK} SIP/2.0")]);
    assert!(header(&sent[0].1, "Route").is_empty());

    // And the callee hangs up.
    let route = format!("Route: {routes}\r\n");
    let sent = node.receive(desk(), &request("BYE", "sip:carol@203.0.113.3", "3", &route));
    assert_eq!(lines(&sent), ["5060 BYE sip:carol@203.0.113.3 SIP/2.0"]);
    let sent = node.receive(carol(), &respond(&sent[0].1, "200 OK"));
    assert_eq!(lines(&sent), ["40002 SIP/2.0 200 OK"]);
    node.pass(Duration::from_secs(64));
    assert_eq!(node.shard.counts().contexts, 0, "no state is left");
    assert_eq!(node.shard.counts().transactions, 0);
}

#[test]
fn a_forged_token_leads_nowhere() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node)).replacen("<sip:", "<sip:AAAA", 1).replace(", <sip:", ", <sip:BBBB");
    let bye = request("BYE", "sip:someone@10.9.9.9", "9", &format!("Route: {route}\r\n"));
    assert!(first_line(&refused(&mut node, &bye)).contains(" 407 "), "it is treated as if it had no Route");
}

#[test]
fn refuses_a_token_older_than_any_call() {
    let mut node = Node::new();
    let route = format!("Route: {}\r\n", caller_route(&call(&mut node)));
    node.pass(Duration::from_hours(30 * 24));
    let sent = node.receive(carol(), &request("BYE", DESK, "8", &route));
    assert_eq!(lines(&sent), [format!("40002 BYE {DESK} SIP/2.0")]);
    node.pass(Duration::from_secs(1));
    assert!(first_line(&refused(&mut node, &request("BYE", DESK, "9", &route))).contains(" 407 "));
}

#[test]
fn a_token_of_another_call_leads_nowhere() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node));
    let bye = request("BYE", "sip:someone@10.9.9.9", "9", &format!("Route: {route}\r\n")).replace("call-1@", "call-2@");
    assert!(first_line(&refused(&mut node, &bye)).contains(" 407 "));
}

#[test]
fn a_token_outside_a_dialog_is_no_way_past_authentication() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node));
    let text = request("MESSAGE", "sip:alice@biloxi.example", "9", &format!("Route: {route}\r\n"));
    let outside = text.replace("example>;tag=b1", "example>");
    assert!(first_line(&refused(&mut node, &outside)).contains(" 407 "));
}

#[test]
fn a_route_that_we_did_not_issue_is_not_followed() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let text = invite("").replace("X-Odd:", "Route: <sip:evil.example;lr>\r\nX-Odd:");
    assert!(first_line(&refused(&mut node, &text)).contains(" 403 "));
}

#[test]
fn an_outbound_proxy_setting_that_names_us_is_taken_off() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let text = invite("").replace("X-Odd:", "Route: <sip:biloxi.example;lr>\r\nX-Odd:");
    let sent = node.receive(carol(), &text);
    assert_eq!(lines(&sent)[1], format!("40002 INVITE {DESK} SIP/2.0"));
    assert!(header(&sent[1].1, "Route").is_empty());
}

#[test]
fn a_strict_router_before_us_is_put_right() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let route = caller_route(&forwarded);
    let mut routes = route.split(", ");
    let first = routes.next().unwrap().trim_matches(['<', '>']);
    let rest = routes.next().unwrap();
    let bye = request("BYE", first, "9", &format!("Route: {rest}, <{DESK}>\r\n"));
    let sent = node.receive(carol(), &bye);
    assert_eq!(lines(&sent), [format!("40002 BYE {DESK} SIP/2.0")]);
    assert!(header(&sent[0].1, "Route").is_empty());
}

#[test]
fn a_dialog_survives_that_the_phone_reconnects() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "200 OK"));
    node.shard.handle_flow_failed(node.now, desk());
    let again = flow(Transport::Tls, 9, "198.51.100.2:40009");
    node.bind(DESK, again, 1000);
    let route = caller_route(&forwarded);
    let sent = node.receive(carol(), &request("BYE", DESK, "4", &format!("Route: {route}\r\n")));
    assert_eq!(lines(&sent), [format!("40009 BYE {DESK} SIP/2.0")]);
    // And what it sends over its new connection finds the other side.
    let routes = header(&forwarded, "Record-Route").join(", ");
    let sent = node.receive(again, &request("INFO", "sip:carol@203.0.113.3", "5", &format!("Route: {routes}\r\n")));
    assert_eq!(lines(&sent), ["5060 INFO sip:carol@203.0.113.3 SIP/2.0"]);
}

#[test]
fn routes_of_others_are_followed_behind_a_token() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node));
    let bye = request("BYE", DESK, "4", &format!("Route: {route}, <sip:edge.example;lr>\r\n"));
    let sent = node.receive(carol(), &bye);
    assert_eq!(lines(&sent), [format!("40002 BYE {DESK} SIP/2.0")]);
    assert_eq!(header(&sent[0].1, "Route"), ["<sip:edge.example;lr>"]);
    // One without `lr` is a strict router: it takes the Request-URI's place (RFC 3261 §16.6 step 6).
    let bye = request("BYE", DESK, "5", &format!("Route: {route}, <sip:strict.example>, <sip:last.example;lr>\r\n"));
    let sent = node.receive(carol(), &bye);
    assert_eq!(lines(&sent), ["40002 BYE sip:strict.example SIP/2.0"]);
    assert_eq!(header(&sent[0].1, "Route"), [format!("<sip:last.example;lr>, <{DESK}>")]);
}

#[test]
fn an_ack_without_a_token_goes_nowhere() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let ack = request("ACK", DESK, "6", "Max-Forwards: 70\r\n").replace("example>\r\nCall", "example>;tag=b1\r\nCall");
    assert!(node.receive(carol(), &ack).is_empty());
}

#[test]
fn a_token_older_than_the_process_names_no_connection() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    let bye = request("BYE", DESK, "4", &format!("Route: {}\r\n", caller_route(&forwarded)));
    // The node is started again, a day later; another phone's connection has got the same handle.
    let mut node = Node::started_at(1_800_086_400_000, ProxyConfig::default());
    assert!(first_line(&refused(&mut node, &bye)).contains(" 480 "));
    // Once the phone has registered again, the dialog goes on.
    node.bind(DESK, flow(Transport::Tls, 70, "198.51.100.77:40070"), 1000);
    let sent = node.receive(carol(), &bye.replace("bK4", "bK5"));
    assert_eq!(lines(&sent), [format!("40070 BYE {DESK} SIP/2.0")]);
}

#[test]
fn nobody_takes_a_dialog_over_by_registering_its_contact() {
    let mut node = Node::new();
    let forwarded = call(&mut node);
    node.receive(desk(), &respond(&forwarded, "200 OK"));
    // Somebody registers the stranger's Contact, newer than the dialog.
    node.pass(Duration::from_secs(5));
    node.bind("sip:carol@203.0.113.3", cell(), 1000);
    let routes = header(&forwarded, "Record-Route").join(", ");
    let sent = node.receive(desk(), &request("INFO", "sip:carol@203.0.113.3", "5", &format!("Route: {routes}\r\n")));
    assert_eq!(lines(&sent), ["5060 INFO sip:carol@203.0.113.3 SIP/2.0"]);
}

#[test]
fn a_token_is_no_way_to_speak_for_another() {
    let mut node = Node::new();
    node.bind(DESK, desk(), 1000);
    let forwarded = forward::as_alice(&mut node, &invite(""))[1].1.clone();
    let route = format!("Route: {}\r\n", caller_route(&forwarded));
    let message = |from: &str, branch: &str| {
        request("MESSAGE", DESK, branch, &route).replace("\"Carol\" <sip:carol@chicago.example>", from)
    };
    let sent = node.receive(carol(), &message("<sip:alice@biloxi.example>", "m1"));
    assert_eq!(lines(&sent), [format!("40002 MESSAGE {DESK} SIP/2.0")]);
    for (other, branch) in [("bob@BILOXI.example", "m2"), ("bob@localhost:9999", "m4"), ("bob@127.0.0.1:9999", "m5")] {
        let answer = refused(&mut node, &message(&format!("<sip:{other}>"), branch));
        assert!(first_line(&answer).contains(" 403 "), "{answer}");
    }
    // The callee answers to the name that he was called by, whatever that was.
    let routes = format!("Route: {}\r\n", header(&forwarded, "Record-Route").join(", "));
    let sent = node.receive(desk(), &request("MESSAGE", "sip:carol@203.0.113.3", "m3", &routes));
    assert_eq!(lines(&sent), ["5060 MESSAGE sip:carol@203.0.113.3 SIP/2.0"]);
}

#[test]
fn the_other_phone_sees_no_credentials_of_ours() {
    let mut node = Node::new();
    let route = caller_route(&call(&mut node));
    let digest = "Proxy-Authorization: Digest username=\"carol\", realm=\"biloxi.example\", nonce=\"n\", uri=\"sip:x\", \
                  response=\"00000000000000000000000000000000\"\r\n";
    for (method, branch) in [("BYE", "8"), ("ACK", "9")] {
        let sent = node.receive(carol(), &request(method, DESK, branch, &format!("Route: {route}\r\n{digest}")));
        assert_eq!(lines(&sent), [format!("40002 {method} {DESK} SIP/2.0")]);
        assert!(header(&sent[0].1, "Proxy-Authorization").is_empty(), "{}", sent[0].1);
    }
}
