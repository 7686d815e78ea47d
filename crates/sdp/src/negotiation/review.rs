//! Reads an offer: what of it can be accepted, and what the answer needs to know. RFC 3264 §6, RFC 9429 §5.3.1.

use crate::{Description, Direction, MediaKind, Protocol};

use super::agree::{common_codecs, common_events, common_formats, helpers_only};
use super::capabilities::{Bundle, RtcpMux};
use super::codec::Codec;
use super::error::{OfferError, Refusal};
use super::offer::other_keying;
use super::remote::{Remote, RemoteMedia, RemoteTransport};
use super::security::Keying;
use super::{AgreedMedia, Negotiation, Received, Security, State, bundle, sdes};

/// An offer of the peer that waits for the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOffer {
    /// One for each `m=` line.
    pub media: Vec<OfferedMedia>,
    /// Whether it is to the letter the peer's last description: a session refresh, say. RFC 3264 §8.
    pub unchanged: bool,
}

/// One offered section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedMedia {
    /// Which `m=` line, the first being 0.
    pub index: usize,
    /// Identification tag, if there is one.
    pub mid: Option<Box<str>>,
    /// Kind of media.
    pub kind: MediaKind,
    /// Protocol.
    pub protocol: Protocol,
    /// Why it cannot be accepted; it will have port 0 whatever the caller wants. `None` if it can be.
    pub refusal: Option<Refusal>,
    /// Whether it is a new stream: in a new section, or in one that was not in use. RFC 3264 §8.1.
    pub is_new: bool,
    /// What this side may do at most: the offered direction reversed.
    pub direction: Direction,
    /// Codecs in common, in the offer's order, with the offer's payload types and this side's parameters.
    pub codecs: Vec<Codec>,
    /// Clock rates at which telephone events are offered.
    pub telephone_events: Vec<u32>,
    /// What the answer will be protected by: what the transport must have something for.
    pub keying: Option<Keying>,
    /// The suites of the offered keys that can be used: RFC 4568.
    pub crypto_suites: Vec<Box<str>>,
    /// The section whose transport it will use if both are accepted and may be bundled: it then needs none of its own. That
    /// may be itself. If that section is a new one while the bundle is in use, the bundle keeps the transport it has.
    pub bundled_with: Option<usize>,
    /// Whether the peer offers ICE.
    pub ice: bool,
    /// Whether the peer restarts ICE: the answer needs new credentials. RFC 8839 §4.4.1.1.1.
    pub ice_restart: bool,
    /// Whether the peer wants another DTLS association than the one there is: the answer needs a new `tls-id`, if it has one
    /// at all, and without ICE a new port. RFC 8842 §5.3.
    pub new_association: bool,
    /// Whether RTP and RTCP will be on one port: then no port for RTCP is needed.
    pub rtcp_mux: bool,
}

impl OfferedMedia {
    /// Whether it can be accepted.
    pub fn is_acceptable(&self) -> bool {
        self.refusal.is_none()
    }
}

impl Negotiation {
    /// Takes an offer of the peer. [`answer`](Self::answer) it, or [`rollback`](Self::rollback) and refuse it.
    ///
    /// # Errors
    /// It breaks a rule, or nothing in it can be accepted; everything is as before. The error knows the SIP status to refuse
    /// it with; each section by itself is refused in the answer.
    pub fn handle_offer(&mut self, offer: &Description) -> Result<RemoteOffer, OfferError> {
        let received = self.received(offer)?;
        let enabled = || received.report.media.iter().filter(|media| media.refusal != Some(Refusal::Disabled));
        if enabled().next().is_some() && enabled().all(|media| media.refusal.is_some()) {
            return Err(OfferError::NothingAcceptable(enabled().filter_map(|media| media.refusal).collect()));
        }
        let report = received.report.clone();
        self.state = State::RemoteOffer(Box::new(received));
        Ok(report)
    }

    /// Answers an offer by port 0 for every stream: for an offer in a response, which SIP cannot refuse (RFC 6337 §5.2.4).
    /// It ends the streams there are.
    ///
    /// # Errors
    /// As [`handle_offer`](Self::handle_offer), except that nothing needs to be acceptable.
    pub fn refuse(&mut self, offer: &Description) -> Result<Description, OfferError> {
        let received = self.received(offer)?;
        self.state = State::RemoteOffer(Box::new(received));
        self.answer(&[]).map_err(|_| OfferError::AnswerOwed) // cannot be: without media there is nothing to do wrong
    }

    fn received(&self, offer: &Description) -> Result<Received, OfferError> {
        match self.state {
            State::Stable => {}
            State::LocalOffer(_) => return Err(OfferError::Glare),
            State::RemoteOffer(_) => return Err(OfferError::AnswerOwed),
        }
        let remote = Remote::read(offer);
        if remote.media.len() < self.sections.len() {
            return Err(OfferError::FewerMedia);
        }
        if remote.duplicate_mid {
            return Err(OfferError::DuplicateMid);
        }
        let media = (0..remote.media.len()).map(|index| self.review(index, &remote)).collect();
        let report = RemoteOffer { media, unchanged: self.remote.as_ref() == Some(offer) };
        Ok(Received { remote, report, description: offer.clone() })
    }

    fn review(&self, index: usize, remote: &Remote) -> OfferedMedia {
        let media = &remote.media[index];
        let live = self.live(index);
        let members = remote.bundle_of(index).filter(|_| self.may_bundle());
        let in_use = members.is_some_and(|members| bundle::is_in_use(members, &self.bundles));
        let with_port = |members: &[usize]| {
            let port = |index: &usize| remote.media[*index].transport.port != 0;
            members.iter().copied().find(port)
        };
        let bundled_with =
            members.and_then(|members| if in_use { members.first().copied() } else { with_port(members) });
        let transport = match bundled_with {
            Some(tagged) if in_use || media.bundle_only => &remote.media[tagged].transport,
            _ => &media.transport,
        };
        let reviewed = self.acceptable(index, media, transport, bundled_with.is_some());
        let keying = reviewed.as_ref().ok().copied().flatten();
        let usable = transport.cryptos.iter().filter(|line| sdes::is_usable(line));
        let former = live.and_then(|live| live.ice.as_ref());
        let association = self.sections.get(index).and_then(|section| section.association.as_ref());
        let capability = self.capabilities.rtp(&media.kind);
        let codecs = capability.map_or(Vec::new(), |capability| common_codecs(&capability.codecs, &media.formats));
        OfferedMedia {
            index,
            mid: media.mid.clone(),
            kind: media.kind.clone(),
            protocol: media.protocol.clone(),
            refusal: reviewed.err(),
            is_new: live.is_none() && media.enabled,
            direction: media.direction.unwrap_or_default().reversed(),
            codecs: codecs
                .into_iter()
                .map(|(format, codec)| Codec { payload_type: Some(format.payload_type), ..codec.clone() })
                .collect(),
            telephone_events: common_events(&[], &media.formats, true).iter().map(|event| event.clock_rate).collect(),
            keying,
            crypto_suites: usable.map(|line| line.suite.clone()).collect(),
            bundled_with,
            ice: transport.ice.is_some(),
            ice_restart: former
                .is_some_and(|former| transport.ice.as_ref().is_some_and(|ice| ice.restarts(&former.remote))),
            new_association: keying == Some(Keying::Dtls)
                && association.is_some_and(|association| association.is_replaced_by(transport)),
            rtcp_mux: transport.rtcp_mux && self.capabilities.rtcp_mux != RtcpMux::Off,
        }
    }

    /// How it would be protected, or why it cannot be accepted.
    fn acceptable(
        &self,
        index: usize,
        media: &RemoteMedia,
        transport: &RemoteTransport,
        bundled: bool,
    ) -> Result<Option<Keying>, Refusal> {
        if !media.enabled {
            return Err(Refusal::Disabled);
        }
        if index >= self.capabilities.max_media {
            return Err(Refusal::TooMany);
        }
        if media.bundle_only && !bundled {
            return Err(Refusal::Bundle);
        }
        let keying = match (self.capabilities.rtp(&media.kind), media.protocol.is_rtp()) {
            (Some(_), true) => Some(self.keying_of(media, transport, self.live(index))?),
            _ => self.other(media, transport)?,
        };
        if transport.is_multicast() {
            return Err(Refusal::Multicast);
        }
        if transport.address().is_none() {
            return Err(Refusal::Address);
        }
        if transport.ice.as_ref().is_some_and(|ice| !ice.is_valid()) {
            return Err(Refusal::Ice);
        }
        if media.protocol.is_rtp() {
            let mux = self.capabilities.rtcp_mux;
            let insists = transport.rtcp_mux_only && mux == RtcpMux::Off; // RFC 8858 §4.3
            if insists || (mux == RtcpMux::Require && !transport.rtcp_mux) {
                return Err(Refusal::RtcpMux);
            }
            let capability = self.capabilities.rtp(&media.kind).ok_or(Refusal::Kind)?;
            let codecs = common_codecs(&capability.codecs, &media.formats);
            let alone = helpers_only(&media.kind, &media.formats);
            let events = capability.events.is_some() && alone && !common_events(&[], &media.formats, true).is_empty();
            if !events && !codecs.iter().any(|(_, codec)| alone || !codec.is_auxiliary()) {
                return Err(Refusal::Codecs);
            }
        }
        Ok(keying)
    }

    /// The keying of an offered RTP stream: what is in use if it is offered again, else what the policy wants most of what
    /// is offered.
    fn keying_of(
        &self,
        media: &RemoteMedia,
        transport: &RemoteTransport,
        live: Option<&AgreedMedia>,
    ) -> Result<Keying, Refusal> {
        let offers = |keying: Keying| match keying {
            // RFC 9429 §5.1.2: a fingerprint says so, whatever the profile's name.
            Keying::Dtls => media.protocol.is_dtls() || !transport.fingerprints.is_empty(),
            Keying::Sdes if media.protocol.is_srtp() => !media.protocol.is_dtls() && !transport.cryptos.is_empty(),
            // Deviation: also under RTP/AVP, where RFC 4568 §5 does not want it: some phones offer encryption so without
            // insisting on it, and taking it is better than plain RTP.
            Keying::Sdes => transport.cryptos.iter().any(sdes::is_usable),
            Keying::Plain => !media.protocol.is_srtp(),
        };
        let used = live.map(|live| match live.security {
            Security::None => Keying::Plain,
            Security::Sdes { .. } => Keying::Sdes,
            Security::Dtls { .. } => Keying::Dtls,
        });
        let policy = &self.capabilities.security;
        let order = used.into_iter().chain(policy.order().iter().copied());
        let keying = order.into_iter().find(|keying| policy.allows(*keying, self.signalling) && offers(*keying));
        match keying.ok_or(Refusal::Keying)? {
            Keying::Dtls => check_dtls(transport).map(|()| Keying::Dtls),
            Keying::Sdes if !transport.cryptos.iter().any(sdes::is_usable) => Err(Refusal::Crypto),
            keying => Ok(keying),
        }
    }

    /// The same for media that are not RTP.
    fn other(&self, media: &RemoteMedia, transport: &RemoteTransport) -> Result<Option<Keying>, Refusal> {
        let same_kind = || self.capabilities.other.iter().filter(|other| other.kind == media.kind);
        if same_kind().next().is_none() {
            let known = self.capabilities.rtp(&media.kind).is_some();
            return Err(if known { Refusal::Protocol } else { Refusal::Kind });
        }
        let other = same_kind().find(|other| other.protocol == media.protocol).ok_or(Refusal::Protocol)?;
        if common_formats(&other.formats, &media.raw_formats).is_empty() {
            return Err(Refusal::Codecs);
        }
        let keying = other_keying(&media.protocol);
        if keying.is_some_and(|keying| !self.capabilities.security.allows(keying, self.signalling)) {
            return Err(Refusal::Keying);
        }
        if keying == Some(Keying::Dtls) {
            check_dtls(transport)?;
        }
        Ok(keying)
    }

    pub(super) fn may_bundle(&self) -> bool {
        self.capabilities.bundle != Bundle::Off && self.capabilities.rtcp_mux != RtcpMux::Off
    }
}

fn check_dtls(transport: &RemoteTransport) -> Result<(), Refusal> {
    let holds = transport.setup == Some(crate::attribute::Setup::HoldConn); // RFC 8842 §5.1
    if holds || transport.fingerprints.is_empty() { Err(Refusal::Dtls) } else { Ok(()) }
}
