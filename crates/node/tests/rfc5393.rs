//! RFC 5393 through the whole node: loops, Max-Forwards and Max-Breadth.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Conditions, World, secs};
use farspeak_sansio::Transport;
use farspeak_sip::message::Method;

/// A "phone" that returns every INVITE to the node, as a proxy would: with its own Via on top and one hop less.
fn mirror(w: &mut World, name: &str, aim: &'static str) {
    let phone = w.phone_at(name, "bob", Transport::Tls, if name == "mirror" { "192.0.2.41" } else { "192.0.2.42" });
    w.register(phone);
    let flow = w.is(name).account.flow;
    let count = Rc::new(RefCell::new(0));
    let host = name.to_owned();
    w.net.intercept(phone, move |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (first, rest) = text.split_once("\r\n")?;
        if !first.starts_with("INVITE ") {
            return None;
        }
        *count.borrow_mut() += 1;
        let via = format!("Via: SIP/2.0/TLS {host}.example;branch=z9hG4bK{host}{};rport\r\n", count.borrow());
        let hops: u32 = rest.split("Max-Forwards: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
        let rest = rest.replace(&format!("Max-Forwards: {hops}"), &format!("Max-Forwards: {}", hops - 1));
        Some((flow, format!("INVITE {aim} SIP/2.0\r\n{via}{rest}").into_bytes()))
    });
}

/// §4.2: the request comes back as it left, so the loop is found at once.
#[test]
fn a_loop_ends_with_482() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    w.registered("alice");
    mirror(&mut w, "mirror", "sip:bob@biloxi.example");
    w.at("alice").invite("sip:bob@biloxi.example");
    w.expect("proxy  -> mirror  INVITE");
    w.expect("mirror -> proxy   INVITE");
    w.pass(secs(1));
    assert_eq!(w.net.count("proxy -> mirror  482 INVITE"), 1, "{}", w.net);
    assert_eq!(w.net.count("proxy -> mirror  INVITE"), 1, "{}", w.net);
    w.at("alice").cancel();
    w.pass(secs(300));
    w.settle();
}

/// RFC 5393 §3: two forking loops multiply requests without bound; here they do not.
#[test]
fn two_mirrors_do_not_amplify() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    w.registered("alice");
    mirror(&mut w, "mirror", "sip:bob@biloxi.example");
    mirror(&mut w, "glass", "sip:bob@biloxi.example");
    w.at("alice").invite("sip:bob@biloxi.example");
    w.pass(secs(2));
    assert!(w.net.count("proxy -> mirror  INVITE") + w.net.count("proxy -> glass  INVITE") == 2, "{}", w.net);
    w.at("alice").cancel();
    w.pass(secs(300));
    w.settle();
}

/// RFC 3261 §16.3 step 3.
#[test]
fn an_invite_without_hops_left_gets_483_and_an_options_200() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    w.registered("alice");
    w.registered("bob");
    for (method, answer) in [(Method::Message, "483 MESSAGE"), (Method::Options, "200 OPTIONS")] {
        w.at("alice").press(|phone, now| {
            phone.hops = 0;
            phone.request(now, method, "sip:bob@biloxi.example");
        });
        w.expect(&format!("proxy -> alice  {answer}"));
    }
    w.net.never("proxy -> bob  MESSAGE");
    w.net.never("proxy -> bob  OPTIONS");
    w.settle();
}

fn three_phones(w: &mut World) {
    w.registered("alice");
    for (name, address) in [("desk", "192.0.2.31"), ("cell", "192.0.2.32"), ("soft", "192.0.2.33")] {
        let phone = w.phone_at(name, "bob", w.conditions.transport, address);
        w.register(phone);
    }
}

fn rung(w: &World) -> usize {
    ["desk", "cell", "soft"].into_iter().map(|name| w.net.count(&format!("proxy -> {name}  INVITE"))).sum()
}

/// §5.3.3: a breadth of nothing reaches nobody.
#[test]
fn no_breadth_left_is_440() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    three_phones(&mut w);
    w.at("alice").press(|phone, now| {
        phone.extra.push(("Max-Breadth".to_owned(), "0".to_owned()));
        phone.invite(now, "sip:bob@biloxi.example");
    });
    w.expect("proxy -> alice  440 INVITE");
    assert_eq!(rung(&w), 0);
    w.settle();
}

/// §5.3.3.1: what is forwarded in parallel shares the breadth.
#[test]
fn a_fork_divides_its_breadth() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    three_phones(&mut w);
    w.at("alice").press(|phone, now| {
        phone.extra.push(("Max-Breadth".to_owned(), "9".to_owned()));
        phone.invite(now, "sip:bob@biloxi.example");
    });
    w.net.expect_all(["proxy -> desk  INVITE", "proxy -> cell  INVITE", "proxy -> soft  INVITE"]);
    let breadths = ["desk", "cell", "soft"].map(|name| {
        let seen = w.net.last(&format!("proxy -> {name}  INVITE")).unwrap();
        let text = String::from_utf8(seen.bytes.clone()).unwrap();
        let breadth = text.split("Max-Breadth: ").nth(1).unwrap().split("\r\n").next().unwrap().parse::<u32>();
        assert_eq!(text.matches("Max-Breadth").count(), 1, "{text}");
        breadth.unwrap()
    });
    assert!(breadths.iter().sum::<u32>() <= 9 && breadths.iter().all(|breadth| *breadth >= 1), "{breadths:?}");
    w.at("alice").cancel();
    w.expect("proxy -> alice  487 INVITE");
    w.settle();
}
