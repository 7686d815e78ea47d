//! What a call costs two user agents: INVITE, 180, 200, ACK, BYE, 200, through sessions, dialogs and transactions at both
//! ends. `cargo bench -p farspeak-sip --bench session`
//!
//! Everything is in it but sockets: each message is built, parsed and matched, each event taken. Virtual time runs on, so
//! that lingering transactions end at the rate they begin.

#[path = "../tests/support/counting.rs"]
mod counting;

use std::net::SocketAddr;
use std::time::{Duration, Instant as Clock};

use counting::{Counting, allocations};
use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::dialog::Opening;
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::message::StatusCode;
use farspeak_sip::session::{Invite, SessionId};
use farspeak_sip::user_agent::{Body, Event, Extra, UserAgent, UserAgentConfig};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Short enough to fit between two interruptions: the best batch is free of them.
const BATCH: u32 = 100;
const OFFER: &[u8] = include_bytes!("../tests/data/offer.sdp");

fn main() {
    // Without `--bench` (a test run, or under a profiler that counts instructions) a few calls are enough.
    let full = std::env::args().any(|argument| argument == "--bench");
    for transport in [Transport::Udp, Transport::Tls] {
        let mut calls = Calls::new(transport);
        // Until as many transactions linger as ever will: 32 s at 10 ms a call.
        for _ in 0..if full { 4_000 } else { 100 } {
            calls.call();
        }
        let mut best = Duration::MAX;
        for _ in 0..if full { 200 } else { 1 } {
            let start = Clock::now();
            for _ in 0..BATCH {
                calls.call();
            }
            best = best.min(start.elapsed());
        }
        let (count, ()) = allocations(|| calls.call());
        let micros = best.as_nanos() as f64 / f64::from(BATCH) / 1000.0;
        println!("{micros:>6.1} us  {count} allocations  {transport}: a call, both ends");
    }
}

struct Calls {
    now: Instant,
    caller: UserAgent,
    called: UserAgent,
    to_called: Flow,
    to_caller: Flow,
    body: Body,
    /// How many ends know that the call is over.
    ended: usize,
}

impl Calls {
    fn new(transport: Transport) -> Self {
        let agent = |seed| {
            let rng = Box::new(SplitMix64::new(seed));
            UserAgent::new(UserAgentConfig::default(), EndpointConfig::default(), rng)
        };
        let [one, other] = [1, 2].map(|host| SocketAddr::from(([192, 0, 2, host], 5061)));
        let flow = |local, remote| Flow { id: FlowId::new(0, 1, 1), transport, local, remote };
        Self {
            now: Instant::ZERO,
            caller: agent(1),
            called: agent(2),
            to_called: flow(one, other),
            to_caller: flow(other, one),
            body: Body::sdp(OFFER),
            ended: 0,
        }
    }

    fn call(&mut self) {
        self.now += Duration::from_millis(10);
        self.caller.handle_timeout(self.now);
        self.called.handle_timeout(self.now);
        let opening = Opening {
            target: "sip:bob@192.0.2.2:5061".into(),
            from: "\"Alice\" <sip:alice@example.org>".into(),
            to: "<sip:bob@example.org>".into(),
            contact: "<sip:alice@192.0.2.1:5061>".into(),
            route_set: Vec::new(),
            flow: self.to_called,
            account: None,
        };
        let invite = Invite { opening, extra: Extra::new().body(self.body.clone()) };
        let call = self.caller.at(self.now).invite(invite).expect("a call can be made");
        self.ended = 0;
        while self.deliver(call) {}
        assert_eq!(self.ended, 2, "both ends hung up");
    }

    /// Carries what is to be sent across, and acts on what is heard; `false` when there is nothing more.
    fn deliver(&mut self, call: SessionId) -> bool {
        let mut busy = false;
        while let Some(transmit) = self.caller.poll_transmit() {
            busy = true;
            self.called.handle_receive(self.now, Receive { flow: self.to_caller, bytes: &transmit.bytes });
        }
        while let Some(event) = self.called.poll_event() {
            match event {
                Event::Incoming { session, .. } => {
                    let mut agent = self.called.at(self.now);
                    agent.ring(session, StatusCode::RINGING, Extra::new()).expect("it rings");
                    agent.accept(session, Extra::new().body(self.body.clone())).expect("it is accepted");
                }
                Event::Confirmed { .. } => {
                    self.caller.at(self.now).hang_up(call, Extra::new()).expect("it stands");
                }
                Event::Ended { .. } => self.ended += 1,
                _ => {}
            }
        }
        while let Some(transmit) = self.called.poll_transmit() {
            busy = true;
            self.caller.handle_receive(self.now, Receive { flow: self.to_called, bytes: &transmit.bytes });
        }
        while let Some(event) = self.caller.poll_event() {
            self.ended += usize::from(matches!(event, Event::Ended { .. }));
        }
        busy
    }
}
