//! Our reading beside that of `sdp-types`, over what real clients send and over mutations of it.
//!
//! Both must come to the same verdict and read the same, except where the lists at the end of this file say why not.

mod support;

use std::fmt::Debug;

use farspeak_sdp::attribute::{Crypto, Extmap, Fingerprint, Fmtp, Group, Rid, Rtpmap, Setup, Ssrc, SsrcGroup};
use farspeak_sdp::{Attribute, Connection, Description, Limits, Media, ParseError, ParseErrorKind, Section};
use sdp_types::{ParserError, Session};

#[test]
fn agrees_on_what_real_clients_send() {
    let (mut descriptions, mut attributes) = (0, 0);
    for (name, bytes) in support::corpus() {
        let Some((ours, theirs)) = both(&name, &bytes) else { continue };
        descriptions += 1;
        attributes += typed(&name, &ours, &theirs.attributes);
        for (ours, theirs) in ours.media().iter().zip(&theirs.medias) {
            attributes += typed(&name, ours, &theirs.attributes);
        }
    }
    println!("{descriptions} descriptions and {attributes} typed attributes agree");
    assert!(descriptions > 140 && attributes > 1500);
}

#[test]
fn agrees_on_mutations() {
    let corpus = support::corpus();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = move |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let mut read = 0;
    for round in 0..4000 {
        let (name, seed) = &corpus[below(corpus.len())];
        let mut lines: Vec<Vec<u8>> = seed.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for _ in 0..1 + below(3) {
            // The first lines are changed most: most rules are about them.
            let line = below(lines.len()).min(below(lines.len()));
            let other = below(lines.len());
            match below(7) {
                0 => drop(lines.remove(line)),
                1 => lines.insert(other, lines[line].clone()),
                2 => lines.swap(line, other),
                3 => lines[line].retain(|byte| *byte != b'\r'),
                4 => {
                    let at = below(lines[line].len());
                    lines[line].insert(at, b" /:=0\r\xc3\t"[below(8)]);
                }
                5 => {
                    let at = below(lines[line].len());
                    lines[line][at] = [b' ', b'9', b'x', b'-', 0][below(5)];
                }
                _ => {
                    let at = below(lines[line].len());
                    lines[line].remove(at);
                }
            }
            if lines.is_empty() {
                lines.push(b"v=0\r\n".to_vec());
            }
            lines.iter_mut().filter(|line| line.is_empty()).for_each(|line| line.push(b'\n'));
        }
        read += usize::from(both(&format!("{name}, round {round}"), &lines.concat()).is_some());
    }
    println!("{read} of 4000 mutations are read alike by both, the others alike refused or by a known difference");
    assert!(read > 1500);
}

/// Reads with both and compares everything that is not an attribute's value; `None` if one of them refuses.
fn both(name: &str, bytes: &[u8]) -> Option<(Description, Session)> {
    let shown = || format!("{name}:\n{}", String::from_utf8_lossy(bytes));
    let (ours, theirs) = match (Description::parse(bytes, &Limits::default()), Session::parse(bytes)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return None,
        (Ok(_), Err(error)) => {
            assert!(we_are_lenient(&error, bytes), "only we read this, they say {error:?}: {}", shown());
            return None;
        }
        (Err(error), Ok(_)) => {
            assert!(we_are_strict(error), "only they read this, we say {error}: {}", shown());
            return None;
        }
    };
    let origin = ours.origin();
    let named = theirs.origin.username.as_deref().unwrap_or("-");
    assert_eq!((&*origin.username, &*origin.session_id), (named, &*theirs.origin.sess_id), "{}", shown());
    assert_eq!((origin.version, &*origin.address), (theirs.origin.sess_version, &*theirs.origin.unicast_address));
    assert_eq!(ours.name().unwrap_or_default(), theirs.session_name, "{}", shown());
    assert_eq!(ours.information(), theirs.session_description.as_deref(), "{}", shown());
    let times: Vec<_> = ours.timings().map(|timing| timing.map(|timing| (timing.start, timing.stop))).collect();
    assert_eq!(times, theirs.times.iter().map(|time| Ok((time.start_time, time.stop_time))).collect::<Vec<_>>());
    section(&ours, &theirs.connection.iter().collect::<Vec<_>>(), &theirs.bandwidths, &theirs.attributes, &shown);
    assert_eq!(ours.media().len(), theirs.medias.len(), "{}", shown());
    for (ours, theirs) in ours.media().iter().zip(&theirs.medias) {
        // They take two spaces for an empty field between them.
        if !spaced(bytes) {
            media(ours, theirs, &shown);
        }
        section(ours, &theirs.connections.iter().collect::<Vec<_>>(), &theirs.bandwidths, &theirs.attributes, &shown);
    }
    Some((ours, theirs))
}

fn media(ours: &Media, theirs: &sdp_types::Media, shown: &dyn Fn() -> String) {
    assert!(ours.kind.as_str().eq_ignore_ascii_case(&theirs.media), "{}", shown());
    assert_eq!((ours.port, ours.port_count), (theirs.port, theirs.num_ports), "{}", shown());
    assert!(ours.protocol.as_str().eq_ignore_ascii_case(&theirs.proto), "{}", shown());
    let formats: Vec<&str> = theirs.fmt.split(' ').filter(|format| !format.is_empty()).collect();
    assert!(ours.formats.iter().map(|format| &**format).eq(formats), "{}", shown());
}

fn section(
    ours: &Section,
    connections: &[&sdp_types::Connection],
    bandwidths: &[sdp_types::Bandwidth],
    attributes: &[sdp_types::Attribute],
    shown: &dyn Fn() -> String,
) {
    let text = |theirs: &&sdp_types::Connection| {
        format!("{} {} {}", theirs.nettype, theirs.addrtype, theirs.connection_address)
    };
    let read: Vec<_> = ours.connections().map(|connection| connection.unwrap()).collect();
    assert_eq!(read, connections.iter().map(|theirs| Connection::parse(&text(theirs)).unwrap()).collect::<Vec<_>>());
    let theirs = bandwidths.iter().map(|theirs| (theirs.bwtype.trim(), theirs.bandwidth));
    assert!(ours.bandwidths().map(|ours| (ours.kind, ours.value)).eq(theirs), "{}", shown());
    let theirs = attributes.iter().map(|theirs| (&*theirs.attribute, theirs.value.as_deref()));
    assert!(ours.attributes().eq(theirs), "{}", shown());
}

/// Reads each attribute's value with both, and says how many were compared.
fn typed(name: &str, ours: &Section, theirs: &[sdp_types::Attribute]) -> usize {
    let mut count = 0;
    let mut seen = 0;
    for attribute in theirs {
        let Some(value) = attribute.value.as_deref() else { continue };
        match &*attribute.attribute {
            "rtpmap" => pair(name, value, &mut count, |ours: Rtpmap, theirs: sdp_types::RtpMap| {
                let channels = ours.channels.map(|channels| channels.to_string());
                (ours.payload_type, ours.clock_rate) == (theirs.payload_type, theirs.clock_rate)
                    && (ours.encoding, channels) == (&*theirs.encoding_name, theirs.encoding_params)
            }),
            "fmtp" => pair(name, value, &mut count, |ours: Fmtp, theirs: sdp_types::Fmtp| {
                ours.format == theirs.fmt.to_string()
            }),
            "fingerprint" => pair(name, value, &mut count, |ours: Fingerprint, theirs: sdp_types::Fingerprint| {
                ours.bytes == theirs.fingerprint && ours.to_string().eq_ignore_ascii_case(&theirs.to_string())
            }),
            "group" => pair(name, value, &mut count, |ours: Group, theirs: sdp_types::Group| {
                ours.mids == theirs.mid_tags && ours.to_string() == theirs.to_string()
            }),
            "setup" => pair(name, value, &mut count, |ours: Setup, theirs: sdp_types::Setup| {
                ours.as_str() == theirs.to_string()
            }),
            "ssrc" => pair(name, value, &mut count, |ours: Ssrc, theirs: sdp_types::Ssrc| {
                ours.to_string() == theirs.to_string()
            }),
            "ssrc-group" => pair(name, value, &mut count, |ours: SsrcGroup, theirs: sdp_types::SsrcGroup| {
                ours.to_string() == theirs.to_string()
            }),
            "extmap" => pair(name, value, &mut count, |ours: Extmap, theirs: sdp_types::ExtMap| {
                (ours.id, ours.uri) == (theirs.id.into(), &*theirs.uri)
                    && ours.direction.map(|direction| direction.to_string())
                        == theirs.direction.map(|other| other.to_string())
            }),
            "rid" => pair(name, value, &mut count, |ours: Rid, theirs: sdp_types::Rid| {
                ours.to_string() == theirs.to_string()
            }),
            "crypto" => pair(name, value, &mut count, |ours: Crypto, theirs: sdp_types::Crypto| {
                ours.tag == theirs.tag && ours.key_params.len() == theirs.key_params.len()
            }),
            _ => continue,
        }
        seen += 1;
    }
    let known = ["rtpmap", "fmtp", "fingerprint", "group", "setup", "ssrc", "ssrc-group", "extmap", "rid", "crypto"];
    assert_eq!(seen, known.iter().map(|known| ours.values(known).count()).sum::<usize>());
    count
}

fn pair<'a, O: Attribute<'a> + Debug, T: std::str::FromStr + Debug>(
    name: &str,
    value: &'a str,
    count: &mut usize,
    same: impl Fn(O, T) -> bool,
) {
    match (O::parse(value), value.parse()) {
        (Ok(ours), Ok(theirs)) => {
            let shown = format!("{name}: {ours:?} and {theirs:?}");
            assert!(same(ours, theirs), "{shown}");
            *count += 1;
        }
        (Err(_), Err(_)) => {}
        // They know only some semantics of groups, and formats only as payload types.
        (Ok(ours), Err(_)) => println!("{name}: only we read {}:{ours}", O::NAME),
        (Err(error), Ok(_)) => panic!("{name}: only they read {value}: {error}"),
    }
}

/// What we read although `sdp-types` does not; the top of `parse.rs` says why.
fn we_are_lenient(theirs: &ParserError, bytes: &[u8]) -> bool {
    use ParserError::*;
    match theirs {
        // Lines that nothing hangs on, twice or broken: kept, and their accessors give what can be read.
        MultipleSessionNames(_) | MultipleSessionDescription(_) | MultipleUris(_) | MultipleMediaTitles(_) => true,
        MultipleKeys(_) | MultipleTimeZones(_) | RepeatWithoutTime(_) => true,
        MissingField(_, field) | InvalidFieldFormat(_, field) | FieldTrailingData(_, field)
            if ["Time", "Repeat", "Bandwidth"].iter().any(|kind| field.starts_with(kind)) =>
        {
            true
        }
        // Text that is not UTF-8, a space behind the version, spaces in the user name, types of networks that are no tokens.
        InvalidFieldEncoding(..) | FieldTrailingData(_, "Origin") => true,
        InvalidVersion(_, version) => version.trim_ascii() == b"0",
        InvalidFieldFormat(_, field) => field.ends_with("type") || (field.starts_with("Media") && spaced(bytes)),
        MissingField(_, "Media fmt") => true,
        MissingField(_, field) => field.starts_with("Media") && spaced(bytes),
        _ => false,
    }
}

/// Whether there is an `m=` line with a space too many.
fn spaced(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"m="));
    lines.any(|line| line.starts_with(b"m= ") || line.windows(2).any(|pair| pair == b"  "))
}

/// What we refuse although `sdp-types` does not.
fn we_are_strict(ours: ParseError) -> bool {
    use ParseErrorKind::*;
    match ours.kind {
        // Nothing can be negotiated without an origin; of two lines each reader could take another.
        MissingOrigin | Misplaced | TypeLetter => true,
        // They keep a connection's address as it is, take +9 for a port and 0 for a number of ports, and words with controls.
        Expected(what) => [
            "a time to live below 256 and a number of addresses behind the address",
            "an address",
            "a port below 65536",
            "a number of ports from 1 to 65535",
            "no control characters in an m= line",
            "a version below 2^64",
        ]
        .contains(&what),
        _ => false,
    }
}
