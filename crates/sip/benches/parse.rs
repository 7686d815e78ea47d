//! What it costs to read a message and to forward one. `cargo bench -p farspeak-sip --bench parse [-- part of a name]`
//!
//! Each line is the best of many batches: other work on the machine can only add to it.

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../tests/support/routing.rs"]
mod routing;

use std::hint::black_box;
use std::time::{Duration, Instant};

use counting::{Counting, allocations};
use farspeak_sip::framer::{Frame, StreamFramer};
use farspeak_sip::message::{Edit, HeaderName, Limits, Message};
use routing::{INVITE, REGISTER, read_routing};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: u32 = 500;
const BATCHES: u32 = 800;

fn main() {
    let limits = Limits::default();
    for (name, bytes) in [("INVITE", INVITE), ("REGISTER", REGISTER)] {
        let size = bytes.len();
        report(&format!("{name} {size} bytes: parse"), || Message::parse(black_box(bytes), &limits).unwrap());
        report(&format!("{name} {size} bytes: parse, all routing header fields typed"), || {
            let message = Message::parse(black_box(bytes), &limits).unwrap();
            black_box(read_routing(&message));
            message
        });
        let message = Message::parse(bytes, &limits).unwrap();
        report(&format!("{name} {size} bytes: check_essential"), || black_box(&message).check_essential());
        report(&format!("{name} {size} bytes: frame on a stream"), || {
            let mut framer = StreamFramer::new(limits.clone());
            framer.push(black_box(bytes));
            let Some(Frame::Message(framed)) = framer.next() else { unreachable!("it is a whole message") };
            framed.len()
        });
    }
    let message = Message::parse(INVITE, &limits).unwrap();
    let mut out = Vec::with_capacity(4096);
    report("INVITE 826 bytes: forward (URI, Via, Record-Route, Route, Max-Forwards)", || {
        out.clear();
        let mut edit = Edit::new(black_box(&message));
        edit.set_request_uri("sip:bob@192.0.2.4:5061;transport=tls")
            .remove_first_value(HeaderName::Route)
            .prepend(HeaderName::RecordRoute, "<sip:token@192.0.2.1:5061;transport=tls;lr>")
            .prepend(HeaderName::Via, "SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bK-1-2-3")
            .set(HeaderName::MaxForwards, "68");
        edit.write(&mut out);
        out.len()
    });
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
    println!("{:>8.0} ns  {count} allocations  {name}", best.as_nanos() as f64 / f64::from(BATCH));
}
