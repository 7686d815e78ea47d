//! What this side can do and what it insists on: the configuration of a [`Negotiation`](super::Negotiation).

use crate::{Description, Media, MediaKind, Origin, Protocol};

use super::codec::Codec;
use super::security::{Keying, SecurityPolicy};

/// What this side can do. Offers are made from it, and what others offer is answered by it.
///
/// ```
/// use farspeak_sdp::{Capabilities, Codec};
/// let phone = Capabilities::audio([Codec::opus(), Codec::pcma(), Codec::pcmu()]);
/// assert!(phone.security.order().len() == 1, "DTLS-SRTP and nothing else");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Kinds of media over RTP; of several entries for one kind the first counts.
    pub rtp: Vec<RtpCapability>,
    /// Media that are not RTP (T.38, data channels, MSRP), which the negotiation passes through without reading their
    /// attributes. Default none: such `m=` lines are refused by port 0.
    pub other: Vec<OtherCapability>,
    /// How media must be protected. Default: DTLS-SRTP only.
    pub security: SecurityPolicy,
    /// RTP and RTCP on one port (RFC 5761). Default [`RtcpMux::Negotiate`].
    pub rtcp_mux: RtcpMux,
    /// Several streams over one transport (RFC 9143). Default [`Bundle::Accept`].
    pub bundle: Bundle,
    /// The DTLS role to answer with if the offerer leaves the choice. Default [`DtlsRole::Active`]: it saves a round trip,
    /// RFC 9429 §5.3.1 wants it.
    pub dtls_role: DtlsRole,
    /// Most `m=` lines that are accepted or offered; those behind are refused. Default 16.
    pub max_media: usize,
}

/// What this side can do with one kind of media over RTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpCapability {
    /// Kind of media.
    pub kind: MediaKind,
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
    /// Telephone events (RFC 4733) that this side can receive, as in `fmtp`: `0-15` or `0-16,70`. They are offered and
    /// accepted at the clock rate of each codec. Default `0-15` for audio; `None` for no events.
    pub events: Option<Box<str>>,
    /// RTP header extensions (RFC 8285) by URI. An answer takes those that were offered, with the offer's numbers.
    /// Default none. For bundled media `urn:ietf:params:rtp-hdrext:sdes:mid` is advisable (RFC 9143 §15).
    pub extensions: Vec<Box<str>>,
}

/// A kind of media that is not RTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherCapability {
    /// Kind of media.
    pub kind: MediaKind,
    /// Protocol. One without encryption is used only if the policy allows [`Keying::Plain`].
    pub protocol: Protocol,
    /// Formats, such as `t38` or `webrtc-datachannel`; `*` takes any.
    pub formats: Vec<Box<str>>,
}

/// RTP and RTCP on one port. RFC 5761, RFC 8858.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RtcpMux {
    /// Never: streams that insist on it are refused.
    Off,
    /// Offered, and accepted if offered.
    #[default]
    Negotiate,
    /// Insisted on, as browsers do: `rtcp-mux-only` in offers, and streams without it are refused.
    Require,
}

/// Several streams over one transport. RFC 9143.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Bundle {
    /// Never.
    Off,
    /// Accepted if offered, and kept in later offers.
    #[default]
    Accept,
    /// Offered for all media.
    Offer,
}

/// Who starts the DTLS handshake. RFC 8842 §5, RFC 4145 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// This side sends the ClientHello.
    Active,
    /// This side waits for it.
    Passive,
}

impl DtlsRole {
    /// The other side's role.
    pub fn reversed(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
        }
    }
}

impl Capabilities {
    /// No media at all, and the secure defaults.
    pub fn none() -> Self {
        Self {
            rtp: Vec::new(),
            other: Vec::new(),
            security: SecurityPolicy::default(),
            rtcp_mux: RtcpMux::default(),
            bundle: Bundle::default(),
            dtls_role: DtlsRole::Active,
            max_media: 16,
        }
    }

    /// Audio with these codecs in order of preference, telephone events, and the secure defaults.
    pub fn audio(codecs: impl IntoIterator<Item = Codec>) -> Self {
        let mut capabilities = Self::none();
        capabilities.rtp.push(RtpCapability::new(MediaKind::Audio, codecs));
        capabilities
    }

    /// The same with video by these codecs.
    pub fn video(mut self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        self.rtp.push(RtpCapability::new(MediaKind::Video, codecs));
        self
    }

    /// The same with this policy of protecting media.
    pub fn security(mut self, security: SecurityPolicy) -> Self {
        self.security = security;
        self
    }

    /// The same with this use of one transport for several streams.
    pub fn bundle(mut self, bundle: Bundle) -> Self {
        self.bundle = bundle;
        self
    }

    /// The same with this use of one port for RTP and RTCP.
    pub fn rtcp_mux(mut self, rtcp_mux: RtcpMux) -> Self {
        self.rtcp_mux = rtcp_mux;
        self
    }

    /// A description of the capabilities, for the answer to an OPTIONS: every port is 0. RFC 3264 §9.
    pub fn describe(&self, origin: Origin) -> Description {
        let mut description = Description::new(origin);
        let keying = self.security.order().first().copied().unwrap_or(Keying::Dtls);
        for capability in &self.rtp {
            let feedback = capability.codecs.iter().any(|codec| !codec.feedback.is_empty());
            let mut media = Media::new(capability.kind.clone(), 0, keying.protocol(feedback));
            let mut free = (96..=127).chain(35..=63);
            let clocks = capability.event_codecs(&capability.codecs);
            for codec in capability.codecs.iter().chain(&clocks) {
                let taken = |number: u8| media.formats.iter().any(|format| **format == *number.to_string());
                let Some(number) =
                    codec.payload_type.filter(|number| !taken(*number)).or_else(|| free.find(|n| !taken(*n)))
                else {
                    break;
                };
                super::write::format(&mut media, number, codec, codec.fmtp.as_deref());
            }
            description.media_mut().push(media);
        }
        for capability in &self.other {
            let mut media = Media::new(capability.kind.clone(), 0, capability.protocol.clone());
            media.formats = capability.formats.clone();
            description.media_mut().push(media);
        }
        description
    }

    pub(crate) fn rtp(&self, kind: &MediaKind) -> Option<&RtpCapability> {
        self.rtp.iter().find(|capability| capability.kind == *kind)
    }
}

impl RtpCapability {
    /// These codecs in order of preference; with telephone events if it is audio.
    pub fn new(kind: MediaKind, codecs: impl IntoIterator<Item = Codec>) -> Self {
        let events = (kind == MediaKind::Audio).then(|| "0-15".into());
        Self { kind, codecs: codecs.into_iter().collect(), events, extensions: Vec::new() }
    }

    /// Telephone events at each clock rate of these codecs, each rate once: the events share the codec's timestamps
    /// (RFC 4733 §2.1), so that a codec at another rate needs events at that rate.
    pub(crate) fn event_codecs(&self, codecs: &[Codec]) -> Vec<Codec> {
        let Some(events) = &self.events else { return Vec::new() };
        let mut clocks: Vec<u32> = Vec::new();
        for codec in codecs.iter().filter(|codec| !codec.is_auxiliary()) {
            if !clocks.contains(&codec.clock_rate) {
                clocks.push(codec.clock_rate);
            }
        }
        clocks.into_iter().map(|clock| Codec::new("telephone-event", clock).fmtp(events)).collect()
    }
}
