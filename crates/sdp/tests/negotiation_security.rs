//! How media is protected: what is refused, what is never agreed, who starts DTLS and when. RFC 8842, RFC 4568, RFC 9429.

mod negotiate;

use farspeak_sdp::attribute::Setup;
use farspeak_sdp::*;
use negotiate::*;

fn secure() -> Capabilities {
    Capabilities::audio([Codec::pcmu()])
}

fn with_sdes() -> Capabilities {
    secure().security(SecurityPolicy::default().with_sdes())
}

fn offer(media: &str) -> Description {
    parse(&format!("v=0\no=- 9 9 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\n{media}"))
}

const PRINT: &str = "a=fingerprint:sha-256 \
    07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07\n";
const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR\n";

fn refusals(capabilities: Capabilities, signalling: Signalling, media: &str) -> Vec<Option<Refusal>> {
    let mut bob = side(capabilities, 2);
    bob.set_signalling(signalling);
    match bob.handle_offer(&offer(media)) {
        Ok(report) => report.media.iter().map(|media| media.refusal).collect(),
        Err(OfferError::NothingAcceptable(refusals)) => refusals.into_iter().map(Some).collect(),
        Err(error) => panic!("{error}"),
    }
}

fn role(side: &Negotiation) -> (DtlsRole, u32) {
    match &side.agreed()[0].security {
        Security::Dtls { role, association, .. } => (*role, *association),
        other => panic!("{other:?}"),
    }
}

#[test]
fn refuses_plain_rtp_unless_the_caller_chose_danger() {
    let media = "m=audio 1000 RTP/AVP 0\n";
    assert_eq!(refusals(secure(), Signalling::Secure, media), [Some(Refusal::Keying)]);
    assert_eq!(refusals(with_sdes(), Signalling::Secure, media), [Some(Refusal::Keying)]);
    assert_eq!(refusals(plain(secure()), Signalling::Insecure, media), [None]);
    let error = side(secure(), 1).offer(&[audio(at(1000))]);
    assert_eq!(error, Err(NegotiationError::NoKeying(0)), "and never offers it");
}

#[test]
fn refuses_sdes_unless_allowed_and_the_signalling_is_secure() {
    let media = format!("m=audio 1000 RTP/SAVP 0\n{KEY}");
    assert_eq!(refusals(secure(), Signalling::Secure, &media), [Some(Refusal::Keying)]);
    assert_eq!(refusals(with_sdes(), Signalling::Insecure, &media), [Some(Refusal::Keying)]);
    assert_eq!(refusals(with_sdes(), Signalling::Secure, &media), [None]);
    let danger = SecurityPolicy::default().dangerous().allow_sdes_over_insecure_signalling();
    assert_eq!(refusals(secure().security(danger), Signalling::Insecure, &media), [None]);
    assert_eq!(side(with_sdes(), 1).offer(&[audio(sdes(1000, 1))]), Err(NegotiationError::NoKeying(0)));
}

#[test]
fn prefers_dtls_where_the_offer_has_both() {
    let mut bob = side(with_sdes(), 2);
    bob.set_signalling(Signalling::Secure);
    let media = format!("m=audio 1000 RTP/SAVPF 0\n{KEY}{PRINT}a=setup:actpass\n");
    let report = bob.handle_offer(&offer(&media)).unwrap();
    assert_eq!(report.media[0].keying, Some(Keying::Dtls));
    let answer = bob.answer(&[audio(LocalTransport { crypto: sdes(1, 1).crypto, ..dtls(2000, 2) })]).unwrap();
    assert!(!answer.to_string().contains("a=crypto"));
    assert_eq!(answer.media()[0].protocol, Protocol::RtpSavpf, "RFC 9429 §5.1.2: the offer's profile to the letter");
}

#[test]
fn rfc_9429_section_5_1_2_a_fingerprint_counts_whatever_the_profile() {
    for protocol in ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF"] {
        let media = format!("m=audio 1000 {protocol} 0\n{PRINT}a=setup:actpass\n");
        assert_eq!(refusals(secure(), Signalling::Insecure, &media), [None], "{protocol}");
    }
    assert_eq!(refusals(secure(), Signalling::Secure, "m=audio 1000 UDP/TLS/RTP/SAVPF 0\n"), [Some(Refusal::Dtls)]);
    let parked = format!("m=audio 1000 UDP/TLS/RTP/SAVPF 0\n{PRINT}a=setup:holdconn\n");
    assert_eq!(refusals(secure(), Signalling::Secure, &parked), [Some(Refusal::Dtls)]);
}

#[test]
fn never_falls_back_from_the_offered_protection_in_the_answer() {
    let mut alice = side(plain(secure()).security(SecurityPolicy::default().dangerous().allow_plain_rtp()), 1);
    let mut bob = side(secure(), 2);
    bob.handle_offer(&alice.offer(&[audio(dtls(1000, 1))]).unwrap()).unwrap();
    let answer = bob.answer(&[audio(dtls(2000, 2))]).unwrap();
    assert_eq!(alice.handle_answer(&with(&answer, "UDP/TLS/RTP/SAVPF", "RTP/AVP")), Err(AnswerError::Protocol(0)));
    let bare: String =
        answer.to_string().lines().filter(|line| !line.contains("fingerprint")).map(|l| format!("{l}\n")).collect();
    assert_eq!(alice.handle_answer(&parse(&bare)), Err(AnswerError::NoFingerprint(0)));
}

#[test]
fn rfc_8842_section_5_3_roles_of_an_answer() {
    for (offered, answered, ours) in [
        (Some("actpass"), Setup::Active, DtlsRole::Active),
        (Some("active"), Setup::Passive, DtlsRole::Passive),
        (Some("passive"), Setup::Active, DtlsRole::Active),
        (None, Setup::Passive, DtlsRole::Passive), // RFC 4145 §4
    ] {
        let mut bob = side(secure(), 2);
        let setup = offered.map(|role| format!("a=setup:{role}\n")).unwrap_or_default();
        bob.handle_offer(&offer(&format!("m=audio 1000 UDP/TLS/RTP/SAVPF 0\n{PRINT}{setup}"))).unwrap();
        let answer = bob.answer(&[audio(dtls(2000, 2))]).unwrap();
        assert_eq!((answer.media()[0].setup(), role(&bob).0), (Some(answered), ours));
        assert_eq!(answer.media()[0].tls_id(), None, "the offer has none");
    }
}

#[test]
fn rfc_8842_section_5_4_roles_an_offerer_takes() {
    let mut alice = side(secure(), 1);
    let mut bob = side(secure(), 2);
    bob.handle_offer(&alice.offer(&[audio(dtls(1000, 1))]).unwrap()).unwrap();
    let answer = bob.answer(&[audio(dtls(2000, 2))]).unwrap();
    for wrong in ["actpass", "holdconn"] {
        let wrong = with(&answer, "setup:active", &format!("setup:{wrong}"));
        assert_eq!(alice.handle_answer(&wrong), Err(AnswerError::Setup(0)));
    }
    alice.handle_answer(&with(&answer, "a=setup:active\r\n", "")).unwrap();
    assert_eq!(role(&alice).0, DtlsRole::Active, "RFC 4145 §4: an answer without it is passive");
}

fn dtls_call() -> (Negotiation, Negotiation) {
    let (mut alice, mut bob) = (side(secure(), 1), side(secure(), 2));
    exchange(&mut alice, &[audio(dtls(1000, 1))], &mut bob, &[audio(dtls(2000, 2))]);
    (alice, bob)
}

#[test]
fn rfc_8842_section_3_1_a_new_tls_id_or_certificate_is_a_new_association() {
    let other_id = LocalTransport { tls_id: Some("x".repeat(20).into()), ..dtls(1004, 1) };
    let other_certificate = LocalTransport { fingerprints: vec![fingerprint(9)], ..other_id.clone() };
    for transport in [other_id, other_certificate] {
        let (mut alice, mut bob) = dtls_call();
        let report = bob.handle_offer(&alice.offer(&[audio(transport)]).unwrap()).unwrap();
        assert!(report.media[0].new_association);
        assert_eq!(bob.reanswer(), Err(NegotiationError::StaleTlsId(0)));
        let fresh = LocalTransport { tls_id: Some("y".repeat(20).into()), ..dtls(2004, 2) };
        alice.handle_answer(&bob.answer(&[audio(fresh)]).unwrap()).unwrap();
        assert_eq!((role(&alice), role(&bob)), ((DtlsRole::Passive, 2), (DtlsRole::Active, 2)));
    }
}

#[test]
fn rfc_8842_section_4_an_address_alone_is_one_only_without_tls_id_and_ice() {
    let (mut alice, mut bob) = dtls_call();
    exchange(&mut alice, &[audio(LocalTransport { port: 1004, ..dtls(1000, 1) })], &mut bob, &[audio(dtls(2000, 2))]);
    assert_eq!((role(&alice).1, role(&bob).1), (1, 1));
    let bare = |port, side| LocalTransport { tls_id: None, ..dtls(port, side) };
    let (mut alice, mut bob) = (side(secure(), 1), side(secure(), 2));
    exchange(&mut alice, &[audio(bare(1000, 1))], &mut bob, &[audio(bare(2000, 2))]);
    exchange(&mut alice, &[audio(bare(1000, 1))], &mut bob, &[audio(bare(2000, 2))]);
    assert_eq!((role(&alice).1, role(&bob).1), (1, 1));
    exchange(&mut alice, &[audio(bare(1004, 1))], &mut bob, &[audio(bare(2000, 2))]);
    assert_eq!((role(&alice).1, role(&bob).1), (2, 2));
}

#[test]
fn an_answer_cannot_change_the_role_of_an_association_that_goes_on() {
    let (mut alice, mut bob) = dtls_call();
    bob.handle_offer(&alice.reoffer().unwrap()).unwrap();
    let answer = bob.reanswer().unwrap();
    assert_eq!(alice.handle_answer(&with(&answer, "setup:active", "setup:passive")), Err(AnswerError::DtlsRole(0)));
}

fn sdes_call() -> (Negotiation, Negotiation) {
    let (mut alice, mut bob) = (side(with_sdes(), 1), side(with_sdes(), 2));
    alice.set_signalling(Signalling::Secure);
    bob.set_signalling(Signalling::Secure);
    (alice, bob)
}

#[test]
fn rfc_4568_section_5_1_the_answer_takes_one_offered_key() {
    let (mut alice, mut bob) = sdes_call();
    let (offer, answer) = exchange(&mut alice, &[audio(sdes(1000, 1))], &mut bob, &[audio(sdes(2000, 2))]);
    assert_eq!((offer.media()[0].cryptos().count(), answer.media()[0].cryptos().count()), (2, 1));
    assert_eq!(offer.media()[0].protocol, Protocol::RtpSavp);
    let (Security::Sdes { send, receive }, Security::Sdes { send: theirs, receive: ours }) =
        (&alice.agreed()[0].security, &bob.agreed()[0].security)
    else {
        panic!("SDES")
    };
    assert_eq!((send, receive), (ours, theirs));
}

#[test]
fn rfc_4568_section_5_1_3_other_answers_are_errors() {
    let (mut alice, mut bob) = sdes_call();
    bob.handle_offer(&alice.offer(&[audio(sdes(1000, 1))]).unwrap()).unwrap();
    let answer = bob.answer(&[audio(sdes(2000, 2))]).unwrap();
    let line = answer.media()[0].cryptos().next().unwrap().unwrap();
    let replaced = |line: String| {
        let mut answer = answer.clone();
        answer.media_mut()[0].remove_attributes("crypto");
        for line in line.lines() {
            answer.media_mut()[0].push_attribute("crypto", Some(line));
        }
        answer
    };
    let other = |tag, suite: &str| Crypto { tag, suite: suite.into(), ..line.clone() }.to_string();
    for wrong in [
        String::new(),
        other(3, CM_80),
        other(1, CM_32),
        format!("{line}\n{line}"),
        format!("{line} UNENCRYPTED_SRTP"),
        format!("{line} UNAUTHENTICATED_SRTP"),
    ] {
        assert_eq!(alice.handle_answer(&replaced(wrong.clone())), Err(AnswerError::Crypto(0)), "{wrong}");
    }
    assert_eq!(alice.handle_answer(&replaced(key(1, CM_80, 1).to_string())), Err(AnswerError::ReusedKey(0)));
    alice.handle_answer(&answer).unwrap();
}

#[test]
fn rfc_4568_section_7_1_2_never_answers_with_the_offered_key() {
    let (mut alice, mut bob) = sdes_call();
    bob.handle_offer(&alice.offer(&[audio(sdes(1000, 1))]).unwrap()).unwrap();
    assert_eq!(bob.answer(&[audio(sdes(2000, 1))]), Err(NegotiationError::ReusedKey(0)));
    assert_eq!(bob.state(), NegotiationState::RemoteOffer, "try again with another");
}

#[test]
fn rfc_4568_section_5_1_2_a_stream_without_a_usable_key_is_refused() {
    let (_, mut bob) = sdes_call();
    let media = format!("m=audio 1000 RTP/SAVP 0\n{}", KEY.replace("_80", "_80X"));
    bob.handle_offer(&offer(&media)).unwrap();
    assert_eq!(media_lines(&bob.answer(&[audio(sdes(2000, 2))]).unwrap()), ["m=audio 0 RTP/SAVP 0"]);
    let weak = format!("m=audio 1000 RTP/SAVP 0\n{} UNENCRYPTED_SRTP\n", KEY.trim());
    assert_eq!(refusals(with_sdes(), Signalling::Secure, &weak), [Some(Refusal::Crypto)]);
}

#[test]
fn encryption_that_is_offered_without_insisting_is_taken_and_plain_rtp_only_if_allowed() {
    let best_effort = |key: &str| offer(&format!("m=audio 1000 RTP/AVP 0\n{key}"));
    let policy = || SecurityPolicy::default().with_sdes();
    let (_, mut bob) = sdes_call();
    bob.handle_offer(&best_effort(KEY)).unwrap();
    assert_eq!(media_lines(&bob.answer(&[audio(sdes(2000, 2))]).unwrap()), ["m=audio 2000 RTP/AVP 0"]);
    assert!(matches!(bob.agreed()[0].security, Security::Sdes { .. }));
    // No suite in common: refused, or plain if that is allowed.
    let other = best_effort(&KEY.replace("_80", "_80X"));
    let (_, mut bob) = sdes_call();
    bob.handle_offer(&other).unwrap();
    assert_eq!(media_lines(&bob.answer(&[audio(sdes(2000, 2))]).unwrap()), ["m=audio 0 RTP/AVP 0"]);
    let mut bob = side(secure().security(policy().dangerous().allow_plain_rtp()), 2);
    bob.set_signalling(Signalling::Secure);
    bob.handle_offer(&other).unwrap();
    assert!(!bob.answer(&[audio(sdes(2000, 2))]).unwrap().media()[0].has_attribute("crypto"));
    assert_eq!(bob.agreed()[0].security, Security::None);
}

#[test]
fn a_later_offer_keeps_the_keying_in_use() {
    let (mut alice, mut bob) = sdes_call();
    let both = LocalTransport { crypto: sdes(1, 1).crypto, ..dtls(1000, 1) };
    let first = LocalMedia { keying: Some(Keying::Sdes), ..audio(both.clone()) };
    exchange(&mut alice, &[first], &mut bob, &[audio(sdes(2000, 2))]);
    let offer = alice.offer(&[audio(both)]).unwrap();
    assert_eq!(offer.media()[0].protocol, Protocol::RtpSavp);
    assert!(!offer.to_string().contains("fingerprint"));
}

#[test]
fn media_that_are_not_rtp_are_passed_through_if_the_caller_can_do_them() {
    let t38 = |security| {
        let mut capabilities = secure().security(security);
        let udptl = OtherCapability { kind: MediaKind::Image, protocol: Protocol::Udptl, formats: vec!["t38".into()] };
        capabilities.other.push(udptl);
        capabilities
    };
    let media = "m=image 4000 udptl t38\na=T38FaxVersion:0\n";
    assert_eq!(refusals(t38(SecurityPolicy::default()), Signalling::Secure, media), [Some(Refusal::Keying)]);
    let danger = || t38(SecurityPolicy::default().dangerous().allow_plain_rtp());
    let (mut alice, mut bob) = (side(danger(), 1), side(danger(), 2));
    let mut fax = LocalMedia::new(MediaKind::Image, at(4000));
    fax.attributes.push(("T38FaxVersion".into(), Some("0".into())));
    let (offer, answer) = exchange(&mut alice, &[fax.clone()], &mut bob, &[fax]);
    assert_eq!(media_lines(&offer), ["m=image 4000 udptl t38"]);
    assert_eq!(answer.media()[0].value("T38FaxVersion"), Some("0"));
    assert_eq!(alice.agreed()[0].formats, ["t38".into()]);
}

#[test]
fn data_channels_go_over_dtls_without_danger() {
    let mut capabilities = browser();
    capabilities.other.push(OtherCapability {
        kind: MediaKind::Application,
        protocol: Protocol::UdpDtlsSctp,
        formats: vec!["webrtc-datachannel".into()],
    });
    let (mut alice, mut bob) = (side(capabilities.clone(), 1), side(capabilities, 2));
    let data = LocalMedia::without_transport(MediaKind::Application);
    let list = |port, side| [audio(web(port, side)), data.clone()];
    exchange(&mut alice, &list(1000, 1), &mut bob, &list(2000, 2));
    assert_eq!((alice.agreed()[1].bundle, alice.agreed()[1].rtcp_mux), (Some(0), false));
    assert!(matches!(bob.agreed()[1].security, Security::Dtls { .. }));
}

#[test]
fn never_shows_keys_in_debug() {
    let (mut alice, mut bob) = sdes_call();
    let transport = LocalTransport { ice: Some(ice("secret")), ..sdes(1000, 77) };
    exchange(&mut alice, &[audio(transport.clone())], &mut bob, &[audio(sdes(2000, 78))]);
    let shown = format!("{alice:?} {:?} {:?} {:?}", alice.agreed(), alice.local_media(), alice.local_description());
    for secret in [&*transport.ice.unwrap().pwd, "TU1NTU", "TU5OTk", "77, 77", "78, 78"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn reserved_attributes_bad_ports_and_bad_credentials_are_the_callers_mistakes() {
    let mut alice = side(browser(), 1);
    let mut media = audio(web(1000, 1));
    media.attributes.push(("setup".into(), Some("active".into())));
    assert_eq!(alice.offer(&[media]), Err(NegotiationError::ReservedAttribute(0)));
    assert_eq!(alice.offer(&[audio(web(0, 1))]), Err(NegotiationError::Port(0)));
    let short = LocalTransport { ice: Some(IceParameters { pwd: "short".into(), ..ice("user") }), ..dtls(1, 1) };
    assert_eq!(alice.offer(&[audio(short)]), Err(NegotiationError::BadIceCredentials(0)));
    assert_eq!(
        alice.offer(&[LocalMedia { packet_time: Some(0), ..audio(web(1, 1)) }]),
        Err(NegotiationError::PacketTime(0))
    );
    assert_eq!(alice.offer(&vec![audio(web(1, 1)); 17]), Err(NegotiationError::TooManyMedia));
    assert_eq!(alice.state(), NegotiationState::Stable);
}

#[test]
fn hostile_offers_are_bounded() {
    let mut bob = side(phone(), 2);
    let many = offer(&"m=audio 1000 RTP/AVP 0\n".repeat(64));
    let report = bob.handle_offer(&many).unwrap();
    assert_eq!(report.media.iter().filter(|media| media.is_acceptable()).count(), 16);
    assert_eq!(report.media[16].refusal, Some(Refusal::TooMany));
    let wishes: Vec<_> = (0..64).map(|port| audio(at(2000 + 2 * port))).collect();
    assert_eq!(bob.answer(&wishes).unwrap().media().len(), 64);
    assert_eq!(bob.agreed().len(), 16);
    let twins = "a=group:BUNDLE a a a\nm=audio 1 RTP/AVP 0\na=mid:a\nm=audio 2 RTP/AVP 0\na=mid:a";
    assert_eq!(side(phone(), 3).handle_offer(&offer(twins)), Err(OfferError::DuplicateMid));
}
