//! Session descriptions: no bytes make them panic, what is read is written back, and a change stays where it was made.

use farspeak_sdp::attribute::{
    Crypto, Direction, Extmap, Fingerprint, Fmtp, Group, Msid, Rid, Rtcp, RtcpFb, Rtpmap, Setup, Simulcast, Ssrc,
    SsrcGroup,
};
use farspeak_sdp::{Attribute, Connection, Description, Limits, Media, Section};

/// Reads `data` as a session description.
pub fn fuzz(data: &[u8]) {
    let limits = Limits::default();
    let description = match Description::parse(data, &limits) {
        Ok(description) => description,
        Err(error) => {
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&error.line), "{error} of {lines} lines");
            return;
        }
    };
    let written = description.to_bytes();
    if data.ends_with(b"\r\n") && !has_bare_line_end(data) {
        assert_eq!(written, data);
    }
    let room = Limits { max_bytes: usize::MAX, ..limits };
    let again = Description::parse(&written, &room).expect("what was written can be read");
    assert_eq!(again, description);
    assert_eq!(again.to_bytes(), written);

    let _ = (
        description.name(),
        description.origin().to_string(),
        description.timings().count(),
        format!("{description:?}"),
    );
    let _ = (
        description.groups().count(),
        description.ice_lite(),
        description.information(),
        description.media_of_mid("0"),
    );
    section(&description);
    for media in description.media() {
        section(media);
        accessors(media);
    }
    change(description, &room);
}

fn has_bare_line_end(data: &[u8]) -> bool {
    (0..data.len()).any(|at| data[at] == b'\n' && (at == 0 || data[at - 1] != b'\r'))
}

/// Whatever value can be read is read again from what it writes.
macro_rules! read_back {
    ($section:expr, $($attribute:ident)*) => {$(
        for value in $section.values($attribute::NAME) {
            if let Ok(read) = $attribute::parse(value) {
                let text = read.to_string();
                assert_eq!($attribute::parse(&text).as_ref(), Ok(&read));
            }
        }
    )*};
}

fn section(section: &Section) {
    read_back!(section, Rtpmap Fmtp Group Rtcp RtcpFb Fingerprint Setup Crypto Msid Ssrc SsrcGroup Rid Simulcast Extmap);
    for connection in section.connections().flatten() {
        assert_eq!(Connection::parse(&connection.to_string()), Ok(connection));
    }
    for (name, value) in section.attributes() {
        assert!(section.has_attribute(name));
        assert!(value.is_none() || section.value(name).is_some());
    }
    let _ = (section.ice_ufrag(), section.ice_pwd(), section.ice_options().count(), section.end_of_candidates());
    let _ = (section.bandwidths().count(), section.direction(), section.tls_id(), section.new_connection());
}

fn accessors(media: &Media) {
    for payload_type in media.payload_types() {
        assert!(media.rtpmap(payload_type).is_none_or(|map| map.payload_type == payload_type));
    }
    for format in &media.formats {
        let _ = media.fmtp(format);
    }
    for fmtp in media.fmtps() {
        fmtp.iter().for_each(|(name, value)| assert!(value.is_none() || fmtp.parameter(name).is_some()));
    }
    let _ = media.rids().map(|rid| rid.iter().count()).sum::<usize>();
    let _ = (media.is_rejected(), media.mid(), media.ptime(), media.maxptime(), media.label(), media.content().count());
    let _ = (media.rtcp_mux(), media.candidates().count(), media.ice_mismatch(), media.remote_candidates());
    let _ = (media.sctp_port(), media.max_message_size(), media.cryptos().count(), media.simulcast());
}

fn change(mut description: Description, room: &Limits) {
    let mut origin = description.origin().clone();
    origin.version = origin.version.wrapping_add(1);
    description.set_origin(origin.clone());
    description.set_connection(&Connection::new([192, 0, 2, 1].into()));
    let before: Vec<_> =
        description.media().iter().map(|media| (media.formats.clone(), media.lines().count())).collect();
    for media in description.media_mut() {
        media.set_direction(Direction::Inactive);
        media.set_attribute("mid", Some("x"));
        media.remove_attributes("candidate");
        media.port = 0;
    }
    let read = Description::parse(&description.to_bytes(), room).expect("what was changed can be read");
    assert_eq!((read.origin(), read.media().len()), (&origin, before.len()));
    for (media, (formats, lines)) in read.media().iter().zip(before) {
        assert_eq!((media.port, media.mid(), media.direction()), (0, Some("x"), Some(Direction::Inactive)));
        assert!(media.formats == formats && media.lines().count() <= lines + 2 && media.candidates().count() == 0);
    }
}
