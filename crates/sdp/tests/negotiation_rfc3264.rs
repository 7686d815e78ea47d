//! RFC 3264 §§5–8, rule by rule, with what RFC 6337 §5 says of them for SIP.

mod negotiate;

use farspeak_sdp::*;
use negotiate::*;

/// An offer of a plain phone, with these lines.
fn offer(media: &str) -> Description {
    parse(&format!("v=0\no=- 9 9 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\n{media}"))
}

fn pair() -> (Negotiation, Negotiation) {
    (side(phone(), 1), side(phone(), 2))
}

fn established() -> (Negotiation, Negotiation) {
    let (mut alice, mut bob) = pair();
    exchange(&mut alice, &[audio(at(1000)), video(at(1002))], &mut bob, &[audio(at(2000)), video(at(2002))]);
    (alice, bob)
}

#[test]
fn section_4_no_offer_while_one_is_pending() {
    let (mut alice, mut bob) = pair();
    let offer = alice.offer(&[audio(at(1000))]).unwrap();
    assert_eq!(alice.offer(&[audio(at(1000))]), Err(NegotiationError::OfferPending));
    bob.handle_offer(&offer).unwrap();
    assert_eq!(bob.offer(&[audio(at(2000))]), Err(NegotiationError::AnswerOwed));
    let again = bob.handle_offer(&offer).unwrap_err();
    assert_eq!((again.status(), again.warning()), (500, None));
    assert_eq!(bob.handle_answer(&offer), Err(AnswerError::NoOffer));
    assert_eq!(alice.answer(&[]), Err(NegotiationError::NothingToAnswer));
}

#[test]
fn section_4_crossing_offers_are_glare() {
    let (mut alice, mut bob) = established();
    let crossing = bob.reoffer().unwrap();
    alice.reoffer().unwrap();
    assert_eq!(alice.handle_offer(&crossing).unwrap_err().status(), 491);
    assert_eq!(alice.state(), NegotiationState::LocalOffer);
}

#[test]
fn section_4_a_refused_offer_leaves_the_session_as_it_was() {
    let (mut alice, mut bob) = established();
    let (before, peers) = (alice.agreed().to_vec(), bob.agreed().to_vec());
    let offer = alice.offer(&[audio(at(3000))]).unwrap();
    bob.handle_offer(&offer).unwrap();
    bob.rollback().unwrap();
    alice.rollback().unwrap();
    assert_eq!((alice.agreed(), bob.agreed()), (&before[..], &peers[..]));
    assert_eq!(alice.rollback(), Err(NegotiationError::NothingPending));
}

#[test]
fn section_5_1_formats_are_in_order_of_preference_with_an_rtpmap_each() {
    let text = pair().0.offer(&[audio(at(1000))]).unwrap().to_string();
    assert!(text.contains("m=audio 1000 RTP/AVP 0 8 96\r\n"), "{text}");
    for map in ["0 PCMU/8000", "8 PCMA/8000", "96 telephone-event/8000"] {
        assert!(text.contains(&format!("a=rtpmap:{map}\r\n")), "{text}");
    }
}

#[test]
fn section_6_the_answer_has_as_many_sections_and_the_offers_time() {
    let mut bob = side(phone(), 2);
    let mut offered =
        offer("m=audio 1000 RTP/AVP 0\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\nm=image 5 udptl t38");
    offered = with(&offered, "t=0 0", "t=3034423619 3042462419");
    let report = bob.handle_offer(&offered).unwrap();
    let refusals: Vec<_> = report.media.iter().map(|media| media.refusal).collect();
    assert_eq!(refusals, [None, Some(Refusal::Kind), Some(Refusal::Kind)]);
    let answer = bob.answer(&[audio(at(2000))]).unwrap();
    assert_eq!(
        media_lines(&answer),
        ["m=audio 2000 RTP/AVP 0", "m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "m=image 0 udptl t38"]
    );
    assert!(answer.to_string().contains("t=3034423619 3042462419\r\n"));
}

#[test]
fn section_6_a_refused_stream_keeps_its_formats_and_an_unknown_kind_its_words() {
    let mut bob = side(phone(), 2);
    bob.handle_offer(&offer(
        "m=audio 1 RTP/AVP 0\nm=hologram 7 QUIC/HOLO a b c\nm=video 8 RTP/AVP 99\na=rtpmap:99 X/90000",
    ))
    .unwrap();
    let answer = bob.answer(&[audio(at(2000)), LocalMedia::rejected(MediaKind::Video), video(at(2002))]).unwrap();
    assert_eq!(media_lines(&answer)[1..], ["m=hologram 0 QUIC/HOLO a b c", "m=video 0 RTP/AVP 99"]);
}

#[test]
fn section_6_1_the_direction_is_what_both_want() {
    use Direction::*;
    let all = [SendRecv, SendOnly, RecvOnly, Inactive];
    for offered in all {
        for wanted in all {
            let (mut alice, mut bob) = pair();
            let offer = alice.offer(&[LocalMedia { direction: offered, ..audio(at(1000)) }]).unwrap();
            bob.handle_offer(&offer).unwrap();
            let answer = bob.answer(&[LocalMedia { direction: wanted, ..audio(at(2000)) }]).unwrap();
            let answered = answer.media()[0].direction().unwrap();
            assert_eq!(answered, wanted.and_with(offered.reversed()));
            alice.handle_answer(&answer).unwrap();
            assert_eq!(alice.agreed()[0].direction, answered.reversed());
        }
    }
}

#[test]
fn section_6_1_an_answer_with_another_direction_is_an_error() {
    let (mut alice, mut bob) = pair();
    let offer = alice.offer(&[LocalMedia { direction: Direction::SendOnly, ..audio(at(1000)) }]).unwrap();
    bob.handle_offer(&offer).unwrap();
    let answer = bob.answer(&[audio(at(2000))]).unwrap();
    for wrong in ["a=sendrecv", "a=sendonly"] {
        let wrong = with(&answer, "a=recvonly", wrong);
        assert_eq!(alice.handle_answer(&wrong), Err(AnswerError::Direction(0)));
    }
    assert_eq!(alice.state(), NegotiationState::LocalOffer, "a broken answer is no answer");
    alice.handle_answer(&with(&answer, "a=recvonly", "a=inactive")).unwrap();
}

#[test]
fn section_6_1_codecs_keep_the_offers_order_and_numbers() {
    let mut bob = side(phone(), 2);
    bob.handle_offer(&offer(
        "m=audio 1000 RTP/AVP 18 100 8 0 101\na=rtpmap:100 PCMU/8000\na=rtpmap:101 telephone-event/8000",
    ))
    .unwrap();
    let answer = bob.answer(&[audio(at(2000))]).unwrap();
    assert_eq!(media_lines(&answer), ["m=audio 2000 RTP/AVP 100 8 0 101"]);
    assert_eq!(bob.agreed()[0].codecs[0].remote_payload_type, 100);
}

#[test]
fn section_6_1_no_common_format_refuses_that_stream_alone() {
    let mut bob = side(phone(), 2);
    let report = bob.handle_offer(&offer("m=audio 1 RTP/AVP 18\nm=video 2 RTP/AVP 31")).unwrap();
    assert_eq!(report.media[0].refusal, Some(Refusal::Codecs));
    assert_eq!(
        media_lines(&bob.answer(&[audio(at(1)), video(at(2))]).unwrap()),
        ["m=audio 0 RTP/AVP 18", "m=video 2 RTP/AVP 31"]
    );
}

#[test]
fn section_6_1_nothing_in_common_at_all_is_488() {
    let mut bob = side(phone(), 2);
    let error = bob.handle_offer(&offer("m=audio 1 RTP/AVP 18\nm=image 2 udptl t38")).unwrap_err();
    assert_eq!(error, OfferError::NothingAcceptable(vec![Refusal::Codecs, Refusal::Kind]));
    assert_eq!((error.status(), error.warning()), (488, Some((305, "Incompatible media format"))));
    assert_eq!(bob.state(), NegotiationState::Stable);
}

#[test]
fn rfc_6337_section_5_2_4_an_offer_in_a_response_is_refused_by_ports_of_zero() {
    let mut bob = side(phone(), 2);
    let answer = bob.refuse(&offer("m=audio 1 RTP/AVP 18 4\nm=image 2 udptl t38")).unwrap();
    assert_eq!(media_lines(&answer), ["m=audio 0 RTP/AVP 18 4", "m=image 0 udptl t38"]);
    assert!(bob.agreed().is_empty());
    assert_eq!(bob.state(), NegotiationState::Stable);
}

#[test]
fn section_6_1_events_alone_are_no_audio() {
    let mut bob = side(phone(), 2);
    let offered = offer("m=audio 1 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000");
    assert!(matches!(bob.handle_offer(&offered), Err(OfferError::NothingAcceptable(_))));
}

#[test]
fn rfc_4733_events_are_offered_and_answered_at_each_clock_rate() {
    let wideband = plain(Capabilities::audio([Codec::opus(), Codec::pcmu(), Codec::new("L16", 16000)]));
    let mut alice = side(wideband.clone(), 1);
    let offered = alice.offer(&[audio(at(1000))]).unwrap();
    let events = |description: &Description| {
        let media = &description.media()[0];
        media.rtpmaps().filter(|map| map.is("telephone-event")).map(|map| map.clock_rate).collect::<Vec<_>>()
    };
    assert_eq!(events(&offered), [48000, 8000, 16000]);
    let mut bob = side(plain(Capabilities::audio([Codec::opus(), Codec::pcmu()])), 2);
    bob.handle_offer(&offered).unwrap();
    let answer = bob.answer(&[audio(at(2000))]).unwrap();
    assert_eq!(events(&answer), [48000, 8000]);
    alice.handle_answer(&answer).unwrap();
    let media = &alice.agreed()[0];
    assert_eq!(media.telephone_event(&media.codecs[0]).unwrap().clock_rate, 48000);
    assert_eq!(media.telephone_event(&media.codecs[1]).unwrap().clock_rate, 8000);
    assert_eq!(media.telephone_events[0].fmtp_remote.as_deref(), Some("0-15"));
    // A peer that has them at another rate only than the codec's has none for it.
    let mut carol = side(plain(Capabilities::audio([Codec::opus()])), 3);
    carol
        .handle_offer(&offer("m=audio 1 RTP/AVP 96 101\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000"))
        .unwrap();
    assert_eq!(media_lines(&carol.answer(&[audio(at(2000))]).unwrap()), ["m=audio 2000 RTP/AVP 96"]);
}

#[test]
fn section_6_1_an_answer_must_match_the_offer() {
    let (mut alice, mut bob) = pair();
    let offer = alice.offer(&[audio(at(1000)), LocalMedia::rejected(MediaKind::Video)]).unwrap();
    bob.handle_offer(&offer).unwrap();
    let answer = bob.answer(&[audio(at(2000))]).unwrap();
    let cases = [
        ("m=audio 2000", "m=video 2000", AnswerError::Kind(0)),
        ("RTP/AVP 0 8", "RTP/SAVP 0 8", AnswerError::Protocol(0)),
        ("m=audio 2000 RTP/AVP 0 8 96", "m=audio 2000 RTP/AVP 18", AnswerError::NoFormat(0)),
        ("m=audio 2000 RTP/AVP 0 8 96", "m=audio 2000 RTP/AVP 96", AnswerError::NoFormat(0)),
        ("m=video 0", "m=video 2002", AnswerError::Revived(1)),
        ("c=IN IP4 192.0.2.1", "c=IN IP4 224.2.1.1/127", AnswerError::Multicast(0)),
        ("c=IN IP4 192.0.2.1\r\n", "", AnswerError::Address(0)),
        ("m=video 0", "m=audio 7 RTP/AVP 0\r\nm=video 0", AnswerError::MediaCount { offered: 2, answered: 3 }),
    ];
    for (from, to, error) in cases {
        assert_eq!(alice.handle_answer(&with(&answer, from, to)), Err(error));
    }
    alice.handle_answer(&answer).unwrap();
}

#[test]
fn section_6_2_multicast_is_refused() {
    let mut bob = side(phone(), 2);
    let error = bob.handle_offer(&with(&offer("m=audio 1 RTP/AVP 0"), "192.0.2.9\r\nt", "233.252.0.1/127\r\nt"));
    assert_eq!(error.unwrap_err().warning(), Some((330, "Multicast not available")));
}

#[test]
fn section_7_the_answers_order_counts_and_further_formats_do_not() {
    let (mut alice, mut bob) = pair();
    bob.handle_offer(&alice.offer(&[audio(at(1000))]).unwrap()).unwrap();
    let answer = bob.answer(&[audio(at(2000))]).unwrap();
    alice.handle_answer(&with(&answer, "RTP/AVP 0 8 96", "RTP/AVP 18 8 0 96")).unwrap();
    let names: Vec<_> = alice.agreed()[0].codecs.iter().map(|codec| &*codec.encoding).collect();
    assert_eq!(names, ["PCMA", "PCMU"]);
}

#[test]
fn section_8_an_unchanged_description_has_the_same_version() {
    let (mut alice, mut bob) = established();
    let first = alice.local_description().unwrap().clone();
    let (offer, answer) = {
        let offer = alice.reoffer().unwrap();
        assert!(bob.handle_offer(&offer).unwrap().unchanged);
        let answer = bob.reanswer().unwrap();
        alice.handle_answer(&answer).unwrap();
        (offer, answer)
    };
    assert_eq!(offer, first);
    assert_eq!(answer.origin().version, 1);
}

#[test]
fn section_8_a_changed_description_has_the_next_version_and_the_same_session() {
    let (mut alice, mut bob) = established();
    alice.hold();
    let offer = alice.reoffer().unwrap();
    assert!(offer.origin().same_session(alice.local_description().unwrap().origin()));
    assert_eq!(offer.origin().version, 2);
    assert!(!bob.handle_offer(&offer).unwrap().unchanged);
}

#[test]
fn section_8_fewer_sections_are_refused() {
    let (_, mut bob) = established();
    let error = bob.handle_offer(&offer("m=audio 1000 RTP/AVP 0")).unwrap_err();
    assert_eq!((&error, error.status()), (&OfferError::FewerMedia, 488));
}

#[test]
fn section_8_1_a_new_stream_takes_a_free_section_or_a_new_one() {
    let (mut alice, mut bob) = established();
    assert_eq!(alice.free_section(), 2);
    exchange(&mut alice, &[audio(at(1000))], &mut bob, &[audio(at(2000))]);
    assert_eq!((alice.free_section(), alice.media_count()), (1, 2));
    let again = [audio(at(1000)), audio(at(1004))];
    let (offer, _) = exchange(&mut alice, &again, &mut bob, &[audio(at(2000)), audio(at(2004))]);
    assert_eq!(offer.media().len(), 2);
    assert_eq!(bob.agreed()[1].kind, MediaKind::Audio, "the section has another kind of media now");
}

#[test]
fn section_8_2_a_removed_stream_stays_as_a_port_of_zero() {
    let (mut alice, mut bob) = established();
    let (offer, answer) = exchange(&mut alice, &[audio(at(1000))], &mut bob, &[audio(at(2000)), video(at(2002))]);
    assert_eq!(media_lines(&offer)[1], "m=video 0 RTP/AVP 31");
    assert_eq!(media_lines(&answer)[1], "m=video 0 RTP/AVP 31");
    assert_eq!((alice.agreed().len(), bob.agreed().len()), (1, 1));
}

#[test]
fn section_8_3_1_a_new_port_and_address_are_taken_up() {
    let (mut alice, mut bob) = established();
    let moved = LocalTransport::new("2001:db8::1".parse().unwrap(), 1000);
    exchange(&mut alice, &[audio(moved), video(at(1006))], &mut bob, &[audio(at(2000)), video(at(2002))]);
    assert_eq!(&*bob.agreed()[0].remote.connection.address, "2001:db8::1");
    assert_eq!((bob.agreed()[1].remote.port, bob.agreed()[1].remote_rtcp.port), (1006, 1007));
}

#[test]
fn section_8_3_2_a_payload_type_keeps_its_codec() {
    let list = |codecs: &[Codec]| LocalMedia { codecs: Some(codecs.to_vec()), ..audio(at(1000)) };
    let ilbc = Codec::new("iLBC", 8000);
    let capabilities = plain(Capabilities::audio([Codec::opus(), ilbc.clone()]));
    let (mut alice, mut bob) = (side(capabilities.clone(), 1), side(capabilities, 2));
    exchange(&mut alice, &[list(&[ilbc])], &mut bob, &[audio(at(2000))]);
    let (offer, _) = exchange(&mut alice, &[list(&[Codec::opus()])], &mut bob, &[audio(at(2000))]);
    assert!(!media_lines(&offer)[0].contains(" 96"), "96 is iLBC: {offer}");
    // The peer that breaks this gets an answer that does not.
    let remapped = with(&offer, "98 opus/48000/2", "96 opus/48000/2");
    let remapped = with(&remapped, "RTP/AVP 98", "RTP/AVP 96");
    bob.handle_offer(&remapped).unwrap();
    assert!(!media_lines(&bob.answer(&[audio(at(2000))]).unwrap())[0].contains(" 96"));
    assert_eq!(bob.agreed()[0].codecs[0].remote_payload_type, 96);
}

#[test]
fn section_8_4_hold_is_sendonly_and_a_receiver_becomes_inactive() {
    let (mut alice, mut bob) = pair();
    let listening = LocalMedia { direction: Direction::RecvOnly, ..video(at(1002)) };
    exchange(&mut alice, &[audio(at(1000)), listening], &mut bob, &[audio(at(2000)), video(at(2002))]);
    alice.hold();
    let offer = alice.reoffer().unwrap();
    let directions: Vec<_> = offer.media().iter().map(|media| media.direction().unwrap()).collect();
    assert_eq!(directions, [Direction::SendOnly, Direction::Inactive]);
    bob.handle_offer(&offer).unwrap();
    let answer = bob.reanswer().unwrap();
    alice.handle_answer(&answer).unwrap();
    assert!(bob.agreed()[0].is_held_by_peer() && alice.is_held() && !bob.is_held());
    alice.resume();
    let offer = alice.reoffer().unwrap();
    let directions: Vec<_> = offer.media().iter().map(|media| media.direction().unwrap()).collect();
    assert_eq!(directions, [Direction::SendRecv, Direction::RecvOnly]);
}

#[test]
fn rfc_6337_section_5_3_both_sides_hold_and_resume_in_turn() {
    let (mut alice, mut bob) = pair();
    exchange(&mut alice, &[audio(at(1000))], &mut bob, &[audio(at(2000))]);
    let mut turn = |alice_holds: bool, bob_holds: bool, by_alice: bool| {
        let set = |side: &mut Negotiation, held| if held { side.hold() } else { side.resume() };
        set(&mut alice, alice_holds);
        set(&mut bob, bob_holds);
        let (one, other) = if by_alice { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let offer = one.reoffer().unwrap();
        other.handle_offer(&offer).unwrap();
        one.handle_answer(&other.reanswer().unwrap()).unwrap();
        alice.agreed()[0].direction
    };
    assert_eq!(turn(true, false, true), Direction::SendOnly);
    assert_eq!(turn(true, true, false), Direction::Inactive);
    assert_eq!(turn(false, true, true), Direction::RecvOnly, "alice is off hold, bob is not");
    assert_eq!(turn(false, false, true), Direction::SendRecv, "nobody is stuck on hold");
}

#[test]
fn section_9_capabilities_are_described_with_ports_of_zero() {
    let description = phone().describe(Origin::new(1, 1, "192.0.2.1".parse().unwrap()));
    assert_eq!(media_lines(&description), ["m=audio 0 RTP/AVP 0 8 96", "m=video 0 RTP/AVP 31"]);
    let text = description.to_string();
    assert!(text.contains("a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\n"), "{text}");
}

#[test]
fn rfc_3605_the_peers_rtcp_attribute_is_obeyed() {
    let mut bob = side(phone(), 2);
    bob.handle_offer(&offer("m=audio 1000 RTP/AVP 0\na=rtcp:53020 IN IP4 192.0.2.77")).unwrap();
    bob.answer(&[audio(LocalTransport { rtcp_port: Some(3333), ..at(2000) })]).unwrap();
    let rtcp = &bob.agreed()[0].remote_rtcp;
    assert_eq!((&*rtcp.connection.address, rtcp.port), ("192.0.2.77", 53020));
    assert!(bob.local_description().unwrap().to_string().contains("a=rtcp:3333\r\n"));
}

#[test]
fn a_clone_is_a_fork_of_the_call() {
    let (mut alice, mut bob) = pair();
    let offer = alice.offer(&[audio(at(1000))]).unwrap();
    let mut fork = alice.clone();
    let mut carol = side(phone(), 3);
    for (callee, caller, port) in [(&mut bob, &mut alice, 2000), (&mut carol, &mut fork, 3000)] {
        callee.handle_offer(&offer).unwrap();
        caller.handle_answer(&callee.answer(&[audio(at(port))]).unwrap()).unwrap();
    }
    assert_eq!((alice.agreed()[0].remote.port, fork.agreed()[0].remote.port), (2000, 3000));
}
