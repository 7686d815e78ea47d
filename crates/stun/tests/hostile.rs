//! Messages that somebody on the way has changed, or made to be read in two ways: duplicates, padding, what stands behind
//! a seal, seals out of order (RFC 8489 §14, §14.5–14.7).

use farspeak_stun::attribute::{Attribute, AttributeType};
use farspeak_stun::{
    Class, HEADER, Integrity, IntegrityError, Key, Message, Method, ParseError, TransactionId, Writer,
};

const ID: TransactionId = TransactionId(*b"abcdefghijkl");

fn key() -> Key {
    Key::from_bytes(b"key")
}

fn request(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, ID);
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

/// Adds an attribute at the end, as anybody on the way can.
fn add(bytes: &mut Vec<u8>, kind: AttributeType, value: &[u8]) {
    bytes.extend(kind.0.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = (bytes.len() - HEADER) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

#[test]
fn the_first_of_duplicates_counts() {
    let bytes = request(|writer| {
        writer.push(Attribute::Username("first")).push(Attribute::Priority(1));
        writer.push(Attribute::Username("second")).push(Attribute::Priority(2));
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.username(), message.priority()), (Ok(Some("first")), Ok(Some(1))));
    assert_eq!(message.attributes().count(), 4, "all of them are listed");
    // A malformed first one is not passed over for a second.
    let bytes = request(|writer| {
        writer.push_raw(AttributeType::PRIORITY, b"123").push(Attribute::Priority(2));
    });
    assert!(Message::parse(&bytes).unwrap().priority().is_err());
}

#[test]
fn of_two_seals_of_a_kind_the_first_counts() {
    for kind in [AttributeType::MESSAGE_INTEGRITY, AttributeType::MESSAGE_INTEGRITY_SHA256] {
        let length = if kind == AttributeType::MESSAGE_INTEGRITY { 20 } else { 32 };
        let mut bytes = request(|writer| {
            writer.push(Attribute::Username("alice"));
            if length == 20 {
                writer.integrity(&key())
            } else {
                writer.integrity_sha256(&key())
            };
        });
        add(&mut bytes, kind, &[0; 32][..length]);
        assert!(Message::parse(&bytes).unwrap().check_integrity(&key()).is_ok());
        // A wrong one before the right one spoils it.
        let mut bytes = request(|writer| {
            writer.push_raw(AttributeType(0x7ff0), &[0; 32][..length]);
        });
        bytes[HEADER..HEADER + 2].copy_from_slice(&kind.0.to_be_bytes());
        let right = {
            let mut buffer = [0; 256];
            let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, ID);
            if length == 20 {
                writer.integrity(&key())
            } else {
                writer.integrity_sha256(&key())
            };
            writer.finish().unwrap()[HEADER + 4..].to_vec()
        };
        add(&mut bytes, kind, &right);
        assert_eq!(Message::parse(&bytes).unwrap().check_integrity(&key()), Err(IntegrityError::Wrong));
    }
}

#[test]
fn refuses_a_weaker_seal_behind_the_stronger_one() {
    // A right SHA-1 seal, made by who knows nothing but that key, behind SHA-256: it is as if it were not there.
    let mut bytes = request(|writer| {
        writer.integrity_sha256(&Key::from_bytes(b"another"));
    });
    add(&mut bytes, AttributeType::MESSAGE_INTEGRITY, &[0; 20]);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.check_integrity_sha1(&key()), Err(IntegrityError::Missing));
    assert_eq!(message.check_integrity(&key()), Err(IntegrityError::Wrong));
    // In the right order each seal covers what stands before it, and the stronger one decides.
    let mut bytes = request(|writer| {
        writer.push(Attribute::Priority(1)).integrity(&key()).integrity_sha256(&key());
    });
    assert_eq!(Message::parse(&bytes).unwrap().check_integrity(&key()), Ok(Integrity::Sha256));
    bytes[HEADER + 8 + 4] ^= 1;
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.check_integrity_sha1(&key()), Err(IntegrityError::Wrong));
    assert_eq!(message.check_integrity(&key()), Err(IntegrityError::Wrong), "the SHA-1 tag is under the SHA-256 seal");
}

#[test]
fn ignores_whatever_was_added_behind_a_seal_but_what_belongs_there() {
    for sha256 in [false, true] {
        let mut bytes = request(|writer| {
            writer.push(Attribute::Username("alice"));
            if sha256 {
                writer.integrity_sha256(&key())
            } else {
                writer.integrity(&key())
            };
        });
        add(&mut bytes, AttributeType::USE_CANDIDATE, b"");
        add(&mut bytes, AttributeType::USERNAME, b"mallory");
        add(&mut bytes, AttributeType(0x7ff0), b"unknown, and required");
        let message = Message::parse(&bytes).unwrap();
        assert!(message.check_integrity(&key()).is_ok());
        assert_eq!((message.username(), message.has(AttributeType::USE_CANDIDATE)), (Ok(Some("alice")), false));
        assert_eq!(message.not_understood(|_| false).count(), 1, "USERNAME alone");
        // FINGERPRINT is the last one that may follow, and covers them.
        let mut buffer = bytes.clone();
        add(&mut buffer, AttributeType::FINGERPRINT, &[0; 4]);
        assert!(!Message::parse(&buffer).unwrap().check_fingerprint());
        for kind in [AttributeType::MESSAGE_INTEGRITY, AttributeType::PRIORITY, AttributeType::FINGERPRINT] {
            let mut behind = buffer.clone();
            add(&mut behind, kind, &[0; 20]);
            assert_eq!(Message::parse(&behind).unwrap_err(), ParseError::Seal);
        }
    }
}

#[test]
fn padding_is_nobodys_but_the_seals() {
    let bytes = request(|writer| {
        writer.push(Attribute::Username("alice")).push(Attribute::Priority(3)).integrity(&key()).fingerprint();
    });
    let mut padded = bytes.clone();
    let padding = HEADER + 4 + 5;
    padded[padding..padding + 3].copy_from_slice(b"\xff\xff\xff");
    let message = Message::parse(&padded).unwrap();
    assert_eq!((message.username(), message.priority()), (Ok(Some("alice")), Ok(Some(3))));
    assert!(
        !message.check_fingerprint() && message.check_integrity(&key()).is_err(),
        "it cannot be changed on the way"
    );
}

/// Every value of each length field, of the message and of its attributes.
#[test]
fn no_length_makes_anything_be_read_from_beyond() {
    let good = request(|writer| {
        writer.push(Attribute::Username("alice")).push(Attribute::Data(&[7; 9])).integrity(&key()).fingerprint();
    });
    let fields = [2, HEADER + 2, HEADER + 12 + 2, HEADER + 28 + 2, HEADER + 52 + 2];
    for field in fields {
        let right = u16::from_be_bytes([good[field], good[field + 1]]);
        for wrong in 0..=u16::MAX {
            let mut bytes = good.clone();
            bytes[field..field + 2].copy_from_slice(&wrong.to_be_bytes());
            let Ok(message) = Message::parse(&bytes) else { continue };
            assert!(wrong == right || !message.check_fingerprint() || message.check_integrity(&key()).is_err());
            for raw in message.attributes() {
                let at = raw.value.as_ptr() as usize - bytes.as_ptr() as usize;
                assert!(at + raw.value.len() <= bytes.len());
                let _ = raw.typed();
            }
        }
    }
}

#[test]
fn a_tag_of_every_length_counts_only_where_it_may() {
    for length in 0..=64 {
        let mut bytes = request(|writer| {
            writer.push_raw(AttributeType(0x7ff0), &[0; 64][..length]);
        });
        bytes[HEADER..HEADER + 2].copy_from_slice(&AttributeType::MESSAGE_INTEGRITY_SHA256.0.to_be_bytes());
        let allowed = (16..=32).contains(&length) && length % 4 == 0;
        let Ok(message) = Message::parse(&bytes) else {
            assert!(!allowed, "{length}");
            continue;
        };
        assert!(allowed, "{length}");
        let expected = if length == 32 { IntegrityError::Wrong } else { IntegrityError::Truncated };
        assert_eq!(message.check_integrity(&key()), Err(expected));
        // Not even who asks for less gets less than 16 bytes.
        assert_eq!(message.check_integrity_sha256(&key(), 0), Err(IntegrityError::Wrong));
    }
}
