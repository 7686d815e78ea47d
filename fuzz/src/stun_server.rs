//! The Binding server, the client and NAT discovery: whatever arrives, answers stay short, and every request ends.

use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_stun::discovery::{Behaviour, Lifetime, LifetimeConfig};
use farspeak_stun::long_term::Credentials;
use farspeak_stun::{
    Alternate, Authentication, BindingServer, Client, ClientConfig, Event, Message, Request, Schedule, ServerConfig,
};

use crate::input::Input;

/// Datagrams, each behind a byte with its length: to a server, and to clients that wait for an answer.
pub fn fuzz(data: &[u8]) {
    let address = |text: &str| text.parse().expect("an address");
    let flow = Flow::unbound(Transport::Udp, address("192.0.2.1:3478"), address("203.0.113.7:4000"));
    let pair = Alternate { primary: flow.local, other: address("192.0.2.2:3479") };
    let mut server = BindingServer::new(ServerConfig { alternates: vec![pair], ..ServerConfig::default() });
    let rng = || Box::new(SplitMix64::new(1));
    let back = Flow { local: flow.remote, remote: flow.local, ..flow };
    let second = Flow { local: address("203.0.113.7:4001"), ..back };
    let login = Authentication::LongTerm(Credentials::new("alice", "secret"));
    let mut client = Client::new(ClientConfig::default(), login, rng());
    client.request(Instant::ZERO, back, Request::binding()).expect("it is the first");
    let mut behaviour = Behaviour::begin(Instant::ZERO, back, Some(second), Schedule::default(), rng());
    let mut lifetime = Lifetime::begin(Instant::ZERO, back, second, LifetimeConfig::default(), rng());
    let mut input = Input::new(data);
    let mut ends = 0;
    while let Some(kind) = input.byte() {
        let raw = input.raw();
        server.handle_receive(Instant::ZERO, Receive { flow, bytes: raw });
        while let Some(answer) = server.poll_transmit() {
            assert!((answer.bytes.len() + 28) * 2 <= (raw.len() + 28) * 5, "no amplification");
            assert_eq!(answer.flow.remote.ip(), flow.remote.ip(), "nobody else gets it");
            assert!(Message::parse(&answer.bytes).is_ok());
        }
        // To the clients as it is, or as an answer to what each sent last.
        answer(&mut client, back, raw, kind);
        answer(&mut behaviour, back, raw, kind);
        answer(&mut lifetime, if kind & 2 == 0 { back } else { second }, raw, kind);
        while let Some(event) = client.poll_event() {
            ends += 1;
            assert!(!matches!(event, Event::Response { bytes, .. } if Message::parse(&bytes).is_err()));
        }
    }
    run_out(&mut client);
    run_out(&mut behaviour);
    run_out(&mut lifetime);
    while client.poll_event().is_some() {
        ends += 1;
    }
    assert_eq!((ends, client.outstanding()), (1, 0), "one request, one event");
    assert!(behaviour.poll_event().is_some() && behaviour.poll_event().is_none() && behaviour.is_done());
    assert!(lifetime.poll_event().is_some() && lifetime.poll_event().is_none() && lifetime.is_done());
}

fn answer<M: Machine>(machine: &mut M, flow: Flow, raw: &[u8], kind: u8) {
    let mut bytes = raw.to_vec();
    let mut last = None;
    while let Some(transmit) = machine.poll_transmit() {
        last = Some(transmit.bytes);
    }
    if let (Some(last), true, true) = (last, kind & 1 == 1, bytes.len() >= 20) {
        bytes[..2].copy_from_slice(&[1, if kind & 4 == 0 { 1 } else { 0x11 }]);
        bytes[4..20].copy_from_slice(&last[4..20]);
    }
    machine.handle_receive(Instant::ZERO, Receive { flow, bytes: &bytes });
}

fn run_out<M: Machine>(machine: &mut M) {
    let mut steps = 0;
    while let Some(at) = machine.poll_timeout() {
        machine.handle_timeout(at);
        while machine.poll_transmit().is_some() {}
        steps += 1;
        assert!(steps < 1000, "it ends");
    }
}
