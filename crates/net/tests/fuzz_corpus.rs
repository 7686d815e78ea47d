//! Replays the seeds of the fuzz targets that concern this crate, with the targets' own assertions; and the same promise
//! with TLS, whose random bytes no seed can hold.

mod common;
#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/relay_stream.rs"]
mod relay_stream;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use std::io::{Read, Write};
use std::sync::Arc;

use common::{certificates, client_config, localhost};
use farspeak_net::relay::Frame;
use farspeak_net::relay::rehearsal::Rehearsal;
use farspeak_net::{CertificateStore, server_config_for};
use replay::replay;

#[test]
fn proxy_header_seeds_hold() {
    replay("proxy_header", relay_stream::proxy_header, usize::MAX, &[0, 1, 0x10, 0x20, 0x21, 0xff]);
}

#[test]
fn stream_seeds_hold() {
    replay("relay_stream", relay_stream::fuzz, 64, &[0, 1, 2, 3, 0x20, 0xff]);
}

fn measure(bytes: &[u8]) -> Frame {
    if bytes.len() < 300 { Frame::NeedMore } else { Frame::Whole { length: 300, total: 300 } }
}

#[test]
fn tls_brings_the_same_however_it_is_cut_and_its_end_at_once() {
    let (root, identities) = certificates();
    let tls = server_config_for(CertificateStore::new(identities), &["stun.turn"]).unwrap();
    let proxy = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x07\xc6\x33\x64\x02\x12\x34\x01\xbb";
    for (proxied, most) in [(true, 1), (false, 1), (true, 7), (false, 100), (true, 1460), (false, usize::MAX)] {
        let mut server = Rehearsal::new(proxied, Some(Arc::clone(&tls)), 300, measure).unwrap();
        server.flush(usize::MAX / 2);
        let mut client = rustls::ClientConnection::new(Arc::new(client_config(&root)), localhost()).unwrap();
        let messages: Vec<Vec<u8>> = (0..200).map(|number| vec![number; 300]).collect();
        let mut unsent = messages.concat();
        let mut wire = if proxied { proxy.to_vec() } else { Vec::new() };
        let mut said_goodbye = false;
        loop {
            if !client.is_handshaking() {
                let length = client.writer().write(&unsent).unwrap();
                unsent.drain(..length);
                if unsent.is_empty() && !std::mem::replace(&mut said_goodbye, true) {
                    client.send_close_notify();
                }
            }
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            if wire.is_empty() && said_goodbye {
                break;
            }
            wire.chunks(most.min(wire.len().max(1))).for_each(|piece| server.bring(piece));
            wire.clear();
            let answer = server.take_sent();
            let mut answer = &answer[..];
            while !answer.is_empty() {
                client.read_tls(&mut answer).unwrap();
                client.process_new_packets().unwrap();
            }
            let _ = client.reader().read(&mut [0; 10]); // nothing is said to it
        }
        assert!(server.messages == messages, "{} of {} came", server.messages.len(), messages.len());
        assert_eq!(server.ended, Some("closed"), "in pieces of {most}");
        assert_eq!(server.remote().to_string(), if proxied { "198.51.100.7:4660" } else { "192.0.2.1:4000" });
    }
}
