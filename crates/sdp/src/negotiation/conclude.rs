//! Reads an answer to an offer of this side. RFC 3264 §7; RFC 9429 §5.8.3; RFC 9143 §7.4; RFC 8842 §5.4; RFC 4568 §5.1.3.

use crate::{Description, Direction};

use super::agree::{self, Parts, agree};
use super::capabilities::RtcpMux;
use super::draft::Draft;
use super::dtls_role::{Association, RoleError};
use super::remote::{Remote, RemoteTransport};
use super::security::Keying;
use super::{
    AgreedMedia, AnswerError, IceParameters, LocalTransport, Negotiation, Outcome, Pending, Security, State, bundle,
    sdes,
};

impl Negotiation {
    /// Takes the answer to the offer of this side. What was agreed is in [`agreed`](Self::agreed) at once.
    ///
    /// # Errors
    /// The answer breaks a rule. The offer still waits: [`rollback`](Self::rollback) keeps the former agreement.
    pub fn handle_answer(&mut self, answer: &Description) -> Result<(), AnswerError> {
        let pending = match &self.state {
            State::LocalOffer(pending) => Pending::clone(pending),
            State::Stable | State::RemoteOffer(_) => return Err(AnswerError::NoOffer),
        };
        let Pending { mut drafts, bundles: offered, description } = pending;
        let remote = Remote::read(answer);
        if remote.media.len() != drafts.len() {
            return Err(AnswerError::MediaCount { offered: drafts.len(), answered: remote.media.len() });
        }
        let bundles = self.answered_bundles(&remote, &drafts, &offered)?;
        let (mut agreed, mut associations) = (Vec::new(), Vec::new());
        for index in 0..drafts.len() {
            let members = bundles.iter().find(|members| members.contains(&index)).map_or(&[][..], Vec::as_slice);
            let concluded = self.conclude(index, &drafts, &remote, members)?;
            let (media, association) = concluded.unzip();
            agreed.extend(media);
            associations.push(association.flatten());
        }
        for index in 0..drafts.len() {
            match agreed.iter().find(|media: &&AgreedMedia| media.index == index) {
                // What is bundled has from now on the transport of the tagged section.
                Some(AgreedMedia { bundle: Some(tagged), .. }) => {
                    let transport = drafts[*tagged].transport.clone();
                    drafts[index].transport = transport;
                }
                Some(_) => {}
                None => {
                    let formats = &drafts[index].formats;
                    let numbers = formats.iter().map(|format| format.payload_type.to_string().into());
                    let raw = numbers.chain(drafts[index].raw_formats.iter().cloned()).take(1).collect();
                    drafts[index].refuse(raw);
                }
            }
        }
        self.commit(Outcome { drafts, bundles, agreed, associations }, description, answer.clone());
        Ok(())
    }

    /// The answer's bundles: each within an offered one, with a section tagged that has a transport. RFC 9143 §7.4.
    fn answered_bundles(
        &self,
        remote: &Remote,
        drafts: &[Draft],
        offered: &[Vec<usize>],
    ) -> Result<Vec<Vec<usize>>, AnswerError> {
        for members in &remote.bundles {
            let Some(tagged) = members.first().copied() else { continue };
            let same = offered.iter().find(|offered| offered.contains(&tagged)).ok_or(AnswerError::Bundle(tagged))?;
            if let Some(stranger) = members.iter().find(|index| !same.contains(index)) {
                return Err(AnswerError::Bundle(*stranger));
            }
            // RFC 9143 §7.3: within a bundle that is in use the offer's tagged section stays.
            let in_use = bundle::is_in_use(same, &self.bundles);
            let moved = in_use && same.first() != Some(&tagged);
            if moved
                || drafts[tagged].bundle_only
                || !drafts[tagged].carries_transport
                || remote.media[tagged].bundle_only
            {
                return Err(AnswerError::BundleTag(tagged));
            }
        }
        Ok(remote.bundles.clone())
    }

    fn conclude(
        &self,
        index: usize,
        drafts: &[Draft],
        remote: &Remote,
        members: &[usize],
    ) -> Result<Option<(AgreedMedia, Option<Association>)>, AnswerError> {
        let (draft, media) = (&drafts[index], &remote.media[index]);
        if !media.enabled {
            return Ok(None);
        }
        if !draft.enabled {
            return Err(AnswerError::Revived(index));
        }
        if media.kind != draft.kind {
            return Err(AnswerError::Kind(index));
        }
        if media.protocol != draft.protocol {
            return Err(AnswerError::Protocol(index));
        }
        if draft.mid.is_some() && media.mid.is_some() && media.mid != draft.mid {
            return Err(AnswerError::Mid(index));
        }
        if members.is_empty() && (draft.bundle_only || !draft.carries_transport) {
            return Err(AnswerError::OutsideBundle(index));
        }
        let tagged = members.first().copied().unwrap_or(index);
        let theirs = &remote.media[tagged].transport;
        // An enabled section that has or shares a transport: see `offered` in `offer.rs`.
        let local = drafts[tagged].transport.as_ref().ok_or(AnswerError::BundleTag(index))?;
        if theirs.is_multicast() {
            return Err(AnswerError::Multicast(index));
        }
        if theirs.address().is_none() {
            return Err(AnswerError::Address(index));
        }
        let direction = answered_direction(draft.direction, media.direction).ok_or(AnswerError::Direction(index))?;
        let rtcp_mux = draft.protocol.is_rtp() && theirs.rtcp_mux;
        if draft.protocol.is_rtp() {
            if theirs.rtcp_mux && !drafts[tagged].rtcp_mux {
                return Err(AnswerError::UnaskedRtcpMux(index));
            }
            if !theirs.rtcp_mux && (!members.is_empty() || self.capabilities.rtcp_mux == RtcpMux::Require) {
                return Err(AnswerError::NoRtcpMux(index));
            }
        }
        let (security, association) = self.answered_security(index, draft, &drafts[tagged], local, theirs, members)?;
        let ice = self.answered_ice(index, tagged, local, theirs, drafts[tagged].ice)?;
        let agreed = agree(Parts {
            index,
            draft,
            media,
            transport: theirs,
            bundle: (!members.is_empty()).then_some(tagged),
            security,
            direction,
            rtcp_mux,
            rtcp_rsize: drafts[tagged].rtcp_rsize,
            former_ice: self.former_ice(index, tagged),
            ice,
            answering: false,
        });
        Ok(Some((agreed.ok_or(AnswerError::NoFormat(index))?, association)))
    }

    fn answered_security(
        &self,
        index: usize,
        draft: &Draft,
        carrier: &Draft,
        local: &LocalTransport,
        theirs: &RemoteTransport,
        members: &[usize],
    ) -> Result<(Security, Option<Association>), AnswerError> {
        match draft.keying {
            Some(Keying::Dtls) => {
                let association = Association::conclude(self.association(index, members), local, theirs);
                let association = association.map_err(|error| match error {
                    RoleError::NoFingerprint => AnswerError::NoFingerprint(index),
                    RoleError::Setup => AnswerError::Setup(index),
                    RoleError::Changed | RoleError::StaleTlsId => AnswerError::DtlsRole(index),
                })?;
                Ok((agree::dtls(&association, theirs), Some(association)))
            }
            Some(Keying::Sdes) => {
                let send = sdes::accepted(&theirs.cryptos, &carrier.crypto).ok_or(AnswerError::Crypto(index))?.clone();
                let [receive] = &theirs.cryptos[..] else { return Err(AnswerError::Crypto(index)) };
                if carrier.crypto.iter().any(|line| sdes::share_a_key(line, receive)) {
                    return Err(AnswerError::ReusedKey(index));
                }
                Ok((Security::Sdes { send, receive: receive.clone() }, None))
            }
            Some(Keying::Plain) | None => Ok((Security::None, None)),
        }
    }

    /// ICE, unless the answer leaves it out or gives it up (`ice-mismatch`, RFC 8839 §4.2.5).
    fn answered_ice(
        &self,
        index: usize,
        tagged: usize,
        local: &LocalTransport,
        theirs: &RemoteTransport,
        offered: bool,
    ) -> Result<Option<IceParameters>, AnswerError> {
        let Some(ice) = theirs.ice.as_ref().filter(|_| offered && !theirs.ice_mismatch) else { return Ok(None) };
        if !ice.is_valid() {
            return Err(AnswerError::Ice(index));
        }
        let mine = local.ice.as_ref();
        let former = self.former_ice(index, tagged);
        let used = self.used_ice(index, tagged);
        if let (Some(mine), Some(used), Some(former)) = (mine, used, former) {
            // RFC 8839 §4.4.1.1.1. Deviation: the other way round, new ones although this side did not restart (§4.4.2), is
            // what a transfer behind a back-to-back user agent looks like: taken as a restart.
            if mine.restarts(used) && !ice.restarts(former) {
                return Err(AnswerError::IceNotRestarted(index));
            }
        }
        Ok(Some(ice.clone()))
    }
}

/// This side's direction after an answer: `None` if the answer may not say that. RFC 3264 §6.1.
///
/// Deviation: an answer that says nothing to a one-way offer, which RFC 3264 §6.1 reads as `sendrecv` and forbids, means "as
/// you say": so do phones that have never heard of directions.
fn answered_direction(offered: Direction, answered: Option<Direction>) -> Option<Direction> {
    match answered {
        Some(answered) => (offered.and_with(answered.reversed()) == answered.reversed()).then(|| answered.reversed()),
        None => Some(offered),
    }
}
