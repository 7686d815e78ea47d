//! What a registration costs a shard. `cargo bench -p farspeak-node --no-default-features --bench register`
//!
//! A pair is REGISTER, 401, REGISTER with MD5, 200 of one of a hundred users, in memory and in virtual time: parsing,
//! transactions, digest, location table and answers are in it, sockets and store are not. Outcomes come from the store in
//! groups of ten. Time runs on at 2000 pairs a second, so that lingering transactions end at the rate they begin.

#[path = "../../sip/tests/support/counting.rs"]
mod counting;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use counting::{Counting, allocations};
use farspeak_node::authentication::AuthenticationConfig;
use farspeak_node::domain::Domain;
use farspeak_node::event::{Event, Ticket};
use farspeak_node::events::EventsConfig;
use farspeak_node::location::Location;
use farspeak_node::registrar::RegistrarConfig;
use farspeak_node::shard::{Shard, ShardConfig};
use farspeak_node::shared::{Clock, Keys, ProxyConfig, Settings, Shared, SharedParts};
use farspeak_node::throttle::{Throttle, ThrottleConfig};
use farspeak_node::users::{Secret, User, Users};
use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sip::digest::{Challenge, Identity, NonceConfig, Nonces};
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::message::{HeaderName, Limits, Message};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Short enough to fit between two interruptions: the best batch is free of them.
const BATCH: u32 = 100;
const USERS: usize = 100;
const GROUP: usize = 10;
const DOMAIN: &str = "example.org";

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    for transport in [Transport::Udp, Transport::Tls] {
        let mut load = Load::new(transport);
        // Until as many transactions linger as ever will: 32 s at half a millisecond a pair.
        for _ in 0..if rounds < 400 { 100 } else { 70_000 } {
            load.pair();
        }
        println!("{transport}: {:?}", load.shard.counts());
        report(&format!("{transport}: challenge"), rounds, &mut load, Load::challenge);
        report(&format!("{transport}: digest pair"), rounds, &mut load, Load::pair);
    }
}

fn report(name: &str, rounds: u32, load: &mut Load, work: impl Fn(&mut Load)) {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Wall::now();
        let prepared = load.client;
        for _ in 0..BATCH {
            work(load);
        }
        best = best.min(start.elapsed().saturating_sub(load.client - prepared));
    }
    let before = load.client_allocations;
    let (count, ()) = allocations(|| (0..BATCH).for_each(|_| work(load)));
    let count = (count - (load.client_allocations - before)) as f64 / f64::from(BATCH);
    println!("{:>8.0} ns  {count:.1} allocations  {name}", best.as_nanos() as f64 / f64::from(BATCH));
}

struct Load {
    shard: Shard,
    now: Instant,
    flow: Flow,
    number: usize,
    passwords: Vec<String>,
    tickets: Vec<Ticket>,
    /// Time and allocations of the phones.
    client: Duration,
    client_allocations: usize,
}

impl Load {
    fn new(transport: Transport) -> Self {
        let mut rng = SplitMix64::new(7);
        let users = Users::new(DOMAIN, &mut rng);
        let passwords = (0..USERS).map(|number| {
            let secret = Secret::generate(&mut rng);
            users.insert(User::new(&format!("load{number}"), DOMAIN, &secret));
            secret.reveal().to_owned()
        });
        let passwords = passwords.collect();
        let shared = Shared::new(SharedParts {
            location: Location::default(),
            users,
            throttle: Throttle::new(ThrottleConfig::default()),
            nonces: Nonces::new([7; 32], NonceConfig::default()),
            keys: Keys { flow_token: [1; 16], branch: [2; 16] },
            clock: Clock { unix_at_origin_ms: 1_700_000_000_000 },
            settings: Settings {
                domain: Domain::new(DOMAIN),
                public_name: None,
                proxy: ProxyConfig::default(),
                registrar: RegistrarConfig::default(),
                authentication: AuthenticationConfig::default(),
                events: EventsConfig::default(),
                limits: Limits::default(),
            },
        });
        let config = ShardConfig { id: 0, shared, rng: Box::new(rng), endpoint: EndpointConfig::default() };
        Self {
            shard: Shard::new(config),
            now: Instant::ZERO,
            flow: Flow {
                id: FlowId::new(0, 1, 1),
                transport,
                local: ([127, 0, 0, 1], 5060).into(),
                remote: ([127, 0, 0, 1], 40_000).into(),
            },
            number: 0,
            passwords,
            tickets: Vec::new(),
            client: Duration::ZERO,
            client_allocations: 0,
        }
    }

    /// What a phone does, outside the measurement.
    fn phone<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = Wall::now();
        let (count, result) = allocations(|| work(self));
        self.client_allocations += count;
        self.client += start.elapsed();
        result
    }

    fn register(&self, cseq: u32, more: &str) -> String {
        let (number, user) = (self.number, self.number % USERS);
        let mut out = String::with_capacity(1024);
        let _ = write!(
            out,
            "REGISTER sip:{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/{} 127.0.0.1:40000;branch=z9hG4bKr{number}.{cseq};rport\r\n\
             From: <sip:load{user}@{DOMAIN}>;tag={number}\r\nTo: <sip:load{user}@{DOMAIN}>\r\nCall-ID: {number}@4711\r\n\
             CSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\nUser-Agent: sip-load\r\n\
             Contact: <sip:load{user}@127.0.0.1:40000>\r\nExpires: 3600\r\n{more}Content-Length: 0\r\n\r\n",
            self.flow.transport
        );
        out
    }

    fn receive(&mut self, bytes: &str) {
        self.shard.handle_receive(self.now, Receive { flow: self.flow, bytes: bytes.as_bytes() });
        while let Some(event) = self.shard.poll_event() {
            if let Event::Commit { ticket, .. } = event {
                self.tickets.push(ticket);
            }
        }
    }

    /// The next response; keep-alives are passed over.
    fn sent(&mut self) -> Arc<[u8]> {
        loop {
            let bytes = self.shard.poll_transmit().expect("every request is answered").bytes;
            if bytes.starts_with(b"SIP/2.0") {
                return bytes;
            }
        }
    }

    /// REGISTER, 401.
    fn challenge(&mut self) {
        self.challenged();
    }

    fn challenged(&mut self) -> Arc<[u8]> {
        let bytes = self.phone(|load| {
            load.number += 1;
            load.now += Duration::from_micros(500);
            load.register(1, "")
        });
        if self.shard.poll_timeout().is_some_and(|at| at <= self.now) {
            self.shard.handle_timeout(self.now);
        }
        self.receive(&bytes);
        self.sent()
    }

    /// REGISTER, 401, REGISTER, and its share of the group's answers.
    fn pair(&mut self) {
        let challenge = self.challenged();
        let bytes = self.phone(|load| load.answer(&challenge));
        self.receive(&bytes);
        if self.tickets.len() < GROUP {
            return;
        }
        for ticket in std::mem::take(&mut self.tickets) {
            self.shard.committed(self.now, ticket, Ok::<(), ()>(()));
            assert!(self.sent().starts_with(b"SIP/2.0 200 "), "the password is right");
        }
    }

    fn answer(&self, challenge: &[u8]) -> String {
        let response = Message::parse(challenge, &Limits::default()).expect("it is ours");
        let md5 = response.headers(HeaderName::WwwAuthenticate).find(|value| value.contains("MD5"));
        let challenge = Challenge::parse(md5.expect("MD5 is offered")).expect("it is ours");
        let user = self.number % USERS;
        let identity = Identity { username: &format!("load{user}"), password: &self.passwords[user] };
        let value = challenge.answer(&identity, "REGISTER", &format!("sip:{DOMAIN}"), "0a1b2c3d", 1);
        self.register(2, &format!("Authorization: {value}\r\n"))
    }
}
