//! Reading one INVITE of 826 bytes: our parser beside rsipstack's, the fastest other one in Rust that we know, in turn and in
//! one run. `benches/sip-parse/run`
//!
//! rsipstack keeps the values of header fields as texts until somebody types them. Its first line is that alone; its second
//! types Via, From, To, CSeq, Contact, Route and Record-Route, which is less than our second line reads. The times are the best
//! of many batches, because other work on the machine can only add; hold on to the ratios.

#[path = "../../../crates/sip/tests/support/counting.rs"]
mod counting;
#[path = "../../../crates/sip/tests/support/routing.rs"]
mod routing;

use std::hint::black_box;
use std::time::{Duration, Instant};

use counting::{Counting, allocations};
use farspeak_sip::message::{Limits, Message};
use routing::{INVITE, REGISTER, read_routing};
use rsipstack::sip::prelude::{HasHeaders as _, ToTypedHeader as _};
use rsipstack::sip::{Header, SipMessage};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: u32 = 500;
const BATCHES: u32 = 200;
/// Both parsers get the same number of turns, so that a machine that slows down slows both.
const ROUNDS: u32 = 5;

fn main() {
    let limits = Limits::default();
    for (name, bytes) in [("INVITE", INVITE), ("REGISTER", REGISTER)] {
        let mut rows = [
            Row::new("farspeak-sip: parse"),
            Row::new("rsipstack:    parse"),
            Row::new("farspeak-sip: parse, all routing header fields typed"),
            Row::new("rsipstack:    parse, some of them typed"),
        ];
        for _ in 0..ROUNDS {
            rows[0].measure(|| Message::parse(black_box(bytes), &limits).expect("it is well formed"));
            rows[1].measure(|| SipMessage::try_from(black_box(bytes)).expect("it is well formed"));
            rows[2].measure(|| {
                let message = Message::parse(black_box(bytes), &limits).expect("it is well formed");
                black_box(read_routing(&message));
                message
            });
            rows[3].measure(|| {
                let message = SipMessage::try_from(black_box(bytes)).expect("it is well formed");
                black_box(type_some(&message));
                message
            });
        }
        println!("{name}, {} bytes", bytes.len());
        for pair in rows.chunks(2) {
            for row in pair {
                println!("{:>8.0} ns  {:>3} allocations  {}", row.nanos(), row.allocations, row.name);
            }
            println!("{:>8.2} ratio", pair[0].nanos() / pair[1].nanos());
        }
    }
}

/// Types what the rival types itself; how many there are, so that no work can be left out.
fn type_some(message: &SipMessage) -> usize {
    let mut count = 0;
    for header in message.headers().iter() {
        count += match header {
            Header::Via(value) => usize::from(value.typed().is_ok()),
            Header::From(value) => usize::from(value.typed().is_ok()),
            Header::To(value) => usize::from(value.typed().is_ok()),
            Header::CSeq(value) => usize::from(value.typed().is_ok()),
            Header::Contact(value) => usize::from(value.typed().is_ok()),
            Header::Route(value) => usize::from(value.typed().is_ok()),
            Header::RecordRoute(value) => usize::from(value.typed().is_ok()),
            _ => 0,
        };
    }
    count
}

struct Row {
    name: &'static str,
    best: Duration,
    allocations: usize,
}

impl Row {
    const fn new(name: &'static str) -> Self {
        Self { name, best: Duration::MAX, allocations: 0 }
    }

    fn measure<T>(&mut self, mut work: impl FnMut() -> T) {
        self.allocations = allocations(&mut work).0;
        for _ in 0..BATCHES {
            let start = Instant::now();
            for _ in 0..BATCH {
                black_box(work());
            }
            self.best = self.best.min(start.elapsed());
        }
    }

    fn nanos(&self) -> f64 {
        self.best.as_nanos() as f64 / f64::from(BATCH)
    }
}
