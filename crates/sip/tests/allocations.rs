//! Promises about memory: how many allocations a message costs, and what an idle framer holds.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/routing.rs"]
mod routing;

use counting::{Counting, allocations};
use farspeak_sip::framer::{Frame, StreamFramer};
use farspeak_sip::message::{Edit, HeaderName, Limits, Message};
use routing::{INVITE, REGISTER, read_routing};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn reading_a_message_with_all_its_routing_costs_three_allocations() {
    let limits = Limits::default();
    assert_eq!(INVITE.len(), 826);
    for (bytes, bound) in [(INVITE, 3), (REGISTER, 2)] {
        let (count, message) = allocations(|| Message::parse(bytes, &limits).unwrap());
        assert_eq!(count, bound, "body, head and table of lines");
        let (count, _) = allocations(|| read_routing(&message));
        assert_eq!(count, 0, "typed access borrows");
        let (count, outcome) = allocations(|| message.check_essential());
        assert_eq!((count, outcome), (0, Ok(())));
    }
}

#[test]
fn writing_down_where_a_request_came_from_costs_one_allocation() {
    let mut message = Message::parse(INVITE, &Limits::default()).unwrap();
    let source: std::net::SocketAddr = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
    let (count, ()) = allocations(|| message.stamp_source(source));
    assert_eq!(count, 1, "the new Via; the message has room for it");
    assert_eq!(message.via().unwrap().received(), Some(source.ip()));
}

#[test]
fn forwarding_costs_four_allocations() {
    let message = Message::parse(INVITE, &Limits::default()).unwrap();
    let mut out = Vec::with_capacity(4096);
    let (count, ()) = allocations(|| {
        let mut edit = Edit::new(&message);
        edit.set_request_uri("sip:bob@192.0.2.4:5061;transport=tls")
            .remove_first_value(HeaderName::Route)
            .prepend(HeaderName::RecordRoute, "<sip:token@192.0.2.1:5061;transport=tls;lr>")
            .prepend(HeaderName::Via, "SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bK-1-2-3")
            .set(HeaderName::MaxForwards, "68");
        edit.write(&mut out);
    });
    assert!(count <= 4, "{count}");
    assert!(Message::parse(&out, &Limits::default()).unwrap().check_essential().is_ok());
}

#[test]
fn an_idle_framer_holds_no_heap_memory() {
    let mut framer = StreamFramer::new(Limits::default());
    for bytes in [INVITE, b"\r\n\r\n", REGISTER, b"\r\n"] {
        framer.push(bytes);
        while let Some(frame) = framer.next() {
            assert!(!matches!(frame, Frame::Broken { .. }));
        }
        assert_eq!((framer.is_idle(), framer.heap_bytes()), (true, 0));
    }
    assert!(size_of::<StreamFramer>() <= 160, "{}", size_of::<StreamFramer>());
}
