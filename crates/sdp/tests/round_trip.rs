//! Whatever can be read is written back as it was; whatever is built reads back as it was built.

use farspeak_sdp::attribute::{
    Crypto, Direction, Extmap, Fingerprint, Fmtp, Group, HashFunction, KeyParam, Msid, Rid, RidDirection, Rtcp, RtcpFb,
    Rtpmap, Simulcast, SimulcastStream, Ssrc, SsrcGroup,
};
use farspeak_sdp::{
    AddressType, Attribute, Connection, Description, Limits, Media, MediaKind, Network, Origin, Protocol,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,12}"
}

fn text() -> impl Strategy<Value = String> {
    "[^\r\n\0]{0,40}"
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        ("[abdefghijklnpqrstuwxyzA-Z]", text()).prop_map(|(letter, text)| format!("{letter}={text}")),
        (token(), text()).prop_map(|(name, value)| format!("a={name}:{value}")),
        Just("b=AS:64".to_owned()),
        Just(String::new()),
    ]
}

fn media_line() -> impl Strategy<Value = String> {
    (token(), any::<u16>(), option::of(1..=u16::MAX), token(), vec(token(), 0..6), "[ ]{1,2}", "[ ]{0,1}").prop_map(
        |(kind, port, count, protocol, formats, space, end)| {
            let count = count.map_or(String::new(), |count| format!("/{count}"));
            format!("m={kind}{space}{port}{count} {protocol} {}{end}", formats.join(&space))
        },
    )
}

fn description() -> impl Strategy<Value = String> {
    let section = || vec(line(), 0..8);
    (token(), section(), vec((media_line(), section()), 0..4)).prop_map(|(user, session, media)| {
        let mut text = format!("v=0\r\no={user} 1 2 IN IP4 192.0.2.1\r\n");
        let lines = session.into_iter().chain(
            media.into_iter().flat_map(|(first, lines)| [vec![first, "c=IN IP4 192.0.2.1".into()], lines].concat()),
        );
        lines.for_each(|line| text.extend([&*line, "\r\n"]));
        text
    })
}

fn address() -> impl Strategy<Value = Connection> {
    (token(), any::<[u8; 4]>(), option::of(any::<u8>()), option::of(1_u32..)).prop_map(|(host, bytes, ttl, count)| {
        match ttl {
            Some(255) => Connection::new(bytes.into()),
            ttl => Connection {
                network: Network::Internet,
                address_type: if ttl.is_none() { AddressType::Ip6 } else { AddressType::Ip4 },
                address: host.into(),
                ttl,
                count,
            },
        }
    })
}

/// What is read from the text that a value makes is that value.
fn reads_back<'a, A: Attribute<'a> + PartialEq + std::fmt::Debug>(value: &A, text: &'a str) {
    assert_eq!(A::parse(text).as_ref(), Ok(value), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_can_be_read_is_written_as_it_was(text in description()) {
        let description = Description::parse(text.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(description.to_string(), &*text);
        let sloppy = Description::parse(text.replace("\r\n", "\n").as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(&sloppy, &description);
        prop_assert_eq!(sloppy.to_string(), text);
    }

    #[test]
    fn any_bytes_are_written_as_they_were_or_refused(bytes in vec(prop_oneof![Just(b'\n'), Just(b'='), any::<u8>()], 0..200)) {
        let bytes = [b"v=0\no=- 1 1 IN IP4 192.0.2.1\n", &bytes[..]].concat();
        if let Ok(description) = Description::parse(&bytes, &Limits::default()) {
            let written = description.to_bytes();
            let again = Description::parse(&written, &Limits::default()).unwrap();
            prop_assert_eq!(&again, &description);
            prop_assert_eq!(again.to_bytes(), written);
        }
    }

    #[test]
    fn what_is_built_reads_back(
        (user, id, version, host) in (token(), any::<u64>(), any::<u64>(), token()),
        media in vec((token(), any::<u16>(), token(), vec(token(), 1..5), vec((token(), option::of(text())), 0..5)), 0..4),
        connection in option::of(address()),
    ) {
        let origin = Origin { username: user.into(), address: host.into(), ..Origin::new(id, version, [192, 0, 2, 1].into()) };
        let mut description = Description::new(origin);
        if let Some(connection) = &connection {
            description.set_connection(connection);
        }
        for (kind, port, protocol, formats, attributes) in media {
            let mut media = Media::new(MediaKind::parse(&kind), port, Protocol::parse(&protocol));
            media.formats = formats.into_iter().map(Into::into).collect();
            attributes.iter().for_each(|(name, value)| media.push_attribute(name, value.as_deref()));
            media.set_direction(Direction::RecvOnly);
            description.media_mut().push(media);
        }
        let read = Description::parse(&description.to_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(&read, &description);
        prop_assert_eq!(read.connection(), connection);
    }

    #[test]
    fn typed_attributes_read_back(
        (pt, number, id, name, value) in (0_u8..128, 1_u32.., any::<u32>(), "[A-Za-z0-9_-]{1,9}", "[a-z0-9=;/]{1,20}"),
        (some, flag, words, ids) in (option::of(1_u8..), any::<bool>(), vec(token(), 0..4), vec(any::<u32>(), 0..4)),
        (key, lifetime, mki) in (vec(any::<u8>(), 1..50), option::of(1_u64..), option::of((any::<u64>(), 1_u8..=128))),
        (hash, streams, address) in (any::<[u8; 32]>(), vec(vec(("[a-z0-9]{1,4}", any::<bool>()), 1..3), 0..3), option::of(address())),
    ) {
        let rtpmap = Rtpmap { payload_type: pt, encoding: &name, clock_rate: number, channels: some };
        reads_back(&rtpmap, &rtpmap.to_string());
        let fmtp = Fmtp { format: &name, parameters: &value };
        reads_back(&fmtp, &fmtp.to_string());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let group = Group { semantics: &name, mids: words.clone() };
        reads_back(&group, &group.to_string());
        let ssrc = Ssrc { id, attribute: &name, value: flag.then_some(&value) };
        reads_back(&ssrc, &ssrc.to_string());
        let group = SsrcGroup { semantics: &name, ids };
        reads_back(&group, &group.to_string());
        let extmap = Extmap {
            id: u16::from(some.unwrap_or(7)),
            direction: flag.then_some(Direction::SendOnly),
            uri: &value,
            attributes: words.first().copied().unwrap_or_default(),
        };
        reads_back(&extmap, &extmap.to_string());
        let msid = Msid { id: &name, appdata: words.first().copied() };
        reads_back(&msid, &msid.to_string());
        let direction = if flag { RidDirection::Send } else { RidDirection::Recv };
        let rid = Rid { id: &name, direction, restrictions: if flag { &value } else { "" } };
        reads_back(&rid, &rid.to_string());
        let feedback = RtcpFb { payload_type: flag.then_some(pt), kind: &name, parameter: words.first().copied() };
        reads_back(&feedback, &feedback.to_string());
        let rtcp = Rtcp { port: pt.into(), address };
        reads_back(&rtcp, &rtcp.to_string());
        let fingerprint = Fingerprint { hash: HashFunction::Sha256, bytes: hash.to_vec() };
        reads_back(&fingerprint, &fingerprint.to_string());
        let key = KeyParam { key_salt: key, lifetime, mki };
        let crypto = Crypto {
            tag: number % 1_000_000_000,
            suite: name.clone().into(),
            key_params: vec![key; usize::from(pt % 2) + 1],
            session_params: words.iter().map(|word| Box::from(*word)).collect(),
        };
        reads_back(&crypto, &crypto.to_string());
        let stream = |(rid, paused): &'_ (String, bool)| (rid.clone(), *paused);
        let owned: Vec<Vec<_>> = streams.iter().map(|alternatives| alternatives.iter().map(stream).collect()).collect();
        let streams = |owned: &'static [Vec<(String, bool)>]| -> Vec<Vec<SimulcastStream<'static>>> {
            owned.iter().map(|a| a.iter().map(|(rid, paused)| SimulcastStream { rid, paused: *paused }).collect()).collect()
        };
        let owned: &'static [Vec<(String, bool)>] = owned.leak();
        if !owned.is_empty() {
            let simulcast = Simulcast { send: streams(owned), recv: if flag { streams(owned) } else { Vec::new() } };
            reads_back(&simulcast, &simulcast.to_string());
        }
    }
}
