//! What follows from this side's section and the peer's: the same whoever offered.

use crate::{Direction, MediaKind};

use super::agreed::{AgreedCodec, AgreedIce, AgreedMedia, Security};
use super::codec::{self, Codec, Format};
use super::draft::{Draft, DraftFormat};
use super::dtls_role::Association;
use super::local::IceParameters;
use super::remote::{RemoteMedia, RemoteTransport};

/// All that an agreement is made of, apart from the security, which the two roles find differently.
pub(crate) struct Parts<'a> {
    pub(crate) index: usize,
    pub(crate) draft: &'a Draft,
    pub(crate) media: &'a RemoteMedia,
    /// Of the tagged section, if it is bundled.
    pub(crate) transport: &'a RemoteTransport,
    pub(crate) bundle: Option<usize>,
    pub(crate) security: Security,
    /// As seen from this side.
    pub(crate) direction: Direction,
    pub(crate) rtcp_mux: bool,
    /// Whether this side stated `rtcp-rsize` for the transport.
    pub(crate) rtcp_rsize: bool,
    /// The ICE of this stream's transport before.
    pub(crate) former_ice: Option<&'a IceParameters>,
    pub(crate) ice: Option<IceParameters>,
    /// Whether the draft is the answer: then its order counts.
    pub(crate) answering: bool,
}

/// `None` if they have no format in common, or the peer has no address.
pub(crate) fn agree(parts: Parts<'_>) -> Option<AgreedMedia> {
    let Parts {
        index,
        draft,
        media,
        transport,
        bundle,
        security,
        direction,
        rtcp_mux,
        rtcp_rsize,
        former_ice,
        ice,
        answering,
    } = parts;
    let is_rtp = draft.protocol.is_rtp();
    let (mut codecs, mut telephone_events, mut auxiliaries) = (Vec::new(), Vec::new(), Vec::new());
    for (mine, theirs) in pairs(&draft.formats, &media.formats, answering) {
        let agreed = agreed_codec(mine, theirs, media);
        let list = if mine.codec.encoding.eq_ignore_ascii_case("telephone-event") {
            &mut telephone_events
        } else if mine.codec.is_auxiliary() {
            &mut auxiliaries
        } else {
            &mut codecs
        };
        list.push(agreed);
    }
    let helpers_only = draft.formats.iter().all(|format| format.codec.is_auxiliary());
    if is_rtp && codecs.is_empty() && !(helpers_only && !(telephone_events.is_empty() && auxiliaries.is_empty())) {
        return None;
    }
    let formats = if is_rtp { Vec::new() } else { common_formats(&draft.raw_formats, &media.raw_formats) };
    if !is_rtp && formats.is_empty() {
        return None;
    }
    let ice =
        ice.map(|remote| AgreedIce { restarted: former_ice.is_none_or(|former| remote.restarts(former)), remote });
    let known = |(id, uri): &(u16, Box<str>)| {
        media.extensions.iter().any(|(_, other)| other == uri).then(|| (*id, uri.clone()))
    };
    Some(AgreedMedia {
        index,
        mid: draft.mid.clone(),
        kind: draft.kind.clone(),
        protocol: draft.protocol.clone(),
        direction,
        remote: transport.address()?,
        remote_rtcp: transport.rtcp_address(rtcp_mux)?,
        codecs,
        telephone_events,
        auxiliaries,
        formats,
        security,
        ice,
        rtcp_mux,
        rtcp_rsize: is_rtp && rtcp_rsize && transport.rtcp_rsize,
        bundle,
        extensions: draft.extensions.iter().filter_map(known).collect(),
        packet_time: media.packet_time,
        max_packet_time: media.max_packet_time,
    })
}

/// This side's formats with the peer's for the same codec, in the order of the answer. A payload type may differ
/// (RFC 4317 §2.3); if a codec is there twice, equal numbers go together.
fn pairs<'a>(ours: &'a [DraftFormat], theirs: &'a [Format], ours_first: bool) -> Vec<(&'a DraftFormat, &'a Format)> {
    let mut pairs = Vec::new();
    let (mut taken_ours, mut taken_theirs) = (vec![false; ours.len()], vec![false; theirs.len()]);
    if ours_first {
        for mine in ours {
            let same = |at: &usize| !taken_theirs[*at] && theirs[*at].is(&mine.codec);
            let equal = (0..theirs.len()).filter(same).min_by_key(|at| theirs[*at].payload_type != mine.payload_type);
            if let Some(at) = equal {
                taken_theirs[at] = true;
                pairs.push((mine, &theirs[at]));
            }
        }
    } else {
        for format in theirs {
            let same = |at: &usize| !taken_ours[*at] && format.is(&ours[*at].codec);
            let equal = (0..ours.len()).filter(same).min_by_key(|at| ours[*at].payload_type != format.payload_type);
            if let Some(at) = equal {
                taken_ours[at] = true;
                pairs.push((&ours[at], format));
            }
        }
    }
    pairs
}

fn agreed_codec(mine: &DraftFormat, theirs: &Format, media: &RemoteMedia) -> AgreedCodec {
    let Codec { encoding, clock_rate, channels, fmtp, feedback, .. } = mine.codec.clone();
    AgreedCodec {
        local_payload_type: mine.payload_type,
        remote_payload_type: theirs.payload_type,
        encoding,
        clock_rate,
        channels,
        fmtp_local: fmtp,
        fmtp_remote: theirs.fmtp.clone(),
        feedback: feedback.into_iter().filter(|kind| media.has_feedback(theirs.payload_type, kind)).collect(),
        retransmission: mine.retransmission.zip(media.retransmission_of(theirs.payload_type)),
    }
}

impl AgreedCodec {
    /// The codec as this side would offer it, for another leg of the call.
    pub fn codec(&self) -> Codec {
        Codec {
            encoding: self.encoding.clone(),
            clock_rate: self.clock_rate,
            channels: self.channels,
            fmtp: self.fmtp_local.clone(),
            payload_type: Some(self.local_payload_type),
            feedback: self.feedback.clone(),
            retransmission: self.retransmission.is_some(),
        }
    }
}

/// The peer's formats that are among ours; `*` stands for any.
pub(crate) fn common_formats(ours: &[Box<str>], theirs: &[Box<str>]) -> Vec<Box<str>> {
    let any = ours.iter().any(|format| &**format == "*");
    theirs.iter().filter(|format| any || ours.iter().any(|own| own.eq_ignore_ascii_case(format))).cloned().collect()
}

/// How a section whose DTLS association is this one is protected.
pub(crate) fn dtls(association: &Association, transport: &RemoteTransport) -> Security {
    Security::Dtls {
        role: association.role,
        fingerprints: transport.fingerprints.clone(),
        tls_id: transport.tls_id.clone(),
        association: association.number,
    }
}

/// The codecs of `ours` that the peer has too, in the peer's order: its format, and our codec.
pub(crate) fn common_codecs<'a>(ours: &'a [Codec], theirs: &'a [Format]) -> Vec<(&'a Format, &'a Codec)> {
    theirs.iter().filter_map(|format| Some((format, ours.iter().find(|codec| format.is(codec))?))).collect()
}

/// Telephone events in the offer that go with these codecs: at their clock rates, or at any if the offer has nothing else.
pub(crate) fn common_events<'a>(codecs: &[&Codec], offered: &'a [Format], alone: bool) -> Vec<&'a Format> {
    let is_event = |format: &&Format| format.encoding.eq_ignore_ascii_case("telephone-event");
    let fits = |format: &&Format| alone || codecs.iter().any(|codec| codec.clock_rate == format.clock_rate);
    offered.iter().filter(is_event).filter(fits).collect()
}

/// Whether the offer has nothing but helpers, as a stream of its own for events has (RFC 4317 §2.4).
pub(crate) fn helpers_only(kind: &MediaKind, offered: &[Format]) -> bool {
    *kind == MediaKind::Audio && offered.iter().all(|format| codec::is_auxiliary(&format.encoding))
}
