//! Two endpoints over a link that loses, doubles, delays and reorders: every call ends, and no state is left.

use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, SplitMix64, Transport};
use farspeak_sip::endpoint::{ClientTx, Endpoint, EndpointConfig, Event, ServerTx};
use farspeak_sip::message::{Message, Method, ResponseBuilder, StatusCode};

use crate::bench::{flow, outgoing};

struct World {
    now: Instant,
    rng: SplitMix64,
    client: Endpoint,
    server: Endpoint,
    /// When it arrives, whether at the server, and what.
    wire: Vec<(Instant, bool, Vec<u8>)>,
    transport: Transport,
    loss: u64,
    /// Server transactions that have had no final response yet, and when the user will act.
    waiting: Vec<(Instant, ServerTx, Method)>,
    open_clients: Vec<ClientTx>,
    outcomes: usize,
    /// Requests that reached the server's user, counted by branch.
    delivered: std::collections::HashMap<String, usize>,
}

impl World {
    fn new(seed: u64, transport: Transport, loss: u64) -> Self {
        let endpoint = |seed| Endpoint::new(EndpointConfig::default(), Box::new(SplitMix64::new(seed)));
        Self {
            now: Instant::ZERO,
            rng: SplitMix64::new(seed),
            client: endpoint(seed ^ 1),
            server: endpoint(seed ^ 2),
            wire: Vec::new(),
            transport,
            loss,
            waiting: Vec::new(),
            open_clients: Vec::new(),
            outcomes: 0,
            delivered: std::collections::HashMap::new(),
        }
    }

    fn flow(&self) -> Flow {
        flow(self.transport)
    }

    fn put_on_wire(&mut self, to_server: bool, bytes: &[u8]) {
        if self.transport.is_reliable() {
            // In order, and none lost.
            let last = self.wire.iter().filter(|(_, to, _)| *to == to_server).map(|(at, ..)| *at).max();
            let at = (self.now + Duration::from_millis(20)).max(last.unwrap_or(Instant::ZERO));
            self.wire.push((at, to_server, bytes.to_vec()));
            return;
        }
        let copies = if self.rng.below(100) < self.loss { 0 } else { 1 + u64::from(self.rng.below(10) == 0) };
        for _ in 0..copies {
            let delay = Duration::from_millis(5 + self.rng.below(300));
            self.wire.push((self.now + delay, to_server, bytes.to_vec()));
        }
    }

    fn start_call(&mut self) {
        let method = if self.rng.below(2) == 0 { Method::Invite } else { Method::Message };
        let branch = self.client.new_branch(0);
        let bytes = outgoing(&method, &branch);
        let tx = self.client.request(self.now, self.flow(), &method, &branch, bytes.as_bytes());
        self.open_clients.push(tx);
        if method == Method::Invite && self.rng.below(4) == 0 {
            self.client.cancel(self.now, tx);
        }
    }

    fn answer(&mut self, tx: ServerTx, method: &Method, code: Option<u16>) {
        let Some(request) = self.server.server_request(tx).cloned() else { return };
        let choices: &[u16] =
            if *method == Method::Invite { &[180, 200, 302, 486, 603] } else { &[200, 404, 408, 500] };
        let code = code.unwrap_or_else(|| choices[self.rng.below(choices.len() as u64) as usize]);
        let status = StatusCode::new(code).unwrap();
        let bytes = ResponseBuilder::new(&request, status).to_tag("callee").to_vec();
        self.server.respond(self.now, tx, status, bytes);
        if code < 200 {
            let later = self.now + Duration::from_millis(self.rng.below(5000));
            self.waiting.push((later, tx, method.clone()));
        }
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            self.put_on_wire(true, &transmit.bytes);
        }
        while let Some(transmit) = self.server.poll_transmit() {
            self.put_on_wire(false, &transmit.bytes);
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::ClientTerminated { tx } => self.open_clients.retain(|open| *open != tx),
                Event::Response { response, .. } if response.status().unwrap().is_final() => self.outcomes += 1,
                Event::TimedOut { .. } => self.outcomes += 1,
                Event::Response { .. } | Event::StrayResponse { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Request { tx, request, .. } => {
                    let branch = request.via().unwrap().branch().unwrap().to_owned();
                    *self.delivered.entry(branch).or_default() += 1;
                    let at = self.now + Duration::from_millis(self.rng.below(6000));
                    self.waiting.push((at, tx, request.method().unwrap().clone()));
                }
                Event::Cancel { tx, .. } => self.answer(tx, &Method::Invite, Some(487)),
                Event::UnmatchedCancel { tx, request, .. } => {
                    let status = StatusCode::new(481).unwrap();
                    let bytes = ResponseBuilder::new(&request, status).to_tag("none").to_vec();
                    self.server.respond(self.now, tx, status, bytes);
                }
                Event::Ack { .. } | Event::ServerTerminated { .. } | Event::ServerTimedOut { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let wire = self.wire.iter().map(|(at, ..)| *at).min();
        let user = self.waiting.iter().map(|(at, ..)| *at).min();
        [wire, user, self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min()
    }

    fn step(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        let (due, rest) = std::mem::take(&mut self.wire).into_iter().partition::<Vec<_>, _>(|(at, ..)| *at <= self.now);
        self.wire = rest;
        for (_, to_server, bytes) in due {
            let received = Receive { flow: self.flow(), bytes: &bytes };
            let endpoint = if to_server { &mut self.server } else { &mut self.client };
            endpoint.handle_receive(self.now, received);
        }
        let (due, rest) =
            std::mem::take(&mut self.waiting).into_iter().partition::<Vec<_>, _>(|(at, ..)| *at <= self.now);
        self.waiting = rest;
        for (_, tx, method) in due {
            self.answer(tx, &method, None);
        }
        self.drain();
    }

    fn run(&mut self) {
        self.drain();
        while let Some(at) = self.next() {
            self.step(at);
            assert!(self.now < Instant::ZERO + Duration::from_secs(600), "does not come to rest");
        }
    }
}

fn check(seed: u64, transport: Transport, loss: u64) -> World {
    let mut world = World::new(seed, transport, loss);
    let calls = 20;
    for _ in 0..calls {
        world.start_call();
        world.drain();
    }
    world.run();
    // A 2xx that was lost leaves its client waiting: the user's Timer C cancels (RFC 3261 §16.8).
    for tx in world.open_clients.clone() {
        world.client.cancel(world.now, tx);
    }
    world.run();
    let context = format!("seed {seed}, {transport}, loss {loss} %");
    assert!(world.open_clients.is_empty(), "{context}: {:?}", world.open_clients);
    assert!(world.outcomes >= calls, "{context}: {} outcomes", world.outcomes);
    for (name, endpoint) in [("client", &world.client), ("server", &world.server)] {
        let counts = endpoint.counts();
        assert_eq!((counts.transactions(), counts.flows, counts.timers), (0, 0, 0), "{context}: {name} {counts:?}");
    }
    world
}

#[test]
fn every_transaction_ends_and_leaves_no_state() {
    for seed in 0..60 {
        for loss in [0, 20, 60] {
            check(seed, Transport::Udp, loss);
        }
        check(seed, Transport::Tcp, 0);
    }
}

#[test]
fn a_request_reaches_the_user_once_however_often_it_arrives() {
    for seed in 100..140 {
        let world = check(seed, Transport::Udp, 20);
        assert!(world.delivered.values().all(|times| *times == 1), "seed {seed}: {:?}", world.delivered);
    }
}

#[test]
fn without_loss_nothing_times_out() {
    for seed in 200..220 {
        let world = check(seed, Transport::Tcp, 0);
        // A 408 to a MESSAGE is never sent (RFC 4320 §4.2), so those alone time out.
        assert_eq!(world.server.counts().timed_out, 0, "seed {seed}");
    }
}

#[test]
fn random_bytes_leave_no_state() {
    // Mutated messages in random order: never a panic, never anything that stays.
    let mut rng = SplitMix64::new(7);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), Box::new(SplitMix64::new(8)));
    let seeds: Vec<Vec<u8>> = ["INVITE", "ACK", "CANCEL", "BYE", "REGISTER"]
        .iter()
        .flat_map(|method| {
            let via = |n| format!("UDP 10.0.0.1;branch=z9hG4bK{n}");
            [crate::bench::incoming(method, &via(1)), crate::bench::incoming(method, "UDP 10.0.0.1")]
        })
        .chain([crate::bench::response(200, "INVITE", "z9hG4bKfs000000000000000000", "b")])
        .map(String::into_bytes)
        .collect();
    let mut now = Instant::ZERO;
    for _ in 0..20_000 {
        let mut bytes = seeds[rng.below(seeds.len() as u64) as usize].clone();
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.next_u64() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"\r\n;,=<> \0"[rng.below(9) as usize]),
            }
        }
        now += Duration::from_millis(rng.below(200));
        let transport = if rng.below(2) == 0 { Transport::Udp } else { Transport::Tls };
        endpoint.handle_receive(now, Receive { flow: flow(transport), bytes: &bytes });
        endpoint.handle_timeout(now);
        while endpoint.poll_transmit().is_some() {}
        while let Some(event) = endpoint.poll_event() {
            if let Event::Request { tx, request, .. } | Event::UnmatchedCancel { tx, request, .. } = event {
                let codes = [100, 180, 200, 408, 486];
                let status = StatusCode::new(codes[rng.below(5) as usize]).unwrap();
                respond(&mut endpoint, now, tx, &request, status);
                respond(&mut endpoint, now, tx, &request, StatusCode::new(500).unwrap());
            }
        }
        if rng.below(500) == 0 {
            endpoint.handle_flow_failed(now, flow(transport));
        }
    }
    for _ in 0..200 {
        now += Duration::from_secs(1);
        endpoint.handle_timeout(now);
    }
    let counts = endpoint.counts();
    assert_eq!((counts.transactions(), counts.flows, counts.timers), (0, 0, 0), "{counts:?}");
}

fn respond(endpoint: &mut Endpoint, now: Instant, tx: ServerTx, request: &Message, status: StatusCode) {
    endpoint.respond(now, tx, status, ResponseBuilder::new(request, status).to_tag("t").to_vec());
}
