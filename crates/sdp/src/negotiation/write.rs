//! Drafts as a description.

use std::fmt::Write;

use crate::attribute::{Fmtp, Rtcp, Rtpmap};
use crate::{Bandwidth, Connection, Description, Media, Origin};

use super::codec::Codec;
use super::draft::Draft;

/// Attributes that the negotiation writes itself; a caller's would contradict them.
const RESERVED: [&str; 28] = [
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
    "rtpmap",
    "fmtp",
    "rtcp-fb",
    "mid",
    "group",
    "bundle-only",
    "setup",
    "fingerprint",
    "tls-id",
    "crypto",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "ice-pacing",
    "candidate",
    "end-of-candidates",
    "rtcp",
    "rtcp-mux",
    "rtcp-mux-only",
    "rtcp-rsize",
    "extmap",
    "ptime",
    "maxptime",
];

pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The whole description. `timing` is the offer's `t=`, which an answer must repeat (RFC 3264 §6).
pub(crate) fn description(
    origin: &Origin,
    timing: Option<&str>,
    drafts: &[Draft],
    bundles: &[Vec<usize>],
) -> Description {
    let mut description = Description::new(origin.clone());
    if let Some(timing) = timing {
        description.session.lines.set(b't', timing);
    }
    // RFC 8866 §5.7: a c= line for each media description, or one for all. Refused ones have none, so this one stands in.
    let first = drafts.iter().find_map(|draft| Some(draft.transport.as_ref()?.connection.clone()));
    let common = first.unwrap_or_else(|| Connection {
        network: origin.network.clone(),
        address_type: origin.address_type.clone(),
        address: origin.address.clone(),
        ttl: None,
        count: None,
    });
    description.set_connection(&common);
    for members in bundles {
        let mids = members.iter().filter_map(|index| drafts[*index].mid.as_deref());
        let value = mids.fold(String::from("BUNDLE"), |text, mid| text + " " + mid);
        description.push_attribute("group", Some(&value));
    }
    let ice = || drafts.iter().filter(|draft| draft.ice).filter_map(|draft| draft.transport.as_ref()?.ice.as_ref());
    if ice().any(|ice| ice.lite) {
        description.push_attribute("ice-lite", None);
    } else if let Some(pacing) = ice().filter_map(|ice| ice.pacing).max() {
        description.push_attribute("ice-pacing", Some(&pacing.to_string()));
    }
    for draft in drafts {
        description.media_mut().push(section(draft, &common));
    }
    description
}

fn section(draft: &Draft, common: &Connection) -> Media {
    let Some(transport) = draft.transport.as_ref().filter(|_| draft.enabled) else { return rejected(draft) };
    let port = if draft.bundle_only { 0 } else { transport.port };
    let mut media = Media::new(draft.kind.clone(), port, draft.protocol.clone());
    // RFC 9429 §5.2.1 wants it below each m= line; elsewhere one that says the same again is left out.
    if !draft.bundle_only && (transport.connection != *common || draft.ice) {
        media.set_connection(&transport.connection);
    }
    for (kind, value) in &draft.wish.bandwidths {
        media.push_bandwidth(Bandwidth { kind, value: *value });
    }
    if let Some(mid) = &draft.mid {
        media.push_attribute("mid", Some(mid));
    }
    if draft.bundle_only {
        media.push_attribute("bundle-only", None);
    }
    if draft.carries_transport {
        self::transport(&mut media, draft);
    }
    media.formats = draft.raw_formats.clone();
    for entry in &draft.formats {
        format(&mut media, entry.payload_type, &entry.codec, entry.codec.fmtp.as_deref());
        if let Some(number) = entry.retransmission {
            let rtx = Codec::new("rtx", entry.codec.clock_rate);
            format(&mut media, number, &rtx, Some(&format!("apt={}", entry.payload_type)));
        }
    }
    for (id, uri) in &draft.extensions {
        media.push_attribute("extmap", Some(&format!("{id} {uri}")));
    }
    for (name, value) in [("ptime", draft.wish.packet_time), ("maxptime", draft.wish.max_packet_time)] {
        if let Some(milliseconds) = value {
            media.push_attribute(name, Some(&milliseconds.to_string()));
        }
    }
    for (name, value) in &draft.wish.attributes {
        media.push_attribute(name, value.as_deref());
    }
    // Always stated: phones that assume something else than the default are common.
    if draft.protocol.is_rtp() {
        media.push_attribute(draft.direction.as_str(), None);
    }
    media
}

/// Port 0, the formats, the tag. RFC 3264 §§6, 8.2.
fn rejected(draft: &Draft) -> Media {
    let mut media = Media::new(draft.kind.clone(), 0, draft.protocol.clone());
    media.formats = draft.raw_formats.clone();
    if media.formats.is_empty() {
        media.formats.push("0".into());
    }
    if let Some(mid) = &draft.mid {
        media.push_attribute("mid", Some(mid));
    }
    media
}

/// ICE, keys and RTCP's place: what belongs to the transport.
fn transport(media: &mut Media, draft: &Draft) {
    let Some(transport) = &draft.transport else { return };
    if let Some(ice) = transport.ice.as_ref().filter(|_| draft.ice) {
        media.push_attribute("ice-ufrag", Some(&ice.ufrag));
        media.push_attribute("ice-pwd", Some(&ice.pwd));
        if !draft.ice_options.is_empty() {
            media.push_attribute("ice-options", Some(&draft.ice_options.join(" ")));
        }
        for candidate in &ice.candidates {
            media.push_attribute("candidate", Some(candidate));
        }
        if ice.end_of_candidates {
            media.push_attribute("end-of-candidates", None);
        }
    }
    if let Some(setup) = draft.setup {
        for fingerprint in &transport.fingerprints {
            media.push(fingerprint);
        }
        media.push(&setup);
        if let Some(tls_id) = transport.tls_id.as_ref().filter(|_| draft.tls_id) {
            media.push_attribute("tls-id", Some(tls_id));
        }
    }
    for line in &draft.crypto {
        media.push(line);
    }
    if let Some(port) =
        transport.rtcp_port.filter(|port| draft.protocol.is_rtp() && Some(*port) != transport.port.checked_add(1))
    {
        // RFC 5761 §5.1.1: with rtcp-mux it is where RTCP goes if the peer cannot do that; with -only there is none.
        if !draft.rtcp_mux_only {
            media.push(&Rtcp { port, address: None });
        }
    }
    for (wanted, name) in
        [(draft.rtcp_mux, "rtcp-mux"), (draft.rtcp_mux_only, "rtcp-mux-only"), (draft.rtcp_rsize, "rtcp-rsize")]
    {
        if wanted {
            media.push_attribute(name, None);
        }
    }
}

/// One format: number, `rtpmap`, `fmtp`, `rtcp-fb`. Static payload types have an `rtpmap` too (RFC 3264 §5.1).
pub(crate) fn format(media: &mut Media, payload_type: u8, codec: &Codec, fmtp: Option<&str>) {
    let number = payload_type.to_string();
    let channels = (codec.channels > 1).then_some(codec.channels);
    media.push(&Rtpmap { payload_type, encoding: &codec.encoding, clock_rate: codec.clock_rate, channels });
    if let Some(parameters) = fmtp {
        media.push(&Fmtp { format: &number, parameters });
    }
    for feedback in &codec.feedback {
        let mut value = String::new();
        let _ = write!(value, "{number} {feedback}"); // a String takes everything
        media.push_attribute("rtcp-fb", Some(&value));
    }
    media.formats.push(number.into());
}

/// The offer's first `t=` line, to be repeated in the answer. RFC 3264 §6.
pub(crate) fn timing(offer: &Description) -> Option<String> {
    offer.timings().find_map(Result::ok).map(|timing| timing.to_string())
}
