//! What the tests of offer and answer share: two sides, their transports, and descriptions as lines.
#![allow(dead_code)] // each test file uses a part of it

use farspeak_sdp::attribute::{HashFunction, KeyParam};
use farspeak_sdp::*;

pub fn parse(text: &str) -> Description {
    let text: String = text.trim().lines().map(|line| format!("{}\r\n", line.trim())).collect();
    Description::parse(text.as_bytes(), &Limits::default()).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

/// Through the wire: what the peer reads is what was written.
pub fn sent(description: &Description) -> Description {
    let mut bytes = Vec::new();
    description.write(&mut bytes);
    Description::parse(&bytes, &Limits::default()).unwrap()
}

pub fn plain(capabilities: Capabilities) -> Capabilities {
    let policy = SecurityPolicy::default().dangerous().allow_plain_rtp().only(Keying::Plain);
    capabilities.security(policy)
}

pub fn host(name: &str) -> Connection {
    Connection { address: name.into(), ..Connection::new("192.0.2.1".parse().unwrap()) }
}

pub fn at(port: u16) -> LocalTransport {
    LocalTransport::new("192.0.2.1".parse().unwrap(), port)
}

pub fn fingerprint(byte: u8) -> Fingerprint {
    Fingerprint { hash: HashFunction::Sha256, bytes: vec![byte; 32] }
}

/// DTLS with a certificate and a tls-id that tell the sides apart.
pub fn dtls(port: u16, side: u8) -> LocalTransport {
    LocalTransport { fingerprints: vec![fingerprint(side)], tls_id: Some(format!("{side:020}").into()), ..at(port) }
}

/// DTLS and ICE, as a browser has them.
pub fn web(port: u16, side: u8) -> LocalTransport {
    LocalTransport { ice: Some(ice(&format!("side{side}"))), ..dtls(port, side) }
}

pub fn ice(name: &str) -> IceParameters {
    IceParameters {
        ufrag: name.into(),
        pwd: format!("{name:0>22}").into(),
        options: vec!["trickle".into(), "ice2".into()],
        candidates: vec!["1 1 UDP 2130706431 192.0.2.1 40000 typ host".into()],
        ..IceParameters::default()
    }
}

pub fn key(tag: u32, suite: &str, byte: u8) -> Crypto {
    Crypto { tag, suite: suite.into(), key_params: vec![KeyParam::new(vec![byte; 30])], session_params: Vec::new() }
}

pub const CM_80: &str = "AES_CM_128_HMAC_SHA1_80";
pub const CM_32: &str = "AES_CM_128_HMAC_SHA1_32";

pub fn sdes(port: u16, byte: u8) -> LocalTransport {
    LocalTransport { crypto: vec![key(1, CM_80, byte), key(2, CM_32, byte + 100)], ..at(port) }
}

pub fn audio(transport: LocalTransport) -> LocalMedia {
    LocalMedia::new(MediaKind::Audio, transport)
}

pub fn video(transport: LocalTransport) -> LocalMedia {
    LocalMedia::new(MediaKind::Video, transport)
}

pub fn side(capabilities: Capabilities, number: u64) -> Negotiation {
    Negotiation::new(capabilities, Origin::new(number, 1, "192.0.2.1".parse().unwrap()))
}

/// A phone without any frills: plain RTP, separate RTCP, no bundles.
pub fn phone() -> Capabilities {
    let capabilities = Capabilities::audio([Codec::pcmu(), Codec::pcma()]).video([h261()]);
    plain(capabilities).rtcp_mux(RtcpMux::Off).bundle(Bundle::Off)
}

pub fn h261() -> Codec {
    Codec::new("H261", 90000)
}

pub fn mpv() -> Codec {
    Codec::new("MPV", 90000)
}

/// What a browser can do.
pub fn browser() -> Capabilities {
    let vp8 = Codec::new("VP8", 90000).feedback("nack").feedback("nack pli").retransmission();
    let mut capabilities = Capabilities::audio([Codec::opus(), Codec::pcmu()])
        .video([vp8])
        .bundle(Bundle::Offer)
        .rtcp_mux(RtcpMux::Require);
    for capability in &mut capabilities.rtp {
        capability.extensions.push("urn:ietf:params:rtp-hdrext:sdes:mid".into());
    }
    capabilities
}

/// One complete exchange.
pub fn exchange(
    offerer: &mut Negotiation,
    offered: &[LocalMedia],
    answerer: &mut Negotiation,
    answered: &[LocalMedia],
) -> (Description, Description) {
    let offer = sent(&offerer.offer(offered).unwrap());
    answerer.handle_offer(&offer).unwrap_or_else(|error| panic!("{error}\n{offer}"));
    let answer = sent(&answerer.answer(answered).unwrap());
    offerer.handle_answer(&answer).unwrap_or_else(|error| panic!("{error}\n{offer}\n{answer}"));
    (offer, answer)
}

pub fn media_lines(description: &Description) -> Vec<String> {
    description.to_string().lines().filter(|line| line.starts_with("m=")).map(str::to_owned).collect()
}

/// The text with one line replaced, as a description.
pub fn with(description: &Description, from: &str, to: &str) -> Description {
    let text = description.to_string();
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    parse(&text.replace(from, to))
}
