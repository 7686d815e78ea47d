//! Forking (RFC 3261 §16.6, §16.7, §16.10): several phones of one user, over every transport and in bad weather.

mod common;

use common::{Conditions, World, everywhere, secs};
use farspeak_sansio::Transport;

fn bob_has_two_phones(w: &mut World) {
    w.registered("alice");
    for (name, address) in [("desk", "192.0.2.31"), ("cell", "192.0.2.32")] {
        let phone = w.phone_at(name, "bob", w.conditions.transport, address);
        w.register(phone);
    }
}

fn both_ring(w: &mut World) {
    w.at("alice").invite("sip:bob@biloxi.example");
    w.expect("alice -> proxy  INVITE");
    if w.conditions.watch == common::world::Watch::Ladder {
        w.net.expect_all(["proxy -> desk  INVITE", "proxy -> cell  INVITE"]);
    }
    w.expect_any("proxy -> desk   INVITE");
    w.expect_any("proxy -> cell   INVITE");
    w.at("desk").ring();
    w.at("cell").ring();
}

#[test]
fn one_answers_and_the_other_stops_ringing() {
    everywhere(|w| {
        bob_has_two_phones(w);
        both_ring(w);
        w.at("cell").answer();
        w.expect("cell  -> proxy  200 INVITE");
        w.expect_any("proxy -> alice  200 INVITE");
        w.expect_any("proxy -> desk   CANCEL");
        w.expect_any("desk  -> proxy  487 INVITE");
        w.expect_any("proxy -> cell   ACK");
        w.check("alice and the cell phone talk", |w| w.is("alice").is_talking() && w.is("cell").is_talking());
        w.net.never("proxy -> alice  487 INVITE");
        w.at("cell").bye();
        w.expect_any("proxy -> alice  BYE");
        w.check("the call is over", |w| !w.is("alice").is_talking());
    });
}

#[test]
fn the_caller_gives_up_and_both_stop_ringing() {
    everywhere(|w| {
        bob_has_two_phones(w);
        both_ring(w);
        w.at("alice").cancel();
        for phone in ["desk", "cell"] {
            w.expect_any(&format!("proxy -> {phone}  CANCEL"));
            w.expect_any(&format!("{phone} -> proxy  487 INVITE"));
        }
        w.expect_any("proxy -> alice  487 INVITE");
    });
}

#[test]
fn the_best_of_two_refusals_reaches_the_caller() {
    everywhere(|w| {
        bob_has_two_phones(w);
        both_ring(w);
        w.at("desk").refuse(486);
        w.expect_any("desk  -> proxy  486 INVITE");
        w.pass(secs(1));
        w.net.never("proxy -> alice  486 INVITE");
        w.at("cell").refuse(480);
        w.expect_any("cell  -> proxy  480 INVITE");
        w.check("alice hears one of them", |w| {
            w.is("alice").finals.last().is_some_and(|last| last == "480 INVITE" || last == "486 INVITE")
        });
    });
}

/// RFC 3261 §16.7 step 5: a 6xx ends the search; the other phone is cancelled.
#[test]
fn a_global_refusal_stops_everything() {
    everywhere(|w| {
        bob_has_two_phones(w);
        both_ring(w);
        w.at("desk").refuse(603);
        w.expect_any("proxy -> cell   CANCEL");
        w.expect_any("cell  -> proxy  487 INVITE");
        w.check("alice hears 603", |w| w.is("alice").finals.last().is_some_and(|last| last == "603 INVITE"));
    });
}

/// A phone that is switched off does not keep the other from ringing and being answered.
#[test]
fn a_dead_phone_does_not_hold_up_the_living() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        bob_has_two_phones(&mut w);
        w.net.power(w.host("desk"), false);
        w.at("alice").invite("sip:bob@biloxi.example");
        w.net.expect_within(secs(1), "proxy -> cell  INVITE");
        w.at("cell").answer();
        w.net.expect_within(secs(1), "proxy -> alice  200 INVITE");
        w.at("alice").bye();
        w.pass(secs(70));
        w.settle();
    }
}

/// Preference: the phone of higher q rings alone first.
#[test]
fn lower_preference_waits_for_its_turn() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        w.registered("alice");
        for (name, address, q) in [("desk", "192.0.2.31", "0.2"), ("cell", "192.0.2.32", "0.9")] {
            w.phone_at(name, "bob", transport, address);
            w.at(name).press(|phone, now| {
                let contact = format!("<{}>;q={q}", phone.account.contact);
                phone.register_with(now, &[&contact], Some(600));
            });
            w.expect(&format!("proxy -> {name}  200 REGISTER"));
        }
        w.at("alice").invite("sip:bob@biloxi.example");
        w.expect("proxy -> cell  INVITE");
        w.at("cell").ring();
        w.pass(secs(2));
        w.net.never("proxy -> desk  INVITE");
        w.at("cell").refuse(486);
        w.expect("proxy -> desk  INVITE");
        w.at("desk").answer();
        w.expect("proxy -> alice  200 INVITE");
        w.expect("proxy -> desk  ACK");
        w.at("alice").bye();
        w.settle();
    }
}

/// RFC 3261 §16.7 step 3: a response without the caller's Via cannot be passed on. The caller is told something all the
/// same.
#[test]
fn an_answer_that_cannot_be_passed_on_does_not_leave_the_caller_waiting() {
    for (transport, status) in
        [(Transport::Udp, "486 Busy Here"), (Transport::Tls, "486 Busy Here"), (Transport::Tls, "200 OK")]
    {
        let mut w = World::new(Conditions::fair(transport));
        w.registered("alice");
        let bob = w.registered("bob");
        let flow = w.is("bob").account.flow;
        w.net.intercept(bob, move |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let mut vias = 0;
            let kept = text.split("\r\n").skip(1).filter(|line| {
                vias += u32::from(line.starts_with("Via:"));
                !line.starts_with("Via:") || vias == 1
            });
            let answer = format!("SIP/2.0 {status}\r\n{}", kept.collect::<Vec<_>>().join("\r\n"));
            text.starts_with("INVITE").then(|| (flow, answer.into_bytes()))
        });
        w.at("alice").invite("sip:bob@biloxi.example");
        w.expect("bob -> proxy");
        w.net.expect_within(secs(1), "proxy -> alice  480 INVITE");
        w.pass(secs(70));
        w.settle();
    }
}
