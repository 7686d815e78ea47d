//! What one side must not learn of the other, and what has to arrive untouched (RFC 7092 §3.1, RFC 8224).

use std::time::Duration;

use farspeak_sip::message::{HeaderName, Message, StatusCode};
use farspeak_sip::user_agent::Extra;

use crate::world::{ANSWER, OFFER, World, everywhere, sdp};

/// Call-ID, tags, branches, Contact and address that one side has used in calls.
fn secrets(world: &World, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for message in world.sent_by(name) {
        let Ok(cseq) = message.cseq() else { continue };
        if cseq.method.as_str() == "REGISTER" || message.call_id().is_err() {
            continue;
        }
        found.extend(message.call_id().map(str::to_owned));
        let ours = if message.is_request() { message.from_tag() } else { message.to_tag() };
        found.extend(ours.map(|tag| format!("tag={tag}")));
        if message.is_request() {
            found.extend(message.via().ok().and_then(|via| via.branch().map(str::to_owned)));
        }
        found.extend(message.header(HeaderName::Contact).map(|value| value.trim_matches(['<', '>']).to_owned()));
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn neither_side_sees_the_others_signalling() {
    everywhere(|world| {
        let (caller, called) = world.connect("alice", "bob");
        world.at("bob", |agent| agent.update(called, Extra::new())).unwrap();
        world.hears("bob", "Modified");
        world.net.run_for(Duration::from_secs(20));
        world.hang_up("alice", caller, "bob");
        for (one, other, address) in [("alice", "bob", "192.0.2.21:"), ("bob", "alice", "192.0.2.20:")] {
            let seen = world.sent_to(one);
            assert!(seen.contains("INVITE"));
            for secret in secrets(world, other) {
                assert!(!seen.contains(&secret), "{one} has seen {secret} of {other}'s\n{seen}");
            }
            assert!(!seen.contains(address), "{one} has seen the address of {other}\n{seen}");
        }
    });
}

#[test]
fn what_is_signed_and_what_nobody_here_knows_arrives_untouched() {
    everywhere(|world| {
        let fields = [
            (HeaderName::Date, "Sat, 13 Nov 2010 23:29:00 GMT"),
            (HeaderName::Identity, "abc.def.ghi;info=<https://cert.example>;alg=ES256;ppt=shaken"),
            (HeaderName::Privacy, "id"),
            (HeaderName::Geolocation, "<cid:target123@atlanta.example>"),
            (HeaderName::HistoryInfo, "<sip:bob@biloxi.example>;index=1, <sip:x@y?Reason=SIP%3Bcause%3D302>;index=1.1"),
            (HeaderName::Subject, "one,  two"),
            (HeaderName::AlertInfo, "<urn:alert:service:call-waiting>"),
        ];
        let mut extra = sdp(OFFER).header_named("X-Odd", "a ;b").header_named("x-odd", "again");
        for (name, value) in fields {
            extra = extra.header(name, value);
        }
        let caller = world.call_with("alice", "sip:bob@biloxi.example", extra);
        let (called, invite) = world.is_called("bob");
        for (name, value) in fields {
            assert_eq!(invite.header(name), Some(value));
        }
        assert_eq!(invite.headers_named("X-Odd").collect::<Vec<_>>(), ["a ;b", "again"]);
        assert_eq!(invite.body(), OFFER);
        let from = invite.header(HeaderName::From).unwrap();
        assert!(from.starts_with("\"alice, as she writes it\" <sip:alice@biloxi.example>;tag="), "{from}");
        assert_eq!(invite.header(HeaderName::To), Some("<sip:bob@biloxi.example>"));
        // 70 as sent, less one for the proxy before each leg and one for the step between them.
        assert_eq!(invite.max_forwards(), Ok(Some(67)));
        let extra = sdp(ANSWER).header_named("X-Answer", "too").header(HeaderName::Server, "Bob's");
        world.at("bob", |agent| agent.accept(called, extra)).unwrap();
        let farspeak_sip::user_agent::Event::Accepted { response, .. } = world.hears("alice", "Accepted") else {
            unreachable!()
        };
        assert_eq!((response.body(), response.header_named("X-Answer")), (ANSWER, Some("too")));
        assert_eq!(response.header(HeaderName::Server), Some("Bob's"));
        world.hears("bob", "Confirmed");
        world.hang_up("alice", caller, "bob");
    });
}

#[test]
fn a_call_without_hops_left_goes_no_further() {
    everywhere(|world| {
        let extra = sdp(OFFER).header(HeaderName::MaxForwards, "1");
        world.call_with("alice", "sip:bob@biloxi.example", extra);
        let failed = format!("{:?}", world.hears("alice", "Failed"));
        assert!(failed.contains("483"), "{failed}");
    });
}

/// The last request of a method that one of them was sent.
fn last_to(world: &World, name: &str, method: &str) -> Message {
    let seen = world.net.last(&format!("proxy -> {name}  {method}")).expect("it was sent");
    Message::parse(&seen.bytes, &Default::default()).unwrap()
}

#[test]
fn a_call_that_comes_back_for_the_same_user_is_a_loop() {
    let conditions =
        crate::world::Conditions { transport: farspeak_sansio::Transport::Udp, loss: 0.0, seed: 1, shards: 1 };
    let mut world = World::new(conditions);
    world.call("alice", "bob");
    let (called, invite) = world.is_called("bob");
    assert_eq!(last_to(&world, "bob", "INVITE").call_id(), invite.call_id());
    // Bob's phone sends everything to his address again, without a trace of where it has been.
    let text = String::from_utf8(invite.to_vec()).unwrap();
    let mut again = String::from("INVITE sip:bob@biloxi.example SIP/2.0\r\n");
    again += "Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bKback;rport\r\n";
    for line in text.split_inclusive("\r\n").skip(1).filter(|line| !line.starts_with("Via:")) {
        match line.strip_prefix("From:") {
            Some(_) => again += "From: <sip:anonymous@anonymous.invalid>;tag=1\r\n",
            None => again += line,
        }
    }
    world.send("bob", again.as_bytes());
    world.net.run_for(Duration::from_secs(5));
    assert!(world.sent_to("bob").contains("SIP/2.0 482 "), "{}", world.net);
    world.at("bob", |agent| agent.reject(called, StatusCode::BUSY_HERE, Extra::new())).unwrap();
    world.hears("alice", "Failed");
    world.settles();
}
