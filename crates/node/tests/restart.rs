//! The node dies and is started again: what was answered holds.

mod common;

use common::world::Watch;
use common::{Conditions, World, secs};
use farspeak_sansio::Transport;

/// UDP phones keep their address: they are rung at once.
#[test]
fn udp_phones_are_rung_by_a_restarted_node() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    w.registered("alice");
    w.registered("bob");
    w.restart_node();
    w.at("alice").invite("sip:bob@biloxi.example");
    w.expect("proxy -> bob    INVITE");
    w.at("bob").answer();
    w.expect("proxy -> alice  200 INVITE");
    w.expect("proxy -> bob    ACK");
    w.at("bob").bye();
    w.expect("proxy -> bob    200 BYE");
    w.settle();
}

/// TLS phones have lost their connection: unavailable until they are back, then rung.
#[test]
fn tls_phones_are_rung_as_soon_as_they_reconnect() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    w.registered("alice");
    w.registered("bob");
    w.restart_node();
    w.pass(secs(1));
    w.at("alice").invite("sip:bob@biloxi.example");
    w.net.expect_within(secs(2), "proxy -> alice  480 INVITE");
    w.register(w.host("bob"));
    assert_eq!(w.is("bob").bindings.len(), 1, "the old binding and the new one are the same\n{}", w.net);
    w.at("alice").invite("sip:bob@biloxi.example");
    w.expect("proxy -> bob    INVITE");
    w.at("bob").refuse(486);
    w.expect("proxy -> alice  486 INVITE");
    w.settle();
}

/// A call that was up before the restart is hung up after it: the token is still known.
#[test]
fn a_bye_crosses_a_restart() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        w.registered("alice");
        w.registered("bob");
        w.at("alice").invite("sip:bob@biloxi.example");
        w.expect("proxy -> bob    INVITE");
        w.at("bob").answer();
        w.expect("proxy -> bob    ACK");
        w.pass(secs(40));
        w.restart_node();
        w.pass(secs(1));
        if transport == Transport::Tls {
            w.register(w.host("alice"));
            w.register(w.host("bob"));
        }
        w.at("bob").bye();
        w.expect("proxy -> alice  BYE");
        w.expect("proxy -> bob    200 BYE");
        w.settle();
    }
}

/// Killed at any message of a registration: either the phone was not told 200, or the binding is there.
#[test]
fn a_kill_loses_nothing_that_was_answered() {
    for transport in [Transport::Udp, Transport::Tls] {
        for at in 0..8 {
            let mut w = World::new(Conditions { watch: Watch::Outcome, ..Conditions::fair(transport) });
            w.phone("bob");
            w.at("bob").register();
            while w.net.mark() < at && w.net.step(w.net.now() + secs(1)) {}
            w.restart_node();
            w.pass(secs(40));
            let told = w.is("bob").finals.iter().any(|last| last == "200 REGISTER");
            assert!(!told || !w.shared.location.is_empty(), "killed at message {at}\n{}", w.net);
            w.settle();
        }
    }
}

/// Killed in the middle of a call: both phones end it one way or another, and the node keeps nothing.
#[test]
fn a_kill_in_a_call_leaves_nothing() {
    for transport in [Transport::Udp, Transport::Tls] {
        for at in 0..20 {
            let mut w = World::new(Conditions { watch: Watch::Leftovers, ..Conditions::fair(transport) });
            w.registered("alice");
            w.registered("bob");
            let start = w.net.mark();
            w.at("alice").invite("sip:bob@biloxi.example");
            let mut killed = false;
            for button in [common::Phone::ring, common::Phone::answer, common::Phone::bye] {
                let until = w.net.now() + secs(1);
                loop {
                    if !killed && w.net.mark() >= start + at {
                        killed = true;
                        w.restart_node();
                    }
                    if !w.net.step(until) {
                        break;
                    }
                }
                w.at("bob").press(button);
            }
            w.settle();
        }
    }
}
