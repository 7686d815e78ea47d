//! The ladder log tells what went over the wire, which timers fired and which states were entered.

use std::sync::{Arc, Mutex};

use farspeak_sansio::{Ladder, Record, RecordKind};
use farspeak_sip::message::Method;

use crate::bench::{Bench, VIA, incoming, secs, udp};

struct Lines(Arc<Mutex<Vec<String>>>);

impl Ladder for Lines {
    fn record(&mut self, record: Record<'_>) {
        let first_line = |bytes| String::from_utf8_lossy(bytes).split(" sip").next().unwrap_or_default().to_owned();
        let what = match record.kind {
            RecordKind::Received(bytes) => format!("<- {}", first_line(bytes)),
            RecordKind::Sent(bytes) => format!("-> {}", first_line(bytes).split("\r\n").next().unwrap_or_default()),
            RecordKind::Timer(name) => format!("   {name}"),
            RecordKind::State(name) => format!("   {name}"),
        };
        assert!(record.flow.is_some(), "everything here belongs to a flow: {what}");
        self.0.lock().unwrap().push(format!("{} {what} ({})", record.at, record.subject));
    }
}

#[test]
fn ladder_tells_messages_timers_and_states() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let mut bench = Bench::new();
    bench.endpoint.set_ladder(Some(Box::new(Lines(Arc::clone(&lines)))));
    bench.receive(udp(), &incoming("INVITE", VIA));
    let tx = bench.requested();
    bench.pass(secs(0.3));
    bench.respond(tx, 486);
    bench.receive(udp(), &incoming("ACK", VIA));
    bench.request(udp(), &Method::Options);
    bench.pass(secs(0.7));
    let call = "2xTb9vxSit55XU7p8@atlanta.example";
    let options = "3848276298220188511@atlanta.example";
    let expected = [
        format!("0.000000 <- INVITE ({call})"),
        format!("0.000000    Proceeding ({call})"),
        format!("0.200000    Timer Trying ({call})"),
        format!("0.200000 -> SIP/2.0 100 Trying ({call})"),
        format!("0.300000 -> SIP/2.0 486 Busy Here ({call})"),
        format!("0.300000    Completed ({call})"),
        format!("0.300000 <- ACK ({call})"),
        format!("0.300000    Confirmed ({call})"),
        format!("0.300000 -> OPTIONS ({options})"),
        format!("0.300000    Trying ({options})"),
        format!("0.800000    Timer E ({options})"),
        format!("0.800000 -> OPTIONS ({options})"),
    ];
    assert_eq!(*lines.lock().unwrap(), expected);
}
