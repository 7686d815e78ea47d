//! RFC 6337 Table 1, and §4: what each state makes of each message.

use std::fmt::Write as _;

use super::*;

/// All states that messages lead to.
fn states() -> Vec<(&'static str, Offers)> {
    let mut states = vec![("stable", Offers::default())];
    let mut add = |name, act: &dyn Fn(&mut Offers)| {
        let mut offers = Offers::default();
        act(&mut offers);
        states.push((name, offers));
    };
    add("offered in INVITE", &|offers| offers.invite_sent(true));
    add("INVITE without offer", &|offers| offers.invite_sent(false));
    add("offer came in 1xx-rel", &|offers| {
        offers.invite_sent(false);
        offers.response_received(Kind::Reliable, true);
    });
    add("offer came in 2xx", &|offers| {
        offers.invite_sent(false);
        offers.response_received(Kind::Success, true);
    });
    add("offered in PRACK", &|offers| offers.prack_sent(true));
    add("offered in UPDATE", &|offers| offers.update_sent(true));
    add("offer came in INVITE", &|offers| offers.invite_received(true));
    add("INVITE came without", &|offers| offers.invite_received(false));
    add("offered in 1xx-rel", &|offers| {
        offers.invite_received(false);
        offers.respond(Kind::Reliable, true).unwrap();
    });
    add("offered in 2xx", &|offers| {
        offers.invite_received(false);
        offers.respond(Kind::Success, true).unwrap();
    });
    add("offer came in PRACK", &|offers| {
        offers.prack_received(true).unwrap();
    });
    add("offer came in UPDATE", &|offers| {
        offers.update_received(true).unwrap();
    });
    states
}

#[test]
fn what_each_state_makes_of_a_description() {
    let mut table = String::new();
    for (name, before) in states() {
        let mut row = |message: &str, act: &dyn Fn(&mut Offers) -> String| {
            let mut offers = before.clone();
            let role = act(&mut offers);
            let after = offers.exchange();
            writeln!(table, "{name:<22} {message:<14} {role:<24} {after:?}").unwrap();
        };
        row("<- 1xx", &|offers| format!("{:?}", offers.response_received(Kind::Unreliable, true)));
        row("<- 1xx-rel", &|offers| format!("{:?}", offers.response_received(Kind::Reliable, true)));
        row("<- 2xx", &|offers| format!("{:?}", offers.response_received(Kind::Success, true)));
        row("<- PRACK", &|offers| format!("{:?}", offers.prack_received(true)));
        row("<- 2xx PRACK", &|offers| format!("{:?}", offers.prack_accepted(true)));
        row("<- ACK", &|offers| format!("{:?}", offers.ack_received(true)));
        row("<- UPDATE", &|offers| format!("{:?}", offers.update_received(true)));
        row("<- 2xx UPDATE", &|offers| format!("{:?}", offers.update_accepted(true)));
        row("1xx ->", &|offers| format!("{:?}", offers.respond(Kind::Unreliable, true)));
        row("1xx-rel ->", &|offers| format!("{:?}", offers.respond(Kind::Reliable, true)));
        row("2xx ->", &|offers| format!("{:?}", offers.respond(Kind::Success, true)));
    }
    insta::assert_snapshot!(table);
}

#[test]
fn never_two_offers_at_once() {
    for (name, offers) in states().into_iter().skip(1) {
        assert!(!offers.is_idle(), "{name}: no offer of ours may leave");
        let refused = offers.clone().update_received(true).is_err();
        assert!(refused, "{name}: none of the peer's may come in");
    }
}

#[test]
fn crossing_offers_are_refused_as_rfc6337_section_4_3_says() {
    use Conflict::{Ours, Theirs};
    let expected = [
        ("stable", None),
        ("offered in INVITE", Some(Ours)),      // UAS-IcU
        ("INVITE without offer", Some(Ours)),   // UAS-IcI
        ("offer came in 1xx-rel", Some(Ours)),  // UAS-IcU
        ("offer came in 2xx", Some(Ours)),      // UAS-IcU
        ("offered in PRACK", Some(Ours)),       // UAS-IcU
        ("offered in UPDATE", Some(Ours)),      // UAS-UcU, UAS-UcI
        ("offer came in INVITE", Some(Theirs)), // UAS-IsU, UAS-IsI
        ("INVITE came without", Some(Theirs)),  // UAS-IsI, Figure 13
        ("offered in 1xx-rel", Some(Theirs)),   // UAS-IsU
        ("offered in 2xx", Some(Theirs)),       // UAS-IsU, UAS-IsI
        ("offer came in PRACK", Some(Theirs)),  // UAS-IsU
        ("offer came in UPDATE", Some(Theirs)), // UAS-UsU, UAS-UsI
    ];
    for ((name, offers), (expected_name, conflict)) in states().into_iter().zip(expected) {
        assert_eq!((name, offers.conflict()), (expected_name, conflict));
    }
}

#[test]
fn a_response_says_what_is_due() {
    let mut called = Offers::called(true);
    assert_eq!(called.respond(Kind::Unreliable, false), Ok(Role::Absent));
    assert_eq!(called.respond(Kind::Unreliable, true), Ok(Role::Preview));
    assert_eq!(called.respond(Kind::Reliable, false), Ok(Role::Absent));
    assert_eq!(called.respond(Kind::Success, false), Err(Misplaced::Missing));
    assert_eq!(called.respond(Kind::Reliable, true), Ok(Role::Answer));
    assert_eq!(called.respond(Kind::Success, true), Ok(Role::Repeated));
    let mut asked = Offers::called(false);
    assert_eq!(asked.respond(Kind::Unreliable, false), Ok(Role::Absent));
    assert_eq!(asked.respond(Kind::Unreliable, true), Err(Misplaced::Unexpected));
    assert_eq!(asked.respond(Kind::Reliable, false), Err(Misplaced::Missing));
    assert_eq!(asked.respond(Kind::Success, false), Err(Misplaced::Missing));
    assert_eq!(asked.respond(Kind::Reliable, true), Ok(Role::Offer));
}

#[test]
fn a_failed_invite_takes_its_offer_along_but_not_an_updates() {
    for (name, mut offers) in states() {
        let before = offers.exchange();
        offers.invite_failed();
        let carried = |at| matches!(at, Carrier::Invite | Carrier::Reliable);
        match before {
            Exchange::Sent(at) | Exchange::Received(at) if !carried(at) => {
                assert_eq!(offers.exchange(), before, "{name}")
            }
            _ => assert!(offers.is_idle(), "{name}"),
        }
        assert_eq!(offers.completed(), 0);
    }
}

#[test]
fn a_refused_update_of_ours_leaves_the_offer_in_the_peers() {
    let mut offers = Offers::default();
    offers.update_received(true).unwrap();
    offers.refused(Exchange::Sent(Carrier::Update));
    assert_eq!(offers.exchange(), Exchange::Received(Carrier::Update), "ours had no offer");
    offers.refused(Exchange::Received(Carrier::Update));
    assert!(offers.is_idle());
}
