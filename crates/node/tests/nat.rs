//! Phones behind translators: they get their calls, ACK and BYE, over UDP and over TLS and WebSocket.

mod common;

use common::world::{DOMAIN, Watch};
use common::{Conditions, World, secs};
use farspeak_sansio::Transport;
use farspeak_sim::{Dependence, Nat};

fn behind(w: &mut World, name: &str, transport: Transport, nat: Nat, outside: &str) {
    // Every home uses the same inside address.
    let phone = w.phone_at(name, name, transport, "10.0.0.2");
    let nat = w.net.nat(&format!("{name}-nat"), nat, [outside]);
    w.net.put_behind(phone, nat);
    w.register(phone);
}

fn call_and_hang_up(w: &mut World, caller: &str, callee: &str, ends: &str) {
    w.begin();
    w.at(caller).invite(&format!("sip:{callee}@{DOMAIN}"));
    w.expect(&format!("proxy -> {callee}  INVITE"));
    w.at(callee).ring();
    w.expect(&format!("proxy -> {caller}  180 INVITE"));
    w.at(callee).answer();
    w.expect(&format!("proxy -> {caller}  200 INVITE"));
    w.expect(&format!("proxy -> {callee}  ACK"));
    let other = if ends == caller { callee } else { caller };
    w.at(ends).bye();
    w.expect(&format!("proxy -> {other}  BYE"));
    w.expect(&format!("proxy -> {ends}  200 BYE"));
}

fn kinds() -> Vec<Nat> {
    let all = [Dependence::EndpointIndependent, Dependence::AddressDependent, Dependence::AddressAndPortDependent];
    let mut kinds: Vec<Nat> = all.iter().flat_map(|m| all.map(|f| Nat::new(*m, f))).collect();
    kinds.push(Nat::symmetric());
    kinds
}

#[test]
fn phones_behind_every_kind_of_nat_call_each_other_over_udp() {
    for (seed, nat) in kinds().into_iter().enumerate() {
        // Thirty seconds are the shortest timeout in the field; the RFC asks for two minutes. Our CRLF comes from outside.
        let nat = nat.udp_timeout(secs(30)).inbound_refresh(true);
        let mut w = World::new(Conditions { seed: seed as u64, ..Conditions::fair(Transport::Udp) });
        behind(&mut w, "alice", Transport::Udp, nat, "198.51.100.1");
        behind(&mut w, "bob", Transport::Udp, nat, "198.51.100.2");
        call_and_hang_up(&mut w, "alice", "bob", "alice");
        call_and_hang_up(&mut w, "bob", "alice", "alice");
        // An hour later, the registration is still good for a call: we keep the mapping open.
        w.pass(secs(3_300));
        call_and_hang_up(&mut w, "alice", "bob", "bob");
        w.settle();
    }
}

/// A translator that counts only what leaves (RFC 4787 REQ-6 asks for no more) needs a phone that keeps itself alive.
#[test]
fn a_phone_that_sends_keep_alives_is_reached_through_the_strictest_nat() {
    let nat = Nat::symmetric().udp_timeout(secs(30));
    let mut w = World::new(Conditions::fair(Transport::Udp));
    behind(&mut w, "alice", Transport::Udp, nat, "198.51.100.1");
    behind(&mut w, "bob", Transport::Udp, nat, "198.51.100.2");
    for name in ["alice", "bob"] {
        w.at(name).press(|phone, now| phone.keep_alive(now, secs(20)));
    }
    w.pass(secs(3_300));
    call_and_hang_up(&mut w, "alice", "bob", "bob");
    for name in ["alice", "bob"] {
        w.at(name).press(|phone, now| phone.keep_alive(now, secs(0)));
    }
    w.settle();
}

/// A phone whose mapping has died calls out: its registration leads nowhere, but the BYE finds the mapping of the call.
#[test]
fn a_bye_takes_the_mapping_of_the_call_if_that_is_newer_than_the_registration() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    behind(&mut w, "alice", Transport::Udp, Nat::symmetric().udp_timeout(secs(30)), "198.51.100.1");
    w.registered("bob");
    w.pass(secs(600));
    call_and_hang_up(&mut w, "alice", "bob", "bob");
    w.settle();
}

#[test]
fn phones_behind_nats_call_each_other_over_streams() {
    for transport in [Transport::Tls, Transport::Wss, Transport::Tcp] {
        let mut w = World::new(Conditions::fair(transport));
        behind(&mut w, "alice", transport, Nat::symmetric(), "198.51.100.1");
        behind(&mut w, "bob", transport, Nat::home_router(), "198.51.100.2");
        call_and_hang_up(&mut w, "alice", "bob", "bob");
        call_and_hang_up(&mut w, "bob", "alice", "bob");
        assert_eq!(w.net.streams(), 2, "no stream but the phones' own: nobody was connected to\n{}", w.net);
        w.settle();
    }
}

#[test]
fn every_transport_reaches_every_other_through_nats() {
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    for caller in all {
        for callee in all {
            let mut w = World::new(Conditions::fair(caller));
            behind(&mut w, "alice", caller, Nat::symmetric(), "198.51.100.1");
            behind(&mut w, "bob", callee, Nat::home_router(), "198.51.100.2");
            call_and_hang_up(&mut w, "alice", "bob", "alice");
            call_and_hang_up(&mut w, "alice", "bob", "bob");
            w.settle();
        }
    }
}

#[test]
fn a_carrier_translator_behind_a_home_router_is_no_obstacle() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        behind(&mut w, "alice", transport, Nat::home_router(), "198.51.100.1");
        let bob = w.phone_at("bob", "bob", transport, "10.0.0.2");
        let home = w.net.nat("bob-home", Nat::home_router(), ["100.64.0.9"]);
        let carrier = w.net.nat("bob-carrier", Nat::symmetric(), ["198.51.100.2"]);
        w.net.put_nat_behind(home, carrier);
        w.net.put_behind(bob, home);
        w.register(bob);
        call_and_hang_up(&mut w, "alice", "bob", "alice");
        w.settle();
    }
}

/// The phone's router restarts in the middle of a call: a new REGISTER brings a new mapping, and the BYE of the other
/// side finds it.
#[test]
fn a_bye_finds_a_phone_whose_mapping_has_changed() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        behind(&mut w, "alice", transport, Nat::home_router(), "198.51.100.1");
        let nat = Nat::symmetric();
        let bob = w.phone_at("bob", "bob", transport, "10.0.0.2");
        let router = w.net.nat("bob-nat", nat, ["198.51.100.2"]);
        w.net.put_behind(bob, router);
        w.register(bob);
        w.at("alice").invite("sip:bob@biloxi.example");
        w.expect("proxy -> bob  INVITE");
        w.at("bob").answer();
        w.expect("proxy -> bob  ACK");
        w.pass(secs(1));
        w.net.nat_table(router).reboot();
        w.net.note("bob's router restarts");
        if transport == Transport::Tls {
            w.net.reset(bob, w.proxy);
            w.pass(secs(1));
        }
        w.register(bob);
        w.at("alice").bye();
        w.expect("proxy -> bob    BYE");
        w.expect("proxy -> alice  200 BYE");
        w.settle();
    }
}

/// The same the other way round: the phone that has come back hangs up.
#[test]
fn a_phone_that_has_come_back_can_hang_up() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        behind(&mut w, "alice", transport, Nat::symmetric(), "198.51.100.1");
        behind(&mut w, "bob", transport, Nat::symmetric(), "198.51.100.2");
        w.at("alice").invite("sip:bob@biloxi.example");
        w.expect("proxy -> bob  INVITE");
        w.at("bob").answer();
        w.expect("proxy -> bob  ACK");
        w.pass(secs(1));
        w.net.reset(w.host("alice"), w.proxy);
        w.net.reset(w.host("bob"), w.proxy);
        w.pass(secs(1));
        for name in ["alice", "bob"] {
            w.register(w.host(name));
        }
        w.at("bob").bye();
        w.expect("proxy -> alice  BYE");
        w.expect("proxy -> bob    200 BYE");
        w.settle();
    }
}

/// IPv6 has no translators, and phones on it reach phones on IPv4.
#[test]
fn a_phone_on_ipv6_calls_a_phone_behind_a_nat() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions { watch: Watch::Ladder, ..Conditions::fair(transport) });
        let alice = w.phone_at("alice", "alice", transport, "2001:db8::20");
        w.register(alice);
        behind(&mut w, "bob", transport, Nat::home_router(), "198.51.100.2");
        call_and_hang_up(&mut w, "alice", "bob", "alice");
        call_and_hang_up(&mut w, "bob", "alice", "alice");
        w.settle();
    }
}
