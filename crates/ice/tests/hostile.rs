//! What strangers and hostile peers can do: nothing.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_ice::{
    Agent, AgentConfig, Candidate, Credentials, Event, Interface, Limits, Privacy, RemoteOptions, State,
};
use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, SplitMix64, Transport};
use farspeak_stun::{Attribute, Class, ErrorCode, Key, Message, Method, TransactionId, Writer};
use support::{End, World};

const LOCAL: &str = "192.0.2.1:6000";
const PEER: &str = "192.0.2.2:6001";

/// One agent whose peer the test plays.
struct Alone {
    agent: Agent,
    peer: Credentials,
    now: Instant,
    ids: u32,
}

impl Alone {
    fn new(controlling: bool) -> Self {
        Self::with(AgentConfig { controlling, tie_breaker: Some(5), ..AgentConfig::default() })
    }

    fn with(config: AgentConfig) -> Self {
        let mut agent = Agent::new(config, Box::new(SplitMix64::new(1)));
        let now = Instant::ZERO;
        agent.add_socket(now, 1, LOCAL.parse().unwrap(), Interface::default());
        agent.sockets_complete(now);
        let peer = Credentials::new("peer", "abcdefghijklmnopqrstuv").unwrap();
        agent.set_remote(now, &peer, RemoteOptions { trickle: true, ..RemoteOptions::default() });
        Self { agent, peer, now, ids: 0 }
    }

    fn receive(&mut self, from: &str, bytes: &[u8]) {
        let flow = Flow::unbound(Transport::Udp, LOCAL.parse().unwrap(), from.parse().unwrap());
        self.agent.handle_receive(self.now, Receive { flow, bytes });
    }

    fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::iter::from_fn(|| self.agent.poll_transmit()).map(|t| (t.flow.remote, t.bytes.to_vec())).collect()
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.agent.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn id(&mut self) -> TransactionId {
        self.ids += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.ids.to_be_bytes());
        TransactionId(id)
    }

    /// A check as the peer would send it, but for what `change` does.
    fn check(&mut self, password: &str, change: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let username = format!("{}:{}", self.agent.credentials().ufrag(), self.peer.ufrag());
        let id = self.id();
        let mut buffer = [0; 500];
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
        writer.push(Attribute::Username(&username));
        change(&mut writer);
        writer.integrity(&Key::from_bytes(password.as_bytes())).fingerprint();
        writer.finish().unwrap().to_vec()
    }

    fn good_check(&mut self) -> Vec<u8> {
        let password = self.agent.credentials().password().to_owned();
        let role = if self.agent.is_controlling() { Attribute::IceControlled(1) } else { Attribute::IceControlling(1) };
        self.check(&password, |writer| {
            writer.push(Attribute::Priority(1000)).push(role);
        })
    }

    /// The success response to a check of the agent's.
    fn response(&self, check: &[u8], mapped: &str, password: &str) -> Vec<u8> {
        let mut buffer = [0; 200];
        let check = Message::parse(check).unwrap();
        let mut writer = Writer::respond(&mut buffer, Class::Success, &check);
        writer.push(Attribute::XorMappedAddress(mapped.parse().unwrap()));
        writer.integrity(&Key::from_bytes(password.as_bytes())).fingerprint();
        writer.finish().unwrap().to_vec()
    }

    fn host(&mut self, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        let (ip, port) = (address.ip(), address.port());
        let foundation = ip.to_string().replace('.', "+");
        let line = format!("candidate:{foundation} 1 UDP 2130706431 {ip} {port} typ host");
        self.agent.add_remote_candidate(self.now, line.parse().unwrap());
    }

    fn error_of(&mut self, request: &[u8]) -> Option<u16> {
        self.sent();
        self.receive(PEER, request);
        let (_, bytes) = self
            .sent()
            .into_iter()
            .find(|(_, bytes)| !Message::parse(bytes).unwrap().is(Class::Request, Method::BINDING))?;
        Message::parse(&bytes).unwrap().error_code().unwrap().map(|error| error.code)
    }
}

#[test]
fn answers_checks_as_their_faults_deserve() {
    let mut alone = Alone::new(false);
    let password = alone.agent.credentials().password().to_owned();
    let good = alone.good_check();
    assert_eq!(alone.error_of(&good), None);
    let wrong = alone.check("wrongwrongwrongwrongwrong", |writer| {
        writer.push(Attribute::Priority(1)).push(Attribute::IceControlling(1));
    });
    assert_eq!(alone.error_of(&wrong), Some(401));
    let without = alone.check(&password, |_| ());
    assert_eq!(alone.error_of(&without), Some(400), "no PRIORITY");
    let strange = alone.check(&password, |writer| {
        writer.push(Attribute::Priority(1)).push_raw(farspeak_stun::AttributeType(0x7777), b"?");
    });
    assert_eq!(alone.error_of(&strange), Some(420));
    let conflict = alone.check(&password, |writer| {
        writer.push(Attribute::Priority(1)).push(Attribute::IceControlled(9));
    });
    assert_eq!(alone.error_of(&conflict), Some(487), "its tie-breaker is greater: it has to control");
}

#[test]
fn refuses_checks_of_other_sessions_in_silence() {
    let mut alone = Alone::new(false);
    let mut buffer = [0; 200];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([9; 12]));
    writer.push(Attribute::Username("guess:peer")).push(Attribute::Priority(1));
    writer.integrity(&Key::from_bytes(b"guess")).fingerprint();
    let request = writer.finish().unwrap().to_vec();
    alone.receive(PEER, &request);
    let mut damaged = alone.good_check();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    alone.receive(PEER, &damaged);
    assert!(alone.sent().is_empty());
}

#[test]
fn refuses_data_from_who_has_not_been_checked() {
    let mut alone = Alone::new(false);
    alone.host(PEER);
    alone.receive(PEER, b"\x80data");
    assert!(!std::iter::from_fn(|| alone.agent.poll_event()).any(|event| matches!(event, Event::Data { .. })));
    let check = alone.good_check();
    alone.receive(PEER, &check);
    alone.receive(PEER, b"\x80data");
    alone.receive("192.0.2.66:6001", b"\x80other");
    let data: Vec<Event> =
        std::iter::from_fn(|| alone.agent.poll_event()).filter(|event| matches!(event, Event::Data { .. })).collect();
    assert_eq!(data, [Event::Data { component: 1, bytes: b"\x80data".to_vec() }]);
}

#[test]
fn refuses_to_send_before_anything_is_valid() {
    let mut alone = Alone::new(true);
    alone.host(PEER);
    assert_eq!(alone.agent.send(alone.now, 1, b"data"), Err(farspeak_ice::SendError::NotConnected));
    assert_eq!(alone.agent.send(alone.now, 2, b"data"), Err(farspeak_ice::SendError::NoComponent));
}

#[test]
fn refuses_forged_responses() {
    let mut alone = Alone::new(true);
    alone.host(PEER);
    let (_, check) = alone.sent().remove(0);
    let forged = alone.response(&check, LOCAL, "wrongwrongwrongwrongwrong");
    alone.receive(PEER, &forged);
    assert_eq!(alone.agent.state(), State::Checking);
    let right = alone.response(&check, LOCAL, alone.peer.password());
    alone.receive("192.0.2.66:6001", &right);
    assert_eq!(alone.agent.state(), State::Checking, "it comes from elsewhere (RFC 8445 §7.2.5.2.1)");
    let mut alone = Alone::new(true);
    alone.host(PEER);
    let (_, check) = alone.sent().remove(0);
    let right = alone.response(&check, LOCAL, alone.peer.password());
    alone.receive(PEER, &right);
    assert_ne!(alone.agent.state(), State::Checking);
}

#[test]
fn refuses_a_role_conflict_that_is_not_one() {
    let mut alone = Alone::new(true);
    alone.host(PEER);
    let (_, check) = alone.sent().remove(0);
    let mut buffer = [0; 100];
    let mut writer = Writer::respond(&mut buffer, Class::Error, &Message::parse(&check).unwrap());
    writer.push(Attribute::ErrorCode(ErrorCode::ROLE_CONFLICT)).fingerprint();
    let unsealed = writer.finish().unwrap().to_vec();
    alone.receive("192.0.2.66:6001", &unsealed);
    assert!(alone.agent.is_controlling());
}

#[test]
fn never_grows_whatever_the_peer_sends() {
    let limits = Limits { remote_candidates: 10, pairs: 12, queue: 50, names: 3, local_candidates: 4 };
    let mut alone = Alone::with(AgentConfig { limits, ..AgentConfig::default() });
    for n in 0..2000_u32 {
        let check = alone.good_check();
        alone.receive(&format!("198.51.{}.{}:7000", n / 250, n % 250 + 1), &check);
        alone.host(&format!("203.0.{}.{}:7000", n / 250, n % 250 + 1));
        let name = format!("candidate:1 1 UDP 1 name-{n}.local 9 typ host");
        alone.agent.add_remote_candidate(alone.now, name.parse::<Candidate>().unwrap());
    }
    assert!(alone.sent().len() <= 50);
    let events = std::iter::from_fn(|| alone.agent.poll_event()).count();
    assert!(events <= 100, "{events}");
    // Checks go to what is remembered alone.
    let mut checked = std::collections::BTreeSet::new();
    for _ in 0..200 {
        alone.pass(Duration::from_millis(50));
        checked.extend(alone.sent().into_iter().map(|(to, _)| to));
    }
    assert!(checked.len() <= 12, "{}", checked.len());
}

#[test]
fn never_checks_faster_than_ta() {
    let mut alone = Alone::new(true);
    for n in 1..60 {
        alone.host(&format!("198.51.100.{n}:7000"));
    }
    let mut first = std::collections::BTreeMap::new();
    for _ in 0..400 {
        for (to, _) in alone.sent() {
            first.entry(to).or_insert(alone.now);
        }
        alone.pass(Duration::from_millis(10));
    }
    let mut times: Vec<Instant> = first.into_values().collect();
    times.sort_unstable();
    assert_eq!(times.len(), 59);
    assert!(times.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(50)));
}

#[test]
fn never_panics_on_mutated_packets() {
    for seed in 0..30 {
        let mut world = World::new(seed, End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]));
        world.start();
        world.connect();
        let bytes: Vec<Vec<u8>> = world.net.sightings().map(|seen| seen.bytes.clone()).collect();
        let mut rng = SplitMix64::new(seed);
        for original in bytes.iter().cycle().take(400) {
            let mut bytes = original.clone();
            for _ in 0..=rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            let end = rng.below(2) as usize;
            let ways = [("192.0.2.1:6000", "192.0.2.2:6001"), ("192.0.2.2:6001", "192.0.2.1:6000")];
            let (local, remote) = ways[end];
            let flow = Flow::unbound(Transport::Udp, local.parse().unwrap(), remote.parse().unwrap());
            world.agent(end, |agent, now| agent.handle_receive(now, Receive { flow, bytes: &bytes }));
        }
        world.run(Duration::from_secs(5));
        world.talk();
    }
}

#[test]
fn pairs_of_one_foundation_wait_for_the_first_but_not_for_ever() {
    let mut alone = Alone::new(true);
    for port in 1..=3 {
        let line = format!("candidate:same 1 UDP {} 198.51.100.1 {port} typ host", 2_130_706_431 - port);
        alone.agent.add_remote_candidate(alone.now, line.parse().unwrap());
    }
    let ports = |alone: &mut Alone| alone.sent().into_iter().map(|(to, _)| to.port()).collect::<Vec<_>>();
    alone.pass(Duration::from_millis(400));
    assert_eq!(ports(&mut alone), [1]);
    alone.pass(Duration::from_millis(200));
    assert_eq!(ports(&mut alone), [1, 2], "the first was not answered within the RTO");
    alone.pass(Duration::from_secs(1));
    assert!(ports(&mut alone).contains(&3));
}

#[test]
fn refuses_checks_beside_the_relay_in_privacy_mode() {
    let mut alone = Alone::with(AgentConfig { privacy: Privacy::RelayOnly, ..AgentConfig::default() });
    alone.host(PEER);
    let check = alone.good_check();
    alone.receive(PEER, &check);
    alone.pass(Duration::from_secs(60));
    assert!(alone.sent().is_empty());
}
