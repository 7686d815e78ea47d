//! Other people's codecs (`stun-types`, `turn-types`) read what we write and write what we read.

use std::net::{IpAddr, SocketAddr};

use farspeak_stun::attribute::{self, AddressFamily, Attribute};
use farspeak_stun::{Class, ErrorCode, Integrity, Key, Message, Method, TransactionId, Writer};
use proptest::prelude::*;
use stun_types::attribute::{self as stun, PasswordAlgorithmValue};
use stun_types::message::{self as oracle, MessageWriteVec};
use stun_types::prelude::{AttributeWrite, MessageWrite as _, MessageWriteExt as _};
use turn_types::attribute as turn;

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.into(), port));
    let v6 = any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::new(IpAddr::from(ip), port));
    prop_oneof![v4, v6]
}

/// Each attribute that they know, by us and by them from the same values.
#[rustfmt::skip]
fn pairs<'a>(
    address: SocketAddr, text: &'a str, bytes: &'a [u8], n: u64, id: TransactionId,
) -> Vec<(Attribute<'a>, Box<dyn AttributeWrite + 'a>)> {
    use Attribute::*;
    let mut whole = [0; 16];
    whole[4..].copy_from_slice(&id.0);
    let id = oracle::TransactionId::from(u128::from_be_bytes(whole));
    let code = 300 + (n % 400) as u16;
    let error = attribute::ErrorCode { code, reason: text };
    let their_error = stun::ErrorCode::new(code, text).unwrap();
    let (family, their_family) = match n.is_multiple_of(2) {
        true => (AddressFamily::V4, turn_types::AddressFamily::IPV4),
        false => (AddressFamily::V6, turn_types::AddressFamily::IPV6),
    };
    let unknown = attribute::UnknownAttributes::from_bytes(b"\x7f\xf0\x00\x06\x80\x00").unwrap();
    let their_unknown = [0x7ff0, 0x0006, 0x8000].map(stun::AttributeType::new);
    let (icmp, icmp_code) = (n as u8 & 0x7f, n as u8);
    vec![
        (Username(text), Box::new(stun::Username::new(text).unwrap())),
        (Userhash([n as u8; 32]), Box::new(stun::Userhash::new([n as u8; 32]))),
        (Realm(text), Box::new(stun::Realm::new(text).unwrap())),
        (Nonce(text), Box::new(stun::Nonce::new(text).unwrap())),
        (Software(text), Box::new(stun::Software::new(text).unwrap())),
        (ErrorCode(error), Box::new(their_error.clone())),
        (UnknownAttributes(unknown), Box::new(stun::UnknownAttributes::new(&their_unknown))),
        (XorMappedAddress(address), Box::new(stun::XorMappedAddress::new(address, id))),
        (AlternateServer(address), Box::new(stun::AlternateServer::new(address))),
        (AlternateDomain("example.org"), Box::new(stun::AlternateDomain::new("example.org"))),
        (PasswordAlgorithm(attribute::PasswordAlgorithm::SHA256),
            Box::new(stun::PasswordAlgorithm::new(PasswordAlgorithmValue::SHA256))),
        (PasswordAlgorithms(attribute::PasswordAlgorithms::SHA256_MD5),
            Box::new(stun::PasswordAlgorithms::new(&[PasswordAlgorithmValue::SHA256, PasswordAlgorithmValue::MD5]))),
        (ChannelNumber(n as u16), Box::new(turn::ChannelNumber::new(n as u16))),
        (Lifetime(n as u32), Box::new(turn::Lifetime::new(n as u32))),
        (XorPeerAddress(address), Box::new(turn::XorPeerAddress::new(address, id))),
        (XorRelayedAddress(address), Box::new(turn::XorRelayedAddress::new(address, id))),
        (Data(bytes), Box::new(turn::Data::new(bytes))),
        (RequestedAddressFamily(family), Box::new(turn::RequestedAddressFamily::new(their_family))),
        (AdditionalAddressFamily(AddressFamily::V6),
            Box::new(turn::AdditionalAddressFamily::new(turn_types::AddressFamily::IPV6))),
        (AddressErrorCode(attribute::AddressErrorCode { family, error }),
            Box::new(turn::AddressErrorCode::new(their_family, their_error))),
        (EvenPort(attribute::EvenPort { reserve_next: n & 1 == 1 }), Box::new(turn::EvenPort::new(n & 1 == 1))),
        (RequestedTransport(n as u8), Box::new(turn::RequestedTransport::new(n as u8))),
        (DontFragment(()), Box::new(turn::DontFragment::new())),
        (ReservationToken(n.to_be_bytes()), Box::new(turn::ReservationToken::new(n))),
        (ConnectionId(n as u32), Box::new(turn::ConnectionId::new(n as u32))),
        // They read eight bits of type and eight of code where RFC 8656 figure 11 draws seven and nine.
        (Icmp(attribute::Icmp { kind: icmp, code: icmp_code.into(), data: n as u32 }),
            Box::new(turn::Icmp::new(icmp << 1, icmp_code, n as u32))),
    ]
}

proptest! {
    #[test]
    fn every_attribute_that_others_know_has_the_same_bytes(
        address in address(), text in "[a-zA-Z\u{e9}\u{20ac}]{1,40}",
        bytes in proptest::collection::vec(any::<u8>(), 0..40), n: u64, id: [u8; 12]
    ) {
        let id = TransactionId(id);
        for (ours, theirs) in pairs(address, &text, &bytes, n, id) {
            let mut buffer = [0; 512];
            let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
            writer.push(ours);
            let written = writer.finish().unwrap();
            prop_assert_eq!(&written[20..], theirs.to_raw().to_bytes(), "{:?}", ours);
        }
    }

    #[test]
    fn stun_types_reads_what_we_write(
        address in address(), text in "[a-z]{1,40}", password in "[a-z]{1,80}", id: [u8; 12], sha256: bool
    ) {
        let mut buffer = [0; 1024];
        let mut writer = Writer::new(&mut buffer, Class::Success, Method::BINDING, TransactionId(id));
        writer.push(Attribute::XorMappedAddress(address)).push(Attribute::MappedAddress(address));
        writer.push(Attribute::Software(&text)).push(Attribute::ErrorCode(ErrorCode::STALE_NONCE));
        let key = Key::short_term(&password).unwrap();
        if sha256 { writer.integrity_sha256(&key) } else { writer.integrity(&key) };
        writer.fingerprint();
        let bytes = writer.finish().unwrap();
        let theirs = oracle::Message::from_bytes(bytes).unwrap();
        prop_assert_eq!(theirs.method(), oracle::BINDING);
        let mapped = theirs.attribute::<stun_types::attribute::XorMappedAddress>().unwrap();
        prop_assert_eq!(mapped.addr(theirs.transaction_id()), address);
        let software = theirs.attribute::<stun_types::attribute::Software>().unwrap();
        prop_assert_eq!(software.software(), &text);
        prop_assert_eq!(theirs.attribute::<stun_types::attribute::ErrorCode>().unwrap().code(), 438);
        let credentials = oracle::ShortTermCredentials::new(password.clone()).into();
        theirs.validate_integrity(&credentials).unwrap();
    }

    #[test]
    fn we_read_what_stun_types_writes(address in address(), text in "[a-z]{1,40}", password in "[a-z]{1,80}", sha256: bool) {
        use stun_types::attribute as theirs;
        let mut builder = oracle::Message::builder_request(oracle::BINDING, MessageWriteVec::new());
        let id = builder.transaction_id();
        builder.add_attribute(&theirs::XorMappedAddress::new(address, id)).unwrap();
        builder.add_attribute(&theirs::Username::new(&text).unwrap()).unwrap();
        builder.add_attribute(&theirs::Realm::new(&text).unwrap()).unwrap();
        let credentials = oracle::ShortTermCredentials::new(password.clone()).into();
        let algorithm = if sha256 { oracle::IntegrityAlgorithm::Sha256 } else { oracle::IntegrityAlgorithm::Sha1 };
        builder.add_message_integrity(&credentials, algorithm).unwrap();
        builder.add_fingerprint().unwrap();
        let bytes = builder.finish();
        let ours = Message::parse(&bytes).unwrap();
        prop_assert!(ours.is(Class::Request, Method::BINDING));
        prop_assert_eq!(ours.xor_mapped_address(), Ok(Some(address)));
        prop_assert_eq!((ours.username(), ours.realm()), (Ok(Some(&*text)), Ok(Some(&*text))));
        let kind = if sha256 { Integrity::Sha256 } else { Integrity::Sha1 };
        prop_assert_eq!(ours.check_integrity(&Key::short_term(&password).unwrap()), Ok(kind));
        prop_assert!(ours.check_fingerprint());
    }
}
