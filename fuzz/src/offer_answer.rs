//! A peer's descriptions, whatever they are, as offers and as answers in every state: nothing panics, every answer fits its
//! offer, and nothing is agreed that the policy does not allow.

use farspeak_sdp::attribute::{HashFunction, KeyParam};
use farspeak_sdp::{
    Bundle, Capabilities, Codec, Crypto, Description, Fingerprint, IceParameters, Keying, Limits, LocalMedia,
    LocalTransport, MediaKind, Negotiation, NegotiationState, Origin, OtherCapability, Protocol, RtcpMux, Security,
    SecurityPolicy, Signalling,
};

/// The first byte chooses what this side can do; the rest is descriptions with NULs between them.
pub fn fuzz(data: &[u8]) {
    let Some((style, rest)) = data.split_first() else { return };
    let mut session = Session::new(*style);
    for text in rest.split(|byte| *byte == 0).take(6) {
        let Ok(description) = Description::parse(text, &Limits::default()) else { continue };
        session.as_answer(&description);
        session.as_offer(&description);
    }
}

struct Session {
    style: u8,
    negotiation: Negotiation,
    /// Makes credentials new.
    fresh: u32,
    version: u64,
}

impl Session {
    fn new(style: u8) -> Self {
        let vp8 = Codec::new("VP8", 90000).feedback("nack").feedback("nack pli").retransmission();
        let h264 =
            Codec::new("H264", 90000).fmtp("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1");
        let amr = Codec::new("AMR", 8000).fmtp("octet-align=1");
        let mut capabilities =
            Capabilities::audio([Codec::opus(), Codec::pcmu(), Codec::pcma(), amr]).video([vp8, h264]);
        capabilities.rtp[0].extensions.push("urn:ietf:params:rtp-hdrext:sdes:mid".into());
        let policy = SecurityPolicy::default();
        capabilities.security = match style & 3 {
            0 => policy,
            1 => policy.with_sdes(),
            2 => policy.with_sdes().dangerous().allow_plain_rtp(),
            _ => policy.dangerous().allow_plain_rtp().only(Keying::Plain),
        };
        capabilities.bundle = [Bundle::Off, Bundle::Accept, Bundle::Offer, Bundle::Offer][usize::from(style >> 2 & 3)];
        capabilities.rtcp_mux =
            [RtcpMux::Off, RtcpMux::Negotiate, RtcpMux::Negotiate, RtcpMux::Require][usize::from(style >> 4 & 3)];
        let data = |protocol| OtherCapability { kind: MediaKind::Application, protocol, formats: vec!["*".into()] };
        capabilities.other = vec![data(Protocol::UdpDtlsSctp), data(Protocol::Udptl)];
        let mut negotiation = Negotiation::new(capabilities, Origin::new(1, 1, [192, 0, 2, 1].into()));
        negotiation.set_signalling(if style & 0x40 == 0 { Signalling::Secure } else { Signalling::Insecure });
        Self { style, negotiation, fresh: 0, version: 1 }
    }

    fn transport(&mut self) -> LocalTransport {
        self.fresh += 1;
        let number = self.fresh;
        let mut transport = LocalTransport::new([192, 0, 2, 1].into(), 10_000 + (number % 20_000) as u16 * 2);
        transport.fingerprints = vec![Fingerprint { hash: HashFunction::Sha256, bytes: vec![1; 32] }];
        transport.tls_id = Some(format!("{number:024}").into());
        let mut key_salt = vec![0xa5; 30];
        key_salt[..4].copy_from_slice(&number.to_be_bytes());
        let suite = "AES_CM_128_HMAC_SHA1_80".into();
        transport.crypto =
            vec![Crypto { tag: 1, suite, key_params: vec![KeyParam::new(key_salt)], session_params: Vec::new() }];
        transport.ice = (self.style & 0x80 != 0).then(|| IceParameters {
            ufrag: format!("u{number:06}").into(),
            pwd: format!("{number:024}").into(),
            options: vec!["trickle".into()],
            ..IceParameters::default()
        });
        transport
    }

    /// Audio and video, or what there is already; ICE restarts each time.
    fn offer(&mut self) -> Option<Description> {
        let mut wishes = self.negotiation.local_media();
        for wish in wishes.iter_mut().filter(|wish| wish.enabled) {
            wish.transport = Some(self.transport());
        }
        if wishes.iter().all(|wish| !wish.enabled) && wishes.len() < 8 {
            wishes.push(LocalMedia::new(MediaKind::Audio, self.transport()));
            wishes.push(LocalMedia::without_transport(MediaKind::Video));
            wishes[0].enabled = true;
        }
        let offer = self.negotiation.offer(&wishes).ok()?;
        self.sent(&offer);
        Some(offer)
    }

    fn as_answer(&mut self, answer: &Description) {
        assert!(self.negotiation.handle_answer(answer).is_err(), "there is no offer");
        let before = self.negotiation.agreed().to_vec();
        let Some(offer) = self.offer() else {
            assert_eq!(self.negotiation.state(), NegotiationState::Stable);
            return;
        };
        assert!(self.negotiation.handle_offer(answer).is_err(), "glare");
        match self.negotiation.handle_answer(answer) {
            Ok(()) => {
                assert_eq!(answer.media().len(), offer.media().len());
                self.agreed(answer);
            }
            Err(error) => {
                let _ = error.to_string();
                assert_eq!(self.negotiation.agreed(), before);
                self.negotiation.rollback().expect("the offer still waits");
                assert_eq!(self.negotiation.agreed(), before);
            }
        }
    }

    fn as_offer(&mut self, offer: &Description) {
        let count = self.negotiation.media_count();
        let mut other = self.negotiation.clone();
        if let Ok(answer) = other.refuse(offer) {
            assert!(answer.media().iter().all(|media| media.port == 0) && other.agreed().is_empty());
        }
        let report = match self.negotiation.handle_offer(offer) {
            Ok(report) => report,
            Err(error) => {
                let _ = (error.to_string(), error.warning());
                assert!([488, 491, 500].contains(&error.status()));
                assert_eq!(self.negotiation.state(), NegotiationState::Stable);
                return;
            }
        };
        assert_eq!(report.media.len(), offer.media().len());
        assert!(self.negotiation.handle_offer(offer).is_err(), "one at a time");
        let wishes: Vec<_> = report
            .media
            .iter()
            .map(|media| match media.bundled_with {
                Some(tagged) if tagged != media.index => LocalMedia::without_transport(media.kind.clone()),
                _ => LocalMedia::new(media.kind.clone(), self.transport()),
            })
            .collect();
        // As there is, with new transports, and not at all: one of them always goes.
        let answer = self.negotiation.reanswer().or_else(|_| self.negotiation.answer(&wishes));
        let answer = answer.unwrap_or_else(|_| self.negotiation.answer(&[]).expect("nothing is always an answer"));
        self.sent(&answer);
        assert_eq!(answer.media().len(), offer.media().len());
        assert!(self.negotiation.media_count() >= count, "sections never shrink");
        for (ours, theirs) in answer.media().iter().zip(offer.media()) {
            assert_eq!((&ours.kind, &ours.protocol), (&theirs.kind, &theirs.protocol));
            assert!(!theirs.is_rejected() || ours.is_rejected());
            if let (true, Some(mid)) = (ours.port != 0, ours.mid()) {
                assert_eq!(Some(mid), theirs.mid());
            }
        }
        self.agreed(offer);
    }

    /// What is true of all that this side sends.
    fn sent(&mut self, description: &Description) {
        let text = description.to_bytes();
        let room = Limits { max_bytes: usize::MAX, max_lines: usize::MAX, ..Limits::default() };
        assert_eq!(&Description::parse(&text, &room).expect("what is sent can be read"), description);
        let version = description.origin().version;
        assert!(version == self.version || version == self.version + 1);
        self.version = version;
    }

    /// What is true of all that is agreed with this description of the peer.
    fn agreed(&self, remote: &Description) {
        let policy = &self.negotiation.capabilities().security;
        let mut last = None;
        for media in self.negotiation.agreed() {
            assert!(last.replace(media.index) < Some(media.index) && media.index < remote.media().len());
            assert!(!remote.media()[media.index].is_rejected());
            let (keying, allowed) = match &media.security {
                Security::None => (Keying::Plain, !media.protocol.is_dtls()),
                Security::Sdes { send, receive } => (Keying::Sdes, send.key_params != receive.key_params),
                Security::Dtls { fingerprints, .. } => (Keying::Dtls, !fingerprints.is_empty()),
            };
            assert!(allowed && policy.order().contains(&keying), "{keying:?}");
            assert_eq!(media.protocol.is_rtp(), media.formats.is_empty());
            let _ = (media.sends(), media.receives(), media.is_held_by_peer());
            for codec in &media.codecs {
                assert!(media.telephone_event(codec).is_none_or(|event| event.clock_rate == codec.clock_rate));
            }
            if let Some(tagged) = media.bundle {
                assert!(self.negotiation.agreed().iter().any(|other| other.index == tagged));
            }
            assert!(self.negotiation.local_transport(media.index).is_some());
        }
    }
}
