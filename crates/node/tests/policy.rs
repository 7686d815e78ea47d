//! Who may reach whom, seen from outside: never an open relay, and no way to learn who exists.

mod common;

use common::world::{DOMAIN, last_response};
use common::{Conditions, World, secs};
use farspeak_sansio::Transport;
use farspeak_sip::message::{HeaderName, Method};

/// Everything of an answer but what belongs to the one request, with nonces and tags blanked and their lengths kept.
fn shape(answer: &[u8]) -> String {
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let lines = text.split("\r\n").filter(|line| {
        let own = ["Via:", "From:", "Call-ID:", "CSeq:", "Date:"];
        !own.iter().any(|name| line.starts_with(name))
    });
    let blank = |line: &str| {
        let mut out = line.to_owned();
        for key in ["nonce=\"", ";tag="] {
            if let Some(at) = out.find(key) {
                let start = at + key.len();
                let end = out[start..].find(['"', ';', '\r']).map_or(out.len(), |end| start + end);
                out.replace_range(start..end, &format!("({} characters)", end - start));
            }
        }
        // The To names whom the request named.
        out.replace("nobody", "bob").replace("open-to-all", "bob").replace("offline", "bob")
    };
    lines.map(blank).collect::<Vec<_>>().join("\n")
}

fn stranger(w: &mut World, answers_challenges: bool) {
    let transport = w.conditions.transport;
    let host = w.stranger_at("mallory", "mallory", "guess", "elsewhere.example", transport, "203.0.113.66");
    w.net.at(host, |phone, _| phone.answers_challenges = answers_challenges);
}

/// What the stranger is told who calls this address.
fn told(w: &mut World, uri: &str, method: Method) -> String {
    let before = w.net.mark();
    w.at("mallory").press(|phone, now| match method {
        Method::Invite => phone.invite(now, uri),
        method => phone.request(now, method, uri),
    });
    w.pass(secs(1));
    let (net, to) = (&w.net, w.host("mallory").id());
    let finals = net.sightings().skip(before).filter(|seen| seen.to == Some(to) && !seen.label.starts_with("100"));
    let answers: Vec<String> = finals.map(|seen| shape(&seen.bytes)).collect();
    assert_eq!(answers.len(), 1, "{}", w.net);
    answers.into_iter().next().unwrap()
}

#[test]
fn a_stranger_cannot_tell_who_exists() {
    for transport in [Transport::Udp, Transport::Tls] {
        for method in [Method::Invite, Method::Options, Method::Message, Method::Subscribe, Method::Bye] {
            let mut w = World::new(Conditions::fair(transport));
            w.registered("bob");
            w.phone("offline");
            stranger(&mut w, false);
            let registered = told(&mut w, "sip:bob@biloxi.example", method.clone());
            let offline = told(&mut w, "sip:offline@biloxi.example", method.clone());
            let nobody = told(&mut w, "sip:nobody@biloxi.example", method.clone());
            assert_eq!(registered, offline, "{}", w.net);
            assert_eq!(registered, nobody, "{}", w.net);
            w.net.never(&format!("proxy -> bob  {method}"));
            w.pass(secs(40));
            w.settle();
        }
    }
}

#[test]
fn who_guesses_secrets_cannot_tell_who_exists() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        w.registered("bob");
        let mut answers = Vec::new();
        for (name, user, address) in [("guess1", "bob", "203.0.113.1"), ("guess2", "nobody", "203.0.113.2")] {
            let host = w.stranger_at(name, user, "300", DOMAIN, transport, address);
            w.net.at(host, |phone, now| phone.register(now));
            w.pass(secs(1));
            assert_eq!(w.is(name).finals, ["401 REGISTER"], "{}", w.net);
            let mut bytes = Vec::new();
            last_response(w.is(name)).write(&mut bytes);
            answers.push(shape(&bytes));
        }
        assert_eq!(answers[0], answers[1]);
        w.settle();
    }
}

#[test]
fn refuses_open_relay() {
    let targets = [
        "sip:victim@elsewhere.example",
        "sip:victim@203.0.113.9",
        "sip:victim@203.0.113.9:5060;transport=tcp",
        "sip:bob@elsewhere.example;maddr=192.0.2.10",
        "sip:elsewhere.example",
        "sip:+15551234567@elsewhere.example;user=phone",
        "sip:victim@[2001:db8::66]",
        "sip:victim%40elsewhere.example@elsewhere.example",
    ];
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        // Whoever is reached by a relay would be here.
        let victim = w.net.host("victim", ["203.0.113.9", "2001:db8::66"], farspeak_sim::Probe::new());
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            w.net.bind(victim, transport, 5060);
        }
        w.registered("alice");
        stranger(&mut w, true);
        for who in ["mallory", "alice"] {
            for target in targets {
                for method in [Method::Invite, Method::Message, Method::Options, Method::Bye] {
                    w.at(who).press(|phone, now| match method {
                        Method::Invite => phone.invite(now, target),
                        method => phone.request(now, method, target),
                    });
                    w.pass(secs(1));
                }
            }
        }
        // Heal from the throttle; then a Route that is not ours.
        w.pass(secs(3_000));
        for route in ["<sip:203.0.113.9;lr>", "<sip:192.0.2.10;lr>, <sip:203.0.113.9;lr>", "<sip:203.0.113.9>"] {
            for who in ["mallory", "alice"] {
                w.at(who).press(|phone, now| {
                    phone.extra.push(("Route".to_owned(), route.to_owned()));
                    phone.invite(now, "sip:alice@biloxi.example");
                });
                w.pass(secs(1));
            }
        }
        let reached = w.net.machine(victim).inbox.len();
        assert_eq!(reached, 0, "somebody was reached through us\n{}", w.net);
        assert!(w.net.sightings().all(|seen| seen.from == w.proxy.id() || seen.to != Some(victim.id())), "{}", w.net);
        assert!(w.is("alice").finals.iter().all(|last| !last.starts_with('2') || last.contains("REGISTER")));
        w.at("alice").press(common::Phone::end_everything);
        w.pass(secs(70));
        w.settle();
    }
}

/// A stranger reaches who asked for it, and nobody else.
#[test]
fn a_stranger_reaches_only_who_opted_in() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut w = World::new(Conditions::fair(transport));
        w.registered("bob");
        let open = w.phone("open");
        w.register(open);
        let mut user = (*w.shared.users.get("open").unwrap()).clone();
        user.open_to_strangers = true;
        w.shared.users.insert(user);
        stranger(&mut w, false);
        w.at("mallory").invite("sip:open@biloxi.example");
        w.expect("proxy -> open     INVITE");
        w.at("open").answer();
        w.expect("proxy -> mallory  200 INVITE");
        w.expect("proxy -> open     ACK");
        w.at("mallory").bye();
        w.expect("proxy -> open     BYE");
        w.expect("proxy -> mallory  200 BYE");
        w.at("mallory").invite("sip:bob@biloxi.example");
        w.expect("proxy -> mallory  407 INVITE");
        w.net.never("proxy -> bob  INVITE");
        w.settle();
    }
}

/// Without proof nobody is called in the name of a local user, however the name of this host is written.
#[test]
fn a_stranger_cannot_pose_as_a_local_user() {
    for host in ["biloxi.example", "localhost:9999", "127.0.0.1:9999", "[::1]:9999", "192.0.2.10:9999"] {
        let mut w = World::new(Conditions::fair(Transport::Tls));
        w.registered("open");
        let mut user = (*w.shared.users.get("open").unwrap()).clone();
        user.open_to_strangers = true;
        w.shared.users.insert(user);
        stranger(&mut w, false);
        w.at("mallory").press(|phone, now| {
            phone.claims = Some(format!("sip:alice@{host}"));
            phone.invite(now, "sip:open@biloxi.example");
        });
        w.expect("proxy -> mallory  407 INVITE");
        w.net.never("proxy -> open  INVITE");
        w.settle();
    }
}

/// From must be the user who proved to be it.
#[test]
fn nobody_speaks_in_the_name_of_another() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    w.registered("alice");
    w.registered("bob");
    w.registered("carol");
    // Alice proves that she is Alice, and says that she is Carol.
    w.at("alice").press(|phone, now| {
        phone.claims = Some("sip:carol@biloxi.example".to_owned());
        phone.invite(now, "sip:bob@biloxi.example");
    });
    w.expect("proxy -> alice  403 INVITE");
    w.net.never("proxy -> bob  INVITE");
    // RFC 3323 §4.1: to say nothing is allowed to who has proved something.
    w.at("alice").press(|phone, now| {
        phone.claims = Some("sip:anonymous@anonymous.invalid".to_owned());
        phone.invite(now, "sip:bob@biloxi.example");
    });
    w.expect("proxy -> bob  INVITE");
    w.at("bob").refuse(486);
    w.settle();
}

/// A registration of somebody else's address.
#[test]
fn nobody_registers_for_another() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    w.registered("alice");
    w.registered("bob");
    w.at("alice").press(|phone, now| {
        phone.claims = Some("sip:bob@biloxi.example".to_owned());
        phone.register(now);
    });
    w.pass(secs(1));
    let last = w.is("alice").finals.last().unwrap().clone();
    assert!(last.starts_with("40"), "{}", w.net);
    assert_eq!(w.shared.location.len(), 2);
    w.settle();
}

/// An authenticated user is told the truth about local names, and only that.
#[test]
fn a_user_is_told_whether_a_name_exists_and_is_reachable() {
    let mut w = World::new(Conditions::fair(Transport::Tls));
    w.registered("alice");
    w.phone("offline");
    for (uri, answer) in [
        ("sip:nobody@biloxi.example", "404 INVITE"),
        ("sip:offline@biloxi.example", "480 INVITE"),
        ("sip:somebody@elsewhere.example", "403 INVITE"),
        ("tel:+15551234", "416 INVITE"),
    ] {
        w.at("alice").invite(uri);
        w.expect(&format!("proxy -> alice  {answer}"));
    }
    w.settle();
}

/// The credentials that were seen on the wire once are worth nothing.
#[test]
fn replayed_credentials_open_nothing() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    w.registered("alice");
    w.registered("bob");
    w.at("alice").request(Method::Message, "sip:bob@biloxi.example");
    w.expect("proxy -> alice  200 MESSAGE");
    let seen = w.net.last("alice -> proxy  MESSAGE").unwrap().bytes.clone();
    let text = String::from_utf8(seen).unwrap();
    assert!(text.contains("Proxy-Authorization"));
    let mallory = w.net.host("mallory", ["203.0.113.66"], farspeak_sim::Probe::new());
    let local = w.net.bind(mallory, Transport::Udp, 5060);
    let flow = farspeak_sansio::Flow::unbound(Transport::Udp, local, "192.0.2.10:5060".parse().unwrap());
    w.begin();
    w.net.send_from(mallory, flow, text.replace("branch=z9hG4bK", "branch=z9hG4bKx").into_bytes());
    w.expect("proxy -> mallory  407 MESSAGE");
    let answer = String::from_utf8(w.net.machine(mallory).inbox[0].bytes.clone()).unwrap();
    assert!(answer.contains("stale=true"), "{answer}");
    w.pass(secs(40));
    w.settle();
    assert_eq!(w.net.count("proxy -> bob  MESSAGE"), 1);
}

/// Who guesses is slowed down and cut off; who is registered behind the same address is not; and it heals.
#[test]
fn guessing_is_slowed_down_and_the_honest_are_spared() {
    let mut w = World::new(Conditions::fair(Transport::Udp));
    w.registered("bob");
    let guesser = w.stranger_at("guesser", "bob", "300", DOMAIN, Transport::Udp, "203.0.113.5");
    for _ in 0..400 {
        w.net.at(guesser, |phone, now| {
            phone.remembers_nonce = false;
            phone.register(now);
        });
        w.pass(std::time::Duration::from_millis(200));
    }
    let answered = w.net.count("proxy -> guesser  401 REGISTER");
    let asked = w.net.count("guesser -> proxy  REGISTER");
    assert!(answered * 2 < asked, "{answered} answers to {asked} guesses");
    w.at("bob").press(common::Phone::fetch_bindings);
    w.expect("proxy -> bob  200 REGISTER");
    w.pass(secs(7_200));
    w.net.at(guesser, |phone, now| {
        phone.account.password = common::world::secret_of("bob").reveal().to_owned();
        phone.register(now);
    });
    w.expect("proxy -> guesser  200 REGISTER");
    assert!(last_response(w.is("guesser")).header(HeaderName::Contact).is_some());
    w.net.settled_within(secs(300)).no_state_left();
}
