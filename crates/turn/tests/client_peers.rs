//! RFC 8656 §9, §10 and §12 from the client's side: permissions and channels, asked for, kept alive and given up.

#[path = "support/desk.rs"]
#[allow(dead_code)]
mod desk;

use std::collections::BTreeSet;
use std::net::IpAddr;

use desk::{Desk, Paper, address, channel_data, config, data, secs};
use farspeak_sansio::{Machine, Transport};
use farspeak_stun::{Attribute, AttributeType, Failure as NoAnswer, Method};
use farspeak_turn::client::{Client, Config, Event, Failure, SendError};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

/// Everything on the desk, and what it is about.
fn papers(desk: &mut Desk) -> Vec<(Paper, Method)> {
    let mut papers = Vec::new();
    while let Some(paper) = desk.poll() {
        let method = paper.method();
        papers.push((paper, method));
    }
    papers
}

#[test]
fn keeps_permissions_alive_before_five_minutes_are_over() {
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    let mut last = desk.now;
    for _ in 0..3600 / 20 {
        desk.pass(secs(20));
        for (paper, method) in papers(&mut desk) {
            if method == Method::CREATE_PERMISSION {
                assert_eq!(desk.now - last, secs(240));
                last = desk.now;
            }
            desk.grant(&paper, |writer| {
                if method == Method::REFRESH {
                    writer.push(Attribute::Lifetime(600));
                }
            });
        }
        assert_eq!(desk.event(), None, "news is news once");
        desk.client.send(desk.now, address("203.0.113.5:5000"), b"still here").unwrap();
        desk.next();
    }
    assert_eq!(desk.now - last, secs(0));
}

#[test]
fn asks_for_several_peers_in_one_request_when_requests_are_under_way() {
    let mut desk = Desk::allocated();
    for last in 0..100 {
        desk.client.permit(desk.now, ip(&format!("203.0.113.{last}")));
    }
    let mut permitted = BTreeSet::new();
    let mut requests = 0;
    while let Some(request) = desk.poll() {
        requests += 1;
        let peers = request.peers();
        assert!(peers.len() <= 16 && request.bytes.len() < 1200);
        desk.grant(&request, |_| {});
        permitted.extend(peers);
    }
    assert_eq!((permitted.len(), events(&mut desk.client).len()), (100, 100));
    assert_eq!(requests, 7 + 6, "seven at once, then 93 in sixes");
    // Their refreshes come together.
    desk.pass(secs(240));
    assert_eq!(papers(&mut desk).len(), 7);
}

#[test]
fn one_peer_that_is_refused_spoils_no_other_and_is_not_asked_for_again() {
    let mut desk = Desk::allocated();
    for last in 0..20 {
        desk.client.permit(desk.now, ip(&format!("203.0.113.{last}")));
    }
    let bad = ip("203.0.113.13");
    let mut requests = 0;
    while let Some(request) = desk.poll() {
        requests += 1;
        match request.peers().iter().any(|peer| peer.ip() == bad) {
            true => desk.refuse(&request, 403),
            false => desk.grant(&request, |_| {}),
        }
    }
    assert!(requests < 30, "{requests}");
    let all = events(&mut desk.client);
    let is_refused = |event: &&Event| matches!(event, Event::NotPermitted { peer, failure } if *peer == bad && failure.code() == Some(403));
    assert_eq!((all.len(), all.iter().filter(is_refused).count()), (20, 1));

    desk.client.permit(desk.now, bad);
    assert!(desk.poll().is_none());
    assert_eq!(desk.client.send(desk.now, address("203.0.113.13:5000"), b"x"), Err(SendError::NotPermitted));
    desk.client.forget(bad);
    desk.client.permit(desk.now, bad);
    assert_eq!(desk.next().peers()[0].ip(), bad);
}

#[test]
fn a_peer_that_gets_no_clear_answer_is_given_up_after_three_times() {
    for answer in [None, Some(500)] {
        let mut desk = Desk::allocated();
        desk.client.permit(desk.now, ip("203.0.113.5"));
        let mut asked = BTreeSet::new();
        for _ in 0..200 {
            for (paper, method) in papers(&mut desk) {
                if method == Method::CREATE_PERMISSION {
                    asked.insert(paper.read().transaction_id());
                    answer.inspect(|code| desk.refuse(&paper, *code));
                }
            }
            desk.pass(secs(1));
        }
        assert_eq!(asked.len(), 3);
        let Some(Event::NotPermitted { failure, .. }) = desk.event() else { panic!("no event") };
        let expected = if answer.is_some() {
            failure.code() == Some(500)
        } else {
            failure == Failure::NoAnswer(NoAnswer::TimedOut)
        };
        assert!(expected, "{failure:?}");
    }
}

#[test]
fn refuses_peers_of_a_family_that_the_relay_does_not_have_without_asking() {
    let mut desk = Desk::allocated();
    desk.client.permit(desk.now, ip("2001:db8::5"));
    desk.client.bind(desk.now, address("[2001:db8::6]:5000"));
    assert!(desk.poll().is_none());
    let codes: Vec<_> = events(&mut desk.client)
        .into_iter()
        .map(|event| match event {
            Event::NotPermitted { peer, failure } => (peer, failure.code()),
            Event::NotBound { peer, failure } => (peer.ip(), failure.code()),
            other => panic!("{other:?}"),
        })
        .collect();
    let six = (ip("2001:db8::6"), Some(443));
    assert_eq!(codes, [(ip("2001:db8::5"), Some(443)), six, six]);
}

#[test]
fn refuses_more_peers_and_channels_than_the_configuration_allows() {
    let mut desk = Desk::allocated_with(Config { peers: 3, channels: 2, ..config() }, Transport::Udp);
    desk.bind("203.0.113.1:1000");
    desk.bind("203.0.113.1:1001");
    desk.client.bind(desk.now, address("203.0.113.2:1000"));
    assert_eq!(desk.event(), Some(Event::NotBound { peer: address("203.0.113.2:1000"), failure: Failure::Full }));
    desk.permit("203.0.113.2");
    desk.permit("203.0.113.3");
    desk.client.permit(desk.now, ip("203.0.113.4"));
    assert_eq!(desk.event(), Some(Event::NotPermitted { peer: ip("203.0.113.4"), failure: Failure::Full }));
    assert!(desk.poll().is_none());
    desk.client.forget(ip("203.0.113.3"));
    desk.permit("203.0.113.4");
}

#[test]
fn what_is_wanted_before_the_allocation_is_asked_for_afterwards() {
    let mut desk = Desk::new(config(), Transport::Udp);
    desk.client.permit(desk.now, ip("203.0.113.1"));
    desk.client.bind(desk.now, address("203.0.113.2:1000"));
    assert!(desk.poll().is_none());
    desk.client.allocate(desk.now);
    desk.challenge();
    let request = desk.next();
    desk.grant_allocation(&request, 600);
    let methods: Vec<_> = papers(&mut desk).into_iter().map(|(_, method)| method).collect();
    assert_eq!(methods, [Method::CREATE_PERMISSION, Method::CHANNEL_BIND]);
}

#[test]
fn a_channel_brings_the_permission_and_is_bound_again_before_ten_minutes_are_over() {
    let mut desk = Desk::allocated();
    desk.client.bind(desk.now, address("203.0.113.5:5000"));
    let request = desk.next();
    assert!(desk.poll().is_none(), "one request brings both");
    let channel = request.read().channel_number().unwrap().unwrap();
    assert_eq!((channel, request.peers()), (0x4000, vec![address("203.0.113.5:5000")]));
    // "SHOULD be prepared to receive ChannelData messages [..] as soon as it has sent", RFC 8656 §12.
    desk.deliver(desk.flow, &channel_data(channel, b"early"));
    assert!(matches!(desk.event(), Some(Event::Data { .. })));
    desk.grant(&request, |_| {});
    let bound = events(&mut desk.client);
    assert_eq!(
        bound,
        [Event::Bound { peer: address("203.0.113.5:5000"), channel }, Event::Permitted { peer: ip("203.0.113.5") },]
    );
    let mut counts = [0; 3];
    for second in 1..=3600 {
        desk.pass(secs(1));
        for (paper, method) in papers(&mut desk) {
            match method {
                Method::CHANNEL_BIND => counts[0] += 1,
                Method::CREATE_PERMISSION => counts[1] += 1,
                _ => counts[2] += 1,
            }
            desk.grant(&paper, |writer| {
                if method == Method::REFRESH {
                    writer.push(Attribute::Lifetime(600));
                }
            });
        }
        desk.client.send(desk.now, address("203.0.113.5:5000"), b"x").unwrap();
        assert_eq!(desk.next().bytes, channel_data(channel, b"x"), "after {second} s");
    }
    // A ChannelBind refreshes the permission as well, so that CreatePermission skips a beat.
    assert_eq!(counts[0], 6);
    assert!((12..=15).contains(&counts[1]) && counts[2] == 6, "{counts:?}");
}

#[test]
fn a_channel_that_was_given_up_goes_to_nobody_else_for_fifteen_minutes() {
    let mut desk = Desk::allocated_with(Config { channels: 1, ..config() }, Transport::Udp);
    let (one, other) = (address("203.0.113.5:5000"), address("203.0.113.6:5000"));
    desk.permit("203.0.113.5");
    let channel = desk.bind("203.0.113.5:5000");
    desk.client.unbind(one);
    desk.deliver(desk.flow, &channel_data(channel, b"late"));
    assert_eq!(desk.event(), None);
    desk.client.send(desk.now, one, b"x").unwrap();
    assert_eq!(desk.next().method(), Method::SEND);
    // The same peer may have it again at once.
    desk.client.bind(desk.now, one);
    let again = desk.next();
    assert_eq!(again.read().channel_number(), Ok(Some(channel)));
    desk.grant(&again, |_| {});
    events(&mut desk.client);
    desk.client.unbind(one);
    for second in 1..=900 {
        desk.pass(secs(1));
        for (paper, method) in papers(&mut desk) {
            assert_ne!(method, Method::CHANNEL_BIND);
            desk.grant(&paper, |_| {});
        }
        events(&mut desk.client);
        if second < 900 {
            desk.client.bind(desk.now, other);
            assert_eq!(desk.event(), Some(Event::NotBound { peer: other, failure: Failure::Full }), "after {second} s");
        }
    }
    desk.client.bind(desk.now, other);
    assert_eq!(desk.next().read().channel_number(), Ok(Some(channel)));
}

#[test]
fn a_refused_channel_is_not_asked_for_again() {
    let mut desk = Desk::allocated();
    let peer = address("203.0.113.5:5000");
    desk.client.bind(desk.now, peer);
    let request = desk.next();
    desk.refuse(&request, 403);
    let all = events(&mut desk.client);
    assert!(matches!(&all[..], [Event::NotBound { .. }, Event::NotPermitted { .. }]), "{all:?}");
    desk.client.bind(desk.now, peer);
    desk.pass(secs(300));
    assert!(desk.poll().is_none());
    // Where the address itself is allowed, data still goes in indications.
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    desk.client.bind(desk.now, peer);
    let request = desk.next();
    desk.refuse(&request, 403);
    assert!(matches!(&events(&mut desk.client)[..], [Event::NotBound { .. }]));
    desk.client.send(desk.now, peer, b"x").unwrap();
    assert_eq!(desk.next().method(), Method::SEND);
}

#[test]
fn channels_that_are_out_of_step_end_the_allocation() {
    let mut desk = Desk::allocated();
    desk.client.bind(desk.now, address("203.0.113.5:5000"));
    let request = desk.next();
    desk.refuse(&request, 400);
    let farewell = desk.next();
    assert_eq!((farewell.method(), farewell.read().lifetime()), (Method::REFRESH, Ok(Some(0))));
    assert!(matches!(&events(&mut desk.client)[..], [Event::Lost(failure)] if failure.code() == Some(400)));
}

#[test]
fn a_refresh_never_waits_for_peers() {
    let mut desk = Desk::allocated();
    desk.pass(secs(539));
    for last in 0..100 {
        desk.client.bind(desk.now, address(&format!("203.0.113.{last}:1000")));
    }
    assert_eq!(papers(&mut desk).len(), 7);
    desk.pass(secs(1));
    assert!(papers(&mut desk).iter().any(|(_, method)| *method == Method::REFRESH));
}

#[test]
fn refuses_data_from_those_that_are_not_permitted() {
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    let channel = desk.bind("203.0.113.6:6000");
    let elsewhere = farspeak_sansio::Flow { remote: address("192.0.2.99:3478"), ..desk.flow };
    let other_socket = farspeak_sansio::Flow { local: address("10.0.0.7:4001"), ..desk.flow };
    let tcp = farspeak_sansio::Flow { transport: Transport::Tcp, ..desk.flow };
    for flow in [elsewhere, other_socket, tcp] {
        desk.deliver(flow, &data("203.0.113.5:5000", b"forged"));
        desk.deliver(flow, &channel_data(channel, b"forged"));
    }
    for bytes in [
        data("203.0.113.7:5000", b"stranger"),
        channel_data(channel + 1, b"no such channel"),
        channel_data(0x4fff, b"no such channel"),
        desk::indication(|writer| {
            writer.push(Attribute::Data(b"from nobody"));
        }),
        desk::indication(|writer| {
            writer.push(Attribute::XorPeerAddress(address("203.0.113.5:5000")));
        }),
        desk::indication(|writer| {
            writer.push_raw(AttributeType(0x7ff0), b"").push(Attribute::XorPeerAddress(address("203.0.113.5:5000")));
            writer.push(Attribute::Data(b"not understood"));
        }),
        channel_data(channel, b"cut short")[..8].to_vec(),
    ] {
        desk.deliver(desk.flow, &bytes);
        assert_eq!(desk.event(), None);
    }
    desk.deliver(desk.flow, &data("203.0.113.5:5000", b"welcome"));
    assert_eq!(desk.event(), Some(Event::Data { peer: address("203.0.113.5:5000"), bytes: b"welcome".to_vec() }));
    desk.deliver(desk.flow, &channel_data(channel, b""));
    assert_eq!(desk.event(), Some(Event::Data { peer: address("203.0.113.6:6000"), bytes: vec![] }));
    desk.client.forget(ip("203.0.113.5"));
    desk.client.forget(ip("203.0.113.6"));
    desk.deliver(desk.flow, &data("203.0.113.5:5000", b"too late"));
    desk.deliver(desk.flow, &channel_data(channel, b"too late"));
    assert_eq!(desk.event(), None);
}

#[test]
fn data_waits_a_moment_for_its_permission_and_no_longer() {
    let mut desk = Desk::allocated_with(Config { queued: 2, ..config() }, Transport::Udp);
    let peer = address("203.0.113.5:5000");
    assert_eq!(desk.client.send(desk.now, peer, b"x"), Err(SendError::NotPermitted));
    desk.client.permit(desk.now, peer.ip());
    let request = desk.next();
    desk.client.send(desk.now, peer, b"stale").unwrap();
    desk.pass(secs(2));
    for text in [b"one", b"two"] {
        desk.client.send(desk.now, peer, text).unwrap();
    }
    assert_eq!(desk.client.send(desk.now, peer, b"three"), Err(SendError::Waiting));
    while desk.poll().is_some() {}
    desk.grant(&request, |_| {});
    let sent: Vec<_> =
        papers(&mut desk).into_iter().map(|(paper, _)| paper.read().data().unwrap().unwrap().to_vec()).collect();
    assert_eq!(sent, [b"one", b"two"]);
    // Once it has expired without an answer, nothing goes out any more.
    desk.pass(secs(300));
    while desk.poll().is_some() {}
    desk.client.send(desk.now, peer, b"x").unwrap();
    assert!(desk.poll().is_none());
}

#[test]
fn data_that_waited_too_long_or_for_somebody_forgotten_is_not_sent() {
    let peer = address("203.0.113.5:5000");
    let mut desk = Desk::allocated();
    desk.client.permit(desk.now, peer.ip());
    let request = desk.next();
    desk.client.send(desk.now, peer, b"stale").unwrap();
    desk.pass(secs(2));
    while desk.poll().is_some() {}
    desk.grant(&request, |_| {});
    assert!(desk.poll().is_none());

    let mut desk = Desk::allocated();
    desk.client.permit(desk.now, peer.ip());
    let request = desk.next();
    desk.client.send(desk.now, peer, b"to one forgotten").unwrap();
    desk.client.forget(peer.ip());
    desk.client.permit(desk.now, peer.ip());
    while desk.poll().is_some() {}
    desk.grant(&request, |_| {});
    assert!(desk.poll().is_none());
}

#[test]
fn a_lost_allocation_takes_permissions_and_waiting_data_with_it() {
    let (peer, other) = (address("203.0.113.5:5000"), address("203.0.113.6:5000"));
    let mut desk = Desk::allocated_with(Config { mobility: false, ..config() }, Transport::Udp);
    desk.permit("203.0.113.5");
    desk.client.permit(desk.now, other.ip());
    let request = desk.next();
    desk.client.send(desk.now, other, b"waits").unwrap();
    desk.refuse(&request, 437);
    assert!(matches!(desk.event(), Some(Event::Lost(_))));
    desk.client.allocate(desk.now);
    let request = desk.next();
    desk.grant_allocation(&request, 600);
    desk.event();
    assert_eq!(desk.client.send(desk.now, peer, b"x"), Err(SendError::NotPermitted));
    desk.deliver(desk.flow, &data("203.0.113.5:5000", b"x"));
    assert_eq!((desk.event(), desk.poll().is_none()), (None, true));
    desk.permit("203.0.113.6");
    assert!(desk.poll().is_none(), "what waited is gone");
}

#[test]
fn what_is_granted_counts_from_when_it_was_asked_for() {
    let (peer, late) = (address("203.0.113.5:5000"), secs(30));
    let mut desk = Desk::allocated();
    desk.client.bind(desk.now, peer);
    desk.client.permit(desk.now, address("203.0.113.6:0").ip());
    let requests = [desk.next(), desk.next()];
    desk.pass(late);
    while desk.poll().is_some() {}
    for request in &requests {
        desk.grant(request, |_| {});
    }
    desk.pass(secs(240 - 30 - 1));
    assert!(desk.poll().is_none());
    desk.pass(secs(1));
    assert_eq!(desk.next().peers().len(), 2);
    // Until nobody has answered for five minutes.
    desk.pass(secs(59));
    events(&mut desk.client);
    desk.deliver(desk.flow, &data("203.0.113.5:5000", b"in time"));
    assert!(matches!(desk.event(), Some(Event::Data { .. })));
}

#[test]
fn a_channel_given_up_gives_up_the_permission_that_came_with_it() {
    let mut desk = Desk::allocated();
    desk.bind("203.0.113.5:5000");
    desk.bind("203.0.113.5:5001");
    desk.client.unbind(address("203.0.113.5:5000"));
    desk.client.send(desk.now, address("203.0.113.5:5000"), b"still permitted").unwrap();
    desk.next();
    desk.client.unbind(address("203.0.113.5:5001"));
    assert_eq!(desk.client.send(desk.now, address("203.0.113.5:5000"), b"x"), Err(SendError::NotPermitted));
    desk.pass(secs(500));
    assert!(desk.poll().is_none());
}

#[test]
fn a_refresh_that_is_refused_ends_what_was_granted() {
    let peer = address("203.0.113.5:5000");
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    desk.pass(secs(240));
    let request = desk.next();
    desk.refuse(&request, 403);
    assert!(matches!(desk.event(), Some(Event::NotPermitted { .. })));
    assert_eq!(desk.client.send(desk.now, peer, b"x"), Err(SendError::NotPermitted));

    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    desk.bind("203.0.113.5:5000");
    for after in [240, 240, 60] {
        desk.pass(secs(after));
        for (paper, method) in papers(&mut desk) {
            match method {
                Method::CHANNEL_BIND => desk.refuse(&paper, 403),
                _ => desk.grant(&paper, |writer| {
                    writer.push(Attribute::Lifetime(600));
                }),
            }
        }
    }
    assert!(events(&mut desk.client).iter().any(|event| matches!(event, Event::NotBound { .. })));
    desk.client.send(desk.now, peer, b"x").unwrap();
    assert_eq!(desk.next().method(), Method::SEND);
}

#[test]
fn refuses_data_that_fits_no_datagram_or_has_no_allocation() {
    let mut desk = Desk::allocated();
    let peer = address("203.0.113.5:5000");
    desk.permit("203.0.113.5");
    assert_eq!(desk.client.send(desk.now, peer, &vec![0; 65_536]), Err(SendError::TooLong));
    desk.bind("203.0.113.5:5000");
    assert_eq!(desk.client.send(desk.now, peer, &vec![0; 65_536]), Err(SendError::TooLong));
    desk.client.release(desk.now);
    assert_eq!(desk.client.send(desk.now, peer, b"x"), Err(SendError::NotAllocated));
}

#[test]
fn pads_channel_data_on_streams_alone() {
    for (transport, length) in [(Transport::Udp, 4 + 5), (Transport::Tcp, 4 + 8), (Transport::Tls, 4 + 8)] {
        let mut desk = Desk::allocated_with(config(), transport);
        let channel = desk.bind("203.0.113.5:5000");
        desk.client.send(desk.now, address("203.0.113.5:5000"), b"hello").unwrap();
        let sent = desk.next().bytes;
        assert_eq!((sent.len(), &sent[..9]), (length, &channel_data(channel, b"hello")[..]));
        // A peer in IPv6's clothes is the same peer.
        desk.client.send(desk.now, address("[::ffff:203.0.113.5]:5000"), b"hello").unwrap();
        assert_eq!(desk.next().bytes, sent);
    }
}

#[test]
fn asks_the_relay_not_to_fragment_if_it_can() {
    let mut desk = Desk::allocated_with(Config { dont_fragment: true, ..config() }, Transport::Udp);
    desk.permit("203.0.113.5");
    desk.client.send(desk.now, address("203.0.113.5:5000"), b"hello").unwrap();
    let sent = desk.next();
    assert_eq!((sent.read().dont_fragment(), sent.read().data()), (Ok(Some(())), Ok(Some(&b"hello"[..]))));
}

#[test]
fn passes_icmp_errors_on() {
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    let icmp = farspeak_stun::attribute::Icmp { kind: 3, code: 4, data: 1280 };
    for (peer, counts) in [("203.0.113.5:5000", true), ("203.0.113.66:5000", false)] {
        let bytes = desk::indication(|writer| {
            writer.push(Attribute::XorPeerAddress(address(peer))).push(Attribute::Icmp(icmp));
        });
        desk.deliver(desk.flow, &bytes);
        assert_eq!(desk.event(), counts.then(|| Event::Icmp { peer: address(peer), icmp }));
    }
}

#[test]
fn survives_whatever_comes() {
    let mut desk = Desk::allocated();
    desk.permit("203.0.113.5");
    let whole = data("203.0.113.5:5000", b"welcome");
    for length in 0..whole.len() {
        desk.deliver(desk.flow, &whole[..length]);
        assert_eq!(desk.event(), None);
    }
    desk.pass(secs(540));
    let request = desk.next();
    desk.deliver(desk.flow, &request.bytes);
    assert!(desk.client.is_allocated());
    desk.client.handle_flow_failed(desk.now, desk.flow);
    desk.pass(secs(2));
    assert!(desk.client.is_allocated(), "an ICMP error does not end an allocation");
}
