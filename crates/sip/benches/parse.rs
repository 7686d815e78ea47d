//! What it costs to read a message and to forward one. `cargo bench -p farspeak-sip --bench parse [-- part of a name]`

#[path = "../tests/support/measure.rs"]
mod measure;
#[path = "../tests/support/routing.rs"]
mod routing;

use std::hint::black_box;

use farspeak_sip::framer::{Frame, StreamFramer};
use farspeak_sip::message::{Edit, HeaderName, Limits, Message};
use measure::Batches;
use routing::{INVITE, REGISTER, read_routing};

const EACH: Batches = Batches { size: 500, count: 800 };

fn main() {
    let limits = Limits::default();
    for (name, bytes) in [("INVITE", INVITE), ("REGISTER", REGISTER)] {
        let size = bytes.len();
        EACH.report(&format!("{name} {size} bytes: parse"), || Message::parse(black_box(bytes), &limits).unwrap());
        EACH.report(&format!("{name} {size} bytes: parse, all routing header fields typed"), || {
            let message = Message::parse(black_box(bytes), &limits).unwrap();
            black_box(read_routing(&message));
            message
        });
        let message = Message::parse(bytes, &limits).unwrap();
        EACH.report(&format!("{name} {size} bytes: check_essential"), || black_box(&message).check_essential());
        EACH.report(&format!("{name} {size} bytes: frame on a stream"), || {
            let mut framer = StreamFramer::new(limits.clone());
            framer.push(black_box(bytes));
            let Some(Frame::Message(framed)) = framer.next() else { unreachable!("it is a whole message") };
            framed.len()
        });
    }
    let message = Message::parse(INVITE, &limits).unwrap();
    let mut out = Vec::with_capacity(4096);
    EACH.report("INVITE 826 bytes: forward (URI, Via, Record-Route, Route, Max-Forwards)", || {
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
