//! Calls through the back-to-back user agent: the flows of RFC 3665 §3, as phones see them, over every transport, with
//! loss, stalls and resets, on one to three shards.

mod common;

use common::{Conditions, World, everywhere_joined, secs};
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
    w.expect_any("proxy -> bob    ACK"); // each leg has its own
    w.expect_any("proxy -> alice  200 INVITE");
    w.expect_any("alice -> proxy  ACK");
    w.check("both talk", |w| w.is("alice").is_talking() && w.is("bob").is_talking());
}

fn hangs_up(w: &mut World, one: &str, other: &str) {
    w.at(one).bye();
    w.expect(&format!("{one}   -> proxy  BYE"));
    w.expect_any(&format!("proxy -> {one}    200 BYE"));
    w.expect_any(&format!("proxy -> {other}  BYE"));
    w.expect_any(&format!("{other} -> proxy  200 BYE"));
}

/// RFC 3665 §3.2: the called hangs up.
#[test]
fn a_call_is_set_up_and_ended_by_the_called() {
    everywhere_joined(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        answers(w);
        hangs_up(w, "bob", "alice");
        w.check("alice knows", |w| !w.is("alice").is_talking());
    });
}

/// RFC 3665 §3.2, with the caller hanging up, and a re-INVITE of each side before.
#[test]
fn a_call_is_changed_by_both_and_ended_by_the_caller() {
    everywhere_joined(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        answers(w);
        for (one, other) in [("alice", "bob"), ("bob", "alice")] {
            w.at(one).reinvite();
            w.expect(&format!("{one} -> proxy  INVITE"));
            w.expect(&format!("proxy -> {other}  INVITE"));
            w.expect(&format!("{other} -> proxy  200 INVITE"));
            w.expect_any(&format!("proxy -> {one}  200 INVITE"));
            w.pass(secs(35));
            w.check("both talk again", |w| w.is("alice").is_talking() && w.is("bob").is_talking());
            w.begin();
        }
        hangs_up(w, "alice", "bob");
    });
}

/// RFC 3665 §3.8.
#[test]
fn the_caller_gives_up_while_it_rings() {
    everywhere_joined(|w| {
        alice_and_bob(w);
        calls(w);
        rings(w);
        w.at("alice").cancel();
        w.expect("alice -> proxy  CANCEL");
        w.expect("proxy -> alice  200 CANCEL");
        w.expect_any("proxy -> bob    CANCEL");
        w.expect_any("bob   -> proxy  487 INVITE");
        w.expect_any("proxy -> alice  487 INVITE");
    });
}

/// RFC 3665 §3.9, §3.10: each refusal arrives as it was made.
#[test]
fn refusals_reach_the_caller() {
    everywhere_joined(|w| {
        alice_and_bob(w);
        calls(w);
        for status in [486, 480, 603] {
            w.at("bob").refuse(status);
            w.expect(&format!("bob   -> proxy  {status} INVITE"));
            w.expect_any(&format!("proxy -> alice  {status} INVITE"));
            w.expect_any("alice -> proxy  ACK");
            w.pass(secs(40));
            w.begin();
            w.at("alice").invite(BOB);
            w.expect_any("proxy -> bob    INVITE");
        }
        w.at("bob").refuse(404);
        w.expect_any("proxy -> alice  404 INVITE");
    });
}

/// RFC 3665 §3.6: where to go instead is said to the caller.
#[test]
fn redirections_reach_the_caller() {
    everywhere_joined(|w| {
        alice_and_bob(w);
        calls(w);
        w.at("bob").press(|phone, now| {
            phone.refuse_with(now, 302, &[("Contact", "<sip:carol@biloxi.example>"), ("Warning", "399 b \"away\"")]);
        });
        w.expect("bob   -> proxy  302 INVITE");
        w.expect_any("proxy -> alice  302 INVITE");
        w.check("alice knows where", |w| {
            let last = w.is("alice").last_response.as_ref().expect("there was a response");
            last.header(HeaderName::Contact) == Some("<sip:carol@biloxi.example>")
                && last.header(HeaderName::Warning) == Some("399 b \"away\"")
        });
    });
}

/// The first phone that answers has the call; the other one stops ringing.
#[test]
fn of_two_phones_the_first_that_answers_has_the_call() {
    everywhere_joined(|w| {
        alice_and_bob(w);
        let second = w.phone_at("desk", "bob", w.conditions.transport, "192.0.2.40");
        w.register(second);
        w.at("alice").invite(BOB);
        w.expect_any("proxy -> bob    INVITE");
        w.expect_any("proxy -> desk   INVITE");
        w.at("bob").ring();
        w.at("desk").ring();
        w.at("desk").answer();
        w.expect_any("proxy -> alice  200 INVITE");
        w.check("alice and the desk phone talk", |w| w.is("alice").is_talking() && w.is("desk").is_talking());
        w.expect_any("proxy -> bob    CANCEL");
        w.pass(secs(1));
        w.begin();
        hangs_up(w, "alice", "desk");
    });
}

/// Nobody is at home: the caller hears what a proxy would have said.
#[test]
fn a_call_to_nobody_is_refused() {
    let mut w = World::new(Conditions { joined: true, ..Conditions::fair(Transport::Udp) });
    w.registered("alice");
    w.phone("bob");
    w.at("alice").invite(BOB);
    w.expect("alice -> proxy  INVITE");
    w.pass(secs(40));
    assert_eq!(w.is("alice").finals.last().unwrap(), "480 INVITE");
    w.settle();
}
