//! RFC 9429 §5.2.2 and §5.3.2: what later offers and answers keep, rule by rule; with RFC 9143 §7 (bundles), whose rules they
//! build on.

mod negotiate;

use farspeak_sdp::*;
use negotiate::*;

fn pair() -> (Negotiation, Negotiation) {
    (side(browser(), 1), side(browser(), 2))
}

/// Audio and video in one bundle.
fn established() -> (Negotiation, Negotiation) {
    let (mut alice, mut bob) = pair();
    let offered = [audio(web(1000, 1)), video(web(1002, 1))];
    exchange(&mut alice, &offered, &mut bob, &[audio(web(2000, 2)), LocalMedia::without_transport(MediaKind::Video)]);
    (alice, bob)
}

fn group(description: &Description) -> Vec<String> {
    description.groups().filter(|group| group.is_bundle()).map(|group| group.mids.join(" ")).collect()
}

fn attributes<'a>(description: &'a Description, index: usize, name: &'a str) -> Vec<&'a str> {
    description.media()[index].values(name).collect()
}

#[test]
fn section_5_2_1_an_initial_offer_is_actpass_and_bundles_everything() {
    let offer = pair().0.offer(&[audio(web(1000, 1)), video(web(1002, 1))]).unwrap();
    assert_eq!(group(&offer), ["0 1"]);
    for media in offer.media() {
        assert_eq!(media.protocol, Protocol::UdpTlsRtpSavpf);
        assert_eq!(media.setup(), Some(attribute::Setup::ActPass));
        assert!(media.rtcp_mux() && media.rtcp_mux_only() && media.ice_ufrag().is_some() && media.tls_id().is_some());
        assert!(media.connection().is_some(), "c= follows each m=");
    }
    assert_ne!(offer.media()[0].port, offer.media()[1].port, "RFC 9143 §7.2: an address of its own each");
    assert_eq!(attributes(&offer, 1, "fmtp"), ["100 apt=99"]);
}

#[test]
fn section_5_2_1_a_section_without_a_transport_is_bundle_only() {
    let offer = pair().0.offer(&[audio(web(1000, 1)), LocalMedia::without_transport(MediaKind::Video)]).unwrap();
    let video = &offer.media()[1];
    assert!(video.bundle_only() && video.port == 0 && !video.is_rejected());
    assert_eq!((video.ice_ufrag(), video.setup(), video.fingerprints().count()), (None, None, 0));
}

#[test]
fn section_5_2_2_the_version_goes_up_after_a_rollback_too() {
    let (mut alice, _) = established();
    let versions: Vec<u64> = [1004, 1006, 1006]
        .map(|port| {
            let offer = alice.offer(&[audio(web(port, 1)), LocalMedia::without_transport(MediaKind::Video)]).unwrap();
            alice.rollback().unwrap();
            offer.origin().version
        })
        .to_vec();
    assert_eq!(versions, [2, 3, 3]);
    // Back to the first: that is another description than the last one sent.
    assert_eq!(alice.reoffer().unwrap().origin().version, 4);
}

#[test]
fn section_5_2_2_a_rejected_section_is_recycled_with_a_new_mid() {
    let (mut alice, mut bob) = established();
    let mut wishes = alice.local_media();
    wishes[1] = LocalMedia::rejected(MediaKind::Video);
    exchange(&mut alice, &wishes, &mut bob, &[audio(web(2000, 2))]);
    assert_eq!(alice.free_section(), 1);
    wishes[1] = audio(web(1010, 1));
    let offer = alice.offer(&wishes).unwrap();
    assert_eq!(offer.media().len(), 2);
    assert_eq!((offer.media()[1].kind.clone(), offer.media()[1].mid()), (MediaKind::Audio, Some("2")));
    assert_eq!(group(&offer), ["0 2"]);
}

#[test]
fn section_5_2_2_a_stopped_section_has_port_zero_and_leaves_the_group() {
    let (mut alice, _) = established();
    let mut wishes = alice.local_media();
    wishes[1] = LocalMedia::rejected(MediaKind::Video);
    let offer = alice.offer(&wishes).unwrap();
    assert!(offer.media()[1].is_rejected() && !offer.media()[1].bundle_only());
    assert_eq!(offer.media()[1].mid(), Some("1"));
    assert_eq!(attributes(&offer, 1, "msid"), [""; 0]);
    assert_eq!(group(&offer), ["0"]);
}

#[test]
fn section_5_2_2_mids_msids_and_ice_credentials_stay() {
    let (mut alice, mut bob) = pair();
    let msid = |mut media: LocalMedia, id: &str| {
        media.attributes.push(("msid".into(), Some(id.into())));
        media
    };
    let offered = [msid(audio(web(1000, 1)), "stream one"), msid(video(web(1002, 1)), "stream two")];
    let (first, _) = exchange(&mut alice, &offered, &mut bob, &[audio(web(2000, 2)), video(web(2002, 2))]);
    alice.set_direction(0, Direction::RecvOnly).unwrap();
    let offer = alice.reoffer().unwrap();
    for index in [0, 1] {
        assert_eq!(attributes(&offer, index, "msid"), attributes(&first, index, "msid"));
        assert_eq!(offer.media()[index].mid(), first.media()[index].mid());
    }
    assert_eq!(offer.media()[0].ice_pwd(), first.media()[0].ice_pwd());
    assert_eq!(offer.media()[1].ice_pwd(), None, "bundled: still none");
}

#[test]
fn section_5_2_2_formats_are_in_the_answers_order_and_the_others_behind() {
    let (mut alice, mut bob) = pair();
    let only_pcmu = LocalMedia { codecs: Some(vec![Codec::pcmu()]), ..audio(web(2000, 2)) };
    let (first, _) = exchange(&mut alice, &[audio(web(1000, 1))], &mut bob, &[only_pcmu]);
    assert!(media_lines(&first)[0].ends_with("SAVPF 96 0 97 98"));
    let again = alice.reoffer().unwrap();
    assert!(media_lines(&again)[0].ends_with("SAVPF 0 96 98 97"), "{again}");
}

#[test]
fn section_5_2_2_header_extensions_and_feedback_are_the_answers() {
    let (mut alice, mut bob) = pair();
    bob.capabilities_mut().rtp[1].extensions.clear();
    bob.capabilities_mut().rtp[1].codecs[0].feedback.pop();
    let (first, _) = exchange(&mut alice, &[video(web(1000, 1))], &mut bob, &[video(web(2000, 2))]);
    assert_eq!(attributes(&first, 0, "extmap"), ["1 urn:ietf:params:rtp-hdrext:sdes:mid"]);
    assert_eq!(alice.agreed()[0].codecs[0].feedback, ["nack".into()]);
    let again = alice.reoffer().unwrap();
    assert_eq!(attributes(&again, 0, "extmap"), [""; 0]);
}

#[test]
fn section_5_2_2_rtcp_mux_is_as_agreed_and_never_only() {
    let (mut alice, _) = established();
    let again = alice.reoffer().unwrap();
    assert!(again.media()[0].rtcp_mux() && !again.media()[0].rtcp_mux_only());
    assert_eq!(again.media()[0].rtcp(), None);
    // Not agreed: not offered again.
    let phone = phone().rtcp_mux(RtcpMux::Negotiate);
    let (mut one, mut other) = (side(phone, 1), side(negotiate::phone(), 2));
    let (first, _) = exchange(&mut one, &[audio(at(1000))], &mut other, &[audio(at(2000))]);
    assert!(first.media()[0].rtcp_mux() && !one.agreed()[0].rtcp_mux);
    assert!(!one.reoffer().unwrap().media()[0].rtcp_mux());
}

#[test]
fn section_5_2_2_no_bundle_only_and_transport_in_the_tagged_section_alone() {
    let (mut alice, mut bob) = pair();
    let bundle_only = LocalMedia::without_transport(MediaKind::Video);
    exchange(&mut alice, &[audio(web(1000, 1)), bundle_only.clone()], &mut bob, &[audio(web(2000, 2)), bundle_only]);
    let offer = alice.reoffer().unwrap();
    let video = &offer.media()[1];
    assert!(!video.bundle_only());
    assert_eq!(video.port, 1000, "RFC 9143 §7.5: the bundle's port");
    assert_eq!((video.ice_ufrag(), video.setup(), video.rtcp_mux()), (None, None, false));
}

#[test]
fn section_5_2_2_the_group_keeps_its_members_and_takes_in_new_ones() {
    let (mut alice, mut bob) = established();
    let mut wishes = alice.local_media();
    wishes.push(video(web(1004, 1)));
    let (offer, answer) =
        exchange(&mut alice, &wishes, &mut bob, &[0, 1, 2].map(|i| [audio, video, video][i](web(2000, 2))));
    assert_eq!(group(&offer), ["0 1 2"]);
    assert_eq!(group(&answer), ["0 1 2"]);
    assert_eq!(alice.agreed()[2].bundle, Some(0));
}

#[test]
fn section_5_2_3_1_an_ice_restart_changes_the_credentials_on_both_sides() {
    let (mut alice, mut bob) = established();
    let mut wishes = alice.local_media();
    wishes[0].transport.as_mut().unwrap().ice = Some(ice("again"));
    let offer = alice.offer(&wishes).unwrap();
    let report = bob.handle_offer(&offer).unwrap();
    assert!(report.media[0].ice_restart && report.media[1].ice_restart && !report.media[0].new_association);
    assert_eq!(bob.reanswer(), Err(NegotiationError::StaleIceCredentials(0)));
    let mut answers = bob.local_media();
    answers[0].transport.as_mut().unwrap().ice = Some(ice("bobAgain"));
    let answer = bob.answer(&answers).unwrap();
    let stale = with(&answer, "ice-ufrag:bobAgain", "ice-ufrag:side2");
    let stale = with(&stale, &ice("bobAgain").pwd, &ice("side2").pwd);
    assert_eq!(alice.handle_answer(&stale), Err(AnswerError::IceNotRestarted(0)));
    alice.handle_answer(&answer).unwrap();
    assert!(alice.agreed()[0].ice.as_ref().unwrap().restarted && bob.agreed()[1].ice.as_ref().unwrap().restarted);
    let Security::Dtls { association, .. } = alice.agreed()[0].security else { panic!("DTLS") };
    assert_eq!(association, 1, "RFC 8842 §4: new credentials alone are no new association");
}

#[test]
fn section_5_3_2_credentials_stay_unless_the_peer_restarts() {
    let (mut alice, mut bob) = established();
    bob.handle_offer(&alice.reoffer().unwrap()).unwrap();
    let mut answers = bob.local_media();
    answers[0].transport.as_mut().unwrap().ice = Some(ice("eager"));
    assert_eq!(bob.answer(&answers), Err(NegotiationError::ChangedIceCredentials(0)));
    let answer = bob.reanswer().unwrap();
    assert_eq!(answer.media()[0].ice_ufrag(), Some("side2"));
}

#[test]
fn section_5_3_1_the_answer_has_the_offers_mids_and_ice_options() {
    let (mut alice, mut bob) = pair();
    let offer = alice.offer(&[audio(web(1000, 1))]).unwrap();
    let offer = with(&with(&offer, "trickle ice2", "ice2"), "mid:0", "mid:zero");
    let offer = with(&offer, "BUNDLE 0", "BUNDLE zero");
    bob.handle_offer(&offer).unwrap();
    let answer = bob.answer(&[audio(web(2000, 2))]).unwrap();
    assert_eq!(answer.media()[0].mid(), Some("zero"));
    assert_eq!(answer.media()[0].ice_options().collect::<Vec<_>>(), ["ice2"]);
    assert!(!answer.media()[0].rtcp_mux_only(), "RFC 8858 §4.3");
}

#[test]
fn section_5_3_2_tls_id_and_role_stay() {
    let (mut alice, mut bob) = established();
    let role = |side: &Negotiation| match &side.agreed()[0].security {
        Security::Dtls { role, association, .. } => (*role, *association),
        other => panic!("{other:?}"),
    };
    assert_eq!((role(&alice), role(&bob)), ((DtlsRole::Passive, 1), (DtlsRole::Active, 1)));
    // Now the other one offers, again with actpass: who was active stays it.
    let offer = bob.reoffer().unwrap();
    assert_eq!(offer.media()[0].setup(), Some(attribute::Setup::ActPass), "RFC 8842 §5.5");
    alice.handle_offer(&offer).unwrap();
    let answer = alice.reanswer().unwrap();
    assert_eq!(answer.media()[0].setup(), Some(attribute::Setup::Passive));
    assert_eq!(answer.media()[0].tls_id(), alice.local_transport(0).unwrap().tls_id.as_deref());
    bob.handle_answer(&answer).unwrap();
    assert_eq!((role(&alice), role(&bob)), ((DtlsRole::Passive, 1), (DtlsRole::Active, 1)));
}

#[test]
fn section_5_3_2_rtcp_mux_goes_on() {
    let (mut alice, mut bob) = established();
    bob.handle_offer(&alice.reoffer().unwrap()).unwrap();
    assert!(bob.reanswer().unwrap().media()[0].rtcp_mux());
}

#[test]
fn section_5_8_3_an_answer_without_rtcp_mux_is_refused_if_it_is_required() {
    let (mut alice, mut bob) = pair();
    bob.handle_offer(&alice.offer(&[audio(web(1000, 1))]).unwrap()).unwrap();
    let answer = bob.answer(&[audio(web(2000, 2))]).unwrap();
    let answer = with(&with(&answer, "a=rtcp-mux\r\n", ""), "a=group:BUNDLE 0\r\n", "");
    assert_eq!(alice.handle_answer(&answer), Err(AnswerError::NoRtcpMux(0)));
}

#[test]
fn rfc_9143_section_7_3_1_the_first_acceptable_section_is_tagged() {
    let (mut alice, mut bob) = pair();
    bob.handle_offer(&alice.offer(&[audio(web(1000, 1)), video(web(1002, 1))]).unwrap()).unwrap();
    let answer = bob.answer(&[LocalMedia::rejected(MediaKind::Audio), video(web(2002, 2))]).unwrap();
    assert_eq!(group(&answer), ["1"]);
    alice.handle_answer(&answer).unwrap();
    assert_eq!(alice.agreed()[0].bundle, Some(1));
    assert_eq!(alice.local_transport(1).unwrap().port, 1002);
}

#[test]
fn rfc_9143_section_7_3_2_a_section_moves_out_of_a_new_bundle_only() {
    let (mut alice, mut bob) = pair();
    let alone = LocalMedia { bundled: false, ..video(web(2002, 2)) };
    let offered = [audio(web(1000, 1)), video(web(1002, 1))];
    let (_, answer) = exchange(&mut alice, &offered, &mut bob, &[audio(web(2000, 2)), alone.clone()]);
    assert_eq!(group(&answer), ["0"]);
    assert_eq!((alice.agreed()[1].bundle, alice.agreed()[1].remote.port), (None, 2002));
    let (mut alice, mut bob) = established();
    bob.handle_offer(&alice.reoffer().unwrap()).unwrap();
    let answer = bob.answer(&[bob.local_media()[0].clone(), alone]).unwrap();
    assert_eq!(group(&answer), ["0 1"]);
    // A peer that does it all the same breaks the rule.
    let moved = with(&answer, "BUNDLE 0 1", "BUNDLE 0");
    assert_eq!(alice.handle_answer(&moved), Err(AnswerError::OutsideBundle(1)));
}

#[test]
fn rfc_9143_section_7_3_3_without_the_tagged_section_a_bundle_in_use_is_refused_whole() {
    let (mut alice, mut bob) = established();
    bob.handle_offer(&alice.reoffer().unwrap()).unwrap();
    let answer = bob.answer(&[LocalMedia::rejected(MediaKind::Audio), bob.local_media()[1].clone()]).unwrap();
    assert!(answer.media().iter().all(Media::is_rejected));
    alice.handle_answer(&answer).unwrap();
    assert!(alice.agreed().is_empty());
}

#[test]
fn rfc_9143_section_7_4_an_answer_cannot_bundle_what_was_not_offered() {
    let (mut alice, mut bob) = pair();
    let alone = LocalMedia { bundled: false, ..video(web(1002, 1)) };
    bob.handle_offer(&alice.offer(&[audio(web(1000, 1)), alone]).unwrap()).unwrap();
    let answer = bob.answer(&[audio(web(2000, 2)), video(web(2002, 2))]).unwrap();
    assert_eq!(alice.handle_answer(&with(&answer, "BUNDLE 0", "BUNDLE 0 1")), Err(AnswerError::Bundle(1)));
}

#[test]
fn rfc_9143_section_6_bundle_only_is_refused_by_those_that_do_not_bundle() {
    let mut alice = side(browser(), 1);
    let mut bob = side(browser().bundle(Bundle::Off), 2);
    let offered = [audio(web(1000, 1)), LocalMedia::without_transport(MediaKind::Video)];
    let report = bob.handle_offer(&alice.offer(&offered).unwrap()).unwrap();
    assert_eq!(report.media[1].refusal, Some(Refusal::Bundle));
    let answer = bob.answer(&[audio(web(2000, 2)), video(web(2002, 2))]).unwrap();
    assert!(group(&answer).is_empty() && answer.media()[1].is_rejected());
    // One that takes it without the bundle breaks the rule.
    let revived = with(&answer, "m=video 0", "m=video 2002");
    assert_eq!(alice.handle_answer(&revived), Err(AnswerError::OutsideBundle(1)));
    alice.handle_answer(&answer).unwrap();
    assert_eq!(alice.agreed().len(), 1);
}

#[test]
fn rfc_9143_section_7_5_2_a_section_leaves_the_bundle_by_an_offer() {
    let (mut alice, mut bob) = established();
    let mut wishes = alice.local_media();
    wishes[1].bundled = false;
    assert_eq!(alice.offer(&wishes), Err(NegotiationError::NoTransport(1)), "it needs one of its own");
    wishes[1].transport = Some(LocalTransport { ice: Some(ice("alone")), tls_id: None, ..web(1008, 1) });
    let offer = alice.offer(&wishes).unwrap();
    assert_eq!((group(&offer), offer.media()[1].port), (vec!["0".to_owned()], 1008));
    let report = bob.handle_offer(&offer).unwrap();
    assert!(report.media[1].ice_restart && report.media[1].bundled_with.is_none());
    let mut answers = bob.local_media();
    answers[1].transport = Some(LocalTransport { ice: Some(ice("bobAlone")), ..web(2008, 2) });
    alice.handle_answer(&bob.answer(&answers).unwrap()).unwrap();
    assert_eq!((alice.agreed()[0].bundle, alice.agreed()[1].bundle), (Some(0), None));
}

#[test]
fn rfc_9143_section_18_3_a_new_section_may_be_tagged_and_the_transport_stays() {
    let (mut alice, mut bob) = established();
    let mut wishes = alice.local_media();
    wishes.push(video(web(1004, 1)));
    let offer = alice.offer(&wishes).unwrap();
    // The peer tags the new section and puts the bundle's attributes there.
    let text = offer.to_string().replace("BUNDLE 0 1 2", "BUNDLE 2 0 1");
    let lines: Vec<&str> = text.lines().collect();
    let of_transport = |line: &&str| {
        ["ice-", "candidate", "fingerprint", "setup", "tls-id", "rtcp-mux"]
            .iter()
            .any(|name| line.starts_with(&format!("a={name}")))
    };
    let moved: Vec<&str> = lines.iter().copied().filter(of_transport).collect();
    let kept = lines.iter().copied().filter(|line| !of_transport(line)).chain(moved).collect::<Vec<_>>().join("\n");
    let before = bob.local_transport(0).unwrap().clone();
    bob.handle_offer(&parse(&kept)).unwrap();
    let mut answers = bob.local_media();
    answers.push(video(web(2010, 2)));
    let answer = bob.answer(&answers).unwrap();
    assert_eq!(group(&answer), ["2 0 1"]);
    assert_eq!(bob.local_transport(2), Some(&before));
    let Security::Dtls { association, .. } = bob.agreed()[2].security else { panic!("DTLS") };
    assert_eq!(association, 1);
}
