//! Offers of real clients, recorded, as a side that can do what a bridge can: what is accepted, and what later offers of the
//! same session keep.

mod negotiate;

use farspeak_sdp::*;
use negotiate::*;

fn recording(name: &str) -> Description {
    let path = format!("{}/tests/data/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    Description::parse(&std::fs::read(path).unwrap(), &Limits::default()).unwrap()
}

fn bridge() -> Negotiation {
    let h264 = Codec::new("H264", 90000).fmtp("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1");
    let vp8 = Codec::new("VP8", 90000).feedback("nack pli").retransmission();
    let mut capabilities = Capabilities::audio([Codec::opus(), Codec::pcma(), Codec::pcmu()]).video([vp8, h264]);
    capabilities.security = SecurityPolicy::default().with_sdes().dangerous().allow_plain_rtp();
    let formats = vec!["webrtc-datachannel".into()];
    let data = OtherCapability { kind: MediaKind::Application, protocol: Protocol::UdpDtlsSctp, formats };
    capabilities.other.push(data);
    let mut bridge = side(capabilities, 2);
    bridge.set_signalling(Signalling::Secure);
    bridge
}

fn everything(port: u16, name: &str) -> LocalTransport {
    LocalTransport { crypto: sdes(port, 9).crypto, ice: Some(ice(name)), ..dtls(port, 2) }
}

/// Takes all that can be taken; a section that is to be bundled brings no transport.
fn accept(bridge: &mut Negotiation, offer: &Description, name: &str) -> Description {
    let report = bridge.handle_offer(offer).unwrap_or_else(|error| panic!("{error}"));
    let mut wishes = bridge.local_media();
    for media in &report.media {
        let bundled = media.bundled_with.is_some_and(|tagged| tagged != media.index);
        let transport = (!bundled).then(|| everything(4000 + 2 * media.index as u16, name));
        match wishes.get_mut(media.index) {
            Some(wish) if wish.enabled && !media.is_new => {
                if media.ice_restart && !bundled {
                    wish.transport = transport;
                }
            }
            _ => {
                let wish = LocalMedia { transport, ..LocalMedia::without_transport(media.kind.clone()) };
                wishes.truncate(media.index);
                wishes.push(wish);
            }
        }
    }
    bridge.answer(&wishes).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn browsers_hold_stop_add_and_restart_within_one_bundle() {
    for browser in ["chromium", "firefox"] {
        let mut bridge = bridge();
        let answer = accept(&mut bridge, &recording(&format!("{browser}/av-data-offer")), "first");
        assert_eq!(answer.groups().next().unwrap().mids, ["0", "1", "2"], "{browser}");
        assert!(bridge.agreed().iter().all(|media| media.bundle == Some(0)));
        assert!(bridge.agreed()[1].codecs[0].retransmission.is_some());

        let answer = accept(&mut bridge, &recording(&format!("{browser}/hold-stop-add-reoffer")), "first");
        assert_eq!(answer.groups().next().unwrap().mids, ["0", "2", "3"], "{browser}");
        assert_eq!(answer.media()[0].direction(), Some(Direction::RecvOnly));
        assert!(answer.media()[1].is_rejected() && bridge.agreed()[0].is_held_by_peer());
        assert_eq!(answer.media()[3].direction(), Some(Direction::SendOnly));
        assert_eq!(answer.media()[0].ice_ufrag(), Some("first"));

        let offer = recording(&format!("{browser}/ice-restart-offer"));
        let answer = accept(&mut bridge, &offer, "second");
        assert_eq!(answer.media()[0].ice_ufrag(), Some("second"));
        for media in bridge.agreed() {
            assert!(media.ice.as_ref().unwrap().restarted);
            assert!(matches!(media.security, Security::Dtls { role: DtlsRole::Active, association: 1, .. }));
        }
    }
}

#[test]
fn data_channels_alone_are_a_bundle_of_one() {
    for browser in ["chromium", "firefox"] {
        let mut bridge = bridge();
        let answer = accept(&mut bridge, &recording(&format!("{browser}/data-offer")), "data");
        assert_eq!(answer.groups().next().unwrap().mids, ["0"], "{browser}");
        assert_eq!(bridge.agreed()[0].formats, ["webrtc-datachannel".into()]);
    }
}

#[test]
fn a_max_bundle_offer_is_accepted_whole() {
    for browser in ["chromium", "firefox"] {
        let mut bridge = bridge();
        let offer = recording(&format!("{browser}/simulcast-max-bundle-offer"));
        let answer = accept(&mut bridge, &offer, "bundle");
        assert!(answer.media().iter().all(|media| !media.is_rejected() && !media.bundle_only()), "{browser}");
        assert!(bridge.agreed().iter().all(|media| media.bundle == Some(0)));
    }
}

#[test]
fn phones_get_the_protection_that_they_offer() {
    let keying = |name: &str| {
        let mut bridge = bridge();
        let answer = accept(&mut bridge, &recording(name), "phone");
        assert!(answer.media().iter().any(|media| !media.is_rejected()), "{name}");
        match bridge.agreed()[0].security {
            Security::None => Keying::Plain,
            Security::Sdes { .. } => Keying::Sdes,
            Security::Dtls { .. } => Keying::Dtls,
        }
    };
    for (name, expected) in [
        ("baresip/plain-offer", Keying::Plain),
        ("baresip/srtp-offer", Keying::Sdes),
        ("baresip/srtp-mand-offer", Keying::Sdes),
        ("baresip/dtls_srtp-offer", Keying::Dtls),
        ("baresip/dtls_srtp-ice-offer", Keying::Dtls),
        ("linphone/plain-offer", Keying::Plain),
        ("linphone/srtp-avpf-offer", Keying::Sdes),
        ("linphone/dtls-ice-video-offer", Keying::Dtls),
        ("sipp/uac-offer", Keying::Plain),
    ] {
        assert_eq!(keying(name), expected, "{name}");
    }
}

#[test]
fn ice_lite_is_stated_for_the_session_and_seen_in_the_peer() {
    let mut lite = bridge();
    lite.handle_offer(&recording("chromium/audio-offer")).unwrap();
    let transport = LocalTransport { ice: Some(IceParameters { lite: true, ..ice("lite") }), ..dtls(4000, 2) };
    let answer = lite.answer(&[audio(transport)]).unwrap();
    assert!(answer.ice_lite() && !lite.agreed()[0].ice.as_ref().unwrap().remote.lite);
    assert!(lite.agreed()[0].ice.as_ref().unwrap().remote.is_trickle());
}

#[test]
fn ice_pacing_is_stated_for_the_session_and_never_by_a_lite_side() {
    let stated = |lite, pacing| {
        let mut ours = bridge();
        ours.handle_offer(&recording("chromium/audio-offer")).unwrap();
        let ice = IceParameters { lite, pacing, ..ice("pace") };
        let answer = ours.answer(&[audio(LocalTransport { ice: Some(ice), ..dtls(4000, 2) })]).unwrap();
        assert!(answer.media().iter().all(|media| media.value("ice-pacing").is_none()));
        answer.ice_pacing()
    };
    assert_eq!(stated(false, Some(20)), Some(20));
    assert_eq!(stated(false, None), None);
    assert_eq!(stated(true, Some(20)), None, "it makes no checks (RFC 8839 §4.3.2)");
}
