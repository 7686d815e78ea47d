//! A client's connection in the packet loop: behind a load balancer or not, what it brings is cut into the same messages
//! however the network cuts it; what is written to it arrives as whole messages, in order, and a slow reader costs a
//! bounded queue.

use farspeak_net::relay::Frame;
use farspeak_net::relay::rehearsal::{LONGEST_PROXY_HEADER, ProxyHeader, Rehearsal, read_proxy_header};

use crate::input::Input;

/// The first byte says what is tried: reading with its pieces, or writing.
pub fn fuzz(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    match mode % 3 {
        0 => read(data, false),
        1 => read(data, true),
        _ => write(data),
    }
}

/// A PROXY header alone: any beginning of one is worth waiting for, and nothing behind it changes it.
pub fn proxy_header(data: &[u8]) {
    let whole = read_proxy_header(data);
    if let ProxyHeader::Whole { length, ends } = whole {
        assert!((16..=LONGEST_PROXY_HEADER).contains(&length) && length <= data.len());
        assert!(data.starts_with(b"\r\n\r\n\0\r\nQUIT\n") && data[12] & 0xfe == 0x20);
        assert_eq!(length, 16 + usize::from(u16::from_be_bytes([data[14], data[15]])));
        assert_eq!(read_proxy_header(&data[..length]), whole, "what follows is not its business");
        assert!(ends.is_none_or(
            |(source, destination)| source.is_ipv4() == destination.is_ipv4() || !matches!(data[13] >> 4, 1)
        ));
        assert_eq!(ends.is_some(), data[12] & 15 == 1 && matches!(data[13] >> 4, 1 | 2));
    }
    for at in 0..data.len().min(LONGEST_PROXY_HEADER + 1) {
        match (read_proxy_header(&data[..at]), whole) {
            (ProxyHeader::NeedMore, _) => assert!(at < LONGEST_PROXY_HEADER),
            (ProxyHeader::Wrong, whole) => assert_eq!(whole, ProxyHeader::Wrong, "right after all"),
            (before, whole) => assert_eq!(before, whole, "another one"),
        }
    }
}

/// Messages begin with a length of two bytes, and are padded to four; `0xff` first is none.
fn measure(bytes: &[u8]) -> Frame {
    match bytes {
        [0xff, ..] => Frame::Lost,
        [high, low, ..] => {
            let length = 2 + usize::from(u16::from_be_bytes([*high & 7, *low]));
            let total = length.next_multiple_of(4);
            if bytes.len() < total { Frame::NeedMore } else { Frame::Whole { length, total } }
        }
        _ => Frame::NeedMore,
    }
}

const LONGEST: usize = 2052;

fn rehearsal(proxied: bool) -> Rehearsal {
    Rehearsal::new(proxied, None, LONGEST, measure).expect("without TLS nothing can be missing")
}

/// As many bytes as the first says are lengths of pieces; the rest comes in such pieces, at once, and byte by byte.
fn read(data: &[u8], proxied: bool) {
    let mut input = Input::new(data);
    let cuts = input.raw();
    let bytes = &data[data.len().min(1 + cuts.len())..];
    let mut pieces = rehearsal(proxied);
    let mut rest = bytes;
    let mut lengths = cuts.iter().cycle();
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |length| usize::from(*length).max(1)).min(rest.len());
        let (piece, after) = rest.split_at(length);
        bring(&mut pieces, piece);
        rest = after;
    }
    let mut one_by_one = rehearsal(proxied);
    bytes.chunks(1).for_each(|byte| bring(&mut one_by_one, byte));
    let mut at_once = rehearsal(proxied);
    bring(&mut at_once, bytes);
    let expected = expected(bytes, proxied);
    for got in [&pieces, &one_by_one, &at_once] {
        assert_eq!((&got.messages, got.ended), (&expected.0, expected.1));
        assert_eq!(got.remote(), at_once.remote());
    }
}

fn bring(rehearsal: &mut Rehearsal, bytes: &[u8]) {
    rehearsal.bring(bytes);
    assert!(rehearsal.kept() < LONGEST.max(LONGEST_PROXY_HEADER));
}

/// What the bytes hold, looked at whole.
fn expected(mut bytes: &[u8], proxied: bool) -> (Vec<Vec<u8>>, Option<&'static str>) {
    let mut messages = Vec::new();
    if proxied {
        match read_proxy_header(bytes) {
            ProxyHeader::Whole { length, .. } => bytes = &bytes[length..],
            ProxyHeader::NeedMore => return (messages, None),
            ProxyHeader::Wrong => return (messages, Some("no PROXY header")),
        }
    }
    loop {
        match measure(bytes) {
            Frame::Whole { length, total } => {
                messages.push(bytes[..length].to_vec());
                bytes = &bytes[total..];
            }
            Frame::NeedMore => return (messages, None),
            Frame::Lost => return (messages, Some("no message")),
        }
    }
}

/// Each two bytes are a message, relayed or not, or room in the kernel.
fn write(data: &[u8]) {
    let mut input = Input::new(data);
    let mut rehearsal = rehearsal(false);
    let mut queued = Vec::new();
    let mut sent = Vec::new();
    let mut number = 0_u8;
    while let (Some(kind), size) = (input.byte(), input.small()) {
        if kind % 4 == 3 {
            rehearsal.flush(size * 97);
        } else {
            number = number.wrapping_add(1);
            let message = vec![number; size * 16];
            let relayed = kind % 4 > 0;
            let taken = rehearsal.send(&message, relayed);
            assert!(taken || relayed || rehearsal.is_cut(), "an answer is lost without a word");
            if taken {
                queued.extend(message);
            }
        }
        sent.extend(rehearsal.take_sent());
        assert!(rehearsal.waiting() <= 96 << 10);
        assert!(queued.starts_with(&sent), "cut, or out of order");
        if rehearsal.is_cut() {
            return;
        }
    }
    rehearsal.flush(usize::MAX / 2);
    sent.extend(rehearsal.take_sent());
    assert_eq!(sent.len(), queued.len());
}
