//! What the peer's description says, read once: typed, and with what the media sections inherit from the session level
//! (RFC 8866 §5.13, RFC 9429 §5.3.1).

use std::collections::HashSet;

use crate::attribute::{Crypto, Fingerprint, Rtcp, Setup};
use crate::{Connection, Description, Direction, Media, MediaKind, Protocol};

use super::agreed::RemoteAddress;
use super::codec::Format;
use super::local::IceParameters;

/// A description of the peer.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) media: Vec<RemoteMedia>,
    /// The bundles, each by the indices of its sections in the order of the tags: the first is the tagged one. No section
    /// is in two of them, and none that is disabled.
    pub(crate) bundles: Vec<Vec<usize>>,
    /// Whether two sections have one tag.
    pub(crate) duplicate_mid: bool,
}

/// One media section of the peer.
#[derive(Debug, Clone)]
pub(crate) struct RemoteMedia {
    pub(crate) kind: MediaKind,
    pub(crate) protocol: Protocol,
    /// Not refused and not ended: a port, or bundle-only within a bundle.
    pub(crate) enabled: bool,
    pub(crate) bundle_only: bool,
    pub(crate) mid: Option<Box<str>>,
    /// As written; `None` if nothing is, which means both ways.
    pub(crate) direction: Option<Direction>,
    pub(crate) formats: Vec<Format>,
    pub(crate) raw_formats: Vec<Box<str>>,
    /// Payload type (`None` for all) and kind.
    pub(crate) feedback: Vec<(Option<u8>, Box<str>)>,
    pub(crate) extensions: Vec<(u16, Box<str>)>,
    pub(crate) packet_time: Option<u32>,
    pub(crate) max_packet_time: Option<u32>,
    pub(crate) transport: RemoteTransport,
}

/// What belongs to the transport: of bundled sections only the tagged one's counts (RFC 9143 §7.1.3).
#[derive(Debug, Clone)]
pub(crate) struct RemoteTransport {
    pub(crate) connection: Option<Connection>,
    pub(crate) port: u16,
    pub(crate) rtcp: Option<Rtcp>,
    pub(crate) rtcp_mux: bool,
    pub(crate) rtcp_mux_only: bool,
    pub(crate) rtcp_rsize: bool,
    pub(crate) setup: Option<Setup>,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) tls_id: Option<Box<str>>,
    pub(crate) ice: Option<IceParameters>,
    pub(crate) ice_mismatch: bool,
    pub(crate) cryptos: Vec<Crypto>,
}

impl Remote {
    pub(crate) fn read(description: &Description) -> Self {
        let mut seen = HashSet::new();
        let mids = description.media().iter().filter_map(Media::mid);
        let duplicate_mid = !mids.into_iter().all(|mid| seen.insert(mid));
        let mut media: Vec<RemoteMedia> =
            description.media().iter().map(|media| RemoteMedia::read(description, media)).collect();
        let mut bundles: Vec<Vec<usize>> = Vec::new();
        let mut bundled = vec![false; media.len()];
        for group in description.groups().filter(|group| group.is_bundle()) {
            let mut members = Vec::new();
            for mid in group.mids {
                let index = media.iter().position(|media| media.mid.as_deref() == Some(mid));
                let Some(index) = index.filter(|index| !bundled[*index]) else { continue };
                if media[index].transport.port != 0 || media[index].bundle_only {
                    bundled[index] = true;
                    members.push(index);
                }
            }
            if !members.is_empty() {
                bundles.push(members);
            }
        }
        for (media, bundled) in media.iter_mut().zip(bundled) {
            // RFC 9143 §6: outside a bundle the attribute means nothing; nor does it with a port.
            media.bundle_only &= bundled && media.transport.port == 0;
            media.enabled = media.transport.port != 0 || media.bundle_only;
        }
        Self { media, bundles, duplicate_mid }
    }

    /// The section whose transport this one uses as the peer sees it.
    pub(crate) fn bundle_of(&self, index: usize) -> Option<&[usize]> {
        self.bundles.iter().find(|members| members.contains(&index)).map(Vec::as_slice)
    }
}

impl RemoteMedia {
    fn read(session: &Description, media: &Media) -> Self {
        // One pass over the attributes, then one over the formats: both may be long.
        let mut maps: [Option<crate::attribute::Rtpmap<'_>>; 128] = [None; 128];
        for map in media.rtpmaps() {
            maps[usize::from(map.payload_type & 127)].get_or_insert(map);
        }
        let mut fmtps: [Option<&str>; 128] = [None; 128];
        for fmtp in media.fmtps() {
            if let Some(slot) = fmtp.format.parse().ok().and_then(|number: usize| fmtps.get_mut(number)) {
                slot.get_or_insert(fmtp.parameters);
            }
        }
        let mut seen = [false; 128];
        let formats = media.payload_types().filter(|number| !std::mem::replace(&mut seen[usize::from(*number)], true));
        let formats = formats.filter_map(|payload_type| {
            let map = maps[usize::from(payload_type)].or_else(|| crate::attribute::Rtpmap::of_static(payload_type))?;
            Some(Format {
                payload_type,
                encoding: map.encoding.into(),
                clock_rate: map.clock_rate,
                channels: map.channels_or_one(),
                fmtp: fmtps[usize::from(payload_type)].filter(|text| !text.is_empty()).map(Into::into),
            })
        });
        let formats: Vec<Format> = if media.protocol.is_rtp() { formats.collect() } else { Vec::new() };
        let feedback = media.rtcp_fbs().map(|feedback| {
            let kind = match feedback.parameter {
                Some(parameter) => format!("{} {parameter}", feedback.kind),
                None => feedback.kind.to_owned(),
            };
            (feedback.payload_type, kind.into())
        });
        let extensions = session.extmaps().chain(media.extmaps()).map(|map| (map.id, map.uri.into()));
        Self {
            kind: media.kind.clone(),
            protocol: media.protocol.clone(),
            enabled: media.port != 0,
            bundle_only: media.bundle_only(),
            mid: media.mid().map(Into::into),
            direction: media.direction().or_else(|| session.direction()),
            formats,
            raw_formats: media.formats.clone(),
            feedback: feedback.collect(),
            extensions: extensions.collect(),
            packet_time: media.ptime(),
            max_packet_time: media.maxptime(),
            transport: RemoteTransport::read(session, media),
        }
    }

    /// Whether this feedback was stated for this payload type.
    pub(crate) fn has_feedback(&self, payload_type: u8, kind: &str) -> bool {
        self.feedback.iter().any(|(number, other)| number.is_none_or(|n| n == payload_type) && **other == *kind)
    }

    /// The payload type of the retransmissions of this one.
    pub(crate) fn retransmission_of(&self, payload_type: u8) -> Option<u8> {
        self.formats.iter().find(|format| format.repeats() == Some(payload_type)).map(|format| format.payload_type)
    }
}

impl RemoteTransport {
    fn read(session: &Description, media: &Media) -> Self {
        let own: Vec<Fingerprint> = media.fingerprints().collect();
        let ufrag = media.ice_ufrag().or_else(|| session.ice_ufrag());
        let pwd = media.ice_pwd().or_else(|| session.ice_pwd());
        let ice = match (ufrag, pwd) {
            (None, None) => None,
            (ufrag, pwd) => Some(IceParameters {
                ufrag: ufrag.unwrap_or_default().into(),
                pwd: pwd.unwrap_or_default().into(),
                lite: session.ice_lite(),
                pacing: session.ice_pacing(),
                options: session.ice_options().chain(media.ice_options()).map(Into::into).collect(),
                candidates: media.candidates().map(Into::into).collect(),
                end_of_candidates: media.end_of_candidates() || session.end_of_candidates(),
            }),
        };
        Self {
            connection: media.connection().or_else(|| session.connection()),
            port: media.port,
            rtcp: media.rtcp(),
            rtcp_mux: media.rtcp_mux(),
            rtcp_mux_only: media.rtcp_mux_only(),
            rtcp_rsize: media.rtcp_rsize(),
            setup: media.setup().or_else(|| session.setup()),
            fingerprints: if own.is_empty() { session.fingerprints().collect() } else { own },
            tls_id: media.tls_id().or_else(|| session.tls_id()).map(Into::into),
            ice,
            ice_mismatch: media.ice_mismatch(),
            cryptos: media.cryptos().filter_map(Result::ok).collect(),
        }
    }

    /// Where to send; `None` without an address of the Internet.
    pub(crate) fn address(&self) -> Option<RemoteAddress> {
        let connection = self.connection.clone()?;
        (connection.network == crate::Network::Internet).then_some(RemoteAddress { connection, port: self.port })
    }

    /// Where to send RTCP: RFC 5761, else RFC 3605, else the next port (RFC 3550 §11).
    pub(crate) fn rtcp_address(&self, muxed: bool) -> Option<RemoteAddress> {
        let rtp = self.address()?;
        Some(match &self.rtcp {
            _ if muxed => rtp,
            Some(rtcp) => RemoteAddress { connection: rtcp.address.clone().unwrap_or(rtp.connection), port: rtcp.port },
            None => RemoteAddress { port: rtp.port.checked_add(1).unwrap_or(rtp.port), ..rtp },
        })
    }

    pub(crate) fn is_multicast(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| {
            connection.ttl.is_some()
                || connection.count.is_some()
                || connection.ip().is_some_and(|ip| ip.is_multicast())
        })
    }
}
