//! What it costs to read and write a session description, beside `sdp-types` in the same run.
//! `cargo bench -p farspeak-sdp --bench parse [-- part of a name]`

#[path = "../../sip/tests/support/measure.rs"]
mod measure;

use std::hint::black_box;

use farspeak_sdp::{Description, Limits};
use measure::Batches;
use sdp_types::Session;

const PHONE: &[u8] = include_bytes!("../tests/data/linphone/srtp-avpf-offer.sdp");
const CHROMIUM: &[u8] = include_bytes!("../tests/data/chromium/av-data-offer-gathered.sdp");

const EACH: Batches = Batches { size: 100, count: 800 };

fn main() {
    let limits = Limits::default();
    for (name, bytes) in [("phone", PHONE), ("Chromium", CHROMIUM)] {
        let size = bytes.len();
        EACH.report(&format!("{name}, {size} bytes: parse"), || Description::parse(black_box(bytes), &limits).unwrap());
        EACH.report(&format!("{name}, {size} bytes: parse, sdp-types"), || Session::parse(black_box(bytes)).unwrap());
        EACH.report(&format!("{name}, {size} bytes: parse, read what an answer needs"), || {
            let description = Description::parse(black_box(bytes), &limits).unwrap();
            black_box(read(&description));
            description
        });
        let mut out = Vec::with_capacity(2 * size);
        let ours = Description::parse(bytes, &limits).unwrap();
        EACH.report(&format!("{name}, {size} bytes: write"), || {
            out.clear();
            black_box(&ours).write(&mut out);
            out.len()
        });
        let theirs = Session::parse(bytes).unwrap();
        EACH.report(&format!("{name}, {size} bytes: write, sdp-types"), || {
            out.clear();
            black_box(&theirs).write(&mut out).unwrap();
            out.len()
        });
    }
}

/// Codecs, direction, transport and security of each stream.
fn read(description: &Description) -> usize {
    let mut found = description.groups().count() + usize::from(description.connection().is_some());
    for media in description.media() {
        found += media.payload_types().filter(|payload_type| media.rtpmap(*payload_type).is_some()).count();
        found +=
            media.fmtps().count() + media.cryptos().count() + media.fingerprints().count() + media.candidates().count();
        found += usize::from(media.rtcp_mux()) + usize::from(media.mid().is_some()) + usize::from(media.is_rejected());
        found += usize::from(media.direction().is_some()) + usize::from(media.setup().is_some());
        found += usize::from(media.ice_ufrag().is_some()) + usize::from(media.ice_pwd().is_some());
    }
    found
}
