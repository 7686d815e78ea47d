//! What it costs to read and write a session description, beside `sdp-types` in the same run.
//! `cargo bench -p farspeak-sdp --bench parse [-- part of a name]`
//!
//! Each line is the best of many batches: other work on the machine can only add to it.

#[path = "../../sip/tests/support/counting.rs"]
mod counting;

use std::hint::black_box;
use std::time::{Duration, Instant};

use counting::{Counting, allocations};
use farspeak_sdp::{Description, Limits};
use sdp_types::Session;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PHONE: &[u8] = include_bytes!("../tests/data/linphone/srtp-avpf-offer.sdp");
const CHROMIUM: &[u8] = include_bytes!("../tests/data/chromium/av-data-offer-gathered.sdp");

const BATCH: u32 = 100;
const BATCHES: u32 = 800;

fn main() {
    let limits = Limits::default();
    for (name, bytes) in [("phone", PHONE), ("Chromium", CHROMIUM)] {
        let size = bytes.len();
        report(&format!("{name}, {size} bytes: parse"), || Description::parse(black_box(bytes), &limits).unwrap());
        report(&format!("{name}, {size} bytes: parse, sdp-types"), || Session::parse(black_box(bytes)).unwrap());
        report(&format!("{name}, {size} bytes: parse, read what an answer needs"), || {
            let description = Description::parse(black_box(bytes), &limits).unwrap();
            black_box(read(&description));
            description
        });
        let mut out = Vec::with_capacity(2 * size);
        let ours = Description::parse(bytes, &limits).unwrap();
        report(&format!("{name}, {size} bytes: write"), || {
            out.clear();
            black_box(&ours).write(&mut out);
            out.len()
        });
        let theirs = Session::parse(bytes).unwrap();
        report(&format!("{name}, {size} bytes: write, sdp-types"), || {
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

fn report<T>(name: &str, mut work: impl FnMut() -> T) {
    let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    if !wanted.next().is_none_or(|part| name.contains(&part)) {
        return;
    }
    // Without `--bench` (a test run, or under a profiler that counts instructions) once is enough.
    let batches = if std::env::args().any(|argument| argument == "--bench") { BATCHES } else { 1 };
    let (count, _) = allocations(&mut work);
    let mut best = Duration::MAX;
    for _ in 0..batches {
        let start = Instant::now();
        for _ in 0..BATCH {
            black_box(work());
        }
        best = best.min(start.elapsed());
    }
    println!("{:>8.0} ns  {count:>4} allocations  {name}", best.as_nanos() as f64 / f64::from(BATCH));
}
