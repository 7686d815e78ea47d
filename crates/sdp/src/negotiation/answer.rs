//! Makes an answer. RFC 3264 §6; RFC 9429 §5.3; RFC 9143 §7.3; RFC 8842 §5.3; RFC 4568 §5.1.2.

use crate::Description;
use crate::attribute::Setup;

use super::agree::{self, Parts, agree, common_codecs, common_events, helpers_only};
use super::capabilities::{DtlsRole, RtcpMux};
use super::codec::{self, Codec};
use super::draft::{Draft, DraftFormat};
use super::dtls_role::{Association, RoleError};
use super::offer::{check, check_transport};
use super::remote::{Remote, RemoteMedia, RemoteTransport};
use super::security::Keying;
use super::{
    AgreedMedia, LocalMedia, LocalTransport, Negotiation, NegotiationError, Outcome, Received, Security, State, bundle,
    sdes, write,
};

/// An accepted section, before it is written.
struct Accepted {
    draft: Draft,
    agreed: AgreedMedia,
    association: Option<Association>,
}

impl Negotiation {
    /// Answers the offer that [`handle_offer`](Self::handle_offer) took, one wish for each of its `m=` lines in order. Lines
    /// behind the list, those not enabled, and those that cannot be accepted get port 0 with the offer's formats. What was
    /// agreed is in [`agreed`](Self::agreed) at once.
    ///
    /// A wish without a transport is granted if its section is bundled with another. No section
    /// can leave a bundle that is in use in an answer (RFC 9143 §7.3.2): there `bundled: false` means nothing; offer it.
    ///
    /// # Errors
    /// The caller's mistakes; the offer still waits.
    pub fn answer(&mut self, media: &[LocalMedia]) -> Result<Description, NegotiationError> {
        let received = match &self.state {
            State::RemoteOffer(received) => Received::clone(received),
            State::Stable | State::LocalOffer(_) => return Err(NegotiationError::NothingToAnswer),
        };
        let Received { remote, report, description: offer } = received;
        let mut wishes = Vec::with_capacity(remote.media.len());
        for (index, offered) in remote.media.iter().enumerate() {
            let wish = media.get(index).filter(|wish| wish.enabled && report.media[index].is_acceptable());
            let wish = wish.cloned().unwrap_or_else(|| LocalMedia::rejected(offered.kind.clone()));
            if wish.enabled {
                check(index, &wish)?;
                if wish.kind != offered.kind {
                    return Err(NegotiationError::Kind(index));
                }
            }
            wishes.push(wish);
        }
        let keyings: Vec<Option<Keying>> = report.media.iter().map(|media| media.keying).collect();
        let bundles = self.bundles_to_answer(&remote, &wishes, &keyings);
        let mut accepted: Vec<Option<Accepted>> = Vec::with_capacity(wishes.len());
        for (index, wish) in wishes.iter().enumerate() {
            let members = bundles.iter().find(|members| members.contains(&index)).map_or(&[][..], Vec::as_slice);
            let one = match wish.enabled {
                true => self.accept(index, wish, &wishes, &remote, members, keyings[index])?,
                false => None,
            };
            accepted.push(one);
        }
        self.complete(accepted, wishes, bundles, &remote, offer)
    }

    /// Which of the offered bundles are made, and of what. Sections that turn out to be refused leave them later.
    fn bundles_to_answer(&self, remote: &Remote, wishes: &[LocalMedia], keyings: &[Option<Keying>]) -> Vec<Vec<usize>> {
        if !self.may_bundle() {
            return Vec::new();
        }
        let in_use = |index: usize| remote.bundle_of(index).is_some_and(|all| bundle::is_in_use(all, &self.bundles));
        bundle::answered(
            remote,
            &self.bundles,
            |index| {
                let stays = wishes[index].bundled || in_use(index) || remote.media[index].bundle_only;
                wishes[index].enabled && stays && has_codecs(&wishes[index], &remote.media[index])
            },
            // RFC 9143 §9.3: RTP within a bundle has RTCP on its port.
            |index| {
                let members = remote.bundle_of(index).unwrap_or_default();
                let members: Vec<usize> = [index].into_iter().chain(members.iter().copied()).collect();
                let muxed = remote.media[index].transport.rtcp_mux || !remote.media[index].protocol.is_rtp();
                muxed && self.shared_transport(index, &members, wishes).is_some()
            },
            |tagged, index| {
                let muxed = remote.media[tagged].transport.rtcp_mux || !remote.media[index].protocol.is_rtp();
                muxed && keyings[tagged] == keyings[index]
            },
        )
    }

    /// One section that the caller wants. `None` if it cannot be had.
    fn accept(
        &mut self,
        index: usize,
        wish: &LocalMedia,
        wishes: &[LocalMedia],
        remote: &Remote,
        members: &[usize],
        keying: Option<Keying>,
    ) -> Result<Option<Accepted>, NegotiationError> {
        let offered = &remote.media[index];
        let tagged = members.first().copied().unwrap_or(index);
        let was_bundled =
            remote.bundle_of(index).is_some_and(|all| bundle::is_in_use(all, &self.bundles)) && self.may_bundle();
        if members.is_empty() && (offered.bundle_only || was_bundled) {
            return Ok(None); // RFC 9143 §7.3.2: it cannot be moved out, so it is refused
        }
        let Some(local) = self.shared_transport(index, members, wishes) else { return Ok(None) };
        check_transport(tagged, &local)?;
        let theirs = &remote.media[tagged].transport;
        let mut draft = Draft::rejected(wish.clone(), offered.protocol.clone(), Vec::new());
        draft.enabled = true;
        draft.mid = offered.mid.clone(); // RFC 5888 §9.1, RFC 9429 §5.3.1
        draft.carries_transport = tagged == index;
        draft.keying = keying;
        // RFC 3264 §6.1
        draft.direction = wish.wanted().and_with(offered.direction.unwrap_or_default().reversed());
        let is_rtp = offered.protocol.is_rtp();
        draft.rtcp_mux =
            theirs.rtcp_mux && self.capabilities.rtcp_mux != RtcpMux::Off && (is_rtp || !members.is_empty());
        draft.rtcp_rsize = (is_rtp || !members.is_empty()) && theirs.rtcp_rsize;
        let ice = self.answer_ice(index, tagged, &local, theirs, &mut draft)?;
        let (security, association) = match keying {
            Some(Keying::Dtls) => match self.answer_dtls(index, members, &local, theirs)? {
                Some(association) => {
                    draft.setup = Some(match association.role {
                        DtlsRole::Active => Setup::Active,
                        DtlsRole::Passive => Setup::Passive,
                    });
                    draft.tls_id = theirs.tls_id.is_some(); // RFC 8842 §5.3
                    (agree::dtls(&association, theirs), Some(association))
                }
                None => return Ok(None),
            },
            Some(Keying::Sdes) => match sdes::select(&theirs.cryptos, &local.crypto) {
                Some((send, receive)) if sdes::share_a_key(&send, &receive) => {
                    return Err(NegotiationError::ReusedKey(index));
                }
                Some((send, receive)) => {
                    draft.crypto = vec![send.clone()];
                    (Security::Sdes { send, receive }, None)
                }
                // Encryption was offered without insisting on it, and this side does not, either.
                None if !offered.protocol.is_srtp() && self.allows(Keying::Plain) => {
                    draft.keying = Some(Keying::Plain);
                    (Security::None, None)
                }
                None => return Ok(None), // RFC 4568 §5.1.2
            },
            Some(Keying::Plain) | None => (Security::None, None),
        };
        self.answer_formats(index, wish, offered, members, &mut draft);
        draft.transport = Some(local);
        if draft.rtcp_mux {
            // RFC 5761 §5.1.3: the answer settles it; there is no other port.
            draft.transport.as_mut().into_iter().for_each(|transport| transport.rtcp_port = None);
        }
        let agreed = agree(Parts {
            index,
            draft: &draft,
            media: offered,
            transport: theirs,
            bundle: (!members.is_empty()).then_some(tagged),
            security,
            direction: draft.direction,
            rtcp_mux: draft.rtcp_mux && is_rtp,
            rtcp_rsize: draft.rtcp_rsize,
            former_ice: self.former_ice(index, tagged),
            ice,
            answering: true,
        });
        Ok(agreed.map(|agreed| Accepted { draft, agreed, association }))
    }

    fn allows(&self, keying: Keying) -> bool {
        self.capabilities.security.allows(keying, self.signalling)
    }

    /// ICE if both do it; with this side's credentials new if and only if the peer's are. RFC 8839 §4.4, RFC 9429 §5.3.2.
    fn answer_ice(
        &self,
        index: usize,
        tagged: usize,
        local: &LocalTransport,
        theirs: &RemoteTransport,
        draft: &mut Draft,
    ) -> Result<Option<super::IceParameters>, NegotiationError> {
        let (Some(mine), Some(offered)) = (&local.ice, &theirs.ice) else { return Ok(None) };
        let (former, used) = (self.former_ice(index, tagged), self.used_ice(index, tagged));
        if let (Some(former), Some(used)) = (former, used) {
            match (offered.restarts(former), mine.restarts(used)) {
                (true, false) => return Err(NegotiationError::StaleIceCredentials(index)),
                (false, true) => return Err(NegotiationError::ChangedIceCredentials(index)),
                (true, true) | (false, false) => {}
            }
        }
        draft.ice = true;
        // RFC 9429 §5.3.1: only those that the offer has.
        draft.ice_options = mine.options.iter().filter(|option| offered.options.contains(option)).cloned().collect();
        Ok(Some(offered.clone()))
    }

    fn answer_dtls(
        &self,
        index: usize,
        members: &[usize],
        local: &LocalTransport,
        theirs: &RemoteTransport,
    ) -> Result<Option<Association>, NegotiationError> {
        if local.fingerprints.is_empty() {
            return Err(NegotiationError::NoKeying(index));
        }
        let former = self.association(index, members);
        match Association::answer(former, local, theirs, self.capabilities.dtls_role) {
            Ok(association) => Ok(Some(association)),
            Err(RoleError::StaleTlsId) => Err(NegotiationError::StaleTlsId(index)),
            Err(RoleError::NoFingerprint | RoleError::Setup | RoleError::Changed) => Ok(None),
        }
    }

    /// The association of a section's transport: of bundled sections there is one (RFC 9143 §11).
    pub(super) fn association(&self, index: usize, members: &[usize]) -> Option<&Association> {
        let of = |index: usize| self.sections.get(index)?.association.as_ref();
        if members.is_empty() { of(index) } else { members.iter().find_map(|index| of(*index)) }
    }

    /// The peer's ICE parameters of a section's transport before.
    pub(super) fn former_ice(&self, index: usize, tagged: usize) -> Option<&super::IceParameters> {
        let of = |index: usize| Some(&self.live(index)?.ice.as_ref()?.remote);
        of(tagged).or_else(|| of(index))
    }

    /// This side's ICE parameters of a section's transport before.
    pub(super) fn used_ice(&self, index: usize, tagged: usize) -> Option<&super::IceParameters> {
        let at = if self.live(tagged).is_some() { tagged } else { index };
        self.local_transport(at)?.ice.as_ref()
    }

    /// The transport of a section or of the bundle it is in. If the tagged section is a new one (RFC 9143 §18.3) the bundle
    /// keeps the transport that it has.
    fn shared_transport(&self, index: usize, members: &[usize], wishes: &[LocalMedia]) -> Option<LocalTransport> {
        let tagged = members.first().copied().unwrap_or(index);
        let carrier =
            members.iter().copied().find(|member| self.live(*member).is_some_and(|live| live.bundle.is_some()));
        let carrier = if self.live(tagged).is_some() { tagged } else { carrier.unwrap_or(tagged) };
        self.transport(carrier, &wishes[carrier])
    }

    /// Codecs in common, in the offer's order (RFC 3264 §6.1) unless the caller gave an order of its own (RFC 9429 §5.3.1),
    /// with the offer's payload types as far as they are free; events at the clock rates of the codecs.
    fn answer_formats(
        &mut self,
        index: usize,
        wish: &LocalMedia,
        offered: &RemoteMedia,
        members: &[usize],
        draft: &mut Draft,
    ) {
        if !offered.protocol.is_rtp() {
            let mut others = self.capabilities.other.iter();
            let other = others.find(|other| other.kind == offered.kind && other.protocol == offered.protocol);
            let ours = other.map_or(&[][..], |other| &other.formats);
            draft.raw_formats = agree::common_formats(ours, &offered.raw_formats);
            return;
        }
        let Some(capability) = self.capabilities.rtp(&offered.kind).cloned() else { return };
        let ours = wish.codecs.as_ref().unwrap_or(&capability.codecs);
        let mut common = common_codecs(ours, &offered.formats);
        if wish.codecs.is_some() {
            common.sort_by_key(|(_, codec)| ours.iter().position(|own| own == *codec));
        }
        let alone = helpers_only(&offered.kind, &offered.formats);
        let primary: Vec<&Codec> =
            common.iter().map(|(_, codec)| *codec).filter(|codec| !codec.is_auxiliary()).collect();
        let is_event = |codec: &Codec| codec.encoding.eq_ignore_ascii_case("telephone-event");
        let mut formats: Vec<(u8, Codec)> = common
            .iter()
            .filter(|(_, codec)| {
                let clock = primary.iter().any(|primary| primary.clock_rate == codec.clock_rate);
                !codec.is_auxiliary() || clock || alone
            })
            .map(|(format, codec)| {
                let fmtp = codec::answer_fmtp(codec, format.fmtp.as_deref()).map(Into::into);
                let feedback = codec.feedback.iter();
                let feedback =
                    feedback.filter(|kind| offered.has_feedback(format.payload_type, kind)).cloned().collect();
                (format.payload_type, Codec { fmtp, feedback, ..(*codec).clone() })
            })
            .collect();
        if let Some(events) = capability.events.as_deref().filter(|_| !formats.iter().any(|(_, codec)| is_event(codec)))
        {
            for format in common_events(&primary, &offered.formats, alone) {
                formats.push((format.payload_type, Codec::new("telephone-event", format.clock_rate).fmtp(events)));
            }
        }
        for (wanted, codec) in formats {
            let identity = codec::identity(&codec);
            let Some(payload_type) =
                self.payload_types.claim(index, &identity, Some(wanted), codec.payload_type, members)
            else {
                continue;
            };
            if draft.formats.iter().any(|format| format.payload_type == payload_type) {
                continue;
            }
            let repeats = offered.retransmission_of(wanted).filter(|_| codec.retransmission);
            let retransmission = repeats.and_then(|number| {
                let rtx = Codec::new("rtx", codec.clock_rate).fmtp(&format!("apt={payload_type}"));
                self.payload_types.claim(index, &codec::identity(&rtx), Some(number), None, members)
            });
            draft.formats.push(DraftFormat { payload_type, codec, retransmission });
        }
        // RFC 8285 §6: with the offer's numbers; those above 255 ask for one, and get none.
        for (id, uri) in offered.extensions.iter().filter(|(id, _)| *id < 256) {
            let known = capability.extensions.contains(uri);
            if known && draft.extensions.iter().all(|(other, name)| other != id && name != uri) {
                draft.extensions.push((*id, uri.clone()));
                if self.extensions.values().all(|name| name != uri) {
                    self.extensions.entry(*id).or_insert_with(|| uri.clone());
                }
            }
        }
    }

    /// Writes the answer and makes it the agreement.
    fn complete(
        &mut self,
        mut accepted: Vec<Option<Accepted>>,
        wishes: Vec<LocalMedia>,
        bundles: Vec<Vec<usize>>,
        remote: &Remote,
        offer: Description,
    ) -> Result<Description, NegotiationError> {
        // A section without the tagged one has no transport.
        let mut kept = Vec::new();
        for members in bundles {
            if members.first().is_some_and(|tagged| accepted[*tagged].is_some()) {
                kept.push(members.into_iter().filter(|index| accepted[*index].is_some()).collect());
            } else {
                members.into_iter().for_each(|index| accepted[index] = None);
            }
        }
        let (mut drafts, mut agreed, mut associations) = (Vec::new(), Vec::new(), Vec::new());
        for ((one, wish), offered) in accepted.into_iter().zip(wishes).zip(&remote.media) {
            match one {
                Some(Accepted { draft, agreed: media, association }) => {
                    drafts.push(draft);
                    agreed.push(media);
                    associations.push(association);
                }
                // RFC 3264 §6: the kind, the protocol and the formats stay.
                None => {
                    let draft = Draft::rejected(wish, offered.protocol.clone(), offered.raw_formats.clone());
                    drafts.push(Draft { mid: offered.mid.clone(), ..draft });
                    associations.push(None);
                }
            }
        }
        let timing = write::timing(&offer);
        let description = self.write(timing.as_deref(), &drafts, &kept);
        self.commit(Outcome { drafts, bundles: kept, agreed, associations }, description.clone(), offer);
        Ok(description)
    }
}

/// Whether the caller's own list of codecs leaves one in common.
fn has_codecs(wish: &LocalMedia, offered: &RemoteMedia) -> bool {
    let (Some(codecs), true) = (&wish.codecs, offered.protocol.is_rtp()) else { return true };
    let alone = helpers_only(&offered.kind, &offered.formats);
    common_codecs(codecs, &offered.formats).iter().any(|(_, codec)| alone || !codec.is_auxiliary())
}
