//! Makes an offer. RFC 3264 §§5, 8; RFC 9429 §5.2; RFC 9143 §§7.2, 7.5; RFC 8842 §§5.2, 5.5; RFC 4568 §5.1.1.

use crate::attribute::Setup;
use crate::{Description, MediaKind, Protocol};

use super::capabilities::{Bundle, RtcpMux};
use super::codec::{self, Codec};
use super::draft::{Draft, DraftFormat};
use super::security::Keying;
use super::{LocalMedia, LocalTransport, Negotiation, NegotiationError, Pending, State, bundle, sdes, write};

impl Negotiation {
    /// Offers these media, one for each `m=` line in order. Lines behind the list, and those that are not enabled, get
    /// port 0; lines that were not in use become new streams (RFC 3264 §§8.1, 8.2). What stays keeps its index, tag,
    /// payload types, DTLS association (as long as the certificate and `tls-id` given are the same) and bundle.
    ///
    /// # Errors
    /// The caller's mistakes, after which everything is as before.
    pub fn offer(&mut self, media: &[LocalMedia]) -> Result<Description, NegotiationError> {
        match self.state {
            State::Stable => {}
            State::LocalOffer(_) => return Err(NegotiationError::OfferPending),
            State::RemoteOffer(_) => return Err(NegotiationError::AnswerOwed),
        }
        let count = media.len().max(self.sections.len());
        let wish = |index: usize| match (media.get(index), self.sections.get(index)) {
            (Some(wish), _) => wish.clone(),
            (None, Some(section)) => LocalMedia::rejected(section.draft.kind.clone()),
            (None, None) => LocalMedia::rejected(MediaKind::Audio), // count is the larger of both
        };
        let wishes: Vec<LocalMedia> = (0..count).map(wish).collect();
        if wishes.iter().enumerate().any(|(index, wish)| wish.enabled && index >= self.capabilities.max_media) {
            return Err(NegotiationError::TooManyMedia);
        }
        for (index, wish) in wishes.iter().enumerate().filter(|(_, wish)| wish.enabled) {
            check(index, wish)?;
        }
        let may_bundle = self.capabilities.bundle != Bundle::Off && self.capabilities.rtcp_mux != RtcpMux::Off;
        let bundles = bundle::offered(
            count,
            &self.bundles,
            self.capabilities.bundle == Bundle::Offer,
            |index| may_bundle && wishes[index].enabled && wishes[index].bundled,
            |index| self.transport(index, &wishes[index]).is_some(),
        );
        let mut drafts = Vec::with_capacity(count);
        for (index, wish) in wishes.iter().enumerate() {
            let members = bundles.iter().find(|members| members.contains(&index));
            let draft = match (wish.enabled, members) {
                (false, _) => self.rejected(index, wish),
                (true, members) => self.offered(index, wish, &wishes, members.map_or(&[], Vec::as_slice))?,
            };
            drafts.push(draft);
        }
        self.name(&mut drafts, &bundles);
        let description = self.write(None, &drafts, &bundles);
        self.state = State::LocalOffer(Box::new(Pending { drafts, bundles, description: description.clone() }));
        Ok(description)
    }

    /// A section with port 0: as it was, with one format. RFC 3264 §8.2.
    fn rejected(&self, index: usize, wish: &LocalMedia) -> Draft {
        let Some(section) = self.sections.get(index) else {
            return Draft::rejected(wish.clone(), Keying::Dtls.protocol(true), vec!["0".into()]);
        };
        let former = &section.draft;
        let numbers = former.formats.iter().map(|format| format.payload_type.to_string().into());
        let formats: Vec<Box<str>> = numbers.chain(former.raw_formats.iter().cloned()).take(1).collect();
        let wish = LocalMedia { kind: former.kind.clone(), ..wish.clone() };
        Draft { mid: former.mid.clone(), ..Draft::rejected(wish, former.protocol.clone(), formats) }
    }

    fn offered(
        &mut self,
        index: usize,
        wish: &LocalMedia,
        wishes: &[LocalMedia],
        members: &[usize],
    ) -> Result<Draft, NegotiationError> {
        let tagged = members.first().copied();
        let in_use = bundle::is_in_use(members, &self.bundles);
        let own = self.transport(index, wish);
        let bundles_with = tagged.filter(|tagged| *tagged != index);
        // RFC 9143 §7.5: in a bundle that is in use everyone has the tagged section's transport; §7.2: in a new one
        // everyone offers their own, or is bundle-only.
        let transport = match bundles_with {
            Some(tagged) if in_use || own.is_none() => self.transport(tagged, &wishes[tagged]),
            _ => own.clone(),
        };
        let transport = transport.ok_or(NegotiationError::NoTransport(index))?;
        check_transport(index, &transport)?;
        let (keying, protocol) = self.keying(index, wish, &transport)?;
        let mut draft = Draft::rejected(wish.clone(), protocol, Vec::new());
        draft.enabled = true;
        draft.bundle_only = bundles_with.is_some() && !in_use && own.is_none();
        draft.carries_transport = bundles_with.is_none() || (!in_use && own.is_some());
        draft.direction = wish.wanted();
        draft.keying = keying;
        // RFC 8842 §§5.2, 5.5: always, also when the association goes on.
        draft.setup = (keying == Some(Keying::Dtls)).then_some(Setup::ActPass);
        draft.tls_id = true;
        draft.crypto = if keying == Some(Keying::Sdes) {
            transport.crypto.iter().filter(|line| sdes::is_usable(line)).cloned().collect()
        } else {
            Vec::new()
        };
        draft.ice = transport.ice.is_some();
        draft.ice_options = transport.ice.iter().flat_map(|ice| ice.options.iter().cloned()).collect();
        let live = self.live(index);
        let is_rtp = draft.protocol.is_rtp();
        // RFC 9143 §9.3.1.1: within a bundle always; else RFC 9429 §5.2.2: as agreed, if anything was.
        draft.rtcp_mux = !members.is_empty()
            || (is_rtp
                && live
                    .filter(|live| live.protocol.is_rtp())
                    .map_or(self.capabilities.rtcp_mux != RtcpMux::Off, |live| live.rtcp_mux));
        draft.rtcp_mux_only =
            draft.rtcp_mux && is_rtp && live.is_none() && self.capabilities.rtcp_mux == RtcpMux::Require;
        draft.transport = Some(transport);
        if live.is_some_and(|live| live.rtcp_mux) {
            // RFC 9429 §5.2.2: there is no port to fall back to any more.
            draft.transport.as_mut().into_iter().for_each(|transport| transport.rtcp_port = None);
        }
        if is_rtp {
            self.formats(index, wish, &mut draft)?;
        } else {
            let other = self.capabilities.other.iter().find(|other| other.kind == wish.kind);
            draft.raw_formats = other.map(|other| other.formats.clone()).unwrap_or_default();
        }
        Ok(draft)
    }

    /// The transport of a section: the caller's, else the one that it has, unless that is another section's which it leaves.
    pub(super) fn transport(&self, index: usize, wish: &LocalMedia) -> Option<LocalTransport> {
        if let Some(transport) = &wish.transport {
            return Some(transport.clone());
        }
        let live = self.live(index)?;
        if !wish.bundled && live.bundle.is_some_and(|tagged| tagged != index) {
            return None;
        }
        self.sections[index].draft.transport.clone()
    }

    /// Keying and protocol: the caller's choice, else what is in use, else the first that the policy allows and the
    /// transport has something for.
    fn keying(
        &self,
        index: usize,
        wish: &LocalMedia,
        transport: &LocalTransport,
    ) -> Result<(Option<Keying>, Protocol), NegotiationError> {
        let error = NegotiationError::NoKeying(index);
        let policy = &self.capabilities.security;
        let can = |keying: Keying| {
            policy.allows(keying, self.signalling)
                && match keying {
                    Keying::Dtls => !transport.fingerprints.is_empty(),
                    Keying::Sdes => transport.crypto.iter().any(sdes::is_usable),
                    Keying::Plain => true,
                }
        };
        let Some(capability) = self.capabilities.rtp(&wish.kind) else {
            let other = self.capabilities.other.iter().find(|other| other.kind == wish.kind);
            let protocol = other.ok_or(NegotiationError::NoCodecs(index))?.protocol.clone();
            let keying = other_keying(&protocol);
            return if keying.is_none_or(can) { Ok((keying, protocol)) } else { Err(error) };
        };
        let codecs = wish.codecs.as_ref().unwrap_or(&capability.codecs);
        let feedback = codecs.iter().any(|codec| !codec.feedback.is_empty());
        let former = self.sections.get(index).map(|section| &section.draft).filter(|_| self.live(index).is_some());
        let former = former.filter(|former| former.protocol.is_rtp());
        let former = former.and_then(|former| Some((former.keying?, former.protocol.clone())));
        let (keying, in_use) = match (wish.keying, former) {
            (Some(keying), Some((other, protocol))) if keying == other => (keying, Some(protocol)),
            (Some(keying), _) => (keying, None),
            (None, Some((keying, protocol))) if can(keying) => (keying, Some(protocol)),
            (None, _) => (policy.order().iter().copied().find(|keying| can(*keying)).ok_or(error.clone())?, None),
        };
        if !can(keying) {
            return Err(error);
        }
        let protocol = wish.protocol.clone().or(in_use).unwrap_or_else(|| keying.protocol(feedback));
        let fits = match keying {
            Keying::Dtls => protocol.is_rtp(),
            // Best effort, as some phones do it, only where the peer began so.
            Keying::Sdes => protocol.is_rtp() && !protocol.is_dtls(),
            Keying::Plain => protocol.is_rtp() && !protocol.is_srtp(),
        };
        if fits { Ok((Some(keying), protocol)) } else { Err(error) }
    }

    /// Codecs with their payload types, events at each clock rate, header extensions.
    fn formats(&mut self, index: usize, wish: &LocalMedia, draft: &mut Draft) -> Result<(), NegotiationError> {
        let capability = self.capabilities.rtp(&wish.kind).ok_or(NegotiationError::NoCodecs(index))?.clone();
        let codecs = match &wish.codecs {
            Some(codecs) => codecs.clone(),
            None if self.live(index).is_none_or(|live| live.kind == wish.kind) => {
                self.in_order_of_the_answer(index, capability.codecs.clone())
            }
            None => capability.codecs.clone(),
        };
        let events = capability.event_codecs(&codecs);
        // RFC 9143 §9.1.1: bundled sections share the numbers, and this one may be bundled later.
        let shared: Vec<usize> = if self.capabilities.bundle == Bundle::Off {
            Vec::new()
        } else {
            (0..self.capabilities.max_media).collect()
        };
        for codec in codecs.into_iter().chain(events) {
            let number = self.payload_types.claim(index, &codec::identity(&codec), None, codec.payload_type, &shared);
            let payload_type = number.ok_or(NegotiationError::NoPayloadType(index))?;
            let retransmission = codec.retransmission.then(|| {
                let rtx = Codec::new("rtx", codec.clock_rate).fmtp(&format!("apt={payload_type}"));
                self.payload_types.claim(index, &codec::identity(&rtx), None, None, &shared)
            });
            if draft.formats.iter().all(|format| format.payload_type != payload_type) {
                draft.formats.push(DraftFormat { payload_type, codec, retransmission: retransmission.flatten() });
            }
        }
        if draft.formats.is_empty() {
            return Err(NegotiationError::NoCodecs(index));
        }
        let has_feedback = draft.formats.iter().any(|format| !format.codec.feedback.is_empty());
        draft.rtcp_rsize = match self.live(index) {
            Some(live) => live.rtcp_rsize,
            None => draft.protocol.is_feedback() && has_feedback,
        };
        draft.extensions = match self.live(index) {
            // RFC 9429 §5.2.2: only those of the most recent answer.
            Some(live) if live.kind == wish.kind => live.extensions.clone(),
            _ => capability.extensions.iter().filter_map(|uri| Some((self.extension(uri)?, uri.clone()))).collect(),
        };
        Ok(())
    }

    /// RFC 9429 §5.2.2: the formats of the most recent answer first, in its order, the others behind.
    fn in_order_of_the_answer(&self, index: usize, codecs: Vec<Codec>) -> Vec<Codec> {
        let Some(live) = self.live(index).filter(|live| live.protocol.is_rtp()) else { return codecs };
        if live.codecs.is_empty() {
            // A stream of its own for events (RFC 4317 §2.4) stays one.
            return live.telephone_events.iter().chain(&live.auxiliaries).map(super::AgreedCodec::codec).collect();
        }
        let place = |codec: &Codec| {
            let same = |agreed: &super::AgreedCodec| {
                agreed.encoding.eq_ignore_ascii_case(&codec.encoding)
                    && agreed.clock_rate == codec.clock_rate
                    && codec::identity(codec) == codec::identity(&agreed.codec())
            };
            live.codecs.iter().position(same).unwrap_or(usize::MAX)
        };
        let mut codecs = codecs;
        codecs.sort_by_key(place);
        codecs
    }

    /// The number of a header extension, the same in all sections: RFC 8285 §5, RFC 9143 §12.
    fn extension(&mut self, uri: &str) -> Option<u16> {
        if let Some((id, _)) = self.extensions.iter().find(|(_, other)| ***other == *uri) {
            return Some(*id);
        }
        let id = (1..=14).chain(16..=255).find(|id| !self.extensions.contains_key(id))?;
        self.extensions.insert(id, uri.into());
        Some(id)
    }

    /// Gives tags where tags are in use. A section that goes on keeps its own; a new stream in an old section gets a new one
    /// (RFC 9429 §5.2.2).
    fn name(&mut self, drafts: &mut [Draft], bundles: &[Vec<usize>]) {
        let in_use = self.sections.iter().any(|section| section.draft.mid.is_some());
        let named = in_use || !bundles.is_empty() || self.capabilities.bundle == Bundle::Offer;
        for index in 0..drafts.len() {
            let former = self.sections.get(index).and_then(|section| section.draft.mid.clone());
            drafts[index].mid = match (drafts[index].enabled, self.live(index).is_some(), former) {
                (false, _, former) => former,
                (true, true, Some(mid)) => Some(mid),
                (true, ..) if named => {
                    let taken: Vec<_> = drafts.iter().map(|draft| draft.mid.clone()).collect();
                    Some(self.new_mid(&taken))
                }
                (true, ..) => None,
            };
        }
    }
}

/// What guards media that are not RTP: DTLS, the protocol itself (TLS), or nothing.
pub(super) fn other_keying(protocol: &Protocol) -> Option<Keying> {
    match (protocol.is_dtls(), protocol.is_secure()) {
        (true, _) => Some(Keying::Dtls),
        (false, true) => None,
        (false, false) => Some(Keying::Plain),
    }
}

/// What can be said of a wish alone.
pub(super) fn check(index: usize, wish: &LocalMedia) -> Result<(), NegotiationError> {
    if wish.attributes.iter().any(|(name, _)| write::is_reserved(name)) {
        return Err(NegotiationError::ReservedAttribute(index));
    }
    if wish.packet_time == Some(0) || wish.max_packet_time == Some(0) {
        return Err(NegotiationError::PacketTime(index));
    }
    Ok(())
}

/// What can be said of a transport alone.
pub(super) fn check_transport(index: usize, transport: &LocalTransport) -> Result<(), NegotiationError> {
    if transport.port == 0 || transport.rtcp_port == Some(0) {
        return Err(NegotiationError::Port(index));
    }
    if transport.ice.as_ref().is_some_and(|ice| !ice.is_valid()) {
        return Err(NegotiationError::BadIceCredentials(index));
    }
    Ok(())
}
