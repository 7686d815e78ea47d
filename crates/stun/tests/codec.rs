//! What is written is read again; what is no message is refused.

#[path = "../../sip/tests/support/counting.rs"]
mod counting;

use std::net::{IpAddr, SocketAddr};

use counting::{Counting, allocations};
use farspeak_stun::attribute::{self, AddressFamily, Attribute, AttributeType};
use farspeak_stun::channel_data::{self, ChannelData};
use farspeak_stun::framing::{Frame, Framed, StreamFramer, measure};
use farspeak_stun::indication::Prefix;
use farspeak_stun::{
    Class, Integrity, IntegrityError, Key, MAGIC_COOKIE, Malformed, Message, Method, ParseError, TransactionId,
    WriteError, Writer, indication,
};
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ID: TransactionId = TransactionId(*b"abcdefghijkl");

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.into(), port));
    let v6 = any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::new(IpAddr::from(ip), port));
    prop_oneof![v4, v6]
}

/// One attribute of every type, made from a few values.
fn every<'a>(address: SocketAddr, text: &'a str, bytes: &'a [u8], n: u64) -> Vec<Attribute<'a>> {
    use Attribute::*;
    let family = if n.is_multiple_of(2) { AddressFamily::V4 } else { AddressFamily::V6 };
    let error = attribute::ErrorCode { code: 300 + (n % 400) as u16, reason: text };
    vec![
        MappedAddress(address),
        ChangeRequest(attribute::ChangeRequest { ip: n & 1 == 1, port: n & 2 == 2 }),
        Username(text),
        ErrorCode(error),
        UnknownAttributes(attribute::UnknownAttributes::from_bytes(&bytes[..bytes.len() & !1]).unwrap()),
        ChannelNumber(n as u16),
        Lifetime(n as u32),
        XorPeerAddress(address),
        Data(bytes),
        Realm(text),
        Nonce(text),
        XorRelayedAddress(address),
        RequestedAddressFamily(family),
        EvenPort(attribute::EvenPort { reserve_next: n & 1 == 1 }),
        RequestedTransport(n as u8),
        DontFragment(()),
        AccessToken(bytes),
        PasswordAlgorithm(attribute::PasswordAlgorithm { number: n as u16, parameters: bytes }),
        Userhash([n as u8; 32]),
        XorMappedAddress(address),
        ReservationToken(n.to_be_bytes()),
        Priority(n as u32),
        UseCandidate(()),
        Padding(bytes),
        ResponsePort(n as u16),
        ConnectionId(n as u32),
        AdditionalAddressFamily(family),
        AddressErrorCode(attribute::AddressErrorCode { family, error }),
        PasswordAlgorithms(attribute::PasswordAlgorithms::SHA256_MD5),
        AlternateDomain("example.org"),
        Icmp(attribute::Icmp { kind: n as u8 & 0x7f, code: n as u16 & 0x1ff, data: n as u32 }),
        Software(text),
        AlternateServer(address),
        TransmitCounter(attribute::TransmitCounter { request: n as u8, response: 1 }),
        CacheTimeout(n as u32),
        IceControlled(n),
        IceControlling(n),
        ResponseOrigin(address),
        OtherAddress(address),
        EcnCheck(n as u32),
        ThirdPartyAuthorization(bytes),
        MobilityTicket(bytes),
    ]
}

proptest! {
    #[test]
    fn every_attribute_is_read_as_it_was_written(
        address in address(), text in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40), n: u64, id: [u8; 12]
    ) {
        let attributes = every(address, &text, &bytes, n);
        prop_assert_eq!(attributes.len(), AttributeType::ALL.len());
        let mut buffer = [0; 8192];
        let key = Key::from_bytes(&bytes);
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::new(n as u16), TransactionId(id));
        attributes.iter().for_each(|attribute| { writer.push(*attribute); });
        writer.integrity(&key).integrity_sha256(&key).fingerprint();
        let message = Message::parse(writer.finish().unwrap()).unwrap();
        let read: Vec<_> = message.attributes().map(|raw| raw.typed().unwrap().unwrap()).collect();
        prop_assert_eq!(read, attributes);
        prop_assert_eq!(message.check_integrity(&key), Ok(Integrity::Sha256));
        prop_assert_eq!(message.check_integrity_sha1(&key), Ok(()));
        prop_assert!(message.check_fingerprint());
        prop_assert_eq!((message.class(), message.method()), (Class::Indication, Method::new(n as u16)));
        prop_assert_eq!(message.transaction_id(), TransactionId(id));
        prop_assert_eq!(message.xor_peer_address(), Ok(Some(address)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), shape: bool) {
        if shape && bytes.len() >= 20 {
            bytes.truncate(bytes.len() & !3);
            bytes[0] &= 0x3f;
            let length = bytes.len() as u16 - 20;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        }
        if let Ok(message) = Message::parse(&bytes) {
            for raw in message.attributes() {
                prop_assert!(message.find(raw.kind).is_some());
                let _ = raw.typed();
            }
            prop_assert!(message.check_integrity(&Key::from_bytes(b"key")).is_err());
            prop_assert_eq!(measure(&bytes, 65_552), Frame::Stun(bytes.len()));
        }
        let _ = (ChannelData::parse(&bytes), measure(&bytes, 1500));
    }

    #[test]
    fn a_stream_in_any_pieces_gives_the_same_messages(
        payloads in proptest::collection::vec((any::<bool>(), 0_usize..70), 1..12), cut in 1_usize..50
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (channel, size) in payloads {
            let data = vec![7; size];
            let mut one = Vec::new();
            if channel {
                one.extend(channel_data::header(0x4001, size as u16));
                one.extend(&data);
                stream.extend(&one);
                stream.resize(stream.len() + channel_data::padding(size), 0);
            } else {
                let prefix = Prefix::new(Method::SEND, ID, "192.0.2.1:9".parse().unwrap(), size).unwrap();
                one.extend(prefix.bytes());
                one.extend(&data);
                one.resize(one.len() + prefix.padding(), 0);
                prop_assert_eq!(Message::parse(&one).unwrap().data(), Ok(Some(&*data)));
                stream.extend(&one);
            }
            expected.push((channel, one));
        }
        let (mut framer, mut got) = (StreamFramer::default(), Vec::new());
        for piece in stream.chunks(cut) {
            framer.push(piece);
            while let Some(framed) = framer.next() {
                got.push(match framed {
                    Framed::Stun(bytes) => (false, bytes.to_vec()),
                    Framed::ChannelData(bytes) => (true, bytes.to_vec()),
                });
            }
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!((framer.pending(), framer.is_lost()), (0, false));
    }
}

fn request(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, ID);
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

/// Runs it with both families of a peer; none of it may allocate.
fn without_allocation(mut work: impl FnMut(SocketAddr)) {
    for peer in ["192.0.2.1:4000", "[2001:db8::1]:4000"] {
        let peer = peer.parse().unwrap();
        assert_eq!(allocations(|| work(peer)).0, 0, "{peer}");
    }
}

#[test]
fn binding_costs_no_allocation_to_read_or_write() {
    let key = Key::from_bytes(b"key");
    let bytes = request(|writer| {
        writer.push(Attribute::Username("a:b")).push(Attribute::Priority(7));
        writer.integrity(&key).integrity_sha256(&key).fingerprint();
    });
    without_allocation(|mapped| {
        let message = Message::parse(&bytes).unwrap();
        assert!(message.check_fingerprint() && message.username() == Ok(Some("a:b")));
        assert!(message.check_integrity(&key).is_ok() && message.check_integrity_sha1(&key).is_ok());
        assert!(message.not_understood(AttributeType::is_known).next().is_none());
        let mut buffer = [0; 128];
        let mut writer = Writer::respond(&mut buffer, Class::Success, &message);
        writer.push(Attribute::XorMappedAddress(mapped)).integrity(&key).integrity_sha256(&key).fingerprint();
        assert!(Message::parse(writer.finish().unwrap()).unwrap().xor_mapped_address() == Ok(Some(mapped)));
    });
}

#[test]
fn send_and_data_indications_cost_no_allocation_to_read_or_write() {
    without_allocation(|peer| {
        for method in [Method::SEND, Method::DATA] {
            let prefix = Prefix::new(method, ID, peer, 171).unwrap();
            let head = prefix.bytes().len();
            assert!(head <= indication::MOST);
            let mut bytes = [7; indication::MOST + 172];
            bytes[..head].copy_from_slice(prefix.bytes());
            let bytes = &mut bytes[..head + 171 + prefix.padding()];
            let message = Message::parse(bytes).unwrap();
            assert!(message.is(Class::Indication, method) && message.xor_peer_address() == Ok(Some(peer)));
            assert!(message.data().unwrap().unwrap() == [7; 171]);
            // As any other message is written, the payload copied.
            let mut whole = [0; indication::MOST + 172];
            let mut writer = Writer::new(&mut whole, Class::Indication, method, ID);
            writer.push(Attribute::XorPeerAddress(peer)).push(Attribute::Data(&[7; 171]));
            bytes[head + 171..].fill(0);
            assert!(writer.finish().unwrap() == bytes);
        }
    });
}

#[test]
fn channel_data_costs_no_allocation_to_read_or_write() {
    without_allocation(|_| {
        let mut bytes = [7; channel_data::HEADER + 172];
        bytes[..channel_data::HEADER].copy_from_slice(&channel_data::header(0x4abc, 171));
        assert!(ChannelData::parse(&bytes) == Some(ChannelData { channel: 0x4abc, data: &[7; 171] }));
        let total = channel_data::HEADER + 171 + channel_data::padding(171);
        assert!(measure(&bytes, 1500) == Frame::ChannelData { length: channel_data::HEADER + 171, total });
    });
}

#[test]
fn refuses_bytes_that_are_no_message() {
    let good = request(|writer| {
        writer.push(Attribute::Software("abc"));
    });
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Message::parse(&bytes).unwrap_err()
    };
    assert_eq!(Message::parse(&good[..19]).unwrap_err(), ParseError::Short);
    assert_eq!(Message::parse(&good[..24]).unwrap_err(), ParseError::Length);
    assert_eq!(changed(0, 0x40), ParseError::NotStun);
    assert_eq!(changed(4, 0x20), ParseError::NotStun);
    assert_eq!(changed(3, 7), ParseError::Length);
    assert_eq!(changed(3, 12), ParseError::Length);
    assert_eq!(changed(23, 5), ParseError::Attribute);
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(Message::parse(&longer).unwrap_err(), ParseError::Length);
}

#[test]
fn refuses_what_stands_behind_a_fingerprint_and_ignores_what_stands_behind_an_integrity() {
    let key = Key::from_bytes(b"key");
    let mut bytes = request(|writer| {
        writer.integrity(&key);
    });
    let behind = |bytes: &mut Vec<u8>, attribute: &[u8]| {
        bytes.extend(attribute);
        let length = bytes.len() as u16 - 20;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
    };
    behind(&mut bytes, &[0, 0x25, 0, 0]); // USE-CANDIDATE, added on the way
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.use_candidate(), message.attributes().count()), (Ok(None), 0));
    assert_eq!(message.check_integrity(&key), Ok(Integrity::Sha1));
    let mut bytes = request(|writer| {
        writer.fingerprint();
    });
    behind(&mut bytes, &[0, 0x25, 0, 0]);
    assert_eq!(Message::parse(&bytes).unwrap_err(), ParseError::Seal);
}

#[test]
fn refuses_integrity_tags_that_are_too_short() {
    let key = Key::from_bytes(b"key");
    for (length, truncated) in [(16, true), (20, true), (32, false)] {
        let bytes = request(|writer| {
            writer.integrity_sha256_of(&key, length);
        });
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.check_integrity(&key).err(), truncated.then_some(IntegrityError::Truncated));
        assert_eq!(message.check_integrity_sha256(&key, 16), Ok(()));
        assert_eq!(message.check_integrity_sha256(&Key::from_bytes(b"other"), 16), Err(IntegrityError::Wrong));
    }
    let mut short = request(|writer| {
        writer.push_raw(AttributeType(0x7fff), &[0; 12]);
    });
    short[20..22].copy_from_slice(&AttributeType::MESSAGE_INTEGRITY_SHA256.0.to_be_bytes());
    assert_eq!(Message::parse(&short).unwrap_err(), ParseError::Seal);
}

#[test]
fn reports_unknown_comprehension_required_attributes_and_only_those() {
    let bytes = request(|writer| {
        writer.push_raw(AttributeType(0x7ff0), b"x").push(Attribute::Priority(1)).push_raw(AttributeType(0xc000), b"y");
    });
    let message = Message::parse(&bytes).unwrap();
    let unknown: Vec<_> = message.not_understood(AttributeType::is_known).collect();
    assert_eq!(unknown, [AttributeType(0x7ff0)]);
    let all: Vec<_> = message.not_understood(|_| false).collect();
    assert_eq!(all, [AttributeType(0x7ff0), AttributeType::PRIORITY]);
}

#[test]
fn a_writer_never_writes_beyond_its_buffer_nor_behind_a_seal() {
    let key = Key::from_bytes(b"key");
    for room in 0..80 {
        let mut buffer = [0xaa; 96];
        let mut writer = Writer::new(&mut buffer[..room], Class::Request, Method::BINDING, ID);
        writer.push(Attribute::Software("12345")).integrity(&key).fingerprint();
        assert_eq!(writer.finish().err(), (room < 64).then_some(WriteError::Full), "{room}");
        assert!(buffer[room..].iter().all(|byte| *byte == 0xaa));
    }
    let mut buffer = [0; 2048];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, ID);
    writer.integrity(&key).push(Attribute::Priority(1));
    assert_eq!(writer.finish(), Err(WriteError::Misplaced));
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, ID);
    writer.push(Attribute::Username(&"x".repeat(509)));
    assert_eq!(writer.finish(), Err(WriteError::TooLong));
}

#[test]
fn refuses_malformed_values_by_name() {
    for (kind, value) in [
        (AttributeType::XOR_MAPPED_ADDRESS, &[0, 3, 0, 0, 1, 2, 3, 4][..]),
        (AttributeType::XOR_MAPPED_ADDRESS, &[0, 1, 0, 0, 1, 2, 3]),
        (AttributeType::USERNAME, &[0xff, 0xfe]),
        (AttributeType::USERNAME, &[b'x'; 764]),
        (AttributeType::ERROR_CODE, &[0, 0, 7, 0]),
        (AttributeType::ERROR_CODE, &[0, 0, 4, 100]),
        (AttributeType::LIFETIME, &[0; 3]),
        (AttributeType::DONT_FRAGMENT, &[0]),
        (AttributeType::PASSWORD_ALGORITHMS, &[]),
        (AttributeType::PASSWORD_ALGORITHMS, &[0, 1, 0, 4]),
        (AttributeType::PASSWORD_ALGORITHMS, &[0; 260]),
    ] {
        let read = Attribute::read(kind, value, &ID).unwrap();
        assert_eq!(read, Err(Malformed(kind)), "{value:?}");
    }
}

#[test]
fn drops_channel_data_of_reserved_channels_and_short_ones() {
    assert_eq!(ChannelData::parse(&[0x50, 0, 0, 0]), None);
    assert_eq!(ChannelData::parse(&[0x3f, 0xff, 0, 0]), None);
    assert_eq!(ChannelData::parse(&[0x40, 0, 0, 2, 1]), None);
    assert_eq!(ChannelData::parse(&[0x40, 0, 0]), None);
    assert_eq!(ChannelData::parse(&[0x4f, 0xff, 0, 0]).unwrap().data, b"");
    assert_eq!(ChannelData::parse(&[0x40, 0, 0, 1, 1, 0, 0, 0]).unwrap().data, [1]);
}

#[test]
fn reads_the_channels_of_rfc5766_for_who_asks() {
    let bytes = [0x7f, 0xff, 0, 1, 9, 0, 0, 0];
    assert_eq!(ChannelData::parse_rfc5766(&bytes).unwrap().channel, 0x7fff);
    assert_eq!(ChannelData::parse_rfc5766(&[0x80, 0, 0, 0]), None);
    let mut framer = StreamFramer::default().with_rfc5766_channels();
    framer.push(&bytes);
    assert!(framer.next().is_some() && framer.pending() == 0);
    framer.push(&[0x80]);
    assert!(framer.next().is_none() && framer.is_lost());
}

#[test]
fn a_stream_that_is_neither_stun_nor_channel_data_is_lost_at_once() {
    for bytes in [&b"POST /"[..], b"\x16\x03\x01", b"\x80", b"\x00\x01\x00\x03", b"\x00\x01\x00\x00\x21\x13"] {
        let mut framer = StreamFramer::default();
        framer.push(bytes);
        assert_eq!(framer.next(), None);
        assert!(framer.is_lost() || bytes.len() < 4 && bytes[0] < 0x50, "{bytes:?}");
    }
    let mut framer = StreamFramer::new(1500);
    framer.push(&[0x40, 0, 0x10, 0]);
    assert!(framer.next().is_none() && framer.is_lost());
}

/// What IANA's registry "STUN Attributes" assigns; all else is reserved or unassigned there.
const REGISTRY: &[(u16, &str)] = &[
    (0x0001, "MAPPED-ADDRESS"),
    (0x0003, "CHANGE-REQUEST"),
    (0x0006, "USERNAME"),
    (0x0008, "MESSAGE-INTEGRITY"),
    (0x0009, "ERROR-CODE"),
    (0x000a, "UNKNOWN-ATTRIBUTES"),
    (0x000c, "CHANNEL-NUMBER"),
    (0x000d, "LIFETIME"),
    (0x0012, "XOR-PEER-ADDRESS"),
    (0x0013, "DATA"),
    (0x0014, "REALM"),
    (0x0015, "NONCE"),
    (0x0016, "XOR-RELAYED-ADDRESS"),
    (0x0017, "REQUESTED-ADDRESS-FAMILY"),
    (0x0018, "EVEN-PORT"),
    (0x0019, "REQUESTED-TRANSPORT"),
    (0x001a, "DONT-FRAGMENT"),
    (0x001b, "ACCESS-TOKEN"),
    (0x001c, "MESSAGE-INTEGRITY-SHA256"),
    (0x001d, "PASSWORD-ALGORITHM"),
    (0x001e, "USERHASH"),
    (0x0020, "XOR-MAPPED-ADDRESS"),
    (0x0022, "RESERVATION-TOKEN"),
    (0x0024, "PRIORITY"),
    (0x0025, "USE-CANDIDATE"),
    (0x0026, "PADDING"),
    (0x0027, "RESPONSE-PORT"),
    (0x002a, "CONNECTION-ID"),
    (0x8000, "ADDITIONAL-ADDRESS-FAMILY"),
    (0x8001, "ADDRESS-ERROR-CODE"),
    (0x8002, "PASSWORD-ALGORITHMS"),
    (0x8003, "ALTERNATE-DOMAIN"),
    (0x8004, "ICMP"),
    (0x8022, "SOFTWARE"),
    (0x8023, "ALTERNATE-SERVER"),
    (0x8025, "TRANSACTION_TRANSMIT_COUNTER"),
    (0x8027, "CACHE-TIMEOUT"),
    (0x8028, "FINGERPRINT"),
    (0x8029, "ICE-CONTROLLED"),
    (0x802a, "ICE-CONTROLLING"),
    (0x802b, "RESPONSE-ORIGIN"),
    (0x802c, "OTHER-ADDRESS"),
    (0x802d, "ECN-CHECK STUN"),
    (0x802e, "THIRD-PARTY-AUTHORIZATION"),
    (0x8030, "MOBILITY-TICKET"),
    (0xc000, "CISCO-STUN-FLOWDATA"),
    (0xc001, "ENF-FLOW-DESCRIPTION"),
    (0xc002, "ENF-NETWORK-STATUS"),
    (0xc003, "CISCO-WEBEX-FLOW-INFO"),
    (0xc056, "CITRIX-TRANSACTION-ID"),
    (0xc057, "GOOG-NETWORK-INFO"),
    (0xc058, "GOOG-LAST-ICE-CHECK-RECEIVED"),
    (0xc059, "GOOG-MISC-INFO"),
    (0xc05a, "GOOG-OBSOLETE-1"),
    (0xc05b, "GOOG-CONNECTION-ID"),
    (0xc05c, "GOOG-DELTA"),
    (0xc05d, "GOOG-DELTA-ACK"),
    (0xc05e, "GOOG-DELTA-SYNC-REQ"),
    (0xc060, "GOOG-MESSAGE-INTEGRITY-32"),
];

#[test]
fn knows_every_attribute_that_is_registered_and_no_other() {
    let known: Vec<_> = (0..=u16::MAX).filter_map(|number| Some((number, AttributeType(number).name()?))).collect();
    assert_eq!(known, REGISTRY);
    // All but the three seals, and what vendors have registered for themselves, have a typed value.
    let typed = REGISTRY.iter().map(|(number, _)| AttributeType(*number)).filter(|kind| kind.0 < 0xc000);
    let seals = [AttributeType::MESSAGE_INTEGRITY, AttributeType::MESSAGE_INTEGRITY_SHA256, AttributeType::FINGERPRINT];
    assert!(typed.filter(|kind| !seals.contains(kind)).eq(AttributeType::ALL.iter().copied()));
}
