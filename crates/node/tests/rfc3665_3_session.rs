//! The sessions of RFC 3665 §3 that pass through a proxy, over every transport, with loss, stalls and resets.
//!
//! Where the RFC draws two proxies, ours is both. §3.1 has no proxy. §3.5 is about a gateway in front of ours.

mod common;

use common::{Conditions, World, everywhere, secs};
use farspeak_sansio::Transport;
use farspeak_sip::message::HeaderName;

const BOB: &str = "sip:bob@biloxi.example";

fn alice_and_bob(w: &mut World) {
    w.registered("alice");
    w.registered("bob");
}

/// From the first INVITE to the one that reaches Bob.
fn calls(w: &mut World) {
    w.at("alice").invite(BOB);
    w.expect("alice -> proxy  INVITE");
    w.expect("proxy -> alice  407 INVITE");
    // A challenge leaves no state here: if its ACK is lost, nobody asks for it.
    w.expect_once("alice -> proxy  ACK");
    w.expect("alice -> proxy  INVITE");
    w.expect("proxy -> alice  100 INVITE");
    w.expect("proxy -> bob    INVITE");
}

fn rings(w: &mut World) {
    w.at("bob").ring();
    w.expect("bob   -> proxy  180 INVITE");
    w.expect("proxy -> alice  180 INVITE");
}

fn answers(w: &mut World) {
    w.at("bob").answer();
    w.expect("bob   -> proxy  200 INVITE");
    w.expect("proxy -> alice  200 INVITE");
    w.expect("alice -> proxy  ACK");
    w.expect("proxy -> bob    ACK");
    w.check("both talk", |w| w.is("alice").is_talking() && w.is("bob").is_talking());
}

fn hangs_up(w: &mut World, one: &str, other: &str) {
    w.at(one).bye();
    w.expect(&format!("{one}   -> proxy  BYE"));
    w.expect(&format!("proxy -> {other}  BYE"));
    w.expect(&format!("{other} -> proxy  200 BYE"));
    w.expect(&format!("proxy -> {one}    200 BYE"));
}

/// RFC 3665 §3.2 and §3.3: with a challenge, Record-Route, and a BYE of the called.
#[test]
fn session_establishment_through_the_proxy() {
    everywhere(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        answers(w);
        hangs_up(w, "bob", "alice");
        w.check("alice knows", |w| !w.is("alice").is_talking());
    });
}

/// RFC 3665 §3.2 with a preloaded Route, as a phone sends it whose outbound proxy we are.
#[test]
fn session_with_a_preloaded_route() {
    everywhere(|w| {
        alice_and_bob(w);
        w.at("alice").press(|phone, _| {
            phone.extra.push(("Route".to_owned(), "<sip:biloxi.example;lr>".to_owned()));
        });
        calls(w);
        rings(w);
        answers(w);
        hangs_up(w, "alice", "bob");
    });
}

/// RFC 3665 §3.4: the first attempt meets a node that is out of service; the next one succeeds.
#[test]
fn successful_session_after_proxy_failure() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    alice_and_bob(&mut w);
    w.net.power(w.proxy, false);
    w.at("alice").invite(BOB);
    w.pass(secs(33));
    assert_eq!(w.net.count("alice -x proxy  INVITE"), 7, "six repetitions, then Timer B\n{}", w.net);
    assert_eq!(w.is("alice").finals.last().unwrap(), "408 INVITE");
    w.net.power(w.proxy, true);
    w.begin();
    calls(&mut w);
    rings(&mut w);
    answers(&mut w);
    hangs_up(&mut w, "bob", "alice");
    w.settle();
}

/// RFC 3665 §3.6: a redirection reaches the caller, who follows it; no SDP in the INVITE.
#[test]
fn session_via_redirect_with_sdp_in_ack() {
    everywhere(|w| {
        alice_and_bob(w);
        w.registered("carol");
        calls(w);
        w.at("bob").press(|phone, now| {
            phone.refuse_with(now, 302, &[("Contact", "<sip:carol@biloxi.example>")]);
        });
        w.expect("bob   -> proxy  302 INVITE");
        w.expect("proxy -> bob    ACK");
        w.expect("proxy -> alice  302 INVITE");
        w.expect("alice -> proxy  ACK");
        w.at("alice").press(|phone, now| phone.invite_saying(now, "sip:carol@biloxi.example", ""));
        w.expect("alice -> proxy  INVITE");
        w.expect("proxy -> carol  INVITE");
        w.at("carol").answer();
        w.expect("carol -> proxy  200 INVITE");
        w.expect("proxy -> alice  200 INVITE");
        w.expect("proxy -> carol  ACK");
        hangs_up(w, "carol", "alice");
    });
}

/// RFC 3665 §3.7: a re-INVITE with a new Contact; the BYE then goes to that Contact.
#[test]
fn session_with_reinvite() {
    everywhere(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        answers(w);
        w.at("bob").press(|phone, _| phone.account.contact = phone.account.contact.replace("bob@", "bob-new@"));
        w.at("bob").reinvite();
        w.expect("bob   -> proxy  INVITE");
        w.expect("proxy -> alice  INVITE");
        w.expect("alice -> proxy  200 INVITE");
        w.expect("proxy -> bob    200 INVITE");
        w.expect("bob   -> proxy  ACK");
        w.expect("proxy -> alice  ACK");
        w.check("alice knows the new target", |w| {
            w.is("alice").is_talking() && w.is("alice").calls[0].remote_target.contains("bob-new@")
        });
        hangs_up(w, "alice", "bob");
    });
}

/// RFC 3665 §3.8: the caller gives up while it rings.
#[test]
fn unsuccessful_no_answer() {
    everywhere(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        w.at("alice").cancel();
        w.expect("alice -> proxy  CANCEL");
        w.expect("proxy -> alice  200 CANCEL");
        w.expect("proxy -> bob    CANCEL");
        w.expect("bob   -> proxy  200 CANCEL");
        w.expect("bob   -> proxy  487 INVITE");
        w.expect("proxy -> bob    ACK");
        w.expect("proxy -> alice  487 INVITE");
        w.expect("alice -> proxy  ACK");
        w.check("the call is over", |w| w.is("alice").finals.last().is_some_and(|last| last == "487 INVITE"));
    });
}

/// RFC 3665 §3.9.
#[test]
fn unsuccessful_busy() {
    everywhere(|w| {
        alice_and_bob(w);
        calls(w);
        w.at("bob").refuse(486);
        w.expect("bob   -> proxy  486 INVITE");
        w.expect("proxy -> bob    ACK");
        w.expect("proxy -> alice  486 INVITE");
        w.expect("alice -> proxy  ACK");
        w.check("alice hears it", |w| w.is("alice").finals.last().is_some_and(|last| last == "486 INVITE"));
    });
}

/// RFC 3665 §3.10: the phone is gone without a word. The RFC draws 480; RFC 3261 §16.7 step 6 gives 408 for a branch
/// that timed out.
#[test]
fn unsuccessful_no_response_from_user_agent() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    alice_and_bob(&mut w);
    w.net.power(w.host("bob"), false);
    w.at("alice").invite(BOB);
    w.expect("proxy -> alice  100 INVITE");
    w.expect("proxy -> alice  408 INVITE");
    assert_eq!(w.net.count("proxy -x bob  INVITE"), 7, "{}", w.net);
    w.expect("alice -> proxy  ACK");
    w.settle();
}

/// The same on a stream: the node learns that the stream is dead when the kernel gives up, or Timer B comes first.
#[test]
fn unsuccessful_no_response_over_a_dead_stream() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    alice_and_bob(&mut w);
    w.net.power(w.host("bob"), false);
    w.at("alice").invite(BOB);
    w.expect("proxy -> alice  408 INVITE");
    w.settle();
}

/// A phone whose stream was reset is offline: 480 at once, instead of half a minute of silence.
#[test]
fn a_phone_whose_stream_is_gone_is_unavailable_at_once() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    alice_and_bob(&mut w);
    w.net.reset(w.host("bob"), w.proxy);
    w.at("alice").invite(BOB);
    w.net.expect_within(secs(1), "proxy -> alice  480 INVITE");
    w.settle();
}

/// RFC 3665 §3.11.
#[test]
fn unsuccessful_temporarily_unavailable() {
    everywhere(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        w.at("bob").refuse(480);
        w.expect("bob   -> proxy  480 INVITE");
        w.expect("proxy -> bob    ACK");
        w.expect("proxy -> alice  480 INVITE");
        w.expect("alice -> proxy  ACK");
    });
}

/// A callee who never answers: Timer C ends the call (RFC 3261 §16.8).
#[test]
fn a_phone_that_rings_for_ever_is_cancelled_by_timer_c() {
    everywhere(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        w.pass(secs(186));
        w.expect("proxy -> bob    CANCEL");
        w.expect("proxy -> alice  408 INVITE");
    });
}

/// What is not the proxy's business arrives as it was sent: an unknown header, folding, order, case.
#[test]
fn a_header_that_nobody_knows_arrives_untouched() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    alice_and_bob(&mut w);
    w.at("alice").press(|phone, _| phone.extra.push(("x-Unknown-THING".to_owned(), "a  b\r\n ;c=\"d\"".to_owned())));
    w.at("alice").invite(BOB);
    let seen = w.net.expect("proxy -> bob  INVITE");
    let text = String::from_utf8(seen.bytes).unwrap();
    assert!(text.contains("\r\nx-Unknown-THING: a  b\r\n ;c=\"d\"\r\n"), "{text}");
    w.at("bob").refuse(486);
    w.settle();
}

/// Credentials for us stay with us (RFC 3261 §22.3).
#[test]
fn our_credentials_are_not_shown_to_the_callee() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    alice_and_bob(&mut w);
    w.at("alice").invite(BOB);
    let seen = w.net.expect("proxy -> bob  INVITE");
    let text = String::from_utf8(seen.bytes).unwrap();
    assert!(!text.contains("Proxy-Authorization"), "{text}");
    assert!(w.is("bob").calls.len() == 1 && HeaderName::ProxyAuthorization.as_str() == "Proxy-Authorization");
    w.at("bob").refuse(486);
    w.settle();
}

/// Caller and callee belong to different shards: what the callee answers comes to the wrong one and is handed over.
#[test]
fn a_call_between_shards_is_handed_over() {
    let mut w = World::new(Conditions { shards: 2, ..Conditions::fair(Transport::Udp) });
    alice_and_bob(&mut w);
    calls(&mut w);
    rings(&mut w);
    answers(&mut w);
    hangs_up(&mut w, "bob", "alice");
    w.settle();
    let handed_over = w.net.machine(w.proxy).handed_over;
    assert_eq!(handed_over, 3, "180 and 200 to the INVITE, 200 to the BYE\n{}", w.net);
}
