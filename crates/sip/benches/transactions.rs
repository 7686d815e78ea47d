//! What the transaction layer costs: one proxied call, one registration. `cargo bench -p farspeak-sip`
//!
//! A call is what a proxy does for it: 8 messages in (INVITE, 100, 180, 200, ACK, BYE, 200 and the other 100), parsed
//! and matched, 8 out, 4 transactions opened and ended. Forwarded messages are written beforehand: editing them is
//! measured in `parse`. Virtual time runs on, so that lingering transactions end at the rate they begin.

#[path = "../tests/support/counting.rs"]
mod counting;

use std::fmt::Write;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant as Clock};

use counting::{Counting, allocations};
use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::endpoint::{Endpoint, EndpointConfig, Event};
use farspeak_sip::message::{Method, StatusCode};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Short enough to fit between two interruptions: the best batch is free of them.
const BATCH: u32 = 100;

fn main() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut calls = Calls::new(transport);
        // Until as many transactions linger as ever will: 32 s at 1 ms a call.
        for _ in 0..40_000 {
            calls.call();
        }
        let counts = calls.endpoint.counts();
        println!("{transport}: {} transactions linger, {} timers", counts.transactions(), counts.timers);
        report(&format!("{transport}: call"), &mut calls, Calls::call);
        report(&format!("{transport}: registration"), &mut calls, Calls::registration);
    }
}

fn report(name: &str, calls: &mut Calls, work: impl Fn(&mut Calls)) {
    let mut best = Duration::MAX;
    for _ in 0..400 {
        let start = Clock::now();
        for _ in 0..BATCH {
            work(calls);
        }
        best = best.min(start.elapsed());
    }
    let (count, ()) = allocations(|| work(calls));
    println!("{:>8.0} ns  {count} allocations  {name}", best.as_nanos() as f64 / f64::from(BATCH));
}

struct Calls {
    endpoint: Endpoint,
    now: Instant,
    caller: Flow,
    callee: Flow,
    number: u64,
    invite: Template,
    ack: Template,
    bye: Template,
    register: Template,
    forwarded_invite: Template,
    forwarded_bye: Template,
    responses: [Template; 4],
}

impl Calls {
    fn new(transport: Transport) -> Self {
        let flow = |slot, port| Flow {
            id: FlowId::new(0, slot, 1),
            transport,
            local: SocketAddr::from(([192, 0, 2, 1], 5061)),
            remote: SocketAddr::from(([192, 0, 2, 9], port)),
        };
        let own = format!("Via: SIP/2.0/{transport} 192.0.2.1:5061;branch={HOLE}\r\n");
        let response = |status: &str, method: &str| Template::new(status, &own, method);
        Self {
            endpoint: Endpoint::new(EndpointConfig::default(), Box::new(SplitMix64::new(1))),
            now: Instant::ZERO,
            caller: flow(1, 40_000),
            callee: flow(2, 50_000),
            number: 0,
            invite: Template::new("INVITE sip:bob@192.0.2.1 SIP/2.0", "", "INVITE"),
            ack: Template::new("ACK sip:bob@192.0.2.9 SIP/2.0", "", "ACK"),
            bye: Template::new("BYE sip:bob@192.0.2.9 SIP/2.0", "", "BYE"),
            register: Template::new("REGISTER sip:192.0.2.1 SIP/2.0", "", "REGISTER"),
            forwarded_invite: Template::new("INVITE sip:bob@192.0.2.9 SIP/2.0", &own, "INVITE"),
            forwarded_bye: Template::new("BYE sip:bob@192.0.2.9 SIP/2.0", &own, "BYE"),
            responses: [
                response("SIP/2.0 100 Trying", "INVITE"),
                response("SIP/2.0 180 Ringing", "INVITE"),
                response("SIP/2.0 200 OK", "INVITE"),
                response("SIP/2.0 200 OK", "BYE"),
            ],
        }
    }

    fn call(&mut self) {
        self.tick();
        let branch = self.branch(1);
        let tx = request(&mut self.endpoint, self.now, self.caller, self.invite.with(&branch));
        self.endpoint.respond(self.now, tx, StatusCode::TRYING, self.responses[0].bytes());
        let ours = self.endpoint.new_branch(7);
        let bytes = self.forwarded_invite.with(&ours);
        self.endpoint.request(self.now, self.callee, &Method::Invite, &ours, bytes);
        for (index, status) in [(0, StatusCode::TRYING), (1, StatusCode::RINGING), (2, StatusCode::OK)] {
            let bytes = self.responses[index].with(&ours);
            self.endpoint.handle_receive(self.now, Receive { flow: self.callee, bytes });
            if status != StatusCode::TRYING {
                self.endpoint.respond(self.now, tx, status, self.responses[index].bytes());
            }
        }
        let other = self.branch(2);
        self.endpoint.handle_receive(self.now, Receive { flow: self.caller, bytes: self.ack.with(&other) });
        self.endpoint.send_stateless(self.now, self.callee, self.ack.bytes());
        self.drain();
        let branch = self.branch(3);
        let tx = request(&mut self.endpoint, self.now, self.caller, self.bye.with(&branch));
        let ours = self.endpoint.new_branch(7);
        let bytes = self.forwarded_bye.with(&ours);
        self.endpoint.request(self.now, self.callee, &Method::Bye, &ours, bytes);
        let bytes = self.responses[3].with(&ours);
        self.endpoint.handle_receive(self.now, Receive { flow: self.callee, bytes });
        self.endpoint.respond(self.now, tx, StatusCode::OK, self.responses[3].bytes());
        self.drain();
    }

    fn registration(&mut self) {
        self.tick();
        let branch = self.branch(1);
        let tx = request(&mut self.endpoint, self.now, self.caller, self.register.with(&branch));
        self.endpoint.respond(self.now, tx, StatusCode::OK, self.responses[3].bytes());
        self.drain();
    }

    fn tick(&mut self) {
        self.number += 1;
        self.now += Duration::from_millis(1);
        self.endpoint.handle_timeout(self.now);
        self.drain();
    }

    fn branch(&self, kind: u64) -> String {
        // One allocation, whose count is no fault of the endpoint.
        let mut branch = String::with_capacity(HOLE.len());
        let _infallible = write!(branch, "z9hG4bK{:036x}", self.number * 4 + kind);
        branch
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            black_box(transmit);
        }
        while let Some(event) = self.endpoint.poll_event() {
            black_box(event);
        }
    }
}

fn request(endpoint: &mut Endpoint, now: Instant, flow: Flow, bytes: &[u8]) -> farspeak_sip::endpoint::ServerTx {
    endpoint.handle_receive(now, Receive { flow, bytes });
    loop {
        match endpoint.poll_event() {
            Some(Event::Request { tx, .. }) => return tx,
            Some(_) => {}
            None => unreachable!("every branch is new"),
        }
    }
}

/// A message with room for a branch of 43 characters.
struct Template {
    bytes: Vec<u8>,
    hole: usize,
}

const HOLE: &str = "z9hG4bK------------------------------------";

impl Template {
    fn new(first_line: &str, via: &str, method: &str) -> Self {
        let text = format!(
            "{first_line}\r\n{via}\
             Via: SIP/2.0/UDP 10.0.0.1:5062;branch={HOLE};rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Alice\" <sip:alice@example.org>;tag=9fxced76sl\r\n\
             To: \"Bob\" <sip:bob@example.org>;tag=314159\r\n\
             Call-ID: 3848276298220188511@10.0.0.1\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:alice@10.0.0.1:5062;transport=tls>\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, REFER, NOTIFY\r\n\
             Supported: replaces, outbound\r\n\
             User-Agent: bench\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let hole = text.find(HOLE).expect("every template has a branch");
        Self { bytes: text.into_bytes(), hole }
    }

    fn with(&mut self, branch: &str) -> &[u8] {
        self.bytes[self.hole..][..branch.len()].copy_from_slice(branch.as_bytes());
        &self.bytes
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
