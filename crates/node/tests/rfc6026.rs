//! RFC 6026 through the whole node: what happens between the first 2xx and the end of the transaction.

mod common;

use common::{Conditions, World, secs};
use farspeak_sansio::Transport;
use farspeak_sim::Link;

fn ringing(transport: Transport) -> World {
    let mut w = World::new(Conditions::fair(transport));
    w.registered("alice");
    w.registered("bob");
    w.at("alice").invite("sip:bob@biloxi.example");
    w.expect("proxy -> bob    INVITE");
    w.at("bob").ring();
    w.expect("proxy -> alice  180 INVITE");
    w
}

/// §7.1: each retransmission of the 2xx passes while the server transaction is in Accepted.
#[test]
fn retransmissions_of_2xx_pass_until_the_ack_comes() {
    let mut w = ringing(Transport::Udp);
    w.net.set_link_from(w.host("alice"), w.proxy, Link::default().loss(1.0));
    w.at("bob").answer();
    w.pass(secs(8));
    let passed = w.net.count("proxy -> alice  200 INVITE");
    assert_eq!(passed, w.net.count("bob -> proxy  200 INVITE"), "{}", w.net);
    assert!(passed >= 4, "{}", w.net);
    w.net.set_link_from(w.host("alice"), w.proxy, Link::default());
    w.expect("proxy -> bob    ACK");
    w.at("bob").bye();
    w.expect("proxy -> bob    200 BYE");
    w.settle();
}

/// §7.1: a retransmitted INVITE is absorbed in Accepted: no second call, no second answer made here.
#[test]
fn a_late_invite_retransmission_makes_no_second_call() {
    let mut w = ringing(Transport::Udp);
    let invite = w.net.last("alice -> proxy  INVITE").unwrap().bytes.clone();
    w.at("bob").answer();
    w.expect("proxy -> bob    ACK");
    let flow = w.is("alice").account.flow;
    let alice = w.host("alice");
    w.net.send_from(alice, flow, invite);
    w.expect("alice -> proxy  INVITE");
    w.pass(secs(5));
    assert_eq!(w.is("bob").calls.len(), 1, "{}", w.net);
    w.at("bob").bye();
    w.settle();
}

/// §7.3 and §8.?: what matches nothing is dropped, and never forwarded.
#[test]
fn a_stray_2xx_goes_nowhere() {
    let mut w = ringing(Transport::Udp);
    w.at("bob").answer();
    let answer = w.net.expect("bob -> proxy  200 INVITE").bytes;
    w.expect("proxy -> bob    ACK");
    w.at("bob").bye();
    w.settle();
    // All transactions are over now: long after Timer L and Timer M.
    w.pass(secs(60));
    w.begin();
    let before = w.net.mark();
    let (bob, flow) = (w.host("bob"), w.is("bob").account.flow);
    w.net.send_from(bob, flow, answer);
    w.pass(secs(5));
    assert!(w.net.count("bob -> proxy  200 INVITE") >= 2);
    assert!(!w.net.seen_since(before, "proxy -> alice  200 INVITE"), "{}", w.net);
}

/// §7.2: two phones answer at once; both 2xx pass, and the caller takes one and ends the other.
#[test]
fn both_answers_of_a_fork_reach_the_caller() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        w.registered("alice");
        for (name, address) in [("desk", "192.0.2.31"), ("cell", "192.0.2.32")] {
            let phone = w.phone_at(name, "bob", transport, address);
            w.register(phone);
        }
        w.at("alice").invite("sip:bob@biloxi.example");
        w.net.expect_all(["proxy -> desk  INVITE", "proxy -> cell  INVITE"]);
        w.at("desk").answer();
        w.at("cell").answer();
        w.pass(secs(10));
        assert_eq!(w.net.count("proxy -> alice  200 INVITE"), 2, "{}", w.net);
        let talking = [w.is("desk"), w.is("cell")].into_iter().filter(|phone| phone.is_talking()).count();
        assert_eq!((w.is("alice").calls.len(), talking), (2, 1), "{}", w.net);
        w.at("alice").press(common::Phone::end_everything);
        w.settle();
    }
}

/// A CANCEL crosses with the answer: the call is up, and a BYE ends it.
#[test]
fn a_cancel_that_crosses_with_the_answer_ends_nothing() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = ringing(transport);
        w.at("bob").answer();
        w.at("alice").cancel();
        w.expect("proxy -> alice  200 INVITE");
        w.expect("proxy -> bob    ACK");
        assert!(w.is("alice").is_talking());
        w.at("alice").bye();
        w.expect("proxy -> alice  200 BYE");
        w.settle();
    }
}

/// The caller's stream is gone when the answer comes: the call ends, and nothing is left.
#[test]
fn an_answer_to_a_caller_who_is_gone_leaves_nothing() {
    let mut w = ringing(Transport::Tls);
    w.net.reset(w.host("alice"), w.proxy);
    w.at("bob").answer();
    w.pass(secs(60));
    w.at("alice").press(common::Phone::end_everything);
    w.at("bob").press(common::Phone::end_everything);
    w.settle();
}
