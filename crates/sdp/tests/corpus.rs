//! What real clients send, and what the RFCs print, is read whole and written back byte for byte.

mod support;

use farspeak_sdp::attribute::{Direction, HashFunction, Setup};
use farspeak_sdp::{Description, Limits, Media, MediaKind, Protocol};
use support::corpus;

fn read(name: &str) -> Description {
    let (_, bytes) = corpus().into_iter().find(|(other, _)| other == name).expect("it is in the corpus");
    Description::parse(&bytes, &Limits::default()).unwrap()
}

fn encodings(media: &Media) -> Vec<&str> {
    media.payload_types().map(|payload_type| media.rtpmap(payload_type).map_or("?", |map| map.encoding)).collect()
}

#[test]
fn every_recording_is_written_as_it_came() {
    for (name, bytes) in corpus() {
        let description =
            Description::parse(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(description.to_bytes(), bytes, "{name}");
        assert_eq!(description.to_string().as_bytes(), bytes, "{name}");
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let kept =
            description.lines().count() + description.media().iter().map(|m| 1 + m.lines().count()).sum::<usize>();
        assert_eq!(kept, lines, "{name}");
    }
}

#[test]
fn every_typed_attribute_of_every_recording_can_be_read() {
    for (name, bytes) in corpus() {
        // The RFC forgot the clock rate of its `a=rtpmap:97 telephone-events`.
        if name == "rfc5888/8.4.1-5" {
            continue;
        }
        let description = Description::parse(&bytes, &Limits::default()).unwrap();
        for media in description.media() {
            let count = |attribute: &str| media.attributes().filter(|(other, _)| *other == attribute).count();
            assert_eq!(media.rtpmaps().count(), count("rtpmap"), "{name}");
            assert_eq!(media.fmtps().count(), count("fmtp"), "{name}");
            assert_eq!(media.rtcp_fbs().count(), count("rtcp-fb"), "{name}");
            assert_eq!(media.cryptos().filter(Result::is_ok).count(), count("crypto"), "{name}");
            assert_eq!(media.fingerprints().count(), count("fingerprint"), "{name}");
            assert_eq!(media.extmaps().count(), count("extmap"), "{name}");
            assert_eq!(media.ssrcs().count(), count("ssrc"), "{name}");
            assert_eq!(media.ssrc_groups().count(), count("ssrc-group"), "{name}");
            assert_eq!(media.msids().count(), count("msid"), "{name}");
            assert_eq!(media.rids().count(), count("rid"), "{name}");
            assert_eq!(media.simulcast().is_some(), media.has_attribute("simulcast"), "{name}");
            assert_eq!(media.setup().is_some(), media.has_attribute("setup"), "{name}");
            assert_eq!(media.rtcp().is_some(), media.has_attribute("rtcp"), "{name}");
            assert_eq!(media.ptime().is_some(), media.has_attribute("ptime"), "{name}");
            assert_eq!(media.candidates().count(), count("candidate"), "{name}");
            assert!(media.connections().all(|connection| connection.is_ok()), "{name}");
        }
        assert!(description.timings().all(|timing| timing.is_ok()), "{name}");
    }
}

#[test]
fn chromium_offers_simulcast() {
    let offer = read("chromium/simulcast-max-bundle-offer");
    let [audio, video] = offer.media() else { panic!("two streams") };
    assert_eq!((audio.direction(), video.direction()), (Some(Direction::RecvOnly), Some(Direction::SendOnly)));
    let simulcast = video.simulcast().unwrap();
    let streams: Vec<_> =
        simulcast.send.iter().map(|alternatives| (alternatives[0].rid, alternatives[0].paused)).collect();
    assert_eq!(streams, [("h", false), ("m", false), ("l", true)]);
    assert_eq!(video.rids().map(|rid| rid.id).collect::<Vec<_>>(), ["h", "m", "l"]);
    assert!(offer.groups().next().unwrap().is_bundle());
    assert_eq!(offer.media_of_mid("1").map(|(index, media)| (index, media.mid())), Some((1, Some("1"))));
    assert!(video.extmaps().any(|extmap| extmap.uri.ends_with("rtp-stream-id")) && offer.extmap_allow_mixed());
    assert_eq!(video.fingerprints().next().unwrap().hash, HashFunction::Sha256);
}

#[test]
fn browsers_describe_data_channels() {
    for browser in ["chromium", "firefox"] {
        let offer = read(&format!("{browser}/data-offer"));
        let [data] = offer.media() else { panic!("one stream") };
        assert_eq!((&data.kind, &data.protocol), (&MediaKind::Application, &Protocol::UdpDtlsSctp));
        assert_eq!((data.sctp_port(), &*data.formats[0]), (Some(5000), "webrtc-datachannel"));
        assert!(data.max_message_size().is_some() && data.setup() == Some(Setup::ActPass));
        assert!(!data.protocol.is_rtp() && data.protocol.is_secure() && data.protocol.is_sctp());
    }
}

#[test]
fn firefox_states_its_fingerprint_for_the_session() {
    let offer = read("firefox/hold-stop-add-reoffer");
    assert_eq!((offer.fingerprints().count(), offer.media()[0].fingerprints().count()), (1, 0));
    assert_eq!(offer.media().iter().map(Media::is_rejected).collect::<Vec<_>>(), [false, true, false, false]);
    assert_eq!(offer.media()[0].direction(), Some(Direction::SendOnly));
}

#[test]
fn phones_offer_sdes() {
    let offer = read("linphone/srtp-avpf-offer");
    let [audio] = offer.media() else { panic!("one stream") };
    let lengths: Vec<_> = audio.cryptos().map(|crypto| crypto.unwrap().key_params[0].key_salt.len()).collect();
    assert_eq!((&audio.protocol, lengths), (&Protocol::RtpSavp, vec![30, 30, 46, 46]));
    assert_eq!(encodings(audio)[3..6], ["PCMU", "PCMA", "G729"]);
    assert_eq!(audio.rtpmap(101).map(|map| (map.encoding, map.clock_rate)), Some(("telephone-event", 8000)));
}

#[test]
fn a_proxy_that_takes_codecs_out_may_leave_a_stream_without_any() {
    let offer = read("kamailio/codecs-filtered-baresip-offer");
    assert_eq!(encodings(&offer.media()[0]), ["PCMU", "PCMA", "telephone-event"]);
    assert!(offer.media()[1].formats.is_empty());
}
