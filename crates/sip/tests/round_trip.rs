//! Properties over generated messages: what is written reads back the same, what is not edited stays to the byte, and how
//! a stream is cut never shows.

use farspeak_sip::framer::{Frame, StreamFramer};
use farspeak_sip::message::{Edit, HeaderName, Limits, Message, ResponseBuilder, StatusCode};
use proptest::prelude::*;

/// A header field's name: known in any case, known compact, unknown.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(HeaderName::ALL).prop_map(|name| name.as_str().to_owned()),
        proptest::sample::select(HeaderName::ALL).prop_map(|name| name.as_str().to_uppercase()),
        proptest::sample::select(HeaderName::ALL).prop_map(|name| name.compact().unwrap_or("X-None").to_owned()),
        "[A-Za-z!%*_+`'~][A-Za-z0-9.!%*_+`'~-]{0,20}",
    ]
    .prop_filter("the length is added at the end", |name| HeaderName::parse(name) != HeaderName::ContentLength)
}

/// Anything that is text without line breaks, here and there folded.
fn value() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![4 => "[ -~]{0,30}", 1 => "\\PC{0,8}", 1 => Just("\r\n ".to_owned()), 1 => Just("\r\n\t".to_owned())], 0..4)
        .prop_map(|pieces| pieces.concat())
}

#[derive(Clone, Debug)]
struct Written {
    fields: Vec<(String, String, String)>,
    body: Vec<u8>,
    bytes: Vec<u8>,
}

fn written() -> impl Strategy<Value = Written> {
    let spaces = proptest::sample::select(vec![":", ": ", " : ", "\t:\t", ":  "]);
    let fields = proptest::collection::vec((name(), spaces.prop_map(str::to_owned), value()), 0..12);
    let first = prop_oneof![
        Just("INVITE sip:bob@biloxi.example SIP/2.0".to_owned()),
        Just("SIP/2.0 200 OK".to_owned()),
        "[A-Z!%]{1,12} [a-z]{1,8}:[!-;=-~]{1,30} SIP/2\\.0",
    ];
    (first, fields, proptest::collection::vec(any::<u8>(), 0..64)).prop_map(|(first, fields, body)| {
        let mut text = format!("{first}\r\n");
        for (name, colon, value) in &fields {
            text += &format!("{name}{colon}{value}\r\n");
        }
        text += &format!("l: {}\r\n\r\n", body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&body);
        Written { fields, body, bytes }
    })
}

fn read(bytes: &[u8]) -> Message {
    Message::parse(bytes, &Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(bytes)))
}

fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t', '\r', '\n'])
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(written in written()) {
        let message = read(&written.bytes);
        prop_assert_eq!(message.to_vec(), &written.bytes[..]);
        prop_assert_eq!(read(&message.to_vec()), message.clone());
        prop_assert_eq!(message.body(), &written.body[..]);
        let expected: Vec<_> = written.fields.iter().map(|(name, _, value)| (name.as_str(), trimmed(value))).collect();
        let mut seen: Vec<_> = message.fields().map(|(_, name, value)| (name, value)).collect();
        prop_assert_eq!(seen.pop().map(|(name, _)| name), Some("l"));
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn an_edit_leaves_every_other_byte_in_its_place(written in written(), position in any::<proptest::sample::Index>()) {
        let message = read(&written.bytes);
        let mut edit = Edit::new(&message);
        edit.prepend(HeaderName::Via, "SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1").append_named("X-Below", "2");
        let bytes = edit.to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let without = text
            .replacen("Via: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1\r\n", "", 1)
            .replacen("X-Below: 2\r\n", "", 1);
        prop_assert_eq!(without, String::from_utf8_lossy(&written.bytes).into_owned());

        if !written.fields.is_empty() {
            let (name, _, _) = &written.fields[position.index(written.fields.len())];
            let name = HeaderName::parse(name);
            if name != HeaderName::Other {
                let bytes = Edit::new(&message).remove_all(name).to_vec();
                let rest = read(&bytes);
                prop_assert_eq!(rest.header(name), None);
                prop_assert_eq!(
                    rest.fields().collect::<Vec<_>>(),
                    message.fields().filter(|(candidate, ..)| *candidate != name).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn values_are_taken_away_from_the_front(values in proptest::collection::vec("<sip:[a-z]{1,5}(,[a-z])?;lr>(;x=\"[a,]{0,3}\")?", 1..6), breaks in any::<u8>()) {
        let mut text = String::from("BYE sip:a SIP/2.0\r\nRoute: ");
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                text += if breaks & (1 << index) == 0 { ", " } else { "\r\nRoute:" };
            }
            text += value;
        }
        text += "\r\nl: 0\r\n\r\n";
        let message = read(text.as_bytes());
        prop_assert!(message.values(HeaderName::Route).eq(values.iter().map(String::as_str)));
        let mut edit = Edit::new(&message);
        for taken in 1..=values.len() {
            edit.remove_first_value(HeaderName::Route);
            let rest = read(&edit.to_vec());
            prop_assert!(rest.values(HeaderName::Route).eq(values[taken..].iter().map(String::as_str)));
        }
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut(messages in proptest::collection::vec(written(), 1..4), cuts in proptest::collection::vec(1..200_usize, 1..20)) {
        let stream: Vec<u8> = messages.iter().flat_map(|written| written.bytes.clone()).collect();
        let mut framer = StreamFramer::new(Limits::default());
        let mut frames = Vec::new();
        let mut rest = &stream[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            framer.push(piece);
            while let Some(frame) = framer.next() {
                match frame {
                    Frame::Message(bytes) => frames.push(bytes.to_vec()),
                    frame => prop_assert!(false, "{frame:?}"),
                }
            }
            rest = after;
        }
        prop_assert!(frames.iter().eq(messages.iter().map(|written| &written.bytes)));
        prop_assert_eq!(framer.heap_bytes(), 0);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Message::parse(&bytes, &Limits::default()) {
            let _ = (message.check_essential(), message.contacts().is_ok(), message.routes().count());
            let _ = ResponseBuilder::new(&message, StatusCode::OK).to_vec();
        }
    }
}
