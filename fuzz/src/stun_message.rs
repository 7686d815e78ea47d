//! STUN messages, ChannelData and streams: no bytes make them panic, what is read can be written and read again, and
//! every piecing of a stream gives the same messages.

use farspeak_stun::channel_data::ChannelData;
use farspeak_stun::framing::{Framed, StreamFramer};
use farspeak_stun::limit::longest_answer;
use farspeak_stun::long_term::{Authority, Credentials, Nonces, SecurityFeatures, Verdict};
use farspeak_stun::{AttributeType, Class, Integrity, Key, Message, Writer, short_term};

/// Reads `data` as a datagram and as a stream.
pub fn fuzz(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        rewrite(&message);
        let key = Key::from_bytes(b"key");
        assert!(message.check_integrity(&key).is_err() || data.len() > 40);
        let _ = (message.check_fingerprint(), message.check_integrity_sha256(&key, 16));
        let _ = message.not_understood(AttributeType::is_known).count();
        authenticate(&message);
        if let Ok(Some(nonce)) = message.nonce() {
            let nonces = Nonces::new(&[1; 32], std::time::Duration::from_secs(60));
            let client = std::net::SocketAddr::from(([192, 0, 2, 1], 4000));
            assert!(nonces.check(farspeak_sansio::Instant::ZERO, client, nonce).is_err(), "nobody knows the key");
            assert!(
                SecurityFeatures::of_nonce(nonce)
                    .is_none_or(|features| nonce.as_bytes().starts_with(&features.cookie()))
            );
        }
    }
    if let Some(channel) = ChannelData::parse(data) {
        assert!(data[4..].starts_with(channel.data));
    }
    assert_eq!(pieces(data, 1), pieces(data, usize::MAX));
}

/// Nobody is let in without a key, and who is refused gets an answer that fits.
fn authenticate(message: &Message<'_>) {
    let key = || Some(Key::from_bytes(&[7; 32]));
    assert!(short_term::check(message, |_| key()).is_err());
    let now = farspeak_sansio::Instant::ZERO;
    let client = std::net::SocketAddr::from(([192, 0, 2, 1], 4000));
    let authority = Authority::new("example.org", Nonces::new(&[1; 32], std::time::Duration::from_secs(60)));
    let refused = authority.check(now, client, message, |_, _| key()).expect_err("nobody knows the key");
    let mut buffer = [0; 256];
    let room = longest_answer(message.bytes().len(), client.ip()).min(buffer.len());
    if let Some(response) = authority.refuse(now, client, message, refused, &mut buffer[..room]) {
        let response = Message::parse(response).expect("what we write parses");
        assert_eq!((response.class(), response.transaction_id()), (Class::Error, message.transaction_id()));
    }
    let mut credentials = Credentials::new("alice", "secret");
    let verdict = credentials.judge(message, message);
    assert_eq!(verdict == Verdict::Retry, credentials.is_challenged());
}

/// Every attribute that can be read can be written, and is the same then; seals of ours on it are right.
fn rewrite(message: &Message<'_>) {
    let key = Key::from_bytes(b"key");
    let mut buffer = vec![0; message.bytes().len() * 2 + 128];
    let mut writer = Writer::new(&mut buffer, message.class(), message.method(), message.transaction_id());
    let mut readable = Vec::new();
    for raw in message.attributes() {
        match raw.typed() {
            // Longer texts are read than are written (RFC 8489 §14.3).
            Some(Ok(attribute)) if raw.value.len() <= 508 => {
                writer.push(attribute);
                readable.push(attribute);
            }
            Some(_) => {}
            None => {
                writer.push_raw(raw.kind, raw.value);
            }
        }
    }
    writer.integrity(&key).integrity_sha256(&key).fingerprint();
    let Ok(bytes) = writer.finish() else { return };
    let again = Message::parse(bytes).expect("what we write parses");
    assert_eq!(again.transaction_id(), message.transaction_id());
    assert_eq!((again.class(), again.method()), (message.class(), message.method()));
    let read: Vec<_> =
        again.attributes().filter_map(|raw| raw.typed()).map(|read| read.expect("it was typed")).collect();
    assert_eq!(read, readable);
    assert_eq!(again.check_integrity(&key), Ok(Integrity::Sha256));
    assert!(again.check_integrity_sha1(&key).is_ok() && again.check_fingerprint());
}

fn pieces(data: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut framer, mut all) = (StreamFramer::new(4096), Vec::new());
    for piece in data.chunks(size.max(1)) {
        framer.push(piece);
        while let Some(framed) = framer.next() {
            let bytes = match framed {
                Framed::Stun(bytes) => {
                    let _ = Message::parse(bytes);
                    bytes
                }
                Framed::ChannelData(bytes) => {
                    assert!(ChannelData::parse(bytes).is_some(), "what is framed is read");
                    bytes
                }
            };
            all.push(bytes.to_vec());
        }
        assert!(framer.pending() <= 4096 + size.min(data.len()));
    }
    (all, framer.is_lost())
}
