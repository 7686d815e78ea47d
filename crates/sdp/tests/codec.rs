//! The codec's claims: what is kept, what is read leniently, what is refused and where, and what a change does.

use farspeak_sdp::attribute::{Direction, Rtpmap};
use farspeak_sdp::{
    AddressType, Bandwidth, Connection, Description, Limits, Media, MediaKind, Origin, ParseError, ParseErrorKind,
    Protocol, Timing,
};

/// RFC 8866 §5.
const SEMINAR: &str = "v=0\r\n\
    o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\n\
    s=Call to John Smith\r\n\
    i=SDP Offer #1\r\n\
    u=http://www.jdoe.example.com/home.html\r\n\
    e=Jane Doe <jane@jdoe.example.com>\r\n\
    p=+1 617 555-6011\r\n\
    c=IN IP4 198.51.100.1\r\n\
    b=AS:256\r\n\
    t=0 0\r\n\
    m=audio 49170 RTP/AVP 0\r\n\
    m=audio 49180 RTP/AVP 0\r\n\
    m=video 51372 RTP/AVP 99\r\n\
    c=IN IP6 2001:db8::2\r\n\
    a=rtpmap:99 h263-1998/90000\r\n";

fn parse(text: &str) -> Result<Description, ParseError> {
    Description::parse(text.as_bytes(), &Limits::default())
}

/// A description with these lines behind the session's own, each ended as it should be.
fn with(lines: &[&str]) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{}\r\n", lines.join("\r\n"))
}

fn refused(text: &str) -> (usize, ParseErrorKind) {
    let error = parse(text).expect_err(text);
    (error.line, error.kind)
}

#[test]
fn reads_the_example_of_rfc_8866() {
    let description = parse(SEMINAR).unwrap();
    let origin = description.origin();
    assert_eq!((&*origin.username, &*origin.session_id, origin.version), ("jdoe", "3724394400", 3_724_394_405));
    assert_eq!((&origin.address_type, &*origin.address), (&AddressType::Ip4, "198.51.100.1"));
    assert_eq!((description.name(), description.information()), (Some("Call to John Smith"), Some("SDP Offer #1")));
    assert_eq!(description.connection().unwrap().ip(), Some("198.51.100.1".parse().unwrap()));
    assert_eq!(description.bandwidths().collect::<Vec<_>>(), [Bandwidth { kind: "AS", value: 256 }]);
    assert_eq!(description.timings().collect::<Vec<_>>(), [Ok(Timing::default())]);
    assert_eq!(description.media().iter().map(|media| media.port).collect::<Vec<_>>(), [49170, 49180, 51372]);
    let video = &description.media()[2];
    assert_eq!(video.connection().unwrap().to_string(), "IN IP6 2001:db8::2");
    assert_eq!(video.rtpmap(99).unwrap().encoding, "h263-1998");
    assert_eq!(description.lines().map(|line| line.letter).collect::<String>(), "vosiuepcbt");
    assert_eq!(description.to_string(), SEMINAR);
}

#[test]
fn keeps_unknown_lines_and_attributes_and_their_order() {
    let text = with(&[
        "X=upper",
        "a=one",
        "y=",
        "a=two:2:3",
        "m=haptics 7/2 RTP/NEW * x",
        "z=a media's",
        "a=",
        "a=:b",
        "k=clear:x",
    ]);
    let description = parse(&text).unwrap();
    assert_eq!(description.to_string(), text);
    assert_eq!(description.attributes().collect::<Vec<_>>(), [("one", None), ("two", Some("2:3"))]);
    let media = &description.media()[0];
    assert_eq!((media.kind.as_str(), media.port, media.port_count), ("haptics", 7, Some(2)));
    assert_eq!(
        (&media.protocol, &media.formats[..]),
        (&Protocol::Other("RTP/NEW".into()), &["*".into(), "x".into()][..])
    );
    assert_eq!(media.attributes().collect::<Vec<_>>(), [("", None), ("", Some("b"))]);
}

#[test]
fn takes_line_feeds_alone_and_a_last_line_without_an_end() {
    let sloppy = SEMINAR.replace("\r\n", "\n");
    assert_eq!(parse(&sloppy).unwrap().to_string(), SEMINAR);
    assert_eq!(parse(sloppy.trim_end()).unwrap().to_string(), SEMINAR);
    assert_eq!(parse(&sloppy), parse(SEMINAR));
}

#[test]
fn takes_descriptions_without_a_name_or_a_time() {
    let description = parse("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0\r\n").unwrap();
    assert_eq!((description.name(), description.timings().count()), (None, 0));
}

#[test]
fn takes_extra_spaces_and_blank_lines_and_writes_them_back() {
    let text = "v=0 \r\no=-  1  1 IN IP4 192.0.2.1 \r\ns= \r\n\r\nc=IN  IP4 192.0.2.1 \r\nt=0  0\r\n\
                m=audio  9  RTP/AVP  0 8 \r\na=rtpmap:8   PCMA/8000 \r\n\r\n\r\n";
    let description = parse(text).unwrap();
    assert_eq!(description.to_string(), text);
    assert_eq!(description.connection().unwrap().to_string(), "IN IP4 192.0.2.1");
    assert_eq!((description.origin().version, description.media()[0].formats.len()), (1, 2));
}

#[test]
fn takes_user_names_with_spaces() {
    let description = parse("v=0\r\no=Room 12 1 2 IN IP4 gw.example.com\r\n").unwrap();
    let origin = description.origin();
    assert_eq!((&*origin.username, &*origin.session_id, origin.version), ("Room 12", "1", 2));
    assert_eq!(origin.to_string(), "Room 12 1 2 IN IP4 gw.example.com");
}

#[test]
fn takes_lines_in_another_order() {
    let text =
        with(&["a=sendonly", "c=IN IP4 192.0.2.9", "b=AS:64", "m=audio 9 RTP/AVP 0", "a=x", "c=IN IP4 192.0.2.8"]);
    let description = parse(&text).unwrap();
    assert_eq!(description.to_string(), text);
    assert_eq!(&*description.connection().unwrap().address, "192.0.2.9");
    assert_eq!(&*description.media()[0].connection().unwrap().address, "192.0.2.8");
}

#[test]
fn keeps_text_that_is_not_utf_8() {
    let mut bytes = with(&["a=x"]).into_bytes();
    bytes.extend(b"i=M\xfcller\r\na=y:\xff\xfe:z\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n");
    let description = Description::parse(&bytes, &Limits::default()).unwrap();
    assert_eq!(description.to_bytes(), bytes);
    assert_eq!(description.information(), Some("M\u{fffd}ller"));
    assert_eq!(description.attribute("y"), Some(Some("\u{fffd}\u{fffd}:z")));
    assert_eq!(description.media()[0].mid(), Some("0"));
    bytes.extend(b"m=audio 9 RTP/AVP \xff\r\n");
    let error = Description::parse(&bytes, &Limits::default()).unwrap_err();
    assert_eq!((error.line, error.kind), (10, ParseErrorKind::Expected("UTF-8 in an m= line")));
}

#[test]
fn says_which_line_cannot_be_read_and_what_was_expected() {
    use ParseErrorKind::*;
    assert_eq!(refused(""), (1, Version));
    assert_eq!(refused("\r\nv=0\r\n"), (1, Version));
    assert_eq!(refused("v=1\r\n"), (1, Version));
    assert_eq!(refused("o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n"), (1, Version));
    assert_eq!(refused("v=0\r\ns=-\r\n"), (2, MissingOrigin));
    assert_eq!(refused("v=0\r\nm=audio 9 RTP/AVP 0\r\n"), (2, MissingOrigin));
    assert_eq!(refused(&with(&["v=0"])), (5, Misplaced));
    assert_eq!(refused(&with(&["a=x", "o=- 1 1 IN IP4 192.0.2.1"])), (6, Misplaced));
    assert_eq!(refused(&with(&["m=audio 9 RTP/AVP 0", "o=- 1 1 IN IP4 192.0.2.1"])), (6, Misplaced));
    assert_eq!(refused(&with(&["c=IN IP4 192.0.2.1", "a=x", "c=IN IP4 192.0.2.2"])), (7, Misplaced));
    for line in ["a", "=", "a:b", " a=b", "1=b", "aa=b", "\u{e4}=b"] {
        assert_eq!(refused(&with(&[line])), (5, TypeLetter), "{line}");
    }
    assert_eq!(refused(&with(&["a=x\0"])), (5, ForbiddenByte));
    assert_eq!(refused(&with(&["a=x", "a=x\ry"])), (6, ForbiddenByte));
    assert_eq!(refused(&with(&["a=x\r"])), (5, ForbiddenByte));
    assert_eq!(refused("v=0\r"), (1, ForbiddenByte));
    assert_eq!(refused("v=0\r\r\n"), (1, ForbiddenByte));
    for line in ["c=", "c=IN", "c=IN IP4", "c=IN IP4 192.0.2.1 x", "c=IN IP4 224.0.0.1/256", "c=IN IP4 224.0.0.1/1/0"] {
        assert!(matches!(refused(&with(&[line])), (5, Expected(_))), "{line}");
    }
    for line in ["m=", "m=audio", "m=audio 9", "m=audio x RTP/AVP 0", "m=audio 65536 RTP/AVP 0", "m=audio +9 RTP/AVP 0"]
    {
        assert!(matches!(refused(&with(&[line])), (5, Expected(_))), "{line}");
    }
    for line in ["m=audio 9/0 RTP/AVP 0", "m=audio 9/x RTP/AVP 0", "m=audio /2 RTP/AVP 0"] {
        assert!(matches!(refused(&with(&[line])), (5, Expected(_))), "{line}");
    }
    for line in [
        "o=",
        "o=- 1 1 IN IP4",
        "o= 1 1 IN IP4 192.0.2.1",
        "o=- 1 x IN IP4 192.0.2.1",
        "o=- 1 18446744073709551616 IN IP4 x",
    ] {
        assert!(matches!(refused(&format!("v=0\r\n{line}\r\n")), (2, Expected(_))), "{line}");
    }
    assert_eq!(parse(&with(&["m=audio x RTP/AVP 0"])).unwrap_err().to_string(), "line 5: expected a port below 65536");
}

#[test]
fn refuses_more_than_the_limits_allow() {
    use ParseErrorKind::*;
    let limited = |text: &str, limits: Limits| {
        Description::parse(text.as_bytes(), &limits).map_err(|error| (error.line, error.kind))
    };
    let limits = Limits::default();
    let text = with(&["m=audio 9 RTP/AVP 0 8 9", "m=audio 9 RTP/AVP 0"]);
    let read = limited(&text, Limits { max_bytes: text.len(), max_lines: 6, max_media: 2, max_formats: 3 });
    assert_eq!(read.unwrap().to_string(), text);
    assert_eq!(limited(&text, Limits { max_bytes: text.len() - 1, ..limits.clone() }), Err((6, TooManyBytes)));
    assert_eq!(limited(&text, Limits { max_lines: 5, ..limits.clone() }), Err((6, TooManyLines)));
    assert_eq!(limited(&text, Limits { max_media: 1, ..limits.clone() }), Err((6, TooManyMedia)));
    assert_eq!(limited(&text, Limits { max_formats: 2, ..limits }), Err((5, TooManyFormats)));
    assert!(parse(&with(&[&"a=x\r\n".repeat(20_000)])).is_err());
}

#[test]
fn reads_connections_with_time_to_live_and_count() {
    for (text, ttl, count) in [
        ("IN IP4 224.2.36.42/127", Some(127), None),
        ("IN IP4 224.2.1.1/127/3", Some(127), Some(3)),
        ("IN IP6 ff00::db8:0:101/3", None, Some(3)),
        ("IN IP4 media.example.com", None, None),
    ] {
        let connection = Connection::parse(text).unwrap();
        assert_eq!((connection.ttl, connection.count, connection.to_string()), (ttl, count, text.to_owned()));
    }
    assert!(Connection::parse("IN IP4 0.0.0.0").unwrap().is_unspecified());
    assert!(Connection::parse("IN IP6 ::").unwrap().is_unspecified());
    assert!(Connection::parse("IN IP6 ff00::1/1/1").is_err() && Connection::parse("IN IP4 /1").is_err());
}

#[test]
fn builds_a_description_from_nothing() {
    let address = "192.0.2.2".parse().unwrap();
    let mut description = Description::new(Origin::new(7, 1, address));
    description.push_attribute("ice-lite", None);
    description.set_connection(&Connection::new(address));
    description.push_bandwidth(Bandwidth { kind: "AS", value: 64 });
    description.set_name("");
    let mut media = Media::new(MediaKind::Audio, 4000, Protocol::RtpSavp);
    media.formats.extend(["0".into(), "101".into()]);
    media.push(&Rtpmap { payload_type: 101, encoding: "telephone-event", clock_rate: 8000, channels: None });
    media.set_direction(Direction::SendOnly);
    media.set_connection(&Connection::new("2001:db8::1".parse().unwrap()));
    description.media_mut().push(media);
    let written = "v=0\r\no=- 7 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nb=AS:64\r\nt=0 0\r\na=ice-lite\r\n\
                   m=audio 4000 RTP/SAVP 0 101\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n";
    assert_eq!(description.to_string(), written);
    assert_eq!(parse(written).unwrap(), description);
}

#[test]
fn changes_one_line_and_leaves_the_others() {
    let text = with(&["m=audio  9 RTP/AVP  0", "a=mid:0", "q=?", "a=candidate:1", "a=candidate:2", "a=ptime:20"]);
    let mut description = parse(&text).unwrap();
    let mut origin = description.origin().clone();
    origin.version += 1;
    assert!(origin.same_session(description.origin()));
    description.set_origin(origin);
    let media = &mut description.media_mut()[0];
    assert_eq!((media.remove_attributes("candidate"), media.remove_attributes("candidate")), (2, 0));
    media.set_attribute("ptime", Some("30"));
    media.set_attribute("mid", Some("a"));
    media.set_attribute("sendonly", None);
    let changed = with(&["m=audio  9 RTP/AVP  0", "a=mid:a", "q=?", "a=ptime:30", "a=sendonly"]);
    assert_eq!(description.to_string(), changed.replace("- 1 1", "- 1 2"));
    // As soon as the m= line says something else it is written as it should be.
    description.media_mut()[0].port = 0;
    assert!(description.to_string().contains("m=audio 0 RTP/AVP 0\r\n"));
    let media = &mut description.media_mut()[0];
    media.remove_connections();
    media.push_attribute("mid", None);
    media.set_attribute("mid", Some("b"));
    assert_eq!(media.values("mid").collect::<Vec<_>>(), ["b"]);
}

#[test]
fn no_value_can_add_a_line() {
    let mut description = parse(&with(&["m=audio 9 RTP/AVP 0"])).unwrap();
    let lines = description.to_string().lines().count();
    description.push_attribute("x\r\na=y", Some("1\r\nm=audio 1 RTP/AVP 0\0"));
    description.set_name("a\nb");
    let media = &mut description.media_mut()[0];
    media.formats.push("1\r\na=z".into());
    media.protocol = Protocol::Other("a\rb".into());
    media.kind = MediaKind::Other("a\nb".into());
    let written = description.to_string();
    assert_eq!(written.lines().count(), lines + 1);
    assert_eq!(parse(&written).unwrap().media().len(), 1);
}

#[test]
fn never_shows_keys_in_debug_output() {
    let text = with(&[
        "k=clear:SECRET",
        "m=audio 9 RTP/SAVP 0",
        "a=crypto:1 A inline:U0VDUkVU",
        "a=ice-pwd:SECRETSECRET",
        "a=key-mgmt:mikey SECRET",
        "a=mid:0",
    ]);
    let description = parse(&text).unwrap();
    let shown = format!("{description:?} {:?} {:?}", description.media()[0], description.lines().collect::<Vec<_>>());
    assert!(!shown.contains("SECRET") && !shown.contains("U0VD"), "{shown}");
    assert!(shown.contains("a=mid:0") && shown.contains("m=audio 9 RTP/SAVP 0"), "{shown}");
}
