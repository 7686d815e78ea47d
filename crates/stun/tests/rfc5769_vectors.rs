//! The test vectors of RFC 5769 (and RFC 8489 appendix B.1): read, checked, and written byte for byte.

use farspeak_stun::attribute::PasswordAlgorithm;
use farspeak_stun::long_term::{SecurityFeatures, userhash};
use farspeak_stun::{
    Attribute, AttributeType, Class, Integrity, IntegrityError, Key, Message, Method, ParseError, TransactionId, Writer,
};

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const ID: TransactionId = TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
    \x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

const RESPONSE_V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector\x20\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";

const RESPONSE_V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector\x20\x00\x20\x00\x14\x00\x02\xa1\x47\
    \x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
    \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
    \x80\x28\x00\x04\xc8\xfb\x0b\x4c";

const LONG_TERM: &[u8] = b"\x00\x01\x00\x60\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\
    \x00\x06\x00\x12\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9\x00\x00\
    \x00\x15\x00\x1cf//499k954d6OL34oL9FSTvy64sA\x00\x14\x00\x0bexample.org\x00\
    \x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96\x66";

/// What `write` writes, with the spaces in place of zeros that RFC 5769 pads with; seals put on afterwards would
/// differ, so they are checked on the vectors themselves.
fn written(class: Class, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer, class, Method::BINDING, ID);
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

#[test]
fn reads_the_sample_request_of_2_1() {
    let message = Message::parse(REQUEST).unwrap();
    assert!(message.is(Class::Request, Method::BINDING));
    assert_eq!((message.class(), message.method(), message.transaction_id()), (Class::Request, Method::BINDING, ID));
    assert_eq!(message.software(), Ok(Some("STUN test client")));
    assert_eq!(message.priority(), Ok(Some(0x6e00_01ff)));
    assert_eq!(message.ice_controlled(), Ok(Some(0x932f_f9b1_5126_3b36)));
    assert_eq!(message.username(), Ok(Some("evtj:h6vY")));
    assert_eq!(message.check_integrity(&Key::short_term(PASSWORD).unwrap()), Ok(Integrity::Sha1));
    assert!(message.check_integrity(&Key::short_term("another").unwrap()).is_err());
    assert!(message.check_fingerprint());
    assert_eq!(message.not_understood(AttributeType::is_known).count(), 0);
}

#[test]
fn reads_the_sample_responses_of_2_2_and_2_3() {
    let key = Key::short_term(PASSWORD).unwrap();
    for (bytes, mapped) in
        [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let message = Message::parse(bytes).unwrap();
        assert!(message.is(Class::Success, Method::BINDING));
        assert_eq!(message.xor_mapped_address(), Ok(Some(mapped.parse().unwrap())));
        assert_eq!(message.software(), Ok(Some("test vector")));
        assert_eq!(message.check_integrity(&key), Ok(Integrity::Sha1));
        assert!(message.check_fingerprint());
    }
}

#[test]
fn writes_the_samples_up_to_their_padding() {
    let request = written(Class::Request, |writer| {
        writer
            .push(Attribute::Software("STUN test client"))
            .push(Attribute::Priority(0x6e00_01ff))
            .push(Attribute::IceControlled(0x932f_f9b1_5126_3b36))
            .push(Attribute::Username("evtj:h6vY"));
    });
    let end = REQUEST.len() - 32 - 3;
    assert_eq!((&request[4..end], &request[end..]), (&REQUEST[4..end], &[0; 3][..]));
    for (bytes, mapped) in
        [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let response = written(Class::Success, |writer| {
            writer.push(Attribute::Software("test vector"));
            writer.push(Attribute::XorMappedAddress(mapped.parse().unwrap()));
        });
        let end = bytes.len() - 32;
        assert_eq!((&response[4..35], &response[36..]), (&bytes[4..35], &bytes[36..end]));
    }
}

#[test]
fn writes_the_long_term_request_of_2_4_byte_for_byte() {
    let (username, realm) = ("マトリックス", "example.org");
    let key = Key::long_term_md5(username, realm, "TheMatrIX").unwrap();
    assert_eq!(Message::parse(LONG_TERM).unwrap().check_integrity(&key), Ok(Integrity::Sha1));
    let id = Message::parse(LONG_TERM).unwrap().transaction_id();
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
    writer
        .push(Attribute::Username(username))
        .push(Attribute::Nonce("f//499k954d6OL34oL9FSTvy64sA"))
        .push(Attribute::Realm(realm))
        .integrity(&key);
    assert_eq!(writer.finish().unwrap(), LONG_TERM);
}

const B1_HEAD: &[u8] = b"\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\
    \x00\x1e\x00\x20\x4a\x3c\xf3\x8f\xef\x69\x92\xbd\xa9\x52\xc6\x78\x04\x17\xda\x0f\
    \x24\x81\x94\x15\x56\x9e\x60\xb2\x05\xc4\x6e\x41\x40\x7f\x17\x04\
    \x00\x15\x00\x29obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA\x00\x00\x00\
    \x00\x14\x00\x0bexample.org\x00";
const B1_PRINTED: &[u8] = b"\x00\x1c\x00\x20\xe4\x68\x6c\x8f\x0e\xde\xb5\x90\x13\xe0\x70\x90\x01\x0a\x93\xef\
    \xcc\xbc\xcc\x54\x4c\x0a\x45\xd9\xf8\x30\xaa\x6d\x6f\x73\x5a\x01";
const B1_CORRECTED: &[u8] = b"\x00\x1d\x00\x04\x00\x02\x00\x00\
    \x00\x1c\x00\x20\xb5\xc7\xbf\x00\x5b\x6c\x52\xa2\x1c\x51\xc5\xe8\x92\xf8\x19\x24\
    \x13\x62\x96\xcb\x92\x7c\x43\x14\x93\x09\x27\x8c\xc6\x51\x8e\x65";

/// RFC 8489 appendix B.1 as the erratum corrects it: with PASSWORD-ALGORITHM and the tag that belongs to it. Its nonce
/// cookie still counts §18.1's bits from the wrong end.
#[test]
fn writes_the_corrected_request_of_rfc8489_b_1_byte_for_byte() {
    let (username, realm, nonce) = ("マトリックス", "example.org", "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA");
    let vector = [b"\x00\x01\x00\x90", B1_HEAD, B1_CORRECTED].concat();
    let key = Key::long_term_sha256(username, realm, "TheMatrIX").unwrap();
    let message = Message::parse(&vector).unwrap();
    assert_eq!(message.check_integrity(&key), Ok(Integrity::Sha256));
    assert_eq!((message.realm(), message.nonce()), (Ok(Some(realm)), Ok(Some(nonce))));
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, message.transaction_id());
    writer
        .push(Attribute::Userhash(userhash(username, realm).unwrap()))
        .push(Attribute::Nonce(nonce))
        .push(Attribute::Realm(realm))
        .push(Attribute::PasswordAlgorithm(PasswordAlgorithm::SHA256))
        .integrity_sha256(&key);
    assert_eq!(writer.finish().unwrap(), vector);
}

/// The same as printed: its length field says 0x9c where 0x88 bytes follow, and its tag was made with that length, so
/// no receiver may take it.
#[test]
fn refuses_the_request_of_rfc8489_b_1_as_printed() {
    let mut printed = [b"\x00\x01\x00\x9c", B1_HEAD, B1_PRINTED].concat();
    assert_eq!(Message::parse(&printed).unwrap_err(), ParseError::Length);
    printed[3] = 0x88;
    let message = Message::parse(&printed).unwrap();
    assert_eq!(message.userhash(), Ok(Some(userhash("マトリックス", "example.org").unwrap())));
    let key = Key::long_term_sha256("マトリックス", "example.org", "TheMatrIX").unwrap();
    assert_eq!(message.check_integrity(&key), Err(IntegrityError::Wrong));
    assert!(SecurityFeatures::of_nonce(message.nonce().unwrap().unwrap()).is_some());
}
